"""Every lock against a sequential model, with cancellation and time limits mixed in.

A machine drives a kernel by hand. Its workers are tasks that do what they are told,
one command after the other; after each command the kernel runs until nobody can go
on, and then who has gone on, in what order and with what, must be what a plain model
says: who owns, who waits, in which order. So nobody is woken too late, no permit is
lost or doubled, and first come is first served.

A machine's method `_name` is the model of what rule `name` does.
"""

from __future__ import annotations

import math

import pytest
from helpers import check_machine
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from microthreads import (
    Barrier,
    BoundedSemaphore,
    Cancelled,
    Channel,
    Condition,
    Event,
    Kernel,
    Lock,
    RLock,
    Semaphore,
    current_task,
    move_on_after,
    select,
    sleep,
)
from microthreads.sim import VirtualClock

WORKERS = 5
SECONDS = st.integers(0, 3)
# How long a worker waits: for ever; as long as the call says; as long as a block says.
LIMITS = st.none() | st.tuples(st.sampled_from(["call", "block"]), SECONDS)


def shown(value):
    """What a call gave, without the guards in it."""
    if isinstance(value, tuple):
        return tuple(shown(part) for part in value)
    return value if isinstance(value, (bool, int, type(None))) else True


class Worker:
    """A task that makes the calls it is given, and logs what comes of them."""

    def __init__(self, machine, number):
        self.machine = machine
        self.number = number
        self.inbox = Channel(10)
        self.scope = None
        self.careful = False
        self.task = machine.kernel.spawn(self.live(), name=f"worker {number}")

    def live(self):
        while True:
            act, seconds = yield self.inbox.recv()
            with move_on_after(seconds) as self.scope:
                yield from self.do(act)

    def do(self, act):
        try:
            call = act()
            while not hasattr(call, "attempt"):
                # A routine, or nothing to wait for.
                outcome = None if call is None else (yield call)
                break
            else:
                outcome = shown((yield call))
        except Cancelled as error:
            if error.scope is not self.scope:
                self.machine.ending(self)
                raise
            outcome = "cancelled"
        except Exception as error:
            outcome = type(error).__name__
        self.machine.log.append((self.number, outcome))


class Op:
    """What a worker waits for, in the model."""

    def __init__(self, worker, limit=None, **more):
        self.worker = worker
        self.limit = limit
        self.deadline = math.inf
        self.order = 0
        vars(self).update(more)


class Driven(RuleBasedStateMachine):
    """A kernel, its workers, and what the model expects of them."""

    def __init__(self):
        super().__init__()
        self.clock = VirtualClock()
        self.kernel = Kernel(clock=self.clock)
        self.log, self.expected = [], []
        self.ops = {}
        self.armed = 0
        self.workers = [Worker(self, number) for number in range(WORKERS)]
        self.settle()

    def teardown(self):
        self.kernel.close()

    def settle(self):
        for _ in range(1000):
            self.kernel.tick()
            deadline = self.kernel.deadline()
            if deadline is None or deadline > self.clock.now():
                return
        raise AssertionError("the kernel does not come to rest")

    def idle(self):
        return [number for number in range(WORKERS) if number not in self.ops]

    def someone(self, data):
        return data.draw(st.sampled_from(self.idle()), label="worker")

    def waiter(self, data):
        return data.draw(st.sampled_from(sorted(self.ops)), label="waiter")

    def tell(self, number, act, limit=None):
        """Have a worker do `act`, which may return a call; the model's part follows."""
        seconds = limit[1] if limit and limit[0] == "block" else math.inf
        assert self.workers[number].inbox.try_send((act, seconds))
        self.settle()

    def wait(self, op):
        """In the model: `op` has to wait."""
        self.armed += 1
        op.order = self.armed
        if op.limit:
            op.deadline = self.clock.now() + op.limit[1]
        self.ops[op.worker] = op

    def done(self, number, outcome):
        """In the model: the worker goes on with `outcome`."""
        self.ops.pop(number, None)
        self.expected.append((number, outcome))

    def due(self):
        """In the model: what is to end now, first come, first served."""
        now = self.clock.now()
        found = [op for op in self.ops.values() if op.deadline <= now]
        return sorted(found, key=lambda op: (op.deadline, op.order))

    def ending(self, worker):
        """A worker is cancelled for good."""

    @precondition(lambda self: self.ops)
    @rule(data=st.data())
    def cancel(self, data):
        number = self.waiter(data)
        self.workers[number].scope.cancel()
        self.settle()
        self._cancel(self.ops[number])

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds):
        for _ in range(seconds):
            self.clock.reach(self.clock.now() + 1)
            self.settle()
            self._expire(self.due())

    def _expire(self, ops):
        """In the model: the time of `ops` is over. First all are undone, then they go on."""
        for op in ops:
            self.leave(op)
        for op in ops:
            self.done(op.worker, False if op.limit[0] == "call" else "cancelled")

    def _cancel(self, op):
        self.leave(op)
        self.done(op.worker, "cancelled")

    def leave(self, op):
        """In the model: `op` stands in no queue any more."""

    @invariant()
    def as_the_model_says(self):
        assert self.log == self.expected
        self.log.clear()
        self.expected.clear()
        for number, worker in enumerate(self.workers):
            assert not worker.task.done
            waits = len(worker.inbox) > 0 or "recv" not in str(worker.task.waiting_on)
            assert waits == (number in self.ops), (number, worker.task.waiting_on)
        self.compare()

    def compare(self):
        """Compare what can be seen of the locks with the model."""

    def within(self, op, call):
        """Whether `op`, which cannot go at once, waits at all; if not, it is done."""
        if op.limit == ("call", 0):
            self.done(op.worker, False)
            return False
        if op.limit == ("block", 0):
            self.done(op.worker, "cancelled")
            return False
        self.wait(op)
        return True


