"""Channels: who meets whom, in what order, and what closing and cancelling leave behind."""

from __future__ import annotations

from collections import deque

import pytest
from helpers import receiving, vrun
from hypothesis import given, settings
from hypothesis import strategies as st

from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    current_task,
    join,
    move_on_after,
    sleep,
    spawn,
    timeout,
)

CAPACITIES = [0, 1, 3]


def outcome_of(routine, log, name):
    """Run `routine`, and log what comes of it."""
    try:
        log.append((name, (yield routine)))
    except ClosedError:
        log.append((name, "closed"))
    except Cancelled:
        log.append((name, "cancelled"))
        raise


def sending(channel, value):
    yield channel.send(value)
    return f"sent {value}"


# ---- rendezvous and buffer


def test_a_rendezvous_send_waits_for_its_receiver(vrun):
    log = []

    def sender(channel):
        log.append("sending")
        yield channel.send("hello")
        log.append("sent")

    def main():
        channel = Channel()
        yield spawn(sender(channel))
        yield sleep(1)
        log.append("receiving")
        log.append((yield channel.recv()))
        yield sleep(1)

    vrun(main())
    assert log == ["sending", "receiving", "sent", "hello"]


def test_a_receive_waits_for_its_sender(vrun):
    log = []

    def main():
        channel = Channel()
        yield spawn(outcome_of(receiving(channel), log, "receiver"))
        yield sleep(1)
        log.append("sending")
        log.append((yield channel.send("hello")))
        yield sleep(1)

    vrun(main())
    assert log == ["sending", ("receiver", "hello"), None]


def test_a_bounded_channel_takes_as_many_values_as_it_has_room_for(vrun):
    log = []

    def sender(channel):
        for number in range(4):
            yield channel.send(number)
            log.append(f"sent {number}")

    def main():
        channel = Channel(2)
        task = yield spawn(sender(channel))
        yield sleep(1)
        for _ in range(4):
            log.append((yield channel.recv()))
            yield sleep(1)
        yield join(task)

    vrun(main())
    assert log == ["sent 0", "sent 1", "sent 2", 0, "sent 3", 1, 2, 3]


def test_a_receive_lets_exactly_one_waiting_sender_into_the_buffer(vrun):
    def main():
        channel = Channel(1)
        yield channel.send("a")
        tasks = []
        for value in "bcd":
            tasks.append((yield spawn(sending(channel, value))))
        yield sleep(1)
        first = yield channel.recv()
        yield sleep(1)
        done = [task.done for task in tasks]
        rest = []
        for _ in range(3):
            rest.append((yield channel.recv()))
        return first, done, rest

    assert vrun(main()) == ("a", [True, False, False], ["b", "c", "d"])


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_values_come_out_in_the_order_they_went_in(vrun, capacity):
    def sender(channel):
        for number in range(20):
            yield channel.send(number)
        channel.close()

    def main():
        channel = Channel(capacity)
        yield spawn(sender(channel))
        got = []
        while True:
            try:
                got.append((yield channel.recv()))
            except ClosedError:
                return got

    assert vrun(main()) == list(range(20))


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_senders_are_served_in_the_order_they_came(vrun, capacity):
    def main():
        channel = Channel(capacity)
        for number in range(8):
            yield spawn(sending(channel, number))
        yield sleep(1)
        got = []
        for _ in range(8):
            got.append((yield channel.recv()))
        return got

    assert vrun(main()) == list(range(8))


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_receivers_are_served_in_the_order_they_came(vrun, capacity):
    log = []

    def main():
        channel = Channel(capacity)
        for number in range(5):
            yield spawn(outcome_of(receiving(channel), log, number))
        yield sleep(1)
        for value in "abcde":
            yield channel.send(value)

    vrun(main())
    assert log == list(enumerate("abcde"))


def test_a_newcomer_does_not_overtake_a_sender_that_waits(vrun):
    def main():
        channel = Channel(1)
        yield channel.send("buffered")
        yield spawn(sending(channel, "waiting"))
        yield sleep(1)
        first = channel.try_recv()
        newcomer = channel.try_send("newcomer")
        return first, newcomer, (yield channel.recv())

    assert vrun(main()) == ("buffered", False, "waiting")


