"""Errors, and what they carry."""

from __future__ import annotations

from typing import Any, assert_type

from microthreads import (
    Cancelled,
    DeadlockError,
    IncompleteReadError,
    Stream,
    TaskGroup,
    run,
    sleep,
)
from microthreads.runtime.snapshots import Snapshot


async def failures(stream: Stream) -> bytes:
    try:
        return await stream.read_exactly(4)
    except IncompleteReadError as error:
        assert_type(error.available, int)
        return b""
    except Cancelled as cancelled:
        assert_type(cancelled.reason, Any)
        assert_type(cancelled.bytes_sent, int)
        raise


async def of_a_group() -> None:
    try:
        async with TaskGroup() as group:
            await group.spawn(sleeping())
    except* OSError as errors:
        assert_type(errors, ExceptionGroup[OSError])


async def sleeping() -> None:
    await sleep(1)


def deadlock() -> None:
    try:
        run(sleeping())
    except DeadlockError as error:
        assert_type(error.snapshot, Snapshot)
