"""The bug zoo: classic concurrency bugs, each beside its repair.

Every program is a generator function, which `explore` calls for each execution,
and as small as the bug allows: two to four tasks. The docstring of a buggy one
says what is wrong; its repair differs in nothing else. `ZOO` lists the pairs,
with the failure that each must end in and what its report must show.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    Condition,
    DeadlockError,
    Empty,
    Event,
    Lock,
    Queue,
    Semaphore,
    join,
    spawn,
)

Gen = Generator[Any, Any, Any]
Program = Callable[[], Gen]


@dataclass(frozen=True)
class Pair:
    """A bug and its repair.

    Attributes:
        buggy: The program that fails under some schedule.
        repaired: The one that fails under none.
        failure: The type of error that the bug ends in.
        shows: What the report of the bug must contain, besides the program's lines.
        cycle: The tasks that wait for one another in a circle, in the report's
            order; empty if the bug is no deadlock, or one without owners.
    """

    buggy: Program
    repaired: Program
    failure: type[BaseException]
    shows: tuple[str, ...]
    cycle: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.buggy.__name__.replace("_", " ")


def together(**routines: Gen) -> Gen:
    """Run these as tasks of these names, and join them in this order."""
    tasks = []
    for name, routine in routines.items():
        tasks.append((yield spawn(routine, name=name)))
    for task in tasks:
        yield join(task)


def apart(**routines: Gen) -> Gen:
    """Run these as tasks of these names, which nobody joins: fewer steps, fewer schedules."""
    for name, routine in routines.items():
        yield spawn(routine, name=name)


# --- a lost update --------------------------------------------------------------------------------


def lost_update() -> Gen:
    """A counter is read, and written after a yield: what others wrote in between is lost."""
    counter = SimpleNamespace(value=0)

    def bump() -> Gen:
        value = counter.value
        yield
        counter.value = value + 1

    yield from together(ann=bump(), bob=bump(), eve=bump())
    assert counter.value == 3


def guarded_update() -> Gen:
    counter = SimpleNamespace(value=0)
    lock = Lock(name="counter")

    def bump() -> Gen:
        with (yield lock.acquire()):
            value = counter.value
            yield
            counter.value = value + 1

    yield from together(ann=bump(), bob=bump(), eve=bump())
    assert counter.value == 3


# --- AB-BA ----------------------------------------------------------------------------------------


def opposite_orders() -> Gen:
    """Two tasks take the same two locks in opposite orders: each may hold what the other needs."""
    a, b = Lock(name="a"), Lock(name="b")

    def transfer(source: Lock, target: Lock) -> Gen:
        with (yield source.acquire()), (yield target.acquire()):
            yield

    yield from together(there=transfer(a, b), back=transfer(b, a))


def one_order() -> Gen:
    a, b = Lock(name="a"), Lock(name="b")

    def transfer(source: Lock, target: Lock) -> Gen:
        first, second = sorted((source, target), key=lambda lock: lock.name)
        with (yield first.acquire()), (yield second.acquire()):
            yield

    yield from together(there=transfer(a, b), back=transfer(b, a))


# --- `if` for `while` at a condition --------------------------------------------------------------


def if_for_while() -> Gen:
    """After the wait the predicate is not tested again: who had the lock earlier took the item."""
    condition = Condition(Lock(name="shelf"), name="filled")
    items: list[int] = []

    def take() -> Gen:
        with (yield condition.acquire()):
            if not items:
                yield condition.wait()
            assert items, "woken for nothing"
            items.pop()

    yield from apart(first=take(), second=take(), maker=_fill(condition, items, 2))


def while_for_if() -> Gen:
    condition = Condition(Lock(name="shelf"), name="filled")
    items: list[int] = []

    def take() -> Gen:
        with (yield condition.acquire()):
            while not items:
                yield condition.wait()
            assert items, "woken for nothing"
            items.pop()

    yield from apart(first=take(), second=take(), maker=_fill(condition, items, 2))


def _fill(condition: Condition, items: list[int], times: int) -> Gen:
    for number in range(times):
        with (yield condition.acquire()):
            items.append(number)
            condition.notify()


# --- a lost wake-up -------------------------------------------------------------------------------


def lost_wake_up() -> Gen:
    """The flag is tested before the lock is held: it may be set, and told of, before the wait."""
    condition = Condition(name="changed")
    flag = SimpleNamespace(up=False)

    def waiter() -> Gen:
        if not flag.up:
            with (yield condition.acquire()):
                yield condition.wait()

    yield from together(waiter=waiter(), setter=_raise(condition, flag))


def wake_up_under_the_lock() -> Gen:
    condition = Condition(name="changed")
    flag = SimpleNamespace(up=False)

    def waiter() -> Gen:
        with (yield condition.acquire()):
            while not flag.up:
                yield condition.wait()

    yield from together(waiter=waiter(), setter=_raise(condition, flag))


def _raise(condition: Condition, flag: SimpleNamespace) -> Gen:
    with (yield condition.acquire()):
        flag.up = True
        condition.notify()


# --- check, then act ------------------------------------------------------------------------------


def check_then_act() -> Gen:
    """The balance is tested, and reduced after a yield: both withdrawals pass the test."""
    account = SimpleNamespace(balance=10)

    def withdraw() -> Gen:
        if account.balance >= 10:
            yield
            account.balance -= 10
            assert account.balance >= 0

    yield from together(ann=withdraw(), bob=withdraw())


def check_and_act() -> Gen:
    account = SimpleNamespace(balance=10)
    lock = Lock(name="account")

    def withdraw() -> Gen:
        with (yield lock.acquire()):
            if account.balance >= 10:
                yield
                account.balance -= 10
                assert account.balance >= 0

    yield from together(ann=withdraw(), bob=withdraw())


# --- double initialisation ------------------------------------------------------------------------


def double_init() -> Gen:
    """What is made at its first use takes a yield to make: both users find none, and make one."""
    cache = SimpleNamespace(thing=None)

    def use(used: list[Any]) -> Gen:
        if cache.thing is None:
            yield
            cache.thing = object()
        used.append(cache.thing)

    used: list[Any] = []
    yield from together(ann=use(used), bob=use(used))
    assert used[0] is used[1]


def init_once() -> Gen:
    cache = SimpleNamespace(thing=None)
    lock = Lock(name="cache")

    def use(used: list[Any]) -> Gen:
        with (yield lock.acquire()):
            if cache.thing is None:
                yield
                cache.thing = object()
        used.append(cache.thing)

    used: list[Any] = []
    yield from together(ann=use(used), bob=use(used))
    assert used[0] is used[1]


# --- philosophers ---------------------------------------------------------------------------------


def philosophers() -> Gen:
    """Each takes the fork at the left first: all hold one, and wait for the other."""
    a, b, c = (Lock(name=name) for name in "abc")
    yield from apart(plato=_dine(a, b), kant=_dine(b, c), hume=_dine(c, a))


def one_starts_at_the_right() -> Gen:
    a, b, c = (Lock(name=name) for name in "abc")
    yield from apart(plato=_dine(a, b), kant=_dine(b, c), hume=_dine(a, c))


def _dine(first: Lock, second: Lock) -> Gen:
    with (yield first.acquire()), (yield second.acquire()):
        pass


# --- notify where notify_all is needed ------------------------------------------------------------


def notify_for_notify_all() -> Gen:
    """A gate opens for all who wait, and one of them is told."""
    condition = Condition(name="gate")
    gate = SimpleNamespace(open=False)

    def opener() -> Gen:
        with (yield condition.acquire()):
            gate.open = True
            condition.notify()

    yield from apart(ann=_pass(condition, gate), bob=_pass(condition, gate), opener=opener())


def notify_all() -> Gen:
    condition = Condition(name="gate")
    gate = SimpleNamespace(open=False)

    def opener() -> Gen:
        with (yield condition.acquire()):
            gate.open = True
            condition.notify_all()

    yield from apart(ann=_pass(condition, gate), bob=_pass(condition, gate), opener=opener())


def _pass(condition: Condition, gate: SimpleNamespace) -> Gen:
    with (yield condition.acquire()):
        while not gate.open:
            yield condition.wait()


# --- a lock held while sending --------------------------------------------------------------------


def lock_held_while_sending() -> Gen:
    """The sender waits for its receiver with the lock that the receiver needs to get there."""
    lock, channel = Lock(name="log"), Channel[int](name="values")

    def sender() -> Gen:
        with (yield lock.acquire()):
            yield channel.send(1)

    yield from together(sender=sender(), receiver=_note_and_receive(lock, channel))


def lock_released_before_sending() -> Gen:
    lock, channel = Lock(name="log"), Channel[int](name="values")

    def sender() -> Gen:
        with (yield lock.acquire()):
            value = 1
        yield channel.send(value)

    yield from together(sender=sender(), receiver=_note_and_receive(lock, channel))


def _note_and_receive(lock: Lock, channel: Channel[int]) -> Gen:
    with (yield lock.acquire()):
        pass
    yield channel.recv()


# --- qsize, then get ------------------------------------------------------------------------------


def qsize_then_get() -> Gen:
    """Both see the one item that is there, and then both get: one waits for ever."""
    queue = Queue[int](name="jobs")
    queue.put_nowait(1)

    def worker() -> Gen:
        if queue.qsize():
            yield
            yield queue.get()

    yield from together(ann=worker(), bob=worker())


def get_if_there_is_one() -> Gen:
    queue = Queue[int](name="jobs")
    queue.put_nowait(1)

    def worker() -> Gen:
        try:
            yield queue.get(block=False)
        except Empty:
            pass

    yield from together(ann=worker(), bob=worker())


# --- the wrong one is told ------------------------------------------------------------------------


def wrong_one_notified() -> Gen:
    """Makers and takers wait at one condition: a taker tells the other taker, not a maker."""
    condition = Condition(name="changed")
    items: list[int] = []

    def take() -> Gen:
        with (yield condition.acquire()):
            while not items:
                yield condition.wait()
            items.pop()
            condition.notify()

    def make() -> Gen:
        with (yield condition.acquire()):
            while items:
                yield condition.wait()
            items.append(1)
            condition.notify()

    yield from apart(taker=take(), other_taker=take(), maker=make())
    yield from make()


def right_one_notified() -> Gen:
    lock = Lock(name="shelf")
    filled, emptied = Condition(lock, name="filled"), Condition(lock, name="emptied")
    items: list[int] = []

    def take() -> Gen:
        with (yield lock.acquire()):
            while not items:
                yield filled.wait()
            items.pop()
            emptied.notify()

    def make() -> Gen:
        with (yield lock.acquire()):
            while items:
                yield emptied.wait()
            items.append(1)
            filled.notify()

    yield from apart(taker=take(), other_taker=take(), maker=make())
    yield from make()


# --- an event is cleared too late -----------------------------------------------------------------


def event_cleared_late() -> Gen:
    """The event is cleared after the work it told of: what came in between is not seen."""
    event, work = Event(name="work"), Queue[int]()

    def worker() -> Gen:
        done = 0
        while done < 2:
            yield event.wait()
            while not work.empty():
                work.get_nowait()
                done += 1
            yield
            event.clear()

    yield from together(worker=worker(), giver=_give(event, work))


def event_cleared_first() -> Gen:
    event, work = Event(name="work"), Queue[int]()

    def worker() -> Gen:
        done = 0
        while done < 2:
            yield event.wait()
            event.clear()
            while not work.empty():
                work.get_nowait()
                done += 1
            yield

    yield from together(worker=worker(), giver=_give(event, work))


def _give(event: Event, work: Queue[int]) -> Gen:
    for number in range(2):
        work.put_nowait(number)
        event.set()
        yield


# --- a channel is closed while others send --------------------------------------------------------


def closed_by_the_first() -> Gen:
    """Each of two senders closes the channel when it is done, also if the other is not."""
    channel = Channel[int](2, name="values")

    def sender() -> Gen:
        yield channel.send(1)
        channel.close()

    yield from together(ann=sender(), bob=sender())


def closed_by_the_last() -> Gen:
    channel = Channel[int](2, name="values")
    senders = SimpleNamespace(left=2)

    def sender() -> Gen:
        yield channel.send(1)
        senders.left -= 1
        if not senders.left:
            channel.close()

    yield from together(ann=sender(), bob=sender())


# --- permits one by one ---------------------------------------------------------------------------


def permits_one_by_one() -> Gen:
    """Two tasks need both permits, and take one at a time: each has one, and waits."""
    permits = Semaphore(2, name="permits")

    def worker() -> Gen:
        with (yield permits.acquire()), (yield permits.acquire()):
            yield

    yield from together(ann=worker(), bob=worker())


def permits_taken_together() -> Gen:
    permits, both = Semaphore(2, name="permits"), Lock(name="both")

    def worker() -> Gen:
        with (yield both.acquire()):
            first = yield permits.acquire()
            second = yield permits.acquire()
        with first, second:
            yield

    yield from together(ann=worker(), bob=worker())


# --- two locks for one thing ----------------------------------------------------------------------


def two_locks_for_one_thing() -> Gen:
    """Each task guards the counter with a lock of its own, so neither guards it."""
    yield from _counting(Lock(name="a"), Lock(name="b"))


def one_lock_for_one_thing() -> Gen:
    lock = Lock(name="a")
    yield from _counting(lock, lock)


def _counting(ann: Lock, bob: Lock) -> Gen:
    counter = SimpleNamespace(value=0)

    def bump(lock: Lock) -> Gen:
        with (yield lock.acquire()):
            value = counter.value
            yield
            counter.value = value + 1

    yield from together(ann=bump(ann), bob=bump(bob))
    assert counter.value == 2


# --- a stale length -------------------------------------------------------------------------------


def stale_length() -> Gen:
    """The length is read under the lock and used under it, but it was let go in between."""
    lock, text = Lock(name="text"), list("abc")

    def copy() -> Gen:
        with (yield lock.acquire()):
            length = len(text)
        with (yield lock.acquire()):
            assert len(text[:length]) == length

    yield from together(copier=copy(), cutter=_cut(lock, text))


def fresh_length() -> Gen:
    lock, text = Lock(name="text"), list("abc")

    def copy() -> Gen:
        with (yield lock.acquire()):
            length = len(text)
            yield
            assert len(text[:length]) == length

    yield from together(copier=copy(), cutter=_cut(lock, text))


def _cut(lock: Lock, text: list[str]) -> Gen:
    with (yield lock.acquire()):
        text.clear()


# --- published before it is made ------------------------------------------------------------------


def published_early() -> Gen:
    """The event says that the value is there before it is."""
    event, box = Event(name="there"), SimpleNamespace(value=None)

    def writer() -> Gen:
        event.set()
        yield
        box.value = 1

    def reader() -> Gen:
        yield event.wait()
        assert box.value == 1

    yield from together(writer=writer(), reader=reader())


def published_when_made() -> Gen:
    event, box = Event(name="there"), SimpleNamespace(value=None)

    def writer() -> Gen:
        yield
        box.value = 1
        event.set()

    def reader() -> Gen:
        yield event.wait()
        assert box.value == 1

    yield from together(writer=writer(), reader=reader())


# --- changed while iterated over ------------------------------------------------------------------


def changed_while_iterated() -> Gen:
    """A set is iterated over with a yield in the loop, and another task adds to it."""
    members = {"ann"}

    def greet() -> Gen:
        for _ in members:
            yield

    yield from together(greeter=greet(), guest=_arrive(members))


def iterated_over_a_copy() -> Gen:
    members = {"ann"}

    def greet() -> Gen:
        for _ in tuple(members):
            yield

    yield from together(greeter=greet(), guest=_arrive(members))


def _arrive(members: set[str]) -> Gen:
    yield
    members.add("bob")


# --- an item lost to a cancellation ---------------------------------------------------------------


def item_lost_to_a_cancel() -> Gen:
    """A worker that is cancelled after it took an item does not give it back."""
    queue, results = Queue[int](name="jobs"), list[int]()
    queue.put_nowait(1)

    def worker() -> Gen:
        item = yield queue.get()
        yield
        results.append(item)

    yield from _cancelling(worker())
    assert queue.qsize() + len(results) == 1, "the item is lost"


def item_given_back() -> Gen:
    queue, results = Queue[int](name="jobs"), list[int]()
    queue.put_nowait(1)

    def worker() -> Gen:
        item = yield queue.get()
        try:
            yield
        except Cancelled:
            queue.put_nowait(item)
            raise
        results.append(item)

    yield from _cancelling(worker())
    assert queue.qsize() + len(results) == 1, "the item is lost"


def _cancelling(worker: Gen) -> Gen:
    task = yield spawn(worker, name="worker")
    yield
    task.cancel()
    try:
        yield join(task)
    except Cancelled:
        pass


# --- a lock held while joining --------------------------------------------------------------------


def lock_held_while_joining() -> Gen:
    """A task waits with a lock for the end of another one, which needs that lock to end."""
    lock = Lock(name="state")
    child = yield spawn(_hold(lock), name="child")
    with (yield lock.acquire()):
        yield join(child)


def lock_released_before_joining() -> Gen:
    lock = Lock(name="state")
    child = yield spawn(_hold(lock), name="child")
    with (yield lock.acquire()):
        pass
    yield join(child)


def _hold(lock: Lock) -> Gen:
    yield
    with (yield lock.acquire()):
        pass


# --- done before it is ----------------------------------------------------------------------------


def task_done_too_early() -> Gen:
    """A worker says that an item is done when it has taken it: join returns before the work."""
    queue, results = Queue[int](name="jobs"), list[int]()

    def worker() -> Gen:
        item = yield queue.get()
        queue.task_done()
        yield
        results.append(item)

    yield spawn(worker(), name="worker")
    yield queue.put(1)
    yield queue.join()
    assert results == [1]


def task_done_when_it_is() -> Gen:
    queue, results = Queue[int](name="jobs"), list[int]()

    def worker() -> Gen:
        item = yield queue.get()
        yield
        results.append(item)
        queue.task_done()

    yield spawn(worker(), name="worker")
    yield queue.put(1)
    yield queue.join()
    assert results == [1]


CLASSICS = (
    Pair(lost_update, guarded_update, AssertionError, ("assert counter.value == 3", "ann", "bob")),
    Pair(
        opposite_orders,
        one_order,
        DeadlockError,
        ("acquire Lock 'a'", "acquire Lock 'b'", "(yield target.acquire())"),
        cycle=("there", "back"),
    ),
    Pair(
        if_for_while,
        while_for_if,
        AssertionError,
        ("woken for nothing", "yield condition.wait()", "first", "second", "maker"),
    ),
    Pair(
        lost_wake_up,
        wake_up_under_the_lock,
        DeadlockError,
        ("wait on Condition 'changed'", "yield condition.wait()", "waiter", "setter"),
    ),
    Pair(
        check_then_act,
        check_and_act,
        AssertionError,
        ("assert account.balance >= 0", "ann", "bob"),
    ),
    Pair(double_init, init_once, AssertionError, ("assert used[0] is used[1]", "ann", "bob")),
    Pair(
        philosophers,
        one_starts_at_the_right,
        DeadlockError,
        ("acquire Lock 'a'", "acquire Lock 'b'", "acquire Lock 'c'"),
        cycle=("plato", "kant", "hume"),
    ),
    Pair(
        notify_for_notify_all,
        notify_all,
        DeadlockError,
        ("wait on Condition 'gate'", "yield condition.wait()", "opener"),
    ),
    Pair(
        lock_held_while_sending,
        lock_released_before_sending,
        DeadlockError,
        ("send on Channel 'values' (0/0)", "acquire Lock 'log'", "yield channel.send(1)"),
    ),
    Pair(
        qsize_then_get,
        get_if_there_is_one,
        DeadlockError,
        ("get from Queue 'jobs' (0)", "yield queue.get()", "ann", "bob"),
    ),
)

MORE = (
    Pair(
        wrong_one_notified,
        right_one_notified,
        DeadlockError,
        ("wait on Condition 'changed'", "taker", "other_taker", "maker"),
    ),
    Pair(
        event_cleared_late,
        event_cleared_first,
        DeadlockError,
        ("wait for Event 'work' (not set)", "yield event.wait()", "worker", "giver"),
    ),
    Pair(
        closed_by_the_first,
        closed_by_the_last,
        ClosedError,
        ("yield channel.send(1)", "fails: ClosedError"),
    ),
    Pair(
        permits_one_by_one,
        permits_taken_together,
        DeadlockError,
        ("acquire Semaphore 'permits' (0 free)", "ann", "bob"),
    ),
    Pair(
        two_locks_for_one_thing,
        one_lock_for_one_thing,
        AssertionError,
        ("assert counter.value == 2", "ann", "bob"),
    ),
    Pair(
        stale_length,
        fresh_length,
        AssertionError,
        ("assert len(text[:length]) == length", "copier", "cutter"),
    ),
    Pair(
        published_early,
        published_when_made,
        AssertionError,
        ("assert box.value == 1", "writer", "reader"),
    ),
    Pair(
        changed_while_iterated,
        iterated_over_a_copy,
        RuntimeError,
        ("Set changed size during iteration", "for _ in members", "greeter", "guest"),
    ),
    Pair(
        item_lost_to_a_cancel,
        item_given_back,
        AssertionError,
        ("the item is lost", "is cancelled", "worker"),
    ),
    Pair(
        lock_held_while_joining,
        lock_released_before_joining,
        DeadlockError,
        ("acquire Lock 'state'", "yield join(child)"),
        cycle=("lock_held_while_joining", "child"),
    ),
    Pair(
        task_done_too_early,
        task_done_when_it_is,
        AssertionError,
        ("assert results == [1]", "worker"),
    ),
)

ZOO = CLASSICS + MORE
