"""What breaks in other Python runtimes, by the defect list of notes/peers.md."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

import pytest
from helpers import (
    ProcessorTime,
    assert_ten_times_as_many_cost_about_ten_times_as_much,
    out_of_descriptors,
    program,
    raw_pair,
    receiving,
    ticks_of_10_ms,
)

from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    DeadlockError,
    Kernel,
    Socket,
    current_task,
    join,
    listen,
    move_on_after,
    now,
    run,
    select,
    sleep,
    spawn,
)
from microthreads.sim import VirtualClock


def printed_by(text):
    """What a program prints in a process of its own."""
    done = program(text)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- 2: a timeout and I/O in one tick


def test_bytes_that_arrive_in_the_tick_of_the_timeout_are_not_lost():
    """asyncio, defect 2: sock_recv loses the bytes."""

    def limited(sock):
        with move_on_after(0.01):
            return (yield sock.recv())

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(limited(a))
            yield
            peer.send(b"data")
            time.sleep(0.02)
            return (yield join(task)) or (yield a.recv())

    assert [run(main()) for _ in range(5)] == [b"data"] * 5


def test_a_connection_that_arrives_in_the_tick_of_the_timeout_is_not_lost():
    """asyncio, defect 2: sock_accept loses the connection."""

    def limited(listener):
        with move_on_after(0.01):
            return (yield listener.accept())

    def main():
        with listen("127.0.0.1", 0) as listener:
            task = yield spawn(limited(listener))
            yield
            with socket.create_connection(listener.getsockname()) as client:
                time.sleep(0.02)
                connection, address = (yield join(task)) or (yield listener.accept())
                with connection:
                    return address == client.getsockname()

    assert run(main())


# ---- 3: a descriptor number that is used again


def test_a_receive_on_a_reused_descriptor_number_wakes():
    """asyncio, defect 3: the new sock_recv never wakes (cpython #88968)."""

    def main():
        with ExitStack() as stack:
            left, peer = socket.socketpair()
            stack.enter_context(peer)
            old = Socket(left)
            stale = yield spawn(receiving(old))
            yield sleep(0.002)
            number = old.fileno()
            old.close()
            inner, other = socket.socketpair()
            stack.enter_context(other)
            os.dup2(inner.fileno(), number)
            if inner.fileno() != number:
                inner.close()
            else:
                inner.detach()
            fresh = stack.enter_context(Socket(socket.socket(fileno=number)))
            task = yield spawn(receiving(fresh))
            yield sleep(0.002)
            other.send(b"data")
            got = yield select(join(task), sleep(1))
            with pytest.raises(ClosedError):
                yield join(stale)
            return got

    assert run(main()) == (0, b"data")


# ---- 4: the cost of a spawn


def cost_of_a_spawn(ready):
    """Seconds for one `spawn` beside so many ready tasks; the best of several tries."""

    def nothing():
        return
        yield

    with Kernel() as kernel:
        for _ in range(ready):
            kernel.spawn(nothing())
        best = float("inf")
        for _ in range(10):
            routines = [nothing() for _ in range(100)]
            start = time.process_time()
            for routine in routines:
                kernel.spawn(routine)
            best = min(best, (time.process_time() - start) / 100)
    return best


def test_a_spawn_costs_the_same_beside_many_ready_tasks(unobserved):
    """curio, defect 4: a spawn costs O(ready tasks), 16 to 232 µs from 1k to 40k."""
    few, many = cost_of_a_spawn(1_000), cost_of_a_spawn(40_000)
    assert many < 3 * few, f"{few * 1e6:.1f} µs beside 1,000, {many * 1e6:.1f} beside 40,000"


def test_waking_many_costs_each_the_same(unobserved):
    """curio, defect 4's kin: a linear check in the wake, 837 ms to wake 16,000."""

    def cost(count):
        def waiter(channel):
            try:
                yield channel.recv()
            except ClosedError:
                pass

        def main():
            channel = Channel()
            for _ in range(count):
                yield spawn(waiter(channel))
            with ProcessorTime() as took:
                channel.close()
                yield
            return took.seconds

        return run(main())

    assert_ten_times_as_many_cost_about_ten_times_as_much(cost, few=1_600)


# ---- 5: Ctrl-C

INTERRUPTED = """
import os, signal, threading
from microthreads import run, spawn

cleaned = []


def spin():
    try:
        while True:
            yield
    finally:
        cleaned.append("child")


def main(timer):
    try:
        yield spawn(spin())
        timer.start()  # not before `run` has taken Ctrl-C over
        while True:
            yield
    finally:
        cleaned.append("main")


for number in range(30):
    timer = threading.Timer(0.001 + number * 0.0002, os.kill, (os.getpid(), signal.SIGINT))
    try:
        run(main(timer))
    except KeyboardInterrupt:
        pass
    else:
        print("no KeyboardInterrupt")
    timer.join()
print(cleaned.count("main"), cleaned.count("child"))
"""


def test_ctrl_c_never_skips_a_finally_block():
    """CPython 3.13.0, defect 5: an asynchronous KeyboardInterrupt skips `finally` (#130279)."""
    assert printed_by(INTERRUPTED) == "30 30\n"


IN_A_TIGHT_LOOP = """
import os, signal, threading, time
from microthreads import run, sleep

log = []


def main():
    try:
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
        log.append("not interrupted between two yields")
        yield
        log.append("never here")
    finally:
        log.append("finally")


threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run(main())
except KeyboardInterrupt:
    log.append("KeyboardInterrupt")
print(*log, sep="\\n")
"""


def test_ctrl_c_is_delivered_at_a_system_call():
    """CPython 3.13.0, defect 5: code between two yields is atomic, for Ctrl-C too."""
    assert printed_by(IN_A_TIGHT_LOOP).splitlines() == [
        "not interrupted between two yields",
        "finally",
        "KeyboardInterrupt",
    ]


WHILE_WAITING = """
import os, signal, threading
from microthreads import run, sleep

def main():
    try:
        yield sleep(1000)
    finally:
        print("finally")


threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run(main())
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


def test_ctrl_c_wakes_a_kernel_that_waits():
    """trio #733 and defect 5: Ctrl-C is neither ignored nor unsafe while all sleep."""
    assert printed_by(WHILE_WAITING) == "finally\nKeyboardInterrupt\n"


# ---- 6: a socket that is always ready


@pytest.mark.parametrize("operation", ["recv", "readable"])
def test_an_always_ready_socket_does_not_starve_a_sleeper(operation):
    """asyncio, gevent and curio, defect 6: 19, 5 and 5 ticks of 100."""
    clock = VirtualClock()

    def hog(sock):
        """Takes a tenth of a millisecond for each turn."""
        while True:
            yield sock.readable() if operation == "readable" else sock.recv(1, socket.MSG_PEEK)
            clock.reach(clock.now() + 1e-4)
            turns.append(clock.now())

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            peer.send(b"x")
            task = yield spawn(hog(a), daemon=True)
            ticks = yield ticks_of_10_ms(0.25)
            task.cancel()
            yield
            return ticks

    turns = []
    assert run(main(), clock=clock) >= 24
    assert len(turns) > 1000


# ---- 7: deadlocks, and depth


def test_a_deadlock_is_an_error_that_names_the_tasks_and_runs_finally_blocks(vrun):
    """All but gevent, defect 7: a global deadlock is silence."""
    log = []

    def waiter(channel):
        try:
            yield channel.recv()
        finally:
            log.append("finally")

    def main():
        channel = Channel(name="orders")
        yield spawn(waiter(channel), name="clerk")
        try:
            yield channel.recv()
        finally:
            log.append("main's finally")

    with pytest.raises(DeadlockError, match=r"(?s)orders.*clerk.*test_peers"):
        vrun(main())
    assert sorted(log) == ["finally", "main's finally"]


def test_a_circle_of_joins_is_refused_by_name(vrun):
    """Defect 7: the circle is found when it closes, not never."""

    def first(box):
        yield sleep(1)
        yield join(box[0])

    def second(task):
        yield join(task)

    def main():
        box = []
        task = yield spawn(first(box), name="hen")
        box.append((yield spawn(second(task), name="egg")))
        with pytest.raises(RuntimeError, match=r"(?s)hen.*egg|egg.*hen"):
            yield join(task)

    vrun(main())


def test_routines_nest_a_hundred_thousand_deep():
    """Everybody, defect 7: nobody nests more than some 1,000 awaits."""

    def down(depth):
        if not depth:
            yield
            return 0
        return 1 + (yield down(depth - 1))

    assert run(down(100_000)) == 100_000


def test_an_error_crosses_a_hundred_thousand_routines(unobserved):
    """Everybody, defect 7: what goes down must come up, errors too."""
    passed = []

    def down(depth):
        try:
            if not depth:
                raise LookupError("bottom")
            yield down(depth - 1)
        finally:
            passed.append(depth)

    with pytest.raises(LookupError, match="bottom"):
        run(down(100_000))
    assert passed == list(range(100_001))


def test_a_task_cancelled_a_hundred_thousand_routines_deep_unwinds(vrun):
    """Everybody, defect 7: so does a cancellation."""
    passed = []

    def down(depth):
        try:
            yield down(depth - 1) if depth else sleep(1000)
        finally:
            passed.append(depth)

    def main():
        task = yield spawn(down(100_000))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)

    vrun(main())
    assert passed == list(range(100_001))


