"""How much faster speculation is, beside plain decoding of the same model in the same run.

    python benchmarks/synth.py llama-2-7b Q4_K_M target.gguf --chain 7
    python benchmarks/synth.py llama-160m Q4_K_M draft.gguf --chain 7 --agree 0.8 --seed 3
    python benchmarks/speculative.py --pair target.gguf draft.gguf [--pair ...] [--demo] [--ngram MODEL]
        [--k 4] [--sequences 1,8] [--tokens 96] [--rounds 3] [--threads N] [--json OUT]

Each row compares one way of speculating with plain decoding: the two take turns, and the ratio is of
the medians. `k` is the number of guesses, or "adaptive". Theory is what the costs of the same rounds
allow: with a the share of judged guesses that stand, (1 - a^(k+1)) / (1 - a) tokens for the price of
a step over k + 1 rows and k guesses. --ngram copies a text from its own prompt.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import realm_ext
from realm_ext import Completion, Engine, Model, SamplingParams, SpeculativeConfig


@dataclass(frozen=True)
class Sample:
    """One round: tokens, their seconds, and what the engine counted meanwhile."""

    tokens: int
    seconds: float  # from the first token of the last sequence to start, to the end
    step_seconds: float
    steps: int
    draft_seconds: float
    drafted: int
    completions: list[Completion]


@dataclass(frozen=True)
class Row:
    """What one way of speculating gave."""

    pair: str
    way: str
    n_sequences: int
    acceptance: float
    tokens_per_verification: float
    plain: float  # tokens per second
    speculated: float
    ratio: float
    theory: float | None
    status: str

    @property
    def of_theory(self) -> float | None:
        """The part of the theoretical ratio that came."""
        return self.ratio / self.theory if self.theory else None


class Bench:
    """Prompts and engines over one pair."""

    def __init__(self, name: str, arguments: argparse.Namespace, model: Model, draft: Model | None):
        """Takes loaded models."""
        self.name = name
        self.arguments = arguments
        self.model = model
        self.draft = draft
        self.random = np.random.default_rng(5)

    def prompts(self, n: int) -> list[list[int]]:
        """Short and all different."""
        high = self.model.config.n_vocab
        return [self.random.integers(300, high, 8).tolist() for _ in range(n)]

    def rows(self, ways: dict[str, SpeculativeConfig], n_sequences: int) -> list[Row]:
        """One row for each way."""
        with Engine(self.model, self.draft, max_sequences=max(2, n_sequences)) as engine:
            prompts = self.prompts(n_sequences)
            samples: dict[str, list[Sample]] = {"plain": [], **{way: [] for way in ways}}
            for way, config in (("plain", False), *ways.items()):
                self._run(engine, prompts, config, tokens=24)  # warm, and costs are known
                del way
            for i in range(self.arguments.rounds):
                order = [("plain", False), *ways.items()]
                for way, config in order if i % 2 == 0 else reversed(order):
                    tokens = self.arguments.tokens
                    samples[way].append(self._run(engine, prompts, config, tokens))
        plain = samples.pop("plain")
        for way, ours in samples.items():
            for sample, other in zip(ours, plain, strict=True):
                check_equal(f"{self.name}, {way}", sample.completions, other.completions)
        return [
            self._row(way, ways[way], ours, plain, n_sequences) for way, ours in samples.items()
        ]

    def _run(
        self,
        engine: Engine,
        prompts: list[list[int]],
        config: SpeculativeConfig | bool,
        tokens: int,
    ) -> Sample:
        params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
        before = engine.stats()
        start = time.perf_counter()
        requests = [engine.submit(p, params, speculative=config) for p in prompts]
        completions = [request.result() for request in requests]
        seconds = time.perf_counter() - start - completions[0].timings.first_token
        after = engine.stats()
        return Sample(
            tokens=sum(len(c.tokens) - 1 for c in completions),
            seconds=seconds,
            step_seconds=after.step_seconds - before.step_seconds,
            steps=after.steps - before.steps,
            draft_seconds=after.draft_seconds - before.draft_seconds,
            drafted=after.draft_tokens - before.draft_tokens,
            completions=completions,
        )

    def _row(
        self,
        way: str,
        config: SpeculativeConfig,
        ours: list[Sample],
        plain: list[Sample],
        n_sequences: int,
    ) -> Row:
        reports = [c.speculation for sample in ours for c in sample.completions]
        judged = sum(sum(r.judged_at) for r in reports)
        acceptance = sum(r.accepted for r in reports) / judged if judged else 0.0
        verifications = sum(r.verifications for r in reports)
        speed = [
            statistics.median(s.tokens / s.seconds for s in samples) for samples in (plain, ours)
        ]
        theory = None
        if not config.adaptive and n_sequences == 1 and verifications:
            theory = theoretical_ratio(acceptance, config.draft_k, ours, plain)
        return Row(
            pair=self.name,
            way=way,
            n_sequences=n_sequences,
            acceptance=acceptance,
            tokens_per_verification=sum(r.tokens for r in reports) / max(1, verifications),
            plain=speed[0],
            speculated=speed[1],
            ratio=speed[1] / speed[0],
            theory=theory,
            status=reports[-1].status,
        )


def theoretical_ratio(a: float, k: int, ours: list[Sample], plain: list[Sample]) -> float:
    """What acceptance and the costs of these rounds allow."""
    one = statistics.median(s.step_seconds / s.steps for s in plain)
    verify = statistics.median(s.step_seconds / s.steps for s in ours)
    guess = statistics.median(s.draft_seconds / max(1, s.drafted) for s in ours)
    tokens = k + 1 if a >= 1 else (1 - a ** (k + 1)) / (1 - a)
    return tokens / (verify / one + k * guess / one)


def check_equal(name: str, ours: list[Completion], plain: list[Completion]) -> None:
    """Speculation has the plain answers."""
    if [c.tokens for c in ours] != [c.tokens for c in plain]:
        raise SystemExit(f"{name}: the speculated answers are not the plain ones")


def print_head() -> None:
    """Of a Markdown table."""
    print(
        "| pair | guesses | sequences | acceptance | tokens per verification | plain tok/s |",
        end="",
    )
    print(" speculated tok/s | ratio | theory | of theory | status |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)


def print_rows(rows: list[Row]) -> list[Row]:
    """As rows of that table."""
    for r in rows:
        theory = f"{r.theory:.2f} | {r.of_theory:.0%}" if r.theory else " | "
        print(
            f"| {r.pair} | {r.way} | {r.n_sequences} | {r.acceptance:.2f} "
            f"| {r.tokens_per_verification:.2f} | {r.plain:.1f} | {r.speculated:.1f} "
            f"| {r.ratio:.2f} | {theory} | {r.status} |",
            flush=True,
        )
    return rows


def copying_rows(path: str, arguments: argparse.Namespace) -> list[Row]:
    """A model that goes on with its prompt, guessed from the prompt."""
    with Model(path, threads=arguments.threads) as model:
        bench = Bench(f"{Path(path).stem}, copying", arguments, model, None)
        params = SamplingParams(max_tokens=200, temperature=0, ignore_eos=True)
        with Engine(model) as engine:
            text = engine.generate(bench.prompts(1)[0], params).tokens
        # The answer repeats the prompt: a chain of tokens that has been gone along once.
        bench.prompts = lambda n: [[*text, text[0]]] * n  # type: ignore[method-assign]
        ways = {
            "adaptive": SpeculativeConfig(drafter="ngram"),
            "8": SpeculativeConfig(drafter="ngram", draft_k=8, adaptive=False),
        }
        return bench.rows(ways, 1)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pair", nargs=2, action="append", default=[], metavar=("TARGET", "DRAFT"))
    parser.add_argument("--demo", action="store_true", help="the pair in the package")
    parser.add_argument("--ngram", metavar="MODEL")
    parser.add_argument("--k", default="4", help="fixed numbers of guesses, with commas")
    parser.add_argument("--sequences", default="1")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pairs = [tuple(pair) for pair in arguments.pair]
    if arguments.demo:
        pairs.append((realm_ext.demo_path("target.gguf"), realm_ext.demo_path("draft.gguf")))
    ways = {"adaptive": SpeculativeConfig()}
    for k in map(int, filter(None, arguments.k.split(","))):
        ways[str(k)] = SpeculativeConfig(draft_k=k, max_draft_tokens=max(8, k), adaptive=False)
    print(f"realm_ext {realm_ext.__version__} on {platform.processor() or platform.machine()}")
    print_head()
    rows: list[Row] = []
    for target, draft in pairs:
        with Model(target, threads=arguments.threads) as model, Model(draft) as guesser:
            bench = Bench(f"{Path(target).stem} + {Path(draft).stem}", arguments, model, guesser)
            for n in map(int, arguments.sequences.split(",")):
                rows += print_rows(bench.rows(ways, n))
    if arguments.ngram:
        rows += print_rows(copying_rows(arguments.ngram, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
