"""Whole models on a card: random weights in the shape of 8B, through the public API.

Run as a program of its own by gpu.py, with the package that it built: writes a JSON object to OUT.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lora
import numpy as np
import speculative
import synth

import realm_ext
from realm_ext import Engine, Model, SamplingParams, SpeculativeConfig

CHAIN = 7  # target and draft go along one table of tokens
TARGET = {False: "llama-3-8b", True: "tiny"}
DRAFT = synth.Shape(128256, 768, 6, 12, 12, 3072, 8192, 500000.0)

Results = dict[str, float | str]


class Models:
    """The files, written when first asked for, and how much is measured."""

    def __init__(self, folder: Path, tiny: bool, device: str):
        """`folder` keeps the files."""
        self.folder, self.tiny, self.device = folder, tiny, device
        self.tokens = 4 if tiny else 96
        self.prompt = 32 if tiny else 4096
        self.many = 2 if tiny else 32
        self.rounds = 1 if tiny else 3

    def target(self) -> Path:
        return self._file("target.gguf", synth.SHAPES[TARGET[self.tiny]], 1, 1.0)

    def draft(self) -> Path:
        shape = synth.SHAPES["tiny"] if self.tiny else DRAFT
        return self._file("draft.gguf", shape, 3, 0.8)

    def _file(self, name: str, shape: synth.Shape, seed: int, agree: float) -> Path:
        path = self.folder / name
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".partial")
            synth.write_model(unfinished, shape, "Q4_K_M", seed, CHAIN, agree)
            unfinished.rename(path)
        return path

    def load(self, path: Path, **options: object) -> Model:
        return Model(path, self.device, **options)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def decode_rate(engine: Engine, n_sequences: int, tokens: int) -> float:
    """Tokens a second of requests that decode together, from the last one's first token on."""
    random = np.random.default_rng(5)
    params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
    prompts = random.integers(300, 500, (n_sequences, 16)).tolist()
    start = time.perf_counter()
    answers = [r.result() for r in [engine.submit(p, params) for p in prompts]]
    waited = max(answer.timings.first_token for answer in answers)
    seconds = time.perf_counter() - start - waited
    return sum(len(answer.tokens) - 1 for answer in answers) / max(seconds, 1e-9)


def median_rate(engine: Engine, n_sequences: int, models: Models) -> float:
    decode_rate(engine, n_sequences, models.tokens)
    return statistics.median(
        decode_rate(engine, n_sequences, models.tokens) for _ in range(models.rounds)
    )


def decode(model: Model, models: Models) -> tuple[float, float]:
    """Of one sequence and of many."""
    with Engine(model, max_sequences=models.many, prefix_cache=False) as engine:
        return median_rate(engine, 1, models), median_rate(engine, models.many, models)


def prefill(model: Model, models: Models) -> float:
    tokens = np.random.default_rng(6).integers(300, 500, models.prompt)
    chunk = min(models.prompt, 512)
    seconds = []
    for _ in range(models.rounds + 1):
        began = time.perf_counter()
        model.logits(tokens, rows="last", kv_dtype="f16", chunk=chunk)
        seconds.append(time.perf_counter() - began)
    return models.prompt / statistics.median(seconds[1:])


def plain(model: Model, models: Models) -> Results:
    one, many = decode(model, models)
    prompt = prefill(model, models)
    tell(f"{one:.1f}, {many:.1f} tokens/s; prefill {prompt:.0f}")
    return {"one_sequence": one, "many_sequences": many, "prefill": prompt}


def deterministic(models: Models, found: Results) -> Results:
    """What the promise costs: times beside those of `found`."""
    with models.load(models.target(), deterministic=True) as model:
        one, many = decode(model, models)
    costs: Results = {}
    for key, other, ours in (("one", "one_sequence", one), ("many", "many_sequences", many)):
        rate = found.get(other)
        costs[f"deterministic_{key}"] = rate / ours if isinstance(rate, float) else "nothing beside"
    return costs


def adapters(model: Model, models: Models) -> Results:
    """Many requests with an adapter each, beside the same requests without."""
    found: Results = {}
    model.adapter_budget = 16 << 30
    for label, leaves in (("lora_qv_ratio", lora.QV), ("lora_ratio", lora.ALL)):
        names = [f"{label}{i}" for i in range(models.many)]
        factors = lora.factors(models.target(), leaves, 16, 0)
        for name in names:  # equal values in memory of their own
            model.load_adapter(name, factors)
        with Engine(model, max_sequences=models.many, prefix_cache=False) as engine:

            def seconds(choices: list[lora.Choice], engine: Engine = engine) -> float:
                return lora.decode_seconds(engine, choices, models.tokens)

            _, found[label] = lora.paired(
                lambda seconds=seconds: seconds([None] * models.many),
                lambda seconds=seconds, names=names: seconds(names),
                models.rounds,
            )
        for name in names:
            model.unload_adapter(name)
        tell(f"{label}: {found[label]:.3f}")
    return found


def speculation(model: Model, models: Models) -> Results:
    """The better of adaptive and four guesses."""
    ways = {
        "adaptive": SpeculativeConfig(),
        "4": SpeculativeConfig(draft_k=4, max_draft_tokens=8, adaptive=False),
    }
    arguments = argparse.Namespace(rounds=models.rounds, tokens=max(models.tokens, 8))
    with models.load(models.draft()) as guesser:
        rows = speculative.Bench("8B", arguments, model, guesser).rows(ways, 1)
    for row in rows:
        tell(f"{row.way}: {row.ratio:.2f} at acceptance {row.acceptance:.2f}")
    return {"speculation": max(row.ratio for row in rows)}


def attempt(found: Results, out: Path, keys: tuple[str, ...], part: Callable[[], Results]) -> None:
    """What fails says so and lets the others run; what came is kept should the time end."""
    try:
        found |= part()
    except (realm_ext.RealmError, SystemExit) as failure:
        found |= dict.fromkeys(keys, f"failed: {failure}"[:200].replace("|", "/"))
        tell(f"{keys[0]}: {failure}")
    out.write_text(json.dumps(found))


def measure(models: Models, out: Path) -> None:
    """Everything, the first things first."""
    found: Results = {}
    models.load(realm_ext.demo_path("target.gguf")).close()  # no device is found out at once
    began = time.perf_counter()
    models.target(), models.draft()
    tell(f"models written in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    with models.load(models.target()) as model:
        tell(f"loaded in {time.perf_counter() - began:.1f} s: {model.core.backend}")
        for keys, part in (
            (("one_sequence", "many_sequences", "prefill"), plain),
            (("speculation",), speculation),
            (("lora_ratio", "lora_qv_ratio"), adapters),
        ):
            attempt(found, out, keys, partial(part, model, models))
    keys = ("deterministic_one", "deterministic_many")
    attempt(found, out, keys, lambda: deterministic(models, found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    measure(Models(options.folder, options.tiny, options.device), options.out)


if __name__ == "__main__":
    main()
