"""A conversation over HTTP/1.1: one request after the other, until either side is done.

    async def answer(http, request):
        await http.respond(200, b"hello\n", ("Content-Type", "text/plain"))

    serving(args, lambda stream: converse(stream, answer, stopping))

A connection is kept for the next request (keep-alive), which may come before the response
to the one before is out (pipelining). Bad requests are answered with what is wrong with
them; then the connection is closed. Every request makes a line in the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from examples.servers.http1 import Http
from examples.servers.limits import PATIENT, Limits
from examples.servers.messages import BadRequest, Request
from microthreads import Event, Stream

Answer = Callable[[Http, Request], Awaitable[None]]


async def converse(
    stream: Stream, answer: Answer, stopping: Event | None = None, limits: Limits = PATIENT
) -> None:
    """Answer the requests of one client, one after the other, until either side is done.

    Args:
        stream: The connection.
        answer: Called with the `Http` and each `Request`; sends a response.
        stopping: Set when the server is to stop.
        limits: How slow the client may be.
    """
    http = Http(stream, stopping, limits)
    try:
        await answer_each(http, answer)
    except ConnectionError:  # the client is gone
        http.log()
        raise
    except Exception:
        with contextlib.suppress(OSError):
            await http.refuse(BadRequest(500, "the server has failed"))
            http.log()
            await http.close()
        raise
    await http.close()


async def answer_each(http: Http, answer: Answer) -> None:
    """Answer requests until there is none any more, or one is bad."""
    try:
        while (request := await http.next_request()) is not None:
            await answer(http, request)
            http.log()
    except BadRequest as error:
        await http.refuse(error)
        http.log()
