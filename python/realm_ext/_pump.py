"""How the tasks of an event loop learn that their requests have news.

The core raises a descriptor; the loop watches it. There is no thread per request, and none at all
on this side.
"""

from __future__ import annotations

import asyncio
import threading
import weakref

from realm_ext import _core


class LoopPump:
    """The requests that one event loop waits for; used on that loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watches nothing until a request is added."""
        self._loop = weakref.ref(loop)  # which is the key under which this is found
        self._mailbox: _core.Mailbox | None = None
        self._news: dict[int, asyncio.Event] = {}

    def mailbox(self) -> _core.Mailbox:
        """Where the engine puts word of the requests of this loop."""
        if self._mailbox is None:
            self._mailbox = _core.Mailbox()
            asyncio.get_running_loop().add_reader(self._mailbox.fileno(), self._deliver)
        return self._mailbox

    def add(self, request: _core.Request) -> asyncio.Event:
        """An event that is set whenever the request has news; `discard` ends that."""
        news = self._news[request.id] = asyncio.Event()
        news.set()  # of what came before it was added
        return news

    def discard(self, request_id: int) -> None:
        """Forgets the request, and lets go of the descriptor with the last one."""
        self._news.pop(request_id, None)
        self.rest()

    def discard_soon(self, request_id: int) -> None:
        """As `discard`, from any thread and at any time."""
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self.discard, request_id)
                return
        except RuntimeError:  # the loop is closed, and nobody else is here
            pass
        self.discard(request_id)

    def rest(self) -> None:
        """Lets go of the descriptor if no request needs it."""
        if not self._news and self._mailbox is not None:
            if (loop := self._loop()) is not None:
                loop.remove_reader(self._mailbox.fileno())
            self._mailbox = None

    def _deliver(self) -> None:
        if self._mailbox is None:
            return
        for request_id in self._mailbox.take():
            if news := self._news.get(request_id):
                news.set()


class Pumps:
    """One pump for each event loop that uses an engine."""

    def __init__(self) -> None:
        """There are none yet."""
        self._lock = threading.Lock()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPump] = (
            weakref.WeakKeyDictionary()
        )

    def of_running_loop(self) -> LoopPump:
        """The pump of the loop that runs this thread."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._by_loop:
                self._by_loop[loop] = LoopPump(loop)
            return self._by_loop[loop]
