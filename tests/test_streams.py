"""Streams over TCP and Unix sockets: what each way of reading takes, and what it leaves.

The far end is a socket of the standard library. What the tests ask of one reader they
ask however the bytes arrive: whole, one by one, split anywhere, with more behind them.
"""

from __future__ import annotations

import socket
import struct
import tracemalloc
from contextlib import ExitStack

import pytest
from helpers import (
    ProcessorTime,
    assert_ten_times_as_many_cost_about_ten_times_as_much,
    tcp_pair,
    vrun,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from microthreads import (
    BusyError,
    Cancelled,
    Channel,
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
    timeout,
)

KIB, MIB = 1 << 10, 1 << 20
KINDS = ("tcp", "unix")


def stream_pair(kind, stack):
    """A stream, and the blocking stdlib socket at its other end."""
    if kind == "tcp":
        near, far = tcp_pair(stack)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        left, far = socket.socketpair()
        near = stack.enter_context(Socket(left))
        stack.enter_context(far)
    far.settimeout(20)
    return Stream(near), far


@pytest.fixture(params=["epoll", "poll"])
def go(request):
    """Run a program with one of the pollers, on a virtual clock."""
    return lambda main, **options: vrun(main, poller=request.param, **options)


@pytest.fixture(params=KINDS)
def pair(request):
    """A stream, and the stdlib socket at its other end."""
    with ExitStack() as stack:
        yield stream_pair(request.param, stack)


def feed(far, pieces, end=True):
    """Send piece after piece, each when the one before has been looked at."""
    for piece in pieces:
        yield sleep(1)
        far.sendall(piece)
    yield sleep(1)
    if end:
        far.shutdown(socket.SHUT_WR)


def bytewise(data):
    return [data[index : index + 1] for index in range(len(data))]


def outcome(routine, log, name):
    """Make a call, and log what comes of it."""
    try:
        log.append((name, (yield routine)))
    except Cancelled:
        log.append((name, "cancelled"))
        raise
    except Exception as error:
        log.append((name, type(error).__name__))


def drained(stream):
    """All that can still be read."""
    return (yield stream.read(-1))


def filled(stream):
    """Write until the peer's and the system's buffers are full; how much went out."""
    sent = 0
    while True:
        try:
            with move_on_after(1) as scope:
                yield stream.write(bytes(64 * KIB))
                sent += 64 * KIB
        except Cancelled as error:
            sent += error.bytes_sent
            raise
        if scope.expired:
            return sent


# ---- each reader, however the bytes arrive

READERS = {
    "read": (lambda stream: stream.read(-1), b"all there is\nto read", b""),
    "exactly": (lambda stream: stream.read_exactly(9), b"nine byte", b"more"),
    "exactly none": (lambda stream: stream.read_exactly(0), b"", b"more"),
    "until": (
        lambda stream: stream.read_until(b"\r\n\r\n"),
        b"a\r\nb\r\n\r\r\n\r\n",
        b"more\r\n\r\n",
    ),
    "until a byte": (lambda stream: stream.read_until(b"|"), b"field|", b"|more"),
    "until what repeats": (lambda stream: stream.read_until(b"aab"), b"aaaaab", b"aab"),
    "until a mark alone": (lambda stream: stream.read_until(b"mark", limit=4), b"mark", b"mark"),
    "line": (lambda stream: stream.readline(), b"a line\r\n", b"more\nlines"),
    "empty line": (lambda stream: stream.readline(), b"\n", b"\n\n"),
    "last line": (lambda stream: stream.readline(), b"no newline", b""),
}


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]


def taken(pair, reader, pieces, go):
    """What a reader returns, and what can be read after it."""
    stream, far = pair
    ask, _, _ = reader

    def main():
        feeder = yield spawn(feed(far, pieces))
        result = yield ask(stream)
        yield join(feeder)
        return result, (yield stream.read(-1))

    return go(main())


def test_a_reader_takes_what_comes_in_one_piece(pair, reader, go):
    _, wanted, rest = reader
    assert taken(pair, reader, [wanted + rest], go) == (wanted, rest)


def test_a_reader_takes_what_comes_byte_by_byte(pair, reader, go):
    _, wanted, rest = reader
    assert taken(pair, reader, bytewise(wanted + rest), go) == (wanted, rest)


