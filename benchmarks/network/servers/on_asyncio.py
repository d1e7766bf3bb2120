"""asyncio, and uvloop below the same code: streams, and callback protocols.

A protocol has no tasks and no waiting: its methods are called when something happens.
It is the fastest that either of the two can do, and the furthest from a thread.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from benchmarks.network.wire import END, NUMBER, READ, RESPONSE, Requests, pieces

BACKLOG = 4096

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def echo(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(READ):
        writer.write(data)
        await writer.drain()
    writer.close()


async def http(reader: Reader, writer: Writer) -> None:
    try:
        while True:
            await reader.readuntil(END)
            writer.write(RESPONSE)
            await writer.drain()
    except (EOFError, ConnectionError):
        writer.close()  # wrk goes in the middle of a response


async def sink(reader: Reader, writer: Writer) -> None:
    size = 0
    while data := await reader.read(READ):
        size += len(data)
    writer.write(b"%d" % size)
    writer.close()


async def source(reader: Reader, writer: Writer) -> None:
    for piece in pieces(await reader.readexactly(NUMBER)):
        writer.write(piece)
        await writer.drain()
    writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Http(Echo):
    def __init__(self) -> None:
        self.requests = Requests()

    def data_received(self, data: bytes) -> None:
        self.transport.write(RESPONSE * self.requests.feed(data))


class Sink(Echo):
    size = 0

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def eof_received(self) -> None:
        self.transport.write(b"%d" % self.size)


class Source(Echo):
    full = False

    def data_received(self, data: bytes) -> None:
        self.pieces = pieces(data)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        while not self.full and (piece := next(self.pieces, None)) is not None:
            self.transport.write(piece)


async def serve_streams(handler: Any, listener: socket.socket) -> None:
    server = await asyncio.start_server(handler, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


async def serve_protocol(protocol: Any, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, sock=listener, backlog=BACKLOG)
    await server.serve_forever()


def on_asyncio(serve: Any, handler: Any, listener: socket.socket) -> None:
    asyncio.run(serve(handler, listener))


def on_uvloop(serve: Any, handler: Any, listener: socket.socket) -> None:
    import uvloop

    uvloop.run(serve(handler, listener))


STREAMS = {"echo": echo, "http": http, "sink": sink, "source": source}
PROTOCOLS = {"echo": Echo, "http": Http, "sink": Sink, "source": Source}

SERVERS = {
    (f"{name} {style}", role): partial(run, serve, handler)
    for name, run in (("asyncio", on_asyncio), ("uvloop", on_uvloop))
    for style, serve, handlers in (
        ("streams", serve_streams, STREAMS),
        ("protocol", serve_protocol, PROTOCOLS),
    )
    for role, handler in handlers.items()
}
