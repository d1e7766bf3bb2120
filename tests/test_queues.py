"""Queues: what `queue` promises, to whom items go, and what cancelling and shutting down leave behind."""

from __future__ import annotations

import heapq
import math
import queue as stdlib
from collections import Counter, deque

import pytest
from helpers import check_machine, vrun
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    DeadlockError,
    Empty,
    Full,
    Kernel,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    join,
    move_on_after,
    now,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

KINDS = [Queue, LifoQueue, PriorityQueue]
STDLIB = {
    Queue: stdlib.Queue,
    LifoQueue: stdlib.LifoQueue,
    PriorityQueue: stdlib.PriorityQueue,
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def yielding(call):
    return (yield call)


async def awaiting(call):
    return await call


every_form = pytest.mark.parametrize("making", [yielding, awaiting])


def outcome_of(call, log, name):
    """Make `call`, and log what comes of it."""
    try:
        log.append((name, (yield call)))
    except (Empty, Full, ShutDown, TypeError) as error:
        log.append((name, type(error).__name__))
    except Cancelled:
        log.append((name, "cancelled"))
        raise


def filled(queue, *items):
    for item in items:
        queue.put_nowait(item)
    return queue


def drained(queue):
    items = []
    while not queue.empty():
        items.append(queue.get_nowait())
    return items


# ---- the names of `queue`


def test_the_errors_are_those_of_the_standard_library():
    assert microthreads.Empty is stdlib.Empty
    assert microthreads.Full is stdlib.Full
    if hasattr(stdlib, "ShutDown"):
        assert microthreads.ShutDown is stdlib.ShutDown
    assert issubclass(microthreads.ShutDown, Exception)


def test_a_queue_gives_its_items_first_in_first_out():
    assert drained(filled(Queue(), 2, 3, 1)) == [2, 3, 1]


def test_a_lifo_queue_gives_the_last_item_first():
    assert drained(filled(LifoQueue(), 2, 3, 1)) == [1, 3, 2]


def test_a_priority_queue_gives_the_smallest_item_first():
    assert drained(filled(PriorityQueue(), 2, 3, 1, 2)) == [1, 2, 2, 3]


@every_kind
def test_plain_calls_work_where_no_kernel_runs(kind):
    queue = kind(2)
    log = [queue.empty(), queue.full(), queue.qsize(), queue.maxsize]
    filled(queue, 1, 2)
    log += [queue.empty(), queue.full(), queue.qsize(), queue.unfinished_tasks]
    with pytest.raises(Full):
        queue.put_nowait(3)
    drained(queue)
    with pytest.raises(Empty):
        queue.get_nowait()
    queue.task_done()
    log += [queue.unfinished_tasks, queue.is_shutdown]
    queue.shutdown()
    log.append(queue.is_shutdown)
    assert log == [True, False, 0, 2, False, True, 2, 2, 1, False, True]


@every_kind
@pytest.mark.parametrize("maxsize", [0, -1, -100])
def test_a_queue_of_maxsize_zero_or_less_is_never_full(kind, maxsize):
    queue = filled(kind(maxsize), *range(1000))
    assert not queue.full()
    assert queue.qsize() == 1000


@every_kind
def test_the_maxsize_can_be_given_by_name(kind):
    assert kind(maxsize=3).maxsize == 3


def test_an_item_can_be_anything(vrun):
    items = [None, 0, False, "", (), Empty, Empty(), ValueError("put")]

    def main():
        queue = Queue()
        got = []
        for item in items:
            yield queue.put(item)
            got.append((yield queue.get()))
        for item in items:
            task = yield spawn(yielding(queue.get()))
            yield
            yield queue.put(item)
            got.append((yield task))
        return got

    got = vrun(main())
    assert all(a is b for a, b in zip(got, items * 2, strict=True))


def test_a_queue_shows_its_name_and_how_much_it_holds():
    queue = filled(Queue(3, name="orders"), 1, 2)
    assert "orders" in str(queue)
    assert "2" in str(queue)
    assert repr(queue).startswith("<Queue")
    assert repr(LifoQueue()).startswith("<LifoQueue")
    assert repr(PriorityQueue()).startswith("<PriorityQueue")


def test_an_empty_queue_is_true():
    assert Queue()


# ---- waiting


@every_kind
@every_form
def test_a_get_waits_for_an_item(vrun, kind, making):
    log = []

    def main():
        queue = kind()
        task = yield spawn(making(queue.get()))
        yield sleep(1)
        log.append(task.done)
        yield queue.put("item")
        log.append((yield task))
        log.append(queue.qsize())

    vrun(main())
    assert log == [False, "item", 0]


@every_kind
@every_form
def test_a_put_waits_for_room(vrun, kind, making):
    log = []

    def main():
        queue = filled(kind(1), 1)
        task = yield spawn(making(queue.put(2)))
        yield sleep(1)
        log.append((task.done, queue.qsize()))
        log.append((yield queue.get()))
        log.append(queue.qsize())
        log.append((yield task))
        log.append((yield queue.get()))

    vrun(main())
    assert log == [(False, 1), 1, 1, None, 2]


@every_form
def test_getters_are_served_in_the_order_they_came(vrun, making):
    def main():
        queue = Queue()
        tasks = []
        for _ in range(5):
            tasks.append((yield spawn(making(queue.get()))))
        yield sleep(1)
        for item in "abcde":
            yield queue.put(item)
        got = []
        for task in tasks:
            got.append((yield task))
        return got

    assert vrun(main()) == list("abcde")


@every_kind
def test_putters_are_served_in_the_order_they_came(vrun, kind):
    log = []

    def main():
        queue = filled(kind(1), 0)
        for number in range(1, 5):
            yield spawn(outcome_of(queue.put(number), log, number))
        yield sleep(1)
        for _ in range(5):
            log.append(queue.get_nowait())
            yield sleep(1)

    vrun(main())
    assert log == [0, (1, None), 1, (2, None), 2, (3, None), 3, (4, None), 4]


def test_items_put_in_one_step_reach_the_getters_in_the_order_they_came(vrun):
    log = []

    def main():
        queue = Queue()
        for number in range(3):
            yield spawn(outcome_of(queue.get(), log, number))
        yield sleep(1)
        filled(queue, "a", "b", "c", "d")
        log.append(queue.qsize())

    vrun(main())
    assert log == [1, (0, "a"), (1, "b"), (2, "c")]


def test_a_newcomer_does_not_take_what_a_waiting_getter_was_given(vrun):
    log = []

    def main():
        queue = Queue()
        yield spawn(outcome_of(queue.get(), log, "waiting"))
        yield sleep(1)
        queue.put_nowait("item")
        with pytest.raises(Empty):
            queue.get_nowait()

    vrun(main())
    assert log == [("waiting", "item")]


def test_a_newcomer_does_not_take_the_room_a_waiting_putter_was_given(vrun):
    log = []

    def main():
        queue = filled(Queue(1), "first")
        yield spawn(outcome_of(queue.put("second"), log, "waiting"))
        yield sleep(1)
        log.append(queue.get_nowait())
        with pytest.raises(Full):
            queue.put_nowait("third")
        log.append(queue.get_nowait())

    vrun(main())
    assert log == ["first", "second", ("waiting", None)]


def test_a_waiting_putters_item_comes_in_at_its_place_in_a_lifo_queue(vrun):
    def main():
        queue = filled(LifoQueue(2), 1, 2)
        yield spawn(yielding(queue.put(3)))
        yield spawn(yielding(queue.put(4)))
        yield sleep(1)
        return drained(queue)

    assert vrun(main()) == [2, 3, 4, 1]


def test_a_waiting_putters_item_comes_in_at_its_place_in_a_priority_queue(vrun):
    def main():
        queue = filled(PriorityQueue(2), 5, 7)
        yield spawn(yielding(queue.put(1)))
        yield spawn(yielding(queue.put(6)))
        yield sleep(1)
        return drained(queue)

    assert vrun(main()) == [5, 1, 6, 7]


@every_kind
@pytest.mark.parametrize("call", ["put", "get"])
def test_a_call_that_need_not_wait_is_a_schedule_point_all_the_same(vrun, kind, call):
    log = []

    def other():
        for step in range(3):
            log.append(step)
            yield

    def main():
        queue = filled(kind(2), 1)
        yield spawn(other())
        log.append("calling")
        yield queue.put(1) if call == "put" else queue.get()
        log.append("called")

    vrun(main())
    assert log == [0, "calling", 1, "called", 2]


def test_one_call_object_can_be_made_again_and_again(vrun):
    def main():
        queue = Queue(5)
        put, get = queue.put("again"), queue.get()
        for _ in range(3):
            yield put
        return [(yield get), (yield get), (yield get)]

    assert vrun(main()) == ["again"] * 3


@pytest.mark.forgets
def test_a_call_made_but_never_yielded_has_no_effect(vrun):
    def main():
        queue = filled(Queue(1), 1)
        queue.get()
        queue.put(2)
        queue.join()
        return drained(queue)
        yield

    assert vrun(main()) == [1]


def test_a_parked_task_shows_the_queue_it_waits_on(vrun):
    def main():
        empty, full = Queue(name="orders"), filled(Queue(1, name="bills"), 1)
        shown = []
        for call in (empty.get(), full.put(2), full.join()):
            task = yield spawn(yielding(call))
            yield sleep(1)
            shown.append(str(task.waiting_on))
            task.cancel()
        return shown

    get, put, joined = vrun(main())
    assert "get" in get
    assert "orders" in get
    assert "put" in put
    assert "bills" in put
    assert "unfinished" in joined
    assert "bills" in joined


@pytest.mark.parametrize("call", ["get", "put", "join"])
def test_waiting_on_a_queue_for_ever_is_a_deadlock_that_names_it(vrun, call):
    def main():
        queue = Queue(1, name="orders")
        if call != "get":
            queue.put_nowait(1)
        yield queue.put(2) if call == "put" else getattr(queue, call)()

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    assert ("unfinished" if call == "join" else call) in str(caught.value)
    assert "orders" in str(caught.value)


def test_ten_thousand_getters_are_served_in_linear_time(vrun):
    def main():
        queue = Queue()
        tasks = []
        for _ in range(10_000):
            tasks.append((yield spawn(yielding(queue.get()))))
        yield sleep(1)
        for number in range(10_000):
            queue.put_nowait(number)
        got = []
        for task in tasks:
            got.append((yield task))
        return got

    assert vrun(main()) == list(range(10_000))


def test_ten_thousand_waiters_can_be_cancelled_in_any_order(vrun):
    def main():
        queue = Queue()
        tasks = []
        for _ in range(10_000):
            tasks.append((yield spawn(yielding(queue.get()))))
        yield sleep(1)
        for task in tasks[::-2]:
            task.cancel()
        queue.put_nowait("item")
        got = yield tasks[0]
        for task in tasks:
            task.cancel()
        return got

    assert vrun(main()) == "item"


# ---- block and timeout


@every_form
def test_a_get_that_may_not_block_raises_empty_at_once(vrun, making):
    def main():
        with pytest.raises(Empty):
            yield making(Queue().get(block=False))
        with pytest.raises(Empty):
            yield making(Queue().get(False))
        with pytest.raises(Empty):
            yield making(Queue().get(timeout=0))
        return (yield making(filled(Queue(), "item").get(block=False))), now()

    assert vrun(main()) == ("item", 0)


@every_form
def test_a_put_that_may_not_block_raises_full_at_once(vrun, making):
    def main():
        queue = filled(Queue(1), "item")
        for call in (queue.put(2, block=False), queue.put(2, False), queue.put(2, timeout=0)):
            with pytest.raises(Full):
                yield making(call)
        drained(queue)
        yield making(queue.put(3, block=False))
        return drained(queue), now()

    assert vrun(main()) == ([3], 0)


@every_form
def test_a_get_with_a_timeout_raises_empty_when_it_is_over(vrun, making):
    def main():
        queue = Queue()
        with pytest.raises(Empty):
            yield making(queue.get(timeout=2.5))
        queue.put_nowait("late")
        return now(), queue.qsize()

    assert vrun(main()) == (2.5, 1)


@every_form
def test_a_put_with_a_timeout_raises_full_when_it_is_over(vrun, making):
    def main():
        queue = filled(Queue(1), "item")
        with pytest.raises(Full):
            yield making(queue.put("late", timeout=2.5))
        return now(), drained(queue), queue.empty(), queue.unfinished_tasks

    assert vrun(main()) == (2.5, ["item"], True, 1)


def test_a_get_with_a_timeout_returns_what_comes_in_time(vrun):
    def main():
        queue = Queue()
        task = yield spawn(yielding(queue.get(True, 5)))
        yield sleep(1)
        yield queue.put("item")
        return (yield task), now()

    assert vrun(main()) == ("item", 1)


def test_a_put_with_a_timeout_waits_for_room_as_long(vrun):
    def main():
        queue = filled(Queue(1), 1)
        task = yield spawn(yielding(queue.put(2, True, 5)))
        yield sleep(1)
        got = [(yield queue.get())]
        yield task
        return got + drained(queue), now()

    assert vrun(main()) == ([1, 2], 1)


def test_a_timeout_is_ignored_where_blocking_is_not_allowed(vrun):
    def main():
        with pytest.raises(Empty):
            yield Queue().get(block=False, timeout=9)
        return now()

    assert vrun(main()) == 0


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan])
def test_a_negative_timeout_is_refused(vrun, seconds):
    def main():
        with pytest.raises(ValueError):
            yield Queue().get(timeout=seconds)
        queue = Queue(1)
        with pytest.raises(ValueError):
            yield queue.put(1, timeout=seconds)
        assert queue.empty()

    vrun(main())


