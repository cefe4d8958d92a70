"""A progress bar on stderr, drawn only for a person: not into files and pipes."""

import sys
import time
from types import TracebackType

from realm_ext.cli.text import human_bytes

_WIDTH = 30
_SECONDS_BETWEEN_DRAWS = 0.1


class ProgressBar:
    """`with ProgressBar("quantize") as bar: work(progress=bar.update)`."""

    def __init__(self, label: str, delay: float = 0.0) -> None:
        """Draws nothing until the first update that comes `delay` seconds from now or later."""
        self._label = label
        self._delay = delay
        self._visible = sys.stderr.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0

    def update(self, done: int, total: int) -> None:
        """Show `done` of `total` bytes."""
        now = time.monotonic()
        if not self._visible or now - self._started < self._delay:
            return
        if done < total and now - self._drawn < _SECONDS_BETWEEN_DRAWS:
            return
        self._drawn = now
        share = done / total if total else 1.0
        bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH, ".")
        speed = human_bytes(int(done / max(now - self._started, 1e-9)))
        self._write(f"\r{self._label} [{bar}] {share:4.0%} {speed}/s\x1b[K")

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._drawn:
            self._write("\r\x1b[K")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
