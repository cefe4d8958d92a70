"""Loads mutants of model files and computes with what loads; none may do harm.

    python tests/fuzz/model_mutants.py FOLDER [--seconds 10]

FOLDER holds GGUF files and manifest.jsonl, a line for each: {"file", "category", "desc", "expect"},
where `expect` is "load", "reject" or "either". Of each file is shown: no crash, no hang, no error
but a FormatError, no memory beyond what the file justifies, eight tokens' logits that are finite
numbers, and the verdict that the manifest calls for. The exit status is 0 when all of that held.

The work is done in a child process, which is started again after a crash or a hang.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

TOKENS = [0, 1, 2, 3, 4, 5, 6, 7]
MEMORY_FACTOR, MEMORY_SLACK = 4, 96 << 20

# Must be refused by a program of texts; a model computes with token ids.
TEXT_ONLY = {"without the tokenizer"}

Record = dict[str, Any]


# ---- in the child --------------------------------------------------------------------------------


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(field: str) -> int:
    """Bytes of a field of /proc/self/status, such as VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def attempt(path: Path) -> Record:
    """What came of a file: {"outcome", "message"} and, if something was wrong, "violation"."""
    import numpy as np

    import realm_ext

    try:
        model = realm_ext.Model(path)
    except realm_ext.FormatError as error:
        return {"outcome": "refused", "message": str(error)}
    except Exception as error:
        return {"outcome": "refused", "violation": f"{type(error).__name__}: {error}"}
    try:
        logits = model.logits(TOKENS)
    except (realm_ext.FormatError, realm_ext.InvalidRequest) as error:
        return {"outcome": "loaded, no answer", "message": str(error)}
    except Exception as error:
        return {"outcome": "loaded", "violation": f"{type(error).__name__}: {error}"}
    if not np.isfinite(logits).all():
        return {"outcome": "loaded", "violation": "logits are not finite"}
    return {"outcome": "loaded", "message": ""}


def work() -> None:
    """Reads paths, a line each; answers with a line of JSON each."""
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        reset_peak_memory()
        before = memory("VmRSS")
        record = attempt(path)
        grown = memory("VmHWM") - before
        if grown > MEMORY_FACTOR * path.stat().st_size + MEMORY_SLACK:
            record["violation"] = f"took {grown} bytes for a file of {path.stat().st_size}"
        print(json.dumps(record), flush=True)


# ---- in the parent -------------------------------------------------------------------------------


class Child:
    """The process that touches the files."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def attempt(self, path: Path) -> Record:
        """As the function; a crash or a hang is a violation."""
        stdin, stdout = pipe(self._process.stdin), pipe(self._process.stdout)
        overdue = threading.Timer(self._seconds, self._process.kill)
        overdue.start()
        try:
            stdin.write(f"{path}\n")
            stdin.flush()
            answer = stdout.readline()
        finally:
            was_overdue = not overdue.is_alive()
            overdue.cancel()
        if answer:
            record: Record = json.loads(answer)
            return record
        _, said = self._process.communicate()
        ending = "hung" if was_overdue else f"ended with {self._process.returncode}: {said[-300:]}"
        self._start()
        return {"outcome": "died", "violation": ending}

    def close(self) -> None:
        self._process.communicate()


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def mutants(folder: Path) -> Iterator[Record]:
    with open(folder / "manifest.jsonl") as manifest:
        for line in manifest:
            yield json.loads(line)


def violation_of(mutant: Record, record: Record) -> str | None:
    """What is wrong about an outcome, if anything."""
    if "violation" in record:
        return str(record["violation"])
    must_refuse = mutant["expect"] == "reject" and mutant["desc"] not in TEXT_ONLY
    if must_refuse and record["outcome"] == "loaded":
        return "loaded, must be refused"
    if mutant["expect"] == "load" and record["outcome"] != "loaded":
        return f"refused, must load: {record['message']}"
    return None


def run(folder: Path, seconds: float) -> int:
    """The number of violations."""
    tally: collections.Counter[tuple[str, str]] = collections.Counter()
    n_violations = 0
    child = Child(seconds)
    for mutant in mutants(folder):
        record = child.attempt(folder / mutant["file"])
        tally[mutant["category"], record["outcome"]] += 1
        if violation := violation_of(mutant, record):
            n_violations += 1
            print(f"{mutant['file']} {mutant['category']}: {mutant['desc']}\n    {violation}")
    child.close()
    for (category, outcome), count in sorted(tally.items()):
        print(f"{category:16} {outcome:18} {count:6}")
    print(f"{sum(tally.values())} mutants, {n_violations} violations")
    return n_violations


def main() -> None:
    """Runs the folder, or as the child that touches its files."""
    if sys.argv[1:] == ["--child"]:
        work()
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10, help="per file, before it is a hang")
    arguments = parser.parse_args()
    sys.exit(run(arguments.folder, arguments.seconds) > 0)


if __name__ == "__main__":
    main()
