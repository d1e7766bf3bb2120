"""Signal handlers that raise at random moments: every task cleans up, and run() says why it ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from microthreads import (
    Channel,
    Queue,
    TaskGroup,
    move_on_after,
    run,
    select,
    sleep,
    spawn,
    timeout,
)

from .case import Case, Cases, Complaints, Gen
from .trial import aside, time_limit, told

LONGEST = 0.004  # seconds until the signal comes
GRACE = 0.3
MUCH_LATER = 5.0  # for what hangs


class Alarm(ValueError):
    """What the handler raises."""


class BaseAlarm(BaseException):
    """The same, and no Exception."""


class Begun:
    """Counts the tasks that have begun, and those whose `finally` has run."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def counted(self, routine: Gen) -> Gen:
        self.begun += 1
        try:
            yield from routine
        finally:
            self.ended += 1


def channels(count: Begun) -> Gen:
    """Tasks hand values round in a ring."""
    ring: list[Channel[int]] = [Channel(number % 2) for number in range(4)]
    for number, source in enumerate(ring):
        to = ring[(number + 1) % len(ring)]
        yield spawn(count.counted(passing(source, to)), daemon=number > 1)
    while True:
        yield ring[0].send(1)
        yield ring[3].recv()


def passing(source: Channel[int], to: Channel[int]) -> Gen:
    while True:
        yield to.send((yield source.recv()))


def selects(count: Begun) -> Gen:
    quick: Channel[int] = Channel()
    slow: Channel[int] = Channel(1)
    yield spawn(count.counted(choosing(quick, slow)))
    yield spawn(count.counted(choosing(slow, quick)), daemon=True)
    while True:
        yield select(quick.send(1), slow.send(2), sleep(0.001))


def choosing(first: Channel[int], second: Channel[int]) -> Gen:
    while True:
        yield select(first.recv(), select(second.recv(), sleep(0.001)))


def timeouts(count: Begun) -> Gen:
    for seconds in (0.0001, 0.0003):
        yield spawn(count.counted(hurried(seconds)))
    while True:
        with move_on_after(0.0002):
            yield sleep(1)


def hurried(seconds: float) -> Gen:
    while True:
        try:
            with timeout(seconds):
                yield sleep(1)
        except TimeoutError:
            yield


def groups(count: Begun) -> Gen:
    while True:
        with move_on_after(0.001), TaskGroup() as group:
            for _ in range(3):
                yield group.spawn(count.counted(sleeping(0.0005)))
            yield group.join()


def sleeping(seconds: float) -> Gen:
    yield sleep(seconds)


def queues(count: Begun) -> Gen:
    queue: Queue[int] = Queue(2)
    for _ in range(3):
        yield spawn(count.counted(working(queue)))
    while True:
        yield queue.put(1)


def working(queue: Queue[int]) -> Gen:
    while True:
        yield queue.get(timeout=5)
        queue.task_done()
        yield


def spawning(count: Begun) -> Gen:
    while True:
        yield spawn(count.counted(sleeping(0)))
        yield


PROGRAMS: dict[str, Callable[[Begun], Gen]] = {
    "Channel": channels,
    "select": selects,
    "timeout": timeouts,
    "TaskGroup": groups,
    "Queue": queues,
    "spawn": spawning,
}


def ended(task: Any) -> None:
    """The handler has raised in a task that nobody joins: that ends the run as well."""
    raise SystemExit


def is_made_of(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether it is one, or a group of nothing else: the handler has raised in a step of a child."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kind)[1] is None
    return isinstance(error, kind)


def once(program: Callable[[Begun], Gen], seconds: float, kind: type[BaseException]) -> Complaints:
    """Run the program until the handler raises."""
    count = Begun()
    with aside():
        try:
            with time_limit(seconds, kind, again=MUCH_LATER):
                run(count.counted(program(count)), grace=GRACE, on_crash=ended)
        except SystemExit:
            pass
        except BaseException as error:
            if not is_made_of(error, kind):
                return [f"run() raised {told(error)}"]
        else:
            return ["run() returned"]
    if count.begun != count.ended:
        return [f"{count.begun - count.ended} of {count.begun} did not clean up"]
    return []


def tried(
    program: Callable[[Begun], Gen], kind: type[BaseException], seed: int, rounds: int
) -> Complaints:
    wrong: Complaints = []
    random = Random(seed)
    for number in range(rounds):
        seconds = random.uniform(0.0005, LONGEST)
        wrong += [f"round {number}: {each}" for each in once(program, seconds, kind)]
    return wrong


def cases(rounds: int = 10, seed: int = 0) -> Cases:
    """Each program, so many times."""
    kinds: tuple[Any, ...] = (Alarm, BaseAlarm)
    for call, program in PROGRAMS.items():
        for kind in kinds:
            attempt = partial(tried, program, kind, seed, rounds)
            yield Case("alarms", call, kind.__name__, kind.__name__, attempt)
