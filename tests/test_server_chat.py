"""The chat server, by clients that are not ours: websocket-client, and curl.

What is asserted: who hears what, over either transport; what is refused, and how; that
slow, silent and rude clients are cut off; and that a stop is told.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import programs
import pytest
from programs import Server, needs, tool

websocket = pytest.importorskip("websocket", reason="the package websocket-client is not installed")

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Visitor:
    """A member, or somebody who would like to be one, on a WebSocket."""

    def __init__(
        self, server: Server, name: str | None = None, room: str = "lobby", **more: str
    ) -> None:
        self.ws = websocket.create_connection(f"ws://{server.host}:{server.port}/ws", timeout=20)
        self.welcome: Any = None
        if name is not None:
            self.ask("join", name=name, room=room, **more)
            self.welcome = self.next()

    def ask(self, kind: str, **fields: Any) -> None:
        self.ws.send(json.dumps({"type": kind, **fields}))

    def next(self) -> Any:
        return json.loads(self.ws.recv())

    def until(self, kind: str) -> Any:
        """The next event of a kind."""
        while (event := self.next())["type"] != kind:
            pass
        return event

    def closed(self) -> tuple[int, str]:
        """The code and the reason with which the server closes; events before are dropped."""
        while True:
            opcode, data = self.ws.recv_data()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0], data[2:].decode()

    def frame(self, opcode: int, data: bytes, *, fin: int = 1) -> None:
        """Send a frame as it is, be it allowed or not."""
        size = len(data)
        long = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size)
        self.ws.sock.sendall(bytes([fin << 7 | opcode]) + long + bytes(4) + data)


def summary(event: Any) -> tuple[Any, ...]:
    """An event without its time."""
    return tuple(value for key, value in event.items() if key not in ("at", "born"))


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server; after the test it must end well, without a word."""
    with contextlib.ExitStack() as stack:
        servers = []

        def start(*arguments: str, **options: Any) -> Server:
            servers.append(
                stack.enter_context(Server("chat", "--grace", "5", *arguments, **options))
            )
            return servers[-1]

        yield start
        for server in servers:
            if server.process.poll() is None:
                server.stop()


@pytest.fixture
def visit() -> Iterator[Callable[..., Visitor]]:
    with contextlib.ExitStack() as stack:

        def visit(*arguments: Any, **options: Any) -> Visitor:
            visitor = Visitor(*arguments, **options)
            stack.callback(visitor.ws.shutdown)
            return visitor

        yield visit


# ---- rooms


def test_all_in_a_room_hear_what_is_said_and_others_do_not(start, visit):
    server = start()
    ann, bob, eve = visit(server, "ann"), visit(server, "bob"), visit(server, "eve", "attic")
    assert summary(ann.next()) == ("joined", "bob")
    bob.ask("say", text="  héllo ☕  ")
    assert summary(ann.next()) == summary(bob.next()) == ("said", 1, "bob", "héllo ☕")
    eve.ask("say", text="alone")
    assert summary(eve.next()) == ("said", 1, "eve", "alone")
    bob.ws.close()
    assert summary(ann.next()) == ("left", "bob", "")


def test_who_joins_learns_who_is_there_and_what_was_said(start, visit):
    server = start("--burst", "500")
    ann = visit(server, "ann")
    assert ann.welcome["names"] == ["ann"]
    for number in range(105):
        ann.ask("say", text=str(number))
        assert ann.next()["id"] == number + 1
    bob = visit(server, "bob")
    assert (bob.welcome["names"], bob.welcome["count"]) == (["ann", "bob"], 2)
    assert [bob.next()["text"] for _ in range(100)] == [str(number) for number in range(5, 105)]


def test_a_room_is_gone_with_its_last_member(start, visit):
    server = start()
    ann = visit(server, "ann")
    ann.ask("say", text="forget me")
    ann.next()
    ann.ask("leave")
    assert ann.closed()[0] == 1000
    bob = visit(server, "bob")
    assert bob.welcome["born"] != ann.welcome["born"]
    bob.ask("say", text="first")
    assert summary(bob.next()) == ("said", 1, "bob", "first")