def test_a_timeout_that_is_no_number_is_refused(vrun):
    def main():
        with pytest.raises(TypeError):
            yield Queue().get(timeout="1")

    vrun(main())


def test_an_infinite_timeout_never_ends(vrun):
    def main():
        queue = Queue()
        task = yield spawn(yielding(queue.get(timeout=math.inf)))
        yield sleep(1e6)
        queue.put_nowait("item")
        return (yield task)

    assert vrun(main()) == "item"


@pytest.mark.parametrize("put_first", [False, True])
def test_an_item_that_comes_in_the_moment_of_the_timeout_is_got_or_stays(vrun, put_first):
    log = []

    def putting(queue):
        yield sleep(1)
        queue.put_nowait("item")

    def main():
        queue = Queue()
        routines = [putting(queue), outcome_of(queue.get(timeout=1), log, "get")]
        for routine in routines if put_first else routines[::-1]:
            yield spawn(routine)
        yield sleep(2)
        log.append(queue.qsize())

    vrun(main())
    assert log in ([("get", "item"), 0], [("get", "Empty"), 1])


def test_a_timeout_that_is_over_costs_the_next_waiter_nothing(vrun):
    log = []

    def main():
        queue = Queue()
        yield spawn(outcome_of(queue.get(timeout=1), log, "hasty"))
        yield spawn(outcome_of(queue.get(), log, "patient"))
        yield sleep(2)
        queue.put_nowait("item")

    vrun(main())
    assert log == [("hasty", "Empty"), ("patient", "item")]


