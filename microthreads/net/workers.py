"""Workers: the processes that serve, and the one that looks after them.

Each worker is a copy of this process, made by fork, with a kernel of its own. This
process keeps the listening sockets of all of them, one set for each worker, on the
same port (SO_REUSEPORT). So when a worker dies, or is replaced, its clients that
were not yet accepted wait for the next one: none is refused.

    signal     what happens
    SIGTERM    all workers finish, as a server does that is cancelled; so does `serve`
    SIGHUP     one after the other is replaced: the new one accepts before the old
               one finishes
    (none)     a worker that ends otherwise is started again, later and later if it
               keeps on ending

Between a worker and this process is a link, a pair of sockets. Through it the worker
says that it accepts; when this end is shut down, for which the death of this process
will do, the worker finishes. A worker that gets a SIGTERM itself finishes as well, and
says so, so that another one takes its place meanwhile.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from contextlib import ExitStack
from typing import Any, NoReturn

from microthreads.calls import join, sleep
from microthreads.groups import TaskGroup, gather
from microthreads.kernel import now, running_kernel
from microthreads.net.processes import BLOCKED, Worker, blocked, check_system, flush, let_go, say
from microthreads.net.server import LAST_SECONDS, Ready, Server, Terms, alone
from microthreads.net.sockets import Socket
from microthreads.net.systemd import sd_notify
from microthreads.runtime import Kernel
from microthreads.select import select
from microthreads.signals import wait_signal
from microthreads.spelling import any_spelling
from microthreads.sync import Event
from microthreads.timeouts import move_on_after, shield

logger = logging.getLogger("microthreads")

FIRST_PAUSE = 0.1  # seconds before a worker that died is started again; it doubles
LONGEST_PAUSE = 30.0
LONG_LIFE = 10.0  # seconds after which a worker's death is no part of a series
BEGINNING = 30.0  # seconds that a replacement may take until it accepts
FORCE = 5.0  # seconds beyond what a worker's own stop takes, until it is killed


class Slot:
    """A place for a worker: its listeners, and the worker that accepts from them now."""

    def __init__(self, number: int, listeners: list[Socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.worker: Worker | None = None
        self.served = Event()  # set when a worker accepts here for the first time
        self.pause = FIRST_PAUSE

    def next_pause(self, lived: float) -> float:
        """How long to wait, now that a worker has died after so many seconds."""
        if lived >= LONG_LIFE:
            self.pause = FIRST_PAUSE
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE)
        return pause


class Workers:
    """As many workers as there are sets of listeners, whatever happens to them."""

    def __init__(self, terms: Terms, listeners: list[list[Socket]]) -> None:
        check_system()
        self._terms = terms
        self._slots = [Slot(number, each) for number, each in enumerate(listeners, 1)]
        self._alive: list[Worker] = []
        self._seconds = terms.grace + LAST_SECONDS + FORCE  # that a worker may take to finish
        self._hup = Event()  # set when the workers are to be replaced
        self._group = TaskGroup()
        self._kernel: Any = running_kernel()

    async def run(self, serving: ExitStack, ready: Ready | None) -> None:
        """Have the workers serve until SIGTERM comes, or until this is cancelled."""
        self._kernel.caught.catch((signal.SIGTERM, signal.SIGHUP))
        try:
            with alone():
                async with self._group as group:
                    for slot in self._slots:
                        await self._begin(slot)
                    await group.spawn(self._tell(ready), name="wait until all workers accept")
                    await group.spawn(self._hear_hups(), name="wait for SIGHUP")
                    await group.spawn(self._replace_all(), name="replace the workers at SIGHUP")
                    await wait_signal(signal.SIGTERM)
                    group.cancel("SIGTERM")
        finally:
            serving.close()
            sd_notify("STOPPING=1")
            if self._terms.stopping is not None:
                self._terms.stopping.set()
            await self._finish()

    @any_spelling
    async def _tell(self, ready: Ready | None) -> None:
        for slot in self._slots:
            await slot.served.wait()
        if ready is not None:
            ready([listener.getsockname() for listener in self._slots[0].listeners])
        sd_notify("READY=1")

    async def _begin(self, slot: Slot) -> None:
        slot.worker = worker = self._fork(slot)
        await self._group.spawn(self._keep(slot, worker), name=f"look after {worker}")

    @any_spelling
    async def _keep(self, slot: Slot, worker: Worker) -> None:
        """See a worker through its life; have another one if this one should have lived."""
        if await worker.hear():
            worker.accepts.set()
            slot.served.set()
            if await worker.hear():
                await self._group.spawn(self._see_off(worker), name=f"see {worker} off")
                await self._begin_another(slot, worker, "was told to finish", FIRST_PAUSE)
        how = await self._reap(worker)
        if slot.worker is worker:
            pause = slot.next_pause(now() - worker.began)
            await self._begin_another(slot, worker, how, pause)

    async def _begin_another(self, slot: Slot, worker: Worker, how: str, pause: float) -> None:
        """Have another worker in the place of this one, unless it has been taken."""
        while slot.worker is worker:
            logger.warning("%s %s; another one begins in %.1f s", worker, how, pause)
            await sleep(pause)
            if slot.worker is worker:
                try:
                    await self._begin(slot)
                except OSError as error:
                    how, pause = f"could not be replaced: {error}", slot.next_pause(0.0)

    @any_spelling
    async def _hear_hups(self) -> None:
        """Note each SIGHUP, also while workers are being replaced because of one."""
        while True:
            await wait_signal(signal.SIGHUP)
            self._hup.set()

    @any_spelling
    async def _replace_all(self) -> None:
        while True:
            await self._hup.wait()
            self._hup.clear()
            sd_notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            for slot in self._slots:
                if not await self._replace(slot):
                    break
            sd_notify("READY=1")

    async def _replace(self, slot: Slot) -> bool:
        """Have a new worker accept, and only then the old one finish."""
        try:
            new = self._fork(slot)
        except OSError as error:
            logger.error("no worker is replaced any more: %s", error)
            return False
        await self._group.spawn(self._keep(slot, new), name=f"look after {new}")
        with move_on_after(BEGINNING):
            await select(new.accepts.wait(), new.gone.wait())
        if not new.accepts.is_set():
            logger.error("no worker is replaced any more: %s, a new one, does not accept", new)
            new.kill()
            return False
        old, slot.worker = slot.worker, new
        if old is not None:
            logger.info("%s takes the place of %s", new, old)
            old.finish()
            await self._see_off(old)
        return True

    @any_spelling
    async def _see_off(self, worker: Worker) -> None:
        """Wait until a worker that is to finish has ended; kill it if it does not."""
        if not await worker.gone.wait(self._seconds):
            logger.error("%s is killed: %s s ago it was to finish", worker, self._seconds)
            worker.kill()
            await worker.gone.wait()

    async def _finish(self) -> None:
        """Have all workers finish; kill those that do not."""
        for worker in self._alive:
            worker.finish()
        with shield(self._seconds + 2 * FORCE):
            await gather(*map(self._reap, self._alive), *map(self._see_off, self._alive))

    @any_spelling
    async def _reap(self, worker: Worker) -> str:
        """Wait until a worker has ended; how it did."""
        how = await worker.ended()
        self._alive.remove(worker)
        return how

    # The fork, and what happens in the child

    def _fork(self, slot: Slot) -> Worker:
        """A new process that serves at `slot`. A plain call."""
        near, far = socket.socketpair()
        foreign = self._foreign(slot)
        with near, far, blocked():
            flush()
            pid = os.fork()
            if pid == 0:
                near.close()
                self._be_worker(slot, far, foreign)
            try:
                worker = Worker(pid, Socket(near.dup()))
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        self._alive.append(worker)
        return worker

    def _be_worker(self, slot: Slot, link: socket.socket, foreign: set[int]) -> NoReturn:
        """Be a worker, for the rest of this process's life."""
        code = 1
        try:
            let_go(foreign)
            os.register_at_fork(after_in_child=link.close)  # a child of this one must not hold it
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what to do, the link will tell
            with Kernel(on_crash=self._kernel.on_crash, grace=self._kernel.grace) as kernel:
                kernel.caught.catch((signal.SIGTERM,))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
                kernel.run(self._work(slot, Socket(link)))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            logger.exception("worker %s, number %s, fails", os.getpid(), slot.number)
        finally:
            flush()
            os._exit(code)

    def _foreign(self, slot: Slot) -> set[int]:
        """The descriptors that the worker at `slot` must not hold: other workers' listeners,
        and what tasks of this process wait for. (A fork sees to the inbox itself.)
        """
        listening = {each.fileno() for other in self._slots for each in other.listeners}
        mine = {each.fileno() for each in slot.listeners}
        watched = getattr(self._kernel.poller, "watched", {})
        waiting = {fd for fd, each in watched.items() if each is not self._kernel.inbox.descriptor}
        return (listening | waiting) - mine

    async def _work(self, slot: Slot, link: Socket) -> None:
        with ExitStack() as serving:
            for listener in slot.listeners:
                serving.enter_context(listener)
            server = Server(self._terms)
            async with TaskGroup() as group:
                serve = server.run(serving, slot.listeners, lambda _: say(link))
                task = await group.spawn(serve, name="serve")
                which, _ = await select(join(task), wait_signal(signal.SIGTERM), link.readable())
                if which == 1:  # not from the process that looks after it, so that is told
                    say(link)
                task.cancel("the worker is to finish")