def test_a_name_is_unique_in_its_room(start, visit):
    server = start()
    visit(server, "Ann")
    second = visit(server, "aNN")
    assert second.welcome["type"] == "ended"
    assert second.welcome["code"] == 4409
    assert second.closed() == (4409, "somebody in lobby is called aNN already")
    assert visit(server, "ann", "attic").welcome["type"] == "welcome"


def test_who_lost_the_connection_comes_back_under_the_same_name_by_the_key(start, visit):
    server = start()
    bob, ann = visit(server, "bob"), visit(server, "ann", key="secret")
    bob.next()
    again = visit(server, "ann", key="secret")
    assert again.welcome["names"] == ["bob", "ann"] or again.welcome["names"] == ["ann", "bob"]
    assert ann.closed()[0] == 4410
    assert visit(server, "ann", key="guess").welcome["code"] == 4409
    again.ask("say", text="back")
    assert summary(bob.next()) == ("said", 1, "ann", "back")


def test_typing_is_told_to_the_others(start, visit):
    server = start()
    ann, bob = visit(server, "ann"), visit(server, "bob")
    ann.next()
    bob.ask("typing")
    assert summary(ann.next()) == ("typing", "bob")
    bob.ask("say", text="x")
    assert bob.next()["type"] == "said"  # and nothing before it


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"type": "join", "name": "", "room": "x"}, "a name has 1 to 24 characters"),
        ({"type": "join", "name": "x" * 25, "room": "x"}, "a name has 1 to 24 characters"),
        ({"type": "join", "name": "a\x1b[1m", "room": "x"}, "a name has only characters that"),
        ({"type": "join", "name": "\ud800", "room": "x"}, "a name has only characters that"),
        ({"type": "join", "name": "ann", "room": " "}, "a room has 1 to 32 characters"),
        ({"type": "join", "name": 5, "room": "x"}, "a name has 1 to 24 characters"),
        ({"type": "say", "text": "hello"}, "the first message is to join"),
        ({"name": "ann"}, 'this is no object with a "type"'),
        ([], 'this is no object with a "type"'),
    ],
)
def test_what_is_no_way_in_is_refused(shared, visit, request_, reason):
    visitor = visit(shared)
    visitor.ws.send(json.dumps(request_))
    event = visitor.next()
    assert (event["type"], event["code"]) == ("ended", 4400)
    assert event["text"].startswith(reason)
    assert visitor.closed()[0] == 4400


def test_what_a_member_cannot_ask_for_is_told_and_harms_nothing(start, visit):
    ann = visit(start("--burst", "50"), "ann")
    for text in (
        "{",
        "[" * 5000,
        '{"type": "fly"}',
        '{"type": "join", "name": "bob", "room": "x"}',
    ):
        ann.ws.send(text)
        assert ann.next()["type"] == "notice"
    for text in ("", " \n ", "x" * 1001, "\ud800"):
        ann.ask("say", text=text)
        assert ann.next()["text"].startswith("a message has")
    ann.ask("say", text="😀" * 1000)  # which json.dumps makes 12 bytes of
    assert len(ann.next()["text"]) == 1000


def test_who_says_too_much_is_told_and_can_go_on_later(start, visit):
    server = start("--burst", "5")
    ann = visit(server, "ann")
    for number in range(8):
        ann.ask("say", text=str(number))
    assert [ann.next()["type"] for _ in range(8)] == ["said"] * 5 + ["notice"] * 3
    time.sleep(1.2)
    ann.ask("say", text="later")
    assert ann.next()["text"] == "later"


def test_a_crowd_is_not_told_who_comes_and_goes(start, visit):
    server = start(check=False)
    first = visit(server, "first")
    others = [visit(server, f"other {number}") for number in range(205)]
    kinds = [first.next()["type"] for _ in range(201)]
    assert kinds == ["joined"] * 200 + ["members"]
    assert (others[-1].welcome["count"], len(others[-1].welcome["names"])) == (206, 200)
    first.ask("say", text="hello")
    assert summary(first.next()) == ("said", 1, "first", "hello")
    for other in others[140:]:
        other.ws.close()
    event = first.next()
    assert (event["type"], event["count"], len(event["names"])) == ("members", 150, 150)