def test_the_timeout_of_a_get_that_was_served_is_forgotten(vrun):
    def main():
        queue = Queue()
        task = yield spawn(yielding(queue.get(timeout=1000)))
        yield
        queue.put_nowait("item")
        yield task
        yield sleep(1)

    kernel = Kernel(clock=VirtualClock())
    with kernel:
        kernel.run(main())
        assert kernel.clock.now() == 1
        assert kernel.deadline() in (None, math.inf)


# ---- task_done and join


def test_join_waits_until_each_item_is_done(vrun):
    log = []

    def worker(queue):
        while True:
            item = yield queue.get()
            yield sleep(1)
            log.append(item)
            queue.task_done()

    def main():
        queue = Queue()
        for _ in range(2):
            yield spawn(worker(queue), daemon=True)
        for number in range(5):
            yield queue.put(number)
        yield queue.join()
        log.append(("joined", now()))

    vrun(main())
    assert log == [0, 1, 2, 3, 4, ("joined", 3)]


@every_form
def test_join_returns_at_once_where_nothing_is_unfinished(vrun, making):
    def main():
        queue = Queue()
        yield making(queue.join())
        queue.put_nowait(1)
        queue.get_nowait()
        queue.task_done()
        return (yield making(queue.join()))

    assert vrun(main()) is None


def test_all_who_join_are_woken_in_the_order_they_came(vrun):
    log = []

    def main():
        queue = filled(Queue(), 1, 2)
        for number in range(4):
            yield spawn(outcome_of(queue.join(), log, number))
        yield sleep(1)
        queue.task_done()
        yield sleep(1)
        log.append("last")
        queue.task_done()
        yield sleep(1)

    vrun(main())
    assert log == ["last", (0, None), (1, None), (2, None), (3, None)]


def test_a_join_that_was_woken_does_not_wait_for_what_is_put_after(vrun):
    def main():
        queue = filled(Queue(), 1)
        task = yield spawn(yielding(queue.join()))
        yield sleep(1)
        queue.task_done()
        queue.put_nowait(2)
        yield sleep(1)
        return task.done

    assert vrun(main()) is True


@every_kind
def test_task_done_more_often_than_items_were_put_is_refused(vrun, kind):
    queue = kind()
    with pytest.raises(ValueError):
        queue.task_done()
    filled(queue, 1)
    queue.task_done()
    with pytest.raises(ValueError):
        queue.task_done()
    assert queue.unfinished_tasks == 0
    assert queue.qsize() == 1


def test_an_item_counts_as_unfinished_only_once_it_is_in(vrun):
    log = []

    def main():
        queue = filled(Queue(1), 1)
        yield spawn(yielding(queue.put(2)))
        yield sleep(1)
        log.append(queue.unfinished_tasks)
        queue.get_nowait()
        log.append(queue.unfinished_tasks)
        queue.get_nowait()
        getter = yield spawn(yielding(queue.get()))
        yield sleep(1)
        queue.put_nowait(3)
        log.append(queue.unfinished_tasks)
        yield getter

    vrun(main())
    assert log == [1, 2, 3]


def test_a_put_that_was_refused_is_not_unfinished(vrun):
    def main():
        queue = filled(Queue(1), 1)
        with pytest.raises(Full):
            queue.put_nowait(2)
        with pytest.raises(Full):
            yield queue.put(2, timeout=1)
        with move_on_after(1):
            yield queue.put(2)
        queue.shutdown()
        with pytest.raises(ShutDown):
            yield queue.put(2)
        return queue.unfinished_tasks

    assert vrun(main()) == 1


# ---- shutdown


@every_kind
def test_what_is_in_a_queue_that_was_shut_down_can_still_be_taken(vrun, kind):
    def main():
        queue = filled(kind(), 1, 2, 3)
        queue.shutdown()
        got = []
        for _ in range(3):
            got.append((yield queue.get()))
        with pytest.raises(ShutDown):
            yield queue.get()
        with pytest.raises(ShutDown):
            queue.get_nowait()
        with pytest.raises(ShutDown):
            yield queue.get(timeout=1)
        return sorted(got), queue.unfinished_tasks

    assert vrun(main()) == ([1, 2, 3], 3)


@every_kind
@every_form
def test_nothing_can_be_put_into_a_queue_that_was_shut_down(vrun, kind, making):
    def main():
        queue = kind(1)
        queue.shutdown()
        for call in (queue.put(1), queue.put(1, block=False), queue.put(1, timeout=1)):
            with pytest.raises(ShutDown):
                yield making(call)
        with pytest.raises(ShutDown):
            queue.put_nowait(1)
        return queue.qsize(), queue.unfinished_tasks

    assert vrun(main()) == (0, 0)


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_all_who_wait_to_get_at_once(vrun, immediate):
    log = []

    def main():
        queue = Queue()
        for number in range(3):
            yield spawn(outcome_of(queue.get(), log, number))
        yield spawn(outcome_of(queue.get(timeout=9), log, 3))
        yield sleep(1)
        queue.shutdown(immediate)
        yield
        log.append(now())

    vrun(main())
    assert log == [*((number, "ShutDown") for number in range(4)), 1]


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_all_who_wait_to_put_and_takes_none_of_their_items(vrun, immediate):
    log = []

    def main():
        queue = filled(Queue(1), "in")
        for number in range(3):
            yield spawn(outcome_of(queue.put(number), log, number))
        yield sleep(1)
        queue.shutdown(immediate=immediate)
        yield
        log.append((drained(queue), queue.unfinished_tasks))

    vrun(main())
    left = ([], 0) if immediate else (["in"], 1)
    assert log == [*((number, "ShutDown") for number in range(3)), left]


def test_an_immediate_shutdown_drops_the_items_as_if_they_were_done(vrun):
    log = []

    def main():
        queue = filled(Queue(), 1, 2, 3)
        yield spawn(outcome_of(queue.join(), log, "join"))
        yield sleep(1)
        queue.get_nowait()
        queue.shutdown(immediate=True)
        log.append((queue.qsize(), queue.unfinished_tasks))
        yield sleep(1)
        log.append("the one that was taken is done")
        queue.task_done()
        yield sleep(1)
        with pytest.raises(ValueError):
            queue.task_done()

    vrun(main())
    assert log == [(0, 1), "the one that was taken is done", ("join", None)]


