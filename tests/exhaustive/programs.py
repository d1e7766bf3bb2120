"""Programs: what tasks do, one operation after the other.

An operation is one call, or a `with` block with calls in it. An error ends an operation,
and its task goes on with the next one; `Cancelled` ends the task. Either way the end of
a `with` block is done first.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias

from microthreads import Cancelled

OPERATIONS = 3  # of each task
END = -1


class Kind(Enum):
    """How an atom is written in a task."""

    CALL = auto()  # a system call, which is yielded
    ROUTINE = auto()  # a routine of one system call, for `yield from`
    PLAIN = auto()  # a plain call: no schedule point
    CANCEL = auto()  # a plain call, too: the next task's `cancel`


class Atom(NamedTuple):
    """One call, a part of an operation."""

    kind: Kind
    name: str  # the method of the model
    act: Callable[[Any, int], Any]  # given the library's objects and an item: the call
    closes: bool = False  # whether it ends the `with` block that the operation is


Operation: TypeAlias = tuple[Atom, ...]
Names: TypeAlias = tuple[str, ...]  # the operations of one task
Program: TypeAlias = tuple[Names, ...]


class Step(NamedTuple):
    """An atom in its place in a task; then where the task goes on, END for nowhere."""

    kind: Kind
    name: str
    act: Callable[[Any, int], Any]
    item: int
    succeeded: int
    failed: int
    cancelled: int

    def after(self, outcome: Any) -> int:
        """Where the task goes on; the outcome of a failure is the class of the error."""
        if not isinstance(outcome, type):
            return self.succeeded
        return self.cancelled if outcome is Cancelled else self.failed


def call(name: str, act: Callable[[Any, int], Any]) -> Atom:
    """A system call."""
    return Atom(Kind.CALL, name, act)


def plain(name: str, act: Callable[[Any, int], Any], closes: bool = False) -> Atom:
    """A plain call."""
    return Atom(Kind.PLAIN, name, act, closes)


ALWAYS: dict[str, Operation] = {
    "cancel": (Atom(Kind.CANCEL, "cancel", lambda things, item: None),),
    "yield": (call("pause", lambda things, item: None),),
}


def compiled(operations: Sequence[Operation], task: int) -> list[Step]:
    """The steps of one task, with the ways that an error takes written out.

    For `Cancelled` each `with` block's end is there a second time, behind all others, so
    that the task ends after it.
    """
    length = sum(map(len, operations))
    steps: list[Step] = []
    closings: list[Step] = []
    for number, operation in enumerate(operations):
        item = 100 + 10 * task + number  # no two items of a program are equal
        end = len(steps) + len(operation)
        for atom in operation:
            at = len(steps)
            inside = operation[-1].closes and end - len(operation) < at < end - 1
            cancelled = END
            if inside:
                cancelled = length + len(closings)
                closings.append(Step(*operation[-1][:3], item, END, END, END))
            failed = end - 1 if inside else _or_end(end, length)
            steps.append(Step(*atom[:3], item, _or_end(at + 1, length), failed, cancelled))
    return steps + closings


def _or_end(at: int, length: int) -> int:
    return at if at < length else END


def all_programs(alphabet: Iterable[str]) -> list[Program]:
    """Those of two tasks: each unordered pair of sequences, in the order of the alphabet."""
    sequences = itertools.product(alphabet, repeat=OPERATIONS)
    return list(itertools.combinations_with_replacement(sequences, 2))


def sampled_programs(alphabet: Iterable[str], tasks: int, number: int, seed: str) -> list[Program]:
    """So many different programs of so many tasks, at random."""
    choose, names = random.Random(seed).choice, list(alphabet)
    found: dict[Program, None] = {}
    while len(found) < number:
        found[tuple(tuple(choose(names) for _ in range(OPERATIONS)) for _ in range(tasks))] = None
    return list(found)


def written(program: Program) -> str:
    """A program as text, for `read`."""
    return " | ".join(", ".join(names) for names in program)


def read(text: str) -> Program:
    """The program that was `written`."""
    return tuple(tuple(names.strip().split(", ")) for names in text.split("|"))
