"""Cancelling tasks: what it interrupts, what it leaves alone, and what holds it back."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    Socket,
    current_task,
    join,
    move_on_after,
    now,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)

Gen = Generator[Any, Any, Any]


def nap(log: list[Any], seconds: float = 100) -> Gen:
    try:
        log.append("begins")
        yield sleep(seconds)
        log.append("slept")
    except Cancelled:
        log.append(("cancelled", now()))
        raise


def outcome(task: Any) -> Gen:
    try:
        return (yield task)
    except Cancelled as error:
        return error


# --- where the task is when the cancel comes ------------------------------------------------


def test_cancelled_is_a_base_exception_only() -> None:
    assert issubclass(Cancelled, BaseException)
    assert not issubclass(Cancelled, Exception)


def test_cancelled_before_its_first_step_it_begins_and_meets_that_at_its_first_yield() -> None:
    log: list[Any] = []
    with contextlib.closing(microthreads.Kernel(clock=microthreads.sim.VirtualClock())) as kernel:
        task = kernel.spawn(nap(log))
        task.cancel("early")
        error = kernel.run(outcome(task))
    assert (type(error), error.reason) == (Cancelled, "early")
    assert log == ["begins", ("cancelled", 0)]


def test_a_coroutine_cancelled_before_its_first_step_gives_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def never() -> None:
        await sleep(1)
        raise AssertionError

    with contextlib.closing(microthreads.Kernel()) as kernel:
        task = kernel.spawn(never())
        task.cancel()
        assert isinstance(kernel.run(outcome(task)), Cancelled)
    assert not recwarn.list


def test_a_parked_task_is_cancelled_at_the_yield_it_is_in(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(nap(log))
        yield sleep(1)
        task.cancel()
        assert isinstance((yield outcome(task)), Cancelled)

    vrun(main())
    assert log == ["begins", ("cancelled", 1)]


def test_cancel_is_a_plain_call_that_only_marks_the_task_runs_later(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(nap(log))
        yield sleep(1)
        assert task.cancel() is None
        log.append("after cancel")
        yield task

    with pytest.raises(RuntimeError, match=r"cancellation of task #2 nap"):
        vrun(main())
    assert log == ["begins", "after cancel", ("cancelled", 1)]


def test_a_ready_task_gets_what_woke_it_first_and_the_cancel_at_its_next_yield(vrun: Any) -> None:
    log: list[Any] = []
    channel: Channel[int] = Channel()

    def receiver() -> Gen:
        log.append((yield channel.recv()))
        yield

    def main() -> Gen:
        task = yield spawn(receiver())
        assert channel.try_send(7)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [7, Cancelled]


def test_a_task_ready_after_a_bare_yield_is_cancelled_there_or_at_its_next_yield(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def spinner() -> Gen:
        while True:
            log.append("turn")
            yield

    def main() -> Gen:
        task = yield spawn(spinner())
        yield
        task.cancel()
        del log[:]
        assert isinstance((yield outcome(task)), Cancelled)

    vrun(main())
    assert len(log) <= 1


def test_a_running_task_that_cancels_itself_goes_on_to_its_next_yield(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        def suicidal() -> Gen:
            current_task().cancel("enough")
            log.append("still here")
            try:
                yield sleep(5)
            except Cancelled as error:
                log.append(error.reason)
                raise
            log.append("never")

        yield outcome((yield spawn(suicidal())))
        return now()

    assert vrun(main()) == 0
    assert log == ["still here", "enough"]


def test_a_call_yielded_by_a_cancelled_task_has_no_effect(vrun: Any) -> None:
    channel: Channel[int] = Channel(1)

    def main() -> Gen:
        def sender() -> Gen:
            current_task().cancel()
            yield channel.send(1)

        yield outcome((yield spawn(sender())))
        return channel.try_recv("nothing")

    assert vrun(main()) == "nothing"


def test_a_cancelled_spawn_starts_no_task(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        def spawner() -> Gen:
            current_task().cancel()
            child = nap(log)
            try:
                yield spawn(child)
            finally:
                child.close()

        yield outcome((yield spawn(spawner())))

    vrun(main())
    assert log == []


def test_a_task_that_never_yields_again_is_not_cancelled(vrun: Any) -> None:
    def main() -> Gen:
        def child() -> Gen:
            yield sleep(0)
            current_task().cancel()
            return "value"

        return (yield (yield spawn(child())))

    assert vrun(main()) == "value"


def test_cancel_reaches_the_innermost_of_nested_routines_first(vrun: Any) -> None:
    log: list[str] = []

    def level(name: str, below: Any) -> Gen:
        try:
            yield below
        finally:
            log.append(name)

    async def alevel(below: Any) -> None:
        try:
            await below
        finally:
            log.append("coroutine")

    def main() -> Gen:
        routine = level("outer", level("middle", alevel(sleep(9))))
        task = yield spawn(routine)
        yield sleep(1)
        task.cancel()
        yield outcome(task)

    vrun(main())
    assert log == ["coroutine", "middle", "outer"]


def test_cancel_of_a_task_that_is_done_changes_nothing(vrun: Any) -> None:
    def child() -> Gen:
        yield
        return "value"

    def main() -> Gen:
        task = yield spawn(child())
        yield task
        task.cancel("late")
        return (yield task), task.result(), task.exception()

    assert vrun(main()) == ("value", "value", None)


def test_cancelling_one_task_leaves_its_children_and_siblings_alone(vrun: Any) -> None:
    log: list[Any] = []

    def parent() -> Gen:
        yield spawn(nap(log, 3))
        yield sleep(100)

    def main() -> Gen:
        task = yield spawn(parent())
        yield sleep(1)
        task.cancel()

    vrun(main())
    assert log == ["begins", "slept"]


def test_a_cancelled_select_leaves_all_its_branches(vrun: Any) -> None:
    channel: Channel[int] = Channel()

    def selector() -> Gen:
        yield select(channel.recv(), sleep(50))

    def main() -> Gen:
        task = yield spawn(selector())
        yield sleep(1)
        task.cancel()
        yield outcome(task)
        return channel.try_send(1), now()

    assert vrun(main()) == (False, 1)


# --- what Cancelled carries -----------------------------------------------------------------


def test_cancelled_carries_the_reason_the_scope_and_the_call(vrun: Any) -> None:
    channel: Channel[int] = Channel()
    call = channel.recv()
    seen: list[Any] = []

    def child() -> Gen:
        try:
            yield call
        except Cancelled as error:
            seen.append(error)
            raise

    def main() -> Gen:
        task = yield spawn(child())
        task.cancel({"any": "object"})
        assert (yield outcome(task)) is seen[0]
        return seen[0].scope is task, seen[0].reason, seen[0].call is call

    assert vrun(main()) == (True, {"any": "object"}, True)


def test_without_a_reason_the_reason_is_none_and_bytes_sent_is_zero(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap([]))
        task.cancel()
        error = yield outcome(task)
        return error.reason, error.bytes_sent

    assert vrun(main()) == (None, 0)


def test_the_text_of_cancelled_tells_the_reason(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap([]))
        task.cancel("shutting down")
        return str((yield outcome(task)))

    assert "shutting down" in vrun(main())


def test_the_second_cancel_keeps_the_first_reason(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(nap([]))
        yield sleep(1)
        task.cancel("first")
        task.cancel("second")
        return (yield outcome(task)).reason

    assert vrun(main()) == "first"


# --- level-triggered ------------------------------------------------------------------------


@pytest.mark.forgets
def test_every_yield_of_a_cancelled_task_raises_again(vrun: Any) -> None:
    log: list[Any] = []
    ready: Channel[int] = Channel(9)

    def stubborn() -> Gen:
        calls = [sleep(100), None, ready.send(1), sleep(0), spawn(nap([])), nap([])]
        for i, call in enumerate(calls):
            try:
                yield call
            except Cancelled:
                log.append(i)
        calls[4].routine.close() if hasattr(calls[4], "routine") else None

    def main() -> Gen:
        task = yield spawn(stubborn())
        yield sleep(1)
        task.cancel()
        yield task
        return now(), ready.try_recv()

    assert vrun(main()) == (1, None)
    assert log[:5] == [0, 1, 2, 3, 4]


@pytest.mark.forgets
def test_swallowing_one_cancelled_does_not_stop_the_cancellation(vrun: Any) -> None:
    log: list[Any] = []

    def swallower() -> Gen:
        with contextlib.suppress(Cancelled):
            yield sleep(100)
        log.append("swallowed")
        yield sleep(100)
        log.append("never")

    def main() -> Gen:
        task = yield spawn(swallower())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))
        log.append(now())

    vrun(main())
    assert log == ["swallowed", Cancelled, 1]


@pytest.mark.forgets
def test_the_other_tasks_run_while_a_task_keeps_swallowing(vrun: Any) -> None:
    log: list[int] = []

    def swallower() -> Gen:
        while len(log) < 5:
            with contextlib.suppress(Cancelled):
                yield sleep(100)

    def main() -> Gen:
        task = yield spawn(swallower())
        yield sleep(1)
        task.cancel()
        for i in range(5):
            log.append(i)
            yield
        yield task

    vrun(main())
    assert log == [0, 1, 2, 3, 4]


def test_a_cancelled_task_that_returns_a_value_has_returned_it(vrun: Any) -> None:
    def child() -> Gen:
        try:
            yield sleep(100)
        except Cancelled:
            return "partial"

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        return (yield task), task.exception()

    assert vrun(main()) == ("partial", None)


def test_a_cancelled_task_that_raises_an_error_has_failed_with_it(vrun: Any) -> None:
    def child() -> Gen:
        try:
            yield sleep(100)
        finally:
            raise KeyError("clean-up")

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        with pytest.raises(KeyError) as caught:
            yield task
        return type(caught.value.__context__)

    assert vrun(main()) is Cancelled


def test_plain_calls_in_a_finally_block_need_no_shield(vrun: Any) -> None:
    channel: Channel[int] = Channel(3)

    def child() -> Gen:
        try:
            yield sleep(100)
        finally:
            channel.try_send(1)
            channel.close()

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        yield outcome(task)
        return (yield channel.recv()), channel.closed

    assert vrun(main()) == (1, True)


def test_cancelled_thrown_by_a_joined_task_is_not_ones_own(vrun: Any) -> None:
    """The joiner is not cancelled: its next yield works."""

    def main() -> Gen:
        victim = yield spawn(nap([]))
        victim.cancel()
        with contextlib.suppress(Cancelled):
            yield victim
        yield sleep(1)
        return now()

    assert vrun(main()) == 1


# --- cancel against completion ----------------------------------------------------------------


def test_completion_first_the_value_is_delivered_and_the_late_cancel_stays_pending(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def child() -> Gen:
        log.append((yield sleep(1)))
        log.append("got it")
        yield sleep(1)

    def main() -> Gen:
        yield sleep(0.5)
        task = yield spawn(child())

        def assassin() -> Gen:
            yield sleep(1)
            task.cancel()

        yield spawn(assassin())
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [None, "got it", Cancelled]


def test_cancel_first_what_comes_later_stays_for_others(vrun: Any) -> None:
    log: list[Any] = []
    channel: Channel[str] = Channel()

    def receiver(name: str) -> Gen:
        log.append((name, (yield channel.recv())))

    def main() -> Gen:
        first = yield spawn(receiver("first"))
        second = yield spawn(receiver("second"))
        first.cancel()
        assert channel.try_send("value")
        yield second
        log.append(type((yield outcome(first))))

    vrun(main())
    assert log == [("second", "value"), Cancelled]


def test_nothing_received_is_lost_however_the_cancels_fall(vrun: Any) -> None:
    channel: Channel[int] = Channel()
    got: list[int] = []

    def receiver() -> Gen:
        while True:
            got.append((yield channel.recv()))

    def sender() -> Gen:
        for i in range(200):
            yield channel.send(i)

    def main() -> Gen:
        sending = yield spawn(sender())
        turn = 0
        while not sending.done:
            task = yield spawn(receiver())
            for _ in range(turn % 5):
                yield
            turn += 1
            task.cancel()
            yield outcome(task)

    vrun(main())
    assert got == list(range(200))


def test_a_cancelled_send_is_never_received(vrun: Any) -> None:
    channel: Channel[str] = Channel()

    def sender() -> Gen:
        yield channel.send("ghost")

    def main() -> Gen:
        task = yield spawn(sender())
        task.cancel()
        return channel.try_recv("nothing"), type((yield outcome(task)))

    assert vrun(main()) == ("nothing", Cancelled)


def test_a_cancel_while_a_join_has_just_succeeded_keeps_the_result(vrun: Any) -> None:
    log: list[Any] = []

    def quick() -> Gen:
        yield sleep(1)
        return "result"

    def joiner(task: Any) -> Gen:
        log.append((yield join(task)))
        yield

    def main() -> Gen:
        task = yield spawn(quick())
        waiting = yield spawn(joiner(task))

        while not task.done:
            yield
            if now() < 1:
                yield sleep(1)
        waiting.cancel()
        log.append(type((yield outcome(waiting))))

    vrun(main())
    assert log == ["result", Cancelled]


def test_a_cancelled_sendall_carries_the_number_of_bytes_sent() -> None:
    left, right = socket.socketpair()
    sock, other = Socket(left), Socket(right)

    def sender() -> Gen:
        yield sock.sendall(bytes(50_000_000))

    def main() -> Gen:
        task = yield spawn(sender())
        yield sleep(0.05)
        task.cancel()
        error = yield outcome(task)
        sock.close()
        received = 0
        while data := (yield other.recv()):
            received += len(data)
        other.close()
        return error.bytes_sent, received

    sent, received = microthreads.run(main())
    assert 0 < sent < 50_000_000
    assert sent == received


def test_what_comes_to_a_socket_after_its_reader_was_cancelled_stays_for_the_next() -> None:
    left, right = socket.socketpair()
    sock, other = Socket(left), Socket(right)
    got: list[bytes] = []

    def reader() -> Gen:
        while True:
            got.append((yield sock.recv(1)))

    def main() -> Gen:
        for i in range(60):
            task = yield spawn(reader())
            yield other.send(bytes([i]))
            for _ in range(i % 6):
                yield
            task.cancel()
            yield outcome(task)
        with move_on_after(0.02):
            yield from reader()
        sock.close()
        other.close()

    microthreads.run(main())
    assert b"".join(got) == bytes(range(60))


# --- shield ---------------------------------------------------------------------------------


def test_a_shield_lets_clean_up_yield(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        try:
            yield sleep(100)
        finally:
            with shield(grace=5):
                yield sleep(3)
                log.append(("cleaned", now()))

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [("cleaned", 4), Cancelled]


def test_behind_the_shield_the_cancellation_is_felt_again(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=10):
            yield sleep(3)
            log.append(("shielded", now()))
        log.append("behind")
        yield sleep(3)
        log.append("never")

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [("shielded", 3), "behind", Cancelled]


def test_a_shield_ends_when_its_grace_is_over(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        try:
            yield sleep(100)
        finally:
            with shield(grace=5):
                try:
                    yield sleep(50)
                finally:
                    log.append(now())

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [6, Cancelled]


def test_the_grace_runs_from_when_cancellation_and_shield_meet(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=5):
            try:
                yield sleep(100)
            finally:
                log.append(now())

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(20)
        task.cancel()
        yield outcome(task)

    vrun(main())
    assert log == [25]


@pytest.mark.forgets
def test_once_its_grace_is_over_every_yield_in_the_shield_raises(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=5):
            for _ in range(3):
                try:
                    yield sleep(100)
                except Cancelled:
                    log.append(now())

    def main() -> Gen:
        task = yield spawn(child())
        task.cancel()
        yield outcome(task)

    vrun(main())
    assert log == [5, 5, 5]


def test_a_shield_without_a_cancellation_does_nothing(vrun: Any) -> None:
    def main() -> Gen:
        with shield(grace=1):
            yield sleep(10)
        yield sleep(1)
        return now()

    assert vrun(main()) == 11


def test_a_shield_with_no_end_holds_for_ever(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=math.inf):
            yield sleep(1e6)
            log.append(now())

    def main() -> Gen:
        task = yield spawn(child())
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    # nothing yields behind the block, so the task returns
    assert log == [1e6, type(None)]


def test_a_shield_with_no_grace_shields_nothing(vrun: Any) -> None:
    def child() -> Gen:
        with shield(grace=0):
            yield sleep(9)

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        yield outcome(task)
        return now()

    assert vrun(main()) == 1


@pytest.mark.parametrize(("outer", "inner"), [(3, 10), (10, 3)])
def test_nested_shields_hold_a_cancellation_back_one_after_the_other(
    vrun: Any, outer: float, inner: float
) -> None:
    """The inner one meets it when the outer one lets it through."""
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=outer), shield(grace=inner):
            try:
                yield sleep(100)
            finally:
                log.append(now())

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        yield outcome(task)

    vrun(main())
    assert log == [14]


def test_a_shield_left_inside_another_leaves_the_outer_one_in_force(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=10):
            with shield(grace=10):
                yield sleep(1)
            yield sleep(4)
            log.append(now())
        yield

    def main() -> Gen:
        task = yield spawn(child())
        yield
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [5, Cancelled]


def test_a_shield_holds_a_timeout_outside_it_back_but_not_one_inside(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with move_on_after(1) as outside:
            with shield(grace=10):
                with move_on_after(2) as inside:
                    yield sleep(5)
                log.append(("inside", inside.expired, now()))
                yield sleep(3)
                log.append(("shielded", now()))
            yield
        log.append(("outside", outside.expired, now()))

    vrun(main())
    assert log == [("inside", True, 2), ("shielded", 5), ("outside", True, 5)]


def test_a_task_that_cancels_itself_inside_a_shield_goes_on_to_its_end(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with shield(grace=10):
            current_task().cancel()
            yield sleep(1)
            log.append(now())
        yield

    def main() -> Gen:
        log.append(type((yield outcome((yield spawn(child()))))))

    vrun(main())
    assert log == [1, Cancelled]


@pytest.mark.parametrize("grace", [-1, math.nan])
def test_a_shield_refuses_a_grace_that_is_no_time(grace: float) -> None:
    with pytest.raises(ValueError):
        shield(grace=grace)


def test_a_shield_refuses_a_grace_that_is_no_number() -> None:
    with pytest.raises(TypeError):
        shield(grace="5")  # type: ignore[arg-type]


# --- cancel and scopes ----------------------------------------------------------------------


def test_a_task_cancelled_inside_a_timeout_is_cancelled_and_not_timed_out(vrun: Any) -> None:
    def child() -> Gen:
        with timeout(50):
            yield sleep(100)

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel("mine")
        error = yield outcome(task)
        return type(error), error.scope is task, now()

    assert vrun(main()) == (Cancelled, True, 1)


def test_a_cancel_is_not_swallowed_by_a_move_on_after(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with move_on_after(50) as scope:
            yield sleep(100)
        log.append(("left", scope.expired))

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log == [Cancelled]


def test_a_cancel_and_a_deadline_together_end_the_whole_task(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        with move_on_after(1):
            yield sleep(100)
        log.append("behind the block")
        yield sleep(1)
        log.append("never")

    def main() -> Gen:
        task = yield spawn(child())
        yield sleep(1)
        task.cancel()
        log.append(type((yield outcome(task))))

    vrun(main())
    assert log[-1] is Cancelled
    assert "never" not in log


def test_cancelling_main_makes_run_raise_cancelled(vrun: Any) -> None:
    def main() -> Gen:
        current_task().cancel("by myself")
        yield

    with pytest.raises(Cancelled) as caught:
        vrun(main())
    assert caught.value.reason == "by myself"
