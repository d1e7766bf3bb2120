"""When nothing can ever happen again: who is told, what the report says, and what is none."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import selectors
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    DeadlockError,
    Descriptor,
    Kernel,
    Socket,
    current_task,
    join,
    move_on_after,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
)
from microthreads.kernel import Wait
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


def receive(channel: Any, log: list[Any] | None = None) -> Gen:
    try:
        yield channel.recv()
    finally:
        if log is not None:
            log.append(current_task().name)


def report(vrun: Any, main: Any, **options: Any) -> DeadlockError:
    with pytest.raises(DeadlockError) as caught:
        vrun(main, **options)
    return caught.value


# --- what is a deadlock -------------------------------------------------------------------------


def test_a_main_that_waits_for_what_nobody_can_do_is_a_deadlock(vrun: Any) -> None:
    report(vrun, receive(Channel()))


def test_a_send_without_a_receiver_is_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        yield Channel().send(1)

    report(vrun, main())


def test_a_select_none_of_whose_calls_can_ever_go_is_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        yield select(Channel().recv(), Channel().send(1))

    report(vrun, main())


def test_the_deadlock_is_found_as_soon_as_the_last_task_parks(vrun: Any) -> None:
    log: list[float] = []

    def main() -> Gen:
        yield spawn(receive(Channel()))
        yield sleep(5)
        try:
            yield Channel().recv()
        finally:
            log.append(now())

    report(vrun, main())
    assert log == [5]


def test_a_task_left_waiting_after_main_returned_is_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        yield spawn(receive(Channel()), name="left")
        return "result"

    assert "left" in str(report(vrun, main()))


def test_a_deadlock_error_is_raised_in_no_task_but_by_run(vrun: Any) -> None:
    log: list[type] = []

    def main() -> Gen:
        try:
            yield Channel().recv()
        except BaseException as error:
            log.append(type(error))
            raise

    report(vrun, main())
    assert log == [Cancelled]


def test_two_tasks_joining_through_a_channel_are_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        channel: Channel[int] = Channel(name="requests")
        task = yield spawn(receive(channel), name="server")
        yield task

    text = str(report(vrun, main()))
    assert "requests" in text
    assert "server" in text


# --- what the report says ------------------------------------------------------------------------


def test_the_report_names_every_task_what_it_waits_on_and_its_source_line(vrun: Any) -> None:
    def sender(channel: Any) -> Gen:
        yield channel.send(1)

    def main() -> Gen:
        yield spawn(receive(Channel(name="inbox")), name="first")
        yield spawn(sender(Channel(name="outbox")), name="second")
        yield Channel(name="control").recv()

    text = str(report(vrun, main()))
    lines = {line.split()[1]: line for line in text.splitlines() if line.strip().startswith("#")}
    assert len(lines) == 3
    assert "recv" in lines["first"] and "inbox" in lines["first"]
    assert "send" in lines["second"] and "outbox" in lines["second"]
    send = sender.__code__.co_firstlineno + 1
    recv = receive.__code__.co_firstlineno + 2
    assert f"test_deadlock.py:{send} in " in lines["second"]
    assert f"test_deadlock.py:{recv} in " in lines["first"]
    assert "control" in text


def test_the_source_line_is_that_of_the_innermost_routine_of_the_program(vrun: Any) -> None:
    def middle() -> Gen:
        yield receive(Channel())

    async def main() -> None:
        await (await spawn(middle()))

    text = str(report(vrun, main()))
    recv = receive.__code__.co_firstlineno + 2
    assert f"test_deadlock.py:{recv} in receive" in text


def test_the_source_line_is_the_programs_own_in_a_coroutine(vrun: Any) -> None:
    async def main() -> None:
        await Channel().recv()

    text = str(report(vrun, main()))
    assert f"test_deadlock.py:{main.__code__.co_firstlineno + 1} in " in text
    assert microthreads.__path__[0] not in text


def test_the_report_names_the_owner_of_what_is_waited_on(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(receive(Channel()), name="worker")
        yield join(task)

    error = report(vrun, main())
    line = next(line for line in str(error).splitlines() if "join" in line)
    assert "worker" in line or "#2" in line
    assert [info.owner for info in error.snapshot.tasks] == [2, None]


def test_the_snapshot_of_the_error_has_the_tasks_as_they_stood(vrun: Any) -> None:
    def main() -> Gen:
        yield spawn(receive(Channel()), name="worker", daemon=True)
        yield Channel().recv()

    snapshot = report(vrun, main()).snapshot
    assert [(t.id, t.name.rpartition(".")[2], t.state.name, t.daemon) for t in snapshot.tasks] == [
        (1, "main", "PARKED", False),
        (2, "worker", "PARKED", True),
    ]
    assert all("recv" in t.waits_on for t in snapshot.tasks)
    assert [t.parent for t in snapshot.tasks] == [None, 1]
    assert snapshot.cycle == ()


def test_the_message_of_the_error_is_that_of_the_snapshot(vrun: Any) -> None:
    error = report(vrun, receive(Channel()))
    assert str(error.snapshot) in str(error)


PENDING = Channel().recv().attempt(None)


class Take(microthreads.SystemCall[None]):
    """Waits for what another task owns, for ever."""

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.owner = owner

    def attempt(self, task: Any) -> Any:
        return PENDING

    def arm(self, waiter: Any) -> None:
        self.waiter = waiter

    def disarm(self, waiter: Any) -> None:
        self.waiter = None

    def describe(self) -> Any:
        return Wait("acquire", f"lock-of-{self.owner.name}", self.owner, None)


def test_the_report_shows_the_cycle_of_owners(vrun: Any) -> None:
    tasks: dict[str, Any] = {}

    def member(other: str) -> Gen:
        yield sleep(1)
        yield Take(tasks[other])

    def main() -> Gen:
        for name, other in ["ab", "bc", "ca", "da"]:
            tasks[name] = yield spawn(member(other), name=f"member-{name}")

    error = report(vrun, main())
    assert [info.id for info in error.snapshot.cycle] in ([2, 3, 4], [3, 4, 2], [4, 2, 3])
    assert [info.owner for info in error.snapshot.tasks] == [3, 4, 2, 2]
    text = str(error)
    assert "lock-of-member-a, owned by task #2 member-a" in text
    assert text.count("member-d") == 1  # not part of the cycle


def circle(vrun: Any) -> DeadlockError:
    """Three tasks that join one another by select, which is not refused."""
    tasks: dict[str, Any] = {}

    def member(other: str) -> Gen:
        yield sleep(1)
        yield select(tasks[other])

    def main() -> Gen:
        for name, other in ["ab", "bc", "ca"]:
            tasks[name] = yield spawn(member(other), name=f"member-{name}")

    return report(vrun, main())


def test_the_report_shows_the_cycle_of_joins(vrun: Any) -> None:
    error = circle(vrun)
    assert sorted(info.name for info in error.snapshot.cycle) == [
        "member-a",
        "member-b",
        "member-c",
    ]
    following = {info.id: info.owner for info in error.snapshot.cycle}
    assert sorted(following) == sorted(following.values())  # type: ignore[type-var]


def test_the_message_prints_the_cycle(vrun: Any) -> None:
    text = str(circle(vrun))
    assert "cycle" in text.lower() or "circle" in text.lower() or "->" in text


# --- finally blocks ------------------------------------------------------------------------------


def test_every_task_is_cancelled_and_its_finally_blocks_run_before_run_raises(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        yield spawn(receive(Channel(), log), name="worker")
        yield spawn(receive(Channel(), log), name="daemon", daemon=True)
        yield from receive(Channel(), log)

    report(vrun, main())
    assert sorted(name.rpartition(".")[2] for name in log) == ["daemon", "main", "worker"]


def test_clean_up_may_yield_inside_a_shield(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        try:
            yield Channel().recv()
        finally:
            with shield(grace=5):
                yield sleep(2)
                log.append(now())

    report(vrun, main())
    assert log == [2]


def test_the_graph_is_the_one_from_before_the_finally_blocks(vrun: Any) -> None:
    def main() -> Gen:
        try:
            yield Channel(name="first").recv()
        finally:
            with shield(grace=5):
                yield Channel(name="second").send(1)

    text = str(report(vrun, main()))
    assert "first" in text
    assert "second" not in text


def test_a_clean_up_that_waits_for_ever_inside_its_shield_ends_with_its_grace(vrun: Any) -> None:
    log: list[Any] = []

    def main() -> Gen:
        try:
            yield Channel().recv()
        finally:
            try:
                with shield(grace=2):
                    yield Channel().recv()
            finally:
                log.append(now())

    report(vrun, main())
    assert log == [2]


def test_a_clean_up_shielded_for_ever_is_a_straggler_and_run_still_raises(
    vrun: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def main() -> Gen:
        try:
            yield Channel().recv()
        finally:
            with shield(grace=math.inf):
                yield Channel(name="never").recv()

    report(vrun, main(), grace=3)
    assert "main" in caplog.text
    assert "never" in caplog.text
    gc.collect()  # what was left must not complain when it is collected


def test_a_main_that_survives_its_cancellation_still_gets_deadlock_error_from_run(
    vrun: Any,
) -> None:
    def main() -> Gen:
        with contextlib.suppress(Cancelled):
            yield Channel().recv()
        return "survived"

    report(vrun, main())


def test_an_error_raised_by_the_clean_up_of_main_does_not_hide_the_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        try:
            yield Channel().recv()
        finally:
            raise KeyError("clean-up")

    report(vrun, main(), on_crash=lambda task: None)


def test_after_a_deadlock_the_next_run_works(vrun: Any) -> None:
    def main() -> Gen:
        yield sleep(1)
        return "fine"

    report(vrun, receive(Channel()))
    assert vrun(main()) == "fine"


# --- what is none --------------------------------------------------------------------------------


def test_a_sleep_without_end_is_no_deadlock_as_it_waits_to_be_cancelled() -> None:
    def main() -> Gen:
        yield sleep(math.inf)

    with contextlib.closing(Kernel()) as kernel:
        threading.Timer(0.1, kernel.post, (kernel.interrupt,)).start()
        with pytest.raises(KeyboardInterrupt):
            kernel.run(main())


def test_a_select_with_a_sleep_without_end_is_no_deadlock() -> None:
    channel: Channel[int] = Channel(1)

    def main() -> Gen:
        return (yield select(channel.recv(), sleep(math.inf)))

    with contextlib.closing(Kernel()) as kernel:
        threading.Timer(0.05, kernel.post, (channel.try_send, 1)).start()
        assert kernel.run(main()) == (0, 1)


def test_a_wait_with_a_timeout_is_no_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(3) as scope:
            yield Channel().recv()
        return scope.expired, now()

    assert vrun(main()) == (True, 3)


def test_a_wait_with_a_timeout_without_end_is_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        with move_on_after(math.inf):
            yield Channel().recv()

    report(vrun, main())


def test_a_sleeping_daemon_can_still_wake_the_others(vrun: Any) -> None:
    channel: Channel[int] = Channel()

    def daemon() -> Gen:
        yield sleep(5)
        yield channel.send(1)

    def main() -> Gen:
        yield spawn(daemon(), daemon=True)
        return (yield channel.recv()), now()

    assert vrun(main()) == (1, 5)


def test_a_daemon_that_ticks_for_ever_keeps_the_others_waiting_without_a_deadlock() -> None:
    ticks: list[float] = []

    def daemon() -> Gen:
        while True:
            ticks.append(now())
            yield sleep(0.001)

    def main() -> Gen:
        yield spawn(daemon(), daemon=True)
        yield Channel().recv()

    with contextlib.closing(Kernel()) as kernel:
        threading.Timer(0.05, kernel.post, (kernel.interrupt,)).start()
        with pytest.raises(KeyboardInterrupt):
            kernel.run(main())
    assert len(ticks) > 3


def test_daemons_that_wait_for_ever_are_no_deadlock_once_all_others_are_done(vrun: Any) -> None:
    log: list[str] = []

    def main() -> Gen:
        yield spawn(receive(Channel(), log), name="daemon", daemon=True)
        yield sleep(1)
        return "result"

    assert vrun(main()) == "result"
    assert log == ["daemon"]


def test_a_task_that_waits_beside_a_daemon_that_waits_too_is_a_deadlock(vrun: Any) -> None:
    def main() -> Gen:
        yield spawn(receive(Channel()), name="idle-daemon", daemon=True)
        yield Channel().recv()

    assert "idle-daemon" in str(report(vrun, main()))


def test_a_task_that_waits_for_a_descriptor_is_no_deadlock() -> None:
    left, right = socket.socketpair()
    sock = Socket(left)

    def main() -> Gen:
        return (yield sock.recv())

    timer = threading.Timer(0.05, right.send, (b"outside",))
    timer.start()
    assert run(main()) == b"outside"
    timer.join()
    sock.close()
    right.close()


def test_descriptors_that_are_registered_but_not_waited_for_do_not_hide_a_deadlock() -> None:
    read, write = os.pipe()
    os.write(write, b"x")

    def main() -> Gen:
        descriptor = Descriptor(read)
        yield descriptor.readable()
        os.read(read, 1)
        with move_on_after(0.001):
            yield descriptor.readable()
        try:
            yield Channel().recv()
        finally:
            descriptor.detach()

    with pytest.raises(DeadlockError):
        run(main())
    os.close(read)
    os.close(write)


def test_cancelled_timers_do_not_hide_a_deadlock(vrun: Any) -> None:
    log: list[float] = []

    def main() -> Gen:
        ready: Channel[int] = Channel(1)
        ready.try_send(1)
        with move_on_after(1000):
            yield select(sleep(500), ready.recv())
        try:
            yield Channel().recv()
        finally:
            log.append(now())

    report(vrun, main())
    assert log == [0]


def test_a_deadlock_in_a_real_time_kernel_is_found_without_waiting() -> None:
    class Noting(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            waits.append(timeout)
            return super().select(timeout)

    waits: list[float | None] = []
    with pytest.raises(DeadlockError):
        run(receive(Channel()), poller=microthreads.SelectorPoller(Noting()))
    assert set(waits) == {0}


def test_a_ready_task_posted_at_the_last_moment_is_no_deadlock() -> None:
    channel: Channel[int] = Channel(1)
    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:

        def main() -> Gen:
            kernel.post(channel.try_send, 7)
            return (yield channel.recv())

        assert kernel.run(main()) == 7


def test_a_submit_pending_is_no_deadlock() -> None:
    channel: Channel[int] = Channel()

    def sender() -> Gen:
        yield channel.send(7)

    with contextlib.closing(Kernel(clock=VirtualClock())) as kernel:
        kernel.submit(sender())
        assert kernel.run(channel_recv(channel)) == 7


def channel_recv(channel: Channel[int]) -> Gen:
    return (yield channel.recv())
