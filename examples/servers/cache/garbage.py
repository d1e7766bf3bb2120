"""What nobody needs any more, freed bit by bit.

To free a list of a million items takes a twentieth of a second, and all keys of a full
cache a second. While that is done, nobody is answered. So what is large comes here, where
it takes no time, and a task takes it apart between the turns of others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

from examples.servers.turns import others_first
from microthreads import Event

AT_ONCE = 1000  # things that are freed before others have their turn


class Garbage:
    """Collections that are to be taken apart."""

    def __init__(self) -> None:
        self._heap: list[Any] = []
        self._some = Event(name="garbage")

    def add(self, thing: dict[Any, Any] | list[Any] | deque[Any] | set[Any]) -> None:
        """Take a collection that nothing else has. A plain call; what is small is freed at once."""
        if len(thing) > AT_ONCE:
            self._heap.append(thing)
            self._some.set()

    def free(self) -> Generator[Any, Any, None]:
        """A routine that takes all apart that comes; it does not end."""
        while True:
            yield self._some.wait()
            while self._heap:
                self._free_some()
                yield others_first()
            self._some.clear()

    def _free_some(self) -> None:
        """Take a little off one of them. What it has in it may be large as well."""
        thing = self._heap.pop()
        take = getattr(thing, "popitem", thing.pop)
        for _ in range(min(AT_ONCE, len(thing))):
            taken = take()
            if isinstance(taken, tuple) and isinstance(taken[1], deque | set | dict):
                self.add(taken[1])
        if thing:
            self._heap.append(thing)
