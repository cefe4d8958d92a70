"""A request in an engine, from the side of who waits for it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal, cast

from realm_ext import _core
from realm_ext._pump import LoopPump
from realm_ext.completion import Chunk, Completion, FinishReason, Timings, TokenLogprob, Usage
from realm_ext.errors import RealmError

Status = Literal["waiting", "running", "finished"]


class Request:
    """One request of an `Engine`. Made by `Engine.submit`; any thread may use it."""

    def __init__(self, core: _core.Request) -> None:
        """Wrap what the engine made."""
        self._core = core
        self._lock = threading.Lock()
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] | None = None
        self._end: _core.End | None = None

    @property
    def id(self) -> int:
        """Its number in its engine."""
        return self._core.id

    @property
    def seed(self) -> int:
        """The seed of its draws, also when its parameters had none."""
        return self._core.seed

    @property
    def status(self) -> Status:
        """``"waiting"``, also after it had to give way, ``"running"``, ``"finished"``."""
        return cast(Status, self._core.report().status)

    def cancel(self) -> None:
        """Ends it within a step, with the reason ``"cancelled"`` and the tokens it has.

        Returns at once. Does nothing to a request that has ended.
        """
        self._core.cancel()

    def result(self, timeout: float | None = None) -> Completion:
        """Waits for the end.

        Args:
            timeout: Seconds to wait at most; by default as long as it takes.

        Raises:
            TimeoutError: It has not ended in time, and goes on.
            RealmError: It failed; the error is its own.
        """
        self.wait(timeout)
        completion = self.completion()
        self._raise_if_failed()
        return completion

    def wait(self, timeout: float | None = None) -> None:
        """Waits for the end, also of a request that fails.

        Args:
            timeout: Seconds to wait at most; by default as long as it takes.

        Raises:
            TimeoutError: It has not ended in time, and goes on.
        """
        if not self._core.wait_end(timeout):
            raise TimeoutError(f"request {self.id} has not ended after {timeout} seconds")

    def completion(self) -> Completion:
        """The answer of a request that has ended, also of one that failed."""
        self._take()
        if self._end is None:
            raise RuntimeError(f"request {self.id} has not ended")
        report = self._core.report()
        return Completion(
            text="".join(self._text),
            tokens=self._tokens,
            finish_reason=cast(FinishReason, self._end.reason),
            stop_reason=self._end.stop_reason,
            error=cast("RealmError | None", self._end.error),
            seed=self.seed,
            logprobs=self._logprobs,
            usage=Usage(report.prompt_tokens, report.generated_tokens, report.cached_tokens),
            timings=Timings(report.started, report.first_token, report.finished or 0.0),
            speculation=report.speculation,
        )

    def stream(self) -> Iterator[Chunk]:
        """Its pieces as they come; of several readers, each piece reaches one.

        Closing the iterator, or dropping it, cancels the request.

        Raises:
            RealmError: It failed; the pieces before that stand.
        """
        pieces = self._pieces()
        _when_dropped(pieces, self._core.cancel)
        return pieces

    def stream_on(self, pump: LoopPump) -> AsyncIterator[Chunk]:
        """As `stream`, on an event loop."""
        pieces = self._pieces_on(pump, pump.add(self._core))
        _when_dropped(pieces, self._core.cancel)
        _when_dropped(pieces, pump.discard_soon, self._core.id)
        return pieces

    async def result_on(self, pump: LoopPump) -> Completion:
        """As `result`, on an event loop; cancels the request if the task is cancelled."""
        async for _ in self.stream_on(pump):
            pass
        return self.completion()

    def snapshot(self) -> bytes:
        """What `Engine.resume` needs to go on from here, to the same answer.

        Raises:
            InvalidRequest: It has ended.
        """
        return self._core.snapshot()

    def _pieces(self) -> Iterator[Chunk]:
        try:
            while self._end is None:
                self._core.wait()
                if chunk := self._take():
                    yield chunk
        finally:
            self.cancel()
        self._raise_if_failed()

    async def _pieces_on(self, pump: LoopPump, news: asyncio.Event) -> AsyncIterator[Chunk]:
        try:
            while self._end is None:
                await news.wait()
                news.clear()
                if chunk := self._take():
                    yield chunk
        finally:
            self.cancel()
            pump.discard(self._core.id)
        self._raise_if_failed()

    def _take(self) -> Chunk | None:
        """What has come since the last call; None if nothing has, or only an error."""
        with self._lock:
            piece = self._core.take()
            if piece is None:
                return None
            chunk = _as_chunk(piece)
            self._text.append(chunk.text)
            self._tokens.extend(chunk.tokens)
            if chunk.logprobs is not None:
                self._logprobs = (self._logprobs or []) + chunk.logprobs
            self._end = piece.end
            return None if chunk.finish_reason == "error" and not chunk.tokens else chunk

    def _raise_if_failed(self) -> None:
        if self._end is not None and self._end.error is not None:
            raise self._end.error

    def __repr__(self) -> str:
        """Its number and how far it is."""
        return f"<Request {self.id}, {self.status}>"


def _when_dropped(pieces: object, call: Callable[..., None], *arguments: object) -> None:
    # A generator's own `finally` does not run if nobody ever asked it for a piece.
    weakref.finalize(pieces, call, *arguments).atexit = False


def _as_chunk(piece: _core.Piece) -> Chunk:
    logprobs = None
    if piece.logprobs is not None:
        pairs = zip(piece.tokens, piece.logprobs, strict=True)
        logprobs = [TokenLogprob(token, chosen, top) for token, (chosen, top) in pairs]
    reason = piece.end.reason if piece.end else None
    return Chunk(
        piece.text.decode("utf-8", "replace"),
        piece.tokens,
        logprobs,
        cast("FinishReason | None", reason),
    )
