"""From `run` to its return: ends, daemons, Ctrl-C, forks, threads, embedding."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import math
import os
import select as stdlib_select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from helpers import python, started_python

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    current_task,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
)
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]

PRELUDE = """
import os, signal, sys, threading, time, math, contextlib
import microthreads
from microthreads import *
def say(*words): print(*words, flush=True)
def ctrl_c(): signal.raise_signal(signal.SIGINT)
"""


def script(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    return python("-c", PRELUDE + textwrap.dedent(text))


def nap(log: list[Any], name: str, seconds: float, cleanup: float = 0) -> Gen:
    try:
        yield sleep(seconds)
        log.append((name, "slept", now()))
    finally:
        if cleanup:
            with shield(grace=100):
                yield sleep(cleanup)
        log.append((name, "finally", now()))


# --- how a run ends ---------------------------------------------------------------------------


def test_run_returns_what_main_returns(vrun: Any) -> None:
    async def amain() -> str:
        await sleep(1)
        return "coroutine"

    def main() -> Gen:
        yield sleep(1)
        return "generator"

    assert (vrun(main()), vrun(amain())) == ("generator", "coroutine")


def test_run_of_a_main_that_never_yields(vrun: Any) -> None:
    def main() -> Gen:
        return 5
        yield

    assert vrun(main()) == 5


def test_run_waits_for_tasks_that_are_not_daemons(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        yield spawn(nap(log, "grandchild", 5))
        yield from nap(log, "child", 2)

    def main() -> Gen:
        yield spawn(child())
        log.append("main returns")
        return "result"

    assert vrun(main()) == "result"
    assert log == [
        "main returns",
        ("child", "slept", 2),
        ("child", "finally", 2),
        ("grandchild", "slept", 5),
        ("grandchild", "finally", 5),
    ]


def test_then_daemons_are_cancelled_and_their_finally_blocks_run(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(nap(log, "daemon", 100, cleanup=1), daemon=True)
        yield spawn(nap(log, "worker", 3))

    vrun(main())
    assert log == [("worker", "slept", 3), ("worker", "finally", 3), ("daemon", "finally", 4)]


def test_a_daemon_that_has_not_begun_when_the_kernel_is_closed_begins_and_cleans_up(
    vrun: Any,
) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(nap(log, "daemon", 1), daemon=True)

    def instant() -> Gen:
        return "done"
        yield

    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:
        main_result = kernel.run(instant())
        kernel.spawn(nap(log, "late", 1), daemon=True)
    assert (main_result, log) == ("done", [("late", "finally", 0)])


def test_a_task_spawned_by_a_daemons_clean_up_is_cancelled_too(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    def late() -> Gen:
        try:
            yield sleep(50)
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    def daemon() -> Gen:
        try:
            yield sleep(100)
        finally:
            with shield(grace=10):
                yield spawn(late(), daemon=True)

    def main() -> Gen:
        yield spawn(daemon(), daemon=True)
        yield sleep(1)

    vrun(main())
    assert (log, caplog.text) == (["Cancelled"], "")


def test_main_is_not_waited_for_twice_if_it_raises_the_rest_is_cancelled_first(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(nap(log, "worker", 100, cleanup=2))
        yield spawn(nap(log, "daemon", 100), daemon=True)
        yield sleep(1)
        raise KeyError("main")

    with pytest.raises(KeyError, match="main"):
        vrun(main())
    assert log == [("daemon", "finally", 1), ("worker", "finally", 3)]


def test_the_error_of_main_is_raised_with_its_traceback_and_no_other_context(vrun: Any) -> None:
    def below() -> None:
        raise KeyError("main")

    def main() -> Gen:
        yield
        below()

    with pytest.raises(KeyError) as caught:
        vrun(main())
    assert [entry.name for entry in caught.traceback][-2:] == ["main", "below"]
    assert caught.value.__context__ is None


def test_a_failure_after_main_returned_is_reported_and_run_still_returns(vrun: Any) -> None:
    log: list[str] = []

    def child() -> Gen:
        yield sleep(1)
        raise ValueError

    def main() -> Gen:
        yield spawn(child(), name="child")
        return "result"

    assert vrun(main(), on_crash=lambda task: log.append(task.name)) == "result"
    assert log == ["child"]


def test_an_error_in_a_clean_up_at_the_end_is_reported(vrun: Any) -> None:
    log: list[str] = []

    def daemon() -> Gen:
        try:
            yield sleep(100)
        finally:
            raise ValueError

    def main() -> Gen:
        yield spawn(daemon(), name="daemon", daemon=True)
        yield sleep(1)

    vrun(main(), on_crash=lambda task: log.append(task.name))
    assert log == ["daemon"]


def test_stragglers_past_the_grace_period_are_named_in_the_log_and_left(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def shielded(seconds: float) -> Gen:
        with shield(grace=100):
            yield sleep(seconds)

    def main() -> Gen:
        yield spawn(shielded(50), name="slowpoke", daemon=True)
        yield spawn(shielded(2), name="quickie", daemon=True)
        yield sleep(1)
        return "result"

    assert vrun(main(), grace=3) == "result"
    assert "slowpoke" in caplog.text
    assert "quickie" not in caplog.text
    gc.collect()  # what is left must not complain when it is collected


def test_a_straggler_that_swallows_every_cancelled_does_not_keep_run_from_ending() -> None:
    done = script("""
        def stubborn():
            while True:
                try:
                    yield sleep(10)
                except Cancelled:
                    pass
        def main():
            yield spawn(stubborn(), name="stubborn-one", daemon=True)
            yield sleep(0.01)
            return "result"
        say(run(main(), grace=0.1))
        os._exit(0)
    """)
    assert done.stdout == "result\n"
    assert "stubborn-one" in done.stderr


def test_no_straggler_is_named_when_all_end_in_time(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def main() -> Gen:
        yield spawn(nap([], "daemon", 100, cleanup=2), daemon=True)

    vrun(main(), grace=3)
    assert not caplog.records


def test_system_exit_of_main_leaves_run_after_the_rest_was_cancelled(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(nap(log, "worker", 100))
        yield sleep(1)
        sys.exit(3)

    with pytest.raises(SystemExit) as caught:
        vrun(main())
    assert caught.value.code == 3
    assert log == [("worker", "finally", 1)]


def test_system_exit_of_a_task_that_nobody_joins_ends_the_run_after_cleaning_up(vrun: Any) -> None:
    log: list[Any] = []

    def child() -> Gen:
        yield
        sys.exit(3)

    def main() -> Gen:
        yield spawn(child())
        try:
            yield sleep(100)
        finally:
            log.append(now())

    with pytest.raises(SystemExit) as caught:
        vrun(main(), on_crash=lambda task: None)
    assert (caught.value.code, log) == (3, [0])


def test_system_exit_of_a_task_that_is_joined_goes_to_its_joiner(vrun: Any) -> None:
    def child() -> Gen:
        yield
        sys.exit(3)

    def main() -> Gen:
        with pytest.raises(SystemExit):
            yield (yield spawn(child()))
        yield sleep(1)
        return now()

    assert vrun(main()) == 1


def test_system_exit_gives_the_process_its_exit_code() -> None:
    done = script("""
        def main():
            yield sleep(0)
            sys.exit(7)
        run(main())
    """)
    assert (done.returncode, done.stderr) == (7, "")


# --- nested, threaded, in sequence ----------------------------------------------------------------


def test_a_nested_run_is_a_runtime_error_that_names_the_outer_one(vrun: Any) -> None:
    def inner() -> Gen:
        yield

    def outer_main() -> Gen:
        yield
        routine = inner()
        with pytest.raises(RuntimeError) as caught:
            run(routine)
        assert "outer_main" in str(caught.value) or __file__ in str(caught.value)
        yield sleep(1)
        return "goes on"

    assert vrun(outer_main()) == "goes on"


def test_the_routine_that_a_nested_run_refused_can_be_yielded_instead(vrun: Any) -> None:
    def inner() -> Gen:
        yield sleep(1)
        return "inner"

    def main() -> Gen:
        routine = inner()
        with pytest.raises(RuntimeError):
            run(routine)
        return (yield routine)

    assert vrun(main()) == "inner"


def test_run_in_another_thread_works_beside_this_one() -> None:
    def main(value: int) -> Gen:
        yield sleep(0.01)
        return value, current_task().id

    def outer() -> Gen:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(run, main(i)) for i in range(4)]
            results = [future.result() for future in futures]
        yield sleep(0.01)
        return results

    assert run(outer()) == [(i, 1) for i in range(4)]


def test_kernels_in_sequence_know_nothing_of_one_another(vrun: Any) -> None:
    def main() -> Gen:
        yield sleep(1)
        return current_task().id, now()

    assert [vrun(main()) for _ in range(3)] == [(1, 1)] * 3


def test_one_kernel_can_run_one_main_after_the_other() -> None:
    def main(value: int) -> Gen:
        yield sleep(1)
        return value, now()

    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:
        assert [kernel.run(main(i)) for i in range(3)] == [(0, 1), (1, 2), (2, 3)]


def test_a_kernel_that_raised_the_error_of_one_main_can_run_another() -> None:
    def bad() -> Gen:
        yield
        raise KeyError

    def good() -> Gen:
        yield
        return "good"

    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:
        with pytest.raises(KeyError):
            kernel.run(bad())
        assert kernel.run(good()) == "good"


def test_run_leaves_no_descriptor_open() -> None:
    def main() -> Gen:
        yield sleep(0)

    run(main())
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run(main())
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_close_cancels_the_tasks_that_are_left_and_runs_their_finally_blocks() -> None:
    log: list[Any] = []
    kernel = Kernel(clock=VirtualClock())
    kernel.spawn(nap(log, "task", 100, cleanup=2))
    kernel.tick()
    kernel.close()
    assert log == [("task", "finally", 2)]


def test_closing_twice_does_no_harm() -> None:
    kernel = Kernel()
    kernel.close()
    kernel.close()


def test_a_closed_kernel_refuses_everything_with_a_runtime_error() -> None:
    def main() -> Gen:
        yield

    kernel = Kernel()
    kernel.close()
    routine = main()
    for refused in (
        lambda: kernel.run(routine),
        lambda: kernel.spawn(main()),
        lambda: kernel.submit(main()),
        lambda: kernel.post(print),
        kernel.tick,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            refused()
    assert run(routine) is None


def test_a_task_that_closes_its_own_kernel_gets_a_runtime_error() -> None:
    kernel = Kernel(clock=VirtualClock())

    def main() -> Gen:
        with pytest.raises(RuntimeError):
            kernel.close()
        yield sleep(1)
        return "goes on"

    assert kernel.run(main()) == "goes on"
    kernel.close()


# --- Ctrl-C ---------------------------------------------------------------------------------------


def test_the_first_ctrl_c_cancels_main_runs_finally_blocks_and_raises_keyboard_interrupt() -> None:
    done = script("""
        def worker():
            try:
                yield sleep(100)
            finally:
                with shield(5):
                    yield sleep(0.01)
                say("worker cleaned")
        def main():
            yield spawn(worker())
            try:
                yield sleep(0.01)
                ctrl_c()
                say("the signal handler only sets a flag")
                yield sleep(100)
            finally:
                say("main cleaned")
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "the signal handler only sets a flag",
        "main cleaned",
        "worker cleaned",
        "KeyboardInterrupt",
    ]


