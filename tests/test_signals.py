"""Signals and futures as system calls: who is woken, what is remembered, and what is put back.

Signals are sent to this very process: they have come when `os.kill` returns. What would
harm the test's own process happens in a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers import later, program

from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    current_task,
    gather,
    join,
    race,
    run,
    select,
    shield,
    sleep,
    spawn,
    timeout,
    wait_signal,
)

USR1, USR2, HUP = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
LONG = 20  # seconds that nothing here takes


@pytest.fixture(autouse=True)
def dispositions():
    """What signals do is after each test what it was before."""
    numbers = [USR1, USR2, HUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGRTMIN + 3]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    after = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


def bounded(main, **options):
    """`run`, within a time that nothing here takes."""

    def limited():
        with timeout(LONG):
            return (yield main)

    return run(limited(), **options)


def come(number):
    os.kill(os.getpid(), number)


def waiting(*numbers):
    return (yield wait_signal(*numbers))


async def waiting_coroutine(*numbers):
    return await wait_signal(*numbers)


def caught(*numbers):
    """Have signals caught from now on; that they come is remembered."""
    for number in numbers:
        assert (yield select(wait_signal(number), sleep(0))) == (1, None)


def rounds():
    """Let the others go on until they wait."""
    for _ in range(5):
        yield


# ---- waiting


@pytest.mark.parametrize("spelling", [waiting, waiting_coroutine])
@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_a_signal_wakes_the_task_that_waits_for_it(spelling, poller):
    def main():
        task = yield spawn(spelling(USR1))
        yield rounds()
        assert not task.done
        come(USR1)
        return (yield join(task))

    assert bounded(main(), poller=poller) == USR1


@pytest.mark.parametrize("spelling", [waiting, waiting_coroutine])
def test_a_signal_ends_the_sleep_of_a_kernel_in_which_all_wait(spelling):
    timer = threading.Timer(0.03, come, [USR1])

    def main():
        timer.start()
        began = time.monotonic()
        return (yield spelling(USR1)), time.monotonic() - began

    number, seconds = bounded(main())
    timer.join()
    assert number == USR1
    assert seconds < LONG / 2


def test_all_tasks_that_wait_for_a_signal_go_on_and_it_is_not_remembered():
    def main():
        tasks = []
        for _ in range(3):
            tasks.append((yield spawn(waiting(USR1))))
        tasks.append((yield spawn(waiting(USR2, USR1))))
        other = yield spawn(waiting(USR2))
        yield rounds()
        come(USR1)
        numbers = []
        for task in tasks:
            numbers.append((yield join(task)))
        again = yield select(wait_signal(USR1), sleep(0.01))
        assert not other.done
        come(USR2)
        return numbers, again, (yield join(other))

    assert bounded(main()) == ([USR1] * 4, (1, None), USR2)


def test_one_of_several_signals_is_returned_and_the_others_are_not_lost():
    def main():
        yield caught(USR1, USR2, HUP)
        come(USR2)
        assert (yield wait_signal(USR1, USR2, HUP)) == USR2
        come(HUP)
        come(USR1)
        two = {(yield wait_signal(USR1, USR2, HUP)), (yield wait_signal(USR1, USR2, HUP))}
        none = yield select(wait_signal(USR1, USR2, HUP), sleep(0.01))
        return two, none

    assert bounded(main()) == ({HUP, USR1}, (1, None))


def test_a_signal_that_comes_while_nobody_waits_is_remembered_once():
    def main():
        yield caught(USR1)
        for _ in range(7):
            come(USR1)
        yield sleep(0.01)
        first = yield wait_signal(USR1)
        second = yield select(wait_signal(USR1), sleep(0.01))
        return first, second

    assert bounded(main()) == (USR1, (1, None))


def test_a_signal_that_nobody_waited_for_has_its_old_effect():
    log = []
    before = signal.signal(USR2, lambda number, frame: log.append(number))
    try:

        def main():
            yield caught(USR1)
            come(USR2)
            yield sleep(0.01)

        bounded(main())
    finally:
        signal.signal(USR2, before)
    assert log == [USR2]


def test_a_select_takes_one_call_and_leaves_the_signals_of_the_others():
    def main():
        yield caught(USR1, USR2)
        come(USR1)
        come(USR2)
        first = yield select(wait_signal(USR1), wait_signal(USR2), sleep(LONG))
        second = yield select(wait_signal(USR1), wait_signal(USR2), sleep(LONG))
        third = yield select(wait_signal(USR1), wait_signal(USR2), sleep(0.01))
        return {first, second}, third

    assert bounded(main()) == ({(0, USR1), (1, USR2)}, (2, None))


def test_a_signal_is_one_of_several_things_to_select_from():
    def main():
        channel = Channel(1)
        yield channel.send("letter")
        log = [(yield select(wait_signal(USR1), channel.recv(), sleep(LONG)))]
        yield spawn(later(0.01, come, USR1))
        log.append((yield select(channel.recv(), wait_signal(USR1), sleep(LONG))))
        log.append((yield select(channel.recv(), wait_signal(USR1), sleep(0.01))))
        log.append((yield race(waiting(USR1), later(0.01, str, "over"))))
        return log

    assert bounded(main()) == [(1, "letter"), (1, USR1), (2, None), "over"]


def test_a_wait_that_was_given_up_takes_no_signal():
    def main():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                with timeout(0.005):
                    yield wait_signal(USR1)
        task = yield spawn(waiting(USR1))
        yield rounds()
        task.cancel()
        come(USR1)
        with pytest.raises(Cancelled):
            yield join(task)
        return (yield select(wait_signal(USR1), sleep(LONG)))

    assert bounded(main()) == (0, USR1)


def test_a_thousand_waits_given_up_keep_nobody_from_waiting():
    def main():
        for _ in range(1000):
            yield caught(USR1)
        task = yield spawn(waiting(USR1))
        yield rounds()
        come(USR1)
        yield join(task)
        return (yield select(wait_signal(USR1), sleep(0.01)))

    assert bounded(main()) == (1, None)


@pytest.mark.parametrize("number", [signal.SIGRTMIN + 3, signal.SIGRTMAX, signal.SIGTERM])
def test_signals_of_all_kinds_can_be_waited_for(number):
    def main():
        yield caught(number)
        come(number)
        return (yield wait_signal(number))

    assert bounded(main()) == number


def test_a_child_that_ends_is_a_signal():
    def main():
        yield caught(signal.SIGCHLD)
        with subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"]) as child:
            assert (yield wait_signal(signal.SIGCHLD)) == signal.SIGCHLD
            return child.wait(LONG)

    assert bounded(main()) == 7


def test_waiting_for_a_signal_is_no_deadlock():
    """Neither alone, nor if all others wait for what only that task would do."""

    def main():
        channel = Channel()
        hearing = yield spawn(waiting(USR1))
        timer = threading.Timer(0.03, come, [USR1])
        timer.start()
        reader = yield spawn(reading(channel))
        number = yield join(hearing)
        yield channel.send(number)
        return (yield join(reader))

    def reading(channel):
        return (yield channel.recv())

    assert bounded(main()) == USR1


# ---- refusals


@pytest.mark.parametrize("numbers", [(), (0,), (-1,), (1000,), (USR1, 0), (USR1, 1000)])
def test_what_is_no_signal_is_a_value_error_at_the_call(numbers):
    with pytest.raises(ValueError):
        wait_signal(*numbers)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_signal_that_cannot_be_caught_is_an_os_error_at_the_yield(number):
    def main():
        call = wait_signal(USR1, number)
        with pytest.raises(OSError):
            yield call
        with pytest.raises(OSError):
            yield select(sleep(LONG), wait_signal(number))

    bounded(main())


def test_only_the_main_thread_gets_signals():
    errors = []

    def main():
        call = wait_signal(USR1)
        try:
            yield call
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=lambda: bounded(main()))
    thread.start()
    thread.join(LONG)
    assert len(errors) == 1
    assert "main thread" in str(errors[0])


# ---- what is put back


@pytest.mark.parametrize(
    "before", [signal.SIG_DFL, signal.SIG_IGN, lambda number, frame: None], ids=str
)
def test_what_a_signal_did_comes_back_when_the_run_ends(before):
    outside = signal.signal(USR1, before)
    try:

        def main(error):
            yield caught(USR1)
            assert signal.getsignal(USR1) is not before
            if error:
                raise error

        bounded(main(None))
        assert signal.getsignal(USR1) is before
        with pytest.raises(LookupError):
            bounded(main(LookupError("main failed")))
        assert signal.getsignal(USR1) is before
        with Kernel() as kernel:
            kernel.run(main(None))
            assert signal.getsignal(USR1) is before
    finally:
        signal.signal(USR1, outside)


def test_a_handler_of_the_program_is_called_again_after_the_run():
    log = []
    before = signal.signal(USR1, lambda number, frame: log.append("called"))
    try:

        def main():
            yield caught(USR1)
            come(USR1)
            yield wait_signal(USR1)
            log.append("waited")

        bounded(main())
        come(USR1)
    finally:
        signal.signal(USR1, before)
    assert log == ["waited", "called"]


def test_a_signal_that_nobody_took_is_not_there_in_the_next_run():
    def one():
        yield caught(USR1)
        come(USR1)
        yield sleep(0.01)

    def other():
        return (yield select(wait_signal(USR1), sleep(0.01)))

    bounded(one())
    assert bounded(other()) == (1, None)


def test_in_a_forked_child_signals_do_what_they_did_before():
    out = program(
        """
        import os, signal
        from microthreads import *

        def own(number, frame):
            print("own", flush=True)

        def main():
            signal.signal(signal.SIGUSR1, own)
            before = signal.getsignal(signal.SIGTERM)
            yield select(wait_signal(signal.SIGTERM, signal.SIGUSR1), sleep(0))
            if (child := os.fork()) == 0:
                os.kill(os.getpid(), signal.SIGUSR1)
                os.kill(os.getpid(), signal.SIGTERM)
                os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            os.kill(os.getpid(), signal.SIGTERM)
            print((yield wait_signal(signal.SIGTERM, signal.SIGUSR1)))

        run(main())
        """
    )
    assert (out.stdout, out.stderr) == ("own\n-15\n15\n", "")


# ---- Ctrl-C


def test_ctrl_c_can_be_waited_for():
    def main():
        task = yield spawn(waiting(signal.SIGINT))
        yield rounds()
        come(signal.SIGINT)
        numbers = [(yield join(task))]
        come(signal.SIGINT)  # nobody waits: this one is remembered
        yield sleep(0.01)
        numbers.append((yield wait_signal(signal.SIGINT)))
        return numbers

    assert bounded(main()) == [signal.SIGINT] * 2


def test_a_ctrl_c_while_one_waits_to_be_waited_for_cancels_main():
    log = []

    def main():
        yield caught(signal.SIGINT)
        come(signal.SIGINT)
        yield sleep(0.01)
        log.append("one is remembered")
        come(signal.SIGINT)
        try:
            yield sleep(LONG)
        finally:
            with shield(5):
                yield sleep(0.01)
            log.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        bounded(main())
    assert log == ["one is remembered", "cleaned up"]


def test_ctrl_c_cancels_main_while_a_task_waits_for_other_signals():
    def main():
        yield spawn(waiting(USR1), daemon=True)
        yield rounds()
        come(signal.SIGINT)
        yield sleep(LONG)

    with pytest.raises(KeyboardInterrupt):
        bounded(main())


# ---- together


def test_what_waits_is_named_in_the_table_of_tasks():
    def main():
        yield spawn(waiting(signal.SIGTERM), name="terminator", daemon=True)
        yield rounds()
        return str(current_task().kernel.snapshot())

    (row,) = [line for line in bounded(main()).splitlines() if "terminator" in line]
    assert "SIGTERM" in row


def test_signals_in_a_storm_are_neither_lost_nor_invented():
    """Each is answered before the next one comes, from another process."""
    storm = """
import os, signal, sys
for line in sys.stdin:
    os.kill(os.getppid(), signal.SIGUSR1)
"""

    def main():
        yield caught(USR1)
        with subprocess.Popen([sys.executable, "-S", "-c", storm], stdin=subprocess.PIPE) as child:
            for _ in range(200):
                child.stdin.write(b"\n")
                child.stdin.flush()
                yield wait_signal(USR1)
        return (yield gather(later(0.01, str, "quiet"), caught(USR1)))

    assert bounded(main())[0] == "quiet"
