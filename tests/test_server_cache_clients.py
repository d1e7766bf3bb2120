"""The cache and its clients: greedy, slow, hostile and forgetful ones, and those that are none.

Nobody waits for another one's packet, all that is kept has a limit, and who may not give
commands gives none. What the commands do is compared with Redis in
test_server_cache_beside_redis.py.
"""

from __future__ import annotations

import logging
import re
import time

import pytest
from helpers import python
from programs import Server
from test_server_cache import MEBIBYTE, Client, command, info
from test_store import a_client

import examples.servers.cache.commands  # noqa: F401  (they are in the table then)
from examples.servers.cache.globs import LONGEST, PatternTooLongError, matcher
from examples.servers.cache.replies import THREE, TWO, Long
from examples.servers.cache.resp import Parser
from examples.servers.cache.scans import PAGE, WALKS, Scans
from examples.servers.cache.store import Store
from examples.servers.cache.table import perform
from examples.servers.common import Records
from examples.servers.turns import others_first
from microthreads import run, spawn


@pytest.fixture(scope="module")
def shared():
    with Server("cache") as server:
        yield server
        server.stop()


@pytest.fixture
def server(shared):
    with Client(shared) as client:
        client.ask("FLUSHALL")
    return shared


def settled(server, *clients):
    """All of these have been answered, so that the server waits for each."""
    for client in clients:
        assert client.ask("PING") == "PONG"


# ---- turns


@pytest.mark.parametrize(
    "burst",
    [
        b"INCR n\r\n" * 8000,
        b"\n" * 60_000 + b"SET n late\r\n",
        b"PUBLISH none x\r\n" * 3000 + b"SET n late\r\n",
    ],
    ids=["commands", "empty lines", "PUBLISH"],
)
def test_one_packet_of_a_client_is_not_everybodys_wait(server, burst):
    with Client(server) as busy, Client(server) as other:
        settled(server, busy, other)
        with server.stopped():
            busy.socket.sendall(burst)
            other.send("GET", "n")
        assert other.reply() not in ("8000", "late")


def turns_of(client, *words):
    """How often others have their turn while a command is performed, and what is answered."""
    answers = list(client.answers(command(*words)))
    return answers.count(b""), b"".join(answers)


@pytest.mark.parametrize(
    ("line", "times", "turns"),
    [
        (b"\n", 60_000, 900),
        (b"a\n", 30_000, 450),
        (b"INFO\r\n", 8000, 1000),
        (b"PING\r\n", 9000, 130),
    ],
)
def test_many_lines_in_a_packet_are_many_turns(line, times, turns):
    async def main():
        answers = list(a_client(Store()).answers(line * times))
        assert answers.count(b"") >= turns

    run(main())


LONG = 20_000


def filled():
    """A client, and data that take long to go through."""
    client = a_client(Store())
    numbers = [b"%d" % index for index in range(LONG)]
    for verb, key in ((b"RPUSH", b"l"), (b"SADD", b"s")):
        perform(client, [verb, key, *numbers])
    perform(client, [b"HSET", b"h", *numbers, *numbers])
    perform(client, [b"MSET", *[word for number in numbers for word in (number, b"")]])
    return client