def test_ctrl_c_ends_a_run_that_is_blocked_in_the_poller() -> None:
    done = script("""
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        def main():
            try:
                yield sleep(math.inf)
            finally:
                say("main cleaned")
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["main cleaned", "KeyboardInterrupt"]


def test_ctrl_c_never_breaks_plain_code_in_the_middle() -> None:
    done = script("""
        def main():
            ctrl_c()
            total = 0
            for i in range(100_000):
                total += i
            say(total == 4999950000)
            yield
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["True", "KeyboardInterrupt"]


def test_ctrl_c_reaches_main_as_cancelled() -> None:
    done = script("""
        def main():
            try:
                ctrl_c()
                yield sleep(100)
            except BaseException as error:
                say(type(error).__name__)
                raise
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["Cancelled", "KeyboardInterrupt"]


def test_a_main_that_returns_on_ctrl_c_still_makes_run_raise_keyboard_interrupt() -> None:
    done = script("""
        def main():
            with contextlib.suppress(Cancelled):
                ctrl_c()
                yield sleep(100)
            return "swallowed"
        try:
            say(run(main()))
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["KeyboardInterrupt"]


def test_ctrl_c_after_main_returned_cancels_the_tasks_that_run_waits_for() -> None:
    done = script("""
        def worker():
            yield sleep(0.01)
            ctrl_c()
            try:
                yield sleep(100)
            finally:
                say("worker cleaned")
        def main():
            yield spawn(worker())
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["worker cleaned", "KeyboardInterrupt"]


def test_the_second_ctrl_c_prints_the_task_table() -> None:
    done = script("""
        def stubborn():
            with shield(10):
                yield sleep(0.2)
            say("stubborn ends")
        def main():
            yield spawn(stubborn(), name="stubborn-one")
            yield sleep(0.01)
            ctrl_c()
            try:
                yield sleep(100)
            finally:
                with shield(10):
                    yield sleep(0.01)
                    ctrl_c()
                    yield sleep(0.01)
                say("main cleaned")
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """)
    assert done.stdout.splitlines() == ["main cleaned", "stubborn ends", "KeyboardInterrupt"]
    assert "stubborn-one" in done.stderr
    assert "main" in done.stderr
    assert "sleep" in done.stderr


def test_the_third_ctrl_c_stops_now() -> None:
    done = script("""
        def main():
            try:
                for _ in range(3):
                    ctrl_c()
                with shield(100):
                    yield sleep(100)
            finally:
                pass
        began = time.monotonic()
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt", time.monotonic() - began < 5)
    """)
    assert done.stdout.splitlines() == ["KeyboardInterrupt True"]


def test_the_third_ctrl_c_stops_now_even_a_task_that_spins() -> None:
    text = """
        def main():
            yield
            say("spinning")
            while True:
                pass
        try:
            run(main())
        except KeyboardInterrupt:
            say("KeyboardInterrupt")
    """
    with started_python("-c", PRELUDE + textwrap.dedent(text)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spinning\n"
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        out, _ = process.communicate(timeout=60)
    assert out == "KeyboardInterrupt\n"


def test_after_a_run_the_signal_handler_is_the_one_from_before(vrun: Any) -> None:
    def main() -> Gen:
        yield

    before = signal.getsignal(signal.SIGINT)
    run(main())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_the_program_installed_for_ctrl_c_is_left_alone() -> None:
    done = script("""
        signal.signal(signal.SIGINT, lambda *_: say("mine"))
        def main():
            ctrl_c()
            yield sleep(0.01)
            say("goes on")
        run(main())
        ctrl_c()
    """)
    assert done.stdout.splitlines() == ["mine", "goes on", "mine"]


def test_a_new_run_after_a_ctrl_c_starts_with_a_clean_slate() -> None:
    done = script("""
        def main():
            ctrl_c()
            yield sleep(100)
        def second():
            yield sleep(0.01)
            return "second"
        for _ in range(4):
            try:
                run(main())
            except KeyboardInterrupt:
                say("KeyboardInterrupt")
        say(run(second()))
    """)
    assert done.stdout.splitlines() == ["KeyboardInterrupt"] * 4 + ["second"]
    assert done.stderr == ""


def test_interrupt_does_what_the_first_ctrl_c_does() -> None:
    log: list[Any] = []
    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:

        def main() -> Gen:
            kernel.interrupt()
            yield from nap(log, "main", 100)

        with pytest.raises(KeyboardInterrupt):
            kernel.run(main())
    assert log == [("main", "finally", 0)]


def test_a_keyboard_interrupt_raised_by_the_program_is_raised_by_run(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        yield spawn(nap(log, "worker", 100))
        yield sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vrun(main())
    assert log == [("worker", "finally", 1)]


# --- fork -----------------------------------------------------------------------------------------

FORK = """
        log = []
        def ticker():
            while True:
                log.append(os.getpid())
                yield sleep(0.001)
        def fresh():
            yield sleep(0.001)
            return "fresh"
        def reap(pid):
            say("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_after_fork_the_childs_copy_is_dead_and_never_runs_other_tasks() -> None:
    done = script(
        FORK
        + """
        def main():
            yield spawn(ticker(), daemon=True)
            yield sleep(0.01)
            pid = os.fork()
            yield sleep(0.02)
            return pid
        try:
            pid = run(main())
        except ForkedError:
            os._exit(5 if os.getpid() not in log else 6)
        reap(pid)
        say(set(log) == {os.getpid()}, len(log) > 15)
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 5", "True True"])


def test_a_fresh_run_works_in_the_child_after_forked_error() -> None:
    done = script(
        FORK
        + """
        def main():
            yield spawn(ticker(), daemon=True)
            yield sleep(0.01)
            pid = os.fork()
            yield sleep(0.01)
            return pid
        try:
            pid = run(main())
        except ForkedError:
            os._exit(5 if run(fresh()) == "fresh" and os.getpid() not in log else 6)
        reap(pid)
        say(run(fresh()))
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 5", "fresh"])


def test_a_fresh_run_works_in_the_child_inside_the_task_that_forked() -> None:
    done = script(
        FORK
        + """
        def main():
            yield spawn(ticker(), daemon=True)
            pid = os.fork()
            if pid == 0:
                os._exit(5 if run(fresh()) == "fresh" and os.getpid() not in log else 6)
            yield sleep(0.01)
            return pid
        reap(run(main()))
        say(set(log) == {os.getpid()})
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 5", "True"])


def test_the_childs_copy_never_touches_the_poller_of_the_parent() -> None:
    done = script(
        FORK
        + """
        import socket
        def main():
            a, b = (Socket(s) for s in socket.socketpair())
            def reader(log):
                for _ in range(3):
                    log.append((yield b.recv()))
            got = []
            task = yield spawn(reader(got))
            yield a.send(b"1")
            yield sleep(0.01)
            pid = os.fork()
            if pid == 0:
                b.close()
                a.close()
                yield sleep(0.01)
            reap(pid)
            yield a.send(b"2")
            yield sleep(0.01)
            yield a.send(b"3")
            yield task
            a.close(); b.close()
            return got
        try:
            say(run(main()))
        except ForkedError:
            os._exit(5)
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 5", "[b'1', b'2', b'3']"])


def test_a_kernel_that_was_not_running_when_copied_is_dead_in_the_child_too() -> None:
    done = script(
        FORK
        + """
        kernel = Kernel()
        pid = os.fork()
        if pid == 0:
            refused = 0
            for use in (lambda: kernel.run(fresh()), kernel.tick):
                try:
                    use()
                except ForkedError:
                    refused += 1
            os._exit(refused)
        reap(pid)
        say(kernel.run(fresh()))
        kernel.close()
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 2", "fresh"])


def test_close_in_the_child_lets_go_of_the_copy_and_leaves_the_parent_alone() -> None:
    done = script(
        FORK
        + """
        kernel = Kernel()
        kernel.spawn(ticker(), daemon=True)
        pid = os.fork()
        if pid == 0:
            kernel.close()
            os._exit(5 if not log else 6)
        reap(pid)
        say(kernel.run(fresh()))
        kernel.close()
    """
    )
    assert (done.stderr, done.stdout.splitlines()) == ("", ["child 5", "fresh"])


# --- post and submit ------------------------------------------------------------------------------


@contextlib.contextmanager
def kernel_in_thread(**options: Any) -> Iterator[Kernel]:
    kernel = Kernel(**options)
    stop: Channel[None] = Channel(1)

    def main() -> Gen:
        yield select(stop.recv(), sleep(30))

    thread = threading.Thread(target=kernel.run, args=(main(),))
    thread.start()
    try:
        yield kernel
    finally:
        kernel.post(stop.try_send, None)
        thread.join(10)
        assert not thread.is_alive()
        kernel.close()


def add(a: int, b: int) -> Gen:
    yield sleep(0.001)
    return a + b


def fail() -> Gen:
    yield
    raise KeyError("submitted")


def test_post_calls_a_function_in_the_kernels_thread() -> None:
    called: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def function(*args: Any) -> None:
        called.set_result((threading.get_ident(), args))

    with kernel_in_thread() as kernel:
        kernel.post(function, 1, 2)
        ident, args = called.result(5)
    assert (ident != threading.get_ident(), args) == (True, (1, 2))


def test_posts_are_called_in_the_order_they_came() -> None:
    log: list[int] = []
    with kernel_in_thread() as kernel:
        for i in range(100):
            kernel.post(log.append, i)
        kernel.submit(add(0, 0)).result(5)
    assert log == list(range(100))


def test_no_post_of_many_threads_is_lost() -> None:
    log: list[tuple[int, int]] = []
    with kernel_in_thread() as kernel:

        def hammer(thread: int) -> None:
            for i in range(500):
                kernel.post(log.append, (thread, i))

        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kernel.submit(add(0, 0)).result(5)
    assert sorted(log) == [(n, i) for n in range(8) for i in range(500)]
    assert [i for n, i in log if n == 3] == list(range(500))


def test_a_post_before_the_run_is_called_in_the_run() -> None:
    log: list[str] = []

    def main() -> Gen:
        yield sleep(0.001)

    with contextlib.closing(Kernel()) as kernel:
        kernel.post(log.append, "posted")
        assert log == []
        kernel.run(main())
    assert log == ["posted"]


def test_a_post_from_a_task_is_called_between_two_steps() -> None:
    log: list[str] = []
    with contextlib.closing(Kernel()) as kernel:

        def main() -> Gen:
            kernel.post(log.append, "posted")
            log.append("same step")
            yield sleep(0.001)
            log.append("next step")

        kernel.run(main())
    assert log == ["same step", "posted", "next step"]


def test_a_posted_function_that_fails_is_logged_and_the_kernel_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def bad() -> None:
        raise ZeroDivisionError("posted")

    with kernel_in_thread() as kernel:
        kernel.post(bad)
        assert kernel.submit(add(1, 2)).result(5) == 3
    assert "ZeroDivisionError: posted" in caplog.text


def test_a_post_from_a_signal_handler_wakes_the_kernel() -> None:
    done = script("""
        kernel = Kernel()
        channel = Channel(1)
        signal.signal(signal.SIGUSR1, lambda *_: kernel.post(channel.try_send, "signal"))
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        def main():
            index, value = yield select(channel.recv(), sleep(10))
            say(value)
        kernel.run(main())
        kernel.close()
    """)
    assert (done.stderr, done.stdout) == ("", "signal\n")


def test_a_post_wakes_a_kernel_that_is_blocked() -> None:
    with kernel_in_thread() as kernel:  # which sleeps for 30 seconds if nothing wakes it
        time.sleep(0.02)
        assert kernel.submit(add(1, 1)).result(20) == 2


def test_submit_gives_a_concurrent_future_with_the_result() -> None:
    with kernel_in_thread() as kernel:
        future = kernel.submit(add(1, 2))
        assert isinstance(future, concurrent.futures.Future)
        assert future.result(5) == 3


def test_submit_takes_coroutines() -> None:
    async def routine() -> int:
        await sleep(0.001)
        return 5

    with kernel_in_thread() as kernel:
        assert kernel.submit(routine()).result(5) == 5


def test_the_future_of_a_failed_task_has_its_exception_which_is_not_reported() -> None:
    log: list[Any] = []
    with kernel_in_thread(on_crash=log.append) as kernel:
        error = kernel.submit(fail()).exception(5)
    assert (type(error), error.args if error else None, log) == (KeyError, ("submitted",), [])


def test_cancelling_the_future_cancels_the_task() -> None:
    began, cleaned = threading.Event(), threading.Event()

    def routine() -> Gen:
        try:
            began.set()
            yield sleep(30)
        finally:
            cleaned.set()

    with kernel_in_thread() as kernel:
        future = kernel.submit(routine())
        assert began.wait(5)
        assert future.cancel()
        assert cleaned.wait(5)
        assert future.cancelled()


def test_a_future_cancelled_before_its_task_began_never_starts_it() -> None:
    log: list[str] = []

    def routine() -> Gen:
        log.append("began")
        yield

    def main() -> Gen:
        yield sleep(0.01)

    with contextlib.closing(Kernel()) as kernel:
        future = kernel.submit(routine())
        assert future.cancel()
        kernel.run(main())
    assert (future.cancelled(), log) == (True, [])


def test_a_submitted_task_that_is_cancelled_inside_the_kernel_cancels_its_future() -> None:
    def routine() -> Gen:
        current_task().cancel("inside")
        yield

    with kernel_in_thread() as kernel:
        with pytest.raises((concurrent.futures.CancelledError, Cancelled)):
            kernel.submit(routine()).result(5)


def test_many_threads_may_submit_at_once() -> None:
    with kernel_in_thread() as kernel:

        def hammer(thread: int) -> list[int]:
            return [kernel.submit(add(thread, i)).result(10) for i in range(20)]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(hammer, range(8)))
    assert results == [[n + i for i in range(20)] for n in range(8)]


def test_what_was_submitted_and_has_not_begun_fails_when_the_kernel_is_closed(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def routine() -> None:
        raise AssertionError

    kernel = Kernel()
    future = kernel.submit(routine())
    kernel.close()
    assert isinstance(future.exception(1), RuntimeError)
    assert not recwarn.list


def test_what_was_submitted_and_has_begun_is_cancelled_when_the_kernel_is_closed() -> None:
    log: list[Any] = []
    kernel = Kernel(clock=VirtualClock())
    future = kernel.submit(nap(log, "task", 100))
    for _ in range(3):
        kernel.tick()
    assert not future.done()
    kernel.close()
    assert future.done()
    assert [entry[:2] for entry in log] in ([("task", "finally")], [])


def test_submit_keeps_run_from_ending_until_the_task_is_done() -> None:
    def main() -> Gen:
        yield

    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:
        future = kernel.submit(add(1, 2))
        kernel.run(main())
        assert future.result(0) == 3


def test_submit_refuses_what_is_no_routine_at_once() -> None:
    with contextlib.closing(Kernel()) as kernel:
        with pytest.raises(TypeError, match=r"add\(\)"):
            kernel.submit(add)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            kernel.submit(5)  # type: ignore[arg-type]


def test_tasks_that_wait_for_outside_posts_only_may_sleep_for_ever() -> None:
    channel: Channel[str] = Channel(1)

    def main() -> Gen:
        return (yield select(channel.recv(), sleep(math.inf)))

    with contextlib.closing(Kernel()) as kernel:
        threading.Timer(0.05, kernel.post, (channel.try_send, "late")).start()
        assert kernel.run(main()) == (0, "late")


# --- embedding ------------------------------------------------------------------------------------


def embedded(log: list[Any]) -> Gen:
    for i in range(3):
        yield sleep(0.01)
        log.append(i)
    return "done"


def test_a_kernel_can_be_driven_by_a_hand_written_loop() -> None:
    log: list[Any] = []
    with contextlib.closing(Kernel()) as kernel:
        task = kernel.spawn(embedded(log))
        ticks = 0
        while not task.done and ticks < 1000:
            kernel.tick()
            ticks += 1
            deadline = kernel.deadline()
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not task.done:
                stdlib_select.select([kernel.fileno()], [], [], wait)
        assert (task.result(), log) == ("done", [0, 1, 2])
        assert ticks < 100


def test_an_embedded_kernel_serves_sockets_and_posts() -> None:
    import socket

    a, b = (microthreads.Socket(s) for s in socket.socketpair())
    channel: Channel[str] = Channel(1)

    def receiver() -> Gen:
        return (yield b.recv()), (yield select(channel.recv(), sleep(30)))

    def sender() -> Gen:
        yield sleep(0.01)
        yield a.send(b"bytes")

    with contextlib.closing(Kernel()) as kernel:
        task = kernel.spawn(receiver())
        kernel.spawn(sender())
        threading.Timer(0.05, kernel.post, (channel.try_send, "posted")).start()
        woken = True
        while not task.done and woken:
            kernel.tick()
            deadline = kernel.deadline()
            wait = 1 if deadline is None else max(0.0, deadline - time.monotonic())
            if not task.done:
                ready, _, _ = stdlib_select.select([kernel.fileno()], [], [], min(wait, 20))
                woken = bool(ready) or wait < 20
        assert task.result() == (b"bytes", (0, "posted"))
        a.close()
        b.close()


def test_the_deadline_of_an_embedded_kernel_says_when_to_tick() -> None:
    clock = VirtualClock(start=5)
    with contextlib.closing(Kernel(clock=clock)) as kernel:
        assert kernel.deadline() is None
        kernel.spawn(nap([], "task", 10))
        ready = kernel.deadline()
        assert ready is not None
        assert ready <= 5
        kernel.tick()
        assert kernel.deadline() == 15


def test_a_tick_with_nothing_to_do_returns_at_once_and_is_no_deadlock() -> None:
    channel: Channel[int] = Channel()

    def waiter() -> Gen:
        return (yield channel.recv())

    with contextlib.closing(Kernel()) as kernel:
        kernel.tick()
        task = kernel.spawn(waiter())
        for _ in range(5):
            kernel.tick()
        assert not task.done
        channel.try_send(1)
        for _ in range(5):
            kernel.tick()
        assert task.result() == 1


def test_a_kernel_can_be_driven_by_asyncio() -> None:
    log: list[Any] = []

    async def amain() -> Any:
        loop = asyncio.get_running_loop()
        kernel = Kernel()
        task = kernel.spawn(embedded(log))
        done: asyncio.Future[Any] = loop.create_future()
        timer: asyncio.TimerHandle | None = None

        def pump() -> None:
            nonlocal timer
            if timer is not None:
                timer.cancel()
            kernel.tick()
            if task.done:
                if not done.done():
                    done.set_result(task.result())
                return
            deadline = kernel.deadline()
            if deadline is not None:
                timer = loop.call_later(max(0.0, deadline - time.monotonic()), pump)

        loop.add_reader(kernel.fileno(), pump)
        pump()
        try:
            return await asyncio.wait_for(done, 5)
        finally:
            loop.remove_reader(kernel.fileno())
            kernel.close()

    assert asyncio.run(amain()) == "done"
    assert log == [0, 1, 2]


def test_a_tick_inside_a_run_is_a_runtime_error(vrun: Any) -> None:
    def main() -> Gen:
        with contextlib.closing(Kernel()) as other:
            with pytest.raises(RuntimeError):
                other.tick()
        yield sleep(1)
        return now()

    assert vrun(main()) == 1


def test_a_tick_serves_an_always_ready_task_without_blocking() -> None:
    log: list[int] = []

    def spinner() -> Gen:
        while True:
            log.append(len(log))
            yield

    with contextlib.closing(Kernel()) as kernel:
        kernel.spawn(spinner(), daemon=True)
        for _ in range(10):
            kernel.tick()
    assert len(log) >= 10


def test_signals_ring_the_kernel_while_it_runs_and_not_after() -> None:
    """A signal that comes just before the poller blocks must not wait for the next event."""

    def bell() -> int:
        number = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(number)
        return number

    def main() -> Gen:
        yield sleep(0.001)
        return bell()

    mine, other = socket.socketpair()
    with mine, other:
        mine.setblocking(False)
        signal.set_wakeup_fd(mine.fileno())
        try:
            assert run(main()) not in (-1, mine.fileno())
            assert bell() == mine.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def test_a_signal_ends_a_poll_whose_python_handler_has_not_run_yet() -> None:
    """The byte that the signal writes is what the poller sees, whoever handles the signal."""
    log: list[str] = []

    def main() -> Gen:
        kernel = current_task().kernel
        old = signal.signal(signal.SIGUSR1, lambda *_: log.append("handled"))
        yield sleep(0.001)  # it has a bell from the first wait on
        try:
            signal.raise_signal(signal.SIGUSR1)
            ready = kernel.poller.probe(kernel.inbox.descriptor.fd, False)
            yield sleep(0)
        finally:
            signal.signal(signal.SIGUSR1, old)
        return ready

    assert run(main()) is True
    assert log == ["handled"]
