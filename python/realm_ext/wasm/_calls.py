"""What the host's functions do, for one guest: its tenant's requests and its session of layers.

Every argument is a guest's and is checked before it is used; what fails raises a RealmError and has
done nothing. A function returns what its name asks for, or nothing for a plain success.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realm_ext._core import CancelFlag, SamplingParams
from realm_ext.errors import InvalidRequest, RequestCancelled
from realm_ext.wasm._abi import ABI_VERSION
from realm_ext.wasm._limits import Limits
from realm_ext.wasm._memory import GuestMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from realm_ext.layers import LayerSession
    from realm_ext.runtime import Runtime
    from realm_ext.tenant import Tenant

_OPTIONS_BYTES = 64 << 10
_ENCODING = 100  # times the work of moving a text's bytes


@dataclass(frozen=True, slots=True)
class Grants:
    """What a guest may name besides its own tenant: by index the models, by id the adapters."""

    models: Sequence[str]
    adapters: Sequence[str]
    may_store_drafts: bool


@dataclass(slots=True)
class CallState:
    """One call of a guest: when it must have ended, and how to end what it waits for."""

    deadline: float
    cancel: CancelFlag = field(default_factory=CancelFlag)
    end: Callable[[], None] | None = None

    def seconds_left(self) -> float:
        """Until the deadline; raises if it has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0 or self.cancel.is_raised:
            raise RequestCancelled("the time of this call of the guest is over")
        return left


