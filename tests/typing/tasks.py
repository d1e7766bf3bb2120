"""run, spawn, join, and what a task is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar, assert_type

from microthreads import (
    EpollPoller,
    Kernel,
    Routine,
    SelectorPoller,
    State,
    SystemCall,
    Task,
    current_task,
    join,
    now,
    run,
    sleep,
    sleep_until,
    spawn,
    wait_future,
    wait_signal,
)
from microthreads.observe import Observer
from microthreads.runtime.snapshots import Snapshot
from microthreads.sim import VirtualClock

R = TypeVar("R")


async def number() -> int:
    return assert_type(await sleep(1), None) or 1


def text() -> Generator[Any, Any, str]:
    assert_type((yield from sleep_until(1)), None)
    other = yield from spawn(number())
    assert_type(other, Task[int])
    assert_type((yield from other), int)
    assert_type((yield from join(other)), int)
    return "text"


async def tasks() -> None:
    task = await spawn(number(), name="number", daemon=True)
    assert_type(task, Task[int])
    assert_type(await task, int)
    assert_type(await task.join(), int)
    assert_type(await join(task), int)
    assert_type(task.result(), int)
    assert_type(task.exception(), BaseException | None)
    assert_type(task.state, State)
    assert_type(task.done, bool)
    assert_type(task.id, int)
    assert_type(task.name, str)
    assert_type(task.kernel, Kernel)
    task.kernel.post(print, 1)
    assert_type(task.parent, Task[Any] | None)
    assert_type(task.waiting_on, SystemCall[Any] | None)
    assert_type(task.spawned_at, str)
    assert_type(await spawn(text()), Task[str])
    assert_type(await (await spawn(text())), str)
    assert_type(current_task(), Task[Any])
    assert_type(now(), float)


async def elsewhere(future: Future[int]) -> None:
    assert_type(await wait_future(future), int)
    assert_type(await wait_signal(signal.SIGTERM, signal.SIGHUP), int)


def programs() -> None:
    assert_type(run(number()), int)
    assert_type(run(text()), str)
    assert_type(run(number(), clock=VirtualClock(), grace=1.0, observers=[Observer()]), int)
    assert_type(run(number(), poller="epoll"), int)
    assert_type(run(number(), poller=EpollPoller(), on_crash=print), int)
    assert_type(run(number(), poller=SelectorPoller(), policy=lambda ready: len(ready) - 1), int)
    with Kernel(grace=1.0) as kernel:
        assert_type(kernel, Kernel)
        assert_type(kernel.run(text()), str)
        assert_type(kernel.spawn(text()), Task[str])
        assert_type(kernel.submit(number()), Future[int])
        assert_type(kernel.snapshot(), Snapshot)
        kernel.post(print, 1)


# What takes a routine says so with `Routine`, and passes its result on.


async def twice(make: Callable[[], Routine[R]]) -> tuple[R, R]:
    return await (await spawn(make())), await (await spawn(make()))


async def uses_twice() -> None:
    assert_type(await twice(number), tuple[int, int])
    assert_type(await twice(text), tuple[str, str])


# A task, or a call, of an int is one of an int or None as well.


def wider(task: Task[int], call: SystemCall[int]) -> tuple[Task[int | None], SystemCall[object]]:
    return task, call
