"""`realm-ext demo`: shows, on the models that the package carries, what this installation can do.

Each step is a function that does its work and returns the line that reports it, so no line is
printed that was not computed. A later capability adds a step.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import realm_ext
from realm_ext._summary import summarize
from realm_ext.cli.command import Commands
from realm_ext.cli.generation import Meter
from realm_ext.cli.text import human_bytes, human_count


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("demo", help="show what works here, on models in the package")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run every step in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="realm-demo-") as folder:
        for name, step in STEPS:
            print(f"{name:10} {step(Path(folder))}", flush=True)
    return 0


def _open(name: str) -> realm_ext.GGUFFile:
    return realm_ext.GGUFFile(realm_ext.demo_path(f"{name}.gguf"))


def inspect_step(name: str) -> str:
    """What one of the demo models is."""
    s = summarize(_open(name))
    formats = ", ".join(f"{use.n_tensors} {use.name}" for use in s.formats)
    return (
        f"{s.name}: {s.architecture}, {human_count(s.n_parameters)} parameters, "
        f"{s.sizes.get('layers', 0)} layers, {human_bytes(s.file_bytes)} ({formats}), "
        f"{s.n_vocab} tokens"
    )


def decode_step(folder: Path) -> str:
    """Decodes every tensor of the target."""
    file = _open("target")
    n_values = sum(file.read(name).size for name in file.tensors)
    return f"{len(file.tensors)} tensors to {human_count(n_values)} float32 values"


def quantize_step(folder: Path, target: str) -> str:
    """Writes the target again in another format."""
    report = realm_ext.quantize_gguf(
        realm_ext.demo_path("target.gguf"),
        folder / f"{target}.gguf",
        target,
        allow_requantize=True,
    )
    errors = [t.relative_error for t in report.tensors if t.relative_error > 0]
    change = f"relative rms error up to {max(errors):.2g}" if errors else "no value changed"
    return (
        f"{human_bytes(report.bytes_in)} -> {human_bytes(report.bytes_out)} as {target}, {change}"
    )


_PROMPT = "The capital of France is"
_COUNTRIES = (
    "France", "Germany", "Italy", "Spain", "Japan", "China", "India", "Egypt", "Kenya", "Peru",
    "Chile", "Cuba", "Norway", "Sweden", "Greece", "Turkey",
)  # fmt: skip


def generate_step(folder: Path) -> str:
    """Continues a text, greedily, and tells how fast."""
    with realm_ext.Model(realm_ext.demo_path("target.gguf")) as model:
        params = realm_ext.SamplingParams(temperature=0, max_tokens=32, stop=["."])
        session = realm_ext.InferenceSession(model, params)
        session.prefill(_PROMPT)
        meter = Meter(session)
        answer = "".join(session.stream())
        return f"{_PROMPT} ->{answer} ({meter.report()})"


def adapter_step(folder: Path) -> str:
    """The same through the adapter."""
    with realm_ext.Model(realm_ext.demo_path("target.gguf")) as model:
        model.load_adapter("pirate", realm_ext.demo_path("adapter"))
        params = realm_ext.SamplingParams(temperature=0, max_tokens=32, stop=["!"])
        session = realm_ext.InferenceSession(model, params, adapter="pirate")
        session.prefill(_PROMPT)
        meter = Meter(session)
        answer = "".join(session.stream())
        return f"{_PROMPT} ->{answer}! ({meter.report()})"


def chat_step(folder: Path) -> str:
    """Asks a question in the model's chat template."""
    question = "What is 3 plus 4?"
    with realm_ext.Model(realm_ext.demo_path("target.gguf")) as model:
        params = realm_ext.SamplingParams(temperature=0, max_tokens=32)
        session = realm_ext.InferenceSession(model, params)
        message = {"role": "user", "content": question}
        session.prefill(model.tokenizer.apply_chat_template([message], add_generation_prompt=True))
        return f"{question} -> {''.join(session.stream())}"


def engine_step(folder: Path) -> str:
    """Answers sixteen prompts together and one by one: the same answers, sooner."""
    params = realm_ext.SamplingParams(seed=1, max_tokens=48, ignore_eos=True)
    prompts = [f"The capital of {country} is" for country in _COUNTRIES]
    with (
        realm_ext.Model(realm_ext.demo_path("target.gguf")) as model,
        realm_ext.Engine(model, prefix_cache=False) as engine,
    ):
        started = time.monotonic()
        alone = [engine.generate(prompt, params) for prompt in prompts]
        between = time.monotonic()
        together = engine.generate(prompts, params)
        ended = time.monotonic()
    n_tokens = sum(len(answer.tokens) for answer in together)
    n_equal = sum(a.tokens == b.tokens for a, b in zip(alone, together, strict=True))
    return (
        f"{len(prompts)} requests together: {n_tokens / (ended - between):.0f} tokens/s, one by one"
        f" {n_tokens / (between - started):.0f}; {n_equal} of {len(prompts)} answers are equal"
    )


def speculate_step(folder: Path) -> str:
    """Guesses with the smaller model: the same answer in fewer passes through the larger one."""
    params = realm_ext.SamplingParams(temperature=0, max_tokens=64, ignore_eos=True)
    with (
        realm_ext.Model(realm_ext.demo_path("target.gguf")) as model,
        realm_ext.Model(realm_ext.demo_path("draft.gguf")) as draft,
        realm_ext.Engine(model, draft) as engine,
    ):
        started = time.monotonic()
        plain = engine.generate(_PROMPT, params, speculative=False)
        between = time.monotonic()
        guessed = engine.generate(_PROMPT, params)
        ended = time.monotonic()
    report = guessed.speculation
    assert report is not None
    n = len(guessed.tokens)
    return (
        f"{report.accepted} of {report.drafted} guesses stand, {report.tokens_per_verification:.1f}"
        f" tokens per pass: {n / (ended - between):.0f} tokens/s, plain {n / (between - started):.0f};"
        f" the answers are {'equal' if guessed.tokens == plain.tokens else 'DIFFERENT'}"
    )


STEPS: tuple[tuple[str, Callable[[Path], str]], ...] = (
    ("device", lambda folder: realm_ext.devices()[0].name or "cpu"),
    ("target", lambda folder: inspect_step("target")),
    ("draft", lambda folder: inspect_step("draft")),
    ("decode", decode_step),
    ("quantize", lambda folder: quantize_step(folder, "Q4_0")),
    ("quantize", lambda folder: quantize_step(folder, "Q4_K_M")),
    ("generate", generate_step),
    ("adapter", adapter_step),
    ("chat", chat_step),
    ("engine", engine_step),
    ("speculate", speculate_step),
)
