"""The WSGI server: PEP 3333 rule by rule, and applications as they are found in the wild.

What answers is in wsgi_apps.py, wsgi_flask.py and wsgi_django.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import ROOT
from programs import Server, needs, tool
from wsgi_clients import LONG, MIB, ask, body_of, connected, logged, raw, said, serving

from examples.servers.wsgi import __main__ as wsgi


@pytest.fixture(scope="module")
def server():
    """The applications that do what they should: at its end it has had nothing to say."""
    with serving("wsgi_apps:app") as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def broken():
    """The same, for those that do not. What it says is looked at."""
    with serving("wsgi_apps:app", "--threads", "4") as server:
        yield server
        server.signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0


@pytest.fixture(scope="module")
def flask():
    pytest.importorskip("flask")
    with serving("wsgi_flask:app") as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def django():
    pytest.importorskip("django")
    with serving("wsgi_django:application") as server:
        yield server
        server.stop()


def environ(server, path="/environ", **options):
    return json.loads(body_of(server, path, **options))


# ---- environ


def test_what_the_environ_says_of_a_request(server):
    found = environ(server, "/environ/a%20b?c=%20d&e", headers={"X-One": "1", "Accept": "x/y"})
    assert found.pop("HTTP_HOST") == server.addresses[0]
    assert found.pop("HTTP_ACCEPT_ENCODING") == "identity"
    assert found == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ/a b",
        "QUERY_STRING": "c=%20d&e",
        "REQUEST_URI": "/environ/a%20b?c=%20d&e",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "microthreads",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_X_ONE": "1",
        "HTTP_ACCEPT": "x/y",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": "<class 'wsgiref.util.FileWrapper'>",
        "wsgi.input_terminated": True,
    }


def test_bytes_of_a_path_are_characters_of_the_same_number(server):
    found = environ(server, "/environ/%C3%A9%2F%ff")
    assert found["PATH_INFO"].encode("latin-1") == b"/environ/\xc3\xa9/\xff"


def test_a_body_makes_a_type_and_a_length(server):
    found = environ(server, method="POST", body=b"{}", headers={"Content-Type": "a/b"})
    assert (found["CONTENT_TYPE"], found["CONTENT_LENGTH"]) == ("a/b", "2")
    assert "HTTP_CONTENT_TYPE" not in found and "HTTP_CONTENT_LENGTH" not in found


def test_a_body_in_chunks_has_a_length_when_it_is_there(server):
    found = environ(server, method="POST", body=iter([b"one", b"two"]), encode_chunked=True)
    assert found["CONTENT_LENGTH"] == "6"
    assert "HTTP_TRANSFER_ENCODING" not in found


def test_headers_of_one_name_are_joined_and_some_are_left_out(server):
    lines = ["X-A: 1", "X-A: 2", "Cookie: a=1", "Cookie: b=2", "X_A: 3", "Proxy: evil", "x-b: \xe9"]
    request = "\r\n".join(["GET /environ HTTP/1.0", "Host: a", *lines, "", ""]).encode("latin-1")
    found = json.loads(raw(server, request).partition(b"\r\n\r\n")[2])
    assert (found["HTTP_X_A"], found["HTTP_COOKIE"], found["HTTP_X_B"]) == (
        "1, 2",
        "a=1; b=2",
        "\xe9",
    )
    assert "HTTP_PROXY" not in found
    assert found["SERVER_PROTOCOL"] == "HTTP/1.0"


@pytest.mark.parametrize(("target", "path"), [("http://else/environ?q", "/environ"), ("*", "")])
def test_targets_of_other_forms(server, target, path):
    request = f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    head, _, body = raw(server, request.encode()).partition(b"\r\n\r\n")
    if path:
        found = json.loads(body)
        assert (found["PATH_INFO"], found["QUERY_STRING"]) == (path, "q")
        assert (found["HTTP_HOST"], found["REQUEST_URI"]) == ("else", target)
    assert (b" 200 " if path else b" 404 ") in head


def test_workers_and_threads_are_told():
    with serving("wsgi_apps:app", "--threads", "1", "--workers", "2") as server:
        found = environ(server)
        assert (found["wsgi.multithread"], found["wsgi.multiprocess"]) == (False, True)
        server.stop()


# ---- the request's body

TEXT = b"first line\nsecond\n" + b"x" * 100_000 + b"\nthe last"


@pytest.mark.parametrize("kind", ["length", "chunked"])
@pytest.mark.parametrize("how", ["all", "pieces", "one", "line", "lines", "iterate", "nothing"])
def test_a_body_is_a_file(server, how, kind):
    chunks = iter([TEXT[:5], TEXT[5:60_000], TEXT[60_000:]])
    body = TEXT if kind == "length" else chunks
    found = body_of(server, f"/read?{how}", "POST", body, encode_chunked=kind == "chunked")
    count, _, whole = found.partition(b":")
    assert whole == (b"" if how == "nothing" else TEXT)
    if how in ("lines", "iterate"):
        assert count == b"4"


@pytest.mark.parametrize("how", ["all", "pieces", "lines", "nothing"])
def test_without_a_body_there_is_nothing_to_read(server, how):
    assert body_of(server, f"/read?{how}").endswith(b":")
    assert body_of(server, f"/read?{how}", "POST", b"").endswith(b":")


def test_the_next_request_is_not_part_of_the_body(server):
    one = b"POST /read?all HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    unread = b"POST /read?nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    last = b"GET /write HTTP/1.0\r\n\r\n"
    found = raw(server, one + unread + one + last)
    assert found.count(b"200 OK") == 4 and found.endswith(b"one two three")


def test_100_continue_is_sent_before_the_application_is_called(server):
    head = b"POST /read?%s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with connected(server) as client:
        client.sendall(head % b"all")
        assert client.recv(1000).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        assert b" 200 OK" in client.recv(1000)
    with connected(server) as client:
        client.sendall(head.replace(b"Length: 3", b"Length: 300000000") % b"all")
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")  # too large, so it is not to come


def test_a_body_that_comes_too_slowly_is_told_and_frees_its_thread():
    with serving("wsgi_apps:app", "--body-seconds", "0.5", "--threads", "1") as server:
        head = b"POST /read?all HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nabc"
        assert raw(server, head).startswith(b"HTTP/1.1 408")
        assert body_of(server, "/log") == b""
        server.stop()


def test_a_client_that_leaves_while_its_body_is_read_is_nothing_to_report(server):
    head = b"POST /read?all HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nabc"
    for linger in (0, 1):
        with connected(server) as client:
            client.sendall(head)
            time.sleep(0.05)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
    assert body_of(server, "/blocks") == b"one two three"


def test_a_body_cannot_be_read_when_its_request_is_over(server):
    body_of(server, "/keep", "POST", b"unread")
    assert b"closed file" in body_of(server, "/kept")


# ---- the response


@pytest.mark.parametrize("path", ["/blocks", "/write"])
def test_parts_of_a_body_are_chunks(server, path):
    status, headers, body = ask(server, path)
    assert (status, body) == (200, b"one two three")
    assert headers["Transfer-Encoding"] == "chunked"
    assert logged(server, "closed blocks") or path != "/blocks"


def test_a_body_of_one_part_has_a_length(server):
    assert ask(server, "/answer?200&hello")[1]["Content-Length"] == "5"
    assert ask(server, "/answer?404")[1]["Content-Length"] == "0"


def test_an_old_client_reads_to_the_end(server):
    head, _, body = raw(server, b"GET /blocks HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"chunked" not in head
    assert body_of(server, "/late") == b"late"  # start_response() comes with the first block


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(server, status):
    for body in ("", "&body"):
        found, headers, text = ask(server, f"/answer?{status}{body}")
        assert (found, text) == (status, b"")
        assert "Transfer-Encoding" not in headers


@pytest.mark.parametrize("path", ["/answer?200&hello", "/length?10&10", "/blocks", "/write"])
def test_the_answer_to_a_head_has_headers_only(server, path):
    request = f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /late HTTP/1.0\r\n\r\n".encode()
    first, _, rest = raw(server, request).partition(b"\r\n\r\n")
    assert b" 200 " in first
    assert rest.startswith(b"HTTP/1.1 200 OK") and rest.endswith(b"late")
    lengths = {"/answer?200&hello": b"5", "/length?10&10": b"10"}
    assert path not in lengths or b"Content-Length: " + lengths[path] in first


@pytest.mark.parametrize("kind", ["nothing", "empty", "none"])
def test_no_wrong_length_is_told_to_a_head(server, kind):
    status, headers, body = ask(server, f"/head?{kind}", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, None, b"")
    assert ask(server, f"/head?{kind}")[1]["Content-Length"] == "6"


def test_a_204_has_no_length_even_if_the_application_gives_one(server):
    status, headers, body = ask(server, "/status?204%20No%20Content&Content-Length=5")
    assert (status, headers["Content-Length"], body) == (204, None, b"")
    status, headers, body = ask(server, "/status?304%20Not%20Modified&Content-Length=5")
    assert (status, headers["Content-Length"], body) == (304, "5", b"")  # of the page itself


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("299%20My%20own%20phrase", b"HTTP/1.1 299 My own phrase\r\n"),
        ("200%20%C3%A9", b"HTTP/1.1 200 \xe9\r\n"),
        ("404%20", b"HTTP/1.1 404 Not Found\r\n"),  # what one does not say is as usual
        ("404", b"HTTP/1.1 404 Not Found\r\n"),
        ("499", b"HTTP/1.1 499 \r\n"),
    ],
)
def test_a_phrase_of_the_application_s_own_is_sent_as_it_is(server, status, line):
    request = b"GET /status?%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert raw(server, request % status.encode()).startswith(line)


def test_blanks_round_a_header_s_value_are_taken_off(server):
    _, headers, body = ask(server, "/status?200%20OK&X-Name=%20%20ada%20%09&X-None=%20")
    assert (headers["X-Name"], headers["X-None"], body) == ("ada", "", b"hello")


def test_headers_come_as_they_are(server):
    _, headers, _ = ask(server, "/headers")
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers["X-Name"] == "\xe9\xe8"
    assert len(headers.get_all("Date")) == 1


def test_what_is_written_to_wsgi_errors_is_on_the_standard_error(broken):
    body_of(broken, "/errors")
    said(broken, "(?m)^written to wsgi.errors\nand more$")


# ---- streams


def test_a_block_is_sent_before_the_next_one_is_asked_for(server):
    with connected(server) as client:
        client.sendall(b"GET /streaming HTTP/1.0\r\n\r\n")
        found = b""
        while not found.endswith(b"first"):
            found += client.recv(1000)
        body_of(server, "/goon")
        assert client.recv(1000) == b"second"


def test_a_client_that_does_not_read_makes_the_application_wait(server):
    def blocks():
        return body_of(server, "/log").count(b"block\n")

    with connected(server) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(100)
        found = -1
        while found != (found := blocks()):  # what the system takes, it takes soon
            time.sleep(0.3)
        assert 0 < found < 1000
    server.settles(lambda: logged(server, "closed endless"), True)


# ---- applications that break the rules, or break


@pytest.mark.parametrize(("blocks", "body"), [(2, b"onetwo"), (1, b"one"), (0, b"")])
def test_a_close_that_fails_does_not_cut_off_what_is_whole(broken, blocks, body):
    connection = http.client.HTTPConnection(broken.host, broken.port, timeout=LONG)
    with contextlib.closing(connection):
        for _ in range(2):  # and the connection goes on
            connection.request("GET", f"/failclose?{blocks}")
            assert connection.getresponse().read() == body
    said(broken, rf"(?m)^ERROR GET /failclose\?{blocks}: after the whole answer")
    said(broken, "ZeroDivisionError: in close")
    assert logged(broken, "closed failclose")


def test_one_that_fails_before_its_first_block_is_a_500_and_is_reported(broken):
    for path, error in (("/fail", "at once"), ("/failstarted", "in the middle")):
        status, _, body = ask(broken, path)
        assert status == 500
        assert error.encode() not in body
        said(broken, f"ZeroDivisionError: {error}")
    assert logged(broken, "closed failstarted")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_one_that_fails_in_the_middle_is_cut_off(broken, version):
    if version == "1.1":
        with pytest.raises(http.client.IncompleteRead):
            ask(broken, "/failafter")
    else:
        with pytest.raises(ConnectionError):
            raw(broken, b"GET /failafter HTTP/1.0\r\n\r\n")
    assert logged(broken, "closed failafter")
    said(broken, "ZeroDivisionError: in the middle")


def test_an_error_of_its_own_connections_is_no_client_that_went_away(broken):
    assert ask(broken, "/refused")[0] == 500
    said(broken, "of the database, not of the client")


def test_an_application_that_exits_does_not_end_the_server(broken):
    assert ask(broken, "/exit")[0] == 500
    said(broken, "this must not end the server")


@pytest.mark.parametrize("path", ["/silent", "/silent?empty", "/twice"])
def test_start_response_must_be_called_once(broken, path):
    assert ask(broken, path)[0] == 500


def test_an_error_in_time_replaces_the_answer(broken):
    status, headers, body = ask(broken, "/again")
    assert (status, body, headers["Content-Length"]) == (503, b"later", "5")


def test_an_error_too_late_is_raised_again(broken):
    with pytest.raises(http.client.IncompleteRead):
        ask(broken, "/toolate")
    said(broken, "ZeroDivisionError: noticed too late")
    assert not logged(broken, "not reached")


@pytest.mark.parametrize(
    "what",
    "status number digits phrase return escape widephrase informational bytes tuple newline "
    "name hop length wide text none".split(),
)
def test_what_is_not_allowed_is_a_500(broken, what):
    found = raw(
        broken, f"GET /wrong?{what} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    )
    assert found.startswith(b"HTTP/1.1 500 ")
    assert b"X-C" not in found


def test_a_body_that_is_too_short_is_cut_off(broken):
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(broken, "/length?10&5")
    assert caught.value.partial == b"xxxxx"
    said(broken, "the body lacks 5 of its 10 bytes")


def test_of_a_body_that_is_too_long_nothing_is_sent_that_does_not_fit(broken):
    request = b"GET /length?7&15 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert raw(broken, request).endswith(b"\r\n\r\nxxxxxxx")
    said(broken, "the body has more than its 7 bytes")
    assert logged(broken, "closed length")


# ---- threads


def test_requests_beyond_the_threads_wait_and_the_kernel_does_not():
    with serving("wsgi_apps:app", "--threads", "3") as server:
        before = server.descriptors()
        with ThreadPoolExecutor(12) as clients:
            began = time.monotonic()
            asked = [clients.submit(body_of, server, "/sleep?0.4") for _ in range(9)]
            server.settles(server.descriptors, before + 9)
            # No thread is free, but a bad request needs none.
            assert b" 400 " in raw(server, b"what is this?\r\n\r\n")
            assert not all(each.done() for each in asked)
            assert max(each.result() for each in asked) == b"most 3"
            assert time.monotonic() - began >= 1.1
        server.stop()


def test_who_leaves_while_waiting_for_a_thread_harms_nobody():
    with serving("wsgi_apps:app", "--threads", "1") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                client = stack.enter_context(connected(server))
                client.sendall(b"GET /sleep?0.02 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert body_of(server, "/sleep?0") == b"most 1"
        server.stop()


# ---- the end


def test_a_stop_waits_for_requests_that_run_and_for_those_in_line():
    with serving("wsgi_apps:app", "--threads", "2") as server:
        before = server.descriptors()
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(ask, server, "/sleep?0.6") for _ in range(4)]
            server.settles(server.descriptors, before + 4)
            server.signal(signal.SIGTERM)
            for each in asked:
                status, headers, body = each.result()
                assert (status, body) == (200, b"most 2")
                assert headers["Connection"] == "close"
        assert (server.process.wait(LONG), server.stderr()) == (0, "")


def test_a_stream_whose_time_is_over_is_closed_in_its_thread():
    with serving("wsgi_apps:app", "--grace", "0.2") as server, connected(server) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(100)
        server.signal(signal.SIGTERM)
        assert (server.process.wait(LONG), server.stderr()) == (0, "")


def test_a_request_that_does_not_end_does_not_keep_the_process():
    with serving("wsgi_apps:app", "--grace", "0.2") as server, connected(server) as client:
        client.sendall(b"GET /sleep?100 HTTP/1.1\r\nHost: a\r\n\r\n")
        server.settles(lambda: body_of(server, "/running"), b"1")
        server.signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 1
        assert "1 requests still run" in server.stderr()


# ---- applications as they are


@pytest.mark.parametrize("kind", ["", "?sized"])
def test_the_standard_library_s_validator_finds_nothing(kind):
    with serving("wsgi_apps:validated") as server:
        assert body_of(server, f"/{kind}") == b"-"
        assert body_of(server, f"/{kind}", "POST", b"abcdef") == b"abcdef"
        assert ask(server, f"/{kind}", "HEAD")[2] == b""
        server.stop()


def test_flask(flask):
    page = body_of(flask, "/hello/Gr%C3%A4fin?and=%3Cb%3E").decode()
    assert "<li>hello, Gräfin</li>\n<li>hello, &lt;b&gt;</li>" in page
    kind = {"Content-Type": "application/json"}
    assert json.loads(body_of(flask, "/sum", "POST", b'{"numbers": [1, 2, 3]}', kind)) == {"sum": 6}
    assert body_of(flask, "/stream/300").count(b"line") == 300
    assert body_of(flask, "/raw", "PUT", iter([b"a" * 1000] * 9), encode_chunked=True) == b"9000"
    assert ask(flask, "/nowhere")[0] == 404
    assert body_of(flask, "/file") == (ROOT / "tests/wsgi_flask.py").read_bytes()
    assert ask(flask, "/back")[1]["Location"] == f"{flask.url}/hello/again"
    _, headers, _ = ask(flask, "/count")
    cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
    assert body_of(flask, "/count", headers=cookie) == b"2"


def test_a_view_of_flask_that_fails_is_logged_by_flask():
    pytest.importorskip("flask")
    with serving("wsgi_flask:app") as server:
        assert ask(server, "/fail")[0] == 500
        said(server, "LookupError: no such thing")
        assert "ApplicationFailed" not in server.stderr()


def uploaded(server, tmp_path):
    """What curl is told when it uploads a file as browsers do."""
    (tmp_path / "large.bin").write_bytes(os.urandom(3 * MIB))
    form = ["-F", "note=café", "-F", f"file=@{tmp_path}/large.bin"]
    done = tool("curl", "-sS", *form, f"{server.url}/upload")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@needs("curl")
def test_flask_takes_an_upload(flask, tmp_path):
    found = uploaded(flask, tmp_path)
    assert found == {"name": "large.bin", "size": 3 * MIB, "note": "café"}


@needs("curl")
def test_django(django, tmp_path):
    assert body_of(django, "/hello/Gr%C3%A4fin").decode() == "hello, Gräfin"
    assert body_of(django, "/stream/300").count(b"line") == 300
    assert ask(django, "/hello/head", "HEAD")[1]["Content-Length"] == "11"
    found = uploaded(django, tmp_path)
    assert found == {"name": "large.bin", "size": 3 * MIB, "note": "café"}


# ---- curl and wrk


@needs("curl")
def test_curl_and_the_built_in_application(tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(5 * MIB))
    with Server("wsgi", "--workers", "2") as server:
        curl = ["curl", "-sS", "--max-time", str(LONG)]
        upload = ["--data-binary", f"@{tmp_path}/large", f"{server.url}/upload"]
        assert tool(*curl, server.url).stdout == "hello, 127.0.0.1\n"
        assert tool(*curl, *upload).stdout == f"{5 * MIB} bytes\n"
        assert (
            tool(*curl, "-H", "Transfer-Encoding: chunked", *upload).stdout == f"{5 * MIB} bytes\n"
        )
        assert tool(*curl, "-w", "%{http_code}", f"{server.url}/x").stdout.endswith("\n404")
        server.stop()


@needs("curl")
def test_a_stream_that_nobody_reads_any_more_is_ended():
    with Server("wsgi") as server:
        done = tool("curl", "-sSN", "--max-time", "0.5", f"{server.url}/count")
        assert done.stdout.startswith("1\n2\n")
        said(server, "nobody listens any more")


@needs("wrk")
@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_200_connections_of_wrk(seconds):
    with Server("wsgi", check=False) as server:
        done = tool(
            "wrk", "-t2", "-c200", f"-d{seconds}s", f"{server.url}/", seconds=LONG + seconds
        )
        print(done.stdout)
        assert done.returncode == 0
        assert "Socket errors" not in done.stdout
        assert "Non-2xx" not in done.stdout
        assert int(re.search(r"(\d+) requests in", done.stdout)[1]) > 200 * seconds
        server.stop()


# ---- the command line


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "MODULE:ATTRIBUTE is needed"),
        ("tests.wsgi_apps", "MODULE:ATTRIBUTE is needed"),
        ("tests.wsgi_apps:", "MODULE:ATTRIBUTE is needed"),
        ("../apps:app", "MODULE:ATTRIBUTE is needed"),
        ("tests.nowhere:app", "cannot import tests.nowhere: .*No module named 'tests.nowhere'"),
        ("tests.wsgi_apps:nothing", "tests.wsgi_apps has no nothing"),
        ("tests.wsgi_apps:not_callable", "'this' is not callable"),
    ],
)
def test_an_application_that_is_none_is_told(name, told, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        wsgi.main(["--app", name])
    errors = capsys.readouterr().err
    assert re.search(f"argument --app: .*{told}", errors.splitlines()[-1])
    assert "Traceback" not in errors


def test_a_module_that_fails_is_shown_with_the_place_and_found_in_the_current_folder(tmp_path):
    (tmp_path / "faulty.py").write_text("import no_such_module\n")
    command = [sys.executable, "-m", "examples.servers.wsgi", "--app", "faulty:app"]
    done = tool(*command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert 'faulty.py", line 1' in done.stderr
    assert "cannot import faulty: ModuleNotFoundError" in done.stderr.splitlines()[-1]