def test_a_newcomer_does_not_take_what_a_woken_receiver_was_given(vrun):
    log = []

    def main():
        channel = Channel()
        yield spawn(outcome_of(receiving(channel), log, "waiting"))
        yield sleep(1)
        log.append(channel.try_send("value"))
        log.append(channel.try_recv("nothing"))

    vrun(main())
    assert log == [True, "nothing", ("waiting", "value")]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_no_sender_starves_beside_a_greedy_one(vrun, capacity):
    def greedy(channel, name):
        while True:
            yield channel.send(name)

    def main():
        channel = Channel(capacity)
        for name in "abc":
            yield spawn(greedy(channel, name), daemon=True)
        got = []
        for _ in range(90):
            got.append((yield channel.recv()))
        return got

    got = vrun(main())
    assert all(25 <= got.count(name) <= 35 for name in "abc"), got


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_no_receiver_starves_beside_a_greedy_one(vrun, capacity):
    counts = [0, 0, 0]

    def greedy(channel, number):
        while True:
            yield channel.recv()
            counts[number] += 1

    def main():
        channel = Channel(capacity)
        for number in range(3):
            yield spawn(greedy(channel, number), daemon=True)
        for value in range(90):
            yield channel.send(value)
        yield sleep(1)

    vrun(main())
    assert sum(counts) == 90
    assert all(25 <= count <= 35 for count in counts), counts


@pytest.mark.parametrize("call", ["send", "recv"])
def test_a_call_that_needs_no_waiting_is_a_schedule_point_all_the_same(vrun, call):
    log = []

    def other():
        for step in range(3):
            log.append(step)
            yield

    def main():
        channel = Channel(2)
        channel.try_send(1)
        yield spawn(other())
        log.append("calling")
        yield channel.send(1) if call == "send" else channel.recv()
        log.append("called")

    vrun(main())
    assert log == [0, "calling", 1, "called", 2]


@pytest.mark.parametrize("capacity", [0, 2])
@pytest.mark.parametrize("value", [None, 0, False, "", (), ClosedError, ValueError("sent")])
def test_any_value_passes_through_untouched(vrun, capacity, value):
    def main():
        channel = Channel(capacity)
        task = yield spawn(receiving(channel))
        yield sleep(1)
        yield channel.send(value)
        first = yield join(task)
        yield spawn(sending(channel, value))
        yield sleep(1)
        return first, (yield channel.recv())

    first, second = vrun(main())
    assert first is value
    assert second is value


def test_a_task_cannot_meet_itself_at_a_rendezvous(vrun):
    def main():
        channel = Channel()
        with move_on_after(1) as scope:
            yield channel.send("to myself")
        return scope.expired, channel.try_recv("nothing")

    assert vrun(main()) == (True, "nothing")


# ---- plain calls


def test_try_send_succeeds_only_where_no_waiting_is_needed(vrun):
    def main():
        rendezvous, bounded = Channel(), Channel(1)
        log = [rendezvous.try_send(1), bounded.try_send(2), bounded.try_send(3)]
        task = yield spawn(receiving(rendezvous))
        yield sleep(1)
        log.append(rendezvous.try_send(4))
        log.append((yield join(task)))
        return log

    assert vrun(main()) == [False, True, False, True, 4]


def test_try_recv_returns_its_default_when_nothing_is_there():
    channel = Channel(2)
    assert channel.try_recv() is None
    assert channel.try_recv("default") == "default"
    channel.try_send(None)
    assert channel.try_recv("default") is None


def test_try_recv_takes_from_a_sender_that_waits(vrun):
    def main():
        channel = Channel()
        task = yield spawn(sending(channel, "value"))
        yield sleep(1)
        return channel.try_recv(), (yield join(task))

    assert vrun(main()) == ("value", "sent value")


def test_try_recv_makes_room_for_a_sender_that_waits(vrun):
    def main():
        channel = Channel(1)
        channel.try_send("first")
        task = yield spawn(sending(channel, "second"))
        yield sleep(1)
        first = channel.try_recv()
        yield join(task)
        return first, len(channel), channel.try_recv()

    assert vrun(main()) == ("first", 1, "second")


def test_plain_calls_work_where_no_kernel_runs():
    channel = Channel(2)
    assert channel.try_send(1)
    channel.close()
    assert channel.try_recv() == 1
    with pytest.raises(ClosedError):
        channel.try_recv()
    with pytest.raises(ClosedError):
        channel.try_send(2)


