"""gather and race: several routines at once, and what comes of them."""

from __future__ import annotations

from typing import Any, TypeVar

from microthreads.groups.calls import GroupSpawn
from microthreads.groups.group import TaskGroup
from microthreads.kernel import Place, Routine, Task, check_routine, place_of_caller
from microthreads.spelling import AwaitableGenerator, any_spelling

T = TypeVar("T")


def gather(*routines: Routine[Any]) -> AwaitableGenerator[list[Any]]:
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
    return _gather(_checked(routines, "gather"), place_of_caller())


def race(*routines: Routine[T]) -> AwaitableGenerator[T]:
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
    return _race(_checked(routines, "race"), place_of_caller())


def _checked(routines: tuple[Routine[Any], ...], verb: str) -> tuple[Routine[Any], ...]:
    for routine in routines:
        check_routine(routine, verb)
    return routines


@any_spelling
async def _gather(routines: tuple[Routine[Any], ...], place: Place) -> list[Any]:
    async with TaskGroup() as group:
        tasks = await _spawn_all(group, routines, place)
    return [task.result() for task in tasks]


@any_spelling
async def _race(routines: tuple[Routine[Any], ...], place: Place) -> Any:
    try:
        async with Race() as race:
            await _spawn_all(race, routines, place)
    except BaseExceptionGroup as failures:
        if race.first is None or failures.exceptions != (race.first.exception(),):
            raise
    assert race.first is not None
    return race.first.result()


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
            each.close()
    return tasks


class Race(TaskGroup):
    """A group that is over when the first of its tasks has ended."""

    __slots__ = ("first",)

    def __init__(self) -> None:
        super().__init__()
        self.first: Task[Any] | None = None

    def ended(self, child: Task[Any], error: BaseException | None) -> None:
        """The first to end has won; what the others fail with is told beside."""
        if error is not None:
            self.errors.append(error)
        if self.first is None:
            self.first = child
            self.cancel("another has won the race")
