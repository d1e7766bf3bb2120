"""Beginning the program again, in place, without refusing a client.

At SIGHUP, if `Workers` says so, the process that looks after the workers runs the whole
program anew: with new code, configuration and certificates. It keeps its number, so
whoever started it notices nothing.

    trial     another process runs the program up to where workers would serve. If it does
              not come that far, nothing else happens, and the log says so. It serves nobody
    exec      this process becomes the program anew. The old workers, its children, go on
    sockets   where the program listens at the same address, it gets the same socket
    farewell  when the new workers accept, the old ones of the same server finish

A program can have several servers, and begin one much later than another. So what goes over is
told apart by servers. It stands in the environment, and is taken out of it by the first who looks.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from threading import Thread
from typing import Any, NamedTuple, NoReturn
from weakref import WeakSet

from microthreads.net.sockets import Address, Socket

VARIABLE = "MICROTHREADS_HANDED"
PASSED = 86  # the exit code of a trial: one that ends by itself has another, 0 among them


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


class Before(NamedTuple):
    """A server of the program before.

    Attributes:
        listeners: The descriptors of its sockets.
        workers: Who serves there.
    """

    listeners: list[int]
    workers: list[Former]


class Handed:
    """What the program before has handed over, until somebody takes it.

    Attributes:
        is_trial: Whether this process only tries how far the program comes.
        opened: The descriptors of the sockets that systemd had opened.
        servers: Those that this program has not begun.
    """

    def __init__(self) -> None:
        self.is_trial, self.opened, self.servers = unpacked(os.environ.pop(VARIABLE, ""))
        numbers = {
            *self.opened,
            *(each for server in self.servers for each in server.listeners),
        }
        self._sockets = {number: socket.socket(fileno=number) for number in sorted(numbers)}
        links = [each.link for server in self.servers for each in server.workers]
        for number in (*numbers, *links):
            os.set_inheritable(number, False)
        if self.is_trial:
            Thread(target=end_with, args=(os.getppid(),), daemon=True).start()

    def listener(self, family: int, address: Address) -> socket.socket | None:
        """The socket that listens at `address`, if there is one; port 0 means any port."""
        for number, sock in self._sockets.items():
            is_free = number not in self.opened and sock.family == family
            if is_free and is_same(sock.getsockname(), address):
                sock.setblocking(False)
                return self._sockets.pop(number)
        return None

    def activated(self) -> list[Socket]:
        """The sockets that systemd had opened for the program before."""
        found, self.opened = self.opened, []
        return [Socket(self._sockets.pop(number)) for number in found]

    def servers_at(self, listeners: set[int]) -> list[Before]:
        """The servers, once, that have had one of these sockets."""
        found = [each for each in self.servers if listeners & set(each.listeners)]
        self.servers = [each for each in self.servers if each not in found]
        return found

    def rest(self) -> list[Before]:
        """The servers that this program does not have, once."""
        found, self.servers = self.servers, []
        return found

    def close(self, server: Before) -> None:
        """Close the sockets of `server` that nobody has taken. A plain call."""
        for number in self._sockets.keys() & server.listeners:
            self._sockets.pop(number).close()
        self.opened = [each for each in self.opened if each in self._sockets]

    def close_all(self) -> None:
        """Close all that nobody has taken, in a worker. A plain call."""
        for sock in self._sockets.values():
            sock.close()
        for worker in (each for server in self.servers for each in server.workers):
            os.close(worker.link)
        self._sockets, self.opened, self.servers = {}, [], []

    def end_trial(self) -> None:
        """The program has come to where it would serve: that was all, if it was a trial."""
        if self.is_trial:
            os._exit(PASSED)


def end_with(parent: int) -> None:
    """End this process when its parent is gone, wherever the program hangs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def unpacked(text: str) -> tuple[bool, list[int], list[Before]]:
    """Whether it is a trial, what systemd had opened, and the servers; nothing of no text."""
    if not text:
        return False, [], []
    from json import loads  # noqa: PLC0415  (few need it)

    is_trial, activated, servers = loads(text)
    return (
        is_trial,
        activated,
        [Before(listeners, [Former(*each) for each in workers]) for listeners, workers in servers],
    )


def is_same(address: Address, wanted: Address) -> bool:
    """Whether a socket at `address` is what `wanted` asks for."""
    if isinstance(wanted, tuple) and isinstance(address, tuple):
        return address[0] == wanted[0] and wanted[1] in (0, address[1])
    return path_of(address) == path_of(wanted)


def path_of(address: Address) -> bytes | None:
    """The path of a Unix socket; the system tells an abstract name in bytes."""
    return os.fsencode(address) if isinstance(address, str | bytes) else None


handed = Handed()
listening: WeakSet[Socket] = WeakSet()
"""All sockets of this program that were made to listen."""


class Luggage(NamedTuple):
    """What goes over to the program anew.

    Attributes:
        activated: The descriptors of the sockets that systemd had opened.
        servers: All servers that have workers.
    """

    activated: list[int]
    servers: list[Before]

    @property
    def listeners(self) -> list[int]:
        """The descriptors of all sockets that listen."""
        return sorted({each for server in self.servers for each in server.listeners})

    @property
    def links(self) -> list[int]:
        """The descriptors that lead to the workers."""
        return [each.link for server in self.servers for each in server.workers]

    def environment(self, is_trial: bool) -> dict[str, str]:
        """The environment that says so. In a trial, nobody is to finish."""
        from json import dumps  # noqa: PLC0415  (few need it)

        servers = [Before(each.listeners, []) if is_trial else each for each in self.servers]
        environment = {**os.environ, VARIABLE: dumps([is_trial, self.activated, servers])}
        if is_trial:
            environment.pop("NOTIFY_SOCKET", None)  # it has nothing to tell to systemd
        return environment


def command() -> list[str]:
    """The command line that this program was begun by."""
    return [sys.executable, *sys.orig_argv[1:]]


def tried(luggage: Luggage) -> Any:
    """A process that runs the program up to where it would serve: a `subprocess.Popen`."""
    from subprocess import DEVNULL, Popen  # noqa: PLC0415  (few need it)

    environment = luggage.environment(is_trial=True)
    return Popen(  # noqa: S603
        command(), env=environment, pass_fds=luggage.listeners, stdout=DEVNULL, cwd=FOLDER
    )


def begin_anew(luggage: Luggage) -> NoReturn:
    """Become the program anew.

    Raises:
        OSError: That cannot be; all is as before.
    """
    numbers = [*luggage.listeners, *luggage.links]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it looks for the next one
    try:
        for number in numbers:
            os.set_inheritable(number, True)
        os.chdir(FOLDER)
        os.execve(sys.executable, command(), luggage.environment(is_trial=False))  # noqa: S606
    finally:
        for number in numbers:
            os.set_inheritable(number, False)
        signal.signal(signal.SIGHUP, before)
