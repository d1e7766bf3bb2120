"""The rows of the first calls: sleep, spawn, join, select; and of routines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import coroutine
from typing import Any

from microthreads import Channel, join, now, select, sleep, sleep_until, spawn

from .held import Watch
from .row import Row, Steps, World, helper, nothing, set_broken, set_go

SOON = ("result", "fails")


def until_then(world: World, hold: Watch) -> Any:
    return sleep_until(now() + world.seconds)


def spawned(world: World, hold: Watch) -> Any:
    world.go.set()
    return spawn(helper(world, hold))


def spawned_twice(world: World, hold: Watch) -> None:
    world.go.set()
    world.used = helper(world, hold)
    next(world.used)


def none_used(world: World) -> None:
    world.used = None


# ---- join


def with_target(world: World, hold: Watch) -> Steps:
    world.task = yield spawn(helper_alone(world, hold))


def helper_alone(world: World, hold: Watch) -> Steps:
    """As a helper, without a local: it may go on when the other task has ended."""
    yield world.go.wait()
    if world.broken:
        raise hold.error("error of a child")
    return hold("result of a child")


def ended_well(world: World, hold: Watch) -> Steps:
    world.go.set()
    yield sleep(0)


def ended_badly(world: World, hold: Watch) -> Steps:
    set_broken(world, hold)
    yield sleep(0)


def no_target(world: World) -> None:
    world.task = None


def join_row(name: str, call: Any, **options: Any) -> Row:
    return Row(
        name,
        call,
        setup=with_target,
        ready=ended_well,
        go=set_go,
        refused=ended_badly,
        fail=set_broken,
        drop=no_target,
        **options,
    )


# ---- select


def two_channels(world: World, hold: Watch) -> None:
    world.one, world.two, world.three = Channel(), Channel(), Channel(1)


def of_two(world: World, hold: Watch) -> Any:
    return select(world.one.send(hold("value sent")), world.two.recv())


def of_two_others(world: World, hold: Watch) -> Any:
    return select(world.two.recv(), world.one.send(hold("value sent")), sleep(3600))


def nested(world: World, hold: Watch) -> Any:
    inner = select(world.two.recv(), world.one.send(hold("value sent")))
    return select(world.three.recv(), select(inner, sleep(3600)))


def receive(world: World, hold: Watch) -> None:
    world.one.try_recv()


def hand_over(world: World, hold: Watch) -> None:
    world.two.try_send(hold("value received"))


def buffered(world: World, hold: Watch) -> None:
    world.three.try_send(hold("value received"))


def close_one(world: World, hold: Watch) -> None:
    world.one.close()


def close_two(world: World, hold: Watch) -> None:
    world.two.close()


# ---- routines and async generators


def deep(world: World, hold: Watch, levels: int = 3) -> Steps:
    local = hold("local of a routine")
    got = yield deep(world, hold, levels - 1) if levels else helper(world, hold)
    del local
    return got


def deep_from(world: World, hold: Watch, levels: int = 3) -> Steps:
    local = hold("local of a routine")
    if levels:
        got = yield from deep_from(world, hold, levels - 1)
    else:
        got = yield from helper(world, hold)
    del local
    return got


async def deep_await(world: World, hold: Watch, levels: int = 3) -> Any:
    local = hold("local of a routine")
    got = await (deep_await(world, hold, levels - 1) if levels else coroutine(helper)(world, hold))
    del local
    return got


async def broken_off(world: World, hold: Watch) -> Any:
    local = hold("local of a routine")
    async for _ in things(hold):
        break
    await world.go.wait()
    if world.broken:
        raise hold.error()
    del local


async def held_open(world: World, hold: Watch) -> Any:
    local = hold("local of a routine")
    async for _ in things(hold):
        await world.go.wait()
        if world.broken:
            raise hold.error()
    del local


async def things(hold: Watch) -> AsyncIterator[Any]:
    local = hold("local of an async generator")
    try:
        for _ in range(3):
            yield hold("thing from an async generator")
    finally:
        await sleep(0)
        del local


def routine_row(name: str, call: Any, **options: Any) -> Row:
    return Row(name, call, go=set_go, fail=set_broken, is_routine=True, **options)


CALL_ROWS = (
    Row("sleep", lambda world, hold: sleep(world.seconds), soon=SOON),
    Row("sleep_until", until_then, soon=SOON),
    Row("spawn", spawned, ready=nothing, parks=False),
    Row(
        "spawn of one that is used up",
        lambda world, hold: spawn(world.used),
        setup=spawned_twice,
        refused=nothing,
        drop=none_used,
        parks=False,
    ),
    join_row("join(task)", lambda world, hold: join(world.task)),
    join_row("yield task, await task", lambda world, hold: world.task),
    Row("select of 2, a send", of_two, setup=two_channels, go=receive, fail=close_one),
    Row("select of 3, a recv", of_two_others, setup=two_channels, go=hand_over, fail=close_two),
    Row(
        "select of selects",
        nested,
        setup=two_channels,
        ready=buffered,
        go=hand_over,
        fail=close_one,
    ),
    routine_row("yield routine()", deep, awaited=deep_await),
    routine_row("yield from routine()", deep_from, awaited=deep_await),
    routine_row("async for, left by break", broken_off, forms=("coroutine",)),
    routine_row("async for, waiting in it", held_open, forms=("coroutine",)),
)
