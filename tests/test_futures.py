"""Futures: the results of threads and processes, waited for in tasks.

Futures that nobody works on are finished by the tests themselves, when they want to.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import signal
import threading
import time
import tracemalloc
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from helpers import later, program, vrun

from microthreads import (
    Cancelled,
    Channel,
    Kernel,
    gather,
    join,
    run,
    select,
    sleep,
    spawn,
    timeout,
    wait_future,
)

LONG = 20  # seconds that nothing here takes


def bounded(main, **options):
    """`run`, within a time that nothing here takes."""

    def limited():
        with timeout(LONG):
            return (yield main)

    return run(limited(), **options)


def waiting(future):
    return (yield wait_future(future))


async def waiting_coroutine(future):
    return await wait_future(future)


def rounds():
    """Let the others go on until they wait."""
    for _ in range(5):
        yield


# ---- results and errors


@pytest.mark.parametrize("spelling", [waiting, waiting_coroutine])
@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_what_a_thread_returns_is_the_result(spelling, poller):
    gate = threading.Event()

    def work(number):
        assert gate.wait(LONG)
        return number, threading.get_ident()

    def main():
        with ThreadPoolExecutor() as executor:
            task = yield spawn(spelling(executor.submit(work, 7)))
            yield rounds()
            assert not task.done
            gate.set()
            return (yield join(task))

    number, thread = bounded(main(), poller=poller)
    assert number == 7
    assert thread != threading.get_ident()


def test_other_tasks_go_on_while_a_thread_works():
    gate = threading.Event()

    def main():
        with ThreadPoolExecutor() as executor:
            future = executor.submit(gate.wait, LONG)
            task = yield spawn(waiting(future))
            yield sleep(0.01)
            gate.set()  # by a task: were the kernel kept waiting, nobody would
            return (yield join(task))

    assert bounded(main()) is True


def test_the_error_of_a_thread_is_raised_at_the_yield():
    error = LookupError("as asked")

    def fail():
        raise error

    def main():
        with ThreadPoolExecutor() as executor:
            with pytest.raises(LookupError) as caught:
                yield wait_future(executor.submit(fail))
        return caught.value

    assert bounded(main()) is error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), TimeoutError("its own")])
def test_errors_of_every_kind_are_raised_at_the_yield(error):
    def main():
        future = Future()
        future.set_exception(error)
        later_one = Future()
        yield spawn(later(0.005, later_one.set_exception, error))
        for one in (future, later_one):
            with pytest.raises(type(error)) as caught:
                yield wait_future(one)
            assert caught.value is error
        return "went on"

    assert bounded(main()) == "went on"


def test_processes_return_results_and_errors_and_die():
    context = multiprocessing.get_context("spawn")

    def main():
        log = []
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            log.append((yield wait_future(executor.submit(os.getpid))) != os.getpid())
            with pytest.raises(ValueError, match="seven"):
                yield wait_future(executor.submit(int, "seven"))
            with pytest.raises(concurrent.futures.process.BrokenProcessPool):
                yield wait_future(executor.submit(signal.raise_signal, signal.SIGKILL))
        return log

    assert bounded(main()) == [True]


def test_a_future_that_is_done_already_has_its_result_at_once():
    def main():
        good, bad = Future(), Future()
        good.set_result("done")
        bad.set_exception(LookupError("as asked"))
        with pytest.raises(LookupError):
            yield wait_future(bad)
        return (yield wait_future(good)), (yield wait_future(good))

    assert bounded(main()) == ("done", "done")


def test_several_tasks_may_wait_for_one_future():
    def main():
        future = Future()
        yield spawn(later(0.01, future.set_result, "for all"))
        return (yield gather(*[waiting(future) for _ in range(5)]))

    assert list(bounded(main())) == ["for all"] * 5


def test_one_task_may_wait_for_several_futures_at_once():
    def main():
        futures = [Future() for _ in range(3)]
        yield spawn(later(0.01, futures[1].set_result, "second"))
        first = yield select(*map(wait_future, futures))
        futures[2].set_result("third")
        futures[0].set_result("first")
        results = []
        for future in futures:
            results.append((yield wait_future(future)))
        return first, results

    assert bounded(main()) == ((1, "second"), ["first", "second", "third"])


def test_the_same_future_twice_in_a_select_is_its_first_call():
    def main():
        future = Future()
        yield spawn(later(0.01, future.set_result, "done"))
        return (yield select(wait_future(future), wait_future(future)))

    assert bounded(main()) == (0, "done")


def test_results_of_many_threads_all_arrive():
    def main():
        with ThreadPoolExecutor(8) as executor:
            futures = [executor.submit(pow, number, 2) for number in range(500)]
            return (yield gather(*map(waiting, futures)))

    assert list(bounded(main())) == [number**2 for number in range(500)]


# ---- cancelling


@pytest.mark.parametrize("when", ["before", "while waiting"])
def test_a_cancelled_future_is_an_error_and_does_not_cancel_the_task(when):
    def main():
        future = Future()
        if when == "before":
            future.cancel()
        else:
            yield spawn(later(0.005, future.cancel))
        with pytest.raises(concurrent.futures.CancelledError):
            yield wait_future(future)
        yield sleep(0.001)
        return "went on"

    assert bounded(main()) == "went on"


def test_a_future_goes_on_when_its_wait_loses_a_select():
    def main():
        future = Future()
        lost = yield select(wait_future(future), sleep(0.005))
        assert not future.cancelled()
        assert future.set_running_or_notify_cancel()
        future.set_result("later")
        return lost, (yield select(wait_future(future), sleep(LONG)))

    assert bounded(main()) == ((1, None), (0, "later"))


def test_a_future_goes_on_when_its_wait_is_cancelled():
    def main():
        future = Future()
        task = yield spawn(waiting(future))
        yield rounds()
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        with pytest.raises(TimeoutError, match="timed out"):
            with timeout(0.005):
                yield wait_future(future)
        assert not future.cancelled()
        future.set_result("later")
        return (yield wait_future(future))

    assert bounded(main()) == "later"


def test_an_error_that_comes_after_the_wait_was_given_up_is_nobodys(caplog):
    def main():
        future = Future()
        yield select(wait_future(future), sleep(0.005))
        future.set_exception(LookupError("too late"))
        yield sleep(0.01)
        return "went on"

    assert bounded(main()) == "went on"
    assert caplog.records == []


def test_waits_that_were_given_up_leave_nothing_in_the_future(unobserved):
    """They are as if they had never been made; a future can be waited for by the hour."""

    def main():
        future = Future()
        sizes = []
        for _ in range(2):
            for _ in range(2000):
                yield select(wait_future(future), sleep(1))
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        return sizes[1] - sizes[0]

    tracemalloc.start()
    try:
        assert vrun(main()) < 2000 * 16
    finally:
        tracemalloc.stop()


# ---- what is no such future


@pytest.mark.parametrize("value", [None, 7, "future", waiting, ThreadPoolExecutor], ids=repr)
def test_what_is_no_future_is_a_type_error_at_the_call(value):
    with pytest.raises(TypeError):
        wait_future(value)


def test_a_future_of_asyncio_is_a_type_error():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(TypeError):
            wait_future(loop.create_future())
    finally:
        loop.close()


# ---- ends


def test_waiting_for_a_future_is_no_deadlock():
    """Neither alone, nor if all others wait for what only that task would do."""

    def reading(channel):
        return (yield channel.recv())

    def main():
        future, channel = Future(), Channel()
        reader = yield spawn(reading(channel))
        timer = threading.Timer(0.03, future.set_result, ["late"])
        timer.start()
        yield channel.send((yield wait_future(future)))
        timer.join()
        return (yield join(reader))

    assert bounded(main()) == "late"


@pytest.mark.parametrize("end", ["result", "error", "cancelled"])
def test_a_future_that_is_done_after_the_kernel_has_ended_is_silent(end, caplog, capfd):
    futures = [Future(), Future()]

    def main():
        yield spawn(waiting(futures[0]), daemon=True)
        yield select(wait_future(futures[1]), sleep(0.005))

    with Kernel() as kernel:
        kernel.run(main())
        finish(futures[0], end)
    finish(futures[1], end)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def finish(future, end):
    if end == "result":
        future.set_result(7)
    elif end == "error":
        future.set_exception(LookupError("as asked"))
    else:
        future.cancel()


def test_a_thread_that_outlives_the_run_is_silent():
    out = program(
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from microthreads import *

        gate = threading.Event()

        def main():
            print((yield select(wait_future(executor.submit(gate.wait, 20)), sleep(0.01))))

        with ThreadPoolExecutor() as executor:
            run(main())
            gate.set()
        """
    )
    assert (out.stdout, out.stderr) == ("(1, None)\n", "")


def test_a_wait_ends_soon_after_its_future(unobserved):
    """The kernel sleeps without a deadline meanwhile: the thread has to ring."""

    def main():
        with ThreadPoolExecutor(1) as executor:
            began = time.monotonic()
            for _ in range(100):
                yield wait_future(executor.submit(time.sleep, 0.0005))
            return time.monotonic() - began

    assert run(main()) < LONG / 2
