"""Ctrl-C in the middle of what the toolkit does: all of it ends, and cleans up first."""

from __future__ import annotations

import signal

import pytest
from helpers import started_python

PRELUDE = """
from microthreads import *


def cleaning(name):
    print(name, "began", flush=True)
    try:
        yield sleep(100)
    finally:
        with shield(5):
            yield sleep(0.01)
        print(name, "cleaned up", flush=True)


def ready(name):
    yield sleep(0.01)
    print("ready", flush=True)
"""

END = """

kernel = Kernel(grace=5.0)
try:
    with kernel:
        kernel.run(main())
except KeyboardInterrupt:
    print("interrupted, tasks left:", len(kernel.tasks))
"""

GROUP = """
def main():
    with TaskGroup() as group:
        yield group.spawn(cleaning("one"))
        yield group.spawn(cleaning("two"), daemon=True)
        yield group.spawn(ready("now"))
        yield group.join()
"""

ASYNC_GROUP = """
async def main():
    async with TaskGroup() as group:
        await group.spawn(cleaning("one"))
        await group.spawn(cleaning("two"), daemon=True)
        await group.spawn(ready("now"))
"""

GATHER = """
def main():
    yield gather(cleaning("one"), cleaning("two"), ready("now"))
"""

RACE = """
def main():
    yield spawn(ready("now"))
    yield race(cleaning("one"), cleaning("two"))
"""

LIST = """
def main():
    yield spawn(ready("now"))
    yield parallel_map(cleaning, ["one", "two", "never"], limit=2)
"""

STREAM = """
async def main():
    await spawn(ready("now"))
    async with parallel_map(cleaning, ["one", "two", "never"], limit=2) as results:
        async for result in results:
            pass
"""

SUPERVISOR = """
def main():
    supervisor = Supervisor("one_for_all")
    supervisor.add(cleaning, "two", restart="permanent")
    supervisor.add(cleaning, "one")
    yield spawn(ready("now"))
    yield supervisor.run()
"""

CONDITION = """
def main():
    condition = Condition(Lock())

    def holder():  # a cancelled wait has its lock back first, so it waits for this
        with (yield condition.acquire()):
            print("one began", flush=True)
            yield sleep(0.3)
            print("one cleaned up", flush=True)

    with (yield condition.acquire()):
        yield spawn(holder(), daemon=True)
        yield spawn(ready("now"))
        print("two began", flush=True)
        try:
            yield condition.wait()
        finally:
            assert condition.lock.owner is current_task()
            print("two cleaned up", flush=True)
"""

SERVER = """
def main():
    found = []

    def handler(stream):
        yield from cleaning("two")

    def client():
        with (yield open_connection(*found[0])) as stream:
            yield spawn(ready("now"))
            yield stream.read()
            yield from cleaning("never")

    def listening(addresses):
        found.extend(addresses)

    yield spawn(serve(handler, "127.0.0.1", 0, grace=0.1, ready=listening), daemon=True)
    yield sleep(0.05)
    yield spawn(client(), daemon=True)
    yield from cleaning("one")
"""

PROGRAMS = {
    "a group": GROUP,
    "a group of coroutines": ASYNC_GROUP,
    "gather": GATHER,
    "race": RACE,
    "a parallel map": LIST,
    "the stream of a parallel map": STREAM,
    "a supervisor": SUPERVISOR,
    "a condition": CONDITION,
    "a server": SERVER,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_ctrl_c_ends_it_and_all_that_began_is_cleaned_up_once(program: str) -> None:
    with started_python("-c", PRELUDE + program + END) as process:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "ready":
            lines.append(process.stdout.readline().strip())
            assert lines[-1], process.communicate(timeout=30)[1]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""
    assert sorted(lines) == ["one began", "ready", "two began"]
    *cleaned, last = out.splitlines()
    assert sorted(cleaned) == ["one cleaned up", "two cleaned up"]
    assert last == "interrupted, tasks left: 0"
