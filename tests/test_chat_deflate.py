"""Compressed messages of the chat (RFC 7692), with `websockets` at the other end, and by hand."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from programs import Server
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from examples.servers.chat.deflate import ANSWER, Deflate, agreed

client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.extensions.permessage_deflate import (  # noqa: E402
    ClientPerMessageDeflateFactory,
)

MIB = 1 << 20
FIRST, FIN, COMPRESSED = 0x01, 0x80, 0x40
ROOMS = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("chat", "--burst", "1000") as server:
        yield server
        server.stop()


def connected(server: Server, *offers: Any, **options: Any) -> Any:
    extensions = [ClientPerMessageDeflateFactory(**offer) for offer in offers] or None
    url = f"ws://127.0.0.1:{server.port}/ws"
    return client.connect(url, extensions=extensions, proxy=None, **options)


def joined(ws: Any, name: str, room: str) -> Any:
    ws.send(json.dumps({"type": "join", "name": name, "room": room}))
    return json.loads(ws.recv(20))


OFFERS: list[Any] = [
    [],  # what websockets offers by itself
    [{"client_max_window_bits": None, "server_max_window_bits": None}],
    [{"server_no_context_takeover": True}],
    [{"client_no_context_takeover": True}],
    [{"server_max_window_bits": 9}],
    [{"server_max_window_bits": 15, "client_max_window_bits": 9}],
    [{"server_max_window_bits": 9, "server_no_context_takeover": True}],
    [{"server_max_window_bits": 8}, {"server_max_window_bits": 12}, {}],
]


@pytest.mark.parametrize("offers", OFFERS)
def test_whatever_a_client_offers_messages_come_as_they_were_said(server, offers):
    room = f"offer {next(ROOMS)}"
    with connected(server, *offers) as ws, connected(server, compression=None) as plain:
        assert [each.name for each in ws.protocol.extensions] == ["permessage-deflate"]
        assert plain.protocol.extensions == []
        joined(ws, "ann", room)
        joined(plain, "bob", room)
        ws.recv(20)
        for text in (
            "x",
            "hello " * 166,
            "héllo ☕ 😀" * 100,
            "\x01" * 1000,
            "".join(map(chr, range(33, 1000))),
        ):
            ws.send(json.dumps({"type": "say", "text": text}))
            heard = [json.loads(each.recv(20))["text"] for each in (ws, plain)]
            assert heard == [text.strip()] * 2


def test_what_gains_nothing_goes_out_as_it_is_and_the_rest_compressed():
    near, far = Connection(ConnectionType.SERVER, [Deflate(9999)]), b""
    for text, kind in (("{}", FIN | FIRST), ("hello " * 100, FIN | COMPRESSED | FIRST)):
        far = bytes(near.send(TextMessage(data=text)))
        assert far[0] == kind
    assert len(far) < 60


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", ANSWER),
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; client_max_window_bits=8", ANSWER),
        ('permessage-deflate; server_max_window_bits="10"', f"{ANSWER}; server_max_window_bits=9"),
        ("x-other, permessage-deflate; a=1, permessage-deflate", ANSWER),
        ("permessage-deflate; server_max_window_bits=8", None),  # zlib has no such window
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=x", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate;", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_what_is_answered_to_an_offer(offer, answer):
    assert agreed(offer) == answer


# ---- by hand


def deflated(data: bytes) -> bytes:
    compress = zlib.compressobj(9, wbits=-15)
    return (compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def frame(first: int, data: bytes) -> bytes:
    """A client's frame, whose mask is zero."""
    if len(data) < 126:
        return bytes((first, 128 | len(data))) + bytes(4) + data
    return bytes((first, 254)) + len(data).to_bytes(2, "big") + bytes(4) + data


def received(*frames: bytes, size: int = 1 << 20) -> list[Any]:
    """The events of a server's side that gets this, in pieces of a size."""
    near, data, found = Connection(ConnectionType.SERVER, [Deflate(16384)]), b"".join(frames), []
    for start in range(0, len(data), size):
        near.receive_data(data[start : start + size])
        found += list(near.events())
    return found


def text_of(events: list[Any]) -> str:
    return "".join(event.data for event in events if isinstance(event, TextMessage))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_a_compressed_message_may_come_in_fragments_with_a_ping_between(size):
    data = deflated(("hello " * 50 + "☕").encode())
    cut = len(data) // 2
    events = received(
        frame(FIRST | COMPRESSED, data[:cut]),
        frame(FIN | 9, b"there?"),
        frame(0, data[cut:]),
        frame(FIN, b""),
        frame(FIN | FIRST, b" and plain"),
        frame(FIN | FIRST | COMPRESSED, deflated(b" and again")),
        size=size,
    )
    assert text_of(events) == "hello " * 50 + "☕ and plain and again"
    assert [event.payload for event in events if isinstance(event, Ping)] == [b"there?"]


def test_a_block_that_ends_the_stream_ends_the_message_only():
    compress = zlib.compressobj(wbits=-15)
    ended = compress.compress(b"once") + compress.flush(zlib.Z_FINISH)
    events = received(frame(FIN | FIRST | COMPRESSED, ended + b"\0") * 2)
    assert text_of(events) == "onceonce"


def test_an_empty_message_may_be_compressed():
    assert (
        text_of(received(frame(FIN | FIRST | COMPRESSED, b"\0"), frame(FIN | FIRST, b"x"))) == "x"
    )


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(FIN | FIRST | COMPRESSED, b"\xff\xff\xff")], 1007),  # no such block
        ([frame(FIN | FIRST | COMPRESSED, deflated(b"\xff"))], 1007),  # no UTF-8
        ([frame(FIRST | COMPRESSED, b""), frame(FIN | COMPRESSED, b"\0")], 1002),
        ([frame(FIN | 9 | COMPRESSED, b"")], 1002),
        ([frame(FIN | FIRST | 0x20, b"")], 1002),  # a bit that nobody has agreed on
        ([frame(FIN | FIRST | COMPRESSED, deflated(b"x" * 16384))], None),
        ([frame(FIN | FIRST | COMPRESSED, deflated(b"x" * 16385))], 1009),
        ([frame(FIN | 2 | COMPRESSED, deflated(bytes(50 * MIB)))], 1009),
        ([frame(FIRST | COMPRESSED, deflated(b"x" * 9000)[:-1])] * 1 + [frame(0, b"")] * 9, None),
    ],
)
def test_what_breaks_the_rules_ends_with_the_code_that_says_so(frames, code):
    events = received(*frames)
    codes = [event.code for event in events if isinstance(event, CloseConnection)]
    assert codes == ([] if code is None else [code])
    sizes = [len(e.data) for e in events if isinstance(e, (TextMessage, BytesMessage))]
    assert sum(sizes) <= 16385


def test_a_bomb_is_refused_and_takes_no_memory(server):
    bomb = deflated(bytes(60 * MIB))
    assert len(bomb) < 65536
    with connected(server) as ws:
        joined(ws, "ann", f"bomb {next(ROOMS)}")
        before = server.memory()
        # As the library would send it, were it asked to send bytes that are compressed already.
        ws.socket.sendall(frame(FIN | FIRST | COMPRESSED, bomb))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(20)
        assert closed.value.rcvd.code == 1009
        assert server.memory() - before < 8 * MIB
