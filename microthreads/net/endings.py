"""The end of a client's connection, when its handler has returned.

What the handler wrote is to arrive, so the connection ends as `Stream.finish` does it, in a
task of its own (see server.py). For the program the stream is closed from now on: whoever
kept it, or waits on it, gets `ClosedError`. So the socket goes over to another stream.
"""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING

from microthreads.kernel import Descriptor
from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream

if TYPE_CHECKING:
    from microthreads.net.tls import TlsSocket


class ServedStream(Stream):
    """The stream that a handler of `serve` is given: the end of `with stream:` loses nothing.

    It ends our direction, so that the client sees the end at once; the rest is done when the
    handler has returned, as without the block.
    """

    __slots__ = ()

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is not None or self.closed:
            super().__exit__(*exc_info)
            return
        try:
            self.sock.say_end()
        except OSError:
            pass  # the client has gone


@functools.cache
def closed_socket() -> Socket:
    """What a stream has whose socket went over to another."""
    sock = Socket(socket.socket())
    sock.close()
    return sock


def taken_over(stream: Stream) -> Stream:
    """A stream in place of `stream`, which is closed by that. A plain call."""
    plain = stream.plain
    if plain.descriptor.reading or plain.descriptor.writing:
        tell_waiters(plain)
        if stream.sock is not plain:
            tls: TlsSocket = stream.sock  # type: ignore[assignment]
            tls.move_to(plain)
    rest = Stream.__new__(Stream)  # all has been done that is to be done to its socket
    rest.sock, rest.buffer, rest.ended = stream.sock, None, stream.ended
    stream.sock, stream.buffer = closed_socket(), None
    return rest


def tell_waiters(sock: Socket) -> None:
    """Have those who wait on `sock` get `ClosedError`, though it stays open."""
    before = sock.descriptor
    before.detach()
    sock.descriptor = Descriptor(sock.sock, exclusive=before.exclusive)
    sock.descriptor.drains = before.drains
