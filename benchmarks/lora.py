"""What adapters cost: decode and prefill with and without, loading, merging.

    python benchmarks/lora.py MODEL.gguf [--rank 16] [--tokens 32] [--repeats 5] [--threads N] [--merge]

MODEL is any GGUF model; `python benchmarks/synth.py tinyllama-1.1b Q4_K_M MODEL.gguf` makes one. The
adapters are random F16 factors. Every figure is a ratio within pairs: with adapters and without, in
turn, and the median pair counts. A row of decoding also says how its time compares with that which
the bytes of its factors take at the bandwidth of this machine, measured after each pair.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

import realm_ext
from realm_ext import _core

Choice = str | None
ALL = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
QV = ("attn_q", "attn_v")


def factors(path: Path, leaves: Sequence[str], rank: int, seed: int) -> dict[str, np.ndarray]:
    """Random factors for every tensor of the model with one of the names."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, tensor in realm_ext.GGUFFile(path).tensors.items():
        if not re.fullmatch(rf"blk\.\d+\.({'|'.join(leaves)})\.weight", name):
            continue
        rows, cols = tensor.shape
        arrays[f"{name}.lora_a"] = rng.normal(0, cols**-0.5, (rank, cols)).astype(np.float16)
        arrays[f"{name}.lora_b"] = rng.normal(0, 0.01, (rows, rank)).astype(np.float16)
    return arrays


def decode_seconds(engine: realm_ext.Engine, choices: Sequence[Choice], n: int) -> float:
    """Time per step of requests that decode together, one for each choice.

    They are handed in while a prompt of another is computed, and so begin in one step.
    """
    params = realm_ext.SamplingParams(temperature=0, max_tokens=n, ignore_eos=True)
    before = engine.submit(list(range(1, 65)), realm_ext.SamplingParams(max_tokens=1))
    requests = [engine.submit([1, 2 + i], params, adapter=c) for i, c in enumerate(choices)]
    before.result()
    started = time.perf_counter()
    for request in requests:
        request.result()
    return (time.perf_counter() - started) / n


def prefill_seconds(model: realm_ext.Model, choice: Choice, n: int) -> float:
    tokens = list(range(1, n + 1))
    started = time.perf_counter()
    model.logits(tokens, choice, rows="last", kv_dtype="f16")
    return time.perf_counter() - started


def pairs(
    base: Callable[[], float], other: Callable[[], float], repeats: int
) -> Iterator[tuple[float, float]]:
    """What both gave, one straight after the other; each is the first of every second pair."""
    base(), other()
    for i in range(repeats):
        if i % 2:
            after, before = other(), base()
        else:
            before, after = base(), other()
        yield before, after


def paired(
    base: Callable[[], float], other: Callable[[], float], repeats: int
) -> tuple[float, float]:
    """Medians: the base, and the ratio of the other to it."""
    return medians(list(pairs(base, other, repeats)))


def medians(found: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(b for b, _ in found), statistics.median(o / b for b, o in found)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--merge", action="store_true", help="merge into the model too")
    arguments = parser.parse_args()
    model = realm_ext.Model(arguments.model, threads=arguments.threads)
    for i in range(8):
        for label, leaves in (("all", ALL), ("qv", QV)):
            model.load_adapter(f"{label}{i}", factors(arguments.model, leaves, arguments.rank, i))
    with realm_ext.Engine(model, max_sequences=8, prefix_cache=False) as engine:
        rows: list[tuple[str, Sequence[Choice]]] = [
            ("1 request, all linear", ["all0"]),
            ("8 requests, one adapter, all linear", ["all0"] * 8),
            ("8 requests, 8 adapters, q and v", [f"qv{i}" for i in range(8)]),
            ("8 requests, 8 adapters, all linear", [f"all{i}" for i in range(8)]),
        ]
        for label, choices in rows:
            print(decode_row(model, engine, label, choices, arguments))
    for width in (128, 512):
        base, ratio = paired(
            lambda width=width: prefill_seconds(model, None, width),
            lambda width=width: prefill_seconds(model, "all0", width),
            arguments.repeats,
        )
        print(f"prefill of {width}, all linear: {base * 1e3:.0f} ms, with adapter {ratio - 1:+.1%}")
    load_and_merge(model, arguments)


def decode_row(
    model: realm_ext.Model,
    engine: realm_ext.Engine,
    label: str,
    choices: Sequence[Choice],
    arguments: argparse.Namespace,
) -> str:
    n_bytes = sum(model.adapters[c].bytes for c in set(choices) if c)
    found: list[tuple[float, float]] = []
    bandwidths: list[float] = []
    for pair in pairs(
        lambda: decode_seconds(engine, [None] * len(choices), arguments.tokens),
        lambda: decode_seconds(engine, choices, arguments.tokens),
        arguments.repeats,
    ):
        found.append(pair)
        bandwidths.append(_core.measure_ceilings(arguments.threads, 0.3).read_bytes_per_s)
    extras = [other - before for before, other in found]
    times = [extra * b / n_bytes for extra, b in zip(extras, bandwidths, strict=True)]
    base, ratio = medians(found)
    return (
        f"decode, {label}: {base * 1e3:.1f} ms a step, with adapters {ratio - 1:+.1%}: "
        f"{statistics.median(extras) * 1e3:.1f} ms, {statistics.median(times):.2f} x the time of "
        f"{n_bytes / 1e6:.1f} MB at {statistics.median(bandwidths) / 1e9:.1f} GB/s"
    )


def load_and_merge(model: realm_ext.Model, arguments: argparse.Namespace) -> None:
    """Loads an adapter of about 50 MB from disk, and merges it if asked to."""
    per_rank = model.adapters["all0"].bytes / arguments.rank
    rank = max(1, round(50e6 / per_rank))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.gguf"
        arrays = factors(arguments.model, ALL, rank, 0)
        metadata = {
            "general.type": "adapter",
            "general.architecture": model.config.architecture,
            "adapter.type": "lora",
            "adapter.lora.alpha": float(rank),
        }
        realm_ext.write_gguf(
            path, metadata, {k: (v.tobytes(), "F16", v.shape) for k, v in arrays.items()}
        )
        best = min(_timed(lambda: model.load_adapter("large", path)) for _ in range(5))
        print(f"loading {path.stat().st_size / 1e6:.1f} MB: {best:.3f} s")
        if not arguments.merge:
            return
        plain = _timed(lambda: realm_ext.Model(arguments.model, threads=arguments.threads))
        merged = _timed(
            lambda: realm_ext.Model(arguments.model, threads=arguments.threads, merge=path)
        )
        print(f"merging it at load adds {merged - plain:.1f} s to {plain:.1f} s")


if __name__ == "__main__":
    main()
