"""Cancelled at every step, singly and in pairs: nothing held, nothing lost, nobody left behind.

A workshop of ten tasks uses a lock, a condition, a queue, a channel and both kinds
of group, and keeps books of all it does. It is run again and again with its tasks
cancelled, timed out or failing, each time at another place; then the books must
balance. What went wrong is told by the faults that were injected: to look at one,
call ``execute(Cancels({40: [3]}))``, which cancels task #3 before step 40.

Cancels come from the kernel's policy, which is asked before each resume: it makes a
plain call between two steps, as a task might that ran there.

Run with -s for the number of runs.
"""

from __future__ import annotations

import logging
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from random import Random
from typing import Any

import pytest

from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    Condition,
    Kernel,
    Lock,
    Queue,
    ShutDown,
    Task,
    TaskGroup,
    current_task,
    now,
    select,
    shield,
    sleep,
    spawn,
    timeout,
)
from microthreads.kernel import Failure
from microthreads.observe import Observer
from microthreads.sim import VirtualClock
from microthreads.sync.conditions import ConditionWait

pytestmark = pytest.mark.forgets  # calls fail before they are yielded, and clean-up is cut off

Gen = Generator[Any, Any, Any]

STAGES = ("making", "working", "collecting", "watching", "waiting")
PRODUCERS = ("ann", "bob")
CONSUMERS = ("cat", "dan")
ITEMS = 2  # that each producer makes
ALL_ITEMS = ITEMS * len(PRODUCERS)


class Boom(Exception):
    """What a task fails with, when it is to."""


# --- the scenario ---------------------------------------------------------------------------------


