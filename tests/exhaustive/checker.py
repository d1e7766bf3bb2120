"""Many programs, each under all schedules, or under some if there are too many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, TypeAlias

from microthreads.kernel import place_of_caller
from microthreads.sim.executions import World
from microthreads.sim.schedules import AtRandom, DepthFirst

from .programs import Program, all_programs, sampled_programs, written
from .trials import Mismatch, Primitive, Trial

SAMPLE = 100  # programs of three tasks
MOST_DEPTH_FIRST = 150  # executions of one program of three tasks; if that is not all, then
MOST_AT_RANDOM = 50  # so many at random besides: depth-first changes the last steps only
MOST_STEPS = 500  # resumes in one execution, which needs some 20


@dataclass
class Count:
    """What was run.

    Attributes:
        programs: How many programs.
        complete: How many of them under all schedules.
        schedules: How many executions there were.
        seconds: How much processor time it took.
        failures: What went wrong, for people to read.
    """

    programs: int = 0
    complete: int = 0
    schedules: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


Progress: TypeAlias = Callable[[Count, int], object]


class Checker:
    """Runs programs of one primitive, all in one world.

    Args:
        primitive: Which.
        strict: See `Trial`.
    """

    def __init__(self, primitive: Primitive, strict: bool = False) -> None:
        self.primitive = primitive
        self.strict = strict
        self.world = World(self._main, MOST_STEPS, {}, place_of_caller())
        self.scripts: list[Any] = []
        self.trial: Trial  # the last

    def _main(self) -> Generator[Any, Any, None]:
        """The program that the world runs: all that it uses is made anew."""
        self.trial = Trial(self.primitive, self.scripts, self.strict)
        return self.trial.main()

    def check(self, program: Program, done: Count, depth_first: int | None, at_random: int) -> None:
        """Run `program` under all schedules, or, of more than so many, under some."""
        done.programs += 1
        self.scripts = self.primitive.scripts(program)
        complete = self._search(program, done, DepthFirst(), depth_first)
        if complete is None:
            self._search(program, done, AtRandom(str(program)), at_random)
        done.complete += bool(complete)

    def _search(
        self, program: Program, done: Count, search: DepthFirst | AtRandom, most: int | None
    ) -> bool | None:
        """Whether all went well under all schedules; None if there are more."""
        for _ in count() if most is None else range(most):
            execution = self.world.execute(search.choices, search.pick)
            done.schedules += 1
            problem = execution.failure or execution.stopped or search.departure(execution.points)
            if problem is not None:
                choices = [point[1] for point in execution.points]
                done.failures.append(report(self.primitive, program, choices, problem))
                return False
            if not search.advance(execution.points):
                return True
        return None


def report(primitive: Primitive, program: Program, choices: Sequence[int], problem: Any) -> str:
    """A failure, for people to read: the program, the schedule, and what happens then."""
    again = f"{primitive.name}: {written(program)}: {' '.join(map(str, choices))}"
    lines = [f"{primitive.name}: {problem}"]
    lines += [f"  task {number}: {', '.join(names)}" for number, names in enumerate(program)]
    lines += [f"  of the ready tasks, take {list(choices)}, one after the other:"]
    lines += [f"    {line}" for line in happens(primitive, program, choices)]
    return "\n".join([*lines, f'  again: python3 -m tests.exhaustive --replay "{again}"'])


def happens(primitive: Primitive, program: Program, choices: Sequence[int]) -> list[str]:
    """What happens under one schedule, step by step, until the library and the model differ."""
    log: list[str] = []

    def main() -> Generator[Any, Any, None]:
        return Trial(primitive, primitive.scripts(program), log=log).main()

    with quiet(), closing(World(main, MOST_STEPS, {}, place_of_caller())) as world:
        execution = world.execute(choices)
    failure = execution.failure or execution.stopped
    if failure is not None and not isinstance(failure, Mismatch):
        log.append(f"{type(failure).__name__}: {failure}")
    return log


def outcomes_of_library(primitive: Primitive, program: Program) -> tuple[set[Any], int]:
    """All that comes of a program, and under how many schedules."""
    checker, search, found = Checker(primitive), DepthFirst(), set()
    checker.scripts = primitive.scripts(program)
    with quiet(), closing(checker.world):
        for schedules in count(1):
            execution = checker.world.execute(search.choices)
            if execution.failure is not None:
                raise execution.failure
            found.add(checker.trial.end())
            if not search.advance(execution.points):
                return found, schedules
    raise AssertionError


@contextmanager
def quiet() -> Iterator[None]:
    """Keep out of the log that tasks end with a lock: here that happens by the thousand."""
    logger = logging.getLogger("microthreads")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def check_programs(
    primitive: Primitive,
    programs: Sequence[Program],
    *,
    depth_first: int | None = None,
    at_random: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Count:
    """Run programs against the model, until the first that fails.

    Args:
        primitive: What they use.
        programs: The programs.
        depth_first: How many schedules of each to take at most; None for all.
        at_random: How many more, at random, of those that have more.
        strict: Whether to compare states at each resume.
        progress: Called about once a second with what was run, and how many programs there are.
    """
    done, began = Count(), time.process_time()
    reported = time.monotonic()
    checker = Checker(primitive, strict)
    with quiet(), closing(checker.world):
        for program in programs:
            checker.check(program, done, depth_first, at_random)
            done.seconds = time.process_time() - began
            if done.failures:
                break
            if progress is not None and time.monotonic() - reported > 1:
                reported = time.monotonic()
                progress(done, len(programs))
    return done


def programs_of_two(primitive: Primitive, one_in: int = 1) -> list[Program]:
    """All programs of two tasks, or a sample of them, which is the same each time."""
    programs = all_programs(primitive.alphabet(2)) if 2 in primitive.tasks else []
    if one_in == 1:
        return programs
    return Random(primitive.name).sample(programs, len(programs) // one_in)


def check_two(primitive: Primitive, one_in: int = 1, **options: Any) -> Count:
    """Run the programs of two tasks under all schedules."""
    return check_programs(primitive, programs_of_two(primitive, one_in), **options)


def check_three(primitive: Primitive, one_in: int = 1, **options: Any) -> Count:
    """Run a sample of the programs of three tasks, bounded."""
    programs = sampled_programs(primitive.alphabet(3), 3, SAMPLE // one_in, primitive.name)
    return check_programs(
        primitive, programs, depth_first=MOST_DEPTH_FIRST, at_random=MOST_AT_RANDOM, **options
    )
