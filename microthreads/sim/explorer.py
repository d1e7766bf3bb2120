"""The explorer: run a program under every schedule, or under many random ones.

A task touches the world only by what it yields, and code between two yields is
atomic. So which ready task goes on is all that a program's behaviour depends
on, once time is virtual and nothing comes from outside; and the kernel asks its
`policy` for just that. The explorer is a policy that answers differently each
time, and nothing in the kernel knows of it:

    explore(program)             every schedule, depth-first: it proves
    explore(program, runs=1000)  a thousand random ones: it finds
    replay(program, schedule)    one again, as often as you like

The verdict is worth what these rest on, so they are checked as well: that a
program does the same under the same schedule (see exploration.py), and that
something was executed at all.

What is explored is the order of resumes. Time passes only when no task is ready,
so timers fire in order of their deadlines, as on a machine that is never late.

Read next: exploration.py for the search, executions.py, schedules.py,
shrinking.py, report.py.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from microthreads.kernel import Routine, place_of_caller, running_kernel
from microthreads.runtime.outside import refuse_nested
from microthreads.runtime.reports import logger
from microthreads.sim.executions import OURS, NoSuchChoice, Program, World
from microthreads.sim.exploration import Exploration, Progress
from microthreads.sim.report import Report, add_note, described, steps_of
from microthreads.sim.schedules import AtRandom, DepthFirst, read

if TYPE_CHECKING:
    from microthreads.runtime.options import WorldOptions

T = TypeVar("T")

MOST_EXECUTIONS = 200_000  # of a depth-first search: some ten seconds of a small program
MOST_STEPS = 1_000


def explore(
    program: Program,
    *,
    runs: int | None = None,
    seed: Any = 0,
    most_executions: int | None = None,
    most_steps: int = MOST_STEPS,
    shrink: bool = True,
    progress: Progress | bool | None = None,
    **kernel_options: Unpack[WorldOptions],
) -> Report:
    """Run a program under every schedule, or under many, and say what came of it.

    A program fails if `run` would raise, or if a task fails that nobody joins. The
    search ends at the first failure, for which a shorter schedule is sought.
    It is stateless model checking by depth-first search, as in VeriSoft
    (Godefroid 1997).

    Args:
        program: A function that returns a fresh main routine; called for each
            execution. All that its tasks share must be made in it, too.
        runs: How many random schedules to execute; None: every schedule, depth-first.
        seed: Which random schedules: a number or a string.
        most_executions: After how many executions a depth-first search gives
            up, inconclusive; by default 200,000.
        most_steps: How many resumes one execution may take. One that takes more
            is inconclusive, and ends a depth-first search.
        shrink: Whether to look for a shorter failing schedule, for at most 500 executions.
        progress: Called about once a second with how many executions there
            were, and for how many seconds; True writes that to standard error.
        **kernel_options: What else `Kernel` takes: grace, observers, network.

    Raises:
        ValueError: A number is below 1, or there is a seed without runs.
        TypeError: `program` is not such a function, or there is no such option.
        KeyboardInterrupt: Ctrl-C was pressed.
        RuntimeError: A kernel is running in this thread.
    """
    place = place_of_caller()
    options: dict[str, Any] = {**kernel_options}
    _check(program, options, "explore")
    most = _bound(runs, seed, most_executions, most_steps)
    options["observers"] = tuple(options.get("observers", ()))  # for two kernels
    plain = World(program, most_steps, options, place)
    recorded = World(program, most_steps, options, place, recorded=True)
    search = DepthFirst() if runs is None else AtRandom(seed)
    with closing(plain), closing(recorded), _quietly():
        exploration = Exploration(program, plain, recorded, search, shrink=shrink)
        return exploration.run(most, _progress(progress))


def replay(
    program: Callable[[], Routine[T]],
    schedule: str,
    *,
    most_steps: int = MOST_STEPS,
    **kernel_options: Unpack[WorldOptions],
) -> T:
    """Run a program once more under a schedule that `explore` reported.

    Args:
        program: The function that was explored.
        schedule: The report's `schedule`.
        most_steps: How many resumes it may take.
        **kernel_options: Those that were given to `explore`.

    Returns:
        What the main routine returned, if it did not fail this time.

    Raises:
        BaseException: The program failed; its own error, with a note that shows
            the schedule step by step.
        ValueError: The string is no schedule, or not one of this program.
        RuntimeError: The program did not end; or a kernel is running in this thread.
    """
    options: dict[str, Any] = {**kernel_options}
    _check(program, options, "replay")
    choices = read(program, schedule, most_steps)
    place = place_of_caller()
    with closing(World(program, most_steps, options, place, recorded=True)) as world:
        execution = world.execute(choices)
    if isinstance(execution.stopped, NoSuchChoice) or execution.made < len(choices):
        why = execution.stopped or f"there were {execution.made} choices, and it makes more"
        raise ValueError(f"{schedule!r} is a schedule of another version of the program: {why}")
    if execution.stopped is not None:
        raise RuntimeError(str(execution.stopped))
    if execution.failure is not None:
        add_note(execution.failure, described(steps_of(execution), schedule))
        raise execution.failure
    result: T = execution.result
    return result


def _check(program: Any, kernel_options: dict[str, Any], verb: str) -> None:
    kernel = running_kernel()
    if kernel is not None:
        refuse_nested(kernel)
    if not callable(program):
        raise TypeError(
            f"{verb}() needs a function that returns a fresh main routine, such as main itself "
            f"and not main(): it is called for each execution; got {program!r}"
        )
    for name in OURS:
        if name in kernel_options:
            raise TypeError(f"{verb}() takes no {name}=: it has its own")


def _bound(runs: int | None, seed: Any, most_executions: int | None, most_steps: int) -> int:
    """How many executions there may be."""
    if runs is None and seed != 0:
        raise ValueError("seed= is for random schedules: say how many with runs=")
    if runs is not None and most_executions is not None:
        raise ValueError("most_executions= bounds a depth-first search: leave it out with runs=")
    most = MOST_EXECUTIONS if most_executions is None else most_executions
    for name, number in (("runs", runs), ("most_executions", most), ("most_steps", most_steps)):
        if number is not None and number < 1:
            raise ValueError(
                f"explore() needs {name} >= 1, got {number}: nothing would be executed"
            )
    return most if runs is None else runs


def _progress(progress: Progress | bool | None) -> Progress | None:
    return _write_progress if progress is True else (progress or None)


def _write_progress(executions: int, seconds: float) -> None:
    sys.stderr.write(f"{executions:,} executions in {seconds:.0f} s\n")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep out of the log what kernels in this thread have to say, many times over."""
    here = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return threading.get_ident() != here

    logger().addFilter(from_elsewhere)
    try:
        yield
    finally:
        logger().removeFilter(from_elsewhere)
