"""Many requests at once over one model."""

from __future__ import annotations

import atexit
import hashlib
import re
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._draft import Draft, load_draft
from realm_ext._pump import LoopPump, Pumps
from realm_ext._token_ids import as_token_ids
from realm_ext.adapters import chosen
from realm_ext.completion import Chunk, Completion, Timings, Usage
from realm_ext.errors import InvalidRequest, RealmError
from realm_ext.model import Model
from realm_ext.request import Request
from realm_ext.text.chat_template import Message

if TYPE_CHECKING:
    from typing_extensions import Self

    from realm_ext.adapters import AdapterChoice

Prompt = str | Sequence[int] | NDArray[np.integer]

# How one request is speculated: by default as its engine does, False for not at all.
Speculative = _core.SpeculativeConfig | Literal[False] | None

# Engines must end before the interpreter takes down what they use.
_living: weakref.WeakSet[Engine] = weakref.WeakSet()

_TENANT = re.compile(r"[A-Za-z0-9_-]{3,64}")


class Engine:
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
            most a quarter of the memory that is free; it is taken as it is used.
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
        self._model = model
        self._draft, draft_failure = load_draft(draft)
        if speculative is None and draft is not None:
            speculative = _core.SpeculativeConfig()
        self._speculative = speculative
        self._pumps = Pumps()
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
        _living.add(self)

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
        prompt: Sequence[str] | Sequence[Sequence[int]],
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
        prompt: Prompt | Sequence[str] | Sequence[Sequence[int]] | None = None,
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
        terms = _Terms(params, tenant, priority, deadline_ms, chosen(adapter), speculative)
        if prompt is None or _is_single(prompt):
            return self._generate_one(self._prompt_ids(cast("Prompt", prompt), messages), terms)
        if messages is not None:
            raise InvalidRequest("give a prompt or messages, not both")
        return self._generate_all(cast("Sequence[Prompt]", prompt), terms)

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
        pump = self._pumps.of_running_loop()
        ids = self._prompt_ids(prompt, messages)
        terms = _Terms(params, tenant, priority, deadline_ms, chosen(adapter), speculative)
        return await self._submit_on(pump, ids, terms).result_on(pump)

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
        ids = self._prompt_ids(prompt, messages)
        return self._submit(
            ids, _Terms(params, tenant, priority, deadline_ms, chosen(adapter), speculative)
        ).stream()

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
        pump = self._pumps.of_running_loop()
        ids = self._prompt_ids(prompt, messages)
        terms = _Terms(params, tenant, priority, deadline_ms, chosen(adapter), speculative)
        return self._submit_on(pump, ids, terms).stream_on(pump)

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
        ids = self._prompt_ids(prompt, messages)
        return self._submit(
            ids, _Terms(params, tenant, priority, deadline_ms, chosen(adapter), speculative)
        )

    def resume(
        self,
        snapshot: bytes,
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
                snapshot,
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

    def _prompt_ids(
        self, prompt: Prompt | None, messages: Sequence[Message] | None
    ) -> NDArray[np.int32]:
        if (prompt is None) == (messages is None):
            raise InvalidRequest("give a prompt or messages" + (", not both" if messages else ""))
        if prompt is None:
            template = self._model.tokenizer.apply_chat_template
            return as_token_ids(template(messages or [], add_generation_prompt=True))
        if isinstance(prompt, str):
            if not prompt:
                raise InvalidRequest("the prompt is empty")
            prompt = self._model.tokenizer.encode(prompt)
        return as_token_ids(prompt)

    def _submit(
        self, ids: NDArray[np.int32], terms: _Terms, mailbox: _core.Mailbox | None = None
    ) -> Request:
        return Request(
            self._core.submit(
                ids,
                terms.params or _core.SamplingParams(),
                priority=terms.priority,
                deadline_ms=terms.deadline_ms,
                adapters=terms.adapters,
                space=_namespace(terms.tenant),
                mailbox=mailbox,
                speculative=self._speculative_of(terms.speculative),
            )
        )

    def _submit_on(self, pump: LoopPump, ids: NDArray[np.int32], terms: _Terms) -> Request:
        try:
            return self._submit(ids, terms, pump.mailbox())
        except BaseException:
            pump.rest()
            raise

    def _speculative_of(self, asked: Speculative) -> _core.SpeculativeConfig | None:
        if asked is None:
            return self._speculative
        return asked or None

    def _generate_one(self, ids: NDArray[np.int32], terms: _Terms) -> Completion:
        request = self._submit(ids, terms)
        try:
            return request.result()
        finally:
            request.cancel()

    def _generate_all(self, prompts: Sequence[Prompt], terms: _Terms) -> list[Completion]:
        requests: list[Request | RealmError] = []
        try:
            for prompt in prompts:
                try:
                    requests.append(self._submit(self._prompt_ids(prompt, None), terms))
                except RealmError as error:
                    requests.append(error)
            return [_completion_of(request) for request in requests]
        finally:
            for request in requests:
                if isinstance(request, Request):
                    request.cancel()


@atexit.register
def _close_all() -> None:
    for engine in list(_living):
        engine.close()


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a request asks for besides its prompt."""

    params: _core.SamplingParams | None
    tenant: str | None
    priority: int
    deadline_ms: float | None
    adapters: list[tuple[str, float]]
    speculative: Speculative


def _is_single(prompt: Prompt | Sequence[str] | Sequence[Sequence[int]]) -> bool:
    """Whether it is one prompt; a list of prompts otherwise. An empty list is an empty prompt."""
    if isinstance(prompt, str):
        return True
    if isinstance(prompt, np.ndarray):
        return prompt.ndim == 1
    return len(prompt) == 0 or not isinstance(prompt[0], str | Sequence | np.ndarray)


def _completion_of(request: Request | RealmError) -> Completion:
    """Waits for a request of a list; one that was refused gives a completion all the same."""
    if isinstance(request, Request):
        request.wait()
        return request.completion()
    usage, timings = Usage(0, 0, 0), Timings(None, None, 0.0)
    return Completion("", [], "error", None, request, None, None, usage, timings, None)


def _namespace(tenant: str | None) -> bytes:
    """Whose cached prompts a request may use; requests without a tenant share theirs."""
    if tenant is None:
        return b""
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest(f"tenant is {tenant!r}; must be 3 to 64 of A-Z, a-z, 0-9, _ and -")
    return hashlib.sha256(tenant.encode()).digest()
