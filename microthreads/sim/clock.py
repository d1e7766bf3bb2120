"""A clock that jumps, so that a test of an hour's sleep takes no time."""

from __future__ import annotations


class VirtualClock:
    """Time that stands still while a task can run, and then jumps.

    When nothing is ready and no descriptor has anything to report, the time
    becomes that of the next deadline. Use it as ``run(main(), clock=VirtualClock())``.

    Work that goes on outside the kernel (another process at the far end of a
    socket, a thread) takes no virtual time, so deadlines beside it pass at once.

    Args:
        start: The time that it shows first, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    def may_block(self, seconds: float) -> float:
        """Never: the poller only looks."""
        return 0.0

    def reach(self, deadline: float) -> None:
        """Jump to `deadline`, unless it has passed."""
        self._now = max(self._now, deadline)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._now} s>"