def test_an_immediate_shutdown_wakes_those_who_join_when_nothing_is_unfinished(vrun):
    log = []

    def main():
        queue = filled(Queue(), 1, 2)
        yield spawn(outcome_of(queue.join(), log, "join"))
        yield sleep(1)
        queue.shutdown(immediate=True)
        yield
        log.append("main")

    vrun(main())
    assert log == [("join", None), "main"]


def test_a_shutdown_that_drops_nothing_lets_join_wait_on(vrun):
    def main():
        queue = filled(Queue(), 1)
        task = yield spawn(yielding(queue.join()))
        yield sleep(1)
        queue.shutdown()
        yield sleep(1)
        waits = not task.done
        queue.get_nowait()
        queue.task_done()
        yield task
        return waits

    assert vrun(main()) is True


def test_a_queue_can_be_shut_down_again_and_then_immediately():
    queue = filled(Queue(), 1, 2)
    queue.shutdown()
    queue.shutdown()
    assert queue.qsize() == 2
    queue.shutdown(immediate=True)
    assert (queue.qsize(), queue.unfinished_tasks, queue.is_shutdown) == (0, 0, True)
    with pytest.raises(ShutDown):
        queue.get_nowait()


@pytest.mark.parametrize("immediate", [False, True])
def test_an_item_that_was_handed_over_survives_the_shutdown(vrun, immediate):
    log = []

    def main():
        queue = Queue()
        yield spawn(outcome_of(queue.get(), log, "getter"))
        yield sleep(1)
        queue.put_nowait("item")
        queue.shutdown(immediate)
        log.append(queue.unfinished_tasks)

    vrun(main())
    assert log == [1, ("getter", "item")]


# ---- async for


def test_async_for_gets_items_until_the_queue_is_shut_down_and_empty(vrun):
    async def producer(queue):
        for item in (0, None, "last"):
            await queue.put(item)
            await sleep(1)
        queue.shutdown()

    async def main():
        queue = Queue(1)
        await spawn(producer(queue))
        return [item async for item in queue], now()

    assert vrun(main()) == ([0, None, "last"], 3)


@every_kind
def test_async_for_takes_what_was_left_before_the_shutdown(vrun, kind):
    async def main():
        queue = filled(kind(), 1, 2, 3)
        queue.shutdown()
        return sorted([item async for item in queue])

    assert vrun(main()) == [1, 2, 3]


def test_two_async_fors_share_the_items_of_a_queue(vrun):
    async def reader(queue, name, log):
        async for item in queue:
            log.append((name, item))
            await sleep(1)

    async def main():
        queue, log = filled(Queue(), 1, 2, 3, 4), []
        first = await spawn(reader(queue, "a", log))
        second = await spawn(reader(queue, "b", log))
        queue.shutdown()
        await first
        await second
        return log

    assert vrun(main()) == [("a", 1), ("b", 2), ("a", 3), ("b", 4)]


def test_an_async_for_that_is_cancelled_leaves_the_items(vrun):
    async def reader(queue, got):
        async for item in queue:
            got.append(item)

    async def main():
        queue, got = Queue(), []
        task = await spawn(reader(queue, got))
        await queue.put(1)
        await sleep(1)
        task.cancel()
        await sleep(1)
        queue.put_nowait(2)
        return got, queue.qsize()

    assert vrun(main()) == ([1], 1)


def test_a_shutdown_error_from_the_body_of_an_async_for_comes_out(vrun):
    async def main():
        other = Queue()
        other.shutdown()
        async for _ in filled(Queue(), 1, 2):
            await other.get()

    with pytest.raises(ShutDown):
        vrun(main())


# ---- cancel


@every_form
def test_a_cancelled_get_takes_nothing(vrun, making):
    log = []

    def main():
        queue = Queue()
        task = yield spawn(making(queue.get()))
        yield spawn(outcome_of(queue.get(), log, "second"))
        yield sleep(1)
        task.cancel()
        queue.put_nowait("item")
        with pytest.raises(Cancelled):
            yield task

    vrun(main())
    assert log == [("second", "item")]


@every_form
def test_a_cancelled_put_puts_nothing(vrun, making):
    def main():
        queue = filled(Queue(1), 1)
        task = yield spawn(making(queue.put(2)))
        yield spawn(yielding(queue.put(3)))
        yield sleep(1)
        task.cancel()
        got = [(yield queue.get())]
        yield sleep(1)
        return got + drained(queue), queue.unfinished_tasks

    assert vrun(main()) == ([1, 3], 2)


@every_form
def test_a_cancelled_join_of_a_queue_leaves_the_others_waiting(vrun, making):
    log = []

    def main():
        queue = filled(Queue(), 1)
        task = yield spawn(making(queue.join()))
        yield spawn(outcome_of(queue.join(), log, "second"))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        log.append("done")
        queue.task_done()

    vrun(main())
    assert log == ["done", ("second", None)]


def test_an_item_that_was_handed_over_is_delivered_before_a_later_cancel(vrun):
    log = []

    def getter(queue):
        log.append((yield queue.get()))
        try:
            yield
        except Cancelled:
            log.append("cancelled at the next yield")
            raise

    async def async_getter(queue):
        log.append(await queue.get())
        try:
            await sleep(1)
        except Cancelled:
            log.append("cancelled at the next await")
            raise

    def main():
        queue = Queue()
        for routine in (getter, async_getter):
            task = yield spawn(routine(queue))
            yield sleep(1)
            queue.put_nowait("item")
            task.cancel()
            yield sleep(1)
            log.append(queue.qsize())

    vrun(main())
    assert log == [
        "item",
        "cancelled at the next yield",
        0,
        "item",
        "cancelled at the next await",
        0,
    ]


def test_a_put_that_was_let_in_returns_before_a_later_cancel(vrun):
    log = []

    def putter(queue):
        yield queue.put("second")
        log.append("put")
        try:
            yield sleep(1)
        except Cancelled:
            log.append("cancelled")
            raise

    def main():
        queue = filled(Queue(1), "first")
        task = yield spawn(putter(queue))
        yield sleep(1)
        log.append(queue.get_nowait())
        task.cancel()
        log.append((yield queue.get()))
        yield sleep(1)
        log.append(queue.qsize())

    vrun(main())
    assert log == ["first", "put", "cancelled", "second", 0] or log == [
        "first",
        "put",
        "second",
        "cancelled",
        0,
    ]


def test_a_join_that_ended_returns_before_a_later_cancel(vrun):
    log = []

    def joiner(queue):
        yield queue.join()
        log.append("joined")
        yield

    def main():
        queue = filled(Queue(), 1)
        task = yield spawn(joiner(queue))
        yield sleep(1)
        queue.task_done()
        task.cancel()

    vrun(main())
    assert log == ["joined"]


def test_a_task_cancelled_while_it_is_ready_neither_puts_nor_gets(vrun):
    log = []

    def busy(call):
        yield
        log.append((yield call))

    def main():
        queue = Queue()
        task = yield spawn(busy(queue.put("item")))
        task.cancel()
        yield sleep(1)
        log.append(queue.qsize())
        queue.put_nowait("mine")
        task = yield spawn(busy(queue.get()))
        task.cancel()
        yield sleep(1)
        log.append((queue.qsize(), queue.unfinished_tasks))

    vrun(main())
    assert log == [0, (1, 1)]


