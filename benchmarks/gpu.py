"""Everything to do when a machine with a GPU is at hand, in one run: CUDA, or on a Mac Metal.

Builds the extension for the card (CUDA: nvcc on the PATH), compares the logits of the golden models on
the card with the CPU's, which the test suite holds to float64 oracles, and times steps of 1 to 512
rows of each model given.

    python benchmarks/gpu.py                      checks alone
    python benchmarks/gpu.py model.gguf ...       and times these models

Prints one table in Markdown for docs/gpu_log.md or docs/metal.md. Exit status 1 if a check failed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
F16_CACHE, QUANTIZED = 1e-5, 1e-3  # of exact weights over an f16 cache; of quantized weights


DEVICE = "metal" if sys.platform == "darwin" else "cuda"


def build() -> None:
    """Installs the tree with the backend of the card that is here."""
    command = [sys.executable, "-m", "pip", "install", "-q", str(ROOT)]
    command += [f"-Ccmake.define.REALM_{DEVICE.upper()}=ON"]
    if DEVICE == "cuda":
        command += ["-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native"]
    subprocess.run(command, check=True)


def nmse(values: np.ndarray, reference: np.ndarray) -> float:
    error = np.sum((values.astype(np.float64) - reference) ** 2)
    ratio = float(error / np.sum(reference.astype(np.float64) ** 2))
    return ratio if np.isfinite(ratio) else float("inf")


def golden_models() -> dict[Path, float]:
    exact = [*GOLDEN.glob("arch/*/model-f32.gguf"), *GOLDEN.glob("forward/llama-heads-*.gguf")]
    quantized = [*GOLDEN.glob("quant/*.gguf")]
    return dict.fromkeys(sorted(exact), F16_CACHE) | dict.fromkeys(sorted(quantized), QUANTIZED)


def check(realm_ext, path: Path, budget: float) -> tuple[float, bool]:
    """The card's distance from the CPU over an f32 cache, and whether it is within the budget."""
    cpu, card = realm_ext.Model(path, device="cpu"), realm_ext.Model(path, device=DEVICE)
    tokens = np.arange(3, 43, dtype=np.int32) * 7 % 80
    reference = cpu.logits(tokens, kv_dtype="f32")
    worst = max(
        nmse(card.logits(tokens, kv_dtype="f16", chunk=chunk), reference) for chunk in (512, 5)
    )
    return worst, worst <= budget


def rate(model, n_tokens: int, chunk: int) -> float:
    """Tokens a second of a prompt taken `chunk` at a time; the median of three."""
    tokens = np.arange(n_tokens, dtype=np.int32) % 1000
    model.logits(tokens, rows="last", kv_dtype="f16", chunk=chunk)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        model.logits(tokens, rows="last", kv_dtype="f16", chunk=chunk)
        seconds.append(time.perf_counter() - began)
    return n_tokens / float(np.median(seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--installed", action="store_true", help="do not build first")
    options = parser.parse_args()
    if not options.installed:
        build()
    import realm_ext

    devices = [device for device in realm_ext.devices() if device.kind == DEVICE]
    if not devices:
        print(realm_ext.doctor())
        return 1
    print(f"{devices[0].name} ({', '.join(devices[0].features)})\n")
    print("| model | NMSE | budget | |\n|---|---|---|---|")
    sound = True
    for path, budget in golden_models().items():
        name = path.relative_to(GOLDEN).with_suffix("")
        try:
            error, within = check(realm_ext, path, budget)
        except realm_ext.FormatError as refusal:  # Metal has no kernel for some formats
            sound = sound and DEVICE == "metal" and "has no kernel for" in str(refusal)
            print(f"| {name} | | | {refusal} |")
            continue
        sound = sound and within
        print(f"| {name} | {error:.1e} | {budget:.0e} | {'' if within else 'FAILED'} |")
    for path in options.models:
        model = realm_ext.Model(path, device=DEVICE)
        print(f"\n{path.name}: GB/s are of the weights, read once for each step\n")
        print("| rows a step | tokens/s | GB/s |\n|---|---|---|")
        for chunk, n_tokens in [(1, 128), (2, 128), (4, 256), (8, 512), (32, 1024), (512, 4096)]:
            speed = rate(model, n_tokens, chunk)
            print(f"| {chunk} | {speed:.0f} | {speed / chunk * model.weight_bytes / 1e9:.0f} |")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
