"""The cache beside a real Redis: random commands are answered alike; and redis-py, a client.

Redis is there where redis-server is installed; on Debian it is in redis-tools, too, under the
name of redis-check-rdb. Left out of the comparison are replies that name what is ours alone
(INFO, CLIENT LIST), what is chosen by chance, and floats that binary
numbers do not have exactly: Redis rounds there, and the cache does not.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import time

import pytest
import redis
from programs import Server

from examples.servers.cache.replies import bulks

REDIS = shutil.which("redis-server") or shutil.which("redis-check-rdb")
NEAR = 20_000  # milliseconds, or seconds, that times may differ by: it may be slow here


class Connection:
    """A client of either server, in either version of the protocol."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        self.socket.sendall(bulks(words))
        return self.reply()

    def reply(self):
        """Simple replies are bytes; the others are pairs of their mark and what is in them."""
        line = self.file.readline()[:-2]
        mark, rest = line[:1].decode(), line[1:]
        if mark in "+-:_":
            return line
        if rest == b"-1":
            return mark, None
        if mark in "$=":
            return mark, self.file.read(int(rest) + 2)[:-2]
        return mark, [self.reply() for _ in range(int(rest) * (2 if mark == "%" else 1))]

    def close(self):
        self.file.close()
        self.socket.close()


