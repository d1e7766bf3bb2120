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
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from microthreads.calls import check_seconds
from microthreads.errors import (
    Cancelled,
    DeadlockError,
    ForkedError,
    InvariantError,
    text_of,
)
from microthreads.kernel import (
    Clock,
    Failure,
    Observer,
    Place,
    Policy,
    Routine,
    Task,
    check_routine,
    place_of_caller,
)
from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import add_note, set_cause
from microthreads.runtime import interrupts, reports
from microthreads.runtime.outside import Reachable
from microthreads.whose import as_outcome, is_of

if TYPE_CHECKING:
    from microthreads.runtime.options import AnyPoller

T = TypeVar("T")

STOP_NOW = 2  # Ctrl-Cs beyond this one stop the kernel where it stands
WITHOUT_SHIELDS = 1.0  # seconds that stragglers get after those that they had
MOST_STRIKES = (
    100  # signal handlers may raise in the kernel itself so often, and it still cleans up
)
ROOM = 40  # calls, one in the other, that the kernel's own work may take


def passes(error: BaseException) -> bool:
    """Whether clean-up goes on after a signal handler has raised `error` in the midst of it."""
    return isinstance(error, Exception | SystemExit | KeyboardInterrupt)


class Alarm:
    """A timer's target that only remembers that its time has come."""

    def __init__(self) -> None:
        self.timer: Any = None
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
        on_crash: Called with each task that failed and that nobody joins, its error being
            `task.exception()`; or it is logged.
        grace: How long, in seconds, cancelled tasks may take to clean up when
            `run` ends; those that take longer are named in the log.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        poller: AnyPoller | None = None,
        network: Any = None,
        policy: Policy | None = None,
        observers: Iterable[Observer] = (),
        on_crash: Callable[[Task[Any]], object] = reports.log_crash,
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
        headroom(ROOM)
        self._enter()
        try:
            self.ending, self.interrupts, self._draining = None, 0, False
            self.main = task = self.start(main, None, False, None, place or place_of_caller())
            with interrupts.Signals(self):
                self._despite_strikes(self._until_done)
        except BaseException as error:
            if self.main is not None:
                self._abandon(error)
            raise
        else:
            failure = self._failure_of(task)
            if failure is not None:
                raise failure  # here, so that its traceback has few frames that are ours
            return task.result()
        finally:
            self._leave()
            self.main = self.ending = None
            failure = task = main = None  # type: ignore[assignment]  # the traceback has this frame

    def _cut_short(self, error: BaseException) -> None:
        interrupts.mend(self, error)

    def _until_done(self) -> None:
        """Go on until there is nothing left to wait for, or a reason to stop; then end the rest."""
        if self.ending is None:
            self._go_on()
        self._drain()

    def _despite_strikes(self, steps: Callable[[], None]) -> None:
        """Call `steps`, again if need be: what a post or a handler raises cuts nothing short.

        It becomes the reason why the run ends, if there is none yet.
        """
        for _ in range(MOST_STRIKES):
            try:
                return steps()
            except (InvariantError, ForkedError):
                raise
            except BaseException as error:
                if self.interrupts > STOP_NOW or (self._draining and not passes(error)):
                    raise
                self._end_with(error)
        return self._abandon()

    def _go_on(self) -> None:
        while self.ending is None:
            if not self.live:
                self.inbox.serve()  # what was accepted while the last task ended
                if not self.live:
                    return
            self.turn()

    def _failure_of(self, main: Task[Any]) -> BaseException | None:
        """What `run` raises: why it ended, caused by how `main` did."""
        failure = main.exception() if main.done else None
        error = KeyboardInterrupt() if self.interrupts else self.ending
        if error is None or error is failure:
            return failure
        quiet = issubclass(type(failure), (Cancelled, KeyboardInterrupt))
        set_cause(error, None if quiet else failure)
        return error

    def _drain(self) -> None:
        """Cancel what is left, and give it `grace` seconds for its `finally` blocks.

        Those that need longer are named, and lose their shields; those that go
        on even so are abandoned. Async generators that are left end last.
        """
        self._draining = True
        reason = "run() is ending" if self.ending is None else type(self.ending).__name__
        self._end_all(reason)
        self.inbox.serve()  # what was posted meanwhile
        for left in list(self.async_generators or ()):
            self._close_async_generator(left)
        self._end_all(reason)

    def _end_all(self, reason: str) -> None:
        if not self.tasks:
            return
        self._cancel_all(reason)
        self._turn_for(self.grace, reason)
        if self.tasks:
            reports.log_stragglers(self.snapshot(), self.grace)
            self.shields_broken = True
            try:
                self._recheck_all()
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
        self._stuck = False
        while self.tasks and not (alarm.rung or self._stuck or time.monotonic() > latest):
            self.turn()
            if not self.portions:  # at the end of a round: it looks at all tasks
                self._cancel_all(reason, orphans=True)
        self.timers.cancel(alarm)

    def _cancel_all(self, reason: str, *, orphans: bool = False) -> None:
        """A function of its own, since the frames of those that wait for tasks may be kept."""
        for task in list(self.tasks.values()):
            if not orphans or task.parent is None:
                task.cancel(reason)

    def _recheck_all(self) -> None:
        for task in list(self.tasks.values()):
            self.recheck(task)

    def _abandon(self, error: BaseException | None = None) -> None:
        """Forget all tasks, as they are; a broken invariant gets their table."""
        if isinstance(error, InvariantError):
            error.add_note(f"the tasks were:\n{self.snapshot()}")
        if error is not None and self.ending is not None and error is not self.ending:
            set_cause(error, self.ending)  # which it has come over
        tasks = list(self.tasks.values())
        self.tasks.clear()
        self._called.clear()
        for queue in (self.ready, self.portions, self.batch, self.again):
            queue.clear()
        self.live = 0
        for task in tasks:
            self._forget(task)
        for task in tasks:
            if not self.forked:
                self.let_go(task)
        self.timers.clear()

    def _forget(self, task: Task[Any]) -> None:
        try:
            if task.waiting_on is not None and not self.forked:
                task.waiting_on.disarm(task)
        except Exception:  # noqa: S110
            pass  # it is to be forgotten
        if task.as_parent is not None:
            task.as_parent.clear()
        while task.joiners:
            task.joiners.popleft().waiter = None
        reports.abandoned.append((task.routine, task.callers))
        task.waiting_on = task.routine = task.step = task.callers = task.scope = None
        task.value = task.cancelled = task._parent = task.joiners = None

    def _deadlock(self) -> None:
        """Nothing can ever happen again: say so, and end every task."""
        if self.forked:
            raise interrupts.forked_error()
        self._stuck = True
        if not self._draining:
            self._end_with(DeadlockError(self.snapshot(), reports.advice_on(self.tasks.values())))

    def _hint(self, thing: Any) -> str:
        from microthreads.hints import about_refused  # noqa: PLC0415  (only where it is needed)

        return about_refused(thing)

    def _left_open(self, task: Task[Any], outcome: Any) -> Any:
        """The routine of `task` has ended inside blocks of it: end these, and say so.

        A group has its tasks waited for, by a routine that it puts under the task's own.
        """
        names, wrong = [], False
        while (scope := task.scope) is not None:
            names.append(text_of(scope))
            wrong |= scope.task_ended()
        text = f"{task} ended inside {' and '.join(names)}, which it left open"
        if type(outcome) is Failure:
            add_note(outcome.error, text)
        elif wrong:
            return Failure(RuntimeError(f"{text}: end it with `with`, or close its ExitStack"))
        else:
            reports.logger().warning("%s, spawned at %s", text, task.spawned_at)
        return outcome

    def _as_outcome(self, task: Task[Any], failure: Failure) -> Failure:
        if issubclass(type(failure.error), (Cancelled, BaseExceptionGroup)):
            failure = as_outcome(task, failure)
        return super()._as_outcome(task, failure)

    def _failed(self, task: Task[Any], error: BaseException, *, joined: bool) -> None:
        """`task` ended with `error`: somebody must hear of it, and only once."""
        reports.note_hint(error)
        if issubclass(type(error), KeyboardInterrupt):
            self._exit_asked(error)
        elif task is self.main:
            self._end_with(error)
        else:
            reports.note_origin(task, error)
            if not joined:
                self.report(task, error)

    def report(self, task: Task[Any], error: BaseException) -> None:
        """Have it known that `task` ended with `error`, and nobody joins it."""
        if issubclass(type(error), SystemExit):
            self._exit_asked(error)
        elif not is_of(error, task) and not self.forked:
            try:
                reports.crashed(task, self.on_crash)
            except BaseException as exit_asked:
                self._exit_asked(exit_asked)

    def _end_with(self, error: BaseException) -> None:
        """The run is to end with `error`, unless it has a reason already."""
        if self.ending is None:  # an error may be false
            self.ending = error

    def _exit_asked(self, error: BaseException) -> None:
        """A task ended by `sys.exit()`, or by what a signal handler raised: so does the run."""
        if self.interrupts > STOP_NOW:
            raise error
        self._end_with(error)

    def interrupt(self) -> None:
        """Do what the first Ctrl-C does: cancel the main task; `run` then raises.

        For the kernel's own thread; from elsewhere, ``kernel.post(kernel.interrupt)``.
        """
        self.interrupts = max(self.interrupts, 1)
        if self.main is None or self.main.done:
            self._end_with(KeyboardInterrupt())
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
        headroom(ROOM)
        self._enter()
        self.ending = self.main = None
        try:
            self.turn(block=False)
        finally:
            self._leave()
        ending, self.ending = self.ending, None
        if ending is not None:
            try:
                raise ending
            finally:
                del ending  # its traceback has this frame

    def close(self) -> None:
        """Cancel the tasks that are left, as `run` does at its end, and free everything.

        What was posted is called; what was submitted and has not begun fails with
        `RuntimeError`.

        Raises:
            SystemExit: Something that was posted asked for it; all is closed even so.
        """
        if self.closed:
            return
        self._check_open()
        self.closing, self.ending, self.interrupts = True, None, 0
        if self.tasks or self.async_generators or self.inbox.posted:
            headroom(ROOM)
            self._enter()
            try:
                self._despite_strikes(self._drain)
            finally:
                self._leave()
        self.closed = True
        self._despite_strikes(self.inbox.close)
        self._give_back()
        ending, self.ending = self.ending, None
        if ending is not None:
            try:
                raise ending
            finally:
                del ending  # its traceback has this frame

    def _give_back(self) -> None:
        """Give back what the system lent."""
        self.give_signals_back()
        self.inbox.give_back()
        self.poller.close()

    def __del__(self) -> None:
        owes = not getattr(self, "closed", True) and (self.tasks or self.inbox.descriptor)
        if not owes or sys.is_finalizing():
            return
        import warnings  # noqa: PLC0415  (see DOC: design/imports)

        self.closed = True
        text = f"{self!r} was never closed: use `with`"
        warnings.warn(text, ResourceWarning, stacklevel=1, source=self)
        self._give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