@pytest.mark.parametrize(
    "words",
    [
        ("KEYS", "*7*"),
        ("KEYS", "nothing"),
        ("LRANGE", "l", "0", "-1"),
        ("SMEMBERS", "s"),
        ("SUNION", "s", "l2"),
        ("HGETALL", "h"),
        ("HKEYS", "h"),
        ("LPOP", "l", str(LONG)),
        ("SPOP", "s", str(LONG)),
        ("MGET", *map(str, range(LONG))),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_others_have_their_turn_while_a_long_reply_is_made(words):
    async def main():
        turns, answer = turns_of(filled(), *words)
        assert turns >= LONG // 1000
        assert answer.endswith(b"\r\n")

    run(main())


def test_a_long_reply_says_what_was_there_when_it_was_asked_for():
    async def main():
        client = filled()
        pieces = client.answers(command("LRANGE", "l", "0", "-1"))
        first = next(piece for piece in pieces if not isinstance(piece, str))
        perform(client, [b"DEL", b"l"])
        whole = first + b"".join(pieces)
        assert whole == b"*%d\r\n" % LONG + b"".join(
            b"$%d\r\n%d\r\n" % (len(str(index)), index) for index in range(LONG)
        )

    run(main())


def test_what_is_large_is_freed_bit_by_bit_and_costs_nothing_from_the_beginning(vrun):
    def main():
        store = filled().store
        yield spawn(store.garbage.free(), daemon=True)
        gone = [store.data[key] for key in (b"l", b"s", b"h")]
        for key in (b"l", b"s", b"h"):
            store.remove(key)
        everything = store.data
        store.clear()
        assert (store.used, store.data, len(everything)) == (0, {}, LONG)
        seen = []
        while everything or any(gone):
            seen.append(len(everything) + sum(map(len, gone)))
            yield others_first()
        assert len(seen) > 3 * LONG // 1000

    vrun(main())


def test_lists_to_wait_for_subscriptions_and_keys_to_watch_have_a_limit():
    async def main():
        client = a_client(Store())
        many = [b"%d" % index for index in range(10_001)]
        for words in ([b"BLPOP", *many, b"0"], [b"SUBSCRIBE", *many], [b"WATCH", *many]):
            assert perform(client, words).startswith(b"-ERR a client")
        assert (client.topics, client.store._watched) == ({}, {})

    run(main())


def test_a_value_that_is_copied_at_each_command_counts_for_many_commands():
    async def main():
        client = a_client(Store())
        client.cache.max_value = 50 * MEBIBYTE
        perform(client, [b"SET", b"a", bytes(8 * MEBIBYTE)])
        assert turns_of(client, "APPEND", "a", "x")[0] == 1
        assert turns_of(client, "SETRANGE", "a", "1", "x")[0] == 1

    run(main())


# ---- clients that do not read


def test_a_client_that_sends_all_before_it_reads_is_answered(server):
    one, count = command("ECHO", "v" * 10_000), 2000
    with Client(server) as client:
        client.socket.sendall(one * count)
        assert {client.reply() for _ in range(count)} == {"v" * 10_000}
    server.settles(lambda: info(server, "clients_held_bytes"), "0")


def test_a_client_that_sends_on_and_on_and_does_not_read_is_cut_off_with_one_line():
    with Server("cache", "--max-behind", "1m") as server:
        with Client(server, room=4096) as deaf, Client(server) as other:
            with pytest.raises(OSError):
                for _ in range(100):
                    deaf.socket.sendall(command("ECHO", "x" * 100_000) * 10)
            settled(server, other)
            lines = server.stderr().splitlines()
            assert len(lines) == 1
            assert re.match(r"WARNING client 1 \(127.0.0.1:\d+\) was cut off: it sends", lines[0])


def test_one_long_value_asked_for_a_thousand_times_takes_no_more_memory(server):
    with Client(server, room=4096) as deaf, Client(server) as other:
        other.ask("SET", "a", "x" * MEBIBYTE)
        before = server.memory()
        deaf.send("MGET", *["a"] * 1000)
        settled(server, other)
        assert server.memory() < before + 20 * MEBIBYTE
        assert deaf.file.readline() == b"*1000\r\n"
        assert [deaf.reply() for _ in range(3)] == ["x" * MEBIBYTE] * 3


# ---- memory


def test_what_was_sent_of_commands_that_never_end_has_a_limit_and_the_largest_is_cut_off():
    with Server("cache", "--max-memory", "16m") as server:
        before = server.memory()
        head, piece = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$60000000\r\n", b"x" * MEBIBYTE
        with Client(server) as other:
            clients = [Client(server) for _ in range(4)]
            for client in clients:
                with pytest.raises(OSError):
                    client.socket.sendall(head)
                    for _ in range(40):
                        client.socket.sendall(piece)
                        time.sleep(0.001)
            assert server.memory() < before + 48 * MEBIBYTE
            assert other.ask("SET", "a", "1") == "OK"
            lines = server.stderr().splitlines()
            assert len(lines) == 4 and all("memory is full" in line for line in lines)
            for client in clients:
                client.__exit__()
            server.settles(lambda: info(server, "clients_held_bytes"), "0")


def test_what_is_sent_counts_as_memory_while_it_is_not_complete(server):
    with Client(server) as client:
        client.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n" + b"x" * 500_000)
        server.settles(lambda: int(info(server, "used_memory")) > 500_000, True)
        client.socket.sendall(b"x" * 500_000 + b"\r\n")
        assert client.reply() == "OK"
        server.settles(lambda: info(server, "clients_held_bytes"), "0")


def test_a_command_that_comes_when_memory_is_full_is_answered():
    with Server("cache", "--max-memory", "4m") as server, Client(server) as client:
        index, reply = 0, "OK"
        while reply == "OK":
            index, reply = index + 1, client.ask("SET", index, "x" * 100_000)
        assert client.ask("SET", "a", "x" * 300_000).startswith("-OOM ")
        assert client.ask("SUBSCRIBE", "a").startswith("-OOM ")
        assert client.ask("GET", "1") == "x" * 100_000
        server.stop()


def test_commands_that_wait_for_exec_and_topics_count_as_memory():
    async def main():
        client = a_client(Store())
        for data in (b"MULTI\r\n", command("SET", "a", "x" * 1000), b"PING\r\n"):
            list(client.answers(data))
        assert 1000 < client.cache.held < 3000
        list(client.answers(b"DISCARD\r\n"))
        list(client.answers(b"PING\r\n"))
        assert client.cache.held == 0
        list(client.answers(b"SUBSCRIBE a b c\r\n"))
        list(client.answers(b"PING\r\n"))
        assert client.cache.held > 1000
        client.gone()
        assert client.cache.held == 0

    run(main())


# ---- who may give commands


@pytest.mark.parametrize("verb", [b"POST", b"post", b"GET"])
def test_what_a_web_page_can_send_gives_no_command(verb):
    with Server("cache") as server:
        with Client(server) as page:
            page.socket.sendall(
                verb + b" / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET owned yes\r\nFLUSHALL\r\n"
            )
            answer = page.socket.makefile("rb").read()
        assert b"OK" not in answer
        with Client(server) as client:
            assert client.ask("EXISTS", "owned") == 0
        assert re.fullmatch(
            r"WARNING client 1 \(127.0.0.1:\d+\) was cut off: it speaks HTTP.*\n", server.stderr()
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "password"
    path.write_text("secret word\n")
    with Server("cache", "--password-file", str(path)) as server:
        yield server
        server.stop()


def test_who_gives_no_password_or_a_wrong_one_gives_no_command(guarded):
    with Client(guarded) as client:
        no = "-NOAUTH Authentication required."
        assert [client.ask(*words) for words in (("GET", "a"), ("PING",), ("INFO",))] == [no] * 3
        assert client.ask("HELLO", "3").startswith("-NOAUTH HELLO must be called with")
        wrong = "-WRONGPASS invalid username-password pair or user is disabled."
        assert client.ask("AUTH", "secret") == wrong
        assert client.ask("AUTH", "somebody", "secret word") == wrong
        assert client.ask("HELLO", "2", "AUTH", "default", "x") == wrong
        assert client.ask("PING") == no
        assert client.ask("AUTH", "secret word") == "OK"
        assert client.ask("PING") == "PONG"
        assert (client.ask("RESET"), client.ask("PING")) == ("RESET", no)
        assert client.ask("AUTH", "default", "secret word") == "OK"
        assert client.ask("SET", "a", "x" * 100_000) == "OK"


def test_the_password_may_come_with_hello_and_with_large_commands_behind_it(guarded):
    with Client(guarded) as client:
        client.socket.sendall(
            command("HELLO", "2", "AUTH", "default", "secret word", "SETNAME", "me")
            + command("SET", "a", "x" * 100_000)
            + command("MGET", *["a"] * 20)
        )
        assert client.reply()[:2] == ["server", "redis"]
        assert (client.reply(), len(client.reply())) == ("OK", 20)


def test_who_has_given_no_password_may_send_little(guarded):
    for data, problem in (
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"),
    ):
        with Client(guarded) as client:
            client.socket.sendall(data)
            assert client.reply() == f"-ERR Protocol error: {problem}"
            assert client.socket.recv(1) == b""


def test_the_password_may_stand_in_the_environment_and_is_not_to_be_empty(tmp_path):
    with Server("cache", CACHE_PASSWORD="x") as server, Client(server) as client:
        assert client.ask("PING").startswith("-NOAUTH")
        assert client.ask("AUTH", "x") == "OK"
    (tmp_path / "empty").write_text("\n")
    for path, told in (("empty", "no password"), ("none", "No such file")):
        refused = python("-m", "examples.servers.cache", "--password-file", str(tmp_path / path))
        assert refused.returncode == 2 and told in refused.stderr


def test_without_a_password_auth_is_an_error(server):
    with Client(server) as client:
        assert client.ask("AUTH", "x").startswith("-ERR AUTH <password> called without any")


# ---- names that forge nothing


def test_no_bytes_of_a_client_forge_a_line(server):
    evil = b"x\nid=999 addr=6.6.6.6:1 age=0 cmd=get name=admin\r\n+OK"
    with Client(server) as client, Client(server) as other:
        reply = client.ask(evil, evil)
        assert reply.startswith("-ERR unknown command 'x id=999") and "\n" not in reply
        assert client.ask("CLIENT", "SETNAME", evil).startswith("-ERR Client names cannot")
        assert client.ask("HELLO", "2", "SETNAME", evil).startswith("-ERR Client names cannot")
        assert client.ask("CLIENT", evil).startswith("-ERR unknown subcommand")
        assert client.ask(evil).startswith("-ERR unknown command")
        lines = other.ask("CLIENT", "LIST").splitlines()
        assert [line.split()[-2] for line in lines if line] == ["cmd=NULL", "cmd=client"]


def test_the_name_of_a_clients_socket_forges_no_line(caplog):
    async def main():
        client = a_client(Store())
        client.peer = "\0evil\nid=9 forged\x1b[2J"
        client.stream.abort = lambda: None
        line = perform(client, [b"CLIENT", b"INFO"]).split(b"\r\n", 1)[1]
        assert (line.count(b"\n"), b"\x1b" in line) == (2, False)
        client.cut("of a test")
        assert "\n" not in Records("%(message)s").format(caplog.records[-1])

    with caplog.at_level(logging.WARNING):
        run(main())


# ---- patterns


def test_a_pattern_has_a_limit(server):
    with pytest.raises(PatternTooLongError):
        matcher(b"a" * (LONGEST + 1))
    with Client(server) as client:
        too_long = f"-ERR a pattern has {LONGEST} bytes at most"
        for words in (
            ("KEYS", "a" * 400_000),
            ("SCAN", "0", "MATCH", "a" * 400_000),
            ("PSUBSCRIBE", "a" * 400_000),
            ("CONFIG", "GET", "a" * 400_000),
            ("PUBSUB", "CHANNELS", "a" * 400_000),
        ):
            assert client.ask(*words) == too_long
        assert client.ask("PSUBSCRIBE", *map(str, range(65))) == (
            "-ERR a client has 64 patterns at most"
        )
        assert client.ask("PUBLISH", "a" * 1025, "x") == "-ERR a channel has 1024 bytes at most"
        assert client.ask("SET", "a" * 8193, "x") == "-ERR a key has 8192 bytes at most"
        assert client.ask("MSET", "b", "x", "a" * 8193, "x").startswith("-ERR a key has")
        assert client.ask("EXISTS", "b") == 0


def cost_of_matching(pattern, name):
    began = time.process_time()
    assert not matcher(pattern).fullmatch(name)
    return time.process_time() - began


@pytest.mark.parametrize(
    "pattern", [b"a*" * 127 + b"b", b"*" + b"a" * 254 + b"b", b"*?" * 127 + b"b"]
)
def test_the_worst_pattern_and_the_longest_key_are_no_wait(pattern):
    assert min(cost_of_matching(pattern, b"a" * 8192) for _ in range(5)) < 0.1


# ---- SCAN


def walk(client, *options):
    cursor, found, pages = "0", [], 0
    while pages == 0 or cursor != "0":
        cursor, names = client.ask("SCAN", cursor, *options)
        found += names
        pages += 1
    return found, pages


def test_scan_comes_to_all_keys_that_are_there_all_the_time_whatever_happens(server):
    with Client(server) as client:
        client.ask("MSET", *[word for index in range(500) for word in (f"k{index}", "x")])
        assert client.ask("SCAN", "0")[1] == [f"k{index}" for index in range(10)]
        cursor, found = "0", []
        for index in range(1000):
            cursor, names = client.ask("SCAN", cursor, "COUNT", "7")
            found += names
            client.ask("DEL", f"k{2 * index}")
            client.ask("SET", f"new{index}", "x")
            if cursor == "0":
                break
        assert {f"k{index}" for index in range(1, 500, 2)} <= set(found)
        assert len(found) == len(set(found))


def test_scan_takes_patterns_and_kinds_and_a_cursor_that_is_none_is_refused(server):
    with Client(server) as client:
        client.ask("MSET", *[word for index in range(50) for word in (f"k{index}", "x")])
        client.ask("RPUSH", "list", "x")
        assert walk(client, "TYPE", "list") == (["list"], 6)
        assert walk(client, "MATCH", "k?", "COUNT", "100") == ([f"k{i}" for i in range(10)], 1)
        assert client.ask("SCAN", "12345") == "-ERR invalid cursor"
        assert client.ask("SCAN", "x") == "-ERR invalid cursor"
        assert client.ask("SCAN", "0", "COUNT", "0") == "-ERR syntax error"


def test_walks_that_nobody_goes_on_with_are_forgotten():
    scans, names = Scans(), list(range(3 * PAGE))
    begun = [scans.page(None, 0, 5, lambda: names)[1] for _ in range(WALKS + 1)]
    with pytest.raises(LookupError):
        scans.page(None, begun[0], 5, list)
    with pytest.raises(LookupError):
        scans.page(b"another", begun[1], 5, list)
    assert scans.page(None, begun[2], 5, list)[0] == [5, 6, 7, 8, 9]
    assert len(scans.page(None, begun[3], 10**9, list)[0]) == PAGE


# ---- transactions


def test_a_transaction_is_performed_in_one_go_or_not_at_all(server):
    with Client(server) as client, Client(server) as other:
        assert client.ask("MULTI") == "OK"
        assert [client.ask("INCR", "n") for _ in range(3)] == ["QUEUED"] * 3
        assert other.ask("GET", "n") is None
        assert client.ask("LPUSH", "n", "x") == "QUEUED"
        assert client.ask("BLPOP", "none", "0") == "QUEUED"
        wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value"
        assert client.ask("EXEC") == [1, 2, 3, wrong, None]
        assert (client.ask("MULTI"), client.ask("SET", "n", "x")) == ("OK", "QUEUED")
        assert client.ask("SET", "n").startswith("-ERR wrong number")
        assert client.ask("SUBSCRIBE", "n") == "-ERR Command not allowed inside a transaction"
        assert client.ask("EXEC").startswith("-EXECABORT")
        assert client.ask("GET", "n") == "3"


@pytest.mark.parametrize(
    "change",
    [
        ("SET", "a", "1"), ("DEL", "a"), ("EXPIRE", "a", "100"), ("APPEND", "a", "x"),
        ("RENAME", "a", "b"), ("RENAME", "b", "a"), ("FLUSHALL",), ("SADD", "s", "new"),
        ("RPUSH", "l", "x"), ("LPOP", "l"), ("HSET", "h", "f", "v"), ("LTRIM", "l", "0", "0"),
        ("GETEX", "a", "EX", "10"), ("RPOPLPUSH", "l", "l"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_exec_does_nothing_if_a_key_that_is_watched_has_changed(server, change):
    with Client(server) as client, Client(server) as other:
        other.ask("MSET", "a", "1", "b", "1")
        other.ask("RPUSH", "l", "1", "2")
        other.ask("SADD", "s", "m")
        other.ask("HSET", "h", "f", "v")
        assert client.ask("WATCH", "a", "l", "s", "h") == "OK"
        other.ask("SADD", "s", "m")
        other.ask("GET", "a")
        client.ask("MULTI")
        client.ask("SET", "c", "1")
        assert client.ask("EXEC") == ["OK"]
        client.ask("WATCH", "a", "l", "s", "h")
        other.ask(*change)
        client.ask("MULTI")
        client.ask("SET", "c", "2")
        assert (client.ask("EXEC"), other.ask("GET", "c") in ("1", None)) == (None, True)
        client.ask("WATCH", "a")
        client.ask("UNWATCH")
        other.ask("SET", "a", "2")
        client.ask("MULTI")
        assert client.ask("EXEC") == []


def test_a_key_that_ends_by_itself_has_changed_for_who_watches_it(server):
    with Client(server) as client, Client(server) as other:
        other.ask("SET", "a", "1", "PX", "300")
        client.ask("WATCH", "a")
        server.settles(lambda: other.ask("EXISTS", "a"), 0)
        client.ask("MULTI")
        assert client.ask("EXEC") is None


def test_who_has_gone_watches_nothing():
    async def main():
        client = a_client(Store())
        list(client.answers(command("WATCH", "a", "b")))
        client.gone()
        assert client.store._watched == {}

    run(main())


def test_a_transaction_has_a_limit_and_so_have_its_replies():
    async def main():
        client = a_client(Store())
        data = b"MULTI\r\n" + b"PING\r\n" * 20_001 + b"EXEC\r\n"
        answer = b"".join(client.answers(data))
        assert answer.count(b"QUEUED") == 20_000
        assert b"-ERR too many commands in a transaction" in answer
        assert answer.endswith(b"-EXECABORT Transaction discarded because of previous errors.\r\n")
        perform(client, [b"SET", b"a", b"x" * 900])
        answer = b"".join(client.answers(b"MULTI\r\n" + b"GET a\r\n" * 5 + b"INCR n\r\nEXEC\r\n"))
        assert answer.count(b"x" * 900) == 2
        assert answer.count(b"-ERR the reply to the transaction would be too large") == 3
        assert answer.endswith(b":1\r\n")

    run(main())


# ---- the newer version of the protocol


def raw(client, *words):
    """The reply's bytes, as far as a PING after it."""
    client.socket.sendall(command(*words) + command("ECHO", "end of it"))
    data = b""
    while not data.endswith(b"$9\r\nend of it\r\n"):
        data += client.socket.recv(65536)
    return data.removesuffix(b"$9\r\nend of it\r\n")


def test_hello_3_is_answered_by_a_map_and_what_follows_is_of_that_version(server):
    with Client(server) as client:
        assert raw(client, "HELLO", "3").startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
        raw(client, "HSET", "h", "f", "v")
        raw(client, "SADD", "s", "m")
        for words, reply in {
            ("GET", "none"): b"_\r\n",
            ("LPOP", "none", "2"): b"_\r\n",
            ("BLPOP", "none", "0.01"): b"_\r\n",
            ("HGETALL", "h"): b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n",
            ("HGETALL", "none"): b"%0\r\n",
            ("SMEMBERS", "s"): b"~1\r\n$1\r\nm\r\n",
            ("SPOP", "none", "2"): b"~0\r\n",
            ("MGET", "none", "none"): b"*2\r\n_\r\n_\r\n",
            ("CONFIG", "GET", "save"): b"%1\r\n$4\r\nsave\r\n$0\r\n\r\n",
            ("COMMAND", "DOCS"): b"%0\r\n",
        }.items():
            assert (words, raw(client, *words)) == (words, reply)
        assert raw(client, "INFO", "clients").startswith(b"=")
        assert raw(client, "HELLO", "2").startswith(b"*14\r\n")
        assert raw(client, "GET", "none") == b"$-1\r\n"


def test_messages_are_pushes_in_the_newer_version_and_all_commands_are_allowed(server):
    with Client(server) as client, Client(server) as older, Client(server) as other:
        raw(client, "HELLO", "3")
        assert raw(client, "SUBSCRIBE", "a") == b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        older.ask("SUBSCRIBE", "a")
        assert raw(client, "PING") == b"+PONG\r\n"
        assert raw(client, "GET", "none") == b"_\r\n"
        assert other.ask("PUBLISH", "a", "hi") == 2
        assert older.reply() == ["message", "a", "hi"]
        assert client.file.readline() == b">3\r\n"
        assert [client.reply() for _ in range(3)] == ["message", "a", "hi"]


def test_long_and_short_replies_have_the_same_form():
    async def joined(form, values):
        reply = form.values(values)
        assert isinstance(reply, Long) is (len(values) > 256)
        return b"".join(reply.pieces) if isinstance(reply, Long) else reply

    async def main():
        for form in (TWO, THREE):
            for values in ([b"a", None] * 3, [b"a", None] * 300):
                assert await joined(form, values) == b"*%d\r\n" % len(values) + b"".join(
                    map(form.bulk, values)
                )
        large = [b"x" * 100_000, b"", b"y" * 70_000]
        reply = TWO.values(large)
        assert b"".join(reply.pieces) == b"*3\r\n" + b"".join(map(TWO.bulk, large))

    run(main())


# ---- cutting in turns


def test_pieces_are_cut_as_many_as_are_asked_for_and_then_the_rest():
    parser, commands, calls = Parser(), [], 0
    data = b"\n" * 100 + b"PING\r\n" * 3
    while calls == 0 or parser.more:
        commands += parser.feed(data if calls == 0 else b"", 10)
        calls += 1
    assert (commands, calls) == ([[b"PING"]] * 3, 11)


def test_what_is_held_of_a_command_is_counted():
    parser = Parser()
    parser.feed(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n" + b"x" * 1000)
    assert 1000 <= parser.held < 1200
    parser.feed(b"x" * 999_000 + b"\r\n")
    assert (parser.held, parser.idle) == (0, True)


def test_a_typed_line_with_quotes_has_a_limit_of_words():
    parser = Parser()
    assert len(parser.feed(b'"" ' * 1000 + b"\n")[0]) == 1000
    parser.feed(b'"" ' * 1001 + b"\n")
    assert parser.error == "ERR Protocol error: too big inline request"
