"""What may be the matter when nothing can go on: said below the table of a DeadlockError.

Two mistakes end in a deadlock, and no table of tasks can show them. A thread, or another
kernel, was to wake a task, and does it by a call that this kernel cannot hear. Or a routine
or a system call was made and thrown away, without a `yield`: what the tasks wait for was
never begun. The first is seen by the threads that are alive, the second in the source of the
functions in which the tasks stand, where a call is a statement of its own.

Only what may have run is told of, and what the names mean is looked up in the frame: a line
that is right must not be blamed. What a function did that has returned is not seen here; the
debug mode sees that.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Iterable, Iterator
from functools import lru_cache
from inspect import CO_COROUTINE, CO_GENERATOR
from textwrap import wrap
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from microthreads.kernel import Task
from microthreads.kernel.routines import frames_of
from microthreads.names import TO_BE_YIELDED, meaning
from microthreads.places import is_ours
from microthreads.runtime.snapshots import short_path

MOST_LINES = 5
WIDTH = 90


def advice_on(tasks: Iterable[Task[Any]]) -> str:
    """What to say below the table of `tasks`, none of which can go on; "" if nothing."""
    return "\n".join([*about_threads(), *about_lost(list(tasks))])


def about_threads() -> list[str]:
    """If other threads are alive: how they reach a kernel, and how it waits for them."""
    threading = sys.modules.get("threading")
    threads = [] if threading is None else threading.enumerate()
    names = [
        each.name
        for each in threads
        if each.ident != get_ident() and not each.name.startswith("microthreads-")
    ]
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return wrap(
        f"other threads are alive ({', '.join(names[:3])}{more}): from there, "
        "`kernel.post(event.set)` wakes a task, where kernel is this one, "
        "`current_task().kernel`; a task in `sleep(math.inf)` keeps it waiting for that",
        WIDTH,
    )


def about_lost(tasks: list[Task[Any]]) -> list[str]:
    """The lines that make a routine or a system call, and throw it away."""
    found = {}
    for frame in own_frames(tasks):
        for line, names, surely in discarded_calls(frame):
            if makes_what_is_yielded(meaning(names, frame)):
                does = "calls" if surely else "perhaps called"
                found[frame.f_code.co_filename, line] = f"{does} {'.'.join(names)}()"
    return [
        f"{short_path(path)}:{line} {calls} without `yield` or `await`, which does nothing"
        for (path, line), calls in sorted(found.items())[:MOST_LINES]
    ]


def own_frames(tasks: list[Task[Any]]) -> Iterator[FrameType]:
    """The frames of the program in which tasks stand, one for each line."""
    seen = set()
    for task in tasks:
        for routine in (*(task.callers or ()), task.routine):
            for frame in frames_of(routine):
                line = frame.f_code, frame.f_lineno
                if line not in seen and not is_ours(frame.f_code):
                    seen.add(line)
                    yield frame


def discarded_calls(frame: FrameType) -> Iterator[tuple[int, list[str], bool]]:
    """The calls that are statements, and may have run by now in `frame`.

    Each is its line, the names of what is called, and whether it has surely run.
    """
    import ast  # noqa: PLC0415  (it takes its time to import)

    code, here = frame.f_code, frame.f_lineno or 0
    function = definition_of(code)
    if function is None:
        return
    spans = set(code.co_positions())  # so nothing of a function in it, or of a changed file
    nodes = list(ast.walk(function))
    loops = [each for each in nodes if isinstance(each, ast.For | ast.AsyncFor | ast.While)]
    around = [range(each.lineno, (each.end_lineno or 0) + 1) for each in loops]
    around = [lines for lines in around if here in lines]
    stored = [each.id for each in nodes if type(each) is ast.Name and type(each.ctx) is ast.Store]
    for node in nodes:
        if type(node) is not ast.Expr or type(node.value) is not ast.Call:
            continue
        call, names = node.value, ast.unparse(node.value.func).split(".")
        span = (call.lineno, call.end_lineno, call.col_offset, call.end_col_offset)
        passed = (node.end_lineno or 0) < here
        may_have_run = passed or any(node.lineno in lines for lines in around)
        if may_have_run and span in spans and stored.count(names[0]) < 2:
            yield call.lineno, names, passed and node in function.body


def definition_of(code: CodeType) -> Any:
    """The `def` in the source that `code` was made of, or None."""
    import ast  # noqa: PLC0415  (it takes its time to import)

    for node in ast.walk(parsed(code.co_filename)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min(each.lineno for each in (node, *node.decorator_list))
            if first == code.co_firstlineno:
                return node
    return None


@lru_cache(maxsize=64)
def parsed(path: str) -> Any:
    """A file's syntax tree, or an empty one."""
    import ast  # noqa: PLC0415  (it takes its time to import)
    from linecache import getlines  # noqa: PLC0415  (likewise)

    try:
        return ast.parse("".join(getlines(path)))
    except (SyntaxError, ValueError):
        return ast.parse("")


def makes_what_is_yielded(thing: Any) -> bool:
    """Whether a call of `thing` makes a routine or a system call."""
    if isinstance(thing, MethodType | staticmethod | classmethod):
        thing = thing.__func__
    if not isinstance(thing, FunctionType):
        return False
    if is_ours(thing.__code__):
        return str(thing.__annotations__.get("return")).startswith(TO_BE_YIELDED)
    return bool(thing.__code__.co_flags & (CO_GENERATOR | CO_COROUTINE))
