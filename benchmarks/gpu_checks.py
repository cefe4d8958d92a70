"""Whether a card computes what it should: C++ suites, oracles, Python suites, compute-sanitizer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import gpu_build

Results = dict[str, float | str]

# Suites of what stands above a backend. Some hold answers to the CPU's bits, so a failure here is
# something to read, not a verdict.
ABOVE = ["engine", "session", "speculation", "lora", "layers", "tenants", "sampling"]
# Of those, what the emulated device does in a quarter of an hour: it takes hours for the rest, crowds of
# tenants and long answers of drafted models.
EMULATED_ABOVE = ["engine", "session", "layers", "sampling"]
TOO_SLOW = "snapshot_resumes or many_threads or second_thread_is_refused_or or tenants_session"
# What holds a device to other programs' numbers: the whole of one file, and of another what names
# the program.
ORACLES = ["device", "lora"]
ORACLE_TESTS = "test_device or peft or kind_of_adapter"
# What the log has a line of its own for: tests of test_device.py by how their names begin.
ASKED = {
    "greedy_failed": "test_greedy_tokens_are_the_oracles",
    "batches_failed": "test_a_deterministic_answer_has_the_same_bits",
}
# What compute-sanitizer runs: each kernel in its smallest shapes, since it is some 50 times slower.
SANITIZED = [
    ("cuda_wrappers_test", ""),
    ("cuda_ops_test", ""),
    ("cuda_products_test", "few_rows"),
    ("cuda_products_test", "many_rows"),
    ("cuda_attention_test", "windows"),
    ("cuda_attention_test", "every_cache_type"),
    ("cuda_lora_test", "single_experts"),
]


class Checks:
    """Of one device; what programs say goes to files of `out`."""

    def __init__(
        self,
        device: str,
        tiny: bool,
        out: Path,
        package: Path | None,
        tell: Callable[[str], None],
    ):
        """`tiny`: there is no card; without `package` Python finds its own."""
        self.device, self.tiny, self.out, self.tell = device, tiny, out, tell
        self.deadline = float("inf")  # of all, on the clock of time.monotonic()
        self.patience = 3000 if tiny else 400  # seconds; the emulated device is slow
        places = [str(package)] if package else []
        self.python_path = os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])

    def run(self) -> Results:
        """All but compute-sanitizer."""
        results = {"failed_suites": "on a card only"} if self.tiny else self.suites()
        results |= {
            "failed_oracles": self.pytest("oracles", ORACLES, self.patience, "-k", ORACLE_TESTS)
        }
        results |= self.worst_errors() | self.asked()
        if self.tiny:
            results |= dict.fromkeys(("failed_python", "wrappers_unlike"), "on a card only")
            if self.device == "cuda":
                chosen = ["-k", f"not ({TOO_SLOW})"]
                found = self.pytest("python", EMULATED_ABOVE, self.patience, *chosen)
                results["python_emulated"] = (
                    found if found == 0 else f"see python.log: {found} fail"
                )
            return results
        return results | {"failed_python": self.pytest("python", ABOVE, 200)}

    def suites(self) -> Results:
        """The C++ suites, all golden models included, and what the wrappers of instructions give."""
        names = gpu_build.suites(self.device)
        if not names:
            return {"failed_suites": "none for this device"}
        failed = 0
        for name in names:
            status = self._log(name, [self._suite(name)], REALM_EXTENDED="1")
            failed += status != 0
            self.tell(f"{name}: {'right' if status == 0 else f'exit status {status}'}")
            for line in self._said(name).splitlines():
                if "failed:" in line:
                    self.tell(f"  {line.strip()[-300:]}")
        return {"failed_suites": float(failed), "wrappers_unlike": self.record_wrappers()}

    def record_wrappers(self) -> float | str:
        """Leaves what the card's wrappers of instructions give; how many are unlike the golden file's."""
        recorded = self.out / "wrappers.txt"
        recorded.unlink(missing_ok=True)
        self._log("record", [self._suite("cuda_wrappers_test")], REALM_RECORD=str(recorded))
        said = self._said("record")
        if not recorded.exists() or not re.search(r"^\d+ tests, ", said, re.MULTILINE):
            return "see record.log"
        self.tell(f"what the card's wrappers gave is in {recorded.name}, for tests/golden/cuda/")
        return float(len(re.findall(r"words differ|is not in the file", said)))

    def pytest(self, name: str, files: list[str], timeout: float, *more: str) -> float | str:
        """How many tests of the files fail with the device as what "auto" means."""
        paths = [str(gpu_build.ROOT / "tests" / "python" / f"test_{file}.py") for file in files]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
        report = self.out / f"{name}.xml"
        report.unlink(missing_ok=True)
        command += [f"--junitxml={report}", *paths, *more]
        status = self._log(
            name, command, timeout=timeout, REALM_BACKEND=self.device, PYTHONPATH=self.python_path
        )
        text = self._said(name)
        counted = re.findall(r"(\d+) (?:failed|error)", text.strip().rpartition("\n")[2])
        good = status == 0 and " passed" in text
        found = float(sum(map(int, counted))) if counted or good else f"see {name}.log"
        self.tell(f"{name}: {found} fail")
        return found

    def worst_errors(self) -> Results:
        """What test_device.py said of each model that it compared."""
        report = self.out / "oracles.xml"
        text = report.read_text() if report.exists() else ""
        results: Results = {}
        for kind in ("f16", "quant"):
            errors = re.findall(rf'name="{kind}_nmse" value="([^"]+)"', text)
            results[f"worst_{kind}_nmse"] = max(map(float, errors)) if errors else "see oracles.log"
        return results

    def asked(self) -> Results:
        """Of how many models greedy tokens, and a deterministic answer in any company, were others."""
        report = self.out / "oracles.xml"
        text = report.read_text() if report.exists() else "<none/>"
        cases = list(ElementTree.fromstring(text).iter("testcase"))
        results: Results = {}
        for key, name in ASKED.items():
            ran = [one for one in cases if one.get("name", "").startswith(name)]
            ran = [one for one in ran if one.find("skipped") is None]
            bad = [one for one in ran if len(one.findall("failure") + one.findall("error"))]
            results[key] = float(len(bad)) if ran else "see oracles.log"
        return results

    def sanitize(self) -> Results:
        """Of memory and of races; a program that is not there, or refuses the device, is told."""
        program = shutil.which("compute-sanitizer")
        if not program:
            return {"sanitizer_errors": "compute-sanitizer is not here"}
        errors = 0
        for tool in ("memcheck", "racecheck"):
            for suite, chosen in SANITIZED:
                name = f"{tool}_{suite}_{chosen}"
                test = [self._suite(suite), *filter(None, [chosen])]
                status = self._log(name, [program, "--tool", tool, *test], timeout=60)
                found = re.findall(
                    r"(?:ERROR SUMMARY: |hazards? displayed \()(\d+)", self._said(name)
                )
                found_nothing = not any(map(int, found))
                if not found or (found_nothing and status != 0):
                    return {"sanitizer_errors": f"gave no clean run: see {name}.log"}
                errors += sum(map(int, found))
                self.tell(f"{tool}, {suite} {chosen}: {' '.join(found)} findings")
        return {"sanitizer_errors": float(errors)}

    def _suite(self, name: str) -> str:
        return str(gpu_build.FOLDER / "tests" / name)

    def _log(self, name: str, command: list[str], timeout: float = 300, **environment: str) -> int:
        """Runs a program, its output to a file; its exit status, 124 for too late."""
        timeout = min(timeout, self.deadline - time.monotonic())
        with (self.out / f"{name}.log").open("w") as log:
            if timeout < 1:
                log.write("no time was left\n")
                return 124
            try:
                done = subprocess.run(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    cwd=gpu_build.ROOT,
                    timeout=timeout,
                )
            except subprocess.TimeoutExpired:
                log.write(f"\nended after {timeout:.0f} s\n")
                return 124
        return done.returncode

    def _said(self, name: str) -> str:
        return (self.out / f"{name}.log").read_text(errors="replace")
