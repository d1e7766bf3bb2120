"""The table of tasks: what of very many tasks is seen, how wide it is, and what it costs.

It is shown by `Kernel.snapshot()`, in a DeadlockError, for tasks that do not end in time, at the
second Ctrl-C, and where an invariant is broken.
"""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from helpers import ProcessorTime, assert_ten_times_as_many_cost_about_ten_times_as_much, program

import microthreads
from microthreads import (
    Channel,
    DeadlockError,
    Event,
    Kernel,
    Lock,
    SystemCall,
    Task,
    current_task,
    gather,
    listen,
    run,
    select,
    serve_on,
    shield,
    sleep,
    spawn,
)
from microthreads.errors import InvariantError
from microthreads.kernel import PENDING, Wait
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]
HERE = os.path.relpath(__file__)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def kernel() -> Any:
    return current_task().kernel


def receiving(channel: Any) -> Gen:
    yield channel.recv()


def line_of(function: Any, offset: int = 1) -> str:
    """How a table names the line so far below the `def` of a function."""
    return f"{HERE}:{function.__code__.co_firstlineno + offset} in {function.__name__}"


def rows(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines()]


def columns_of(table: str) -> list[list[str]]:
    """The cells of each row below the headings."""
    lines = rows(table)
    start = next(number for number, line in enumerate(lines) if line.startswith("TASK"))
    return [re.split(r"\s\s+", line) for line in lines[start + 1 :]]


def seen_by(vrun: Any, *routines: Any, wait: float = 1) -> Any:
    """What a task sees when the routines run beside it."""

    def main() -> Gen:
        tasks = []
        for routine in routines:
            tasks.append((yield spawn(routine)))
        yield sleep(wait)
        seen = kernel().snapshot()
        str(seen)
        for task in tasks:
            task.cancel()
        return seen

    return vrun(main())


# ---- what is seen of very many


def test_of_5002_tasks_the_one_that_spins_is_the_first_and_the_ready_ones_come_next(
    vrun: Any, unobserved: None
) -> None:
    event, tables = Event(), []

    def client() -> Gen:
        yield event.wait()

    def spin() -> Gen:
        tables.append(str(kernel().snapshot()))
        event.set()
        yield

    def main() -> Gen:
        for _ in range(5_000):
            yield spawn(client())
        yield spawn(spin())
        yield

    vrun(main())
    assert rows(tables[0])[0] == "5,002 tasks: 1 running, 1 ready, 5,000 parked"
    assert columns_of(tables[0]) == [
        ["#5002 spin", "running", "-", line_of(spin)],
        ["#1 main", "ready", "-", line_of(main, 3)],
        ["5,000 tasks", "parked", "wait for Event (not set)", line_of(client)],
        ["#2 client"],
        ["#3 client"],
        ["#4 client"],
    ]


def test_a_group_has_a_count_and_three_examples_with_what_they_do_not_share(vrun: Any) -> None:
    channels: list[Channel[Any]] = [Channel(name=f"inbox {number}") for number in range(40)]
    seen = seen_by(vrun, *map(receiving, channels))
    assert columns_of(str(seen))[1:] == [
        ["40 tasks", "parked", "recv on Channel", line_of(receiving)],
        ["#2 receiving", "recv on Channel 'inbox 0' (0/0)"],
        ["#3 receiving", "recv on Channel 'inbox 1' (0/0)"],
        ["#4 receiving", "recv on Channel 'inbox 2' (0/0)"],
    ]


def test_tasks_are_grouped_by_state_kind_of_call_kind_of_object_and_line(vrun: Any) -> None:
    def either(call: Any) -> Gen:
        yield call

    def other(call: Any) -> Gen:
        yield call

    def calls() -> list[Any]:
        return [Channel().recv(), Channel().send(1), Lock().acquire(), Event().wait()]

    held = Lock()

    def taking() -> Gen:
        yield held.acquire()
        yield sleep(10)

    makes = [lambda: Channel().recv(), lambda: Channel().send(1), held.acquire, Event().wait]
    routines = [routine(make()) for make in makes for routine in (either, other) for _ in range(5)]
    seen = seen_by(vrun, taking(), *routines)
    heads = [row for row in columns_of(str(seen)) if "tasks" in row[0]]
    assert [row[0] for row in heads] == ["5 tasks"] * 8
    assert {tuple(row[2:]) for row in heads} == {
        (words, line_of(routine))
        for words in (
            "recv on Channel",
            "send on Channel",
            f"acquire {held}, owned by task #2 taking",
            "wait for Event (not set)",
        )
        for routine in (either, other)
    }


