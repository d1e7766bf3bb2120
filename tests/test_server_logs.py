"""Nobody's bytes forge a line of a log, or reach the terminal of who reads it: all example servers.

Each server is sent, in all the places where a client can name something, words that would be
a line of the log if they were written as they are. A server that asks for a name in a new
place has that place added here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import ROOT
from programs import Server

from examples.servers.common import Records

EVIL = "x\nERROR forged\rERROR forged\x1b[31m\x9b2J\x85\u2028\u202e"
RAW = EVIL.encode()
PERCENT = b"".join(b"%%%02X" % byte for byte in RAW)
JSON = json.dumps(EVIL).encode()
WAYS = (RAW, PERCENT, JSON, b"x\rERROR forged\x1b[31m", b"x\nERROR forged")
LEVELS = ("INFO ", "WARNING ", "ERROR ", "CRITICAL ")
LONG = 20  # seconds that nothing here takes


class Kind(NamedTuple):
    """A server, what it is sent, and what of that its log must have, escaped."""

    name: str
    options: tuple[str, ...]
    sent: list[bytes]
    seen: str


def http(word: bytes) -> list[bytes]:
    """Requests that have this word in each place."""
    get = b"GET /%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    whole = b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return [
        get % (word, b""),
        get % (b"", b"Host: " + word + b"\r\n"),
        get % (b"?" + word, b"User-Agent: %b\r\nReferer: %b\r\nRange: %b\r\n" % (word, word, word)),
        get % (b"", b"If-None-Match: %b\r\nCookie: %b\r\n%b: 1\r\n" % (word, word, word)),
        b"GET http://%b/%b HTTP/1.1\r\nHost: x\r\n\r\n" % (word, word),
        b"%b / HTTP/1.1\r\nHost: x\r\n\r\n" % word,
        b"GET / %b\r\nHost: x\r\n\r\n" % word,
        whole + b"Content-Length: %b\r\n\r\n" % word,
        whole + b"Transfer-Encoding: chunked\r\n\r\n%b\r\n%b\r\n0\r\n\r\n" % (word, word),
        whole + b"Transfer-Encoding: %b\r\nExpect: %b\r\n\r\n" % (word, word),
    ]


def upgrade(key: bytes = b"dGhlIHNhbXBsZSBub25jZQ==", more: bytes = b"") -> bytes:
    return (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n%b\r\n" % (key, more)
    )


def frame(data: bytes, opcode: int = 1) -> bytes:
    """A client's frame; the mask is zero."""
    return bytes((0x80 | opcode, 0xFE, *len(data).to_bytes(2, "big"), 0, 0, 0, 0)) + data


def chat(word: bytes) -> list[bytes]:
    text = json.dumps(word.decode("latin-1")).encode()
    join = b'{"type": "join", "name": %b, "room": %b, "key": %b}'
    good = frame(join % (b'"bob"', b'"sea"', b'"k"'))
    post = (
        b"POST /poll/%b HTTP/1.1\r\nHost: localhost\r\nOrigin: %b\r\nContent-Length: %d\r\n\r\n%b"
    )
    joins = [join % each for each in ((text, b'"a"', b'"k"'), (b'"a"', text, b'"k"'))]
    return [
        *http(word),
        upgrade(word),
        upgrade(more=b"Sec-WebSocket-Protocol: %b\r\nOrigin: %b\r\n" % (word, word)),
        *[upgrade() + frame(each) for each in joins],
        upgrade() + good + frame(b'{"type": %b, "text": %b}' % (text, text)) + frame(word),
        upgrade() + good + frame(word, 9) + frame(b"\x03\xe8" + word, 8),
        upgrade() + frame(word, 2) + word,
        *[post % (b"join", b"x", len(each), each) for each in joins],
        post % (word, word, len(word), word),
        post % (b"join", word, len(text), text),
    ]


def cache(word: bytes) -> list[bytes]:
    def command(*words: bytes) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)

    quoted = b'"%b"' % b"".join(b"\\x%02x" % byte for byte in word)
    return [
        command(word, word),
        command(b"SET", word, word) + command(b"LPUSH", word, word) + command(b"TYPE", word),
        command(b"CLIENT", b"SETNAME", word) + command(b"CLIENT", word) + command(b"INFO", word),
        command(b"HELLO", b"2", b"SETNAME", word) + command(b"HELLO", word),
        command(b"AUTH", word) + command(b"AUTH", word, word) + command(b"CONFIG", b"GET", word),
        command(b"SUBSCRIBE", word) + command(b"PSUBSCRIBE", word) + command(word),
        command(b"PUBLISH", word, word) + command(b"EXPIRE", b"a", word) + command(b"KEYS", word),
        b"SET %b %b\r\n%b\r\n" % (quoted, quoted, quoted),
        b"*%b\r\n$%b\r\n" % (word, word),
        word + b"\r\n",
        b"POST /%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (word, word),
    ]


