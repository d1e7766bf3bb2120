"""Turns: who has much to do gives way, and what has come for others is looked at."""

from __future__ import annotations

from contextlib import ExitStack

from helpers import raw_pair

from examples.servers.turns import Turns, others_first
from microthreads import run, spawn


def test_a_turn_is_over_after_so_much_work_and_then_the_next_one_begins():
    turns = Turns(most=4)
    assert [turns.over() for _ in range(8)] == [False, False, False, True] * 2
    assert [turns.over(work) for work in (3, 1, 100, 1)] == [False, True, True, False]


def test_work_that_was_counted_before_makes_a_turn_shorter():
    turns = Turns(most=4)
    turns.count(3)
    assert [turns.over() for _ in range(4)] == [True, False, False, False]
    turns.count(100)
    assert turns.over(0)


def test_who_gives_way_lets_in_what_has_just_come_for_others():
    def reader(sock, log):
        log.append((yield sock.recv()))

    def main():
        log = []
        with ExitStack() as stack:
            near, far = raw_pair(stack)
            yield spawn(reader(near, log))
            yield
            for turn in range(3):
                log.append(turn)
                if turn == 1:
                    far.send(b"in time")
                yield others_first()
        return log

    assert run(main()) == [0, 1, b"in time", 2]
