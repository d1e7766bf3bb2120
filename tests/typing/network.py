"""Sockets, streams and servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from typing import Any, assert_type

from microthreads import (
    Descriptor,
    Socket,
    Stream,
    Task,
    Workers,
    accept_loop,
    activated_sockets,
    listen,
    open_connection,
    open_udp,
    open_unix_connection,
    run,
    sd_notify,
    serve,
    serve_on,
    serve_unix,
    spawn,
)


async def streams(context: ssl.SSLContext) -> bytes:
    stream = await open_connection("localhost", 80, ssl=True)
    assert_type(stream, Stream)
    assert_type(await open_unix_connection("/run/it"), Stream)
    assert_type(await stream.read(), bytes)
    assert_type(await stream.read_exactly(4), bytes)
    assert_type(await stream.read_until(b"\r\n"), bytes)
    assert_type(await stream.readline(), bytes)
    assert_type(await stream.write(b"data"), None)
    assert_type(await stream.write_eof(), None)
    assert_type(await stream.start_tls(context, server_hostname="localhost"), None)
    assert_type(stream.tls, ssl.SSLObject | None)
    assert_type(stream.closed, bool)
    assert_type(stream.buffered, int)
    async for line in stream:
        assert_type(line, bytes)
    with stream as the_same:
        assert_type(the_same, Stream)
    async with stream as the_same:
        return await the_same.read()


def in_a_generator() -> Generator[Any, Any, None]:
    assert_type((yield from open_connection("localhost", 80)), Stream)
    assert_type((yield from open_udp("localhost", 53)), Socket)


async def sockets(buffer: bytearray) -> None:
    sock = listen("localhost", 0)
    assert_type(sock, Socket)
    assert_type((await sock.accept())[0], Socket)
    assert_type(await sock.recv(), bytes)
    assert_type(await sock.recv_into(buffer), int)
    assert_type((await sock.recvfrom())[0], bytes)
    assert_type(await sock.send(b"data"), int)
    assert_type(await sock.sendall(b"data"), None)
    assert_type(await sock.sendto(b"data", ("localhost", 53)), int)
    assert_type(await sock.connect(("localhost", 80)), None)
    assert_type(await sock.readable(), None)
    assert_type(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), int)
    assert_type(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR, 4), bytes)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, b"\x01")
    assert_type(await open_udp(), Socket)
    assert_type(activated_sockets(), list[Socket])


async def descriptors(descriptor: Descriptor) -> None:
    assert_type(await descriptor.readable(), None)
    assert_type(await descriptor.writable(), None)


async def handler(stream: Stream) -> None:
    await stream.write(await stream.read())


def yielding(stream: Stream) -> Generator[Any, Any, None]:
    yield stream.write(b"")


def of_a_socket(client: Socket) -> Generator[Any, Any, None]:
    yield client.sendall(b"")


async def servers() -> None:
    assert_type(await serve(handler, "localhost", 0, ready=print), None)
    assert_type(await serve(yielding, ["localhost", "::1"], 0, max_connections=5), None)
    assert_type(await serve(handler, "", 0, workers=Workers(4, max_age=3600)), None)
    assert_type(await serve_unix(handler, "/run/it"), None)
    assert_type(await serve_on(handler, activated_sockets()), None)
    assert_type(await accept_loop(listen("", 0), of_a_socket), None)
    assert_type(await spawn(accept_loop(listen("", 0), of_a_socket)), Task[None])
    assert_type(await spawn(serve(handler, "", 0)), Task[None])


def programs() -> None:
    assert_type(sd_notify("READY=1"), bool)
    assert_type(run(serve(handler, "localhost", 8000)), None)
    assert_type(run(accept_loop(listen("", 0), of_a_socket)), None)


def accepting() -> Generator[Any, Any, None]:
    yield from accept_loop(listen("", 0), of_a_socket)
