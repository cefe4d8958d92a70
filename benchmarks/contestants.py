"""The engines of a comparison, each in a process of its own that is asked over a pipe.

    python benchmarks/contestants.py realm_ext|llama_cpp

reads one JSON request a line from stdin and answers with one JSON object a line on stdout. Both
engines answer the same requests:

    {"call": "load", "model": FILE, "threads": N}
    {"call": "prepare", "work": {...}}      for the `run`s that follow; takes its time
    {"call": "run"}                         -> {"seconds": S, "tokens": N}
    {"call": "release"}                     what was prepared
    {"call": "first_token", ...as load}     loads and computes one token -> {"seconds": S}
    {"call": "peak_memory"}                 of this process so far -> {"bytes": N}
    {"call": "version"}, {"call": "ceilings", "threads": N, "seconds": S}

Work is {"kind": "prefill", "tokens": N} or {"kind": "decode", "tokens": N, "sequences": B,
"context": C}: N tokens for each of B sequences that have C already. Keys and values are f16. What an
engine cannot do answers {"unavailable": REASON}.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

Work = dict[str, Any]


class Unavailable(Exception):
    """This engine cannot do that, at least not in this version."""


def random_tokens(n: int, n_vocab: int, seed: int = 0) -> list[int]:
    """Token ids that are no special ones."""
    generator = random.Random(seed)
    return [generator.randrange(min(300, n_vocab - 1), n_vocab) for _ in range(n)]


class RealmExt:
    """This project's engine, through its public names."""

    def __init__(self, model: str, threads: int) -> None:
        """Loads the model as a user would."""
        import realm_ext

        self._realm_ext = realm_ext
        self._model = realm_ext.Model(model, threads=threads)
        self._run: Any = None

    def prepare(self, work: Work) -> dict[str, Any]:
        """Makes ready what `run` times."""
        if work["kind"] == "prefill":
            tokens = random_tokens(work["tokens"], self._model.config.n_vocab)
            self._run = lambda: self._prefill(tokens)
            self._run()
            return {}
        if work["sequences"] == 1:
            self._run = lambda: self._decode_one(work["context"], work["tokens"])
            return {"through": "InferenceSession"}
        engine = EngineSequences(self._realm_ext, self._model, work)
        self._run = engine.decode
        self._run()
        return {"through": "Engine"}

    def run(self) -> dict[str, Any]:
        """Seconds for a number of tokens."""
        return self._run()

    def release(self) -> None:
        """Forgets what was prepared."""
        self._run = None

    def first_token(self) -> None:
        """The least a program can want: one token after eight."""
        self._model.logits(random_tokens(8, self._model.config.n_vocab), rows="last").argmax()

    def _prefill(self, tokens: list[int]) -> dict[str, Any]:
        started = time.perf_counter()
        self._model.logits(tokens, rows="last", kv_dtype="f16")
        return {"seconds": time.perf_counter() - started, "tokens": len(tokens)}

    def _decode_one(self, context: int, n: int) -> dict[str, Any]:
        params = self._realm_ext.SamplingParams(temperature=0, max_tokens=n + 1, ignore_eos=True)
        session = self._realm_ext.InferenceSession(self._model, params)
        session.prefill(random_tokens(context, self._model.config.n_vocab))
        session.next_token()  # drawn from the prompt's logits: nothing was computed for it
        started = time.perf_counter()
        for _ in range(n):
            session.next_token()
        return {"seconds": time.perf_counter() - started, "tokens": n}


class EngineSequences:
    """Several sequences at once through `realm_ext.Engine`: all that this script knows of it.

    Prompts arrive together, but their answers do not start in the same step: what is timed is the
    stretch in which every sequence decodes, from the last one's first token to the first one's end.
    """

    _SLACK = 16  # tokens for the sequences that start first

    def __init__(self, realm_ext: Any, model: Any, work: Work) -> None:
        """An engine for as many sequences as there will be."""
        if not hasattr(realm_ext, "Engine"):
            raise Unavailable("realm_ext.Engine is not in this version")
        n_vocab = model.config.n_vocab
        self._prompts = [
            random_tokens(work["context"], n_vocab, seed) for seed in range(work["sequences"])
        ]
        self._params = realm_ext.SamplingParams(
            temperature=0, max_tokens=work["tokens"] + self._SLACK, ignore_eos=True
        )
        self._engine = realm_ext.Engine(model, max_sequences=work["sequences"])

    def decode(self) -> dict[str, Any]:
        """One round of all sequences."""
        return asyncio.run(self._decode())

    async def _decode(self) -> dict[str, Any]:
        arrivals = await asyncio.gather(*(self._answer(prompt) for prompt in self._prompts))
        begin = max(times[0][0] for times in arrivals)
        end = min(times[-1][0] for times in arrivals)
        tokens = sum(n for times in arrivals for when, n in times if begin < when <= end)
        return {"seconds": end - begin, "tokens": tokens}

    async def _answer(self, prompt: list[int]) -> list[tuple[float, int]]:
        return [
            (time.perf_counter(), len(chunk.tokens))
            async for chunk in self._engine.astream(prompt, self._params)
        ]


