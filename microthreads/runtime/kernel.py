"""The kernel that programs use: the core, with a beginning and an end.

The core schedules tasks for ever. What is here makes a program of that: `run`
waits for the tasks that are not daemons, cancels the rest, and gives each of
them time to clean up; a failure that nobody hears of is reported; a deadlock
and Ctrl-C have defined ends.

    running   until no task but daemons is left, or `ending` says why to stop
    draining  all that is left is cancelled, and has `grace` seconds
    closed    what the system lent is given back
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from microthreads.calls import check_seconds
from microthreads.errors import Cancelled, DeadlockError, ForkedError, InvariantError
from microthreads.kernel import (
    Clock,
    Observer,
    Place,
    Policy,
    Routine,
    Task,
    check_routine,
    place_of_caller,
)
from microthreads.kernel.timers import Timers
from microthreads.runtime import interrupts, reports
from microthreads.runtime.outside import Reachable

T = TypeVar("T")

STOP_NOW = 2  # Ctrl-Cs beyond this one stop the kernel where it stands
WITHOUT_SHIELDS = 1.0  # seconds that stragglers get after those that they had


class Alarm:
    """A timer's target that only remembers that its time has come."""

    def __init__(self) -> None:
        self.timer: int | None = None
        self.rung = False

    def expire(self) -> None:
        self.rung = True