# ---- 8: the rest


def test_a_task_that_joins_itself_gets_an_error(vrun):
    """curio and gevent, defect 8: they hang."""

    def main():
        with pytest.raises(RuntimeError, match="itself|self|circle"):
            yield join(current_task())
        return "goes on"

    assert vrun(main()) == "goes on"


@pytest.mark.forgets
def test_a_second_cancel_is_felt_as_well(vrun):
    """curio, defect 8: the second cancel is ignored."""
    log = []

    def stubborn():
        for _ in range(3):
            try:
                yield sleep(100)
            except Cancelled:
                log.append(f"cancelled at {now()}")
        yield sleep(100)

    def main():
        task = yield spawn(stubborn())
        for reason in ("first", "second"):
            yield sleep(1)
            task.cancel(reason)
        with pytest.raises(Cancelled):
            yield join(task)
        return now()

    assert vrun(main()) == 2.0
    assert log == ["cancelled at 1.0"] * 3


@pytest.mark.forgets
def test_a_swallowed_cancel_is_raised_again_at_the_next_yield(vrun):
    """asyncio, defect 8: one except clause too many, and the task survives."""
    log = []

    def swallowing():
        while len(log) < 3:
            try:
                yield sleep(100)
            except Cancelled as error:
                log.append(error.reason)
        yield sleep(100)
        log.append("survived")

    def main():
        task = yield spawn(swallowing())
        yield sleep(1)
        task.cancel("enough")
        with pytest.raises(Cancelled):
            yield join(task)
        return now()

    assert vrun(main()) == 1.0
    assert log == ["enough"] * 3