@pytest.mark.parametrize("limit", [timeout, move_on_after])
def test_a_time_limit_around_a_get_or_put_leaves_the_queue_as_it_was(vrun, limit):
    def main():
        empty, full = Queue(), filled(Queue(1), 1)
        log = []
        for call in (empty.get(), full.put(2), full.join(), empty.get(timeout=9)):
            try:
                with limit(1) as scope:
                    yield call
                log.append(scope.expired)
            except TimeoutError:
                log.append(True)
        return log, empty.qsize(), drained(full), full.unfinished_tasks, now()

    assert vrun(main()) == ([True] * 4, 0, [1], 1, 4)


def test_a_get_inside_a_shield_goes_on_after_a_cancel(vrun):
    log = []

    def getter(queue):
        with shield(10):
            log.append((yield queue.get()))

    def main():
        queue = Queue()
        task = yield spawn(getter(queue))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        queue.put_nowait("item")

    vrun(main())
    assert log == ["item"]


def test_a_worker_that_is_cancelled_can_put_its_item_back_in_finally(vrun):
    def worker(queue):
        item = yield queue.get()
        try:
            yield sleep(9)
        finally:
            queue.task_done()
            queue.put_nowait(item)

    def main():
        queue = filled(Queue(), "item")
        task = yield spawn(worker(queue))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        return drained(queue), queue.unfinished_tasks

    assert vrun(main()) == (["item"], 1)


# ---- select


def test_a_select_over_queues_takes_from_exactly_one(vrun):
    def main():
        queues = [Queue(), filled(LifoQueue(), "b"), filled(PriorityQueue(), "c")]
        index, item = yield select(*(queue.get() for queue in queues))
        return index, item, [queue.qsize() for queue in queues]

    assert vrun(main()) == (1, "b", [0, 0, 1])


def test_a_select_that_waits_is_served_by_the_first_queue_that_can(vrun):
    def main():
        empty, full = Queue(), filled(Queue(1), "old")
        task = yield spawn(yielding(select(empty.get(), full.put("new"))))
        yield sleep(1)
        full.get_nowait()
        empty.put_nowait("too late")
        return (yield task), drained(full), drained(empty)

    assert vrun(main()) == ((1, None), ["new"], ["too late"])


def test_a_put_that_a_select_gave_up_is_not_made(vrun):
    def main():
        full, empty = filled(Queue(1), 1), Queue()
        task = yield spawn(yielding(select(full.put(2), empty.get())))
        yield sleep(1)
        empty.put_nowait("item")
        got = drained(full)
        return (yield task), got, full.qsize(), full.unfinished_tasks

    assert vrun(main()) == ((1, "item"), [1], 0, 1)


def test_a_select_over_a_queue_a_channel_and_a_sleep_makes_one_of_them(vrun):
    def main():
        queue, channel = Queue(), Channel()
        task = yield spawn(yielding(select(queue.get(), channel.recv(), sleep(5))))
        yield sleep(1)
        log = [channel.try_send("value")]
        queue.put_nowait("item")
        log.append((yield task))
        log.append(drained(queue))
        log.append((yield select(queue.get(), channel.recv(), sleep(5))))
        return log, now()

    assert vrun(main()) == ([True, (1, "value"), ["item"], (2, None)], 6)


def test_a_select_whose_branch_has_a_timeout_raises_what_the_branch_raises(vrun):
    def main():
        with pytest.raises(Empty):
            yield select(Queue().get(timeout=1), Queue().get())
        at = now()
        with pytest.raises(Empty):
            yield select(Queue().get(), Queue().get(block=False))
        return at, now()

    assert vrun(main()) == (1, 1)


def test_a_select_over_a_queue_that_is_shut_down_raises(vrun):
    log = []

    def main():
        queue, other = Queue(), Queue()
        yield spawn(outcome_of(select(other.get(), queue.get()), log, "select"))
        yield sleep(1)
        queue.shutdown()
        yield sleep(1)
        other.put_nowait("item")
        log.append(other.qsize())

    vrun(main())
    assert log == [("select", "ShutDown"), 1]


def test_a_select_over_the_join_of_a_queue_ends_with_its_last_item(vrun):
    def main():
        busy, empty = filled(Queue(), 1), Queue()
        task = yield spawn(yielding(select(empty.get(), busy.join())))
        yield sleep(1)
        busy.task_done()
        return (yield task)

    assert vrun(main()) == (1, None)


def test_a_select_that_is_cancelled_leaves_all_its_queues_as_they_were(vrun):
    def main():
        empty, full = Queue(), filled(Queue(1), 1)
        task = yield spawn(yielding(select(empty.get(), full.put(2), full.join())))
        yield sleep(1)
        task.cancel()
        empty.put_nowait("item")
        return drained(full), full.unfinished_tasks, drained(empty)

    assert vrun(main()) == ([1], 1, ["item"])


def test_two_selects_never_share_one_item(vrun):
    def main():
        queue, other = Queue(), Queue()
        tasks = []
        for _ in range(3):
            tasks.append((yield spawn(yielding(select(queue.get(), other.get())))))
        yield sleep(1)
        queue.put_nowait("a")
        other.put_nowait("b")
        queue.put_nowait("c")
        other.put_nowait("d")
        got = []
        for task in tasks:
            got.append((yield task))
        return got, drained(queue), drained(other)

    assert vrun(main()) == ([(0, "a"), (1, "b"), (0, "c")], [], ["d"])


# ---- items that cannot be compared


def test_an_item_that_cannot_be_compared_fails_for_its_putter_alone(vrun):
    def main():
        queue = filled(PriorityQueue(), 1, 2)
        with pytest.raises(TypeError):
            queue.put_nowait("x")
        with pytest.raises(TypeError):
            yield queue.put("y")
        with pytest.raises(TypeError):
            yield queue.put("z", timeout=1)
        return drained(queue), queue.unfinished_tasks

    assert vrun(main()) == ([1, 2], 2)


def test_a_waiting_putter_whose_item_cannot_be_compared_fails_and_the_getter_does_not(vrun):
    log = []

    def main():
        queue = filled(PriorityQueue(2), 1, 2)
        yield spawn(outcome_of(queue.put("x"), log, "bad"))
        yield spawn(outcome_of(queue.put(3), log, "good"))
        yield sleep(1)
        log.append((yield queue.get()))
        yield sleep(1)
        log.append((drained(queue), queue.unfinished_tasks))

    vrun(main())
    assert Counter(map(str, log)) == Counter(
        map(str, [("bad", "TypeError"), ("good", None), 1, ([2, 3], 3)])
    )
    assert log[-1] == ([2, 3], 3)


def test_get_nowait_lets_the_next_putter_in_when_the_first_ones_item_cannot_be_compared(vrun):
    log = []

    def main():
        queue = filled(PriorityQueue(2), 1, 2)
        for item in ("x", None, 0, 5):
            yield spawn(outcome_of(queue.put(item), log, item))
        yield sleep(1)
        log.append(queue.get_nowait())
        log.append((queue.qsize(), queue.unfinished_tasks))
        yield sleep(1)
        log.append(queue.get_nowait())
        yield sleep(1)
        log.append(drained(queue))

    vrun(main())
    assert log == [
        1,
        (2, 3),
        ("x", "TypeError"),
        (None, "TypeError"),
        (0, None),
        0,
        (5, None),
        [2, 5],
    ]


