"""What is done to a server, and what must hold meanwhile and after it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from .entry import MIB, PATIENCE, Ended, Entry, Target, reset
from .faults import faults_of
from .fuzzing import Fuzzer
from .steady import GoodClient, SlowClients

WARM = 30  # requests before anything is measured
STOPPING = 5.0  # seconds; a task that is left would make it 10, or more
ROOM = 20  # descriptors that a server may have at a flood
MORE = 40  # connections beyond that
EMFILE_LINE = re.compile(r"WARNING socket \d+ .*: Too many open files; accepting pauses")


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        inputs: For the fuzzer.
        seed: What they are made from.
        seconds: How long slow clients are there, at least.
        slow: How many of them.
    """

    inputs: int = 10_000
    seed: int = 0
    seconds: float = 3.0
    slow: int = 100


Tell = Callable[[str], None]


class Failed(AssertionError):
    """A server did not bear it."""


def campaign(entry: Entry, plan: Plan, tell: Tell) -> None:
    """Do all of it to one server; fails if anything does not hold."""
    began = time.monotonic()
    with ExitStack() as stack:
        target = Target(entry, stack, check=True)
        most = entry.growth + 2 * plan.slow * entry.idle
        with watched(target, most, tell) as good, slow_ones(target, plan):
            for fault in faults_of(entry):
                with bearing(fault.__name__, target, good, tell):
                    fault(target)
            with bearing("fuzz", target, good, tell):
                fuzz(target, plan, tell)
    if entry.transport != "udp":
        flood(entry, tell)
    tell(f"{entry.name}: all in {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def bearing(name: str, target: Target, good: GoodClient, tell: Tell) -> Iterator[None]:
    """What is done in this block, the server must have nothing to say to."""
    began, count = time.monotonic(), len(good.waits)
    yield
    worst = max(good.waits[count:], default=0.0)
    told = f"{time.monotonic() - began:.1f} s; worst answer: {1e3 * worst:.0f} ms"
    tell(f"  {name.replace('_', ' ')}: {told}")
    good.check()
    if target.said():
        time.sleep(0.2)  # for the rest of what it has to say
        raise Failed(f"{target.entry.name}, at {name}, said\n{target.stderr()[:5000]}")


@contextlib.contextmanager
def watched(target: Target, most: int, tell: Tell) -> Iterator[GoodClient]:
    """A good client is there all the while, memory grows by so much, and nothing is left."""
    server = target.server
    for _ in range(WARM):
        target.probe()
    time.sleep(0.2)
    descriptors, memory = server.descriptors(), server.memory()
    with GoodClient(target) as good:
        yield good
    good.check()
    grown = (good.most - memory) / MIB
    tell(f"  {good}; memory: {memory / MIB:.0f} MiB, {grown:+.1f} at most")
    if good.most - memory > most:
        raise Failed(f"{target.entry.name}: memory grew by {grown:.0f} MiB")
    server.settles(server.descriptors, descriptors)
    ends_at_once(target)


def ends_at_once(target: Target) -> None:
    """End the server, which has no clients: so no task is left that it would wait for."""
    began = time.monotonic()
    target.server.signal(signal.SIGTERM)
    code = target.server.process.wait(30)
    seconds = time.monotonic() - began
    if code != 0 or seconds > STOPPING:
        errors = target.stderr()
        raise Failed(f"{target.entry.name} ended with {code}, after {seconds:.1f} s\n{errors}")


@contextlib.contextmanager
def slow_ones(target: Target, plan: Plan) -> Iterator[None]:
    """Those who send a byte a second, and those who say nothing, are there in this block."""
    if target.entry.transport == "udp":
        yield
        return
    until = time.monotonic() + plan.seconds
    with SlowClients(target, plan.slow), ExitStack() as stack:
        for _ in range(plan.slow):
            stack.callback(reset, target.connect())
        yield
        time.sleep(max(0.0, until - time.monotonic()))


# Fuzzing


def fuzz(target: Target, plan: Plan, tell: Tell) -> None:
    """All inputs of the plan."""
    fuzzer = Fuzzer(target, plan.seed)
    rate = fuzzer.run(
        range(plan.inputs), lambda count: tell(f"\r  {count} of {plan.inputs} inputs")
    )
    time.sleep(0.2)  # the last ones may still be served
    if fuzzer.complaints:
        raise Failed("\n".join(report(fuzzer, *each) for each in fuzzer.complaints.items()))
    if target.said():
        with ExitStack() as stack:
            number = fuzzer.culprit(Target(target.entry, stack))
        what = f"the server said\n{target.stderr()[:5000]}"
        numbers = fuzzer.recent if number is None else [number]
        raise Failed("\n".join(report(fuzzer, each, what) for each in sorted(numbers)[:3]))
    tell(f"  {target.entry.name}: {plan.inputs:,} inputs of seed {plan.seed}, {rate:,.0f} a second")


def report(fuzzer: Fuzzer, number: int, complaint: str) -> str:
    """What is to be said of an input that went wrong."""
    name, bad = fuzzer.target.entry.name, fuzzer.input(number)
    return (
        f"{name}, input {number} of seed {fuzzer.seed}: {complaint}\n"
        f"input: {bad.data[:1000]!r} ({len(bad.data)} bytes, then {bad.ending})\n"
        f"again: python3 -m tests.badclients --server {name} --seed {fuzzer.seed} --only {number}"
    )


def only(entry: Entry, plan: Plan, number: int, tell: Tell) -> None:
    """One input, alone on a server of its own."""
    with ExitStack() as stack:
        target = Target(entry, stack, check=True)
        fuzzer = Fuzzer(target, plan.seed)
        bad = fuzzer.input(number)
        tell(f"{[target.filled(piece) for piece in bad.pieces]}, then {bad.ending}")
        complaint = fuzzer.attempt(number)
        time.sleep(0.5)
        if not complaint and target.said():
            complaint = f"the server said\n{target.stderr()}"
        if complaint:
            raise Failed(report(fuzzer, number, complaint))
        ends_at_once(target)
        tell("nothing is wrong with that")


# Floods


def flood(entry: Entry, tell: Tell) -> None:
    """More connections than the server may have descriptors, twice; who is in, is served."""
    began = time.monotonic()
    with ExitStack() as stack:
        target = Target(entry, stack)
        for _ in range(WARM):
            target.probe()
        time.sleep(0.2)
        descriptors = target.server.descriptors()
        limit = highest(target) + 1 + ROOM
        resource.prlimit(target.server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for episode in (1, 2):
            with target.good_client() as held:
                entry.talk(held)  # so that it is in, with all that it needs
                too_many(target, held, episode)
            settle(target, descriptors)
        ends_at_once(target)
        lines = target.stderr().splitlines()
        if len(lines) != 2 or not all(map(EMFILE_LINE.fullmatch, lines)):
            raise Failed(f"{entry.name}, in two floods, said\n" + "\n".join(lines[:50]))
    tell(f"  floods: {time.monotonic() - began:.1f} s")


def too_many(target: Target, held: object, episode: int) -> None:
    """Open too many connections, and see that who was there before is still served."""
    with ExitStack() as stack:
        for _ in range(ROOM + MORE):
            stack.callback(reset, target.connect())
        until = time.monotonic() + PATIENCE
        while target.stderr().count("accepting pauses") < episode:
            if time.monotonic() > until:
                has = f"{target.server.descriptors()} descriptors, said {target.stderr()!r}"
                raise Failed(f"flood {episode}: the server is not full: it has {has}")
            time.sleep(0.02)
        for _ in range(3):
            (target.entry.talk_when_full or target.entry.talk)(held)
            time.sleep(0.15)  # it stays full for longer than an episode lasts


def settle(target: Target, descriptors: int) -> None:
    """After a flood: newcomers are served again, and all descriptors are given back."""
    until = time.monotonic() + PATIENCE
    while not served(target, until):
        time.sleep(0.02)
    target.server.settles(target.server.descriptors, descriptors)
    time.sleep(0.5)  # so that the next flood is another episode


def served(target: Target, until: float) -> bool:
    """Whether a newcomer is served. A proxy may have no descriptor left for the far side yet."""
    try:
        target.probe()
    except (ConnectionError, Ended):  # it says so by a reset, or by an end
        if time.monotonic() > until:
            raise
        return False
    return True


def highest(target: Target) -> int:
    """The highest number of a descriptor that the server has open."""
    return max(map(int, os.listdir(f"/proc/{target.server.pid}/fd")))