# ---- the protocol


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with Server("chat") as server:
        yield server
        server.stop()


def test_a_message_may_come_in_fragments_with_a_ping_between(shared, visit):
    ann = visit(shared, "ann", "fragments")
    ann.frame(TEXT, b'{"type": "say", "te', fin=0)
    ann.frame(PING, b"there?")
    ann.frame(0, 'xt": "é'.encode()[:-1], fin=0)
    ann.frame(0, "é".encode()[-1:] + b'"}')
    assert ann.ws.recv_data(control_frame=True) == (PONG, b"there?")
    assert ann.next()["text"] == "é"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(BINARY, b"\0", 1)], 1003),
        ([(TEXT, b"\xff\xfe", 1)], 1007),
        ([(TEXT, b"x" * 16385, 1)], 1009),
        ([(TEXT, b"x" * 9000, 0), (0, b"x" * 9000, 1)], 1009),
        ([(TEXT, b"x", 0), (TEXT, b"y", 1)], 1002),
        ([(0, b"x", 1)], 1002),
        ([(3, b"x", 1)], 1002),
        ([(PING, b"x" * 126, 1)], 1002),
        ([(CLOSE, b"\x03", 1)], 1002),
        ([(CLOSE, struct.pack("!H", 1000) + b"bye", 1)], 1000),
        ([(CLOSE, struct.pack("!H", 3456), 1)], 3456),
    ],
)
def test_what_breaks_the_rules_ends_with_the_code_that_says_so(shared, visit, frames, code):
    ann = visit(shared, "ann", f"rules {len(frames)} {code} {frames[0][0]} {len(frames[0][1])}")
    for opcode, data, fin in frames:
        ann.frame(opcode, data, fin=fin)
    assert ann.closed()[0] == code
    assert ann.ws.sock.recv(1) == b""


def test_a_frame_without_a_mask_is_refused(shared, visit):
    ann = visit(shared, "ann", "mask")
    ann.ws.sock.sendall(b"\x81\x02{}")
    assert ann.closed()[0] == 1002


def test_a_huge_message_is_refused_before_it_has_come(shared, visit):
    ann = visit(shared, "ann", "huge")
    ann.ws.sock.sendall(b"\x81\xff" + struct.pack("!Q", 1 << 40) + bytes(4) + b"x" * 20000)
    assert ann.closed()[0] == 1009


def test_frames_may_come_right_behind_the_handshake(shared):
    join = websocket.ABNF.create_frame('{"type": "join", "name": "ann", "room": "early"}', TEXT)
    with socket.create_connection((shared.host, shared.port), timeout=20) as sock:
        sock.sendall(HANDSHAKE.encode() + join.format())
        data = b""
        while b'"welcome"' not in data:
            data += sock.recv(65536)
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data  # as in RFC 6455


HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("GET", "POST", 405),
        ("Upgrade: websocket\r\n", "", 400),
        ("Version: 13", "Version: 8", 400),
        ("Host: localhost", "Host: \xff", 400),
        ("HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.0\r\n", 400),
        ("Host: localhost", "Host: localhost\r\nOrigin: http://evil.example", 403),
    ],
)
def test_what_is_no_handshake_is_answered_in_http(shared, before, after, status):
    with socket.create_connection((shared.host, shared.port), timeout=20) as sock:
        sock.sendall(HANDSHAKE.replace(before, after).encode("latin-1"))
        assert int(sock.recv(65536).split()[1]) == status


