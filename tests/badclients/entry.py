"""What the table of servers is made of: an entry, and what its functions are written with."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from programs import Server

PATIENCE = 20.0  # seconds after which a client that waits for the server says that it hangs
NO_LINGER = (1).to_bytes(4, sys.byteorder) + bytes(4)
MIB = 1 << 20

PORT = b"\xab\xcd"  # in inputs, this stands for the port that a proxy is to connect to

Connection = Any  # a socket, or what encrypts one
Places = dict[str, Any]  # what `prepare` has found out, and others need


def nothing(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    """No options, and nothing to prepare."""
    return []


def as_it_is(sock: socket.socket, places: Places) -> Connection:
    """Nothing is to be said before the first request."""
    return sock


def anything(sent: bytes, answer: bytes) -> bool:
    """Whatever comes back will do."""
    return True


@dataclass(frozen=True)
class Entry:
    """A server, and those who know how to speak to it.

    Attributes:
        name: What the command calls it.
        module: Of examples.servers.
        talk: A good client's request on a connection; fails unless the answer is right.
        samples: Valid inputs from the first byte on, for the fuzzer. None of them may
            have the server connect elsewhere, or forget what `talk` relies on.
        talk_when_full: The same, while the server has no descriptors left.
        greedy: What asks for much, or comes back; sent again and again by who never reads.
        oversize: Inputs that are too long for it, by lines, headers, or announced lengths.
        prepare: Given a folder and what ends at the end; returns the options.
        begin: What a good client does once, before it talks.
        good: Whether what came back for an input can be an answer to it.
        transport: "tcp", "unix" or "udp".
        growth: Bytes that its memory may grow by, meanwhile.
        idle: And so many for each of those who are slow, or say nothing.
        encrypted: Whether it speaks TLS.
        expected: What the lines are like that it may write into its log of such clients.
    """

    name: str
    module: str
    talk: Callable[[Connection], None]
    samples: tuple[bytes, ...]
    greedy: bytes
    oversize: tuple[bytes, ...] = ()
    prepare: Callable[[Path, ExitStack, Places], list[str]] = nothing
    begin: Callable[[socket.socket, Places], Connection] = as_it_is
    good: Callable[[bytes, bytes], bool] = anything
    talk_when_full: Callable[[Connection], None] | None = None
    transport: str = "tcp"
    growth: int = 32 * MIB
    idle: int = 16_384
    encrypted: bool = False
    expected: str = r"(?!)"


class Target:
    """An entry's server while it runs, and the way to it."""

    def __init__(self, entry: Entry, stack: ExitStack, check: bool = False) -> None:
        self.entry = entry
        self.places: Places = {}
        folder = Path(stack.enter_context(TemporaryDirectory()))
        options = entry.prepare(folder, stack, self.places)
        self.server = stack.enter_context(Server(entry.module, *options, check=check))
        self.samples = tuple(map(self.filled, entry.samples))
        self.greedy = self.filled(entry.greedy)
        self._hearing = threading.Lock()
        self._heard, self._unexpected = 0, b""
        self._known = re.compile(entry.expected.encode())

    def filled(self, data: bytes) -> bytes:
        """An input, with the port in it."""
        port = self.places.get("port")
        return data if port is None else data.replace(PORT, port.to_bytes(2, "big"))

    def connect(self, seconds: float = PATIENCE) -> socket.socket:
        """A connection, or for datagrams a socket that sends to the server."""
        address: Any = (self.server.host, self.server.port)
        family, kind = socket.AF_INET, socket.SOCK_STREAM
        if self.entry.transport == "unix":
            family, address = socket.AF_UNIX, self.server.addresses[0]
        elif self.entry.transport == "udp":
            kind = socket.SOCK_DGRAM
        sock = socket.socket(family, kind)
        try:
            sock.settimeout(seconds)
            connected(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def good_client(self) -> Iterator[Connection]:
        """A connection of a client that knows how to behave, ready to `talk`."""
        with self.connect() as sock, self.entry.begin(sock, self.places) as connection:
            yield connection

    def probe(self) -> None:
        """Be a good client, from connecting to closing."""
        with self.good_client() as connection:
            self.entry.talk(connection)

    def said(self) -> int:
        """How many bytes the server has written into its log that are not expected."""
        return len(self.stderr())

    def stderr(self) -> str:
        """What that was. The server writes where the file is at, so here nothing may move that."""
        with self._hearing:  # threads of clients ask
            number = self.server.errors.fileno()
            data = os.pread(number, os.fstat(number).st_size - self._heard, self._heard)
            data = data[: data.rfind(b"\n") + 1]  # whole lines
            self._heard += len(data)
            lines = data.splitlines(keepends=True)
            self._unexpected += b"".join(line for line in lines if not self._known.match(line))
            return self._unexpected.decode(errors="replace")


def connected(sock: socket.socket, address: Any) -> None:
    """Connect. Where a Unix socket's backlog is full, that fails at once if one does not block."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return sock.connect(address)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.005)


def reset(sock: socket.socket) -> None:
    """Close a connection so that the server sees a reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    sock.close()


def shut(sock: socket.socket) -> None:
    """End this side, if the server has not gone meanwhile."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def expect(found: Any, expected: Any) -> None:
    """Fail, and say what was found, unless it is what was expected."""
    if found != expected:
        raise AssertionError(f"{found!r} in place of {expected!r}"[:2000])


class Ended(AssertionError):
    """The server has ended the connection too early."""


def received(connection: Connection, size: int) -> bytes:
    """So many bytes; fails if the end comes before."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise Ended(f"the end after {bytes(data)!r}")
        data += piece
    return bytes(data)


def until(connection: Connection, mark: bytes) -> bytes:
    """All up to a mark, byte by byte: nothing behind it is taken."""
    data = bytearray()
    while not data.endswith(mark):
        data += received(connection, 1)
    return bytes(data)


def rest_of(connection: Connection, most: int = 64 * MIB) -> bytes:
    """What comes until the server closes the connection or resets it."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(data) < most and (piece := connection.recv(65536)):
            data += piece
    return bytes(data)
