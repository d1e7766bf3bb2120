"""Connections that go wrong: resets, silence, greed, nonsense.

Each is a function of a `Target`. What it has to do is to survive: whether it did is checked
by the good client beside it, and when all is over. What a fault itself can see is checked
here: that who has ended is let go.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable

from .entry import MIB, PATIENCE, Entry, Target, reset, rest_of, shut

EACH = 10  # how often each reset is done
GREEDY = 20  # how many there are who never read
MOST = 16 * MIB  # bytes that one of them sends
HOLD = 0.5  # seconds for which they do not
GONE = (ConnectionError, TimeoutError)


def resets_at_each_stage(target: Target) -> None:
    """Right after connecting, after part of a request, and in the middle of a response."""
    parts = [data[: len(data) * share // 4] for data in target.samples for share in (1, 2, 3, 4)]
    for data in [b""] * EACH + parts:
        sock = target.connect()
        with contextlib.suppress(*GONE):
            sock.sendall(data)
        reset(sock)
    for size in (1, 1000, 100_000):
        for _ in range(EACH):
            reset_while_answered(target, size)


def reset_while_answered(target: Target, size: int) -> None:
    """Ask for much, read so many bytes, and reset; or before, if there is nothing to read."""
    with target.good_client() as connection:
        with contextlib.suppress(*GONE, ssl.SSLError):
            connection.settimeout(0.02)
            connection.sendall(target.greedy)
            while size > 0 and (data := connection.recv(size)):
                size -= len(data)
        reset(connection)


def ends_at_once(target: Target) -> None:
    """Connect, send nothing or part of a request, and end this side: it must be let go."""
    for data in (b"", *(sample[: len(sample) // 2] for sample in target.samples)):
        for _ in range(3):
            with target.connect() as sock:
                with contextlib.suppress(*GONE):
                    sock.sendall(data)
                shut(sock)
                let_go(sock, f"after {data[:100]!r}")


def let_go(sock: socket.socket, when: str) -> None:
    """Read to the end, for which the server must not take long."""
    try:
        rest_of(sock)
    except TimeoutError:
        raise AssertionError(f"the server does not end the connection {when}") from None


def never_reads(target: Target) -> None:
    """Ask for much, on many connections, and read nothing of what comes."""
    block = target.greedy * (65536 // len(target.greedy) + 1)
    with contextlib.ExitStack() as stack:
        for _ in range(GREEDY):
            connection = stack.enter_context(target.good_client())
            connection.settimeout(0.05)
            with contextlib.suppress(*GONE, ssl.SSLError):
                for _ in range(MOST // len(block)):
                    connection.sendall(block)
            stack.callback(reset, connection)
        time.sleep(HOLD)


def too_long(target: Target) -> None:
    """Lines, headers and lengths beyond all limits, from several at once."""
    for data in target.entry.oversize:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(target.connect()) for _ in range(4)]
            for sock in socks:
                send_beside_reading(sock, data)
            for sock in socks:
                shut(sock)
            for sock in socks:
                let_go(sock, f"after {data[:100]!r}...")


def send_beside_reading(sock: socket.socket, data: bytes) -> None:
    """Send all that it takes in a while, and throw away what it answers meanwhile."""
    view, until = memoryview(data), time.monotonic() + 10
    sock.setblocking(False)
    with contextlib.suppress(ConnectionError):
        while view and time.monotonic() < until:
            readable, writable, _ = select.select([sock], [sock], [], 1)
            with contextlib.suppress(BlockingIOError):
                if readable and not sock.recv(MIB):
                    break  # it has heard enough
                if writable:
                    view = view[sock.send(view) :]
    sock.settimeout(PATIENCE)


def bad_tls(target: Target) -> None:
    """What is no TLS, to a port that speaks it: at the beginning, and after the handshake."""
    hello = target.samples[0]
    records = [
        bytes((kind, 3, 3)) + (2**14).to_bytes(2, "big") + os.urandom(2**14)
        for kind in range(20, 25)
    ]
    nonsense = [b"GET / HTTP/1.0\r\n\r\n", b"hello\n" * 1000, *records]
    nonsense += [hello[:length] for length in range(1, len(hello), 50)]
    for data in nonsense:
        with target.connect() as sock:
            with contextlib.suppress(*GONE):
                sock.sendall(data)
            shut(sock)
            let_go(sock, f"after {data[:20]!r}")
    for data in (b"plain text", *records):
        garbage_after_the_handshake(target, data)


def garbage_after_the_handshake(target: Target, data: bytes) -> None:
    """Shake hands as one should, and go on without encryption."""
    with target.good_client() as connection:
        target.entry.talk(connection)
        with socket.socket(fileno=os.dup(connection.fileno())) as plain:
            plain.settimeout(PATIENCE)
            plain.sendall(data)
            let_go(plain, f"after a handshake and {data[:20]!r}")


# Datagrams


def senders_that_are_gone(target: Target) -> None:
    """The answer to a datagram goes nowhere, of which the server is told at its next call."""
    for size in (0, 1, 1000, 65_507):
        for _ in range(10 * EACH):
            with target.connect() as sock:
                sock.send(bytes(size))


def more_than_anybody_reads(target: Target) -> None:
    """Send large datagrams as fast as it goes, and read none of the answers."""
    with target.connect() as sock:
        for _ in range(MOST // len(target.greedy)):
            sock.send(target.greedy)


FAULTS = [resets_at_each_stage, ends_at_once, never_reads, too_long]


def faults_of(entry: Entry) -> list[Callable[[Target], None]]:
    """Those that make sense for a server."""
    if entry.transport == "udp":
        return [senders_that_are_gone, more_than_anybody_reads]
    return [*FAULTS, bad_tls] if entry.encrypted else list(FAULTS)
