"""Time limits and cancel scopes."""

from __future__ import annotations

from typing import assert_type

from microthreads import CancelScope, Channel, move_on_after, shield, timeout


async def with_a_timeout(numbers: Channel[int]) -> int:
    with timeout(1) as scope:
        assert_type(scope, timeout)
        assert_type(scope.deadline, float)
        value = await numbers.recv()
    return value  # bound: the block ends by TimeoutError, or to its end


async def returned_in_the_block(numbers: Channel[int]) -> int:
    with timeout(1):
        return await numbers.recv()


async def moving_on(numbers: Channel[int]) -> int:
    with move_on_after(1) as scope:
        assert_type(scope, move_on_after)
        value = await numbers.recv()
    assert_type(scope.expired, bool)
    assert_type(scope.cancelled_caught, bool)
    return value  # pyright: ignore[reportPossiblyUnboundVariable]


async def may_move_on(numbers: Channel[int]) -> int:  # type: ignore[return]  # pyright: ignore[reportReturnType]
    with move_on_after(1):
        return await numbers.recv()


async def scopes(numbers: Channel[int]) -> int:
    with CancelScope() as scope:
        assert_type(scope, CancelScope)
        scope.cancel("reason")
        await numbers.recv()
    with shield(1.0) as held:
        assert_type(held, shield)
        return await numbers.recv()
