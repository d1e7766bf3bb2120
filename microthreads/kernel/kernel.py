"""The kernel: tasks that yield system calls, and the loop that serves them.

A task is a generator or a coroutine. It touches the world in one way only: it
yields a system call, a small value that says what it wants, and is resumed
with the result. The kernel is the only code that performs one. That is the
whole idea; all else follows from it.

The life of a system call is the order of this file. Read it downwards:

    0  what the kernel knows     ready queue, tasks, timers, poller, clock
    1  run                       poll, then one round over what is ready
    2  resume                    send the last result into the routine
    3  trap                      it yielded a call: attempt it now
    4  park                      it cannot go on: arm the call (in the trap)
    5  poll                      I/O and timers; nothing to wait for: deadlock
    6  wake                      the only way back to the ready queue (`Task.woken`)
    7  spawn, cancel, exit       how tasks begin and end

Rules that the rest relies on:

- Every yield to the kernel is a schedule point and a cancel point, and nothing
  else is. Code between two yields is atomic.
- A task is in exactly one of ready, running, parked, done (task.State), and a
  parked task is armed for exactly the calls it waits on.
- A task whose call has succeeded has won: a cancellation that comes later is
  raised at its next yield, so that nothing received is ever lost.
- Between the poller's report and the next resume only attempts run, never a
  task, so no report can be out of date when it is acted on.
- A task cannot stop the kernel. Only a broken invariant can. What a signal handler
  raises while the kernel itself works ends the run, and every task cleans up: see
  `mend` in runtime/interrupts.py.
- The kernel keeps nothing alive: what has ended is held by those alone who can ask for it.

Where to read next: syscalls.py for the protocol, task.py, scopes.py for
cancellation, descriptors.py and pollers.py for I/O. docs/life-of-a-system-call
walks one `recv` through all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from gc import get_referents
from itertools import count
from types import GeneratorType
from typing import Any, ClassVar, Protocol, TypeVar

from microthreads.kernel.clock import Clock, MonotonicClock
from microthreads.kernel.pollers import Poller
from microthreads.kernel.routines import (
    FINISHED,
    Routine,
    awaits,
    check_identity,
    check_routine,
    given_to,
    is_fresh,
    is_routine,
    is_suspended,
    used_up,
)
from microthreads.kernel.scopes import reaching
from microthreads.kernel.syscalls import PENDING, Failure, SystemCall
from microthreads.kernel.task import Join, Task
from microthreads.kernel.timers import Timers
from microthreads.places import Place, without_await

T = TypeVar("T")

# Resumes between two polls while tasks stay ready. Polling after each round
# costs some 400 ns a switch when only a task or two is ready.
RESUMES_PER_POLL = 61

Policy = Callable[[list["Task[Any]"]], int]


class Observer(Protocol):
    """Told of each transition; `observe.Observer` says more, and is made to inherit from."""

    def spawned(self, task: Task[Any]) -> None: ...
    def resumed(self, task: Task[Any]) -> None: ...
    def parked(self, task: Task[Any], call: SystemCall[Any]) -> None: ...
    def woken(self, task: Task[Any], value: Any) -> None: ...
    def ended(self, task: Task[Any]) -> None: ...
    def idle(self, seconds: float | None) -> None: ...


class Core:
    """The scheduler itself. `microthreads.Kernel` is this with a beginning and an end.

    Args:
        clock: What tells the time; see `microthreads.sim.VirtualClock`.
        poller: What tells which descriptors are ready; see pollers.py.
        policy: Which ready task runs next: given the ready queue, the index of
            one. By default the first, which is round robin.
        observers: Told of each transition; see `Observer`.
    """

    __slots__ = (
        "_called", "again", "batch", "clock", "current", "hurry", "ids", "live", "now",
        "observers", "outside", "policy", "poller", "portions", "ready", "shields_broken",
        "switches", "tasks", "timers",
    )  # fmt: skip

    default_observers: ClassVar[tuple[Observer, ...]] = ()
    """Observers of every kernel that is made; for debugging and tests."""

    # 0. What the kernel knows

    def __init__(
        self,
        *,
        poller: Poller,
        clock: Clock | None = None,
        policy: Policy | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self.clock = MonotonicClock() if clock is None else clock
        self.now = self.clock.now
        self.poller = poller
        self.policy = policy
        self.observers: tuple[Observer, ...] = (*self.default_observers, *observers)
        self.ready: list[Any] = []  # a FIFO: appended to, and taken whole
        self.current: Task[Any] | None = None
        self.batch: list[Any] = []  # the tasks that are being resumed
        self.portions: list[list[Any]] = []  # the rest of a long round, the next ones last
        self.again: list[Any] = []  # calls to retry: they have more to do, or a look was cut short
        self.tasks: dict[Routine[Any], Task[Any]] = {}  # all that are not done
        self._called: dict[Routine[Any], Task[Any]] = {}  # routines that others yielded
        self.live = 0  # how many of them are not daemons
        self.timers = Timers()
        self.hurry = False  # to poll before anything else is resumed
        self.shields_broken = False  # whether shields have had their time
        self.outside = 0  # how much work elsewhere may still wake a task
        self.switches = 0  # how many resumes there have been
        self.ids = count(1)

    # 1. Run: poll, then one round over what is ready

    def turn(self, *, block: bool = True) -> None:
        """Wait until something can go on (or only look), and let it."""
        try:
            self._poll(block)
            self._round()
        except BaseException as error:
            self._cut_short(error)
            raise

    def _cut_short(self, error: BaseException) -> None:
        """A signal handler, mostly, has raised in the kernel itself. A subclass mends that."""

    # 2. Resume: send the last result into the routine

    def _round(self) -> None:  # noqa: C901, PLR0912  (the run loop)
        """Resume every task that was ready, once; and again while they are few.

        The one loop that every switch goes through, so it is written out: no
        calls but those it is about. Taking the whole queue and walking it
        costs 10 ns a resume less than a `popleft` for each.
        """
        policy, trap, end, portions = self.policy, self._trap, self.exit, self.portions
        left = RESUMES_PER_POLL
        task = request = value = None
        while (ready := portions or self.ready) and left > 0 and not self.hurry:
            if portions:
                batch = portions.pop()
            elif policy is not None:
                batch = [self.ready.pop(policy(self.ready))]
            else:
                self.ready, batch = [], ready
                if len(batch) > RESUMES_PER_POLL:
                    batch = self._first_portion(batch)
            self.batch = batch  # where a fork finds it
            left -= len(batch)
            again = self.ready  # a plain `again.append(task)` is what CPython runs fastest
            for task in self._told(batch) if self.observers else batch:
                self.current = task
                while True:  # once, and once more for each caller that it returns to
                    value = task.value
                    try:
                        if value is None:
                            request = task.step.send(None)
                        else:
                            task.value = None
                            if type(value) is not Failure or awaits(task.routine):
                                request = task.step.send(value)
                            else:
                                request = task.step.throw(value.raised())
                    except StopIteration as stop:
                        value = stop.value
                    except BaseException as error:
                        if is_suspended(task.routine) is not None:  # it is not what raised
                            raise
                        value = Failure.caught(error)
                    else:
                        if (request is None and task.cancelled is None) or trap(task, request):
                            again.append(task)
                        break
                    if task.callers is None and task.scope is None:
                        end(task, value)
                        break
                    if not self._return(task, value):
                        break
        self.switches += RESUMES_PER_POLL - left
        self.current = task = request = value = None
        self.batch = ready = batch = again = []  # an error's traceback may keep this frame

    def _first_portion(self, batch: list[Any]) -> list[Any]:
        """Put a long round off but for its first part: the clock is looked at in between."""
        size = RESUMES_PER_POLL
        self.portions += [batch[i : i + size] for i in range(size, len(batch), size)][::-1]
        return batch[:size]

    def _told(self, batch: list[Task[Any]]) -> Iterator[Task[Any]]:
        """The tasks of `batch`; each one's resume is observed just before it is given out."""
        for task in batch:
            self.current = task
            for observer in self.observers:
                observer.resumed(task)
            yield task

    def _return(self, task: Task[Any], outcome: Any) -> bool:
        """The task's routine has ended, with a result or a `Failure`.

        Its outcome goes to the routine that yielded it; if there is none, the
        task is done. Returns whether there is one, to be resumed at once.
        """
        if not task.callers and task.scope is not None:
            outcome = self._left_open(task, outcome)
        if not task.callers:
            self.exit(task, outcome)
            return False
        del self._called[task.routine]
        task.switch_to(task.callers.pop())
        task.value = outcome
        return True

    # 3. Trap: it yielded a call; attempt it now. And 4, park: it cannot go on; arm the call

    def _trap(self, task: Task[Any], request: Any) -> bool:
        """Serve what `task` yielded. Returns whether the task stays ready."""
        value: Any = None  # PENDING: it is being armed
        try:
            if task.cancelled is not None:
                return self._refuse(task, request)
            if not isinstance(request, SystemCall):
                request = self._call(task, request)
                if request is None:
                    return True
            if request.waiter is not None:
                request.refuse_second_waiter()
            value = request.attempt(task)
            if value is PENDING:  # park; a function of its own would cost 50 ns
                request.waiter, task.waiting_on = task, request
                request.arm(task)
                if request.waiter is None or task.cancelled is not None:
                    self._disturbed(task, request)
        except BaseException as error:
            value = self._call_failed(task, request, error, value)
        if value is PENDING:
            for observer in self.observers:
                observer.parked(task, request)
            return False
        task.value = value
        task = request = value = None  # type: ignore[assignment]  # as `_round` does at its end
        return True

    def _refuse(self, task: Task[Any], request: Any) -> bool:
        """`task` is cancelled: its call is not made."""
        assert task.cancelled is not None
        task.value = Failure(task.cancelled.interruption(request))
        if request is not None:
            self.discard(request)
        return True

    def _disturbed(self, task: Task[Any], request: SystemCall[Any]) -> None:
        """Something came while the call was being armed, as a finalizer can."""
        if request.waiter is None:
            request.disarm(task)  # it was woken: what was armed after that
        else:
            self.recheck(task)  # it was cancelled before it had anything to be undone

    def _call_failed(self, task: Task[Any], call: Any, error: BaseException, value: Any) -> Any:
        """The call failed, or, its `value` being PENDING, could not be armed, or not wholly."""
        if value is PENDING:
            try:
                call.disarm(task)
            except BaseException:  # noqa: S110
                pass  # a call of the program's own, which has failed already
            if task.waiting_on is None:
                return PENDING  # it had been woken while it was armed
            task.waiting_on = call.waiter = None
        return Failure.caught(error)

    def discard(self, request: Any) -> None:
        """A call or a routine that was yielded, or was to be, will never be made."""
        try:
            if isinstance(request, SystemCall):
                request.discard(self)
            elif is_routine(request):
                self._check_usable(request, "run")  # or somebody else runs it
                request.close()
                for each in given_to(request):
                    self.discard(each)
        except Exception:  # noqa: S110
            pass  # a call of the program's own; nobody waits for it

    def _call(self, task: Task[Any], routine: Any) -> Join[Any] | None:
        """`task` yielded a routine: run it, on the task's own stack of callers.

        Or it yielded a task, which is joined: by the call that is returned, if that is not done.
        """
        if type(routine) is Task:
            if routine.routine is not None:
                return Join(routine)
            task.value = routine.value  # as the call would say, 200 ns later
            return None
        if routine is None:
            return None  # a bare yield of a task that was cancelled, and is not any more
        if not is_routine(routine):
            if callable(routine):
                check_routine(routine, "yield")
            text = f"{task} yielded {routine!r}, which is no system call, task or routine"
            raise TypeError(text + self._hint(routine))
        if not is_fresh(routine) or routine in self.tasks or routine in self._called:
            self._check_usable(routine, "run")
        if task.callers is None:
            task.callers = []
        task.callers.append(task.routine)
        task.switch_to(routine)
        self._called[routine] = task
        return None

    def _hint(self, thing: Any) -> str:
        """What to do about `thing`, which is no routine to run: for a subclass to say."""
        return ""

    def _check_usable(self, routine: Routine[Any], verb: str) -> None:
        check_identity(routine, verb)
        task = self.tasks.get(routine) or self._called.get(routine)
        why = used_up(routine) if task is None else f"is run by {task} already"
        if why is not None:
            raise RuntimeError(
                f"cannot {verb} {routine!r}: it {why}{self._hint(routine)}"
            ) from None

    # 5. Poll: I/O and timers

    def _poll(self, block: bool = True) -> None:
        """Wake the tasks whose calls can go on; wait for one if no task is ready."""
        self.hurry = False
        before = len(self.ready)
        deadline = self.timers.next_deadline()
        seconds: float | None = 0.0
        hopeless = False
        if block and not self.ready and not self.portions and not self.again:
            hopeless = deadline is None and not self.poller.armed and not self.outside
            if deadline is not None:
                seconds = self.clock.may_block(deadline - self.now())
            elif not hopeless:
                seconds = None
            for observer in self.observers:
                observer.idle(seconds)
        calls = self._look(seconds)
        if calls or self.again:
            calls = self._retry(calls)
        if hopeless and not calls and not self.ready:
            self._deadlock()
        elif deadline is not None:
            if block and not calls and not self.ready and not self.portions:
                self.clock.reach(deadline)
            self.timers.expire_due(self.now())
        if self.portions and len(self.ready) > before:
            self._let_in(before)

    def _retry(self, calls: list[SystemCall[Any]]) -> list[SystemCall[Any]]:
        """Attempt the reported calls again; those that are left if one cuts this short, later."""
        if self.again:  # each once, though the poller may report one that goes on as well
            calls = list({id(call): call for call in (*self.again, *calls)}.values())
        self.again = calls.copy()
        for call in calls:
            call.retry()
        del self.again[: len(calls)]  # behind them are those that have more to do
        return calls

    def _let_in(self, before: int) -> None:
        """In the middle of a long round: what was woken comes next, up to a portion of it."""
        until = before + RESUMES_PER_POLL
        self.portions.append(self.ready[before:until])
        del self.ready[before:until]

    def _look(self, seconds: float | None) -> list[SystemCall[Any]]:
        """Wait, and return the calls to attempt again. A subclass may know of more of them."""
        return self.poller.poll(seconds)

    def _deadlock(self) -> None:
        """Nothing can ever happen again. What follows is for a subclass to say."""
        raise NotImplementedError

    # 6. Wake: the only way back to the ready queue is `Task.woken`

    # 7. Spawn, cancel, exit

    def start(
        self,
        routine: Routine[T],
        name: str | None,
        daemon: bool,
        parent: Task[Any] | None,
        place: Place | None,
    ) -> Task[T]:
        """Make a task of `routine`, which must be one, and put it into the ready queue."""
        task = Task(self, routine, name, daemon, parent, place)
        # What is_fresh says, written out: 40 ns of the 2,000 that a task's life takes.
        if (
            type(routine) is not GeneratorType
            or routine.gi_suspended
            or len(get_referents(routine)) <= FINISHED
            or (self._called and routine in self._called)
        ):
            self._check_usable(routine, "start")
        if self.tasks.setdefault(routine, task) is not task:
            self._check_usable(routine, "start")
        if not daemon:
            self.live += 1
        self.ready.append(task)
        if self.observers:
            for observer in self.observers:
                observer.spawned(task)
        return task

    def recheck(self, task: Task[Any]) -> None:
        """A scope of `task` has changed: find what cancels it now, and make that felt."""
        task.cancelled = scope = None if task.routine is None else reaching(task)
        call = task.waiting_on
        if scope is None or call is None or call.waiter is None:
            return  # or the next yield will see it
        try:
            undone = call.disarm(task)
            value = Failure(scope.interruption(call))
        except BaseException as error:  # a call of the program's own
            undone, value = None, Failure.caught(error)
        if undone is not PENDING:  # else it calls `Task.woken` when it is undone
            task.woken(call, value)

    def _left_open(self, task: Task[Any], outcome: Any) -> Any:
        """The routine of `task` has ended inside blocks of it. A subclass ends these."""
        raise NotImplementedError

    def exit(self, task: Task[Any], outcome: Any) -> None:
        """`task` has ended: keep its outcome, and tell those who wait for it."""
        if type(outcome) is Failure:
            outcome = self._as_outcome(task, outcome)
        routine = task.routine  # which goes last: that may run finalizers
        assert routine is not None
        del self.tasks[routine]
        if not task.daemon:
            self.live -= 1
        task.value = outcome
        task.routine = task.step = task.scope = task.cancelled = task._parent = None
        if type(outcome) is Failure:
            self._failed(task, outcome.error, joined=bool(task.joiners))
        if task.as_parent is not None:
            task.as_parent.clear()
        joiners = task.joiners
        if joiners is not None:
            while joiners.first is not None:
                joiners.wake_first(outcome)
        if task.closing is not None or task.holding:
            self.let_go(task)
        if self.observers:
            for observer in self.observers:
                observer.ended(task)

    def _as_outcome(self, task: Task[Any], failure: Failure) -> Failure:
        """What a task has failed with, as it is kept for those who join."""
        without_await(failure.traceback)
        failure.keep()
        return failure

    def let_go(self, task: Task[Any]) -> None:
        """`task` ended with something to close, or with locks. A subclass sees to them."""

    def put_under(self, task: Task[Any], routine: Routine[Any]) -> None:
        """Have the outcome of `task`'s routine go to `routine`, as if that had yielded it."""
        task.callers = [routine, *(task.callers or ()), task.routine]
        root = task.callers[1]
        task.routine = task.callers.pop()
        self.tasks[routine] = self._called[root] = self.tasks.pop(root)

    def _failed(self, task: Task[Any], error: BaseException, *, joined: bool) -> None:
        """`task` ended with `error`. Who hears of it is for a subclass to say."""
