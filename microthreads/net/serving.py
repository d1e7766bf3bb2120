"""Serving: a stream and a task for each client, on all addresses of a host.

`max_connections` pauses accepting; clients that come meanwhile wait in the
listener's backlog and are not refused.

Read next: server.py for one process, workers.py for several.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from microthreads.calls import check_seconds, sleep
from microthreads.kernel import Place, place_of_caller
from microthreads.net.dns import check_port
from microthreads.net.handover import handed
from microthreads.net.listeners import listen_at, listen_on_all, listen_too
from microthreads.net.server import Handler, Ready, Server, Terms, Workers, check_number, tell
from microthreads.net.sockets import Socket
from microthreads.spelling import AwaitableGenerator, any_spelling
from microthreads.sync import Event

if TYPE_CHECKING:
    import ssl as tls

__all__ = ["serve", "serve_on", "serve_unix"]


def serve(
    handler: Handler,
    host: str | Sequence[str] | None,
    port: int,
    *,
    ssl: tls.SSLContext | None = None,
    workers: int | Workers = 1,
    max_connections: int | None = None,
    grace: float = 10.0,
    backlog: int = 1024,
    reuse_port: bool = False,
    ready: Ready | None = None,
    stopping: Event | None = None,
) -> AwaitableGenerator[None]:
    """A routine that serves TCP clients until it is cancelled.

    With several workers, clients are served in as many processes, which this one
    starts, looks after, and starts again when they die. Then it also takes the
    signals: SIGTERM has all of them finish, and ends the routine; SIGHUP replaces
    one after the other, each when the one before has finished, and no client is refused
    or dropped by that. Workers that go on 10 seconds after their grace are killed. See
    `Workers` for those that are stuck, for how long they live, and for new code at SIGHUP.

    Args:
        handler: Called with the `Stream` of each client; returns the routine that
            serves it, in a task of its own. The stream is closed when that ends.
        host: An address or a name, or several; "" or None for all addresses.
        port: The port, on all of them; 0 lets the operating system choose one.
        ssl: A server's context to encrypt with.
        workers: In how many processes; 1: in this one. Or `Workers`, with more to choose.
        max_connections: How many clients are served at once, by each worker; others wait.
        grace: How long, in seconds, handlers may go on when the server is cancelled.
        backlog: How many clients may wait to be accepted.
        reuse_port: Let several processes serve the same port.
        ready: Called with the addresses when the server listens.
        stopping: Set when the server begins to stop, for handlers that would like
            to know. (Each worker has a copy of its own.)

    Raises:
        OSError: At the yield: an address is in use, or not this machine's.
        ValueError: `port` is not from 0 to 65535, or a number is negative; `workers` is 0;
            `ssl` is a client's context, or has no certificate.
        TypeError: `ssl` is no context, `handler` cannot be called, or `port` is not an integer.
        RuntimeError: At the yield: this system cannot have workers (Linux can), or this
            is not the main thread.
    """
    place = place_of_caller()
    terms = terms_of("serve", handler, ssl, workers, max_connections, grace, stopping, place)
    check_port(port, "serve")

    async def sockets(serving: contextlib.ExitStack) -> list[list[Socket]]:
        number = how_many(workers)
        found = await listen_on_all(host, port, backlog, reuse_port, number > 1)
        first = entered(serving, found)
        others = range(number - 1)
        return [first, *(entered(serving, listen_too(first, backlog)) for _ in others)]

    return _serve(terms, workers, sockets, ready)


def serve_unix(
    handler: Handler,
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    mode: int | None = None,
    ssl: tls.SSLContext | None = None,
    workers: int | Workers = 1,
    max_connections: int | None = None,
    grace: float = 10.0,
    backlog: int = 1024,
    ready: Ready | None = None,
    stopping: Event | None = None,
) -> AwaitableGenerator[None]:
    """A routine that serves clients of a Unix socket until it is cancelled.

    A socket that a server before left at `path` is replaced, and the one that is
    made is removed at the end.

    Args:
        path: Where to make the socket, or an abstract name that begins with a zero byte.
        mode: The permissions of the socket, such as ``0o660``, by which the system decides who
            can connect; None: what the process's umask leaves.
        handler, ssl, workers, max_connections, grace, backlog, ready, stopping: As for `serve`.

    Raises:
        OSError: At the yield: something else is at `path`, or somebody listens there, or it
            is too long.
        ValueError: `path` is empty, or `mode` none.
    """
    place = place_of_caller()
    terms = terms_of("serve_unix", handler, ssl, workers, max_connections, grace, stopping, place)
    name = os.fsdecode(path)
    if not name:
        raise ValueError("serve_unix() needs a path for its socket, got an empty one")
    if mode is not None and not 0 <= mode <= 0o777:
        raise ValueError(f"serve_unix() needs a mode from 0 to 0o777, got {mode:#o}")

    async def sockets(serving: contextlib.ExitStack) -> list[list[Socket]]:
        listeners = entered(serving, [await listen_at(name, backlog, mode)])
        if not name.startswith("\0"):
            serving.callback(remove, os.path.abspath(name), os.stat(name))
        return [listeners] * how_many(workers)

    return _serve(terms, workers, sockets, ready)


def serve_on(
    handler: Handler,
    listeners: Sequence[Socket],
    *,
    ssl: tls.SSLContext | None = None,
    workers: int | Workers = 1,
    max_connections: int | None = None,
    grace: float = 10.0,
    ready: Ready | None = None,
    stopping: Event | None = None,
) -> AwaitableGenerator[None]:
    """A routine that serves the clients of sockets that listen already, until cancelled.

    Args:
        listeners: The sockets, as `listen` or `activated_sockets` return them. They
            belong to the routine from now on, and are closed by it.
        handler, ssl, workers, max_connections, grace, ready, stopping: As for `serve`.

    Raises:
        ValueError: There are none.
        TypeError: They are no Sockets, or one in place of a sequence.
    """
    place = place_of_caller()
    terms = terms_of("serve_on", handler, ssl, workers, max_connections, grace, stopping, place)
    if isinstance(listeners, Socket):
        raise TypeError("serve_on() needs a list of listening sockets: write [listener]")
    if not all(isinstance(each, Socket) for each in listeners):
        raise TypeError(f"serve_on() needs a list of listening Sockets, got {listeners!r}")
    if not listeners:
        raise ValueError("serve_on() needs at least one listening socket")

    async def sockets(serving: contextlib.ExitStack) -> list[list[Socket]]:
        return [entered(serving, list(listeners))] * how_many(workers)

    return _serve(terms, workers, sockets, ready)


def terms_of(
    verb: str,
    handler: Handler,
    context: tls.SSLContext | None,
    workers: int | Workers,
    max_connections: int | None,
    grace: float,
    stopping: Event | None,
    place: Place,
) -> Terms:
    """The terms, if they are such, and there can be so many workers."""
    if not callable(handler):
        raise TypeError(
            f"{verb}() needs a handler that is called with each client's Stream, got {handler!r}"
        )
    if max_connections is not None:
        check_number(verb, "max_connections", max_connections)
    if not isinstance(workers, Workers):
        check_number(verb, "workers", workers)
    if stopping is not None and not isinstance(stopping, Event):
        raise TypeError(f"{verb}() needs a microthreads Event for stopping, got {stopping!r}")
    if context is not None:
        from microthreads.net.tls import check_server  # noqa: PLC0415  (ssl takes long to import)

        check_server(context, verb)
    return Terms(handler, context, max_connections, check_seconds(grace, verb), stopping, place)


@any_spelling
async def _serve(
    terms: Terms,
    workers: int | Workers,
    sockets: Callable[[contextlib.ExitStack], Awaitable[list[list[Socket]]]],
    ready: Ready | None,
) -> None:
    """Serve in this process, or in so many others; `sockets` gives each its listeners."""
    with contextlib.ExitStack() as serving:
        listeners = await sockets(serving)
        if workers == 1 and handed.is_trial:
            tell(ready, listeners[0])
            await sleep(math.inf)  # the sockets may be those of the old program, which serves
        elif workers == 1:
            await Server(terms).run(serving, listeners[0], ready)
        else:
            from microthreads.net.workers import Foreman  # noqa: PLC0415  (few need it)

            policy = workers if isinstance(workers, Workers) else Workers(workers)
            await Foreman(terms, policy, listeners).run(serving, ready)


def how_many(workers: int | Workers) -> int:
    """The number of workers."""
    return workers.number if isinstance(workers, Workers) else workers


def entered(stack: contextlib.ExitStack, listeners: list[Socket]) -> list[Socket]:
    """`listeners`, which are closed with `stack`."""
    return [stack.enter_context(listener) for listener in listeners]


def remove(path: str, made: os.stat_result) -> None:
    """Remove a socket's path, if what is there is still what was made."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(path), made):
            os.unlink(path)
