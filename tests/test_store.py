"""The cache's data: what is there, what it costs, when it ends, and who waits for it.

On a virtual clock: a key that lasts a day ends at once.
"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import examples.servers.cache.commands  # noqa: F401  (they are in the table then)
import microthreads
from examples.servers.cache.client import Client
from examples.servers.cache.pubsub import Hub, Mailbox, Topic
from examples.servers.cache.scans import Scans
from examples.servers.cache.store import (
    AT_ONCE,
    DEADLINE,
    KEY,
    Store,
    WrongTypeError,
    cost,
    cost_of_items,
)
from examples.servers.cache.table import perform
from examples.servers.turns import others_first
from microthreads import now, select, sleep, sleep_until, spawn


def stored():
    """A store, with its task."""
    store = Store()
    yield spawn(store.expire_keys(), daemon=True)
    return store


def test_a_key_has_ended_at_its_deadline_for_those_who_look(vrun):
    def main():
        store = Store()  # with no task that removes keys
        store.set(b"a", b"1")
        store.expire(b"a", now() + 10)
        yield sleep(9.9)
        assert store.find(b"a") == b"1"
        yield sleep(0.1)
        assert (store.find(b"a"), store.used, store.expired) == (None, 0, 1)

    vrun(main())


def test_keys_that_nobody_looks_for_are_removed_when_they_end(vrun):
    def main():
        store = yield from stored()
        for name, seconds in ((b"late", 86400), (b"soon", 10), (b"sooner", 5)):
            yield sleep(0)
            store.set(name, b"1")
            store.expire(name, now() + seconds)
        seen = []
        for seconds in (4, 2, 5, 86400):
            yield sleep(seconds)
            seen.append(sorted(store.data))
        assert seen == [[b"late", b"soon", b"sooner"], [b"late", b"soon"], [b"late"], []]
        assert (store.used, store.expired, store.deadlines) == (0, 3, {})

    vrun(main())


def test_a_deadline_that_was_moved_or_taken_back_does_not_hold(vrun):
    def main():
        store = yield from stored()
        for name in (b"moved", b"kept", b"new"):
            store.set(name, b"1")
            store.expire(name, now() + 5)
        store.expire(b"moved", now() + 10)
        store.expire(b"kept", None)
        store.remove(b"new")
        store.set(b"new", b"2")
        yield sleep(6)
        assert sorted(store.data) == [b"kept", b"moved", b"new"]
        yield sleep(6)
        assert sorted(store.data) == [b"kept", b"new"]

    vrun(main())


def test_a_value_set_after_the_end_does_not_inherit_the_deadline(vrun):
    def main():
        store = Store()
        store.set(b"a", b"1")
        store.expire(b"a", now() + 1)
        yield sleep(2)
        store.set(b"a", b"2")
        assert store.find(b"a") == b"2"

    vrun(main())


def test_many_keys_that_end_at_once_do_not_keep_others_waiting(vrun):
    def main():
        store = yield from stored()
        for index in range(5 * AT_ONCE):
            store.set(b"%d" % index, b"")
            store.expire(b"%d" % index, 5.0)
        yield sleep_until(5.0)
        seen = []
        while store.data:
            seen.append(len(store.data))
            yield others_first()
        assert len(seen) >= 4

    vrun(main())


def test_a_key_that_is_set_again_and_again_fills_no_memory(vrun):
    def main():
        store = yield from stored()
        for _ in range(10_000):
            store.set(b"a", b"1")
            store.expire(b"a", now() + 1000)
        assert len(store._heap) < 200
        yield sleep(1001)
        assert store.data == {}

    vrun(main())


def test_a_list_that_is_pushed_to_is_handed_to_who_has_waited_longest(vrun):
    def taker(store, name, log):
        log.append((name, (yield store.pop_when_there(b"l", True))[1]))

    def main():
        store, log = Store(), []
        for name in "abc":
            yield spawn(taker(store, name, log))
            yield sleep(1)
        assert store.push(b"l", [b"1", b"2"], left=False) == 2
        assert store.data == {}
        yield sleep(1)
        assert log == [("a", b"1"), ("b", b"2")]
        store.push(b"l", [b"3", b"4"], left=False)
        yield sleep(1)
        assert (log[2:], store.pop(b"l", True)) == ([("c", b"3")], b"4")
        assert (store.used, store._waiting) == (0, {})

    vrun(main())


def test_who_waits_at_several_lists_takes_one_item(vrun):
    def taker(store):
        return (yield select(*[store.pop_when_there(key, True) for key in (b"x", b"y")], sleep(9)))

    def main():
        store = Store()
        task = yield spawn(taker(store))
        yield sleep(1)
        store.push(b"y", [b"1"], left=True)
        store.push(b"x", [b"2"], left=True)
        assert (yield task) == (1, (b"y", b"1"))
        assert (store.data, store._waiting) == ({b"x": deque([b"2"])}, {})
        store.clear()
        assert (yield (yield spawn(taker(store)))) == (2, None)
        assert store._waiting == {}

    vrun(main())


def test_one_who_was_cancelled_takes_nothing(vrun):
    def waiting(store):
        yield store.pop_when_there(b"l", True)

    def main():
        store = Store()
        task = yield spawn(waiting(store))
        yield sleep(1)
        task.cancel()
        store.push(b"l", [b"1"], left=True)
        yield sleep(1)
        assert (store.pop(b"l", True), store._waiting) == (b"1", {})

    vrun(main())


def test_a_value_of_another_kind_is_refused():
    store = Store(clock=float)
    store.set(b"s", b"1")
    store.push(b"l", [b"1"], left=True)
    for key, kind in ((b"s", deque), (b"s", dict), (b"l", set)):
        with pytest.raises(WrongTypeError):
            store.collection(key, kind)
    with pytest.raises(WrongTypeError):
        store.string(b"l")
    assert store.collection(b"none", dict) is None


KEYS = st.sampled_from([b"a", b"bb", b"ccc"])
ITEMS = st.lists(st.binary(max_size=5), min_size=1, max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from("set push pop add remove wait".split()), KEYS, ITEMS))


@settings(max_examples=200)
@given(STEPS)
def test_what_is_used_is_the_cost_of_all_there_is(steps):
    time = [0.0]
    store = Store(clock=lambda: time[0])
    for step, key, items in steps:
        try:
            if step == "set":
                store.set(key, items[0])
                store.expire(key, time[0] + 2)
            elif step == "push":
                store.push(key, items, left=bool(items[0]))
            elif step == "pop":
                store.pop(key, left=True)
            elif step == "add":
                found, new = store.change(key, set), set(items)
                new -= found
                found |= new
                store.changed(key, cost_of_items(new))
            elif step == "remove":
                store.remove(key)
            else:
                time[0] += 1
                store.remove_expired()
        except WrongTypeError:
            pass
        values = store.data.items()
        of_values = sum(len(key) + KEY + cost(value) for key, value in values)
        assert store.used == of_values + DEADLINE * len(store.deadlines)
        assert store.deadlines.keys() <= store.data.keys()
        assert all(value or isinstance(value, bytes) for value in store.data.values())


def a_client(store, hub=None):
    """A client without a connection."""
    limits = {"max_memory": float("inf"), "max_value": 1000, "max_behind": 1000, "password": b""}
    cache = SimpleNamespace(
        store=store,
        hub=hub or Hub(),
        held=0,
        performed=0,
        scans=Scans(),
        clients={},
        visits=0,
        since=0.0,
        **limits,
    )
    cache.hold_no_more_than_allowed = lambda: None
    return Client(cache, SimpleNamespace(peername=("127.0.0.1", 1)), 1)


GIVEN = st.one_of(
    st.tuples(st.sampled_from([b"SADD", b"SREM", b"HDEL", b"LPUSH"]), KEYS, ITEMS),
    st.tuples(st.just(b"HSET"), KEYS, ITEMS.map(lambda items: items * 2)),
    st.tuples(st.sampled_from([b"SPOP", b"LPOP", b"RPOP"]), KEYS, st.sampled_from([[], [b"2"]])),
    st.tuples(st.sampled_from([b"APPEND", b"SET"]), KEYS, ITEMS.map(lambda items: items[:1])),
    st.tuples(st.sampled_from([b"DEL", b"INCR", b"PERSIST", b"GETDEL"]), KEYS, st.just([])),
    st.tuples(st.sampled_from([b"RENAME", b"RPOPLPUSH"]), KEYS, KEYS.map(lambda key: [key])),
    st.tuples(st.just(b"LTRIM"), KEYS, st.sampled_from([[b"1", b"-1"], [b"0", b"-2"]])),
    st.tuples(st.just(b"LREM"), KEYS, ITEMS.map(lambda items: [b"-1", items[0]])),
    st.tuples(st.just(b"LSET"), KEYS, ITEMS.map(lambda items: [b"0", items[0]])),
    st.tuples(st.just(b"SMOVE"), KEYS, st.tuples(KEYS, st.binary(max_size=5)).map(list)),
    st.tuples(st.just(b"HINCRBY"), KEYS, st.sampled_from([[b"f", b"1"], [b"f", b"1000"]])),
    st.tuples(st.just(b"SETRANGE"), KEYS, ITEMS.map(lambda items: [b"3", items[0]])),
    st.tuples(st.sampled_from([b"SETEX"]), KEYS, st.just([b"1", b"x"])),
    st.tuples(st.sampled_from([b"EXPIRE"]), KEYS, st.sampled_from([[b"1"], [b"-1"]])),
)


@settings(max_examples=200)
@given(st.lists(GIVEN, max_size=30))
def test_commands_account_for_all_that_they_change(commands):
    microthreads.run(accounted(commands))


async def accounted(commands):
    store = Store(clock=lambda: 0.0)
    client = a_client(store)
    for name, key, words in commands:
        reply = perform(client, [name, key, *words])
        assert reply.endswith(b"\r\n") and not reply.startswith(b"-ERR wrong number")
        of_values = sum(len(key) + KEY + cost(value) for key, value in store.data.items())
        assert store.used == of_values + DEADLINE * len(store.deadlines)
        assert all(value or isinstance(value, bytes) for value in store.data.values())


# ---- messages


class Reader:
    def __init__(self):
        self.topics, self.got = {}, []

    def deliver(self, message):
        self.got.append(message.split(b"\r\n")[-2])


def test_messages_come_to_channels_and_patterns():
    hub, reader, other = Hub(), Reader(), Reader()
    for topic in (Topic(b"news", False), Topic(b"n*", True), Topic(b"*s", True)):
        hub.subscribe(reader, topic)
    hub.subscribe(other, Topic(b"n*", True))
    assert hub.publish(b"news", b"1") == 4
    assert hub.publish(b"names", b"2") == 3
    assert hub.publish(b"none", b"3") == 2
    assert hub.publish(b"weather", b"4") == 0
    hub.unsubscribe(reader, Topic(b"n*", True))
    hub.unsubscribe(reader, Topic(b"n*", True))
    assert hub.publish(b"news", b"5") == 3
    assert reader.got == [b"1", b"1", b"1", b"2", b"2", b"3", b"5", b"5"]
    assert other.got == [b"1", b"2", b"3", b"5"]


def test_who_has_left_leaves_nothing_behind():
    hub, reader = Hub(), Reader()
    for name in (b"a", b"b", b"*"):
        hub.subscribe(reader, Topic(name, False))
        hub.subscribe(reader, Topic(name, True))
    hub.leave(reader)
    assert (reader.topics, hub.channels, hub.patterns, hub._matchers) == ({}, {}, {}, {})


def test_a_mailbox_that_is_full_takes_no_more_and_is_emptied():
    mailbox = Mailbox(300)
    assert (bool(mailbox), mailbox.filled.is_set()) == (False, False)
    assert [mailbox.put(b"*", b"x" * 36) for _ in range(3)] == [True] * 3
    assert mailbox.filled.is_set()
    assert mailbox.take() == (b"*" + b"x" * 36) * 3
    assert [mailbox.put(b"*", b"x" * 36) for _ in range(4)] == [True] * 3 + [False]
    assert (bool(mailbox), mailbox.filled.is_set()) == (False, False)


def test_mail_goes_out_before_the_reply_to_a_command_that_came_after_it(vrun):
    def main():
        yield
        client = a_client(Store())
        client.mail = Mailbox(1000)
        client.mail.put(b">", b"mail")
        assert list(client.answers(b"PING\r\n")) == [b">mail+PONG\r\n"]

    vrun(main())
