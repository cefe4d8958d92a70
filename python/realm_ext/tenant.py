"""A tenant of a runtime: requests with a quota, a fair share, and nothing shared with the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._serving import Prompt, Prompts, Serving, Snapshot, Speculative, Terms
from realm_ext.adapters import chosen
from realm_ext.completion import Chunk, Completion
from realm_ext.errors import InvalidRequest
from realm_ext.layers import LayerSession
from realm_ext.request import Request
from realm_ext.text.chat_template import Message

if TYPE_CHECKING:
    from realm_ext.adapters import AdapterChoice
    from realm_ext.text import Tokenizer


class Tenant(Serving):
    """A tenant on one model of a `Runtime`; made by `Runtime.get_or_create`.

    Its methods are those of `Engine`: all may be called from any thread, and the asynchronous ones
    from any event loop. What a request does not say comes from the tenant: its defaults for
    sampling, and the adapter that `Runtime.set_tenant_lora_adapter` gave it.
    """

    def __init__(self, core: _core.Tenant, text: Callable[[], Tokenizer]) -> None:
        """Wrap what the runtime made."""
        super().__init__()
        self._core = core
        self._make_text = text

    @property
    def id(self) -> str:
        """Its id."""
        return self._core.id

    @property
    def model_id(self) -> str:
        """The id of its model."""
        return self._core.model_id

    @property
    def quota(self) -> _core.Quota:
        """What it may take."""
        return self._core.quota

    @property
    def weight(self) -> float:
        """Its fair share, in proportion to the others' weights."""
        return self._core.weight

    @property
    def sampling(self) -> _core.SamplingParams:
        """The parameters of requests that bring none."""
        return self._core.sampling

    @property
    def adapter_id(self) -> str | None:
        """The adapter of its next request; None for the base."""
        return self._core.adapter_id

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to token ids and back, for its model."""
        return self._text()

    def layer_session(self, max_tokens: int, max_rows: int = 512) -> LayerSession:
        """A session of the model's layers, with the adapter that is set for the tenant now.

        What it computes counts as the tenant's tokens, and its memory against `kv_blocks` as long
        as it lives. Its keys and values have the type of the engine's. Beside requests it waits for
        its turn.

        Raises:
            InvalidRequest: A number makes no sense; the tenant has been released; its adapter is no
                longer loaded.
            QuotaExceeded: The session is above the tenant's quota.
        """
        if max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {max_tokens}; must be at least 1")
        return LayerSession.of(
            _core.tenant_layer_session(self._core, max_tokens=max_tokens, max_rows=max_rows)
        )

    @overload
    def generate(  # type: ignore[overload-overlap]  # a str is a list of str to the type system
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
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
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Completion | list[Completion]:
        """Answers one prompt, or several together, and waits for all; see `Engine.generate`.

        Args:
            prompt: Text, or token ids; or a list of either.
            params: How to sample and when to end; by default as `sampling` says.
            adapter: By default the adapter that is set for the tenant; an empty list for the base
                alone.
            messages: A conversation, in place of a prompt.
            priority: Among this tenant's own requests, higher ones are served first.
            deadline_ms: The answer ends after so long, with the reason ``"deadline"``.
            speculative: How tokens are guessed ahead; by default as the model's spec says, False
                for not at all.

        Raises:
            InvalidRequest: The prompt is empty, above the context, or has ids that do not exist;
                the tenant has been released; its adapter is no longer loaded.
            QuotaExceeded: The request is above the tenant's quota.
        """
        terms = _terms(params, adapter, priority, deadline_ms, speculative)
        return self._answer(prompt, messages, terms)

    async def agenerate(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Completion:
        """Answers one prompt without holding up the event loop; see `generate`.

        Cancelling the task cancels the request.
        """
        terms = _terms(params, adapter, priority, deadline_ms, speculative)
        return await self._answer_async(prompt, messages, terms)

    def stream(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Iterator[Chunk]:
        """Answers one prompt piece by piece; see `generate`.

        The request starts at once, and ends when the iterator is closed.
        """
        terms = _terms(params, adapter, priority, deadline_ms, speculative)
        return self._stream(prompt, messages, terms)

    def astream(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> AsyncIterator[Chunk]:
        """As `stream`, for event loops. Cancelling the task cancels the request."""
        terms = _terms(params, adapter, priority, deadline_ms, speculative)
        return self._stream_async(prompt, messages, terms)

    def submit(
        self,
        prompt: Prompt | None = None,
        params: _core.SamplingParams | None = None,
        adapter: AdapterChoice = None,
        *,
        messages: Sequence[Message] | None = None,
        priority: int = 0,
        deadline_ms: float | None = None,
        speculative: Speculative = None,
    ) -> Request:
        """Hands in a request and returns at once; see `generate`."""
        terms = _terms(params, adapter, priority, deadline_ms, speculative)
        return self._submit(self._prompt_ids(prompt, messages), terms)

    def resume(
        self,
        snapshot: Snapshot,
        *,
        deadline_ms: float | None = None,
        adapter: AdapterChoice = None,
        speculative: Speculative = None,
    ) -> Request:
        """Goes on with a request whose `snapshot` was taken; see `Engine.resume`."""
        terms = _terms(None, adapter, 0, deadline_ms, speculative)
        return Request(
            self._core.resume(
                bytes(memoryview(snapshot)),
                deadline_ms=terms.deadline_ms,
                adapters=terms.adapters,
                speculative=terms.speculative or None,
                plain=terms.speculative is False,
            )
        )

    def stats(self) -> _core.TenantStats:
        """Counts and times since the tenant was made, also after its release."""
        return self._core.stats()

    def _hand_in(
        self, ids: NDArray[np.int32], terms: Terms, mailbox: _core.Mailbox | None
    ) -> _core.Request:
        return self._core.submit(
            ids,
            terms.params,
            priority=terms.priority,
            deadline_ms=terms.deadline_ms,
            mailbox=mailbox,
            adapters=terms.adapters,
            speculative=terms.speculative or None,
            plain=terms.speculative is False,
        )

    def _text(self) -> Tokenizer:
        return self._make_text()

    def __repr__(self) -> str:
        """Who, and on what."""
        gone = ", released" if self._core.is_released else ""
        return f"<Tenant {self.id!r} on {self.model_id!r}{gone}>"


def _terms(
    params: _core.SamplingParams | None,
    adapter: AdapterChoice,
    priority: int,
    deadline_ms: float | None,
    speculative: Speculative,
) -> Terms:
    adapters = None if adapter is None else chosen(adapter)
    return Terms(params, priority, deadline_ms, adapters, speculative)
