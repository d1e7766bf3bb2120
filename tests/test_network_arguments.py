"""Wrong arguments of the network are refused at the call, by name, and nothing has happened."""

from __future__ import annotations

import math
import socket
import ssl

import pytest

from microthreads import (
    Socket,
    Stream,
    Workers,
    listen,
    open_connection,
    run,
    serve,
    serve_on,
    serve_unix,
    sleep,
    spawn,
)

HOST = "127.0.0.1"


def handler(stream):
    yield stream.read()


@pytest.mark.parametrize(
    ("call", "kind", "name"),
    [
        (lambda: serve(handler, HOST, 0, workers="4"), TypeError, "workers"),
        (lambda: serve(handler, HOST, 0, workers=2.5), TypeError, "workers"),
        (lambda: serve(handler, HOST, 0, workers=None), TypeError, "workers"),
        (lambda: serve(handler, HOST, 0, max_connections=1.5), TypeError, "max_connections"),
        (lambda: serve(handler, HOST, 0, stopping=5), TypeError, "stopping"),
        (lambda: Workers(2.5), TypeError, "number"),
        (lambda: Workers("2"), TypeError, "number"),
        (lambda: Workers(2, heartbeat="x"), TypeError, "heartbeat"),
        (lambda: Workers(2, heartbeat=None), TypeError, "heartbeat"),
        (lambda: Workers(2, heartbeat=math.nan), ValueError, "heartbeat"),
        (lambda: Workers(2, max_clients=1.5), TypeError, "max_clients"),
        (lambda: Workers(2, max_age="x"), TypeError, "max_age"),
        (lambda: Workers(2, exec_at_hup="no"), TypeError, "exec_at_hup"),
        (lambda: serve_on(handler, [5]), TypeError, "list of listening Sockets"),
        (lambda: serve_unix(handler, "x", mode=-1), ValueError, "mode"),
        (lambda: serve_unix(handler, "x", mode=0o100000), ValueError, "mode"),
        (lambda: serve_unix(handler, ""), ValueError, "path"),
        (lambda: open_connection(HOST, 1, seconds=-1), ValueError, "open_connection"),
        (lambda: open_connection(HOST, 1, server_hostname="x"), ValueError, "ssl="),
        (lambda: open_connection(HOST, 1, ssl="x"), TypeError, "ssl.SSLContext"),
        (
            lambda: open_connection(HOST, 1, ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
            ValueError,
            "client's context",
        ),
    ],
)
def test_it_is_refused_at_the_call_by_its_name(call, kind, name):
    with pytest.raises(kind, match=name):
        call()


def test_one_listener_in_place_of_a_list_is_told():
    async def main():
        with listen(HOST, 0) as listener, pytest.raises(TypeError, match="list"):
            serve_on(handler, listener)

    run(main())


@pytest.fixture
def stream():
    here, there = socket.socketpair()
    with there, Stream(Socket(here)) as stream:
        yield stream


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"server_hostname": 5}, TypeError, "server_hostname"),
        ({"server_hostname": b"x"}, TypeError, "server_hostname"),
        ({"server_hostname": "x\0"}, ValueError, "host name"),
        ({"server_hostname": "x", "seconds": -1}, ValueError, "start_tls"),
    ],
)
def test_what_start_tls_cannot_begin_with_leaves_the_stream_open(stream, options, kind, text):
    with pytest.raises(kind, match=text):
        stream.start_tls(ssl.create_default_context(), **options)
    assert not stream.closed


def test_a_server_without_a_certificate_cannot_start_tls(stream):
    with pytest.raises(ValueError, match="certificate"):
        stream.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)
    assert not stream.closed


def test_a_local_address_of_somebody_else_is_named():
    async def main():
        with listen(HOST, 0) as listener, pytest.raises(OSError, match="8.8.8.8"):
            port = listener.getsockname()[1]
            await open_connection(HOST, port, local_address=("8.8.8.8", 0))

    run(main())


def test_to_read_less_than_all_and_more_than_nothing_needs_a_number(stream):
    with pytest.raises(ValueError, match="read"):
        stream.read(-2)


class Endless(socket.socket):
    """An end of a pair from which there is always something to be received."""

    def recv(self, size, *flags):
        return bytes(size)


@pytest.mark.parametrize("how", ["read_exactly", "read_until"])
def test_a_large_result_is_copied_a_share_a_turn(how):
    """64 MiB are received in 64 turns of 1 MiB, and copied in as many."""
    here, there = socket.socketpair()
    there.sendall(b"x")  # so that pollers call it ready
    stream, turns, size = Stream(Socket(Endless(fileno=here.detach()))), [0], 64 << 20

    async def reads():
        if how == "read_exactly":
            return len(await stream.read_exactly(size))
        stream.buffer = bytearray(size) + b"\n"
        return len(await stream.read_until(b"\n", size + 1)) - 1

    async def main():
        task = await spawn(reads())
        while not task.done:
            await sleep(0)
            turns[0] += 1
        return task.result()

    assert run(main()) == size
    assert turns[0] >= (100 if how == "read_exactly" else 50)
    stream.close()
    there.close()
