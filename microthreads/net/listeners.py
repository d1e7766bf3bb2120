"""Listening: one address, all addresses of a host, or a path."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ECONNREFUSED

from microthreads.net.dns import Found, check_name
from microthreads.net.socketcalls import shown
from microthreads.net.sockets import Address, Socket, network

__all__ = ["listen"]


def listen(host: str | None, port: int, *, backlog: int = 1024, reuse_port: bool = False) -> Socket:
    """A TCP socket that listens. A plain call.

    Args:
        host: The address to bind; "" or None for all addresses.
        port: The port; 0 lets the operating system choose one (see `getsockname`).
        backlog: How many connections may wait to be accepted.
        reuse_port: Let several processes listen on the same port.

    Raises:
        ValueError: `port` is not from 0 to 65535.
        OSError: The address is in use, or not this machine's.
    """
    family, _, _, _, address = addresses_of(host, port, "listen")[0]
    return listening(family, address, backlog, reuse_port)


def listen_on_all(
    hosts: str | Sequence[str] | None,
    port: int,
    backlog: int,
    reuse_port: bool,
    more_follow: bool = False,
) -> list[Socket]:
    """A listening socket for each address of `hosts`, all on the same port.

    Where all addresses are meant, a family that this machine has not is left out.
    If more follow, `listen_too` can make sockets that listen beside these.
    """
    listeners: list[Socket] = []
    try:
        for host in [hosts] if hosts is None or isinstance(hosts, str) else hosts:
            for family, _, _, _, address in addresses_of(host, port, "serve"):
                chosen = listeners[0].getsockname()[1] if listeners else port
                try:
                    found = listening(
                        family, (address[0], chosen), backlog, reuse_port, more_follow
                    )
                except OSError as error:
                    if host or error.errno not in (EAFNOSUPPORT, EADDRNOTAVAIL):
                        raise
                else:
                    listeners.append(found)
        if not listeners:
            raise OSError(EADDRNOTAVAIL, "there is no address to listen on")
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listen_too(listeners: list[Socket], backlog: int) -> list[Socket]:
    """Sockets that listen beside `listeners`, on the same addresses and ports."""
    return [listening(each.sock.family, each.getsockname(), backlog, True) for each in listeners]


def addresses_of(host: str | None, port: int, verb: str) -> Found:
    """The addresses of `host` to listen on. It blocks if `host` is a name."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{verb}() needs a port from 0 to 65535, got {port}")
    check_name(host or "")
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    try:
        found: Found = network().getaddrinfo(host or None, port, type=kind, flags=flags)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"no address for {host}: {error.strerror}") from None
    return found


def listening(
    family: int, address: Address, backlog: int, reuse_port: bool, more_follow: bool = False
) -> Socket:
    """A socket that listens at `address`.

    If more follow, the port is shared from now on, but must have been free before.
    """
    sock = network().socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if more_follow and family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {shown(address)}: {error.strerror}") from None
    return Socket(sock)


def listen_at(path: str, backlog: int) -> Socket:
    """A socket that listens at `path`, in place of one that nobody listens on any more."""
    if not path.startswith("\0") and os.path.exists(path):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(EADDRINUSE, f"cannot listen on {path}: that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # a full backlog is somebody's as well
            if probe.connect_ex(path) != ECONNREFUSED:
                raise OSError(EADDRINUSE, f"cannot listen on {path}: somebody does")
        os.unlink(path)
    return listening(socket.AF_UNIX, path, backlog, False)
