"""What `generate` and `chat` share: options, loading a model, and telling how fast it went."""

import argparse
import sys
import time

import realm_ext
from realm_ext.cli.progress import ProgressBar

_ADAPTER = "adapter"
_QUIET_SECONDS = 1.0  # a load that takes less needs no progress bar


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a model and of sampling; defaults are those of `SamplingParams`."""
    defaults = realm_ext.SamplingParams()
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file [the demo model]")
    parser.add_argument(
        "--adapter", metavar="PATH", help="a LoRA adapter: PEFT directory, safetensors or GGUF"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads [all processors]")
    parser.add_argument(
        "--kv-dtype", default="f16", choices=("f32", "f16", "bf16", "q8_0"), help="of the KV cache"
    )
    for name, kind in (
        ("max_tokens", int),
        ("temperature", float),
        ("top_k", int),
        ("top_p", float),
        ("min_p", float),
        ("repetition_penalty", float),
    ):
        default = getattr(defaults, name)
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=default, help=f"[{default}]")
    parser.add_argument("--seed", type=int, help="[a new one each time]")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text"
    )


def params_of(arguments: argparse.Namespace) -> realm_ext.SamplingParams:
    """Sampling options as given."""
    return realm_ext.SamplingParams(
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        seed=arguments.seed,
        stop=arguments.stop,
    )


def load_model(arguments: argparse.Namespace, adapter: str | None = None) -> realm_ext.Model:
    """The model that was asked for, and an adapter; with a progress bar if that takes long."""
    path = arguments.model or realm_ext.demo_path("target.gguf")
    with ProgressBar("loading", delay=_QUIET_SECONDS) as bar:
        model = realm_ext.Model(path, threads=arguments.threads, progress=bar.update)
    if adapter is not None:
        model.load_adapter(_ADAPTER, adapter)
    return model


def adapter_of(arguments: argparse.Namespace) -> str | None:
    """The name under which `load_model` loaded the adapter that was asked for."""
    return None if arguments.adapter is None else _ADAPTER


class Meter:
    """Counts an answer's tokens and the time they took."""

    def __init__(self, session: realm_ext.InferenceSession) -> None:
        """Starts counting at the session's present length."""
        self._session = session
        self._tokens = len(session.tokens)
        self._started = time.monotonic()

    def report(self) -> str:
        """For example "12 tokens, 63.0 tokens/s"."""
        n = len(self._session.tokens) - self._tokens
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{n} tokens, {n / seconds:.1f} tokens/s"


def write(piece: str) -> None:
    """Writes a piece of an answer to stdout at once."""
    sys.stdout.write(piece)
    sys.stdout.flush()


def note(text: str) -> None:
    """Says something about the answer that is no part of it: on stderr, to a person."""
    if sys.stderr.isatty():
        print(f"[{text}]", file=sys.stderr)