class Queued(Driven):
    """Workers wait in queues; others do something when a time is over, which lets some go on."""

    queues = ()

    def leave(self, op):
        for queue in self.queues:
            if op in queue:
                queue.remove(op)

    def later(self, number, seconds, act, **what):
        """Have a worker do `act` after so many seconds; `_act` models it."""

        def sleeping():
            yield sleep(seconds)
            act()

        self.tell(number, sleeping)
        self.wait(Op(number, ("call", seconds), indices=(), **what))

    def _act(self, op):
        """In the model: what `later` does, and with what outcome."""

    def _expire(self, ops):
        """All whose time is over go on before those whom they let go on."""
        for op in ops:
            self.leave(op)
        granted = []
        for op in ops:
            if op.indices:
                self.done(op.worker, False if op.limit[0] == "call" else "cancelled")
            else:
                before = len(self.expected)
                outcome = self._act(op)
                granted += self.expected[before:]
                del self.expected[before:]
                self.done(op.worker, outcome)
        self.expected += granted


def started_in_time(limit):
    """A block of no seconds ends at its first yield, whatever that could do at once."""
    return limit != ("block", 0)


def seconds_of(limit, default):
    return limit[1] if limit and limit[0] == "call" else default


# ---- Lock and RLock


class ModelLock:
    def __init__(self, real):
        self.real = real
        self.reentrant = isinstance(real, RLock)
        self.owner = None
        self.depth = 0
        self.queue = []

    def can_take(self, number):
        return self.owner is None or (self.reentrant and self.owner == number)

    def take(self, number):
        self.owner = number
        self.depth += 1


