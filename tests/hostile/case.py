"""Case: one hostile thing, used with one public call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

Gen = Generator[Any, Any, Any]
Complaints = list[str]


@dataclass(frozen=True)
class Case:
    """What can be tried.

    Attributes:
        area: Which module it is from.
        call: The public call, which is its row in the table.
        kind: What kind of thing is hostile, which is its column.
        thing: The very thing.
        attempt: Tries it, and returns what went wrong.
    """

    area: str
    call: str
    kind: str
    thing: str
    attempt: Callable[[], Complaints]

    def attempted(self) -> Complaints:
        """Try it; an error that comes out even so is a complaint, too."""
        try:
            return self.attempt()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return [f"the trial failed: {type(error).__name__}"]

    def __str__(self) -> str:
        return f"{self.area}: {self.call} x {self.thing}"


Cases = Iterator[Case]
