"""The clock: what time it is, and how long the kernel may block.

The kernel asks two things besides the time. Before it polls, with nothing
ready: how long may the poller block, the next deadline being so far away? And
when that poll found nothing: the deadline may be taken as reached. A real
clock blocks and then has nothing to do; a virtual one never blocks and then
jumps (`microthreads.sim.VirtualClock`).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The contract of a clock; times are in seconds from an arbitrary start."""

    def now(self) -> float: ...

    def may_block(self, seconds: float) -> float:
        """How long, in seconds, the poller may block before the next deadline."""

    def reach(self, deadline: float) -> None:
        """Nothing happened up to `deadline`: make it now, if time is yours to move."""


class MonotonicClock:
    """Real time, as `time.monotonic` tells it."""

    now = staticmethod(time.monotonic)

    def may_block(self, seconds: float) -> float:
        return max(seconds, 0.0)

    def reach(self, deadline: float) -> None:
        pass
