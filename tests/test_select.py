"""select: one branch takes effect, and the others are as if they had never been made.

Each kind of call is a small class that can make its branch ready, check the
effect of the branch that won, and check that a loser had none: it is then made
ready, made for real, and must have its full effect, once.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from helpers import program, raw_pair

from microthreads import (
    BusyError,
    Cancelled,
    Channel,
    ClosedError,
    DeadlockError,
    Descriptor,
    Socket,
    join,
    listen,
    move_on_after,
    now,
    run,
    select,
    sleep,
    sleep_until,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

NEVER = 1000.0


class Kind:
    """One side of a select.

    `late` is when a sleep ends by itself; other kinds wait for `make_ready`.
    """

    ready = False

    def __init__(self, stack, late=NEVER):
        self.stack = stack
        self.late = late
        self.set_up()

    def set_up(self):
        pass

    def make_ready(self):
        self.ready = True
        yield

    def took(self, value):
        """Check that the call returned `value`, and had its effect."""
        assert value is None
        yield

    def untouched(self):
        """Check that the call had no effect: it can be made, with its whole effect."""
        if not self.ready:
            yield self.make_ready()
        with timeout(0.5):
            yield self.took((yield self.call()))


class RendezvousSend(Kind):
    def set_up(self):
        self.channel = Channel()
        self.got = []

    def call(self):
        return self.channel.send("mine")

    def make_ready(self):
        self.ready = True
        self.receiver = yield spawn(self.receive())

    def receive(self):
        self.got.append((yield self.channel.recv()))

    def took(self, value):
        assert value is None
        yield join(self.receiver)
        assert self.got == ["mine"]
        assert self.channel.try_recv("nothing") == "nothing"

    def untouched(self):
        assert self.channel.try_recv("nothing") == "nothing"
        assert not self.got
        yield super().untouched()


class BufferedSend(Kind):
    def set_up(self):
        self.channel = Channel(2)
        self.channel.try_send("a")
        self.channel.try_send("b")

    def call(self):
        return self.channel.send("mine")

    def make_ready(self):
        self.ready = True
        assert self.channel.try_recv() == "a"
        yield

    def took(self, value):
        assert value is None
        assert len(self.channel) == 2
        assert [(yield self.channel.recv()), (yield self.channel.recv())] == ["b", "mine"]

    def untouched(self):
        assert len(self.channel) == (1 if self.ready else 2)
        yield super().untouched()


class RendezvousRecv(Kind):
    def set_up(self):
        self.channel = Channel()
        self.sender = None

    def call(self):
        return self.channel.recv()

    def make_ready(self):
        self.ready = True
        self.sender = yield spawn(self.send())

    def send(self):
        yield self.channel.send("theirs")

    def took(self, value):
        assert value == "theirs"
        yield join(self.sender)

    def untouched(self):
        if self.ready:
            yield
            assert not self.sender.done
        else:
            assert self.channel.try_send("nobody waits") is False
        yield super().untouched()


class BufferedRecv(Kind):
    def set_up(self):
        self.channel = Channel(2)

    def call(self):
        return self.channel.recv()

    def make_ready(self):
        self.ready = True
        assert self.channel.try_send("theirs")
        assert self.channel.try_send("more")
        yield

    def took(self, value):
        assert value == "theirs"
        assert len(self.channel) == 1
        yield

    def untouched(self):
        assert len(self.channel) == (2 if self.ready else 0)
        yield super().untouched()


class Sleep(Kind):
    def call(self):
        return sleep(0 if self.ready else self.late)


class SleepUntil(Kind):
    def call(self):
        self.called_at = now()
        return sleep_until(now() - 1 if self.ready else self.late)


class Join(Kind):
    def set_up(self):
        self.gate = Channel()
        self.task = None

    def call(self):
        return join(self.task)

    def begin(self):
        self.task = yield spawn(self.work())

    def work(self):
        yield self.gate.recv()
        return "outcome"

    def make_ready(self):
        self.ready = True
        self.gate.try_send("go") or (yield self.gate.send("go"))
        yield

    def took(self, value):
        assert value == "outcome"
        yield

    def untouched(self):
        assert self.ready or not self.task.done
        yield super().untouched()


class TaskItself(Join):
    def call(self):
        return self.task


class SocketRecv(Kind):
    def set_up(self):
        self.socket, self.peer = raw_pair(self.stack)

    def call(self):
        return self.socket.recv(6)

    def make_ready(self):
        self.ready = True
        self.peer.send(b"theirs")
        yield

    def took(self, value):
        assert value == b"theirs"
        self.peer.send(b"more")
        assert (yield self.socket.recv()) == b"more"


class SocketSend(Kind):
    def set_up(self):
        self.socket, self.peer = raw_pair(self.stack)
        self.filled = 0
        try:
            while True:
                self.filled += self.socket.sock.send(b"x" * 4096)
        except BlockingIOError:
            pass

    def call(self):
        return self.socket.send(b"mine")

    def drain(self):
        data = b""
        try:
            while True:
                data += self.peer.recv(65536)
        except BlockingIOError:
            return data

    def make_ready(self):
        self.ready = True
        assert self.drain() == b"x" * self.filled
        yield

    def took(self, value):
        assert value == 4
        assert self.drain() == b"mine"
        yield

    def untouched(self):
        if self.ready:
            assert self.drain() == b""
        yield super().untouched()


class Accept(Kind):
    def set_up(self):
        self.listener = self.stack.enter_context(listen("127.0.0.1", 0))
        self.client = None

    def call(self):
        return self.listener.accept()

    def make_ready(self):
        self.ready = True
        client = socket.create_connection(self.listener.getsockname())
        self.client = self.stack.enter_context(client)
        yield

    def took(self, value):
        connection, address = value
        with connection:
            assert address == self.client.getsockname()
        yield


class RecvFrom(Kind):
    def set_up(self):
        inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        inner.bind(("127.0.0.1", 0))
        self.socket = self.stack.enter_context(Socket(inner))
        self.peer = self.stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.peer.bind(("127.0.0.1", 0))

    def call(self):
        return self.socket.recvfrom()

    def make_ready(self):
        self.ready = True
        self.peer.sendto(b"theirs", self.socket.getsockname())
        yield

    def took(self, value):
        assert value == (b"theirs", self.peer.getsockname())
        yield


class Readable(SocketRecv):
    def call(self):
        return self.socket.readable()

    def took(self, value):
        assert value is None
        assert (yield self.socket.recv()) == b"theirs"


class DescriptorReadable(SocketRecv):
    def set_up(self):
        super().set_up()
        self.descriptor = Descriptor(self.stack.enter_context(self.socket.sock.dup()))
        self.stack.callback(self.descriptor.detach)

    def call(self):
        return self.descriptor.readable()

    def took(self, value):
        assert value is None
        assert self.socket.sock.recv(100) == b"theirs"
        yield


class Writable(SocketSend):
    def call(self):
        return self.socket.writable()

    def took(self, value):
        assert value is None
        assert self.drain() == b""
        yield


class NestedSelect(BufferedRecv):
    def call(self):
        return select(self.other.recv(), self.channel.recv())

    def set_up(self):
        super().set_up()
        self.other = Channel()

    def took(self, value):
        index, value = value
        assert index == 1
        assert self.other.try_send("nobody waits") is False
        yield super().took(value)


KINDS = [
    RendezvousSend,
    BufferedSend,
    RendezvousRecv,
    BufferedRecv,
    Sleep,
    SleepUntil,
    Join,
    TaskItself,
    SocketRecv,
    SocketSend,
    Accept,
    RecvFrom,
    Readable,
    DescriptorReadable,
    Writable,
    NestedSelect,
]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def each_pair(test):
    for name in ("first", "second"):
        test = pytest.mark.parametrize(f"{name}_kind", KINDS, ids=lambda kind: kind.__name__)(test)
    return test


def made(kind, stack, late=NEVER):
    """Make one of `kind`, with the task that a join needs."""
    side = kind(stack, late)
    if isinstance(side, Join):
        yield side.begin()
        yield
    return side


def made_ready_at(seconds, *sides):
    yield sleep_until(seconds)
    for side in sides:
        if not isinstance(side, Sleep | SleepUntil):
            yield side.make_ready()


# ---- every pair of kinds


@each_pair
def test_the_branch_that_is_ready_wins_and_the_other_was_never_made(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack)
            yield first.make_ready()
            yield
            index, value = yield select(first.call(), second.call())
            assert index == 0
            yield first.took(value)
            yield second.untouched()
        return now()

    assert vrun(main()) < 1


@each_pair
def test_the_second_branch_may_be_the_only_ready_one(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack)
            yield second.make_ready()
            yield
            index, value = yield select(first.call(), second.call())
            assert index == 1
            yield second.took(value)
            yield first.untouched()
        return now()

    assert vrun(main()) < 1


@each_pair
def test_the_branch_that_becomes_ready_wakes_the_select(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack, late=1.0)
            helper = yield spawn(made_ready_at(1.0, second))
            index, value = yield select(first.call(), second.call())
            assert (index, now()) == (1, 1.0)
            yield join(helper)
            yield second.took(value)
            yield first.untouched()
        return now()

    assert vrun(main()) < 2


@each_pair
def test_the_first_branch_may_become_ready_later(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack, late=1.0)
            second = yield made(second_kind, stack)
            helper = yield spawn(made_ready_at(1.0, first))
            index, value = yield select(first.call(), second.call())
            assert (index, now()) == (0, 1.0)
            yield join(helper)
            yield first.took(value)
            yield second.untouched()
        return now()

    assert vrun(main()) < 2


@each_pair
def test_of_two_ready_branches_the_first_given_wins(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack)
            yield first.make_ready()
            yield second.make_ready()
            yield
            index, value = yield select(first.call(), second.call())
            assert index == 0
            yield first.took(value)
            yield second.untouched()

    vrun(main())


@each_pair
def test_of_two_branches_that_become_ready_in_one_tick_one_takes_effect(
    vrun, first_kind, second_kind
):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack, late=1.0)
            second = yield made(second_kind, stack, late=1.0)
            helper = yield spawn(made_ready_at(1.0, second, first))
            index, value = yield select(first.call(), second.call())
            yield join(helper)
            winner, loser = (first, second) if index == 0 else (second, first)
            yield winner.took(value)
            yield loser.untouched()
        return now()

    assert vrun(main()) < 2


@each_pair
def test_a_timeout_leaves_both_branches_as_if_never_made(vrun, first_kind, second_kind):
    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack)
            with move_on_after(1) as scope:
                yield select(first.call(), second.call())
            assert (scope.expired, now()) == (True, 1.0)
            yield first.untouched()
            yield second.untouched()
        return now()

    assert vrun(main()) < 2


@each_pair
def test_a_cancel_leaves_both_branches_as_if_never_made(vrun, first_kind, second_kind):
    def selecting(*sides):
        yield select(*[side.call() for side in sides])

    def main():
        with ExitStack() as stack:
            first = yield made(first_kind, stack)
            second = yield made(second_kind, stack)
            task = yield spawn(selecting(first, second))
            yield sleep(0.1)
            task.cancel()
            with pytest.raises(Cancelled):
                yield join(task)
            yield first.untouched()
            yield second.untouched()
        return now()

    assert vrun(main()) < 2


# ---- one kind and a timeout around it


@each_kind
def test_a_branch_that_is_ready_before_the_timeout_wins(vrun, kind):
    def main():
        with ExitStack() as stack:
            side = yield made(kind, stack, late=1.0)
            helper = yield spawn(made_ready_at(1.0, side))
            with timeout(2) as scope:
                index, value = yield select(Channel().recv(), side.call())
            assert (index, scope.expired, now()) == (1, False, 1.0)
            yield join(helper)
            yield side.took(value)
        return now()

    assert vrun(main()) < 2


@each_kind
def test_a_branch_that_is_ready_after_the_timeout_has_no_effect(vrun, kind):
    def main():
        with ExitStack() as stack:
            side = yield made(kind, stack, late=2.0)
            helper = yield spawn(made_ready_at(2.0, side))
            with pytest.raises(TimeoutError), timeout(1):
                yield select(Channel().recv(), side.call())
            assert now() == 1.0
            yield join(helper)
            yield side.untouched()

    vrun(main())


@each_kind
def test_a_branch_and_a_timeout_in_one_tick_lose_nothing(vrun, kind):
    def main():
        with ExitStack() as stack:
            side = yield made(kind, stack, late=1.0)
            helper = yield spawn(made_ready_at(1.0, side))
            taken = None
            with move_on_after(1):
                taken = yield select(Channel().recv(), side.call())
            yield join(helper)
            yield side.untouched() if taken is None else side.took(taken[1])

    vrun(main())


@each_kind
def test_a_select_of_one_call_is_that_call(vrun, kind):
    def main():
        with ExitStack() as stack:
            side = yield made(kind, stack, late=1.0)
            helper = yield spawn(made_ready_at(1.0, side))
            index, value = yield select(side.call())
            assert index == 0
            yield join(helper)
            yield side.took(value)

    vrun(main())


# ---- what it is made of


def test_a_select_may_be_a_branch_of_a_select(vrun):
    def main():
        a, b, c = Channel(), Channel(), Channel(1)
        c.try_send("value")
        result = yield select(a.recv(), select(b.recv(), select(c.recv(), sleep(5))))
        return result, a.try_send(1), b.try_send(2), now()

    assert vrun(main()) == ((1, (1, (0, "value"))), False, False, 0.0)


def test_a_nested_select_is_woken_from_its_innermost_branch(vrun):
    def waker(channel):
        yield sleep(1)
        yield channel.send("late")

    def main():
        a, b, c = Channel(), Channel(), Channel()
        yield spawn(waker(c))
        result = yield select(a.recv(), select(b.recv(), select(sleep(5), c.recv())))
        return result, a.try_send(1), b.try_send(2)

    assert vrun(main()) == ((1, (1, (1, "late"))), False, False)


def test_a_branch_that_fails_raises_its_error_and_the_others_were_never_made(vrun):
    def failing():
        yield sleep(1)
        raise LookupError("branch")

    def main():
        channel = Channel()
        task = yield spawn(failing())
        with pytest.raises(LookupError, match="branch"):
            yield select(channel.recv(), join(task))
        return channel.try_send("nobody waits"), now()

    assert vrun(main()) == (False, 1.0)


def test_a_branch_on_a_closed_channel_fails_the_select(vrun):
    def main():
        closed, other = Channel(), Channel()
        closed.close()
        for call in (closed.recv, lambda: closed.send(1)):
            with pytest.raises(ClosedError):
                yield select(other.recv(), call())
        return other.try_send("nobody waits")

    assert vrun(main()) is False


@pytest.mark.parametrize("operation", ["send", "recv"])
def test_closing_a_channel_wakes_the_selects_on_it(vrun, operation):
    def selecting(channel, other):
        call = channel.recv() if operation == "recv" else channel.send(1)
        with pytest.raises(ClosedError):
            yield select(other.recv(), call, sleep(100))

    def main():
        channel, other = Channel(), Channel()
        task = yield spawn(selecting(channel, other))
        yield sleep(1)
        channel.close()
        yield join(task)
        return other.try_send("nobody waits"), now()

    assert vrun(main()) == (False, 1.0)


def test_a_ready_branch_wins_over_a_closed_one_given_after_it(vrun):
    def main():
        ready, closed = Channel(1), Channel()
        ready.try_send("value")
        closed.close()
        return (yield select(ready.recv(), closed.recv()))

    assert vrun(main()) == (0, "value")


def test_closing_a_socket_wakes_the_selects_on_it(vrun):
    def selecting(a):
        with pytest.raises(ClosedError):
            yield select(Channel().recv(), a.recv(), sleep(100))

    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            task = yield spawn(selecting(a))
            yield sleep(1)
            a.close()
            yield join(task)
        return now()

    assert vrun(main()) == 1.0


def test_a_branch_that_is_busy_raises_and_disarms_the_others(vrun):
    def reading(a):
        return (yield a.recv())

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            channel = Channel()
            reader = yield spawn(reading(a))
            yield sleep(1)
            with pytest.raises(BusyError):
                yield select(channel.recv(), sleep(5), a.recv())
            assert channel.try_send("nobody waits") is False
            peer.send(b"for the reader")
            return (yield join(reader)), now()

    assert vrun(main()) == (b"for the reader", 1.0)


def test_two_selects_on_both_ends_of_two_channels_meet_once(vrun):
    def left(a, b):
        return (yield select(a.send("left"), b.recv()))

    def right(a, b):
        return (yield select(b.send("right"), a.recv()))

    def main():
        a, b = Channel(), Channel()
        first = yield spawn(left(a, b))
        second = yield spawn(right(a, b))
        outcomes = (yield join(first)), (yield join(second))
        return outcomes, a.try_recv("-"), b.try_recv("-"), a.try_send(1), b.try_send(1)

    assert vrun(main()) == (((1, "right"), (0, None)), "-", "-", False, False)


def test_a_select_does_not_meet_itself(vrun):
    def main():
        channel = Channel()
        with move_on_after(1) as scope:
            yield select(channel.send("me"), channel.recv())
        return scope.expired, channel.try_recv("nothing"), channel.try_send(1)

    assert vrun(main()) == (True, "nothing", False)


def test_a_select_that_waits_to_send_and_to_receive_on_one_channel_serves_either(vrun):
    def selecting(channel):
        return (yield select(channel.send("mine"), channel.recv()))

    def main():
        channel = Channel()
        first = yield spawn(selecting(channel))
        yield sleep(1)
        got = channel.try_recv("nothing")
        second = yield spawn(selecting(channel))
        yield sleep(1)
        sent = channel.try_send("yours")
        return got, (yield join(first)), sent, (yield join(second))

    assert vrun(main()) == ("mine", (0, None), True, (1, "yours"))


def test_a_value_that_falls_to_a_select_is_not_offered_twice(vrun):
    log = []

    def selecting(name, a, b):
        log.append((name, (yield select(a.recv(), b.recv()))))

    def main():
        a, b = Channel(), Channel()
        yield spawn(selecting("first", a, b))
        yield spawn(selecting("second", a, b))
        yield sleep(1)
        log.append(b.try_send("x"))
        log.append(a.try_send("y"))
        log.append(a.try_send("z"))

    vrun(main())
    assert log == [True, True, False, ("first", (1, "x")), ("second", (0, "y"))]


def test_three_hundred_branches_are_no_more_than_three(vrun):
    def main():
        channels = [Channel() for _ in range(300)]
        task = yield spawn(sender(channels[170]))
        result = yield select(*[channel.recv() for channel in channels])
        yield join(task)
        return result, [channel.try_send(0) for channel in channels].count(True)

    def sender(channel):
        yield sleep(1)
        yield channel.send("there")

    assert vrun(main()) == ((170, "there"), 0)


def test_select_works_in_async_functions(vrun):
    async def sender(channel):
        await sleep(1)
        await channel.send("value")

    async def main():
        channel = Channel()
        await spawn(sender(channel))
        first = await select(channel.recv(), sleep(5))
        second = await select(channel.recv(), sleep(5))
        return first, second, now()

    assert vrun(main()) == ((0, "value"), (1, None), 6.0)


def test_sendall_is_refused_by_its_name_and_send_is_named_instead(vrun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            with pytest.raises(TypeError, match=r"sendall.*send\b"):
                yield select(a.sendall(b"data"), sleep(1))
            with pytest.raises(BlockingIOError):
                peer.recv(1)

    vrun(main())


def test_a_select_of_nothing_is_refused():
    with pytest.raises(ValueError):
        select()


@pytest.mark.forgets
def test_one_call_given_twice_is_refused():
    call = Channel().recv()
    with pytest.raises(ValueError):
        select(call, call)


@pytest.mark.forgets
@pytest.mark.parametrize("thing", [None, 1, "call", Channel(), Channel, print])
def test_what_is_not_a_system_call_is_refused(thing):
    with pytest.raises(TypeError):
        select(sleep(1), thing)


@pytest.mark.forgets
def test_a_routine_is_not_a_branch_and_the_error_says_what_is():
    def routine():
        yield

    made_one = routine()
    with pytest.raises(TypeError, match=r"spawn|task|routine"):
        select(sleep(1), made_one)
    made_one.close()


def test_a_select_object_can_be_made_again(vrun):
    def main():
        channel = Channel(3)
        for number in range(3):
            channel.try_send(number)
        call = select(channel.recv(), sleep(1))
        return [(yield call), (yield call), (yield call), (yield call)]

    assert vrun(main()) == [(0, 0), (0, 1), (0, 2), (1, None)]


def test_a_cancelled_task_selects_nothing(vrun):
    def selecting(channel, log):
        yield
        try:
            yield select(channel.recv(), sleep(0))
        except Cancelled:
            log.append("cancelled")
            raise

    def main():
        channel, log = Channel(1), []
        channel.try_send("value")
        task = yield spawn(selecting(channel, log))
        task.cancel()
        yield sleep(1)
        return log, len(channel)

    assert vrun(main()) == (["cancelled"], 1)


def test_what_a_select_waits_on_is_shown(vrun):
    def selecting(channel):
        yield select(channel.recv(), sleep(100))

    def main():
        task = yield spawn(selecting(Channel(name="orders")))
        yield sleep(1)
        shown = str(task.waiting_on)
        task.cancel()
        return shown

    shown = vrun(main())
    assert "orders" in shown
    assert "sleep" in shown


def test_a_select_in_a_deadlock_is_reported_with_its_branches(vrun):
    def main():
        yield select(Channel(name="orders").recv(), Channel(name="answers").send(1))

    with pytest.raises(DeadlockError, match=r"(?s)orders.*answers"):
        vrun(main())


def test_the_time_that_a_lost_sleep_would_have_taken_does_not_pass():
    def main():
        channel = Channel(1)
        channel.try_send(1)
        yield select(sleep(500), channel.recv())
        yield sleep(1)

    clock = VirtualClock()
    run(main(), clock=clock)
    assert clock.now() == 1.0


GIVEN_TWICE = """
from microthreads import Channel, run, select, sleep

def main():
    channel = Channel()
    call = channel.recv()
    try:
        yield select(call, select(call, sleep(1)))
    except (ValueError, RuntimeError):
        print("refused", channel.try_send("nobody waits"))

run(main())
"""


def test_one_call_given_twice_at_different_depths_is_refused_too():
    # In a process of its own, because what it does otherwise is to hang the kernel.
    done = program(GIVEN_TWICE, seconds=10)
    assert done.stdout == "refused False\n", done.stderr


def test_a_call_that_another_task_waits_in_is_refused_and_the_other_is_served(vrun):
    def selecting(call):
        return (yield select(call, sleep(9)))

    def main():
        channel = Channel()
        call = channel.recv()
        first = yield spawn(selecting(call))
        second = yield spawn(selecting(call))
        with pytest.raises(RuntimeError):
            yield join(second)
        channel.try_send("value")
        return (yield join(first)), channel.try_send("nobody waits")

    assert vrun(main()) == ((0, "value"), False)