def test_the_length_is_what_the_buffer_holds(vrun):
    def main():
        channel = Channel(2)
        lengths = [len(channel)]
        for value in range(3):
            yield spawn(sending(channel, value))
            yield sleep(1)
            lengths.append(len(channel))
        for _ in range(3):
            yield channel.recv()
            lengths.append(len(channel))
        return lengths

    assert vrun(main()) == [0, 1, 2, 2, 2, 1, 0]


def test_an_empty_channel_is_true():
    assert Channel()
    assert Channel(3)
    closed = Channel()
    closed.close()
    assert closed


def test_a_channel_shows_its_name_its_fill_and_whether_it_is_closed():
    channel = Channel(3, name="orders")
    channel.try_send(1)
    assert "orders" in str(channel)
    assert "1/3" in str(channel)
    assert "closed" not in str(channel)
    channel.close()
    assert "closed" in str(channel)
    assert "orders" in repr(channel)
    assert repr(channel).startswith("<Channel")


@pytest.mark.parametrize(
    ("capacity", "error"), [(-1, ValueError), ("2", TypeError), (1.5, TypeError), (None, TypeError)]
)
def test_a_capacity_is_an_integer_of_at_least_zero(capacity, error):
    with pytest.raises(error):
        Channel(capacity)


# ---- close


def test_a_closed_channel_is_drained_before_receivers_are_refused(vrun):
    log = []

    def main():
        channel = Channel(3)
        for value in (1, None, 3):
            yield channel.send(value)
        channel.close()
        for _ in range(4):
            yield outcome_of(receiving(channel), log, "recv")

    vrun(main())
    assert log == [("recv", 1), ("recv", None), ("recv", 3), ("recv", "closed")]


def test_closing_wakes_all_who_wait_to_receive_at_once(vrun):
    log = []

    def main():
        channel = Channel(2)
        for number in range(3):
            yield spawn(outcome_of(receiving(channel), log, number))
        yield sleep(1)
        channel.close()
        yield
        log.append("main")

    vrun(main())
    assert log == [(0, "closed"), (1, "closed"), (2, "closed"), "main"]


@pytest.mark.parametrize("capacity", [0, 1])
def test_closing_wakes_all_who_wait_to_send_and_takes_none_of_their_values(vrun, capacity):
    log = []

    def main():
        channel = Channel(capacity)
        for number in range(capacity):
            yield channel.send(f"buffered {number}")
        for number in range(3):
            yield spawn(outcome_of(sending(channel, number), log, number))
        yield sleep(1)
        channel.close()
        yield
        while len(channel):
            log.append((yield channel.recv()))
        yield outcome_of(receiving(channel), log, "main")

    vrun(main())
    buffered = [f"buffered {number}" for number in range(capacity)]
    closed = [(0, "closed"), (1, "closed"), (2, "closed")]
    assert log == [*closed, *buffered, ("main", "closed")]


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_sending_on_a_closed_channel_fails_and_sends_nothing(vrun, capacity):
    def main():
        channel = Channel(capacity)
        channel.close()
        with pytest.raises(ClosedError):
            yield channel.send(1)
        with pytest.raises(ClosedError):
            channel.try_send(1)
        return len(channel)

    assert vrun(main()) == 0


def test_a_value_already_handed_over_survives_the_close(vrun):
    log = []

    def main():
        channel = Channel()
        yield spawn(outcome_of(receiving(channel), log, "receiver"))
        yield sleep(1)
        channel.try_send("value")
        channel.close()

    vrun(main())
    assert log == [("receiver", "value")]


def test_closing_twice_does_no_harm():
    channel = Channel()
    channel.close()
    channel.close()
    assert channel.closed


def test_closing_is_a_plain_call_that_finally_may_make(vrun):
    def producer(channel):
        try:
            yield channel.send(1)
            yield sleep(100)
        finally:
            channel.close()

    def main():
        channel = Channel()
        task = yield spawn(producer(channel))
        got = [(yield channel.recv())]
        task.cancel()
        with pytest.raises(ClosedError):
            yield channel.recv()
        return got

    assert vrun(main()) == [1]


def test_async_for_receives_until_the_channel_is_closed(vrun):
    async def sender(channel):
        for value in (0, None, "last"):
            await channel.send(value)
        channel.close()

    async def main():
        channel = Channel(1)
        await spawn(sender(channel))
        return [value async for value in channel]

    assert vrun(main()) == [0, None, "last"]


