"""Serving: a stream and a task for each client, on all addresses of a host.

A server goes on whatever its handlers do: a failure is reported as that of any task
that nobody joins, and ends its connection. When it is cancelled, it stops in steps:

    nobody new     the listeners are closed
    grace          handlers have so many seconds to finish what they do
    cancelled      those that have not are cancelled, and clean up
    named          those that go on even so are named in the log

`max_connections` pauses accepting; clients that come meanwhile wait in the
listener's backlog and are not refused.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from types import coroutine
from typing import TYPE_CHECKING, Any

from microthreads.calls import check_seconds
from microthreads.groups import TaskGroup
from microthreads.kernel import (
    AwaitableGenerator,
    Place,
    Routine,
    Task,
    any_spelling,
    check_routine,
    current_task,
    place_of_caller,
)
from microthreads.net.listeners import listen_at, listen_on_all
from microthreads.net.servers import accept_each, begin
from microthreads.net.sockets import Address, Socket
from microthreads.net.streams import Stream
from microthreads.sync import Event, Semaphore
from microthreads.timeouts import move_on_after, shield

if TYPE_CHECKING:
    import ssl as tls

__all__ = ["serve", "serve_unix"]

logger = logging.getLogger("microthreads")

Handler = Callable[[Stream], Routine[Any]]
Ready = Callable[[list[Address]], Any]

LAST_SECONDS = 5.0  # for the clean-up of handlers that were cancelled
HANDSHAKE = 30.0  # seconds


def serve(
    handler: Handler,
    host: str | Sequence[str] | None,
    port: int,
    *,
    ssl: tls.SSLContext | None = None,
    max_connections: int | None = None,
    grace: float = 10.0,
    backlog: int = 1024,
    reuse_port: bool = False,
    ready: Ready | None = None,
) -> AwaitableGenerator[None]:
    """A routine that serves TCP clients until it is cancelled.

    Args:
        handler: Called with the `Stream` of each client; returns the routine that
            serves it, in a task of its own. The stream is closed when that ends.
        host: An address or a name, or several; "" or None for all addresses.
        port: The port, on all of them; 0 lets the operating system choose one.
        ssl: A server's context to encrypt with.
        max_connections: How many clients are served at once; others wait.
        grace: How long, in seconds, handlers may go on when the server is cancelled.
        backlog: How many clients may wait to be accepted.
        reuse_port: Let several processes serve the same port.
        ready: Called with the addresses when the server listens.

    Raises:
        OSError: At the yield: an address is in use, or not this machine's.
        ValueError: `port` is not from 0 to 65535, or a number is negative.
    """
    server = Server(handler, ssl, max_connections, grace, place_of_caller())
    return server.run(lambda: listen_on_all(host, port, backlog, reuse_port), ready)


def serve_unix(
    handler: Handler,
    path: str,
    *,
    ssl: tls.SSLContext | None = None,
    max_connections: int | None = None,
    grace: float = 10.0,
    backlog: int = 1024,
    ready: Ready | None = None,
) -> AwaitableGenerator[None]:
    """A routine that serves clients of a Unix socket until it is cancelled.

    A socket that a server before left at `path` is replaced, and the one that is
    made is removed at the end.

    Args:
        path: Where to make the socket, or an abstract name that begins with a zero byte.
        handler, ssl, max_connections, grace, backlog, ready: As for `serve`.

    Raises:
        OSError: At the yield: something else is at `path`, or somebody listens there.
    """
    server = Server(handler, ssl, max_connections, grace, place_of_caller())
    return server.run(lambda: [listen_at(path, backlog)], ready, path)


class Server:
    """What serves: its listeners, and the tasks of its clients."""

    def __init__(
        self,
        handler: Handler,
        context: tls.SSLContext | None,
        max_connections: int | None,
        grace: float,
        place: Place,
    ) -> None:
        if max_connections is not None and max_connections < 1:
            raise ValueError(f"serve() needs max_connections >= 1, got {max_connections}")
        self._handler = handler
        self._context = context
        self._grace = check_seconds(grace, "serve")
        self._place = place
        self.permits = None if max_connections is None else Semaphore(max_connections)
        self.clients: set[Task[Any]] = set()
        self._gone = Event()  # set when a client has gone
        self._host: Task[Any] | None = None

    @any_spelling
    async def run(
        self, listen: Callable[[], list[Socket]], ready: Ready | None, path: str | None = None
    ) -> None:
        """Serve until cancelled, then stop in steps; remove the socket at `path`."""
        self._host = current_task()
        with ExitStack() as stack:
            listeners = [stack.enter_context(listener) for listener in listen()]
            if path is not None and not path.startswith("\0"):
                stack.callback(remove, path, os.stat(path))
            if ready is not None:
                ready([listener.getsockname() for listener in listeners])
            try:
                async with TaskGroup() as group:
                    for listener in listeners:
                        accepting = accept_each(listener, self._start, self.permits)
                        await group.spawn(accepting, name=f"accept on {listener}")
            except BaseExceptionGroup as failures:
                if len(failures.exceptions) > 1:
                    raise
                raise failures.exceptions[0] from None
            finally:
                stack.close()
                await self._stop()

    def _start(self, connection: Socket) -> None:
        """Begin to serve a client. A plain call, so that no connection is lost on the way."""
        assert self._host is not None
        stream = Stream(connection)
        visit = Visit(self, stream)
        task = begin(self._host, self._place, lambda: self._routine_for(stream), visit)
        if task is not None:
            visit.task = task
            self.clients.add(task)

    def _routine_for(self, stream: Stream) -> Routine[Any]:
        if self._context is not None:
            return self._encrypted(stream)
        routine = self._handler(stream)
        check_routine(routine, "serve")
        return routine

    async def _encrypted(self, stream: Stream) -> None:
        assert self._context is not None
        try:
            await stream.start_tls(self._context, server_side=True, seconds=HANDSHAKE)
        except (OSError, TimeoutError) as error:
            logger.info("no TLS with %s: %s", stream, error)
            return
        await called(self._handler(stream))

    def left(self, task: Task[Any] | None) -> None:
        """A client has gone."""
        if self.permits is not None:
            self.permits.release()
        if task is not None:
            self.clients.discard(task)
            self._gone.set()

    async def _stop(self) -> None:
        with shield(self._grace + LAST_SECONDS + 1.0):
            await self._wait(self._grace)
            for task in list(self.clients):
                task.cancel("the server is stopping")
            await self._wait(LAST_SECONDS)
        if self.clients:
            names = ", ".join(sorted(str(task) for task in self.clients))
            logger.error("these handlers go on, cancelled %s s ago: %s", LAST_SECONDS, names)

    async def _wait(self, seconds: float) -> None:
        """Wait until all clients have gone, but no longer than this."""
        with move_on_after(seconds):
            while self.clients:
                self._gone.clear()
                await self._gone.wait()


class Visit:
    """A client's connection, from when it was accepted until its task has ended."""

    __slots__ = ("_server", "_stream", "task")

    def __init__(self, server: Server, stream: Stream) -> None:
        self._server = server
        self._stream = stream
        self.task: Task[Any] | None = None

    def close(self) -> None:
        """The task has ended, in whatever way."""
        self._stream.close()
        self._server.left(self.task)


@coroutine
def called(routine: Routine[Any]) -> Generator[Any, Any, Any]:
    """A routine of either kind, to be awaited."""
    return (yield routine)


def remove(path: str, made: os.stat_result) -> None:
    """Remove a socket's path, if what is there is still what was made."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(path), made):
            os.unlink(path)
