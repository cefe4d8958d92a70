"""How prompts become requests and answers, whoever serves them: an engine, or a tenant of a runtime."""

from __future__ import annotations

import atexit
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from realm_ext import _core
from realm_ext._arguments import require_whole
from realm_ext._pump import LoopPump, Pumps
from realm_ext._token_ids import as_token_ids
from realm_ext.completion import Chunk, Completion, Timings, Usage
from realm_ext.errors import InvalidRequest, RealmError
from realm_ext.request import Request

if TYPE_CHECKING:
    from realm_ext.text import Tokenizer
    from realm_ext.text.chat_template import Message

Prompt = str | Sequence[int] | NDArray[np.integer]
Prompts = Sequence[str] | Sequence[Sequence[int]]

# What `Request.snapshot` gave, in any form of bytes.
Snapshot = bytes | bytearray | memoryview

# How one request is speculated: by default as its engine does, False for not at all.
Speculative = _core.SpeculativeConfig | Literal[False] | None


class _Closing(Protocol):
    def close(self) -> None: ...


# Engines must end before the interpreter takes down what they use.
_living: weakref.WeakSet[_Closing] = weakref.WeakSet()


def close_at_exit(owner: _Closing) -> None:
    """Closes it when the interpreter ends, if it is there still."""
    _living.add(owner)


@atexit.register
def _close_all() -> None:
    for owner in list(_living):
        owner.close()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request asks for besides its prompt."""

    params: _core.SamplingParams | None
    priority: int
    deadline_ms: float | None
    adapters: list[tuple[str, float]] | None
    speculative: Speculative
    tenant: str | None = None

    def __post_init__(self) -> None:
        """Refuses a priority that the core cannot hold."""
        require_whole("priority", self.priority, least=-(2**31), most=2**31 - 1)


class Serving(ABC):
    """What an engine and a tenant share: one handing in, and all the forms of an answer."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._pumps = Pumps()

    @abstractmethod
    def _hand_in(
        self, ids: NDArray[np.int32], terms: Terms, mailbox: _core.Mailbox | None
    ) -> _core.Request: ...

    @abstractmethod
    def _text(self) -> Tokenizer:
        """Of the model that answers."""

    def _answer(
        self,
        prompt: Prompt | Prompts | None,
        messages: Sequence[Message] | None,
        terms: Terms,
    ) -> Completion | list[Completion]:
        if prompt is None or _is_single(prompt):
            return self._answer_one(self._prompt_ids(cast("Prompt", prompt), messages), terms)
        if messages is not None:
            raise InvalidRequest("give a prompt or messages, not both")
        return self._answer_all(cast("Sequence[Prompt]", prompt), terms)

    async def _answer_async(
        self, prompt: Prompt | None, messages: Sequence[Message] | None, terms: Terms
    ) -> Completion:
        pump = self._pumps.of_running_loop()
        ids = self._prompt_ids(prompt, messages)
        return await self._submit_on(pump, ids, terms).result_on(pump)

    def _stream(
        self, prompt: Prompt | None, messages: Sequence[Message] | None, terms: Terms
    ) -> Iterator[Chunk]:
        return self._submit(self._prompt_ids(prompt, messages), terms).stream()

    def _stream_async(
        self, prompt: Prompt | None, messages: Sequence[Message] | None, terms: Terms
    ) -> AsyncIterator[Chunk]:
        pump = self._pumps.of_running_loop()
        ids = self._prompt_ids(prompt, messages)
        return self._submit_on(pump, ids, terms).stream_on(pump)

    def _prompt_ids(
        self, prompt: Prompt | None, messages: Sequence[Message] | None
    ) -> NDArray[np.int32]:
        if (prompt is None) == (messages is None):
            raise InvalidRequest("give a prompt or messages" + (", not both" if messages else ""))
        if prompt is None:
            template = self._text().apply_chat_template
            return as_token_ids(template(messages or [], add_generation_prompt=True))
        if isinstance(prompt, str):
            if not prompt:
                raise InvalidRequest("the prompt is empty")
            prompt = self._text().encode(prompt)
        return as_token_ids(prompt)

    def _submit(
        self, ids: NDArray[np.int32], terms: Terms, mailbox: _core.Mailbox | None = None
    ) -> Request:
        return Request(self._hand_in(ids, terms, mailbox))

    def _submit_on(self, pump: LoopPump, ids: NDArray[np.int32], terms: Terms) -> Request:
        try:
            return self._submit(ids, terms, pump.mailbox())
        except BaseException:
            pump.rest()
            raise

    def _answer_one(self, ids: NDArray[np.int32], terms: Terms) -> Completion:
        request = self._submit(ids, terms)
        try:
            return request.result()
        finally:
            request.cancel()

    def _answer_all(self, prompts: Sequence[Prompt], terms: Terms) -> list[Completion]:
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


def _is_single(prompt: Prompt | Prompts) -> bool:
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
