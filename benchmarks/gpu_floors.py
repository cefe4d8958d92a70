"""What torch does on the same card: the floors beside our own figures, as one JSON object.

A program of its own, so that its memory is gone when ours is measured. Says "torch: not here" where
it is not, and measures nothing.
"""

import json
import statistics
import sys
from collections.abc import Callable


def seconds(torch, call: Callable[[], object]) -> float:
    """Of one call: the median of five samples of at least 50 ms, between two events."""

    def sample(n: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(n):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    sample(3)
    n = max(1, round(0.05 / (sample(3) / 3)))
    return statistics.median(sample(n) / n for _ in range(5))


def step_seconds(torch, rows: int) -> float:
    """The matrix products of a step of an 8B model in bf16: 32 layers of weights and the head."""
    shapes = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)] * 32 + [(128256, 4096)]
    weights = [torch.randn(n, k, device="cuda", dtype=torch.bfloat16) for n, k in shapes]
    inputs = {k: torch.randn(rows, k, device="cuda", dtype=torch.bfloat16) for k in (4096, 14336)}
    return seconds(torch, lambda: [inputs[w.shape[1]] @ w.T for w in weights])


def copy_rate(torch) -> float:
    """Bytes read and written in a second."""
    x = torch.randn(1 << 30, device="cuda")
    y = torch.empty_like(x)
    return 8 * x.numel() / seconds(torch, lambda: y.copy_(x))


def multiply_rate(torch) -> float:
    """Operations a second of a large product in bf16."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / seconds(torch, lambda: a @ b)


def attend_rate(torch, n: int) -> float:
    """Operations a second of causal attention, half of them counted, 32 heads of 128 in bf16."""
    q, k, v = (torch.randn(1, 32, n, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention
    return 2 * 32 * 128 * n * n / seconds(torch, lambda: attend(q, k, v, is_causal=True))


def decode_rate(torch, sequences: int, n: int) -> float:
    """Bytes of keys and values read in a second for one row of each sequence, in f16: 8 heads of 128.

    The four query heads of a key head stand as four rows of it, so that nothing is read twice.
    """
    q, k, v = (
        torch.randn(sequences, 8, rows, 128, device="cuda", dtype=torch.float16)
        for rows in (4, n, n)
    )
    attend = torch.nn.functional.scaled_dot_product_attention
    return 4 * k.numel() / seconds(torch, lambda: attend(q, k, v))


def measure(torch) -> dict[str, float]:
    """Every floor."""
    found = {"copy_gb_s": copy_rate(torch) / 1e9, "matmul_tflops": multiply_rate(torch) / 1e12}
    for n in (4096, 8192, 16384):
        found[f"sdpa_tflops_{n}"] = attend_rate(torch, n) / 1e12
    found["sdpa_decode_gb_s"] = decode_rate(torch, 32, 4096) / 1e9
    for name, rows in (("floor_one", 1), ("floor_many", 32)):
        found[name] = rows / step_seconds(torch, rows)
    return found


def main() -> None:
    try:
        import torch
    except ImportError:
        print(json.dumps({"torch": "not here"}))
        return
    if not torch.cuda.is_available():
        print(json.dumps({"torch": "sees no CUDA device"}))
        return
    print(json.dumps(measure(torch) | {"torch": torch.__version__}))


if __name__ == "__main__":
    sys.exit(main())