def test_a_reader_takes_what_comes_whole_with_the_rest_later(pair, reader, go):
    _, wanted, rest = reader
    assert taken(pair, reader, [wanted, rest], go) == (wanted, rest)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_what_comes_split_anywhere(name):
    reader = READERS[name]
    _, wanted, rest = reader
    data = wanted + rest
    for at in range(1, len(data)):
        with ExitStack() as stack:
            pair = stream_pair("unix", stack)
            assert taken(pair, reader, [data[:at], data[at:]], vrun) == (wanted, rest)


def test_read_takes_what_there_is_and_no_more_than_asked(pair, go):
    stream, far = pair

    def main():
        far.sendall(b"hello")
        yield sleep(1)
        got = [(yield stream.read(2)), (yield stream.read()), (yield stream.read(0))]
        far.sendall(b"!")
        got.append((yield stream.read(100)))
        far.shutdown(socket.SHUT_WR)
        got += [(yield stream.read()), (yield stream.read(5)), (yield stream.read(-1))]
        return got

    assert go(main()) == [b"he", b"llo", b"", b"!", b"", b"", b""]


def test_at_the_end_each_reader_says_so_as_often_as_it_is_asked(pair, go):
    stream, far = pair
    log = []

    def main():
        far.shutdown(socket.SHUT_WR)
        for _ in range(2):
            yield outcome(stream.read(), log, "read")
            yield outcome(stream.read(-1), log, "read(-1)")
            yield outcome(stream.readline(), log, "readline")
            yield outcome(stream.read_exactly(0), log, "read_exactly(0)")
            yield outcome(stream.read_exactly(1), log, "read_exactly")
            yield outcome(stream.read_until(b"\n"), log, "read_until")

    go(main())
    assert (
        log
        == [
            ("read", b""),
            ("read(-1)", b""),
            ("readline", b""),
            ("read_exactly(0)", b""),
            ("read_exactly", "IncompleteReadError"),
            ("read_until", "IncompleteReadError"),
        ]
        * 2
    )


