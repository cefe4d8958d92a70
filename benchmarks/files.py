"""How fast files are read and converted: a large vocabulary, f16 to Q4_0.

    python benchmarks/files.py [--threads 2] [--megabytes 512]

Prints medians over five runs. What a directory of 4 GiB costs, tests/cpp/gguf_reader_test.cpp prints.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import realm_ext

_RUNS = 5


def median_seconds(work: Callable[[], object]) -> float:
    """Median wall time of a few runs."""
    times = []
    for _ in range(_RUNS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def large_vocabulary(folder: Path) -> float:
    """Seconds to open a file with 256 k tokens, their scores, types and as many merges."""
    path = folder / "vocabulary.gguf"
    n = 1 << 18
    tokens = [f"token{i:06d}" for i in range(n)]
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [f"a{i} b{i}" for i in range(n)],
        "tokenizer.ggml.scores": np.zeros(n, np.float32),
        "tokenizer.ggml.token_type": np.ones(n, np.int32),
    }
    realm_ext.write_gguf(path, metadata, {})
    return median_seconds(lambda: realm_ext.GGUFFile(path))


def to_q4_0(folder: Path, megabytes: int, threads: int) -> float:
    """Megabytes of f16 input a second, to Q4_0."""
    source, target = folder / "f16.gguf", folder / "q4_0.gguf"
    rows, cols = 1024, 4096
    generator = np.random.default_rng(0)
    values = generator.standard_normal((rows, cols), np.float32).astype(np.float16)
    n = max(1, megabytes * 1_000_000 // values.nbytes)
    tensors = {
        f"blk.{i}.ffn_up.weight": (values.view(np.uint8), "F16", (rows, cols)) for i in range(n)
    }
    realm_ext.write_gguf(source, {"general.architecture": "llama"}, tensors)
    seconds = median_seconds(
        lambda: realm_ext.quantize_gguf(source, target, "Q4_0", threads=threads)
    )
    return n * values.nbytes / 1e6 / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=512)
    arguments = parser.parse_args()
    print(f"{realm_ext.devices()[0].name}, {os.cpu_count()} processors, medians of {_RUNS} runs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"vocabulary of 262144 tokens and merges: {1e3 * large_vocabulary(folder):.1f} ms")
        speed = to_q4_0(folder, arguments.megabytes, arguments.threads)
        print(f"f16 to Q4_0, {arguments.threads} threads: {speed:.0f} MB/s of input")


if __name__ == "__main__":
    main()
