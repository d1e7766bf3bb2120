"""Rule 6: what was accepted is done.

A function that `post` took is called, or `post` refuses; a future that `submit` gave is told
its end, however that comes; what stands behind an exit in the ring, and input that the same
look at the poller reported, is not lost; a handler of Ctrl-C that is given back late works;
and a kernel that nobody closes says so, and gives back what it had.
"""

from __future__ import annotations

import concurrent.futures
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import pytest

from microthreads import (
    Cancelled,
    Event,
    Kernel,
    Socket,
    current_task,
    move_on_after,
    run,
    shield,
    sleep,
    spawn,
    wait_future,
)
from microthreads.observe import Observer
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


def nap(seconds: float = 0.001) -> Gen:
    yield sleep(seconds)


# ---- post


def accepted(post: Callable[..., Any], *args: Any) -> bool:
    """Whether `post` took it."""
    try:
        post(*args)
    except RuntimeError:
        return False
    return True


def test_what_main_posts_before_it_returns_is_called_before_run_does(as_task: Any) -> None:
    called: list[int] = []

    def main() -> Gen:
        for number in range(3):
            current_task().kernel.post(called.append, number)
            if number < 2:
                yield

    with Kernel() as kernel:
        kernel.run(as_task(main()))
        assert called == [0, 1, 2]


def test_what_a_posted_function_posts_is_called_too() -> None:
    called: list[int] = []

    def post(number: int) -> None:
        called.append(number)
        if number < 3:
            kernel.post(post, number + 1)

    def main() -> Gen:
        kernel.post(post, 0)
        return None
        yield

    with Kernel() as kernel:
        kernel.run(main())
    assert called == [0, 1, 2, 3]


def test_what_a_thread_posts_when_main_has_just_ended_is_called_or_refused() -> None:
    called: list[int] = []
    taken: list[bool] = []

    class Last(Observer):
        def ended(self, task: Any) -> None:
            thread = threading.Thread(
                target=lambda: taken.append(accepted(task.kernel.post, called.append, 1))
            )
            thread.start()
            thread.join()

    run(nap(), observers=[Last()])
    assert len(called) == sum(taken)


def test_what_a_finally_block_posts_when_run_ends_is_called_or_refused(as_task: Any) -> None:
    called: list[int] = []
    taken: list[bool] = []

    def daemon() -> Gen:
        try:
            yield sleep(100)
        finally:
            taken.append(accepted(current_task().kernel.post, called.append, 1))

    def main() -> Gen:
        yield spawn(as_task(daemon()), daemon=True)
        yield

    run(main())
    assert (len(called), taken) == (1, [True])


def closed_while_posted_to(threads: int) -> tuple[int, int]:
    """Close a kernel that so many threads post to. Returns how much was taken, and called."""
    called: list[int] = []
    taken: list[int] = []
    kernel = Kernel()
    kernel.spawn(nap(0))
    begun = threading.Barrier(threads + 1)

    def post_until_refused() -> None:
        begun.wait()
        while accepted(kernel.post, called.append, 1):
            taken.append(1)

    posters = [threading.Thread(target=post_until_refused) for _ in range(threads)]
    for each in posters:
        each.start()
    begun.wait()
    try:
        kernel.close()
    finally:
        for each in posters:
            each.join(10)
    return len(taken), len(called)