def test_an_item_that_cannot_be_compared_in_a_select_fails_the_select_and_nothing_else(vrun):
    log = []

    def main():
        queue, other = filled(PriorityQueue(2), 1, 2), Queue()
        yield spawn(outcome_of(select(other.get(), queue.put("x")), log, "select"))
        yield sleep(1)
        log.append((yield queue.get()))
        yield sleep(1)
        other.put_nowait("item")
        log.append((drained(queue), drained(other)))

    vrun(main())
    assert sorted(map(str, log)) == sorted(map(str, [1, ("select", "TypeError"), ([2], ["item"])]))


class Fussy:
    """Can be compared with the least of all, and with nothing else."""

    def __init__(self, rank):
        self.rank = rank

    def __lt__(self, other):
        if self.rank and other.rank:
            raise TypeError("not to be compared")
        return self.rank < other.rank


def test_a_get_that_finds_items_it_cannot_compare_loses_none_of_them(vrun):
    """As unlikely as it is: two items that came in side by side, never compared."""

    def main():
        queue = filled(PriorityQueue(), least := Fussy(0), one := Fussy(1), two := Fussy(2))
        held = [least, one, two]
        got = []
        for _ in range(3):
            try:
                got.append((yield queue.get()))
            except TypeError:
                break
        return len(got) + queue.qsize(), len(held)

    left, held = vrun(main())
    assert left == held


# ---- subclasses


class Unique(Queue):
    """The recipe that everybody writes: a queue that holds each item once."""

    def _init(self, maxsize):
        self.queue = {}

    def _put(self, item):
        self.queue[item] = None

    def _get(self):
        item = next(iter(self.queue))
        del self.queue[item]
        return item


def test_a_subclass_decides_how_items_are_kept(vrun):
    def main():
        queue = Unique()
        for item in "abacab":
            yield queue.put(item)
        got = []
        for _ in range(3):
            got.append((yield queue.get()))
        return got, queue.qsize(), queue.unfinished_tasks

    assert vrun(main()) == (["a", "b", "c"], 0, 6)


class Sized(Queue):
    """A queue whose items have weights; it is full by weight."""

    def _init(self, maxsize):
        self.items = deque()

    def _qsize(self):
        return sum(self.items)

    def _put(self, item):
        self.items.append(item)

    def _get(self):
        return self.items.popleft()


def test_a_subclass_decides_what_size_means(vrun):
    log = []

    def main():
        queue = filled(Sized(10), 4, 6)
        log.append((queue.full(), queue.qsize()))
        for weight in (1, 2, 5):
            yield spawn(outcome_of(queue.put(weight), log, weight))
        yield sleep(1)
        log.append(queue.get_nowait())
        yield sleep(1)
        log.append((queue.qsize(), queue.full()))

    vrun(main())
    assert log == [(True, 10), 4, (1, None), (2, None), (5, None), (14, True)]


class Doubling(Queue):
    """A queue that changes what is put, and what is taken."""

    def _put(self, item):
        super()._put(item * 2)

    def _get(self):
        return super()._get() + 1


@pytest.mark.parametrize("waits", [False, True])
def test_what_a_subclass_does_to_items_happens_to_those_handed_over_too(vrun, waits):
    def main():
        queue = Doubling()
        task = yield spawn(yielding(queue.get()))
        if not waits:
            queue.put_nowait(10)
        yield sleep(1)
        if waits:
            queue.put_nowait(10)
        return (yield task)

    assert vrun(main()) == 21


def test_what_a_subclass_does_to_items_happens_to_those_of_waiting_putters_too(vrun):
    def main():
        queue = Doubling(1)
        yield queue.put(1)
        yield spawn(yielding(queue.put(10)))
        yield sleep(1)
        return (yield queue.get()), (yield queue.get())

    assert vrun(main()) == (3, 21)


class Even(Queue):
    """A queue that drops odd numbers."""

    def _put(self, item):
        if item % 2 == 0:
            super()._put(item)


def test_a_getter_waits_on_when_a_subclass_drops_the_item(vrun):
    log = []

    def main():
        queue = Even()
        yield spawn(outcome_of(queue.get(), log, "getter"))
        yield sleep(1)
        queue.put_nowait(1)
        yield sleep(1)
        log.append((queue.qsize(), queue.unfinished_tasks))
        yield queue.put(2)
        yield sleep(1)

    vrun(main())
    assert log == [(0, 1), ("getter", 2)]


class Picky(Queue):
    def _put(self, item):
        if item == "bad":
            raise OSError("no such item here")
        super()._put(item)


def test_the_error_of_a_subclass_is_the_putters(vrun):
    log = []

    def putting(queue, item):
        try:
            yield queue.put(item)
            log.append((item, None))
        except OSError as error:
            log.append((item, str(error)))

    def main():
        queue = filled(Picky(1), "first")
        for item in ("bad", "good"):
            yield spawn(putting(queue, item))
        yield sleep(1)
        log.append((yield queue.get()))
        yield sleep(1)
        log.append((drained(queue), queue.unfinished_tasks))
        with pytest.raises(OSError):
            queue.put_nowait("bad")
        getter = yield spawn(yielding(queue.get()))
        yield sleep(1)
        with pytest.raises(OSError):
            queue.put_nowait("bad")
        queue.put_nowait("last")
        log.append((yield getter))

    vrun(main())
    assert sorted(map(str, log)) == sorted(
        map(
            str,
            [
                ("bad", "no such item here"),
                ("good", None),
                "first",
                (["good"], 2),
                "last",
            ],
        )
    )


class Wrapped(LifoQueue):
    """A subclass that uses the attribute the standard library keeps its items in."""

    def _get(self):
        return ("wrapped", self.queue.pop())


def test_a_subclass_finds_the_items_where_the_standard_library_keeps_them():
    assert drained(filled(Wrapped(), 1, 2)) == [("wrapped", 2), ("wrapped", 1)]


# ---- against the standard library

PLAIN_CALLS = st.one_of(
    st.tuples(st.just("put_nowait"), st.integers(0, 9)),
    st.tuples(st.just("put_nowait"), st.integers(0, 9)),
    st.tuples(st.sampled_from(["get_nowait", "get_nowait", "task_done", "qsize", "full", "empty"])),
    st.tuples(st.just("shutdown"), st.booleans())
    if hasattr(stdlib.Queue, "shutdown")
    else st.tuples(st.just("qsize")),
)


def result_of(queue, name, *args):
    try:
        return getattr(queue, name)(*args)
    except Exception as error:
        return type(error)


