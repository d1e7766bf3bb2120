"""TLS: who is verified, how it begins in the middle and ends on either side, and what arrives.

The peer is Python's own `ssl`: sockets of it in a thread, or an `SSLObject` whose
ciphertext the tests carry themselves, byte by byte if need be.
"""

from __future__ import annotations

import contextlib
import datetime
import queue
import select as stdlib_select
import socket
import ssl
import threading
import time
from contextlib import ExitStack

import pytest
import trustme
from peers import KIB, LONG, MIB, NAME, Carried, in_thread, pairs

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

# ---- peers


def with_peer(authority, main, talk, *, version=None, most=1 << 20, go=run, family="tcp"):
    """Run `main(stream)`, encrypted, as the client of `talk(carried)` in a thread."""
    with ExitStack() as stack:
        stream, far = pairs(stack, family)
        peer = Carried(far, authority.server(version=version), most=most)

        def served():
            peer.handshake()
            return talk(peer)

        def program():
            with stream:
                yield stream.start_tls(authority.client(version=version), server_hostname=NAME)
                return (yield main(stream))

        with in_thread(served) as outcome:
            result = go(program())
        return result, outcome[0][0]


@contextlib.contextmanager
def stdlib_server(context, talk):
    """A TLS server of the standard library for one client; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONG)

        def serve_one():
            raw, _ = listener.accept()
            with raw:
                raw.settimeout(LONG)
                with context.wrap_socket(raw, server_side=True) as tls:
                    return talk(tls)

        with in_thread(serve_one) as outcome:
            yield listener.getsockname()[1], outcome


def served(handler, client, context, **options):
    """Serve, call `client(port)`, and stop; what the client returns."""
    started = Channel(1)
    server = yield spawn(
        serve(handler, "127.0.0.1", 0, ssl=context, grace=1.0, ready=started.try_send, **options)
    )
    port = (yield started.recv())[0][1]
    try:
        return (yield client(port))
    finally:
        server.cancel()


def echoing(stream):
    while line := (yield stream.readline()):
        yield stream.write(line)


# ---- who is verified


def test_a_client_and_a_server_of_ours_agree(authority, version, go):
    def client(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(version=version), server_hostname=NAME
        )
        with stream:
            yield stream.write(b"hello\n")
            line = yield stream.readline()
            return line, stream.tls.version(), stream.peername[1] == port

    result = go(served(echoing, client, authority.server(version=version)))
    assert result == (b"hello\n", version.name.replace("_", "."), True)


def refused(authority, context, hostname, server_context=None):
    """The error that a client gets; the server must go on, and serve another."""

    def client(port):
        with pytest.raises(ssl.SSLError) as caught:
            yield open_connection("127.0.0.1", port, ssl=context, server_hostname=hostname)
        stream = yield open_connection("127.0.0.1", port, ssl=trusting, server_hostname=NAME)
        with stream:
            yield stream.write(b"still there\n")
            assert (yield stream.readline()) == b"still there\n"
        return caught.value

    trusting = authority.client()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return run(served(echoing, client, server_context or authority.server()))


def test_ssl_true_verifies_by_what_the_system_trusts(authority):
    assert isinstance(refused(authority, True, NAME), ssl.SSLCertVerificationError)


def test_an_unknown_authority_is_refused(authority):
    error = refused(authority, authority.client(trust=False), NAME)
    assert isinstance(error, ssl.SSLCertVerificationError)


def test_a_certificate_for_another_host_is_refused(authority):
    error = refused(authority, authority.client(), "other.test")
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert "other.test" in str(error)


def test_an_expired_certificate_is_refused(authority):
    day = datetime.timedelta(days=1)
    yesterday = datetime.datetime.now(datetime.UTC) - day
    expired = authority.ca.issue_cert(NAME, not_before=yesterday - day, not_after=yesterday)
    error = refused(authority, authority.client(), NAME, authority.server(expired))
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert "expired" in str(error)


def test_the_host_is_the_name_to_verify_if_no_other_is_given(authority, go):
    def client(port):
        names = []
        for host in ("127.0.0.1", "localhost"):
            stream = yield open_connection(host, port, ssl=authority.client())
            with stream:
                names.append(stream.tls.server_hostname)
                yield stream.write(b"hello\n")
                yield stream.readline()
        return names

    assert go(served(echoing, client, authority.server())) == ["127.0.0.1", "localhost"]


def test_versions_that_do_not_meet_are_an_ssl_error(authority):
    client = authority.client(version=ssl.TLSVersion.TLSv1_2)
    server = authority.server(version=ssl.TLSVersion.TLSv1_3)

    def main(port):
        with pytest.raises(ssl.SSLError):
            yield open_connection("127.0.0.1", port, ssl=client, server_hostname=NAME)

    run(served(echoing, main, server))


def test_the_server_hears_the_name_asked_for(authority, go):
    asked = []
    context = authority.server()
    context.sni_callback = lambda tls, name, _: asked.append(name)

    def client(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(), server_hostname=NAME
        )
        stream.close()

    go(served(echoing, client, context))
    assert asked == [NAME]


def test_the_protocol_and_the_peers_certificate_can_be_asked_for(authority, version, go):
    seen = []

    def handler(stream):
        seen.append(stream.tls.selected_alpn_protocol())
        seen.append(dict(stream.tls.getpeercert())["subjectAltName"])
        yield stream.write(b"x\n")

    def client(port):
        context = authority.client(("h2", "mine"), version, cert=authority.client_cert)
        stream = yield open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
        with stream:
            yield stream.readline()
            names = [name for _, name in stream.tls.getpeercert()["subjectAltName"]]
            return stream.tls.selected_alpn_protocol(), names

    server = authority.server(alpn=("mine",), version=version, clients=True)
    assert go(served(handler, client, server)) == ("mine", [NAME, "127.0.0.1", "localhost"])
    assert seen == ["mine", (("email", "client@client.test"),)]


def test_a_client_without_the_certificate_asked_for_is_refused(authority, version):
    called = []

    def handler(stream):
        called.append(stream)
        yield

    def client(port):
        with pytest.raises(ssl.SSLError):
            stream = yield open_connection(
                "127.0.0.1", port, ssl=authority.client(version=version), server_hostname=NAME
            )
            with stream:  # with TLS 1.3 the client is done before the server has looked
                yield stream.read()

    run(served(handler, client, authority.server(version=version, clients=True)))
    assert called == []


# ---- Python's own ssl as the peer


def test_a_server_of_the_standard_library_understands_us(authority, version, go):
    def talk(tls):
        with tls.makefile("rwb") as file:
            for line in file:
                file.write(line.upper())
                file.flush()
        return tls.version()

    def main(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(version=version), server_hostname=NAME
        )
        with stream:
            got = []
            for word in (b"one\n", b"two\n"):
                yield stream.write(word)
                got.append((yield stream.readline()))
            return got

    with stdlib_server(authority.server(version=version), talk) as (port, outcome):
        assert go(main(port)) == [b"ONE\n", b"TWO\n"]
    assert outcome[0][0] == version.name.replace("_", ".")


def test_a_client_of_the_standard_library_understands_us(authority, version, go):
    def talk(port):
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as raw:
            context = authority.client(version=version)
            with context.wrap_socket(raw, server_hostname=NAME) as tls:
                tls.sendall(b"hello\n")
                line = tls.recv(100)
                tls.unwrap().close()  # waits for the server's close_notify
                return line

    def client(port):
        result = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: result.put(talk(port)), daemon=True)
        thread.start()
        while result.empty():
            yield sleep(0.002)
        thread.join(LONG)
        return result.get()

    assert go(served(echoing, client, authority.server(version=version))) == b"hello\n"


def pump(tls, data):
    """Send and receive at once over a stdlib socket, until the peer says that it has ended."""
    tls.setblocking(False)
    view, got = memoryview(data), bytearray()
    while True:
        idle = True
        if view:
            try:
                view = view[tls.send(view[: 64 * KIB]) :]
                idle = False
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
        try:
            piece = tls.recv(64 * KIB)
            if not piece:
                assert not view
                return bytes(got)
            got += piece
            idle = False
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if idle:
            stdlib_select.select([tls], [tls] if view else [], [], 1)


def numbered(size, start=0):
    return b"".join(number.to_bytes(4, "big") for number in range(start, start + size // 4))


def reading(stream, size):
    return (yield stream.read_exactly(size))


def test_10_mib_go_both_ways_at_once_with_the_standard_library(unobserved, authority, version):
    ours, theirs = numbered(10 * MIB), numbered(10 * MIB, 1 << 30)

    def main(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(version=version), server_hostname=NAME
        )
        with stream:
            reader = yield spawn(reading(stream, len(theirs)))
            yield stream.write(ours)
            got = yield join(reader)
            yield stream.write_eof()
            return got == theirs

    with stdlib_server(authority.server(version=version), lambda tls: pump(tls, theirs)) as (
        port,
        outcome,
    ):
        assert run(main(port)) is True
    assert outcome[0][0] == ours


def test_10_mib_go_both_ways_at_once_between_ours(unobserved, authority, version):
    ours, theirs = numbered(10 * MIB), numbered(10 * MIB, 1 << 30)
    right = []

    def both(stream, out, size):
        reader = yield spawn(reading(stream, size))
        yield stream.write(out)
        return (yield join(reader))

    def handler(stream):
        right.append((yield both(stream, theirs, len(ours))) == ours)

    def client(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(version=version), server_hostname=NAME
        )
        with stream:
            right.append((yield both(stream, ours, len(theirs))) == theirs)
            yield stream.read()

    run(served(handler, client, authority.server(version=version)))
    assert right == [True, True]


# ---- each reader, however the bytes arrive

READERS = {
    "read": (lambda stream: stream.read(-1), b"all there is\nto read", b""),
    "exactly": (lambda stream: stream.read_exactly(9), b"nine byte", b"more"),
    "until": (
        lambda stream: stream.read_until(b"\r\n\r\n"),
        b"a\r\nb\r\n\r\r\n\r\n",
        b"more\r\n\r\n",
    ),
    "line": (lambda stream: stream.readline(), b"a line\r\n", b"more\nlines"),
    "last line": (lambda stream: stream.readline(), b"no newline", b""),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["whole", "record by record", "ciphertext byte by byte", "both"])
def test_a_reader_takes_the_same_however_it_arrives(authority, version, name, how):
    ask, wanted, rest = READERS[name]

    def main(stream):
        return (yield ask(stream)), (yield stream.read(-1)), (yield stream.read(-1))

    def talk(peer):
        step = 1 if how in ("record by record", "both") else 1000
        data = wanted + rest
        for start in range(0, len(data), step):
            peer.write(data[start : start + step])
        peer.say_goodbye()

    most = 1 if how in ("ciphertext byte by byte", "both") else MIB
    result, _ = with_peer(authority, main, talk, version=version, most=most)
    assert result == (wanted, rest, b"")


def test_limits_and_early_ends_lose_nothing_over_tls(authority, version):
    def main(stream):
        with pytest.raises(LimitExceeded):
            yield stream.readline(limit=5)
        got = [(yield stream.readline(limit=6))]
        with pytest.raises(IncompleteReadError) as caught:
            yield stream.read_exactly(5)
        return *got, caught.value.available, (yield stream.read(-1))

    def talk(peer):
        peer.write(b"lines\nrest")
        peer.say_goodbye()

    assert with_peer(authority, main, talk, version=version)[0] == (b"lines\n", 4, b"rest")


def test_lines_can_be_gone_over_with_async_for(authority, version):
    async def main(stream):
        return [line async for line in stream]

    def talk(peer):
        peer.write(b"one\ntwo\nlast")
        peer.say_goodbye()

    result, _ = with_peer(authority, main, talk, version=version)
    assert result == [b"one\n", b"two\n", b"last"]


def test_all_that_was_decrypted_is_read_though_nothing_more_comes(authority, version, go):
    """One record of 16 KiB, read in small parts: no poller reports what is left of it."""
    data = numbered(16 * KIB)

    def main(stream):
        got = bytearray()
        while len(got) < len(data):
            got += yield stream.read(1000)
        yield stream.write(b"done")
        return got == data

    def talk(peer):
        peer.write(data)
        return peer.read_exactly(4)

    assert with_peer(authority, main, talk, version=version, go=go) == (True, b"done")


def test_a_read_that_times_out_or_loses_has_taken_nothing(authority, version, go):
    more = threading.Event()

    def main(stream):
        log = [(yield select(stream.readline(), sleep(0.02)))]
        with move_on_after(0.02) as scope:
            yield stream.readline()
        log.append(scope.expired)
        more.set()
        log.append((yield select(sleep(LONG), stream.readline())))
        return log

    def talk(peer):
        peer.write(b"a ")
        more.wait(LONG)
        peer.write(b"line\n")
        peer.say_goodbye()

    result, _ = with_peer(authority, main, talk, version=version, go=go)
    assert result == [(1, None), True, (1, b"a line\n")]


def test_one_task_reads_and_one_writes_and_others_are_busy(authority, version):
    def main(stream):
        reader = yield spawn(reading(stream, 3))
        yield sleep(0.01)
        with pytest.raises(BusyError):
            yield stream.readline()
        yield stream.write(b"go")
        return (yield join(reader))

    def talk(peer):
        assert peer.read_exactly(2) == b"go"
        peer.write(b"yes")
        peer.say_goodbye()

    assert with_peer(authority, main, talk, version=version)[0] == b"yes"


def test_select_refuses_an_encrypted_write(authority):
    def main(stream):
        with pytest.raises(TypeError):
            yield select(stream.write(b"x"), sleep(1))
        yield stream.write(b"y")

    assert with_peer(authority, main, lambda peer: peer.read(10))[1] == b"y"


@pytest.mark.parametrize("data", [b"", b"x", bytes(16 * KIB), bytes(16 * KIB + 1), bytes(100_000)])
def test_what_is_written_arrives_whatever_its_size(authority, version, data):
    def main(stream):
        for kind in (bytes, bytearray, memoryview):
            yield stream.write(kind(data))
        yield stream.write_eof()
        return (yield stream.read())

    def talk(peer):
        got = peer.read_exactly(3 * len(data))
        assert peer.read(1) == b""
        peer.say_goodbye()
        return got

    result, got = with_peer(authority, main, talk, version=version)
    assert (result, got) == (b"", data * 3)


# ---- beginning


def test_a_handshake_byte_by_byte_is_a_handshake(authority, version, go):
    def main(stream):
        yield stream.write(b"hello")
        return (yield stream.read(-1))

    def talk(peer):
        assert peer.read_exactly(5) == b"hello"
        peer.write(b"you")
        peer.say_goodbye()

    result, _ = with_peer(authority, main, talk, version=version, most=1, go=go, family="unix")
    assert result == b"you"


def test_a_plain_conversation_goes_on_encrypted(authority, version, go):
    """As in SMTP; the client pipelines its handshake behind the command."""
    with ExitStack() as stack:
        stream, far = pairs(stack)
        peer = Carried(far, authority.client(version=version), False, NAME)

        def talk():
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            far.sendall(b"EHLO\nSTARTTLS\n" + peer.outgoing.read())
            assert far.recv(3) == b"ok\n"
            peer.handshake()
            peer.write(b"secret\n")
            got = peer.read(100)
            peer.say_goodbye()
            return got

        def main():
            with stream:
                assert (yield stream.readline()) == b"EHLO\n"
                assert (yield stream.readline()) == b"STARTTLS\n"
                yield stream.write(b"ok\n")
                received = stream.buffered
                assert stream.tls is None
                yield stream.start_tls(authority.server(version=version), server_side=True)
                assert stream.buffered == 0
                line = yield stream.readline()
                yield stream.write(line.upper())
                return received > 100, line, stream.tls.version(), (yield stream.read())

        with in_thread(talk) as outcome:
            result = go(main())
        assert result == (True, b"secret\n", version.name.replace("_", "."), b"")
        assert outcome[0][0] == b"SECRET\n"


def test_both_ends_of_ours_start_tls_in_the_middle(authority, version, go):
    def main():
        left, right = socket.socketpair()

        def server():
            with Stream(Socket(left)) as stream:
                assert (yield stream.readline()) == b"STARTTLS\n"
                yield stream.start_tls(authority.server(version=version), server_side=True)
                yield stream.write((yield stream.readline()).upper())
                assert (yield stream.read()) == b""

        async def client():
            async with Stream(Socket(right)) as stream:
                await stream.write(b"STARTTLS\n")
                context = authority.client(version=version)
                await stream.start_tls(context, server_hostname=NAME)
                await stream.write(b"secret\n")
                return await stream.readline()

        task = yield spawn(server())
        line = yield client()
        yield join(task)
        return line

    assert go(main()) == b"SECRET\n"


@pytest.mark.parametrize("server_side", [False, True])
def test_what_comes_with_the_end_of_the_handshake_is_not_lost(authority, version, server_side, go):
    """A peer may send at once: its first record comes in one piece with its Finished."""
    server, client = authority.server(version=version), authority.client(version=version)
    ours, theirs = (server, client) if server_side else (client, server)
    with ExitStack() as stack:
        stream, far = pairs(stack)
        peer = Carried(far, theirs, not server_side, NAME if server_side else None)

        def talk():
            while True:
                try:
                    peer.tls.do_handshake()
                except ssl.SSLWantReadError:
                    peer.flush()
                    peer.incoming.write(far.recv(65536))
                else:
                    break
            peer.write(b"at once")
            return peer.read(100)

        def main():
            with stream:
                yield stream.start_tls(
                    ours, server_side=server_side, server_hostname=None if server_side else NAME
                )
                with timeout(5):
                    got = yield stream.read_exactly(7)
                yield stream.write(b"got it")
                yield stream.write_eof()
                return got

        with in_thread(talk) as outcome:
            assert go(main()) == b"at once"
        assert outcome[0][0] == b"got it"


def test_a_handshake_takes_no_longer_than_it_may(authority, go):
    with ExitStack() as stack:
        stream, _ = pairs(stack)

        def main():
            with stream, pytest.raises(TimeoutError):
                yield stream.start_tls(authority.client(), server_hostname=NAME, seconds=0.02)
            return stream.closed

        assert go(main()) is True


def test_connecting_to_a_silent_server_takes_no_longer_than_it_may(authority, go):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def main():
            with pytest.raises(TimeoutError):
                yield open_connection(
                    "127.0.0.1", port, ssl=authority.client(), server_hostname=NAME, seconds=0.05
                )

        go(main())
        listener.settimeout(LONG)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(LONG)
            while connection.recv(65536):
                pass  # the ClientHello, and then the end: the socket was closed


def test_a_handshake_can_be_cancelled(authority, go):
    with ExitStack() as stack:
        stream, _ = pairs(stack)

        def main():
            task = yield spawn(stream.start_tls(authority.client(), server_hostname=NAME))
            yield sleep(0.01)
            task.cancel()
            with pytest.raises(Cancelled):
                yield join(task)
            stream.close()

        go(main())


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n",
        bytes(1000),
        b"\x16\x03\x01\x00\x05hello",
    ],
)
@pytest.mark.parametrize("server_side", [False, True])
def test_garbage_instead_of_a_handshake_is_an_ssl_error(authority, garbage, server_side, go):
    with ExitStack() as stack:
        stream, far = pairs(stack)
        far.sendall(garbage)
        far.shutdown(socket.SHUT_WR)

        def main():
            context = authority.server() if server_side else authority.client()
            with stream, pytest.raises(ssl.SSLError):
                yield stream.start_tls(
                    context, server_side=server_side, server_hostname=None if server_side else NAME
                )

        go(main())


@pytest.mark.parametrize("server_side", [False, True])
def test_an_end_instead_of_a_handshake_is_an_ssl_error(authority, server_side, go):
    with ExitStack() as stack:
        stream, far = pairs(stack)
        far.shutdown(socket.SHUT_WR)

        def main():
            context = authority.server() if server_side else authority.client()
            with stream, pytest.raises((ssl.SSLError, ConnectionError)):
                yield stream.start_tls(
                    context, server_side=server_side, server_hostname=None if server_side else NAME
                )

        go(main())


def test_starting_twice_or_closed_is_refused(authority):
    def main(stream):
        with pytest.raises(RuntimeError):
            yield stream.start_tls(authority.client(), server_hostname=NAME)
        yield stream.write(b"still")
        stream.close()
        with pytest.raises(ClosedError):
            yield stream.write(b"x")
        with pytest.raises(ClosedError):
            yield stream.read()

    assert with_peer(authority, main, lambda peer: peer.read_exactly(5))[1] == b"still"


def test_starting_tls_on_a_closed_stream_is_a_closed_error(authority):
    with ExitStack() as stack:
        stream, _ = pairs(stack)

        def main():
            stream.close()
            with pytest.raises(ClosedError):
                yield stream.start_tls(authority.client(), server_hostname=NAME)

        run(main())


def test_starting_tls_on_a_closed_stream_that_was_encrypted_is_a_closed_error(authority):
    def main(stream):
        yield stream.write(b"x")
        stream.close()
        with pytest.raises(ClosedError):
            yield stream.start_tls(authority.client(), server_hostname=NAME)

    with_peer(authority, main, lambda peer: peer.read_exactly(1))


# ---- the end


def test_a_peer_that_says_goodbye_is_a_clean_end(authority, version, go):
    def main(stream):
        return (yield stream.read(-1)), (yield stream.read()), (yield stream.readline())

    def talk(peer):
        peer.write(b"all")
        peer.say_goodbye()
        return peer.read(10)  # our goodbye, by closing

    assert with_peer(authority, main, talk, version=version, go=go) == ((b"all", b"", b""), b"")


@pytest.mark.parametrize(
    "ask",
    [
        lambda stream: stream.read(),
        lambda stream: stream.read(-1),
        lambda stream: stream.readline(),
        lambda stream: stream.read_exactly(9),
        lambda stream: stream.read_until(b"|"),
    ],
    ids=["read", "all", "line", "exactly", "until"],
)
def test_an_end_without_a_goodbye_is_an_ssl_eof_error(authority, version, ask, go):
    def main(stream):
        assert (yield stream.read_exactly(5)) == b"hello"
        for _ in range(2):
            with pytest.raises(ssl.SSLEOFError):
                yield ask(stream)

    def talk(peer):
        peer.write(b"hello")
        peer.sock.shutdown(socket.SHUT_WR)

    with_peer(authority, main, talk, version=version, go=go)


def test_what_came_before_the_end_was_cut_off_can_be_read(authority, version):
    def main(stream):
        with pytest.raises(ssl.SSLEOFError):
            yield stream.readline()
        return (yield stream.read_exactly(4))

    def talk(peer):
        peer.write(b"half")
        peer.sock.shutdown(socket.SHUT_WR)

    assert with_peer(authority, main, talk, version=version)[0] == b"half"


def test_a_half_closed_stream_goes_on_receiving(authority, go):
    data = numbered(MIB)

    def main(stream):
        yield stream.write(b"question")
        yield stream.write_eof()
        return (yield stream.read(-1)) == data

    def talk(peer):
        got = peer.read_exactly(8), peer.read(1)
        peer.write(data)
        peer.say_goodbye()
        return got

    result = with_peer(authority, main, talk, version=ssl.TLSVersion.TLSv1_3, go=go)
    assert result == (True, (b"question", b""))


def test_the_peer_of_a_half_close_of_ours_reads_the_end_and_answers(authority, go):
    def handler(stream):
        question = yield stream.read(-1)
        yield stream.write(question.upper())

    def client(port):
        stream = yield open_connection(
            "127.0.0.1", port, ssl=authority.client(), server_hostname=NAME
        )
        with stream:
            yield stream.write(b"question")
            yield stream.write_eof()
            with pytest.raises((OSError, ClosedError)):
                yield stream.write(b"more")
            return (yield stream.read(-1))

    assert go(served(handler, client, authority.server())) == b"QUESTION"


def test_closing_says_goodbye_and_wakes_the_reader(authority, version, go):
    log = []

    def reader(stream):
        try:
            yield stream.readline()
        except ClosedError:
            log.append("closed")

    def main(stream):
        task = yield spawn(reader(stream))
        yield sleep(0.01)
        stream.close()
        yield join(task)

    assert with_peer(authority, main, lambda peer: peer.read(10), version=version, go=go) == (
        None,
        b"",  # Carried would raise SSLEOFError if there had been no close_notify
    )
    assert log == ["closed"]


def test_an_aborted_stream_is_a_reset(authority, version):
    def main(stream):
        yield stream.read_exactly(1)
        stream.abort()

    def talk(peer):
        peer.write(b"x")
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):  # but no clean end
            peer.read(10)

    with_peer(authority, main, talk, version=version)


def test_garbage_in_the_middle_is_an_ssl_error(authority, version):
    def main(stream):
        assert (yield stream.read_exactly(5)) == b"hello"
        yield stream.write(b"go")
        with pytest.raises(ssl.SSLError):
            yield stream.readline()

    def talk(peer):
        peer.write(b"hello")
        assert peer.read_exactly(2) == b"go"
        peer.sock.sendall(b"this is no record of TLS" * 10)

    with_peer(authority, main, talk, version=version)


# ---- writers that wait


def writing(stream, data, log):
    try:
        yield stream.write(data)
        log.append(len(data))
    except Cancelled as error:
        log.append(error.bytes_sent)
        raise


@pytest.mark.parametrize("times", [1, 3])
def test_what_follows_a_cancelled_write_stays_in_order(unobserved, authority, version, times):
    data = numbered(8 * MIB)
    go_on = threading.Event()

    def main(stream):
        log = []
        for _ in range(times):
            task = yield spawn(writing(stream, data, log))
            yield sleep(0.1)
            task.cancel()
            with pytest.raises(Cancelled):
                yield join(task)
        go_on.set()
        yield stream.write(b"what follows")
        yield stream.write_eof()
        yield stream.read()  # the peer's end: it has read it all
        return log

    def talk(peer):
        go_on.wait(LONG)
        got = bytearray()
        while piece := peer.read(MIB):
            got += piece
        peer.say_goodbye()
        return bytes(got)

    sent, got = with_peer(authority, main, talk, version=version)
    assert 0 < sent[0] < len(data)
    assert got == b"".join(data[:size] for size in sent) + b"what follows"


def test_what_a_cancelled_write_counts_as_sent_goes_out_without_another_write(
    unobserved, authority, version
):
    """Who only reads from then on must not keep back what `bytes_sent` counts."""
    sent = []
    go_on = threading.Event()

    def main(stream):
        task = yield spawn(writing(stream, bytes(8 * MIB), sent))
        yield sleep(0.1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        go_on.set()
        try:
            with timeout(3):
                return (yield stream.read_exactly(3))
        except TimeoutError:
            yield stream.write(bytes(100))  # so that the peer ends
            return "kept back"

    def talk(peer):
        go_on.wait(LONG)
        got = len(peer.read_exactly(sent[0]))
        peer.write(b"all")
        return got == sent[0]

    assert with_peer(authority, main, talk, version=version) == (b"all", True)


@pytest.mark.parametrize("end", ["write_eof", "close"])
def test_what_was_written_arrives_though_nothing_was_read(unobserved, authority, version, end, go):
    """TLS 1.3 servers send session tickets; to close with these unread must not reset."""
    data = numbered(MIB)
    go_on = threading.Event()

    def main(stream):
        yield stream.write(b"begin")
        task = yield spawn(writing(stream, data, []))
        yield sleep(0.02)  # the tickets have come, and wait in the socket
        go_on.set()
        yield join(task)
        if end == "write_eof":
            yield stream.write_eof()

    def talk(peer):
        assert peer.read_exactly(5) == b"begin"
        go_on.wait(LONG)
        time.sleep(0.02)
        got = peer.read_exactly(len(data))
        return got == data, peer.read(1)

    assert with_peer(authority, main, talk, version=version, go=go) == (None, (True, b""))


def test_a_writer_waits_for_a_peer_that_does_not_read(unobserved, authority, version):
    done = threading.Event()

    def main(stream):
        log = []
        written = 0
        with move_on_after(0.2):
            while True:
                task = yield spawn(writing(stream, bytes(64 * KIB), log))
                try:
                    yield join(task)
                except Cancelled:
                    task.cancel()
                    raise
                written += 64 * KIB
        yield sleep(0)
        done.set()
        return written, len(stream.sock.unsent) if hasattr(stream.sock, "unsent") else 0

    (written, unsent), _ = with_peer(authority, main, lambda peer: done.wait(LONG), version=version)
    assert 0 < written < 32 * MIB
    assert unsent < 64 * KIB


def test_a_reader_goes_on_while_a_writer_waits(unobserved, authority, version, go):
    """The peer sends, and reads only when all that it sent has been acknowledged otherwise."""
    go_on = threading.Event()
    data = numbered(8 * MIB)

    def main(stream):
        log = []
        task = yield spawn(writing(stream, data, log))
        lines = []
        for _ in range(100):
            lines.append((yield stream.readline()))
        go_on.set()
        yield join(task)
        yield stream.write_eof()
        return lines == [b"line %d\n" % number for number in range(100)]

    def talk(peer):
        for number in range(100):
            peer.write(b"line %d\n" % number)
        go_on.wait(LONG)
        got = peer.read_exactly(len(data) + 1)
        peer.say_goodbye()
        return got == data

    assert with_peer(authority, main, talk, version=version, go=go) == (True, True)


def test_a_cancelled_write_alone_wakes_closed_writers(authority):
    stop = threading.Event()

    def main(stream):
        log = []

        def writer():
            try:
                yield stream.write(bytes(32 * MIB))
            except ClosedError:
                log.append("closed")

        task = yield spawn(writer())
        yield sleep(0.05)
        stream.close()
        yield join(task)
        stop.set()
        return log

    assert with_peer(authority, main, lambda peer: stop.wait(LONG))[0] == ["closed"]


# ---- servers


def test_failing_handshakes_harm_nobody(authority, caplog):
    """Silent, gone, talking nonsense, distrusting: the others are served meanwhile."""

    def client(port):
        with ExitStack() as stack:
            for greeting in (b"", b"GET / HTTP/1.0\r\n\r\n", bytes(100)):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                raw.sendall(greeting)
            socket.create_connection(("127.0.0.1", port)).close()
            with pytest.raises(ssl.SSLError):
                yield open_connection(
                    "127.0.0.1", port, ssl=authority.client(trust=False), server_hostname=NAME
                )
            stream = yield open_connection(
                "127.0.0.1", port, ssl=authority.client(), server_hostname=NAME
            )
            with stream:
                yield stream.write(b"hello\n")
                return (yield stream.readline())

    crashes = []
    result = run(served(echoing, client, authority.server()), on_crash=crashes.append)
    assert result == b"hello\n"
    assert crashes == []


def test_a_unix_server_may_speak_tls(authority, tmp_path, go):
    path = str(tmp_path / "socket")

    def main():
        started = Channel(1)
        server = yield spawn(
            serve_unix(echoing, path, ssl=authority.server(), ready=started.try_send)
        )
        yield started.recv()
        stream = yield open_unix_connection(path)
        with stream:
            yield stream.start_tls(authority.client(), server_hostname=NAME)
            yield stream.write(b"hello\n")
            line = yield stream.readline()
        server.cancel()
        return line

    assert go(main()) == b"hello\n"


def test_50_clients_at_once_are_served(authority, go):
    def one(port, context, number):
        stream = yield open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME)
        with stream:
            yield stream.write(b"%d\n" % number)
            return (yield stream.readline())

    def client(port):
        context = authority.client()
        tasks = []
        for number in range(50):
            tasks.append((yield spawn(one(port, context, number))))
        lines = []
        for task in tasks:
            lines.append((yield join(task)))
        return lines

    lines = go(served(echoing, client, authority.server()))
    assert lines == [b"%d\n" % number for number in range(50)]


@pytest.mark.parametrize(
    ("ciphers", "oldest", "newest"),
    [
        ("AES128-GCM-SHA256", "TLSv1_2", "TLSv1_2"),
        ("AES128-SHA", "TLSv1_2", "TLSv1_2"),
        ("DEFAULT", "TLSv1_2", "TLSv1_2"),
        ("DEFAULT", "TLSv1_3", "TLSv1_3"),
        ("DEFAULT@SECLEVEL=0", "TLSv1", "TLSv1_1"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.forgets
def test_a_server_is_refused_for_want_of_a_certificate_and_not_for_its_ciphers_or_versions(
    authority, ciphers, oldest, newest
):
    def without():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(ciphers)
        context.minimum_version = ssl.TLSVersion[oldest]
        context.maximum_version = ssl.TLSVersion[newest]
        return context

    with pytest.raises(ValueError, match="needs a context with a certificate"):
        serve(None.__eq__, "127.0.0.1", 0, ssl=without())
    context = without()
    cert = authority.ca.issue_cert(NAME, key_type=trustme.KeyType.RSA)
    cert.configure_cert(context)
    serve(None.__eq__, "127.0.0.1", 0, ssl=context).close()
