"""One suite for all pollers: whatever waits for descriptors must pass every test here."""

from __future__ import annotations

import array
import fcntl
import gc
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import textwrap
import time
import warnings
from contextlib import ExitStack

import pytest
from helpers import later, raw_pair, receiving, tcp_pair, ticks_of_10_ms

from microthreads import (
    BusyError,
    Cancelled,
    Descriptor,
    EpollPoller,
    SelectorPoller,
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
from microthreads.runtime.pollers import make_poller

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import selectors2

HOST = "127.0.0.1"
SECOND_CHANCE = 3.0  # seconds after which a test that hangs is given up

POLLERS = {
    "epoll": lambda: make_poller("epoll"),
    "poll": lambda: make_poller("poll"),
    "select": lambda: make_poller("select"),
    "EpollPoller()": EpollPoller,
    "selectors.EpollSelector()": lambda: SelectorPoller(selectors.EpollSelector()),
    "selectors.DefaultSelector()": lambda: SelectorPoller(selectors.DefaultSelector()),
    "selectors.PollSelector": lambda: SelectorPoller(selectors.PollSelector),
}
for _name in ("SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"):
    if hasattr(selectors2, _name):
        POLLERS[f"selectors2.{_name}()"] = lambda kind=getattr(selectors2, _name): SelectorPoller(
            kind()
        )


@pytest.fixture(params=POLLERS)
def poller(request):
    return POLLERS[request.param]()


@pytest.fixture
def prun(poller):
    """`run` with the poller under test, given up when it takes too long."""

    def guarded(main):
        with timeout(SECOND_CHANCE):
            return (yield main)

    def run_it(main, **options):
        return run(guarded(main), poller=poller, **options)

    return run_it


# ---- helpers


def stream_pair(stack):
    """Two connected Unix stream sockets."""
    a, b = socket.socketpair()
    return stack.enter_context(Socket(a)), stack.enter_context(Socket(b))


def udp_socket(stack):
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inner.bind((HOST, 0))
    return stack.enter_context(Socket(inner))


def fill(raw):
    """Send until there is no room; how many bytes that took."""
    count = 0
    try:
        while True:
            count += raw.send(b"x" * 4096)
    except BlockingIOError:
        return count


def drain(raw):
    data = b""
    try:
        while chunk := raw.recv(65536):
            data += chunk
    except BlockingIOError:
        pass
    return data


def receive_all(sock, size=65536):
    chunks = []
    while True:
        chunk = yield sock.recv(size)
        chunks.append(chunk)
        if not chunk:
            return chunks


def error_of(call):
    """The name of the error that `call` raises."""
    try:
        yield call
    except Exception as error:
        return type(error).__name__
    return None


def join_all(tasks):
    outcomes = []
    for task in tasks:
        outcomes.append((yield join(task)))
    return outcomes


# ---- waiting and waking


def test_a_receive_waits_and_is_woken_by_data(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(receiving(a))
            yield sleep(0.01)
            assert not task.done
            peer.send(b"data")
            return (yield join(task))

    assert prun(main()) == b"data"


def test_data_that_is_there_already_is_received(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            peer.send(b"abc")
            return [(yield a.recv(1)), (yield a.recv(1)), (yield a.recv(10))]

    assert prun(main()) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_every_byte_of_a_burst_is_received_whatever_the_size_asked(prun, size):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(receive_all(a, size))
            for burst in (b"abcd", b"efgh", b"i"):
                yield sleep(0.002)
                peer.send(burst)
            yield sleep(0.002)
            peer.close()
            return b"".join((yield join(task)))

    assert prun(main()) == b"abcdefghi"


def test_a_thousand_messages_go_back_and_forth(prun):
    def echo(sock):
        while data := (yield sock.recv()):
            yield sock.sendall(data)

    def main():
        with ExitStack() as stack:
            a, b = stream_pair(stack)
            task = yield spawn(echo(b))
            for number in range(1000):
                message = b"%d" % number
                yield a.sendall(message)
                assert (yield a.recv()) == message
            a.shutdown(socket.SHUT_WR)
            yield join(task)

    prun(main())


def test_a_send_waits_for_room(prun):
    def sending(sock):
        return (yield sock.send(b"mine"))

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            filled = fill(a.sock)
            task = yield spawn(sending(a))
            yield sleep(0.01)
            assert not task.done
            assert len(drain(peer)) == filled
            return (yield join(task)), drain(peer)

    assert prun(main()) == (4, b"mine")


def test_one_task_reads_and_another_writes_the_same_socket(prun):
    log = []

    def reader(sock):
        log.append((yield sock.recv()))

    def writer(sock):
        log.append((yield sock.send(b"out")))

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            fill(a.sock)
            reading = yield spawn(reader(a))
            writing = yield spawn(writer(a))
            yield sleep(0.005)
            assert log == []
            peer.send(b"in")
            yield join(reading)
            assert log == [b"in"]
            drain(peer)
            yield join(writing)
            assert drain(peer) == b"out"

    prun(main())
    assert log == [b"in", 3]


def test_the_writer_may_go_on_before_the_reader_does(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            fill(a.sock)
            reading = yield spawn(receiving(a))
            writing = yield spawn(later(0, lambda: None))
            yield join(writing)
            sending = yield spawn(error_of(a.send(b"out")))
            yield sleep(0.005)
            drain(peer)
            yield join(sending)
            assert not reading.done
            peer.send(b"in")
            return (yield join(reading))

    assert prun(main()) == b"in"


def test_a_receive_into_a_buffer_fills_it_and_counts(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            buffer = bytearray(b"........")
            yield spawn(later(0.005, peer.send, b"abcdef"))
            counts = [(yield a.recv_into(buffer, 4))]
            counts.append((yield a.recv_into(memoryview(buffer)[6:])))
            peer.close()
            counts.append((yield a.recv_into(buffer)))
            return counts, bytes(buffer)

    assert prun(main()) == ([4, 2, 0], b"abcd..ef")


def test_a_peek_leaves_the_data(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield spawn(later(0.005, peer.send, b"data"))
            peeked = yield a.recv(2, socket.MSG_PEEK)
            return peeked, (yield a.recv())

    assert prun(main()) == (b"da", b"data")


def test_readable_waits_and_takes_nothing(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield spawn(later(0.005, peer.send, b"data"))
            yield a.readable()
            yield a.readable()
            return (yield a.recv())

    assert prun(main()) == b"data"


def test_readable_waits_again_when_all_is_read(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            peer.send(b"data")
            yield a.readable()
            first = a.sock.recv(100)
            yield spawn(later(0.005, peer.send, b"more"))
            started = now()
            yield a.readable()
            return first, a.sock.recv(100), now() - started > 0.003

    assert prun(main()) == (b"data", b"more", True)


def test_writable_waits_for_room(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield a.writable()
            fill(a.sock)
            with move_on_after(0.01) as scope:
                yield a.writable()
            assert scope.expired
            yield spawn(later(0.005, drain, peer))
            yield a.writable()
            return a.sock.send(b"x")

    assert prun(main()) == 1


# ---- accept and connect


def test_an_accept_waits_for_a_connection(prun):
    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            client = stack.enter_context(socket.socket())
            yield spawn(later(0.005, client.connect, listener.getsockname()))
            connection, address = yield listener.accept()
            stack.enter_context(connection)
            assert isinstance(connection, Socket)
            return address == client.getsockname() == connection.getpeername()

    assert prun(main())


def test_several_acceptors_are_all_served(prun):
    def accepting(listener):
        connection, address = yield listener.accept()
        connection.close()
        return address

    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            tasks = []
            for _ in range(5):
                tasks.append((yield spawn(accepting(listener))))
            yield sleep(0.005)
            clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
            served = []
            for task in tasks:
                served.append((yield join(task)))
            wanted = [client.getsockname() for client in clients]
            for client in clients:
                client.close()
            return sorted(served) == sorted(wanted)

    assert prun(main())


def test_one_acceptor_takes_all_that_came_in_one_burst(prun):
    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))

            def burst():
                for _ in range(5):
                    stack.enter_context(socket.create_connection(listener.getsockname()))

            yield spawn(later(0.005, burst))
            for _ in range(5):
                connection, _ = yield listener.accept()
                connection.close()

    prun(main())


def test_a_connect_succeeds(prun):
    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            a = stack.enter_context(Socket(socket.socket()))
            result = yield a.connect(listener.getsockname())
            b, _ = yield listener.accept()
            stack.enter_context(b)
            yield a.sendall(b"hello")
            return result, (yield b.recv())

    assert prun(main()) == (None, b"hello")


def test_a_refused_connect_raises(prun):
    def main():
        with ExitStack() as stack:
            bound = stack.enter_context(socket.socket())
            bound.bind((HOST, 0))
            a = stack.enter_context(Socket(socket.socket()))
            return (yield error_of(a.connect(bound.getsockname())))

    assert prun(main()) == "ConnectionRefusedError"


def test_what_arrives_right_after_the_connect_is_received(prun):
    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            a = stack.enter_context(Socket(socket.socket()))
            yield a.connect(listener.getsockname())
            task = yield spawn(receiving(a))
            b, _ = yield listener.accept()
            with b:
                yield b.send(b"welcome")
            return (yield join(task)), (yield a.recv())

    assert prun(main()) == (b"welcome", b"")


# ---- datagrams and Unix sockets


def test_datagrams_carry_their_sender(prun):
    def main():
        with ExitStack() as stack:
            a, b = udp_socket(stack), udp_socket(stack)
            task = yield spawn(error_free(a.recvfrom()))
            yield sleep(0.005)
            count = yield b.sendto(b"ping", a.getsockname())
            return count, (yield join(task)) == (b"ping", b.getsockname())

    assert prun(main()) == (4, True)


def error_free(call):
    return (yield call)


def test_datagrams_keep_their_boundaries_and_may_be_empty(prun):
    def main():
        with ExitStack() as stack:
            a, b = udp_socket(stack), udp_socket(stack)
            for data in (b"one", b"", b"three"):
                yield b.sendto(data, a.getsockname())
            got = []
            for _ in range(3):
                got.append((yield a.recvfrom())[0])
            with move_on_after(0.01) as scope:
                yield a.recvfrom()
            return got, scope.expired

    assert prun(main()) == ([b"one", b"", b"three"], True)


def test_a_datagram_longer_than_asked_is_cut(prun):
    def main():
        with ExitStack() as stack:
            a, b = udp_socket(stack), udp_socket(stack)
            yield b.sendto(b"abcdef", a.getsockname())
            yield b.sendto(b"next", a.getsockname())
            return (yield a.recvfrom(3))[0], (yield a.recvfrom(10))[0]

    assert prun(main()) == (b"abc", b"next")


def test_several_datagram_receivers_are_all_served(prun):
    def main():
        with ExitStack() as stack:
            a, b = udp_socket(stack), udp_socket(stack)
            tasks = []
            for _ in range(5):
                tasks.append((yield spawn(error_free(a.recvfrom()))))
            yield sleep(0.005)
            for number in range(5):
                b.sock.sendto(b"%d" % number, a.getsockname())
            got = []
            for task in tasks:
                got.append((yield join(task))[0])
            return sorted(got)

    assert prun(main()) == [b"0", b"1", b"2", b"3", b"4"]


def test_two_receivers_of_a_connected_datagram_socket_are_served(prun):
    def main():
        with ExitStack() as stack:
            left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            a = stack.enter_context(Socket(left))
            stack.enter_context(right)
            first = yield spawn(receiving(a))
            second = yield spawn(receiving(a))
            yield sleep(0.005)
            right.send(b"1")
            right.send(b"2")
            return sorted([(yield join(first)), (yield join(second))])

    assert prun(main()) == [b"1", b"2"]


@pytest.mark.parametrize("operation", ["recv", "recvfrom", "recv_into"])
def test_datagrams_that_came_in_one_burst_are_received_one_after_another(prun, operation):
    def main():
        with ExitStack() as stack:
            left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            a = stack.enter_context(Socket(left))
            stack.enter_context(right)

            def burst():
                for data in (b"1", b"2", b"3"):
                    right.send(data)

            yield spawn(later(0.003, burst))
            for _ in range(3):
                buffer = bytearray(10)
                with timeout(0.5):
                    yield (
                        a.recv_into(buffer) if operation == "recv_into" else getattr(a, operation)()
                    )

    prun(main())


def test_an_error_that_a_datagram_met_is_raised_once_and_the_socket_goes_on(prun):
    def main():
        with ExitStack() as stack:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.bind((HOST, 0))
                nobody = gone.getsockname()
            inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            inner.connect(nobody)
            a = stack.enter_context(Socket(inner))
            yield spawn(later(0.005, inner.send, b"to nobody"))
            first = yield error_of(a.recv())
            with move_on_after(0.01) as scope:
                yield a.recv()
            return first, scope.expired

    assert prun(main()) == ("ConnectionRefusedError", True)


def test_unix_stream_sockets_accept_and_connect(prun, tmp_path):
    def main():
        with ExitStack() as stack:
            inner = socket.socket(socket.AF_UNIX)
            inner.bind(str(tmp_path / "s"))
            inner.listen()
            listener = stack.enter_context(Socket(inner))
            a = stack.enter_context(Socket(socket.socket(socket.AF_UNIX)))
            task = yield spawn(error_free(listener.accept()))
            yield sleep(0.002)
            yield a.connect(str(tmp_path / "s"))
            b, _ = yield join(task)
            with b:
                yield b.sendall(b"hello")
            return (yield a.recv()), (yield a.recv())

    assert prun(main()) == (b"hello", b"")


def test_a_connect_to_a_full_unix_backlog_goes_on_when_there_is_room(prun, tmp_path):
    def main():
        with ExitStack() as stack:
            inner = socket.socket(socket.AF_UNIX)
            inner.bind(str(tmp_path / "s"))
            inner.listen(0)
            listener = stack.enter_context(Socket(inner))
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "s"))
            a = stack.enter_context(Socket(socket.socket(socket.AF_UNIX)))
            task = yield spawn(error_free(a.connect(str(tmp_path / "s"))))
            yield sleep(0.01)
            for _ in range(2):
                with timeout(1):
                    connection, _ = yield listener.accept()
                connection.close()
            yield join(task)

    prun(main())


def test_unix_datagram_sockets_send_and_receive(prun, tmp_path):
    def main():
        with ExitStack() as stack:
            sockets = []
            for name in "ab":
                inner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                inner.bind(str(tmp_path / name))
                sockets.append(stack.enter_context(Socket(inner)))
            a, b = sockets
            task = yield spawn(error_free(b.recvfrom()))
            yield sleep(0.002)
            yield a.sendto(b"ping", str(tmp_path / "b"))
            return (yield join(task)) == (b"ping", str(tmp_path / "a"))

    assert prun(main())


def test_a_unix_datagram_to_a_full_receiver_waits_for_room(prun):
    def main():
        with ExitStack() as stack:
            left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            a, b = stack.enter_context(Socket(left)), stack.enter_context(right)
            b.setblocking(False)
            fill(a.sock)
            task = yield spawn(error_free(a.send(b"mine")))
            yield sleep(0.005)
            assert not task.done
            drain(b)
            return (yield join(task)), b.recv(100)

    assert prun(main()) == (4, b"mine")


def test_a_unix_datagram_sent_by_address_to_a_full_receiver_goes_when_there_is_room(prun, tmp_path):
    path = str(tmp_path / "receiver")

    def main():
        with ExitStack() as stack:
            receiver = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            receiver.bind(path)
            receiver.setblocking(False)
            a = stack.enter_context(Socket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)))
            try:
                while True:
                    a.sock.sendto(b"x", path)
            except BlockingIOError:
                pass
            task = yield spawn(error_free(a.sendto(b"mine", path)))
            yield sleep(0.005)
            assert not task.done
            with pytest.raises(BlockingIOError):
                while receiver.recv(100) == b"x":
                    pass
            with timeout(1):
                return (yield join(task)), receiver.recv(100)

    assert prun(main()) == (4, b"mine")


# ---- the ends of a connection


@pytest.mark.parametrize("size", [1, 4, 5, 6, 100, 65536])
def test_data_and_end_in_one_segment_are_read_as_data_and_then_the_end(prun, size):
    def finish(peer):
        peer.send(b"hello", socket.MSG_MORE)
        peer.close()

    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            task = yield spawn(receive_all(a, size))
            yield sleep(0.003)
            finish(peer)
            chunks = yield join(task)
            assert (yield a.recv(size)) == b""
            return chunks

    hello = b"hello"
    wanted = [hello[start : start + size] for start in range(0, 5, size)]
    assert prun(main()) == [*wanted, b""]


@pytest.mark.parametrize("size", [4, 5, 6])
def test_data_and_end_that_were_there_before_are_read_as_such(prun, size):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            peer.send(b"hello", socket.MSG_MORE)
            peer.close()
            return b"".join((yield receive_all(a, size)))

    assert prun(main()) == b"hello"


def test_the_end_that_comes_after_a_short_read_is_seen(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            yield spawn(later(0.003, peer.send, b"hello"))
            first = yield a.recv()
            peer.close()
            yield
            return first, (yield a.recv())

    assert prun(main()) == (b"hello", b"")


def test_a_peer_that_sends_no_more_can_still_be_sent_to(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            yield spawn(later(0.003, peer.shutdown, socket.SHUT_WR))
            end = yield a.recv()
            yield a.sendall(b"answer")
            return end, peer.recv(100)

    assert prun(main()) == (b"", b"answer")


def test_one_that_sends_no_more_can_still_receive(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            a.shutdown(socket.SHUT_WR)
            assert peer.recv(100) == b""
            yield spawn(later(0.003, peer.send, b"answer"))
            answer = yield a.recv()
            with pytest.raises(BrokenPipeError):
                yield a.send(b"more")
            peer.close()
            return answer, (yield a.recv())

    assert prun(main()) == (b"answer", b"")


@pytest.mark.parametrize("make_pair", [tcp_pair, raw_pair])
def test_shutting_down_the_reading_half_ends_a_receive_that_waits(prun, make_pair):
    def main():
        with ExitStack() as stack:
            a, _ = make_pair(stack)
            task = yield spawn(receiving(a))
            yield sleep(0.003)
            a.shutdown(socket.SHUT_RD)
            return (yield join(task))

    assert prun(main()) == b""


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_a_reset_raises_in_the_receive_that_waits(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            yield spawn(later(0.003, reset, peer))
            return (yield error_of(a.recv()))

    assert prun(main()) == "ConnectionResetError"


def test_a_reset_raises_in_a_receive_that_comes_later(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            reset(peer)
            yield sleep(0.003)
            return (yield error_of(a.recv()))

    assert prun(main()) == "ConnectionResetError"


def test_a_reset_raises_in_the_send_that_waits(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            fill(a.sock)
            yield spawn(later(0.003, reset, peer))
            return (yield error_of(a.send(b"more")))

    assert prun(main()) in ("ConnectionResetError", "BrokenPipeError")


def test_a_reset_wakes_a_reader_and_a_writer_on_one_socket(prun):
    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            fill(a.sock)
            reader = yield spawn(error_of(a.recv()))
            writer = yield spawn(error_of(a.send(b"more")))
            yield sleep(0.003)
            reset(peer)
            # The operating system reports the reset to one of them.
            return {(yield join(reader)), (yield join(writer))}

    assert "ConnectionResetError" in prun(main())


# ---- close, and numbers given out again


@pytest.mark.parametrize("operation", ["recv", "readable", "recvfrom", "recv_into"])
def test_closing_a_socket_wakes_who_waits_to_receive_at_once(prun, operation):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            call = getattr(a, operation)(*([bytearray(9)] if operation == "recv_into" else []))
            task = yield spawn(error_of(call))
            yield sleep(0.003)
            a.close()
            yield
            assert task.done, "not at once"
            return (yield join(task)), a.fileno()

    assert prun(main()) == ("ClosedError", -1)


@pytest.mark.parametrize("operation", ["send", "sendall", "writable"])
def test_closing_a_socket_wakes_who_waits_to_send_at_once(prun, operation):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            fill(a.sock)
            call = getattr(a, operation)(*([] if operation == "writable" else [b"data"]))
            task = yield spawn(error_of(call))
            yield sleep(0.003)
            a.close()
            yield
            assert task.done, "not at once"
            return (yield join(task))

    assert prun(main()) == "ClosedError"


def test_closing_a_listener_wakes_all_who_accept(prun):
    def main():
        listener = listen(HOST, 0)
        tasks = []
        for _ in range(3):
            tasks.append((yield spawn(error_of(listener.accept()))))
        yield sleep(0.003)
        listener.close()
        return (yield join_all(tasks))

    assert prun(main()) == ["ClosedError"] * 3


def test_every_call_on_a_closed_socket_raises_closed_error(prun):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            a.close()
            a.close()
            errors = set()
            for call in (
                a.recv(),
                a.recv_into(bytearray(1)),
                a.recvfrom(),
                a.send(b"x"),
                a.sendall(b"x"),
                a.sendto(b"x", "nowhere"),
                a.accept(),
                a.connect("nowhere"),
                a.readable(),
                a.writable(),
            ):
                errors.add((yield error_of(call)))
            return errors

    assert prun(main()) == {"ClosedError"}


def test_the_next_socket_with_a_closed_ones_number_works(prun):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            stale = yield spawn(error_of(a.recv()))
            yield sleep(0.003)
            number = a.fileno()
            a.close()
            left, peer = socket.socketpair()
            stack.enter_context(peer)
            if left.fileno() != number:
                os.dup2(left.fileno(), number)
                left.close()
                left = socket.socket(fileno=number)
            b = stack.enter_context(Socket(left))
            fresh = yield spawn(receiving(b))
            yield sleep(0.003)
            peer.send(b"for the new one")
            return b.fileno() == number, (yield join(fresh)), (yield join(stale))

    assert prun(main()) == (True, b"for the new one", "ClosedError")


def test_a_hundred_sockets_in_turn_share_one_number(prun):
    def main():
        numbers = set()
        for index in range(100):
            with ExitStack() as stack:
                a, peer = raw_pair(stack)
                numbers.add(a.fileno())
                task = yield spawn(receiving(a))
                yield
                peer.send(b"%d" % index)
                assert (yield join(task)) == b"%d" % index
        return len(numbers)

    assert prun(main()) <= 3


def replace_behind_its_back(a, stack):
    """Close the file under `a` and put another pair's socket at its number."""
    number = a.sock.fileno()
    left, peer = socket.socketpair()
    stack.enter_context(peer)
    a.sock.close()
    os.dup2(left.fileno(), number)
    left.close()
    return stack.enter_context(Socket(socket.socket(fileno=number))), peer


def test_a_number_reused_behind_our_back_wakes_no_stale_waiter_and_loses_no_new_one(prun):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            stale = yield spawn(error_of(a.recv()))
            yield sleep(0.003)
            b, peer = replace_behind_its_back(a, stack)
            fresh = yield spawn(receiving(b))
            yield sleep(0.003)
            peer.send(b"for the new one")
            return (yield join(fresh)), (yield join(stale))

    assert prun(main()) == (b"for the new one", "ClosedError")


def test_a_number_reused_behind_our_back_after_its_waiter_left_works(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield spawn(later(0.003, peer.send, b"old"))
            assert (yield a.recv()) == b"old"
            b, peer = replace_behind_its_back(a, stack)
            yield spawn(later(0.003, peer.send, b"new"))
            first = yield b.recv()
            a.close()
            yield spawn(later(0.003, peer.send, b"newer"))
            return first, (yield b.recv())

    assert prun(main()) == (b"new", b"newer")


def test_closing_the_old_socket_late_does_not_unregister_the_new_one(prun):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            stale = yield spawn(error_of(a.recv()))
            yield sleep(0.003)
            b, peer = replace_behind_its_back(a, stack)
            fresh = yield spawn(receiving(b))
            yield sleep(0.003)
            a.close()
            yield join(stale)
            peer.send(b"still there")
            return (yield join(fresh)), b.fileno() >= 0

    assert prun(main()) == (b"still there", True)


def test_a_file_closed_behind_our_back_does_not_stop_the_others(prun):
    def main():
        with ExitStack() as stack:
            a, _ = raw_pair(stack)
            b, peer = raw_pair(stack)
            stale = yield spawn(error_of(a.recv()))
            fresh = yield spawn(receiving(b))
            yield sleep(0.003)
            a.sock.close()
            yield sleep(0.003)
            peer.send(b"data")
            got = yield join(fresh)
            a.close()
            return got, (yield join(stale))

    got, outcome = prun(main())
    assert got == b"data"
    assert outcome in ("ClosedError", "OSError")


def test_a_socket_whose_file_is_gone_can_still_be_shown():
    with ExitStack() as stack:
        a, _ = raw_pair(stack)
        a.sock.close()
        assert "closed" in str(a)
        assert "closed" in repr(a)


def armed(poller):
    return poller.armed


def registered(poller):
    """How many descriptors the operating system watches for an `EpollPoller`."""
    with open(f"/proc/self/fdinfo/{poller.fileno()}") as info:
        return sum(line.startswith("tfd:") for line in info)


def test_nothing_stays_armed_when_all_waiters_are_gone(prun, poller):
    def main():
        with ExitStack() as stack:
            before = armed(poller)
            a, _ = raw_pair(stack)
            b, _ = raw_pair(stack)
            fill(b.sock)
            tasks = []
            for call in (a.recv(), b.send(b"x"), b.readable()):
                tasks.append((yield spawn(error_of(call))))
            yield sleep(0.003)
            during = armed(poller)
            tasks[0].cancel()
            yield sleep(0)
            b.close()
            yield
            return during - before, armed(poller) - before

    assert prun(main()) == (3, 0)


def test_no_registration_outlives_its_socket(prun, poller):
    if not isinstance(poller, EpollPoller):
        pytest.skip("the operating system does not tell")

    def main():
        yield sleep(0.001)  # the kernel's own is registered when it waits
        before = registered(poller)
        with ExitStack() as stack:
            for _ in range(10):
                a, _ = raw_pair(stack)
                with move_on_after(0):
                    yield a.recv()
                with move_on_after(0.001):
                    yield a.recv()
            during = registered(poller)
        return during - before, registered(poller) - before

    assert prun(main()) == (10, 0)


@pytest.mark.parametrize("module", [selectors, selectors2], ids=["selectors", "selectors2"])
@pytest.mark.parametrize("name", ["SelectSelector", "PollSelector", "EpollSelector"])
def test_a_selector_forgets_what_is_closed(module, name):
    selector = getattr(module, name)()
    poller = SelectorPoller(selector)

    def main():
        yield sleep(0.001)  # the kernel's own is there when it waits
        before = len(selector.get_map())
        with ExitStack() as stack:
            for _ in range(10):
                a, _ = raw_pair(stack)
                with move_on_after(0.001):
                    yield a.recv()
        return len(selector.get_map()) - before

    assert run(main(), poller=poller) == 0


def test_a_selector_itself_may_be_given_as_poller():
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield spawn(later(0.003, peer.send, b"data"))
            return (yield a.recv())

    assert run(main(), poller=selectors.PollSelector()) == b"data"
    assert run(main(), poller=selectors2.SelectSelector()) == b"data"


def test_the_kernel_leaves_no_descriptor_open(poller, prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield spawn(later(0.003, peer.send, b"data"))
            yield a.recv()

    prun(main())
    gc.collect()  # what other tests have left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run(main())
    assert len(os.listdir("/proc/self/fd")) == before


# ---- who may wait beside whom


def test_a_second_reader_of_a_stream_is_refused_and_the_first_is_served(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            first = yield spawn(receiving(a))
            yield sleep(0.003)
            with pytest.raises(BusyError):
                yield a.recv()
            with pytest.raises(BusyError):
                yield a.recv_into(bytearray(10))
            peer.send(b"data")
            return (yield join(first))

    assert prun(main()) == b"data"


@pytest.mark.parametrize("operation", ["send", "sendall"])
def test_a_second_writer_of_a_stream_is_refused_and_the_first_is_served(prun, operation):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            fill(a.sock)
            first = yield spawn(error_of(a.sendall(b"first")))
            yield sleep(0.003)
            with pytest.raises(BusyError):
                yield getattr(a, operation)(b"second")
            drain(peer)
            return (yield join(first)), drain(peer)

    assert prun(main()) == (None, b"first")


def test_a_second_writer_cannot_cut_into_a_sendall_that_has_begun(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            first = yield spawn(error_of(a.sendall(b"a" * 1_000_000)))
            yield sleep(0.003)
            drain(peer)  # there is room now, but the kernel does not know yet
            with pytest.raises(BusyError):
                yield a.send(b"b")
            got = b""
            while not first.done:
                got += drain(peer)
                yield sleep(0)
            assert b"b" not in got + drain(peer)

    prun(main())


def test_the_place_of_a_reader_that_was_cancelled_is_free(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            first = yield spawn(receiving(a))
            yield sleep(0.003)
            first.cancel()
            second = yield spawn(receiving(a))
            yield sleep(0.003)
            peer.send(b"data")
            return (yield join(second))

    assert prun(main()) == b"data"


# ---- cancel and timeout


def test_a_cancelled_receive_leaves_the_data(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(receiving(a))
            yield sleep(0.003)
            peer.send(b"data")
            task.cancel()
            with pytest.raises(Cancelled):
                yield join(task)
            return (yield a.recv())

    assert prun(main()) == b"data"


def test_a_cancelled_accept_leaves_the_connection(prun):
    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            task = yield spawn(error_free(listener.accept()))
            yield sleep(0.003)
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            task.cancel()
            connection, address = yield listener.accept()
            connection.close()
            return address == client.getsockname()

    assert prun(main())


def test_data_and_a_timeout_in_one_tick_lose_nothing(prun):
    def limited(sock):
        with move_on_after(0.01):
            return (yield sock.recv())

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(limited(a))
            yield sleep(0.005)
            peer.send(b"data")
            time.sleep(0.01)
            got = yield join(task)
            return got or (yield a.recv())

    assert prun(main()) == b"data"


def test_a_connection_and_a_timeout_in_one_tick_lose_nothing(prun):
    def limited(listener):
        with move_on_after(0.01):
            return (yield listener.accept())

    def main():
        with ExitStack() as stack:
            listener = stack.enter_context(listen(HOST, 0))
            task = yield spawn(limited(listener))
            yield sleep(0.005)
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            time.sleep(0.01)
            connection, address = (yield join(task)) or (yield listener.accept())
            connection.close()
            return address == client.getsockname()

    assert prun(main())


def test_a_select_over_sockets_takes_from_one_of_them(prun):
    def main():
        with ExitStack() as stack:
            a, peer_a = raw_pair(stack)
            b, peer_b = raw_pair(stack)

            def both():
                peer_a.send(b"a")
                peer_b.send(b"b")

            yield spawn(later(0.003, both))
            index, value = yield select(a.recv(), b.recv(), sleep(1))
            other = yield (b, a)[index].recv()
            return sorted([value, other])

    assert prun(main()) == [b"a", b"b"]


# ---- sendall


def test_a_mebibyte_arrives_byte_for_byte_through_a_slow_reader(prun):
    data = os.urandom(1 << 20)

    def reader(sock):
        got = bytearray()
        while chunk := (yield sock.recv(16384)):
            got += chunk
            yield
        return bytes(got)

    def main():
        with ExitStack() as stack:
            a, b = stream_pair(stack)
            task = yield spawn(reader(b))
            result = yield a.sendall(data)
            a.close()
            return result, (yield join(task))

    assert prun(main()) == (None, data)


def test_a_mebibyte_arrives_over_tcp_in_both_directions_at_once(prun):
    data = os.urandom(1 << 20)

    def sender(sock):
        yield sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def main():
        with ExitStack() as stack:
            a, peer = tcp_pair(stack)
            b = Socket(peer)
            tasks = []
            for sock in (a, b):
                yield spawn(sender(sock))
                tasks.append((yield spawn(receive_all(sock))))
            got = [b"".join(chunks) for chunks in (yield join_all(tasks))]
            b.close()
            return got == [data, data]

    assert prun(main())


def test_a_cancelled_sendall_says_how_much_the_peer_will_receive(prun):
    data = os.urandom(1 << 20)

    def sender(sock):
        try:
            yield sock.sendall(data)
        except Cancelled as error:
            return error.bytes_sent

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            task = yield spawn(sender(a))
            yield sleep(0.003)
            got = peer.recv(50_000)
            yield sleep(0.003)
            task.cancel()
            sent = yield join(task)
            got += drain(peer)
            return 0 < sent < len(data), sent == len(got), data.startswith(got)

    assert prun(main()) == (True, True, True)


def test_a_sendall_that_timed_out_says_how_much_the_peer_will_receive(prun):
    data = os.urandom(1 << 20)

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            with pytest.raises(TimeoutError) as caught, timeout(0.01):
                yield a.sendall(data)
            return caught.value.__cause__.bytes_sent == len(drain(peer)) > 0

    assert prun(main())


def test_a_sendall_cancelled_before_it_began_sent_nothing():
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            with pytest.raises(TimeoutError) as caught, timeout(0):
                yield a.sendall(b"data")
            return caught.value.__cause__.bytes_sent, drain(peer)

    assert run(main()) == (0, b"")


def test_sendall_sends_any_buffer_by_its_bytes(prun):
    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            yield a.sendall(b"")
            yield a.sendall(bytearray(b"ab"))
            yield a.sendall(memoryview(b"abcdef")[2:4])
            yield a.sendall(array.array("I", [1, 2]))
            return drain(peer)

    assert prun(main()) == b"abcd" + array.array("I", [1, 2]).tobytes()


def test_a_long_sendall_of_wide_elements_sends_every_byte(prun):
    data = array.array("Q", range(100_000))

    def main():
        with ExitStack() as stack:
            a, b = stream_pair(stack)
            task = yield spawn(receive_all(b))
            yield a.sendall(data)
            a.close()
            return b"".join((yield join(task))) == data.tobytes()

    assert prun(main())


# ---- descriptors that are not sockets


def pipe(stack):
    """The two ends of a pipe, non-blocking, as files and as descriptors."""
    numbers = os.pipe()
    ends = []
    for number in numbers:
        os.set_blocking(number, False)
        descriptor = Descriptor(number)
        stack.callback(os.close, number)
        stack.callback(descriptor.detach)
        ends.append(descriptor)
    return ends


def test_a_pipe_is_waited_for_in_both_directions(prun):
    def main():
        with ExitStack() as stack:
            reader, writer = pipe(stack)
            yield writer.writable()
            yield spawn(later(0.003, os.write, writer.fileno(), b"data"))
            yield reader.readable()
            first = os.read(reader.fileno(), 100)
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(writer.fileno(), b"x" * 65536)
            with move_on_after(0.005) as scope:
                yield writer.writable()
            yield spawn(later(0.003, os.read, reader.fileno(), 1 << 20))
            yield writer.writable()
            return first, scope.expired

    assert prun(main()) == (b"data", True)


def test_a_descriptor_that_is_readable_stays_so_until_it_is_read(prun):
    def main():
        with ExitStack() as stack:
            reader, writer = pipe(stack)
            os.write(writer.fileno(), b"ab")
            for byte in (b"a", b"b"):
                yield reader.readable()
                yield reader.readable()
                assert os.read(reader.fileno(), 1) == byte
            with move_on_after(0.005) as scope:
                yield reader.readable()
            return scope.expired

    assert prun(main())


def test_the_end_of_a_pipe_makes_it_readable(prun):
    def main():
        with ExitStack() as stack:
            reading, writing = os.pipe()
            stack.callback(os.close, reading)
            descriptor = Descriptor(reading)
            stack.callback(descriptor.detach)
            yield spawn(later(0.003, os.close, writing))
            yield descriptor.readable()
            yield descriptor.readable()
            return os.read(reading, 1)

    assert prun(main()) == b""


def test_a_broken_pipe_is_writable_and_the_write_says_so(prun):
    def main():
        with ExitStack() as stack:
            reading, writing = os.pipe()
            stack.callback(os.close, writing)
            os.set_blocking(writing, False)
            with pytest.raises(BlockingIOError):
                while True:
                    os.write(writing, b"x" * 65536)
            descriptor = Descriptor(writing)
            stack.callback(descriptor.detach)
            yield spawn(later(0.003, os.close, reading))
            yield descriptor.writable()
            with pytest.raises(BrokenPipeError):
                os.write(writing, b"x")

    prun(main())


def test_several_tasks_may_wait_for_one_descriptor_unless_it_is_exclusive(prun):
    def main():
        with ExitStack() as stack:
            reader, writer = pipe(stack)
            tasks = []
            for _ in range(3):
                tasks.append((yield spawn(error_of(reader.readable()))))
            yield sleep(0.003)
            os.write(writer.fileno(), b"x")
            outcomes = yield join_all(tasks)
            os.read(reader.fileno(), 1)
            mine = Descriptor(
                stack.enter_context(os.fdopen(os.dup(reader.fileno()))), exclusive=True
            )
            stack.callback(mine.detach)
            first = yield spawn(error_of(mine.readable()))
            yield sleep(0.003)
            outcomes.append((yield error_of(mine.readable())))
            first.cancel()
            return outcomes

    assert prun(main()) == [None, None, None, "BusyError"]


def test_detaching_a_descriptor_wakes_its_waiters_and_leaves_the_file_open(prun):
    def main():
        with ExitStack() as stack:
            reader, writer = pipe(stack)
            number = reader.fileno()
            task = yield spawn(error_of(reader.readable()))
            yield sleep(0.003)
            reader.detach()
            outcomes = [(yield join(task)), (yield error_of(reader.readable())), reader.fileno()]
            os.write(writer.fileno(), b"x")
            return outcomes, os.read(number, 1)

    assert prun(main()) == (["ClosedError", "ClosedError", -1], b"x")


def test_a_regular_file_is_ready_or_refused_and_never_hangs(prun, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"data")

    def main():
        with open(path, "rb") as file:
            descriptor = Descriptor(file)
            outcome = yield error_of(descriptor.readable())
            descriptor.detach()
        yield sleep(0.001)
        return outcome

    assert prun(main()) in (None, "PermissionError")


def test_a_number_that_is_not_open_is_refused_as_closed():
    number = os.dup(0)
    os.close(number)
    with pytest.raises(ValueError):
        Descriptor(number)


def test_a_file_that_is_closed_is_refused():
    with open(os.devnull) as file:
        pass
    with pytest.raises(ValueError):
        Descriptor(file)
    with pytest.raises(TypeError):
        Descriptor("file")


# ---- limits


@pytest.mark.parametrize("kind", ["select", "selectors2"])
def test_select_names_its_limit_of_descriptors_and_goes_on(kind):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("too few descriptors are allowed here")

    def main():
        with ExitStack() as stack:
            a, b = socket.socketpair()
            with a:
                high = fcntl.fcntl(a, fcntl.F_DUPFD, 1100)
            stack.enter_context(b)
            sock = stack.enter_context(Socket(socket.socket(fileno=high)))
            with pytest.raises(ValueError, match="1024"):
                yield sock.recv()
            a, peer = raw_pair(stack)
            yield spawn(later(0.003, peer.send, b"data"))
            return (yield a.recv())

    poller = "select" if kind == "select" else SelectorPoller(selectors2.SelectSelector())
    assert run(main(), poller=poller) == b"data"


def test_what_select_cannot_watch_can_still_be_received_when_it_is_there():
    def main():
        with ExitStack() as stack:
            a, b = socket.socketpair()
            with a:
                high = fcntl.fcntl(a, fcntl.F_DUPFD, 1100)
            stack.enter_context(b)
            sock = stack.enter_context(Socket(socket.socket(fileno=high)))
            with pytest.raises(ValueError):
                yield sock.recv()
            b.send(b"data")
            return (yield sock.recv())

    assert run(main(), poller="select") == b"data"


def test_the_others_have_no_such_limit(prun, poller):
    if "select" in repr(poller.name).lower() and "poll" not in repr(poller.name).lower():
        pytest.skip("select has one")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("too few descriptors are allowed here")

    def main():
        with ExitStack() as stack:
            a, b = socket.socketpair()
            with a:
                high = fcntl.fcntl(a, fcntl.F_DUPFD, 1100)
            stack.enter_context(b)
            sock = stack.enter_context(Socket(socket.socket(fileno=high)))
            yield spawn(later(0.003, b.send, b"data"))
            return (yield sock.recv())

    assert prun(main()) == b"data"


@pytest.mark.parametrize("name", ["epoll", "select"])
def test_an_always_ready_socket_leaves_a_sleeper_its_ticks(name):
    def hog(sock):
        while True:
            yield sock.recv(1, socket.MSG_PEEK)

    def main():
        with ExitStack() as stack:
            a, peer = raw_pair(stack)
            peer.send(b"x")
            task = yield spawn(hog(a), daemon=True)
            ticks = yield ticks_of_10_ms(1)
            task.cancel()
            yield
            return ticks

    # A machine may be busy with other things once, not thrice.
    assert any(run(main(), poller=name) >= 95 for _ in range(3))


@pytest.mark.parametrize("name", ["epoll", "select"])
def test_ready_tasks_do_not_keep_sockets_waiting(name):
    def hog():
        while True:
            yield

    def main():
        with ExitStack() as stack:
            a, b = stream_pair(stack)
            yield spawn(hog(), daemon=True)
            for _ in range(100):
                yield a.send(b"x")
                yield b.recv()
            task = yield spawn(receiving(b))
            yield sleep(0.005)
            yield a.send(b"last")
            started = now()
            yield join(task)
            return now() - started

    assert run(main(), poller=name) < 0.1


def test_timers_are_not_late_nor_early(prun):
    def main():
        started = now()
        for number in range(1, 11):
            yield sleep_until(started + number * 0.005)
            assert now() >= started + number * 0.005
        return now() - started

    assert 0.05 <= prun(main()) < 0.15


def test_an_unknown_poller_is_refused():
    with pytest.raises(ValueError):
        make_poller("kpoll")
    with pytest.raises(TypeError):
        make_poller(3)


RUNNING_OUT = """
import logging, os, resource, socket, time
from microthreads import accept_loop, listen, run, sleep, spawn

records = []
handler = logging.Handler()
handler.emit = lambda record: records.append(record.getMessage())
logging.getLogger("microthreads").addHandler(handler)
logging.getLogger("microthreads").propagate = False
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def exhaust():
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        return held


def echo(connection):
    yield connection.sendall((yield connection.recv()))


def main():
    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    server = yield spawn(accept_loop(listener, echo))
    for episode in range(2):
        clients = [socket.socket() for _ in range(3)]
        held = exhaust()
        for client in clients:
            client.connect(address)
            client.sendall(b"hello")
        cpu = time.process_time()
        yield sleep(0.25)
        cpu = time.process_time() - cpu
        print("records", len(records), "busy" if cpu > 0.1 else "idle")
        for number in held:
            os.close(number)
        yield sleep(0.4)  # the episode is over when there were enough for 0.2 s
        for client in clients:
            client.settimeout(1)
            print(client.recv(100).decode())
            client.close()
    server.cancel()
    listener.close()


run(main(), poller=POLLER)
"""


@pytest.mark.parametrize("name", ["epoll", "poll", "select"])
def test_accepting_without_free_descriptors_pauses_logs_once_an_episode_and_goes_on(name):
    program = RUNNING_OUT.replace("POLLER", repr(name))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    )
    assert done.returncode == 0, done.stderr
    hello = ["hello"] * 3
    wanted = ["records 1 idle", *hello, "records 2 idle", *hello]
    assert done.stdout.splitlines() == wanted, done.stdout + done.stderr