def test_who_is_silent_is_asked_and_then_cut_off(start, visit):
    server = start("--ping", "0.3")
    ann, bob = visit(server, "ann"), visit(server, "bob")
    ann.next()
    heard = threading.Thread(target=ann.until, args=("left",))  # it answers pings meanwhile
    heard.start()
    opcode, _ = bob.ws.recv_data_frame(control_frame=True)
    assert opcode == PING  # which websocket-client has answered
    bob.ws.pong = lambda data: None  # from now on it does not
    assert bob.closed() == (4408, "you have not answered")
    heard.join()


def test_who_does_not_read_is_cut_off_and_the_others_are_told(start, visit):
    server = start("--burst", "100000", check=False)
    ann = visit(server, "ann")
    slow = visit(server, "slow")
    slow.ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    ann.next()
    before, sent = server.memory(), 0
    while True:
        ann.ask("say", text="😀" * 1000)
        sent += 1
        event = ann.next()
        if event["type"] == "left":
            break
        assert sent < 20000
    assert summary(event) == ("left", "slow", "too slow")
    assert server.memory() - before < 16 << 20
    assert slow.closed() == (4429, "you were cut off: too much was waiting for you")


# ---- stopping


def test_a_stop_is_told_by_1001_to_all(start, visit):
    server = start()
    ann, stranger = visit(server, "ann"), visit(server)
    server.signal(signal.SIGTERM)
    assert ann.closed() == (1001, "the server is stopping")
    assert stranger.closed()[0] == 1001
    ann.ws.shutdown()
    stranger.ws.shutdown()
    assert server.process.wait(20) == 0
    assert server.stderr() == ""


# ---- long polling


class Poller:
    """A member that polls, by curl."""

    def __init__(self, server: Server, name: str, room: str = "lobby") -> None:
        self.url = f"{server.url}/poll"
        self.after = 0
        status, answer = self.post("/join", type="join", name=name, room=room)
        assert status == 200, answer
        self.token = f"/{json.loads(answer)['token']}"

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        return curl(f"{self.url}{path}", "--data-binary", json.dumps(fields))

    def ask(self, kind: str, **fields: str) -> tuple[int, str]:
        return self.post(self.token, type=kind, **fields)

    def poll(self, after: int | None = None) -> list[Any]:
        """The next events; from a number on, or from where it is."""
        at = self.after if after is None else after
        status, answer = curl(f"{self.url}{self.token}?after={at}")
        assert status == 200, answer
        self.after = json.loads(answer)["after"]
        return json.loads(answer)["events"]


