"""What a careful reader found in the first version: each is a rule that had a hole."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers import later, program, tcp_pair, unlogged

from microthreads import (
    BusyError,
    Cancelled,
    Channel,
    DeadlockError,
    Descriptor,
    Kernel,
    Socket,
    accept_loop,
    current_task,
    listen,
    move_on_after,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)

Gen = Generator[Any, Any, Any]


# ---- the poller


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
def test_a_wait_of_months_is_no_overflow(poller: str) -> None:
    def main() -> Gen:
        task = yield spawn(later(3e6, print))
        yield spawn(later(0.01, current_task().kernel.post, task.cancel), daemon=True)
        with pytest.raises(Cancelled):
            yield task

    run(main(), poller=poller)


def test_a_peek_leaves_the_data_for_the_next_recv() -> None:
    def main() -> Gen:
        with contextlib.ExitStack() as stack:
            near, far = tcp_pair(stack)
            yield spawn(later(0.01, far.send, b"first"))
            assert (yield near.recv()) == b"first"
            yield spawn(later(0.01, far.send, b"hello"))
            assert (yield near.recv(100, socket.MSG_PEEK)) == b"hello"
            with timeout(1):
                return (yield near.recv())

    assert run(main()) == b"hello"


def test_urgent_data_in_the_stream_hides_nothing_behind_it() -> None:
    def send_all(far: socket.socket) -> None:
        far.send(b"abc")
        far.send(b"X", socket.MSG_OOB)
        far.send(b"def")

    def main() -> Gen:
        got = b""
        with contextlib.ExitStack() as stack:
            near, far = tcp_pair(stack)
            yield spawn(later(0.01, send_all, far))
            with timeout(1):
                while not got.endswith(b"def"):
                    got += yield near.recv()
        return got

    assert run(main()) == b"abcdef"


def test_a_message_with_descriptors_hides_nothing_behind_it() -> None:
    def main() -> Gen:
        a, b = socket.socketpair()
        near = Socket(a)
        got = b""
        with near, b:
            yield spawn(later(0.01, socket.send_fds, b, [b"abc"], [0]))
            yield spawn(later(0.01, b.send, b"def"))
            with timeout(1):
                while len(got) < 6:
                    got += yield near.recv()
        return got

    assert run(main()) == b"abcdef"


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
def test_a_second_descriptor_object_of_one_file_is_busy_and_the_first_goes_on(poller: str) -> None:
    def main() -> Gen:
        r, w = os.pipe()
        first, second = Descriptor(r), Descriptor(r)
        task = yield spawn(later(0, lambda: None))
        yield task
        waiting = yield spawn(wait_for(first))
        yield
        with pytest.raises(BusyError, match="another Descriptor object"):
            yield second.readable()
        with pytest.raises(BusyError):
            yield select(second.readable(), Channel().recv())
        os.write(w, b"x")
        assert (yield waiting) == "readable"
        assert current_task().kernel.poller.armed == 0
        first.detach()
        os.close(r)
        os.close(w)

    def wait_for(descriptor: Descriptor) -> Gen:
        yield descriptor.readable()
        return "readable"

    run(main(), poller=poller)


def test_recv_of_no_bytes_waits_for_nothing() -> None:
    def main() -> Gen:
        with contextlib.ExitStack() as stack:
            near, far = tcp_pair(stack)
            yield spawn(later(0.01, far.send, b"x"))
            yield near.recv()
            with timeout(1):
                return (yield near.recv(0))

    assert run(main()) == b""


def test_a_full_unix_datagram_peer_is_waited_for_without_spinning() -> None:
    def main() -> Gen:
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = f"\0microthreads-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer, a, b:
            peer.bind(path)
            with Socket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
                before = time.process_time()
                with move_on_after(0.2) as scope:
                    while True:
                        yield sender.sendto(b"x", path)
                return scope.expired, time.process_time() - before

    expired, cpu = run(main())
    assert expired
    assert cpu < 0.1


# ---- failing


@dataclass(frozen=True)
class Frozen(Exception):
    key: str


def test_an_error_that_takes_no_notes_does_not_stop_the_kernel(vrun: Any) -> None:
    def child() -> Gen:
        yield
        raise Frozen("k")

    def main() -> Gen:
        task = yield spawn(child())
        with pytest.raises(Frozen):
            yield task
        return "went on"

    assert vrun(main()) == "went on"


def test_an_error_that_is_raised_a_thousand_times_does_not_grow(vrun: Any) -> None:
    error = ValueError("shared")

    def child() -> Gen:
        raise error
        yield

    def main() -> Gen:
        for _ in range(1000):
            with pytest.raises(ValueError, match="shared"):
                yield (yield spawn(child()))

    vrun(main(), on_crash=lambda task: None)
    assert len(error.__notes__) < 100


class Broken:
    def close(self) -> None:
        raise OSError("will not close")


def test_what_fails_to_close_with_its_task_is_logged_and_joiners_are_woken(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def child() -> Gen:
        yield
        return 7

    def main() -> Gen:
        task = yield spawn(child())
        task.closing = Broken()
        return (yield task)

    assert vrun(main()) == 7
    assert "will not close" in caplog.text


def test_a_log_that_fails_does_not_stop_the_kernel(vrun: Any) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("no log")

    def child() -> Gen:
        raise KeyError
        yield

    def main() -> Gen:
        yield spawn(child())
        yield sleep(1)
        return "went on"

    handler = Failing()
    logging.getLogger("microthreads").addHandler(handler)
    try:
        assert vrun(main()) == "went on"
    finally:
        logging.getLogger("microthreads").removeHandler(handler)


def test_an_error_of_main_while_a_deadlock_ends_it_is_the_cause(vrun: Any) -> None:
    def main() -> Gen:
        try:
            yield Channel().recv()
        finally:
            raise ValueError("data not saved")

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    assert str(caught.value.__cause__) == "data not saved"


def test_a_deadlock_is_reported_from_a_directory_that_is_gone(tmp_path: Path) -> None:
    text = """
        import os
        from microthreads import *
        os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
        def main():
            yield Channel(name="jobs").recv()
        try:
            run(main())
        except DeadlockError as error:
            print(error)
    """
    assert "recv on Channel 'jobs'" in program(text, cwd=tmp_path).stdout


def test_a_deadlock_that_something_posted_has_resolved_is_none(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(math.inf) as scope:

            def soon() -> None:
                scope.deadline = now() + 0.1

            current_task().kernel.post(soon)
            yield Channel().recv()
        return scope.expired

    assert vrun(main()) is True


# ---- scopes and routines


def test_a_scope_that_is_cancelled_after_its_task_has_ended_changes_nothing(vrun: Any) -> None:
    box: list[Any] = []

    def child() -> Gen:
        with move_on_after(10) as scope:
            box.append(scope)
            yield
        return "value"

    def main() -> Gen:
        task = yield spawn(child())
        yield task
        task.cancel()
        box[0].cancel()
        return task.result()

    assert vrun(main()) == "value"


def test_one_routine_yielded_by_two_tasks_is_refused_to_the_second(vrun: Any) -> None:
    log: list[Any] = []

    def inner() -> Gen:
        yield sleep(1)
        return "once"

    def caller(routine: Gen) -> Gen:
        yield sleep(1)
        try:
            log.append((yield routine))
        except RuntimeError as error:
            log.append("refused" if "already" in str(error) else error)

    def main() -> Gen:
        routine = inner()
        yield spawn(caller(routine))
        yield spawn(caller(routine))

    vrun(main())
    assert log == ["refused", "once"]


@pytest.mark.parametrize("block", [timeout, move_on_after])
def test_seconds_may_be_any_kind_of_number(vrun: Any, block: Any) -> None:
    def main() -> Gen:
        with block(Decimal(1)):
            yield
        with pytest.raises(ValueError, match="so many seconds"):
            block(10**400)
        with block(5):
            yield sleep(Decimal("0.5"))
        return now()

    assert vrun(main()) == 0.5


# ---- other threads, signals, other processes


def test_another_thread_is_told_to_post() -> None:
    kernel = Kernel()
    started, done = threading.Event(), []

    def main() -> Gen:
        started.set()
        yield sleep(math.inf)

    def thread() -> None:
        with contextlib.suppress(Cancelled):
            kernel.run(main())
        done.append("ended")

    runner = threading.Thread(target=thread)
    runner.start()
    started.wait()
    for act in (
        kernel.close,
        kernel.tick,
        lambda: kernel.spawn(main()),
        lambda: kernel.run(main()),
    ):
        with pytest.raises(RuntimeError, match="runs in another thread"):
            act()
    kernel.post(lambda: kernel.main.cancel())
    runner.join(5)
    kernel.close()
    assert done == ["ended"]


def test_a_ctrl_c_of_one_run_does_not_reach_the_next() -> None:
    def first() -> Gen:
        yield
        signal.raise_signal(signal.SIGINT)
        return 1

    def second() -> Gen:
        yield sleep(0.05)
        return 2

    with Kernel() as kernel:
        with pytest.raises(KeyboardInterrupt):
            kernel.run(first())
        assert kernel.run(second()) == 2


def test_a_handler_of_ctrl_c_that_the_program_installs_stays() -> None:
    def mine(*_: Any) -> None:
        pass

    def main() -> Gen:
        signal.signal(signal.SIGINT, mine)
        yield

    try:
        run(main())
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a task's code"])
def test_sys_exit_in_a_signal_handler_ends_the_run_after_cleaning_up(busy: bool) -> None:
    log: list[str] = []

    def on_signal(*_: Any) -> None:
        sys.exit(7)

    def other() -> Gen:
        signal.raise_signal(signal.SIGUSR1)
        yield

    def main() -> Gen:
        try:
            if busy:
                yield spawn(other())
            else:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            yield sleep(5)
        finally:
            with shield(1):
                yield sleep(0.01)
            log.append("cleaned up")

    old = signal.signal(signal.SIGUSR1, on_signal)
    try:
        with pytest.raises(SystemExit) as caught:
            run(main(), on_crash=lambda task: None)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert (caught.value.code, log) == (7, ["cleaned up"])


def test_something_posted_that_exits_ends_the_run_after_cleaning_up() -> None:
    log: list[str] = []

    def main() -> Gen:
        try:
            current_task().kernel.post(sys.exit, 3)
            yield sleep(5)
        finally:
            log.append("cleaned up")

    with pytest.raises(SystemExit):
        run(main())
    assert log == ["cleaned up"]


def test_a_tick_lets_ctrl_c_out_and_loses_no_task() -> None:
    log: list[str] = []

    def interrupted() -> Gen:
        raise KeyboardInterrupt
        yield

    def other() -> Gen:
        yield
        log.append("other")

    with Kernel(on_crash=lambda task: None) as kernel:
        kernel.spawn(interrupted())
        kernel.spawn(other())
        with pytest.raises(KeyboardInterrupt):
            kernel.tick()
        for _ in range(3):
            kernel.tick()
    assert log == ["other"]


def test_the_future_of_a_task_that_is_cancelled_before_it_begins_is_done() -> None:
    with Kernel() as kernel:

        def cancel_all() -> None:
            for task in list(kernel.tasks.values()):
                if task is not kernel.main:
                    task.cancel()

        def main() -> Gen:
            future = kernel.submit(later(0, lambda: 1))
            kernel.post(cancel_all)
            yield sleep(0.01)
            return future.exception(0)

        assert "later was cancelled" in str(kernel.run(main()))


@pytest.mark.forgets
def test_the_future_of_a_task_that_is_abandoned_fails(vrun: Any) -> None:
    def stubborn() -> Gen:
        while True:
            with contextlib.suppress(Cancelled):
                yield sleep(0.01)

    def main() -> Gen:
        future.append(current_task().kernel.submit(stubborn()))
        yield sleep(0.02)
        raise ValueError("main is over")

    future: list[Any] = []
    with unlogged(), pytest.raises(ValueError, match="main is over"):
        vrun(main(), grace=0.05)
    assert "ended before this was done" in str(future[0].exception(1))


def test_ctrl_c_in_a_forked_child_is_the_childs_own() -> None:
    text = """
        import os, signal
        from microthreads import *
        def main():
            yield
            if os.fork() == 0:
                try:
                    signal.raise_signal(signal.SIGINT)
                except BaseException as error:
                    print(type(error).__name__, flush=True)
                print(signal.set_wakeup_fd(-1), flush=True)
                os._exit(0)
            os.wait()
            print("parent goes on")
        run(main())
    """
    done = program(text)
    assert done.stdout.splitlines() == ["KeyboardInterrupt", "-1", "parent goes on"], done.stderr


# ---- servers, and what is abandoned


def test_a_handler_that_returns_no_routine_ends_the_loop_and_closes_the_connection() -> None:
    def main() -> Gen:
        listener = listen("127.0.0.1", 0)
        server = yield spawn(accept_loop(listener, lambda connection: None))  # type: ignore[arg-type]
        with socket.create_connection(listener.getsockname()) as client:
            with pytest.raises(TypeError):
                yield server
            client.settimeout(1)
            listener.close()
            return client.recv(1)

    assert run(main()) == b""


def test_a_handler_whose_call_fails_ends_its_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[Socket] = []

    def handler(connection: Socket) -> Gen:
        calls.append(connection)
        if len(calls) == 1:
            raise ValueError("not this one")
        return echo(connection)

    def echo(connection: Socket) -> Gen:
        yield connection.sendall((yield connection.recv()))

    def main() -> Gen:
        listener = listen("127.0.0.1", 0)
        server = yield spawn(accept_loop(listener, handler), daemon=True)
        with Socket(socket.socket()) as first, Socket(socket.socket()) as second:
            yield first.connect(listener.getsockname())
            assert (yield first.recv()) == b""
            yield second.connect(listener.getsockname())
            yield second.send(b"hello")
            got = yield second.recv()
        server.cancel()
        listener.close()
        return got

    assert run(main()) == b"hello"
    assert "not this one" in caplog.text


def test_a_straggler_without_end_costs_no_processor_time() -> None:
    def main() -> Gen:
        yield spawn(stuck(), daemon=True)
        yield

    def stuck() -> Gen:
        try:
            yield sleep(1)
        finally:
            with shield(math.inf):
                yield Channel().recv()

    before = time.process_time()
    with unlogged():
        run(main(), grace=math.inf)
    assert time.process_time() - before < 0.5


def test_a_socket_of_any_family_can_be_shown() -> None:
    try:
        inner = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    except (AttributeError, OSError):
        pytest.skip("this system has no netlink sockets")
    with Socket(inner) as sock:
        assert "socket" in str(sock)


def test_a_kernel_without_a_descriptor_says_so() -> None:
    with (
        Kernel(poller="select") as kernel,
        pytest.raises(RuntimeError, match="use the epoll poller"),
    ):
        kernel.fileno()