def test_a_large_read_gets_every_byte_in_order(pair, go):
    stream, far = pair
    data = b"".join(number.to_bytes(4, "big") for number in range(MIB // 4))

    def sender():
        far.setblocking(False)
        with Socket(far) as sock:
            yield sock.sendall(data * 2)

    def main():
        task = yield spawn(sender())
        half = yield stream.read_exactly(MIB)
        rest = yield stream.read(-1)
        yield join(task)
        return half == data, rest == data

    assert go(main()) == (True, True)


# ---- limits, and ends that come too early


@pytest.mark.parametrize("pieces", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_a_result_may_have_exactly_limit_bytes(pair, pieces, go):
    stream, far = pair

    def main():
        yield spawn(feed(far, pieces(b"abcd\r\nline\nmore")))
        got = [(yield stream.read_until(b"\r\n", limit=6))]
        got.append((yield stream.readline(limit=5)))
        return got

    assert go(main()) == [b"abcd\r\n", b"line\n"]


@pytest.mark.parametrize("pieces", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_a_last_line_without_newline_may_have_exactly_limit_bytes(pair, pieces, go):
    stream, far = pair

    def main():
        yield spawn(feed(far, pieces(b"last")))
        return (yield stream.readline(limit=4))

    assert go(main()) == b"last"


@pytest.mark.parametrize("pieces", [bytewise, lambda data: [data]], ids=["bytewise", "whole"])
def test_one_byte_beyond_the_limit_is_too_long_and_nothing_is_lost(pair, pieces, go):
    stream, far = pair

    def main():
        yield spawn(feed(far, pieces(b"abcde\r\nrest")))
        with pytest.raises(LimitExceeded):
            yield stream.read_until(b"\r\n", limit=6)
        with pytest.raises(LimitExceeded):
            yield stream.readline(limit=6)
        with pytest.raises(LimitExceeded):
            yield stream.read_until(b"\r\n", limit=2)
        got = [(yield stream.read_exactly(2)), (yield stream.readline(limit=5))]
        return [*got, (yield stream.read(-1))]

    assert go(main()) == [b"ab", b"cde\r\n", b"rest"]


def test_a_line_longer_than_the_limit_is_refused_before_its_end_came(pair, go):
    stream, far = pair

    def main():
        far.sendall(b"x" * 11)
        with pytest.raises(LimitExceeded):
            yield stream.readline(limit=10)
        with pytest.raises(LimitExceeded):
            yield stream.read_until(b"\r\n", limit=10)
        far.sendall(b"\n")
        return (yield stream.readline(limit=12))

    assert go(main()) == b"x" * 11 + b"\n"


def test_without_being_told_a_line_may_have_64_kib(pair, go):
    stream, far = pair
    long = b"x" * (64 * KIB - 1) + b"\n"

    def sender():
        with Socket(far) as sock:
            yield sock.sendall(long + b"x" + long)

    def main():
        task = yield spawn(sender())
        assert (yield stream.readline()) == long
        with pytest.raises(LimitExceeded):
            yield stream.readline()
        with pytest.raises(LimitExceeded):
            yield stream.read_until(b"\n")
        assert (yield stream.read_exactly(1)) == b"x"
        assert (yield stream.read_until(b"\n")) == long
        yield join(task)

    go(main())


def test_a_stream_that_ends_too_early_says_how_much_can_still_be_read(pair, go):
    stream, far = pair

    def main():
        yield spawn(feed(far, [b"abc", b"de"]))
        with pytest.raises(IncompleteReadError) as exactly:
            yield stream.read_exactly(6)
        with pytest.raises(IncompleteReadError) as until:
            yield stream.read_until(b"\n")
        numbers = exactly.value.available, until.value.available, stream.buffered
        return numbers, (yield stream.read_exactly(2)), (yield stream.readline())

    assert go(main()) == ((5, 5, 5), b"ab", b"cde")


@pytest.mark.parametrize(
    "ask",
    [
        lambda stream: stream.read_exactly(-1),
        lambda stream: stream.read_until(b""),
        lambda stream: stream.read_until(b"mark", limit=3),
    ],
)
def test_arguments_that_make_no_sense_are_refused(pair, ask, go):
    stream, far = pair

    def main():
        with pytest.raises(ValueError):
            yield ask(stream)
        far.sendall(b"fine")
        return (yield stream.read_exactly(4))

    assert go(main()) == b"fine"


def test_a_stream_is_made_of_a_socket_of_ours():
    left, right = socket.socketpair()
    with left, right, pytest.raises(TypeError):
        Stream(left)


# ---- the model

SEPARATORS = st.sampled_from([b"\n", b"ab", b"aab", b"aa"])
LIMITS = st.integers(3, 12)
READS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 5)),
    st.tuples(st.just("read"), st.just(-1)),
    st.tuples(st.just("read_exactly"), st.integers(0, 6)),
    st.tuples(st.just("read_until"), SEPARATORS, LIMITS),
    st.tuples(st.just("readline"), st.integers(1, 12)),
)


def expected(rest, name, *arguments):
    """What a read gives with `rest` to come: the results that are right, or an error."""
    if name == "read":
        n = arguments[0]
        if n == -1:
            return [rest]
        return [rest[:size] for size in range(1, n + 1) if size <= len(rest)] or [b""]
    if name == "read_exactly":
        n = arguments[0]
        return [rest[:n]] if n <= len(rest) else [IncompleteReadError]
    separator, limit = (b"\n", arguments[0]) if name == "readline" else arguments
    at = rest.find(separator)
    if at >= 0 and at + len(separator) <= limit:
        return [rest[: at + len(separator)]]
    if len(rest) > limit or at >= 0:
        return [LimitExceeded]
    if name == "readline":
        return [rest]
    # With exactly `limit` bytes and no mark among them, both are true.
    return [IncompleteReadError, LimitExceeded][: 2 if len(rest) == limit else 1]


def check_against_the_model(pieces, reads):
    rest = b"".join(pieces)

    def main(stream, far):
        nonlocal rest
        yield spawn(feed(far, pieces))
        for name, *arguments in [*reads, ("read", -1)]:
            right = expected(rest, name, *arguments)
            try:
                result = yield getattr(stream, name)(*arguments)
            except (IncompleteReadError, LimitExceeded) as error:
                result = type(error)
            assert result in right, (name, arguments, rest)
            if isinstance(result, bytes):
                rest = rest[len(result) :]

    with ExitStack() as stack:
        vrun(main(*stream_pair("unix", stack)))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("ab\n", min_size=1, max_size=7).map(str.encode), max_size=8),
    st.lists(READS, max_size=10),
)
def test_any_reads_of_any_arrivals_give_what_they_give_of_the_whole(pieces, reads):
    check_against_the_model(pieces, reads)


