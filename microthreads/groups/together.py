"""gather and race: several routines at once, and what comes of them."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from microthreads.calls import discard_all
from microthreads.groups.calls import GroupSpawn
from microthreads.groups.group import TaskGroup
from microthreads.kernel import (
    Place,
    Routine,
    Task,
    check_routine,
    current_task,
    place_of_caller,
)
from microthreads.kernel.routines import starting
from microthreads.spelling import AwaitableGenerator, any_spelling

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
T = TypeVar("T")


@overload
def gather(
    a: Routine[T],
    b: Routine[T],
    c: Routine[T],
    d: Routine[T],
    e: Routine[T],
    f: Routine[T],
    g: Routine[T],
    /,
    *more: Routine[T],
) -> AwaitableGenerator[list[T]]: ...
@overload
def gather(a: Routine[A], /) -> AwaitableGenerator[tuple[A]]: ...
@overload
def gather(a: Routine[A], b: Routine[B], /) -> AwaitableGenerator[tuple[A, B]]: ...
@overload
def gather(
    a: Routine[A], b: Routine[B], c: Routine[C], /
) -> AwaitableGenerator[tuple[A, B, C]]: ...
@overload
def gather(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], /
) -> AwaitableGenerator[tuple[A, B, C, D]]: ...
@overload
def gather(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], e: Routine[E], /
) -> AwaitableGenerator[tuple[A, B, C, D, E]]: ...
@overload
def gather(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], e: Routine[E], f: Routine[F], /
) -> AwaitableGenerator[tuple[A, B, C, D, E, F]]: ...
def gather(*routines: Routine[Any]) -> AwaitableGenerator[Any]:
    """A routine that runs `routines` as tasks, all at once, and returns their results.

    ``yield gather(a(), b())``, or `yield from`, or `await`. If one fails, the others
    are cancelled. It does not end before all of them have.

    Args:
        *routines: Generators or coroutines, not yet started.

    Returns:
        Their results, in the order of the arguments.

    Raises:
        ExceptionGroup: Some failed; with all of their errors.
        TypeError: One is not a routine.
    """
    checked = _checked(routines, "gather")
    return starting(_gather(checked, place_of_caller()), checked)


@overload
def race(
    a: Routine[T],
    b: Routine[T],
    c: Routine[T],
    d: Routine[T],
    e: Routine[T],
    f: Routine[T],
    g: Routine[T],
    /,
    *more: Routine[T],
) -> AwaitableGenerator[T]: ...
@overload
def race(a: Routine[A], /) -> AwaitableGenerator[A]: ...
@overload
def race(a: Routine[A], b: Routine[B], /) -> AwaitableGenerator[A | B]: ...
@overload
def race(a: Routine[A], b: Routine[B], c: Routine[C], /) -> AwaitableGenerator[A | B | C]: ...
@overload
def race(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], /
) -> AwaitableGenerator[A | B | C | D]: ...
@overload
def race(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], e: Routine[E], /
) -> AwaitableGenerator[A | B | C | D | E]: ...
@overload
def race(
    a: Routine[A], b: Routine[B], c: Routine[C], d: Routine[D], e: Routine[E], f: Routine[F], /
) -> AwaitableGenerator[A | B | C | D | E | F]: ...
def race(*routines: Routine[Any]) -> AwaitableGenerator[Any]:
    """A routine that runs `routines` as tasks, and returns the result of the first to end.

    The others are cancelled, and waited for.

    Args:
        *routines: Generators or coroutines, not yet started.

    Raises:
        BaseException: The first to end has failed; its own error.
        ExceptionGroup: Others failed as well, before they were cancelled or while.
        TypeError: One is not a routine.
        ValueError: There are none.
    """
    if not routines:
        raise ValueError("race() needs at least one routine")
    checked = _checked(routines, "race")
    return starting(_race(checked, place_of_caller()), checked)


def _checked(routines: tuple[Routine[Any], ...], verb: str) -> tuple[Routine[Any], ...]:
    try:
        for routine in routines:
            check_routine(routine, verb)
    except TypeError:
        discard_all(routines)
        raise
    return routines


@any_spelling
async def _gather(routines: tuple[Routine[Any], ...], place: Place) -> list[Any]:
    async with TaskGroup() as group:
        tasks = await _spawn_all(group, routines, place)
    return results_of(tasks)


@any_spelling
async def _race(routines: tuple[Routine[Any], ...], place: Place) -> Any:
    try:
        async with Race() as race:
            await _spawn_all(race, routines, place)
    except BaseExceptionGroup as failures:
        if len(failures.exceptions) > 1 or not race.won_by(failures.exceptions[0]):
            raise
    assert race.first is not None
    tasks = [race.first]
    del race  # the error's traceback may have this frame
    return results_of(tasks)[0]


def results_of(tasks: list[Task[T]]) -> list[T]:
    """The results of `tasks`, which is emptied: an error's traceback must not keep them."""
    results = []
    tasks.reverse()
    try:
        while tasks:
            results.append(tasks.pop().result())
    finally:
        tasks.clear()
    return results


async def _spawn_all(
    group: TaskGroup, routines: tuple[Routine[Any], ...], place: Place
) -> list[Task[Any]]:
    """Start them all, or close those that could not be started any more."""
    tasks: list[Task[Any]] = []
    try:
        for each in routines:
            tasks.append(await GroupSpawn(group, each, None, False, place))  # noqa: PERF401
    finally:
        for each in routines[len(tasks) :]:
            current_task().kernel.discard(each)
    return tasks


class Race(TaskGroup):
    """A group that is over when the first of its tasks has ended."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        super().__init__()
        self.first: Task[Any] | None = None

    def won_by(self, error: BaseException) -> bool:
        """Whether that is what the first to end has failed with."""
        return self.first is not None and self.first.exception() is error

    def ended(self, child: Task[Any], error: BaseException | None) -> None:
        """The first to end has won; what the others fail with is told beside."""
        if error is not None:
            self.errors.append(error)
        if self.first is None:
            self.first = child
            self.cancel("another has won the race")
