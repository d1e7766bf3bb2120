"""Supervisor: children that are started again when they fail, as Erlang's are.

What is restarted with a child that has ended is the *strategy*:

    one_for_one    that child alone
    one_for_all    all children
    rest_for_one   that child and those added after it

Whether it is restarted at all is the child's own `restart`: "permanent" always,
"transient" when it failed, "temporary" never. More than `max_restarts` restarts
within `max_seconds` mean that restarting does not help: the supervisor ends all
children and fails itself, so that a supervisor above it can act.

The words and the rules are those of Erlang/OTP's supervisor behaviour. Children
are started in the order in which they were added, and ended in the opposite one.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Literal, TypeVarTuple, get_args

from microthreads.calls import check_seconds
from microthreads.groups.calls import GroupSpawn
from microthreads.groups.group import TaskGroup
from microthreads.kernel import Place, Routine, Task, check_routine, now, place_of_caller
from microthreads.kernel.current import headroom
from microthreads.queues import Queue
from microthreads.runtime.reports import WARNING, log_failure, told
from microthreads.spelling import AwaitableGenerator, any_spelling
from microthreads.timeouts import shield

logger = logging.getLogger("microthreads")

Ts = TypeVarTuple("Ts")

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Restart = Literal["permanent", "transient", "temporary"]


class Child:
    """How a child is started, and the task that it is now.

    Attributes:
        name: Its name.
        restart: When it is started again.
        task: The task that runs it, or None.
        restarts: How many times it was started again.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        restart: Restart,
        place: Place,
    ) -> None:
        self.function = function
        self.args = args
        self.name = name
        self.restart: Restart = restart
        self.place = place
        self.task: Task[Any] | None = None
        self.restarts = 0

    @property
    def running(self) -> bool:
        """Whether it has a task that is not done."""
        return self.task is not None and not self.task.done

    def wants_restart(self, error: BaseException | None) -> bool:
        """Whether it is to be started again, having ended with `error`, or well."""
        return self.restart == "permanent" or (self.restart == "transient" and error is not None)

    def life(self) -> Generator[Any, Any, Any]:
        """What its task runs: whatever goes wrong in starting it is its failure, too."""
        routine = self.function(*self.args)
        check_routine(routine, "add")
        return (yield routine)

    def __repr__(self) -> str:
        return f"<Child {self.name!r}: {self.restart}, {self.restarts} restarts>"