class LockMachine(Queued):
    """Two locks; a worker waits for one of them, or selects over both."""

    kind = Lock

    def __init__(self):
        super().__init__()
        self.locks = [ModelLock(self.kind()), ModelLock(self.kind())]

    def calls(self, indices, limit):
        made = [self.locks[i].real.acquire(True, seconds_of(limit, -1)) for i in indices]
        return made[0] if len(made) == 1 else select(*made)

    @precondition(lambda self: self.idle())
    @rule(
        data=st.data(),
        indices=st.sampled_from([(0,), (0,), (1,), (0, 1), (1, 0), (0, 0)]),
        limit=LIMITS,
    )
    def acquire(self, data, indices, limit):
        number = self.someone(data)
        if len(indices) > 1 and limit:
            limit = ("block", limit[1])
        self.tell(number, lambda: self.calls(indices, limit), limit)
        op = Op(number, limit, indices=indices)
        if not started_in_time(limit):
            self.done(number, "cancelled")
            return
        for position, index in enumerate(indices):
            lock = self.locks[index]
            if lock.can_take(number):
                lock.take(number)
                self.done(number, self.result(op, position))
                return
            if lock.owner == number:
                self.done(number, "RuntimeError")
                return
        if self.within(op, "acquire"):
            for index in dict.fromkeys(indices):
                self.locks[index].queue.append(op)

    @staticmethod
    def result(op, position):
        return True if len(op.indices) == 1 else (position, True)

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), index=st.integers(0, 1))
    def acquire_without_blocking(self, data, index):
        number, lock = self.someone(data), self.locks[index]
        self.tell(number, lambda: lock.real.acquire(blocking=False))
        if lock.can_take(number):
            lock.take(number)
            self.done(number, True)
        else:
            self.done(number, "RuntimeError" if lock.owner == number else False)

    def owned_by_idle(self):
        return [index for index, lock in enumerate(self.locks) if lock.owner in self.idle()]

    @precondition(lambda self: self.owned_by_idle())
    @rule(data=st.data())
    def release(self, data):
        lock = self.locks[data.draw(st.sampled_from(self.owned_by_idle()), label="lock")]
        number = lock.owner
        self.tell(number, lock.real.release)
        self.done(number, None)
        self._release(lock)

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), index=st.integers(0, 1))
    def release_what_one_may_not_own(self, data, index):
        number, lock = self.someone(data), self.locks[index]
        self.tell(number, lock.real.release)
        if lock.owner == number:
            self.done(number, None)
            self._release(lock)
        else:
            self.done(number, "RuntimeError")

    def _release(self, lock):
        lock.depth -= 1
        if lock.depth == 0:
            lock.owner = None
            if lock.queue:
                op = lock.queue[0]
                self.leave(op)
                lock.take(op.worker)
                position = [self.locks[i] for i in op.indices].index(lock)
                self.done(op.worker, self.result(op, position))

    @property
    def queues(self):
        return [lock.queue for lock in self.locks]

    @precondition(lambda self: self.owned_by_idle() and self.ops)
    @rule(data=st.data(), cancel_first=st.booleans())
    def release_and_cancel_in_one_step(self, data, cancel_first):
        """A cancel that comes after the lock is late; one before it takes nothing."""
        lock = self.locks[data.draw(st.sampled_from(self.owned_by_idle()), label="lock")]
        number, victim = lock.owner, self.waiter(data)

        def act():
            if cancel_first:
                self.workers[victim].scope.cancel()
            lock.real.release()
            self.workers[victim].scope.cancel()

        self.tell(number, act)
        self.done(number, None)
        if cancel_first:
            self._cancel_if_waiting(victim)
        self._release(lock)
        if not cancel_first:
            self._cancel_if_waiting(victim)

    def _cancel_if_waiting(self, number):
        if number in self.ops:
            self._cancel(self.ops[number])

    @precondition(lambda self: self.owned_by_idle())
    @rule(data=st.data(), seconds=st.integers(1, 3))
    def release_later(self, data, seconds):
        """A release at the moment at which others' time is over."""
        lock = self.locks[data.draw(st.sampled_from(self.owned_by_idle()), label="lock")]
        self.later(lock.owner, seconds, lock.real.release, releases=lock)

    def _act(self, op):
        self._release(op.releases)

    @rule(data=st.data(), number=st.integers(0, WORKERS - 1), really=st.integers(0, 3))
    def end(self, data, number, really):
        """A task ends: it leaves the queues, and the locks that it owns are broken."""
        if really:
            return
        self.workers[number].task.cancel()
        self.settle()
        if number in self.ops:
            self.leave(self.ops.pop(number))
        broken = [lock for lock in self.locks if lock.owner == number]
        for lock in self.in_order_of_taking(broken):
            for op in list(lock.queue):
                if op.worker in self.ops:
                    self.leave(op)
                    self.done(op.worker, "BrokenLockError")
        for lock in broken:
            self.locks[self.locks.index(lock)] = ModelLock(self.kind())
        self.workers[number] = Worker(self, number)
        self.settle()
        if len(broken) > 1:
            # Which of the two broke first is not the matter here.
            self.log.sort()
            self.expected.sort()

    @staticmethod
    def in_order_of_taking(locks):
        return locks

    def compare(self):
        for lock in self.locks:
            assert lock.real.locked() == (lock.owner is not None)
            owner = None if lock.owner is None else self.workers[lock.owner].task
            assert lock.real.owner is owner
            if lock.reentrant:
                assert lock.real.depth == lock.depth


class RLockMachine(LockMachine):
    kind = RLock


# ---- Semaphore and BoundedSemaphore


