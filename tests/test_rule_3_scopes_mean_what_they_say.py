"""Rule 3: a scope means what its deadline and its `cancel` say, before, in and after its block.

`timeout`, `move_on_after` and `CancelScope` are one kind of thing: what is set before the
block counts in it, what is set after it is refused, and what was left in the wrong order
has no effect any more. `except* Cancelled` works as `except Cancelled` does.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from helpers import errors_of

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    DeadlockError,
    TaskGroup,
    current_task,
    move_on_after,
    now,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.timeouts import CancelScope

Gen = Generator[Any, Any, Any]

KINDS: dict[str, Callable[[], Any]] = {
    "timeout": lambda: timeout(100),
    "move_on_after": lambda: move_on_after(100),
    "CancelScope": CancelScope,
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
limits = pytest.mark.parametrize("limit", [timeout, move_on_after])


# ---- before the block


@every_kind
def test_a_block_cancelled_before_it_is_entered_ends_at_its_first_yield(
    vrun: Any, as_task: Any, make: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        scope = make()
        scope.cancel("too early")
        with scope:
            log.append("inside")
            try:
                yield sleep(5)
            except Cancelled as error:
                log.append((error.scope is scope, error.reason))
                raise
        log.append((now(), scope.cancel_requested, scope.cancelled_caught, scope.expired))

    vrun(as_task(main()))
    assert log == ["inside", (True, "too early"), (0, True, True, False)]


@every_kind
def test_a_deadline_set_before_the_block_is_honoured(vrun: Any, as_task: Any, make: Any) -> None:
    def main() -> Gen:
        yield sleep(3)
        scope = make()
        scope.deadline = now() + 1
        with suppress(TimeoutError), scope:
            yield sleep(50)
        return now(), scope.expired, scope.cancelled_caught

    assert vrun(as_task(main())) == (4, True, True)


@every_kind
def test_a_deadline_set_before_the_block_counts_from_no_entry(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        scope = make()
        scope.deadline = 7
        yield sleep(5)
        with suppress(TimeoutError), scope:
            yield sleep(50)
        return now()

    assert vrun(main()) == 7


@every_kind
@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_deadline_in_the_past_ends_the_block_at_its_first_yield(
    vrun: Any, make: Any, when: str
) -> None:
    log: list[str] = []

    def main() -> Gen:
        yield sleep(5)
        scope = make()
        if when == "before":
            scope.deadline = 1
        with suppress(TimeoutError), scope:
            scope.deadline = 1
            log.append("inside")
            yield sleep(50)
            log.append("never")
        return now(), scope.expired

    assert vrun(main()) == (5, True)
    assert log == ["inside"]


@every_kind
def test_a_deadline_of_infinity_set_before_the_block_takes_the_limit_away(
    vrun: Any, make: Any
) -> None:
    def main() -> Gen:
        scope = make()
        scope.deadline = math.inf
        with scope:
            yield sleep(1000)
        return now(), scope.expired

    assert vrun(main()) == (1000, False)


# ---- in the block


@every_kind
def test_another_task_cancels_a_block_and_the_program_goes_on_behind_it(
    vrun: Any, as_task: Any, make: Any
) -> None:
    def canceller(scope: Any) -> Gen:
        yield sleep(2)
        scope.cancel("enough")

    def main() -> Gen:
        with make() as scope:
            yield spawn(canceller(scope))
            yield sleep(50)
        yield sleep(1)
        return now(), scope.cancelled_caught, scope.expired, scope.reason

    assert vrun(as_task(main())) == (3, True, False, "enough")


@every_kind
def test_a_block_that_was_cancelled_too_late_has_caught_nothing(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        with make() as scope:
            yield sleep(1)
            scope.cancel()
        yield sleep(1)
        return now(), scope.cancel_requested, scope.cancelled_caught

    assert vrun(main()) == (2, True, False)


@every_kind
def test_to_cancel_a_scope_after_its_block_changes_nothing(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        with make() as scope:
            yield sleep(1)
        scope.cancel()
        yield sleep(1)
        return now(), scope.cancelled_caught, current_task().cancelled

    assert vrun(main()) == (2, False, None)


@every_kind
def test_of_nested_scopes_the_cancelled_one_ends_with_all_inside_it(vrun: Any, make: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with make() as outer:
            with make() as middle:
                with make() as inner:
                    middle.cancel()
                    yield sleep(5)
                log.append("never")
            log.append([each.cancelled_caught for each in (outer, middle, inner)])
            yield sleep(1)
        log.append(now())

    vrun(main())
    assert log == [[False, True, False], 1]


@every_kind
def test_when_two_nested_scopes_are_cancelled_the_outer_one_ends(vrun: Any, make: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with make() as outer:
            with make() as inner:
                inner.cancel()
                outer.cancel()
                with pytest.raises(Cancelled) as caught:
                    yield sleep(5)
                log.append(caught.value.scope is outer)
                raise caught.value
            log.append("never")
        log.append([each.cancelled_caught for each in (outer, inner)])

    vrun(main())
    assert log == [True, [True, False]]


@every_kind
def test_a_deadline_is_moved_back_and_forth(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        with suppress(TimeoutError), make() as scope:
            scope.deadline = 2
            yield sleep(1)
            scope.deadline = 10
            yield sleep(5)
            scope.deadline = 7
            yield sleep(50)
        return now(), scope.expired, scope.deadline

    assert vrun(main()) == (7, True, 7)


@every_kind
def test_a_deadline_moved_away_from_a_timer_leaves_none_behind(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        with make() as scope:
            for deadline in (5, 50, 500, math.inf):
                scope.deadline = deadline
            yield
        return current_task().kernel.timers.next_deadline()

    assert vrun(main()) is None


@every_kind
def test_a_shield_inside_a_cancelled_scope_holds_it_back(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        with make() as scope:
            try:
                scope.cancel()
                yield sleep(5)
            finally:
                with shield(10):
                    yield sleep(2)
        return now(), scope.cancelled_caught

    assert vrun(main()) == (2, True)


@limits
def test_no_seconds_are_no_limit(vrun: Any, as_task: Any, limit: Any) -> None:
    def main() -> Gen:
        with limit(None) as scope:
            deadline = scope.deadline
            yield sleep(1e6)
        return now(), deadline, scope.expired, scope.cancelled_caught

    assert vrun(as_task(main())) == (1e6, math.inf, False, False)


@limits
def test_a_limit_of_none_can_be_given_a_deadline_and_be_cancelled(vrun: Any, limit: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        with suppress(TimeoutError), limit(None) as scope:
            scope.deadline = 3
            yield sleep(50)
        log.append((now(), scope.expired))
        with limit(None) as scope:
            scope.cancel()
            yield sleep(50)
        log.append((now(), scope.expired))

    vrun(main())
    assert log == [(3, True), (3, False)]


def test_a_cancel_scope_takes_its_deadline_at_once(vrun: Any) -> None:
    def main() -> Gen:
        with CancelScope(deadline=4) as scope:
            yield sleep(50)
        return now(), scope.expired, scope.cancelled_caught

    assert vrun(main()) == (4, True, True)


def test_a_plain_cancel_scope_is_a_public_name() -> None:
    assert "CancelScope" in microthreads.__all__
    assert microthreads.CancelScope is CancelScope


# ---- when clean-up fails, or swallows


@every_kind
def test_expired_says_that_the_deadline_struck_also_if_clean_up_fails_then(
    vrun: Any, as_task: Any, make: Any
) -> None:
    def main() -> Gen:
        scope = make()
        scope.deadline = 1
        with pytest.raises(ValueError, match="clean-up") as caught, scope:
            try:
                yield sleep(5)
            finally:
                raise ValueError("clean-up failed")
        return scope.expired, scope.cancelled_caught, type(caught.value.__context__)

    assert vrun(as_task(main())) == (True, False, Cancelled)


def test_expired_is_false_if_the_block_failed_before_the_deadline(vrun: Any) -> None:
    def main() -> Gen:
        with pytest.raises(ValueError), timeout(1) as scope:
            raise ValueError
        yield sleep(5)
        return scope.expired

    assert vrun(main()) is False


def test_expired_is_false_if_a_block_that_was_cancelled_by_hand_outlives_its_deadline(
    vrun: Any,
) -> None:
    def main() -> Gen:
        with timeout(1) as scope:
            scope.cancel()
            try:
                yield sleep(5)
            finally:
                with shield(10):
                    yield sleep(3)
        return now(), scope.expired

    assert vrun(main()) == (3, False)


# ---- except*


@every_kind
def test_except_star_that_raises_again_ends_the_block_quietly(
    vrun: Any, as_task: Any, make: Any
) -> None:
    def main() -> Gen:
        scope = make()
        scope.cancel()
        with scope:
            try:
                yield sleep(5)
            except* Cancelled:
                raise
        return now(), scope.cancelled_caught

    assert vrun(as_task(main())) == (0, True)


def test_except_star_in_a_timeout_gives_a_timeout_error(vrun: Any) -> None:
    def main() -> Gen:
        with pytest.raises(TimeoutError), timeout(1) as scope:
            try:
                yield sleep(5)
            except* Cancelled:
                raise
        return scope.expired, scope.cancelled_caught

    assert vrun(main()) == (True, True)


@every_kind
def test_other_errors_beside_the_cancellation_go_on(vrun: Any, as_task: Any, make: Any) -> None:
    def main() -> Gen:
        scope = make()
        scope.cancel()
        with pytest.raises(ExceptionGroup) as caught, scope:
            try:
                yield sleep(5)
            except BaseException as error:
                raise BaseExceptionGroup("both", [error, ValueError("other")]) from None
        return errors_of(caught.value), scope.cancelled_caught

    assert vrun(as_task(main())) == (["ValueError('other')"], True)


def test_of_nested_groups_of_errors_only_the_own_cancellation_is_taken_out(vrun: Any) -> None:
    def main() -> Gen:
        with CancelScope() as scope:
            scope.cancel()
            try:
                with CancelScope() as inner:
                    try:
                        yield sleep(5)
                    except BaseException as error:
                        some = [error, BaseExceptionGroup("inner", [error, KeyError("k")])]
                        raise BaseExceptionGroup("outer", some) from None
            except* KeyError as errors:
                assert errors_of(errors.exceptions[0]) == ["KeyError('k')"]
        return inner.cancelled_caught, scope.cancelled_caught

    assert vrun(main()) == (False, True)


def test_a_cancelled_task_that_raises_by_except_star_was_cancelled_and_did_not_crash(
    vrun: Any, as_task: Any
) -> None:
    crashed: list[Any] = []

    def worker() -> Gen:
        try:
            yield sleep(5)
        except* Cancelled:
            raise

    def main() -> Gen:
        task = yield spawn(as_task(worker()))
        yield
        task.cancel("enough")
        with pytest.raises(Cancelled, match="enough"):
            yield task
        return type(task.exception())

    assert vrun(main(), on_crash=crashed.append) is Cancelled
    assert crashed == []


def test_a_cancelled_task_that_raises_another_error_beside_has_failed_with_that(vrun: Any) -> None:
    crashed: list[Any] = []

    def worker() -> Gen:
        try:
            yield sleep(5)
        except* Cancelled as errors:
            raise ExceptionGroup("other", [ValueError("bug")]) from errors

    def main() -> Gen:
        task = yield spawn(worker())
        yield
        task.cancel()
        yield sleep(1)

    vrun(main(), on_crash=lambda task: crashed.append(errors_of(task.exception())))
    assert crashed == [["ValueError('bug')"]]


# ---- after the block


@every_kind
def test_a_deadline_set_after_the_block_is_refused_and_stays_as_it_was(
    vrun: Any, as_task: Any, make: Any
) -> None:
    def main() -> Gen:
        with make() as scope:
            scope.deadline = 50
            yield sleep(1)
        with pytest.raises(RuntimeError, match="left"):
            scope.deadline = 60
        return scope.deadline, current_task().kernel.timers.next_deadline()

    assert vrun(as_task(main())) == (50, None)


@every_kind
def test_a_deadline_refused_after_the_block_hides_no_deadlock(vrun: Any, make: Any) -> None:
    moments: list[float] = []

    def main() -> Gen:
        with make() as scope:
            yield sleep(1)
        with suppress(RuntimeError):
            scope.deadline = now() + 3600
        try:
            yield Channel[int]().recv()
        finally:
            moments.append(now())

    with pytest.raises(DeadlockError):
        vrun(main())
    assert moments == [1]


# ---- left in the wrong order, or elsewhere


@every_kind
def test_a_block_that_is_left_in_the_wrong_order_strikes_nobody_later(vrun: Any, make: Any) -> None:
    def main() -> Gen:
        outer, inner = make(), CancelScope()
        outer.deadline = 5
        outer.__enter__()
        with inner:
            with pytest.raises(RuntimeError, match="order"):
                outer.__exit__(None, None, None)
            yield sleep(60)
            outer.cancel()
            yield sleep(1)
        return now(), inner.cancelled_caught, current_task().scope

    assert vrun(main()) == (61, False, None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@every_kind
def test_the_block_of_a_generator_that_is_dropped_inside_another_strikes_nobody(
    vrun: Any, make: Any
) -> None:
    def ticks() -> Gen:
        scope = make()
        scope.deadline = 5
        with scope:
            yield 1
            yield 2

    def main() -> Gen:
        numbers = ticks()
        next(numbers)
        with move_on_after(100):
            del numbers
        yield sleep(60)
        return now()

    assert vrun(main()) == 60


@every_kind
def test_a_scope_that_an_async_generator_entered_is_refused_in_another_task(
    vrun: Any, make: Any
) -> None:
    log: list[Any] = []

    async def numbers(scope: Any) -> AsyncIterator[int]:
        with scope:
            yield 1
            yield 2

    async def other(source: Any) -> None:
        with pytest.raises(RuntimeError, match="task that entered"):
            await source.aclose()
        log.append("refused")

    async def main() -> Any:
        scope = make()
        scope.deadline = 5
        source = numbers(scope)
        await anext(source)
        await (await spawn(other(source)))
        await sleep(60)
        return now(), current_task().scope

    assert vrun(main()) == (60, None)
    assert log == ["refused"]


@every_kind
def test_a_scope_of_an_exit_stack_is_left_like_any_other(
    vrun: Any, as_task: Any, make: Any
) -> None:
    def main() -> Gen:
        with suppress(TimeoutError), ExitStack() as stack:
            scope = stack.enter_context(make())
            scope.deadline = 1
            yield sleep(5)
        return now(), scope.cancelled_caught

    assert vrun(as_task(main())) == (1, True)


def test_a_scope_that_a_child_cancels_ends_the_block_of_its_group(vrun: Any) -> None:
    async def child(scope: Any) -> None:
        await sleep(1)
        scope.cancel()

    async def main() -> Any:
        with CancelScope() as scope:
            async with TaskGroup() as group:
                await group.spawn(child(scope))
                await group.spawn(coroutine_sleep(100))
        return now(), scope.cancelled_caught

    async def coroutine_sleep(seconds: float) -> None:
        await sleep(seconds)

    assert vrun(main()) == (1, True)


def test_a_deadline_that_passes_in_plain_code_at_the_end_of_a_block_has_ended_nothing() -> None:
    def main() -> Gen:
        with timeout(0.005) as scope:
            time.sleep(0.01)
        yield
        return scope.expired, scope.cancelled_caught

    assert microthreads.run(main()) == (False, False)
