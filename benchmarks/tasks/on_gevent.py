"""The works as one writes them with gevent: greenlets, whose calls need no `await`."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import gevent.event
import gevent.lock
import gevent.queue

from benchmarks.tasks import clock
from benchmarks.tasks.clock import WARM, Watch, scaled


def crowd(tasks: int, watch: Watch, rounds: int, turns: Callable[[int], None]) -> int:
    """Tasks that take turns; one of them, which only yields, holds the watch."""

    def timed() -> None:
        yields(WARM)
        watch.begin()
        yields(rounds)
        watch.end()

    busy = [gevent.spawn(turns, rounds + 2 * WARM) for _ in range(tasks - 1)]
    gevent.joinall([*busy, gevent.spawn(timed)])
    return tasks * rounds


def yields(count: int) -> None:
    for _ in range(count):
        gevent.sleep(0)


def switch(tasks: int, watch: Watch) -> int:
    return crowd(tasks, watch, clock.rounds(tasks), yields)


def timeouts(tasks: int, watch: Watch) -> int:
    def turns(count: int) -> None:
        for _ in range(count):
            with gevent.Timeout(10):
                gevent.sleep(0)

    return crowd(tasks, watch, clock.rounds(tasks), turns)


def child() -> int:
    return 1


def spawn_join(count: int, watch: Watch) -> int:
    for _ in range(count):
        gevent.spawn(child).join()
    return count


def spawn_many(count: int, watch: Watch) -> int:
    gevent.joinall([gevent.spawn(child) for _ in range(count)])
    return count


def deep(depth: int, count: int) -> None:
    if depth:
        deep(depth - 1, count)
    else:
        yields(count)


def resume(depth: int, watch: Watch) -> int:
    rounds = clock.rounds(clock.BUSY, clock.resumes(depth))
    return crowd(clock.BUSY, watch, rounds, lambda count: deep(depth, count))


def nest(depth: int) -> None:
    if depth > 1:
        nest(depth - 1)


def call(depth: int, watch: Watch) -> int:
    repeats = clock.calls(depth)
    watch.begin()
    for _ in range(repeats):
        nest(depth)
    watch.end()
    return repeats * depth


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(40_000)
    queue = gevent.queue.Queue(capacity) if capacity else gevent.queue.Channel()

    def producer() -> None:
        for number in range(count):
            queue.put(number)

    sender = gevent.spawn(producer)
    for _ in range(count):
        queue.get()
    sender.join()
    return count


def choose(channels: int, watch: Watch) -> int:
    """gevent.wait over a greenlet for each get; those that lose stay for the next time."""
    count = scaled(20_000)
    several = [gevent.queue.Queue(1) for _ in range(channels)]

    def producer() -> None:
        for number in range(count):
            several[number % channels].put(number)

    sender = gevent.spawn(producer)
    gets = {gevent.spawn(queue.get): queue for queue in several}
    got = 0
    while got < count:
        for get in gevent.wait(list(gets), count=1):
            queue = gets.pop(get)
            gets[gevent.spawn(queue.get)] = queue
            got += 1
    gevent.killall(list(gets))
    sender.join()
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(40_000) // tasks
    lock = gevent.lock.BoundedSemaphore()

    def contender() -> None:
        for _ in range(turns):
            with lock:
                gevent.sleep(0)

    gevent.joinall([gevent.spawn(contender) for _ in range(tasks)])
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)
    gevent.joinall([gevent.spawn(gevent.sleep, seconds) for _ in range(tasks)])
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    def busy() -> None:
        while len(late) < wakes:
            gevent.sleep(0)

    others = [gevent.spawn(busy) for _ in range(clock.BUSY)]
    for _ in range(wakes):
        due = time.monotonic() + clock.SLEEP
        gevent.sleep(clock.SLEEP)
        late.append(time.monotonic() - due)
    gevent.joinall(others)
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    event = gevent.event.Event()
    before = clock.resident()
    waiting = [gevent.spawn(event.wait) for _ in range(tasks)]
    yields(WARM)
    cost = clock.grown(before, tasks)
    event.set()
    gevent.joinall(waiting)
    return cost


def runs(count: int, watch: Watch) -> int:
    """The hub is there once and for all, so this is a spawn and a join."""
    return spawn_join(count, watch)
