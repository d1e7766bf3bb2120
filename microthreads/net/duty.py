"""What a worker does beside serving: it says how it is, and does what it is told.

Between a worker and the process that looks after it is a link, a pair of sockets:

    the worker says    !       it accepts clients
                       .       it is not stuck: once a second
                       o       it has lived long enough (`max_clients`, `max_age`)
                       f       it finishes, since it was sent a SIGTERM
    it is told         +2      the worker number 2 is dead or stuck: serve its clients, too
                       -2      there is another worker number 2
                       (end)   finish

The end of the link is the death of the process that looks after it, too.
"""

from __future__ import annotations

import contextlib
import math
import signal
from contextlib import ExitStack

from microthreads.calls import join, sleep
from microthreads.groups import TaskGroup
from microthreads.net.processes import say
from microthreads.net.server import Server, Terms, Workers
from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream
from microthreads.select import select
from microthreads.signals import wait_signal
from microthreads.spelling import any_spelling
from microthreads.sync import Event

ACCEPTS, BEATS, IS_OLD, FINISHES = b"!", b".", b"o", b"f"
SERVE_TOO, LEAVE = b"+", b"-"

BETWEEN_BEATS = 1.0  # seconds between two heartbeats
ASK_AGAIN = 30.0  # seconds until a worker that has lived long enough says so again
SCATTER = 0.1  # of a worker's age: not all of them are replaced at once


class Duty:
    """The duties of one worker.

    Args:
        terms: How clients are served.
        workers: How long it is to live.
        number: Its number, from 1.
        listeners: Those of all workers, in the order of their numbers.
        link: To the process that looks after it.
    """

    def __init__(
        self,
        terms: Terms,
        workers: Workers,
        number: int,
        listeners: list[list[Socket]],
        link: Socket,
    ) -> None:
        self._server = Server(terms)
        self._workers = workers
        self._share = 1.0 - SCATTER * (number - 1) / workers.number
        self._listeners = listeners
        self._mine = listeners[number - 1]
        self._link = link
        self._dismissed = Event()

    async def run(self) -> None:
        """Serve, until it is told to finish, or has a SIGTERM."""
        link = self._link
        with ExitStack() as serving:
            for listener in {each for several in self._listeners for each in several}:
                serving.enter_context(listener)
            async with TaskGroup() as duties:
                await duties.spawn(self._beat(), name="beat")
                await duties.spawn(self._obey(), name="obey")
                await duties.spawn(self._grow_old(), name="grow old")
                serve = self._server.run(serving, self._mine, lambda _: say(link, ACCEPTS))
                async with TaskGroup() as group:
                    task = await group.spawn(serve, name="serve")
                    told = self._dismissed.wait()
                    which, _ = await select(join(task), wait_signal(signal.SIGTERM), told)
                    if which == 1:  # not from the process that looks after it, so that is told
                        say(link, FINISHES)
                    task.cancel("the worker is to finish")
                duties.cancel("the worker has finished")

    @any_spelling
    async def _beat(self) -> None:
        while True:
            say(self._link, BEATS)
            await sleep(BETWEEN_BEATS)

    @any_spelling
    async def _obey(self) -> None:
        """Do what it is told; the end of the link dismisses it."""
        with contextlib.suppress(OSError):
            async for line in Stream(self._link):
                for listener in self._listeners[int(line[1:]) - 1]:
                    if listener in self._mine:
                        continue  # all of them accept from it, as it is at a path
                    if line.startswith(SERVE_TOO):
                        await self._server.accept_from(listener)
                    else:
                        self._server.leave(listener)
        self._dismissed.set()

    @any_spelling
    async def _grow_old(self) -> None:
        """Say so when it has served enough clients, or lived long enough."""
        clients, age = self._workers.max_clients, self._workers.max_age
        if clients is not None:
            self._server.served_enough_at(math.ceil(clients * self._share))
        until = math.inf if age is None else age * self._share
        await select(self._server.served_enough.wait(), sleep(until))
        while True:
            say(self._link, IS_OLD)
            await sleep(ASK_AGAIN)
