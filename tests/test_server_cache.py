"""The cache server, with the programs that come with Redis, and with clients of ours.

Times are short, and have room: what is to be over after 0.1 s is given 20 s.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time

import pytest
from helpers import python
from programs import Server, needs, tool

from examples.servers.cache.replies import bulks

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def shared():
    """A server for all tests that do not end one; it must have had nothing to say."""
    with Server("cache") as server:
        yield server
        server.stop()


@pytest.fixture
def server(shared):
    with Client(shared) as client:
        client.ask("FLUSHALL")
    return shared


class Client:
    """A client that sends and receives bytes."""

    def __init__(self, server, seconds=20, room=None):
        self.socket = socket.socket()
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.settimeout(seconds)
        self.socket.connect((server.host, server.port))
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        self.socket.sendall(command(*words))

    def reply(self):
        """The next reply; an error is a text that begins with "-", and the end is None."""
        line = self.file.readline().decode().removesuffix("\r\n")
        if not line:
            return None
        kind, rest = line[0], line[1:]
        if kind == "$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return None if rest == "-1" else [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest if kind == "+" else line

    def ask(self, *words):
        self.send(*words)
        return self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()


def command(*words):
    return bulks([word if isinstance(word, bytes) else str(word).encode() for word in words])


def info(server, name):
    with Client(server) as client:
        return re.search(rf"^{name}:(.*)\r$", client.ask("INFO"), re.MULTILINE)[1]


# ---- redis-cli

WRONG_TYPE = "(error) WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_A_NUMBER = "(error) ERR value is not an integer or out of range"
SYNTAX = "(error) ERR syntax error"

STRINGS = """
PING -> PONG
PING hello -> "hello"
ECHO "a b" -> "a b"
GET a -> (nil)
SET a 1 -> OK
GET a -> "1"
SET a 2 NX -> (nil)
SET b 2 XX -> (nil)
SET a 2 XX GET -> "1"
SET new x GET -> (nil)
SET a 3 NX XX -> SYNTAX
SET a 3 EX -> SYNTAX
SET a 3 EX 1 PX 1 -> SYNTAX
SET a 3 EX 1 KEEPTTL -> SYNTAX
SET a 3 WHAT -> SYNTAX
SET a 3 EX x -> NOT_A_NUMBER
SET a 3 EX 0 -> (error) ERR invalid expire time in 'set' command
SET a 3 PX -1 -> (error) ERR invalid expire time in 'set' command
SET a 3 EX 9223372036854775807 -> (error) ERR invalid expire time in 'set' command
SETEX a 0 1 -> (error) ERR invalid expire time in 'setex' command
INCR a -> (integer) 3
INCRBY a 39 -> (integer) 42
DECR a -> (integer) 41
DECRBY a 50 -> (integer) -9
INCR none -> (integer) 1
INCRBY a x -> NOT_A_NUMBER
INCR new -> NOT_A_NUMBER
SET a 9223372036854775807 -> OK
INCR a -> (error) ERR increment or decrement would overflow
SET a " 1" -> OK
INCR a -> NOT_A_NUMBER
DECRBY a -9223372036854775808 -> (error) ERR decrement would overflow
APPEND new yz -> (integer) 3
APPEND newer yz -> (integer) 2
STRLEN new -> (integer) 3
STRLEN nothing -> (integer) 0
MSET a 1 b 2 -> OK
MSET a 1 b -> (error) ERR wrong number of arguments for 'mset' command
MGET a nothing b -> 1) "1"|2) (nil)|3) "2"
GET -> (error) ERR wrong number of arguments for 'get' command
get a b -> (error) ERR wrong number of arguments for 'get' command
"""

KEYS = """
MSET a 1 b 2 -> OK
SETEX c 100 3 -> OK
TTL c -> (integer) 100
SET c 4 KEEPTTL -> OK
TTL c -> (integer) 100
INCR c -> (integer) 5
TTL c -> (integer) 100
PERSIST c -> (integer) 1
PERSIST c -> (integer) 0
TTL c -> (integer) -1
EXPIRE c 50 -> (integer) 1
TTL c -> (integer) 50
SET c 3 -> OK
PTTL c -> (integer) -1
PTTL none -> (integer) -2
PEXPIRE none 50 -> (integer) 0
PEXPIRE a 100000 -> (integer) 1
TTL a -> (integer) 100
EXPIRE a x -> NOT_A_NUMBER
EXPIRE a 9223372036854775807 -> (error) ERR invalid expire time in 'expire' command
EXPIRE a -1 -> (integer) 1
EXISTS a -> (integer) 0
EXISTS a b c b -> (integer) 3
DBSIZE -> (integer) 2
KEYS * -> 1) "b"|2) "c"
KEYS [ab]* -> 1) "b"
TYPE a -> none
TYPE b -> string
DEL a b c -> (integer) 2
DBSIZE -> (integer) 0
SET a 1 -> OK
FLUSHALL WHAT -> SYNTAX
FLUSHALL SYNC -> OK
FLUSHDB -> OK
EXISTS a -> (integer) 0
"""

COLLECTIONS = """
LPUSH l b a -> (integer) 2
RPUSH l c d e -> (integer) 5
LLEN l -> (integer) 5
LLEN none -> (integer) 0
LRANGE l 0 -1 -> 1) "a"|2) "b"|3) "c"|4) "d"|5) "e"
LRANGE l -2 100 -> 1) "d"|2) "e"
LRANGE l -100 0 -> 1) "a"
LRANGE l 3 2 -> (empty array)
LRANGE none 0 -1 -> (empty array)
LRANGE l 0 x -> NOT_A_NUMBER
LPOP l -> "a"
RPOP l 2 -> 1) "e"|2) "d"
LPOP l 0 -> (empty array)
LPOP l -1 -> (error) ERR value is out of range, must be positive
LPOP none -> (nil)
TYPE l -> list
LPOP l 9 -> 1) "b"|2) "c"
EXISTS l -> (integer) 0
LPOP l 1 -> (nil)
RPUSH l x -> (integer) 1
BLPOP none l 1 -> 1) "l"|2) "x"
RPUSH l x y -> (integer) 2
BRPOP l 1 -> 1) "l"|2) "y"
BLPOP l x -> (error) ERR timeout is not a float or out of range
BLPOP l 1_0 -> (error) ERR timeout is not a float or out of range
BLPOP l nan -> (error) ERR timeout is not a float or out of range
BLPOP l -1 -> (error) ERR timeout is negative
BLPOP l -> (error) ERR wrong number of arguments for 'blpop' command
GET l -> WRONG_TYPE
INCR l -> WRONG_TYPE
SADD l x -> WRONG_TYPE
SET l 1 GET -> WRONG_TYPE
MGET l -> 1) (nil)
SET l string -> OK
BLPOP l 1 -> WRONG_TYPE
LPUSH l x -> WRONG_TYPE
SADD s a b a -> (integer) 2
SADD s b c -> (integer) 1
SCARD s -> (integer) 3
SISMEMBER s a -> (integer) 1
SREM s a x -> (integer) 1
SISMEMBER s a -> (integer) 0
SREM s b -> (integer) 1
SMEMBERS s -> 1) "c"
TYPE s -> set
SPOP s -> "c"
SPOP s -> (nil)
SPOP s 2 -> (empty array)
SADD s d -> (integer) 1
SPOP s 2 -> 1) "d"
HSET h a 1 b 2 -> (integer) 2
HSET h a 3 c 4 -> (integer) 1
HSET h a -> (error) ERR wrong number of arguments for 'hset' command
HGET h a -> "3"
HGET h x -> (nil)
HLEN h -> (integer) 3
HDEL h b c x -> (integer) 2
HGETALL h -> 1) "a"|2) "3"
TYPE h -> hash
HDEL h a -> (integer) 1
HDEL h a -> (integer) 0
EXISTS h -> (integer) 0
"""

SESSION = """
SELECT 0 -> OK
SELECT 1 -> (error) ERR DB index is out of range
SELECT x -> NOT_A_NUMBER
CLIENT SETNAME me -> OK
CLIENT SETNAME "a b" -> (error) ERR Client names cannot contain spaces, newlines or special characters.
CLIENT SETINFO LIB-NAME x -> OK
CLIENT WHAT -> (error) ERR unknown subcommand 'WHAT'. Try CLIENT HELP.
CONFIG GET save -> 1) "save"|2) ""
CONFIG GET append* -> 1) "appendonly"|2) "no"
CONFIG GET nothing -> (empty array)
CONFIG SET a b -> (error) ERR unknown subcommand 'SET'. Try CONFIG HELP.
COMMAND -> (empty array)
COMMAND DOCS -> (empty array)
HELLO 4 -> (error) NOPROTO unsupported protocol version
HELLO x -> (error) ERR Protocol version is not an integer or out of range
RESET -> RESET
QUIT -> OK
PUBLISH nobody hears -> (integer) 0
nonsense a b -> (error) ERR unknown command 'nonsense', with args beginning with: 'a' 'b'
"""


@needs("redis-cli")
@pytest.mark.parametrize("session", [STRINGS, KEYS, COLLECTIONS, SESSION])
def test_redis_cli_shows_what_it_shows_with_redis(server, session):
    cli = ["redis-cli", "-p", str(server.port), "--no-raw"]
    for line in session.strip().splitlines():
        typed, _, expected = line.partition(" -> ")
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', typed)]
        told = tool(*cli, *words)
        shown = "|".join(line.strip() for line in told.stdout.strip().splitlines())
        expected = {"SYNTAX": SYNTAX, "NOT_A_NUMBER": NOT_A_NUMBER, "WRONG_TYPE": WRONG_TYPE}.get(
            expected, expected
        )
        assert (typed, shown) == (typed, expected)


@needs("redis-cli")
def test_redis_cli_loads_many_commands(server):
    data = b"".join(command("SET", index, "x" * (index % 50)) for index in range(20_000))
    done = subprocess.run(
        ["redis-cli", "-p", str(server.port), "--pipe"], input=data, capture_output=True, timeout=60
    )
    assert b"errors: 0, replies: 20000" in done.stdout
    assert info(server, "db0") == "keys=20000,expires=0"


@needs("redis-cli")
def test_redis_cli_subscribes_and_another_publishes(server):
    cli = ["redis-cli", "-p", str(server.port)]
    with subprocess.Popen([*cli, "SUBSCRIBE", "news", "more"], stdout=subprocess.PIPE) as first:
        with subprocess.Popen([*cli, "PSUBSCRIBE", "n*"], stdout=subprocess.PIPE) as second:
            try:
                server.settles(lambda: info(server, "pubsub_channels"), "2")
                server.settles(lambda: info(server, "pubsub_patterns"), "1")
                assert tool(*cli, "PUBLISH", "news", "hello").stdout == "2\n"
                got = [first.stdout.readline().decode().strip() for _ in range(9)]
                assert got[6:] == ["message", "news", "hello"]
                got = [second.stdout.readline().decode().strip() for _ in range(7)]
                assert got[3:] == ["pmessage", "n*", "news", "hello"]
            finally:
                first.kill()
                second.kill()
    server.settles(lambda: info(server, "pubsub_channels"), "0")


# ---- redis-benchmark

TESTS = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,lrange_100,mset"


def benchmark(server, requests, *options, tests=TESTS, seconds=60):
    """Run it with 200 clients; requests per second, by test."""
    done = tool(
        "redis-benchmark", "-p", str(server.port), "-c", "200", "-n", str(requests),
        "-t", tests, "-q", *options, seconds=seconds,
    )  # fmt: skip
    assert done.returncode == 0 and "rror" not in done.stdout + done.stderr, done
    return dict(re.findall(r"([A-Z_]+\d*)[^\r\n]*: ([\d.]+) requests per second", done.stdout))


@needs("redis-benchmark")
def test_two_hundred_clients_are_served(server):
    rates = benchmark(server, 2000)
    assert len(rates) == 14 and all(float(rate) > 0 for rate in rates.values()), rates


@needs("redis-benchmark")
def test_two_hundred_clients_that_do_not_wait_for_replies_are_served():
    with Server("cache", check=False) as server:
        rates = benchmark(server, 20_000, "-P", "16", tests="set,get,incr,lpush,lpop")
        assert len(rates) == 5 and all(float(rate) > 0 for rate in rates.values()), rates
        server.stop()


@pytest.mark.soak
@needs("redis-benchmark")
def test_two_hundred_clients_are_served_for_long():
    with Server("cache", check=False) as server:
        first, until = None, time.monotonic() + 20
        while time.monotonic() < until:
            for options in ([], ["-P", "16"], ["-P", "16", "-r", "10000"]):
                assert len(benchmark(server, 50_000, *options)) == 14
            with Client(server) as client:
                client.ask("FLUSHALL")
            server.settles(lambda: info(server, "connected_clients"), "1")
            first = first or server.memory()
        assert server.memory() < first + 30 * MEBIBYTE
        server.stop()


# ---- the protocol


def test_commands_that_come_together_are_answered_together_and_in_order(server):
    with Client(server) as client:
        commands = [command("INCR", "n") for _ in range(5000)]
        client.socket.sendall(b"".join(commands))
        assert [client.reply() for _ in range(5000)] == list(range(1, 5001))


def test_a_command_may_come_byte_by_byte_and_typed(server):
    with Client(server) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in command("SET", "a", "x\r\ny") + b'set b "c d"\r\nMGET a b\n':
            client.socket.sendall(bytes([byte]))
        assert [client.reply() for _ in range(3)] == ["OK", "OK", ["x\r\ny", "c d"]]


@pytest.mark.parametrize("size", [1, 1023, 1024, 65536, 5_000_000])
def test_values_of_all_sizes_come_back(server, size):
    with Client(server) as client:
        assert client.ask("SET", "a", "x" * size) == "OK"
        assert client.ask("GET", "a") == "x" * size


def test_what_is_no_command_is_answered_and_then_the_connection_ends(server):
    with Client(server) as client:
        client.socket.sendall(command("PING") + b"*1\r\nPING\r\n" + b"x" * 100_000)
        assert client.reply() == "PONG"
        assert client.reply() == "-ERR Protocol error: expected '$', got 'P'"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.socket.recv(1) == b""


def test_quit_ends_the_connection_and_nothing_after_it_is_done(server):
    with Client(server) as client:
        client.socket.sendall(command("QUIT") + command("SET", "a", "1"))
        assert (client.reply(), client.socket.recv(1)) == ("OK", b"")
    with Client(server) as client:
        assert client.ask("EXISTS", "a") == 0


def test_limits_of_values_and_of_memory():
    with Server("cache", "--max-value", "2k", "--max-memory", "1m") as server:
        with Client(server) as client:
            assert client.ask("SET", "a", "x" * 2048) == "OK"
            assert client.ask("APPEND", "a", "x").startswith("-ERR string exceeds maximum")
            index, reply = 0, "OK"
            while reply == "OK":
                index, reply = index + 1, client.ask("SET", index, "x" * 2000)
            assert 400 < index < 600
            assert reply == "-OOM command not allowed when used memory > 'maxmemory'."
            assert client.ask("LPUSH", "l", "x") == reply
            assert client.ask("GET", "1") == "x" * 2000
            assert client.ask("DEL", *range(1, 101)) == 100
            assert client.ask("LPUSH", "l", "x") == 1
            assert client.ask("MGET", *["200"] * 30) == ["x" * 2000] * 30
            assert client.ask("CONFIG", "GET", "maxmemory") == ["maxmemory", str(MEBIBYTE)]
            assert client.ask("SET", "a", "x" * 2049) == "-ERR Protocol error: invalid bulk length"
        server.stop()


def test_a_client_has_a_name_and_a_line_in_the_list(server):
    with Client(server) as client:
        assert client.ask("CLIENT", "GETNAME") is None
        assert client.ask("HELLO", "2", "SETNAME", "me")[:2] == ["server", "redis"]
        number = client.ask("CLIENT", "ID")
        assert client.ask("CLIENT", "GETNAME") == "me"
        assert client.ask("CLIENT", "INFO") in client.ask("CLIENT", "LIST")
        assert re.match(
            rf"id={number} addr=127.0.0.1:\d+ .* name=me\n",
            client.ask("CLIENT", "INFO"),
        )


# ---- time


def test_keys_end_in_time_and_their_memory_is_free(server):
    with Client(server) as client:
        assert client.ask("SET", "a", "1", "PX", "50") == "OK"
        assert 0 < client.ask("PTTL", "a") <= 50
        client.socket.sendall(
            b"".join(command("SET", index, "x" * 1000, "PX", 80) for index in range(3000))
        )
        assert {client.reply() for _ in range(3000)} == {"OK"}
        server.settles(lambda: client.ask("DBSIZE"), 0)
        assert (client.ask("GET", "a"), info(server, "used_memory")) == (None, "0")


def test_blpop_waits_until_its_time_is_over(server):
    with Client(server) as client:
        began = time.monotonic()
        client.send("BLPOP", "l", "0.1")
        client.send("PING")
        assert (client.reply(), client.reply()) == (None, "PONG")
        assert time.monotonic() - began >= 0.1


def test_blpop_waits_for_a_list_and_who_waits_longest_is_first(server):
    with Client(server) as first, Client(server) as second, Client(server) as pusher:
        first.send("BLPOP", "x", "l", "0")
        assert pusher.ask("PING") == "PONG"
        time.sleep(0.05)
        second.send("BLPOP", "l", "20")
        time.sleep(0.05)
        assert pusher.ask("RPUSH", "l", "1", "2", "3") == 3
        assert (first.reply(), second.reply()) == (["l", "1"], ["l", "2"])
        assert pusher.ask("LRANGE", "l", "0", "-1") == ["3"]


def test_a_client_that_has_gone_takes_no_item(server):
    with Client(server) as pusher:
        before = pusher.ask("CLIENT", "LIST").count("\n")
        with Client(server) as gone:
            gone.send("BLPOP", "l", "0")
            server.settles(lambda: pusher.ask("CLIENT", "LIST").count("\n"), before + 1)
        server.settles(lambda: pusher.ask("CLIENT", "LIST").count("\n"), before)
        assert (pusher.ask("RPUSH", "l", "1"), pusher.ask("LPOP", "l")) == (1, "1")


def test_what_comes_while_blpop_waits_is_done_after_it(server):
    with Client(server) as client, Client(server) as pusher:
        value = "x" * 300_000
        client.send("BLPOP", "l", "0")
        time.sleep(0.05)
        client.socket.settimeout(20)
        client.socket.sendall(command("SET", "a", value) + command("STRLEN", "a"))
        assert pusher.ask("EXISTS", "a") == 0
        pusher.ask("RPUSH", "l", "1")
        assert [client.reply() for _ in range(3)] == [["l", "1"], "OK", 300_000]


# ---- messages


def test_a_subscriber_gets_messages_and_may_do_little_else(server):
    with Client(server) as client, Client(server) as other:
        assert client.ask("SUBSCRIBE", "a", "b") == ["subscribe", "a", 1]
        assert client.reply() == ["subscribe", "b", 2]
        assert client.ask("PSUBSCRIBE", "a*") == ["psubscribe", "a*", 3]
        assert client.ask("PING") == ["pong", ""]
        assert client.ask("GET", "x").startswith("-ERR Can't execute 'get': only (P|S)SUBSCRIBE")
        assert other.ask("PUBLISH", "a", "1") == 2
        assert client.reply() == ["message", "a", "1"]
        assert client.reply() == ["pmessage", "a*", "a", "1"]
        assert client.ask("UNSUBSCRIBE") == ["unsubscribe", "a", 2]
        assert client.reply() == ["unsubscribe", "b", 1]
        assert client.ask("PUNSUBSCRIBE", "a*") == ["punsubscribe", "a*", 0]
        assert client.ask("UNSUBSCRIBE") == ["unsubscribe", None, 0]
        assert client.ask("GET", "x") is None


def test_messages_come_in_order_and_before_the_reply_to_what_came_after_them(server):
    with Client(server) as client, Client(server) as other:
        client.ask("SUBSCRIBE", "a")
        other.socket.sendall(b"".join(command("PUBLISH", "a", index) for index in range(3000)))
        assert {other.reply() for _ in range(3000)} == {1}
        client.send("UNSUBSCRIBE", "a")
        assert [client.reply()[2] for _ in range(3000)] == [str(index) for index in range(3000)]
        assert client.reply() == ["unsubscribe", "a", 0]


def test_a_subscriber_that_does_not_read_is_cut_off_and_named():
    with Server("cache", "--max-behind", "1m") as server:
        with Client(server, room=4096) as deaf, Client(server) as reader, Client(server) as other:
            deaf.ask("SUBSCRIBE", "news")
            reader.ask("SUBSCRIBE", "news")
            before, text = server.memory(), "x" * 100_000
            heard = []
            for _ in range(400):
                heard.append(other.ask("PUBLISH", "news", text))
                assert reader.reply() == ["message", "news", text]
            assert heard[0] == 2 and heard[-1] == 1
            assert server.memory() < before + 20 * MEBIBYTE
            assert "WARNING client 1 (127.0.0.1:" in server.stderr()
            assert "was cut off: it does not read its messages" in server.stderr()
            assert len(server.stderr().splitlines()) == 1
            with pytest.raises(ConnectionResetError):
                while deaf.socket.recv(65536):
                    pass


def test_a_client_that_does_not_read_replies_keeps_only_itself_waiting(server):
    with Client(server, room=4096) as deaf, Client(server) as other:
        other.ask("SET", "a", "x" * MEBIBYTE)
        before = server.memory()
        deaf.socket.sendall(command("GET", "a") * 1000)
        for _ in range(20):
            assert other.ask("PING") == "PONG"
        time.sleep(0.1)
        assert server.memory() < before + 20 * MEBIBYTE
        assert deaf.reply() == "x" * MEBIBYTE


# ---- the end


def test_it_stops_at_once_when_its_clients_are_idle_wait_or_listen():
    with Server("cache") as server:
        with Client(server) as idle, Client(server) as waiting, Client(server) as listening:
            idle.ask("PING")
            waiting.send("BLPOP", "l", "0")
            listening.ask("SUBSCRIBE", "a")
            idle.ask("PING")
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 5
            assert [each.socket.recv(1) for each in (idle, waiting, listening)] == [b""] * 3


def test_what_has_come_is_answered_before_it_stops():
    with Server("cache") as server, Client(server) as client:
        client.socket.sendall(command("SET", "a", "x" * MEBIBYTE) + command("GET", "a") * 20)
        assert client.reply() == "OK"
        server.signal(15)
        assert [len(client.reply()) for _ in range(20)] == [MEBIBYTE] * 20
        assert client.socket.recv(1) == b""
        assert (server.process.wait(20), server.stderr()) == (0, "")


def test_a_client_that_does_not_read_has_no_more_than_the_grace():
    with Server("cache", "--grace", "0.2") as server, Client(server, room=4096) as deaf:
        deaf.socket.sendall(command("SET", "a", "x" * MEBIBYTE) + command("GET", "a") * 50)
        assert deaf.reply() == "OK"
        server.stop()


def test_clients_that_come_and_go_leave_nothing_behind(server):
    before = server.descriptors()
    for _ in range(5):
        clients = [Client(server) for _ in range(50)]
        for index, client in enumerate(clients):
            client.send(*[("PING",), ("SUBSCRIBE", "a"), ("BLPOP", "l", "0"), ("GET",)][index % 4])
        for client in clients:
            client.__exit__()
    server.settles(lambda: server.descriptors() <= before, True)
    server.settles(lambda: info(server, "connected_clients"), "1")
    assert info(server, "pubsub_channels") == "0"


def test_help_has_examples_and_sizes_are_checked():
    helped = python("-m", "examples.servers.cache", "--help")
    assert helped.returncode == 0 and "redis-benchmark -p 25004" in helped.stdout
    for wrong in ("x", "1.5m", "-1", "1mm", ""):
        refused = python("-m", "examples.servers.cache", "--max-value", wrong)
        assert refused.returncode == 2 and "a size such as" in refused.stderr, wrong
