"""A server: its listeners, and the tasks of its clients, in one process.

It goes on whatever its handlers do: a failure is reported as that of any task that
nobody joins, and ends its connection. Only that a client went away is no failure of
the handler, which is where it surfaces: that is told at the level of INFO.

When a server is cancelled, it stops in steps:

    nobody new     the listeners are closed, and `stopping` is set
    handshakes     those that are not done in two seconds are cancelled: nothing was asked
    grace          handlers have so many seconds to finish what they do
    cancelled      those that have not are cancelled, and clean up
    named          those that go on even so are named in the log
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EHOSTUNREACH, ENETUNREACH, ENOTCONN, ETIMEDOUT
from types import coroutine
from typing import TYPE_CHECKING, Any, cast

from microthreads.errors import IncompleteReadError, printable, text_of
from microthreads.groups import TaskGroup
from microthreads.kernel import (
    Failure,
    Join,
    Place,
    Routine,
    SystemCall,
    Task,
    Waiter,
    check_routine,
    current_task,
    now,
)
from microthreads.kernel.routines import is_routine, name_of
from microthreads.net.accepting import accept_each, begin
from microthreads.net.endings import ServedStream, closed_socket, taken_over
from microthreads.net.sockets import Address, Socket
from microthreads.net.streams import Stream
from microthreads.net.systemd import keep_watchdog, watchdog_period
from microthreads.spelling import any_spelling
from microthreads.sync import Event, Semaphore
from microthreads.timeouts import move_on_after, shield

if TYPE_CHECKING:
    import ssl as tls

logger = logging.getLogger("microthreads")

Handler = Callable[[Stream], Routine[Any]]
Ready = Callable[[list[Address]], Any]

LAST_SECONDS = 5.0  # for the clean-up of handlers that were cancelled
HANDSHAKE = 30.0  # seconds; and so many without a byte, or when the server stops:
SILENCE, LAST_HANDSHAKE = 5.0, 2.0
LOST = frozenset({ENOTCONN, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH})  # how else a peer is gone


@dataclass(frozen=True, slots=True)
class Workers:
    """In how many processes clients are served, and how these are looked after.

    ``serve(handler, host, port, workers=Workers(4, max_age=3600))``; a plain number stands
    for one with these defaults.

    Attributes:
        number: How many there are; at least 1, which is a process of its own.
        heartbeat: How long, in seconds, a worker may be stuck in one step of a task, or be
            stopped, until it is killed and another one begins. Before that, others serve the
            clients that wait for it. `math.inf`: for ever.
        max_clients: How many clients a worker serves in its life; then another one takes its
            place, and it finishes. None: as many as come.
        max_age: How long, in seconds, a worker lives, likewise. Both limits are up to a tenth
            lower for some workers, so that not all are replaced at once.
        exec_at_hup: At SIGHUP, begin the whole program again, from its file, in place of
            replacing the workers as they are: with new code, configuration and certificates.
            The process keeps its number and its listening sockets, and no client is refused.

    Raises:
        ValueError: A number is too small.
        TypeError: One is of another kind.
    """

    number: int
    heartbeat: float = 30.0
    max_clients: int | None = None
    max_age: float | None = None
    exec_at_hup: bool = False

    def __post_init__(self) -> None:
        check_number("Workers", "number", self.number)
        if self.max_clients is not None:
            check_number("Workers", "max_clients", self.max_clients)
        for name in ("heartbeat", "max_age"):
            seconds = getattr(self, name)
            if seconds is None and name == "max_age":
                continue
            if not isinstance(seconds, int | float):
                raise TypeError(f"Workers() needs {name} in seconds, got {seconds!r}")
            if not seconds > 0:
                raise ValueError(f"Workers() needs {name} > 0 (seconds), got {seconds}")
        if not isinstance(self.exec_at_hup, bool):
            raise TypeError(f"Workers() needs exec_at_hup as a bool, got {self.exec_at_hup!r}")


def check_number(verb: str, name: str, number: Any) -> None:
    """Refuse what cannot count something.

    Raises:
        TypeError: It is no integer.
        ValueError: It is less than 1.
    """
    if not isinstance(number, int):
        raise TypeError(f"{verb}() needs {name} as an integer, got {number!r}")
    if number < 1:
        raise ValueError(f"{verb}() needs {name} >= 1, got {number}")


@dataclass(frozen=True, slots=True)
class Terms:
    """How clients are served, wherever that is: what `serve` was told.

    Attributes:
        handler: Called with the `Stream` of each client; returns the routine.
        context: A server's context to encrypt with, or None.
        max_connections: How many clients are served at once; None: as many as come.
        grace: How long, in seconds, handlers may go on when the server stops.
        stopping: Set when the server begins to stop.
        place: Where `serve` was called.
    """

    handler: Handler
    context: tls.SSLContext | None
    max_connections: int | None
    grace: float
    stopping: Event | None
    place: Place


class Server:
    """What serves: its listeners, and the tasks of its clients."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        most = terms.max_connections
        self.permits = None if most is None else Semaphore(most)
        self.clients: set[Task[Any]] = set()
        self._shaking_hands: set[Task[Any]] = set()
        self._gone = Event()  # set when a client has gone
        self._host: Task[Any] | None = None
        self._accepting = TaskGroup()
        self._accepts: dict[Socket, Task[None]] = {}
        self._stops = False
        self._left_to_serve = math.inf  # clients, until it has served enough
        self.served_enough = Event()
        closed_socket()  # made now, while there are descriptors

    @any_spelling
    async def run(self, serving: ExitStack, listeners: list[Socket], ready: Ready | None) -> None:
        """Serve until cancelled, then stop in steps; the first is to close `serving`."""
        self._host = current_task()
        with serving:
            tell(ready, listeners)
            try:
                with alone():
                    async with self._accepting as group:
                        for listener in listeners:
                            await self.accept_from(listener)
                        if (period := watchdog_period()) is not None:
                            await group.spawn(keep_watchdog(period), name="tell the watchdog")
            finally:
                self._stops = True
                serving.close()
                await self._stop()

    @any_spelling
    async def accept_from(self, listener: Socket) -> None:
        """Serve those who come to `listener`, from now on."""
        if not self._stops and listener not in self._accepts:
            accepting = accept_each(listener, self._start, self.permits)
            task = await self._accepting.spawn(accepting, name=f"accept on {listener}")
            self._accepts[listener] = task

    def leave(self, listener: Socket) -> None:
        """Serve no more of those who come to `listener`. A plain call."""
        task = self._accepts.pop(listener, None)
        if task is not None:
            task.cancel("somebody else serves them")

    def served_enough_at(self, clients: int) -> None:
        """Set `served_enough` when so many clients have come. A plain call."""
        self._left_to_serve = clients

    def _start(self, connection: Socket) -> None:
        """Begin to serve a client. A plain call, so that no connection is lost on the way."""
        self._left_to_serve -= 1
        if self._left_to_serve <= 0:
            self.served_enough.set()
        assert self._host is not None
        stream = ServedStream(connection)
        visit = Visit(self, stream)
        task = begin(self._host, self.terms.place, lambda: self._routine_for(stream), visit)
        if task is not None:
            visit.begin(task)
            self.clients.add(task)

    def _routine_for(self, stream: Stream) -> Routine[Any]:
        if self.terms.context is not None:
            return self._encrypted(stream, self.terms.context)
        return self._handled(stream)

    def _handled(self, stream: Stream) -> Routine[Any]:
        """What the handler makes of a client, which must be a routine."""
        routine = self.terms.handler(stream)
        if not is_routine(routine):  # what the error says takes longer than the look
            check_routine(routine, f"serve() with the handler {name_of(self.terms.handler)}")
        return routine

    async def _encrypted(self, stream: Stream, context: tls.SSLContext) -> None:
        name = str(stream) if logger.isEnabledFor(logging.INFO) else ""
        task = current_task()
        self._shaking_hands.add(task)
        try:
            await stream.start_server_tls(context, HANDSHAKE, SILENCE)
        except OSError as error:
            logger.info("no TLS with %s: %s", name, printable(text_of(error)))
            return
        finally:
            self._shaking_hands.discard(task)
        await called(self._handled(stream))

    def see_off(self, task: Task[Any], stream: Stream) -> None:
        """The handler of a client has returned: now what it wrote is to arrive."""
        rest = taken_over(stream)
        visit = Visit(self, rest)
        assert self._host is not None
        finishing = begin(self._host, self.terms.place, rest.finish, visit)
        if finishing is not None:
            visit.begin(finishing)
            self.clients.add(finishing)
        self.clients.discard(task)

    def left(self, task: Task[Any] | None) -> None:
        """A client has gone."""
        if self.permits is not None:
            self.permits.release()
        if task is not None:
            self.clients.discard(task)
            self._gone.set()

    async def _stop(self) -> None:
        if self.terms.stopping is not None:
            self.terms.stopping.set()
        with shield(self.terms.grace + LAST_SECONDS + 1.0):
            began = now()
            if self._shaking_hands:
                await self._wait(min(LAST_HANDSHAKE, self.terms.grace))
                for task in list(self._shaking_hands):
                    task.cancel("the server is stopping")
            await self._wait(began + self.terms.grace - now())
            for task in list(self.clients):
                task.cancel("the server is stopping")
            await self._wait(LAST_SECONDS)
        if self.clients:
            names = ", ".join(sorted(str(task) for task in self.clients))
            logger.error("these handlers go on, cancelled %s s ago: %s", LAST_SECONDS, names)

    async def _wait(self, seconds: float) -> None:
        """Wait until all clients have gone, but no longer than this."""
        with move_on_after(max(0.0, seconds)):
            while self.clients:
                self._gone.clear()
                await self._gone.wait()