class Kernel(Reachable):
    """A scheduler and what it depends on. `run` makes one; make your own to embed or keep it.

    Use it as ``with Kernel() as kernel:``, or call `close`; it can run several
    programs, one after the other.

    Args:
        clock: What tells the time; see `microthreads.sim.VirtualClock`.
        poller: "epoll", "poll" or "select", a poller, or an object like
            `selectors.BaseSelector`; by default the best of the platform.
        network: Where `listen` has its sockets from; by default the `socket` module.
        policy: Given the ready queue, the index of the task to run next; by
            default that of the first, which is round robin.
        observers: Told of each transition; see `microthreads.observe.Observer`.
        on_crash: Called with each task that failed and that nobody joins; or it is logged.
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
        self.grace = check_seconds(grace, "grace")  # before anything is opened
        super().__init__(clock=clock, poller=poller, policy=policy, observers=observers)
        self.network = network
        self.on_crash = on_crash
        self.main: Task[Any] | None = None
        self.ending: BaseException | None = None  # why run() stops waiting for tasks
        self.interrupts = 0
        self._draining = False
        self._stuck = False  # whether all that is left waits for ever

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
            self.ending, self.interrupts, self._draining = None, 0, False
            self.main = task = self.start(main, None, False, None, place or place_of_caller())
            with interrupts.Signals(self):
                self._go_on()
                if self.tasks:
                    self._drain()
        except BaseException as error:
            if self.main is not None:
                self._abandon(error)
            raise
        finally:
            self._leave()
        failure = self._failure_of(task)
        if failure is not None:
            raise failure  # here, so that its traceback has few frames that are ours
        return task.result()

    def _go_on(self) -> None:
        """Turn until there is nothing left to wait for, or a reason to stop."""
        while self.live and self.ending is None:
            try:
                self.turn()
            except (InvariantError, ForkedError):
                raise
            except BaseException as error:  # a signal handler or something posted raised it
                if self.interrupts > STOP_NOW:
                    raise
                self.ending = error

    def _failure_of(self, main: Task[Any]) -> BaseException | None:
        """What `run` raises: why it ended, caused by how `main` did."""
        failure = main.exception() if main.done else None
        error = KeyboardInterrupt() if self.interrupts else self.ending
        if error is None or error is failure:
            return failure
        error.__cause__ = None if isinstance(failure, Cancelled | KeyboardInterrupt) else failure
        return error

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
            try:
                self._turn_for(WITHOUT_SHIELDS, reason)
            finally:
                self.shields_broken = False
        self._abandon()

    def _turn_for(self, seconds: float, reason: str) -> None:
        """Let tasks end, for so long; cancel the new ones whose parent has ended."""
        alarm = Alarm()
        if seconds < math.inf:
            self.timers.add(self.now() + seconds, alarm)
        latest = time.monotonic() + seconds  # a virtual clock stands still while a task spins
        self._stuck, self._draining = False, True
        while self.tasks and not (alarm.rung or self._stuck or time.monotonic() > latest):
            self.turn()
            for task in list(self.tasks.values()):
                if task.parent is None:
                    task.cancel(reason)
        self.timers.cancel(alarm)

    def _abandon(self, error: BaseException | None = None) -> None:
        """Forget all tasks, as they are; a broken invariant gets their table."""
        if isinstance(error, InvariantError):
            error.add_note(f"the tasks were:\n{self.snapshot()}")
        tasks = list(self.tasks.values())
        self.tasks.clear()
        self._called.clear()
        self.ready.clear()
        self.live = 0
        for task in tasks:
            try:
                if task.waiting_on is not None and not self.forked:
                    task.waiting_on.disarm(task)
            except Exception:  # noqa: S110
                pass  # all of them are to be forgotten
            task.waiting_on = None
            reports.abandoned.append((task.routine, task.callers))
            task.routine = None
        for task in tasks:
            if not self.forked:
                self._let_go(task)
        self.timers = Timers()

    def _deadlock(self) -> None:
        """Nothing can ever happen again: say so, and end every task."""
        if self.forked:
            raise interrupts.forked_error()
        self._stuck = True
        if not self._draining:
            self.ending = self.ending or DeadlockError(self.snapshot())

    def _failed(self, task: Task[Any], error: BaseException, *, joined: bool) -> None:
        """`task` ended with `error`: somebody must hear of it, and only once."""
        if isinstance(error, InvariantError):
            raise error
        if isinstance(error, KeyboardInterrupt):
            self._exit_asked(error)
        elif task is self.main:
            self.ending = self.ending or error
        else:
            reports.note_origin(task, error)
            if not joined:
                self.report(task, error)

    def report(self, task: Task[Any], error: BaseException) -> None:
        """Have it known that `task` ended with `error`, and nobody joins it."""
        if isinstance(error, SystemExit):
            self._exit_asked(error)
        elif not (isinstance(error, Cancelled) and error.scope is task) and not self.forked:
            try:
                reports.crashed(task, self.on_crash)
            except (SystemExit, KeyboardInterrupt) as exit_asked:
                self._exit_asked(exit_asked)

    def _exit_asked(self, error: BaseException) -> None:
        """A task ended by `sys.exit()`, or by what a signal handler raised: so does the run."""
        if self.interrupts > STOP_NOW:
            raise error
        self.ending = self.ending or error

    def interrupt(self) -> None:
        """Do what the first Ctrl-C does: cancel the main task; `run` then raises.

        For the kernel's own thread; from elsewhere, ``kernel.post(kernel.interrupt)``.
        """
        self.interrupts = max(self.interrupts, 1)
        if self.main is None or self.main.done:
            self.ending = self.ending or KeyboardInterrupt()
        else:
            self.main.cancel("Ctrl-C")
            self.recheck(self.main)

    def tick(self) -> None:
        """Serve what is due, and resume what is ready, without blocking.

        For embedding in another loop: start tasks by `spawn`, and call this
        when `fileno()` is readable and when `deadline()` comes.

        Raises:
            RuntimeError: A kernel is running in this thread, or this one is closed.
            ForkedError: This kernel was copied by `os.fork`.
            SystemExit: A task ended by `sys.exit()`; likewise KeyboardInterrupt.
        """
        self._enter()
        self.ending = self.main = None
        try:
            self.turn(block=False)
        finally:
            self._leave()
        if self.ending is not None:
            raise self.ending

    def close(self) -> None:
        """Cancel the tasks that are left, as `run` does at its end, and free everything.

        What was submitted and has not begun fails with `RuntimeError`.
        """
        if self.closed:
            return
        self._check_open()
        if self.tasks:
            self._enter()
            try:
                self._drain()
            finally:
                self._leave()
        self.closed = True
        self.caught.give_back()
        self.inbox.close()
        self.poller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