def test_tasks_at_the_same_line_are_one_group_whichever_way_they_came_to_it(vrun: Any) -> None:
    def tidy(channel: Any, fail: bool) -> Gen:
        with contextlib.suppress(KeyError):
            try:
                if fail:
                    raise KeyError
            finally:  # compiled twice
                yield channel.recv()

    seen = seen_by(vrun, *(tidy(Channel(), number % 2 == 0) for number in range(40)))
    assert columns_of(str(seen))[1] == ["40 tasks", "parked", "recv on Channel", line_of(tidy, 6)]


def test_up_to_30_tasks_have_a_row_each(vrun: Any) -> None:
    few = str(seen_by(vrun, *(receiving(Channel()) for _ in range(29))))
    assert len(rows(few)) == 31
    assert rows(few)[0].startswith("TASK")
    many = str(seen_by(vrun, *(receiving(Channel()) for _ in range(30))))
    assert len(rows(many)) == 2 + 1 + 4


def test_four_of_a_kind_need_no_row_that_counts_them(vrun: Any) -> None:
    many = [receiving(Channel()) for _ in range(30)]
    table = str(seen_by(vrun, *many, *(waiting_for(Event(name="few")) for _ in range(4))))
    assert [row[0] for row in columns_of(table) if "few" in str(row)] == [
        f"#{number} waiting_for" for number in range(32, 36)
    ]


def test_very_many_ready_tasks_are_counted_as_well(vrun: Any) -> None:
    def busy() -> Gen:
        while not stopped:
            yield

    def main() -> Gen:
        for _ in range(100):
            yield spawn(busy())
        yield
        stopped.append(True)
        return str(kernel().snapshot())

    stopped: list[bool] = []

    table = vrun(main())
    assert columns_of(table)[0][:2] == ["#1 main", "running"]
    assert columns_of(table)[1:] == [
        ["100 tasks", "ready", "-", line_of(busy, 2)],
        ["#2 busy"],
        ["#3 busy"],
        ["#4 busy"],
    ]


def test_of_very_many_groups_the_largest_are_shown_and_the_others_counted(vrun: Any) -> None:
    names: dict[str, Any] = {}
    for number in range(60):
        exec(f"def at_{number}(channel):\n    yield channel.recv()\n", names)
    routines = [
        names[f"at_{number}"](Channel()) for number in range(60) for _ in range(10 + number)
    ]
    seen = seen_by(vrun, *routines)
    lines = rows(str(seen))
    assert "task #1" not in lines[2]
    assert lines[2].startswith("#1 main")
    assert lines[-1] == f"... and {sum(10 + n for n in range(36)):,} more tasks in 36 groups"
    assert len(seen.tasks) == 1 + len(routines)
    assert len(lines) < 110
    assert "in at_59" in lines[-5]


def test_all_tasks_in_one_state_are_said_to_be_so() -> None:
    table = str(deadlock_of(5_000).snapshot)
    assert rows(table)[0] == "5,001 tasks, all parked"


def test_a_group_that_waits_on_one_object_has_its_name(vrun: Any) -> None:
    event = Event(name="opening")
    seen = seen_by(vrun, *(map(waiting_for, [event] * 40)))
    assert "wait for Event 'opening' (not set)" in columns_of(str(seen))[1]
    assert columns_of(str(seen))[2] == ["#2 waiting_for"]


def waiting_for(event: Any) -> Gen:
    yield event.wait()


def test_a_select_is_told_by_its_branches_in_the_examples(vrun: Any) -> None:
    def choosing(channel: Any) -> Gen:
        yield select(channel.recv(), sleep(50))

    seen = seen_by(vrun, *(choosing(Channel(name=f"c{number}")) for number in range(40)))
    assert columns_of(str(seen))[1][2] == "select over Calls"
    assert columns_of(str(seen))[2][1] == "select over recv on Channel 'c0' (0/0) | sleep"


