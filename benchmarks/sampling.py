"""Time of one sampled row, by vocabulary and options.

    python benchmarks/sampling.py [--repeats 41]

Gaussian logits of standard deviation 3. A fresh sampler serves each call, so its memory is new every
time; the engine keeps one, which is faster on the rows that keep the whole vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from realm_ext import SamplingParams, _core

OPTIONS = {
    "defaults": {},
    "greedy": {"temperature": 0.0},
    "defaults, 100 biases": {"logit_bias": dict.fromkeys(range(100), 1.0)},
    "no filter": {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
    "min_p 0.05 alone": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.05},
    "top_p 0.9 alone": {"temperature": 1.0, "top_k": 0},
}


def microseconds(call: Callable[[int], object], repeats: int) -> tuple[float, float]:
    """Median and minimum."""
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        call(i)
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times), min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=41)
    repeats = parser.parse_args().repeats
    print("| vocabulary | options | median us | minimum us |\n|---|---|---|---|")
    for n_vocab in (32_000, 128_000, 256_000):
        row = (np.random.default_rng(1).standard_normal(n_vocab) * 3).astype(np.float32)
        calls: dict[str, Callable[[int], object]] = {
            "20 logprobs": lambda i, row=row: _core.token_logprobs(row, i, 20)
        }
        for name, changes in OPTIONS.items():
            params = SamplingParams(seed=1, **changes)
            calls[name] = lambda i, row=row, params=params: _core.sample(row, params, position=i)
        for name, call in calls.items():
            median, least = microseconds(call, repeats)
            print(f"| {n_vocab} | {name} | {median:.0f} | {least:.0f} |")


if __name__ == "__main__":
    main()