@contextlib.contextmanager
def real_redis(folder):
    """A Redis of our own; where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(
        [*arguments, "--dir", str(folder)], executable=REDIS, stdout=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    Connection("127.0.0.1", port).close()
                    break
                except OSError:
                    assert time.monotonic() < until, "Redis does not listen"
                    time.sleep(0.05)
            yield "127.0.0.1", port
        finally:
            process.kill()


# ---- random commands

# A small letter stands for one of several words:
# k a key, v a value, i an index or number, f a float, p a pattern; "v+" is one or more.
COMMANDS = """
GET k|SET k v|SET k v NX|SET k v XX|SET k v GET|SET k v XX GET|SET k v EX 100|SET k v PX 100000
SET k v KEEPTTL|SET k v EX 0|SET k v EX x|SET k v NX XX|SET k v PXAT 4000000000000|SET k v WHAT|SET k v NX GET
SETNX k v|SETEX k 100 v|SETEX k 0 v|SETEX k x v|PSETEX k 100000 v|PSETEX k -1 v|GETSET k v|GETDEL k|GETEX k|GETEX k EX 100
GETEX k PERSIST|GETEX k EX 0|GETEX k EX|GETEX k EX 5 PERSIST|MGET k+|MSET k v k v|MSET k v k
MSETNX k v k v|APPEND k v|STRLEN k|GETRANGE k i i|SETRANGE k 3 v|SETRANGE k -1 v|SETRANGE k x v
INCR k|DECR k|INCRBY k i|DECRBY k i|DECRBY k -9223372036854775808|INCRBYFLOAT n f|SET n f|GET n
DEL k+|UNLINK k+|EXISTS k+|TOUCH k+|TYPE k|DBSIZE|RENAME k k|RENAMENX k k|KEYS p
EXPIRE k 1000|EXPIREAT k 4000000100 GT|EXPIREAT k 4000000000 LT|EXPIRE k 100 NX|EXPIRE k 100 XX|EXPIRE k -1
EXPIRE k 100 NX XX|EXPIRE k x GT LT|EXPIRE k 100 WHAT|EXPIRE k x|PEXPIRE k 100000|PEXPIRE k 0
EXPIREAT k 4000000000|EXPIREAT k 1|PEXPIREAT k 4000000000000|TTL k|PTTL k|EXPIRETIME k
PEXPIRETIME k|PERSIST k
LPUSH k v+|RPUSH k v+|LPUSHX k v|RPUSHX k v+|LSET k i v|LPOP k|RPOP k|LPOP k i|RPOP k i|LLEN k
LINDEX k i|LRANGE k i i|LTRIM k i i|LREM k i v|RPOPLPUSH k k|LMOVE k k LEFT RIGHT
LMOVE k k right left|LMOVE k k LEFT x|BLPOP k k 0.01
SADD k v+|SREM k v+|SMOVE k k v|SCARD k|SISMEMBER k v|SMISMEMBER k v+|SMEMBERS k|SUNION k+
SINTER k+|SDIFF k+|SPOP k 1000|SRANDMEMBER k 1000|SSCAN k 0|SSCAN k 0 MATCH p|SSCAN k 0 COUNT 0
HSET k v v|HSET k v v v v|HSET k v|HMSET k v v|HSETNX k v v|HGET k v|HMGET k v+|HDEL k v+|HLEN k
HEXISTS k v|HSTRLEN k v|HKEYS k|HVALS k|HGETALL k|HINCRBY k v i|HINCRBYFLOAT m v f|HGET m v|HSCAN k 0
HSCAN k 0 MATCH p|SCAN 0 COUNT 1000|SCAN 0 COUNT 1000 MATCH p|SCAN 0 COUNT 1000 TYPE list
MULTI|EXEC|EXEC|DISCARD|WATCH k|UNWATCH|PING|PING v|ECHO v|SELECT 0|SELECT x|CLIENT GETNAME
CLIENT SETNAME me|CLIENT SETNAME v|PUBLISH channel v|GET|nonsense v|set k|PUBSUB NUMPAT
CONFIG GET appendonly|SWAPPED k
""".replace("\n", "|").strip("|").split("|")  # fmt: skip

WORDS = {
    "k": [b"a", b"b", b"c", b"d", b"e"],
    "v": [b"", b"1", b"-5", b"abc", b"9223372036854775807", b"x" * 20, b" 1", b"a", b"b", b"f"],
    "i": [*(b"%d" % i for i in range(-6, 7)), b"100", b"-100", b"x", b"", b"9223372036854775807"],
    "f": [b"1.5", b"0.25", b"-2", b"3", b"abc", b"1e2", b"0", b"-0.5", b"nan", b""],
    "n": [b"n"],
    "m": [b"m"],
    "p": [b"*", b"a*", b"?", b"[a-c]", b"[^a]", b"*b*", b"x", b"[", b"\\a"],
}
UNORDERED = (
    "KEYS SMEMBERS SUNION SINTER SDIFF SPOP SRANDMEMBER HKEYS HVALS HGETALL SCAN SSCAN HSCAN"
)


def made(chance):
    """A random command."""
    words = []
    for word in chance.choice(COMMANDS).split(" "):
        kind = WORDS.get(word.removesuffix("+"))
        times = chance.choice((1, 1, 2, 3)) if word.endswith("+") else 1
        words += [word.encode()] if kind is None else [chance.choice(kind) for _ in range(times)]
    return words


def alike(one, other):
    """Whether two replies say the same: times may differ a little, and sets by their order."""
    if one == other:
        return True
    if type(one) is type(other) is bytes:
        numbers = one[:1] == other[:1] == b":" and min(int(one[1:]), int(other[1:])) > 10
        return numbers and abs(int(one[1:]) - int(other[1:])) < NEAR
    if type(one) is not type(other) or one[0] != other[0] or not isinstance(one[1], list):
        return False
    parts, others = one[1], other[1]
    return len(parts) == len(others) and (
        all(map(alike, parts, others)) or sorted(map(flat, parts)) == sorted(map(flat, others))
    )


def flat(reply):
    """A reply as a text that is the same whatever order it has."""
    if isinstance(reply, bytes) or not isinstance(reply[1], list):
        return repr(reply)
    return reply[0] + " ".join(sorted(map(flat, reply[1])))


@pytest.mark.skipif(REDIS is None, reason="no Redis here: apt-get install redis-tools")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_random_commands_are_answered_as_redis_answers_them(version, seed, tmp_path):
    chance = random.Random(f"{seed} {version}")
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(real_redis(tmp_path))
        server = stack.enter_context(Server("cache", check=False))
        pairs = []
        for _ in range(2):
            pair = Connection(*theirs), Connection(server.host, server.port)
            for connection in pair:
                stack.callback(connection.close)
                assert connection.ask(b"HELLO", b"%d" % version)[0] in "%*"
            pairs.append(pair)
        differ = []
        for _ in range(20_000 if seed > 1 else 4000):
            words = made(chance)
            if words[0] == b"SWAPPED":  # another client sets a key, which may be watched
                pair, words = pairs[1], [b"SET", words[1], b"swapped"]
            else:
                pair = pairs[0]
            one, other = (connection.ask(*words) for connection in pair)
            if not alike(one, other):
                differ.append((words, one, other))
        assert differ == []
        server.stop()


# ---- redis-py


@pytest.fixture(scope="module")
def server():
    with Server("cache", check=False) as server:
        yield server
        server.stop()


@pytest.fixture(params=[None, 2, 3], ids=["as it is", "version 2", "version 3"])
def client(server, request):
    chosen = {} if request.param is None else {"protocol": request.param}
    with redis.Redis(server.host, server.port, socket_timeout=30, **chosen) as client:
        client.flushall()
        yield client


@pytest.mark.parametrize("transaction", [False, True])
def test_redis_py_sends_two_thousand_commands_of_each_kind_before_it_reads(client, transaction):
    pipeline = client.pipeline(transaction=transaction)
    for index in range(2000):
        pipeline.set(f"k{index}", "v" * 10_000)
        pipeline.get(f"k{index}")
    assert pipeline.execute() == [True, b"v" * 10_000] * 2000


def test_redis_py_gets_python_objects(client):
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {b"a": b"1", b"b": b"2"}
    client.sadd("s", 1, 2)
    assert client.smembers("s") == {b"1", b"2"}
    assert client.config_get("max*") == {"maxmemory": "0"}
    assert client.info()["redis_version"] == "7.0.0"
    assert client.client_info()["cmd"] == "client"
    assert client.blpop("none", timeout=0.01) is None
    assert client.mget("none", "none") == [None, None]
    assert client.incrbyfloat("f", 1.5) == 1.5
    assert (client.getex("f", ex=100), client.ttl("f") > 0) == (b"1.5", True)


def test_redis_py_walks_over_everything(client):
    client.mset({f"k{index}": "v" for index in range(500)})
    assert len(set(client.scan_iter(count=7))) == 500
    assert len(set(client.scan_iter(match="k1*", count=50))) == 111
    client.hset("h", mapping={str(index): "v" for index in range(50)})
    assert len(dict(client.hscan_iter("h"))) == 50
    client.sadd("s", *range(50))
    assert len(set(client.sscan_iter("s", count=20))) == 50


def test_redis_py_subscribes_and_gets_messages(client):
    with client.pubsub() as listener:
        listener.subscribe("news")
        listener.psubscribe("n*")
        kinds = [listener.get_message(timeout=30)["type"] for _ in range(2)]
        assert kinds == ["subscribe", "psubscribe"]
        assert client.publish("news", "hello") == 2
        got = [listener.get_message(timeout=30) for _ in range(2)]
        assert [(each["type"], each["data"]) for each in got] == [
            ("message", b"hello"),
            ("pmessage", b"hello"),
        ]
        listener.ping()
        assert listener.get_message(timeout=30)["type"] == "pong"


def test_redis_py_retries_a_transaction_when_what_it_watched_has_changed(client):
    client.set("n", 1)
    with client.pipeline() as pipeline:
        pipeline.watch("n")
        client.incr("n")
        pipeline.multi()
        pipeline.incr("n")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    client.transaction(lambda pipeline: (pipeline.multi(), pipeline.incr("n")), "n")
    assert client.get("n") == b"3"


def test_redis_py_gives_a_password():
    with Server("cache", CACHE_PASSWORD="secret") as server:
        with redis.Redis(server.host, server.port, password="secret") as client:
            assert client.ping()
        with redis.Redis(server.host, server.port, password="wrong") as client:
            with pytest.raises(redis.AuthenticationError):
                client.ping()
        server.stop()
