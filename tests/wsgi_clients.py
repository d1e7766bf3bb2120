"""What the tests of the WSGI server share: the server, and clients of it."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time

from programs import Server

MIB = 1 << 20
LONG = 20  # seconds that nothing here takes


def serving(name, *options, **more):
    return Server("wsgi", "--app", f"tests.{name}", *options, **more)


def ask(server, path, method="GET", body=None, headers=(), **options):
    """A request, on a connection of its own: the status, the headers and the body."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=LONG)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers), **options)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def body_of(server, path, *arguments, **options):
    status, _, body = ask(server, path, *arguments, **options)
    assert status == 200
    return body


def connected(server):
    return socket.create_connection((server.host, server.port), timeout=LONG)


def raw(server, request):
    """All that is answered, up to the end of the connection."""
    with connected(server) as client:
        client.sendall(request)
        found = b""
        while data := client.recv(65536):
            found += data
        return found


def logged(server, text):
    return text in body_of(server, "/log").decode().split("\n")


def said(server, pattern):
    """Wait until the standard error has `pattern`."""
    until = time.monotonic() + LONG
    while not re.search(pattern, server.stderr()) and time.monotonic() < until:
        time.sleep(0.02)
    assert re.search(pattern, server.stderr()), server.stderr()
