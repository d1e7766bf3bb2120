"""The columns: how the task ends. Each is a part of a program, for `yield from`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from microthreads import Cancelled, Event, Kernel, Task, current_task, sleep, spawn

from .held import Failed, Watch
from .row import Act, Row, Steps, World, joining
from .victims import Doing, against_stop, limited, shielded, victim

BARE_YIELDS = 6


@dataclass
class Cell:
    """One program: a row, a form of the task, and who joins it."""

    row: Row
    form: str
    joined: str
    hold: Watch

    def victim(self, world: World, doing: Doing) -> Any:
        """The routine of the task that is to end."""
        return victim(self.form, self.row, world, self.hold, doing)


class Stop(KeyboardInterrupt):
    """What stops everything."""


def settle() -> Steps:
    """Let all go on that can."""
    for _ in range(BARE_YIELDS):
        yield
    yield sleep(0.0005)
    for _ in range(BARE_YIELDS):
        yield


def do(act: Act | None, world: World, hold: Watch) -> Steps:
    """Do what a row has for this."""
    step = None if act is None else act(world, hold)
    if step is not None:
        yield step


def begin(cell: Cell, world: World, doing: Doing) -> Generator[Any, Any, Task[Any]]:
    """Start the task; have it joined, if it is to be."""
    routine = cell.hold.add("routine", cell.victim(world, doing))
    task: Task[Any] = cell.hold.add("task", (yield spawn(routine)))
    if cell.joined == "before":
        yield spawn(joining(task))
    return task


def until(task: Task[Any], outcome: str, cell: Cell) -> Steps:
    """The task ends now, with that outcome."""
    for _ in range(40):
        yield from settle()
        if task.done:
            break
    assert task.done, f"{task} has not ended: {task.waiting_on}"
    got = type(task.exception()).__name__
    kind = {"NoneType": "a result", "Cancelled": "cancelled"}.get(got, "an error")
    assert kind == outcome, f"{task} ended with {task.exception()!r} instead of {outcome}"
    if cell.joined == "after":
        yield joining(task)
        yield joining(task)


# ---- while the kernel goes on


def at_once(cell: Cell, world: World) -> Steps:
    """The call succeeds at once."""
    yield from do(cell.row.ready, world, cell.hold)
    task = yield from begin(cell, world, Doing())
    yield from until(task, "a result", cell)


def result(cell: Cell, world: World) -> Steps:
    """The call waits, and succeeds."""
    task = yield from begin(cell, world, Doing())
    yield from settle()
    yield from do(cell.row.go, world, cell.hold)
    yield from until(task, "a result", cell)


def raises(cell: Cell, world: World) -> Steps:
    """The call waits, and succeeds; then the task fails by itself."""
    task = yield from begin(cell, world, Doing(raises=True))
    yield from settle()
    yield from do(cell.row.go, world, cell.hold)
    yield from until(task, "an error", cell)


def refused(cell: Cell, world: World) -> Steps:
    """The call fails at once."""
    yield from do(cell.row.refused, world, cell.hold)
    task = yield from begin(cell, world, Doing())
    yield from until(task, "an error", cell)


def error(cell: Cell, world: World) -> Steps:
    """The call waits, and fails."""
    task = yield from begin(cell, world, Doing())
    yield from settle()
    yield from do(cell.row.fail, world, cell.hold)
    yield from until(task, "an error", cell)


def cancelled(cell: Cell, world: World) -> Steps:
    """The task is cancelled in the call."""
    task = yield from begin(cell, world, Doing())
    yield from settle()
    task.cancel(cell.hold("reason"))
    yield from until(task, "cancelled", cell)


def cancelled_first(cell: Cell, world: World) -> Steps:
    """The task is cancelled before it has begun."""
    kernel = current_task().kernel
    task = kernel.spawn(cell.hold.add("routine", cell.victim(world, Doing())))
    cell.hold.add("task", task).cancel(cell.hold("reason"))
    if cell.joined == "before":
        yield spawn(joining(task))
    yield from until(task, "cancelled", cell)


def time_limit(cell: Cell, world: World) -> Steps:
    """The call is ended by a time limit."""
    task = yield from begin(cell, world, Doing(block=limited))
    yield sleep(0.003)
    yield from until(task, "an error", cell)


def lost(cell: Cell, world: World) -> Steps:
    """Another call of the same select goes first."""
    world.stop = Event()
    task = yield from begin(cell, world, Doing(wrap=against_stop))
    yield from settle()
    world.stop.set()
    yield from until(task, "a result", cell)


# ---- where run() ends


def abandoned(cell: Cell, world: World) -> Steps:
    """The task does not end, and run() has no more time for it."""
    yield from begin(cell, world, Doing(stays=True))
    yield from settle()
    raise cell.hold.error("error of main")


def stopped(cell: Cell, world: World) -> Steps:
    """The task is in the call when the kernel stops at once."""
    yield from begin(cell, world, Doing(block=shielded))
    yield from settle()
    kernel = current_task().kernel
    kernel.post(stop, kernel)
    try:
        yield sleep(1)
    except Cancelled:
        kernel.post(stop, kernel)
        raise


def stop(kernel: Kernel) -> None:
    """As the third Ctrl-C does."""
    kernel.interrupts = 3
    raise Stop


def run_fails(cell: Cell, world: World) -> Steps:
    """The main task fails, and everything is cancelled."""
    yield from begin(cell, world, Doing())
    yield from settle()
    raise cell.hold.error("error of main")


ENDS = (Failed, Stop)
"""What run() raises in these."""


@dataclass(frozen=True)
class Way:
    """A column.

    Attributes:
        name: Its heading.
        program: What happens.
        needs: What a row must have for it: the name of an attribute.
        ends_run: Whether run() ends by it.
        joins: The ways in which somebody joins the task.
    """

    name: str
    program: Callable[[Cell, World], Steps]
    needs: str = "parks"
    ends_run: bool = False
    joins: tuple[str, ...] = ("never", "before", "after")

    def fits(self, row: Row) -> bool:
        """Whether a task in that call can end in this way."""
        if self.name == "lost" and not row.selectable:
            return False
        return self.name in row.soon or getattr(row, self.needs) not in (None, False)


WAYS = (
    Way("at once", at_once, "ready"),
    Way("result", result, "go"),
    Way("fails", raises, "go"),
    Way("refused", refused, "refused"),
    Way("error", error, "fail"),
    Way("cancel", cancelled),
    Way("unbegun", cancelled_first, "name"),
    Way("limit", time_limit),
    Way("lost", lost, joins=("never",)),
    Way("grace", abandoned, ends_run=True, joins=("never", "before")),
    Way("stopped", stopped, ends_run=True, joins=("never", "before")),
    Way("run", run_fails, ends_run=True, joins=("never", "before")),
)