class LlamaCpp:
    """llama.cpp through llama-cpp-python's low-level functions."""

    def __init__(self, model: str, threads: int) -> None:
        """Loads the model with the library's defaults: mapped, weights repacked where it can."""
        import ctypes

        import llama_cpp

        self._lib = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._threads = threads
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(model.encode(), params)
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {model}")
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._context: LlamaContext | None = None

    def prepare(self, work: Work) -> dict[str, Any]:
        """With flash attention and without; keeps what is faster."""
        seconds = {}
        for flash in (True, False):
            self._context = LlamaContext(self, work, flash)
            seconds[flash] = min(self._context.run()["seconds"] for _ in range(2))
            self._context.close()
        best = min(seconds, key=seconds.__getitem__)
        self._context = LlamaContext(self, work, best)
        return {"flash_attention": best}

    def run(self) -> dict[str, Any]:
        """Seconds for a number of tokens."""
        return self._context.run()

    def release(self) -> None:
        """Frees the context."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def first_token(self) -> None:
        """The least a program can want: one token after eight."""
        context = LlamaContext(self, {"kind": "prefill", "tokens": 8}, flash=True)
        context.run()
        context.close()


class LlamaContext:
    """One llama_context, sized for one piece of work."""

    def __init__(self, engine: LlamaCpp, work: Work, flash: bool) -> None:
        """Prompts of all sequences are computed here, outside of what is timed."""
        self._lib = lib = engine._lib
        self._work = work
        self._tokens = random_tokens(work["tokens"] + work.get("context", 0), engine._n_vocab)
        n = work.get("sequences", 1)
        params = lib.llama_context_default_params()
        params.n_ctx = n * (len(self._tokens) + 16)
        params.n_batch, params.n_ubatch, params.n_seq_max = 2048, 512, n
        params.n_threads = params.n_threads_batch = engine._threads
        params.flash_attn_type = 1 if flash else 0
        params.type_k = params.type_v = 1  # f16
        self._ctx = lib.llama_init_from_model(engine._model, params)
        if not self._ctx:
            raise RuntimeError("llama.cpp makes no context")
        self._memory = lib.llama_get_memory(self._ctx)
        self._batch = lib.llama_batch_init(2048, 0, 1)
        if work["kind"] == "decode":
            self._compute(self._tokens[: work["context"]])
            for sequence in range(1, n):
                lib.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def close(self) -> None:
        """Frees it."""
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._ctx)

    def run(self) -> dict[str, Any]:
        """Times the work once, and takes back what it added to the cache."""
        started = time.perf_counter()
        if self._work["kind"] == "prefill":
            self._compute(self._tokens)
            n_tokens = len(self._tokens)
        else:
            n_tokens = self._decode()
        seconds = time.perf_counter() - started
        kept = self._work.get("context", 0)
        for sequence in range(self._work.get("sequences", 1)):
            self._lib.llama_memory_seq_rm(self._memory, sequence, kept, -1)
        return {"seconds": seconds, "tokens": n_tokens}

    def _compute(self, tokens: list[int]) -> None:
        """A prompt into sequence 0, with logits of its last token."""
        for begin in range(0, len(tokens), 2048):
            part = tokens[begin : begin + 2048]
            for i, token in enumerate(part):
                self._set(i, token, begin + i, 0, begin + i + 1 == len(tokens))
            self._step(len(part))

    def _decode(self) -> int:
        context, n = self._work["context"], self._work["sequences"]
        for i, token in enumerate(self._tokens[context:]):
            for sequence in range(n):
                self._set(sequence, token, context + i, sequence, True)
            self._step(n)
        return n * self._work["tokens"]

    def _set(self, i: int, token: int, pos: int, sequence: int, logits: bool) -> None:
        batch = self._batch
        batch.token[i], batch.pos[i] = token, pos
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        batch.logits[i] = logits

    def _step(self, n_tokens: int) -> None:
        self._batch.n_tokens = n_tokens
        status = self._lib.llama_decode(self._ctx, self._batch)
        if status != 0:
            raise RuntimeError(f"llama_decode says {status}")
        self._lib.llama_get_logits(self._ctx)  # waits for the end of the computation


def version_of(name: str) -> dict[str, Any]:
    """What program this is."""
    if name == "realm_ext":
        import realm_ext
        import realm_ext.model
        from realm_ext import _core

        info = realm_ext.build_info()
        return {
            "version": f"realm_ext {info.version}",
            "build": f"{info.compiler}, {info.build_type}, {_core.active_cpu_level()}",
        }
    import llama_cpp

    return {
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "build": llama_cpp.llama_print_system_info().decode().strip(" |"),
    }


def measure_ceilings(threads: int, seconds: float) -> dict[str, Any]:
    """What this machine can do at most, at this moment."""
    from realm_ext import _core

    found = _core.measure_ceilings(threads, seconds)
    names = ("level", "read_bytes_per_s", "int8_macs_per_s", "f32_macs_per_s", "clock_hz")
    return {name: getattr(found, name) for name in names}


def peak_bytes() -> int:
    """The most memory that this process had at one time, mapped files included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("this system does not tell a process its peak memory")


class Server:
    """Answers requests until there are no more."""

    def __init__(self, name: str) -> None:
        """`name` is the engine's."""
        self._name = name
        self._kind = {"realm_ext": RealmExt, "llama_cpp": LlamaCpp}[name]
        self._engine: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        call = request["call"]
        if call == "load":
            self._engine = self._kind(request["model"], request["threads"])
            return {}
        if call == "first_token":
            version_of(self._name)  # imports, so that they are not timed
            started = time.perf_counter()
            self._kind(request["model"], request["threads"]).first_token()
            return {"seconds": time.perf_counter() - started}
        if call == "peak_memory":
            return {"bytes": peak_bytes()}
        if call == "version":
            return version_of(self._name)
        if call == "ceilings":
            return measure_ceilings(request["threads"], request["seconds"])
        arguments = [request["work"]] if call == "prepare" else []
        return getattr(self._engine, call)(*arguments) or {}


def main() -> None:
    """Serve stdin; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Unavailable as why:
            answer = {"unavailable": str(why)}
        except Exception as error:  # the comparison goes on and says so
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
