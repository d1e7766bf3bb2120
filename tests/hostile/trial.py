"""Trial: a hostile task beside the innocents, under a time limit, and what came of it."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from microthreads import Task, move_on_after, run, sleep, spawn
from microthreads.observe import Invariants
from microthreads.runtime.reports import abandoned
from microthreads.sim import VirtualClock

from .case import Complaints, Gen
from .innocents import innocents

LIMIT = 4.0  # seconds of real time for one trial, which takes some milliseconds
ACTING = 20.0  # virtual seconds that the hostile task has
ENDING = 20.0  # and that it may take to end when it is cancelled


class TooLong(BaseException):
    """The trial hangs."""


@contextlib.contextmanager
def time_limit(
    seconds: float = LIMIT, kind: type[BaseException] = TooLong, again: float = 1.0
) -> Iterator[None]:
    """Raise `kind` in this block when its time is over, and again if that is no help."""

    def strike(number: int, frame: FrameType | None) -> None:
        raise kind

    handler = signal.signal(signal.SIGALRM, strike)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextlib.contextmanager
def aside() -> Iterator[io.StringIO]:
    """What is logged in this block goes into a text, and what Python cannot raise nowhere.

    Routines that did not end, after a trial that went wrong, are closed here.
    """
    text = io.StringIO()
    logger, handler = logging.getLogger("microthreads"), logging.StreamHandler(text)
    hook, raising, propagate = sys.unraisablehook, logging.raiseExceptions, logger.propagate
    sys.unraisablehook = lambda told: None
    logging.raiseExceptions = logger.propagate = False
    logger.addHandler(handler)
    try:
        yield text
    finally:
        if abandoned:
            abandoned.clear()
            gc.collect()
        logger.removeHandler(handler)
        sys.unraisablehook = hook
        logging.raiseExceptions, logger.propagate = raising, propagate


class World:
    """What the hostile task finds: whom it may harm, and what is noted of them.

    Attributes:
        harm: What went wrong.
        promised: The tasks of innocents, by name.
        log: What was logged.
    """

    def __init__(self, log: io.StringIO) -> None:
        self.harm: Complaints = []
        self.promised: dict[str, Task[Any]] = {}
        self.log = log

    def innocent(self, name: str, routine: Gen, result: Any = None) -> Gen:
        """Start one more innocent task, which must return `result` in time."""
        task = yield spawn(self._watched(name, routine, result), name=name)
        self.promised[name] = task
        return task

    def _watched(self, name: str, routine: Gen, result: Any) -> Gen:
        try:
            got = yield routine
        except BaseException as error:
            self.harm.append(f"{name} was harmed: {told(error)}")
            return
        if got != result:
            self.harm.append(f"{name} returned {got!r}, not {result!r}")

    def main(self, hostile: Callable[[World], Gen], joined: bool, company: bool) -> Gen:
        """Start all, wait, and see what is left."""
        for name, (routine, result) in innocents().items() if company else ():
            yield from self.innocent(name, routine, result)
        task = yield spawn(begun(hostile, self), name="hostile", daemon=True)
        joiner = (yield spawn(quietly(task), daemon=True)) if joined else None
        yield sleep(ACTING)
        for name, each in self.promised.items():
            if not each.done:
                self.harm.append(f"{name} hangs: it is parked on {type(each.waiting_on).__name__}")
                each.cancel()
        task.cancel()
        with move_on_after(ENDING):
            yield from quietly(task)
        if not task.done or (joiner is not None and not joiner.done):
            self.harm.append("the hostile task does not end")


def begun(hostile: Callable[[World], Gen], world: World) -> Gen:
    """The routine of the hostile task; also to make it may fail."""
    return (yield hostile(world))


def quietly(task: Task[Any]) -> Gen:
    """Join `task`, and let it be told to nobody."""
    while not task.done:
        try:
            yield task
        except BaseException:
            if not task.done:
                raise


def trial(
    hostile: Callable[[World], Gen],
    *,
    joined: bool = False,
    observed: bool = True,
    company: bool = True,
    check: Callable[[World], Complaints] | None = None,
) -> Complaints:
    """Run the routine that `hostile` makes beside the innocents; what went wrong."""
    observers = [Invariants()] if observed else []
    options: dict[str, Any] = {"clock": VirtualClock(), "observers": observers, "grace": 1}
    with aside() as log, time_limit():
        world = World(log)
        try:
            run(world.main(hostile, joined, company), **options)
        except BaseException as error:
            return [f"run() raised {told(error)}", *world.harm]
        return world.harm + (check(world) if check is not None else [])


def told(error: BaseException) -> str:
    """An error, whatever its class makes of being shown, and where it was raised."""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = type(error).__name__
    trace = BaseException.__dict__["__traceback__"].__get__(error)
    frames = traceback.extract_tb(trace)[-3:]
    return text + "".join(f" < {frame.name}:{frame.lineno}" for frame in reversed(frames))
