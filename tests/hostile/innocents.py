"""The innocents: tasks that do ordinary work beside the hostile one, and say what they did.

All of them are done within three seconds of virtual time.
"""

from __future__ import annotations

from typing import Any

from microthreads import Channel, Lock, TaskGroup, select, sleep

from .case import Gen

TIMES = 4


def sleeper(seconds: float) -> Gen:
    """Sleep some times."""
    for _ in range(TIMES):
        yield sleep(seconds)
    return TIMES


def producer(channel: Channel[int]) -> Gen:
    """Send some numbers, and close the channel."""
    for number in range(TIMES):
        yield channel.send(number)
        yield sleep(0.1)
    channel.close()
    return TIMES


def consumer(channel: Channel[int]) -> Gen:
    """Receive them."""
    got = []
    for _ in range(TIMES):
        got.append((yield channel.recv()))
    assert got == list(range(TIMES)), got
    return len(got)


def locker(lock: Lock, inside: list[Any]) -> Gen:
    """Be alone in a stretch of code, some times."""
    for _ in range(TIMES):
        with (yield lock.acquire()):
            inside.append(None)
            assert len(inside) == 1, "two tasks own one lock"
            yield sleep(0.05)
            inside.pop()
        yield
    return TIMES


def ticker(ticks: Channel[int]) -> Gen:
    """Send at its own times."""
    for number in range(TIMES):
        yield sleep(0.3)
        yield ticks.send(number)
    return TIMES


def selector(ticks: Channel[int]) -> Gen:
    """Wait for a tick, or for some time; all ticks come, in order."""
    got: list[int] = []
    while len(got) < TIMES:
        index, value = yield select(ticks.recv(), sleep(0.17))
        if index == 0:
            got.append(value)
    assert got == list(range(TIMES)), got
    return len(got)


def family() -> Gen:
    """Have children in a group, and add up what they return."""
    with TaskGroup() as group:
        children = []
        for number in range(3):
            children.append((yield group.spawn(sleeper(0.1 * (number + 1)))))
        yield group.join()
    return sum(child.result() for child in children)


def innocents() -> dict[str, tuple[Gen, int]]:
    """All of them: by name the routine, and what it must return."""
    channel: Channel[int] = Channel(1)
    ticks: Channel[int] = Channel()
    lock, inside = Lock(name="door"), list[Any]()
    return {
        "quick sleeper": (sleeper(0.1), TIMES),
        "slow sleeper": (sleeper(0.7), TIMES),
        "producer": (producer(channel), TIMES),
        "consumer": (consumer(channel), TIMES),
        "first locker": (locker(lock, inside), TIMES),
        "second locker": (locker(lock, inside), TIMES),
        "ticker": (ticker(ticks), TIMES),
        "selector": (selector(ticks), TIMES),
        "family": (family(), 3 * TIMES),
    }
