"""Context variables: each task has its own, and begins with those of the task that spawned it."""

from __future__ import annotations

import contextvars
import decimal
import random

import pytest

from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    Queue,
    Supervisor,
    TaskGroup,
    gather,
    join,
    parallel_map,
    race,
    run,
    select,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.fixture(autouse=True)
def nothing_set():
    """Each test begins and ends with the variable unset, in the tests' own context."""
    assert VARIABLE.get() == "unset"
    yield
    assert VARIABLE.get() == "unset"


def reading():
    return VARIABLE.get()
    yield


async def async_reading():
    return VARIABLE.get()


def setting(value, seconds=1):
    """Set the variable, sleep, and say what it is then."""
    before = VARIABLE.get()
    VARIABLE.set(value)
    yield sleep(seconds)
    return before, VARIABLE.get()


async def async_setting(value, seconds=1):
    before = VARIABLE.get()
    VARIABLE.set(value)
    await sleep(seconds)
    return before, VARIABLE.get()


every_reading = pytest.mark.parametrize("reading", [reading, async_reading])
every_setting = pytest.mark.parametrize("setting", [setting, async_setting])


@every_reading
def test_a_child_sees_what_its_parent_had_set(vrun, reading):
    def main():
        VARIABLE.set("parent's")
        return (yield (yield spawn(reading())))

    assert vrun(main()) == "parent's"


@every_reading
def test_a_child_sees_what_was_set_when_it_was_spawned_not_later(vrun, reading):
    def later():
        yield sleep(1)
        return (yield reading())

    def main():
        VARIABLE.set("then")
        task = yield spawn(later())
        VARIABLE.set("now")
        return (yield task), VARIABLE.get()

    assert vrun(main()) == ("then", "now")


def test_the_value_that_counts_is_that_at_the_yield_of_the_spawn(vrun):
    def main():
        call = spawn(reading())
        VARIABLE.set("set after the call was made")
        return (yield (yield call))

    assert vrun(main()) == "set after the call was made"


@every_setting
def test_what_a_child_sets_does_not_reach_its_parent(vrun, setting):
    def main():
        VARIABLE.set("parent's")
        got = yield (yield spawn(setting("child's")))
        return got, VARIABLE.get()

    assert vrun(main()) == (("parent's", "child's"), "parent's")


@every_setting
def test_what_a_child_sets_does_not_reach_its_siblings(vrun, setting):
    def main():
        first = yield spawn(setting("first's", 2))
        second = yield spawn(setting("second's", 1))
        third = yield spawn(setting("third's", 1))
        got = []
        for task in (first, second, third):
            got.append((yield task))
        return got

    assert vrun(main()) == [
        ("unset", "first's"),
        ("unset", "second's"),
        ("unset", "third's"),
    ]


@every_setting
def test_what_a_task_sets_does_not_reach_the_caller_of_run(vrun, setting):
    assert vrun(setting("main's")) == ("unset", "main's")
    assert VARIABLE.get() == "unset"


def test_main_sees_what_the_caller_of_run_had_set(vrun):
    def caller():
        VARIABLE.set("caller's")
        got = vrun(setting("main's")), vrun(async_reading())
        return got, VARIABLE.get()

    assert contextvars.copy_context().run(caller) == (
        (("caller's", "main's"), "caller's"),
        "caller's",
    )


def test_one_run_leaves_nothing_to_the_next_of_the_same_kernel():
    with Kernel(clock=VirtualClock()) as kernel:
        assert kernel.run(setting("first run's")) == ("unset", "first run's")
        assert kernel.run(reading()) == "unset"


def test_a_task_of_a_kernel_driven_by_hand_sees_what_is_set_where_it_is_spawned():
    clock = VirtualClock()

    def drive():
        VARIABLE.set("spawner's")
        task = kernel.spawn(setting("task's"))
        VARIABLE.set("later")
        kernel.tick()
        seen = VARIABLE.get()
        clock.reach(1)
        while not task.done:
            kernel.tick()
        return task.result(), seen, VARIABLE.get()

    with Kernel(clock=clock) as kernel:
        assert contextvars.copy_context().run(drive) == (
            ("spawner's", "task's"),
            "later",
            "later",
        )