# ---- lines


def test_async_for_goes_over_the_lines_to_the_end(pair, go):
    stream, far = pair

    async def main():
        await spawn(feed(far, [b"one\ntw", b"o\n", b"\nlast"]))
        return [line async for line in stream]

    assert go(main()) == [b"one\n", b"two\n", b"\n", b"last"]


def test_async_for_that_is_left_leaves_the_other_lines(pair, go):
    stream, far = pair

    async def main():
        far.sendall(b"one\ntwo\nthree\n")
        far.shutdown(socket.SHUT_WR)
        async for _ in stream:
            break
        return [line async for line in stream]

    assert go(main()) == [b"two\n", b"three\n"]


def test_async_for_over_a_line_too_long_loses_nothing(pair, go):
    stream, far = pair

    async def sender():
        with Socket(far) as sock:
            await sock.sendall(b"one\n" + bytes(70 * KIB) + b"\n")

    async def main():
        task = await spawn(sender())
        lines = []
        with pytest.raises(LimitExceeded):
            async for line in stream:
                lines.append(line)
        await task
        return lines, len(await stream.read(-1))

    assert go(main()) == ([b"one\n"], 70 * KIB + 1)


# ---- what takes nothing


@pytest.mark.parametrize("name", ["until", "exactly", "line", "read"])
def test_a_read_that_times_out_has_taken_nothing(pair, name, go):
    stream, far = pair
    ask, wanted, _ = READERS[name]
    log = []

    def main():
        for byte in bytewise(wanted):
            far.sendall(byte)
            with move_on_after(1) as scope:
                log.append((yield ask(stream)))
            if not scope.expired:
                break
        far.shutdown(socket.SHUT_WR)
        return log or [(yield ask(stream))]

    assert go(main()) == [wanted]


@pytest.mark.parametrize("name", ["until", "exactly", "line", "read"])
def test_a_read_that_is_cancelled_has_taken_nothing(pair, name, go):
    stream, far = pair
    ask, wanted, rest = READERS[name]

    def main():
        far.sendall(wanted[:-1])
        task = yield spawn(drained(stream) if name == "read" else outcome(ask(stream), [], ""))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        far.sendall(wanted[-1:] + rest)
        far.shutdown(socket.SHUT_WR)
        return (yield ask(stream)), (yield stream.read(-1))

    assert go(main()) == (wanted, rest)


def test_timeout_raises_and_the_line_is_read_later(pair, go):
    stream, far = pair

    def main():
        far.sendall(b"half a ")
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield stream.readline()
        far.sendall(b"line\n")
        return (yield stream.readline())

    assert go(main()) == b"half a line\n"


def test_a_line_that_loses_in_a_select_is_still_there(pair, go):
    stream, far = pair

    def main():
        channel = Channel(1)
        far.sendall(b"a line")
        log = [(yield select(stream.readline(), sleep(1)))]
        far.sendall(b"\n")
        yield channel.send("first")
        log.append((yield select(channel.recv(), stream.readline())))
        log.append((yield select(channel.recv(), stream.readline())))
        return log

    assert go(main()) == [(1, None), (0, "first"), (1, b"a line\n")]


def test_a_select_over_two_streams_takes_the_line_that_is_complete(go):
    with ExitStack() as stack:
        one, far_one = stream_pair("tcp", stack)
        two, far_two = stream_pair("unix", stack)

        def main():
            log = []
            far_one.sendall(b"slow")
            far_two.sendall(b"quick\n")
            for _ in range(2):
                log.append((yield select(one.readline(), two.readline(), sleep(5))))
                far_one.sendall(b"er\n")
            log.append((yield select(one.read(3), two.readline(), sleep(5))))
            return log

        assert go(main()) == [(1, b"quick\n"), (0, b"slower\n"), (0, b"er\n")]


