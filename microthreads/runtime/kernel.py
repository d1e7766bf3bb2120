"""The kernel that programs use: the core, with a beginning and an end.

The core schedules tasks for ever. What is here makes a program of that: `run`
waits for the tasks that are not daemons, cancels the rest, and gives each of
them time to clean up; a failure that nobody hears of is reported; a deadlock,
Ctrl-C and `os.fork` have defined ends; other threads can post and submit.

    running   until no task but daemons is left, or `ending` says why to stop
    draining  all that is left is cancelled, and has `grace` seconds
    closed    what the operating system lent is given back
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from microthreads.calls import check_seconds
from microthreads.errors import Cancelled, DeadlockError, InvariantError
from microthreads.kernel import (
    Clock,
    Core,
    Observer,
    Place,
    Policy,
    Routine,
    Task,
    check_routine,
    place_of_caller,
)
from microthreads.kernel.current import this_thread
from microthreads.kernel.timers import Alarm
from microthreads.runtime import interrupts, reports
from microthreads.runtime.inbox import Inbox, Submission

T = TypeVar("T")

WITHOUT_SHIELDS = 1.0  # seconds that stragglers get after those that they had
abandoned: list[Any] = []  # routines that would not end: kept, since collecting one closes it


def refuse_nested(outer: Core) -> NoReturn:
    """Say that `outer` runs in this thread, and what to do instead."""
    raise RuntimeError(
        f"a kernel is running in this thread already, and now runs {outer.current}: "
        "yield the routine there, or spawn it, instead of calling run()"
    )


class Kernel(Core):
    """A scheduler and what it depends on. `run` makes one; make your own to embed or keep it.

    Use it as ``with Kernel() as kernel:``, or call `close`; it can run several
    programs, one after the other.

    Args:
        clock: What tells the time; see `microthreads.sim.VirtualClock`.
        poller: "epoll", "poll" or "select", a poller, or an object like
            `selectors.BaseSelector`; by default the best of the platform.
        network: Where `listen` has its sockets from: the `socket` module, or what
            looks like it.
        policy: Which ready task runs next: given the ready queue, the index of
            one. By default the first, which is round robin.
        observers: Told of each transition; see `microthreads.observe.Observer`.
        on_crash: Called with each task that failed with nobody to join it; by
            default it is logged.
        grace: How long, in seconds, cancelled tasks may take to clean up when
            `run` ends; those that take longer are named in the log.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        poller: Any = None,
        network: Any = None,
        policy: Policy | None = None,
        observers: Iterable[Observer] = (),
        on_crash: Callable[[Task[Any]], None] = reports.log_crash,
        grace: float = 5.0,
    ) -> None:
        super().__init__(clock=clock, poller=poller, policy=policy, observers=observers)
        self.network = network
        self.on_crash = on_crash
        self.grace = check_seconds(grace, "grace")
        self.inbox = Inbox()
        self.poller.watch(self.inbox.descriptor)
        self.main: Task[Any] | None = None
        self.ending: BaseException | None = None  # why run() stops waiting for tasks
        self.interrupts = 0
        self.closed = self.forked = False
        interrupts.kernels.add(self)

    def run(self, main: Routine[T], *, place: Place | None = None) -> T:
        """Run `main` as a task until it and all tasks that are not daemons are done.

        Then daemons are cancelled, and their `finally` blocks run. If `main`
        fails, all others are cancelled, and its error is raised.

        Raises:
            TypeError: `main` is not a routine.
            DeadlockError: Tasks wait, and nothing can wake one.
            KeyboardInterrupt: Ctrl-C was pressed; `main` was cancelled first.
            RuntimeError: A kernel is running in this thread, or this one is closed.
            ForkedError: This kernel was copied by `os.fork`.
        """
        check_routine(main, "run")
        self._enter()
        try:
            with interrupts.Signals(self):
                self.ending, self.interrupts = None, 0
                self.main = task = self.start(main, None, False, None, place or place_of_caller())
                while self.live and self.ending is None:
                    self.turn()
                self._drain()
        except BaseException as error:
            self._abandon(error)
            raise
        finally:
            this_thread.kernel = self.current = None
        if self.interrupts:
            raise KeyboardInterrupt
        if isinstance(self.ending, DeadlockError):
            raise self.ending
        return task.result()

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

    def _check_open(self) -> None:
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

    def _drain(self) -> None:
        """Cancel what is left, and give it `grace` seconds for its `finally` blocks.

        Those that need longer are named, and lose their shields; those that go
        on even so are abandoned.
        """
        reason = "run() is ending" if self.ending is None else type(self.ending).__name__
        for task in list(self.tasks.values()):
            task.cancel(reason)
        self._turn_for(self.grace, reason)
        if self.tasks:
            reports.log_stragglers(self.snapshot(), self.grace)
            self.shields_broken = True
            for task in list(self.tasks.values()):
                self.recheck(task)
            self._turn_for(WITHOUT_SHIELDS, reason)
            self.shields_broken = False
        self._abandon()

    def _turn_for(self, seconds: float, reason: str) -> None:
        """Let tasks end, for so long; cancel the new ones whose parent has ended."""
        alarm = Alarm()
        if seconds < math.inf:
            self.timers.add(self.now() + seconds, alarm)
        # Real time counts as well: a virtual clock stands still while a task spins.
        latest = time.monotonic() + seconds
        while self.tasks and not alarm.rung and time.monotonic() < latest:
            self.turn()
            for task in list(self.tasks.values()):
                if task.parent is None:
                    task.cancel(reason)
        self.timers.cancel(alarm)

    def _abandon(self, error: BaseException | None = None) -> None:
        """Forget all tasks, as they are; a broken invariant gets their table."""
        if isinstance(error, InvariantError):
            error.add_note(f"the tasks were:\n{self.snapshot()}")
        for task in self.tasks.values():
            if task.waiting_on is not None and not self.forked:
                task.waiting_on.disarm(task)
            task.waiting_on = None
            abandoned.append(task.routine)
            task.routine = None
        self.tasks.clear()
        self.ready.clear()
        self.live = 0

    def _deadlock(self) -> None:
        """Nothing can ever happen again: say so, and end every task."""
        if self.forked:
            raise interrupts.forked_error()
        self.ending = DeadlockError(self.snapshot())

    def _failed(self, task: Task[Any], error: BaseException, *, joined: bool) -> None:
        """`task` ended with `error`: somebody must hear of it, and only once."""
        if self.interrupts > 2 and isinstance(error, KeyboardInterrupt):
            raise error  # the third Ctrl-C: stop now
        if task is self.main:
            self.ending = self.ending or error
            return
        error.add_note(f"in {task}, spawned at {task.spawned_at}")
        cancelled = isinstance(error, Cancelled) and error.scope is task
        if not joined and not cancelled and not self.forked:
            reports.crashed(task, self.on_crash)

    def recheck(self, task: Task[Any]) -> None:
        if not self.forked:  # there, nothing shields a task from ForkedError
            super().recheck(task)

    def interrupt(self) -> None:
        """Do what the first Ctrl-C does: cancel the main task; `run` then raises.

        For the kernel's own thread; from elsewhere, ``kernel.post(kernel.interrupt)``.
        """
        self.interrupts = max(self.interrupts, 1)
        if self.main is None or self.main.done:
            self.ending = KeyboardInterrupt()
        else:
            self.main.cancel("Ctrl-C")
            self.recheck(self.main)

    def post(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the kernel call ``function(*args)`` soon, between two steps of its tasks.

        A plain call, from any thread and from signal handlers. What `function`
        raises is logged.

        Raises:
            RuntimeError: The kernel is closed.
        """
        self._check_open()
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
        submission = Submission(self, routine, place_of_caller())
        self.post(submission.start)
        return submission.future

    def tick(self) -> None:
        """Serve what is due, and resume what is ready, without blocking.

        For embedding in another loop: start tasks by `spawn`, and call this
        when `fileno()` is readable and when `deadline()` comes.

        Raises:
            RuntimeError: A kernel is running in this thread, or this one is closed.
            ForkedError: This kernel was copied by `os.fork`.
        """
        self._enter()
        try:
            self.turn(block=False)
        finally:
            this_thread.kernel = self.current = None

    def snapshot(self) -> reports.Snapshot:
        """All tasks that are not done, what each waits on, and the cycle if there is one."""
        return reports.take(self.tasks.values())

    def close(self) -> None:
        """Cancel the tasks that are left, as `run` does at its end, and free everything.

        What was submitted and has not begun fails with `RuntimeError`.
        """
        if self.closed:
            return
        if self.tasks and not self.forked:
            self._enter()
            try:
                self._drain()
            finally:
                this_thread.kernel = self.current = None
        self.closed = True
        self.inbox.close()
        self.poller.close()

    def disown(self) -> None:
        """This is a copy in a forked child: let go of all that the parent shares."""
        self.forked = self.closed = True
        self.ready.clear()
        self._batch.clear()
        self.inbox.close()
        self.poller.close()
        self.poller = interrupts.NoPoller()  # type: ignore[assignment]
        if self.current is not None:
            self.current.cancelled = interrupts.Forked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def run(main: Routine[T], **options: Any) -> T:
    """Run a program: `main` and every task it starts; return what `main` returns.

    Args:
        main: A generator or coroutine object, such as ``main()``.
        **options: What `Kernel` takes: clock, poller, network, policy,
            observers, on_crash, grace.

    Raises:
        TypeError: `main` is not a routine, or there is no such option.
        DeadlockError: Tasks wait, and nothing can wake one.
        KeyboardInterrupt: Ctrl-C was pressed; `main` was cancelled first.
        RuntimeError: A kernel is running in this thread already.
        BaseException: `main` failed; its own error.
    """
    check_routine(main, "run")
    if this_thread.kernel is not None:
        refuse_nested(this_thread.kernel)
    with Kernel(**options) as kernel:
        return kernel.run(main, place=place_of_caller())