class Supervisor:
    """Runs children, and starts those that fail again.

    ``supervisor.add(worker, 1)``, then ``yield supervisor.run()``, or ``yield
    spawn(supervisor.run())``.

    Args:
        strategy: What is restarted with a child: "one_for_one", "one_for_all" or
            "rest_for_one".
        max_restarts: How many restarts in `max_seconds` are too many; one more
            than this number fails the supervisor.
        max_seconds: In how many seconds; restarts that were longer ago do not count.
        name: What reports call it.

    Attributes:
        children: The children, in the order in which they were added. A temporary one
            is forgotten when it has ended.

    Raises:
        ValueError: No such strategy, or a negative number.
    """

    def __init__(
        self,
        strategy: Strategy = "one_for_one",
        *,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        name: str | None = None,
    ) -> None:
        if strategy not in get_args(Strategy):
            raise ValueError(
                f"no strategy {strategy!r}: choose from {', '.join(get_args(Strategy))}"
            )
        if max_restarts < 0:
            raise ValueError(f"Supervisor() needs max_restarts >= 0, got {max_restarts}")
        self.strategy = strategy
        self.max_restarts = max_restarts
        self.max_seconds = check_seconds(max_seconds, "Supervisor")
        self.name = None if name is None else str(name)
        self._children: dict[Child, None] = {}
        self._group: Children | None = None
        self._restarted: deque[float] = deque()  # when, of the last `max_seconds`
        self._events: Queue[tuple[Child, Task[Any] | None, BaseException | None]] = Queue()

    def add(
        self,
        function: Callable[[*Ts], Routine[Any]],
        *args: *Ts,
        name: str | None = None,
        restart: Restart = "transient",
    ) -> Child:
        """Have ``function(*args)`` run as a child. A plain call, before `run` or during it.

        Args:
            function: Returns a routine, as a generator function or an `async def`
                does; it is called again for each restart.
            *args: Its arguments.
            name: What reports call the child; by default the function's name.
            restart: "permanent": start it again whenever it ends; "transient": when
                it failed; "temporary": never.

        Raises:
            ValueError: There is no such `restart`.
            TypeError: `function` cannot be called.
        """
        if restart not in get_args(Restart):
            raise ValueError(f"no restart {restart!r}: choose from {', '.join(get_args(Restart))}")
        if not callable(function):
            raise TypeError(
                "add() needs a function that returns a routine, and its arguments apart from "
                f"it, since it is called for each restart; got {function!r}"
            )
        called = name or getattr(function, "__name__", None) or "child"
        child = Child(function, args, called, restart, place_of_caller())
        headroom(32)
        self._children[child] = None
        if self._group is not None:
            self._events.put_nowait((child, None, None))
        return child

    @property
    def children(self) -> list[Child]:
        """The children, in the order in which they were added."""
        return list(self._children)

    def run(self) -> AwaitableGenerator[None]:
        """A routine that runs the children, until all have ended for good.

        Raises:
            RuntimeError: There were too many restarts; the last child's error is its
                `__cause__`. All children have ended.
        """
        return self._run()

    @any_spelling
    async def _run(self) -> None:
        if self._group is not None:
            raise RuntimeError(f"{self} is running already")
        self._events, self._restarted = Queue(), deque()
        for child in self._children:
            self._events.put_nowait((child, None, None))
        try:
            async with Children(self) as self._group:
                try:
                    failed = await self._serve()
                finally:
                    with shield(math.inf):
                        for child in reversed(self.children):
                            await self._end(child, f"{self} is ending")
        finally:
            self._forget_tasks()
        if failed is not None:
            name, error = failed[0].name, failed[1]
            del failed  # the traceback of what is raised has this frame
            raise RuntimeError(
                f"{self} gives up on {name}: there were more than {self.max_restarts} "
                f"restarts in {self.max_seconds} s"
            ) from error

    def _forget_tasks(self) -> None:
        self._group = None
        self._events.shutdown(immediate=True)
        self._events = Queue()
        for child in self._children:
            child.task = None

    async def _serve(self) -> tuple[Child, BaseException | None] | None:
        """Start and restart children; return the one that was restarted too often."""
        assert self._group is not None
        while not self._events.empty() or self._group.children:
            child, task, error = await self._events.get()
            if task is None:
                await self._start(child)
            elif task is child.task and child.wants_restart(error):
                if self._too_often():
                    return child, error
                await self._restart(child)
            elif task is child.task and child.restart == "temporary":
                self._children.pop(child, None)
        return None

    def _too_often(self) -> bool:
        self._restarted.append(now())
        while self._restarted[0] < now() - self.max_seconds:
            self._restarted.popleft()
        return len(self._restarted) > self.max_restarts

    async def _restart(self, failed: Child) -> None:
        """Start `failed` again, and what the strategy says is restarted with it."""
        affected = [failed]
        if self.strategy != "one_for_one":
            children = self.children
            first = 0 if self.strategy == "one_for_all" else children.index(failed)
            affected = [child for child in children[first:] if child.task is not None]
        for child in reversed(affected):
            await self._end(child, f"{failed.name} is restarted")
        for child in affected:
            if child.restart == "temporary":
                self._children.pop(child, None)
            else:
                child.restarts += 1
                await self._start(child)

    async def _start(self, child: Child) -> None:
        assert self._group is not None
        routine = child.life()
        await ChildSpawn(self._group, routine, child)

    async def _end(self, child: Child, reason: str) -> None:
        """Cancel `child`, and wait until it has ended, however it does."""
        task = child.task
        try:
            if task is not None and not task.done:
                task.cancel(reason)
                await task
        except BaseException:
            if task is not None and not task.done:
                raise  # it was this task that was cancelled
        finally:
            del self, child, task  # tracebacks have this frame

    def child_ended(self, child: Child, task: Task[Any], error: BaseException | None) -> None:
        """The `task` of a child has ended, with `error` if it failed."""
        if error is not None:
            told(log_failure, error, "%s, a child of %s, failed", task, self, level=WARNING)
        self._events.put_nowait((child, task, error))

    def __str__(self) -> str:
        return f"Supervisor {self.name!r}" if self.name else "Supervisor"

    def __repr__(self) -> str:
        return f"<{self}: {self.strategy}, {len(self._children)} children>"


class Children(TaskGroup):
    """A group that leaves it to its supervisor what the failure of a child means."""

    __slots__ = ("child_of", "supervisor")

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__()
        self.supervisor = supervisor
        self.child_of: dict[Task[Any], Child] = {}

    def ended(self, child: Task[Any], error: BaseException | None) -> None:
        """Tell the supervisor; but sys.exit() is no failure to recover from."""
        of = self.child_of.pop(child)
        if issubclass(type(error), (SystemExit, KeyboardInterrupt)):
            super().ended(child, error)
        else:
            self.supervisor.child_ended(of, child, error)


class ChildSpawn(GroupSpawn[Any]):
    """Start the task of a child, which knows it before the task has begun."""

    __slots__ = ("child",)

    group: Children

    def __init__(self, group: Children, routine: Routine[Any], child: Child) -> None:
        super().__init__(group, routine, child.name, False, child.place)
        self.child = child

    def attempt(self, task: Task[Any]) -> Task[Any]:
        self.child.task = started = super().attempt(task)
        self.group.child_of[started] = self.child
        return started
