"""The works as one writes them with `threading`, where threads can do them at all.

The kernel of the operating system switches, so not all of it is our process's CPU;
but the time of all its threads counts.
"""

from __future__ import annotations

import queue
import threading
import time

from benchmarks.tasks import clock
from benchmarks.tasks.clock import Watch, scaled


def switch(tasks: int, watch: Watch) -> int:
    """`time.sleep(0)` gives up the interpreter lock and the processor."""
    rounds = clock.rounds(tasks, clock.SWITCHES // 4)

    def busy() -> None:
        for _ in range(rounds):
            time.sleep(0)

    started([threading.Thread(target=busy) for _ in range(tasks)])
    return tasks * rounds


def started(threads: list[threading.Thread]) -> None:
    """Start and join all."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def child() -> None:
    pass


def spawn_join(count: int, watch: Watch) -> int:
    for _ in range(count):
        thread = threading.Thread(target=child)
        thread.start()
        thread.join()
    return count


def spawn_many(count: int, watch: Watch) -> int:
    started([threading.Thread(target=child) for _ in range(count)])
    return count


def hop(capacity: int, watch: Watch) -> int:
    count = scaled(20_000)
    values: queue.Queue[int] = queue.Queue(capacity)

    def producer() -> None:
        for number in range(count):
            values.put(number)

    sender = threading.Thread(target=producer)
    sender.start()
    for _ in range(count):
        values.get()
    sender.join()
    return count


def hand_off(tasks: int, watch: Watch) -> int:
    turns = scaled(20_000) // tasks
    lock = threading.Lock()

    def contender() -> None:
        for _ in range(turns):
            with lock:
                time.sleep(0)

    started([threading.Thread(target=contender) for _ in range(tasks)])
    return tasks * turns


def sleepers(tasks: int, watch: Watch) -> int:
    seconds = clock.asleep(tasks)
    started([threading.Thread(target=time.sleep, args=(seconds,)) for _ in range(tasks)])
    return tasks


def latency(wakes: int, watch: Watch) -> dict[str, float]:
    late: list[float] = []

    def busy() -> None:
        while len(late) < wakes:
            time.sleep(0)

    others = [threading.Thread(target=busy) for _ in range(clock.BUSY)]
    for thread in others:
        thread.start()
    for _ in range(wakes):
        due = time.monotonic() + clock.SLEEP
        time.sleep(clock.SLEEP)
        late.append(time.monotonic() - due)
    for thread in others:
        thread.join()
    return clock.lateness(late)


def parked(tasks: int, watch: Watch) -> dict[str, float]:
    event = threading.Event()
    before = clock.resident()
    waiting = [threading.Thread(target=event.wait) for _ in range(tasks)]
    for thread in waiting:
        thread.start()
    time.sleep(0.2)
    cost = clock.grown(before, tasks)
    event.set()
    for thread in waiting:
        thread.join()
    return cost
