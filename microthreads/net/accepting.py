"""Accepting connections, for ever and whatever happens.

What a server must survive: a client that is gone before it was accepted, and
running out of descriptors. The second is an episode: accepting pauses, one
line is logged, and it goes on when descriptors are free again. The episode is
over when there were enough for two pauses; a server that is just full, where one
connection ends and the next comes, logs once.

Many are accepted in one turn: one a turn would have newcomers wait for a round of all
handlers each. With 200 busy ones of 200 us, the last of 200 newcomers had its first
answer after 3 s, and has it after 0.1 s.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from errno import (
    EHOSTDOWN,
    EHOSTUNREACH,
    EMFILE,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOPROTOOPT,
    EPROTO,
    ETIMEDOUT,
)
from typing import Any

from microthreads.calls import sleep
from microthreads.kernel import (
    Place,
    Routine,
    Task,
    check_routine,
    current_task,
    now,
    place_of_caller,
)
from microthreads.kernel.routines import is_routine, name_of
from microthreads.net.socketcalls import AcceptMany
from microthreads.net.sockets import Socket
from microthreads.runtime.reports import log_failure
from microthreads.select import select
from microthreads.spelling import awaitable_too
from microthreads.sync import Semaphore

logger = logging.getLogger("microthreads")

AT_ONCE = 64  # how many are accepted in one turn

EXHAUSTED = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
# What has gone wrong with one connection, by the manual's accept(2).
PASSING = frozenset(
    {EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EPROTO, ETIMEDOUT}
)
PAUSE = 0.1  # seconds between two looks whether descriptors are free again
EPISODE = 2 * PAUSE  # without want of descriptors, after which it is over


@awaitable_too
def accept_loop(
    listener: Socket, handler: Callable[[Socket], Routine[Any]]
) -> Generator[Any, Any, None]:
    """Accept connections until cancelled, and run each in a task of its own.

    A connection is closed when its task ends, in whatever way.

    Args:
        listener: A listening socket, as `listen` returns.
        handler: Called with the `Socket` of each connection; returns the
            routine that serves it. If the call itself raises, that is logged,
            and the connection closed.

    Raises:
        TypeError: `handler` returned something else than a routine.
        ClosedError: The listener was closed.
        OSError: Accepting failed for a reason that will not pass.
    """
    yield from accept_each(listener, _starter(handler))


def accept_each(
    listener: Socket, start: Callable[[Socket], object], permits: Semaphore | None = None
) -> Generator[Any, Any, None]:
    """Accept for ever, and call `start` with each connection; with permits, one for each."""
    quiet_until = -math.inf  # the end of the episode
    while True:
        try:
            if permits is None:
                connections = yield AcceptMany(listener, AT_ONCE)
            else:
                connections = yield from accept_permitted(listener, permits)
        except ConnectionError:
            pass  # the client was gone before it was accepted
        except OSError as error:
            if error.errno in PASSING:
                continue
            if error.errno not in EXHAUSTED:
                raise
            if now() >= quiet_until:
                logger.warning("%s: %s; accepting pauses", listener, error.strerror)
            quiet_until = now() + EPISODE
            yield sleep(PAUSE)
        else:
            start_all(connections, start)
            del connections  # the loop must not keep the last one alive


def start_all(connections: list[Socket], start: Callable[[Socket], object]) -> None:
    """Call `start` with each; if that fails, close those that it was not called with."""
    try:
        while connections:
            start(connections.pop(0))
    finally:
        for connection in connections:
            connection.close()


def accept_permitted(listener: Socket, permits: Semaphore) -> Generator[Any, Any, list[Socket]]:
    """Accept those who wait to be, up to the number of permits, which go with them.

    A permit is asked for only when somebody waits: several listeners share them, and
    one where nobody comes must not hold any.
    """
    while True:
        yield listener.readable()
        yield permits.acquire()
        more = min(permits.free, AT_ONCE - 1)
        permits.free -= more
        unused = 1 + more
        try:
            index, accepted = yield select(AcceptMany(listener, unused), sleep(0))
            if index == 0:
                connections: list[Socket] = accepted
                unused -= len(connections)
                return connections
        finally:
            if unused:  # fewer came; or nobody, since another process was faster
                permits.release(unused)


def _starter(handler: Callable[[Socket], Routine[Any]]) -> Callable[[Socket], object]:
    host, place = current_task(), place_of_caller()
    verb = f"accept_loop() with the handler {name_of(handler)}"
    return lambda client: begin(host, place, lambda: handler(client), client, verb)


def begin(
    host: Task[Any],
    place: Place,
    routine_of: Callable[[], Routine[Any]],
    closing: Any,
    verb: str = "serve",
) -> Task[Any] | None:
    """Start a task for a connection, and make `closing` what is closed with it.

    A plain call: between the accept and the task that closes the connection
    there must be no cancel point. None if there is no routine to start; that is
    logged, and `closing` is closed. What serves the clients of a daemon is a daemon.
    """
    try:
        routine = routine_of()
    except Exception as error:
        closing.close()
        log_failure(error, "the handler of a connection failed before it began")
        return None
    if not is_routine(routine):
        closing.close()
        check_routine(routine, verb)
    task = host.kernel.start(routine, None, host.daemon, host, place)
    task.closing = closing
    return task
