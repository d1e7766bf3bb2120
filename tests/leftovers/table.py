"""All rows, and how a cell is counted."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from microthreads import Kernel, sleep, spawn
from microthreads.runtime import kernel as kernels

from .block_rows import BLOCK_ROWS
from .call_rows import CALL_ROWS
from .held import Watch
from .kernel_rows import KERNEL_ROWS, kernel_cell
from .lock_rows import LOCK_ROWS
from .outside_rows import OUTSIDE_ROWS
from .queue_rows import QUEUE_ROWS
from .row import LONG, SHORT, Row, Steps, World, end_abandoned
from .ways import ENDS, WAYS, Cell, Way, do, settle

ROWS = (*CALL_ROWS, *BLOCK_ROWS, *QUEUE_ROWS, *LOCK_ROWS, *OUTSIDE_ROWS)
NAMES = (*(row.name for row in ROWS), *KERNEL_ROWS)
BY_NAME = {row.name: row for row in ROWS}
BY_WAY = {way.name: way for way in WAYS}
JOINS = ("never", "before", "after")
FORMS = ("generator", "coroutine")
GRACE = 0.005  # seconds that run() gives those who do not end


@contextmanager
def alone() -> Iterator[None]:
    """The collector is off, and nobody logs; run() is quick to give up.

    What abandoned routines raise when they are closed is not printed either.
    """
    log = logging.getLogger("microthreads")
    logs, collecting = (log.handlers, log.propagate), gc.isenabled()
    shields, hook = kernels.WITHOUT_SHIELDS, sys.unraisablehook
    log.handlers, log.propagate, kernels.WITHOUT_SHIELDS = [logging.NullHandler()], False, GRACE
    sys.unraisablehook = lambda _: None
    gc.disable()
    try:
        yield
    finally:
        gc.collect()  # what is left, if anything is: here, and not in somebody else's test
        sys.unraisablehook, kernels.WITHOUT_SHIELDS = hook, shields
        log.handlers, log.propagate = logs
        if collecting:
            gc.enable()


def cell(row: Row, way: Way, form: str, joins: Sequence[str]) -> Counter[str] | None:
    """What is left at most, however the task is joined; None if that cannot be."""
    if form not in row.forms or not way.fits(row):
        return None
    found: Counter[str] = Counter()
    for joined in [each for each in way.joins if each in joins]:
        found |= count_left(row, way, form, joined)
    return found


def count_left(row: Row, way: Way, form: str, joined: str) -> Counter[str]:
    """Run one program, and say what is left of it."""
    hold = Watch()
    kernel = Kernel(grace=GRACE)
    world = World(SHORT if way.name in row.soon else LONG)
    try:
        kernel.run(program(Cell(row, form, joined, hold), way, world))
    except ENDS:
        pass
    end_abandoned()
    if row.drop is not None and way.ends_run:
        row.drop(world)
    if way.name != "stopped":  # there the kernel still owes async generators their clean-up
        hold.look()
    tidy(world)
    kernel.close()
    hold.add("kernel", kernel)
    del kernel, world
    hold.look()
    return hold.found


def program(cell: Cell, way: Way, world: World) -> Steps:
    """The main task: something happens, and then nothing is left of it."""
    yield spawn(idle(), daemon=True)
    yield from do(cell.row.setup, world, cell.hold)
    yield from way.program(cell, world)
    yield from settle()
    if cell.row.drop is not None:
        cell.row.drop(world)
    cell.hold.look()
    world.over.set()
    world.go.set()
    yield from settle()


def idle() -> Steps:
    yield sleep(LONG)


def tidy(world: World) -> None:
    """Close what the operating system lent."""
    held = vars(world)
    for name in ("near", "far"):
        if name in held:
            held[name].close()
    for peer in held.get("peers", ()):
        peer.close()
    if "far_end" in held:
        os.close(held["far_end"])


def any_cell(name: str, way: str, form: str, joins: Sequence[str] = JOINS) -> Counter[str] | None:
    """What is left in a cell, by its row's name and its column's; None if that cannot be."""
    if name in KERNEL_ROWS:
        found: Counter[str] | None = kernel_cell(name, way, form)
        return found
    return cell(BY_NAME[name], BY_WAY[way], form, joins)


def heading(ways: Sequence[str]) -> str:
    """The line above the table."""
    return f"{'':<32}" + "".join(f"{way:>9}" for way in ways)
