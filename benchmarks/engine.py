"""What the engine gives a server: throughput, prefix reuse, Python's share, a live event loop.

    python benchmarks/engine.py [MODEL.gguf] [--threads N] [--rounds 3] [--tokens 64] [--streams 200]
        [--cycles 100] [--json OUT] [--markdown]

MODEL is any GGUF model, by default the package's demo model; `python benchmarks/synth.py
tinyllama-1.1b Q4_K_M MODEL.gguf` makes one. Ratios are of pairs that take turns in one run, and the
median pair counts. Each row:

- throughput: 8 requests one after another, against the same 8 together; the answers are equal,
  token by token, or the run fails.
- prefix: the time to the first token of a request that shares its beginning (512 tokens, or what
  the context leaves) with none before, against one of the same tenant that does. A request of another
  tenant finds nothing, or the run fails.
- python: 32 requests are streamed on one event loop. share_outside_steps is, of the time in which all
  of them decode, the part in which the engine's thread computes no forward: its books and its
  sampling (C++), waking up, and waiting for Python; so it is above what Python costs. ratio is the
  time of it all to that of the same requests with nobody reading before the end, as pairs.
- heartbeat: how late a task is that sleeps 10 ms on a loop with 200 streams; one compute thread.
- cycles: what 100 engines, made, used and closed, leave behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

import realm_ext
from realm_ext import Completion, Engine, Model, SamplingParams

Row = dict[str, float | str]
T = TypeVar("T")
_WARM = 20  # cycles before those that are counted


def greedy(n: int) -> SamplingParams:
    """Exactly n tokens."""
    return SamplingParams(max_tokens=n, temperature=0, ignore_eos=True)


class Bench:
    """A model and what is asked of it."""

    def __init__(self, model: Model, arguments: argparse.Namespace) -> None:
        """Takes a loaded model."""
        self.model = model
        self.arguments = arguments
        self.random = np.random.default_rng(7)

    def prompt(self, n: int) -> list[int]:
        """Random tokens."""
        return [int(t) for t in self.random.integers(0, self.model.config.n_vocab, n)]

    def pairs(self, work: Callable[[], tuple[float, float]]) -> list[tuple[float, float]]:
        """Pairs of seconds, after one that warms up."""
        work()
        return [work() for _ in range(self.arguments.rounds)]

    def throughput(self) -> Row:
        """One after another against together."""
        prompts = [self.prompt(8) for _ in range(8)]
        params = greedy(self.arguments.tokens)
        with Engine(self.model, max_sequences=8, prefix_cache=False) as engine:

            def pair() -> tuple[float, float]:
                one_by_one, first = timed(lambda: [engine.generate(p, params) for p in prompts])
                together, second = timed(lambda: engine.generate(prompts, params))
                check(tokens_of(one_by_one) == tokens_of(together), "company changed an answer")
                return first, second

            found = self.pairs(pair)
        n = 8 * self.arguments.tokens
        return {
            "row": "throughput",
            "alone_tokens_per_s": n / statistics.median(a for a, _ in found),
            "together_tokens_per_s": n / statistics.median(b for _, b in found),
            "ratio": median_ratio(found),
        }

    def prefix(self) -> Row:
        """A prompt that nobody had against one whose beginning is cached."""
        own = 4
        shared = min(512, (self.model.config.n_ctx - own - 1) // 16 * 16)
        hits: list[int] = []
        with Engine(self.model, max_sequences=2) as engine:

            def first_token(prompt: list[int], tenant: str) -> tuple[float, int]:
                answer = engine.generate(prompt, greedy(1), tenant=tenant)
                return answer.timings.first_token or 0.0, answer.usage.cached_tokens

            def pair() -> tuple[float, float]:
                beginning = self.prompt(shared)
                cold, none = first_token(beginning + self.prompt(own), "one")
                warm, hit = first_token(beginning + self.prompt(own), "one")
                other, leaked = first_token(beginning + self.prompt(own), "two")
                check(none == leaked == 0 and other > 0, "a tenant found what is another's")
                hits.append(hit)
                return cold, warm

            found = self.pairs(pair)
        return {
            "row": "prefix",
            "shared_tokens": shared,
            "cached_tokens": min(hits),
            "cold_s": statistics.median(a for a, _ in found),
            "warm_s": statistics.median(b for _, b in found),
            "ratio": median_ratio(found),
        }

    def python(self) -> Row:
        """Streams on a loop against nobody reading."""
        prompts = [self.prompt(4) for _ in range(32)]
        params = greedy(self.arguments.tokens)
        shares: list[float] = []
        with Engine(self.model, max_sequences=32, prefix_cache=False) as engine:

            def unread() -> list[list[int]]:
                requests = [engine.submit(p, params) for p in prompts]
                return tokens_of([r.result() for r in requests])

            def pair() -> tuple[float, float]:
                plain, quiet = timed(unread)
                streamed, share, seconds = asyncio.run(self.stream(engine, prompts, params))
                check(plain == streamed, "streaming changed an answer")
                shares.append(share)
                return seconds, quiet

            found = self.pairs(pair)
        return {
            "row": "python",
            "share_outside_steps": statistics.median(shares[1:]),
            "ratio": median_ratio(found),
        }

    async def stream(
        self, engine: Engine, prompts: list[list[int]], params: SamplingParams
    ) -> tuple[list[list[int]], float, float]:
        """Answers, the share outside of steps while all decode, and the seconds of it all."""
        marks: list[tuple[float, float]] = []  # wall and step seconds: all began, one ended
        begun = 0

        def mark() -> None:
            marks.append((time.perf_counter(), engine.stats().step_seconds))

        async def one(prompt: list[int]) -> list[int]:
            nonlocal begun
            tokens: list[int] = []
            async for chunk in engine.astream(prompt, params):
                begun += not tokens and bool(chunk.tokens)
                tokens += chunk.tokens
                if not marks and begun == len(prompts):
                    mark()
                if len(marks) == 1 and len(tokens) >= self.arguments.tokens - 1:
                    mark()
            return tokens

        start = time.perf_counter()
        answers = await asyncio.gather(*[one(p) for p in prompts])
        seconds = time.perf_counter() - start
        check(len(marks) == 2, "the requests never decoded all together")
        wall, steps = marks[1][0] - marks[0][0], marks[1][1] - marks[0][1]
        return list(answers), (wall - steps) / wall, seconds

    def heartbeat(self) -> Row:
        """How late 10 ms are beside streams."""
        n = self.arguments.streams
        prompts = [self.prompt(4) for _ in range(n)]

        async def run(engine: Engine) -> list[float]:
            gaps: list[float] = []

            async def beat() -> None:
                while True:
                    last = time.perf_counter()
                    await asyncio.sleep(0.01)
                    gaps.append(time.perf_counter() - last)

            async def read(prompt: list[int]) -> None:
                async for _ in engine.astream(prompt, greedy(self.arguments.tokens)):
                    pass

            pulse = asyncio.create_task(beat())
            await asyncio.gather(*[read(p) for p in prompts])
            pulse.cancel()
            return gaps

        with Engine(self.model) as engine:
            gaps = asyncio.run(run(engine))
        check(bool(gaps), "the streams ended within one beat")
        return {
            "row": "heartbeat",
            "streams": n,
            "beats": len(gaps),
            "p50_s": float(np.quantile(gaps, 0.5)),
            "p99_s": float(np.quantile(gaps, 0.99)),
            "max_s": max(gaps),
        }

    def cycles(self) -> Row:
        """What engines leave behind."""
        prompt = self.prompt(4)

        def cycle() -> None:
            with Engine(self.model, max_sequences=4, kv_bytes=1 << 22) as engine:
                engine.generate(prompt, greedy(2))

        for _ in range(_WARM):
            cycle()
        before = in_use()
        for _ in range(self.arguments.cycles):
            cycle()
        rss, descriptors, threads = (b - a for a, b in zip(before, in_use(), strict=True))
        return {
            "row": "cycles",
            "engines": self.arguments.cycles,
            "rss_bytes": rss,
            "descriptors": descriptors,
            "threads": threads,
        }


def tokens_of(answers: list[Completion]) -> list[list[int]]:
    """To be compared."""
    return [list(a.tokens) for a in answers]


def check(holds: bool, otherwise: str) -> None:
    """Figures of wrong answers are none."""
    if not holds:
        raise SystemExit(otherwise)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Its result and seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def median_ratio(pairs: list[tuple[float, float]]) -> float:
    """Of the first to the second, pair by pair."""
    return statistics.median(a / b for a, b in pairs)


def in_use() -> tuple[int, int, int]:
    """This process's memory, descriptors and threads (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    counts = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
    return (pages * os.sysconf("SC_PAGE_SIZE"), *counts)  # type: ignore[return-value]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="a GGUF file [the demo model]")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--only", help="rows, with commas between them")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    path = arguments.model or realm_ext.demo_path("target.gguf")
    names = ["throughput", "prefix", "python", "heartbeat", "cycles"]
    if arguments.only:
        names = arguments.only.split(",")
    rows: list[Row] = []
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"realm_ext {realm_ext.__version__}, {platform.machine()}, load average {load}")
    if arguments.markdown:
        print("| measured | figures |\n|---|---|")
    for name in names:
        threads = 1 if name == "heartbeat" else arguments.threads
        with Model(path, threads=threads) as model:
            row = getattr(Bench(model, arguments), name)()
        rows.append(row)
        figures = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "row")
        print(f"| {name} | {figures} |" if arguments.markdown else f"{name}: {figures}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
