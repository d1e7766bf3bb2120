"""Beginning the program again, in place, without refusing a client.

At SIGHUP, if `Workers` says so, the process that looks after the workers runs the whole
program anew: with new code, configuration and certificates. It keeps its number, so
whoever started it notices nothing.

    trial     another process runs the program up to where workers would serve. If it does
              not come that far, nothing else happens, and the log says so. It serves nobody
    exec      this process becomes the program anew. The old workers, its children, go on
    sockets   where the program listens at the same address, it gets the same socket
    farewell  when the new workers accept, the old ones finish

What goes over stands in the environment, and is taken out of it by the first who looks.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NamedTuple, NoReturn

from microthreads.net.sockets import Address, Socket

LISTENERS = "MICROTHREADS_LISTENERS"
ACTIVATED = "MICROTHREADS_ACTIVATED"
FORMER = "MICROTHREADS_FORMER"
TRIAL = "MICROTHREADS_TRIAL"


def folder() -> str:
    """Where the program was begun, if there is such a folder."""
    try:
        return os.getcwd()
    except OSError:
        return "/"


FOLDER = folder()  # as the path of the program's file may be relative to it


class Former(NamedTuple):
    """A worker of the program before, which is to finish.

    Attributes:
        pid: Its process id.
        link: The descriptor of this end of its link.
    """

    pid: int
    link: int


class Handed:
    """What the program before has handed over, until somebody takes it."""

    def __init__(self) -> None:
        self.is_trial = os.environ.pop(TRIAL, None) is not None
        self._listeners = sockets(taken(LISTENERS))
        self._activated = sockets(taken(ACTIVATED))
        numbers = taken(FORMER)
        self._former = [Former(*each) for each in zip(numbers[::2], numbers[1::2], strict=True)]
        for each in self._former:
            os.set_inheritable(each.link, False)

    def listener(self, family: int, address: Address) -> socket.socket | None:
        """The socket that listens at `address`, if there is one; port 0 means any port."""
        for sock in self._listeners:
            if sock.family == family and is_same(sock.getsockname(), address):
                self._listeners.remove(sock)
                sock.setblocking(False)
                return sock
        return None

    def activated(self) -> list[Socket]:
        """The sockets that systemd had opened for the program before."""
        found, self._activated = self._activated, []
        return [Socket(sock) for sock in found]

    def former(self) -> list[Former]:
        """The workers that are to finish, once."""
        found, self._former = self._former, []
        return found

    def close_rest(self) -> None:
        """Close the sockets that nobody has taken. A plain call."""
        for sock in (*self._listeners, *self._activated):
            sock.close()
        self._listeners, self._activated = [], []

    def end_trial(self) -> None:
        """The program has come to where it would serve: that was all, if it was a trial."""
        if self.is_trial:
            os._exit(0)


def taken(name: str) -> list[int]:
    """The numbers in this variable, which is taken out of the environment."""
    return [int(text) for text in os.environ.pop(name, "").split(",") if text]


def sockets(numbers: list[int]) -> list[socket.socket]:
    """The sockets that have these descriptor numbers, which child processes do not get."""
    for number in numbers:
        os.set_inheritable(number, False)
    return [socket.socket(fileno=number) for number in numbers]


def is_same(address: Address, wanted: Address) -> bool:
    """Whether a socket at `address` is what `wanted` asks for."""
    if isinstance(wanted, tuple) and isinstance(address, tuple):
        return address[0] == wanted[0] and wanted[1] in (0, address[1])
    return bool(address == wanted)


handed = Handed()


class Luggage(NamedTuple):
    """What goes over to the program anew: the numbers of descriptors, and of processes."""

    listeners: list[int]
    activated: list[int]
    former: list[Former]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment that says so."""
        former = [number for each in self.former for number in each]
        lists = {LISTENERS: self.listeners, ACTIVATED: self.activated, FORMER: former}
        texts = {name: ",".join(map(str, numbers)) for name, numbers in lists.items()}
        return {**os.environ, **texts, **more}


def command() -> list[str]:
    """The command line that this program was begun by."""
    return [sys.executable, *sys.orig_argv[1:]]


def tried(luggage: Luggage) -> Any:
    """A process that runs the program up to where it would serve: a `subprocess.Popen`."""
    from subprocess import DEVNULL, Popen  # noqa: PLC0415  (few need it)

    environment = luggage._replace(former=[]).environment(**{TRIAL: "1"})
    descriptors = [*luggage.listeners, *luggage.activated]
    return Popen(  # noqa: S603
        command(), env=environment, pass_fds=descriptors, stdout=DEVNULL, cwd=FOLDER
    )


def begin_anew(luggage: Luggage) -> NoReturn:
    """Become the program anew.

    Raises:
        OSError: That cannot be; all is as before.
    """
    numbers = [*luggage.listeners, *luggage.activated, *(each.link for each in luggage.former)]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it looks for the next one
    try:
        for number in numbers:
            os.set_inheritable(number, True)
        os.chdir(FOLDER)
        os.execve(sys.executable, command(), luggage.environment())  # noqa: S606
    finally:
        for number in numbers:
            os.set_inheritable(number, False)
        signal.signal(signal.SIGHUP, before)
