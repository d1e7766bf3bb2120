"""Rule 1: no task's doing can stop the kernel.

Whatever a task hands to the kernel, raises, or has called at an odd moment, ends that task
at most. Those beside it go on, nobody is cancelled without a culprit, and what was taken
apart halfway can be done again. More of this, at random: ``python3 -m tests.hostile``.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

import pytest

import microthreads
from microthreads import (
    Barrier,
    BrokenBarrierError,
    Channel,
    ClosedError,
    Event,
    PriorityQueue,
    Queue,
    Semaphore,
    ShutDown,
    move_on_after,
    now,
    run,
    select,
    sleep,
    sleep_until,
    spawn,
    timeout,
)
from microthreads.observe import forgotten, misheard
from microthreads.sim import VirtualClock
from microthreads.timeouts import CancelScope

Gen = Generator[Any, Any, Any]
PACKAGE = os.path.dirname(microthreads.__file__) + os.sep
WATCHING = (forgotten.__file__, misheard.__file__)  # they run in debug mode only


def beside_an_innocent(*culprits: Gen, seconds: float = 10, **options: Any) -> list[Any]:
    """What comes of `culprits`: the names of those that crashed, and what the innocent did."""
    log: list[Any] = []

    def innocent() -> Gen:
        yield sleep(seconds)
        log.append("the innocent went on")

    def main() -> Gen:
        yield spawn(innocent())
        for culprit in culprits:
            yield spawn(culprit, name="culprit")

    crashed = options.setdefault("on_crash", lambda task: log.append(task.name))
    assert crashed is not None
    run(main(), clock=VirtualClock(), grace=0.1, **options)
    return log


# ---- odd errors


class NoTraceback(Exception):
    def with_traceback(self, trace: Any) -> NoReturn:
        raise TypeError("a text, please")


class NoAttributes(Exception):
    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(name)


class NoText(Exception):
    def __str__(self) -> NoReturn:
        raise ValueError("no text")

    __repr__ = __str__


class NoNotes(Exception):
    def add_note(self, text: str) -> NoReturn:
        raise ValueError("no notes")


class NotEqual(Exception):
    def __eq__(self, other: object) -> NoReturn:
        raise ValueError("not comparable")

    def __hash__(self) -> NoReturn:
        raise ValueError("not hashable")


class NotTrue(Exception):
    def __bool__(self) -> NoReturn:
        raise ValueError("neither true nor false")


class False_(Exception):
    def __bool__(self) -> bool:
        return False


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int = 4


ODD = [NoTraceback, NoAttributes, NoText, NoNotes, NotEqual, NotTrue, False_, Frozen]
odd = pytest.mark.parametrize("kind", ODD)


@odd
def test_an_odd_error_ends_its_task_alone(as_task: Any, kind: type[Exception]) -> None:
    def culprit() -> Gen:
        yield
        raise kind

    assert beside_an_innocent(as_task(culprit())) == ["culprit", "the innocent went on"]


@odd
def test_an_odd_error_reaches_whoever_joins(as_task: Any, kind: type[Exception], vrun: Any) -> None:
    def culprit() -> Gen:
        yield sleep(1)
        raise kind

    def main() -> Gen:
        task = yield spawn(culprit())
        for _ in range(2):
            try:
                yield task
            except kind as error:
                assert error is task.exception()
        return now()

    assert vrun(as_task(main())) == 1


@odd
def test_an_odd_error_of_main_is_what_run_raises(vrun: Any, kind: type[Exception]) -> None:
    def main() -> Gen:
        yield
        raise kind

    seen: list[type[BaseException]] = []
    try:
        vrun(main())
    except BaseException as error:
        seen.append(type(error))
    assert seen == [kind]


@odd
def test_an_odd_error_goes_through_nested_routines_and_blocks(
    vrun: Any, kind: type[Exception]
) -> None:
    def deeper() -> Gen:
        yield
        raise kind

    def main() -> Gen:
        try:
            with timeout(5), move_on_after(5):
                yield deeper()
        except kind:
            yield sleep(1)
            return now()

    assert vrun(main()) == 1


@odd
def test_run_raises_the_very_error_of_a_signal_handler(kind: type[Exception]) -> None:
    log: list[Any] = []

    def handler(number: int, frame: Any) -> None:
        raise kind

    def main() -> Gen:
        try:
            yield sleep(5)
        finally:
            log.append("cleaned up")

    with alarm(handler, 0.01):
        try:
            run(main())
        except BaseException as error:
            log.append(type(error))
    assert log == ["cleaned up", kind]


# ---- odd numbers

NUMBERS = [Decimal(3), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Fraction(7, 2)]
NUMBERS += [10**400, -(10**400), True, math.inf, math.nan, "3", 3j, None, [3]]  # type: ignore[list-item]


class OddFloat:
    def __float__(self) -> NoReturn:
        raise ZeroDivisionError("no number")


def moved(scope: Any, deadline: Any) -> Gen:
    with scope:
        scope.deadline = deadline
        yield sleep(4)


USES: dict[str, Callable[[Any], Gen]] = {
    "sleep": lambda number: iter(sleep(number)),  # type: ignore[arg-type,return-value]
    "sleep_until": lambda number: iter(sleep_until(number)),  # type: ignore[arg-type,return-value]
    "deadline of timeout": lambda number: moved(timeout(50), number),
    "deadline of move_on_after": lambda number: moved(move_on_after(50), number),
    "deadline of CancelScope": lambda number: moved(CancelScope(), number),
    "timeout": lambda number: moved(timeout(number), math.inf),
    "timeout of put": lambda number: iter(Queue().put(1, timeout=number)),  # type: ignore[arg-type,return-value]
}


@pytest.mark.forgets
@pytest.mark.parametrize("number", [*NUMBERS, OddFloat()], ids=repr)
@pytest.mark.parametrize("use", USES)
def test_a_number_of_an_odd_type_is_taken_or_refused_in_its_own_task(use: str, number: Any) -> None:
    refused = (TypeError, ValueError, ZeroDivisionError, TimeoutError)

    def careless() -> Gen:
        with suppress(*refused):
            yield from USES[use](number)

    def careless_beside() -> Gen:
        with move_on_after(20):  # for ever is a number, too
            yield from careless()

    assert beside_an_innocent(careless_beside()) == ["the innocent went on"]


@pytest.mark.parametrize("number", [Decimal("1.5"), Fraction(3, 2)])
def test_a_decimal_and_a_fraction_are_times_like_others(vrun: Any, number: Any) -> None:
    log: list[float] = []

    def main() -> Gen:
        yield sleep_until(number)
        log.append(now())
        with move_on_after(50) as scope:
            scope.deadline = number + 1
            yield sleep(9)
        log.append(now())

    vrun(main())
    assert log == [1.5, 2.5]


# ---- queues of the program's own


class Odd(Queue[Any]):
    """A queue that fails to take, or to put, what is even."""

    taking = putting = False

    def _get(self) -> Any:
        item = super()._get()
        if self.taking and item % 2 == 0:
            raise ValueError(f"cannot take {item}")
        return item

    def _put(self, item: Any) -> None:
        if self.putting and item % 2 == 0:
            raise ValueError(f"cannot put {item}")
        super()._put(item)


def getter(queue: Queue[Any], log: list[Any]) -> Gen:
    try:
        log.append(("got", (yield queue.get())))
    except ValueError as error:
        log.append(("getter", str(error)))


def putter(queue: Queue[Any], item: Any, log: list[Any]) -> Gen:
    try:
        yield queue.put(item)
        log.append(("put", item))
    except (ValueError, TypeError) as error:
        log.append(("putter", str(error)))
    except ShutDown:
        log.append("told of the shutdown")


def test_an_item_that_cannot_be_taken_is_the_error_of_the_one_that_waits_for_it(
    vrun: Any, as_task: Any
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        queue = Odd()
        queue.taking = True
        for _ in range(2):
            yield spawn(getter(queue, log))
        yield putter(queue, 2, log)
        yield putter(queue, 3, log)

    vrun(as_task(main()))
    assert sorted(map(str, log)) == sorted(
        map(str, [("put", 2), ("put", 3), ("getter", "cannot take 2"), ("got", 3)])
    )


def test_an_item_that_is_there_and_cannot_be_taken_is_the_error_of_the_one_that_gets(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        queue = Odd()
        queue.taking = True
        yield putter(queue, 2, log)
        yield getter(queue, log)

    vrun(main())
    assert log == [("put", 2), ("getter", "cannot take 2")]


def test_an_item_that_cannot_be_put_for_one_that_waits_is_its_own_error(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        queue = Odd(1)
        yield queue.put(1)
        for item in (2, 3):
            yield spawn(putter(queue, item, log))
        queue.putting = True
        yield getter(queue, log)
        yield
        yield getter(queue, log)

    vrun(main())
    assert log == [("putter", "cannot put 2"), ("put", 3), ("got", 1), ("got", 3)]


def test_a_getter_that_got_an_error_can_be_cancelled_afterwards() -> None:
    def culprit() -> Gen:
        queue = Odd()
        queue.taking = True
        task = yield spawn(getter(queue, []))
        yield queue.put(2)
        task.cancel()
        yield task

    assert beside_an_innocent(culprit()) == ["the innocent went on"]


@pytest.mark.parametrize("waiting", ["putter", "getter of a select", "joiner"])
def test_a_priority_queue_that_cannot_compare_its_items_tells_all_that_wait_of_its_shutdown(
    vrun: Any, waiting: str
) -> None:
    log: list[Any] = []

    def joiner(queue: Any) -> Gen:
        yield queue.join()
        log.append("told of the shutdown")

    def selecting(queue: Any) -> Gen:
        try:
            yield select(queue.put((2, "d")), Channel[int]().recv())
        except ShutDown:
            log.append("told of the shutdown")

    def main() -> Gen:
        queue: PriorityQueue[Any] = PriorityQueue(3)
        for item in ((0, "x"), (1, {1: 1}), (1, {2: 2})):
            yield queue.put(item)
        waits = {
            "putter": putter(queue, (2, "c"), log),
            "getter of a select": selecting(queue),
            "joiner": joiner(queue),
        }
        yield spawn(waits[waiting], daemon=True)
        yield
        with suppress(TypeError):
            queue.shutdown(immediate=True)
        yield sleep(1)

    vrun(main())
    assert log == ["told of the shutdown"]


# ---- plain calls at the recursion limit


class Wakers:
    """Things that several tasks wait for, and the plain call that wakes them all."""

    @staticmethod
    def event() -> tuple[Callable[[], Any], Callable[[], None]]:
        event = Event()
        return event.wait, event.set

    @staticmethod
    def channel() -> tuple[Callable[[], Any], Callable[[], None]]:
        channel: Channel[int] = Channel()
        return channel.recv, channel.close

    @staticmethod
    def queue() -> tuple[Callable[[], Any], Callable[[], None]]:
        queue: Queue[int] = Queue()
        return queue.get, queue.shutdown

    @staticmethod
    def barrier() -> tuple[Callable[[], Any], Callable[[], None]]:
        barrier = Barrier(9)
        return barrier.wait, barrier.abort

    @staticmethod
    def selects() -> tuple[Callable[[], Any], Callable[[], None]]:
        event = Event()
        return lambda: select(event.wait(), Channel[int]().recv()), event.set


every_waker = pytest.mark.parametrize("waker", ["event", "channel", "queue", "barrier", "selects"])


@every_waker
@pytest.mark.parametrize("spare", [0, 3, 8, 14])
def test_a_plain_call_that_fails_at_the_recursion_limit_can_be_made_again(
    vrun: Any, waker: str, spare: int
) -> None:
    log: list[int] = []
    wait, wake = getattr(Wakers, waker)()

    def waiter(number: int) -> Gen:
        with suppress(ClosedError, ShutDown, BrokenBarrierError):
            yield wait()
        log.append(number)

    def deep(left: int) -> int:
        """Call `wake` at the limit, less so many frames."""
        try:
            left = deep(left)
        except RecursionError:
            left = spare
        if left == 0:
            wake()
        return left - 1

    def main() -> Gen:
        for number in range(3):
            yield spawn(waiter(number), daemon=True)
        with suppress(RecursionError):
            deep(spare)
        wake()
        yield sleep(1)

    vrun(main(), grace=0.1)
    assert sorted(log) == [0, 1, 2]


def test_a_release_at_the_recursion_limit_lets_one_in_or_can_be_made_again(vrun: Any) -> None:
    log: list[int] = []
    semaphore = Semaphore(0)

    def waiter(number: int) -> Gen:
        yield semaphore.acquire()
        log.append(number)

    def deep() -> bool:
        try:
            return deep()
        except RecursionError:
            semaphore.release()
            return True

    def main() -> Gen:
        for number in range(3):
            yield spawn(waiter(number), daemon=True)
        released = 0
        with suppress(RecursionError):
            released += deep()
        semaphore.release(3 - released)
        yield sleep(1)

    vrun(main(), grace=0.1)
    assert sorted(log) == [0, 1, 2]


# ---- plain calls and signals at any moment


@contextmanager
def at_the_call(number: int, function: Callable[[], Any]) -> Iterator[list[bool]]:
    """Call `function` as the package enters a function of its own for the so-manieth time.

    So may a finalizer, or a signal handler. Counting begins when the list that is given
    is no longer empty.
    """
    begun: list[bool] = []
    left = number

    def strike(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        file = frame.f_code.co_filename
        if event == "call" and begun and file.startswith(PACKAGE) and file not in WATCHING:
            left -= 1
            if left == 0:
                function()

    before = sys.getprofile()
    sys.setprofile(strike)
    try:
        yield begun
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("waiting", ["wait", "select", "time limit", "nested selects"])
def test_a_finalizer_may_set_an_event_at_any_moment(unobserved: None, waiting: str) -> None:
    wrong: dict[int, Any] = {}

    def main(event: Event, begun: list[bool]) -> Gen:
        recv = Channel[int]().recv
        calls = {
            "wait": lambda: iter(event.wait()),
            "select": lambda: iter(select(event.wait(), recv())),
            "time limit": lambda: iter(event.wait(timeout=0.9)),
            "nested selects": lambda: iter(select(recv(), select(recv(), event.wait()))),
        }
        task = yield spawn(calls[waiting]())
        begun.append(True)
        yield sleep(1)
        event.set()
        yield sleep(1)
        assert task.done

    for number in range(1, 60):
        event = Event()
        try:
            with at_the_call(number, event.set) as begun:
                run(main(event, begun), clock=VirtualClock(), grace=0.1)
        except BaseException as error:
            wrong[number] = repr(error)
    assert wrong == {}


@pytest.mark.parametrize("kind", ["queue", "channel"])
def test_a_finalizer_may_put_at_any_moment_and_nothing_is_lost(unobserved: None, kind: str) -> None:
    wrong: dict[int, Any] = {}

    def main(get: Any, put: Any, begun: list[bool]) -> Gen:
        log: list[Any] = []

        def getter() -> Gen:
            for _ in range(2):
                log.append((yield get()))

        yield spawn(getter())
        begun.append(True)
        yield sleep(1)
        put(2)
        yield sleep(1)
        return sorted(log)

    for number in range(1, 40):
        queue: Queue[int] = Queue()
        channel: Channel[int] = Channel(2)
        get, put = {
            "queue": (queue.get, queue.put_nowait),
            "channel": (channel.recv, channel.try_send),
        }[kind]

        def early(put: Any = put) -> None:
            put(1)

        found: Any = None
        try:
            with at_the_call(number, early) as begun:
                found = run(main(get, put, begun), clock=VirtualClock(), grace=0.1)
        except microthreads.DeadlockError:
            found = "the call never came" if number > 15 else "deadlock"
        except BaseException as error:
            found = repr(error)
        if found not in ([1, 2], "the call never came"):
            wrong[number] = found
    assert wrong == {}


@contextmanager
def alarm(handler: Callable[[int, Any], None], seconds: float | None = None) -> Iterator[None]:
    """`handler` handles the signal, which comes in so many seconds, if it is to come at all."""
    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(seconds or 0, signal.pthread_kill, (main, signal.SIGUSR1))
    try:
        if seconds is not None:
            timer.start()
        yield
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # one that comes late does no harm
        if seconds is not None:
            timer.cancel()
            timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_when_a_signal_handler_raises_at_a_random_moment_every_finally_runs(
    unobserved: None,
) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def handler(number: int, frame: Any) -> None:
        raise ValueError("the alarm")

    def worker(more: int) -> Gen:
        try:
            begun.append(more)
            while True:
                yield spawn(worker(0), daemon=True) if more > 0 else None
                more -= 1
        finally:
            ended.append(more)

    chance = random.Random(12)
    lost = []
    for _ in range(100):
        with pytest.raises((ValueError, SystemExit)), alarm(handler, chance.uniform(0, 0.002)):
            run(worker(5), grace=0.3, on_crash=lambda task: sys.exit(1))
        lost.append(len(begun) - len(ended))
    assert lost == [0] * 100


def test_when_a_signal_handler_raises_in_the_kernel_itself_every_finally_runs(
    unobserved: None,
) -> None:
    wrong: dict[int, Any] = {}

    def handler(number: int, frame: Any) -> None:
        raise ValueError("the alarm")

    def worker(log: list[str]) -> Gen:
        try:
            for _ in range(20):
                yield sleep(0.001)
        finally:
            log.append("cleaned up")

    def main(log: list[str], begun: list[bool]) -> Gen:
        tasks = []
        for _ in range(3):
            tasks.append((yield spawn(worker(log))))
        begun.append(True)
        for task in tasks:
            yield task.join()

    with alarm(handler):
        for number in range(1, 80):
            log: list[str] = []
            with suppress(ValueError), at_the_call(number, ring) as begun:
                run(main(log, begun), clock=VirtualClock(), grace=0.3, on_crash=lambda task: None)
            if log != ["cleaned up"] * 3:
                wrong[number] = log
    assert wrong == {}


def ring() -> None:
    signal.raise_signal(signal.SIGUSR1)


@pytest.mark.forgets
def test_a_flag_is_not_set_by_half_where_the_stack_is_full(vrun: Any) -> None:
    """Its waiters stand in a select, which takes more of the stack than setting the flag."""

    def deep(levels: int, act: Any) -> Any:
        return deep(levels - 1, act) if levels else act()

    def room() -> int:
        try:
            return 1 + room()
        except RecursionError:
            return 0

    def main() -> Gen:
        halves = []
        for left in range(45):
            event = Event()
            waiter = yield spawn(iter(select(event.wait(), sleep(5))), daemon=True)
            yield
            try:
                deep(room() - left, event.set)
            except RecursionError:
                halves.append(event.is_set())
            event.set()
            assert (yield waiter) == (0, True)
        return halves

    halves = vrun(main())
    assert halves
    assert not any(halves)
