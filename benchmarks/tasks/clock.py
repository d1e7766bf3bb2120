"""What the measured works share: the stopwatch, and how much work is done.

A work is a function of a size and a `Watch`; it returns how many operations it has
done. `measure.py` starts the watch before it and stops it after. A work whose
preparations should not count begins the watch itself, or ends it.

Nothing here imports a contender.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.workload import quick

SWITCHES = 400_000  # turns taken by all tasks together
WARM = 3  # rounds that every task has had before the watch begins
BUSY = 100  # tasks in works that need others to be busy
SLEEP = 0.001  # of the sleeper whose lateness is measured


class Watch:
    """CPU time of this process, all threads, between the last begin and the end."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.begin()

    def begin(self) -> None:
        self._begun = time.process_time()

    def end(self) -> None:
        if self.seconds is None:
            self.seconds = time.process_time() - self._begun


def scaled(count: int, least: int = 1) -> int:
    """So many operations, or a small share of them with --quick."""
    return max(least, count // 20) if quick() else count


def rounds(tasks: int, switches: int = SWITCHES) -> int:
    """How many turns each of so many tasks takes."""
    return max(10, scaled(switches) // tasks)


def resumes(depth: int) -> int:
    """How many resumes to measure through so many frames: fewer where each is dear."""
    return SWITCHES // max(1, depth // 10)


def calls(depth: int) -> int:
    """How many times to go down so many routines."""
    return max(2, scaled(200_000) // depth)


def asleep(sleepers: int) -> float:
    """Seconds that they sleep: long enough that all are asleep at once."""
    if quick():
        return 0.05
    return 10 if sleepers > 100_000 else 1


def lateness(late: list[float]) -> dict[str, float]:
    """Percentiles of seconds, in microseconds."""
    late = sorted(late)
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {
        name: late[min(len(late) - 1, int(part * len(late)))] * 1e6 for name, part in at.items()
    }


def resident() -> int:
    """How many bytes of memory this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def grown(before: int, tasks: int) -> dict[str, float]:
    """Bytes a task since there were `before`."""
    return {"value": (resident() - before) / tasks}
