"""Timers: whatever the mixture of deadlines and cancellations, they come in order.

Deadlines in order take another way through the kernel than others, and the two meet; so
every mixture is compared with a sorted list.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from microthreads import move_on_after, now, run, sleep, spawn
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]

SLEEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(SLEEPS)
def test_sleepers_wake_by_deadline_and_then_in_the_order_they_went_to_sleep(
    plans: list[tuple[int, int]],
) -> None:
    """Each waits so long before it goes to sleep for so long, in whole seconds."""
    woke: list[tuple[float, int]] = []
    asleep: list[tuple[int, int, int]] = []

    def sleeper(number: int, before: int, seconds: int) -> Gen:
        yield sleep(before)
        asleep.append((before + seconds, len(asleep), number))
        yield sleep(seconds)
        woke.append((now(), number))

    def main() -> Gen:
        for number, (before, seconds) in enumerate(plans):
            yield spawn(sleeper(number, before, seconds))

    run(main(), clock=VirtualClock())
    assert woke == [(deadline, number) for deadline, _, number in sorted(asleep)]


@settings(max_examples=300, deadline=None)
@given(SLEEPS, st.data())
def test_cancelled_sleepers_wake_at_once_and_the_others_in_time(
    plans: list[tuple[int, int]], data: st.DataObject
) -> None:
    ended: dict[int, float] = {}
    cancelled = [data.draw(st.none() | st.integers(0, 14), label="cancelled at") for _ in plans]

    def sleeper(number: int, before: int, seconds: int) -> Gen:
        try:
            yield sleep(before)
            yield sleep(seconds)
        finally:
            ended[number] = now()

    def canceller(task: Any, at: int) -> Gen:
        yield sleep(at)
        task.cancel()

    def main() -> Gen:
        for number, ((before, seconds), at) in enumerate(zip(plans, cancelled, strict=True)):
            task = yield spawn(sleeper(number, before, seconds))
            if at is not None:
                yield spawn(canceller(task, at))

    run(main(), clock=VirtualClock())
    for number, ((before, seconds), at) in enumerate(zip(plans, cancelled, strict=True)):
        due = before + seconds
        assert ended[number] == (due if at is None else min(at, due))


def test_limits_set_and_lifted_keep_no_memory() -> None:
    """Of one length, and of lengths that go up and down."""

    def main() -> Gen:
        kept = []
        for lengths in ([100], [100, 7], range(1, 200)):
            gc.collect()
            before = len(gc.get_objects())
            for turn in range(20_000):
                with move_on_after(lengths[turn % len(lengths)]):
                    yield
            gc.collect()
            kept.append(len(gc.get_objects()) - before)
        return kept

    assert all(more < 2_000 for more in run(main()))


def test_a_timer_for_tomorrow_keeps_nobody_waiting() -> None:
    woke: list[int] = []

    def sleeper(seconds: int) -> Gen:
        yield sleep(seconds)
        woke.append(seconds)

    def main() -> Gen:
        tomorrow = yield spawn(sleeper(86_400))
        for seconds in (30, 10, 20, 40):
            yield spawn(sleeper(seconds))
        yield sleep(50)
        assert woke == [10, 20, 30, 40]
        yield tomorrow
        return now()

    clock = VirtualClock()
    began = clock.now()
    assert run(main(), clock=clock) - began == 86_400
    assert woke[-1] == 86_400
