"""Error and speed of our encoders beside llama.cpp's quantizer, on one core.

    python benchmarks/encode_error.py --ggml-base PATH [--oracles DIR] [--flags=-O3]

PATH is llama.cpp's libggml-base (a llama-cpp-python wheel has it in llama_cpp/lib). The encoders
are compiled alone, by $CXX or g++ with the flags given. Prints for each set of values and type the
ratio of root-mean-square errors, ours / theirs, then millions of values per second of processor
time, the best of five. With DIR, also the ratio for each tensor of the files that llama.cpp
quantized there.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from make_encode_golden import LEGACY, SEARCHED, Bytes, Floats, Ggml, rms_error  # noqa: E402

Encode = Callable[[str, Floats], Bytes]


def compile_encoders(flags: list[str], folder: str) -> ctypes.CDLL:
    library = os.path.join(folder, "encoders.so")
    sources = [str(path) for path in sorted((ROOT / "csrc/quant").glob("encode_*.cpp"))]
    fixed = ["-std=c++20", "-ffp-contract=off", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *fixed, *flags, *sources, "-o", library], check=True)
    return ctypes.CDLL(library)


def our_encoder(library: ctypes.CDLL) -> Encode:
    def encode(name: str, x: Floats) -> Bytes:
        elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
        n_blocks = x.size // elements
        blocks: Bytes = np.empty(n_blocks * size, np.uint8)
        function = "encode_" + name.lower()  # as the Itanium ABI spells realm::encode_x
        symbol = getattr(library, f"_ZN5realm{len(function)}{function}EPKfPSt4bytem")
        pointers = (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(blocks.ctypes.data))
        symbol(*pointers, ctypes.c_uint64(n_blocks))
        return blocks

    return encode


def value_sets(n: int = 1 << 19) -> dict[str, Floats]:
    rng = np.random.default_rng(3)
    outlier = rng.standard_normal((n // 1024, 1024)) * 0.02
    outlier[:, rng.choice(1024, 12, replace=False)] *= 20
    sets = {
        "gaussian": rng.standard_normal(n) * 0.02,
        "laplace": rng.laplace(size=n) * 0.02,
        "student t3": rng.standard_t(3, n) * 0.02,
        "outlier columns": outlier.ravel(),
        "sparse 70 %": np.where(rng.random(n) < 0.7, 0, rng.standard_normal(n) * 0.02),
        "positive": np.abs(rng.standard_normal(n)) * 0.02,
        "uniform 0.5..1.5": rng.random(n) + 0.5,
        "mean 5 sigma": rng.standard_normal(n) * 0.02 + 0.1,
        "constant blocks": np.repeat(rng.standard_normal(n // 256), 256),
        "all zero": np.zeros(n),
    }
    return {name: x.astype(np.float16).astype(np.float32) for name, x in sets.items()}


def ratio(ours: float, theirs: float) -> str:
    if theirs == 0:
        return "both 0" if ours == 0 else f"{ours:.2g} / 0"
    return f"{ours / theirs:.4f}"


def print_row(head: str, cells: list[str]) -> None:
    print(f"{head:<28}" + "".join(f"{cell:>10}" for cell in cells))


def million_per_second(encode: Encode, name: str, x: Floats) -> str:
    seconds = []
    for _ in range(5):
        start = time.process_time()
        encode(name, x)
        seconds.append(time.process_time() - start)
    return f"{x.size / min(seconds) / 1e6:.1f}"


def print_oracle_rows(ours: Encode, oracles: Path) -> None:
    original = {t.name: t.data for t in GGUFReader(oracles / "quant/F16.gguf").tensors}
    for path in sorted((oracles / "quant").glob("*.gguf")):
        sums: dict[str, list[float]] = {}
        for tensor in GGUFReader(path).tensors:
            name = tensor.tensor_type.name
            if name not in SEARCHED:
                continue
            x = np.asarray(original[tensor.name], np.float32).ravel()
            theirs = rms_error(name, tensor.data.reshape(-1), x)
            sums.setdefault(name, []).append(rms_error(name, ours(name, x), x) / theirs)
        for name, ratios in sums.items():
            spread = f"{min(ratios):.4f} .. {max(ratios):.4f}"
            print(f"{path.name:<16}{name:<8}{len(ratios):>3} tensors  {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ggml-base", type=Path, required=True)
    parser.add_argument("--oracles", type=Path)
    parser.add_argument("--flags", default="-O3")
    args = parser.parse_args()
    theirs = Ggml(args.ggml_base).quantize
    sets = value_sets()
    with tempfile.TemporaryDirectory() as folder:
        ours = our_encoder(compile_encoders(args.flags.split(), folder))
        print_row("rms error, ours / theirs", SEARCHED)
        for set_name, x in sets.items():
            errors = [
                (rms_error(name, ours(name, x), x), rms_error(name, theirs(name, x), x))
                for name in SEARCHED
            ]
            print_row(set_name, [ratio(*pair) for pair in errors])
        if args.oracles:
            print_oracle_rows(ours, args.oracles)
        x = sets["gaussian"]
        for names in (SEARCHED, LEGACY):
            print_row("million values / s", names)
            print_row("ours", [million_per_second(ours, name, x) for name in names])
            theirs_of = {name for name in names if name not in ("F16", "BF16")}
            cells = [million_per_second(theirs, n, x) if n in theirs_of else "-" for n in names]
            print_row("llama.cpp", cells)


if __name__ == "__main__":
    main()