def curl(url: str, *options: str) -> tuple[int, str]:
    """The status and the body of what curl gets."""
    done = tool("curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *options, url)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@needs("curl")
def test_both_transports_meet_in_one_room(start, visit):
    server = start()
    ann = visit(server, "ann")
    bob = Poller(server, "bob")
    assert summary(ann.next()) == ("joined", "bob")
    assert bob.poll()[0]["names"] == ["ann", "bob"]
    ann.ask("say", text="hello")
    assert [summary(event) for event in bob.poll()] == [("said", 1, "ann", "hello")]
    assert bob.ask("typing") == (204, "")
    assert bob.ask("say", text="hi") == (204, "")
    assert [summary(ann.next()) for _ in range(3)] == [
        ("said", 1, "ann", "hello"),
        ("typing", "bob"),
        ("said", 2, "bob", "hi"),
    ]
    assert bob.ask("leave") == (204, "")
    assert summary(ann.next()) == ("left", "bob", "")
    assert bob.ask("say", text="still here?")[0] == 404


@needs("curl")
def test_a_poll_waits_for_what_is_to_come_but_not_for_ever(start, visit):
    server = start("--wait", "1")
    bob = Poller(server, "bob")
    assert len(bob.poll()) == 1
    began = time.monotonic()
    assert bob.poll() == []
    assert 0.9 < time.monotonic() - began < 10
    waiting = threading.Timer(0.3, bob.ask, ("say",), {"text": "now"})
    waiting.start()
    assert bob.poll()[0]["text"] == "now"
    waiting.join()


@needs("curl")
def test_a_response_that_was_lost_comes_again(start):
    server = start("--wait", "0.5")
    bob = Poller(server, "bob")
    bob.ask("say", text="one")
    assert bob.poll(0) == bob.poll(0)
    assert bob.after == 2
    assert [event["type"] for event in bob.poll(1)] == ["said"]
    assert bob.poll(2) == []
    for wrong in ("3", "-1", "x", "9" * 5000):
        assert curl(f"{bob.url}{bob.token}?after={wrong}")[0] == 400


@needs("curl")
def test_a_second_poll_takes_the_place_of_the_first(start):
    server = start()
    bob = Poller(server, "bob")
    bob.poll()
    found = []
    first = threading.Thread(target=lambda: found.append(curl(f"{bob.url}{bob.token}?after=1")))
    first.start()
    time.sleep(0.3)
    second = threading.Thread(target=lambda: found.append(curl(f"{bob.url}{bob.token}?after=1")))
    second.start()
    first.join(10)
    assert found == [(200, '{"events":[],"after":1}')]
    bob.ask("say", text="x")
    second.join(10)
    assert len(found) == 2


@needs("curl")
def test_who_does_not_poll_any_more_has_left(start, visit):
    server = start("--keep", "0.6")
    ann, bob = visit(server, "ann"), Poller(server, "bob")
    ann.next()
    assert summary(ann.next()) == ("left", "bob", "gone")
    assert bob.ask("say", text="x")[0] == 404


@needs("curl")
def test_who_polls_but_never_says_that_anything_came_is_cut_off(start, visit):
    server = start("--burst", "100000", check=False)
    ann, bob = visit(server, "ann"), Poller(server, "bob")
    ann.next()
    sent = 0
    while (event := ann_says(ann))["type"] != "left":
        sent += 1
        if sent % 100 == 0:
            bob.poll(0)
        assert sent < 2000
    assert summary(event) == ("left", "bob", "too slow")
    assert bob.poll(0)[-1]["code"] == 4429
    assert bob.ask("typing")[0] == 404


def ann_says(ann: Visitor) -> Any:
    ann.ask("say", text="x" * 100)
    return ann.next()


@needs("curl")
def test_what_is_refused_when_polling_says_why_by_its_status(start):
    server = start()
    bob = Poller(server, "bob")
    status, body = bob.post("/join", type="join", name="bob", room="lobby")
    assert (status, json.loads(body)["code"]) == (409, 4409)
    assert bob.post("/join", type="join", name="", room="lobby")[0] == 400
    assert bob.ask("fly")[0] == 400
    assert bob.ask("say", text="x" * 17000)[0] == 413
    assert curl(f"{bob.url}/nobody?after=0")[0] == 404
    assert curl(f"{bob.url}{bob.token}", "-X", "PUT")[0] == 405
    assert curl(f"{server.url}/secret")[0] == 404
    evil = ("-H", "Origin: http://evil.example", "-d", "{}")
    assert curl(f"{bob.url}/join", *evil)[0] == 403


@needs("curl")
def test_who_waits_in_a_poll_hears_of_the_stop(start):
    server = start()
    bob = Poller(server, "bob")
    bob.poll()
    threading.Timer(0.3, server.signal, (signal.SIGTERM,)).start()
    assert bob.poll()[0]["code"] == 1001
    assert server.process.wait(20) == 0


@needs("curl")
def test_the_page_and_its_parts_are_there(shared):
    for path, kind in (("/", "html"), ("/chat.css", "css"), ("/chat.js", "javascript")):
        done = tool("curl", "-sSi", shared.url + path)
        assert f"text/{kind}; charset=utf-8" in done.stdout
        assert "default-src 'self'" in done.stdout


def test_nothing_is_left_of_members_that_have_gone(start, visit):
    server = start("--keep", "0.3")
    before = server.descriptors()
    for number in range(20):
        visit(server, f"member {number}").ws.shutdown()
    server.settles(server.descriptors, before)


def test_help_has_examples():
    done = tool(programs.sys.executable, "-m", "examples.servers.chat", "--help", cwd=programs.ROOT)
    assert "curl" in done.stdout
