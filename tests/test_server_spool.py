"""No thread of the WSGI server waits for a client: what waits in its place, and within what bounds."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from functools import partial

import pytest
from helpers import vrun
from hypothesis import given, settings
from hypothesis import strategies as st
from wsgi_apps import large
from wsgi_clients import LONG, MIB, ask, body_of, connected, logged, raw, said, serving

from examples.servers.http1 import Http
from examples.servers.limits import PATIENT
from examples.servers.wsgi.gateway import Call
from examples.servers.wsgi.spool import IN_MEMORY, PIECE, Answer, Disk, Full, Gone, Upload
from microthreads import Socket, Stream, sleep

PLENTY = 100 * MIB

# ---- an answer


def put_all(answer: Answer, data: bytes) -> int:
    """Put in as much as there is room for."""
    rest = memoryview(data)
    while rest and (size := answer.put(rest)):
        rest = rest[size:]
    return len(data) - len(rest)


def take_all(answer: Answer) -> bytes:
    return b"".join(iter(answer.take, b""))


def left(disk: Disk) -> int:
    """How much more the disk takes."""
    size = 0
    while disk.reserve(1 << 10):
        size += 1 << 10
    disk.release(size)
    return size


@settings(deadline=None)
@given(st.lists(st.integers(1, 3 * PIECE) | st.none(), max_size=40))
def test_what_is_taken_out_is_what_was_put_in(steps: list[int | None]) -> None:
    disk, text = Disk(MIB), large(120 * PIECE)
    answer = Answer(disk, 5 * PIECE)
    given, taken = bytearray(), bytearray()
    for step in steps:
        if step is None:
            taken += answer.take()
        else:
            data = text[len(given) : len(given) + step]
            given += data[: put_all(answer, data)]
        assert len(given) - len(taken) <= IN_MEMORY + 5 * PIECE
    assert taken + take_all(answer) == given
    assert (answer.taken, left(disk)) == (len(given), MIB)  # and nothing is left behind
    answer.close()


def test_an_answer_is_ahead_of_its_client_by_so_much_and_no_more() -> None:
    answer = Answer(Disk(PLENTY), 3 * MIB)
    assert put_all(answer, bytes(PLENTY)) == IN_MEMORY + 3 * MIB
    assert (answer.put(memoryview(b"x")), len(take_all(answer))) == (0, IN_MEMORY + 3 * MIB)
    assert answer.put(memoryview(b"x")) == 1
    answer.close()


def test_all_answers_together_have_so_much_of_the_disk_and_each_some_memory() -> None:
    disk = Disk(2 * MIB)
    answers = [Answer(disk, PLENTY) for _ in range(3)]
    sizes = [put_all(answer, bytes(PLENTY)) for answer in answers]
    assert sizes == [IN_MEMORY + 2 * MIB, IN_MEMORY, IN_MEMORY]
    assert len(answers[1].take()) == IN_MEMORY
    assert put_all(answers[1], bytes(PLENTY)) == IN_MEMORY  # so its client is served even so
    answers[0].close()
    assert put_all(answers[1], bytes(PLENTY)) == 2 * MIB
    for answer in answers:
        answer.close()
    assert left(disk) == 2 * MIB


def test_a_small_answer_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file is opened"))
    answer = Answer(Disk(PLENTY), PLENTY)
    for _ in range(100):
        assert put_all(answer, bytes(IN_MEMORY)) == IN_MEMORY
        assert len(take_all(answer)) == IN_MEMORY


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EDQUOT])
def test_what_the_disk_does_not_take_waits_for_the_client(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(PLENTY)
    answer = Answer(disk, PLENTY)
    written = put_all(answer, large(MIB))

    def fails(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", fails)
    monkeypatch.setattr(tempfile, "TemporaryFile", fails)
    assert answer.put(memoryview(b"more")) == 0
    assert take_all(answer) == large(MIB)[:written]
    assert put_all(answer, large(MIB)) == IN_MEMORY  # memory is left, and goes on
    other = Answer(disk, PLENTY)
    assert put_all(other, large(MIB)) == IN_MEMORY
    assert left(disk) == PLENTY
    answer.close()


def test_a_thread_waits_until_the_client_moves_on() -> None:
    answer = Answer(Disk(PLENTY), 1)
    put_all(answer, bytes(PLENTY))
    assert not answer.moves_on(0, 0.01)
    threading.Timer(0.05, answer.take).start()
    assert answer.moves_on(0, LONG)
    assert answer.moves_on(0, 0)  # it has by now
    answer.close()


def test_nothing_is_put_into_what_nobody_takes_any_more() -> None:
    answer = Answer(Disk(PLENTY), 1)
    put_all(answer, bytes(PLENTY))
    threading.Timer(0.05, answer.close).start()
    assert answer.moves_on(0, LONG)
    with pytest.raises(Gone, match="this request is over"):
        answer.put(memoryview(b"x"))
    assert answer.take() == b""


# ---- a request's body


def test_a_body_is_a_file_that_is_on_the_disk_if_it_is_large() -> None:
    disk = Disk(MIB)
    upload = Upload(disk)
    upload.put(bytes(IN_MEMORY))
    assert left(disk) == MIB
    upload.put(b"more\n")
    assert left(disk) < MIB
    upload.file.seek(IN_MEMORY)
    assert (upload.file.readline(), upload.size) == (b"more\n", IN_MEMORY + 5)
    upload.close()
    upload.close()
    assert left(disk) == MIB


def test_a_body_that_finds_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(MIB)
    first, second = Upload(disk), Upload(disk)
    first.put(bytes(MIB - 1024))
    second.put(bytes(IN_MEMORY))
    with pytest.raises(Full, match="no room for 65537 bytes"):
        second.put(b"x")
    first.close()
    second.put(b"x")
    second.close()

    def fails(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    third = Upload(disk)
    monkeypatch.setattr(third.file, "write", fails)
    with pytest.raises(Full, match="No space left"):
        third.put(bytes(MIB))
    third.close()
    assert left(disk) == MIB


# ---- clients that do not read


def unread(stack: ExitStack, server, path: str, count: int) -> list[http.client.HTTPResponse]:
    """Responses that nobody reads further than to the end of their headers."""
    found = []
    for _ in range(count):
        connection = http.client.HTTPConnection(server.host, server.port, timeout=LONG)
        stack.enter_context(closing(connection))
        connection.request("GET", path, headers={"Connection": "close"})
        found.append(stack.enter_context(connection.getresponse()))
    return found


def rest_of(client: socket.socket) -> bytes:
    return b"".join(iter(partial(client.recv, MIB), b""))


@pytest.mark.parametrize("blocks", [1, 500])
def test_clients_that_do_not_read_their_answers_stop_nobody(blocks):
    with serving("wsgi_apps:app", "--threads", "8") as server, ExitStack() as stack:
        before = server.descriptors()
        memory = server.memory()
        answers = unread(stack, server, f"/large?{40 * MIB}&{blocks}", 8)
        for _ in range(3):
            assert body_of(server, "/answer?200&small") == b"small"
        text = "\n".join(["closed large"] * 8)
        server.settles(lambda: body_of(server, "/log").decode(), text)
        assert server.memory() < memory + 150 * MIB
        assert answers[0].read() == large(40 * MIB // blocks) * blocks  # late, and all of it
        stack.close()
        server.settles(server.descriptors, before)
        server.stop()


def test_an_answer_that_is_too_far_ahead_gives_way_when_others_need_its_thread():
    options = ("--threads", "2", "--ahead", "1", "--verbose")
    with serving("wsgi_apps:app", *options) as server, ExitStack() as stack:
        unread(stack, server, "/endless", 2)
        time.sleep(1.5)  # while nobody needs their threads, they keep them
        assert "cut off" not in server.stderr()
        assert body_of(server, "/answer?200&small") == b"small"
        said(server, "cut off, it takes nothing while others wait")
        assert logged(server, "closed endless")


class Scripted(Answer):
    """An answer without room, the client of which moves on or not, as `moves` says."""

    def __init__(self, moves: list[bool]) -> None:
        super().__init__(Disk(0), 0)
        self.moves = moves

    def put(self, data: memoryview) -> int:
        return 0 if self.moves else super().put(data)

    def moves_on(self, since: int, seconds: float) -> bool:
        return self.moves.pop(0)


@pytest.mark.parametrize(
    ("moves", "wanted", "outcome"),
    [
        ([True, True, True], True, "all is in"),  # who reads, keeps his thread
        ([False, False], False, "all is in"),  # who does not, too, if nobody else needs it
        ([True, False, True], True, "the client takes nothing, and others wait for this thread"),
    ],
)
def test_a_client_that_takes_nothing_gives_way_if_its_thread_is_wanted(moves, wanted, outcome):
    async def main() -> str:
        near, far = (Stream(Socket(each)) for each in socket.socketpair())
        with near, far, closing(Scripted(moves)) as answer, closing(Upload(Disk(0))) as upload:
            http = Http(near, None, PATIENT)
            environ = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/"}
            call = Call(None, http, environ, upload, answer, lambda: wanted)
            call.start_response("200 OK", [])
            try:
                call.write(b"block")
            except Gone as error:
                await sleep(1)  # the connection is cut by the kernel
                assert near.closed
                return str(error)
            assert not near.closed
            return "all is in"

    assert vrun(main()) == outcome


def test_a_spool_that_is_full_slows_answers_down_and_no_more():
    options = ("--threads", "4", "--max-spool", "1")
    with serving("wsgi_apps:app", *options) as server, ExitStack() as stack:
        unread(stack, server, f"/large?{40 * MIB}&40", 1)
        body = ask(server, f"/large?{8 * MIB}&8")[2]
        assert body == large(MIB) * 8
        assert body_of(server, "/answer?200&small") == b"small"
        server.signal(9)


@pytest.mark.parametrize("path", ["/endless", "/endless?204", "/endless?304"])
def test_an_answer_without_a_body_frees_its_thread_although_its_body_does_not_end(path):
    with serving("wsgi_apps:app", "--threads", "1") as server:
        method = "GET" if "?" in path else "HEAD"
        for _ in range(3):
            status, _, body = ask(server, path, method)
            assert (status, body) == (int(path.partition("?")[2] or 200), b"")
        assert body_of(server, "/log") == b"\n".join([b"block", b"closed endless"] * 3)
        server.stop()


# ---- clients that do not send

POST = b"POST /size HTTP/1.1\r\nHost: a\r\n"
LATE = {  # what is sent at first, what later, and how long the body is
    "nothing": (POST + b"Content-Length: 10\r\n\r\n", bytes(10), b"10"),
    "much": (POST + b"Content-Length: 500000\r\n\r\n" + bytes(499_999), b"x", b"500000"),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc", b"\r\n0\r\n\r\n", b"3"),
    "expect": (POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", b"abc", b"3"),
}


@pytest.mark.parametrize(("begin", "rest", "size"), LATE.values(), ids=list(LATE))
def test_clients_that_announce_a_body_and_do_not_send_it_stop_nobody(begin, rest, size):
    with serving("wsgi_apps:app", "--threads", "2") as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(8)]
        for client in clients:
            client.sendall(begin)
        time.sleep(0.1)
        assert body_of(server, "/size") == b"0 bytes"
        clients[0].sendall(rest)
        found = b""
        while not found.endswith(size + b" bytes"):
            found += clients[0].recv(MIB)
        assert b" 200 OK" in found
        server.signal(9)


def test_a_body_that_is_too_large_is_refused_as_soon_as_that_is_known():
    with serving("wsgi_apps:app", "--max-body", "1") as server:
        said_so = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n"
        assert raw(server, said_so).startswith(b"HTTP/1.1 413 ")
        chunk = b"40000\r\n" + bytes(0x40000) + b"\r\n"
        not_said = b"POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert raw(server, not_said + 5 * chunk).startswith(b"HTTP/1.1 413 ")
        assert b" 200 OK" in raw(server, not_said.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")
                                 + 4 * chunk + b"0\r\n\r\n")  # fmt: skip
        server.stop()


def test_bodies_that_fill_the_spool_are_told_so_and_small_ones_are_served():
    with serving("wsgi_apps:app", "--max-spool", "1") as server, ExitStack() as stack:
        before = server.descriptors()
        client = stack.enter_context(connected(server))
        head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % 70_000 + bytes(IN_MEMORY + 1))
        server.settles(server.descriptors, before + 2)  # the connection, and the file
        assert raw(server, head % MIB + bytes(MIB)).startswith(b"HTTP/1.1 503 ")
        assert raw(server, head % 9 + bytes(9)).endswith(b"\r\n9 bytes")
        client.sendall(bytes(70_000 - IN_MEMORY - 1))
        assert rest_of(client).endswith(b"\r\n70000 bytes")
        assert raw(server, head % MIB + bytes(MIB)).endswith(b"\r\n1048576 bytes")  # room again
        said(server, "WARNING 127.0.0.1: the spool has no room for")


def test_nothing_is_left_where_temporary_files_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving("wsgi_apps:app", "--threads", "2") as server, ExitStack() as stack:
        unread(stack, server, f"/large?{20 * MIB}&1", 3)
        client = stack.enter_context(connected(server))
        client.sendall(LATE["much"][0])
        time.sleep(0.3)
        server.signal(9)
        server.process.wait(LONG)
    assert list(tmp_path.iterdir()) == []
