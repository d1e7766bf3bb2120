"""systemd: telling it how the service is, and taking the sockets that it opened.

Both are conventions of environment variables: `NOTIFY_SOCKET` names a Unix socket
that takes datagrams (sd_notify(3)); `LISTEN_FDS` says how many descriptors from
number 3 on are listening sockets, for the process of `LISTEN_PID` (sd_listen_fds(3)).
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import ExitStack
from weakref import WeakSet

from microthreads.calls import sleep
from microthreads.net.handover import handed
from microthreads.net.sockets import Socket
from microthreads.spelling import any_spelling

__all__ = ["activated_sockets", "sd_notify"]

logger = logging.getLogger("microthreads")

activated: WeakSet[Socket] = WeakSet()
"""The sockets that systemd has opened."""

FIRST = 3  # the number of the first descriptor that is handed over


def sd_notify(state: str) -> bool:
    """Tell systemd, or whatever has started the program like it, about its state. A plain call.

    `serve` does this by itself if it has workers. Otherwise the program says
    ``sd_notify("READY=1")`` when it listens, and ``"STOPPING=1"`` when it stops. In both
    cases `serve` says ``WATCHDOG=1`` as often as a unit's `WatchdogSec` asks for.

    Args:
        state: Assignments, one a line, as sd_notify(3) lists them.

    Returns:
        True if it was told; False if nobody asked to be, or it could not be (see the log).
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), "\0" + path[1:] if path[0] == "@" else path)
    except OSError as error:
        logger.warning("cannot tell %r to %s: %s", state, path, error)
        return False
    return True


def watchdog_period() -> float | None:
    """How often, in seconds, systemd wants to be told that the program lives; None: never.

    It asks by `WATCHDOG_USEC`, the microseconds of silence after which it takes action.
    """
    asked, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not asked.isdecimal() or not int(asked) or pid not in (None, str(os.getpid())):
        return None
    return int(asked) / 1e6 / 2  # as sd_watchdog_enabled(3) recommends


@any_spelling
async def keep_watchdog(period: float) -> None:
    """Tell systemd that the program lives, again and again; a kernel that is stuck does not."""
    while True:
        sd_notify("WATCHDOG=1")
        await sleep(period)


def activated_sockets() -> list[Socket]:
    """The listening sockets that systemd has opened for this program. A plain call.

    Give them to `serve_on`. They are handed over once: a second call finds none,
    and neither do child processes.

    Returns:
        The sockets, in the order of the unit file; none if it was started otherwise.

    Raises:
        OSError: What was handed over is not a socket.
        ValueError: `LISTEN_PID` or `LISTEN_FDS` is not a number.
    """
    sockets = handed.activated()
    activated.update(sockets)
    if sockets:
        return sockets
    pid, count = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")
    if not pid or not count or int(pid) != os.getpid():
        return []
    numbers = range(FIRST, FIRST + int(count))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    with ExitStack() as stack:
        sockets = [stack.enter_context(handed_over(number)) for number in numbers]
        stack.pop_all()  # all is well: they stay open
    activated.update(sockets)
    return sockets


def handed_over(number: int) -> Socket:
    """The socket that has this descriptor number, which child processes do not get."""
    os.set_inheritable(number, False)
    return Socket(socket.socket(fileno=number))