class Workshop:
    """Producers put items into a queue; consumers work on them under a lock, send them on,
    and give a token for each under a condition, at which two tasks wait to take one.

    Args:
        failing: Before which of its calls a task fails; calls are counted over all tasks.
        limited: Which call gets how many seconds.
    """

    def __init__(
        self, *, failing: int | None = None, limited: tuple[int, float] | None = None
    ) -> None:
        self.failing = failing
        self.limited = limited
        self.bench = Lock(name="bench")
        self.shelf = Condition(name="shelf")
        self.jobs: Queue[Any] = Queue(1, name="jobs")
        self.results: Channel[Any] = Channel(name="results")
        self.books: Counter[str] = Counter()
        self.began: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.at_bench = 0
        self.tokens = 0
        self.closed = False
        self.made_at: list[float] = []  # when each call was made
        self.error: Exception | None = None  # what was injected, once it was raised
        self.in_group = False  # and whether in a group's block or in one of its tasks

    @types.coroutine
    def do(self, call: Any, *, grouped: bool = False) -> Gen:
        """Make a call, unless this is the one that fails; the limited one has its time limit."""
        self.made_at.append(now())
        number = len(self.made_at)
        if number == self.failing:
            self.error, self.in_group = Boom(number), grouped
            raise self.error
        if self.limited is None or number != self.limited[0]:
            return (yield call)
        try:
            with timeout(self.limited[1]):
                return (yield call)
        except TimeoutError as error:
            self.error, self.in_group = error, grouped
            raise

    @types.coroutine
    def start(self, spawner: Any, name: str, routine: Any, *, grouped: bool = False) -> Gen:
        try:
            return (yield from self.do(spawner(routine, name=name), grouped=grouped))
        except BaseException:
            routine.close()  # it was not started, so nobody else does
            raise

    def main(self) -> Gen:
        self.began["main"] += 1
        try:
            stages = []
            for name in STAGES:
                stages.append((yield from self.start(spawn, name, getattr(self, name)())))
            yield from self.until_done(*stages)
            return "done"
        finally:
            self.ended["main"] += 1

    def until_done(self, *stages: Task[Any]) -> Gen:
        """Wait for all stages; when one has ended, however, let those who count on it know."""
        making, working, collecting, *_ = pending = list(stages)
        while pending:
            try:
                ended, _ = yield from self.do(select(*pending))
                del pending[ended]
            except Cancelled as error:
                if error.scope is current_task():
                    raise
                pending.remove(error.scope)
            if making.done:
                self.jobs.shutdown()
            if working.done or collecting.done:
                self.results.close()
            if working.done and not self.closed:
                self.drop_jobs()
                with (yield from self.do(self.shelf.acquire())):
                    self.closed = True
                    self.shelf.notify_all()

    def drop_jobs(self) -> None:
        self.books["dropped"] += self.jobs.qsize()
        self.jobs.shutdown(immediate=True)

    async def making(self) -> None:
        self.began["making"] += 1
        children = []
        try:
            async with TaskGroup() as group:
                for name in PRODUCERS:
                    routine = self.producer(name)
                    children.append(await self.start(group.spawn, name, routine, grouped=True))
            await self.do(self.jobs.join())
            assert self.jobs.unfinished_tasks == 0
        finally:
            assert all(child.done for child in children)
            self.ended["making"] += 1

    async def producer(self, name: str) -> None:
        self.began[name] += 1
        try:
            for number in range(ITEMS):
                await self.do(self.jobs.put((name, number)), grouped=True)
                self.books["put"] += 1
        except ShutDown:
            self.books["not put"] += 1
        finally:
            self.ended[name] += 1

    def working(self) -> Gen:
        self.began["working"] += 1
        try:
            with TaskGroup() as group:
                for name in CONSUMERS:
                    routine = self.consumer(name)
                    yield from self.start(group.spawn, name, routine, grouped=True)
                yield from self.do(group.join(), grouped=True)
        finally:
            self.ended["working"] += 1

    def consumer(self, name: str) -> Gen:
        self.began[name] += 1
        try:
            while True:
                item = yield from self.do(self.jobs.get(), grouped=True)
                self.books["got"] += 1
                try:
                    yield from self.work(item)
                finally:
                    self.books["finished"] += 1
                    self.jobs.task_done()
        except ShutDown:
            pass
        finally:
            with shield(60):  # clean-up that must yield
                with (yield self.bench.acquire()):
                    self.enter()
                    self.leave()
            self.ended[name] += 1

    def work(self, item: Any) -> Gen:
        with (yield from self.do(self.bench.acquire(), grouped=True)):
            self.enter()
            try:
                yield from self.do(sleep(1), grouped=True)
            finally:
                self.leave()
        try:
            yield from self.do(self.results.send(item), grouped=True)
            self.books["sent"] += 1
        except ClosedError:
            self.books["not sent"] += 1
        yield from self.do(self.shelf.acquire(), grouped=True)
        try:
            self.tokens += 1
            self.books["given"] += 1
            self.shelf.notify()
            # Whoever was notified waits for the lock meanwhile, and may be cancelled so.
            yield from self.do(sleep(0.25), grouped=True)
        finally:
            self.shelf.release()

    def enter(self) -> None:
        self.at_bench += 1
        assert self.at_bench == 1
        assert self.bench.owner is current_task()

    def leave(self) -> None:
        self.at_bench -= 1
        self.books["times at the bench"] += 1

    async def collecting(self) -> None:
        self.began["collecting"] += 1
        try:
            async for _ in self.results:
                self.books["received"] += 1
                await self.do(sleep(0.5))
        finally:
            self.ended["collecting"] += 1

    async def watching(self) -> None:
        self.began["watching"] += 1
        try:
            while True:
                async with self.shelf:
                    while not (self.tokens or self.closed):
                        await self.do(self.shelf.wait())
                    if not self.take_token():
                        return
                await self.do(sleep(0.25))
        finally:
            self.ended["watching"] += 1

    def waiting(self) -> Gen:
        self.began["waiting"] += 1
        try:
            while True:
                with (yield from self.do(self.shelf.acquire())):
                    yield from self.do(self.shelf.wait_for(lambda: self.tokens or self.closed))
                    if not self.take_token():
                        return
                yield
        finally:
            self.ended["waiting"] += 1

    def take_token(self) -> bool:
        assert self.shelf.lock.owner is current_task()
        if not self.tokens:
            return False
        self.tokens -= 1
        self.books["taken"] += 1
        return True


# --- running it, and the books --------------------------------------------------------------------


