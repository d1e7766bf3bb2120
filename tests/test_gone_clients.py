"""Handlers that fail: because the client is gone, which is nobody's fault, or otherwise.

And what the other side sees of it, over TLS, where an end can be a lie.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct

import pytest
import trustme

from microthreads import (
    BusyError,
    Cancelled,
    Event,
    IncompleteReadError,
    Kernel,
    LimitExceeded,
    Socket,
    Stream,
    TaskGroup,
    join,
    open_connection,
    open_unix_connection,
    run,
    select,
    serve,
    serve_unix,
    sleep,
    spawn,
    timeout,
)

HOST = "127.0.0.1"
LONG = 20  # seconds that nothing here takes


@pytest.fixture(scope="module")
def contexts():
    """Contexts of a server and of a client who trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


@pytest.fixture(params=["tcp", "unix", "tls"])
def place(request, tmp_path, contexts):
    """Where to serve, and how to get there."""
    server, client = contexts if request.param == "tls" else (None, None)
    return Place(tmp_path / "socket" if request.param == "unix" else None, server, client)


class Place:
    def __init__(self, path, server=None, client=None):
        self.path, self.server, self.client = path, server, client

    def served(self, handler, **options):
        listening = Event()

        def ready(addresses):
            self.address = addresses[0]
            listening.set()

        options = {"ssl": self.server, "ready": ready, "grace": 0.0, **options}
        if self.path is None:
            routine = serve(handler, HOST, 0, **options)
        else:
            routine = serve_unix(handler, str(self.path), **options)
        task = yield spawn(routine)
        yield listening.wait()
        return task

    def connect(self):
        if self.path is None:
            return open_connection(*self.address, ssl=self.client)
        return open_unix_connection(str(self.path))


@pytest.fixture
def encrypted(contexts):
    return Place(None, *contexts)


def stopped(server):
    server.cancel()
    with contextlib.suppress(Cancelled):
        yield join(server)


def bounded(main, **options):
    """Run a program with a kernel of its own; the failures that it was told of."""
    crashes = []

    def limited():
        with timeout(LONG):
            return (yield main)

    with Kernel(on_crash=crashes.append, **options) as kernel:
        kernel.run(limited())
    return [task.exception() for task in crashes]


def failing_with(place, error, *, resets=False):
    """Serve a client by a handler that fails so, and then one that does not.

    The first client resets its connection, or is still there when the handler fails.
    """
    calls, failed = [], Event()

    def handler(stream):
        calls.append(stream)
        line = yield stream.readline()
        if len(calls) == 1:
            with contextlib.suppress(OSError):
                if resets:
                    yield stream.read()
                while resets:  # a Unix socket tells only those who write
                    yield stream.write(bytes(65536))
            failed.set()
            raise error
        yield stream.write(line)

    server = yield place.served(handler)
    with (yield place.connect()) as stream:
        yield stream.write(b"hello\n")
        if resets:
            while not calls:
                yield sleep(0.001)
            yield sleep(0.01)
            stream.abort()
            yield failed.wait()
        else:
            with contextlib.suppress(ssl.SSLEOFError):
                assert (yield stream.readline()) == b""
    with (yield place.connect()) as stream:
        yield stream.write(b"hello\n")
        assert (yield stream.readline()) == b"hello\n"
        yield stream.write_eof()
        yield stream.read()
    yield stopped(server)


def incomplete():
    """Such an error as reading raises it."""

    def main():
        one, other = socket.socketpair()
        other.close()
        with Stream(Socket(one)) as stream:
            try:
                yield stream.read_exactly(7)
            except IncompleteReadError as error:
                return error

    return run(main())


# ---- the client is gone

GONE = [
    ConnectionResetError(104, "reset"),
    BrokenPipeError(32, "broken pipe"),
    ConnectionAbortedError("aborted"),
    ConnectionError("some other way"),
    incomplete(),
    ssl.SSLEOFError(8, "cut short"),
    ssl.SSLError(1, "bad record"),
    ExceptionGroup("both halves", [ConnectionResetError("one"), incomplete()]),
    ExceptionGroup("nested", [ExceptionGroup("halves", [BrokenPipeError(), ssl.SSLEOFError()])]),
]


@pytest.mark.parametrize("error", GONE, ids=repr)
def test_that_a_client_is_gone_is_reported_to_nobody_and_told_at_info(place, error, caplog):
    caplog.set_level(logging.DEBUG, "microthreads")
    assert bounded(failing_with(place, error, resets=True)) == []
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.parametrize("error", GONE, ids=repr)
def test_such_an_error_of_another_connection_is_the_handlers_own(place, error):
    """The client is there, and waits for what the handler's database, say, does not give."""
    assert bounded(failing_with(place, error)) == [error]


def test_that_a_client_is_gone_is_not_in_the_log_if_nobody_asks_for_it(place, caplog):
    run(failing_with(place, ConnectionResetError("reset"), resets=True))
    assert caplog.records == []


def test_a_client_that_a_handler_has_given_up_is_no_failure(place):
    def handler(stream):
        yield stream.readline()
        stream.abort()
        raise ConnectionResetError("it takes no data")

    def main():
        server = yield place.served(handler)
        with (yield place.connect()) as stream:
            yield stream.write(b"hello\n")
            with contextlib.suppress(OSError):
                yield stream.read()
        yield stopped(server)

    assert bounded(main()) == []


