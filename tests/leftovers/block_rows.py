"""The rows of groups, of what is made of them, and of blocks with a time limit."""

from __future__ import annotations

from typing import Any

from microthreads import (
    Supervisor,
    TaskGroup,
    gather,
    move_on_after,
    parallel_map,
    race,
    shield,
    sleep,
    timeout,
)
from microthreads.timeouts import CancelScope

from .held import Watch
from .row import Row, Steps, World, helper, set_broken, set_go

# ---- groups


def group_with_join(world: World, hold: Watch) -> Steps:
    local = hold("local of a routine")
    with TaskGroup() as group:
        yield group.spawn(helper(world, hold))
        yield group.spawn(helper(world, hold))
        yield group.join()
    del local


async def group_async(world: World, hold: Watch) -> None:
    local = hold("local of a routine")
    async with TaskGroup() as group:
        await group.spawn(helper(world, hold))
        await group.spawn(helper(world, hold))
    del local


def group_waiting(world: World, hold: Watch) -> Steps:
    """It is in the block, but in no join, when it ends."""
    with TaskGroup() as group:
        yield group.spawn(helper(world, hold))
        yield world.go.wait()
        yield sleep(0)
        yield group.join()


async def group_waiting_async(world: World, hold: Watch) -> None:
    async with TaskGroup() as group:
        await group.spawn(helper(world, hold))
        await world.go.wait()
        await sleep(0)


def group_in_group(world: World, hold: Watch) -> Steps:
    with TaskGroup() as outer:
        yield outer.spawn(group_with_join(world, hold))
        yield outer.spawn(helper(world, hold), daemon=True)
        yield outer.join()


async def group_in_group_async(world: World, hold: Watch) -> None:
    async with TaskGroup() as outer:
        await outer.spawn(group_async(world, hold))
        await outer.spawn(helper(world, hold), daemon=True)


def group_left(world: World, hold: Watch) -> Steps:
    """The block is left while its tasks run, so that they are cancelled."""
    yield world.go.wait()
    with TaskGroup() as group:
        yield group.spawn(sleeper(hold))


async def group_left_async(world: World, hold: Watch) -> None:
    await world.go.wait()
    with TaskGroup() as group:
        await group.spawn(sleeper(hold))


def sleeper(hold: Watch) -> Steps:
    local = hold("local of a child")
    yield sleep(3600)
    return local


# ---- gather, race, parallel_map, Supervisor


def gathered(world: World, hold: Watch) -> Any:
    return gather(helper(world, hold), helper(world, hold))


def raced(world: World, hold: Watch) -> Any:
    return race(sleeper(hold), helper(world, hold))


def mapped(world: World, hold: Watch) -> Any:
    return parallel_map(helper_of(world, hold), [hold("item") for _ in range(3)], limit=2)


async def mapped_stream(world: World, hold: Watch) -> None:
    items = [hold("item") for _ in range(3)]
    async with parallel_map(helper_of(world, hold), items, limit=2) as results:
        async for _ in results:
            pass


async def mapped_stream_left(world: World, hold: Watch) -> None:
    items = [hold("item") for _ in range(5)]
    async with parallel_map(helper_of(world, hold), items, limit=2) as results:
        async for _ in results:
            break


def helper_of(world: World, hold: Watch) -> Any:
    return lambda item: helper(world, hold)


def supervised(world: World, hold: Watch) -> Any:
    supervisor = Supervisor(max_restarts=1)
    supervisor.add(helper, world, hold)
    return supervisor.run()


# ---- blocks


def in_block(block: Any) -> Any:
    """What waits in such a block."""

    def waits(world: World, hold: Watch) -> Steps:
        local = hold("local of a routine")
        with block() as scope:
            got = yield helper(world, hold)
        del local, scope
        return got

    return waits


def in_block_awaited(block: Any) -> Any:
    async def waits(world: World, hold: Watch) -> Any:
        local = hold("local of a routine")
        with block() as scope:
            await world.go.wait()
            if world.broken:
                raise hold.error("error of a routine")
        del local, scope

    return waits


def block_row(name: str, block: Any, **options: Any) -> Row:
    return Row(
        name,
        in_block(block),
        in_block_awaited(block),
        go=set_go,
        fail=set_broken,
        is_routine=True,
        **options,
    )


def expiring(world: World, hold: Watch) -> Steps:
    with move_on_after(world.seconds):
        yield sleeper(hold)


async def expiring_async(world: World, hold: Watch) -> None:
    with move_on_after(world.seconds):
        await sleep(3600)


def too_late(world: World, hold: Watch) -> Steps:
    with timeout(world.seconds):
        yield sleeper(hold)


async def too_late_async(world: World, hold: Watch) -> None:
    with timeout(world.seconds):
        await sleep(3600)


def by_hand(world: World, hold: Watch) -> Steps:
    with CancelScope() as world.scope:
        yield sleeper(hold)


async def by_hand_async(world: World, hold: Watch) -> None:
    with CancelScope() as world.scope:
        await sleep(3600)


def cancel_scope(world: World, hold: Watch) -> None:
    world.scope.cancel(hold("reason"))


def no_scope(world: World) -> None:
    world.scope = None


def group_row(name: str, call: Any, awaited: Any = None, **options: Any) -> Row:
    return Row(name, call, awaited, go=set_go, fail=set_broken, is_routine=True, **options)


BLOCK_ROWS = (
    group_row("TaskGroup, at its join", group_with_join, group_async),
    group_row("TaskGroup, in its block", group_waiting, group_waiting_async),
    group_row("TaskGroup in a TaskGroup", group_in_group, group_in_group_async),
    Row(
        "TaskGroup, left without a join",
        group_left,
        group_left_async,
        fail=set_go,
        is_routine=True,
    ),
    group_row("gather", gathered),
    group_row("race", raced),
    group_row("parallel_map, the list", mapped),
    group_row("parallel_map, the stream", mapped_stream, forms=("coroutine",)),
    group_row("parallel_map, left by break", mapped_stream_left, forms=("coroutine",)),
    group_row("Supervisor", supervised),
    block_row("timeout, a block", lambda: timeout(3600)),
    block_row("move_on_after, a block", lambda: move_on_after(3600)),
    block_row("CancelScope, a block", CancelScope),
    block_row("shield, a block", lambda: shield(0.001)),
    Row("timeout, its end", too_late, too_late_async, soon=("error",), is_routine=True),
    Row(
        "move_on_after, its end",
        expiring,
        expiring_async,
        soon=("result", "fails"),
        is_routine=True,
    ),
    Row(
        "CancelScope, cancelled",
        by_hand,
        by_hand_async,
        go=cancel_scope,
        drop=no_scope,
        is_routine=True,
    ),
)
