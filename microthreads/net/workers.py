"""Workers: the processes that serve, and the one that looks after them.

Each worker is a copy of this process, made by fork, with a kernel of its own. All hold
the listening sockets of all, one set for each worker, on the same port (SO_REUSEPORT),
and each accepts from its own. Clients that wait at the one of a worker that dies, or is
stuck, are served by the others until there is another worker: none is refused.

    signal     what happens
    SIGTERM    all workers finish, as a server does that is cancelled; so does `serve`
    SIGHUP     one after the other is replaced: the new one accepts before the old
               one finishes
    (none)     a worker that ends otherwise is started again, later and later if it
               keeps on ending; one whose heart does not beat is killed

What the workers and this process say to each other is in duty.py. A worker that gets a
SIGTERM itself finishes as well, and says so, so that another one takes its place.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from contextlib import ExitStack
from typing import Any, NoReturn
from weakref import WeakSet

from microthreads.calls import sleep
from microthreads.groups import TaskGroup, gather
from microthreads.kernel import now, running_kernel
from microthreads.net.duty import (
    ACCEPTS,
    BETWEEN_BEATS,
    FINISHES,
    IS_OLD,
    LEAVE,
    SERVE_TOO,
    Duty,
)
from microthreads.net.handover import (
    PASSED,
    Before,
    Former,
    Luggage,
    begin_anew,
    handed,
    listening,
    tried,
)
from microthreads.net.processes import (
    BLOCKED,
    Life,
    Worker,
    blocked,
    check_system,
    described,
    flush,
    let_go,
)
from microthreads.net.server import LAST_SECONDS, Ready, Terms, Workers, alone, tell
from microthreads.net.sockets import Socket
from microthreads.net.systemd import activated, keep_watchdog, sd_notify, watchdog_period
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
BEGINNING = 30.0  # seconds until a replacement accepts, or a server of the new program begins
QUIET = 2.5  # seconds without a heartbeat, after which others serve a worker's clients
FORCE = 5.0  # seconds beyond what a worker's own stop takes, until it is killed


foremen: WeakSet[Foreman] = WeakSet()
"""All that there are: a program may have several servers."""


def packed() -> Luggage:
    """What goes over to the program when it begins anew: all sockets, and all workers."""
    servers = list(handed.servers)
    for foreman in foremen:
        alive = [each for each in foreman.alive if not each.gone.is_set()]
        workers = [Former(each.pid, each.link.fileno()) for each in alive]
        servers.append(Before(sorted(foreman.listeners), workers))
    numbers = {each for server in servers for each in server.listeners}
    others = {each.fileno() for each in listening} - numbers - {-1}
    servers.append(Before(sorted(others), []))  # those of servers without workers
    numbers |= others
    opened = {*handed.opened, *(each.fileno() for each in activated)} & numbers
    return Luggage(sorted(opened), servers)


class Slot:
    """A place for a worker: its listeners, and the worker that accepts from them now."""

    def __init__(self, number: int, listeners: list[Socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.worker: Worker | None = None
        self.served = Event()  # set when a worker accepts here for the first time
        self.is_left = False  # to the others, who serve its clients
        self.is_old = False  # its worker is to be replaced
        self.pause = FIRST_PAUSE

    def next_pause(self, lived: float) -> float:
        """How long to wait, now that a worker has died after so many seconds."""
        if lived >= LONG_LIFE:
            self.pause = FIRST_PAUSE
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE)
        return pause


class Foreman:
    """As many workers as there are sets of listeners, whatever happens to them."""

    def __init__(self, terms: Terms, workers: Workers, listeners: list[list[Socket]]) -> None:
        check_system()
        handed.end_trial()
        self._terms = terms
        self._workers = workers
        self.slots = [Slot(number, each) for number, each in enumerate(listeners, 1)]
        self.alive: list[Worker] = []
        self._before = handed.servers_at(self.listeners)  # who finish when the new ones accept
        self._former = [each for server in self._before for each in self._taken_on(server)]
        foremen.add(self)
        self._seconds = terms.grace + LAST_SECONDS + FORCE  # that a worker may take to finish
        self._to_replace = Event()  # set when workers are to be replaced
        self._reloads = False  # whether a SIGHUP asks for that
        self._anew = False  # and for the whole program
        self._group = TaskGroup()
        self._kernel: Any = running_kernel()

    @property
    def listeners(self) -> set[int]:
        """The descriptors of all its sockets."""
        return {each.fileno() for slot in self.slots for each in slot.listeners}

    def _taken_on(self, server: Before) -> list[Worker]:
        """The workers of the program before, looked after by this one."""
        found = [
            Worker(each.pid, 0, Socket(socket.socket(fileno=each.link))) for each in server.workers
        ]
        self.alive += found
        return found

    async def run(self, serving: ExitStack, ready: Ready | None) -> None:
        """Have the workers serve until SIGTERM comes, or until this is cancelled."""
        self._kernel.caught.catch((signal.SIGTERM, signal.SIGHUP))
        try:
            with alone():
                async with self._group as group:
                    for slot in self.slots:
                        await self._begin(slot)
                    await group.spawn(self._tell(ready), name="wait until all workers accept")
                    await group.spawn(self._hear_hups(), name="wait for SIGHUP")
                    await group.spawn(self._replace_all(), name="replace workers")
                    await group.spawn(self._watch(), name="see who is stuck")
                    if (period := watchdog_period()) is not None:
                        await group.spawn(keep_watchdog(period), name="tell the watchdog")
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
        for slot in self.slots:
            await slot.served.wait()
        tell(ready, self.slots[0].listeners)
        sd_notify("READY=1")
        await self._relieve(self._before, self._former)
        if handed.servers:
            await sleep(BEGINNING)  # others may begin later
        rest = handed.rest()
        await self._relieve(rest, [each for server in rest for each in self._taken_on(server)])

    async def _relieve(self, servers: list[Before], former: list[Worker]) -> None:
        """Servers of the program before are not needed any more."""
        for server in servers:
            handed.close(server)
        for worker in former:
            worker.finish()
            await self._group.spawn(self._reap(worker), name=f"wait for {worker}")
            await self._group.spawn(self._see_off(worker), name=f"see {worker} off")

    async def _begin(self, slot: Slot) -> None:
        slot.worker = worker = self._fork(slot)
        await self._group.spawn(self._keep(slot, worker), name=f"look after {worker}")

    @any_spelling
    async def _keep(self, slot: Slot, worker: Worker) -> None:
        """See a worker through its life; have another one if this one should have lived."""
        while words := await worker.hear():
            worker.heard = now()
            if ACCEPTS in words:
                self._accepts(slot, worker)
            if IS_OLD in words and slot.worker is worker:
                slot.is_old = True
                self._to_replace.set()
            if FINISHES in words:
                worker.accepts.clear()
                self._leave_to_others(slot, worker)
                await self._group.spawn(self._see_off(worker), name=f"see {worker} off")
                await self._begin_another(slot, worker, "was told to finish", FIRST_PAUSE)
                break
        how = await self._reap(worker)
        if slot.worker is worker:
            self._leave_to_others(slot, worker)
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

    # Who serves the clients of a worker that is dead or stuck

    def _accepts(self, slot: Slot, worker: Worker) -> None:
        """`worker` has begun to accept: it is told who else's clients to serve."""
        worker.accepts.set()
        slot.served.set()
        for other in self.slots:
            if other.is_left and other is not slot:
                worker.tell(SERVE_TOO, other.number)
        if slot.worker is worker:
            self._take_back(slot)

    def _leave_to_others(self, slot: Slot, worker: Worker) -> None:
        """Nobody serves at `slot`: have all others do so."""
        if not slot.is_left and slot.worker is worker:
            slot.is_left = True
            self._tell_others(slot, SERVE_TOO)

    def _take_back(self, slot: Slot) -> None:
        """The worker at `slot` does so again."""
        if slot.is_left:
            slot.is_left = False
            self._tell_others(slot, LEAVE)

    def _tell_others(self, slot: Slot, word: bytes) -> None:
        for worker in self.alive:
            if worker.accepts.is_set() and worker.number != slot.number:
                worker.tell(word, slot.number)

    @any_spelling
    async def _watch(self) -> None:
        """Look once a second who is stuck: its heart does not beat."""
        while True:
            before = now()
            await sleep(BETWEEN_BEATS)
            if now() - before > QUIET:  # this process was stopped itself, or very busy
                for worker in self.alive:
                    worker.heard = now()
            for slot in self.slots:
                worker_now = slot.worker
                if worker_now is not None and worker_now.accepts.is_set():
                    self._look_at(slot, worker_now)

    def _look_at(self, slot: Slot, worker: Worker) -> None:
        silent = now() - worker.heard
        if worker.gone.is_set():
            return
        if silent <= QUIET:
            self._take_back(slot)
        elif not slot.is_left:
            logger.warning("%s is stuck: others serve the clients that wait for it", worker)
            self._leave_to_others(slot, worker)
        if silent > self._workers.heartbeat:
            logger.error("%s is killed: it has been stuck for %.0f s", worker, silent)
            worker.kill()

    # Replacing them

    @any_spelling
    async def _hear_hups(self) -> None:
        """Note each SIGHUP, also while workers are being replaced because of one."""
        while True:
            await wait_signal(signal.SIGHUP)
            for slot in self.slots:
                slot.is_old = True
            self._reloads = True
            self._anew = self._workers.exec_at_hup
            self._to_replace.set()

    @any_spelling
    async def _replace_all(self) -> None:
        """Replace workers one after the other: all at SIGHUP, and those that are old."""
        while True:
            await self._to_replace.wait()
            self._to_replace.clear()
            reloads, self._reloads = self._reloads, False
            if reloads:
                sd_notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            if self._anew:
                self._anew = False
                await self._begin_anew()
            old = [slot for slot in self.slots if slot.is_old]
            for slot in old:
                slot.is_old = False  # from now on, what is asked for is asked for again
            for slot in old:
                if not await self._replace(slot):
                    break
            if reloads:
                sd_notify("READY=1")

    async def _begin_anew(self) -> None:
        """Have this process become the program anew, if that would come to serve."""
        for slot in self.slots:
            slot.is_old = False
        try:
            why = await self._try_anew()
            if not why:
                begin_anew(packed())
        except OSError as error:
            why = str(error)
        logger.error("the program is not begun again, and the old one goes on: %s", why)

    async def _try_anew(self) -> str:
        """Try whether the program would come to serve; why it does not, or "".

        Raises:
            OSError: It cannot be started.
        """
        trial = tried(packed())
        try:
            with Life(trial.pid) as life, move_on_after(BEGINNING) as limit:
                await life.readable()
        finally:
            trial.kill()  # if it goes on, also when this process is to end meanwhile
            code = trial.wait()
        if limit.cancelled_caught:
            return f"within {BEGINNING:.0f} s, it has not come to serve by workers"
        return "" if code == PASSED else f"before it would serve, it {described(code)}"

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
        self._take_back(slot)
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
        for worker in self.alive:
            worker.finish()
        with shield(self._seconds + 2 * FORCE):
            await gather(*map(self._reap, self.alive), *map(self._see_off, self.alive))

    @any_spelling
    async def _reap(self, worker: Worker) -> str:
        """Wait until a worker has ended; how it did."""
        how = await worker.ended()
        self.alive.remove(worker)
        return how

    # The fork, and what happens in the child

    def _fork(self, slot: Slot) -> Worker:
        """A new process that serves at `slot`. A plain call."""
        near, far = socket.socketpair()
        foreign = self._foreign()
        with near, far, blocked():
            flush()
            pid = os.fork()
            if pid == 0:
                near.close()
                self._be_worker(slot, far, foreign)
            try:
                worker = Worker(pid, slot.number, Socket(near.dup()))
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        self.alive.append(worker)
        return worker

    def _be_worker(self, slot: Slot, link: socket.socket, foreign: set[int]) -> NoReturn:
        """Be a worker, for the rest of this process's life."""
        code = 1
        try:
            let_go(foreign)
            handed.close_all()
            os.register_at_fork(after_in_child=link.close)  # a child of this one must not hold it
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what to do, the link will tell
            with Kernel(on_crash=self._kernel.on_crash, grace=self._kernel.grace) as kernel:
                kernel.caught.catch((signal.SIGTERM,))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
                kernel.run(self._duty(slot, Socket(link)).run())
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            logger.exception("worker %s, number %s, fails", os.getpid(), slot.number)
        finally:
            flush()
            os._exit(code)

    def _duty(self, slot: Slot, link: Socket) -> Duty:
        listeners = [each.listeners for each in self.slots]
        return Duty(self._terms, self._workers, slot.number, listeners, link)

    def _foreign(self) -> set[int]:
        """The descriptors that a worker must not hold: what tasks of this process wait for.
        (A fork sees to the inbox itself.)
        """
        watched = getattr(self._kernel.poller, "watched", {})
        waiting = {fd for fd, each in watched.items() if each is not self._kernel.inbox.descriptor}
        return waiting - self.listeners
