"""Everything to do when a machine with a GPU is at hand: CUDA, or on a Mac Metal.

    python benchmarks/gpu.py --stage build     extension, suites and programs for the card that is here
    python benchmarks/gpu.py --stage check     suites and oracles on the card
    python benchmarks/gpu.py --stage sanitize  kernels under compute-sanitizer
    python benchmarks/gpu.py --stage kernels   each kernel, and torch's beside it where torch is
    python benchmarks/gpu.py --stage models    a model of 8B: decoding, adapters, speculation, determinism
    python benchmarks/gpu.py                   all of it

Each stage builds first if nothing is built, and ends within --minutes (9.5 on a card): what then had
no time says so, and what came stays. Needs a compiler for C++ and CUDA, cmake, ninja, pybind11, numpy,
pytest; models also the `gguf` package; nothing is fetched. Results are kept in build/gpu/results
(and --out) from stage to stage, so that the table, printed last, has those of earlier ones too; what
was predicted stands beside what came (gpu_targets.py). Exit status 1 if a check failed or a goal was
missed; goals and predictions are of one card, so that Metal is judged by its checks alone.

--device cpu takes every way through this script but the card's, and --emulated builds for the
emulated device; both measure tiny sizes, and only show that the script is sound.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu_build
import gpu_checks
import gpu_targets

HERE = Path(__file__).parent
STAGES = ["build", "check", "kernels", "models", "sanitize"]
Results = dict[str, float | str]
Records = list[dict[str, float | str]]


class Run:
    """One call of the script: what was asked, and the results so far."""

    def __init__(self, options: argparse.Namespace):
        """Takes the command line."""
        self.device = options.device
        self.emulated = options.emulated
        self.tiny = options.emulated or options.device == "cpu"
        self.checks_alone = self.tiny or options.device != "cuda"
        self.arch = options.arch
        self.program = options.kernels or gpu_build.kernels_program()
        self.installed = options.installed
        self.deadline = deadline_of(options)
        self.folder = options.results
        self.folder.mkdir(parents=True, exist_ok=True)
        self.broken = ""  # the last program that did not end well
        self.results: Results = {}
        for stage in STAGES:
            self.results |= self._stored(stage)

    def keep(self, out: Path | None) -> None:
        """The table and, in `out`, few files: what came, the card's wrappers, and all logs in one."""
        (self.folder / "table.md").write_text(
            gpu_targets.table(self.results, self.checks_alone) + "\n"
        )
        if out is None:
            return
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(self.results, indent=1))
        for name in ("table.md", "kernels.json", "wrappers.txt"):
            if (self.folder / name).exists():
                shutil.copy2(self.folder / name, out)
        shutil.make_archive(str(out / "logs"), "gztar", self.folder)

    def _file(self, stage: str) -> Path:
        return self.folder / f"gpu_{stage}.json"

    def _stored(self, stage: str) -> Results:
        path = self._file(stage)
        return json.loads(path.read_text()) if path.exists() else {}

    def stage(self, name: str) -> None:
        """Runs one and keeps what it found."""
        began = time.perf_counter()
        if name != "build" and not self.installed and not gpu_build.is_built():
            self.stage("build")
        tell(f"=== {name}")
        found = getattr(self, name)()
        self._file(name).write_text(json.dumps(found, indent=1))
        self.results |= found
        tell(f"=== {name}: {time.perf_counter() - began:.0f} s")

    def build(self) -> Results:
        """Minutes of the whole build."""
        return {"build_minutes": gpu_build.build(self.device, self.emulated, self.arch)}

    def check(self) -> Results:
        """Suites and oracles."""
        return self._checks().run()

    def sanitize(self) -> Results:
        """Findings of compute-sanitizer."""
        if self.tiny or self.device != "cuda":
            return {"sanitizer_errors": "on a CUDA card only"}
        return self._checks().sanitize()

    def kernels(self) -> Results:
        """Single kernels, beside torch's."""
        floors: Results = {}
        if self.device == "cuda" and not self.emulated:
            said = self._output([sys.executable, str(HERE / "gpu_floors.py")])
            floors = json.loads(said or '{"torch": "gave nothing"}')
            tell(f"torch: {floors.pop('torch')}; {floors}")
        # Built with the suites this program has the emulated device of CUDA, whatever the others have.
        device = "cuda" if self.device == "cpu" else self.device
        tiny = ["--tiny"] if self.tiny else []
        records = self._records([device, *tiny])
        own: Records = []
        if device == "cuda":
            own = self._records([device, *tiny, "products"], REALM_CUBLASLT="off")
        strict = self._records([device, *tiny, "--deterministic", "products"])
        self._keep_records({"plain": records, "without cuBLASLt": own, "deterministic": strict})
        return summary(records, own, floors) | ({"kernels": self.broken} if self.broken else {})

    def models(self) -> Results:
        """Whole models, in a process whose package is the one that was built."""
        out = self._file("models")
        out.unlink(missing_ok=True)
        command = [sys.executable, str(HERE / "gpu_models.py"), self.device]
        command += [str(gpu_build.FOLDER / "models"), str(out), *(["--tiny"] if self.tiny else [])]
        try:
            done = subprocess.run(command, env=self._environment(), timeout=self._left())
            ended = f"ended with status {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            ended = "ended with no time left"
        found = self._stored("models")
        if ended:
            found["one_sequence"] = found.get("one_sequence", ended)
        return found

    def _checks(self) -> gpu_checks.Checks:
        package = None if self.installed else gpu_build.package()
        checks = gpu_checks.Checks(self.device, self.tiny, self.folder, package, tell)
        checks.deadline = self.deadline
        return checks

    def _left(self) -> float:
        """Seconds."""
        return max(0.1, self.deadline - time.monotonic())

    def _environment(self) -> dict[str, str]:
        package = [] if self.installed else [str(gpu_build.package())]
        rest = filter(None, [os.environ.get("PYTHONPATH")])
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*package, *rest])}

    def _output(self, command: list[str], **environment: str) -> str:
        """Whole lines of what it printed, up to where it broke or had no time left: `broken` says so."""
        environment = {**os.environ, **environment}
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, env=environment, timeout=self._left()
            )
            printed, ended = done.stdout, f"status {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired as late:
            printed, ended = late.stdout or b"", "no time left"
        if ended:
            self.broken = f"ended with {ended}: {' '.join(map(str, command))}"
            tell(self.broken)
        return printed.decode()[: printed.rfind(b"\n") + 1]

    def _records(self, arguments: list[str], **environment: str) -> Records:
        lines = self._output([str(self.program), *arguments], **environment).splitlines()
        for line in lines:
            tell(line)
        return [json.loads(line) for line in lines]

    def _keep_records(self, kept: dict[str, Records]) -> None:
        (self.folder / "kernels.json").write_text(json.dumps(kept, indent=1))