def test_a_post_from_a_thread_while_the_kernel_is_closed_is_called_or_refused(
    unobserved: None,
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        found = [closed_while_posted_to(1 + trial % 3) for trial in range(200)]
    finally:
        sys.setswitchinterval(before)
    assert [counts for counts in found if counts[0] != counts[1]] == []


def test_a_closed_kernel_refuses_a_post() -> None:
    kernel = Kernel()
    kernel.close()
    with pytest.raises(RuntimeError, match="closed"):
        kernel.post(print)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_is_posted_behind_an_exit_is_called_while_clean_up_waits_for_it(
    error: BaseException, as_task: Any
) -> None:
    log: list[str] = []
    told = Event()

    def leave() -> None:
        raise error

    def main() -> Gen:
        try:
            yield sleep(100)
        finally:
            with suppress(Cancelled), shield(2):
                yield told.wait()
                log.append("told")

    def worker() -> Gen:
        yield sleep(0.001)
        kernel = current_task().kernel
        kernel.post(leave)
        kernel.post(told.set)

    with Kernel() as kernel:
        kernel.spawn(worker())
        with pytest.raises(type(error)):
            kernel.run(as_task(main()))
    assert log == ["told"]


def test_a_tick_that_exits_loses_no_input_of_the_same_look() -> None:
    log: list[Any] = []
    near, far = socket.socketpair()

    def reader() -> Gen:
        log.append((yield Socket(far).recv()))

    def tick() -> None:
        try:
            kernel.tick()
        except SystemExit:
            log.append("exit")

    with near, far, Kernel() as kernel:
        kernel.fileno()
        kernel.spawn(reader())
        for _ in range(3):
            tick()
        kernel.post(sys.exit, 1)
        near.send(b"hello")
        for _ in range(6):
            tick()
    assert log == ["exit", b"hello"]


# ---- submit


def notified(future: concurrent.futures.Future[Any]) -> bool:
    """Whether both ways to wait for a future see its end."""
    waited = concurrent.futures.wait([future], timeout=5)
    completed = list(concurrent.futures.as_completed([future], timeout=5))
    return not waited.not_done and completed == [future]


def test_a_submission_cancelled_before_it_starts_is_told(as_task: Any) -> None:
    with Kernel() as kernel:
        future = kernel.submit(as_task(nap(5)))
        assert future.cancel()
        kernel.run(nap())
    assert notified(future)


def test_a_submission_cancelled_while_it_runs_is_told_and_its_task_is_cancelled(
    as_task: Any,
) -> None:
    log: list[str] = []

    def job() -> Gen:
        try:
            yield sleep(5)
        except Cancelled:
            log.append("cancelled")
            raise

    def main() -> Gen:
        yield
        yield
        assert future.cancel()

    with Kernel() as kernel:
        future = kernel.submit(as_task(job()))
        kernel.run(main())
    assert (notified(future), future.cancelled(), log) == (True, True, ["cancelled"])


def test_a_submission_cancelled_from_another_thread_is_told() -> None:
    with Kernel() as kernel:
        future = kernel.submit(nap(5))
        timer = threading.Timer(0.01, future.cancel)
        timer.start()
        kernel.run(nap(0.02))
        timer.join()
    assert (notified(future), future.cancelled()) == (True, True)


def test_a_submission_cancelled_while_it_cleans_up_is_told_when_it_has_ended() -> None:
    log: list[str] = []

    def job() -> Gen:
        try:
            yield sleep(5)
        finally:
            with shield(5):
                yield sleep(0.01)
            log.append("cleaned up")

    def main() -> Gen:
        yield
        yield
        future.cancel()
        yield
        future.cancel()

    with Kernel() as kernel:
        future = kernel.submit(job())
        kernel.run(main())
    assert (notified(future), log) == (True, ["cleaned up"])


def test_a_submission_that_has_ended_cannot_be_cancelled_and_keeps_its_result() -> None:
    def job() -> Gen:
        yield
        return "value"

    with Kernel() as kernel:
        future = kernel.submit(job())
        kernel.run(nap())
        assert (future.cancel(), future.result(0), notified(future)) == (False, "value", True)


def test_a_submission_that_swallows_its_cancellation_is_cancelled_all_the_same() -> None:
    def job() -> Gen:
        with suppress(Cancelled):
            yield sleep(5)
        return "value"

    def main() -> Gen:
        yield
        yield
        future.cancel()

    with Kernel() as kernel:
        future = kernel.submit(job())
        kernel.run(main())
    assert (notified(future), future.cancelled()) == (True, True)


@pytest.mark.parametrize("stage", ["before it starts", "while it runs"])
def test_a_submission_that_its_kernel_never_finishes_fails(stage: str) -> None:
    kernel = Kernel(clock=VirtualClock(), grace=0.1)
    future = kernel.submit(nap(1e6))
    if stage == "while it runs":
        kernel.tick()
        kernel.tick()
    kernel.close()
    assert notified(future)
    assert isinstance(future.exception(0), RuntimeError | Cancelled)


@pytest.mark.parametrize("ask", ["result", "exception"])
@pytest.mark.parametrize("timeout", [None, 1])
def test_to_wait_for_a_submission_in_the_kernels_own_thread_is_refused(
    as_task: Any, ask: str, timeout: Any
) -> None:
    def main() -> Gen:
        future = current_task().kernel.submit(nap())
        with pytest.raises(RuntimeError, match="wait_future"):
            getattr(future, ask)(timeout)
        yield wait_future(future)
        return getattr(future, ask)(timeout)

    assert run(as_task(main())) is None


def test_a_task_that_waits_for_a_submission_to_another_kernel_goes_on_when_that_is_cancelled() -> (
    None
):
    other = Kernel()
    future = other.submit(nap(5))

    def main() -> Gen:
        with move_on_after(5) as limit:
            try:
                yield wait_future(future)
            except concurrent.futures.CancelledError:
                return "told", limit.expired

    thread = threading.Thread(target=lambda: other.run(nap(0.03)))
    timer = threading.Timer(0.01, future.cancel)
    thread.start()
    timer.start()
    try:
        assert run(main()) == ("told", False)
    finally:
        thread.join()
        timer.join()
        other.close()


# ---- Ctrl-C


@pytest.fixture
def default_ctrl_c() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_handler_of_ctrl_c_that_a_tool_gives_back_after_run_does_what_python_does(
    default_ctrl_c: None,
) -> None:
    found: list[Any] = []

    def main() -> Gen:
        found.append(signal.signal(signal.SIGINT, signal.SIG_IGN))
        yield

    run(main())
    signal.signal(signal.SIGINT, found[0])
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_handler_that_is_given_back_during_the_next_run_serves_that(
    default_ctrl_c: None,
) -> None:
    found: list[Any] = []
    log: list[str] = []

    def first() -> Gen:
        found.append(signal.signal(signal.SIGINT, signal.default_int_handler))
        yield

    def second() -> Gen:
        signal.signal(signal.SIGINT, found[0])
        try:
            signal.raise_signal(signal.SIGINT)
            yield sleep(5)
        finally:
            log.append("cleaned up")

    run(first())
    with pytest.raises(KeyboardInterrupt):
        run(second())
    assert log == ["cleaned up"]


# ---- a kernel that nobody closes


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
@pytest.mark.parametrize("state", ["has run", "has waited", "has tasks"])
def test_a_kernel_that_is_dropped_unclosed_leaks_no_descriptor_and_warns(state: str) -> None:
    gc.collect()
    before = descriptors()

    def use() -> None:
        kernel = Kernel()
        if state == "has tasks":
            kernel.spawn(nap(5))
            kernel.fileno()
            kernel.tick()
        else:
            kernel.run(nap(0 if state == "has run" else 0.001))

    told = pytest.warns(ResourceWarning, match="never closed") if state != "has run" else suppress()
    with told:
        for _ in range(5):
            use()
        gc.collect()
    assert descriptors() == before


def test_a_kernel_that_was_closed_warns_of_nothing() -> None:
    for _ in range(3):
        kernel = Kernel()
        kernel.run(nap())
        kernel.close()
        del kernel
        gc.collect()


def test_close_does_all_even_if_a_post_asks_to_exit() -> None:
    log: list[str] = []

    def waiting() -> Gen:
        try:
            yield sleep(100)
        finally:
            log.append("finally")

    def job() -> Gen:
        yield

    kernel = Kernel()
    kernel.spawn(waiting())
    kernel.tick()
    kernel.post(sys.exit, 3)
    kernel.post(log.append, "posted")
    future = kernel.submit(job())
    with pytest.raises(SystemExit):
        kernel.close()
    assert sorted(log) == ["finally", "posted"]
    assert isinstance(future.exception(0), RuntimeError)
    with pytest.raises(RuntimeError, match="closed"):
        kernel.post(print)
