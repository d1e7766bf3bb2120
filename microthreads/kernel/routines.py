"""Routines: what a task runs, and what can be asked of one without running it.

A routine is a generator or a coroutine object that has not been started.
Python has no public way to ask that cheaply (`gi_frame` builds a frame object
that stays with the generator, 144 bytes on CPython 3.13), so the questions are
put here, in one place, in order of cost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from gc import get_referents
from types import CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, TypeAlias, TypeVar

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

T = TypeVar("T")
Routine: TypeAlias = Generator[Any, Any, T] | Coroutine[Any, Any, T]


Place: TypeAlias = tuple[CodeType, int]
"""A line of code, as cheaply as can be: the code, and how far in it, in bytes."""


latest: Any = (None, 0)  # the place that was asked for last


def place_of_caller() -> Place:
    """The line that called the caller of this function.

    One object for all that ask from one line, one after the other: a program mostly
    starts its tasks in a loop, and 100,000 of them take 10 MB less.
    """
    global latest  # noqa: PLW0603
    frame = sys._getframe(2)
    code, reached = frame.f_code, frame.f_lasti
    place: Place = latest
    if place[0] is not code or place[1] != reached:
        latest = place = (code, reached)
    return place


def shown(place: Place | None) -> str:
    """A place as "file:line in function"."""
    if place is None:
        return "an unknown place"
    code, reached = place
    lines = [line for start, end, line in code.co_lines() if start <= reached < end and line]
    return f"{code.co_filename}:{(lines or [code.co_firstlineno])[0]} in {code.co_name}"


def is_routine(thing: Any) -> bool:
    """Whether `thing` is a generator or a coroutine object."""
    kind = type(thing)
    return (
        kind is GeneratorType or kind is CoroutineType or isinstance(thing, Generator | Coroutine)
    )


def check_routine(thing: Any, verb: str) -> None:
    """Raise a TypeError that says what to do unless `thing` is a routine."""
    if is_routine(thing):
        return
    flags = getattr(getattr(thing, "__code__", None), "co_flags", 0)
    if isinstance(thing, AsyncGenerator) or flags & ASYNC_GENERATOR:
        raise TypeError(
            f"{verb}() got {getattr(thing, '__name__', thing)}, which has a yield in an async "
            "def: that makes it an async generator, and no routine; await system calls there "
            "instead, or iterate over it in another async def"
        )
    if callable(thing):
        name = getattr(thing, "__name__", "main")
        raise TypeError(f"{verb}() got the function {name} itself: call it: {name}()")
    raise TypeError(
        f"{verb}() needs a generator or coroutine, such as main() where main has a yield "
        f"or is an async def; got {thing!r}{_hint(thing)}"
    )


def _hint(thing: Any) -> str:
    """What may be meant by something that is no routine."""
    if thing is None:
        return ": did its yields get lost? A function without one just runs"
    if isinstance(thing, list | tuple):
        return ": give what is in it one by one, as *routines"
    if hasattr(thing, "joiners"):
        return ": that runs already; yield it to wait for it"
    return ": that is a system call; yield it in a routine" if hasattr(thing, "attempt") else ""


ASYNC_GENERATOR = 0x200  # inspect.CO_ASYNC_GENERATOR
FINISHED = 3  # how much a finished generator refers to: its code and its two names


def is_fresh(routine: Any) -> bool:
    """Whether `routine` surely can be started; if not, ask `used_up`.

    One that can start refers to its function as well, a finished one does not.
    """
    return (
        type(routine) is GeneratorType
        and not routine.gi_suspended
        and len(get_referents(routine)) > FINISHED
    )


def used_up(routine: Any) -> str | None:
    """Why `routine` cannot be started any more, or None if it can."""
    if not isinstance(routine, GeneratorType | CoroutineType):
        return None  # another class's own: it knows
    if _ask(routine, "suspended"):
        return "has already been started"
    if _ask(routine, "running"):
        return "is running"
    return "has already finished" if _ask(routine, "frame") is None else None


def name_of(routine: Any) -> str:
    """What a task that runs `routine` is called, unless it is told."""
    return getattr(routine, "__name__", None) or type(routine).__name__


def is_unstarted(routine: Any) -> bool:
    """Whether a live routine surely has not run its first step yet."""
    return _ask(routine, "suspended") is False and _ask(routine, "running") is False


def _ask(routine: Any, what: str) -> Any:
    """An attribute that generators, coroutines and async generators prefix each their way."""
    for prefix in ("gi_", "cr_", "ag_"):
        answer = getattr(routine, prefix + what, None)
        if answer is not None:
            return answer
    return None


def frames_of(routine: Any) -> Iterator[FrameType]:
    """The frames of `routine` and of those it delegates to, outermost first."""
    while routine is not None:
        frame = _ask(routine, "frame")
        if frame is not None:
            yield frame
        routine = getattr(routine, "gi_yieldfrom", None) or _ask(routine, "await")


def is_ours(code: CodeType) -> bool:
    """Whether `code` is this package's own."""
    return code.co_filename.startswith(PACKAGE)


def without_our_frames(error: BaseException) -> BaseException:
    """`error` without the frames of this package at the top of its traceback.

    There stand the run loop and the call's attempt.
    """
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_code):
        trace = trace.tb_next
    return error.with_traceback(trace)


def without_await(trace: TracebackType | None) -> None:
    """Take the `__await__` of a system call, if an await ended there, off the bottom."""
    while trace is not None and trace.tb_next is not None:
        code = trace.tb_next.tb_frame.f_code
        if trace.tb_next.tb_next is None and code.co_name == "__await__" and is_ours(code):
            trace.tb_next = None
        trace = trace.tb_next
