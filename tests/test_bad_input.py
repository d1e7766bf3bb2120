"""Wrong arguments: a clear error at the place of the mistake, and the kernel goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import socket
import sys
import tempfile
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import (
    BusyError,
    Channel,
    ClosedError,
    Descriptor,
    Kernel,
    SelectorPoller,
    Socket,
    current_task,
    join,
    move_on_after,
    now,
    run,
    select,
    shield,
    sleep,
    sleep_until,
    spawn,
    timeout,
)

Gen = Generator[Any, Any, Any]


def routine(value: Any = None) -> Gen:
    yield sleep(1)
    return value


async def coroutine() -> None:
    await sleep(1)


async def agen() -> Any:
    yield 1


def plain() -> int:
    return 5


@pytest.fixture
def goes_on(vrun: Any) -> Any:
    """Runs `check()` in a task; then all that the kernel promises must still hold."""

    def attempt(check: Any, **options: Any) -> None:
        log: list[Any] = []
        channel: Channel[int] = Channel()

        def sender() -> Gen:
            for i in range(3):
                yield channel.send(i)
                yield sleep(1)

        def receiver() -> Gen:
            for _ in range(3):
                log.append((yield channel.recv()))

        def main() -> Gen:
            before = yield spawn(receiver())
            yield check()
            yield spawn(sender())
            yield before
            return (yield routine("goes on"))

        assert vrun(main(), **options) == "goes on"
        assert log == [0, 1, 2]

    return attempt


def refused(make: Any, error: Any, match: str | None = None) -> Any:
    """A routine that checks that what `make` returns is refused, at the call or at the yield."""

    def check() -> Gen:
        with pytest.raises(error, match=match):
            yield make()
        # a second yield must work as if nothing had happened
        yield
        yield sleep(0)

    return check


# --- what is no routine -----------------------------------------------------------------------


@pytest.mark.parametrize("function", [routine, coroutine, agen], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "start", [run, spawn, microthreads.Kernel().spawn], ids=["run", "spawn", "Kernel.spawn"]
)
def test_a_function_that_was_not_called_is_told_to_be_called(start: Any, function: Any) -> None:
    with pytest.raises(TypeError, match="call it|async generator"):
        start(function)


def test_the_advice_names_the_function() -> None:
    def main() -> Gen:
        yield

    for start in (run, spawn):
        with pytest.raises(TypeError, match=r"call it: .*main\(\)"):
            start(main)


def test_a_method_or_a_lambda_that_was_not_called_is_a_type_error() -> None:
    class Server:
        def serve(self) -> Gen:
            yield

    for start in (run, spawn):
        with pytest.raises(TypeError, match="call it"):
            start(Server().serve)
        with pytest.raises(TypeError):
            start(lambda: routine())


@pytest.mark.parametrize(
    "thing",
    [None, 5, "main()", [], object(), plain, sleep, iter([]), range(3)],
    ids=repr,
)
@pytest.mark.parametrize("start", [run, spawn], ids=["run", "spawn"])
def test_what_is_no_routine_is_a_type_error_that_names_it(start: Any, thing: Any) -> None:
    with pytest.raises(TypeError) as caught:
        start(thing)
    assert getattr(thing, "__name__", repr(thing)) in str(caught.value)


@pytest.mark.parametrize("start", [run, spawn], ids=["run", "spawn"])
def test_a_system_call_is_no_routine(start: Any) -> None:
    with pytest.raises(TypeError):
        start(sleep(1))


@pytest.mark.parametrize("start", [run, spawn], ids=["run", "spawn"])
def test_an_async_generator_is_no_routine(start: Any) -> None:
    with pytest.raises(TypeError, match="async"):
        start(agen())


def test_a_wrong_argument_of_spawn_leaves_the_kernel_as_it_was(goes_on: Any) -> None:
    goes_on(refused(lambda: spawn(routine), TypeError, "call it"))
    goes_on(refused(lambda: spawn(5), TypeError))
    goes_on(refused(lambda: spawn(agen()), TypeError))


def test_an_async_generator_yielded_is_a_type_error(goes_on: Any) -> None:
    goes_on(refused(agen, TypeError))


def test_a_name_that_is_no_text_is_a_type_error_or_is_shown_as_text(goes_on: Any) -> None:
    def check() -> Gen:
        child = routine()
        try:
            task = yield spawn(child, name=5)
        except TypeError:
            child.close()
        else:
            assert "5" in repr(task)
            task.cancel()

    goes_on(check)


# --- generators that cannot begin -----------------------------------------------------------------


def started() -> Gen:
    generator = routine()
    next(generator)
    return generator


def finished() -> Gen:
    generator = routine()
    generator.close()
    return generator


def exhausted() -> Gen:
    generator = (lambda: (yield))()
    list(generator)
    return generator


def finished_coroutine() -> Any:
    made = coroutine()
    made.close()
    return made


UNFIT = pytest.mark.parametrize(
    "unfit",
    [
        started,
        pytest.param(
            finished,
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 12),
                reason="CPython 3.12 and later keep what a generator that was closed unstarted refers to, "
                "so telling costs 168 bytes a task; it counts as one that returned None",
            ),
        ),
        exhausted,
        finished_coroutine,
    ],
    ids=lambda f: f.__name__,
)


@pytest.mark.forgets
@UNFIT
def test_run_of_a_routine_that_was_started_or_is_finished_is_a_runtime_error(unfit: Any) -> None:
    with pytest.raises(RuntimeError):
        run(unfit())


@pytest.mark.forgets
@UNFIT
def test_spawn_of_a_routine_that_was_started_or_is_finished_is_a_runtime_error(
    goes_on: Any, unfit: Any
) -> None:
    goes_on(refused(lambda: spawn(unfit()), RuntimeError))


@pytest.mark.forgets
@UNFIT
def test_a_yield_of_a_routine_that_was_started_or_is_finished_is_a_runtime_error(
    goes_on: Any, unfit: Any
) -> None:
    goes_on(refused(unfit, RuntimeError))


def test_a_routine_that_is_a_task_already_cannot_be_spawned_again(goes_on: Any) -> None:
    def check() -> Gen:
        child = routine("value")
        task = yield spawn(child)
        with pytest.raises(RuntimeError):
            yield spawn(child)
        with pytest.raises(RuntimeError):
            yield child
        assert (yield task) == "value"
        with pytest.raises(RuntimeError):
            yield spawn(child)

    goes_on(check)


def test_one_routine_given_to_two_spawns_before_either_has_begun_is_refused(vrun: Any) -> None:
    with contextlib.closing(Kernel(clock=microthreads.sim.VirtualClock())) as kernel:
        child = routine("value")
        task = kernel.spawn(child)
        with pytest.raises(RuntimeError):
            kernel.spawn(child)
        kernel.run(routine())
        assert task.result() == "value"


def test_a_spawn_call_yielded_twice_starts_one_task_and_then_refuses(goes_on: Any) -> None:
    def check() -> Gen:
        call = spawn(routine("value"))
        task = yield call
        with pytest.raises(RuntimeError):
            yield call
        assert (yield task) == "value"

    goes_on(check)


def test_a_task_cannot_spawn_or_yield_its_own_routine(goes_on: Any) -> None:
    box: list[Any] = []

    def selfish() -> Gen:
        with pytest.raises(RuntimeError):
            yield spawn(box[0])
        with pytest.raises((RuntimeError, ValueError)):
            yield box[0]
        return "survived"

    def check() -> Gen:
        box.append(selfish())
        assert (yield (yield spawn(box[0]))) == "survived"

    goes_on(check)


def test_a_generator_yielded_twice_is_refused_the_second_time(goes_on: Any) -> None:
    def check() -> Gen:
        child = routine("value")
        assert (yield child) == "value"
        with pytest.raises(RuntimeError):
            yield child

    goes_on(check)


def test_a_generator_yielded_by_two_tasks_is_refused_to_the_second(goes_on: Any) -> None:
    child = routine("value")

    def first() -> Gen:
        return (yield child)

    def check() -> Gen:
        task = yield spawn(first())
        yield
        with pytest.raises(RuntimeError):
            yield child
        assert (yield task) == "value"

    goes_on(check)


def test_a_coroutine_refused_by_spawn_gives_no_warning_when_it_is_closed(
    goes_on: Any, recwarn: pytest.WarningsRecorder
) -> None:
    goes_on(refused(lambda: spawn(finished_coroutine()), RuntimeError))
    gc.collect()
    assert not recwarn.list


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan, -math.inf])
def test_negative_and_nan_seconds_are_a_value_error_at_the_call(seconds: float) -> None:
    for make in (sleep, timeout, move_on_after, shield):
        with pytest.raises(ValueError):
            make(seconds)


@pytest.mark.parametrize("seconds", ["1", None, b"1", [1], object(), 1j])
def test_seconds_of_a_wrong_type_are_a_type_error_at_the_call(seconds: Any) -> None:
    for make in (sleep, timeout, move_on_after, shield, sleep_until):
        if seconds is None and make in (timeout, move_on_after):
            continue  # that is no limit
        with pytest.raises(TypeError):
            make(seconds)


def test_a_nan_deadline_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        sleep_until(math.nan)


def test_a_bad_time_leaves_the_kernel_as_it_was(goes_on: Any) -> None:
    goes_on(refused(lambda: sleep(-1), ValueError))
    goes_on(refused(lambda: sleep(math.nan), ValueError))
    goes_on(refused(lambda: sleep("1"), TypeError))
    goes_on(refused(lambda: sleep_until(math.nan), ValueError))


def test_sleeping_until_infinity_or_minus_infinity_is_allowed(vrun: Any) -> None:
    def main() -> Gen:
        yield sleep_until(-math.inf)
        with move_on_after(3):
            yield sleep_until(math.inf)
        return now()

    assert vrun(main()) == 3


@pytest.mark.parametrize("grace", [-1, math.nan])
def test_a_grace_of_the_kernel_that_is_no_time_is_a_value_error(grace: float) -> None:
    with pytest.raises(ValueError):
        Kernel(grace=grace)


def test_a_grace_of_the_kernel_that_is_no_number_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Kernel(grace="5")  # type: ignore[arg-type]


# --- channels -------------------------------------------------------------------------------------


def test_a_negative_capacity_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        Channel(-1)


@pytest.mark.parametrize("capacity", ["1", 1.5, None, math.inf])
def test_a_capacity_that_is_no_integer_is_a_type_error(capacity: Any) -> None:
    with pytest.raises(TypeError):
        Channel(capacity)


# --- calls in wrong places --------------------------------------------------------------------------


@pytest.mark.forgets
def test_a_call_armed_for_another_task_cannot_be_yielded(goes_on: Any) -> None:
    def check() -> Gen:
        channel: Channel[int] = Channel()
        call = channel.recv()

        def first() -> Gen:
            return (yield call)

        task = yield spawn(first())
        with pytest.raises(RuntimeError):
            yield call
        with pytest.raises(RuntimeError):
            yield select(call, sleep(1))
        yield channel.send(7)
        assert (yield task) == 7
        assert channel.try_send(8) is False

    goes_on(check)


@pytest.mark.parametrize("kind", ["sleep", "join", "select", "channel"])
def test_any_kind_of_armed_call_is_refused_to_another_task(goes_on: Any, kind: str) -> None:
    def check() -> Gen:
        target = yield spawn(routine("target"))
        call: Any = {
            "sleep": lambda: sleep(2),
            "join": lambda: join(target),
            "select": lambda: select(sleep(2), target),
            "channel": lambda: Channel(0).send(1),
        }[kind]()

        def first() -> Gen:
            with move_on_after(3):
                yield call
            return "first is done"

        task = yield spawn(first())
        with pytest.raises(RuntimeError):
            yield call
        assert (yield task) == "first is done"

    goes_on(check)


def test_a_call_that_is_done_can_be_yielded_again(goes_on: Any) -> None:
    def check() -> Gen:
        channel: Channel[int] = Channel(2)
        send, receive, nap = channel.send(7), channel.recv(), sleep(1)
        begin = now()
        for _ in range(3):
            yield send
            assert (yield receive) == 7
            yield nap
        assert now() == begin + 3

    goes_on(check)


def test_a_call_that_was_cancelled_can_be_yielded_again(goes_on: Any) -> None:
    def check() -> Gen:
        channel: Channel[int] = Channel()
        call = channel.recv()
        with move_on_after(1):
            yield call
        yield spawn(routine())

        def sender() -> Gen:
            yield channel.send(7)

        yield spawn(sender())
        assert (yield call) == 7

    goes_on(check)


@pytest.mark.parametrize(
    "make",
    [lambda: sleep(0), lambda: sleep(1), lambda: Channel(1).send(1), lambda: Channel().recv()],
    ids=["sleep(0)", "sleep(1)", "send", "recv"],
)
def test_a_call_awaited_under_asyncio_is_a_clear_error(make: Any) -> None:
    async def main() -> None:
        await make()

    with pytest.raises(RuntimeError):
        asyncio.run(main())


@pytest.mark.forgets
def test_a_call_driven_by_hand_outside_a_kernel_has_no_effect() -> None:
    channel: Channel[int] = Channel(1)
    generator = (lambda: (yield channel.send(1)))()
    next(generator)
    generator.close()
    assert channel.try_recv("nothing") == "nothing"


def test_a_foreign_future_awaited_in_a_task_is_a_type_error(vrun: Any) -> None:
    async def main() -> str:
        loop = asyncio.new_event_loop()
        try:
            await loop.create_future()
        except (TypeError, RuntimeError) as error:
            return type(error).__name__
        finally:
            loop.close()
        return "accepted"

    assert vrun(main()) == "TypeError"


def test_a_task_of_another_kernel_cannot_be_joined(goes_on: Any) -> None:
    with contextlib.closing(Kernel(clock=microthreads.sim.VirtualClock())) as other:
        foreign = other.spawn(routine())
        goes_on(refused(lambda: join(foreign), RuntimeError))


def test_joining_what_is_no_task_is_a_type_error() -> None:
    for thing in (None, 5, routine, "task"):
        with pytest.raises(TypeError):
            join(thing)


def test_unknown_arguments_of_spawn_are_a_type_error(goes_on: Any) -> None:
    goes_on(refused(lambda: spawn(finished(), deamon=True), TypeError))


# --- select ---------------------------------------------------------------------------------------


def test_a_select_of_nothing_is_a_value_error(goes_on: Any) -> None:
    goes_on(refused(select, ValueError))


def test_a_select_of_the_same_call_twice_is_a_value_error(goes_on: Any) -> None:
    call = sleep(1)
    goes_on(refused(lambda: select(call, sleep(2), call), ValueError))


@pytest.mark.forgets
def test_a_select_of_what_is_no_call_is_a_type_error(goes_on: Any) -> None:
    for thing in (None, 5, "call", [], {}, sleep, [sleep(1)], {sleep(1): 2}):
        goes_on(refused(lambda thing=thing: select(sleep(1), thing), TypeError))


@pytest.mark.forgets
def test_a_select_of_something_unhashable_is_a_type_error_that_names_it(goes_on: Any) -> None:
    goes_on(refused(lambda: select([sleep(1), sleep(2)]), TypeError, r"\[<Sleep"))


def test_a_select_of_a_routine_is_a_type_error_and_leaves_the_routine_alone(goes_on: Any) -> None:
    def check() -> Gen:
        child = routine("value")
        with pytest.raises(TypeError):
            yield select(child, sleep(1))
        assert (yield child) == "value"

    goes_on(check)


def test_a_refused_select_arms_none_of_its_calls(goes_on: Any) -> None:
    def check() -> Gen:
        channel: Channel[int] = Channel()
        with pytest.raises(TypeError):
            yield select(channel.recv(), 5)
        assert channel.try_send(1) is False

    goes_on(check)


def test_a_select_one_of_whose_calls_fails_to_arm_leaves_none_armed(goes_on: Any) -> None:
    def check() -> Gen:
        channel: Channel[int] = Channel()
        armed = channel.send(1)

        def other() -> Gen:
            yield armed

        task = yield spawn(other())
        mine: Channel[int] = Channel()
        with pytest.raises(RuntimeError):
            yield select(mine.recv(), armed)
        assert mine.try_send(5) is False
        assert channel.try_recv() == 1
        yield task

    goes_on(check)


@pytest.mark.forgets
def test_a_select_of_sendall_is_refused_and_names_send() -> None:
    with pair() as (a, _):
        with pytest.raises(TypeError, match=r"\bsend\b"):
            select(a.sendall(b"data"), sleep(1))


def test_a_select_inside_a_select_works_or_is_a_type_error(goes_on: Any) -> None:
    def check() -> Gen:
        assert (yield select(select(sleep(5), sleep(1)), sleep(3))) == (0, (1, None))

    goes_on(check)


@pytest.mark.forgets
def test_a_sendall_hidden_in_a_nested_select_is_refused_too() -> None:
    with pair() as (a, _):
        with pytest.raises(TypeError):
            select(select(a.sendall(b"data")), sleep(1))


# --- sockets and descriptors ------------------------------------------------------------------------


@contextlib.contextmanager
def pair() -> Any:
    left, right = (Socket(s) for s in socket.socketpair())
    try:
        yield left, right
    finally:
        left.close()
        right.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.recv(),
        lambda s: s.recv_into(bytearray(5)),
        lambda s: s.recvfrom(),
        lambda s: s.send(b"x"),
        lambda s: s.sendall(b"x"),
        lambda s: s.sendto(b"x", "nowhere"),
        lambda s: s.accept(),
        lambda s: s.connect(("127.0.0.1", 1)),
        lambda s: s.readable(),
        lambda s: s.writable(),
        lambda s: select(s.recv(), sleep(1)),
    ],
)
def test_every_call_on_a_closed_socket_raises_closed_error(goes_on: Any, call: Any) -> None:
    with pair() as (a, _):
        a.close()
        goes_on(refused(lambda: call(a), ClosedError))


def test_a_call_made_before_the_close_and_yielded_after_it_raises_closed_error(
    goes_on: Any,
) -> None:
    with pair() as (a, _):
        call = a.recv()
        a.close()
        goes_on(refused(lambda: call, ClosedError))


def test_a_socket_of_what_is_no_socket_is_a_type_error() -> None:
    for thing in (None, 5, "socket", object()):
        with pytest.raises(TypeError):
            Socket(thing)  # type: ignore[arg-type]


def test_a_socket_of_a_closed_socket_is_a_value_error() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(ValueError):
        Socket(sock)


def test_a_socket_of_a_socket_is_a_type_error() -> None:
    with pair() as (a, _):
        with pytest.raises(TypeError):
            Socket(a)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["send", "sendall"])
@pytest.mark.parametrize("data", ["text", 5, None, [1]])
def test_sending_what_is_not_bytes_is_a_type_error(goes_on: Any, method: str, data: Any) -> None:
    with pair() as (a, _):
        goes_on(refused(lambda: getattr(a, method)(data), TypeError))


@pytest.mark.parametrize("size", [-1, "5", 1.5])
def test_a_bad_size_for_recv_is_an_error_and_loses_nothing(goes_on: Any, size: Any) -> None:
    with pair() as (a, b):

        def check() -> Gen:
            yield b.send(b"data")
            with pytest.raises((ValueError, TypeError)):
                yield a.recv(size)
            assert (yield a.recv()) == b"data"

        goes_on(check)


def test_two_readers_of_one_stream_the_newcomer_gets_busy_error(goes_on: Any) -> None:
    with pair() as (a, b):

        def reader() -> Gen:
            return (yield a.recv())

        def check() -> Gen:
            task = yield spawn(reader())
            with pytest.raises(BusyError):
                yield a.recv()
            yield b.send(b"data")
            assert (yield task) == b"data"

        goes_on(check)


def test_a_descriptor_of_neither_a_file_nor_a_number_is_a_type_error() -> None:
    for thing in (None, "file", object(), 1.5):
        with pytest.raises(TypeError):
            Descriptor(thing)


def test_a_descriptor_of_a_closed_file_is_a_value_error() -> None:
    file = tempfile.TemporaryFile()
    file.close()
    with pytest.raises(ValueError):
        Descriptor(file)
    with pytest.raises(ValueError):
        Descriptor(-1)


def test_a_descriptor_number_that_is_not_open_is_an_error_at_the_yield(goes_on: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with contextlib.suppress(ValueError):
        descriptor = Descriptor(read)
        goes_on(refused(descriptor.readable, OSError))


def test_a_descriptor_that_was_detached_raises_closed_error(goes_on: Any) -> None:
    read, write = os.pipe()
    descriptor = Descriptor(read)
    descriptor.detach()
    goes_on(refused(descriptor.readable, ClosedError))
    assert descriptor.fileno() == -1
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("poller", [None, "epoll", "poll", "select", SelectorPoller])
def test_a_regular_file_is_always_ready_whatever_the_poller(goes_on: Any, poller: Any) -> None:
    """epoll refuses regular files (EPERM); reading one never blocks."""
    log: list[str] = []

    with tempfile.TemporaryFile() as file:

        def check() -> Gen:
            descriptor = Descriptor(file)
            yield descriptor.readable()
            log.append("readable")
            yield descriptor.writable()
            log.append("writable")
            assert (yield select(descriptor.readable(), sleep(5))) == (0, None)
            descriptor.detach()

        options = {"poller": poller() if isinstance(poller, type) else poller}
        goes_on(check, **options)
    assert log == ["readable", "writable"]


# --- options of the kernel ----------------------------------------------------------------------------


def test_an_unknown_poller_name_is_a_value_error_that_lists_the_known_ones() -> None:
    for make in (lambda: Kernel(poller="kqueue2"), lambda: run(routine(), poller="kqueue2")):
        with pytest.raises(ValueError, match="kqueue2.*epoll|epoll.*kqueue2"):
            make()


def test_a_poller_that_is_none_is_a_type_error() -> None:
    for thing in (5, object(), ["epoll"]):
        with pytest.raises(TypeError):
            Kernel(poller=thing)


def test_an_unknown_option_of_run_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="clok"):
        run(routine(), clok=None)


def test_an_option_of_run_is_checked_before_main_runs() -> None:
    child = routine("value")
    with pytest.raises(TypeError):
        run(child, clok=None)
    assert run(child, clock=microthreads.sim.VirtualClock()) == "value"


@pytest.mark.forgets
def test_a_refused_run_leaves_this_thread_free_for_the_next(vrun: Any) -> None:
    for bad in (None, routine, started()):
        with pytest.raises((TypeError, RuntimeError)):
            run(bad)
    assert vrun(routine("fine")) == "fine"


@pytest.mark.forgets
def test_a_refused_run_leaves_no_descriptor_open() -> None:
    def refuse() -> None:
        with pytest.raises(TypeError):
            run(None)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            run(started())

    refuse()
    before = sorted(os.listdir("/proc/self/fd"))
    refuse()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_post_of_what_cannot_be_called_does_not_stop_the_kernel() -> None:
    with contextlib.closing(Kernel(clock=microthreads.sim.VirtualClock())) as kernel:
        with contextlib.suppress(TypeError):
            kernel.post(5)  # type: ignore[arg-type]
        assert kernel.run(routine("goes on")) == "goes on"


# --- system calls that misbehave ----------------------------------------------------------------------


class Broken(microthreads.SystemCall[Any]):
    """A user's system call with a mistake in one of its four methods."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.inner = Channel().recv()

    def attempt(self, task: Any) -> Any:
        if self.where == "attempt":
            raise ZeroDivisionError(self.where)
        return self.inner.attempt(task)

    def arm(self, waiter: Any) -> None:
        if self.where == "arm":
            raise ZeroDivisionError(self.where)


@pytest.mark.forgets
@pytest.mark.parametrize("where", ["attempt", "arm"])
@pytest.mark.parametrize("selected", [False, True])
def test_an_error_in_a_users_system_call_is_raised_at_its_yield(
    goes_on: Any, where: str, selected: bool
) -> None:
    def make() -> Any:
        call = Broken(where)
        return select(sleep(1), call) if selected else call

    goes_on(refused(make, ZeroDivisionError, where))


@pytest.mark.forgets
def test_a_system_call_whose_init_was_not_called_is_an_error_at_its_yield(goes_on: Any) -> None:
    class NoInit(microthreads.SystemCall[None]):
        def __init__(self) -> None:
            pass

        def attempt(self, task: Any) -> Any:
            return None

    def check() -> Gen:
        with contextlib.suppress(RuntimeError, AttributeError, TypeError):
            yield NoInit()
        yield

    goes_on(check)


def test_a_cancel_of_the_current_task_by_a_mistake_is_only_its_own(goes_on: Any) -> None:
    def check() -> Gen:
        def child() -> Gen:
            current_task().cancel()
            yield

        task = yield spawn(child())
        with pytest.raises(microthreads.Cancelled):
            yield task

    goes_on(check)
