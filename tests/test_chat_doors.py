"""Who is let in to the chat, and what one client's packet means for the others.

Over raw sockets, since browsers and libraries do not send what is refused here.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from programs import Server

from examples.servers.chat.guard import Guard
from examples.servers.messages import BadRequest, Request
from examples.servers.places import rule

TEXT, PING, PONG = 1, 9, 10
LONG = 20  # seconds that nothing here takes


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("chat") as server:
        yield server
        server.stop()


def asked(
    server: Server,
    *headers: str,
    host: str,
    key: str = "dGhlIHNhbXBsZSBub25jZQ==",
    path: str = "/ws",
) -> tuple[socket.socket, int]:
    """A connection that has asked for a WebSocket, and the status of the answer."""
    lines = (
        *(f"GET {path} HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"),
        *(f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *headers, "", ""),
    )
    sock = socket.create_connection((server.host, server.port), timeout=LONG)
    sock.sendall("\r\n".join(lines).encode())
    return sock, int(until(sock, b"\r\n\r\n").split()[1])


def until(sock: socket.socket, what: bytes) -> bytes:
    data = b""
    while what not in data and (more := sock.recv(65536)):
        data += more
    return data


def status(server: Server, *headers: str, **options: Any) -> int:
    sock, found = asked(server, *headers, **options)
    sock.close()
    return found


def frame(opcode: int, data: bytes = b"", fin: int = 1) -> bytes:
    return bytes((fin << 7 | opcode, 128 | len(data), 0, 0, 0, 0)) + data


# ---- the handshake


@pytest.mark.parametrize(
    "key", ["", "abc", "!!!!", "dGhlIHNhbXBsZQ==", "dGhlIHNhbXBsZSBub25jZQ", "A" * 24, "é" * 16]
)
def test_a_key_that_is_not_16_bytes_in_base64_is_refused(server, key):
    assert status(server, host="localhost", key=key) == 400


def test_two_keys_are_none(server):
    more = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    assert status(server, more, host="localhost") == 400


def test_a_handshake_of_http_1_0_is_refused(server):
    with socket.create_connection((server.host, server.port), timeout=LONG) as sock:
        sock.sendall(
            b"GET /ws HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"400" in until(sock, b"\r\n\r\n").splitlines()[0]


# ---- hosts


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "127.1"])
def test_a_page_of_this_machine_is_let_in(server, host):
    place = f"{host}:{server.port}"
    assert status(server, f"Origin: http://{place}", host=place) == 101


@pytest.mark.parametrize("path", ["/ws", "/", "/poll/join", "/poll/token?after=0"])
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.localhost.example"]
)
def test_a_page_of_another_host_whose_name_points_here_by_now_is_not(server, host, path):
    place = f"{host}:{server.port}"
    assert status(server, f"Origin: http://{place}", host=place, path=path) == 403


@pytest.mark.parametrize("host", ["[::1", "localhost:http", "a b", "[evil]"])
def test_a_host_that_is_none_is_refused(server, host):
    assert status(server, host=host) in (400, 403)


def test_other_hosts_can_be_allowed_and_no_more_than_those():
    allow = ["--allow-host", "*.Example.org", "--allow-host", "tea"]
    with Server("chat", *allow) as server:
        for host in ("chat.example.org", "TEA:80", "localhost", "127.0.0.1"):
            assert status(server, host=host) == 101
        for host in ("example.com", "chat.example.org.evil.example", "coffee"):
            assert status(server, host=host) == 403
        server.stop()


NETWORK, LOOPBACK, UNIX = ("192.0.2.1", 80), ("127.0.0.1", 80), "/run/chat"


@pytest.mark.parametrize(
    ("host", "here", "allowed", "fine"),
    [
        ("any.example", NETWORK, [], True),
        ("any.example", UNIX, [], True),
        ("any.example", LOOPBACK, [], False),
        ("any.example", ("::1", 80, 0, 0), [], False),
        ("any.example", ("::ffff:127.0.0.1", 80, 0, 0), [], False),
        ("any.example", NETWORK, ["chat.example"], False),
        ("chat.example:81", NETWORK, ["chat.example"], True),
        ("192.0.2.1", NETWORK, ["chat.example"], True),
        ("told.example", LOOPBACK, [], True),  # it was told to listen on that name
    ],
)
def test_which_names_are_its_own_depends_on_where_the_client_comes_in(host, here, allowed, fine):
    guard = Guard("told.example", [rule(each) for each in allowed])
    request = Request("GET", "/", "/", {}, {"host": host})
    if fine:
        guard.check(request, here)
    else:
        with pytest.raises(BadRequest, match="this server is not called"):
            guard.check(request, here)


# ---- one packet


def member(server: Server, name: str, room: str) -> socket.socket:
    """A connection that has joined a room, and has read who is there."""
    sock, _ = asked(server, host="localhost")
    join = json.dumps({"type": "join", "name": name, "room": room}).encode()
    sock.sendall(frame(TEXT, join) + frame(PING))
    until(sock, bytes((128 | PONG, 0)))
    return sock


@pytest.mark.parametrize(
    "packet",
    [
        frame(PING) * 10_000,
        frame(PONG) * 10_000,
        frame(TEXT, b'{"type": "sa', 0) + frame(0, b"", 0) * 10_000 + frame(0, b'y", "text": "x"}'),
    ],
    ids=["pings", "pongs", "empty fragments"],
)
def test_a_packet_with_thousands_of_frames_is_not_everybodys_wait(server, packet, request):
    room = request.node.callspec.id
    ann, bob = member(server, "ann", room), member(server, "bob", room)
    last = frame(TEXT, b'{"type": "say", "text": "after all"}')
    with ann, bob:
        server.signal(signal.SIGSTOP)
        try:  # so that both are there when it goes on, ann's first
            ann.sendall(packet + last)
            bob.sendall(frame(TEXT, b'{"type": "say", "text": "in time"}'))
            time.sleep(0.1)
        finally:
            server.signal(signal.SIGCONT)
        assert b"in time" in until(bob, b"after all").partition(b"after all")[0]


def test_who_is_cut_off_for_not_reading_is_told_in_the_log():
    with Server("chat", "--burst", "100000", "--verbose", check=False) as server:
        ann, slow = member(server, "ann", "tea"), member(server, "slow", "tea")
        text = json.dumps({"type": "say", "text": "x" * 1000}).encode()
        say = bytes((128 | TEXT, 254)) + len(text).to_bytes(2, "big") + bytes(4) + text
        with ann, slow:
            ann.settimeout(0.01)
            until_then = time.monotonic() + LONG
            while "was too slow" not in server.stderr() and time.monotonic() < until_then:
                ann.sendall(say)
                try:
                    ann.recv(1 << 20)
                except TimeoutError:
                    pass
        assert "INFO slow in tea was too slow: cut off\n" in server.stderr()
