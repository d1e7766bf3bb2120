"""The kernel keeps nothing alive: every call and every way to end, from leftovers/.

Here mostly nobody joins the task; ``python3 -m tests.leftovers`` has all ways to join, and
prints a table.
"""

from __future__ import annotations

import gc
import socket
import tracemalloc
import weakref
from typing import Any

import pytest
from helpers import python
from leftovers.held import Held, Watch
from leftovers.table import FORMS, NAMES, alone, any_cell
from leftovers.ways import WAYS

from microthreads import Socket, current_task, race, run, sleep, spawn

pytestmark = pytest.mark.forgets  # tasks go on in spite of a cancellation

MB = 1 << 20
HELD = 256 << 10  # bytes that each loser holds
RACES = 1_500


@pytest.fixture
def apart(unobserved: None) -> Any:
    """A block with the collector off. It is entered in the test: pytest would keep what is logged."""
    return alone()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_of_a_task_that_has_ended(apart: Any, name: str) -> None:
    left = {}
    with apart:
        for way in WAYS:
            for form in FORMS:
                found = any_cell(name, way.name, form, joins=("never",))
                if found:
                    left[f"{way.name}, {form}"] = dict(found)
    assert left == {}


@pytest.mark.parametrize("name", ["sleep", "join(task)", "Channel.recv, capacity 0"])
@pytest.mark.parametrize("joined", ["before", "after"])
def test_nothing_is_left_of_a_task_that_was_joined(apart: Any, name: str, joined: str) -> None:
    inside = [way.name for way in WAYS if not way.ends_run]
    with apart:
        cells = [any_cell(name, way, form, joins=(joined,)) for way in inside for form in FORMS]
    assert not any(cells)


def test_what_a_program_still_holds_is_seen() -> None:
    hold = Watch()
    kept = hold("local")
    assert hold.left() == {"local": 1}
    assert isinstance(kept, Held)
    del kept
    assert not hold.left()


def test_a_thousand_races_whose_losers_hold_much_take_little_memory(unobserved: None) -> None:
    def loser():
        held = bytearray(HELD)
        yield sleep(3600)
        return held

    def winner():
        yield
        return 1

    def main():
        for _ in range(RACES):
            assert (yield race(winner(), loser(), loser())) == 1

    before = gc.get_threshold()
    gc.set_threshold(100_000)
    tracemalloc.start()
    try:
        run(main())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.set_threshold(*before)
    print(f"\nat most {peak / MB:.1f} MB at once, of {2 * RACES * HELD / MB:,.0f} MB in all")
    assert peak < 4 * MB


def test_a_race_that_fails_leaves_nothing_to_a_task_that_goes_on(apart: Any) -> None:
    watched = []

    def fails():
        held = Held()
        watched.append(weakref.ref(held))
        yield
        raise ValueError(held)

    def main():
        for _ in range(20):
            try:
                yield race(fails(), sleep_long())
            except ValueError:
                pass
        yield sleep(0)
        return sum(each() is not None for each in watched)

    with apart:
        assert run(main()) == 0


def sleep_long():
    yield sleep(3600)


def test_the_socket_of_a_task_that_fails_is_closed_at_once(apart: Any) -> None:
    near, far = socket.socketpair()
    far.setblocking(False)
    sockets = [near]

    def fails():
        connection = Socket(sockets.pop())
        yield sleep(0)
        raise ValueError(connection.fileno())

    def main():
        yield spawn(fails())
        for _ in range(3):
            yield
        return far.recv(1)

    del near
    with apart, far, pytest.warns(ResourceWarning, match="unclosed"):
        assert run(main(), on_crash=lambda task: None) == b""


def test_a_kernel_whose_run_is_over_holds_nothing(apart: Any) -> None:
    watched = []

    def main():
        held = Held()
        watched.append(weakref.ref(held))
        watched.append(weakref.ref(current_task()))
        yield sleep(0)
        return held

    with apart:
        run(main())
    assert [each() for each in watched] == [None, None]


def test_the_command_prints_a_table_and_says_by_its_status_whether_all_is_gone() -> None:
    done = python("-m", "tests.leftovers", "--only", "sleep_until", "--way", "result")
    assert done.returncode == 0, done.stderr
    assert "sleep_until" in done.stdout
    assert "0 things are left" in done.stdout


def test_the_help_of_the_command_has_examples_and_the_columns() -> None:
    done = python("-m", "tests.leftovers", "--help")
    assert "--only gather --way cancel" in done.stdout
    assert all(way.name in done.stdout for way in WAYS)


def test_the_command_refuses_a_call_that_it_does_not_know() -> None:
    done = python("-m", "tests.leftovers", "--only", "nonsense")
    assert done.returncode == 2
    assert "Channel.send" in done.stderr