def test_a_client_that_is_gone_before_its_handler_asks_for_its_address_is_no_failure():
    place, began = Place(None), Event()

    def handler(stream):
        yield began.wait()
        with contextlib.suppress(OSError):
            yield stream.read()
        return stream.peername

    def main():
        server = yield place.served(handler)
        (yield place.connect()).abort()
        yield sleep(0.01)
        began.set()
        yield sleep(0.01)
        yield stopped(server)

    assert bounded(main()) == []


def test_a_client_that_hangs_up_in_the_middle_is_no_failure(place, caplog):
    ended = []

    def handler(stream):
        try:
            yield stream.read_exactly(100)
        finally:
            ended.append(stream)

    def main():
        server = yield place.served(handler)
        with (yield place.connect()) as stream:
            yield stream.write(b"not a hundred")
        while not ended:
            yield sleep(0.001)
        yield stopped(server)

    assert bounded(main()) == []
    assert caplog.records == []


def test_a_client_that_resets_while_a_group_talks_to_it_is_no_failure(caplog):
    """Both halves of the conversation fail, as a group."""
    place, ended = Place(None), []

    def reading(stream):
        while (yield stream.read()):
            pass
        raise ConnectionError("it said no goodbye")

    def writing(stream):
        while True:
            yield stream.write(bytes(1 << 16))

    async def handler(stream):
        try:
            async with TaskGroup() as group:
                await group.spawn(reading(stream))
                await group.spawn(writing(stream))
        finally:
            ended.append(stream)

    def main():
        server = yield place.served(handler)
        with socket.create_connection(place.address) as client:
            yield sleep(0.01)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while not ended:
            yield sleep(0.001)
        yield stopped(server)

    assert bounded(main()) == []
    assert caplog.records == []


def test_a_handshake_that_fails_is_reported_to_nobody(encrypted, caplog):
    def main():
        server = yield encrypted.served(print)
        with socket.create_connection(encrypted.address, timeout=LONG) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
            yield sleep(0.02)
        with socket.create_connection(encrypted.address):
            yield sleep(0.02)
        with pytest.raises(ssl.SSLCertVerificationError):
            yield open_connection(*encrypted.address, ssl=ssl.create_default_context())
        yield sleep(0.02)
        yield stopped(server)

    assert bounded(main()) == []
    assert caplog.records == []


# ---- everything else

FAILURES = [
    LookupError("as asked"),
    OSError(5, "the disk"),
    TimeoutError("too long"),
    LimitExceeded("too much"),
    ExceptionGroup("mixed", [ConnectionResetError("reset"), LookupError("as asked")]),
    ExceptionGroup("deep", [ExceptionGroup("deeper", [incomplete(), OSError(5, "the disk")])]),
]


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_any_other_failure_is_reported_once(place, error, caplog):
    assert bounded(failing_with(place, error)) == [error]
    assert caplog.records == []


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_any_other_failure_is_an_error_in_the_log_once_if_nobody_asks(place, error, caplog):
    run(failing_with(place, error))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("code", [0, 3, "because"])
def test_sys_exit_in_a_handler_ends_the_run(place, code, caplog):
    with pytest.raises(SystemExit) as caught:
        bounded(failing_with(place, SystemExit(code)))
    assert caught.value.code == code
    assert caplog.records == []


# ---- what the other side sees


def ends(place, handler, *, cancel=False):
    """How the client of this handler sees its end: what it reads, or an error's name."""

    def main():
        server = yield place.served(handler)
        with (yield place.connect()) as stream:
            got = yield stream.readline()
            if cancel:
                server.cancel()
            try:
                got += yield stream.read(-1)
            except OSError as error:
                got = type(error).__name__
            seen.append(got)
        yield stopped(server)

    seen = []
    bounded(main())
    return seen[0]


def greeting(stream, error=None):
    yield stream.write(b"hello\n")
    yield stream.write(b"bye\n")
    if error:
        raise error


def test_a_handler_that_returns_ends_cleanly(encrypted):
    assert ends(encrypted, greeting) == b"hello\nbye\n"


@pytest.mark.parametrize(
    "error", [LookupError("as asked"), ConnectionError("elsewhere"), Cancelled()], ids=repr
)
def test_a_handler_that_fails_over_tls_is_seen_as_cut_short(encrypted, error):
    assert ends(encrypted, lambda stream: greeting(stream, error)) == "SSLEOFError"


def test_a_handler_that_is_cancelled_over_tls_is_seen_as_cut_short(encrypted):
    def handler(stream):
        yield stream.write(b"hello\n")
        yield sleep(LONG)

    assert ends(encrypted, handler, cancel=True) == "SSLEOFError"


# ---- ends while somebody writes


def test_ending_while_another_task_waits_in_write_is_refused(place):
    """The end would come before what is still to be sent, or in the middle of it."""
    size = 8 << 20
    log = []

    def handler(stream):
        writer = yield spawn(writing(stream))
        yield select(join(writer), sleep(0.05))
        assert not writer.done
        with pytest.raises(BusyError):
            yield stream.write_eof()
        go.set()
        yield join(writer)
        yield stream.write_eof()
        log.append("ended")

    def writing(stream):
        yield stream.write(b"x" * size)

    def main():
        server = yield place.served(handler)
        with (yield place.connect()) as stream:
            yield go.wait()
            log.append((yield stream.read_exactly(size)) == b"x" * size)
            log.append((yield stream.read(-1)))
        yield stopped(server)

    go = Event()
    assert bounded(main()) == []
    assert sorted(log, key=str) == sorted([True, b"", "ended"], key=str)
