"""Turns: no client's bytes are everybody's wait.

A packet of 64 KiB can be ten thousand pings, commands or empty lines. Whoever takes it apart
counts what they are worth, and gives way in between, so that others are answered:

    turns = Turns()
    for command in commands:
        perform(command)
        if turns.over():
            await sleep(0)
"""

from __future__ import annotations

IN_A_TURN = 64  # pieces of work, each of some microseconds


class Turns:
    """How much one client may have done before others get their turn.

    Args:
        most: How many pieces of work make up a turn.
    """

    __slots__ = ("_left", "_most")

    def __init__(self, most: int = IN_A_TURN) -> None:
        self._left = self._most = most

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
