"""When a kernel opens what it needs of the system: not before it first waits."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from microthreads import Channel, Kernel, run, sleep, spawn, wait_signal
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors"
)


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], Callable[[], None]]]:
    """Uses up all descriptors when called; what that returns gives one back, and then the rest."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    held: list[int] = []

    def give_back() -> None:
        while held:
            os.close(held.pop())

    def use_up() -> Callable[[], None]:
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            return give_back

    try:
        yield use_up
    finally:
        give_back()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_program_that_never_waits_opens_nothing() -> None:
    def child(channel: Channel[int]) -> Gen:
        yield channel.send(opened())

    def main() -> Gen:
        channel: Channel[int] = Channel()
        yield spawn(child(channel))
        yield
        return (yield channel.recv())

    before = opened()
    assert run(main()) == before


def test_virtual_time_opens_nothing() -> None:
    def main() -> Gen:
        yield sleep(3600)
        return opened()

    before = opened()
    assert run(main(), clock=VirtualClock()) == before


def test_what_was_opened_to_wait_is_closed_at_the_end() -> None:
    def main() -> Gen:
        yield sleep(0.001)
        return opened()

    before = opened()
    assert run(main()) > before
    assert opened() == before


def test_a_post_from_a_thread_reaches_a_kernel_that_never_waited() -> None:
    said: list[str] = []

    def main() -> Gen:
        poster = threading.Thread(target=kernel.post, args=(said.append, "hello"))
        poster.start()
        latest = time.monotonic() + 10
        while not said and time.monotonic() < latest:
            yield
        poster.join()
        return opened()

    with Kernel() as kernel:
        before = opened()
        assert kernel.run(main()) <= before
    assert said == ["hello"]


def test_a_post_just_before_the_first_wait_is_heard() -> None:
    """It is there before the pipe is."""
    channel: Channel[str] = Channel(1)

    def main() -> Gen:
        kernel.post(channel.try_send, "hello")
        return (yield channel.recv())

    with Kernel() as kernel:
        assert kernel.run(main()) == "hello"


def test_a_thread_that_posts_for_ever_loses_nothing_over_the_opening() -> None:
    """Many kernels, each opened while another thread posts: nothing is heard late, or lost."""
    for _ in range(100):
        heard: list[int] = []

        def main(kernel: Kernel, heard: list[int] = heard) -> Gen:
            def post() -> None:
                for number in range(20):
                    kernel.post(heard.append, number)

            poster = threading.Thread(target=post)
            poster.start()
            latest = time.monotonic() + 10
            while len(heard) < 20 and time.monotonic() < latest:
                yield sleep(0.0005)
            poster.join()

        with Kernel() as kernel:
            kernel.run(main(kernel))
        assert heard == list(range(20))


def test_a_signal_just_before_the_first_wait_ends_it() -> None:
    def main() -> Gen:
        waiting = yield spawn(waits())
        signal.raise_signal(signal.SIGUSR1)
        return (yield waiting)

    def waits() -> Gen:
        return (yield wait_signal(signal.SIGUSR1))

    assert run(main()) == signal.SIGUSR1


def asleep(seconds: float, no_descriptors: Any, clock: Callable[[], float]) -> Gen:
    """How far `clock` goes while the kernel first waits, with no descriptor to wait by."""
    give_back = no_descriptors()
    began = clock()
    yield sleep(seconds)
    took = clock() - began
    give_back()
    yield sleep(0.01)
    return took


def test_a_program_that_used_up_all_descriptors_can_still_wait(no_descriptors) -> None:
    assert 0.009 < run(asleep(0.01, no_descriptors, time.monotonic)) < 1


def test_without_descriptors_a_post_is_still_heard(no_descriptors) -> None:
    channel: Channel[str] = Channel(1)

    def main() -> Gen:
        poster = threading.Timer(0.05, kernel.post, args=(channel.try_send, "hello"))
        poster.start()
        give_back = no_descriptors()
        text = yield channel.recv()
        poster.join()
        give_back()
        return text

    with Kernel() as kernel:
        kernel.outside += 1  # the thread: else this would be a deadlock
        assert kernel.run(main()) == "hello"


def test_it_does_not_spin_without_descriptors(no_descriptors) -> None:
    assert run(asleep(0.3, no_descriptors, time.process_time)) < 0.1


@pytest.mark.parametrize("waits", [False, True], ids=["never waited", "no descriptors"])
def test_ctrl_c_reaches_a_kernel_that_has_no_bell(no_descriptors, waits) -> None:
    cleaned: list[str] = []

    def main() -> Gen:
        give_back = no_descriptors()
        presser = threading.Timer(0.1, os.kill, args=(os.getpid(), signal.SIGINT))
        presser.start()
        try:
            while True:
                yield sleep(60) if waits else None
        finally:
            give_back()
            presser.join()
            cleaned.append("up")

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert cleaned == ["up"]


def test_a_kernel_to_embed_can_be_watched_before_it_ever_ran() -> None:
    """`fileno` is readable as soon as something is posted."""
    said: list[str] = []
    with Kernel() as kernel:
        number = kernel.fileno()
        kernel.post(said.append, "hello")
        assert kernel.poller.probe(number, False)
        kernel.tick()
    assert said == ["hello"]
