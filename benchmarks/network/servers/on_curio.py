"""curio, on its sockets. (1.6, the last there is, does not import on Python 3.12 and later.)"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import curio
import curio.io

from benchmarks.network.wire import NUMBER, READ, RESPONSE, Requests, pieces


async def echo(connection: Any) -> None:
    while data := await connection.recv(READ):
        await connection.sendall(data)


async def http(connection: Any) -> None:
    requests = Requests()
    try:
        while data := await connection.recv(READ):
            await connection.sendall(RESPONSE * requests.feed(data))
    except ConnectionError:
        pass  # wrk goes in the middle of a response


async def sink(connection: Any) -> None:
    size = 0
    while data := await connection.recv(READ):
        size += len(data)
    await connection.sendall(b"%d" % size)


async def source(connection: Any) -> None:
    for piece in pieces(await connection.recv(NUMBER)):
        await connection.sendall(piece)


async def closing(handler: Any, connection: Any) -> None:
    async with connection:
        await handler(connection)


async def accept(handler: Any, listener: socket.socket) -> None:
    theirs = curio.io.Socket(listener)
    while True:
        connection, _ = await theirs.accept()
        await curio.spawn(closing, handler, connection, daemon=True)


def on_curio(handler: Any, listener: socket.socket) -> None:
    curio.run(accept, handler, listener)


HANDLERS = {"echo": echo, "http": http, "sink": sink, "source": source}
SERVERS = {("sockets", role): partial(on_curio, handler) for role, handler in HANDLERS.items()}
