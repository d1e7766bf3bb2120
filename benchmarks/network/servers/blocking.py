"""Handlers in the plain blocking style of threads; gevent runs the same, which is its point."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.network.wire import NUMBER, READ, RESPONSE, Requests, pieces


def echo(connection: Any) -> None:
    while data := connection.recv(READ):
        connection.sendall(data)


def http(connection: Any) -> None:
    requests = Requests()
    try:
        while data := connection.recv(READ):
            connection.sendall(RESPONSE * requests.feed(data))
    except ConnectionError:
        pass  # wrk goes in the middle of a response


def sink(connection: Any) -> None:
    size = 0
    while data := connection.recv(READ):
        size += len(data)
    connection.sendall(b"%d" % size)


def source(connection: Any) -> None:
    for piece in pieces(connection.recv(NUMBER)):
        connection.sendall(piece)


HANDLERS: dict[str, Callable[[Any], None]] = {
    "echo": echo,
    "http": http,
    "sink": sink,
    "source": source,
}


def closing(handler: Callable[[Any], None], connection: socket.socket) -> None:
    with connection:
        handler(connection)


def on_threads(handler: Callable[[Any], None], listener: socket.socket) -> None:
    """One thread for each connection."""
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=closing, args=(handler, connection), daemon=True).start()


SERVERS = {("threads", role): partial(on_threads, handler) for role, handler in HANDLERS.items()}
