"""Turns: no client's bytes are everybody's wait.

A packet of 64 KiB can be ten thousand pings, commands or empty lines. Whoever takes it apart
counts what they are worth, and gives way in between, so that others are answered:

    turns = Turns()
    for command in commands:
        perform(command)
        if turns.over():
            await others_first()
"""

from __future__ import annotations

from microthreads import SystemCall, sleep

IN_A_TURN = 64  # pieces of work, each of some microseconds
MOMENT = 1e-9  # seconds


def others_first() -> SystemCall[None]:
    """A system call that gives way to all who could go on, with what has come for them.

    A `sleep(0)` gives way to the tasks that are ready. While there are any, the kernel looks
    only once in 61 resumes for what has come from outside, which is right for short steps, but
    a turn is a long one. A wait, however short, has it look at once.
    """
    return sleep(MOMENT)


class Turns:
    """How much one client may have done before others get their turn.

    Args:
        most: How many pieces of work make up a turn.
    """

    __slots__ = ("_left", "_most")

    def __init__(self, most: int = IN_A_TURN) -> None:
        self._left = self._most = most

    def count(self, work: int) -> None:
        """Count work that was done; the next `over` tells. A plain call.

        Args:
            work: How many pieces it is worth.
        """
        self._left -= work

    def over(self, work: int = 1) -> bool:
        """Count work that was done; True if it is time to give way. A plain call.

        Args:
            work: How many pieces it is worth: more for what takes longer.
        """
        self._left -= work
        if self._left > 0:
            return False
        self._left = self._most
        return True