class Visit(Join[Any]):
    """A client's connection, from when it was accepted until its task has ended.

    It is the waiter of a join of that task, as a group is of its children's: so
    the server hears first how the task ended, and decides who is told.
    """

    __slots__ = ("_server", "_stream")

    def __init__(self, server: Server, stream: Stream) -> None:
        self._server = server
        self._stream = stream

    def begin(self, task: Task[Any]) -> None:
        """The task that serves the client was made."""
        super().__init__(task)
        self.waiter = cast("Waiter", self)
        self.arm(self.waiter)

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """The task has ended. What was cut short must not look like the end, over TLS."""
        self.waiter = None
        if type(value) is not Failure:
            return True
        error = value.error
        gone = has_gone(self._stream, error)
        self._stream.plain.close()
        if gone and logger.isEnabledFor(logging.INFO):
            logger.info("%s: the client went away: %s", self.target, printable(repr(error)))
        elif not gone:
            kernel: Any = self.target.kernel
            kernel.report(self.target, error)
        return True

    def close(self) -> None:
        """The task has ended, in whatever way. If all is well, the end waits for the client."""
        task, stream = getattr(self, "target", None), self._stream
        if task is None or type(task.value) is Failure or stream.closed or stream.ended:
            if not stream.closed:
                stream.close()
            self._server.left(task)
        else:
            try:
                self._server.see_off(task, stream)
            except BaseException:
                stream.close()
                self._server.left(task)
                raise


def tell(ready: Ready | None, listeners: list[Socket]) -> None:
    """Tell `ready`, if there is such a function, at which addresses clients can come."""
    if ready is not None:
        ready([listener.getsockname() for listener in listeners])


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Have a failure that is alone in its group come out as itself."""
    try:
        yield
    except BaseExceptionGroup as failures:
        if len(failures.exceptions) > 1:
            raise
        raise failures.exceptions[0] from None


def has_gone(stream: Stream, error: BaseException) -> bool:
    """Whether `error` says, and only says, that the peer of `stream` is not there any more.

    A handler can have other connections, and their failures are its own: so it counts
    only if an operation on this one has failed, or this one has ended.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(has_gone(stream, each) for each in error.exceptions)
    failed = stream.sock.descriptor.failed
    if isinstance(error, IncompleteReadError):
        return failed or stream.ended
    # OpenSSL's errors are OSErrors: at this point, all that the peer sent wrongly.
    lost = isinstance(error, ConnectionError) or (
        isinstance(error, OSError) and (error.errno in LOST or type(error).__module__ == "ssl")
    )
    return lost and failed


@coroutine
def called(routine: Routine[Any]) -> Generator[Any, Any, Any]:
    """A routine of either kind, to be awaited."""
    return (yield routine)