def test_one_branch_that_cannot_be_shown_hides_no_other(vrun: Any) -> None:
    def choosing() -> Gen:
        yield select(Channel(name="good").recv(), Odd(lambda: 1 // 0))

    (info,) = [info for info in seen_by(vrun, choosing()).tasks if info.name == "choosing"]
    assert info.waits_on == "select over recv on Channel 'good' (0/0) | <Odd that cannot be shown>"


# ---- where a task stands


def test_a_task_of_the_library_stands_at_the_line_that_spawned_it(vrun: Any) -> None:
    def main() -> Gen:
        task = yield spawn(gather(receiving(Channel())))
        yield sleep(1)
        table = str(kernel().snapshot())
        task.cancel()
        return table

    (row,) = [row for row in columns_of(vrun(main())) if "gather" in row[0]]
    assert row[-1] == line_of(main)


def test_a_task_that_the_library_spawns_for_itself_stands_at_the_program_s_line() -> None:
    def handler(stream: Any) -> Gen:
        yield stream.read(1)

    def main() -> Gen:
        server = yield spawn(serve_on(handler, [listen("127.0.0.1", 0)]), daemon=True)
        yield sleep(0.01)
        seen = kernel().snapshot()
        server.cancel()
        return seen

    seen = run(main())
    assert len(seen.tasks) > 2
    assert {info.place for info in seen.tasks[1:]} == {line_of(main)}
    assert microthreads.__path__[0] not in str(seen)


def test_the_running_task_stands_where_it_computes_and_not_where_it_delegates(vrun: Any) -> None:
    tables = []

    def compute() -> None:
        tables.append(str(kernel().snapshot()))

    def inner() -> Gen:
        compute()
        yield

    def outer() -> Gen:
        yield from inner()

    vrun(outer())
    assert columns_of(tables[0])[0][-1] == line_of(compute)


def test_a_table_asked_for_by_the_kernel_s_own_helpers_shows_the_routine_s_line(vrun: Any) -> None:
    """A task is current while an observer is told of it, but its routine does not run."""
    tables: list[str] = []

    class Looking(microthreads.observe.Observer):
        def parked(self, task: Task[Any], call: SystemCall[Any]) -> None:
            tables.append(str(task.kernel.snapshot()))  # type: ignore[attr-defined]

    def main() -> Gen:
        yield sleep(1)

    vrun(main(), observers=[Looking()])
    assert columns_of(tables[0])[0][-1] == line_of(main)


def test_an_async_generator_is_where_its_own_line_is(vrun: Any) -> None:
    async def lines() -> Any:
        await sleep(5)
        yield 1

    async def reading() -> None:
        async for _ in lines():
            pass

    (info,) = [info for info in seen_by(vrun, reading()).tasks if info.name == "reading"]
    assert info.place == line_of(lines)


# ---- one moment


def test_a_table_shows_the_moment_at_which_it_was_taken(vrun: Any) -> None:
    def main() -> Gen:
        channel: Channel[int] = Channel(5, name="box")
        task = yield spawn(receiving(channel), name="reader")
        yield
        seen = kernel().snapshot()
        channel.try_send(1)
        channel.try_send(2)
        yield task
        return seen

    seen = vrun(main())
    assert "'box' (0/5)" in str(seen)
    assert seen.tasks[1].waits_on == "recv on Channel 'box' (0/5)"


def test_a_snapshot_of_very_many_has_all_of_them(vrun: Any) -> None:
    channels: list[Channel[Any]] = [Channel(name=f"inbox {number}") for number in range(100)]
    tasks = seen_by(vrun, *map(receiving, channels)).tasks
    assert [info.id for info in tasks] == list(range(1, 102))
    assert tasks[77].waits_on == "recv on Channel 'inbox 76' (0/0)"
    assert tasks[77].wait.on is channels[76]
    assert tasks[77].spawned_at.endswith("in main")


def test_a_snapshot_goes_to_another_process_in_words(vrun: Any) -> None:
    channels: list[Channel[Any]] = [Channel(name=f"inbox {number}") for number in range(100)]
    seen = seen_by(vrun, *map(receiving, channels))
    for other in (pickle.loads(pickle.dumps(seen)), copy.deepcopy(seen)):
        assert [info.waits_on for info in other.tasks] == [info.waits_on for info in seen.tasks]
        assert columns_of(str(other))[2:] == columns_of(str(seen))[2:]


# ---- what it costs


class Asked:
    """How often a call of the program's own, and the object that it is on, are asked."""

    describes = texts = 0


def asking(asked: Asked) -> Any:
    class Shy:
        def __str__(self) -> str:
            asked.texts += 1
            return "a shy thing"

    class Shown(Odd):
        def __init__(self) -> None:
            super().__init__(None)

        def describe(self) -> Wait:
            asked.describes += 1
            return Wait("wait for", Shy())

    return Shown


def waiting_on(call: Any) -> Gen:
    yield call


def asked_of(vrun: Any, number: int, monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked, stacks = Asked(), []
    monkeypatch.setattr(Task, "stack", lambda task: stacks.append(task) or [])
    call = asking(asked)
    seen_by(vrun, *(waiting_on(call()) for _ in range(number)))
    assert stacks == []
    return asked


def test_a_table_of_5000_tasks_has_no_more_objects_say_what_they_are_than_one_of_30(
    vrun: Any, unobserved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (asked_of(vrun, number, monkeypatch) for number in (29, 5_000))
    assert (few.describes, few.texts) == (29, 29)
    assert (many.describes, many.texts) == (5_000, 3)  # who owns what tells of a circle


def test_lines_are_looked_up_once_each(
    vrun: Any, unobserved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    relative = os.path.relpath
    monkeypatch.setattr(os.path, "relpath", lambda path: looked.append(path) or relative(path))
    channels: list[Channel[Any]] = [Channel() for _ in range(1_000)]
    seen_by(vrun, *map(receiving, channels), *(gather(receiving(Channel())) for _ in range(1_000)))
    assert len(looked) < 10  # two lines at which they stand, and those that spawned them


def test_ten_times_as_many_tasks_in_a_row_of_owners_cost_ten_times_as_much() -> None:
    assert_ten_times_as_many_cost_about_ten_times_as_much(cost_of_a_row_of_owners, few=200)


def cost_of_a_row_of_owners(number: int) -> float:
    """A table of tasks that each wait for what the next one owns, the last for nobody."""
    cost = ProcessorTime()

    def member(mine: Any, other: Any) -> Gen:
        with (yield mine.acquire()):
            yield sleep(1)
            yield other.acquire()

    def main() -> Gen:
        locks = [Lock() for _ in range(number + 1)]
        yield locks[-1].acquire()
        tasks = []
        for mine, other in zip(locks, locks[1:], strict=False):
            tasks.append((yield spawn(member(mine, other))))
        yield sleep(2)
        with cost:
            seen = kernel().snapshot()
        assert seen.cycle == ()
        for task in tasks:
            task.cancel()
        locks[-1].release()

    run(main(), clock=VirtualClock())
    return cost.seconds


# ---- the circle


def philosophers(number: int) -> DeadlockError:
    def eat(left: Any, right: Any) -> Gen:
        with (yield left.acquire()):
            yield sleep(1)
            yield right.acquire()

    def main() -> Gen:
        forks = [Lock(name=f"fork {place}") for place in range(number)]
        for place in range(number):
            yield spawn(eat(forks[place], forks[(place + 1) % number]))

    with pytest.raises(DeadlockError) as caught:
        run(main(), clock=VirtualClock())
    return caught.value


def test_of_a_circle_of_1000_the_first_the_last_and_the_count_are_shown(unobserved: None) -> None:
    error = philosophers(1_000)
    assert len(error.snapshot.cycle) == 1_000
    assert rows(str(error.snapshot))[-6:] == [
        "the cycle, of 1,000 tasks:",
        "task #2 eat waits to acquire Lock 'fork 1', owned by task #3 eat",
        "task #3 eat waits to acquire Lock 'fork 2', owned by task #4 eat",
        "task #4 eat waits to acquire Lock 'fork 3', owned by task #5 eat",
        "... 996 more, each of which waits for the next",
        "task #1001 eat waits to acquire Lock 'fork 0', owned by task #2 eat",
    ]


def test_a_circle_of_30_is_shown_whole() -> None:
    lines = rows(str(philosophers(30).snapshot))
    assert lines[-31] == "the cycle:"
    assert lines[-1].startswith("task #31 eat waits to acquire Lock 'fork 0'")


def test_of_several_circles_the_one_with_the_lowest_task_is_shown_from_there(vrun: Any) -> None:
    """Task 2 leads to the circle of 5 and 6, which is found before that of 3 and 4."""
    tasks: list[Any] = []

    def member(other: int) -> Gen:
        yield sleep(1)
        yield Odd(lambda: Wait("wait for", "something", tasks[other - 2]))

    def main() -> Gen:
        for other in (6, 4, 3, 6, 5):
            tasks.append((yield spawn(member(other))))

    with pytest.raises(DeadlockError) as caught:
        vrun(main())
    assert [info.id for info in caught.value.snapshot.cycle] == [3, 4]


# ---- how wide it is


NAMES = [
    "x" * 200,
    "日本語の名前" * 9,
    "e\u0301" * 40,
    "plain",
    "tab\there\nand \x1b[31mred\x00\udc80",
]


def wide_tables(vrun: Any) -> list[Any]:
    def named(number: int) -> Gen:
        current_task().name = name = NAMES[number % len(NAMES)]
        yield Channel(name=name).recv()

    return [
        seen_by(vrun, *map(named, range(10))),
        seen_by(vrun, *map(named, range(60))),
        philosophers(40).snapshot,
    ]


def test_no_line_is_wider_than_asked_whatever_the_names(
    vrun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = wide_tables(vrun)
    for columns in [*range(1, 60), 80, 120, 200, 400]:
        monkeypatch.setenv("COLUMNS", str(columns))
        for each in seen:
            assert max(map(shown_width, str(each).splitlines())) <= columns


def shown_width(line: str) -> int:
    """As a terminal counts: none for an accent, two for a character of East Asia."""
    assert line.isprintable()
    return sum(0 if each == "\u0301" else 2 if each > "\u2fff" else 1 for each in line)


def test_columns_stand_below_their_headings_also_with_wide_characters(vrun: Any) -> None:
    table = str(seen_by(vrun, *(receiving(Channel(name="日本")) for _ in range(3))))
    lines = table.splitlines()
    at = lines[0].index("AT")
    assert all(shown_width(line[: line.rindex(HERE)]) >= at for line in lines[1:])


def test_a_row_is_one_line_of_what_can_be_printed(vrun: Any) -> None:
    def main() -> Gen:
        yield spawn(receiving(Channel(name="a\nb")), name="evil\n  #9 fake  running", daemon=True)
        yield sleep(1)
        return str(kernel().snapshot())

    table = vrun(main())
    assert len(table.splitlines()) == 3
    assert r"#2 evil\n  #9 fake" in table


def test_in_a_narrow_terminal_file_function_and_state_remain(
    vrun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["the inbox of the client with the longest of all names", "b"]
    table = str(seen_by(vrun, *(receiving(Channel(name=name)) for name in names)))
    first, second = table.splitlines()[2:]
    assert second.endswith(os.path.basename(line_of(receiving)))
    assert "parked" in first
    assert "recv on Channel 't" in first and "…" in first


@pytest.mark.parametrize("name", ["orders", "the pool of connections to the database"])
def test_in_80_columns_the_owner_is_seen_and_so_is_the_line(
    unobserved: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def long_running_report(lock: Lock, rows: Channel[Any]) -> Gen:
        with (yield lock.acquire()):
            yield rows.recv()

    def main() -> Gen:
        lock = Lock(name=name)
        yield spawn(long_running_report(lock, Channel(name="rows")))
        yield spawn(long_running_report(lock, Channel(name="rows")))

    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(DeadlockError) as caught:
        run(main(), clock=VirtualClock())
    row = str(caught.value.snapshot).splitlines()[2]
    assert "acquire L" in row and "…, owned by task #2 " in row
    assert re.search(r"  test_tables\.py:\d+ in ", row)


def test_in_80_columns_each_line_of_a_circle_has_its_owner(
    unobserved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transfer_between_two_accounts(one: Lock, other: Lock) -> Gen:
        with (yield one.acquire()):
            yield sleep(0)
            yield other.acquire()

    def main() -> Gen:
        one, other = Lock(name="account of Ada Lovelace"), Lock(name="account of Grace Hopper")
        yield spawn(transfer_between_two_accounts(one, other))
        yield spawn(transfer_between_two_accounts(other, one))

    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(DeadlockError) as caught:
        run(main(), clock=VirtualClock())
    first, second = rows(str(caught.value.snapshot))[-2:]
    assert "task #2" in first and "acquire Lock 'a…, owned by task #3" in first
    assert "task #3" in second and "acquire Lock 'a…, owned by task #2" in second


def test_a_bad_COLUMNS_is_no_width(vrun: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    seen = seen_by(vrun, receiving(Channel(name="x" * 300)))
    for bad in ("", "0", "-5", "many", "²"):
        monkeypatch.setenv("COLUMNS", bad)
        assert max(map(len, str(seen).splitlines())) == 160  # pytest's standard error is a file


DEADLOCK = """
import os
os.environ.pop("COLUMNS", None)
from microthreads import Channel, run
def main():
    yield Channel(name="x" * 300).recv()
run(main())
"""


def test_the_terminal_says_how_wide_a_table_may_be() -> None:
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    for columns in (50, 100):
        near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, b"\x18\0" + bytes([columns, 0]) + b"\0\0\0\0")
        path = {"PYTHONPATH": str(Path(microthreads.__path__[0]).parent), "NO_COLOR": "1"}
        with subprocess.Popen(
            [sys.executable, "-c", DEADLOCK],
            stderr=far,
            stdout=subprocess.PIPE,
            env=os.environ | path,
        ) as process:
            os.close(far)
            out = b""
            with contextlib.suppress(OSError):  # so ends what is read from a terminal
                while data := os.read(near, 65536):
                    out += data
            os.close(near)
            process.wait(60)
        table = out.decode().partition("tasks that wait")[2].splitlines()[1:]
        assert table[0].split() == ["TASK", "STATE", "WAITS", "ON", "AT"]
        assert max(map(len, table)) == columns


# ---- what a program's own objects may do


class Odd(SystemCall[Any]):
    """A call of the program's own, that waits until it is cancelled, and describes itself oddly."""

    def __init__(self, describes: Any) -> None:
        super().__init__()
        self.describes = describes

    def attempt(self, task: Any) -> Any:
        return PENDING

    def arm(self, waiter: Any) -> None:
        self.waiter = waiter

    def disarm(self, waiter: Any) -> None:
        self.waiter = None

    def describe(self) -> Any:
        return self.describes()


def failing(*_: Any) -> Any:
    raise SystemExit("made to fail")


class OwnText(str):
    """Text whose methods fail."""

    __slots__ = ()
    __format__ = __len__ = __eq__ = isprintable = isascii = __getitem__ = failing  # type: ignore[assignment]
    __hash__ = str.__hash__


class Meta(type):
    __name__ = property(failing)  # type: ignore[assignment]
    __hash__ = __eq__ = failing  # type: ignore[assignment]


class Mute(metaclass=Meta):
    __str__ = __repr__ = __eq__ = __bool__ = __getattr__ = failing  # type: ignore[assignment]


class Texted:
    def __str__(self) -> str:
        return OwnText("own text")


class OwnWait(Wait):
    __slots__ = ()
    on = property(failing)  # type: ignore[assignment]


ODD_WAITS = {
    "describe raises": failing,
    "describe gives None": lambda: None,
    "describe gives junk": lambda: "junk",
    "a kind that is no text": lambda: Wait(Mute(), "x"),  # type: ignore[arg-type]
    "a kind of an own class": lambda: Wait(OwnText("kind"), "x"),
    "an object without a text": lambda: Wait("wait for", Mute()),
    "an object with an own text": lambda: Wait("wait for", Texted()),
    "an own text": lambda: Wait("wait for", OwnText("own")),
    "an owner that is no task": lambda: Wait("wait for", "x", Mute()),  # type: ignore[arg-type]
    "an own Wait": lambda: OwnWait("wait for"),
    "a long text": lambda: Wait("wait for", "x" * 1_000_000),
    "lines": lambda: Wait("wait for\n", "\x1b[2J\r\n"),
}


@pytest.mark.parametrize("number", [1, 40])
@pytest.mark.parametrize("odd", ODD_WAITS)
def test_nothing_that_a_call_says_of_itself_breaks_the_table(
    vrun: Any, odd: str, number: int
) -> None:
    tasks = [waiting_on(Odd(ODD_WAITS[odd])) for _ in range(number)]
    seen = seen_by(vrun, *tasks, receiving(Channel(name="other")))
    table = str(seen)
    assert "other" in table
    assert "waiting_on" in table
    assert max(map(len, table.splitlines())) <= 160
    assert all(type(info.waits_on) is str for info in seen.tasks)


class Endless(Generator[Any, Any, Any]):
    """A routine of the program's own that says it delegates to itself."""

    def __init__(self) -> None:
        self.inner = receiving(Channel(name="endless"))

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    asked = 0

    @property
    def gi_yieldfrom(self) -> Any:  # type: ignore[override]
        Endless.asked += 1
        return self

    gi_frame = True  # type: ignore[assignment]


def test_a_routine_that_says_odd_things_of_its_frames_breaks_no_table(
    vrun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microthreads.kernel.routines.DEEPEST", 100)

    class Failing(Endless):
        @property
        def gi_yieldfrom(self) -> Any:
            raise ValueError("made to fail")

    seen = seen_by(vrun, Endless(), Failing(), receiving(Channel()))
    assert [info.place for info in seen.tasks][
        1
    ] == f"{HERE}:{seen_by.__code__.co_firstlineno + 6} in main"
    assert 0 < Endless.asked < 5_000


@pytest.mark.parametrize("name", [OwnText("own"), 5, Mute()], ids=["own text", "number", "mute"])
def test_no_name_breaks_the_table(vrun: Any, name: Any) -> None:
    def renamed() -> Gen:
        current_task().name = name
        yield Channel(name="other").recv()

    for number in (1, 40):
        assert "'other'" in str(seen_by(vrun, *(renamed() for _ in range(number))))


# ---- where it is shown


def deadlock_of(number: int) -> DeadlockError:
    def main() -> Gen:
        channel: Channel[Any] = Channel(name="inbox")
        for _ in range(number):
            yield spawn(receiving(channel))
        yield channel.recv()

    with pytest.raises(DeadlockError) as caught:
        run(main(), clock=VirtualClock())
    return caught.value


def test_a_deadlock_of_5000_tasks_is_told_in_eight_lines(unobserved: None) -> None:
    error = deadlock_of(5_000)
    assert len(str(error.snapshot).splitlines()) == 7
    assert re.search(r"5,000 tasks +parked +recv on Channel 'inbox'", str(error))
    assert str(error) in "".join(traceback.format_exception(error))
    assert len(error.snapshot.tasks) == 5_001


def test_1000_stragglers_are_logged_in_a_few_lines(
    unobserved: None, caplog: pytest.LogCaptureFixture
) -> None:
    def slow() -> Gen:
        with shield(grace=100):
            yield sleep(50)

    def main() -> Gen:
        for _ in range(1_000):
            yield spawn(slow(), daemon=True)
        yield

    run(main(), clock=VirtualClock(), grace=3)
    (record,) = caplog.records
    lines = record.getMessage().splitlines()
    assert lines[1].strip() == "1,000 tasks, all parked"
    assert lines[3].split()[:4] == ["1,000", "tasks", "parked", "sleep"]
    assert lines[4].strip() == "#2 slow (daemon)"
    assert len(lines) == 7


def test_the_second_ctrl_c_shows_the_one_that_spins_among_5000() -> None:
    done = program("""
        import os, signal
        from microthreads import Event, run, spawn
        def client(event):
            yield event.wait()
        def compute(event):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            event.set()
        def spin(event):
            compute(event)
            yield
        def main():
            event = Event()
            for _ in range(5_000):
                yield spawn(client(event))
            yield spawn(spin(event))
            yield
        run(main())
    """)
    lines = [line.split() for line in done.stderr.splitlines()]
    assert lines[1][:3] == ["5,002", "tasks:", "1"]
    assert lines[3] == ["#5002", "spin", "running", "-", "<string>:8", "in", "compute"]
    assert ["#1", "main", "ready"] == lines[4][:3]
    assert lines[5][:3] == ["5,000", "tasks", "parked"]
    assert lines[9][:2] == ["Ctrl-C", "once"]


def test_a_broken_invariant_has_the_short_table_as_a_note() -> None:
    class Breaking(microthreads.observe.Observer):
        def ended(self, task: Task[Any]) -> None:
            raise InvariantError("made to fail")

    def main() -> Gen:
        for _ in range(100):
            yield spawn(receiving(Channel()))
        yield spawn(iter_once())
        yield sleep(1)

    def iter_once() -> Gen:
        yield

    with contextlib.closing(Kernel(clock=VirtualClock(), observers=[Breaking()])) as broken:
        with pytest.raises(InvariantError) as caught:
            broken.run(main())
    (note,) = caught.value.__notes__
    assert "100 tasks" in note
    assert len(note.splitlines()) < 12
