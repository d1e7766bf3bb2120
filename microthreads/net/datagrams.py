"""UDP: a socket for datagrams, with names looked up as for connections."""

from __future__ import annotations

import socket
from collections.abc import Callable
from errno import EAFNOSUPPORT
from typing import Any

from microthreads.net.dns import Found, Resolve, check_local, check_port, own_addresses
from microthreads.net.socketcalls import shown
from microthreads.net.sockets import Address, Socket, network
from microthreads.spelling import AwaitableGenerator, any_spelling

__all__ = ["open_udp"]

ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104


def open_udp(
    host: str | None = None,
    port: int | None = None,
    *,
    local_address: tuple[str, int] | tuple[str, int, int, int] | None = None,
    reuse_port: bool = False,
    broadcast: bool = False,
) -> AwaitableGenerator[Socket]:
    """A routine that makes a socket for UDP datagrams, and returns the `Socket`.

    With a host and a port it is connected: `send` goes there, `recv` gets only what
    comes from there, and `ConnectionRefusedError` tells that nobody listens. Without,
    use `recvfrom` and `sendto`; it is for IPv4 then, unless `local_address` says otherwise.

    Args:
        host: The peer's name or numeric address.
        port: The peer's port.
        local_address: The address to receive at, and the port (0: any that is free).
        reuse_port: Let several processes receive at the same port.
        broadcast: Let it send to broadcast addresses.

    Raises:
        socket.gaierror: There is no address for a name.
        OSError: The local address is in use, or not this machine's.
        ValueError: A port is not from 0 to 65535, or there is a host without a port.
        TypeError: A port is not an integer.
    """
    if (host is None) != (port is None):
        raise ValueError("open_udp() needs both a host and a port to connect to, or neither")
    if port is not None:
        check_port(port, "open_udp")
    check_local(local_address, "open_udp")
    return _open_udp(host, port or 0, local_address, reuse_port, broadcast)


@any_spelling
async def _open_udp(
    host: str | None,
    port: int,
    local: Address | None,
    reuse_port: bool,
    broadcast: bool,
) -> Socket:
    peers: Found = [] if host is None else await Resolve(host, port, socket.SOCK_DGRAM)
    family = peers[0][0] if peers else socket.AF_INET
    mine: Found = []
    if local is not None:
        mine = await own_addresses((local[0] or ANY[family], *local[1:]), socket.SOCK_DGRAM)
    peer, own = pair(peers, mine)
    sock = network().socket((own or peer or [family])[0], socket.SOCK_DGRAM)
    try:
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if own is not None:
            apply(sock.bind, own[4], "receive at")
        if peer is not None:
            apply(sock.connect, peer[4], "send to")
    except BaseException:
        sock.close()
        raise
    return Socket(sock)


def pair(peers: Found, mine: Found) -> tuple[Any, Any]:
    """The first peer and the first own address that go together; None for what is not asked."""
    nothing: list[Any] = [None]
    for peer in peers or nothing:
        for own in mine or nothing:
            if peer is None or own is None or peer[0] == own[0]:
                return peer, own
    raise OSError(
        EAFNOSUPPORT, f"{shown(mine[0][4])} and {shown(peers[0][4])} are of different families"
    )


def apply(method: Callable[[Address], object], address: Address, verb: str) -> None:
    """Bind or connect; an error says what could not be done."""
    try:
        method(address)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot {verb} {shown(address)} by UDP: {error.strerror}"
        ) from None
