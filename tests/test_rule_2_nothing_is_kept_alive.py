"""Rule 2: the kernel keeps nothing alive.

What a user cannot reach is freed at once, by reference counts alone: the results of tasks
that have ended, and the locals of those that failed or were cancelled. So the collector is
off in all of these tests. The table of every call and every way to end is
``python3 -m tests.leftovers``.
"""

from __future__ import annotations

import concurrent.futures
import gc
import socket
import tracemalloc
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from helpers import coroutine_of

from microthreads import (
    Cancelled,
    Channel,
    Event,
    Kernel,
    Queue,
    TaskGroup,
    gather,
    join,
    move_on_after,
    race,
    run,
    select,
    sleep,
    spawn,
    timeout,
    wait_future,
)
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


@pytest.fixture(autouse=True)
def uncollected(unobserved: None) -> Iterator[None]:
    """No collector, and no observer that may hold something."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Held:
    """Something large that a task has."""


class Watch:
    """Makes things to hold, and says how many are left."""

    def __init__(self) -> None:
        self._refs: list[weakref.ref[Held]] = []

    def __call__(self) -> Held:
        held = Held()
        self._refs.append(weakref.ref(held))
        return held

    @property
    def left(self) -> int:
        assert self._refs, "nothing was held"
        return sum(ref() is not None for ref in self._refs)


def left_behind(main: Callable[[Watch], Any], **options: Any) -> int:
    """How much of what was held is left when main is about to end."""
    watch = Watch()

    def program() -> Gen:
        yield main(watch)
        for _ in range(3):
            yield sleep(0.001)
        return watch.left

    options.setdefault("on_crash", lambda task: None)
    found: int = run(program(), clock=VirtualClock(), **options)
    return found


# ---- failed tasks


def failing(watch: Watch) -> Gen:
    held = watch()
    yield
    raise ValueError(str(held))


async def async_failing(watch: Watch) -> None:
    held = watch()
    await sleep(0)
    raise ValueError(str(held))


# Each takes the task out of a list: a frame that an error has gone through would keep it.


def yields(tasks: list[Any]) -> Gen:
    yield tasks.pop()


def yields_join(tasks: list[Any]) -> Gen:
    yield join(tasks.pop())


def yields_from(tasks: list[Any]) -> Gen:
    yield from tasks.pop()


async def awaits(tasks: list[Any]) -> None:
    await tasks.pop()


def asks_for_its_result(tasks: list[Any]) -> Gen:
    while not tasks[0].done:
        yield
    tasks.pop().result()


def selects(tasks: list[Any]) -> Gen:
    yield select(Channel[int]().recv(), tasks.pop())


def nobody_joins(tasks: list[Any]) -> Gen:
    task = tasks.pop()
    while not task.done:
        yield


WAYS = [yields, yields_join, yields_from, awaits, asks_for_its_result, selects, nobody_joins]
every_way = pytest.mark.parametrize("way", WAYS)
every_failing = pytest.mark.parametrize("bad", [failing, async_failing])


@every_way
@every_failing
def test_a_failed_task_leaves_no_cycle_however_it_is_joined(bad: Any, way: Any) -> None:
    def main(watch: Watch) -> Gen:
        tasks = [(yield spawn(bad(watch)))]
        with suppress(ValueError):
            yield way(tasks)

    assert left_behind(main) == 0


@every_failing
@pytest.mark.parametrize("call", ["task", "join", "select", "result"])
def test_a_failed_task_that_is_awaited_leaves_no_cycle(bad: Any, call: str) -> None:
    async def main(watch: Watch) -> None:
        tasks = [await spawn(bad(watch))]
        try:
            if call == "task":
                await tasks.pop()
            elif call == "join":
                await join(tasks.pop())
            elif call == "select":
                await select(Channel[int]().recv(), tasks.pop())
            else:
                await sleep(1)
                tasks.pop().result()
        except ValueError:
            await sleep(0)

    assert left_behind(main) == 0


@every_failing
@pytest.mark.parametrize("how", ["group", "gather", "race"])
def test_an_error_that_comes_out_of_a_group_leaves_no_cycle(bad: Any, how: str) -> None:
    async def grouped(watch: Watch) -> None:
        async with TaskGroup() as group:
            await group.spawn(bad(watch))
            await group.spawn(bad(watch))

    makers = {
        "group": grouped,
        "gather": lambda watch: gather(bad(watch), bad(watch)),
        "race": lambda watch: race(bad(watch), sleeping(watch)),
    }

    def main(watch: Watch) -> Gen:
        try:
            yield makers[how](watch)
        except* ValueError:
            pass

    assert left_behind(main) == 0


@every_failing
def test_what_the_main_task_had_is_free_when_run_has_raised(bad: Any) -> None:
    watch = Watch()
    with suppress(ValueError):
        run(bad(watch))
    assert watch.left == 0


def test_an_error_that_run_has_raised_is_all_that_keeps_what_main_had() -> None:
    watch = Watch()
    kept: list[BaseException] = []
    try:
        run(failing(watch))
    except ValueError as error:
        kept.append(error)
    before = watch.left
    kept.clear()
    assert (before, watch.left) == (1, 0)


def test_the_socket_of_a_failed_task_that_nobody_joins_is_closed_at_once() -> None:
    near, far = socket.socketpair()
    far.settimeout(1)
    sockets = [near]
    del near

    def handler(connection: socket.socket) -> Gen:
        yield
        raise ValueError("a bug")

    def main() -> Gen:
        yield spawn(handler(sockets.pop()))
        for _ in range(3):
            yield
        return far.recv(1)

    with far, pytest.warns(ResourceWarning, match="unclosed"):
        assert run(main(), on_crash=lambda task: None) == b""


def test_a_failed_future_of_a_thread_leaves_no_cycle_through_the_task_that_waited() -> None:
    watch = Watch()

    def waiter(futures: list[Any]) -> Gen:
        held = watch()
        yield wait_future(futures.pop())
        return held

    def main() -> Gen:
        future: Any = concurrent.futures.Future()
        tasks = [(yield spawn(waiter([future])))]
        yield
        future.set_exception(ValueError("of a thread"))
        with suppress(ValueError):
            yield tasks.pop()
        del future
        yield
        return watch.left

    assert run(main()) == 0


def test_an_error_that_is_kept_keeps_no_results_of_the_tasks_of_its_round() -> None:
    watch = Watch()
    kept: list[Any] = []

    def good(go: Event) -> Gen:
        yield go.wait()
        return watch()

    def bad(go: Event) -> Gen:
        yield go.wait()
        raise ValueError("a bug")

    def main() -> Gen:
        go = Event()
        for number in range(30):
            task = yield spawn(bad(go) if number == 15 else good(go))
            if number == 15:
                kept.append(task)
            del task
        go.set()
        while not kept[0].done:
            yield
        kept[0] = kept[0].exception()
        yield sleep(0.001)
        return watch.left

    assert run(main(), on_crash=lambda task: None) == 0
    assert type(kept[0]) is ValueError


# ---- cancelled tasks


def sleeping(watch: Watch) -> Gen:
    held = watch()
    yield sleep(3600)
    return held


async def async_sleeping(watch: Watch) -> Any:
    held = watch()
    await sleep(3600)
    return held


def nested(watch: Watch) -> Gen:
    held = watch()
    yield sleeping(watch)
    return held


every_sleeping = pytest.mark.parametrize("routine", [sleeping, async_sleeping, nested])


@every_sleeping
@pytest.mark.parametrize("joined", [True, False])
def test_a_cancelled_task_leaves_no_cycle(routine: Any, joined: bool) -> None:
    def main(watch: Watch) -> Gen:
        task = yield spawn(routine(watch))
        yield
        task.cancel()
        tasks = [task]
        del task
        if joined:
            with suppress(Cancelled):
                yield tasks.pop()

    assert left_behind(main) == 0


@every_sleeping
@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_block_that_is_ended_by_its_deadline_leaves_no_cycle(routine: Any, block: Any) -> None:
    def main(watch: Watch) -> Gen:
        with suppress(TimeoutError), block(1):
            yield routine(watch)

    assert left_behind(main) == 0


@every_sleeping
def test_the_losers_of_a_race_are_freed_at_once(routine: Any) -> None:
    def winner() -> Gen:
        yield
        return 1

    def main(watch: Watch) -> Gen:
        yield race(winner(), routine(watch), routine(watch))

    assert left_behind(main) == 0


def test_many_races_whose_losers_hold_much_take_little_memory() -> None:
    size = 256 << 10

    def loser() -> Gen:
        held = bytearray(size)
        yield sleep(3600)
        return held

    def winner() -> Gen:
        yield
        return 1

    def main() -> Gen:
        for _ in range(100):
            yield race(winner(), loser(), loser())

    tracemalloc.start()
    try:
        run(main())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * size


# ---- results


def test_a_time_limit_that_was_kept_keeps_no_result() -> None:
    def fetch(watch: Watch) -> Gen:
        with timeout(3600):
            yield
        return watch()

    def main(watch: Watch) -> Gen:
        for _ in range(50):
            yield (yield spawn(fetch(watch)))

    assert left_behind(main) == 0


@pytest.mark.parametrize("how", ["put", "get", "select"])
def test_a_wait_with_a_limit_that_was_in_time_keeps_no_result(how: str) -> None:
    def taker(queue: Queue[Any]) -> Gen:
        yield
        yield queue.get()

    def filler(queue: Queue[Any], watch: Watch) -> Gen:
        yield
        yield queue.put(watch())

    def put(watch: Watch) -> Gen:
        queue: Queue[Any] = Queue(1)
        queue.put_nowait(1)
        yield spawn(taker(queue))
        yield queue.put(watch(), timeout=3600)
        return watch()

    def get(watch: Watch) -> Gen:
        queue: Queue[Any] = Queue()
        yield spawn(filler(queue, watch))
        yield queue.get(timeout=3600)
        return watch()

    def choose(watch: Watch) -> Gen:
        queue: Queue[Any] = Queue()
        yield spawn(filler(queue, watch))
        yield select(sleep(3600), queue.get())
        return watch()

    def main(watch: Watch) -> Gen:
        for _ in range(10):
            yield (yield spawn({"put": put, "get": get, "select": choose}[how](watch)))

    assert left_behind(main) == 0


@pytest.mark.parametrize("forms", ["generator", "coroutine"])
def test_a_child_that_goes_on_keeps_no_result_of_its_parent(forms: str) -> None:
    make = coroutine_of if forms == "coroutine" else (lambda routine: routine)

    def parent(watch: Watch) -> Gen:
        yield spawn(make(iter(sleep(3600))), daemon=True)
        return watch()

    def main(watch: Watch) -> Gen:
        yield (yield spawn(make(parent(watch))))

    assert left_behind(main) == 0


def test_what_was_sent_and_received_is_kept_by_no_channel() -> None:
    def sender(channel: Channel[Any], watch: Watch) -> Gen:
        for _ in range(3):
            yield channel.send(watch())

    def main(watch: Watch) -> Gen:
        channels = [Channel[Any](capacity) for capacity in (0, 1, 3)]
        for channel in channels:
            yield spawn(sender(channel, watch))
            for _ in range(3):
                yield channel.recv()

    assert left_behind(main) == 0


@pytest.mark.parametrize("closed", [True, False])
def test_a_kernel_keeps_neither_the_last_result_nor_the_last_error(closed: bool) -> None:
    watch = Watch()

    def good() -> Gen:
        yield
        return watch()

    with Kernel() as kernel:
        kernel.run(good())
        with suppress(ValueError):
            kernel.run(failing(watch))
        if closed:
            kernel.close()
        assert watch.left == 0


@pytest.mark.parametrize("end", ["result", "error"])
def test_a_future_that_is_forgotten_keeps_no_outcome_of_its_submission(end: str) -> None:
    watch = Watch()

    def good() -> Gen:
        yield
        return watch()

    def main() -> Gen:
        yield sleep(0.001)

    with Kernel() as kernel:
        future = kernel.submit(good() if end == "result" else failing(watch))
        kernel.run(main())
        with suppress(ValueError):
            future.result()
        before = watch.left
        del future
        assert (before, watch.left) == (1, 0)
