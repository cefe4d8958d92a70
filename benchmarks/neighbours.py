"""How much of the processors programs other than ours took while we measured.

A figure taken beside a busy neighbour says little: an engine whose threads wait for each other loses
far more than its neighbour takes. So every row says how alone it was.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class Neighbours:
    """`share()` at the end of a stretch: of all processors' time since its beginning."""

    def __init__(self, processes: list[int]) -> None:
        """The stretch begins. `processes` are our own, beside this one."""
        self._processes = [os.getpid(), *processes]
        self._started = time.monotonic()
        self._others = self._seconds_of_others()

    def share(self) -> float:
        """From 0 to 1; 0 also where the system does not tell."""
        elapsed = time.monotonic() - self._started
        others = self._seconds_of_others() - self._others
        return min(1.0, max(0.0, others / (elapsed * (os.cpu_count() or 1))))

    def _seconds_of_others(self) -> float:
        try:
            first = Path("/proc/stat").read_text().splitlines()[0].split()
            ours = sum(map(_ticks_of, self._processes))
        except OSError:
            return 0.0
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first[1:9])
        all_ = user + nice + system + irq + softirq + steal
        return (all_ - ours) / os.sysconf("SC_CLK_TCK")


def _ticks_of(process: int) -> int:
    # The name, in parentheses, may have spaces in it.
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])
