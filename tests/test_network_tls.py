"""TLS as the documentation has it: nothing in the clear by mistake, and honest ends.

At the far end is the standard library, or ciphertext that the tests carry by hand. The tests stand below the rules that they are about.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from contextlib import ExitStack

import pytest
from helpers import tcp_pair
from peers import LONG, NAME, Carried, in_thread, pairs, serving, until

from microthreads import (
    Cancelled,
    ClosedError,
    Socket,
    Stream,
    join,
    race,
    run,
    sleep,
    spawn,
    timeout,
)

JUNK = b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3
SECRET = b"PASSWORD hunter2\n"


def all_of(far):
    """What comes until the end, whatever end that is."""
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := far.recv(65536):
            got += data
    return bytes(got)


# ---- A context that checks names needs the name


@pytest.mark.parametrize("how", ["default", "bare"])
def test_a_client_that_checks_names_and_has_none_is_refused_before_a_byte_is_sent(how, go):
    context = ssl.create_default_context() if how == "default" else None
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def main(stream):
        with pytest.raises(ValueError, match="server_hostname"):
            await stream.start_tls(context)
        await stream.write(b"still plain")

    with ExitStack() as stack:
        near, far = tcp_pair(stack)
        far.settimeout(LONG)
        go(main(Stream(near)))
        assert far.recv(100) == b"still plain"


def test_a_client_that_checks_no_names_needs_none(authority, version):
    context = authority.client(version=version)
    context.check_hostname = False

    async def main(stream):
        with stream:
            await stream.start_tls(context)
            return await stream.read_exactly(5)

    with ExitStack() as stack:
        stream, far = pairs(stack)
        peer = Carried(far, authority.server(version=version))
        with in_thread(lambda: (peer.handshake(), peer.write(b"hello"))):
            assert run(main(stream)) == b"hello"


# ---- After a handshake that failed or was given up, nothing goes out in the clear


async def junk(stream, far, **how):
    far.sendall(JUNK)
    await stream.start_tls(**how)


async def hang_up(stream, far, **how):
    far.shutdown(socket.SHUT_WR)
    await stream.start_tls(**how)


async def time_is_over(stream, far, **how):
    await stream.start_tls(**how, seconds=0.02)


async def outer_time_is_over(stream, far, **how):
    with timeout(0.02):
        await stream.start_tls(**how)


async def loses(stream, far, **how):
    async def nap():
        await sleep(0.02)

    await race(stream.start_tls(**how), nap())


async def cancelled(stream, far, **how):
    async def shake_hands():
        await stream.start_tls(**how)

    task = await spawn(shake_hands())
    await sleep(0.01)
    task.cancel()
    await join(task)


ENDS = [junk, hang_up, time_is_over, outer_time_is_over, loses, cancelled]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_after_a_handshake_that_failed_nothing_can_be_written(authority, end, side, go):
    how = {"context": authority.client(), "server_hostname": NAME}
    if side == "server":
        how = {"context": authority.server(), "server_side": True}

    async def main(stream, far):
        with contextlib.suppress(OSError, Cancelled):
            await end(stream, far, **how)
        for write in (stream.write, stream.plain.sendall, stream.plain.send):
            with pytest.raises(ClosedError):
                await write(SECRET)
        assert stream.closed

    with ExitStack() as stack:
        stream, far = pairs(stack)
        go(main(stream, far))
        assert SECRET not in all_of(far)


def test_a_certificate_for_another_name_leaves_nothing_to_write_to(authority, version):
    async def main(stream):
        with pytest.raises(ssl.SSLCertVerificationError):
            await stream.start_tls(authority.client(version=version), server_hostname="other.test")
        with pytest.raises(ClosedError):
            await stream.write(SECRET)

    with ExitStack() as stack:
        stream, far = pairs(stack)
        peer = Carried(far, authority.server(version=version))

        def talk():
            with pytest.raises(ssl.SSLError):  # it is told why
                peer.handshake()
                peer.read(100)

        with in_thread(talk):
            run(main(stream))
        assert SECRET not in all_of(far)


# ---- What ssl has wrapped is no socket to wait on


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_socket_that_ssl_has_wrapped_is_refused_and_left_alone(authority, side):
    near, far = socket.socketpair()
    context = authority.client() if side == "client" else authority.server()
    name = NAME if side == "client" else None
    with far, context.wrap_socket(
        near, server_side=side == "server", server_hostname=name, do_handshake_on_connect=False
    ) as wrapped:  # fmt: skip
        with pytest.raises(TypeError, match=r"start_tls"):
            Socket(wrapped)
        assert wrapped.fileno() >= 0
        assert wrapped.gettimeout() is None, "it has been made non-blocking"


# ---- The end of an encrypted stream is what it is


async def fails():
    raise LookupError


async def takes_too_long():
    with timeout(0.01):
        await sleep(LONG)


@pytest.mark.parametrize("trouble", [fails, takes_too_long])
@pytest.mark.parametrize("kind", ["with", "async with"])
def test_a_block_that_fails_leaves_no_clean_end(authority, version, kind, trouble):
    async def upload(stream):
        await stream.start_tls(authority.client(version=version), server_hostname=NAME)
        await stream.write(b"half of it")
        await trouble()

    async def main(stream):
        with contextlib.suppress(LookupError, TimeoutError):
            if kind == "with":
                with stream:
                    await upload(stream)
            else:
                async with stream:
                    await upload(stream)

    def talk(far):
        peer = Carried(far, authority.server(version=version))
        peer.handshake()
        got = peer.read_exactly(10)
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            peer.read(1)
        return got

    with ExitStack() as stack:
        stream, far = pairs(stack)
        with in_thread(talk, far) as outcome:
            run(main(stream))
        assert outcome[0][0] == b"half of it"


READS = {
    "read": lambda stream: stream.read(),
    "read_exactly": lambda stream: stream.read_exactly(5),
    "read_until": lambda stream: stream.read_until(b"!"),
    "readline": lambda stream: stream.readline(),
}


@pytest.mark.parametrize("call", READS)
def test_a_record_that_was_tampered_with_is_told_behind_the_good_data(authority, version, call, go):
    sent = threading.Event()

    def talk(far):
        peer = Carried(far, authority.server(version=version))
        peer.handshake()
        peer.tls.write(b"good")
        good = peer.outgoing.read()
        peer.tls.write(b"evil!\n")
        bad = bytearray(peer.outgoing.read())
        bad[-1] ^= 1
        far.sendall(good + bad)
        sent.set()

    async def main(stream):
        with stream:
            await stream.start_tls(authority.client(version=version), server_hostname=NAME)
            await until(sent.is_set)
            await sleep(0.02)
            with pytest.raises(ssl.SSLError) as caught:
                while True:
                    got = await READS[call](stream)
                    assert got == b"good", "it looks like an end"
            kept = stream.buffered
            with pytest.raises(ssl.SSLError):  # and the next call is told so as well
                await stream.read_exactly(100)
            return caught.value.reason, kept

    with ExitStack() as stack:
        stream, far = pairs(stack)
        with in_thread(talk, far):
            reason, kept = go(main(stream))
    assert "MAC" in reason or "DECRYPT" in reason
    assert kept == (0 if call == "read" else 4), "what was good can still be read"


def test_what_came_with_the_end_of_the_handshake_outlives_an_end_of_ours(authority, version, go):
    """The client's data is in one segment with its Finished (TLS 1.3), or with its end."""
    data = b"x" * 50_000

    def talk(port):
        with socket.create_connection(("127.0.0.1", port), LONG) as far:
            context = authority.client(version=version)
            peer = Carried(far, context, server_side=False, hostname=NAME)
            while True:
                try:
                    peer.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    peer.flush()
                    peer.incoming.write(far.recv(65536))
            peer.tls.write(data)
            peer.say_goodbye()
            return peer.read(100)

    seen = []

    async def handler(stream):
        await stream.write_eof()
        await sleep(0.02)
        seen.append(await stream.read(-1))

    async def main():
        async with serving(handler, ssl=authority.server(version=version)) as port:
            with in_thread(talk, port):
                await until(lambda: seen)

    go(main())
    assert seen == [data]
