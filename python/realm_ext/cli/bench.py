"""`realm-ext bench -m FILE`: how fast a model is here, and how fast it could be at most."""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import realm_ext
from realm_ext import _core
from realm_ext._work import Work
from realm_ext.cli.command import Commands
from realm_ext.cli.generation import load_model
from realm_ext.cli.text import human_bytes, printable, table
from realm_ext.errors import InvalidRequest

_DEFAULT_PROMPT = 512
_CEILING_SECONDS = 1.0
_MAX_SEQUENCES = 256
_SLACK = 16  # tokens more, for the answers that start first


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "bench", help="measure a model's speed beside what this machine can do at most"
    )
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file [the demo model]")
    parser.add_argument("--threads", type=int, metavar="N", help="threads [all processors]")
    parser.add_argument(
        "--prompt", type=int, metavar="N", help=f"tokens of the prompt [{_DEFAULT_PROMPT}]"
    )
    parser.add_argument("--generate", type=int, default=64, metavar="N", help="tokens [64]")
    parser.add_argument(
        "--sequences", default="1", metavar="N,N", help="how many answers at once [1]"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each, the median [3]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Row:
    """One thing measured."""

    work: str
    n_sequences: int
    tokens_per_s: list[float]  # of each run
    limit: str  # what bounds it here
    most_tokens_per_s: float  # at that limit

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.tokens_per_s)

    @property
    def share(self) -> float:
        """Of the most there could be."""
        return self.median / self.most_tokens_per_s


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    counts = _check(arguments)
    started = time.monotonic()
    with load_model(arguments) as model:
        load_seconds = time.monotonic() - started
        prompt = _prompt(model, arguments)
        ceilings = _core.measure_ceilings(arguments.threads, _CEILING_SECONDS)
        work = Work.of(
            realm_ext.GGUFFile(arguments.model or realm_ext.demo_path("target.gguf")), model.config
        )
        rows = [
            _prefill(model, prompt, work, ceilings, arguments),
            *(_decode(model, prompt, n, work, ceilings, arguments) for n in counts),
        ]
        if arguments.json:
            print(json.dumps(_as_json(model, load_seconds, rows, ceilings, arguments), indent=2))
            return 0
        print(printable(arguments.model or "the demo model", 500))
        print(table(_facts(model, load_seconds, ceilings, arguments)))
        print("speed")
        print(table([_row_text(row) for row in rows]))
    return 0


def _check(arguments: argparse.Namespace) -> list[int]:
    """Refuses what cannot be measured; the numbers of sequences."""
    for name in ("generate", "runs"):
        value = getattr(arguments, name)
        if value < 1:
            raise InvalidRequest(f"{name} is {value}; must be at least 1")
    if arguments.prompt is not None and arguments.prompt < 1:
        raise InvalidRequest(f"prompt is {arguments.prompt}; must be at least 1")
    counts = [int(n) if n.isdecimal() else 0 for n in arguments.sequences.split(",")]
    if not all(1 <= n <= _MAX_SEQUENCES for n in counts):
        raise InvalidRequest(
            f"sequences is {printable(arguments.sequences)!r}; must be numbers from 1 to "
            f"{_MAX_SEQUENCES} with commas between them"
        )
    return counts


def _prompt(model: realm_ext.Model, arguments: argparse.Namespace) -> list[int]:
    """Random tokens: as many as asked for, else the default or what the context leaves."""
    n_ctx, n_vocab = model.config.n_ctx, model.config.n_vocab
    n_new = arguments.generate + (_SLACK if arguments.sequences != "1" else 0)
    length = arguments.prompt or max(1, min(_DEFAULT_PROMPT, n_ctx - n_new))
    if length + n_new > n_ctx:
        raise InvalidRequest(
            f"{length} tokens of prompt and {n_new} to generate are more than "
            f"this model's context of {n_ctx}"
        )
    generator = random.Random(0)
    return [generator.randrange(n_vocab) for _ in range(length)]


def _prefill(
    model: realm_ext.Model,
    prompt: list[int],
    work: Work,
    ceilings: _core.Ceilings,
    arguments: argparse.Namespace,
) -> Row:
    seconds = _times(arguments.runs, lambda: _timed(lambda: _session(model, prompt, 1)))
    return Row(
        work=f"prompt of {len(prompt)}",
        n_sequences=1,
        tokens_per_s=[len(prompt) / s for s in seconds],
        limit="multiply",
        most_tokens_per_s=len(prompt) / work.prefill_seconds(len(prompt), ceilings),
    )


