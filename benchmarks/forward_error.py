"""How far the forward's logits are from those of other programs: the tables of docs/numerics.md.

    python benchmarks/forward_error.py [--peer]

NMSE, the sum of squared differences over the reference's sum of squares, for every golden file of
tests/golden/arch, forward and quant: over keys and values in f32, f16, bf16 and Q8_0. The figures
do not depend on the machine, its instruction set or the number of threads. With --peer, the same of
llama.cpp over an f32 cache, for tests/golden/forward (needs llama-cpp-python).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import realm_ext

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/python"))
from closeness import (  # noqa: E402
    ARCHITECTURES,
    FORWARD_CASES,
    Logits,
    Sequence,
    arch_model,
    arch_oracle,
    forward_model,
    forward_oracle,
)

CACHES = ["f32", "f16", "bf16", "q8_0"]
NOT_IN_LLAMA_CPP = ["type-F64", "type-Q8_K"]  # weights of these types end its process

Rows = Iterator[tuple[str, Path, list[Sequence]]]


def arch_rows() -> Rows:
    for name in ARCHITECTURES:
        yield name, arch_model(name), [arch_oracle(name)[0]]


def forward_rows() -> Rows:
    for name in FORWARD_CASES:
        yield name, forward_model(name), list(forward_oracle(name))


def quant_rows() -> Rows:
    folder = ROOT / "tests/golden/quant"
    oracle = np.load(folder / "oracle.npz")
    rows = np.arange(len(oracle["tokens"]))
    for path in sorted(folder.glob("*.gguf")):
        yield path.stem, path, [Sequence(oracle["tokens"], rows, oracle[path.stem])]


def print_table(title: str, rows: Rows) -> None:
    """Of a file's sequences, the worst."""
    print(f"| {title} | " + " | ".join(f"{kv_dtype} cache" for kv_dtype in CACHES) + " |")
    print("|---" * (1 + len(CACHES)) + "|")
    for name, path, sequences in rows:
        model = realm_ext.Model(path)
        errors = [
            max(one.nmse(model.logits(one.tokens, kv_dtype=kv_dtype)) for one in sequences)
            for kv_dtype in CACHES
        ]
        print(f"| {name} | " + " | ".join(f"{error:.1e}" for error in errors) + " |")
    print()


def peer_logits(path: Path, tokens: list[int]) -> Logits:
    import llama_cpp

    # A context of the sequence's own length, which decides phi3's factors there.
    model = llama_cpp.Llama(
        str(path), n_ctx=len(tokens), type_k=0, type_v=0, logits_all=True, verbose=False
    )
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def print_peer() -> None:
    print("| case | llama.cpp, f32 cache |\n|---|---|")
    for name, path, sequences in forward_rows():
        if name not in NOT_IN_LLAMA_CPP:
            errors = [one.nmse(peer_logits(path, one.tokens.tolist())) for one in sequences]
            print(f"| {name} | " + ", ".join(f"{error:.1e}" for error in errors) + " |")


def main() -> None:
    """Prints the three tables, or the peer's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", action="store_true")
    if parser.parse_args().peer:
        print_peer()
        return
    print_table("architecture", arch_rows())
    print_table("case", forward_rows())
    print_table("weights", quant_rows())


if __name__ == "__main__":
    main()
