"""The workloads that need no network: what is measured, and of whom.

The works themselves are in the `on_*.py` files, one for each contender, under the
name that stands here; `floor` is on_floor.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.workload import Measure, Workload, python

EVENT_LOOPS = ["microthreads", "asyncio", "uvloop", "gevent", "trio", "tinyio", "curio"]
WITH_FLOOR = [*EVENT_LOOPS, "floor"]
EVERYBODY = [*EVENT_LOOPS, "threads", "floor"]
NO_CHANNEL = {"tinyio": "has no channel or queue"}
TOO_MANY_THREADS = {"threads": "needs a system thread each"}
TOO_MANY = {**TOO_MANY_THREADS, "tinyio": "its time grows with the square of the tasks"}
WITHOUT_TINYIO = [name for name in WITH_FLOOR if name != "tinyio"]


def task(
    name: str,
    title: str,
    work: str,
    argument: int,
    contenders: Sequence[str],
    *,
    variants: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    seconds: float = 120,
    **more: Any,
) -> Workload:
    """A workload of `on_*.py`; the variant "microthreads await" is `work`_await there."""
    measures = {}
    for contender in [*contenders, *variants]:
        library, _, variant = contender.partition(" ")
        function = f"{work}_{variant}" if variant else work
        command = python("benchmarks.tasks.measure", library, function, argument)
        measures[contender] = Measure(command, (notes or {}).get(contender, ""), seconds=seconds)
    return Workload(name, title, contenders=measures, **{"unit": "ns", **more})


SWITCH_NOTES = {
    "asyncio": "await asyncio.sleep(0)",
    "gevent": "gevent.sleep(0)",
    "trio": "await trio.lowlevel.checkpoint()",
    "threads": "time.sleep(0)",
    "floor": "generator.send in a loop",
}

SWITCHES = [
    task(
        f"switch/{tasks}",
        f"bare `yield` and back, {tasks:,} tasks",
        "switch",
        tasks,
        EVERYBODY if tasks <= 100 else WITH_FLOOR,
        group="switch",
        size=tasks,
        axis="tasks",
        notes=SWITCH_NOTES,
        missing={} if tasks <= 100 else TOO_MANY_THREADS,
        headline=tasks == 100,
    )
    for tasks in (2, 100, 10_000)
]

SPAWNS = [
    task(
        "spawn-join",
        "spawn a task and join it",
        "spawn_join",
        20_000,
        EVERYBODY,
        group="spawn-join",
        headline=True,
        notes={"trio": "a nursery a task", "tinyio": "yield routine()"},
    )
] + [
    task(
        f"spawn/{tasks}",
        f"one of {tasks:,} short tasks, spawned in a group",
        "spawn_many",
        tasks,
        EVERYBODY if tasks <= 10_000 else WITHOUT_TINYIO,
        group="spawn",
        size=tasks,
        axis="tasks",
        notes={"gevent": "spawn and joinall", "tinyio": "yield [routine(), ...]"},
        missing={} if tasks <= 10_000 else TOO_MANY,
        rounds=5 if tasks <= 10_000 else 3,
    )
    for tasks in (10_000, 100_000, 1_000_000)
]

NESTED = [
    task(
        f"{name}/{depth}",
        f"{title}, {depth:,} deep",
        work,
        depth,
        WITH_FLOOR,
        variants=variants,
        group=name,
        size=depth,
        axis="routines deep",
        notes={
            "microthreads": "yield from routine()",
            "microthreads await": "async def, await coroutine()",
            "microthreads trampoline": "yield routine()",
            "gevent": "plain function calls",
            "tinyio yield": "yield routine()",
        },
    )
    for name, title, work, variants in (
        (
            "resume",
            "resume a task through nested routines",
            "resume",
            ("microthreads await", "microthreads trampoline"),
        ),
        (
            "call",
            "call a routine and return, in a chain of them",
            "call",
            ("microthreads await", "microthreads trampoline", "tinyio yield"),
        ),
    )
    for depth in (1, 10, 100, 1_000)
]

HOPPERS = [name for name in EVERYBODY if name != "tinyio"]
HOPS = [
    task(
        f"channel/{capacity}",
        f"a send and a recv on a channel of {capacity}",
        "hop",
        capacity,
        [
            name
            for name in HOPPERS
            if capacity or name not in ("asyncio", "uvloop", "curio", "threads")
        ],
        group="channel",
        size=capacity,
        axis="capacity",
        notes={
            "asyncio": "asyncio.Queue",
            "gevent": "gevent.queue.Queue" if capacity else "gevent.queue.Channel",
            "trio": "trio.open_memory_channel",
            "curio": "curio.Queue",
            "threads": "queue.Queue",
            "floor": "two generators and a deque",
        },
        missing=NO_CHANNEL
        | (
            {}
            if capacity
            else dict.fromkeys(
                ["asyncio", "uvloop", "curio", "threads"],
                "has no rendezvous: a queue of 0 has no limit",
            )
        ),
        headline=capacity == 1,
    )
    for capacity in (0, 1, 100)
]

SELECTS = [
    task(
        f"select/{channels}",
        f"select over {channels} channels, and the send to one",
        "choose",
        channels,
        ["microthreads", "asyncio", "uvloop", "gevent", "trio", "curio"],
        group="select",
        size=channels,
        axis="channels",
        notes={
            "asyncio": "has none: asyncio.wait over a task for each get, kept for the next time",
            "gevent": "has none: gevent.wait over a greenlet for each get, kept for the next time",
            "trio": "has none: a nursery of receivers, the first cancels the rest",
            "curio": "has none: TaskGroup(wait=any), the first cancels the rest",
        },
        missing={**NO_CHANNEL, "threads": "queue.Queue has none", "floor": "needs a scheduler"},
        headline=channels == 2,
    )
    for channels in (2, 10)
]

SLEEPS = [
    task(
        f"sleep/{sleepers}",
        f"one sleep of {sleepers:,} at once",
        "sleepers",
        sleepers,
        EVERYBODY if sleepers <= 1_000 else WITH_FLOOR if sleepers <= 10_000 else WITHOUT_TINYIO,
        group="sleep",
        size=sleepers,
        axis="sleepers at once",
        notes={"floor": "a generator each, and a heap"},
        missing={} if sleepers <= 1_000 else TOO_MANY_THREADS if sleepers <= 10_000 else TOO_MANY,
        rounds=5 if sleepers <= 100_000 else 2,
        seconds=300,
        headline=sleepers == 100_000,
    )
    for sleepers in (1_000, 10_000, 100_000, 1_000_000)
]

OTHERS = [
    task(
        "lock",
        "a lock handed on among 10 tasks, a `yield` under it",
        "hand_off",
        10,
        EVERYBODY,
        group="lock",
        notes={"threads": "the lock of the system; not fair", "floor": "a deque of generators"},
    ),
    task(
        "timeout",
        "a time limit set, a bare `yield`, and off again",
        "timeouts",
        100,
        WITH_FLOOR,
        group="timeout",
        notes={
            "microthreads": "with timeout(10): yield",
            "asyncio": "async with asyncio.timeout(10)",
            "gevent": "with gevent.Timeout(10)",
            "trio": "with trio.fail_after(10)",
            "tinyio": "tinyio.timeout(routine, 10)",
            "curio": "async with curio.timeout_after(10)",
            "floor": "a heap",
        },
        missing={"threads": "cannot be interrupted"},
        headline=True,
    ),
    task(
        "latency",
        "how late a sleep of 1 ms ends beside 100 yielders",
        "latency",
        2_000,
        [*EVENT_LOOPS, "threads"],
        group="latency",
        unit="µs",
        keys=("p50", "p99", "p99.9"),
        notes={"uvloop": "its timers count whole milliseconds, and can be early"},
        missing={"floor": "needs a scheduler"},
    ),
    task(
        "parked",
        "memory of a parked task, of 100,000",
        "parked",
        100_000,
        WITHOUT_TINYIO,
        group="memory",
        unit="bytes",
        notes={"floor": "a suspended generator"},
        missing=TOO_MANY,
        headline=True,
    ),
    task(
        "run",
        "run(main) of an empty task, again and again",
        "runs",
        1_000,
        WITH_FLOOR,
        group="run",
        unit="ns",
        notes={"gevent": "spawn and join: the hub stays", "floor": "a generator"},
        missing={"threads": "nothing to start"},
        headline=True,
    ),
]


def start(what: str, title: str) -> Workload:
    """A workload of starting.py."""
    names = [*EVENT_LOOPS, "threads"]
    return Workload(
        f"start-{what}",
        title,
        "ms",
        {name: Measure(python("benchmarks.tasks.starting", what, name)) for name in names},
        group="start",
        missing={"floor": "is the bare interpreter, which is subtracted"},
        rounds=3,
        headline=what == "import",
    )


STARTS = [
    start("import", "import, in a fresh process"),
    start("first", "import and run an empty task, in a fresh process"),
]

WORKLOADS = [*SWITCHES, *SPAWNS, *NESTED, *HOPS, *SELECTS, *SLEEPS, *OTHERS, *STARTS]
