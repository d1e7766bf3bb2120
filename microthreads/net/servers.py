"""Accepting connections, for ever and whatever happens.

What a server must survive: a client that is gone before it was accepted, and
running out of descriptors. The second is an episode: accepting pauses, one
line is logged, and it goes on when descriptors are free again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from types import coroutine
from typing import Any

from microthreads.calls import sleep, spawn
from microthreads.kernel import Routine
from microthreads.net.sockets import Socket

logger = logging.getLogger("microthreads")

EXHAUSTED = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
PAUSE = 0.1  # seconds between two looks whether descriptors are free again


@coroutine
def accept_loop(
    listener: Socket, handler: Callable[[Socket], Routine[Any]]
) -> Generator[Any, Any, None]:
    """Accept connections until cancelled, and run each in a task of its own.

    Args:
        listener: A listening socket, as `listen` returns.
        handler: Called with the `Socket` of each connection; returns the
            routine that serves it, and closes it: ``with connection: ...``.

    Raises:
        ClosedError: The listener was closed.
        OSError: Accepting failed for a reason that will not pass.
    """
    exhausted = False
    while True:
        try:
            connection, _ = yield listener.accept()
        except ConnectionError:
            continue  # the client was gone before it was accepted
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            if not exhausted:
                logger.warning("%s: %s; accepting pauses", listener, error.strerror)
            exhausted = True
            yield sleep(PAUSE)
            continue
        exhausted = False
        yield spawn(handler(connection))
        del connection  # it is the handler's: nobody else keeps it open
