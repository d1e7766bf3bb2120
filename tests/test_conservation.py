"""Values are conserved: a thousand random programs send, receive, select, time out and die.

Every program is made from its seed alone, which a failure names: to look at
one, call ``check(seed)``.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    Kernel,
    current_task,
    join,
    move_on_after,
    select,
    sleep,
    spawn,
    timeout,
)
from microthreads.sim import VirtualClock

pytestmark = pytest.mark.forgets  # random programs are cancelled wherever they are

PROGRAMS = 1000
AT_ONCE = 100
TIMES = [0, 0, 0.5, 1, 1, 1.5, 2, 3]


class Program:
    """A random program, and the books it keeps."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.channels = [
            Channel(self.random.randrange(4)) for _ in range(self.random.randint(1, 3))
        ]
        self.offered = []
        self.sent = []
        self.unsent = []
        self.received = []
        self.log = []
        self.tasks = []

    def value(self, owner):
        value = (owner, len(self.offered))
        self.offered.append(value)
        return value

    def send(self, owner, random):
        channel, value = random.choice(self.channels), self.value(owner)
        try:
            yield channel.send(value)
        except BaseException:
            self.unsent.append(value)
            raise
        self.sent.append(value)

    def recv(self, owner, random):
        channel = random.choice(self.channels)
        self.note(owner, channel, (yield channel.recv()))

    def note(self, owner, channel, value):
        self.received.append(value)
        self.log.append((owner, channel, value))

    def select(self, owner, random):
        """Select over up to four calls, each kept with what it means if it wins."""
        branches = []
        for _ in range(random.randint(1, 4)):
            kind = random.choice(["send", "send", "recv", "recv", "recv", "sleep", "join"])
            channel = random.choice(self.channels)
            if kind == "send":
                value = self.value(owner)
                branches.append((kind, value, channel.send(value)))
            elif kind == "recv":
                branches.append((kind, channel, channel.recv()))
            elif kind == "join" and owner:
                # Only of those spawned before, so that no circle closes.
                branches.append((kind, None, join(self.tasks[random.randrange(owner)])))
            else:
                branches.append((kind, None, sleep(random.choice(TIMES))))
        calls = [call for _, _, call in branches]
        if len(calls) > 2 and random.random() < 0.2:
            calls = [*calls[:-2], select(*calls[-2:])]
        winner = None
        try:
            winner, value = yield select(*calls)
            if len(calls) < len(branches) and winner == len(calls) - 1:
                inner, value = value
                winner += inner
        finally:
            for index, (kind, sent, _) in enumerate(branches):
                if kind == "send":
                    (self.sent if index == winner else self.unsent).append(sent)
        if branches[winner][0] == "recv":
            self.note(owner, branches[winner][1], value)

    def plain(self, owner, random):
        channel = random.choice(self.channels)
        if random.random() < 0.5:
            value = self.value(owner)
            try:
                done = channel.try_send(value)
            except ClosedError:
                done = False
            (self.sent if done else self.unsent).append(value)
        else:
            value = channel.try_recv()
            if value is not None:
                self.note(owner, channel, value)
        yield

    def limited(self, owner, random):
        with random.choice([timeout, move_on_after])(random.choice(TIMES)):
            for _ in range(random.randint(1, 3)):
                yield self.step(owner, random)

    def pause(self, owner, random):
        yield sleep(random.choice(TIMES))

    def step(self, owner, random):
        steps = [
            self.send,
            self.recv,
            self.select,
            self.select,
            self.plain,
            self.limited,
            self.pause,
        ]
        return random.choice(steps)(owner, random)

    def work(self, owner, random):
        for _ in range(random.randint(3, 30)):
            try:
                yield self.step(owner, random)
            except (ClosedError, TimeoutError):
                yield
            except Cancelled as error:
                # Another's, from a join of it? Then this one goes on.
                if error.scope is current_task():
                    raise

    def cancel_some(self, random):
        for _ in range(random.randint(0, 4)):
            yield sleep(random.choice(TIMES))
            for _ in range(random.randrange(4)):
                yield
            random.choice(self.tasks).cancel()

    def main(self):
        for owner in range(self.random.randint(2, 9)):
            routine = self.work(owner, Random(self.random.random()))
            self.tasks.append((yield spawn(routine, name=f"worker {owner}")))
        yield spawn(self.cancel_some(Random(self.random.random())))
        yield sleep(self.random.choice([0.5, 5, 50, 500]))
        for channel in self.channels:
            channel.close()
            if self.random.random() < 0.5:
                yield
        for task in self.tasks:
            try:
                yield join(task)
            except Cancelled:
                pass

    def left_in_buffers(self):
        left = []
        for channel in self.channels:
            with pytest.raises(ClosedError):
                while True:
                    left.append(channel.try_recv("waiting sender?"))
        return left

    def out_of_order(self):
        """Values that one task sent on one channel, and another received the wrong way round."""
        last = {}
        for receiver, channel, (sender, number) in self.log:
            key = (receiver, channel, sender)
            if last.get(key, -1) > number:
                yield key, number
            last[key] = number


def check(seed):
    """Run the program of `seed`; return how many values arrived."""
    program = Program(seed)
    crashed = []
    with Kernel(clock=VirtualClock(), on_crash=crashed.append) as kernel:
        kernel.run(program.main())
        tasks_left = list(kernel.snapshot().tasks)
    assert tasks_left == [], f"seed {seed}: tasks left {tasks_left}"
    errors = [(task, repr(task.exception())) for task in crashed]
    assert not errors, f"seed {seed}: tasks crashed {errors}"
    arrived = Counter(program.received) + Counter(program.left_in_buffers())
    sent, unsent = Counter(program.sent), Counter(program.unsent)
    twice = [value for value, count in arrived.items() if count > 1]
    assert not twice, f"seed {seed}: received twice {twice}"
    lost, made_up = sent - arrived, arrived - sent
    assert not lost, f"seed {seed}: sent and never received {list(lost)}"
    assert not made_up, f"seed {seed}: received and never sent {list(made_up)}"
    assert not (arrived & unsent), f"seed {seed}: received though the send failed"
    assert sent + unsent == Counter(program.offered), f"seed {seed}: a send has no outcome"
    disorder = list(program.out_of_order())
    assert not disorder, f"seed {seed}: out of order {disorder}"
    return sum(arrived.values())


@pytest.mark.parametrize("first", range(0, PROGRAMS, AT_ONCE))
def test_every_value_sent_arrives_exactly_once_whatever_the_program(first):
    arrived = sum(check(seed) for seed in range(first, first + AT_ONCE))
    assert arrived > 5 * AT_ONCE, "these programs do too little to prove anything"


def test_the_random_programs_cancel_time_out_and_close_often_enough_to_count():
    unsent = 0
    for seed in range(100):
        program = Program(seed)
        with Kernel(clock=VirtualClock()) as kernel:
            kernel.run(program.main())
        unsent += len(program.unsent)
    assert unsent > 100


@pytest.mark.parametrize("seed", [3, 141, 592])
def test_a_program_runs_the_same_way_every_time(seed):
    logs = []
    for _ in range(2):
        program = Program(seed)
        with Kernel(clock=VirtualClock()) as kernel:
            kernel.run(program.main())
        indices = [program.channels.index(channel) for _, channel, _ in program.log]
        logs.append((indices, program.received, program.sent, program.unsent))
    assert logs[0] == logs[1]
