"""The line that says what is being measured, and how long the rest will take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from statistics import mean
from typing import TextIO


class Progress:
    """Counts measurements to come; what each takes is guessed from those that were.

    It writes to `out` where that is a terminal, and else nothing.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out if out.isatty() else None
        self._left: dict[tuple[str, str], int] = {}  # measurements, by workload and contender
        self._took: dict[tuple[str, str], float] = {}  # seconds of the last one
        self._rounds: dict[str, int] = {}

    def expect(self, plan: dict[str, tuple[list[str], int]]) -> None:
        """What will be measured: by workload, the contenders and the number of rounds."""
        for workload, (contenders, rounds) in plan.items():
            self._rounds[workload] = rounds
            self._left.update({(workload, each): rounds for each in contenders})

    @contextlib.contextmanager
    def measuring(self, workload: str, contender: str, number: int) -> Iterator[None]:
        """One measurement is under way."""
        which = f"{workload}: {contender}, round {number + 1} of {self._rounds[workload]}"
        self._write(f"{which}{self.time_left()}")
        began = time.monotonic()
        yield
        key = workload, contender
        self._took[key] = time.monotonic() - began
        if key in self._left:
            self._left[key] -= 1
        self._write("")

    def drop(self, workload: str, contender: str) -> None:
        """No more of these will come."""
        self._left.pop((workload, contender), None)

    def seconds_left(self) -> float | None:
        """How long the rest will take, once anything is known."""
        if not self._took:
            return None
        usual = mean(self._took.values())
        return sum(count * self._took.get(key, usual) for key, count in self._left.items())

    def time_left(self) -> str:
        """The same in words, for the end of the line."""
        seconds = self.seconds_left()
        if seconds is None:
            return ""
        return f"; {sum(self._left.values())} to go, about {in_words(seconds)}"

    def _write(self, text: str) -> None:
        if self._out is not None:
            self._out.write(f"\r\x1b[K{text}")
            self._out.flush()


def in_words(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