def test_a_value_is_kept_over_every_kind_of_yield(vrun):
    seen = []

    def routine():
        seen.append(VARIABLE.get())
        yield

    async def async_routine():
        seen.append(VARIABLE.get())
        await sleep(0)

    def main():
        channel, queue = Channel(1), Queue()
        yield spawn(setting("another's", 100), daemon=True)
        VARIABLE.set("mine")
        yield
        seen.append(VARIABLE.get())
        yield sleep(1)
        seen.append(VARIABLE.get())
        yield channel.send(1)
        seen.append(VARIABLE.get())
        yield queue.put(1)
        yield select(queue.get(), channel.recv())
        seen.append(VARIABLE.get())
        yield routine()
        yield from routine()
        yield async_routine()
        seen.append(VARIABLE.get())
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield sleep(9)
        seen.append(VARIABLE.get())

    vrun(main())
    assert seen == ["mine"] * 9


def test_a_routine_that_is_yielded_shares_the_values_of_its_task(vrun):
    def inner():
        before = VARIABLE.get()
        VARIABLE.set("inner")
        yield sleep(1)
        return before

    async def async_inner():
        before = VARIABLE.get()
        VARIABLE.set("async inner")
        await sleep(1)
        return before

    def main():
        VARIABLE.set("outer")
        log = [(yield inner()), VARIABLE.get()]
        log += [(yield async_inner()), VARIABLE.get()]
        log += [(yield from inner()), VARIABLE.get()]
        return log

    assert vrun(main()) == ["outer", "inner", "inner", "async inner", "async inner", "inner"]


def test_a_token_resets_a_variable_many_yields_later(vrun):
    def inner(token):
        yield sleep(1)
        VARIABLE.reset(token)

    def main():
        VARIABLE.set("first")
        token = VARIABLE.set("second")
        yield sleep(1)
        VARIABLE.reset(token)
        log = [VARIABLE.get()]
        token = VARIABLE.set("third")
        yield inner(token)
        return [*log, VARIABLE.get()]

    assert vrun(main()) == ["first", "first"]


def test_a_token_of_another_task_is_refused(vrun):
    def child(token):
        with pytest.raises(ValueError):
            VARIABLE.reset(token)
        yield

    def main():
        yield (yield spawn(child(VARIABLE.set("mine"))))

    vrun(main())


def test_clean_up_after_a_cancel_sees_the_tasks_own_value(vrun):
    log = []

    def child(value):
        VARIABLE.set(value)
        try:
            yield sleep(9)
        except Cancelled:
            log.append(VARIABLE.get())
            raise
        finally:
            log.append(VARIABLE.get())

    async def async_child(value):
        VARIABLE.set(value)
        try:
            await sleep(9)
        finally:
            log.append(VARIABLE.get())

    def main():
        VARIABLE.set("main's")
        tasks = [(yield spawn(child("a"))), (yield spawn(async_child("b")))]
        yield sleep(1)
        for task in tasks:
            task.cancel()
        yield sleep(1)
        return VARIABLE.get()

    assert vrun(main()) == "main's"
    assert log == ["a", "a", "b"]


def test_a_task_that_fails_leaves_nothing_behind(vrun):
    def failing():
        VARIABLE.set("failing")
        yield sleep(1)
        raise KeyError

    def main():
        task = yield spawn(failing())
        with pytest.raises(KeyError):
            yield task
        return VARIABLE.get()

    assert vrun(main()) == "unset"


def test_the_decimal_context_of_a_task_is_its_own(vrun):
    def thirds(digits, seconds):
        with decimal.localcontext() as context:
            context.prec = digits
            yield sleep(seconds)
            return str(decimal.Decimal(1) / 3)

    async def async_thirds(digits, seconds):
        with decimal.localcontext() as context:
            context.prec = digits
            await sleep(seconds)
            return str(decimal.Decimal(1) / 3)

    precision = decimal.getcontext().prec
    assert vrun(gather(thirds(3, 2), async_thirds(5, 1), thirds(7, 3))) == [
        "0.333",
        "0.33333",
        "0.3333333",
    ]
    assert decimal.getcontext().prec == precision