def test_async_for_drains_a_channel_that_was_closed_before(vrun):
    async def main():
        channel = Channel(2)
        channel.try_send(1)
        channel.try_send(2)
        channel.close()
        return [value async for value in channel]

    assert vrun(main()) == [1, 2]


def test_an_async_iteration_that_is_cancelled_leaves_the_values(vrun):
    async def reader(channel, got):
        async for value in channel:
            got.append(value)

    async def main():
        channel, got = Channel(), []
        task = await spawn(reader(channel, got))
        await channel.send(1)
        await sleep(1)
        task.cancel()
        await sleep(1)
        return got, channel.try_send(2)

    assert vrun(main()) == ([1], False)


# ---- cancel and timeout


def test_a_cancelled_receiver_consumes_no_value(vrun):
    log = []

    def main():
        channel = Channel()
        first = yield spawn(outcome_of(receiving(channel), log, "first"))
        yield spawn(outcome_of(receiving(channel), log, "second"))
        yield sleep(1)
        first.cancel()
        log.append(channel.try_send("value"))

    vrun(main())
    assert log == [True, ("first", "cancelled"), ("second", "value")]


def test_a_cancelled_sender_sends_no_value(vrun):
    log = []

    def main():
        channel = Channel()
        task = yield spawn(outcome_of(sending(channel, 1), log, "first"))
        yield spawn(outcome_of(sending(channel, 2), log, "second"))
        yield sleep(1)
        task.cancel()
        log.append((yield channel.recv()))
        yield sleep(1)
        log.append(channel.try_recv("nothing"))

    vrun(main())
    assert log == [("first", "cancelled"), ("second", "sent 2"), 2, "nothing"]


def test_a_receive_that_succeeded_is_delivered_before_a_later_cancel(vrun):
    log = []

    def receiver(channel):
        log.append((yield channel.recv()))
        try:
            yield
        except Cancelled:
            log.append("cancelled at the next yield")
            raise

    def main():
        channel = Channel()
        task = yield spawn(receiver(channel))
        yield sleep(1)
        channel.try_send("value")
        task.cancel()

    vrun(main())
    assert log == ["value", "cancelled at the next yield"]


def test_a_send_that_succeeded_returns_before_a_later_cancel_is_raised(vrun):
    log = []

    def sender(channel):
        yield channel.send("value")
        log.append("sent")
        try:
            yield sleep(1)
        except Cancelled:
            log.append("cancelled")
            raise

    def main():
        channel = Channel()
        task = yield spawn(sender(channel))
        yield sleep(1)
        log.append(channel.try_recv())
        task.cancel()

    vrun(main())
    assert log == ["value", "sent", "cancelled"]


def test_a_cancel_that_came_first_leaves_the_value_to_its_sender(vrun):
    def main():
        channel = Channel()
        task = yield spawn(receiving(channel))
        yield sleep(1)
        task.cancel()
        return channel.try_send("value")

    assert vrun(main()) is False


def test_a_task_cancelled_while_it_is_ready_neither_sends_nor_receives(vrun):
    log = []

    def busy(call):
        yield
        log.append((yield call))

    def main():
        channel = Channel(1)
        sender = yield spawn(busy(channel.send("value")))
        sender.cancel()
        yield sleep(1)
        log.append(len(channel))
        channel.try_send("mine")
        receiver = yield spawn(busy(channel.recv()))
        receiver.cancel()
        yield sleep(1)
        log.append(len(channel))

    vrun(main())
    assert log == [0, 1]


def test_a_timeout_in_a_receive_takes_nothing(vrun):
    def main():
        channel = Channel()
        with pytest.raises(TimeoutError):
            with timeout(1):
                yield channel.recv()
        yield spawn(sending(channel, "late"))
        yield sleep(1)
        return (yield channel.recv())

    assert vrun(main()) == "late"


def test_a_timeout_in_a_send_sends_nothing(vrun):
    def main():
        channel = Channel()
        with move_on_after(1) as scope:
            yield channel.send("late")
        return scope.expired, channel.try_recv("nothing")

    assert vrun(main()) == (True, "nothing")