def socks(word: bytes) -> list[bytes]:
    short = word[:200]
    named = bytes((5, 1, 0, 3, len(short))) + short + (80).to_bytes(2, "big")
    login = bytes((1, len(short))) + short + bytes((len(short),)) + short
    return [
        b"\5\1\0" + named,
        b"\5\1\2" + login + named,
        b"\5\2\0\2" + login + named,
        b"\4\1\0\x50\0\0\0\1" + short + b"\0" + short + b"\0",
        b"\4\1\0\x50\x7f\0\0\1" + short + b"\0",
        word,
    ]


def ways(make) -> list[bytes]:
    return [each for word in WAYS for each in make(word)]


def plain(word: bytes) -> list[bytes]:
    return [word]


KINDS = [
    Kind("files", (), ways(http), "%0A%45%52%52%4F%52"),
    Kind("wsgi", ("--app", "tests.wsgi_apps:quoting"), ways(http), r"x\nERROR forged"),
    Kind("wsgi", (), ways(http), "%0A%45%52%52%4F%52"),
    Kind("chat", (), ways(chat), "%0A%45%52%52%4F%52"),
    Kind("cache", (), ways(cache), ""),
    Kind("socks", (), ways(socks), r"x\nerror forged"),
    Kind("socks", ("--user", "me:secret"), ways(socks), "INFO"),
    Kind("proxy", ("--to", "127.0.0.1:1"), ways(plain), "WARNING"),
    Kind("echo", (), ways(plain), "INFO"),
]


def say(client: socket.socket, data: bytes) -> None:
    """Send it, read a little, and leave by a reset, which is told at the level of INFO."""
    with contextlib.suppress(OSError):
        client.settimeout(0.05)
        client.sendall(data)
        client.recv(65536)
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def check(log: str) -> None:
    """A line at the margin is a record; no record is of a client; nothing moves a cursor."""
    for line in log.split("\n"):
        assert line == "" or line.startswith((*LEVELS, "  ")), line
        assert not line.startswith("ERROR forged"), line
        assert line.isprintable(), ascii(line)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind[1][1:] or kind[:1]))
def test_what_clients_send_forges_nothing_in_a_log(kind: Kind) -> None:
    with Server(kind.name, "--verbose", "--grace", "0.2", *kind.options) as server:
        for data in kind.sent:
            say(socket.create_connection((server.host, server.port), timeout=LONG), data)
        until = time.monotonic() + LONG
        while kind.seen not in server.stderr() and time.monotonic() < until:
            time.sleep(0.05)
        server.signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0
        assert kind.seen in server.stderr()
        check(server.stderr())


# ---- the names of sockets


@contextlib.contextmanager
def on_a_unix_socket(kind: Kind) -> Iterator[tuple[str, subprocess.Popen[str], str]]:
    """A server that is handed a Unix socket: its address, the process, and where its log is."""
    hand = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    with socket.socket(socket.AF_UNIX) as listener, tempfile.NamedTemporaryFile() as log:
        listener.bind("")  # a name of the system's choice
        listener.listen()
        server = ["-m", f"examples.servers.{kind.name}", "--verbose", "--grace", "0.2"]
        command = [sys.executable, "-c", hand, str(listener.fileno()), *server, *kind.options]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            env={**os.environ, "MICROTHREADS_DEBUG": "1"},
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("listening on ")
                yield listener.getsockname(), process, log.name
            finally:
                process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind[1][1:] or kind[:1]))
def test_the_name_of_a_client_s_socket_forges_nothing_in_a_log(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for names that are relative, since they must be short
    with on_a_unix_socket(kind) as (address, process, log):
        for number, data in enumerate([b"", *kind.sent[:20]]):
            for name in (b"%d " % number + RAW, b"\0%d " % number + RAW):
                client = socket.socket(socket.AF_UNIX)
                client.bind(name)
                client.connect(address)
                say(client, data)
        time.sleep(0.2)
        process.terminate()
        assert process.wait(LONG) == 0
        with open(log, encoding="utf-8") as file:
            check(file.read())


def test_a_message_of_several_lines_is_one_record() -> None:
    record = logging.LogRecord(
        "x", logging.ERROR, "", 0, "they go on:\n%s", ("a\nERROR b\r",), None
    )
    one = logging.LogRecord("x", logging.ERROR, "", 0, "it fails: %s", ("a\nERROR b\r",), None)
    records = Records("%(levelname)s %(message)s")
    assert records.format(record) == "ERROR they go on:\n  a\n  ERROR b\\r"
    assert records.format(one) == r"ERROR it fails: a\nERROR b\r"


def test_what_is_checked_here_would_be_seen() -> None:
    good = r"INFO 127.0.0.1 GET /x\nERROR forged"
    check(f"{good}\nERROR it fails\n  Traceback\n    more\n")
    for bad in ("ERROR forged", "Traceback", "INFO \x1b[31m", "INFO a\rb", "INFO \u2028"):
        with pytest.raises(AssertionError):
            check(f"{good}\n{bad}\n")