def test_select_refuses_a_write_since_it_takes_effect_in_parts(pair, go):
    stream, _ = pair

    def main():
        with pytest.raises(TypeError):
            yield select(stream.write(b"hello"), sleep(1))

    go(main())


def test_a_read_whose_bytes_are_there_is_a_schedule_point_all_the_same(pair, go):
    stream, far = pair
    log = []

    def other():
        log.append("other")
        yield

    def main():
        far.sendall(b"one\ntwo\n")
        yield stream.readline()
        task = yield spawn(other())
        log.append("reading")
        yield stream.readline()
        log.append("read")
        yield join(task)

    go(main())
    assert sorted(log) == ["other", "read", "reading"]


# ---- one reader, one writer


def test_a_second_reader_is_refused_and_the_first_is_not_disturbed(pair, go):
    stream, far = pair
    log = []

    def main():
        task = yield spawn(outcome(stream.readline(), log, "first"))
        yield sleep(1)
        for ask in (
            stream.readline(),
            stream.read(),
            stream.read_exactly(3),
            stream.read_until(b"x"),
        ):
            with pytest.raises(BusyError):
                yield ask
        far.sendall(b"line\n")
        yield join(task)

    go(main())
    assert log == [("first", b"line\n")]


def test_a_second_reader_is_refused_also_if_there_is_something_in_the_buffer(pair, go):
    stream, far = pair
    log = []

    def main():
        far.sendall(b"half a line")
        task = yield spawn(outcome(stream.readline(), log, "first"))
        yield sleep(1)
        assert stream.buffered
        for ask in (stream.read(3), stream.read_exactly(3), stream.read_until(b"a")):
            with pytest.raises(BusyError):
                yield ask
        far.sendall(b"\n")
        yield join(task)

    go(main())
    assert log == [("first", b"half a line\n")]


def test_a_second_writer_is_refused_and_the_first_is_not_disturbed(pair, go):
    stream, far = pair
    data = bytes(range(256)) * 64 * KIB
    log = []

    def main():
        task = yield spawn(outcome(stream.write(data), log, "first"))
        yield sleep(1)
        with pytest.raises(BusyError):
            yield stream.write(b"me too")
        with Socket(far) as sock:
            got = bytearray()
            while len(got) < len(data):
                got += yield sock.recv(MIB)
            yield join(task)
            return got == data, log

    assert go(main()) == (True, [("first", None)])


def test_one_task_reads_while_another_writes(pair, go):
    stream, far = pair
    log = []

    def main():
        task = yield spawn(outcome(stream.readline(), log, "reader"))
        yield sleep(1)
        yield stream.write(b"question\n")
        log.append(far.recv(100))
        far.sendall(b"answer\n")
        yield join(task)

    go(main())
    assert log == [b"question\n", ("reader", b"answer\n")]


# ---- writing


@pytest.mark.parametrize("data", [b"hello", bytearray(b"hello"), memoryview(b"hello")])
def test_what_is_written_arrives(pair, data, go):
    stream, far = pair

    def main():
        yield stream.write(data)
        return far.recv(100)

    assert go(main()) == b"hello"


def test_writing_nothing_is_fine(pair, go):
    stream, far = pair

    def main():
        yield stream.write(b"")
        yield stream.write(b"x")
        return far.recv(100)

    assert go(main()) == b"x"


