"""The end of a client's connection, when its handler has returned.

What the handler wrote is to arrive, so the connection ends as `Stream.finish` does it, in a
task of its own (see server.py). For the program the stream is closed from now on: whoever
kept it, or waits on it, gets `ClosedError`. So the socket goes over to another stream.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream

if TYPE_CHECKING:
    from microthreads.net.tls import TlsSocket


def taken_over(stream: Stream) -> Stream:
    """A stream in place of `stream`, which is closed by that. A plain call."""
    before = stream.plain
    before.descriptor.detach()
    sock = before.sock
    plain = Socket(socket.socket(sock.family, sock.type, sock.proto, sock.detach()))
    plain.owner = before.owner
    rest = Stream(plain)
    if stream.sock is not before:
        tls: TlsSocket = stream.sock  # type: ignore[assignment]
        tls.move_to(plain)
        rest.sock, stream.sock = tls, before
    return rest
