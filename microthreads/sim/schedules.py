"""Schedules: which to try next, how one is written down, and how two executions differ.

A schedule is the sequence of choices at the choice points of one execution,
and a *deviation* is a choice that round robin would not have made. It is
written as its deviations::

    mt1-9f3a-3.1-9.2        at choice 3 take ready task 1, at choice 9 take ready task 2

Choices are numbered from 1, ready tasks from 0. In front stands `mt1`, the
form, and a fingerprint of the program, so that a schedule is not taken for one
of another program by mistake.

`DepthFirst` is stateless model checking (VeriSoft; Godefroid, "Model checking
for programming languages using VeriSoft", POPL 1997): no state is stored or
compared, each execution starts afresh and repeats the choices of the one
before up to the last that has an alternative. `AtRandom` chooses each time with
the same probability for every ready task.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from random import Random
from typing import Any

from microthreads.sim.executions import Execution, Pick, Point
from microthreads.sim.recorder import Line, Moment

FORM = "mt1"
WRITTEN = re.compile(r"mt1-([0-9a-f]{4})((?:-[1-9][0-9]*\.[1-9][0-9]*)*)", re.ASCII)


class DepthFirst:
    """Every schedule once, the last choice varied first."""

    pick: Pick | None = None

    def __init__(self) -> None:
        self.choices: Sequence[int] = ()
        self._before: list[Point] = []  # what this execution repeats
        self._turn: tuple[int, int] | None = None  # step and options of what it does anew

    def advance(self, points: list[Point]) -> bool:
        """Go on to the next schedule, after that of `points`. Returns whether there is one."""
        points = points.copy()
        while points and points[-1][1] + 1 >= points[-1][2]:
            points.pop()
        if not points:
            return False
        step, choice, options, _, _ = points.pop()
        self._before, self._turn = points, (step, options)
        self.choices = [*(point[1] for point in points), choice + 1]
        return True

    def departure(self, points: list[Point]) -> str | None:
        """How an execution departs from what it was to repeat, in words, or None."""
        depth = len(self._before)
        if points[:depth] != self._before:
            return difference(self._before, points[:depth])
        if self._turn is None:
            return None
        step, options = self._turn
        if len(points) > depth and (points[depth][0], points[depth][2]) == self._turn:
            return None
        return f"at step {step} one execution had {options} tasks ready, and another had not"


class AtRandom:
    """Schedules without end, each choice made at random.

    Args:
        seed: Which; the same seed gives the same schedules.
    """

    choices: Sequence[int] = ()

    def __init__(self, seed: Any) -> None:
        self._random = Random(seed).random  # noqa: S311  (not for secrets)

    def pick(self, options: int) -> int:
        """Any of so many; four times as fast as `randrange`."""
        return int(self._random() * options)

    def advance(self, points: list[Point]) -> bool:
        """There is always another schedule."""
        return True

    def departure(self, points: list[Point]) -> str | None:
        """None: nothing is repeated."""
        return None


def difference(before: Sequence[Point], after: Sequence[Point]) -> str | None:
    """The first choice at which two executions of one schedule differ, in words, or None."""
    for old, new in zip_longest(before, after):
        if old == new:
            continue
        if old is None or new is None:
            step = (old or new)[0]
            return f"at step {step} there was a choice in one execution, and none in another"
        if old[3:] != new[3:] and old[0] == new[0]:
            return (
                f"step {old[0]} was task #{old[3]} {old[4]} in one execution, "
                f"and task #{new[3]} {new[4]} in another"
            )
        return (
            f"at step {old[0]} one execution had {old[2]} tasks ready, "
            f"and another {new[2]} at step {new[0]}"
        )
    return None


def unlike(before: Execution, after: Execution) -> str | None:
    """How two executions of one schedule differ, in words, or None.

    Of a failure that was recorded only the points until then are known.
    """
    known = len(after.points)
    points = before.points[:known] if after.failure is not None else before.points
    found = difference(points, after.points)
    if found is None and type(before.failure) is not type(after.failure):
        found = f"one execution {_end(before)}, and another {_end(after)}"
    return found


def _end(execution: Execution) -> str:
    if execution.failure is None:
        return "did not fail"
    return f"failed with {type(execution.failure).__name__}"


def trace_difference(before: Sequence[Moment], after: Sequence[Moment]) -> str | None:
    """The first step at which two executions of one schedule differ, in words, or None."""
    for step, (old, new) in enumerate(zip_longest(before, after), 1):
        if old is None or new is None:
            return f"one execution ended before step {step}, and another went on"
        if old[:4] != new[:4]:
            return f"step {step} was {_moment(old)} in one execution, and {_moment(new)} in another"
    return None


def _moment(moment: Moment) -> str:
    line: Line | None = moment[2]
    place = "" if line is None else f" at {line[0].co_filename}:{line[1]}"
    return f"task #{moment[0]} {moment[1]}{place} ({', '.join(moment[3])})"


def write(program: Callable[..., Any], choices: Iterable[int]) -> str:
    """A schedule of `program` as the string that `read` takes."""
    deviations = [f"{number}.{choice}" for number, choice in enumerate(choices, 1) if choice]
    return "-".join([FORM, fingerprint(program), *deviations])


def read(program: Callable[..., Any], text: str, longest: int) -> list[int]:
    """The choices that `text` stands for, `longest` at most.

    Raises:
        ValueError: It is not such a string, or one of another program.
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no schedule: one looks like {FORM}-9f3a-3.1-9.2, with the program's "
            "fingerprint and then choice.task for each deviation from round robin"
        )
    ours = fingerprint(program)
    if found[1] != ours:
        raise ValueError(
            f"{text!r} is a schedule of another program, or of another version of it: "
            f"its fingerprint is {found[1]}, and this program's is {ours}"
        )
    choices: list[int] = []
    for deviation in found[2].split("-")[1:]:
        number, choice = map(int, deviation.split("."))
        if not len(choices) < number <= longest:
            why = "is out of order" if number <= len(choices) else f"is beyond step {longest}"
            raise ValueError(f"{text!r} is no schedule to follow: its choice {number} {why}")
        choices += [0] * (number - len(choices) - 1) + [choice]
    return choices


def fingerprint(program: Callable[..., Any]) -> str:
    """Four digits that tell programs apart: of the function's name and source text.

    What the function calls is not looked at, nor values that it closes over.
    """
    while isinstance(program, functools.partial):
        program = program.func
    text = getattr(program, "__qualname__", type(program).__qualname__)
    try:
        text += "".join(line.strip() for line in inspect.getsource(program).splitlines())
    except (OSError, TypeError):
        pass  # typed in, or made by a class: the name has to do
    return hashlib.sha256(text.encode()).hexdigest()[:4]