class SemaphoreMachine(Queued):
    """Two semaphores; a worker waits for one of them, or selects over both."""

    kind = Semaphore

    def __init__(self):
        super().__init__()
        self.reals, self.free, self.most = [], [], []
        self.queues = [[], []]

    @initialize(values=st.tuples(st.integers(0, 3), st.integers(0, 2)))
    def begin(self, values):
        self.reals = [self.kind(value) for value in values]
        self.free = list(values)
        self.most = list(values)

    def calls(self, indices, limit):
        made = [self.reals[i].acquire(True, seconds_of(limit, None)) for i in indices]
        return made[0] if len(made) == 1 else select(*made)

    @precondition(lambda self: self.idle())
    @rule(
        data=st.data(),
        indices=st.sampled_from([(0,), (0,), (1,), (0, 1), (1, 0), (1, 1)]),
        limit=LIMITS,
    )
    def acquire(self, data, indices, limit):
        number = self.someone(data)
        if len(indices) > 1 and limit:
            limit = ("block", limit[1])
        self.tell(number, lambda: self.calls(indices, limit), limit)
        op = Op(number, limit, indices=indices)
        if not started_in_time(limit):
            self.done(number, "cancelled")
            return
        for position, index in enumerate(indices):
            if self.free[index]:
                self.free[index] -= 1
                self.done(number, True if len(indices) == 1 else (position, True))
                return
        if self.within(op, "acquire"):
            for index in dict.fromkeys(indices):
                self.queues[index].append(op)

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), index=st.integers(0, 1))
    def acquire_without_blocking(self, data, index):
        number = self.someone(data)
        self.tell(number, lambda: self.reals[index].acquire(False))
        self.done(number, self.free[index] > 0)
        self.free[index] -= self.free[index] > 0

    def may_release(self, index, n):
        return self.kind is Semaphore or self.free[index] + n <= self.most[index]

    @rule(index=st.integers(0, 1), n=st.integers(1, 3))
    def release(self, index, n):
        if self.may_release(index, n):
            self.reals[index].release(n)
            self._release(index, n)
        else:
            with pytest.raises(ValueError):
                self.reals[index].release(n)
        self.settle()

    def _release(self, index, n):
        for _ in range(n):
            if self.queues[index]:
                op = self.queues[index][0]
                self.leave(op)
                position = op.indices.index(index)
                self.done(op.worker, True if len(op.indices) == 1 else (position, True))
            else:
                self.free[index] += 1

    @precondition(lambda self: self.ops)
    @rule(
        data=st.data(),
        steps=st.lists(st.sampled_from(["release 0", "release 1", "cancel"]), max_size=5),
    )
    def several_in_one_step(self, data, steps):
        """Releases and cancels before anybody can run: the late cancels do nothing."""
        for step in steps:
            if step == "cancel":
                victims = st.sampled_from(range(WORKERS))
                number = data.draw(victims, label="victim")
                if number in self.ops:
                    self.workers[number].scope.cancel()
                    self._cancel(self.ops[number])
            else:
                index = int(step[-1])
                if self.may_release(index, 1):
                    self.reals[index].release()
                    self._release(index, 1)
        self.settle()

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), index=st.integers(0, 1), seconds=st.integers(1, 3))
    def release_later(self, data, index, seconds):
        self.later(self.someone(data), seconds, self.reals[index].release, releases=index)

    def _act(self, op):
        if not self.may_release(op.releases, 1):
            return "ValueError"
        return self._release(op.releases, 1)

    @rule(number=st.integers(0, WORKERS - 1), really=st.integers(0, 3))
    def end(self, number, really):
        """A task ends: it has used up the permits that it took."""
        if really:
            return
        self.workers[number].task.cancel()
        self.settle()
        if number in self.ops:
            self.leave(self.ops.pop(number))
        self.workers[number] = Worker(self, number)
        self.settle()

    def compare(self):
        for index, real in enumerate(self.reals):
            assert f"{self.free[index]} " in str(real)


class BoundedSemaphoreMachine(SemaphoreMachine):
    kind = BoundedSemaphore


# ---- Event


