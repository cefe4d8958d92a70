"""Writes tests/golden/forward: small models and the logits that other programs give them.

    PYTHONPATH=LLAMA:LLAMA/gguf-py python tools/make_forward_golden.py [--out FOLDER] [CASE ...]

LLAMA is llama.cpp's source tree, which the `llama-cpp-python` source distribution carries under
vendor/. Also needs torch and transformers. Per case: NAME.gguf, made by llama.cpp's converter from
a random transformers model (or, for `type-*`, of random blocks of one weight format), and NAME.npz:

* `tokens_0`: a sequence,
* `rows_0`: the tokens whose logits follow,
* `logits_0`: transformers' logits in float64, rounded to float32,
* and the same with `_1` where a case has two sequences.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers as tf

from forward_golden.cases import Case, all_cases
from forward_golden.convert import convert
from forward_golden.reference import logits_of, randomize, seed_of
from forward_golden.weight_types import FORMATS, write_model_of

ROWS = 24  # per sequence: the first half from its start, the other from its end


def tokens_for(name: str, length: int, n_vocab: int) -> list[int]:
    rng = np.random.default_rng([seed_of(name), length])
    return [int(token) for token in rng.integers(3, n_vocab, length)]


def rows_of(length: int) -> npt.NDArray[np.int32]:
    """Rows to keep of a sequence."""
    rows = np.arange(length, dtype=np.int32)
    return rows if length <= ROWS else np.r_[rows[: ROWS // 2], rows[-ROWS // 2 :]]


def write_oracle(
    name: str, model: tf.PreTrainedModel, lengths: tuple[int, ...], path: Path
) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for i, length in enumerate(lengths):
        tokens = tokens_for(name, length, model.config.vocab_size)
        rows = rows_of(length)
        arrays[f"tokens_{i}"] = np.array(tokens, np.int32)
        arrays[f"rows_{i}"] = rows
        arrays[f"logits_{i}"] = logits_of(model, tokens)[rows]
    np.savez_compressed(path, **arrays)


def write_case(case: Case, out: Path) -> None:
    model = case.model(case.config).to(torch.float64).eval()
    model.set_experts_implementation("eager")  # the grouped kernels know no float64
    randomize(model, seed_of(case.name))
    if case.prepare:
        case.prepare(model)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / case.name
        folder.mkdir()
        convert(model, case.declared, folder, out / f"{case.name}.gguf")
    write_oracle(case.name, model.to(torch.float64), case.lengths, out / f"{case.name}.npz")


def write_format(name: str, dtype: str, out: Path) -> None:
    model = write_model_of(dtype, seed_of(name), out / f"{name}.gguf")
    write_oracle(name, model, (8,), out / f"{name}.npz")


def main() -> None:
    """Writes the cases that are asked for, or all."""
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=root / "tests/golden/forward")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tf.logging.set_verbosity_error()
    tf.logging.disable_progress_bar()
    for case in all_cases():
        if not arguments.cases or case.name in arguments.cases:
            write_case(case, arguments.out)
            print(case.name)
    for dtype in FORMATS:
        name = f"type-{dtype}"
        if not arguments.cases or name in arguments.cases:
            write_format(name, dtype, arguments.out)
            print(name)


if __name__ == "__main__":
    main()
