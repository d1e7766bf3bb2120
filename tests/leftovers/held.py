"""Things that can be watched going away."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar
from weakref import ref

T = TypeVar("T")


class Held:
    """Something that a program holds."""


class HeldBuffer(bytearray):
    """The same, to be sent over a socket."""


class Failed(Exception):
    """The error of a task that fails; it has something held as its argument."""


class Watch:
    """All that one program has held; calling it makes one more.

    ``hold("local")`` is a new thing of that name.
    """

    def __init__(self) -> None:
        self._refs: list[tuple[str, ref[Any]]] = []
        self.found: Counter[str] = Counter()

    def __call__(self, what: str) -> Held:
        return self.add(what, Held())

    def buffer(self, what: str, size: int) -> HeldBuffer:
        """So many bytes."""
        return self.add(what, HeldBuffer(size))

    def error(self, what: str = "error") -> Failed:
        """An error to be raised, with something held as its argument."""
        return self.add(what, Failed(self(f"argument of the {what}")))

    def add(self, what: str, thing: T) -> T:
        """Watch `thing` as well."""
        self._refs.append((what, ref(thing)))
        return thing

    def left(self) -> Counter[str]:
        """What is still alive."""
        return Counter(what for what, watched in self._refs if watched() is not None)

    def look(self) -> None:
        """Note what is still alive, where nothing should be."""
        self.found |= self.left()

    def things(self) -> list[Any]:
        """What is still alive, itself: to find out who refers to it."""
        return [thing for _, watched in self._refs if (thing := watched()) is not None]
