"""Misheard: a cancellation that is not let through, and results that nobody asks for.

Three more things that a program does not see happen, told of in debug mode:

- a yield in the clean-up of what is cancelled: it is not made, since every yield there
  raises `Cancelled` again, so the rest of the clean-up is cut off;
- a loop that swallows `Cancelled` and goes on, once it has done so 100 times;
- a task that returned something, when nobody can ask for that any more.

The last is about values only. To start a task and never join it is how servers are
written, and such tasks return None; one that fails is reported in any case.

Read next: forgotten.py, which puts this in place.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from microthreads.errors import text_of
from microthreads.kernel import Failure, Task
from microthreads.kernel.routines import frames_of
from microthreads.places import Place, is_ours, line_of

OFTEN = 100  # times: no handler that means it swallows a cancellation so often

deaf: WeakKeyDictionary[Task[Any], int] = WeakKeyDictionary()
"""Tasks that were cancelled, and how many yields they have made in spite of it, in a row."""

asked: set[int] = set()
"""The ids of the tasks whose outcome somebody has asked for."""


def refused(task: Task[Any], request: Any) -> tuple[str, tuple[str, int]] | None:
    """What is to be told of a yield that a cancelled task has made, and of which line."""
    scope = task.cancelled
    again = task in deaf if scope is task else getattr(scope, "delivered", False)
    deaf[task] = times = deaf.get(task, 0) + 1 if again else 0
    line = own_line(task)
    if line is None or times not in (1, OFTEN):
        return None
    if times == OFTEN:
        return (
            f"{task} has swallowed its cancellation {OFTEN} times, and goes on: let `Cancelled` "
            "through, as `except Exception:` does and a bare `except:` does not"
        ), line
    what = "this yield" if request is None else f"`{text_of(request)}`"
    return (
        f"{task} is cancelled, so {what} was cut off, and what follows it: every yield raises "
        "`Cancelled` again. Clean up without yields, or inside `with shield(seconds):`"
    ), line


def own_line(task: Task[Any]) -> tuple[str, int] | None:
    """The line of the program where `task` yields, if no code of the library does."""
    frames = list(frames_of(task.routine))
    if frames and frames[-1].f_code.co_name == "__await__":
        frames.pop()
    if not frames or is_ours(frames[-1].f_code):
        return None
    return frames[-1].f_code.co_filename, frames[-1].f_lineno


def unheard(task: Task[Any]) -> tuple[str, tuple[str, int]] | None:
    """What is to be told of a task that is no more, and of the line that spawned it."""
    heard = id(task) in asked
    asked.discard(id(task))
    value = getattr(task, "value", None)
    place: Place | None = getattr(task, "_place", None)
    done = getattr(task, "routine", task) is None
    if heard or not done or task.daemon or value is None or type(value) is Failure or not place:
        return None
    return (
        f"task {task.name} returned something ({type(value).__name__}) and nobody joined it: "
        "`yield` the task to have that, or have it return nothing"
    ), (place[0].co_filename, line_of(place))
