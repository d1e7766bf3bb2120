"""Rule 8: errors arrive as they were raised.

With the context of what was being handled where they were raised, and no other: neither a
StopIteration of the kernel's, nor what other joiners of the same failure were handling. The
task sees in `sys.exc_info()` what it handles itself. And errors go to other processes.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from microthreads import (
    BrokenBarrierError,
    BrokenLockError,
    BusyError,
    Cancelled,
    Channel,
    ClosedError,
    DeadlockError,
    Empty,
    ForkedError,
    Full,
    IncompleteReadError,
    InvariantError,
    LimitExceeded,
    Lock,
    Queue,
    ShutDown,
    TaskGroup,
    gather,
    join,
    race,
    run,
    select,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


def chain(error: BaseException | None) -> list[str]:
    """The kinds of an error, of its context, of the context of that, and so on."""
    kinds: list[str] = []
    while error is not None and len(kinds) < 20:
        kinds.append(type(error).__name__)
        error = error.__context__
    return kinds


def raised_by(routine: Any, **options: Any) -> BaseException:
    """What `run` raises."""
    try:
        run(routine, clock=VirtualClock(), **options)
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


# ---- after a routine that returned


def helper() -> Gen:
    yield sleep(1)
    return 3


async def async_helper() -> int:
    await sleep(1)
    return 3


def quick_helper() -> Gen:
    return 3
    yield


def nested_helper() -> Gen:
    return (yield helper())


HELPERS = [helper, async_helper, quick_helper, nested_helper]


@pytest.mark.parametrize("helper", HELPERS)
def test_an_error_after_a_routine_that_was_yielded_has_no_context(helper: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        log.append((yield helper()))
        log.append(sys.exc_info()[1])
        raise ValueError("a bug")

    assert chain(raised_by(main())) == ["ValueError"]
    assert log == [3, None]


@pytest.mark.parametrize("helper", HELPERS)
def test_an_error_after_a_task_that_was_joined_has_no_context(helper: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        task = yield spawn(helper())
        log.append((yield task))
        log.append(sys.exc_info()[1])
        raise ValueError("a bug")

    assert chain(raised_by(main())) == ["ValueError"]
    assert log == [3, None]


@pytest.mark.parametrize("helper", HELPERS)
def test_a_routine_yielded_in_an_except_block_leaves_what_that_handles(helper: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        try:
            raise KeyError("handled")
        except KeyError:
            yield helper()
            log.append(type(sys.exc_info()[1]))
            raise ValueError("a bug") from None

    assert chain(raised_by(main())) == ["ValueError", "KeyError"]
    assert log == [KeyError]


def test_a_bare_raise_after_a_routine_raises_what_the_block_handles() -> None:
    def main() -> Gen:
        try:
            raise KeyError("handled")
        except KeyError:
            yield helper()
            raise

    assert chain(raised_by(main())) == ["KeyError"]


def test_an_error_of_a_routine_is_caught_by_its_caller_and_leaves_nothing_behind() -> None:
    log: list[Any] = []

    def failing() -> Gen:
        yield sleep(1)
        raise KeyError("caught")

    def main() -> Gen:
        with suppress(KeyError):
            yield failing()
        log.append(sys.exc_info()[1])
        raise ValueError("a bug")

    assert chain(raised_by(main())) == ["ValueError"]
    assert log == [None]


# ---- an error that is thrown into a task while it handles another


async def closed_queue() -> None:
    queue: Queue[int] = Queue()
    queue.shutdown()
    await queue.get()


async def closed_later() -> None:
    channel: Channel[int] = Channel()

    def closer() -> Gen:
        yield sleep(1)
        channel.close()

    await spawn(closer())
    await channel.recv()


async def failed_task() -> None:
    async def failing() -> None:
        raise OSError("of a task")

    task = await spawn(failing())
    await sleep(1)
    await task


async def time_over() -> None:
    with timeout(1):
        await sleep(5)


async def selected() -> None:
    queue: Queue[int] = Queue()
    queue.shutdown()
    await select(sleep(5), queue.get())


FAILURES = {
    closed_queue: ["ShutDown"],
    closed_later: ["ClosedError"],
    failed_task: ["OSError"],
    time_over: ["TimeoutError", "Cancelled"],
    selected: ["ShutDown"],
}
every_failure = pytest.mark.parametrize("fails", FAILURES)


@every_failure
def test_the_error_of_an_await_has_as_its_context_what_its_caller_handles(fails: Any) -> None:
    async def main() -> None:
        try:
            raise KeyError("handled")
        except KeyError:
            await fails()

    ignore = {"on_crash": lambda task: None}
    assert chain(raised_by(main(), **ignore)) == [*FAILURES[fails], "KeyError"]


@every_failure
def test_the_error_of_an_await_has_the_contexts_of_all_its_callers(fails: Any) -> None:
    async def inner() -> None:
        try:
            raise IndexError("handled by the helper")
        except IndexError:
            await fails()

    async def main() -> None:
        try:
            raise KeyError("handled by its caller")
        except KeyError:
            await inner()

    ignore = {"on_crash": lambda task: None}
    found = chain(raised_by(main(), **ignore))
    assert found == [*FAILURES[fails], "IndexError", "KeyError"]


@every_failure
def test_an_error_caught_in_an_except_block_leaves_what_that_handles(fails: Any) -> None:
    log: list[Any] = []

    async def main() -> None:
        try:
            raise KeyError("handled")
        except KeyError as error:
            try:
                await fails()
            except Exception:
                pass
            log.append(sys.exc_info()[1] is error)
        log.append(sys.exc_info()[1])

    run(main(), clock=VirtualClock(), on_crash=lambda task: None)
    assert log == [True, None]


@every_failure
def test_a_bare_raise_in_a_coroutine_raises_what_its_caller_handles(fails: Any) -> None:
    async def inner() -> None:
        try:
            await fails()
        except Exception:
            pass
        raise  # noqa: PLE0704

    async def main() -> None:
        try:
            raise KeyError("the first")
        except KeyError:
            await inner()

    assert chain(raised_by(main(), on_crash=lambda task: None)) == ["KeyError"]


def test_a_yield_from_of_a_call_in_an_except_block_keeps_what_that_handles() -> None:
    log: list[Any] = []

    def main() -> Gen:
        queue: Queue[int] = Queue()
        queue.shutdown()
        try:
            raise KeyError("handled")
        except KeyError as error:
            try:
                yield from queue.get()
            except ShutDown as shut:
                log.append(chain(shut))
            log.append(sys.exc_info()[1] is error)

    run(main(), clock=VirtualClock())
    assert log == [["ShutDown", "KeyError"], True]


@pytest.mark.parametrize("through", ["call", "routine", "routines"])
def test_the_error_of_a_yield_has_as_its_context_what_the_generator_handles(through: str) -> None:
    log: list[Any] = []

    def failing(queue: Queue[int]) -> Gen:
        yield queue.get()

    def nested(queue: Queue[int]) -> Gen:
        yield failing(queue)

    def main() -> Gen:
        queue: Queue[int] = Queue()
        queue.shutdown()
        calls = {"call": queue.get, "routine": failing, "routines": nested}
        try:
            raise KeyError("handled")
        except KeyError as error:
            try:
                yield calls[through](*[queue] * (through != "call"))
            except ShutDown as shut:
                log.append(chain(shut))
            log.append(sys.exc_info()[1] is error)
            raise

    assert chain(raised_by(main())) == ["KeyError"]
    assert log == [["ShutDown", "KeyError"], True]


def test_a_cancellation_in_an_except_block_has_that_as_its_context() -> None:
    log: list[Any] = []

    async def worker() -> None:
        try:
            raise KeyError("handled")
        except KeyError:
            try:
                await sleep(5)
            except Cancelled as error:
                log.append(chain(error))
                raise

    async def main() -> None:
        task = await spawn(worker())
        await sleep(1)
        task.cancel()

    run(main(), clock=VirtualClock())
    assert log == [["Cancelled", "KeyError"]]


def test_what_is_handled_in_one_task_is_not_seen_in_another(as_task: Any) -> None:
    log: list[Any] = []

    def handling() -> Gen:
        try:
            raise KeyError("mine")
        except KeyError as error:
            for _ in range(5):
                yield
                log.append(sys.exc_info()[1] is error)

    def free() -> Gen:
        for _ in range(5):
            yield
            log.append(sys.exc_info()[1] is None)

    def main() -> Gen:
        for routine in (handling(), free(), handling(), free()):
            yield spawn(as_task(routine))

    run(main(), clock=VirtualClock())
    assert log == [True] * 20


# ---- many joiners


def test_joiners_of_one_failure_do_not_write_into_each_others_context() -> None:
    log: dict[str, list[str]] = {}

    async def failing() -> None:
        await sleep(1)
        raise OSError("shared")

    async def joiner(task: Any, handled: Exception) -> None:
        try:
            raise handled
        except Exception:
            try:
                await task
            except OSError as error:
                log[type(handled).__name__] = chain(error)

    async def main() -> None:
        task = await spawn(failing())
        for handled in (KeyError(), IndexError(), ValueError()):
            await spawn(joiner(task, handled))
        await sleep(2)
        log["error"] = chain(task.exception())

    run(main(), clock=VirtualClock())
    assert log == {
        "KeyError": ["OSError", "KeyError"],
        "IndexError": ["OSError", "IndexError"],
        "ValueError": ["OSError", "ValueError"],
        "error": ["OSError"],
    }


def test_a_task_that_is_joined_twice_by_one_is_not_its_own_context() -> None:
    async def failing() -> None:
        raise OSError("shared")

    async def main() -> list[list[str]]:
        task = await spawn(failing())
        found = []
        for _ in range(2):
            try:
                await join(task)
            except OSError as error:
                found.append(chain(error))
                with suppress(OSError):
                    await task
                found.append(chain(error))
        return found

    assert run(main(), clock=VirtualClock(), on_crash=lambda task: None) == [["OSError"]] * 4


def test_the_context_that_an_error_had_is_kept_for_every_joiner() -> None:
    async def failing() -> None:
        try:
            raise IndexError("where it began")
        except IndexError:
            raise OSError("shared")

    async def main() -> list[list[str]]:
        task = await spawn(failing())
        found = []
        for _ in range(2):
            try:
                await task
            except OSError as error:
                found.append(chain(error))
        return found

    found = run(main(), clock=VirtualClock(), on_crash=lambda task: None)
    assert found == [["OSError", "IndexError"]] * 2


# ---- groups


def reaches(error: BaseException | None, wanted: BaseException) -> bool:
    """Whether `wanted` is among the contexts of `error`."""
    seen: list[int] = []
    while error is not None and id(error) not in seen:
        seen.append(id(error))
        error = error.__context__
        if error is wanted:
            return True
    return False


async def failing(error: BaseException) -> None:
    await sleep(1)
    raise error


async def failing_group() -> None:
    async with TaskGroup() as group:
        await group.spawn(failing(ValueError("one")))
        await group.spawn(failing(KeyError("other")))


async def failing_block() -> None:
    async with TaskGroup() as group:
        await group.spawn(failing(ValueError("one")))
        try:
            await sleep(5)
        except Cancelled:
            raise KeyError("of the block") from None


def failing_plain_block() -> Gen:
    with TaskGroup() as group:
        yield group.spawn(failing(ValueError("one")))
        yield group.join()


async def failing_in_an_except_block() -> None:
    try:
        raise IndexError("handled")
    except IndexError:
        async with TaskGroup() as group:
            await group.spawn(failing(ValueError("one")))


async def failing_gather() -> None:
    await gather(failing(ValueError("one")), failing(KeyError("other")))


async def failing_race() -> None:
    await race(failing(ValueError("one")), failing(KeyError("other")))


async def joining_a_child() -> None:
    async with TaskGroup() as group:
        task = await group.spawn(failing(ValueError("one")))
        await task


GROUPS = [
    failing_group,
    failing_block,
    failing_plain_block,
    failing_in_an_except_block,
    failing_gather,
    failing_race,
    joining_a_child,
]


@pytest.mark.parametrize("routine", GROUPS)
def test_the_error_of_a_group_and_its_members_are_not_each_others_context(routine: Any) -> None:
    error = raised_by(routine())
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    assert members or routine is failing_race
    assert [reaches(error, each) for each in members] == [False] * len(members)
    assert [reaches(each, error) for each in members] == [False] * len(members)
    assert not reaches(error, error)


def test_the_error_of_a_group_in_an_except_block_has_that_as_its_context() -> None:
    assert chain(raised_by(failing_in_an_except_block())) == ["ExceptionGroup", "IndexError"]


def test_the_error_of_a_group_in_a_group_is_a_member_and_no_context() -> None:
    async def main() -> None:
        async with TaskGroup() as group:
            await group.spawn(failing_group())

    error = raised_by(main())
    assert isinstance(error, ExceptionGroup)
    (inner,) = error.exceptions
    assert (type(inner), reaches(inner, error), reaches(error, inner)) == (
        ExceptionGroup,
        False,
        False,
    )


# ---- pickling


def pickled(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


def cancelled(reason: Any) -> Any:
    """The `Cancelled` of a task that was cancelled with this reason."""

    def main() -> Gen:
        task = yield spawn(helper(), name="worker")
        yield
        task.cancel(reason)
        with suppress(Cancelled):
            yield task
        return task.exception(), task

    error, _ = run(main(), clock=VirtualClock())
    return error


@pytest.mark.parametrize("reason", [None, "enough", 3, ("a", 1), ValueError("why")])
def test_cancelled_pickles_with_a_reason_that_does(reason: Any) -> None:
    error = cancelled(reason)
    copy = pickled(error)
    assert (type(copy), str(copy), repr(copy.reason)) == (Cancelled, str(error), repr(reason))
    assert copy.bytes_sent == 0


def test_cancelled_pickles_with_the_text_of_a_reason_that_does_not() -> None:
    reason = threading.Lock()
    copy = pickled(cancelled(reason))
    assert (type(copy), copy.reason) == (Cancelled, str(reason))


def test_the_cancelled_of_a_block_pickles() -> None:
    def main() -> Gen:
        try:
            with timeout(1):
                yield sleep(5)
        except TimeoutError as error:
            return error

    copy = pickled(run(main(), clock=VirtualClock()).__cause__)
    assert (type(copy), copy.scope, copy.reason) == (Cancelled, "timeout(1)", "its time is over")


def test_a_copy_of_a_cancelled_can_be_copied_again() -> None:
    copy = pickled(pickled(cancelled("enough")))
    assert str(copy) == str(cancelled("enough"))


ERRORS = [
    BrokenBarrierError,
    BrokenLockError,
    BusyError,
    ClosedError,
    Empty,
    ForkedError,
    Full,
    InvariantError,
    LimitExceeded,
    ShutDown,
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_the_library_pickles(kind: type[Exception]) -> None:
    copy = pickled(kind("why"))
    assert (type(copy), copy.args, str(copy)) == (kind, ("why",), "why")


def test_an_incomplete_read_error_pickles_with_how_much_there_is() -> None:
    copy = pickled(IncompleteReadError("ended early", 7))
    assert (type(copy), str(copy), copy.available) == (IncompleteReadError, "ended early", 7)


def test_a_deadlock_error_pickles_with_its_table() -> None:
    def main() -> Gen:
        lock = Lock(name="the lock")
        yield lock.acquire()
        yield spawn(iter(lock.acquire()), name="other")
        yield Channel[int](name="the channel").recv()

    error = raised_by(main())
    copy = pickled(error)
    assert (type(copy), str(copy)) == (DeadlockError, str(error))
    assert "the channel" in str(copy)


def test_the_exception_group_of_a_group_pickles() -> None:
    copy = pickled(raised_by(failing_group()))
    assert [type(each) for each in copy.exceptions] == [ValueError, KeyError]