def test_closing_a_socket_wakes_the_others_who_wait_on_it():
    """curio and asyncio's sock_*, defect 8: they wait for ever."""

    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            task = yield spawn(receiving(a))
            yield sleep(0.002)
            a.close()
            with pytest.raises(ClosedError):
                yield select(join(task), sleep(1))
        with listen("127.0.0.1", 0) as listener:
            task = yield spawn(accepting(listener))
            yield sleep(0.002)
            listener.close()
            with pytest.raises(ClosedError):
                yield select(join(task), sleep(1))

    run(main())


def accepting(listener):
    return (yield listener.accept())


def test_a_server_survives_running_out_of_descriptors_and_logs_it_once():
    """curio and asyncio, defect 8: the one ends, the other logs 240 records."""
    done = out_of_descriptors("accept_loop(bound(found), lambda sock: greet(sock.sendall))")
    assert (done.stdout, done.stderr) == ("hello 1\n", "")


def test_finally_blocks_run_when_the_program_ends(vrun):
    """gevent, defect 8: tasks are abandoned at exit, their `finally` blocks never run."""
    log = []

    def endless(name):
        try:
            yield sleep(float("inf"))
        finally:
            log.append(f"{name}'s finally")

    def main():
        yield spawn(endless("daemon"), daemon=True)
        yield sleep(1)
        log.append("main returns")

    vrun(main())
    assert log == ["main returns", "daemon's finally"]


def test_finally_blocks_of_the_others_run_when_main_fails(vrun):
    """gevent, defect 8: the same when the program fails."""
    log = []

    def endless():
        try:
            yield sleep(float("inf"))
        finally:
            log.append("finally")

    def main():
        yield spawn(endless())
        yield sleep(1)
        raise LookupError("main")

    with pytest.raises(LookupError, match="main"):
        vrun(main())
    assert log == ["finally"]


def test_a_program_that_ends_leaves_no_task_to_the_garbage_collector(vrun):
    """gevent, defect 8, and asyncio's 'Task was destroyed but it is pending'."""
    log = []

    def never_started():
        log.append("started")
        yield

    def main():
        task = yield spawn(never_started(), daemon=True)
        late = current_task().kernel.spawn(never_started(), daemon=True)
        return task, late

    tasks = vrun(main())
    assert [task.done for task in tasks] == [True, True]
