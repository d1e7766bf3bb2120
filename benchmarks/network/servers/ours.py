"""microthreads: on sockets, and on streams.

The handlers are what a user would write. Read next: on_trio.py, for the same on another
library, and bare.py, for what it costs without any.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from benchmarks.network.wire import END, NUMBER, RESPONSE, Requests, pieces
from microthreads import Socket, Stream, accept_loop, run, serve_on

Handler = Callable[[Any], Generator[Any, Any, None]]


def echo(connection: Socket) -> Generator[Any, Any, None]:
    while data := (yield connection.recv()):
        yield connection.sendall(data)


def http(connection: Socket) -> Generator[Any, Any, None]:
    requests = Requests()
    try:
        while data := (yield connection.recv()):
            yield connection.sendall(RESPONSE * requests.feed(data))
    except ConnectionError:
        pass  # wrk goes in the middle of a response


def sink(connection: Socket) -> Generator[Any, Any, None]:
    size = 0
    while data := (yield connection.recv()):
        size += len(data)
    yield connection.sendall(b"%d" % size)


def source(connection: Socket) -> Generator[Any, Any, None]:
    for piece in pieces((yield connection.recv(NUMBER))):
        yield connection.sendall(piece)


def stream_echo(stream: Stream) -> Generator[Any, Any, None]:
    while data := (yield stream.read()):
        yield stream.write(data)


def stream_http(stream: Stream) -> Generator[Any, Any, None]:
    try:
        while True:
            yield stream.read_until(END)
            yield stream.write(RESPONSE)
    except (EOFError, ConnectionError):
        pass


def stream_sink(stream: Stream) -> Generator[Any, Any, None]:
    size = 0
    while data := (yield stream.read()):
        size += len(data)
    yield stream.write(b"%d" % size)


def stream_source(stream: Stream) -> Generator[Any, Any, None]:
    for piece in pieces((yield stream.read_exactly(NUMBER))):
        yield stream.write(piece)


def on_sockets(handler: Handler, listener: socket.socket) -> None:
    run(accept_loop(Socket(listener), handler))


def on_streams(handler: Handler, listener: socket.socket) -> None:
    run(serve_on(handler, [Socket(listener)]))


SERVERS = {
    ("sockets", "echo"): partial(on_sockets, echo),
    ("sockets", "http"): partial(on_sockets, http),
    ("sockets", "sink"): partial(on_sockets, sink),
    ("sockets", "source"): partial(on_sockets, source),
    ("streams", "echo"): partial(on_streams, stream_echo),
    ("streams", "http"): partial(on_streams, stream_http),
    ("streams", "sink"): partial(on_streams, stream_sink),
    ("streams", "source"): partial(on_streams, stream_source),
}
