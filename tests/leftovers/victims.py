"""The task that holds things, waits in the call of a row, and ends; in both forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from microthreads import Cancelled, race, select, shield, timeout

from .held import Watch
from .row import Row, Steps, World


@dataclass
class Doing:
    """How a task makes the call, and what it does then.

    Attributes:
        block: A `with` block around the call.
        wrap: What it yields in place of the call itself.
        raises: Whether it fails, having made the call.
        stays: Whether it goes on for ever, whatever is raised in it.
    """

    block: Callable[[], AbstractContextManager[Any]] = nullcontext
    wrap: Callable[[Row, World, Any], Any] | None = None
    raises: bool = False
    stays: bool = False


def victim(form: str, row: Row, world: World, hold: Watch, doing: Doing) -> Any:
    """The routine of the task, and what has it begin."""
    make = by_yield if form == "generator" else by_await
    return make(row, world, hold, doing)


def by_yield(row: Row, world: World, hold: Watch, doing: Doing) -> Steps:
    local = hold("local")
    try:
        with nullcontext() if row.guard is None else (yield row.guard(world)):
            with doing.block():
                got = yield request(row, world, hold, doing, "generator")
            finish(row, world, hold, doing, got)
    except Cancelled:
        if not doing.stays:
            raise
    while doing.stays:
        try:
            yield
        except Cancelled:
            pass
    del local
    return hold("result")


async def by_await(row: Row, world: World, hold: Watch, doing: Doing) -> Any:
    local = hold("local")
    try:
        with nullcontext() if row.guard is None else (await row.guard(world)):
            with doing.block():
                got = await request(row, world, hold, doing, "coroutine")
            finish(row, world, hold, doing, got)
    except Cancelled:
        if not doing.stays:
            raise
    while doing.stays:
        try:
            await world.over.wait()
        except Cancelled:
            pass
    del local
    return hold("result")


def request(row: Row, world: World, hold: Watch, doing: Doing, form: str) -> Any:
    """What the task yields, or awaits."""
    other = form == "coroutine" and row.awaited is not None
    call = row.awaited(world, hold) if other and row.awaited else row.call(world, hold)
    return call if doing.wrap is None else doing.wrap(row, world, call)


def finish(row: Row, world: World, hold: Watch, doing: Doing, got: Any) -> None:
    """The call has succeeded."""
    if row.after is not None and doing.wrap is None:
        row.after(world, got, hold)
    if doing.raises:
        raise hold.error()


def against_stop(row: Row, world: World, call: Any) -> Any:
    """The call beside another, which goes first."""
    if not row.is_routine:
        return select(call, world.stop.wait())
    return race(call, stopped(world))


def stopped(world: World) -> Steps:
    yield world.stop.wait()


def limited() -> AbstractContextManager[Any]:
    limit: AbstractContextManager[Any] = timeout(0.003)
    return limit


def shielded() -> AbstractContextManager[Any]:
    block: AbstractContextManager[Any] = shield(math.inf)
    return block
