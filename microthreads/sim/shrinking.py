"""A shorter schedule that fails in the same way.

Shortest is: round robin itself, if that fails; then fewest steps until the failure,
fewest deviations from round robin, the lowest choices, the earliest last deviation.
The failure must be of the same type.

First greedily, until nothing helps any more: make no deviation at all, only the
first few, all but one, or a lower one. That is delta debugging (Zeller and
Hildebrandt, "Simplifying and isolating failure-inducing input", 2002) with
steps of one. Then, as far as the budget goes, all schedules in order of their
number of deviations, as in delay-bounded scheduling (Emmi, Qadeer and Rakamaric,
POPL 2011): whatever is exhausted within it is proved shortest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from microthreads.sim.executions import Execution, Point, World

Choices: TypeAlias = tuple[int, ...]

MOST_EXECUTIONS = 500
MOST_STEPS = 200_000  # resumes in all, which bounds the time that long programs take


class Shrinker:
    """Looks for a shorter failing schedule.

    Args:
        world: Records the executions.
        first: A recorded execution that fails.
    """

    def __init__(self, world: World, first: Execution) -> None:
        self._world = world
        self._kind = type(first.failure)
        self.best = first
        self._tried: dict[Choices, list[Point] | None] = {first.choices: first.points}
        self._steps = 0

    def run(self) -> Execution:
        """The shortest failing execution that was found; recorded."""
        while self._improve():
            pass
        self._enumerate()
        return self.best

    @property
    def _spent(self) -> bool:
        return len(self._tried) > MOST_EXECUTIONS or self._steps > MOST_STEPS

    def _improve(self) -> bool:
        """Try what is simpler than the best. Returns whether that failed, and is the best now."""
        for choices in _simpler(self.best.choices):
            best = self.best
            self._try(choices)
            if self.best is not best:
                return True
            if self._spent:
                break
        return False

    def _enumerate(self) -> None:
        """Try all schedules with no deviation, then with one, two, and so on."""
        waiting: deque[Choices] = deque([()])
        while waiting and not self._spent:
            choices = waiting.popleft()
            points = self._try(choices)
            if points is not None and len(waiting) < MOST_EXECUTIONS:
                waiting.extend(self._extended(choices, points))

    def _extended(self, choices: Choices, points: Sequence[Point]) -> Iterator[Choices]:
        """`choices` with one more deviation, at each later point in each way."""
        for index in range(len(choices), len(points)):
            step, _, options, _, _ = points[index]
            if step > len(self.best.trace):
                return  # too late to make it shorter
            for choice in range(1, options):
                yield (*choices, *[0] * (index - len(choices)), choice)

    def _try(self, choices: Choices) -> list[Point] | None:
        """Execute `choices` unless that was done. Returns its points, None if they do not exist."""
        if choices not in self._tried:
            execution = self._world.execute(choices)
            self._steps += execution.steps
            followed = execution.stopped is None
            self._tried[choices] = execution.points if followed else None
            if type(execution.failure) is self._kind and _size(execution) < _size(self.best):
                self.best = execution
                self._tried[execution.choices] = execution.points
        return self._tried[choices]


def _size(execution: Execution) -> tuple[bool, int, int, int, int]:
    choices = execution.choices
    deviations = sum(map(bool, choices))
    return deviations > 0, len(execution.trace), deviations, sum(choices), len(choices)


def _simpler(choices: Choices) -> Iterator[Choices]:
    """Schedules with fewer or lower deviations, the simplest first; each cut after the last."""
    places = [index for index, choice in enumerate(choices) if choice]
    for place in places:
        yield _trimmed(choices[:place])
    for place in reversed(places):
        for lower in range(choices[place]):
            yield _trimmed((*choices[:place], lower, *choices[place + 1 :]))


def _trimmed(choices: Choices) -> Choices:
    while choices and choices[-1] == 0:
        choices = choices[:-1]
    return choices
