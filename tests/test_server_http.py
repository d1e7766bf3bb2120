"""HTTP of the example servers: conversations on a virtual clock, then the file server under load.

In the first part both ends are tasks of one kernel, so clients that are slow for a minute
take no time. In the second the clients are curl, wrk and raw sockets.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from helpers import vrun
from programs import Server, needs, tool

from examples.servers.conversation import converse
from examples.servers.http1 import Http
from examples.servers.limits import Limits
from examples.servers.messages import BadRequest, Request, parsed
from microthreads import Event, Socket, Stream, TaskGroup, now, sleep

HELLO = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

# ---- conversations in one kernel


async def hello(http: Http, request: Request) -> None:
    await http.respond(200, f"{request.method} {request.path}".encode())


class Talk:
    """A conversation between `client`, a routine that is given a stream, and `converse`.

    Attributes:
        result: What the client returned.
        error: What `converse` raised.
        seconds: How long it took until `converse` was done.
    """

    def __init__(
        self, client: Any, answer: Any = hello, stopping: Event | None = None, pair: Any = None
    ) -> None:
        self.client, self.answer, self.stopping = client, answer, stopping
        self.pair = pair or socket.socketpair
        self.error: Exception | None = None
        vrun(self.main())

    async def main(self) -> None:
        near, far = (Stream(Socket(each)) for each in self.pair())
        self.began = now()
        async with TaskGroup() as group:
            await group.spawn(self.serve(near))
            with far:
                self.result = await self.client(far)

    async def serve(self, stream: Stream) -> None:
        with stream:
            try:
                await converse(stream, self.answer, self.stopping, Limits())
            except Exception as error:
                self.error = error
        self.seconds = now() - self.began


def says(*parts: bytes, every: float = 0.0, end: bool = False) -> Callable[[Stream], Any]:
    """A client that sends these, with pauses between, and returns all that it is answered."""

    async def client(stream: Stream) -> bytes:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                await stream.write(part)
                await sleep(every)
        if end:
            await stream.write_eof()
        return await stream.read(-1)

    return client


def statuses(data: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", data)]


def test_requests_are_answered_in_their_order_until_the_client_is_idle():
    talk = Talk(says(HELLO * 3, HELLO, every=5))
    assert statuses(talk.result) == [200] * 4
    assert 65 <= talk.seconds <= 68


def test_a_request_may_come_in_any_two_pieces():
    request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + HELLO
    for cut in range(len(request) + 1):
        talk = Talk(says(request[:cut], request[cut:], every=0.1, end=True))
        assert re.findall(rb"(POST /a|GET /)", talk.result) == [b"POST /a", b"GET /"]


def test_empty_lines_before_a_request_are_ignored():
    assert statuses(Talk(says(b"\r\n", b"\r\n" + HELLO, every=0.1)).result) == [200]


@pytest.mark.parametrize("first", [b"", b"\r\n", HELLO])
def test_who_sends_no_request_is_left_after_the_idle_time(first: bytes):
    talk = Talk(says(first))
    assert statuses(talk.result) == [200] * (first == HELLO)
    assert 60 <= talk.seconds <= 62


def test_empty_lines_do_not_keep_a_connection_alive():
    talk = Talk(says(*[b"\r\n"] * 100, every=1))
    assert (talk.result, talk.seconds <= 62) == (b"", True)


@pytest.mark.parametrize("every", [1, 1000])
def test_headers_that_take_too_long_are_answered_by_408(every: float):
    request = b"GET / HTTP/1.1\r\nHost: a-long-name-that-comes-slowly\r\n\r\n"
    talk = Talk(says(*(request[at : at + 1] for at in range(len(request))), every=every))
    assert statuses(talk.result) == [408]
    assert 10 <= talk.seconds <= 12


async def read_all(http: Http, request: Request) -> None:
    await http.respond(200, await http.whole_body(1000))


def test_a_body_that_takes_too_long_is_answered_by_408():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    talk = Talk(says(head, *[b"x"] * 59, every=1), read_all)
    assert statuses(talk.result) == [408]
    assert 60 <= talk.seconds <= 62


def test_a_body_that_is_too_large_is_answered_by_413():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"
    talk = Talk(says(head + b"x" * 1001, HELLO), read_all)
    assert statuses(talk.result) == [413]
    assert b"Connection: close" in talk.result


def test_a_client_that_does_not_read_is_given_up():
    async def much(http: Http, request: Request) -> None:
        await http.respond(200, bytes(50_000_000))

    async def client(stream: Stream) -> bytes:
        await stream.write(HELLO)
        await sleep(100)
        return await stream.read(-1)

    talk = Talk(client, much)
    assert isinstance(talk.error, ConnectionResetError)
    assert 30 <= talk.seconds <= 31
    assert len(talk.result) < 50_000_000


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET mailto:x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://[x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: what\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n", 400),
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://user@host/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),  # what HTTP/2 begins with
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 20000, 431),
        (b"GET / HTTP/1.1\r\nHo", 400),  # and no more
    ],
)
def test_a_bad_request_is_told_so_and_the_connection_ends(request_bytes: bytes, status: int):
    talk = Talk(says(request_bytes, end=True))
    assert statuses(talk.result) == [status]
    assert b"Connection: close" in talk.result
    assert (talk.error, talk.seconds <= 2) == (None, True)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 6\r\n"


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        (b"1.1", LENGTH + CHUNKED),
        (b"1.1", CHUNKED + LENGTH),
        (b"1.1", CHUNKED.replace(b" chunked", b"\r\n chunked") + LENGTH),  # over two lines
        (b"1.1", CHUNKED.upper() + LENGTH.lower()),
        (b"1.1", CHUNKED.replace(b"\r\n", b"\n") + LENGTH),
        (b"1.1", b"Content-Length: 0\r\n" + CHUNKED),
        (b"1.0", CHUNKED),  # HTTP/1.0 knows nothing of it
    ],
)
def test_behind_a_body_whose_end_is_uncertain_there_is_no_request(version: bytes, headers: bytes):
    head = b"POST / HTTP/%b\r\nHost: x\r\nConnection: keep-alive\r\n%b\r\n" % (version, headers)
    talk = Talk(says(head + b"0\r\n\r\n" + HELLO, end=True), read_all)
    assert statuses(talk.result) == [400]


def test_a_later_version_of_http_1_is_answered_as_1_1_is():
    assert statuses(Talk(says(HELLO.replace(b"1.1", b"1.2"), end=True)).result) == [200]


OLD = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
KEPT = b"\r\nConnection: keep-alive\r\n"
CLOSED = b"\r\nConnection: close\r\n"


def test_an_old_client_that_asks_for_it_may_go_on():
    for requests in ([OLD * 2 + HELLO], [OLD, OLD, HELLO]):
        result = Talk(says(*requests, every=1, end=True)).result
        assert (statuses(result), result.count(KEPT), result.count(b"GET /")) == ([200] * 3, 2, 3)
        assert CLOSED not in result


def test_an_old_client_may_send_a_body_and_go_on():
    post = OLD.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
    result = Talk(says(post * 2, end=True), read_all).result
    assert (result.count(KEPT), result.count(b"\r\n\r\nabc")) == (2, 2)
    unread = Talk(says(post * 2, end=True)).result  # nobody wants the body
    assert unread.count(b"POST /") == 2


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_an_old_client_goes_on_after_answers_whose_end_it_sees(method: bytes):
    async def parts(http: Http, request: Request) -> None:
        if request.path == "/204":
            await http.respond(204)
            return
        length = [("Content-Length", "3")] if request.path == "/length" else []
        await http.start(200, *length)
        await http.send(b"abc")
        await http.finish()

    old = OLD.replace(b"GET", method)
    known = old.replace(b"/ ", b"/length ") + old.replace(b"/ ", b"/204 ")
    result = Talk(says(known + old + HELLO, end=True), parts).result
    # Without a length, the end is seen by the close alone; but a HEAD has no body.
    heads = 2 if method == b"GET" else 3
    assert (result.count(KEPT), result.count(CLOSED)) == (heads, method == b"GET")
    assert len(statuses(result)) == (3 if method == b"GET" else 4)


@pytest.mark.parametrize("said", [b"close", b"keep-alive, close", b"upgrade", b""])
def test_an_old_client_that_asks_for_something_else_may_not(said: bytes):
    result = Talk(says(OLD.replace(b"Keep-Alive", said) * 2, end=True)).result
    assert (statuses(result), CLOSED in result, KEPT in result) == ([200], True, False)


def test_an_old_client_is_told_that_the_server_stops():
    stopping = Event()

    async def slow(http: Http, request: Request) -> None:
        stopping.set()
        await http.respond(200, b"done")

    result = Talk(says(OLD * 2), slow, stopping).result
    assert (statuses(result), CLOSED in result) == ([200], True)


def test_an_old_client_is_left_after_the_idle_time_as_others_are():
    assert 60 <= Talk(says(OLD)).seconds <= 62


def test_a_body_that_nobody_wanted_is_read_away_if_it_is_small():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    small = Talk(says(head % 5000 + bytes(5000) + HELLO, end=True))
    assert statuses(small.result) == [200, 200]
    large = Talk(says(head % 500_000 + bytes(500_000) + HELLO, end=True))
    assert statuses(large.result) == [200]
    late = Talk(says(head % 5000 + bytes(4000)))
    assert statuses(late.result) == [200]
    assert late.seconds <= 3


def test_a_client_is_told_to_go_on_only_if_its_body_is_wanted():
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    assert statuses(Talk(says(head, b"abc", every=0.1), read_all).result) == [100, 200]
    assert statuses(Talk(says(head, b"abc", every=0.1)).result) == [200]


def test_an_answer_that_fails_is_answered_by_500_and_reported():
    async def broken(http: Http, request: Request) -> None:
        raise KeyError("oops")

    talk = Talk(says(HELLO * 2), broken)
    assert statuses(talk.result) == [500]
    assert isinstance(talk.error, KeyError)
    assert b"oops" not in talk.result  # nobody else's business


@pytest.mark.parametrize("error", [KeyError("oops"), BadRequest(400, "oops")])
def test_an_answer_that_fails_in_its_middle_is_never_taken_for_whole(error: Exception):
    async def broken(http: Http, request: Request) -> None:
        await http.start(200)
        await http.send(b"begin")
        raise error

    talk = Talk(says(HELLO), broken)
    assert talk.result.endswith(b"\r\n\r\n5\r\nbegin\r\n")  # a chunk, and not the last one


def test_a_body_that_ends_by_the_close_is_cut_by_a_reset():
    async def broken(http: Http, request: Request) -> None:
        await http.start(200)
        await http.send(b"begin")
        raise KeyError("oops")

    def tcp_pair() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            return near, listener.accept()[0]

    async def client(stream: Stream) -> str:
        await stream.write(b"GET / HTTP/1.0\r\n\r\n")
        await sleep(5)
        try:
            return repr(await stream.read(-1))
        except ConnectionResetError:
            return "reset"

    assert Talk(client, broken, pair=tcp_pair).result == "reset"


def test_a_response_without_a_length_ends_by_its_last_chunk():
    async def parts(http: Http, request: Request) -> None:
        await http.start(200)
        for part in (b"one", b"", b"two"):
            await http.send(part)
        await http.finish()

    talk = Talk(says(HELLO, HELLO.replace(b"GET", b"HEAD"), end=True), parts)
    assert talk.result.count(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") == 1
    assert statuses(talk.result) == [200, 200]
    assert talk.result.endswith(b"\r\n\r\n") and talk.result.count(b"chunked") == 2


def test_statuses_without_a_body_have_no_length():
    async def nothing(http: Http, request: Request) -> None:
        await http.respond(int(request.path[1:]))

    requests = b"".join(HELLO.replace(b"/ ", b"/%d " % status) for status in (204, 304, 200))
    result = Talk(says(requests, end=True), nothing).result
    assert statuses(result) == [204, 304, 200]
    assert result.count(b"Content-Length: 0") == 1


def test_a_server_that_stops_answers_what_has_come_and_says_that_it_closes():
    stopping = Event()

    async def slow(http: Http, request: Request) -> None:
        stopping.set()
        await http.respond(200, b"done")

    talk = Talk(says(HELLO * 2), slow, stopping)
    assert statuses(talk.result) == [200]
    assert b"Connection: close" in talk.result


def test_a_server_that_stops_waits_a_moment_for_idle_clients():
    stopping = Event()

    async def late(stream: Stream) -> bytes:
        await stream.write(HELLO)
        await stream.read_until(b"GET /")
        await sleep(5)
        stopping.set()
        await sleep(0.5)  # the client does not know yet
        await stream.write(HELLO)
        return await stream.read(-1)

    talk = Talk(late, stopping=stopping)
    assert statuses(talk.result) == [200]
    assert talk.seconds <= 8
    assert Talk(says(), stopping=stopping).seconds <= 3


def test_a_server_that_stops_leaves_idle_clients_soon():
    stopping = Event()

    async def idle(stream: Stream) -> bytes:
        await sleep(5)
        stopping.set()
        return await stream.read(-1)

    assert Talk(idle, stopping=stopping).seconds <= 8


def test_what_a_request_says_is_taken_apart():
    headers = [("Host", "x"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    request = parsed(h11.Request(method="GET", target="/a%2Fb?c=d%20e&c=&f=", headers=headers))
    assert request.path == "/a/b"
    assert (request.raw_path, request.raw_query) == ("/a%2Fb", "c=d%20e&c=&f=")
    assert request.query == {"c": ["d e", ""], "f": [""]}
    assert request.headers == {"host": "x", "x-a": "1, 2", "cookie": "a=1; b=2"}
    whole = parsed(h11.Request(method="GET", target="http://x?y=z", headers=[("Host", "a")]))
    assert (whole.path, whole.raw_path, whole.query) == ("/", "/", {"y": ["z"]})
    assert (whole.headers, whole.target) == ({"host": "x"}, "http://x?y=z")
    star = parsed(h11.Request(method="OPTIONS", target="*", headers=[("Host", "x")]))
    assert (star.path, star.raw_path) == ("*", "*")


# ---- the file server, with its users

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs workers, and /proc")
TEXT = b"some text\n" * 100
BIG = 30_000_000
SMALL_GET = b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n"
BIG_GET = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "text").write_bytes(TEXT)
    with open(root / "big", "wb") as file:
        file.truncate(BIG)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with Server("files", "--root", str(root)) as server:
        yield server
        server.stop()


def connect(server: Server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=20)


def read_to_end(sock: socket.socket) -> bytes:
    """What still comes; a reset is an end as well."""
    whole = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(1 << 20):
            whole += data
    return bytes(whole)


def curl(*arguments: str) -> str:
    done = tool("curl", "-sS", "--max-time", "30", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def whole(data: bytes) -> list[bytes]:
    """The bodies of responses that came one after the other, each with a Content-Length."""
    bodies = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        assert found, head
        bodies.append(data[: int(found[1])])
        data = data[int(found[1]) :]
    return bodies


@needs("curl")
def test_curl_loads_several_files_over_one_connection(server: Server):
    told = curl(*["-o", "/dev/null", f"{server.url}/text"] * 5, "-w", "%{num_connects}")
    assert told == "10000"


@needs("ab")
def test_apache_s_benchmark_keeps_its_connections(server: Server):
    told = tool("ab", "-q", "-k", "-n", "200", "-c", "5", f"{server.url}/text").stdout
    assert re.search(r"Keep-Alive requests: +200\n", told)
    assert re.search(r"Failed requests: +0\n", told)


@needs("curl")
def test_curl_speaks_http_1_0(server: Server):
    urls = [f"{server.url}/text", f"{server.url}/text"]
    told = curl("--http1.0", *urls, "-w", "[%{num_connects}]")
    assert told == f"{TEXT.decode()}[1]" * 2
    assert curl("--http1.0", f"{server.url}/").endswith("</html>\n")  # ends by the close


def test_many_requests_at_once_are_answered_in_their_order(server: Server):
    with connect(server) as sock:
        requests = SMALL_GET + BIG_GET.replace(b"\r\n\r\n", b"\r\nRange: bytes=-7\r\n\r\n")
        sock.sendall(requests * 50)
        sock.shutdown(socket.SHUT_WR)
        assert whole(read_to_end(sock)) == [TEXT, bytes(7)] * 50


def test_after_a_head_a_get_comes_over_the_same_connection(server: Server):
    with connect(server) as sock:
        sock.sendall(SMALL_GET.replace(b"GET", b"HEAD") + BIG_GET.replace(b"GET", b"HEAD"))
        sock.sendall(SMALL_GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        heads, _, body = read_to_end(sock).rpartition(b"\r\n\r\n")
        assert (statuses(heads), body) == ([200] * 3, TEXT)


def test_slow_clients_are_left_while_others_are_served(root: Path):
    limits = ["--idle", "1", "--header-seconds", "0.7", "--write-seconds", "0.7"]
    with Server("files", "--root", str(root), *limits) as server, contextlib.ExitStack() as stack:
        kinds = {
            "silent": b"",
            "idle": SMALL_GET,
            "begun": b"GET / HTTP/1.1\r\nHos",
            "not reading": BIG_GET,
            "half a body": SMALL_GET.replace(b"GET", b"PUT")[:-2] + b"Content-Length: 9\r\n\r\nx",
        }
        began = time.monotonic()
        clients = {
            kind: [stack.enter_context(connect(server)) for _ in range(10)] for kind in kinds
        }
        for kind, socks in clients.items():
            for sock in socks:
                sock.sendall(kinds[kind])
        while time.monotonic() - began < 1:
            assert curl(f"{server.url}/text") == TEXT.decode()
        ends = {kind: [read_to_end(sock) for sock in clients[kind]] for kind in kinds}
        assert time.monotonic() - began < 10
        assert ends["silent"] == [b""] * 10
        assert [whole(each) for each in ends["idle"]] == [[TEXT]] * 10
        assert [statuses(each) for each in ends["begun"]] == [[408]] * 10
        assert all(len(each) < BIG for each in ends["not reading"])
        assert [statuses(each) for each in ends["half a body"]] == [[405]] * 10
        server.stop()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=linux)])
@needs("curl")
def test_a_download_is_finished_when_the_server_is_told_to_stop(root: Path, workers: str):
    with Server("files", "--root", str(root), "--workers", workers) as server:
        with connect(server) as idle, connect(server) as sock:
            idle.sendall(SMALL_GET)
            assert idle.recv(9999)
            sock.sendall(BIG_GET)
            begin = sock.recv(1000)
            server.signal(signal.SIGTERM)
            time.sleep(0.3)
            assert server.process.poll() is None
            _, _, body = (begin + read_to_end(sock)).partition(b"\r\n\r\n")
            assert len(body) == BIG
        assert (server.process.wait(20), server.stderr()) == (0, "")


@linux
@needs("curl")
def test_workers_that_are_replaced_lose_no_download(root: Path):
    with Server("files", "--root", str(root), "--workers", "2") as server:
        stop, results = threading.Event(), []

        def load() -> None:
            where = ("-o", "/dev/null", "-w", "%{http_code} %{size_download}\n")
            urls = [*where, f"{server.url}/big", *where, f"{server.url}/text"] * 2
            while not stop.is_set():
                done = tool("curl", "-sS", "--max-time", "30", *urls)
                results.append((done.returncode, done.stderr, done.stdout.split("\n")))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.5)
            server.signal(signal.SIGHUP)
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        expected = [f"200 {BIG}", f"200 {len(TEXT)}"] * 2 + [""]
        assert results == [(0, "", expected)] * len(results)
        assert len(results) >= 3
        server.stop()


def load_with_wrk(server: Server, seconds: int) -> None:
    url = f"{server.url}/text"
    done = tool("wrk", "-c", "200", "-t", "2", "-d", f"{seconds}s", url)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Socket errors" not in done.stdout
    assert "Non-2xx" not in done.stdout
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found
    assert int(found[1]) > 100 * seconds


@needs("wrk")
@pytest.mark.parametrize(
    ("workers", "seconds"),
    [
        ("1", 3),
        pytest.param("1", 10, marks=pytest.mark.soak),
        pytest.param("2", 10, marks=[pytest.mark.soak, linux]),
    ],
)
def test_200_connections_of_wrk_meet_no_error(root: Path, workers: str, seconds: int):
    with Server("files", "--root", str(root), "--workers", workers, check=False) as server:
        load_with_wrk(server, seconds)
        assert curl(f"{server.url}/text") == TEXT.decode()
        server.stop()
