"""One execution of a program: a world of its own, and a policy that is told what to choose.

A *choice point* is a moment with more than one ready task; which of them goes
on is a *choice*, an index into the ready queue. 0 is the first, as in round
robin. Code between two yields is atomic, so a program that takes all else from
its arguments does the same whenever the same choices are made.

- Each execution starts from the same state: time 0, tasks numbered from 1.
- `World` keeps one kernel for all executions, since making one is half of the
  cost of a small program (19 us a run against 40). One that was stopped midway
  is not used again.
- Nothing comes from outside; see isolation.py.

Read next: recorder.py for what is kept of an execution, explorer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NoReturn, TypeAlias

from microthreads.kernel import Place, Routine, Task, check_routine
from microthreads.kernel.routines import is_fresh, used_up
from microthreads.places import without_our_frames
from microthreads.runtime import Kernel
from microthreads.sim.clock import VirtualClock
from microthreads.sim.isolation import NoDescriptors, NoNetwork, Stopped
from microthreads.sim.recorder import Moment, Recorder

Program: TypeAlias = Callable[[], Routine[Any]]
Pick: TypeAlias = Callable[[int], int]

Point: TypeAlias = tuple[int, int, int, int, str]
"""A choice that was made: (step, choice, how many were ready, task's id, task's name).

