"""How a kernel is reached from outside: by other threads, and by whoever looks.

One kernel runs in one thread at a time, and one thread runs one kernel at a
time. From elsewhere there are `post` and `submit`, which leave something in
the inbox; everything else is refused.
"""

from __future__ import annotations

import select
import time
from _thread import get_ident
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

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

if TYPE_CHECKING:
    from concurrent.futures import Future

    from microthreads.runtime.snapshots import Snapshot

T = TypeVar("T")

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


class Reachable(Core):
    """A core with an inbox, that knows in which thread it runs."""

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
        self.caught = Caught(self)
        self.signals: interrupts.Signals | None = None  # while `run` has them
        self.closed = self.forked = False
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
        self._check_open()
        return self.start(routine, name, daemon, self.current, place_of_caller())

    def post(self, function: Callable[..., Any], *args: Any) -> None:
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
        self.post(submission.start)
        return submission.future

    def fileno(self) -> int:
        """A descriptor that is readable when `tick` has I/O to serve, for embedding."""
        if self.inbox.descriptor is None:
            self._open_inbox()
        return self.poller.fileno()

    def deadline(self) -> float | None:
        """By when, on the kernel's clock, `tick` is to be called; None: not before I/O."""
        return self.now() if self.ready else self.timers.next_deadline()

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

    def _leave(self) -> None:
        this_thread.kernel = self.current = self.thread = None

    def disown(self) -> None:
        """This is a copy in a forked child: let go of all that the parent shares."""
        self.forked = self.closed = True
        self.ready.clear()
        self._batch.clear()
        self.caught.give_back()
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
        return self.poller.poll(seconds)

    def _open_inbox(self) -> None:
        """From now on the poller may wait: have it return for what comes from outside."""
        self.inbox.open(self.poller)
        if self.signals is not None:
            self.signals.ring(self.inbox)

    def recheck(self, task: Task[Any]) -> None:
        if not self.forked:  # there, nothing shields a task from ForkedError
            super().recheck(task)

    def _let_go(self, task: Task[Any]) -> None:
        holding, task.holding = task.holding, None
        for lock in holding or ():
            reports.held_by_nobody(task, lock)
            lock.owner_ended()
        closing, task.closing = task.closing, None
        if closing is not None:
            reports.close_for(task, closing)
