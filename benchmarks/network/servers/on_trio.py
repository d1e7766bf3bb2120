"""trio: its streams, which have no reading up to a mark; they get `Requests`."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import trio

from benchmarks.network.wire import NUMBER, READ, RESPONSE, Requests, pieces


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(READ):
        await stream.send_all(data)


async def http(stream: trio.SocketStream) -> None:
    requests = Requests()
    try:
        while data := await stream.receive_some(READ):
            await stream.send_all(RESPONSE * requests.feed(data))
    except trio.BrokenResourceError:
        pass  # wrk goes in the middle of a response


async def sink(stream: trio.SocketStream) -> None:
    size = 0
    while data := await stream.receive_some(READ):
        size += len(data)
    await stream.send_all(b"%d" % size)


async def source(stream: trio.SocketStream) -> None:
    for piece in pieces(await stream.receive_some(NUMBER)):
        await stream.send_all(piece)


def on_trio(handler: Any, listener: socket.socket) -> None:
    theirs = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    trio.run(trio.serve_listeners, handler, [theirs])


HANDLERS = {"echo": echo, "http": http, "sink": sink, "source": source}
SERVERS = {("streams", role): partial(on_trio, handler) for role, handler in HANDLERS.items()}