class EventMachine(Queued):
    """Two events; a worker waits for one of them, or selects over both."""

    def __init__(self):
        super().__init__()
        self.reals = [Event(), Event()]
        self.flags = [False, False]
        self.queues = [[], []]

    @precondition(lambda self: self.idle())
    @rule(
        data=st.data(),
        indices=st.sampled_from([(0,), (0,), (1,), (0, 1), (1, 0), (0, 0)]),
        limit=LIMITS,
    )
    def wait_for(self, data, indices, limit):
        number = self.someone(data)
        if len(indices) > 1 and limit:
            limit = ("block", limit[1])

        def act():
            made = [self.reals[i].wait(seconds_of(limit, None)) for i in indices]
            return made[0] if len(made) == 1 else select(*made)

        self.tell(number, act, limit)
        op = Op(number, limit, indices=indices)
        if not started_in_time(limit):
            self.done(number, "cancelled")
            return
        for position, index in enumerate(indices):
            if self.flags[index]:
                self.done(number, True if len(indices) == 1 else (position, True))
                return
        if self.within(op, "wait"):
            for index in dict.fromkeys(indices):
                self.queues[index].append(op)

    @rule(
        data=st.data(),
        steps=st.lists(
            st.tuples(st.sampled_from(["set", "clear", "cancel"]), st.integers(0, 1)),
            min_size=1,
            max_size=5,
        ),
    )
    def several_in_one_step(self, data, steps):
        for step, index in steps:
            if step == "clear":
                self.reals[index].clear()
                self.flags[index] = False
            elif step == "set":
                self.reals[index].set()
                self._set(index)
            elif self.ops:
                number = self.waiter(data)
                self.workers[number].scope.cancel()
                self._cancel(self.ops[number])
        self.settle()

    def _set(self, index):
        self.flags[index] = True
        for op in list(self.queues[index]):
            self.leave(op)
            position = op.indices.index(index)
            self.done(op.worker, True if len(op.indices) == 1 else (position, True))

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), index=st.integers(0, 1), seconds=st.integers(1, 3))
    def set_later(self, data, index, seconds):
        self.later(self.someone(data), seconds, self.reals[index].set, sets=index)

    def _act(self, op):
        self._set(op.sets)

    def compare(self):
        assert [real.is_set() for real in self.reals] == self.flags


# ---- Barrier


class BarrierMachine(Driven):
    """A barrier, and an event that a worker may select beside it."""

    def __init__(self):
        super().__init__()
        self.barrier = None
        self.parties = 0
        self.queue = []
        self.broken = False
        self.rounds, self.actions = 0, []
        self.action_fails = False
        self.event = Event()

    @initialize(parties=st.integers(1, 4))
    def begin(self, parties):
        self.parties = parties
        self.barrier = Barrier(parties, self.action)

    def action(self):
        if self.action_fails:
            raise ZeroDivisionError
        self.actions.append(sorted(op.worker for op in self.queue))

    @rule(fails=st.integers(0, 5))
    def let_the_action_fail(self, fails):
        self.action_fails = fails == 0

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), limit=LIMITS, selects=st.booleans())
    def wait_at_it(self, data, limit, selects):
        number = self.someone(data)

        def act():
            call = self.barrier.wait(seconds_of(limit, None))
            return select(self.event.wait(), call) if selects else call

        self.tell(number, act, limit)
        op = Op(number, limit, selects=selects)
        if not started_in_time(limit):
            self.done(number, "cancelled")
        elif self.broken:
            self.done(number, "BrokenBarrierError")
        elif len(self.queue) + 1 == self.parties:
            self._trip(op)
        elif limit == ("call", 0):
            self._break()
            self.done(number, "BrokenBarrierError")
        else:
            self.wait(op)
            self.queue.append(op)

    def _trip(self, last):
        if self.action_fails:
            self._break()
            self.done(last.worker, "ZeroDivisionError")
            return
        self.rounds += 1
        came, self.queue = [*self.queue, last], []
        for index, op in enumerate(came):
            self.done(op.worker, (1, index) if op.selects else index)

    def _break(self):
        self.broken = True
        self._send_away()

    def _send_away(self):
        ops, self.queue = self.queue, []
        for op in ops:
            self.done(op.worker, "BrokenBarrierError")

    def leave(self, op):
        self.queue.remove(op)

    def _expire(self, ops):
        for op in ops:
            if op not in self.queue:
                continue
            if op.limit[0] == "call":
                self._break()
            else:
                self.leave(op)
                self.done(op.worker, "cancelled")

    @rule(really=st.integers(0, 3))
    def abort(self, really):
        if really:
            return
        self.barrier.abort()
        self.settle()
        self._break()

    @rule()
    def reset(self):
        if self.queue and not self.broken and self.clock.now() % 4:
            return  # or hardly any round would come to its end
        self.barrier.reset()
        self.settle()
        self.broken = False
        self._send_away()

    @rule()
    def set_and_clear_the_event(self):
        """Whoever selects over it has not come to the barrier."""
        self.event.set()
        self.event.clear()
        self.settle()
        for op in [op for op in self.queue if op.selects]:
            self.leave(op)
            self.done(op.worker, (0, True))

    def as_it_is(self):
        return self.barrier.n_waiting, self.barrier.broken, self.barrier.parties

    def compare(self):
        assert self.as_it_is() == (len(self.queue), self.broken, self.parties)
        assert len(self.actions) == self.rounds

    @invariant()
    def as_the_model_says(self):
        # Those who pass a barrier do so all at once: only their numbers have an order.
        self.log.sort(key=str)
        self.expected.sort(key=str)
        if self.barrier is not None:
            super().as_the_model_says()


