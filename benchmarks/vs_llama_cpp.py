"""realm_ext beside llama.cpp: both on the same files and threads, in alternation, in one run.

    python benchmarks/synth.py tinyllama-1.1b Q4_K_M tinyllama-Q4_K_M.gguf
    python benchmarks/vs_llama_cpp.py tinyllama-Q4_K_M.gguf [MORE.gguf ...] [--work LIST] [--rounds N]
        [--threads N] [--json OUT] [--markdown] [--plot OUT.svg] [--only realm_ext|llama_cpp]
        [--peer-python PYTHON]

LIST has, with commas: prefill:T (a prompt of T tokens), decode:B (64 tokens for each of B sequences
after 128), decode:B@C (after C), load (from the call that loads a file in the page cache to the first
token), memory (the most a process had, for one prompt of 512 and 64 tokens). --generate changes the 64.

Each engine has its own process, and only one works at a time. Of each pair the two take turns in going
first; a ratio is that of a pair. Before and after each row the machine's ceilings are measured, and a
row's shares are of the medians of those two. llama.cpp has flash attention on or off, whichever is
faster for the row, keys and values in f16, n_ubatch 512; its times leave out sampling, ours have it in.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from comparison import NAMES, OURS, PEER, Comparison, Row, Samples, markdown, svg, text
from neighbours import Neighbours

import realm_ext
from realm_ext._work import Work

HERE = Path(__file__).resolve().parent
DEFAULT_WORK = (
    "prefill:512,prefill:4096,decode:1,decode:2,decode:4,decode:8,decode:16,decode:32,"
    "decode:8@2048,load,memory"
)
GENERATE, CONTEXT = 64, 128  # tokens, unless the command line says otherwise
CEILING_SECONDS = 0.8
REST = 0.05  # seconds for the other engine's threads to go to sleep
MEMORY_WORK = ("prefill:512", "decode:1@512")


class Contestant:
    """An engine's process."""

    def __init__(self, name: str, python: str) -> None:
        """Starts it."""
        self.process = subprocess.Popen(
            [python, HERE / "contestants.py", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        """The answer; {"error": ...} too if the process died."""
        try:
            self.process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": "the process ended"}

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # it may be in the middle of something long
            self.process.kill()
        self.process.stdin.close()
        self.process.wait()


class Arena:
    """Runs rows, each a pair of engines over one file."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """From the command line."""
        self._arguments = arguments
        self.threads = arguments.threads or realm_ext._core.usable_processors()
        self.engines = [arguments.only] if arguments.only else list(NAMES)
        self.ceilings: list[dict[str, Any]] = []

    def start(self, name: str) -> Contestant:
        """A new process of one engine."""
        python = self._arguments.peer_python if name == PEER else sys.executable
        return Contestant(name, python)

    def versions(self) -> dict[str, dict[str, Any]]:
        """What the engines are."""
        found = {}
        for name in self.engines:
            with self.start(name) as contestant:
                found[name] = contestant.ask("version")
            if "error" in found[name]:
                raise SystemExit(f"{NAMES[name]} does not start: {found[name]['error']}")
        return found

    def rows(self, model: Path, names: list[str]) -> Iterator[Row]:
        """All rows of one file, those over one loaded model first."""
        warm(model)
        timed = [name for name in names if ":" in name]
        if timed:
            yield from self._timed_rows(model, timed)
        for name in names:
            if name not in timed:
                self._tell(model, name)
                yield {"load": self._load_row, "memory": self._memory_row}[name](model)

    def _timed_rows(self, model: Path, names: list[str]) -> Iterator[Row]:
        with ExitStack() as stack:
            contestants = {name: stack.enter_context(self.start(name)) for name in self.engines}
            for contestant in contestants.values():
                answer = contestant.ask("load", model=str(model), threads=self.threads)
                if "error" in answer:
                    raise SystemExit(answer["error"])
            for name in names:
                yield self._timed_row(model, name, contestants)

    def _timed_row(self, model: Path, name: str, contestants: dict[str, Contestant]) -> Row:
        self._tell(model, name)
        work = self._parse(name)
        engines = {engine: Samples() for engine in NAMES}
        ready = []
        for engine, contestant in contestants.items():
            answer = contestant.ask("prepare", work=work)
            samples = engines[engine]
            samples.missing = answer.get("error") or answer.get("unavailable", "")
            if samples.missing:
                samples.missing = f"not available: {samples.missing}"
            else:
                ready.append(engine)
                samples.note = ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in answer.items())
        beside, neighbours = [self._measure_ceilings()], []
        for i in range(self._arguments.rounds if ready else 0):
            for engine in ready if i % 2 == 0 else ready[::-1]:
                others = Neighbours([c.process.pid for c in contestants.values()])
                answer = contestants[engine].ask("run")
                neighbours.append(others.share())
                if "error" in answer:
                    raise SystemExit(f"{NAMES[engine]}, {name}: {answer['error']}")
                engines[engine].values.append(answer["tokens"] / answer["seconds"])
                time.sleep(REST)
        beside.append(self._measure_ceilings())
        for contestant in contestants.values():
            contestant.ask("release")
        row = Row(model.stem, describe(work), "tokens/s", engines, neighbours=neighbours)
        row.most, row.limit = most_tokens_per_s(model, work, beside)
        return row

    def _load_row(self, model: Path) -> Row:
        engines = {engine: Samples() for engine in NAMES}
        for i in range(self._arguments.rounds):
            for engine in self.engines if i % 2 == 0 else self.engines[::-1]:
                with self.start(engine) as contestant:
                    answer = contestant.ask("first_token", model=str(model), threads=self.threads)
                self._take(engines[engine], answer, "seconds", 1)
        return Row(model.stem, "load to first token", "s", engines)

    def _memory_row(self, model: Path) -> Row:
        engines = {engine: Samples() for engine in NAMES}
        for engine in self.engines:
            with self.start(engine) as contestant:
                contestant.ask("load", model=str(model), threads=self.threads)
                for work in map(self._parse, MEMORY_WORK):
                    contestant.ask("prepare", work=work)
                    contestant.ask("run")
                    contestant.ask("release")
                self._take(engines[engine], contestant.ask("peak_memory"), "bytes", 1e6)
        n_tokens = 512 + self._arguments.generate
        needed = model.stat().st_size + n_tokens * work_of(model).kv_bytes_per_token
        return Row(model.stem, f"peak memory; file and KV are {needed / 1e6:.0f} MB", "MB", engines)

    @staticmethod
    def _take(samples: Samples, answer: dict[str, Any], key: str, unit: float) -> None:
        if key in answer:
            samples.values.append(answer[key] / unit)
        else:
            samples.missing = answer.get("unavailable") or answer["error"]

    def _measure_ceilings(self) -> dict[str, Any]:
        # In a process of its own: 1 GiB to read from is nobody's peak memory.
        with self.start(OURS) as measurer:
            found = measurer.ask("ceilings", threads=self.threads, seconds=CEILING_SECONDS)
        self.ceilings.append(found)
        return found

    def _parse(self, name: str) -> dict[str, Any]:
        return parse_work(name, self._arguments.generate)

    def _tell(self, model: Path, name: str) -> None:
        print(f"{model.stem}: {name}", file=sys.stderr, flush=True)


def warm(model: Path) -> int:
    """Reads a file, so that it is in the page cache."""
    with open(model, "rb", buffering=0) as file:
        return sum(len(part) for part in iter(lambda: file.read(1 << 24), b""))


def parse_work(name: str, generate: int = GENERATE) -> dict[str, Any]:
    """prefill:512, decode:8, decode:8@2048."""
    kind, _, rest = name.partition(":")
    sequences, _, context = rest.partition("@")
    if kind == "prefill":
        return {"kind": kind, "tokens": int(rest)}
    if kind == "decode":
        return {
            "kind": kind,
            "tokens": generate,
            "sequences": int(sequences),
            "context": int(context or CONTEXT),
        }
    raise SystemExit(f"{name} is no work; see --help")


def describe(work: dict[str, Any]) -> str:
    """In words."""
    if work["kind"] == "prefill":
        return f"prefill {work['tokens']}"
    n, context = work["sequences"], work["context"]
    after = "" if context == CONTEXT else f" after {context}"
    return f"decode, {n} sequence{'s' * (n != 1)}{after}"


def work_of(model: Path) -> Work:
    """What the file's matrices cost."""
    with realm_ext.Model(model, weights="mapped") as loaded:
        return Work.of(realm_ext.GGUFFile(model), loaded.config)


def most_tokens_per_s(
    model: Path, work: dict[str, Any], ceilings: list[dict[str, Any]]
) -> tuple[float, str]:
    """The row's ceiling and what sets it."""
    names = ("read_bytes_per_s", "int8_macs_per_s", "f32_macs_per_s")
    found = SimpleNamespace(**{k: statistics.median(c[k] for c in ceilings) for k in names})
    if work["kind"] == "prefill":
        return work["tokens"] / work_of(model).prefill_seconds(work["tokens"], found), "multiply"
    context = work["context"] + work["tokens"] // 2
    seconds, limit = work_of(model).step(work["sequences"], context, found)
    return work["sequences"] / seconds, limit


def commit() -> str:
    """Of this tree; "-dirty" with changes that are in no commit."""
    command = ["git", "-C", HERE, "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "not known"


def main() -> int:
    """Compare and show; 1 if it had to stop early."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--work", default=DEFAULT_WORK, metavar="LIST", help=DEFAULT_WORK)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--generate", type=int, default=GENERATE, help="tokens of decode rows")
    parser.add_argument("--only", choices=list(NAMES))
    parser.add_argument("--peer-python", default=sys.executable, help="has llama-cpp-python")
    parser.add_argument("--json", type=Path, metavar="OUT", help="every sample")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--plot", type=Path, metavar="OUT.svg")
    arguments = parser.parse_args()
    names = arguments.work.split(",")
    for name in names:
        if name not in ("load", "memory"):
            parse_work(name)
    arena = Arena(arguments)
    found = Comparison(
        machine=f"{realm_ext.devices()[0].name}, {os.cpu_count()} processors",
        threads=arena.threads,
        commit=commit(),
        date=datetime.date.today().isoformat(),
        versions=arena.versions(),
    )
    status = 0
    for sign in (signal.SIGINT, signal.SIGTERM):  # also where a shell made us ignore Ctrl-C
        signal.signal(sign, signal.default_int_handler)
    try:
        for model in arguments.models:
            for row in arena.rows(model, names):
                found.rows.append(row)
    except (KeyboardInterrupt, SystemExit) as why:  # what was found before is shown all the same
        print(f"stopped: {str(why) or 'interrupted'}", file=sys.stderr)
        status = 1
    found.ceilings = arena.ceilings
    if arguments.json:
        arguments.json.write_text(json.dumps(found.as_json(), indent=1))
    if arguments.plot:
        arguments.plot.write_text(svg(found))
    print(markdown(found) if arguments.markdown else text(found))
    return status


if __name__ == "__main__":
    sys.exit(main())
