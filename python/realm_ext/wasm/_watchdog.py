"""Calls what is due: one thread for all guests of a host, which lives while a guest runs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_IDLE_SECONDS = 1.0


class Watchdog:
    """Deadlines and what to do at them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[int, tuple[float, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, deadline: float, action: Callable[[], None]) -> Iterator[None]:
        """Calls `action` at `deadline`, of `time.monotonic()`, unless the block ends before.

        The action runs under the watchdog's lock: it must be short, and is not running any more
        when the block has ended.
        """
        number = next(self._numbers)
        with self._changed:
            self._due[number] = (deadline, action)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="realm-wasm-watchdog", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(number, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                self._call_due(now)
                if self._due:
                    self._changed.wait(min(due for due, _ in self._due.values()) - now)
                elif not self._changed.wait(_IDLE_SECONDS) and not self._due:
                    self._thread = None
                    return

    def _call_due(self, now: float) -> None:
        # Apart from the loop that waits: what its names hold would be held while it does.
        for number, (deadline, action) in list(self._due.items()):
            if deadline <= now:
                del self._due[number]
                action()