# ---- Condition


class ConditionMachine(Driven):
    """One lock, two conditions on it, and an event that may be selected beside them."""

    kind = Lock

    def __init__(self):
        super().__init__()
        self.begin_anew()

    def begin_anew(self):
        self.lock = self.kind()
        self.conditions = [Condition(self.lock), Condition(self.lock)]
        self.event = Event()
        self.owner, self.depth = None, 0
        self.queue = []  # for the lock: ops
        self.waiting = [[], []]  # for a notification: ops
        self.level = 0

    def ending(self, worker):
        if worker.careful:
            while self.lock.owner is current_task():
                self.lock.release()

    # What the model does

    def _take(self, op):
        """The lock is free, and `op` is the first that waits for it."""
        self.owner, self.depth = op.worker, op.depth
        if op.kind == "wait":
            for index in self.other_notifications(op):
                self._pass_on(index)
            self._leave_conditions(op)

    def _leave_conditions(self, op):
        for queue in self.waiting:
            if op in queue:
                queue.remove(op)

    def other_notifications(self, op):
        """The notifications that `op` has got and does not need, by condition."""
        used = op.outcome == "notified" and op.notified[:1]
        return [index for index in op.notified if not used or index != used[0]]

    def _hand_on(self):
        while self.owner is None and self.queue:
            op = self.queue.pop(0)
            self._take(op)
            if op.kind == "acquire":
                self.done(op.worker, True)
            elif self._goes_on(op):
                continue
            else:
                # The predicate does not hold: wait for the next notification.
                self.owner, self.depth = None, 0
                op.notified = []
                op.outcome = None
                self.waiting[op.indices[0]].append(op)

    def _goes_on(self, op):
        if op.outcome == "notified":
            if op.level is None:
                index = op.indices.index(op.notified[0])
                self.done(op.worker, (index, True) if op.selects else True)
                return True
            if self.level < op.level and not op.over:
                return False
            self.done(op.worker, self.level >= op.level)
            return True
        outcome = (0, False) if op.outcome == "late" else op.outcome
        if outcome is False and op.level is not None:
            outcome = self.level >= op.level
        self.done(op.worker, outcome)
        return True

    def _pass_on(self, index):
        if self.waiting[index]:
            self._notify(index, self.waiting[index].pop(0))

    def _notify(self, index, op):
        op.notified.append(index)
        if op.outcome is None:
            op.outcome = "notified"
            self.queue.append(op)

    def _undo(self, op, outcome):
        """`op` ends in another way than by a notification, once it has the lock."""
        notified, op.notified = op.notified, []
        queued = op in self.queue
        op.outcome = outcome
        self._leave_conditions(op)
        if not queued:
            self.queue.append(op)
        for index in op.indices if op.kind == "wait" else ():
            if index in notified:
                self._pass_on(index)
        self._hand_on()

    # What happens

    @initialize(
        waiters=st.lists(
            st.tuples(st.sampled_from([(0,), (0,), (1,), (1, 0)]), st.booleans()), max_size=4
        )
    )
    def let_some_wait(self, waiters):
        for number, (indices, beside_event) in enumerate(waiters):
            self.ask(number, None)
            self.give_up(None, indices, beside_event)

    @precondition(lambda self: self.idle())
    @rule(data=st.data(), limit=st.none() | LIMITS)
    def acquire(self, data, limit):
        self.ask(self.someone(data), limit)

    def ask(self, number, limit):
        self.tell(number, lambda: self.lock.acquire(True, seconds_of(limit, -1)), limit)
        op = Op(number, limit, kind="acquire", depth=1, outcome=None, notified=[], selects=False)
        if not started_in_time(limit):
            self.done(number, "cancelled")
        elif self.owner is None:
            self.owner, self.depth = number, 1
            self.done(number, True)
        elif self.owner == number and self.kind is RLock:
            self.depth += 1
            self.done(number, True)
        elif self.owner == number:
            self.done(number, "RuntimeError")
        elif self.within(op, "acquire"):
            self.queue.append(op)

    def owner_is_idle(self):
        return self.owner is not None and self.owner not in self.ops

    @precondition(owner_is_idle)
    @rule()
    def release(self):
        number = self.owner
        self.tell(number, self.lock.release)
        self.done(number, None)
        self._release()

    def _release(self):
        self.depth -= 1
        if not self.depth:
            self.owner = None
            self._hand_on()

    @precondition(owner_is_idle)
    @rule()
    def let_all_through(self):
        """Release the lock until nobody waits for it: now every notification shows."""
        while self.owner is not None:
            self.release()

    @precondition(lambda self: self.owner_is_idle() and any(self.waiting))
    @rule(data=st.data(), n=st.integers(1, 2))
    def notify_and_cancel(self, data, n):
        """The notification of a wait that is cancelled goes to the next."""
        index = data.draw(st.sampled_from([i for i in (0, 1) if self.waiting[i]]))
        op = self.waiting[index][0]
        self.notify(index, n)
        self.workers[op.worker].scope.cancel()
        self.settle()
        self._cancel(op)

    @precondition(owner_is_idle)
    @rule(
        limit=st.none() | LIMITS,
        indices=st.sampled_from([(0,), (0,), (1,), (0, 1), (1, 0)]),
        beside_event=st.booleans(),
    )
    def wait_for_notification(self, limit, indices, beside_event):
        self.give_up(limit, indices, beside_event)

    def give_up(self, limit, indices, beside_event):
        number = self.owner
        selects = beside_event or len(indices) > 1

        def act():
            limits = [seconds_of(limit, None), None]
            calls = [self.conditions[i].wait(limits.pop(0)) for i in indices]
            if beside_event:
                calls.append(self.event.wait())
            return select(*calls) if selects else calls[0]

        self.tell(number, act, limit)
        op = Op(number, limit, indices=indices, selects=selects, level=None)
        self._wait(op, beside_event)

    @precondition(owner_is_idle)
    @rule(limit=LIMITS, index=st.integers(0, 1), level=st.integers(0, 4))
    def wait_for_level(self, limit, index, level):
        number = self.owner

        def act():
            wait_for = self.conditions[index].wait_for
            return wait_for(lambda: self.level >= level, seconds_of(limit, None))

        self.tell(number, act, limit)
        op = Op(number, limit, indices=(index,), selects=False, level=level)
        if started_in_time(limit) and self.level >= level:
            self.done(number, True)
        else:
            self._wait(op, False)

    def _wait(self, op, beside_event):
        op.kind, op.depth, op.outcome, op.notified, op.over = "wait", self.depth, None, [], False
        op.beside_event = beside_event
        if not started_in_time(op.limit):
            self.done(op.worker, "cancelled")
            return
        self.wait(op)
        self.owner, self.depth = None, 0
        for index in op.indices:
            self.waiting[index].append(op)
        self._hand_on()
        if op.limit == ("call", 0):
            self._expire([op])

    @precondition(owner_is_idle)
    @rule(index=st.integers(0, 1), n=st.integers(1, 3))
    def notify(self, index, n):
        number = self.owner
        self.tell(number, lambda: self.conditions[index].notify(n))
        for _ in range(n):
            self._pass_on(index)
        self.done(number, None)

    @precondition(owner_is_idle)
    @rule(
        data=st.data(),
        steps=st.lists(
            st.sampled_from(["notify 0", "notify 1", "all 0", "cancel", "set", "release"]),
            min_size=2,
            max_size=5,
        ),
    )
    def several_in_one_step(self, data, steps):
        """Notifications, cancels and a release before anybody else can run."""
        number, todo = self.owner, []
        reported = len(self.expected)
        for step in steps:
            if step == "cancel":
                if not self.ops:
                    continue
                victim = self.waiter(data)
                todo.append(self.workers[victim].scope.cancel)
                self._cancel(self.ops[victim])
            elif step == "set":
                todo += [self.event.set, self.event.clear]
                self._set()
            elif step == "release":
                if self.owner != number:
                    continue
                todo.append(self.lock.release)
                self._release()
            elif self.owner == number:
                condition, index = self.conditions[int(step[-1])], int(step[-1])
                todo.append(condition.notify if step[0] == "n" else condition.notify_all)
                count = 1 if step[0] == "n" else len(self.waiting[index])
                for _ in range(count):
                    self._pass_on(index)

        def act():
            for step in todo:
                step()

        self.tell(number, act)
        self.expected.insert(reported, (number, None))

    @rule()
    def set_and_clear_the_event(self):
        self.event.set()
        self.event.clear()
        self.settle()
        self._set()

    def _set(self):
        for op in sorted(self.ops.values(), key=lambda op: op.order):
            if op.selects and op.beside_event and op.outcome in (None, "notified", "late"):
                self._undo(op, (len(op.indices), True))

    @rule(level=st.integers(0, 4))
    def set_level(self, level):
        self.level = level

    def _cancel(self, op):
        if op.kind == "acquire":
            self.queue.remove(op)
            self.done(op.worker, "cancelled")
        elif op.outcome in (None, "notified", "late", False):
            self._undo(op, "cancelled")

    def _expire(self, ops):
        for op in ops:
            op.deadline = math.inf
            if op.limit[0] == "block":
                self._cancel(op)
            elif op.kind == "acquire":
                self.queue.remove(op)
                self.done(op.worker, False)
            else:
                self._late(op)

    def _late(self, op):
        """The time of a wait is over; in a select that is its first branch."""
        op.over = True
        if op in self.waiting[op.indices[0]]:
            self.waiting[op.indices[0]].remove(op)
        if op.outcome is None and op.selects:
            op.outcome = "late"
            self.queue.append(op)
            self._hand_on()
        elif op.outcome is None:
            self._undo(op, False)

    @rule(number=st.integers(0, WORKERS - 1), careful=st.booleans(), really=st.integers(0, 3))
    def end(self, number, careful, really):
        """A task ends: with the lock, which it gives back if it is careful, else it breaks."""
        if really:
            return
        worker = self.workers[number]
        worker.careful = careful
        # Only when the lock can be had at once, so that the end is one step.
        op = self.ops.get(number)
        holds = self.owner == number
        if op is not None and op.kind == "wait" and self.owner is not None:
            return
        worker.task.cancel()
        self.settle()
        if op is not None and op.kind == "acquire":
            self.queue.remove(self.ops.pop(number))
        elif op is not None:
            holds = True
            del self.ops[number]
            self._leave_conditions(op)
        self.workers[number] = Worker(self, number)
        self.settle()
        if holds and (careful and op is not None):
            return
        if holds:
            # What was cancelled is so, even now; a select gives what it has received.
            waiters = [
                (
                    op.worker,
                    op.outcome
                    if op.outcome == "cancelled" or isinstance(op.outcome, tuple)
                    else "BrokenLockError",
                )
                for op in self.ops.values()
            ]
            assert sorted(self.log, key=str) == sorted(waiters, key=str)
            self.log.clear()
            self.ops.clear()
            self.begin_anew()

    def compare(self):
        assert self.lock.locked() == (self.owner is not None)
        owner = None if self.owner is None else self.workers[self.owner].task
        assert self.lock.owner is owner
        for op in self.ops.values():
            if not op.selects:
                kind = "acquire" if op in self.queue else "wait on"
                assert str(self.workers[op.worker].task.waiting_on).startswith(kind)
        if self.kind is RLock and self.owner is not None:
            assert self.lock.depth == self.depth


class RLockConditionMachine(ConditionMachine):
    kind = RLock


MACHINES = [
    LockMachine,
    RLockMachine,
    SemaphoreMachine,
    BoundedSemaphoreMachine,
    EventMachine,
    BarrierMachine,
    ConditionMachine,
    RLockConditionMachine,
]
by_machine = pytest.mark.parametrize("machine", MACHINES)


@pytest.mark.forgets
@by_machine
def test_every_lock_does_what_its_model_says(machine):
    check_machine(machine, examples=150, steps=30, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@by_machine
def test_every_lock_does_what_its_model_says_for_a_long_time(machine):
    check_machine(machine, examples=4000, steps=60)
