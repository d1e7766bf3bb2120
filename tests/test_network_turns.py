"""One call that has much to do is not everybody's wait: a bound of work for each turn.

The peer is as fast as can be: whatever is asked for is there, and whatever is sent is
taken. What was done between two turns of another task is counted, in bytes; no clock is
asked.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from contextlib import ExitStack

import pytest
from helpers import tcp_pair
from peers import KIB, MIB, NAME, Carried, in_thread

from microthreads import (
    BusyError,
    Cancelled,
    ClosedError,
    IncompleteReadError,
    LimitExceeded,
    Socket,
    Stream,
    join,
    move_on_after,
    run,
    select,
    sleep,
    spawn,
)

SIZE = 64 * MIB
A_TURN = 4 * MIB  # that may be moved between two turns of another task


class Fast(socket.socket):
    """An end of a connection whose peer is as fast as can be, from when `fast` is set.

    Attributes:
        moved: How many bytes were received and sent.
        script: What comes; if it is None, zeros without end.
        end: After how many bytes the peer ends.
    """

    fast, moved, script, end = False, 0, None, math.inf

    def recv(self, size, *flags):
        if not self.fast:
            return super().recv(size, *flags)
        size = min(size, self.end - self.moved)
        if self.script is not None:
            data = bytes(self.script[self.moved : self.moved + size])
        else:
            data = bytes(size)
        self.moved += len(data)
        return data

    def send(self, data, *flags):
        if not self.fast:
            return super().send(data, *flags)
        self.moved += len(data)
        return len(data)


@pytest.fixture(params=["tcp", "unix"])
def fast(request):
    """A fast socket, and the stream over it."""
    with ExitStack() as stack:
        if request.param == "tcp":
            near, far = tcp_pair(stack)
            here = near.sock.dup()
        else:
            here, far = socket.socketpair()
            stack.enter_context(far)
        far.sendall(b"x" * 9)  # so that pollers call it ready; it stays there
        sock = Fast(fileno=here.detach())
        sock.fast = True
        yield sock, stack.enter_context(Stream(Socket(sock)))


async def most_between_two_turns(sock, routine):
    """Run `routine`; how many bytes were moved at most between two turns of this task."""
    most, before, turns = 0, sock.moved, 0
    task = await spawn(routine)
    while not task.done:
        await sleep(0)
        most, before, turns = max(most, sock.moved - before), sock.moved, turns + 1
    return most, turns, await join(task)


async def length_of(call):
    return len(await call)


# ---- Reading


READS = {
    "read_exactly": lambda stream: stream.read_exactly(SIZE),
    "read_until": lambda stream: stream.read_until(b"no such mark", 2 * SIZE),
    "readline": lambda stream: stream.readline(2 * SIZE),
    "read(-1)": lambda stream: stream.read(-1),
}


@pytest.mark.parametrize("call", READS)
def test_a_long_read_leaves_the_others_their_turns(unobserved, fast, call, go):
    sock, stream = fast
    sock.end = SIZE

    async def read():
        try:
            return len(await READS[call](stream))
        except IncompleteReadError:
            return stream.buffered

    most, turns, size = go(most_between_two_turns(sock, read()))
    assert size == SIZE
    assert most <= A_TURN
    assert turns >= SIZE / A_TURN


def test_a_line_that_does_not_end_is_refused_in_turns(unobserved, fast, go):
    sock, stream = fast

    async def read():
        with pytest.raises(LimitExceeded):
            await stream.readline(SIZE)
        return stream.buffered

    most, _, size = go(most_between_two_turns(sock, read()))
    assert SIZE <= size <= SIZE + MIB
    assert most <= A_TURN


def test_two_that_read_at_once_take_turns(unobserved, go):
    with ExitStack() as stack:
        streams, socks = [], []
        for _ in range(2):
            here, far = socket.socketpair()
            stack.enter_context(far).sendall(b"x" * 9)
            socks.append(Fast(fileno=here.detach()))
            socks[-1].fast = True
            streams.append(stack.enter_context(Stream(Socket(socks[-1]))))

        async def main():
            tasks = [await spawn(length_of(each.read_exactly(SIZE))) for each in streams]
            apart = 0
            while not all(task.done for task in tasks):
                await sleep(0)
                apart = max(apart, abs(socks[0].moved - socks[1].moved))
            return apart

        assert go(main()) <= A_TURN


# ---- A read that has more to do can be ended, in all ways


def test_a_read_that_goes_on_loses_a_select_and_has_taken_nothing(unobserved, fast, go):
    sock, stream = fast

    async def main():
        which, _ = await select(stream.read_exactly(SIZE), sleep(0))
        assert which == 1
        assert stream.buffered == sock.moved < SIZE
        which, data = await select(sleep(60), stream.read_exactly(SIZE))
        return which, len(data), stream.buffered == sock.moved - SIZE

    assert go(main()) == (1, SIZE, True)


def test_a_read_that_goes_on_is_cancelled_and_has_taken_nothing(unobserved, fast, go):
    sock, stream = fast

    async def main():
        task = await spawn(length_of(stream.read_exactly(1 << 40)))
        for _ in range(5):
            await sleep(0)
        task.cancel()
        with pytest.raises(Cancelled):
            await join(task)
        come = sock.moved
        for _ in range(5):
            await sleep(0)
        return come == sock.moved == stream.buffered, sock.moved <= 10 * MIB

    assert go(main()) == (True, True)


def test_the_same_call_can_be_awaited_again_after_its_time_was_over(unobserved, fast, go):
    sock, stream = fast

    async def main():
        call = stream.read_exactly(SIZE)
        for _ in range(3):
            with move_on_after(0.001):
                await call
                return "so fast?"
        most, _, size = await most_between_two_turns(sock, length_of(call))
        return most <= A_TURN, size, stream.buffered == sock.moved - SIZE

    assert go(main()) in ((True, SIZE, True), "so fast?")


def test_while_a_read_goes_on_another_one_is_refused_and_closing_ends_it(unobserved, fast, go):
    _, stream = fast

    async def main():
        task = await spawn(length_of(stream.read_exactly(1 << 40)))
        await sleep(0)
        await sleep(0)
        with pytest.raises(BusyError):
            await stream.read()
        stream.close()
        with pytest.raises(ClosedError):
            await join(task)

    go(main())


# ---- TLS


def encrypted(stack, authority, size=0):
    """A stream over TLS whose peer is fast from now on, and its socket.

    Args:
        size: How many bytes of plaintext are to come; then the peer ends.
    """
    here, far = socket.socketpair()
    stack.enter_context(far).settimeout(20)
    sock = Fast(fileno=here.detach())
    stream = stack.enter_context(Stream(Socket(sock)))
    peer = Carried(far, authority.server())

    async def shake_hands():
        await stream.start_tls(authority.client(), server_hostname=NAME)

    def talk():
        peer.handshake()
        for _ in range(size // (256 * KIB)):
            peer.tls.write(bytes(256 * KIB))
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.unwrap()

    with in_thread(talk):
        run(shake_hands())
    sock.script = peer.outgoing.read()
    with contextlib.suppress(
        BlockingIOError
    ):  # before it come the tickets, if they are still there
        sock.script = socket.socket.recv(sock, 65536) + sock.script
    far.sendall(b"x" * 9)
    sock.fast = True
    return sock, stream


@pytest.mark.parametrize("call", ["read_exactly", "read(-1)"])
def test_a_long_read_over_tls_leaves_the_others_their_turns(unobserved, authority, call, go):
    with ExitStack() as stack:
        sock, stream = encrypted(stack, authority, SIZE)

        most, _, size = go(most_between_two_turns(sock, length_of(READS[call](stream))))
        assert size == SIZE
        assert most <= A_TURN


def test_a_long_write_over_tls_leaves_the_others_their_turns(unobserved, authority, go):
    with ExitStack() as stack:
        sock, stream = encrypted(stack, authority)

        async def write():
            await stream.write(bytes(SIZE))

        most, turns, _ = go(most_between_two_turns(sock, write()))
        assert sock.moved > SIZE
        assert most <= A_TURN
        assert turns >= SIZE / A_TURN


def test_a_write_over_tls_that_goes_on_is_cancelled_and_says_how_far_it_came(
    unobserved, authority, go
):
    with ExitStack() as stack:
        sock, stream = encrypted(stack, authority)

        async def main():
            task = await spawn(write())
            await sleep(0)
            await sleep(0)
            task.cancel()
            with pytest.raises(Cancelled) as caught:
                await join(task)
            before = sock.moved
            for _ in range(5):
                await sleep(0)
            return 0 < caught.value.bytes_sent < SIZE, before == sock.moved

        async def write():
            await stream.write(bytes(SIZE))

        assert go(main()) == (True, True)


def test_records_without_data_are_not_everybodys_wait(unobserved, authority, go):
    """A server may send as many session tickets as it likes."""
    server = authority.server(version=ssl.TLSVersion.TLSv1_3)
    server.num_tickets = 40_000
    here, far = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(far).settimeout(20)
        sock = Fast(fileno=here.detach())
        stream = stack.enter_context(Stream(Socket(sock)))
        peer = Carried(far, server)

        async def shake_hands():
            await stream.start_tls(authority.client(), server_hostname=NAME)

        def talk():
            while True:
                try:
                    peer.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    peer.flush()
                    peer.incoming.write(far.recv(65536))
            peer.tls.write(b"x" * 9)

        with in_thread(talk):
            run(shake_hands())
        sock.script = peer.outgoing.read()
        far.sendall(b"x" * 9)
        sock.fast = True

        most, _, got = go(most_between_two_turns(sock, length_of(stream.read_exactly(9))))
        assert got == 9
        assert sock.moved > 2 * A_TURN
        assert most <= A_TURN


# ---- The end


def test_finish_leaves_the_others_their_turns_and_reads_no_more_than_it_says(unobserved, fast, go):
    """16 MiB, by its documentation."""
    sock, stream = fast
    most, turns, _ = go(most_between_two_turns(sock, stream.finish(60.0)))
    assert stream.closed
    assert most <= A_TURN
    assert turns >= 4
    assert 16 * MIB <= sock.moved <= 17 * MIB
