"""Connecting: from a name to a stream.

A name may have many addresses, of two families, and some of them may not answer. So
they are tried one after the other, but without waiting for a slow one to fail: the
next attempt begins a quarter of a second after the one before it, or when that has
failed, and the first to succeed wins ("happy eyeballs", RFC 8305).
"""

from __future__ import annotations

import os
import socket
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from microthreads.calls import check_seconds
from microthreads.groups import TaskGroup
from microthreads.net.dns import Found, Resolve, check_local, check_port, own_addresses
from microthreads.net.listeners import check_path
from microthreads.net.socketcalls import shown
from microthreads.net.sockets import Address, Socket, network
from microthreads.net.streams import Stream
from microthreads.spelling import AwaitableGenerator, any_spelling
from microthreads.sync import Event
from microthreads.timeouts import timeout

if TYPE_CHECKING:
    import ssl as tls

__all__ = ["open_connection", "open_unix_connection"]

DELAY = 0.25  # seconds between two attempts, as RFC 8305 recommends


def open_connection(
    host: str,
    port: int,
    *,
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    local_address: tuple[str, int] | tuple[str, int, int, int] | None = None,
    seconds: float = 60.0,
) -> AwaitableGenerator[Stream]:
    """A routine that connects to a TCP server, and returns the `Stream`.

    Args:
        host: A name or a numeric address.
        port: The port.
        ssl: A context to encrypt with, or True for one that verifies the server by
            the certificates that the system trusts; None: no encryption.
        server_hostname: The name that the certificate must be for; by default `host`.
        local_address: The address to connect from, or a name of it, and the port (0: any).
        seconds: How long all of it may take, the handshake included.

    Raises:
        socket.gaierror: There is no address for the name.
        OSError: None of the addresses could be connected to.
        ssl.SSLError: The two could not agree, or the server is not who it should be.
        TimeoutError: The time is over.
        ValueError: `port` is not from 1 to 65535, `host` has a zero byte, or `ssl` is a
            server's context; there is a `server_hostname` without `ssl`; or `seconds` is no time.
        TypeError: `port` is not an integer, `ssl` is no context, or `local_address` no address.
    """
    check_port(port, "open_connection", least=1)
    check_local(local_address, "open_connection")
    check_seconds(seconds, "open_connection")
    if server_hostname is not None and not ssl:
        raise ValueError(
            f"open_connection() needs ssl= for server_hostname={server_hostname!r}: without it, "
            "nothing is encrypted, and no certificate checked"
        )
    if ssl is not None and not isinstance(ssl, bool):
        from microthreads.net.tls import check_context  # noqa: PLC0415  (ssl takes long to import)

        check_context(ssl, "open_connection", server_side=False, hostname="localhost")
    return _open_connection(host, port, ssl, server_hostname, local_address, seconds)


def open_unix_connection(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
) -> AwaitableGenerator[Stream]:
    """A routine that connects to a Unix socket, and returns the `Stream`.

    Args:
        path: Its path, or its abstract name that begins with a zero byte.

    Raises:
        OSError: There is no such socket, or nobody listens.
    """
    return _open_unix_connection(os.fsdecode(path))


@any_spelling
async def _open_connection(
    host: str,
    port: int,
    ssl: tls.SSLContext | bool | None,
    server_hostname: str | None,
    local_address: Address,
    seconds: float,
) -> Stream:
    with timeout(seconds):
        found = await Resolve(host, port)
        mine = None if local_address is None else await own_addresses(local_address)
        stream = Stream(await connect_first(interleaved(found), mine))
        if ssl is None or ssl is False:
            return stream
        try:
            context = default_context() if ssl is True else ssl
            name = host if server_hostname is None else server_hostname
            await stream.start_tls(context, server_hostname=name, seconds=seconds)
        except BaseException:
            stream.close()
            raise
    return stream


@any_spelling
async def _open_unix_connection(path: str) -> Stream:
    check_path(path)
    sock = _socket(socket.AF_UNIX)
    try:
        await sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return Stream(sock)


def default_context() -> tls.SSLContext:
    """A client's context that verifies the server."""
    from ssl import create_default_context  # noqa: PLC0415  (it takes long to import)

    return create_default_context()


def interleaved(found: Found) -> Found:
    """The addresses, the families in turn, beginning with the family of the first."""
    first = [each for each in found if each[0] == found[0][0]]
    others = [each for each in found if each[0] != found[0][0]]
    return [each for each in chain(*zip_longest(first, others)) if each is not None]


async def connect_first(found: Found, mine: Found | None) -> Socket:
    """Connect to one of the addresses, whichever answers first; from one of `mine`."""
    race = Race(found, mine)
    try:
        async with TaskGroup() as group:
            for number in range(len(found)):
                name = f"connect to {shown(found[number][4])}"
                await group.spawn(race.attempt(number, group), name=name)
    except BaseException:
        if race.winner is not None:
            race.winner.close()
        raise
    if race.winner is None:
        error = race.failure()
        del race
        try:
            raise error
        finally:
            del error  # its traceback has this frame
    return race.winner


class Race:
    """The attempts to connect to the addresses of one host."""

    def __init__(self, found: Found, mine: Found | None) -> None:
        self._found = found
        self._mine = mine
        self._begun = [Event() for _ in found]
        self._failed = [Event() for _ in found]
        self._errors: list[OSError] = []
        self.winner: Socket | None = None

    async def attempt(self, number: int, group: TaskGroup) -> None:
        """Wait for one's turn, and connect."""
        if number:
            await self._begun[number - 1].wait()
            await self._failed[number - 1].wait(DELAY)
        self._begun[number].set()
        family, _, _, _, address = self._found[number]
        sock = None
        try:
            sock = _socket(family)
            if self._mine is not None:
                self._bind(sock, family)
            await sock.connect(address)
        except OSError as error:
            self._errors.append(error.with_traceback(None))
            self._failed[number].set()
        else:
            if self.winner is None:
                self.winner, sock = sock, None
                group.cancel("another address has answered")
        finally:
            if sock is not None:
                sock.close()

    def _bind(self, sock: Socket, family: int) -> None:
        for own, _, _, _, address in self._mine or ():
            if own == family:
                try:
                    sock.sock.bind(address)
                except OSError as error:
                    why = f"cannot connect from {shown(address)}: {error.strerror}"
                    raise OSError(error.errno, why) from None
                return
        raise OSError(EAFNOSUPPORT, "the local address is of another family")

    def failure(self) -> OSError:
        """The error of all attempts together."""
        if len(self._errors) == 1:
            return self._errors[0]
        if not self._errors:
            return OSError(EADDRNOTAVAIL, "the name has no address")
        reasons = "; ".join(error.strerror or str(error) for error in self._errors)
        return OSError(self._errors[0].errno, reasons)


def _socket(family: int) -> Socket:
    return Socket(network().socket(family, socket.SOCK_STREAM))