class Watch(Observer):
    """Notes who was resumed when, who ended in which order, and what is wrong when all wait."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.spawned_tasks: list[Task[Any]] = []
        self.resumes: list[Task[Any]] = []
        self.alive: list[list[int]] = []  # the tasks' ids before each resume
        self.times: set[float] = set()
        self.ends: list[Task[Any]] = []
        self.wrong: list[str] = []

    def spawned(self, task: Task[Any]) -> None:
        self.spawned_tasks.append(task)

    def resumed(self, task: Task[Any]) -> None:
        self.resumes.append(task)
        self.times.add(task.kernel.now())

    def ended(self, task: Task[Any]) -> None:
        self.ends.append(task)

    def idle(self, seconds: float | None) -> None:
        """All tasks wait: nobody may wait for what is there."""
        shop = self.shop
        jobs, shelf = shop.jobs, shop.shelf
        for lock in (shop.bench, shelf.lock):
            self.require(lock.locked() or not lock.waiters, f"wait for {lock}, which is free")
        self.require(not (jobs.qsize() and jobs.getters), "wait to get what is there")
        self.require(jobs.full() or not jobs.putters, "wait to put where there is room")
        self.require(jobs.unfinished_tasks or not jobs.joiners, "wait for a queue that is done")
        self.require(not (shop.results.senders and shop.results.receivers), "do not meet")
        notified = shop.tokens == 0 or shelf.locked() or not shelf.waiters
        self.require(notified, "wait for a token that is there: a notification is lost")

    def require(self, holds: Any, otherwise: str) -> None:
        if not holds:
            self.wrong.append(f"after step {len(self.resumes)} tasks {otherwise}")


class Cancels:
    """A policy that cancels tasks before steps, and chooses the first, or at random.

    Args:
        plan: For steps, counted from 0, the ids of the tasks to cancel before them.
        seed: Which random schedule; None: round robin.
    """

    def __init__(self, plan: dict[int, list[int]] | None = None, seed: Any = None) -> None:
        self.plan = plan or {}
        self.random = None if seed is None else Random(seed)
        self.seed = seed
        self.watch: Watch | None = None
        self.cancelled: list[tuple[Task[Any], bool, int]] = []  # task, at once, its resumes

    def __call__(self, ready: list[Task[Any]]) -> int:
        assert self.watch is not None
        kernel, step = ready[0].kernel, len(self.watch.resumes)
        tasks = {task.id: task for task in kernel.tasks.values()}
        self.watch.alive.append(sorted(tasks))
        for victim in self.plan.get(step, ()):
            # The id 0 stands for whoever is about to run.
            self.cancel(tasks.get(victim) if victim else ready[0])
        return 0 if self.random is None else self.random.randrange(len(ready))

    def cancel(self, task: Task[Any] | None) -> None:
        assert self.watch is not None
        if task is None or any(task is each for each, _, _ in self.cancelled):
            return
        resumes = self.watch.resumes.count(task)
        waits = task.waiting_on is not None or not resumes
        self.cancelled.append((task, waits and not shielded(task), resumes))
        task.cancel("everywhere")

    def __repr__(self) -> str:
        return f"Cancels({self.plan}, seed={self.seed!r})"


def shielded(task: Task[Any]) -> bool:
    scope = task.scope
    while scope is not None and not scope.shielding:
        scope = scope.outer
    return scope is not None


def leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [] if error is None else [error]


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class Run:
    """What came of one run of the workshop."""

    def __init__(self, cancels: Cancels, shop: Workshop) -> None:
        self.cancels, self.shop = cancels, shop
        self.watch = cancels.watch = Watch(shop)
        self.crashes: list[BaseException] = []
        self.outcome: Any = None
        records = Records()
        logger = logging.getLogger("microthreads")
        logger.addHandler(records)
        try:
            with Kernel(
                clock=VirtualClock(),
                policy=cancels,
                observers=[self.watch],
                on_crash=lambda task: self.crashes.append(task.exception()),
            ) as kernel:
                try:
                    self.outcome = kernel.run(shop.main())
                except BaseException as error:
                    self.outcome = error
                self.seconds = kernel.now()
                self.left = kernel.snapshot().tasks
        finally:
            logger.removeHandler(records)
        self.logged = records.messages

    @property
    def main(self) -> Task[Any]:
        return self.watch.spawned_tasks[0]

    def check(self) -> Run:
        several = self.shop.error is not None and self.cancels.cancelled
        wrong = [*self.watch.wrong, *self.what_is_left(), *self.what_is_lost(), *self.who_began()]
        wrong += self.what_came_of_several() if several else self.how_it_ended()
        wrong += [f"logged: {message}" for message in self.logged]
        assert not wrong, f"{self.cancels}, failing {self.shop.failing}, limited " + (
            f"{self.shop.limited}: " + "; ".join(wrong)
        )
        return self

    def what_is_left(self) -> Iterable[str]:
        shop = self.shop
        for lock in (shop.bench, shop.shelf.lock):
            if lock.locked() or lock.waits:
                yield f"{lock!r} is held or awaited"
        queues = {
            "bench": shop.bench.waiters,
            "shelf": shop.shelf.waiters,
            "shelf's lock": shop.shelf.lock.waiters,
            "getters": shop.jobs.getters,
            "putters": shop.jobs.putters,
            "joiners": shop.jobs.joiners,
            "senders": shop.results.senders,
            "receivers": shop.results.receivers,
        }
        for name, queue in queues.items():
            if queue or queue.first is not None:
                yield f"somebody waits: {name}"
        if self.left or len(self.watch.ends) != len(self.watch.spawned_tasks):
            yield f"tasks are left: {set(self.watch.spawned_tasks) - set(self.watch.ends)}"
        if shop.at_bench:
            yield f"{shop.at_bench} tasks are at the bench"

    def what_is_lost(self) -> Iterable[str]:
        shop, books = self.shop, self.shop.books
        if books["put"] != books["got"] + books["dropped"] + shop.jobs.qsize():
            yield f"items are not conserved: {books}, {shop.jobs}"
        if shop.jobs.unfinished_tasks != shop.jobs.qsize():
            yield f"{shop.jobs} has {shop.jobs.unfinished_tasks} unfinished"
        if books["got"] != books["finished"]:
            yield f"items taken were not finished: {books}"
        if books["sent"] != books["received"]:
            yield f"results are not conserved: {books}"
        if books["given"] != books["taken"] + shop.tokens:
            yield f"tokens are not conserved: {books}, {shop.tokens} left"

    def who_began(self) -> Iterable[str]:
        shop, resumes = self.shop, set(self.watch.resumes)
        for task in self.watch.spawned_tasks:
            # Also a task that was cancelled before its first step.
            body = shop.began[task.name]
            if body != 1 or shop.ended[task.name] != body:
                yield f"{task} began {body} times and ended {shop.ended[task.name]} times"
        if len(resumes) != len(self.watch.spawned_tasks):
            yield "tasks ended without a step"
        order = [task.name for task in self.watch.ends]
        for host, children in (("making", PRODUCERS), ("working", CONSUMERS)):
            for child in children:
                if child in order and order.index(child) > order.index(host):
                    yield f"{child} has outlived {host}"

    def was_cancelled(self, task: Task[Any]) -> bool:
        return task.done and isinstance(task.exception(), Cancelled)

    def injected(self, error: BaseException) -> bool | None:
        """Whether `error` is what was injected, within one group or by itself; None: it is not."""
        if error is self.shop.error:
            return False
        grouped = isinstance(error, ExceptionGroup) and error.exceptions == (self.shop.error,)
        return True if grouped else None

    def how_it_ended(self) -> Iterable[str]:
        """The outcome is the one that these faults must have; no other will do."""
        for task in self.watch.ends:
            error = task.exception()
            own = isinstance(error, Cancelled) and error.scope is task
            if error is not None and not own and self.injected(error) is None:
                yield f"{task} ended with {error!r}"
        if len(self.crashes) > (self.shop.error is not None):
            yield f"crashes: {self.crashes}"
        if any(self.injected(error) is None for error in self.crashes):
            yield f"crashed otherwise: {self.crashes}"
        for task, at_once, resumes in self.cancels.cancelled:
            # What had succeeded is delivered first; a task that ends then was not cancelled.
            again = self.watch.resumes.count(task) - resumes
            if at_once and not self.was_cancelled(task):
                yield f"{task} waited when it was cancelled, and ended otherwise"
            if task is self.main and self.was_cancelled(task) != (at_once or again > 1):
                yield f"main was cancelled, and ended with {self.outcome!r}"
        yield from self.what_came_out()

    def what_came_of_several(self) -> Iterable[str]:
        """A task failed and others were cancelled: either may come out, but nothing else."""
        if self.outcome not in ("done", self.main.exception()):
            yield f"run() ended with {self.outcome!r}, and main with {self.main.exception()!r}"
        for task in self.watch.ends:
            for error in leaves(task.exception()):
                if error is not self.shop.error and not isinstance(error, Cancelled):
                    yield f"{task} ended with {error!r}"

    def what_came_out(self) -> Iterable[str]:
        if any(task is self.main for task, _, _ in self.cancels.cancelled):
            expected = self.was_cancelled(self.main)
            if expected and self.outcome is not self.main.exception():
                yield f"main was cancelled, and run() ended with {self.outcome!r}"
            if not expected and self.outcome != "done":
                yield f"main was done, and run() ended with {self.outcome!r}"
        elif self.shop.error is None:
            if self.outcome != "done":
                yield f"run() ended with {self.outcome!r}"
        elif self.injected(self.outcome) is not self.shop.in_group:
            yield f"run() ended with {self.outcome!r}, not with {self.shop.error!r}"


def execute(cancels: Cancels | None = None, **faults: Any) -> Run:
    return Run(cancels or Cancels(), Workshop(**faults))


def count(runs: Iterable[Run], what: str) -> int:
    number = sum(1 for _ in (run.check() for run in runs))
    print(f"\n{number:,} runs {what}")
    return number


@pytest.fixture(scope="module")
def smooth() -> Run:
    """The run in which nothing happens."""
    return execute()


# --- nothing happens ------------------------------------------------------------------------------


def test_the_scenario_takes_sixty_steps_and_more_and_its_books_balance() -> None:
    smooth = execute().check()
    shop = smooth.shop
    print(f"\n{len(smooth.watch.resumes)} steps, {len(shop.made_at)} calls, {smooth.seconds} s")
    assert len(smooth.watch.resumes) >= 60
    assert smooth.outcome == "done"
    for what in ("put", "got", "finished", "sent", "received", "given", "taken"):
        assert shop.books[what] == ALL_ITEMS
    assert shop.books["dropped"] == shop.tokens == 0
    names = {"main", *STAGES, *PRODUCERS, *CONSUMERS}
    assert shop.began == shop.ended == dict.fromkeys(names, 1)
    assert max(len(alive) for alive in smooth.watch.alive) >= len(names) - 1


# --- a task is cancelled --------------------------------------------------------------------------


def singles(smooth: Run) -> Iterable[Run]:
    """Each task that is alive before a step, cancelled there; the one about to run among them."""
    for step, alive in enumerate(smooth.watch.alive):
        for victim in alive:
            yield execute(Cancels({step: [victim]}))


def test_a_cancel_of_any_task_at_any_step_leaves_nothing_behind(smooth: Run) -> None:
    runs = count(singles(smooth), "with one cancel: every step, every task alive")
    assert runs == sum(len(alive) for alive in smooth.watch.alive) > 500


def test_every_task_can_be_cancelled_before_it_begins_and_begins_even_so(smooth: Run) -> None:
    """What the sweep above passes through: its body and its `finally` run, and the rest copes."""
    early = {}
    for run in singles(smooth):
        for task, _, resumes in run.cancels.cancelled:
            if not resumes:
                early[task.name] = run.shop.began[task.name], run.shop.ended[task.name]
    assert early == dict.fromkeys(["main", *STAGES, *PRODUCERS, *CONSUMERS], (1, 1))


def pairs(smooth: Run, others: Callable[[list[int]], Iterable[int]]) -> Iterable[Run]:
    """Whoever is about to run at a step, and at each later one that there is then.

    Args:
        smooth: The run in which nothing happens.
        others: Given who is alive at the later step, whom to cancel then; 0 is who is about
            to run.
    """
    for first in range(len(smooth.watch.alive)):
        single = execute(Cancels({first: [0]}))
        for second in range(first + 1, len(single.watch.alive)):
            for victim in others(single.watch.alive[second]):
                run = execute(Cancels({first: [0], second: [victim]}))
                # What happens until the second cancel is what happened with the first alone.
                assert run.watch.alive[:second] == single.watch.alive[:second]
                yield run


def test_cancels_of_the_running_task_at_any_two_steps_leave_nothing_behind(smooth: Run) -> None:
    runs = count(pairs(smooth, lambda alive: [0]), "with two cancels: every pair of steps")
    assert runs > 1500


def sampled(runs: int, seed: str, *, schedules: bool, most: int) -> Iterable[Run]:
    """At random: steps, also the same one twice, and victims, of a run in which nothing happens."""
    random = Random(seed)
    for number in range(runs):
        schedule = f"{seed} {number // 10}" if schedules else None
        if not number % 10:
            alive = execute(Cancels(seed=schedule)).check().watch.alive
        plan: dict[int, list[int]] = {}
        for _ in range(random.randint(2, most)):
            step = random.randrange(len(alive))
            plan.setdefault(step, []).append(random.choice(alive[step]))
        yield execute(Cancels(plan, schedule))


def test_cancels_of_any_two_tasks_at_any_two_steps_leave_nothing_behind() -> None:
    runs = sampled(800, "pairs", schedules=False, most=2)
    assert count(runs, "with two cancels: a sample of steps and tasks") == 800


def test_cancels_under_random_schedules_leave_nothing_behind() -> None:
    runs = sampled(1000, "schedules", schedules=True, most=4)
    assert count(runs, "with two to four cancels under random schedules") == 1000


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_cancels_of_any_other_task_at_any_two_steps_leave_nothing_behind(smooth: Run) -> None:
    runs = count(pairs(smooth, lambda alive: alive), "with two cancels: every pair, every task")
    assert runs > 10_000


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_cancels_under_many_random_schedules_leave_nothing_behind() -> None:
    runs = sampled(50_000, "soak", schedules=True, most=6)
    assert count(runs, "with two to six cancels under random schedules") == 50_000


# --- a call fails, or its time is over ------------------------------------------------------------


def test_a_failure_before_any_call_comes_out_by_itself(smooth: Run) -> None:
    calls = range(1, len(smooth.shop.made_at) + 1)
    runs = [execute(failing=call) for call in calls]
    assert all(run.shop.error is not None for run in runs)
    count(runs, "with a failure: before every call")


def test_a_time_limit_of_any_call_that_ends_at_any_moment_leaves_nothing_behind(
    smooth: Run,
) -> None:
    """Also at the very moment at which the call succeeds: then either may come first."""
    runs = [
        execute(limited=(call, moment - made))
        for call, made in enumerate(smooth.shop.made_at, 1)
        for moment in sorted(smooth.watch.times)
        if moment >= made
    ]
    assert {run.shop.error is None for run in runs} == {True, False}
    count(runs, "with a time limit: every call, every moment at which something happens")


def mixed(runs: int, seed: str) -> Iterable[Run]:
    """At random: a call that fails or has a time limit, and one or two cancels."""
    random = Random(seed)
    for number in range(runs):
        schedule = f"{seed} {number // 10}"
        if not number % 10:
            smooth = execute(Cancels(seed=schedule)).check()
        call = random.randrange(len(smooth.shop.made_at))
        later = [moment for moment in smooth.watch.times if moment >= smooth.shop.made_at[call]]
        limit = random.choice(sorted(later)) - smooth.shop.made_at[call]
        fault = random.choice([{"failing": call + 1}, {"limited": (call + 1, limit)}])
        plan: dict[int, list[int]] = {}
        for _ in range(random.randint(1, 2)):
            step = random.randrange(len(smooth.watch.alive))
            plan.setdefault(step, []).append(random.choice(smooth.watch.alive[step]))
        yield execute(Cancels(plan, schedule), **fault)


def test_a_failure_or_a_time_limit_among_cancels_leaves_nothing_behind() -> None:
    assert count(mixed(1000, "mixed"), "with a failure or a time limit, and cancels") == 1000


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_many_failures_and_time_limits_among_cancels_leave_nothing_behind() -> None:
    assert count(mixed(50_000, "soak"), "with a failure or a time limit, and cancels") == 50_000


# --- the check itself -----------------------------------------------------------------------------


def test_a_lost_notification_is_seen(smooth: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    disarm = ConditionWait.disarm

    def keeps_its_notification(call: ConditionWait, waiter: Any) -> Any:
        call.notified = False
        return disarm(call, waiter)

    monkeypatch.setattr(ConditionWait, "disarm", keeps_its_notification)
    with pytest.raises(AssertionError, match="a notification is lost"):
        count(singles(smooth), "")


def test_a_cancel_that_overrides_a_result_is_seen(
    smooth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    recheck = Kernel.recheck

    def overrides(kernel: Kernel, task: Task[Any]) -> None:
        ready = task in kernel.ready
        recheck(kernel, task)
        if ready and task.cancelled is not None:
            task.value = Failure(task.cancelled.interruption(None))

    monkeypatch.setattr(Kernel, "recheck", overrides)
    seen = set()
    for run in singles(smooth):
        try:
            run.check()
        except AssertionError as error:
            seen |= {what for what in ("items", "results", "is held") if what in str(error)}
    assert seen == {"items", "results", "is held"}


def test_an_item_that_is_not_said_to_be_done_is_seen(
    smooth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_says(queue: Queue[Any]) -> None:
        if current_task().cancelled is None:
            done(queue)

    done = Queue.task_done
    monkeypatch.setattr(Queue, "task_done", never_says)
    with pytest.raises(AssertionError, match="unfinished"):
        count(singles(smooth), "")
