"""Many requests at once over one model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._arguments import require_whole
from realm_ext._draft import Draft, load_draft
from realm_ext._serving import Prompt, Prompts, Serving, Snapshot, Speculative, Terms, close_at_exit
from realm_ext.adapters import chosen
from realm_ext.completion import Chunk, Completion
from realm_ext.errors import InvalidRequest
from realm_ext.model import Model
from realm_ext.request import Request
from realm_ext.text.chat_template import Message

if TYPE_CHECKING:
    from typing_extensions import Self

    from realm_ext.adapters import AdapterChoice
    from realm_ext.text import Tokenizer

_TENANT = re.compile(r"[A-Za-z0-9_-]{3,64}")


class Engine(Serving):
    """Serves requests over a model, many at a time, on a thread of its own.

    A request's answer does not depend on the others: alone or in any company, cached, cut into
    chunks or put back and computed again, it has the same tokens. All methods may be called from
    any thread, and the asynchronous ones from any event loop.

    Example:
        >>> import realm_ext
        >>> model = realm_ext.Model(realm_ext.demo_path("target.gguf"))
        >>> params = realm_ext.SamplingParams(temperature=0, max_tokens=3)
        >>> with realm_ext.Engine(model) as engine:
        ...     engine.generate("The capital of France is", params).text.strip()
        'Paris'

    Args:
        model: The model; it stays usable by itself and by other engines, which take turns.
        max_sequences: Requests that run at the same time; others wait.
        max_step_tokens: Tokens that go through the model together. Smaller steps hold up running
            answers less while long prompts come in.
        kv_bytes: Memory for keys and values. By default what `max_sequences` full contexts need, at
            most a quarter of the memory that is free, taken as it is used; of a CUDA device
            three quarters of what is left there, taken at once.
        kv_dtype: Their storage type: ``"f32"``, ``"f16"``, ``"bf16"``, ``"q8_0"``.
        prefix_cache: Keeps keys and values of prompts for later requests of the same tenant that
            begin with the same tokens.
        max_queue: Requests that may wait; more are refused with `QuotaExceeded`. None: no limit.
        draft: A smaller model with the same vocabulary, which guesses tokens ahead: a `Model`, or a
            path. A path that cannot be loaded leaves requests without speculation, and their
            `Completion.speculation` says so.
        speculative: How requests are speculated that do not say; by default as
            `SpeculativeConfig()` does if there is a draft model, else not at all.
        draft_kv_bytes: Memory for the keys and values of the draft model.
        max_wait_ms: A step waits up to so long for requests to fill it, for bulk work.

    Raises:
        InvalidRequest: An option makes no sense, or the draft model has another vocabulary.
        OutOfMemoryError: `kv_bytes` does not hold one block.
    """

    def __init__(
        self,
        model: Model,
        draft: Draft = None,
        speculative: _core.SpeculativeConfig | None = None,
        *,
        max_sequences: int = 32,
        max_step_tokens: int = 512,
        kv_bytes: int | None = None,
        kv_dtype: Literal["f32", "f16", "bf16", "q8_0"] = "f16",
        prefix_cache: bool = True,
        max_queue: int | None = None,
        max_wait_ms: int = 0,
        draft_kv_bytes: int | None = None,
    ) -> None:
        """See the class."""
        super().__init__()
        for name, value in (
            ("max_sequences", max_sequences),
            ("max_step_tokens", max_step_tokens),
            ("kv_bytes", kv_bytes),
            ("max_queue", max_queue),
            ("max_wait_ms", max_wait_ms),
            ("draft_kv_bytes", draft_kv_bytes),
        ):
            require_whole(name, value)
        self._model = model
        self._draft, draft_failure = load_draft(draft)
        if speculative is None and draft is not None:
            speculative = _core.SpeculativeConfig()
        self._speculative = speculative
        self._core = _core.Engine(
            model.core,
            max_sequences=max_sequences,
            max_step_tokens=max_step_tokens,
            kv_bytes=kv_bytes,
            kv_dtype=kv_dtype,
            prefix_cache=prefix_cache,
            max_queue=max_queue,
            max_wait_ms=max_wait_ms,
            draft=self._draft.core if self._draft else None,
            draft_failure=draft_failure,
            draft_kv_bytes=draft_kv_bytes,
        )
        close_at_exit(self)

    @property
    def model(self) -> Model:
        """The model it serves."""
        return self._model

    # ---- one call, whole answers

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a list of str to the type system
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Completion: ...

    @overload
    def generate(
        self,
        prompt: Prompts,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> list[Completion]: ...

    def generate(
        self,
        prompt: Prompt | Prompts | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Completion | list[Completion]:
        """Answers one prompt, or several together, and waits for all.

        Ctrl-C cancels what it asked for and is raised at once.

        Args:
            prompt: Text, or token ids; or a list of either.
            params: How to sample and when to end.
            messages: A conversation, in place of a prompt: the model's chat template makes the
                prompt of it.
            tenant: Whose request it is. Cached prompts are shared within a tenant, never between.
            priority: Requests of higher priority are served first.
            deadline_ms: The answer ends after so long, with the reason ``"deadline"``.
            adapter: None, the name of an adapter that the model has loaded, or pairs of names and
                scales. The request keeps them, whatever is loaded under their names later.
            speculative: How tokens are guessed ahead; by default as the engine does, False for not
                at all.

        Returns:
            A completion, or one for each prompt of a list; a failed one of a list has its `error`.

        Raises:
            InvalidRequest: The prompt is empty, above the context, or has ids that do not exist.
            QuotaExceeded: Too many requests wait.
        """
        terms = _terms(params, adapter, tenant, priority, deadline_ms, speculative)
        return self._answer(prompt, messages, terms)

    async def agenerate(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Completion:
        """Answers one prompt without holding up the event loop; see `generate`.

        Cancelling the task cancels the request.
        """
        terms = _terms(params, adapter, tenant, priority, deadline_ms, speculative)
        return await self._answer_async(prompt, messages, terms)

    # ---- one call, pieces of an answer

    def stream(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Iterator[Chunk]:
        """Answers one prompt piece by piece; see `generate`.

        The request starts at once, and ends when the iterator is closed.
        """
        terms = _terms(params, adapter, tenant, priority, deadline_ms, speculative)
        return self._stream(prompt, messages, terms)

    def astream(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> AsyncIterator[Chunk]:
        """As `stream`, for event loops. Cancelling the task cancels the request."""
        terms = _terms(params, adapter, tenant, priority, deadline_ms, speculative)
        return self._stream_async(prompt, messages, terms)

    # ---- requests as objects

    def submit(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        tenant: str | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Request:
        """Hands in a request and returns at once; see `generate`."""
        terms = _terms(params, adapter, tenant, priority, deadline_ms, speculative)
        return self._submit(self._prompt_ids(prompt, messages), terms)

    def resume(
        self,
        snapshot: Snapshot,
        *,
        tenant: str | None = None,
        deadline_ms: float | None = None,
        adapter: AdapterChoice = None,
        speculative: Speculative = None,
    ) -> Request:
        """Goes on with a request whose `snapshot` was taken, here or in another process.

        Its first chunk has what was answered before.

        Raises:
            FormatError: The bytes are damaged.
            InvalidRequest: It was taken over another model, another type of cache or other
                adapters.
        """
        space = _namespace(tenant)
        return Request(
            self._core.resume(
                bytes(memoryview(snapshot)),
                space=space,
                deadline_ms=deadline_ms,
                adapters=chosen(adapter),
                speculative=self._speculative_of(speculative),
            )
        )

    def stats(self) -> _core.EngineStats:
        """Counts and times since the engine was made."""
        return self._core.stats()

    def close(self) -> None:
        """Ends every request with the reason ``"cancelled"`` and the engine with them."""
        self._core.close()

    def __enter__(self) -> Self:
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the engine."""
        self.close()

    # ---- on the way in

    def _hand_in(
        self, ids: NDArray[np.int32], terms: Terms, mailbox: _core.Mailbox | None
    ) -> _core.Request:
        return self._core.submit(
            ids,
            terms.params or _core.SamplingParams(),
            priority=terms.priority,
            deadline_ms=terms.deadline_ms,
            adapters=terms.adapters or [],
            space=_namespace(terms.tenant),
            mailbox=mailbox,
            speculative=self._speculative_of(terms.speculative),
        )

    def _text(self) -> Tokenizer:
        return self._model.tokenizer

    def _speculative_of(self, asked: Speculative) -> _core.SpeculativeConfig | None:
        if asked is None:
            return self._speculative
        return asked or None


def _terms(
    params: _core.SamplingParams | None,
    adapter: AdapterChoice,
    tenant: str | None,
    priority: int,
    deadline_ms: float | None,
    speculative: Speculative,
) -> Terms:
    return Terms(params, priority, deadline_ms, chosen(adapter), speculative, tenant)


def _namespace(tenant: str | None) -> bytes:
    """Whose cached prompts a request may use; requests without a tenant share theirs."""
    if tenant is None:
        return b""
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest(f"tenant is {tenant!r}; must be 3 to 64 of A-Z, a-z, 0-9, _ and -")
    return hashlib.sha256(tenant.encode()).digest()