def _decode(
    model: realm_ext.Model,
    prompt: list[int],
    n_sequences: int,
    work: Work,
    ceilings: _core.Ceilings,
    arguments: argparse.Namespace,
) -> Row:
    n = arguments.generate
    least, limit = work.step(n_sequences, len(prompt) + n // 2, ceilings)
    if n_sequences == 1:
        seconds = _times(arguments.runs, lambda: _decode_one(model, prompt, n))
        speeds = [n / s for s in seconds]
    else:
        with realm_ext.Engine(model, max_sequences=n_sequences, prefix_cache=False) as engine:
            speeds = _times(
                arguments.runs, lambda: asyncio.run(_decode_many(engine, prompt, n_sequences, n))
            )
    return Row(
        work=f"{n} tokens after it" + (f", {n_sequences} at once" if n_sequences > 1 else ""),
        n_sequences=n_sequences,
        tokens_per_s=speeds,
        limit=limit,
        most_tokens_per_s=n_sequences / least,
    )


def _decode_one(model: realm_ext.Model, prompt: list[int], n: int) -> float:
    """Seconds for n tokens."""
    session = _session(model, prompt, n + 1)
    session.next_token()  # drawn from the prompt's logits: nothing was computed for it

    def decode() -> None:
        for _ in range(n):
            session.next_token()

    return _timed(decode)


async def _decode_many(
    engine: realm_ext.Engine, prompt: list[int], n_sequences: int, n: int
) -> float:
    """Tokens per second while all sequences decode.

    That is from the last one's first token to the first one's end.
    """
    params = realm_ext.SamplingParams(temperature=0, max_tokens=n + _SLACK, ignore_eos=True)

    async def arrivals() -> list[tuple[float, int]]:
        return [
            (time.perf_counter(), len(chunk.tokens))
            async for chunk in engine.astream(prompt, params)
        ]

    answers = await asyncio.gather(*(arrivals() for _ in range(n_sequences)))
    begin = max(answer[0][0] for answer in answers)
    end = min(answer[-1][0] for answer in answers)
    tokens = sum(count for answer in answers for when, count in answer if begin < when <= end)
    return tokens / (end - begin) if end > begin else 0.0


def _session(
    model: realm_ext.Model, prompt: list[int], max_tokens: int
) -> realm_ext.InferenceSession:
    params = realm_ext.SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True)
    session = realm_ext.InferenceSession(model, params)
    session.prefill(prompt)
    return session


def _times(runs: int, measure: Callable[[], float]) -> list[float]:
    measure()  # once to warm up
    return [measure() for _ in range(runs)]


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _facts(
    model: realm_ext.Model,
    load_seconds: float,
    ceilings: _core.Ceilings,
    arguments: argparse.Namespace,
) -> list[tuple[str, str]]:
    config = model.config
    return [
        ("model", f"{config.architecture}, {config.n_layers} layers of {config.n_embd}, "
                  f"{human_bytes(model.memory['weights'])} of weights, loaded in {load_seconds:.2f} s"),
        ("machine", f"{realm_ext.devices()[0].name}, {ceilings.level}, "
                    f"{ceilings.n_threads} thread{'s' * (ceilings.n_threads != 1)}"),
        ("ceilings", f"read {ceilings.read_bytes_per_s / 1e9:.1f} GB/s, multiply-accumulates "
                     f"{ceilings.int8_macs_per_s / 1e9:.0f} G/s of bytes, "
                     f"{ceilings.f32_macs_per_s / 1e9:.0f} G/s of floats"),
        ("runs", f"{arguments.runs} of each, after one to warm up; medians"),
    ]  # fmt: skip


def _row_text(row: Row) -> tuple[str, str, str, str]:
    low, high = min(row.tokens_per_s), max(row.tokens_per_s)
    return (
        row.work,
        f"{row.median:.1f} tokens/s",
        f"{low:.1f} to {high:.1f}",
        f"{row.share:.1%} of the {row.limit} ceiling",
    )


def _as_json(
    model: realm_ext.Model,
    load_seconds: float,
    rows: list[Row],
    ceilings: _core.Ceilings,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    return {
        "file": arguments.model or realm_ext.demo_path("target.gguf").as_posix(),
        "weight_bytes": model.memory["weights"],
        "load_seconds": load_seconds,
        "device": realm_ext.devices()[0].name,
        "level": ceilings.level,
        "threads": ceilings.n_threads,
        "ceilings": {
            "read_bytes_per_s": ceilings.read_bytes_per_s,
            "int8_macs_per_s": ceilings.int8_macs_per_s,
            "f32_macs_per_s": ceilings.f32_macs_per_s,
        },
        "rows": [{**asdict(row), "median": row.median, "share": row.share} for row in rows],
    }
