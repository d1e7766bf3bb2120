"""Places: lines of code, and the frames of a traceback, as cheaply as can be.

Whose line is it, the program's or ours? Errors and tables show the program's.

It imports nothing else of microthreads, so that every layer can import it.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, TracebackType
from typing import Any, TypeAlias

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

MANY_FRAMES = 200
RESUMABLE = 0x20 | 0x80 | 0x100 | 0x200  # the flags of generators, coroutines and the like

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
    code, _ = place
    return f"{code.co_filename}:{line_of(place)} in {code.co_name}"


def line_of(place: Place) -> int:
    """The number of the line."""
    code, reached = place
    lines = [line for start, end, line in code.co_lines() if start <= reached < end and line]
    return lines[0] if lines else code.co_firstlineno


def is_ours(code: CodeType) -> bool:
    """Whether `code` is this package's own."""
    return code.co_filename.startswith(PACKAGE)


def none_runs(what: str) -> RuntimeError:
    """The error of a plain call, outside tasks, that needs a running task or kernel: `what`.

    Mostly the caller is a function that was to be a routine, and has lost its yields: then
    calling it has run it, before `run` could.
    """
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and is_ours(frame.f_code):
        frame = frame.f_back
    text = f"no {what} is running in this thread: use microthreads.run(main())"
    code = frame.f_code
    if code.co_name == "<module>" or code.co_flags & RESUMABLE:
        return RuntimeError(text)
    return RuntimeError(
        f"{text}, where main has a yield or is an async def; {code.co_name} has no yield, so "
        f"{code.co_name}() runs at once, as any function does"
    )


get_traceback = vars(BaseException)["__traceback__"].__get__
"""The traceback of an error, whatever its class makes of the name."""


def is_from_us(error: BaseException) -> bool:
    """Whether `error` was raised by this package's own code."""
    trace: TracebackType | None = get_traceback(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and is_ours(trace.tb_frame.f_code)


def without_our_frames(error: BaseException) -> BaseException:
    """`error` without the frames of this package at the top of its traceback.

    There stand the run loop and the call's attempt. The frames below still lead to them
    (`f_back`), so what they held is let go, where they have ended.
    """
    trace: TracebackType | None = get_traceback(error)
    while trace is not None and is_ours(code := trace.tb_frame.f_code):
        if not code.co_flags & RESUMABLE:
            try:
                trace.tb_frame.clear()
            except RuntimeError:
                pass  # it goes on
        trace = trace.tb_next
    return BaseException.with_traceback(error, trace)


def without_await(trace: TracebackType | None) -> None:
    """Take the `__await__` of a system call, if an await ended there, off the bottom.

    Of a traceback that is not very long: an error that goes from task to task gets longer
    with each, and is looked at in each.
    """
    for _ in range(MANY_FRAMES):
        if trace is None or trace.tb_next is None:
            return
        code = trace.tb_next.tb_frame.f_code
        if trace.tb_next.tb_next is None and code.co_name == "__await__" and is_ours(code):
            trace.tb_next = None
        trace = trace.tb_next
