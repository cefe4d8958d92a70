"""What is to be shown on a GPU: goals, predictions with their reasons, and the table beside what came.

Figures are of one H200 and a model of 8B, Q4_K_M. Predictions are made before a run and stay as they
were; docs/gpu_log.md keeps them with the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    key: str
    what: str
    unit: str
    predicted: str
    why: str
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, value: float) -> str:
        """Of a measurement against the goal."""
        if self.at_least is None and self.at_most is None:
            return ""
        good = value >= self.at_least if self.at_least is not None else value <= self.at_most
        return "reached" if good else "MISSED"

    @property
    def goal(self) -> str:
        """In words."""
        if self.at_least is not None:
            return f"at least {self.at_least:,g}"
        return f"at most {self.at_most:,g}" if self.at_most is not None else ""


TARGETS = [
    Target("build_minutes", "build for the card, 16 cores", "min", "1-2", "some 10 minutes of one core; the "
           "longest file is half a minute", at_most=9),
    Target("failed_suites", "C++ suites that fail on the card", "", "0-2", "PTX has only been compiled", at_most=0),
    Target("wrappers_unlike", "wrappers of instructions unlike the emulated device", "", "0-1", "the manual's layouts "
           "of fragments, never seen to run", at_most=0),
    Target("failed_oracles", "tests against oracles that fail", "", "0-5", "as above", at_most=0),
    Target("greedy_failed", "models whose greedy tokens are not the oracle's", "", "0-1", "as emulated: none",
           at_most=0),
    Target("batches_failed", "deterministic answers not the same alone and in 50 batches", "", "0",
           "no kernel of that mode knows its company", at_most=0),
    Target("failed_python", "tests of engine, LoRA, speculation that fail", "", "0-20",
           "some hold answers to the CPU's bits"),
    Target("worst_f16_nmse", "worst NMSE, exact weights, f16 cache", "", "1e-7-1e-6", "as emulated", at_most=1e-5),
    Target("worst_quant_nmse", "worst NMSE, quantized weights", "", "3e-4-9e-4", "as emulated", at_most=1e-3),
    Target("sanitizer_errors", "findings of compute-sanitizer", "", "0", "clean under asan and tsan here", at_most=0),
    Target("copy_gb_s", "copy bandwidth (torch), read and written", "GB/s", "4,300", "measured on such a card"),
    Target("matmul_tflops", "bf16 matmul 8192 (torch)", "TFLOP/s", "790", "measured on such a card"),
    Target("stream_gb_s", "our x += y", "GB/s", "3,900", "16-byte loads, nothing to wait for"),
    Target("launch_us", "a launch, back to back", "us", "2.5", "host bound"),
    Target("flash_bf16_4096", "flash prefill, 4k, bf16", "TFLOP/s", "180-230", "32 heads of 64-query tiles: "
           "few waves, causal ends", at_least=250),
    Target("flash_bf16_8192", "flash prefill, 8k, bf16", "TFLOP/s", "200-250", "mma.sync, two stages, 209 "
           "registers: two blocks to a multiprocessor", at_least=250),
    Target("flash_bf16_16384", "flash prefill, 16k, bf16", "TFLOP/s", "210-260", "as above", at_least=250),
    Target("flash_f16_16384", "flash prefill, 16k, f16", "TFLOP/s", "210-260", "as bf16"),
    Target("sdpa_tflops_4096", "torch SDPA, 4k, bf16", "TFLOP/s", "300-480", "FA2 or cuDNN, causal ends"),
    Target("sdpa_tflops_8192", "torch SDPA, 8k, bf16", "TFLOP/s", "330-530", "as above"),
    Target("sdpa_tflops_16384", "torch SDPA, 16k, bf16", "TFLOP/s", "350-550", "FA2 or cuDNN"),
    Target("decode_share", "decode attention, 32 x 4k, f16 cache", "% of copy", "50-70",
           "pages of 32 tokens, two stages of 16 keys in each warp", at_least=75),
    Target("decode_q8_share", "the same, q8_0 cache", "% of copy", "30-50", "the same loads bring half the bytes"),
    Target("sdpa_decode_share", "torch SDPA, decode 32 x 4k, f16", "% of copy", "50-80", "FA2 with split keys, nothing paged"),
    Target("q4k_1_share", "product Q4_K, 1 row", "% of copy", "40-60", "few loads under way in a warp"),
    Target("q4k_8_share", "product Q4_K, 8 rows", "% of copy", "25-40", "8 x the dp4a beside one unpacking"),
    Target("q4k_32_share", "product Q4_K, 32 rows", "% of copy", "15-30", "unpacked between the copies"),
    Target("q4k_4096_tflops", "product Q4_K, 4096 rows", "TFLOP/s", "150-300", "int8 unit, unpacked for each 64 rows; 400-550 where cuBLASLt is found and the weight decoded for it"),
    Target("bf16_4096_tflops", "product BF16, 4096 rows", "TFLOP/s", "250-650", "mma.sync; the upper end is cuBLASLt's"),
    Target("one_sequence", "8B Q4_K_M, one sequence", "tokens/s", "150-250", "vector products at half the bandwidth, "
           "and the gaps between launches", at_least=250),
    Target("many_sequences", "8B Q4_K_M, 32 sequences", "tokens/s", "1,500-3,000", "8-16 ms a step", at_least=3000),
    Target("prefill", "8B Q4_K_M, prompt of 4096", "tokens/s", "6,000-12,000", "16 TFLOP each 1,000 tokens"),
    Target("floor_one", "bf16 matmuls of 8B alone, 1 row (torch)", "tokens/s", "220-260", "16 GB of weights"),
    Target("floor_many", "bf16 matmuls of 8B alone, 32 rows (torch)", "tokens/s", "6,500-8,000", "the same bytes"),
    Target("deterministic_one", "deterministic, one sequence: time", "x", "1.0-1.05", "the same kernels", ),
    Target("deterministic_many", "deterministic, 32 sequences: time", "x", "1.5-3",
           "vector kernels read the weights once for each 8 rows"),
    Target("lora_ratio", "32 adapters of rank 16, all linear layers: time", "x", "1.05-1.3", "84 MB more for each "
           "adapter and token", at_most=1.10),
    Target("lora_qv_ratio", "the same, on q and v alone", "x", "1.03-1.15", "a tenth of the bytes, as many launches", at_most=1.10),
    Target("speculation", "speculation at acceptance 0.8", "x", "1.5-2.0", "5 rows cost 1.2-1.4 of one",
           at_least=1.8),
]  # fmt: skip

# What is right or wrong whatever the sizes are.
CHECKS = {
    "failed_suites",
    "wrappers_unlike",
    "failed_oracles",
    "greedy_failed",
    "batches_failed",
    "worst_f16_nmse",
    "worst_quant_nmse",
    "sanitizer_errors",
}


def number(value: float) -> str:
    """Three digits that matter."""
    if value == 0 or 0.01 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.1e}"


def table(results: Mapping[str, float | str], checks_alone: bool) -> str:
    """Every line with its prediction beside what came; a text says why there is no number."""
    lines = ["| what | unit | goal | predicted | measured | |", "|---|---|---|---|---|---|"]
    for t in TARGETS:
        value = results.get(t.key, "not run")
        is_text = isinstance(value, str)
        judged = not is_text and (t.key in CHECKS or not checks_alone)
        shown, verdict = value if is_text else number(value), t.verdict(value) if judged else ""
        lines.append(f"| {t.what} | {t.unit} | {t.goal} | {t.predicted} | {shown} | {verdict} |")
    return "\n".join(lines)


def predictions() -> str:
    """The table of docs/gpu_log.md."""
    lines = ["| what | unit | goal | predicted | why |", "|---|---|---|---|---|"]
    lines += [f"| {t.what} | {t.unit} | {t.goal} | {t.predicted} | {t.why} |" for t in TARGETS]
    return "\n".join(lines)


# How texts begin that stand for a measurement that broke.
BROKEN = ("failed: ", "ended with ", "see ", "gave no ")


def missed(results: Mapping[str, float | str], checks_alone: bool) -> list[str]:
    """Goals that were not reached and what broke; of tiny sizes only what is right or wrong counts."""
    broken = [f"{key} ({v})" for key, v in results.items() if str(v).startswith(BROKEN)]
    return broken + [
        t.what
        for t in TARGETS
        if (t.key in CHECKS or not checks_alone)
        and isinstance(value := results.get(t.key), int | float)
        and t.verdict(value) == "MISSED"
    ]