@every_kind
@given(maxsize=st.integers(-1, 4), program=st.lists(PLAIN_CALLS, max_size=40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_plain_calls_do_what_the_standard_library_does(kind, maxsize, program):
    ours, theirs = kind(maxsize), STDLIB[kind](maxsize)
    for step in program:
        assert result_of(ours, *step) == result_of(theirs, *step), step
        assert ours.unfinished_tasks == theirs.unfinished_tasks, step


@every_kind
@given(maxsize=st.integers(-1, 3), program=st.lists(PLAIN_CALLS, max_size=30))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_calls_that_may_not_block_do_what_the_standard_library_does(kind, maxsize, program):
    theirs = STDLIB[kind](maxsize)
    log = []

    def main():
        ours = kind(maxsize)
        for name, *args in program:
            try:
                if name == "put_nowait":
                    log.append((yield ours.put(*args, block=False)))
                elif name == "get_nowait":
                    log.append((yield ours.get(timeout=0)))
                else:
                    log.append(getattr(ours, name)(*args))
            except Exception as error:
                log.append(type(error))

    vrun(main())
    assert log == [result_of(theirs, *step) for step in program]


# ---- against a model: tasks that put, get, join, select, give up and are cancelled


class Op:
    """What one task asks for: calls of which exactly one is made."""

    def __init__(self, number, branches, deadline, give_up):
        self.number = number
        self.branches = branches
        self.deadline = deadline
        self.give_up = give_up
        self.done = False


class Model:
    """What a queue is, without tasks: items, and the ops that wait, in order."""

    def __init__(self, kind, maxsize):
        self.kind = kind
        self.maxsize = maxsize
        self.items = []
        self.unfinished = 0
        self.is_shutdown = False
        self.waiting = {"get": [], "put": [], "join": []}

    def add(self, item):
        if self.kind is PriorityQueue:
            heapq.heappush(self.items, item)
        else:
            self.items.append(item)
        self.unfinished += 1

    def take(self):
        if self.kind is PriorityQueue:
            return heapq.heappop(self.items)
        return self.items.pop(0 if self.kind is Queue else -1)

    @property
    def full(self):
        return 0 < self.maxsize <= len(self.items)


class QueueMachine(RuleBasedStateMachine):
    """Real queues in a real kernel, driven by hand, beside their models."""

    kind = Queue

    def __init__(self):
        super().__init__()
        self.clock = VirtualClock()
        self.kernel = Kernel(clock=self.clock)
        self.log = []
        self.expected = []
        self.ops = []
        self.tasks = []
        self.count = 0
        self.accepted = Counter()
        self.delivered = Counter()

    @initialize(maxsizes=st.tuples(st.integers(0, 3), st.integers(0, 2)))
    def make(self, maxsizes):
        self.queues = [self.kind(maxsize) for maxsize in maxsizes]
        self.models = [Model(self.kind, maxsize) for maxsize in maxsizes]

    # -- the real thing

    def client(self, number, call, limit):
        try:
            if limit is None:
                self.log.append((number, (yield call)))
                return
            with move_on_after(limit) as scope:
                self.log.append((number, (yield call)))
                return
            assert scope.expired
            self.log.append((number, "moved on"))
        except (Empty, Full, ShutDown, Cancelled) as error:
            self.log.append((number, type(error).__name__))

    async def async_client(self, number, call, limit):
        try:
            if limit is None:
                self.log.append((number, await call))
                return
            with move_on_after(limit):
                self.log.append((number, await call))
                return
            self.log.append((number, "moved on"))
        except (Empty, Full, ShutDown, Cancelled) as error:
            self.log.append((number, type(error).__name__))

    def settle(self):
        while self.kernel.deadline() is not None and self.kernel.deadline() <= self.clock.now():
            self.kernel.tick()

    # -- the model

    def end(self, op, outcome):
        assert not op.done
        op.done = True
        for model in self.models:
            for waiting in model.waiting.values():
                if op in waiting:
                    waiting.remove(op)
        self.expected.append((op.number, outcome))

    def succeed(self, op, index, verb, queue, value):
        if verb == "get":
            self.delivered[value] += 1
        outcome = value if len(op.branches) == 1 else (index, value)
        self.end(op, outcome)

    def branch_of(self, op, verb, queue):
        for index, (a_verb, a_queue, item) in enumerate(op.branches):
            if (a_verb, a_queue) == (verb, queue):
                return index, item
        raise AssertionError

    def put_into(self, queue, item):
        """An item comes in: it goes to the first who waits, or stays."""
        model = self.models[queue]
        model.add(item)
        self.accepted[item] += 1
        if model.waiting["get"]:
            op = model.waiting["get"][0]
            self.succeed(op, self.branch_of(op, "get", queue)[0], "get", queue, model.take())

    def take_from(self, queue):
        """An item goes out: the first who waits to put fills the gap."""
        model = self.models[queue]
        item = model.take()
        if model.waiting["put"] and not model.full:
            op = model.waiting["put"][0]
            index, new = self.branch_of(op, "put", queue)
            self.succeed(op, index, "put", queue, None)
            self.put_into(queue, new)
        return item

    def attempt(self, op):
        for index, (verb, queue, item) in enumerate(op.branches):
            model = self.models[queue]
            if verb == "put":
                if model.is_shutdown:
                    return self.end(op, "ShutDown")
                if not model.full:
                    self.succeed(op, index, verb, queue, None)
                    self.put_into(queue, item)
                    return None
            elif verb == "get":
                if model.items:
                    return self.succeed(op, index, verb, queue, self.take_from(queue))
                if model.is_shutdown:
                    return self.end(op, "ShutDown")
            elif not model.unfinished:
                return self.succeed(op, index, verb, queue, None)
        if op.deadline is not None and op.deadline <= self.clock.now():
            return self.end(op, op.give_up)
        for verb, queue, _ in op.branches:
            if op not in self.models[queue].waiting[verb]:
                self.models[queue].waiting[verb].append(op)
        return None

    # -- rules

    def fresh(self):
        self.count += 1
        # Equal priorities do not occur, so that there is one right answer.
        return (self.count * 7 % 5, self.count)

    def start(self, branches, limit, by_scope, coroutine):
        made = []
        for verb, queue in branches:
            made.append((verb, queue, self.fresh() if verb == "put" else None))
        real = []
        for verb, queue, item in made:
            args = () if verb != "put" else (item,)
            method = getattr(self.queues[queue], verb)
            if limit is not None and not by_scope:
                real.append(method(*args, timeout=limit))
            else:
                real.append(method(*args))
        give_up = "moved on" if by_scope else {"get": "Empty", "put": "Full"}.get(made[0][0])
        deadline = None if limit is None else self.clock.now() + limit
        op = Op(len(self.ops), made, deadline, give_up)
        call = real[0] if len(real) == 1 else select(*real)
        client = self.async_client if coroutine else self.client
        task = self.kernel.spawn(client(op.number, call, limit if by_scope else None))
        self.ops.append(op)
        self.tasks.append(task)
        return op

    def begin(self, ops):
        """All have been spawned; each makes its attempt, in that order."""
        self.settle()
        for op in ops:
            self.attempt(op)

    some_queue = st.integers(0, 1)
    some_limit = st.one_of(st.none(), st.none(), st.sampled_from([0, 1, 2, 3]))

    @rule(
        asked=st.lists(
            st.tuples(st.sampled_from(["put", "put", "get", "get", "join"]), some_queue),
            min_size=1,
            max_size=5,
        ),
        coroutine=st.booleans(),
    )
    def ask(self, asked, coroutine):
        self.begin([self.start([branch], None, True, coroutine) for branch in asked])

    @rule(
        verb=st.sampled_from(["put", "get"]),
        queue=some_queue,
        seconds=st.integers(0, 3),
        coroutine=st.booleans(),
    )
    def ask_with_a_timeout(self, verb, queue, seconds, coroutine):
        self.begin([self.start([(verb, queue)], seconds, False, coroutine)])

    @rule(
        verb=st.sampled_from(["put", "get", "join"]),
        queue=some_queue,
        seconds=st.integers(1, 3),
        coroutine=st.booleans(),
    )
    def ask_in_a_scope(self, verb, queue, seconds, coroutine):
        self.begin([self.start([(verb, queue)], seconds, True, coroutine)])

    @rule(
        branches=st.lists(
            st.tuples(st.sampled_from(["put", "get", "join"]), some_queue),
            min_size=2,
            max_size=4,
            unique=True,
        ),
        seconds=st.one_of(st.none(), st.integers(1, 3)),
        coroutine=st.booleans(),
    )
    def ask_for_one_of_several(self, branches, seconds, coroutine):
        self.begin([self.start(branches, seconds, True, coroutine)])

    @rule(queue=some_queue)
    def put_nowait(self, queue):
        model, item = self.models[queue], self.fresh()
        if model.is_shutdown:
            with pytest.raises(ShutDown):
                self.queues[queue].put_nowait(item)
        elif model.full:
            with pytest.raises(Full):
                self.queues[queue].put_nowait(item)
        else:
            self.queues[queue].put_nowait(item)
            self.put_into(queue, item)

    @rule(queue=some_queue)
    def get_nowait(self, queue):
        model = self.models[queue]
        if model.items:
            item = self.take_from(queue)
            assert self.queues[queue].get_nowait() == item
            self.delivered[item] += 1
        else:
            with pytest.raises(ShutDown if model.is_shutdown else Empty):
                self.queues[queue].get_nowait()

    @rule(queue=some_queue)
    def task_done(self, queue):
        model = self.models[queue]
        if not model.unfinished:
            with pytest.raises(ValueError):
                self.queues[queue].task_done()
            return
        self.queues[queue].task_done()
        model.unfinished -= 1
        self.end_joins(queue)

    def end_joins(self, queue):
        model = self.models[queue]
        while model.waiting["join"] and not model.unfinished:
            op = model.waiting["join"][0]
            self.succeed(op, self.branch_of(op, "join", queue)[0], "join", queue, None)

    @rule(queue=some_queue, immediate=st.booleans(), really=st.integers(0, 4))
    def shutdown(self, queue, immediate, really):
        if really:
            return
        model = self.models[queue]
        self.queues[queue].shutdown(immediate)
        model.is_shutdown = True
        woken = []
        for verb in ("get", "put"):
            woken += model.waiting[verb]
        for op in woken:
            self.end(op, "ShutDown")
        if immediate:
            for item in model.items:
                self.delivered[item] += 1
                model.unfinished = max(0, model.unfinished - 1)
            model.items.clear()
            self.end_joins(queue)

    @rule(data=st.data())
    def cancel(self, data):
        if not self.ops:
            return
        number = data.draw(st.integers(0, len(self.ops) - 1))
        self.tasks[number].cancel()
        if not self.ops[number].done:
            self.end(self.ops[number], "Cancelled")

    @rule()
    def settle_now(self):
        self.settle()

    @rule()
    def time_goes_by(self):
        self.settle()
        due = [op for op in self.ops if not op.done and op.deadline is not None]
        if not due:
            return
        first = min(op.deadline for op in due)
        self.clock.reach(first)
        self.settle()
        for op in due:
            if op.deadline == first:
                self.end(op, op.give_up)

    # -- what always holds

    @invariant()
    def the_queues_are_what_the_models_are(self):
        for queue, model in zip(self.queues, self.models, strict=True):
            assert queue.qsize() == len(model.items)
            assert queue.empty() == (not model.items)
            assert queue.full() == model.full
            assert queue.unfinished_tasks == model.unfinished
            assert queue.is_shutdown == model.is_shutdown

    @invariant()
    def whoever_waits_in_the_model_is_parked(self):
        self.settle()
        for op, task in zip(self.ops, self.tasks, strict=True):
            assert task.done == op.done, op.__dict__
        assert sorted(self.log, key=str) == sorted(self.expected, key=str)

    def teardown(self):
        try:
            for queue in range(2 if hasattr(self, "queues") else 0):
                self.shutdown(queue, True, 0)
            QueueMachine.whoever_waits_in_the_model_is_parked(self)
        finally:
            self.kernel.close()
        assert self.accepted == self.delivered
        assert all(count == 1 for count in self.accepted.values())


class UnsettledMachine(QueueMachine):
    """Here woken tasks do not run between the rules, so a cancel may come late."""

    def whoever_waits_in_the_model_is_parked(self):
        pass

    @rule()
    def settle_and_compare(self):
        QueueMachine.whoever_waits_in_the_model_is_parked(self)


MACHINES = [
    pytest.param(
        type(base.__name__, (base,), {"kind": kind}), id=f"{kind.__name__}-{base.__name__}"
    )
    for kind in KINDS
    for base in (QueueMachine, UnsettledMachine)
]


@pytest.mark.parametrize("machine", MACHINES)
def test_tasks_at_queues_do_what_a_sequential_model_does(machine):
    check_machine(machine, examples=120, steps=30, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("machine", MACHINES)
def test_tasks_at_queues_do_what_a_sequential_model_does_for_long(machine):
    check_machine(machine, examples=3000, steps=60)


# ---- producers and consumers, whatever the pauses

PAUSES = st.lists(st.sampled_from([None, 0, 1, 2]), max_size=10)


@every_kind
@given(
    maxsize=st.integers(0, 3),
    producers=st.lists(PAUSES, max_size=4),
    consumers=st.lists(PAUSES, min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_producers_and_consumers_lose_and_double_nothing(kind, maxsize, producers, consumers):
    got = []

    def producer(queue, owner, pauses):
        for number, seconds in enumerate(pauses):
            if seconds is not None:
                yield sleep(seconds)
            yield queue.put((number, owner))

    async def consumer(queue, pauses):
        rest = list(pauses)
        async for item in queue:
            got.append(item)
            if rest and (seconds := rest.pop()) is not None:
                await sleep(seconds)
            queue.task_done()

    def main():
        queue = kind(maxsize)
        tasks = []
        for owner, pauses in enumerate(producers):
            tasks.append((yield spawn(producer(queue, owner, pauses))))
        for pauses in consumers:
            yield spawn(consumer(queue, pauses))
        for task in tasks:
            yield join(task)
        yield queue.join()
        queue.shutdown()
        return queue.unfinished_tasks, queue.qsize()

    assert vrun(main()) == (0, 0)
    put = [
        (number, owner) for owner, pauses in enumerate(producers) for number, _ in enumerate(pauses)
    ]
    assert sorted(got) == sorted(put)
    if kind is Queue:
        for owner, pauses in enumerate(producers):
            assert [n for n, whose in got if whose == owner] == list(range(len(pauses)))
