"""Every primitive does what its model says, under every schedule of every small program.

By default one program in thirty is run; all of them, which takes two minutes, with --soak or
if the environment variable EXHAUSTIVE is set. Run pytest with -s to see how many they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any, NamedTuple

import pytest
from exhaustive import __main__ as command
from exhaustive.checker import (
    SAMPLE,
    Count,
    check_programs,
    check_three,
    check_two,
    happens,
    outcomes_of_library,
    programs_of_two,
    quiet,
)
from exhaustive.interleavings import outcomes_of_model
from exhaustive.primitives import ALL, PRIMITIVES
from exhaustive.programs import END, Kind, Step, all_programs, read, sampled_programs, written
from exhaustive.trials import Primitive

import microthreads
from microthreads import (
    Barrier,
    BrokenLockError,
    Cancelled,
    Channel,
    DeadlockError,
    Event,
    Lock,
    Queue,
    Semaphore,
)
from microthreads.calls import Within
from microthreads.channels import Send
from microthreads.kernel import Core, Failure
from microthreads.queues.queue import PriorityQueue
from microthreads.select import Select
from microthreads.sim import Verdict, explore
from microthreads.sync.conditions import Condition, ConditionWait
from microthreads.sync.events import BarrierWait

pytestmark = pytest.mark.forgets  # programs are left in the middle

each = pytest.mark.parametrize("primitive", ALL, ids=lambda primitive: primitive.name)
each_of_two = pytest.mark.parametrize(
    "primitive", [each for each in ALL if 2 in each.tasks], ids=lambda primitive: primitive.name
)


@pytest.fixture
def one_in(request: pytest.FixtureRequest) -> int:
    """One program in how many is run."""
    return 1 if request.config.getoption("--soak") or os.environ.get("EXHAUSTIVE") else 30


def agreed(primitive: Primitive, what: str, count: Count) -> None:
    """Print how many programs were run, and fail if there were none or one went wrong."""
    print(
        f"\n{primitive.name}: {count.programs:,} programs {what}, {count.complete:,} of them "
        f"under all schedules, {count.schedules:,} schedules, {count.seconds:.1f} s"
    )
    assert not count.failures, count.failures[0]
    assert count.schedules > count.programs > 0


@each_of_two
def test_two_tasks_do_what_the_model_says_under_all_schedules(
    primitive: Primitive, one_in: int, unobserved: None
) -> None:
    count = check_two(primitive, one_in)
    agreed(primitive, "of 2 tasks", count)
    assert count.complete == count.programs


@each
def test_three_tasks_do_what_the_model_says(
    primitive: Primitive, one_in: int, unobserved: None
) -> None:
    count = check_three(primitive, one_in)
    agreed(primitive, "of 3 tasks", count)
    assert count.programs == SAMPLE // one_in


@each
def test_states_and_invariants_are_right_at_every_step_as_well(primitive: Primitive) -> None:
    if 2 in primitive.tasks:
        agreed(primitive, "of 2 tasks, watched", check_two(primitive, 200, strict=True))
    agreed(primitive, "of 3 tasks, watched", check_three(primitive, 25, strict=True))


# That the explorer reaches everything


def tiny_programs(primitive: Primitive, number: int) -> list[Any]:
    """Programs of two and of three tasks, few enough of them for the model alone."""
    found: list[Any] = []
    if 2 in primitive.tasks:
        found += sampled_programs(primitive.alphabet(2), 2, number, "two")
    threes = sampled_programs(primitive.alphabet(3), 3, number, "three")
    return found + [tuple(names[:1] for names in program) for program in threes]


@each
def test_the_explorer_finds_all_that_the_model_alone_does_in_as_many_schedules(
    primitive: Primitive, unobserved: None
) -> None:
    for program in tiny_programs(primitive, 6):
        by_model = outcomes_of_model(primitive, program)
        assert outcomes_of_library(primitive, program) == by_model, written(program)


def freely(things: Any, tasks: list[Any], number: int, steps: list[Step]) -> Generator[Any, Any]:
    """What a task of a trial does, with no model beside it."""
    at = 0
    while at != END:
        step = steps[at]
        got: Any = None
        try:
            if step.kind is Kind.CANCEL:
                tasks[(number + 1) % len(tasks)].cancel()
            elif step.kind is Kind.PLAIN:
                got = step.act(things, step.item)
            elif step.kind is Kind.CALL:
                got = yield step.act(things, step.item)
            else:
                got = yield from step.act(things, step.item)
        except (Exception, Cancelled) as error:
            got = type(error)
        at = step.after(got)


def freely_run(primitive: Primitive, program: Any) -> Callable[[], Generator[Any, Any]]:
    """The program as one for `explore`: it deadlocks if tasks are left that wait."""

    def main() -> Generator[Any, Any]:
        things, tasks = primitive.make(), []
        kernel = microthreads.current_task().kernel
        for number, steps in enumerate(primitive.scripts(program)):
            tasks.append(kernel.spawn(freely(things, tasks, number, steps)))
        return
        yield

    return main


@each_of_two
def test_explore_reports_a_deadlock_just_where_the_model_leaves_a_task_waiting(
    primitive: Primitive, unobserved: None
) -> None:
    with quiet():
        for program in sampled_programs(primitive.alphabet(2), 2, 25, "deadlocks"):
            ends, schedules = outcomes_of_model(primitive, program)
            report = explore(freely_run(primitive, program), shrink=False)
            if any(waiting for _, waiting, _ in ends):
                assert report.verdict is Verdict.FAILED, written(program)
                assert isinstance(report.failure, DeadlockError)
            else:
                assert report.verdict is Verdict.PROVED, written(program)
                assert report.executions == schedules


def test_a_cancel_may_come_before_the_first_step_while_it_waits_or_too_late() -> None:
    event = PRIMITIVES["Event"]
    found, _ = outcomes_of_library(event, (("wait", "wait"), ("set", "cancel")))
    assert {outcomes[0] for outcomes, _, _ in found} == {(Cancelled,), (True, Cancelled)}
    found, _ = outcomes_of_library(event, (("wait", "wait"), ("yield", "cancel")))
    assert {outcomes[0] for outcomes, _, _ in found} == {(Cancelled,)}


def test_a_lock_that_its_owner_kept_is_broken_for_those_who_come_later() -> None:
    program = (("acquire",), ("acquire", "release"))
    found, _ = outcomes_of_library(PRIMITIVES["Lock"], program)
    assert {outcomes for outcomes, _, _ in found} == {
        (("guard",), ("guard", None)),
        (("guard",), (BrokenLockError, BrokenLockError)),
    }


# That a fault would be found


class Mutant(NamedTuple):
    """A fault in the library."""

    name: str  # of the primitive
    tasks: int  # of the programs that find it
    owner: Any
    attribute: str
    make: Callable[[Any], Any]  # given what is there, what is put there

    def __str__(self) -> str:
        return f"{self.name}: {self.owner.__name__}.{self.attribute} {self.make.__name__}"


def hands_on_to_the_last(was: Any) -> Any:
    def hand_on(self: Lock) -> None:
        while self.owner is None and self.waiters.first is not None:
            call = self.waiters.last
            self.waiters.remove(call)
            self.take(call.task)
            call.granted()

    return hand_on


def leaves_waiters_of_a_broken_lock(was: Any) -> Any:
    return lambda self: None


def takes_the_lock_back_once(was: Any) -> Any:
    def granted(self: ConditionWait) -> None:
        self.depth = 1
        was(self)

    return granted


def drops_the_permit(was: Any) -> Any:
    def release(self: Semaphore, n: int = 1) -> None:
        if self.waiters.first is None:
            was(self, n)

    return release


def wakes_only_the_first(was: Any) -> Any:
    def set(self: Event) -> None:
        self._set = True
        if self.waiters.first is not None:
            self.waiters.popleft().wake(True)

    return set


def does_not_count_down(was: Any) -> Any:
    def disarm(self: BarrierWait, waiter: Any) -> None:
        self.queue.remove(self)

    return disarm


def does_not_break(was: Any) -> Any:
    def too_late(self: Barrier) -> None:
        raise microthreads.BrokenBarrierError

    return too_late


def keeps_the_notification(was: Any) -> Any:
    def disarm(self: ConditionWait, waiter: Any) -> Any:
        self.notified = False
        return was(self, waiter)

    return disarm


def does_not_wait_for_the_lock(was: Any) -> Any:
    def disarm(self: ConditionWait, waiter: Any) -> Any:
        if self.queue is self.condition.waiters:
            self._stop_waiting()
            return None
        return was(self, waiter)

    return disarm


def does_not_look_again(was: Any) -> Any:
    def granted(self: ConditionWait) -> None:
        self.late = True  # as if there were no time to wait again
        was(self)

    return granted


def notifies_the_last(was: Any) -> Any:
    def pass_on(self: Condition) -> None:
        if self.waiters.first is not self.waiters.last:
            call = self.waiters.first
            self.waiters.remove(call)
            self.waiters.append(call)
        was(self)

    return pass_on


def admits_no_putter(was: Any) -> Any:
    def try_get(self: Queue[Any]) -> Any:
        putters, self.putters = self.putters, microthreads.kernel.WaitQueue()
        try:
            return was(self)
        finally:
            self.putters = putters

    return try_get


def puts_past_a_getter(was: Any) -> Any:
    def try_put(self: Queue[Any], item: Any) -> bool:
        getters, self.getters = self.getters, microthreads.kernel.WaitQueue()
        try:
            return bool(was(self, item))
        finally:
            self.getters = getters

    return try_put


def drops_without_counting(was: Any) -> Any:
    def shutdown(self: Queue[Any], immediate: bool = False) -> None:
        before = self.unfinished_tasks
        was(self, immediate)
        self.unfinished_tasks = before

    return shutdown


def keeps_no_order(was: Any) -> Any:
    return Queue._put


def stays_among_the_senders(was: Any) -> Any:
    return lambda self, waiter: None


def loses_what_was_received(was: Any) -> Any:
    def recheck(self: Core, task: Any) -> None:
        was(self, task)
        if task.cancelled is task and task.waiting_on is None and task is not self.current:
            task.value = Failure(task.interruption(None))

    return recheck


def fails_only_receivers(was: Any) -> Any:
    def close(self: Channel[Any]) -> None:
        senders, self.senders = self.senders, microthreads.kernel.WaitQueue()
        was(self)
        self.senders = senders

    return close


def does_not_stop_the_timer(was: Any) -> Any:
    def woken(self: Within, call: Any, value: Any) -> None:
        call.waiter = None
        self.wake(value)

    return woken


def undoes_nothing(was: Any) -> Any:
    def release(self: Select, calls: Sequence[Any]) -> None:
        for call in calls:
            if call.waiter is self:
                call.waiter = None

    return release


def tries_from_behind(was: Any) -> Any:
    def attempt(self: Select, task: Any) -> Any:
        for index, call in reversed(list(enumerate(self.calls))):
            value = call.attempt(task)
            if value is not microthreads.kernel.PENDING:
                return value if isinstance(value, Failure) else (index, value)
        return microthreads.kernel.PENDING

    return attempt


MUTANTS = [
    Mutant("Lock", 3, Lock, "hand_on", hands_on_to_the_last),
    Mutant("Lock", 2, Lock, "owner_ended", leaves_waiters_of_a_broken_lock),
    Mutant("RLock", 2, Within, "woken", does_not_stop_the_timer),
    Mutant("Semaphore", 2, Semaphore, "release", drops_the_permit),
    Mutant("BoundedSemaphore", 2, Semaphore, "release", drops_the_permit),
    Mutant("Event", 3, Event, "set", wakes_only_the_first),
    Mutant("Barrier(2)", 2, BarrierWait, "disarm", does_not_count_down),
    Mutant("Barrier(3)", 3, BarrierWait, "disarm", does_not_count_down),
    Mutant("Barrier(2)", 2, Barrier, "_too_late", does_not_break),
    Mutant("Condition", 3, ConditionWait, "disarm", keeps_the_notification),
    Mutant("Condition", 2, ConditionWait, "disarm", does_not_wait_for_the_lock),
    Mutant("Condition", 3, Condition, "pass_on", notifies_the_last),
    Mutant("Condition.wait_for", 3, ConditionWait, "granted", does_not_look_again),
    Mutant("Condition (no with)", 2, ConditionWait, "granted", takes_the_lock_back_once),
    Mutant("Queue", 2, Queue, "try_get", admits_no_putter),
    Mutant("Queue (nowait)", 2, Queue, "try_get", admits_no_putter),
    Mutant("Queue.join", 2, Queue, "try_put", puts_past_a_getter),
    Mutant("Queue.shutdown", 2, Queue, "shutdown", drops_without_counting),
    Mutant("LifoQueue", 2, Queue, "try_put", puts_past_a_getter),
    Mutant("PriorityQueue", 2, PriorityQueue, "_put", keeps_no_order),
    Mutant("Channel(0)", 2, Core, "recheck", loses_what_was_received),
    Mutant("Channel(0)", 2, Channel, "close", fails_only_receivers),
    Mutant("Channel(1)", 2, Send, "disarm", stays_among_the_senders),
    Mutant("Channel, timeout", 2, Core, "recheck", loses_what_was_received),
    Mutant("select(send, recv)", 2, Select, "_release", undoes_nothing),
    Mutant("select(acquire, get)", 2, Select, "attempt", tries_from_behind),
    Mutant("select(wait, wait)", 2, ConditionWait, "disarm", does_not_wait_for_the_lock),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_fault_in_the_library_is_found(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, unobserved: None
) -> None:
    primitive = PRIMITIVES[mutant.name]
    made = mutant.make(getattr(mutant.owner, mutant.attribute))
    monkeypatch.setattr(mutant.owner, mutant.attribute, made)
    if mutant.tasks == 3:
        count = check_three(primitive)
    else:
        programs = programs_of_two(primitive)
        count = check_programs(primitive, Random(0).sample(programs, len(programs)))
    assert count.failures, f"not found in {count.schedules} schedules"
    print(f"\n{mutant}: found in program {count.programs}, schedule {count.schedules}")


def test_every_primitive_has_a_fault_that_is_found() -> None:
    assert {mutant.name for mutant in MUTANTS} == set(PRIMITIVES)


# The programs and the command


def test_all_pairs_of_sequences_are_programs_and_none_comes_twice_in_either_order() -> None:
    programs = all_programs(("a", "b", "c"))
    sequences = 3**3
    assert len(programs) == sequences * (sequences + 1) // 2
    assert len({frozenset(program) for program in programs}) == len(programs)


def test_a_sample_is_the_same_each_time_and_all_of_it_are_programs() -> None:
    lock = PRIMITIVES["Lock"]
    assert programs_of_two(lock, 50) == programs_of_two(lock, 50)
    assert set(programs_of_two(lock, 50)) < set(programs_of_two(lock))


@each
def test_every_alphabet_has_a_cancel_and_three_to_six_operations(primitive: Primitive) -> None:
    names = primitive.alphabet(min(primitive.tasks))
    assert 3 <= len(names) <= 6
    assert "cancel" in names
    assert "yield" in primitive.alphabet(3) or primitive.name == "Barrier(3)"


def test_a_report_names_program_schedule_and_both_opinions_and_can_be_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unobserved: None
) -> None:
    monkeypatch.setattr(Semaphore, "release", drops_the_permit(Semaphore.release))
    arguments = ["Semaphore", "--one-in", "50"]
    assert command.main(arguments) == 1
    shown = capsys.readouterr().out
    assert re.search(r"task 0: .+\n +task 1: .+\n +of the ready tasks, take \[", shown)
    assert re.search(r"the model says .+, the library .+", shown)
    again = re.search(r'--replay "(.+)"', shown)
    assert again is not None
    assert command.main(["--replay", again[1]]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].strip() in shown


def test_the_command_prints_a_row_for_each_primitive_and_the_sums(
    capsys: pytest.CaptureFixture[str], unobserved: None
) -> None:
    assert command.main(["Event", "Channel(0)", "--one-in", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:22].strip(): line[22:].split() for line in lines[2:5]}
    counts = [[int(cell.replace(",", "")) for cell in row[:5]] for row in rows.values()]
    assert list(rows) == ["Event", "Channel(0)", "all"]
    assert counts[2] == [a + b for a, b in zip(*counts[:2], strict=True)]
    assert "Library and model agree" in lines[-1]


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["Mutex"])
    assert "there is no 'Mutex'" in capsys.readouterr().err


def test_a_program_can_be_written_down_and_read() -> None:
    for primitive in ALL:
        program = sampled_programs(primitive.alphabet(3), 3, 1, "any")[0]
        assert read(written(program)) == program


def test_what_happens_is_told_step_by_step() -> None:
    log = happens(PRIMITIVES["Lock"], (("acquire", "release"), ("acquire",)), [0, 1])
    assert log == [
        "task 0: goes on with None",
        "task 0: yields acquire",
        "task 0: goes on with guard",
        "task 0: release -> None",
        "task 1: goes on with None",
        "task 1: yields acquire",
        "task 1: goes on with guard",
    ]
