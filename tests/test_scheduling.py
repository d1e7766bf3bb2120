"""Whose turn it is, how routines call one another, and what a yield accepts."""

from __future__ import annotations

import contextlib
import gc
import time
import traceback
import types
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import Channel, Kernel, current_task, join, now, run, sleep, sleep_until, spawn
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


def run_in(kernel: Kernel, main: Any) -> Any:
    with contextlib.closing(kernel):
        return kernel.run(main)


def steps(log: list[Any], name: str, count: int = 2) -> Gen:
    for i in range(count):
        log.append(f"{name}{i}")
        yield


# --- round robin ---------------------------------------------------------------------------


def test_ready_tasks_take_turns_in_the_order_they_became_ready(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        for name in "abc":
            yield spawn(steps(log, name, 3))

    vrun(main())
    # a began while main was still spawning; from there on it is strictly in turn
    assert log == ["a0", "a1", "b0", "a2", "b1", "c0", "b2", "c1", "c2"]


def test_spawn_puts_the_child_behind_all_that_is_ready_and_the_caller_behind_the_child(
    vrun: Any,
) -> None:
    log: list[str] = []

    def main() -> Gen:
        yield spawn(steps(log, "old", 2))
        log.append("main spawns")
        yield spawn(steps(log, "new", 1))
        log.append("main again")

    vrun(main())
    assert log == ["old0", "main spawns", "old1", "new0", "main again"]


def test_spawn_from_outside_runs_tasks_in_the_order_of_the_spawns(vrun: Any) -> None:
    log: list[str] = []
    kernel = Kernel(clock=microthreads.sim.VirtualClock())
    kernel.spawn(steps(log, "a", 1))
    kernel.spawn(steps(log, "b", 1))
    run_in(kernel, steps(log, "main", 1))
    assert log == ["a0", "b0", "main0"]


def test_a_bare_yield_goes_to_the_back_of_the_ready_queue(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        yield spawn(steps(log, "a", 1))
        yield spawn(steps(log, "b", 1))
        log.append("main")
        assert (yield) is None
        log.append("main again")

    vrun(main())
    assert log == ["a0", "b0", "main", "main again"]


def test_a_bare_yield_alone_comes_straight_back(vrun: Any) -> None:
    def main() -> Gen:
        for _ in range(1000):
            yield
        return now()

    assert vrun(main()) == 0


def test_no_ready_task_waits_longer_than_one_round(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        tasks = []
        for i in range(20):
            tasks.append((yield spawn(steps(log, f"{i}.", 50))))
        for task in tasks:
            yield join(task)

    vrun(main())
    last: dict[str, int] = {}
    for turn, entry in enumerate(log):
        name = entry.split(".")[0]
        assert turn - last.get(name, turn) <= 20
        last[name] = turn


def test_an_always_ready_task_does_not_starve_a_sleeper() -> None:
    """A deadline that has come waits for 61 resumes: see design/rounds."""
    clock = VirtualClock()

    def spin() -> Gen:
        while True:
            clock.reach(clock.now() + 1)
            yield

    def main() -> Gen:
        yield spawn(spin(), daemon=True)
        late = []
        for i in range(1, 101):
            yield sleep_until(i * 100)
            late.append(now() - i * 100)
        return max(late)

    assert run(main(), clock=clock) <= 61


def test_sleepers_wake_in_the_order_of_their_deadlines(vrun: Any) -> None:
    log: list[Any] = []

    def sleeper(seconds: float, name: str) -> Gen:
        yield sleep(seconds)
        log.append((now(), name))

    def main() -> Gen:
        for seconds, name in [(3, "c"), (1, "a"), (2, "b")]:
            yield spawn(sleeper(seconds, name))

    vrun(main())
    assert log == [(1, "a"), (2, "b"), (3, "c")]


def test_sleepers_with_one_deadline_wake_in_the_order_they_went_to_sleep(vrun: Any) -> None:
    log: list[int] = []

    def sleeper(i: int) -> Gen:
        yield sleep_until(5)
        log.append(i)

    def main() -> Gen:
        for i in range(50):
            yield spawn(sleeper(i))

    vrun(main())
    assert log == list(range(50))


def test_sleep_until_a_time_that_has_passed_only_lets_others_run(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield sleep(10)
        yield spawn(steps(log, "a", 2))
        yield sleep_until(3)
        log.append(now())

    vrun(main())
    assert log == ["a0", "a1", 10]


# --- every yield is a schedule point --------------------------------------------------------


def succeed_at_once(kind: str) -> Gen:
    channel: Channel[int] = Channel(5)
    channel.try_send(1)
    done = yield spawn(steps([], "x", 0))
    yield
    yield
    calls = {
        "send": lambda: channel.send(2),
        "recv": channel.recv,
        "join": lambda: join(done),
        "task": lambda: done,
        "sleep": lambda: sleep(0),
        "sleep_until": lambda: sleep_until(-1),
        "select": lambda: microthreads.select(channel.recv(), join(done)),
        "spawn": lambda: spawn(steps([], "x", 0)),
        "bare": lambda: None,
    }
    return calls[kind]


@pytest.mark.parametrize(
    "kind",
    ["send", "recv", "join", "task", "sleep", "sleep_until", "select", "spawn", "bare"],
)
def test_a_call_that_succeeds_at_once_lets_the_others_run_all_the_same(
    vrun: Any, kind: str
) -> None:
    log: list[str] = []

    def other() -> Gen:
        log.append("other begins")
        yield
        while "main" not in log:
            log.append("other")
            yield

    def main() -> Gen:
        make = yield from succeed_at_once(kind)
        call = make()
        task = yield spawn(other())
        log.append("main yields")
        yield call
        log.append("main")
        yield task

    vrun(main())
    assert log[:3] == ["other begins", "main yields", "other"]
    assert log[-1] == "main"


def test_a_failing_call_lets_the_others_run_all_the_same(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        closed: Channel[int] = Channel()
        closed.close()
        yield spawn(steps(log, "other", 2))
        log.append("main yields")
        with pytest.raises(microthreads.ClosedError):
            yield closed.recv()
        log.append("main")

    vrun(main())
    assert log == ["other0", "main yields", "other1", "main"]


def test_a_task_that_only_makes_calls_that_succeed_cannot_starve_another(vrun: Any) -> None:
    log: list[str] = []

    def busy() -> Gen:
        channel: Channel[int] = Channel(1)
        while len(log) < 3:
            yield channel.send(1)
            yield channel.recv()

    def main() -> Gen:
        yield spawn(busy())
        yield from steps(log, "main", 3)

    vrun(main())
    assert log == ["main0", "main1", "main2"]


def test_code_between_two_yields_is_atomic(vrun: Any) -> None:
    count = 0

    def adder() -> Gen:
        nonlocal count
        for _ in range(100):
            seen = count
            count = seen + 1
            yield

    def main() -> Gen:
        for _ in range(10):
            yield spawn(adder())

    vrun(main())
    assert count == 1000


def test_yield_from_a_routine_is_no_schedule_point_of_its_own(vrun: Any) -> None:
    log: list[str] = []

    def quiet() -> Gen:
        log.append("quiet")
        return
        yield

    def main() -> Gen:
        yield spawn(steps(log, "other", 2))
        yield from quiet()
        log.append("main")
        yield

    vrun(main())
    assert log == ["other0", "quiet", "main", "other1"]


# --- calling routines -----------------------------------------------------------------------


def double(x: int) -> Gen:
    yield sleep(1)
    return 2 * x


async def adouble(x: int) -> int:
    await sleep(1)
    return 2 * x


def fail(x: int) -> Gen:
    yield sleep(1)
    raise KeyError(x)


async def afail(x: int) -> int:
    await sleep(1)
    raise KeyError(x)


def by_yield(routine: Any) -> Gen:
    return (yield routine)


def by_yield_from(routine: Any) -> Gen:
    return (yield from routine)


async def by_await(routine: Any) -> Any:
    return await routine


def by_joining(routine: Any) -> Gen:
    return (yield (yield spawn(routine)))


def by_joining_from(routine: Any) -> Gen:
    return (yield from (yield spawn(routine)))


async def by_awaiting_a_task(routine: Any) -> Any:
    return await (await spawn(routine))


def by_awaiting_inside(routine: Any) -> Gen:
    """A generator task that yields a coroutine that awaits the coroutine."""
    return (yield by_await(routine))


SPELLINGS = [
    (by_yield, double, fail),
    (by_yield, adouble, afail),
    (by_yield_from, double, fail),
    (by_await, adouble, afail),
    (by_joining, double, fail),
    (by_joining, adouble, afail),
    (by_joining_from, double, fail),
    (by_awaiting_a_task, adouble, afail),
    (by_awaiting_a_task, double, fail),
    (by_awaiting_inside, adouble, afail),
]


@pytest.mark.parametrize(("spelling", "good", "bad"), SPELLINGS)
def test_every_spelling_of_a_call_returns_the_value(
    vrun: Any, spelling: Any, good: Any, bad: Any
) -> None:
    assert vrun(spelling(good(21))) == 42


@pytest.mark.parametrize(("spelling", "good", "bad"), SPELLINGS)
def test_every_spelling_of_a_call_raises_the_error_where_the_call_stands(
    vrun: Any, spelling: Any, good: Any, bad: Any
) -> None:
    def main() -> Gen:
        try:
            yield spelling(bad(7))
        except KeyError as error:
            return error.args, now()

    assert vrun(main()) == ((7,), 1)


def test_system_calls_accept_yield_from_and_await(vrun: Any) -> None:
    async def by_await_call(channel: Channel[int]) -> int:
        return await channel.recv()

    def main() -> Gen:
        channel: Channel[int] = Channel(3)
        for i in range(3):
            channel.try_send(i)
        return [
            (yield channel.recv()),
            (yield from channel.recv()),
            (yield by_await_call(channel)),
        ]

    assert vrun(main()) == [0, 1, 2]


def test_a_coroutine_can_be_the_main_task_and_spawn_generators(vrun: Any) -> None:
    async def main() -> list[Any]:
        task = await spawn(double(4))
        other = await spawn(adouble(5))
        return [await task, await other, current_task().id]

    assert vrun(main()) == [8, 10, 1]


def test_a_types_coroutine_is_a_routine(vrun: Any) -> None:
    @types.coroutine
    def old_style() -> Gen:
        yield sleep(1)
        return "old"

    async def main() -> Any:
        return await old_style()

    def gmain() -> Gen:
        return (yield old_style())

    assert (vrun(main()), vrun(gmain())) == ("old", "old")


def test_routines_yielded_may_nest_a_hundred_thousand_deep_and_return(vrun: Any) -> None:
    def chain(n: int) -> Gen:
        if n == 0:
            yield sleep(1)
            return 0
        return 1 + (yield chain(n - 1))

    assert vrun(chain(100_000)) == 100_000


def test_an_exception_thrown_100_000_routines_deep_is_caught_at_the_top(vrun: Any) -> None:
    def chain(n: int) -> Gen:
        if n == 0:
            yield sleep(1)
            raise LookupError("at the bottom")
        return (yield chain(n - 1))

    def main() -> Gen:
        try:
            yield chain(100_000)
        except LookupError as error:
            # an unraised traceback of 100,000 frames is released step by step
            error.__traceback__ = None
            return str(error)

    assert vrun(main()) == "at the bottom"


def test_coroutines_yielded_may_nest_a_hundred_thousand_deep(vrun: Any) -> None:
    def chain(n: int) -> Gen:
        if n == 0:
            yield sleep(1)
            return 0
        return 1 + (yield achain(n - 1))

    @types.coroutine
    def call(routine: Any) -> Gen:
        return (yield routine)

    async def achain(n: int) -> int:
        return 1 + await call(chain(n - 1)) if n else 0

    assert vrun(chain(100_000)) == 100_000


def test_an_exception_can_be_caught_half_way_up_a_chain(vrun: Any) -> None:
    def chain(n: int) -> Gen:
        if n == 0:
            raise LookupError
        try:
            below = yield chain(n - 1)
        except LookupError:
            if n != 500:
                raise
            return "caught at 500"
        return below

    assert vrun(chain(1000)) == "caught at 500"


def test_cancelling_a_deep_chain_runs_every_finally_from_the_bottom_up(vrun: Any) -> None:
    log: list[int] = []

    def chain(n: int) -> Gen:
        try:
            if n:
                yield chain(n - 1)
            else:
                yield sleep(100)
        finally:
            log.append(n)

    def main() -> Gen:
        task = yield spawn(chain(1000))
        yield sleep(1)
        task.cancel()
        with pytest.raises(microthreads.Cancelled):
            yield task

    vrun(main())
    assert log == list(range(1001))


def test_a_deep_chain_left_by_a_cancelled_task_ends_without_recursion(vrun: Any) -> None:
    def chain(n: int) -> Gen:
        yield chain(n - 1) if n else sleep(100)

    def main() -> Gen:
        task = yield spawn(chain(100_000))
        yield sleep(1)
        task.cancel()
        try:
            yield task
        except microthreads.Cancelled as error:
            error.__traceback__ = None
        return task.done

    assert vrun(main()) is True
    gc.collect()


def test_a_routine_that_returns_without_a_yield_is_a_routine(vrun: Any) -> None:
    def nothing() -> Gen:
        return 5
        yield

    async def anothing() -> int:
        return 6

    def main() -> Gen:
        return (yield nothing()), (yield anothing()), (yield (yield spawn(nothing())))

    assert vrun(main()) == (5, 6, 5)


@pytest.mark.parametrize("value", [None, (), StopIteration, 0, ValueError("a value")])
def test_any_value_can_be_returned(vrun: Any, value: Any) -> None:
    def routine() -> Gen:
        yield
        return value

    def main() -> Gen:
        task = yield spawn(routine())
        return (yield routine()), (yield from routine()), (yield task)

    got = vrun(main())
    assert all(x is value for x in got)


def test_a_generator_or_a_call_can_be_returned_without_being_run(vrun: Any) -> None:
    unrun = double(1)

    def routine() -> Gen:
        yield
        return unrun

    def main() -> Gen:
        return (yield routine()), (yield (yield spawn(routine())))

    assert vrun(main()) == (unrun, unrun)


def test_a_stop_iteration_raised_in_a_routine_becomes_a_runtime_error(vrun: Any) -> None:
    def routine() -> Gen:
        yield
        next(iter(()))

    def main() -> Gen:
        with pytest.raises(RuntimeError, match="StopIteration"):
            yield routine()
        task = yield spawn(routine())
        with pytest.raises(RuntimeError, match="StopIteration"):
            yield task
        return "ok"

    assert vrun(main()) == "ok"


def test_a_stop_iteration_sent_as_an_error_is_an_error(vrun: Any) -> None:
    """A call that fails with StopIteration must not look like a return."""

    class Stops(microthreads.SystemCall[None]):
        def attempt(self, task: Any) -> Any:
            raise StopIteration(3)

    def main() -> Gen:
        try:
            yield Stops()
        except StopIteration as error:
            return "caught", error.value

    assert vrun(main()) == ("caught", 3)


# --- tracebacks -----------------------------------------------------------------------------


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def ours(error: BaseException) -> list[str]:
    package = microthreads.__path__[0]
    return [f.filename for f in traceback.extract_tb(error.__traceback__) if package in f.filename]


def deep() -> Gen:
    yield sleep(1)
    inner()


def inner() -> None:
    raise KeyError("inner")


async def adeep() -> None:
    await sleep(1)
    inner()


@pytest.mark.parametrize("routine", [deep, adeep])
def test_the_traceback_of_a_yielded_routine_has_the_users_frames_only(
    vrun: Any, routine: Any
) -> None:
    def middle() -> Gen:
        yield routine()

    def main() -> Gen:
        try:
            yield middle()
        except KeyError as error:
            return frames(error), ours(error)

    assert vrun(main()) == (["main", "middle", routine.__name__, "inner"], [])


@pytest.mark.parametrize("routine", [deep, adeep])
def test_the_traceback_of_a_joined_failure_has_the_users_frames_only(
    vrun: Any, routine: Any
) -> None:
    def main() -> Gen:
        task = yield spawn(routine())
        try:
            yield task
        except KeyError as error:
            return frames(error), ours(error)

    names, kernels = vrun(main())
    assert (names, kernels) == (["main", routine.__name__, "inner"], [])


def test_the_traceback_of_a_failed_system_call_ends_at_the_yield(vrun: Any) -> None:
    def main() -> Gen:
        closed: Channel[int] = Channel()
        closed.close()
        try:
            yield closed.recv()
        except microthreads.ClosedError as error:
            return frames(error), ours(error)

    assert vrun(main()) == (["main"], [])


def test_the_traceback_of_a_failed_await_ends_at_the_await(vrun: Any) -> None:
    async def main() -> Any:
        task = await spawn(receiver(), name="receiver")
        try:
            await task
        except microthreads.ClosedError as error:
            return frames(error), ours(error)

    async def receiver() -> None:
        closed: Channel[int] = Channel()
        closed.close()
        await closed.recv()

    names, library = vrun(main())
    assert (names[0], names[-1]) == ("main", "receiver")
    # Where it is caught inside the task, the await's own frame is still there; it
    # goes when the error leaves the task.
    assert [name for name in names if name == "__await__"] == ["__await__"] * len(library)
    assert len(library) <= 1


def test_what_leaves_run_shows_the_users_frames_behind_the_call_of_run(vrun: Any) -> None:
    def main() -> Gen:
        yield deep()

    with pytest.raises(KeyError) as caught:
        run(main(), clock=microthreads.sim.VirtualClock())
    names = frames(caught.value)
    assert names[-3:] == ["main", "deep", "inner"]
    package = microthreads.__path__[0]
    files = [f.filename for f in traceback.extract_tb(caught.value.__traceback__)]
    assert not any(package in name for name in files[names.index("main") :])


def test_a_note_says_which_task_failed_and_where_it_was_spawned(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(deep(), name="worker")
        try:
            yield task
        except KeyError as error:
            return task.id, error.__notes__

    number, notes = vrun(main())
    assert len(notes) == 1
    assert f"#{number}" in notes[0]
    assert "worker" in notes[0]
    line = test_a_note_says_which_task_failed_and_where_it_was_spawned.__code__.co_firstlineno + 2
    assert f"{__file__}:{line} in " in notes[0]
    assert notes[0].endswith("main")


def test_the_note_is_added_once_however_many_join(vrun: Any) -> None:
    def joiner(task: Any) -> Gen:
        try:
            yield task
        except KeyError as error:
            return len(error.__notes__)

    def main() -> Gen:
        task = yield spawn(deep())
        joiners = []
        for _ in range(5):
            joiners.append((yield spawn(joiner(task))))
        counts = []
        for each in joiners:
            counts.append((yield each))
        return counts

    assert vrun(main()) == [1] * 5


def test_an_error_that_stays_inside_its_task_gets_no_note(vrun: Any) -> None:
    def main() -> Gen:
        try:
            yield deep()
        except KeyError as error:
            return getattr(error, "__notes__", [])

    assert vrun(main()) == []


# --- policy ---------------------------------------------------------------------------------


def test_a_policy_chooses_which_ready_task_runs_next(vrun: Any) -> None:
    log: list[str] = []

    def last(ready: Any) -> int:
        return len(ready) - 1

    kernel = Kernel(clock=microthreads.sim.VirtualClock(), policy=last)
    for name in "abc":
        kernel.spawn(steps(log, name, 2))
    run_in(kernel, steps(log, "m", 1))
    assert log == ["m0", "c0", "c1", "b0", "b1", "a0", "a1"]


def test_a_policy_sees_the_ready_tasks_in_order(vrun: Any) -> None:
    seen: list[list[str]] = []

    def first(ready: Any) -> int:
        seen.append([getattr(entry, "name", entry) for entry in ready])
        return 0

    kernel = Kernel(clock=microthreads.sim.VirtualClock(), policy=first)
    kernel.spawn(steps([], "a", 1), name="a")
    kernel.spawn(steps([], "b", 1), name="b")
    run_in(kernel, steps([], "m", 0))
    assert seen[0] == ["a", "b", "steps"]


def test_a_policy_that_answers_nonsense_fails_with_a_clear_error(vrun: Any) -> None:
    def main() -> Gen:
        yield
        yield

    with pytest.raises((IndexError, ValueError, TypeError, RuntimeError)):
        vrun(main(), policy=lambda ready: 99)


# --- wrong things yielded -------------------------------------------------------------------


@pytest.mark.parametrize(
    "thing",
    [
        1,
        "text",
        [sleep(1)],
        (sleep(1), sleep(2)),
        object(),
        sleep,
        ValueError("x"),
        double,
        0,
        False,
    ],
    ids=repr,
)
def test_a_wrong_thing_yielded_raises_type_error_at_that_yield_and_the_kernel_goes_on(
    vrun: Any, thing: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(steps(log, "other", 3))
        try:
            yield thing
        except TypeError as error:
            log.append("TypeError")
            assert frames(error) == ["main"]
        yield sleep(1)
        return now()

    assert vrun(main()) == 1
    assert log == ["other0", "other1", "TypeError", "other2"]


def test_a_wrong_thing_yielded_deep_inside_raises_at_that_very_yield(vrun: Any) -> None:
    log: list[str] = []

    def below() -> Gen:
        try:
            yield "nonsense"
        except TypeError:
            log.append("below")

    def main() -> Gen:
        yield below()
        yield from below()

    vrun(main())
    assert log == ["below", "below"]


def test_the_error_for_a_wrong_thing_names_the_thing(vrun: Any) -> None:
    def main() -> Gen:
        yield "nonsense"

    with pytest.raises(TypeError, match="nonsense|str"):
        vrun(main())


def test_an_awaitable_of_another_library_is_refused_at_that_await(vrun: Any) -> None:
    class Foreign:
        def __await__(self) -> Gen:
            yield "a foreign trap"

    async def main() -> str:
        try:
            await Foreign()
        except TypeError:
            return "refused"
        return "accepted"

    assert vrun(main()) == "refused"


def test_now_and_current_task_are_plain_calls_that_need_a_kernel() -> None:
    with pytest.raises(RuntimeError):
        now()
    with pytest.raises(RuntimeError):
        current_task()


def test_now_goes_with_the_clock_of_the_kernel() -> None:
    def main() -> Gen:
        before = now()
        yield sleep(0.02)
        return now() - before

    began = time.monotonic()
    inside = run(main())
    assert 0.02 <= inside <= time.monotonic() - began