def test_a_writer_waits_for_a_peer_that_does_not_read_and_memory_stays_bounded(pair, go):
    stream, _ = pair

    def main():
        sent = yield from filled(stream)
        tracemalloc.start()
        try:
            with move_on_after(1):
                while True:
                    yield stream.write(bytes(64 * KIB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return sent, peak

    sent, peak = go(main())
    assert sent < 32 * MIB
    assert peak < MIB


def test_a_cancelled_write_says_how_much_went_out(pair, go):
    stream, far = pair
    data = b"".join(number.to_bytes(4, "big") for number in range(8 * MIB // 4))

    def writer(log):
        try:
            yield stream.write(data)
        except Cancelled as error:
            log.append(error.bytes_sent)
            raise

    def cancelling():
        log = []
        task = yield spawn(writer(log))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        sent = log[0]
        got = bytearray()
        with Socket(far) as sock:
            while len(got) < sent:
                got += yield sock.recv(MIB)
            yield stream.write(b"what follows")
            got += yield sock.recv(MIB)
        return 0 < sent < len(data), bytes(got) == data[:sent] + b"what follows"

    assert go(cancelling()) == (True, True)


def test_write_eof_ends_one_direction_and_leaves_the_other(pair, go):
    stream, far = pair

    def main():
        yield stream.write(b"question")
        yield stream.write_eof()
        got = [far.recv(100), far.recv(100)]
        far.sendall(b"answer")
        far.shutdown(socket.SHUT_WR)
        got.append((yield stream.read(-1)))
        with pytest.raises(OSError):
            yield stream.write(b"more")
        return got

    assert go(main()) == [b"question", b"", b"answer"]


def test_writing_to_a_peer_that_is_gone_is_an_os_error(pair, go):
    stream, far = pair

    def main():
        far.close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                yield stream.write(b"hello" * 100)
                yield sleep(1)

    go(main())


# ---- the end


def test_closing_wakes_the_reader_and_the_writer_at_once(pair, go):
    stream, _ = pair
    log = []

    def main():
        yield from filled(stream)
        reader = yield spawn(outcome(stream.readline(), log, "reader"))
        writer = yield spawn(outcome(stream.write(bytes(8 * MIB)), log, "writer"))
        yield sleep(1)
        stream.close()
        yield join(reader)
        yield join(writer)

    go(main())
    assert sorted(log) == [("reader", "ClosedError"), ("writer", "ClosedError")]


def test_a_closed_stream_refuses_everything_and_may_be_closed_again(pair, go):
    stream, far = pair

    def main():
        far.sendall(b"in the buffer\nthere was\n")
        yield stream.readline()
        assert not stream.closed
        stream.close()
        stream.close()
        stream.abort()
        assert stream.closed
        for ask in (
            stream.read,
            lambda: stream.read(-1),
            lambda: stream.read_exactly(3),
            lambda: stream.read_until(b"\n"),
            stream.readline,
            lambda: stream.write(b"x"),
            stream.write_eof,
        ):
            with pytest.raises(ClosedError):
                yield ask()
        with pytest.raises(ClosedError):
            stream.peername
        return str(stream), repr(stream)

    assert all(isinstance(text, str) for text in go(main()))


def test_a_peer_sees_the_end_of_a_closed_stream(pair, go):
    stream, far = pair

    def main():
        yield stream.write(b"bye")
        stream.close()
        return far.recv(100), far.recv(100)

    assert go(main()) == (b"bye", b"")


@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_an_aborted_stream_is_a_reset_to_its_peer(poller):
    log = []
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)

        def main():
            reader = yield spawn(outcome(stream.read(), log, "reader"))
            yield sleep(1)
            stream.abort()
            yield join(reader)
            with pytest.raises(ConnectionResetError):
                far.recv(100)

        vrun(main(), poller=poller)
    assert log == [("reader", "ClosedError")]


def test_an_aborted_unix_stream_is_closed():
    with ExitStack() as stack:
        stream, far = stream_pair("unix", stack)

        def main():
            yield stream.write(b"x")
            stream.abort()
            return stream.closed, far.recv(10), far.recv(10)

        assert vrun(main()) == (True, b"x", b"")


def test_a_reset_by_the_peer_is_a_connection_reset_error():
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)
        log = []

        def main():
            task = yield spawn(outcome(stream.readline(), log, "reader"))
            yield sleep(1)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            yield join(task)

        vrun(main())
    assert log == [("reader", "ConnectionResetError")]


def test_what_came_before_a_reset_can_be_read_if_it_was_received():
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)

        def main():
            far.sendall(b"one\ntwo\nthr")
            assert (yield stream.readline()) == b"one\n"
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            yield sleep(1)
            assert (yield stream.readline()) == b"two\n"
            with pytest.raises(ConnectionResetError):
                yield stream.readline()
            return (yield stream.read_exactly(3))

        assert vrun(main()) == b"thr"


def test_a_with_block_closes_it_in_generators_and_coroutines(go):
    with ExitStack() as stack:
        one, far_one = stream_pair("tcp", stack)
        two, far_two = stream_pair("unix", stack)

        def generator():
            with one as same:
                yield same.write(b"1")
            return one.closed and same is one

        async def coroutine():
            async with two as same:
                await same.write(b"2")
            return two.closed and same is two

        def main():
            ended = (yield generator()), (yield coroutine())
            return ended, far_one.recv(9), far_one.recv(9), far_two.recv(9), far_two.recv(9)

        assert go(main()) == ((True, True), b"1", b"", b"2", b"")


def test_peername_is_the_peers_address():
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)
        assert stream.peername == far.getsockname()
        host, port = stream.peername
        assert f"{host}:{port}" in str(stream)
        assert "Stream" in repr(stream)
        other, _ = stream_pair("unix", stack)
        assert other.peername == ""
        assert stream.tls is None