def tell(text: str) -> None:
    print(text, flush=True)


def deadline_of(options: argparse.Namespace) -> float:
    """On the clock of time.monotonic(). The emulated device has all the time there is."""
    minutes: float | None = options.minutes
    if minutes is None:
        minutes = 600.0 if options.emulated or options.device == "cpu" else 9.5
    return time.monotonic() + 60 * minutes


def use_dense_library() -> None:
    """Names the vendor's products to all programs, where only a Python package has them."""
    found = gpu_build.dense_library()
    if found:
        os.environ["REALM_CUBLASLT"] = found
        tell(f"cuBLASLt: {found}")


def summary(records: Records, own: Records, floors: Results) -> Results:
    """The lines of the table that single kernels give."""
    found: Results = dict(floors)
    named = {record["name"]: record for record in records}
    if not named.keys() >= {"stream", "launch"}:  # it had no time
        return found
    found["stream_gb_s"] = named["stream"]["gb_s"]
    found["launch_us"] = float(named["launch"]["seconds"]) * 1e6
    bandwidth = float(found.get("copy_gb_s", found["stream_gb_s"]))
    if "sdpa_decode_gb_s" in floors:
        found["sdpa_decode_share"] = 100 * float(floors["sdpa_decode_gb_s"]) / bandwidth
    for r in records:
        rows = int(r.get("rows", 0))
        if r["name"] == "flash":
            found[f"flash_{r['kv']}_{r['tokens']:.0f}"] = r["tflops"]
        elif r["name"] == "decode":
            key = "decode_share" if r["kv"] == "f16" else "decode_q8_share"
            found[key] = 100 * float(r["gb_s"]) / bandwidth
        elif r["name"] == "product" and r["format"] == "Q4_K" and rows <= 64:
            found[f"q4k_{rows}_share"] = 100 * float(r["gb_s"]) / bandwidth
        elif r["name"] == "product":
            found[f"{str(r['format']).lower().replace('_', '')}_{rows}_tflops"] = r["tflops"]
    for r in own:
        if r["name"] == "product" and r["format"] in ("BF16", "Q4_K"):
            kind = str(r["format"]).lower().replace("_", "")
            found[f"{kind}_{int(r['rows'])}_own_tflops"] = r["tflops"]
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES)
    parser.add_argument("--device", default="metal" if sys.platform == "darwin" else "cuda")
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--out", type=Path, help="a folder for copies of the results: five files")
    parser.add_argument("--arch", help="what CMake calls it; by default the card's own")
    parser.add_argument("--kernels", type=Path, help="a gpu_kernels that is built already")
    parser.add_argument("--installed", action="store_true", help="the package that Python finds")
    parser.add_argument("--results", type=Path, default=gpu_build.FOLDER / "results")
    parser.add_argument("--minutes", type=float, help="that this call may take")
    parser.add_argument("--predictions", action="store_true", help="print them, run nothing")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.predictions:
        print(gpu_targets.predictions())
        return 0
    # Whoever stops this gets what there is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    gpu_build.find_tools()
    run = Run(options)
    if options.device == "cuda" and not options.emulated and "REALM_CUBLASLT" not in os.environ:
        use_dense_library()
    for stage in options.stage:
        try:
            run.stage(stage)
        finally:
            run.keep(options.out)
    print(f"\n{gpu_targets.table(run.results, run.checks_alone)}")
    if run.tiny:
        print("\nfigures are of tiny sizes without a card, and mean nothing")
    elif run.checks_alone:
        print(
            "\ngoals and predictions are of another device; only what is right or wrong is judged"
        )
    missed = gpu_targets.missed(run.results, run.checks_alone)
    print(
        f"\nmissed: {', '.join(missed)}" if missed else "\nevery goal that was measured is reached"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
