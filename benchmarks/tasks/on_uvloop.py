"""The works of on_asyncio.py, run by uvloop."""

from __future__ import annotations

import uvloop

from benchmarks.tasks import on_asyncio
from benchmarks.tasks.on_asyncio import (  # noqa: F401
    call,
    choose,
    hand_off,
    hop,
    latency,
    parked,
    resume,
    runs,
    sleepers,
    spawn_join,
    spawn_many,
    switch,
    timeouts,
)

on_asyncio.run = uvloop.run
