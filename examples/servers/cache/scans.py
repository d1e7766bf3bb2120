"""Walks over all there is, a few names at a time: what SCAN, SSCAN and HSCAN do.

A walk must miss nothing that is there from its beginning to its end, however much is
changed meanwhile. So the first page takes a list of all there is, and the others come out
of it: a cursor is the number of the walk, and the place in its list. Walks that are not
gone on with are forgotten, the oldest first, when there are too many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

WALKS = 16  # at once
PAGE = 1000  # names at most


class Scans:
    """The walks that are under way."""

    def __init__(self) -> None:
        self._walks: dict[int, tuple[Any, Sequence[Any]]] = {}  # what each is over, and its list
        self._begun = 0

    def page(
        self, over: object, cursor: int, count: int, everything: Callable[[], Sequence[Any]]
    ) -> tuple[Sequence[Any], int]:
        """The next names of a walk, and the cursor after them; 0: that was all.

        Args:
            over: What the walk is over: a key, or None for all keys.
            cursor: 0 to begin, or what the page before has told.
            count: About how many names.
            everything: Called when it begins: the list of all there is.

        Raises:
            LookupError: There is no such walk, or no more.
        """
        number, place = divmod(cursor, 1 << 32)
        whole: Sequence[Any]
        if cursor == 0:
            whole = everything()
            self._begun = number = self._begun + 1
        else:
            known, whole = self._walks.pop(number, (None, ()))
            if known != over or not 0 < place < len(whole):
                raise LookupError(cursor)
        end = place + min(count, PAGE)
        if end >= len(whole):
            return whole[place:], 0
        self._walks[number] = (over, whole)  # the last one to be forgotten
        if len(self._walks) > WALKS:
            del self._walks[next(iter(self._walks))]
        return whole[place:end], (number << 32) + end
