"""Deadlines on blocks: who is ended, when, and by which error."""

from __future__ import annotations

import contextlib
import gc
import math
import tracemalloc
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    current_task,
    join,
    move_on_after,
    now,
    run,
    select,
    sleep,
    spawn,
    timeout,
)

Gen = Generator[Any, Any, Any]


# --- the two blocks ---------------------------------------------------------------------------


def test_timeout_raises_timeout_error_when_the_time_is_over(vrun: Any) -> None:
    def main() -> Gen:
        try:
            with timeout(3):
                yield sleep(10)
        except TimeoutError:
            return now()

    assert vrun(main()) == 3


def test_timeout_error_is_caused_by_the_cancelled_that_ended_the_block(vrun: Any) -> None:
    def main() -> Gen:
        call = sleep(10)
        scope = timeout(3)
        try:
            with scope:
                yield call
        except TimeoutError as error:
            cause = error.__cause__
            return type(cause), cause.scope is scope, cause.call is call

    assert vrun(main()) == (Cancelled, True, True)


def test_move_on_after_goes_on_behind_the_block_and_expired_says_why(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(3) as scope:
            yield sleep(10)
        return scope.expired, now()

    assert vrun(main()) == (True, 3)


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_block_left_in_time_has_not_expired_and_never_will(vrun: Any, block: Any) -> None:
    def main() -> Gen:
        with block(3) as scope:
            yield sleep(2)
        yield sleep(10)
        return scope.expired, now()

    assert vrun(main()) == (False, 12)


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_blocks_work_in_coroutines_and_across_nested_routines(vrun: Any, block: Any) -> None:
    def deeper() -> Gen:
        yield sleep(10)

    async def deep() -> None:
        await by_yield(deeper())

    @microthreads_routine
    def by_yield(routine: Any) -> Gen:
        yield routine

    async def main() -> Any:
        with contextlib.suppress(TimeoutError):
            with block(3) as scope:
                await deep()
        return scope.expired, now()

    assert vrun(main()) == (True, 3)


def microthreads_routine(function: Any) -> Any:
    import types

    return types.coroutine(function)


@pytest.mark.forgets
def test_within_an_expired_block_every_yield_raises_again(vrun: Any) -> None:
    log: list[float] = []

    def main() -> Gen:
        with move_on_after(3):
            for _ in range(3):
                with contextlib.suppress(Cancelled):
                    yield sleep(10)
                log.append(now())
        yield sleep(1)
        log.append(now())

    vrun(main())
    assert log == [3, 3, 3, 4]


def test_a_block_that_swallows_its_cancelled_and_returns_raises_timeout_error_all_the_same(
    vrun: Any,
) -> None:
    def main() -> Gen:
        with pytest.raises(TimeoutError), timeout(3) as scope:
            with contextlib.suppress(Cancelled):
                yield sleep(10)
        return scope.expired

    assert vrun(main()) is True


def test_an_error_raised_in_a_block_passes_through_unchanged(vrun: Any) -> None:
    def main() -> Gen:
        with pytest.raises(KeyError), timeout(3):
            yield sleep(1)
            raise KeyError
        with pytest.raises(KeyError), move_on_after(3) as scope:
            yield sleep(1)
            raise KeyError
        return scope.expired, now()

    assert vrun(main()) == (False, 2)


def test_an_error_raised_by_the_clean_up_of_an_expired_block_passes_through(vrun: Any) -> None:
    def main() -> Gen:
        with pytest.raises(KeyError), timeout(3):
            try:
                yield sleep(10)
            finally:
                raise KeyError
        return now()

    assert vrun(main()) == 3


def test_a_timeout_ends_a_join_and_leaves_the_joined_task_alone(vrun: Any) -> None:
    def child() -> Gen:
        yield sleep(5)
        return "value"

    def main() -> Gen:
        task = yield spawn(child())
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield join(task)
        return (yield task), now()

    assert vrun(main()) == ("value", 5)


def test_a_timeout_ends_only_the_task_that_is_in_the_block(vrun: Any) -> None:
    log: list[float] = []

    def child() -> Gen:
        yield sleep(5)
        log.append(now())

    def main() -> Gen:
        with move_on_after(1):
            yield spawn(child())
            yield sleep(9)
        log.append(now())

    vrun(main())
    assert log == [1, 5]


def test_what_times_out_while_sending_was_not_sent(vrun: Any) -> None:
    channel: Channel[int] = Channel()

    def main() -> Gen:
        with move_on_after(1):
            yield channel.send(1)
        return channel.try_recv("nothing")

    assert vrun(main()) == "nothing"


# --- nesting ----------------------------------------------------------------------------------


def test_an_inner_deadline_that_comes_first_ends_the_inner_block_only(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with move_on_after(5) as outer:
            with move_on_after(2) as inner:
                yield sleep(10)
            log.append(("inner", inner.expired, now()))
            yield sleep(10)
            log.append("never")
        log.append(("outer", outer.expired, now()))

    vrun(main())
    assert log == [("inner", True, 2), ("outer", True, 5)]


def test_an_outer_deadline_that_comes_first_ends_both_blocks(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with move_on_after(2) as outer:
            with move_on_after(5) as inner:
                yield sleep(10)
            log.append("never")
        log.append((outer.expired, inner.expired, now()))

    vrun(main())
    assert log == [(True, False, 2)]


@pytest.mark.parametrize("inner", [timeout, move_on_after])
def test_an_inner_block_does_not_catch_what_the_outer_one_has_ended(vrun: Any, inner: Any) -> None:
    def main() -> Gen:
        try:
            with timeout(2) as outer:
                try:
                    with inner(5):
                        yield sleep(10)
                except TimeoutError:
                    return "the inner one caught it"
        except TimeoutError as error:
            return error.__cause__.scope is outer

    assert vrun(main()) is True


def test_of_two_deadlines_at_one_time_the_outer_block_is_ended(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        with move_on_after(2) as outer:
            with move_on_after(2):
                yield sleep(10)
            log.append("between")
            yield
            log.append("never")
        return outer.expired, now()

    assert vrun(main()) == (True, 2)
    assert "never" not in log


def test_the_timeout_error_of_an_inner_block_can_be_handled_in_the_outer_one(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(5):
            with pytest.raises(TimeoutError):
                with timeout(1):
                    yield sleep(10)
            yield sleep(1)
        return now()

    assert vrun(main()) == 2


def test_a_cancelled_of_another_task_passes_through_a_block(vrun: Any) -> None:
    def child() -> Gen:
        yield sleep(100)

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel("other")
        with pytest.raises(Cancelled) as caught:
            with move_on_after(5):
                yield task
        return caught.value.reason

    assert vrun(main()) == "other"


def test_a_timeout_error_raised_by_the_program_is_not_the_blocks(vrun: Any) -> None:
    def main() -> Gen:
        mine = TimeoutError("mine")
        with pytest.raises(TimeoutError) as caught:
            with move_on_after(5) as scope:
                yield
                raise mine
        return caught.value is mine, scope.expired

    assert vrun(main()) == (True, False)


def test_a_hundred_blocks_may_nest(vrun: Any) -> None:
    log: list[int] = []

    def level(n: int) -> Gen:
        with move_on_after(n) as scope:
            yield level(n - 1) if n > 1 else sleep(1000)
            if n > 1:
                yield sleep(1000)
        log.append((n, scope.expired, now()))

    vrun(level(100))
    assert log == [(n, True, n) for n in range(1, 101)]


# --- moving and reading the deadline ------------------------------------------------------------


def test_the_deadline_is_on_the_kernels_clock(vrun: Any) -> None:
    def main() -> Gen:
        yield sleep(10)
        with timeout(5) as scope:
            return scope.deadline

    assert vrun(main()) == 15


def test_a_deadline_moved_back_gives_more_time(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(2) as scope:
            for _ in range(5):
                yield sleep(1)
                scope.deadline = now() + 2
        return scope.expired, now()

    assert vrun(main()) == (False, 5)


def test_a_deadline_moved_forward_ends_the_block_earlier(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(50) as scope:
            scope.deadline = now() + 2
            yield sleep(100)
        return scope.expired, now()

    assert vrun(main()) == (True, 2)


def test_a_deadline_moved_by_another_task_is_felt_by_the_one_that_waits(vrun: Any) -> None:
    def mover(scope: Any) -> Gen:
        yield sleep(1)
        scope.deadline = 3

    def main() -> Gen:
        with move_on_after(50) as scope:
            yield spawn(mover(scope))
            yield sleep(100)
        return scope.expired, now()

    assert vrun(main()) == (True, 3)


def test_a_deadline_moved_into_the_past_ends_the_block_at_its_next_yield(vrun: Any) -> None:
    def main() -> Gen:
        yield sleep(10)
        with move_on_after(50) as scope:
            scope.deadline = 1
            yield sleep(1)
        return scope.expired, now()

    assert vrun(main()) == (True, 10)


def test_a_deadline_moved_to_infinity_never_comes(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(1) as scope:
            scope.deadline = math.inf
            yield sleep(100)
        return scope.expired, now()

    assert vrun(main()) == (False, 100)


def test_a_deadline_moved_after_it_has_passed_does_not_bring_the_block_back(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(1) as scope:
            try:
                yield sleep(100)
            finally:
                with contextlib.suppress(Exception):
                    scope.deadline = math.inf
        return scope.expired, now()

    assert vrun(main()) == (True, 1)


def test_a_deadline_moved_to_nan_or_nonsense_is_refused_and_stays_as_it_was(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(2) as scope:
            with pytest.raises(ValueError):
                scope.deadline = math.nan
            with pytest.raises(TypeError):
                scope.deadline = "soon"
            assert scope.deadline == 2
            yield sleep(100)
        return scope.expired, now()

    assert vrun(main()) == (True, 2)


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [timeout, move_on_after])
@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, -math.inf])
def test_negative_and_nan_seconds_are_a_value_error(block: Any, seconds: float) -> None:
    with pytest.raises(ValueError):
        block(seconds)


@pytest.mark.parametrize("block", [timeout, move_on_after])
@pytest.mark.parametrize("seconds", ["1", b"1", [1], 1j])
def test_seconds_that_are_no_number_are_a_type_error(block: Any, seconds: Any) -> None:
    with pytest.raises(TypeError):
        block(seconds)


def test_infinite_seconds_never_end_the_block(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(math.inf) as scope:
            yield sleep(1e9)
        return scope.expired, scope.deadline, now()

    assert vrun(main()) == (False, math.inf, 1e9)


def test_zero_seconds_end_the_block_at_its_first_yield(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        with move_on_after(0) as scope:
            log.append("inside")
            yield sleep(0)
            log.append("never")
        return scope.expired, now()

    assert vrun(main()) == (True, 0)
    assert log == ["inside"]


def test_a_block_without_a_yield_is_left_normally_whatever_its_deadline(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(0):
            value = 1
        yield
        return value

    assert vrun(main()) == 1


def test_a_huge_number_of_seconds_is_no_overflow() -> None:
    def main() -> Gen:
        with timeout(1e300):
            yield sleep(0)
        with move_on_after(10**18):
            yield sleep(0.001)
        return "ok"

    assert run(main()) == "ok"


def test_whole_numbers_fractions_and_booleans_are_numbers(vrun: Any) -> None:
    from fractions import Fraction

    def main() -> Gen:
        for seconds in (1, Fraction(1, 2), 0.5):
            with move_on_after(seconds):
                yield sleep(9)
        return now()

    assert vrun(main()) == 2


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_a_block_can_be_entered_once_only(vrun: Any, block: Any) -> None:
    def main() -> Gen:
        scope = block(5)
        with scope:
            yield
        with pytest.raises(RuntimeError):
            with scope:
                yield
        with block(5) as scope:
            with pytest.raises(RuntimeError):
                with scope:
                    yield
            yield sleep(1)
        yield sleep(9)
        return now()

    assert vrun(main()) == 10


def test_blocks_left_out_of_order_are_a_runtime_error_and_the_kernel_goes_on(vrun: Any) -> None:
    def broken() -> Gen:
        outer, inner = timeout(5), timeout(6)
        with outer:
            inner.__enter__()
            yield

    def main() -> Gen:
        task = yield spawn(broken())
        with pytest.raises(RuntimeError, match="order"):
            yield task
        yield sleep(20)
        return now()

    assert vrun(main()) == 20


def test_a_block_left_by_another_task_is_a_runtime_error(vrun: Any) -> None:
    scopes: list[Any] = []

    def leaver() -> Gen:
        with pytest.raises(RuntimeError):
            scopes[0].__exit__(None, None, None)
        yield

    def main() -> Gen:
        with timeout(5) as scope:
            scopes.append(scope)
            yield (yield spawn(leaver()))
        yield sleep(10)
        return now()

    assert vrun(main()) == 10


def test_a_block_that_a_generator_keeps_open_when_it_is_dropped_is_no_harm_to_the_next(
    vrun: Any,
) -> None:
    """A generator that yields inside a block and is driven by hand, then dropped."""

    def items() -> Gen:
        with timeout(3):
            yield 1

    def main() -> Gen:
        for _ in items():
            break
        gc.collect()
        yield sleep(10)
        return now()

    assert vrun(main()) == 10


def test_a_block_outside_a_task_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError):
        with timeout(1):
            pass


def test_a_task_that_ends_inside_a_block_is_named_and_the_block_strikes_nobody(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def child() -> Gen:
        timeout(5).__enter__()
        yield sleep(1)
        return "value"

    def main() -> Gen:
        task = yield spawn(child())
        value = yield task
        yield sleep(20)
        return value, now()

    assert vrun(main()) == ("value", 21)
    assert "child ended inside timeout(5), which it left open" in caplog.text


# --- deadline against completion ----------------------------------------------------------------


def test_a_value_that_came_first_is_delivered_though_the_deadline_has_passed(vrun: Any) -> None:
    channel: Channel[str] = Channel()
    log: list[Any] = []
    scopes: list[Any] = []

    def receiver() -> Gen:
        with move_on_after(50) as scope:
            scopes.append(scope)
            log.append((yield channel.recv()))
            yield sleep(1)
            log.append("never")
        log.append((scope.expired, now()))

    def main() -> Gen:
        yield spawn(receiver())
        yield sleep(1)
        assert channel.try_send("value")
        scopes[0].deadline = 0

    vrun(main())
    assert log == ["value", (True, 1)]


def test_a_deadline_that_passes_while_a_task_stays_ready_ends_its_block_at_the_next_yield(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with move_on_after(2) as scope:
            yield sleep(1)
            scope.deadline = now()
            log.append("still in the block")
            yield
            log.append("never")
        log.append(scope.expired)

    vrun(main())
    assert log == ["still in the block", True]


def test_a_message_is_received_or_still_there_whatever_the_deadline(vrun: Any) -> None:
    """Sends and deadlines meet at the same instants; none of the messages is lost."""
    channel: Channel[int] = Channel(1)
    got: list[int] = []

    def sender() -> Gen:
        for i in range(100):
            yield sleep(1)
            yield channel.send(i)
        channel.close()

    def main() -> Gen:
        yield spawn(sender())
        with contextlib.suppress(microthreads.ClosedError):
            while True:
                with move_on_after(1):
                    got.append((yield channel.recv()))

    vrun(main())
    assert got == list(range(100))


def test_a_result_that_won_before_the_block_ended_does_not_raise_timeout_error(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(1) as scope:
            index, _ = yield select(sleep(0.5), sleep(9))
        return index, scope.expired

    assert vrun(main()) == (0, False)


def test_a_block_whose_time_ran_out_in_plain_code_ends_at_the_next_yield() -> None:
    import time

    log: list[str] = []

    def main() -> Gen:
        with move_on_after(0.01) as scope:
            time.sleep(0.02)
            log.append("plain code is never interrupted")
            yield sleep(0.2)
            log.append("never")
        return scope.expired

    assert run(main()) is True
    assert log == ["plain code is never interrupted"]


def test_a_block_whose_task_only_gives_up_the_processor_is_ended_all_the_same() -> None:
    def main() -> Gen:
        with move_on_after(0.02):
            while True:
                yield
        return "ended"

    assert run(main()) == "ended"


# --- memory -------------------------------------------------------------------------------------


def test_timeouts_set_and_left_leave_memory_flat(vrun: Any) -> None:
    def rounds(n: int) -> Gen:
        for i in range(n):
            with timeout(1000 + i):
                yield

    def main() -> Gen:
        yield rounds(2_000)
        gc.collect()
        tracemalloc.start()
        yield rounds(2_000)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield rounds(50_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - before

    try:
        assert vrun(main()) < 200_000
    finally:
        tracemalloc.stop()


def test_sleeps_given_up_leave_memory_flat(vrun: Any) -> None:
    def rounds(n: int) -> Gen:
        ready: Channel[int] = Channel(1)
        for i in range(n):
            ready.try_send(i)
            yield select(sleep(1000 + i), ready.recv())

    def waits(n: int) -> Gen:
        channel: Channel[int] = Channel()

        def sender() -> Gen:
            for i in range(n):
                yield channel.send(i)

        yield spawn(sender())
        for i in range(n):
            yield select(sleep(1000 + i), channel.recv())

    def main() -> Gen:
        yield waits(2_000)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        yield waits(10_000)
        yield rounds(10_000)
        return tracemalloc.get_traced_memory()[1] - before

    try:
        assert vrun(main()) < 300_000
    finally:
        tracemalloc.stop()


def test_hundreds_of_timeouts_at_once_end_each_in_its_time(vrun: Any) -> None:
    log: list[float] = []

    def waiter(seconds: float) -> Gen:
        with move_on_after(seconds):
            yield sleep(1e6)
        log.append(now())

    def main() -> Gen:
        for i in range(300):
            yield spawn(waiter(1 + i * 7919 % 300))

    vrun(main())
    assert log == list(range(1, 301))


def test_current_task_in_a_block_is_the_one_that_entered_it(vrun: Any) -> None:
    def main() -> Gen:
        with timeout(1):
            inside = current_task()
            yield
        return inside is current_task()

    assert vrun(main()) is True
