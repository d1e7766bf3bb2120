"""How a kernel is reached from outside: by other threads, and by whoever looks.

One kernel runs in one thread at a time, and one thread runs one kernel at a
time. From elsewhere there are `post` and `submit`, which leave something in
the inbox; everything else is refused.
"""

from __future__ import annotations

import select
import sys
import time
from _thread import get_ident
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple
from weakref import WeakSet

from microthreads.kernel import (
    Clock,
    Core,
    EpollPoller,
    Observer,
    Policy,
    Poller,
    Routine,
    SystemCall,
    Task,
    check_routine,
    place_of_caller,
)
from microthreads.kernel.current import this_thread
from microthreads.runtime import interrupts, reports
from microthreads.runtime.caught import Caught
from microthreads.runtime.inbox import Inbox
from microthreads.timeouts import shield

if TYPE_CHECKING:
    from concurrent.futures import Future

    from microthreads.runtime.snapshots import Snapshot

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOOK_AGAIN = 0.05  # seconds between two looks around of a kernel that cannot wait for events


def refuse_nested(outer: Core) -> NoReturn:
    """Say that `outer` runs in this thread, and what to do instead."""
    raise RuntimeError(
        f"a kernel is running in this thread already, and now runs {outer.current}: "
        "yield the routine there, or spawn it, instead of calling run()"
    )


def poller_for(choice: Any) -> Poller:
    """The poller that the kernel is to have: epoll, if nothing else is said."""
    if choice is None and hasattr(select, "epoll"):
        return EpollPoller()
    from microthreads.runtime.pollers import make_poller  # noqa: PLC0415  (see DOC: design/imports)

    return make_poller(choice)


