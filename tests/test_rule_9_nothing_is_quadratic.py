"""Rule 9: nothing is quadratic, and a long round does not make timers late.

Ten times as many take about ten times as much: counted in calls of Python functions, which
is the same on every machine, however busy. What is compared and hashed is counted as well,
by calls whose class does that in Python, so that no search through a list is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from helpers import coroutine_of

from microthreads import (
    Channel,
    Condition,
    Event,
    Lock,
    Queue,
    Supervisor,
    SystemCall,
    TaskGroup,
    gather,
    join,
    run,
    select,
    sleep,
    spawn,
    timeout,
)
from microthreads.kernel import PENDING, Pending, Wait, Waiter
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]

pytestmark = pytest.mark.usefixtures("unobserved")
FEW, MANY = 150, 1500
MOST = 13  # how many times as much ten times as many may cost: what is square is at 100


class Count:
    """How many Python functions were called, and C functions by them."""

    calls = 0


@contextmanager
def counted() -> Any:
    count = Count()

    def called(frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            count.calls += 1

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield count
    finally:
        sys.setprofile(before)


def growth(program: Callable[[int], Any]) -> float:
    """How many times as much a program of `MANY` costs as one of `FEW`."""
    costs = []
    for number in (FEW, MANY):
        main = program(number)
        with counted() as count:
            run(main, clock=VirtualClock())
        costs.append(count.calls)
    return costs[1] / costs[0]


class Compared(SystemCall[int]):
    """A call whose comparisons are function calls, and which succeeds when it is told to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.wins = False

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def attempt(self, task: Any) -> int | Literal[Pending.PENDING]:
        return self.number if self.wins else PENDING

    def arm(self, waiter: Waiter) -> None:
        pass

    def disarm(self, waiter: Waiter) -> None:
        pass

    def describe(self) -> Wait:
        return Wait("compared")


# ---- select


@pytest.mark.forgets
def test_to_make_a_select_is_linear() -> None:
    def made(number: int) -> int:
        calls = [Compared(each) for each in range(number)]
        with counted() as count:
            select(*calls)
        return count.calls

    assert made(MANY) < MOST * made(FEW)