class HostCalls:
    """The functions of `_abi.FUNCTIONS`, by their names without `realm_`."""

    def __init__(self, runtime: Runtime, tenant: Tenant, limits: Limits, grants: Grants) -> None:
        self._runtime = runtime
        self._tenant = tenant
        self._limits = limits
        self._grants = grants
        model = runtime.core.model(tenant.model_id)
        # Copies, and the words: a guest that is left over keeps no weights.
        self._n_layers, self._n_embd = model.config.n_layers, model.config.n_embd
        self._n_vocab, self._n_ctx = model.config.n_vocab, model.config.n_ctx
        self._vocab = model.vocabulary
        self._session: LayerSession | None = None
        self.call = CallState(0.0)
        self.error_text = ""

    def close(self) -> None:
        """Lets go of keys and values."""
        self._session = None

    # ---- facts

    def abi_version(self, memory: GuestMemory) -> int:
        return ABI_VERSION

    def last_error(self, memory: GuestMemory, text: int, capacity: int, length: int) -> None:
        memory.give(self.error_text.encode(), 1, text, capacity, length)

    def model_info(self, memory: GuestMemory, out: int, n_bytes: int) -> int:
        vocab = self._vocab
        bos, eos = (vocab.bos_id, vocab.eos_id) if vocab else (None, None)
        info = struct.pack(
            "<IIIIIii",
            self._n_layers,
            self._n_embd,
            self._n_vocab,
            self._n_ctx,
            self._limits.step_rows,
            -1 if bos is None else bos,
            -1 if eos is None else eos,
        )
        memory.check_room(out, n_bytes)
        memory.write(out, info[:n_bytes])
        return len(info)

    # ---- text

    def encode_tokens(
        self,
        memory: GuestMemory,
        text: int,
        n_bytes: int,
        add_special: int,
        ids: int,
        capacity: int,
        count: int,
    ) -> None:
        if n_bytes > self._limits.text_bytes:
            raise InvalidRequest(
                f"a text of {n_bytes} bytes; text_bytes is {self._limits.text_bytes}"
            )
        memory.check_room(ids, 4 * capacity)
        memory.check_count(count)
        memory.bytes_moved += _ENCODING * n_bytes
        try:
            decoded = memory.read(text, n_bytes).decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the text is no UTF-8 at byte {error.start}") from error
        tokens = self._tenant.tokenizer.encode(decoded, add_special=add_special != 0)
        memory.give(struct.pack(f"<{len(tokens)}i", *tokens), 4, ids, capacity, count)

    def decode_tokens(
        self, memory: GuestMemory, ids: int, n: int, text: int, capacity: int, length: int
    ) -> None:
        if n > self._n_ctx:
            raise InvalidRequest(f"{n} tokens to decode; this model's context is {self._n_ctx}")
        if self._vocab is None:
            raise InvalidRequest("this model's file has no vocabulary")
        decoded = self._vocab.decode(memory.read_ids(ids, n).tolist())
        memory.give(decoded, 1, text, capacity, length)

    def token_ends(self, memory: GuestMemory, token: int) -> int:
        if not 0 <= token < self._n_vocab:
            raise InvalidRequest(f"token id {token} is not in the vocabulary")
        return int(self._vocab is not None and self._vocab.ends_generation(token))

    # ---- adapters and drafts

    def set_lora_adapter(self, memory: GuestMemory, model: int, text: int, n_bytes: int) -> None:
        model_id = self._model_id(model)
        if n_bytes == 0:
            return self._runtime.set_tenant_lora_adapter(self._tenant.id, None)
        if n_bytes > 1024:
            raise InvalidRequest(f"an adapter's id of {n_bytes} bytes")
        adapter = memory.read(text, n_bytes).decode(errors="replace")
        # One message for what is not there and what is another's: a guest learns of no other.
        loaded = self._runtime.list_adapters()
        one = loaded.get(adapter) if adapter in self._grants.adapters else None
        if one is None or one.model_id != model_id:
            raise InvalidRequest(f"this guest has no adapter {adapter!r} for model {model}")
        return self._runtime.set_tenant_lora_adapter(self._tenant.id, adapter)

    def store_draft_model(self, memory: GuestMemory, data: int, n_bytes: int, model: int) -> None:
        if not self._grants.may_store_drafts:
            raise InvalidRequest("this guest may not store draft models")
        self._runtime.store_draft_model(bytes(memory.read(data, n_bytes)), self._model_id(model))

    def _model_id(self, model: int) -> str:
        if not 0 <= model < len(self._grants.models):
            raise InvalidRequest(f"model {model}; this guest has {len(self._grants.models)}")
        return self._grants.models[model]

    # ---- whole answers

    def generate(
        self,
        memory: GuestMemory,
        prompt: int,
        n_prompt: int,
        max_tokens: int,
        options: int,
        options_bytes: int,
        ids: int,
        capacity: int,
        count: int,
    ) -> None:
        if n_prompt > self._n_ctx:
            raise InvalidRequest(
                f"a prompt of {n_prompt} tokens; this model's context is {self._n_ctx}"
            )
        if not 1 <= max_tokens <= capacity:
            raise InvalidRequest(f"max_tokens is {max_tokens}, and there is room for {capacity}")
        memory.check_room(ids, 4 * capacity)
        memory.check_count(count)
        params = self._params(memory, options, options_bytes).replace(max_tokens=max_tokens)
        left = self.call.seconds_left()
        request = self._tenant.submit(
            memory.read_ids(prompt, n_prompt), params, deadline_ms=max(1, int(left * 1000))
        )
        self.call.end = request.cancel
        try:
            if self.call.cancel.is_raised:  # after the deadline was asked for, before it was heard
                request.cancel()
            answer = request.result()
        finally:
            self.call.end = None
            request.cancel()
        if answer.finish_reason in ("cancelled", "deadline"):
            raise RequestCancelled(f"the answer ended with {answer.finish_reason}")
        memory.give(struct.pack(f"<{len(answer.tokens)}i", *answer.tokens), 4, ids, capacity, count)

    def _params(self, memory: GuestMemory, options: int, n_bytes: int) -> SamplingParams:
        if n_bytes == 0:
            return self._tenant.sampling
        if n_bytes > _OPTIONS_BYTES:
            raise InvalidRequest(f"options of {n_bytes} bytes; at most {_OPTIONS_BYTES}")
        try:
            given = json.loads(str(memory.read(options, n_bytes), "utf-8"))
            if isinstance(given, dict) and "logit_bias" in given:
                given["logit_bias"] = {int(k): v for k, v in given["logit_bias"].items()}
            return SamplingParams(**given)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise InvalidRequest(f"the options are no sampling options: {error}") from error

    # ---- layers

    def session_open(self, memory: GuestMemory, max_tokens: int) -> None:
        if not 1 <= max_tokens <= self._n_ctx:
            raise InvalidRequest(f"a session of {max_tokens} tokens; must be 1 to {self._n_ctx}")
        self._session = None  # its memory goes before there is more
        self._session = self._tenant.layer_session(
            max_tokens=max_tokens, max_rows=self._limits.step_rows
        )

    def session_length(self, memory: GuestMemory) -> int:
        return self._layers().length

    def session_truncate(self, memory: GuestMemory, n: int) -> None:
        session = self._layers()
        if n > session.length:
            raise InvalidRequest(f"cannot truncate a sequence of {session.length} tokens to {n}")
        session.truncate(n)

    def embed_tokens(self, memory: GuestMemory, ids: int, n: int, rows: int) -> None:
        session = self._layers()
        self._check_rows(session, n)
        memory.check_room(rows, 4 * n * self._n_embd)
        out = session.embed_tokens(memory.read_ids(ids, n), cancel=self.call.cancel)
        memory.write_floats(rows, out)

    def forward_layer(self, memory: GuestMemory, layer: int, rows: int, n: int) -> None:
        session = self._layers()
        self._check_rows(session, n)
        given = memory.read_rows(rows, n, self._n_embd)
        memory.write_floats(rows, session.forward_layer(layer, given, cancel=self.call.cancel))

    def compute_logits(self, memory: GuestMemory, rows: int, n: int, logits: int) -> None:
        session = self._layers()
        self._check_rows(session, n)
        memory.check_room(logits, 4 * n * self._n_vocab)
        given = memory.read_rows(rows, n, self._n_embd)
        memory.write_floats(logits, session.compute_logits(given, cancel=self.call.cancel))

    def _layers(self) -> LayerSession:
        if self._session is None:
            raise InvalidRequest("no session is open: call realm_session_open first")
        self.call.seconds_left()
        return self._session

    def _check_rows(self, session: LayerSession, n: int) -> None:
        if not 1 <= n <= session.max_rows:
            raise InvalidRequest(f"a step of {n} rows; must be 1 to {session.max_rows}")
