"""The floor in Python: an epoll loop with no tasks.

What a scheduler adds is what it costs above this. The echo loop is written out, without
a call that it could do without; floor.c is the same in C. For bulk data, where there is
one connection, the floor is a socket that blocks.
"""

from __future__ import annotations

import select
import socket
from functools import partial

from benchmarks.network.servers.blocking import HANDLERS, closing
from benchmarks.network.wire import READ, RESPONSE, Requests


def echo(listener: socket.socket) -> None:
    """Echo. What does not fit waits in `late`, and nothing is read meanwhile."""
    poller, connections = select.epoll(), {}
    late: dict[int, bytes] = {}
    number = listener.fileno()
    poller.register(number, select.EPOLLIN)
    while True:
        for fd, events in poller.poll():
            if fd == number:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connections[connection.fileno()] = connection
                poller.register(connection, select.EPOLLIN)
            elif data := late.pop(fd, None) or connections[fd].recv(READ):
                sent = connections[fd].send(data)
                if sent < len(data):
                    late[fd] = data[sent:]
                    poller.modify(fd, select.EPOLLOUT)
                elif events == select.EPOLLOUT:
                    poller.modify(fd, select.EPOLLIN)
            else:
                connections.pop(fd).close()


def http(listener: socket.socket) -> None:
    """Responses are small, so there is always room for them."""
    poller, connections = select.epoll(), {}
    number = listener.fileno()
    poller.register(number, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == number:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connections[connection.fileno()] = connection, Requests()
                poller.register(connection, select.EPOLLIN)
                continue
            connection, requests = connections[fd]
            try:
                data = connection.recv(READ)
                connection.send(RESPONSE * requests.feed(data))
            except ConnectionError:
                data = b""  # wrk goes in the middle of a response
            if not data:
                connections.pop(fd)[0].close()


def one_by_one(role: str, listener: socket.socket) -> None:
    listener.setblocking(True)
    while True:
        closing(HANDLERS[role], listener.accept()[0])


SERVERS = {
    ("epoll", "echo"): echo,
    ("epoll", "http"): http,
    ("epoll", "sink"): partial(one_by_one, "sink"),
    ("epoll", "source"): partial(one_by_one, "source"),
}
