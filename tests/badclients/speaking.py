"""How the servers of the table are spoken to: by a good client, and in valid samples.

`..._options` prepare what a server is started with; `begin_...` is what a good client does
once on a connection, `talk_...` its request, which must be answered rightly, and `good_...`
whether what came back for any input can be an answer at all.
"""

from __future__ import annotations

import base64
import itertools
import os
import socket
import ssl
import zlib
from contextlib import ExitStack
from pathlib import Path

import trustme
from programs import Server

from .entry import MIB, Connection, Places, expect, received, until

NUMBERS = itertools.count(1)  # so that no two good clients say the same

# ---- echo, and what is between a client and it


def talk_echo(connection: Connection) -> None:
    """What is sent comes back."""
    data = b"good client %d" % next(NUMBERS) * 20
    connection.sendall(data)
    expect(received(connection, len(data)), data)


def talk_datagrams(connection: Connection) -> None:
    """A datagram comes back; the system may drop some, so there are several tries."""
    data = b"good client %d" % next(NUMBERS)
    connection.settimeout(1)
    for _ in range(5):
        connection.send(data)
        try:
            while connection.recv(70_000) != data:
                pass
        except TimeoutError:
            continue
        return
    raise AssertionError("five datagrams, and no answer")


def good_echo(sent: bytes, answer: bytes) -> bool:
    """All of it came back; nothing else does."""
    return answer == sent