@pytest.mark.parametrize("which", ["first", "middle", "last"])
def test_to_make_arm_and_win_a_select_is_linear(which: str) -> None:
    def program(number: int) -> Gen:
        calls = [Compared(each) for each in range(number)]
        winner = {"first": 0, "middle": number // 2, "last": number - 1}[which]

        def main() -> Gen:
            task = yield spawn(iter(select(*calls)))
            yield sleep(1)
            calls[winner].wins = True
            calls[winner].retry()
            assert (yield task) == (winner, winner)

        return main()

    assert growth(program) < MOST


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_select_over_many_that_can_go_at_once_is_linear(which: str) -> None:
    def program(number: int) -> Gen:
        calls = [Compared(each) for each in range(number)]
        calls[0 if which == "first" else -1].wins = True

        def main() -> Gen:
            yield select(*calls)

        return main()

    assert growth(program) < MOST


@pytest.mark.parametrize("way", ["cancelled", "time limit"])
def test_to_undo_a_select_is_linear(way: str) -> None:
    def program(number: int) -> Gen:
        def selecting() -> Gen:
            yield select(*map(Compared, range(number)))

        def main() -> Gen:
            task = yield spawn(selecting())
            yield sleep(1)
            if way == "cancelled":
                task.cancel()
            try:
                with timeout(1):
                    yield task if way == "cancelled" else selecting()
            except BaseException:
                task.cancel()

        return main()

    assert growth(program) < MOST


WAITS: dict[str, Callable[[], Any]] = {
    "channels": lambda: Channel[int]().recv(),
    "queues": lambda: Queue[int]().get(),
    "events": lambda: Event().wait(),
    "events with limits": lambda: Event().wait(timeout=50),
    "sleeps": lambda: sleep(50),
}


@pytest.mark.parametrize("kind", WAITS)
def test_a_select_over_many_things_of_the_library_that_one_wins_is_linear(kind: str) -> None:
    def program(number: int) -> Gen:
        def main() -> Gen:
            calls = [WAITS[kind]() for _ in range(number)]
            yield select(*calls, sleep(1))

        return main()

    assert growth(program) < MOST


def test_a_select_over_many_receives_on_one_channel_is_linear() -> None:
    def program(number: int) -> Gen:
        def main() -> Gen:
            channel: Channel[int] = Channel()
            yield select(*(channel.recv() for _ in range(number)), sleep(1))
            yield spawn(iter(channel.send(1)))
            assert (yield channel.recv()) == 1

        return main()

    assert growth(program) < MOST


def test_a_select_over_many_locks_that_is_undone_is_linear() -> None:
    def program(number: int) -> Gen:
        def holder(locks: list[Lock]) -> Gen:
            for lock in locks:
                yield lock.acquire()
            yield sleep(5)
            for lock in locks:
                lock.release()

        def main() -> Gen:
            locks = [Lock() for _ in range(number)]
            yield spawn(holder(locks))
            yield
            yield sleep(1)
            index, _ = yield select(*(lock.acquire() for lock in locks), sleep(1))
            assert index == number

        return main()

    assert growth(program) < MOST


def test_a_select_over_many_waits_for_conditions_with_a_lock_each_is_undone_in_linear_time() -> (
    None
):
    def program(number: int) -> Gen:
        def main() -> Gen:
            conditions = [Condition(Lock()) for _ in range(number)]
            for condition in conditions:
                yield condition.acquire()
            index, _ = yield select(*(condition.wait() for condition in conditions), sleep(1))
            assert index == number
            assert all(condition.locked() for condition in conditions)
            for condition in conditions:
                condition.release()

        return main()

    assert growth(program) < MOST


@pytest.mark.forgets
def test_a_select_refuses_a_call_given_twice_wherever_the_two_stand() -> None:
    calls = [Queue[int]().get() for _ in range(100)]
    for first, second in [(0, 99), (0, 1), (98, 99), (50, 70)]:
        given = [*calls[:second], calls[first], *calls[second + 1 :]]
        with pytest.raises(ValueError, match="twice"):
            select(*given)
    select(*calls)


# ---- joins


@pytest.mark.parametrize("order", ["upwards", "downwards", "both ends"])
@pytest.mark.parametrize("form", ["generator", "coroutine"])
def test_a_chain_of_joins_is_linear(order: str, form: str) -> None:
    make = coroutine_of if form == "coroutine" else (lambda routine: routine)

    def program(number: int) -> Gen:
        tasks: list[Any] = [None] * number
        gates = [Event() for _ in range(number)]

        def link(place: int) -> Gen:
            yield gates[place].wait()
            if place:
                yield join(tasks[place - 1])

        def main() -> Gen:
            for place in range(number):
                tasks[place] = yield spawn(make(link(place)))
            places = list(range(1, number))
            if order == "downwards":
                places.reverse()
            elif order == "both ends":
                half = len(places) // 2
                places = [
                    each
                    for pair in zip(places[:half], reversed(places[half:]), strict=False)
                    for each in pair
                ] + [places[half]]
            for place in places:
                gates[place].set()
                yield
                yield
            gates[0].set()
            yield tasks[-1]

        return main()

    # n log n: from both ends in turn, the shorter way decides
    assert growth(program) < 1.3 * MOST


def test_many_joins_of_one_task_are_linear() -> None:
    def program(number: int) -> Gen:
        def main() -> Gen:
            target = yield spawn(iter(sleep(1)))
            tasks = []
            for _ in range(number):
                tasks.append((yield spawn(iter(join(target)))))
            for task in tasks:
                yield task.join()

        return main()

    assert growth(program) < MOST


# ---- groups and supervisors


def quick() -> Gen:
    yield


def test_a_supervisor_with_many_temporary_children_is_linear_and_forgets_them() -> None:
    left: list[int] = []

    def program(number: int) -> Gen:
        def main() -> Gen:
            supervisor = Supervisor()
            supervisor.add(iter_of_sleep)
            yield spawn(supervisor.run(), daemon=True)
            for _ in range(number):
                supervisor.add(quick, restart="temporary")
                yield sleep(0.1)
            left.append(len(supervisor.children))

        return main()

    assert growth(program) < MOST
    assert left == [1, 1]


def test_temporary_children_that_were_added_before_the_run_are_forgotten_too() -> None:
    left: list[int] = []

    def program(number: int) -> Gen:
        def main() -> Gen:
            supervisor = Supervisor()
            for _ in range(number):
                supervisor.add(quick, restart="temporary")
            yield supervisor.run()
            left.append(len(supervisor.children))

        return main()

    assert growth(program) < MOST
    assert left == [0, 0]


def test_a_temporary_child_that_fails_is_forgotten_and_others_stay(vrun: Any) -> None:
    def failing() -> Gen:
        yield
        raise ValueError

    def main() -> Gen:
        supervisor = Supervisor()
        supervisor.add(iter_of_sleep, name="keeper")
        supervisor.add(failing, restart="temporary")
        supervisor.add(quick, name="transient")
        yield spawn(supervisor.run(), daemon=True)
        yield sleep(1)
        return [child.name for child in supervisor.children]

    assert vrun(main()) == ["keeper", "transient"]


def iter_of_sleep() -> Gen:
    yield sleep(3600)


@pytest.mark.parametrize("end", ["in turn", "cancelled"])
def test_a_group_of_many_is_linear(end: str) -> None:
    def program(number: int) -> Gen:
        async def main() -> None:
            async with TaskGroup() as group:
                for _ in range(number):
                    await group.spawn(iter_of_sleep())
                if end == "cancelled":
                    group.cancel()

        return main()  # type: ignore[return-value]

    assert growth(program) < MOST


def test_gather_of_many_is_linear() -> None:
    def program(number: int) -> Gen:
        return gather(*(quick() for _ in range(number)))

    assert growth(program) < MOST


# ---- timers while many are ready


class Ticking(VirtualClock):
    """A clock that goes on by what the tasks say that they took."""

    def take(self, seconds: float) -> None:
        self._now += seconds


@pytest.mark.parametrize("ready", [1, 60, 61, 62, 1000])
@pytest.mark.parametrize("form", ["generator", "coroutine"])
def test_many_ready_tasks_that_each_take_half_a_millisecond_do_not_make_a_sleep_late(
    ready: int, form: str
) -> None:
    make = coroutine_of if form == "coroutine" else (lambda routine: routine)
    clock = Ticking()
    late: list[float] = []

    def busy() -> Gen:
        while len(late) < 5:
            clock.take(0.0005)
            yield

    def sleeper() -> Gen:
        for _ in range(5):
            due = clock.now() + 0.01
            yield sleep(0.01)
            late.append((clock.now() - due) / 0.0005)

    def main() -> Gen:
        for _ in range(ready):
            yield spawn(make(busy()))
        yield spawn(make(sleeper()))

    run(main(), clock=clock)
    # in resumes: a round that is begun is ended, so two looks are up to 2 * 61 apart; and
    # what is then due goes on behind at most 61 others
    assert max(late) <= 3 * 61 + 2


def test_a_time_limit_strikes_in_time_while_many_are_ready() -> None:
    clock = Ticking()
    late: list[float] = []

    def busy() -> Gen:
        while not late:
            clock.take(0.0005)
            yield

    def limited() -> Gen:
        try:
            with timeout(0.01) as scope:
                yield sleep(5)
        except TimeoutError:
            late.append((clock.now() - scope.deadline) / 0.0005)

    def main() -> Gen:
        for _ in range(1000):
            yield spawn(busy())
        yield spawn(limited())

    run(main(), clock=clock)
    assert late[0] <= 3 * 61 + 2


def test_the_round_goes_on_where_it_was_when_the_clock_is_looked_at() -> None:
    log: list[int] = []

    def busy(number: int) -> Gen:
        for _ in range(3):
            log.append(number)
            yield

    def main() -> Gen:
        for number in range(200):
            yield spawn(go(number))
        gate.set()

    gate = Event()

    def go(number: int) -> Gen:
        yield gate.wait()
        yield busy(number)

    run(main(), clock=VirtualClock())
    assert log == list(range(200)) * 3


def test_a_failure_that_goes_along_a_chain_of_joins_takes_steps_in_proportion() -> None:
    async def first() -> None:
        await sleep(1)
        raise ValueError

    async def joining(task: Any) -> None:
        await task

    def main(number: int) -> Gen:
        task = yield spawn(first())
        for _ in range(number):
            task = yield spawn(joining(task))
        try:
            yield task
        except ValueError:
            return number

    assert growth(main) < MOST


def test_to_end_many_tasks_takes_steps_in_proportion() -> None:
    def idle() -> Gen:
        yield sleep(100)

    def main(number: int) -> Gen:
        for _ in range(number):
            yield spawn(idle(), daemon=True)
        yield

    assert growth(main) < MOST
