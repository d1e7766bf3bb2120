"""Listening: one address, all addresses of a host, or a path."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Sequence
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, ECONNREFUSED, ENAMETOOLONG
from typing import Any

from microthreads.calls import sleep
from microthreads.net import handover
from microthreads.net.dns import Resolve, check_name, check_port, look_up
from microthreads.net.handover import handed
from microthreads.net.socketcalls import shown
from microthreads.net.sockets import Address, Socket, network
from microthreads.spelling import any_spelling

__all__ = ["listen"]

TRIES = 64  # of ports
LOOKS, LOCKED = 25, 0.02  # at a lock, and the seconds between two of them
LONGEST_PATH = 107  # bytes, on Linux; elsewhere it can be less, which binding tells


def listen(host: str | None, port: int, *, backlog: int = 1024, reuse_port: bool = False) -> Socket:
    """A TCP socket that listens. A plain call.

    Args:
        host: The address to bind; "" or None for all addresses.
        port: The port; 0 lets the operating system choose one (see `getsockname`).
        backlog: How many connections may wait to be accepted.
        reuse_port: Let several processes listen on the same port.

    Raises:
        TypeError: `port` is not an integer.
        ValueError: `port` is not from 0 to 65535, or `host` has a zero byte.
        OSError: The address is in use, or not this machine's.
    """
    check_port(port, "listen")
    check_name(host or "")
    family, _, _, _, address = look_up(host or None, port, flags=socket.AI_PASSIVE)[0]
    return listening(family, address, backlog, reuse_port)


@any_spelling
async def listen_on_all(
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
    wanted: list[tuple[bool, Any, Address]] = []
    for host in [hosts] if hosts is None or isinstance(hosts, str) else hosts:
        found = await Resolve(host or None, port, flags=socket.AI_PASSIVE)
        wanted += [(bool(host), family, address) for family, _, _, _, address in found]
    for _ in range(TRIES if port == 0 else 1):
        try:
            return at_one_port(wanted, backlog, reuse_port, more_follow)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise
            in_use = error
    raise in_use  # each port that one address had free, another one had not


def at_one_port(
    wanted: list[tuple[bool, Any, Address]], backlog: int, reuse_port: bool, more_follow: bool
) -> list[Socket]:
    """A socket for each address; if the port is 0, that which the first one gets is for all."""
    listeners: list[Socket] = []
    with contextlib.ExitStack() as stack:
        for must_be, family, (host, port, *scope) in wanted:
            chosen = listeners[0].getsockname()[1] if listeners else port
            try:
                found = listening(family, (host, chosen, *scope), backlog, reuse_port, more_follow)
            except OSError as error:
                if must_be or error.errno not in (EAFNOSUPPORT, EADDRNOTAVAIL):
                    raise
            else:
                listeners.append(stack.enter_context(found))
        if not listeners:
            raise OSError(EADDRNOTAVAIL, "there is no address to listen on")
        stack.pop_all()
    return listeners


def listen_too(listeners: list[Socket], backlog: int) -> list[Socket]:
    """Sockets that listen beside `listeners`, on the same addresses and ports."""
    return [listening(each.sock.family, each.getsockname(), backlog, True) for each in listeners]


def listening(
    family: int,
    address: Address,
    backlog: int,
    reuse_port: bool,
    more_follow: bool = False,
    mode: int | None = None,
) -> Socket:
    """A socket that listens at `address`; at a path, with these permissions.

    If more follow, the port is shared from now on, but must have been free before.
    """
    found = handed.listener(family, address)
    if found is not None:
        return noted(Socket(found))
    sock = network().socket(family, socket.SOCK_STREAM)
    try:
        set_options(sock, family, reuse_port)
        if mode is not None:
            os.fchmod(sock.fileno(), mode)  # so nobody finds it with others, on Linux
        sock.bind(address)
        if mode is not None:
            os.chmod(address, mode)  # what the umask took away, too
        if more_follow and family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        why = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {shown(address)}: {why}") from None
    return noted(Socket(sock))


def noted(listener: Socket) -> Socket:
    """`listener`, which goes over to the program when that begins anew."""
    handover.listening.add(listener)
    return listener


def set_options(sock: Any, family: int, reuse_port: bool) -> None:
    """What is set before a socket is bound."""
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


@any_spelling
async def listen_at(path: str, backlog: int, mode: int | None) -> Socket:
    """A socket that listens at `path`, in place of one that nobody listens on any more."""
    check_path(path)
    if path.startswith("\0"):
        return listening(socket.AF_UNIX, path, backlog, False)
    with await alone_at(path):
        found = handed.listener(socket.AF_UNIX, path)
        if found is not None:
            if mode is not None:
                os.chmod(path, mode)
            return noted(Socket(found))
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(EADDRINUSE, f"cannot listen on {shown(path)}: that is no socket")
            if is_listened_on(path):
                raise OSError(EADDRINUSE, f"cannot listen on {shown(path)}: somebody does")
            os.unlink(path)
        return listening(socket.AF_UNIX, path, backlog, False, mode=mode)


def check_path(path: str) -> None:
    """Refuse a path that no Unix socket can have.

    Raises:
        OSError: It is too long.
        ValueError: It is empty, or has a zero byte in it.
    """
    name = os.fsencode(path)
    is_abstract = name.startswith(b"\0")
    if not name or (b"\0" in name and not is_abstract):
        raise ValueError(f"a Unix socket cannot have the path {path!r}")
    longest = LONGEST_PATH + is_abstract
    if len(name) > longest:
        text = f"the path of a Unix socket may have {longest} bytes, too long is {shown(path)}"
        raise OSError(ENAMETOOLONG, text)


def is_listened_on(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a full backlog is somebody's as well
        return probe.connect_ex(path) != ECONNREFUSED


@any_spelling
async def alone_at(path: str) -> contextlib.ExitStack:
    """Wait for the lock of those who look whether somebody listens at `path`, and replace it.

    Of two servers that start at once, both would find that nobody listens. The lock is that
    of the folder: it leaves nothing behind, and ends with the process that has it.
    """
    from fcntl import LOCK_EX, LOCK_NB, flock  # noqa: PLC0415  (Unix has it)

    with contextlib.ExitStack() as stack:
        try:
            folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        except OSError:
            return stack.pop_all()  # it may not be read, or is not there, which binding tells
        stack.callback(os.close, folder)
        for _ in range(LOOKS):
            with contextlib.suppress(BlockingIOError):
                flock(folder, LOCK_EX | LOCK_NB)
                return stack.pop_all()
            await sleep(LOCKED)  # somebody has it, for as long as listening takes
    raise OSError(EADDRINUSE, f"cannot listen on {shown(path)}: somebody else is about to")