def test_a_hundred_tasks_interleaved_keep_their_values_apart(vrun):
    def child(number, pauses):
        VARIABLE.set(number)
        for step, pause in enumerate(pauses):
            yield sleep(pause) if pause else None
            assert VARIABLE.get() == number + step * 1000
            VARIABLE.set(number + (step + 1) * 1000)
            yield nested(number + (step + 1) * 1000)

    def nested(expected):
        assert VARIABLE.get() == expected
        yield
        assert VARIABLE.get() == expected

    async def async_child(number, pauses):
        VARIABLE.set(number)
        for pause in pauses:
            await sleep(pause)
            assert VARIABLE.get() == number

    def main():
        source, tasks = random.Random(1), []
        for number in range(100):
            pauses = [source.randrange(3) for _ in range(20)]
            routine = async_child if number % 3 == 0 else child
            tasks.append((yield spawn(routine(number, pauses))))
        for task in tasks:
            yield join(task)
        return VARIABLE.get()

    assert vrun(main()) == "unset"


def test_grandchildren_inherit_through_their_parents(vrun):
    def level(depth):
        VARIABLE.set((VARIABLE.get(), depth) if depth else "root")
        if depth < 3:
            return (yield (yield spawn(level(depth + 1))))
        yield
        return VARIABLE.get()

    assert vrun(level(0)) == ((("root", 1), 2), 3)


@every_reading
def test_tasks_of_groups_inherit_from_whoever_spawned_them(vrun, reading):
    async def child(group):
        VARIABLE.set("child's")
        return await (await group.spawn(reading()))

    async def main():
        VARIABLE.set("host's")
        async with TaskGroup() as group:
            first = await group.spawn(reading())
            second = await group.spawn(child(group))
            VARIABLE.set("host's, later")
            third = await group.spawn(reading())
        return first.result(), second.result(), third.result(), VARIABLE.get()

    assert vrun(main()) == ("host's", "child's", "host's, later", "host's, later")


@every_setting
def test_tasks_of_gather_race_and_parallel_map_have_values_of_their_own(vrun, setting):
    def main():
        VARIABLE.set("main's")
        return [
            (yield gather(setting("a", 2), setting("b", 1))),
            (yield race(setting("c", 2), setting("d", 1))),
            (yield parallel_map(setting, ["e", "f", "g"], limit=2)),
            VARIABLE.get(),
        ]

    assert vrun(main()) == [
        [("main's", "a"), ("main's", "b")],
        ("main's", "d"),
        [("main's", name) for name in "efg"],
        "main's",
    ]


def test_a_restarted_child_begins_with_the_values_of_its_supervisor(vrun):
    log = []

    def child():
        log.append(VARIABLE.get())
        VARIABLE.set(f"life {len(log)}")
        yield sleep(1)
        if len(log) < 3:
            raise KeyError

    def main():
        VARIABLE.set("main's")
        supervisor = Supervisor()
        supervisor.add(child)
        yield supervisor.run()
        return VARIABLE.get()

    assert vrun(main()) == "main's"
    assert log == ["main's"] * 3


def test_a_plain_function_that_is_mapped_runs_in_a_context_of_its_own(vrun):
    def function(item):
        before = VARIABLE.get()
        VARIABLE.set(item)
        return before

    def main():
        VARIABLE.set("main's")
        got = yield parallel_map(function, [1, 2, 3], limit=1)
        return got, VARIABLE.get()

    assert vrun(main()) == (["main's"] * 3, "main's")


def test_an_iterable_is_read_in_the_context_of_who_maps(vrun):
    def items():
        yield VARIABLE.get()
        yield VARIABLE.get()

    def main():
        VARIABLE.set("main's")
        return (yield parallel_map(str, items(), limit=2))

    assert vrun(main()) == ["main's", "main's"]


def test_a_run_inside_a_context_can_be_repeated_in_it():
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "context's")
    for _ in range(2):
        got = context.run(run, setting("task's"), clock=VirtualClock())
        assert got == ("context's", "task's")
    assert context[VARIABLE] == "context's"
