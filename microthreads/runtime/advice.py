"""What may be the matter when nothing can go on: said below the table of a DeadlockError.

Two mistakes end in a deadlock, and no table of tasks can show them. A thread, or another
kernel, was to wake a task, and does it by a call that this kernel cannot hear. Or a routine
or a system call was made and thrown away, without a `yield`: what the tasks wait for was
never begun. The first is seen by the threads that are alive, the second in the program's
source, where a call is a statement of its own.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Iterable, Iterator
from functools import lru_cache
from inspect import CO_COROUTINE, CO_GENERATOR, getattr_static
from textwrap import wrap
from types import FrameType, FunctionType, MethodType
from typing import Any

from microthreads.kernel import Task
from microthreads.kernel.routines import frames_of
from microthreads.names import TO_BE_YIELDED
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
        path = frame.f_code.co_filename
        for line, names in discarded_calls(path):
            if (path, line) not in found and to_be_yielded(names, line, frame):
                found[path, line] = ".".join(names)
    return [
        f"{short_path(path)}:{line} calls {name}() without `yield` or `await`, which does nothing"
        for (path, line), name in sorted(found.items())[:MOST_LINES]
    ]


def own_frames(tasks: list[Task[Any]]) -> Iterator[FrameType]:
    """The frames of the program in which tasks stand, one for each piece of code."""
    seen = set()
    for task in tasks:
        for routine in (*(task.callers or ()), task.routine):
            for frame in frames_of(routine):
                code = frame.f_code
                if code not in seen and not is_ours(code):
                    seen.add(code)
                    yield frame


@lru_cache(maxsize=64)
def discarded_calls(path: str) -> list[tuple[int, tuple[str, ...]]]:
    """The calls in a file that are statements of their own: the line, and what is called."""
    import ast  # noqa: PLC0415  (it takes its time to import)
    from linecache import getlines  # noqa: PLC0415  (likewise)

    try:
        tree = ast.parse("".join(getlines(path)))
    except (SyntaxError, ValueError):
        return []
    calls = [
        (node.lineno, node.value.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    dotted = [(line, ast.unparse(function).split(".")) for line, function in calls]
    return [(line, tuple(names)) for line, names in dotted if all(map(str.isidentifier, names))]


def to_be_yielded(names: tuple[str, ...], line: int, frame: FrameType) -> bool:
    """Whether what `names` means in `frame` makes a routine or a system call."""
    first, *rest = names
    code = frame.f_code
    if first not in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
        thing = frame.f_globals.get(first)
    elif line in {each for *_, each in code.co_lines()}:  # elsewhere it is another name
        thing = frame.f_locals.get(first)
    else:
        return False
    for name in rest:
        thing = getattr_static(thing, name, None) if thing is not None else None
    if isinstance(thing, MethodType | staticmethod | classmethod):
        thing = thing.__func__
    if not isinstance(thing, FunctionType):
        return False
    if is_ours(thing.__code__):
        return str(thing.__annotations__.get("return")).startswith(TO_BE_YIELDED)
    return bool(thing.__code__.co_flags & (CO_GENERATOR | CO_COROUTINE))