@pytest.mark.parametrize("sender_first", [True, False])
def test_a_send_and_a_timeout_in_one_tick_lose_nothing(vrun, sender_first):
    def sender(channel):
        yield sleep(1)
        return channel.try_send("value")

    def receiver(channel):
        with move_on_after(1):
            return (yield channel.recv())

    def main():
        channel = Channel()
        routines = [sender(channel), receiver(channel)]
        tasks = []
        for routine in routines if sender_first else routines[::-1]:
            tasks.append((yield spawn(routine)))
        outcomes = []
        for task in tasks:
            outcomes.append((yield join(task)))
        return outcomes if sender_first else outcomes[::-1]

    assert vrun(main()) in ([True, "value"], [False, None])


def test_a_full_buffer_left_by_a_cancelled_sender_serves_the_next_one(vrun):
    def main():
        channel = Channel(1)
        channel.try_send("a")
        tasks = []
        for value in "bcd":
            tasks.append((yield spawn(sending(channel, value))))
        yield sleep(1)
        tasks[0].cancel()
        tasks[2].cancel()
        got = [(yield channel.recv()), (yield channel.recv())]
        yield sleep(1)
        return got, channel.try_recv("nothing")

    assert vrun(main()) == (["a", "c"], "nothing")


def test_one_call_object_can_be_made_again_and_again(vrun):
    def main():
        channel = Channel(5)
        send, recv = channel.send("again"), channel.recv()
        for _ in range(3):
            yield send
        return [(yield recv), (yield recv), (yield recv)]

    assert vrun(main()) == ["again"] * 3


def test_a_parked_task_shows_what_it_waits_on(vrun):
    def main():
        task = yield spawn(receiving(Channel(name="orders")))
        yield sleep(1)
        shown = str(task.waiting_on)
        task.cancel()
        return shown

    shown = vrun(main())
    assert "recv" in shown
    assert "orders" in shown


# ---- against a model

STEPS = st.lists(st.sampled_from(["send", "recv", "close", "len"]), max_size=40)


@given(capacity=st.integers(1, 4), steps=STEPS)
@settings(max_examples=200, deadline=None)
def test_plain_calls_behave_like_a_bounded_deque(capacity, steps):
    channel, model, closed = Channel(capacity), deque(), False
    for number, step in enumerate(steps):
        if step == "close":
            channel.close()
            closed = True
        elif step == "len":
            assert len(channel) == len(model)
        elif step == "send" and closed:
            with pytest.raises(ClosedError):
                channel.try_send(number)
        elif step == "send":
            assert channel.try_send(number) is (len(model) < capacity)
            if len(model) < capacity:
                model.append(number)
        elif model:
            assert channel.try_recv("nothing") == model.popleft()
        elif closed:
            with pytest.raises(ClosedError):
                channel.try_recv()
        else:
            assert channel.try_recv("nothing") == "nothing"


PAUSES = st.lists(st.sampled_from([None, 0, 1, 2]), max_size=15)


@given(
    capacity=st.integers(0, 3), producers=st.lists(PAUSES, max_size=4), consumer=PAUSES.map(tuple)
)
@settings(max_examples=150, deadline=None)
def test_producers_and_a_consumer_behave_like_a_deque(capacity, producers, consumer):
    model, got = deque(), []

    def pause(seconds):
        if seconds is not None:
            yield sleep(seconds)

    def producer(channel, pauses):
        for number, seconds in enumerate(pauses):
            yield pause(seconds)
            value = (current_task().id, number)
            yield channel.send(value)
            model.append(value)

    def main():
        channel, tasks = Channel(capacity), []
        for pauses in producers:
            tasks.append((yield spawn(producer(channel, pauses))))
        for number in range(sum(map(len, producers))):
            yield pause(consumer[number] if number < len(consumer) else None)
            got.append((yield channel.recv()))
            assert len(channel) <= capacity
        for task in tasks:
            yield join(task)
        return [task.id for task in tasks]

    ids = vrun(main())
    assert sorted(got) == sorted(model)
    for task_id, pauses in zip(ids, producers, strict=True):
        assert [n for owner, n in got if owner == task_id] == list(range(len(pauses)))


def test_a_call_that_another_task_waits_in_is_refused_and_the_other_is_served(vrun):
    def waiting(call):
        return (yield call)

    def main():
        channel = Channel()
        call = channel.recv()
        first = yield spawn(waiting(call))
        second = yield spawn(waiting(call))
        with pytest.raises(RuntimeError):
            yield join(second)
        channel.try_send("value")
        return (yield join(first)), channel.try_send("nobody waits")

    assert vrun(main()) == ("value", False)