def unix_options(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    return ["--unix", str(folder / "socket")]


def tls_options(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    authority = trustme.CA()
    places["context"] = ssl.create_default_context()
    authority.configure_trust(places["context"])
    path = folder / "certificate"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    return ["--cert", str(path)]


def begin_tls(sock: socket.socket, places: Places) -> Connection:
    context: ssl.SSLContext = places["context"]
    return context.wrap_socket(sock, server_hostname="localhost")


def beside_echo(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    """A proxy needs somebody to connect to."""
    echo = stack.enter_context(Server("echo", check=False))
    places["port"] = echo.port
    return ["--to", f"127.0.0.1:{echo.port}"]


def socks_options(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    """Nowhere else may it connect to, whatever a mutated address says."""
    _, to = beside_echo(folder, stack, places)
    return ["--allow", to]


def begin_socks(sock: socket.socket, places: Places) -> Connection:
    sock.sendall(b"\5\1\0")
    expect(received(sock, 2), b"\5\0")
    sock.sendall(b"\5\1\0\1\x7f\0\0\1" + places["port"].to_bytes(2, "big"))
    expect(received(sock, 10)[:4], b"\5\0\0\1")
    return sock


def good_socks(sent: bytes, answer: bytes) -> bool:
    """The answer to the greeting, and if that agrees on something, to the request."""
    return answer[:2] in (b"", b"\5\0", b"\5\xff") and answer[2:3] in (b"", b"\5")


# ---- HTTP


def files_options(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    root = folder / "root"
    (root / "folder").mkdir(parents=True)
    (root / "hello.txt").write_text("hello\n")
    (root / "a file.html").write_text("<p>hello</p>\n")
    (root / "folder" / "index.html").write_text("an index\n")
    (root / "empty.txt").write_bytes(b"")
    (root / "big").write_bytes(bytes(16 * MIB))
    (root / "known").write_bytes(os.urandom(3000))
    return ["--root", str(root)]


def response(connection: Connection) -> tuple[int, bytes]:
    """The status and the body of a response."""
    head = until(connection, b"\r\n\r\n").decode("latin-1").lower()
    lines = head.splitlines()
    lengths = [line.split(":")[1] for line in lines if line.startswith("content-length:")]
    body = received(connection, int(lengths[0]) if lengths else 0)
    return int(lines[0].split()[1]), body


def talk_files(connection: Connection) -> None:
    connection.sendall(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    expect(response(connection), (200, b"hello\n"))


def talk_files_when_full(connection: Connection) -> None:
    """There is no descriptor for the file, which is told as it should be."""
    connection.sendall(b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
    expect(response(connection)[0], 503)


def talk_page(connection: Connection) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, body = response(connection)
    expect((status, b"<html" in body), (200, True))


def talk_upload(connection: Connection) -> None:
    size = 1000 + next(NUMBERS) % 1000
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
    connection.sendall(head + bytes(size))
    begin = until(connection, b"\r\n\r\n")
    expect(begin[:13], b"HTTP/1.1 200 ")
    expect(until(connection, b"\n"), b"%d bytes\n" % size)


def good_http(sent: bytes, answer: bytes) -> bool:
    return not answer or answer.startswith(b"HTTP/1.1 ")


def long_http() -> tuple[bytes, ...]:
    """Requests with too much in them."""
    begin = b"GET / HTTP/1.1\r\nHost: x\r\n"
    return (
        b"GET /" + b"x" * MIB + b" HTTP/1.1\r\n\r\n",
        begin + b"X: " + b"x" * MIB + b"\r\n\r\n",
        begin + b"X: x\r\n" * 100_000 + b"\r\n",
        b"x" * (4 * MIB),
        b"\r\n" * MIB,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"
        + bytes(4 * MIB),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 20_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * MIB,
    )


# ---- the cache


def words(*parts: bytes) -> bytes:
    """A command, as a client sends it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)


def talk_cache(connection: Connection) -> None:
    """What was set is there; others may set a key of this name, but not so soon."""
    name = b"good:%d:%d" % (os.getpid(), next(NUMBERS))
    connection.sendall(words(b"SET", name, name) + words(b"GET", name) + words(b"DEL", name))
    expected = b"+OK\r\n$%d\r\n%b\r\n:1\r\n" % (len(name), name)
    expect(received(connection, len(expected)), expected)


def good_resp(sent: bytes, answer: bytes) -> bool:
    return answer[:1] in (b"", *map(bytes, zip(b"+-:$*%~>_="))) and (
        not answer or answer.endswith(b"\r\n")
    )


# ---- the chat


def chat_options(folder: Path, stack: ExitStack, places: Places) -> list[str]:
    """Sessions that nobody polls are to be gone soon; a good client may say much."""
    return ["--keep", "1", "--wait", "1", "--burst", "1000"]


DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def upgrade(more: bytes = b"") -> bytes:
    """The request that makes a WebSocket of the connection."""
    return (
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n%b\r\n" % more
    )


def frame(data: bytes, kind: int = 1, last: bool = True) -> bytes:
    """A frame of a WebSocket, as a client sends it: masked."""
    mask, size = b"\1\2\3\4", len(data)
    if size < 126:
        length = bytes((128 + size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    return bytes((128 * last + kind,)) + length + mask + masked


def deflated(data: bytes) -> bytes:
    """A message, compressed as permessage-deflate has it."""
    compress = zlib.compressobj(9, wbits=-15)
    return (compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def begin_chat(sock: socket.socket, places: Places) -> Connection:
    sock.sendall(upgrade())
    expect(until(sock, b"\r\n\r\n")[:13], b"HTTP/1.1 101 ")
    me = b"good%d" % next(NUMBERS)
    sock.sendall(frame(b'{"type": "join", "name": "%b", "room": "of %b"}' % (me, me)))
    expect(text_of(sock)[:17], b'{"type":"welcome"')
    return sock


def talk_chat(connection: Connection) -> None:
    """Who says something hears it."""
    text = b"this is %d" % next(NUMBERS)
    connection.sendall(frame(b'{"type": "say", "text": "%b"}' % text))
    while text not in text_of(connection):
        pass


def text_of(connection: Connection) -> bytes:
    """The next frame of the server."""
    kind, size = received(connection, 2)
    expect(kind, 0x81)  # a whole text
    if size >= 126:
        size = int.from_bytes(received(connection, 2 if size == 126 else 8), "big")
    return received(connection, size)


# ---- TLS: what OpenSSL 3.0 says first, to speak 1.3, and to speak 1.2

HELLOS = (
    base64.b64decode(
        "FgMBAgABAAH8AwOHtTIAyl8XSBJTZ9KBovRKobso/wMQmwlaLQLR4jI4OiDJdqXJYSyIrlfJxYFq9u96HjxX"
        "AQMVm4uL6XoQtelDqwAkEwITAxMBwCzAMMArwC/MqcyowCTAKMAjwCcAnwCeAGsAZwD/AQABjwAAAA4ADAAA"
        "CWxvY2FsaG9zdAALAAQDAAECAAoAFgAUAB0AFwAeABkAGAEAAQEBAgEDAQQAIwAAABYAAAAXAAAADQAqACgE"
        "AwUDBgMIBwgICAkICggLCAQIBQgGBAEFAQYBAwMDAQMCBAIFAgYCACsABQQDBAMDAC0AAgEBADMAJgAkAB0A"
        "IHMIXd3nvsgouZbFiWqDwO967nO3YvRLf0h22jdg83UaABUA"
    )
    + b"\xe4"
    + bytes(228),  # padding
    base64.b64decode(
        "FgMBAK8BAACrAwOCNqjmgwikRdQMRUz7mcdytf3X16xa+zpzxczj8hmCVgAAHsAswDDAK8AvzKnMqMAkwCjA"
        "I8AnAJ8AngBrAGcA/wEAAGQAAAAOAAwAAAlsb2NhbGhvc3QACwAEAwABAgAKAAwACgAdABcAHgAZABgAIwAA"
        "ABYAAAAXAAAADQAqACgEAwUDBgMIBwgICAkICggLCAQIBQgGBAEFAQYBAwMDAQMCBAIFAgYC"
    ),
)