def test_a_stream_that_nobody_closed_is_the_kernels_no_more(go):
    """Its task ends; the socket lives on, and can be used by another task."""
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)

        def reading():
            return (yield stream.readline())

        def main():
            far.sendall(b"one\ntwo\n")
            first = yield join((yield spawn(reading())))
            second = yield join((yield spawn(reading())))
            return first, second

        assert go(main()) == (b"one\n", b"two\n")


# ---- costs


def reading_pieces(ask, pieces, last):
    """How long it takes to read what comes in so many pieces of 1 KiB, and then `last`."""
    with ExitStack() as stack:
        stream, far = stream_pair("unix", stack)
        piece = b"x" * KIB

        def feeder():
            with Socket(far) as sock:
                for _ in range(pieces):
                    yield sock.sendall(piece)
                    yield sleep(1)
                yield sock.sendall(last)

        def main():
            yield spawn(feeder())
            return (yield ask(stream, pieces * KIB + len(last)))

        with ProcessorTime() as took:
            got = vrun(main())
        assert len(got) == pieces * KIB + len(last)
    return took.seconds


@pytest.mark.parametrize(
    ("ask", "last"),
    [
        (lambda stream, size: stream.readline(limit=size), b"\n"),
        (lambda stream, size: stream.read_until(b"\r\n\r\n", limit=size), b"\r\n\r\n"),
        (lambda stream, size: stream.read_exactly(size), b""),
        (lambda stream, size: stream.read(-1), b""),
    ],
    ids=["readline", "read_until", "read_exactly", "read"],
)
def test_what_comes_in_many_pieces_costs_as_much_as_it_is_long(unobserved, ask, last):
    assert_ten_times_as_many_cost_about_ten_times_as_much(
        lambda pieces: reading_pieces(ask, pieces, last), few=150
    )


def test_many_lines_out_of_a_large_buffer_cost_as_much_as_they_are(unobserved):
    def measure(lines):
        with ExitStack() as stack:
            stream, far = stream_pair("unix", stack)

            def feeder():
                with Socket(far) as sock:
                    yield sock.sendall((b"x" * 99 + b"\n") * lines)

            def main():
                yield spawn(feeder())
                with pytest.raises(IncompleteReadError):
                    yield stream.read_exactly(lines * 100 + 1)
                with ProcessorTime() as took:
                    for _ in range(lines):
                        yield stream.readline()
                return took.seconds

            return vrun(main())

    assert_ten_times_as_many_cost_about_ten_times_as_much(measure, few=2_000)


def test_a_timeout_in_real_time_takes_nothing_either():
    with ExitStack() as stack:
        stream, far = stream_pair("tcp", stack)

        def main():
            far.sendall(b"half")
            with move_on_after(0.01):
                yield stream.readline()
            far.sendall(b" and half\n")
            return (yield stream.readline())

        assert run(main()) == b"half and half\n"


def test_streams_are_for_pairs_of_ours_as_well(go):
    def echoing(stream):
        with stream:
            while line := (yield stream.readline()):
                yield stream.write(line)

    def main():
        left, right = socket.socketpair()
        with Stream(Socket(left)) as stream:
            task = yield spawn(echoing(Stream(Socket(right))))
            got = []
            for number in range(3):
                yield stream.write(b"%d\n" % number)
                got.append((yield stream.readline()))
            yield stream.write_eof()
            got.append((yield stream.read(-1)))
            yield join(task)
            return got

    assert go(main()) == [b"0\n", b"1\n", b"2\n", b""]
