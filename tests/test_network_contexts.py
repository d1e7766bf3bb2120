"""Contexts of TLS are checked at the call, names without their dot; and who dawdles holds up nobody."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl

import pytest
from helpers import vrun
from peers import NAME, Authority, listening

from microthreads import (
    Cancelled,
    Socket,
    Stream,
    join,
    listen,
    now,
    open_connection,
    serve,
    serve_on,
    serve_unix,
    sleep,
    spawn,
)


@pytest.fixture
def authority():
    return Authority()


async def handler(stream):
    await stream.write(b"hello")


async def serving(routine_of):
    """Start a server, and wait until it listens; its task, and the port."""
    server, found = await listening(routine_of)
    return server, found[0][1]


def started(host, ready, **options):
    return serve(handler, host, 0, ready=ready, **options)


# ---- The dot at the end of a name is no part of it for a certificate


@pytest.mark.parametrize("name", ["localhost.", "LOCALHOST."])
def test_a_dot_at_the_end_is_not_sent_and_not_checked(authority, name, go, monkeypatch):
    real = socket.getaddrinfo

    def knows_the_dot(host, *arguments, **options):
        return real(host and host.removesuffix("."), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", knows_the_dot)  # not all resolvers do
    asked = []
    context = authority.server()
    context.sni_callback = lambda tls, name, _: asked.append(name)

    async def main():
        server, port = await serving(functools.partial(started, "127.0.0.1", ssl=context))
        with await open_connection(name, port, ssl=authority.client()) as stream:
            assert await stream.read(-1) == b"hello"
        with await open_connection(
            "127.0.0.1", port, ssl=authority.client(), server_hostname=NAME + "."
        ) as stream:
            assert await stream.read(-1) == b"hello"
        with await open_connection("127.0.0.1", port) as stream:
            await stream.start_tls(authority.client(), server_hostname=NAME + ".")
            assert await stream.read(-1) == b"hello"
        server.cancel()

    go(main())
    assert [each.lower() for each in asked] == ["localhost", NAME, NAME]


# ---- What cannot serve by TLS is refused at the call


SERVERS = {
    "serve": lambda **options: serve(handler, "127.0.0.1", 0, **options),
    "serve_unix": lambda **options: serve_unix(handler, "\0test_network_names", **options),
    "serve_on": lambda **options: serve_on(handler, [object()], **options),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("call", SERVERS)
def test_what_is_no_servers_context_is_refused_at_the_call(authority, call, workers):
    for context, error in (
        (True, TypeError),
        ("server.pem", TypeError),
        (authority.client(), ValueError),
        (ssl.create_default_context(), ValueError),
        (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ValueError),
        (ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ValueError),
    ):
        with pytest.raises(error, match=call):
            SERVERS[call](ssl=context, workers=workers)


def test_a_context_that_goes_on_with_another_needs_no_certificate_itself(authority, go):
    context, real = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), authority.server()
    context.sni_callback = lambda tls, *_: setattr(tls, "context", real)

    async def main():
        server, port = await serving(functools.partial(started, "127.0.0.1", ssl=context))
        with await open_connection("localhost", port, ssl=authority.client()) as stream:
            assert await stream.read(-1) == b"hello"
        server.cancel()

    go(main())


def test_start_tls_refuses_the_context_of_the_other_side(authority):
    with listen("127.0.0.1", 0) as listener, socket.socket() as raw:
        raw.connect(listener.getsockname())
        with Stream(Socket(raw)) as stream:
            for context, side in ((authority.server(), False), (authority.client(), True)):
                with pytest.raises(ValueError, match="context"):
                    stream.start_tls(context, server_side=side, server_hostname=None)


# ---- Who is silent in the handshake holds up neither the stop nor other clients


def test_a_silent_client_does_not_hold_the_stop(authority):
    async def main():
        context = authority.server()
        server, port = await serving(
            functools.partial(started, "127.0.0.1", ssl=context, grace=60.0)
        )
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(b"\x16\x03\x01")  # it has begun
            await sleep(1)
            server.cancel()
            began = now()
            with contextlib.suppress(Cancelled):
                await join(server)
            return now() - began

    assert vrun(main()) <= 5.0


@pytest.mark.parametrize("drops", [False, True], ids=["silent", "a byte at a time"])
def test_a_client_that_dawdles_holds_no_place_for_long(authority, drops):
    async def main():
        options = {"ssl": authority.server(), "max_connections": 1, "grace": 0.0}
        server, port = await serving(functools.partial(started, "127.0.0.1", **options))
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(b"\x16\x03\x01\x40\x00")
            await sleep(0.01)
            began = now()
            if drops:
                await spawn(dawdle(silent), daemon=True)
            stream = await open_connection(
                "localhost", port, ssl=authority.client(), seconds=1000.0
            )
            with stream:
                assert await stream.read(-1) == b"hello"
                server.cancel()
                return now() - began

    async def dawdle(silent):
        with contextlib.suppress(OSError):
            while True:
                await sleep(3)
                silent.sendall(b"\0")

    assert vrun(main()) <= (31.0 if drops else 6.0)