A plain tuple: one is made at each choice point, and a NamedTuple costs six times as much.
"""

CLEAN_UP_STEPS = 1_000  # what a program that is stopped may take for its `finally` blocks
OURS = ("clock", "policy", "poller", "on_crash")  # the kernel options that make the world


class NoSuchChoice(Stopped):
    """The schedule chooses a task that is not there."""


class Chooser:
    """The policy of one execution: `choices` one after the other, and then what `pick` says.

    Args:
        choices: What to choose at the first choice points.
        pick: Given the number of ready tasks, which to choose after those; None: the first.
        most_steps: How many resumes to allow.
    """

    def __init__(self, choices: Sequence[int], pick: Pick | None, most_steps: int) -> None:
        self.points: list[Point] = []
        self.steps = 0
        self._choices = choices
        self._pick = pick
        self._most_steps = most_steps

    def __call__(self, ready: list[Task[Any]]) -> int:
        self.steps += 1
        if self.steps > self._most_steps:
            self._overrun()
        options = len(ready)
        if options == 1:
            return 0
        points = self.points
        depth = len(points)
        if depth < len(self._choices):
            choice = self._choices[depth]
            if choice >= options:
                self._refuse(depth, choice, options)
        else:
            choice = 0 if self._pick is None else self._pick(options)
        task = ready[choice]
        points.append((self.steps, choice, options, task.id, task.name))
        return choice

    def _overrun(self) -> NoReturn:
        steps, self._most_steps = self._most_steps, self.steps + CLEAN_UP_STEPS
        self._follow_nothing()
        raise Stopped(f"an execution had not ended after {steps} steps: a livelock?")

    def _refuse(self, depth: int, choice: int, options: int) -> NoReturn:
        self._follow_nothing()
        raise NoSuchChoice(
            f"at step {self.steps} the schedule chooses ready task {choice} for its choice "
            f"{depth + 1}, and there are only {options}, counted from 0"
        )

    def _follow_nothing(self) -> None:
        """What is left is clean-up, in round robin."""
        self._choices, self._pick = (), None


class Execution:
    """What came of one execution.

    Attributes:
        result: What the main routine returned, if it did.
        failure: The error that the program failed with, or None.
        stopped: Why it was given up, or None.
        points: The choices that were made; of a recorded failure, until then.
        made: How many choices there were in all.
        steps: How many resumes there were.
        trace: What was recorded, step by step, until the failure.
    """

    __slots__ = ("failure", "made", "points", "result", "steps", "stopped", "trace")

    def __init__(self, points: list[Point]) -> None:
        self.result: Any = None
        self.failure: BaseException | None = None
        self.stopped: Stopped | None = None
        self.points = points
        self.made = 0
        self.steps = 0
        self.trace: list[Moment] = []

    @property
    def choices(self) -> tuple[int, ...]:
        """The choices, without those at the end that round robin makes anyway."""
        made = [point[1] for point in self.points]
        while made and made[-1] == 0:
            made.pop()
        return tuple(made)


class World:
    """Where executions of one program happen, one after the other.

    Args:
        program: Returns a fresh main routine each time it is called.
        most_steps: How many resumes one execution may take.
        options: What else `Kernel` takes.
        place: Where the exploration was asked for.
        recorded: Whether executions are recorded, which takes twice as long and more.
    """

    def __init__(
        self,
        program: Program,
        most_steps: int,
        options: dict[str, Any],
        place: Place,
        *,
        recorded: bool = False,
    ) -> None:
        self._program = program
        self._most_steps = most_steps
        self._options = {"network": NoNetwork()} | options
        self._place = place
        self._recorder = Recorder() if recorded else None
        self._kernel: Kernel | None = None
        self._crash: tuple[BaseException, int] | None = None

    def execute(self, choices: Sequence[int] = (), pick: Pick | None = None) -> Execution:
        """Run the program once from its beginning, under these choices.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            TypeError: The program did not return a routine.
            ValueError: It returned one that has run already.
        """
        kernel = self._new_world()
        kernel.policy = chooser = Chooser(choices, pick, self._most_steps)
        execution = Execution(chooser.points)
        try:
            main = self._program()
        except Exception as error:
            execution.failure = without_our_frames(error)
            return execution
        _check(main)
        try:
            execution.result = kernel.run(main, place=self._place)
        except BaseException as error:
            if _is_ctrl_c(kernel, error):
                raise
            self._ended_by(execution, kernel, error)
        if execution.failure is None and self._crash is not None:
            execution.failure = self._crash[0]
        execution.steps, execution.made = chooser.steps, len(chooser.points)
        if self._recorder is not None:
            self._keep_record(execution, self._recorder)
        return execution

    def _new_world(self) -> Kernel:
        """The kernel, as if it had just been made."""
        if self._kernel is None:
            self._kernel = Kernel(poller=NoDescriptors(), on_crash=self._crashed, **self._options)
            if self._recorder is not None:
                self._kernel.observe(self._recorder)
        kernel = self._kernel
        kernel.clock = clock = VirtualClock()
        kernel.now = clock.now
        kernel.ids = count(1)
        kernel.switches = 0
        self._crash = None
        if self._recorder is not None:
            self._recorder.begin(kernel)
        return kernel

    def _ended_by(self, execution: Execution, kernel: Kernel, error: BaseException) -> None:
        """`run` raised: the program failed, or was stopped, or was stopped once it had failed."""
        if not isinstance(error, Stopped):
            execution.failure = without_our_frames(error)
            return
        if error.__cause__ is not None and not isinstance(error.__cause__, Stopped):
            execution.failure = error.__cause__
        elif self._crash is None:
            execution.stopped = error
        self.close()

    def _crashed(self, task: Task[Any]) -> None:
        kernel, error = self._kernel, task.exception()
        assert kernel is not None
        assert error is not None
        if self._crash is None and not isinstance(kernel.ending, Stopped):
            self._crash = error, 0 if self._recorder is None else self._recorder.steps

    def _keep_record(self, execution: Execution, recorder: Recorder) -> None:
        trace = recorder.end()
        if self._crash is not None and execution.failure is self._crash[0]:
            trace = trace[: self._crash[1]]
        execution.trace = trace
        if execution.failure is not None:
            execution.points = [point for point in execution.points if point[0] <= len(trace)]

    def close(self) -> None:
        """Let go of the kernel; the next execution gets another."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()


def _check(main: Any) -> None:
    try:
        check_routine(main, "explore")
    except TypeError as error:
        raise TypeError(f"the program must return a fresh main routine: {error}") from None
    problem = None if is_fresh(main) else used_up(main)
    if problem is not None:
        raise ValueError(
            "a program is a function that makes a fresh main routine each time it is called, "
            f"and this one returned {main!r}, which {problem}"
        )


def _is_ctrl_c(kernel: Kernel, error: BaseException) -> bool:
    """Whether a person interrupted, rather than a task that raised KeyboardInterrupt itself."""
    return kernel.interrupts > 0