class RingingList(list[Any]):
    """The ready queue while the poller waits, or is about to: whoever is put there rings."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__()
        self._inbox = inbox

    def append(self, task: Any) -> None:
        """Put `task` at the end, and have the poller return."""
        super().append(task)
        self._inbox.ring()


class Reachable(Core):
    """A core with an inbox, that knows in which thread it runs."""

    grace: float  # seconds that clean-up may take

    def __init__(
        self,
        *,
        clock: Clock | None,
        poller: Any,
        policy: Policy | None,
        observers: Iterable[Observer],
    ) -> None:
        super().__init__(poller=poller_for(poller), clock=clock, policy=policy, observers=observers)
        self.inbox = Inbox()
        self._caught: Caught | None = None
        self.async_generators: WeakSet[AsyncGenerator[Any, Any]] | None = None
        self._ringing = RingingList(self.inbox)
        self.signals: interrupts.Signals | None = None  # while `run` has them
        self.closing = self.closed = self.forked = False
        self.thread: int | None = None  # the one that it runs in, while it runs
        interrupts.kernels.add(self)

    def spawn(
        self, routine: Routine[T], *, name: str | None = None, daemon: bool = False
    ) -> Task[T]:
        """Start a task, from outside the kernel or before `run`. A plain call.

        Like the system call `spawn`; see there.

        Raises:
            TypeError: `routine` is not a routine.
            RuntimeError: It has been started; or the kernel is closed.
        """
        check_routine(routine, "spawn")
        try:
            self._check_open()
        except BaseException:
            self.discard(routine)
            raise
        return self.start(routine, name, daemon, self.current, place_of_caller())

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have the kernel call ``function(*args)`` soon, between two steps of its tasks.

        A plain call, from any thread and from signal handlers. What `function`
        raises is logged.

        Raises:
            RuntimeError: The kernel is closed.
        """
        self._check_alive()
        self.inbox.post(function, args)

    def submit(self, routine: Routine[T]) -> Future[T]:
        """Run `routine` as a task, from any thread; the future gets its outcome.

        Cancelling the future cancels the task. If the kernel is closed first,
        the future fails with `RuntimeError`.

        Raises:
            TypeError: `routine` is not a routine.
            RuntimeError: The kernel is closed.
        """
        check_routine(routine, "submit")
        from microthreads.runtime.submissions import Submission  # noqa: PLC0415  (likewise)

        submission = Submission(self, routine, place_of_caller())
        try:
            self.post(submission.start)
        except BaseException:
            self.discard(routine)
            raise
        return submission.future

    def fileno(self) -> int:
        """A descriptor that is readable when `tick` has I/O to serve, for embedding."""
        if self.inbox.descriptor is None:
            self._open_inbox()
        return self.poller.fileno()

    def deadline(self) -> float | None:
        """By when, on the kernel's clock, `tick` is to be called; None: not before I/O."""
        busy = self.ready or self.portions or self.again
        return self.now() if busy else self.timers.next_deadline()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of each transition from now on."""
        self.observers += (observer,)

    def snapshot(self) -> Snapshot:
        """All tasks that are not done, what each waits on, and the cycle if there is one."""
        from microthreads.runtime.snapshots import take  # noqa: PLC0415  (see DOC: design/imports)

        return take(self.tasks.values())

    def _check_open(self) -> None:
        """Refuse what comes from the wrong thread, or too late."""
        if self.thread not in (None, get_ident()):
            raise RuntimeError(
                f"this kernel runs in another thread, and now runs {self.current}: "
                "from here, use its post() or submit()"
            )
        self._check_alive()

    def _check_alive(self) -> None:
        """Refuse what comes too late."""
        if self.forked:
            raise interrupts.forked_error()
        if self.closed:
            raise RuntimeError("this kernel is closed: make another one")

    def _enter(self) -> None:
        """Become the kernel of this thread."""
        outer = this_thread.kernel
        if outer is not None:
            refuse_nested(outer)
        self._check_open()
        this_thread.kernel = self
        self.thread = get_ident()
        self._hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._async_generator_begun, self._async_generator_dropped)

    def _leave(self) -> None:
        this_thread.kernel = self.current = self.thread = None
        sys.set_asyncgen_hooks(*self._hooks)

    def _async_generator_begun(self, generator: Any) -> None:
        if self.async_generators is None:
            self.async_generators = WeakSet()
        self.async_generators.add(generator)

    def _async_generator_dropped(self, generator: Any) -> None:
        """Nobody can iterate over `generator` any more: it ends in a task of its own.

        At any moment, in any thread: it is collected.
        """
        self._async_generator_ended(generator)
        if generator.ag_running:
            return  # its task was abandoned in the middle of it
        try:
            self.post(self._close_async_generator, generator)
        except RuntimeError:
            pass  # nothing runs any more that its clean-up could wait for

    def _async_generator_ended(self, generator: Any) -> None:
        if self.async_generators is not None:
            self.async_generators.discard(generator)

    def _close_async_generator(self, generator: Any) -> None:
        self._async_generator_ended(generator)
        if self.closed or generator.ag_running:
            return  # nothing runs any more that its clean-up could wait for
        name = f"aclose {getattr(generator, '__name__', generator)}"
        self.start(self._closing(generator), name, False, None, None)

    async def _closing(self, generator: AsyncGenerator[Any, Any]) -> None:
        with shield(self.grace):
            await generator.aclose()

    def give_signals_back(self) -> None:
        """Have the signals that its tasks waited for do what they did before."""
        if self._caught is not None:
            self._caught.give_back()
            self._caught = None  # which holds the kernel

    @property
    def caught(self) -> Caught:
        """The signals that its tasks wait for."""
        if self._caught is None:
            self._caught = Caught(self)
        return self._caught

    def disown(self) -> None:
        """This is a copy in a forked child: let go of all that the parent shares."""
        self.forked = self.closed = True
        for queue in (self.ready, self.batch, self.portions, self.again):
            queue.clear()
        self.give_signals_back()
        self.inbox.give_back()
        self.poller.close()
        self.poller = interrupts.NoPoller()  # type: ignore[assignment]
        if self.current is not None:
            self.current.cancelled = interrupts.Forked()

    def _look(self, seconds: float | None) -> list[SystemCall[Any]]:
        if self.inbox.descriptor is None:
            if self.inbox.posted:
                return [self.inbox]
            if seconds != 0:
                try:
                    self._open_inbox()
                except OSError:  # no descriptor is left; there may be one soon
                    seconds = LOOK_AGAIN if seconds is None else min(seconds, LOOK_AGAIN)
                    if not self.poller.armed:  # so it may not be open either
                        time.sleep(seconds)
                        return []
        return self.poller.poll(seconds) if seconds == 0 else self._wait(seconds)

    def _wait(self, seconds: float | None) -> list[SystemCall[Any]]:
        """Have the poller wait; but not if a finalizer makes a task ready at this moment."""
        before, self.ready = self.ready, self._ringing
        try:
            return self.poller.poll(0 if before or self.ready else seconds)
        finally:
            if self.ready:
                before += self.ready
                self.ready.clear()
            self.ready = before

    def _open_inbox(self) -> None:
        """From now on the poller may wait: have it return for what comes from outside."""
        self.inbox.open(self.poller)
        if self.signals is not None:
            self.signals.ring(self.inbox)

    def recheck(self, task: Task[Any]) -> None:
        if not self.forked:  # there, nothing shields a task from ForkedError
            super().recheck(task)

    def let_go(self, task: Task[Any]) -> None:
        holding, task.holding = task.holding, None
        for lock in holding or ():
            reports.held_by_nobody(task, lock)
            lock.owner_ended()
        closing, task.closing = task.closing, None
        if closing is not None:
            reports.close_for(task, closing)
