"""The file server, as its users meet it: through curl, http.client, and raw sockets.

What part of a file is sent, and when none is, is tested without I/O in
test_server_ranges.py; slow clients, pipelining and stopping are in test_server_http.py.
"""

from __future__ import annotations

import email
import http.client
import os
import random
import re
import socket
import stat
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import python
from programs import Server, needs, tool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TEXT = b"".join(b"line %03d\n" % number for number in range(100))
OLD = 1_000_000_000  # when all files were changed, so that their tags are strong
MODIFIED = "Sun, 09 Sep 2001 01:46:40 GMT"
BIG = 100_000_000
STRANGE = "b <i>'\"&%41?#;:ü.txt"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served, beside a secret that is not."""
    top = tmp_path_factory.mktemp("files")
    (top / "secret.txt").write_text("secret")
    (top / "site-secret").mkdir()  # its path begins with the root's
    (top / "site-secret/secret.txt").write_text("secret")
    root = top / "site"
    for folder in ("sub/deep", "indexed", ".git", "odd & <b>"):
        (root / folder).mkdir(parents=True)
    (root / "text.txt").write_bytes(TEXT)
    (root / "empty").touch()
    (root / STRANGE).write_text("strange")
    (root / os.fsdecode(b"bad\xff.txt")).write_text("no UTF-8")
    (root / "indexed/index.html").write_text("<p>own page</p>")
    (root / ".git/config").write_text("secret")
    (root / "random").write_bytes(random.Random(1).randbytes(1_000_000))
    with open(root / "big", "wb") as file:
        file.truncate(BIG)
    for name, target in {
        "link.txt": "text.txt",
        "sub/up": "..",
        "leak.txt": "../secret.txt",
        "leak": "/etc",
        "leak2": "../site-secret",
        "loop": "loop",
        "broken": "nowhere",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (OLD, OLD))
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with Server("files", "--root", str(root)) as server:
        yield server
        server.stop()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request, on a connection of its own; ``if_match="x"`` is a header."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def curl(*arguments: str) -> str:
    done = tool("curl", "-sS", "--max-time", "30", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# ---- whole files


def test_a_file_comes_whole_with_what_is_known_of_it(server: Server) -> None:
    status, headers, body = ask(server, "/text.txt")
    assert (status, body) == (200, TEXT)
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-length"] == str(len(TEXT))
    assert headers["last-modified"] == MODIFIED
    assert headers["accept-ranges"] == "bytes"
    assert re.fullmatch('"[0-9a-f-]+"', headers["etag"])
    age = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    assert -2 < age < 20


def test_a_head_has_the_headers_of_the_get(server: Server) -> None:
    for path in ("/text.txt", "/big", "/empty", "/none", "/sub/", "/sub"):
        get = ask(server, path, Range="bytes=0-0") if path == "/big" else ask(server, path)
        head = ask(server, path, "HEAD", Range="bytes=0-0")  # which is for GET alone
        assert head.body == b""
        if path != "/big":
            assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert ask(server, "/big", "HEAD").headers["content-length"] == str(BIG)


def test_an_empty_file_comes_whole(server: Server) -> None:
    ranges = [{"Range": f"bytes={each}"} for each in ("-5", "0-", "0-1023", "5-9", "0-0,2-3")]
    for header in ({}, *ranges, {"If_None_Match": '"x"'}):
        answer = ask(server, "/empty", **header)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == "0"


def test_names_may_have_any_byte(server: Server) -> None:
    assert ask(server, "/bad%ff.txt").body == b"no UTF-8"
    assert ask(server, "/b%20%3Ci%3E'%22&%2541%3F%23;:%C3%BC.txt").body == b"strange"


def test_a_query_is_not_part_of_the_name(server: Server) -> None:
    assert ask(server, "/text.txt?version=2").body == TEXT


def test_a_whole_url_is_taken_as_its_path(server: Server) -> None:
    assert ask(server, "http://example.org/text.txt").body == TEXT


def test_a_file_that_was_just_written_has_a_weak_tag(server: Server, root: Path) -> None:
    path = root / "fresh.txt"
    path.write_text("fresh")
    os.utime(path, (time.time() + 1000,) * 2)  # from the future, which makes it last
    headers = ask(server, "/fresh.txt").headers
    path.unlink()
    assert headers["etag"].startswith('W/"')
    assert headers["last-modified"] <= headers["date"] or time.gmtime().tm_hour == 0


# ---- parts of files


@needs("curl")
@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-0", slice(0, 1)),
        ("10-99", slice(10, 100)),
        ("999990-", slice(999990, None)),
        ("-100", slice(-100, None)),
        ("-9999999", slice(None)),
        ("500000-9999999", slice(500000, None)),
    ],
)
def test_curl_gets_the_part_it_asks_for(
    server: Server, root: Path, tmp_path: Path, asked: str, part: slice
) -> None:
    out = tmp_path / "out"
    write = "%{http_code} %header{content-range}"
    told = curl("-r", asked, "-o", str(out), "-w", write, f"{server.url}/random")
    whole = (root / "random").read_bytes()
    assert out.read_bytes() == whole[part]
    first, stop, _ = part.indices(len(whole))
    assert told == f"206 bytes {first}-{stop - 1}/{len(whole)}"


@needs("curl")
def test_curl_goes_on_with_a_download_that_was_cut(
    server: Server, root: Path, tmp_path: Path
) -> None:
    whole, out = (root / "random").read_bytes(), tmp_path / "out"
    out.write_bytes(whole[:300_001])
    curl("-C", "-", "-o", str(out), f"{server.url}/random")
    assert out.read_bytes() == whole


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """The parts of a multipart answer, as the standard library's reader of mail sees them."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + answer.body)
    assert message.is_multipart() and not message.defects
    return [
        (part["content-range"], part.get_payload(decode=True)) for part in message.get_payload()
    ]


def test_several_parts_come_in_one_response(server: Server) -> None:
    answer = ask(server, "/text.txt", Range="bytes=0-8, 9-17, 90-98, 2000-3000, -9")
    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert parts_of(answer) == [
        ("bytes 0-8/900", TEXT[:9]),
        ("bytes 9-17/900", TEXT[9:18]),
        ("bytes 90-98/900", TEXT[90:99]),
        ("bytes 891-899/900", TEXT[891:]),
    ]


def test_large_parts_come_right(server: Server, root: Path) -> None:
    whole = (root / "random").read_bytes()
    answer = ask(server, "/random", Range="bytes=100-400000,500000-999998")
    assert [data for _, data in parts_of(answer)] == [whole[100:400_001], whole[500_000:999_999]]


def test_a_part_that_is_not_there_is_refused(server: Server) -> None:
    answer = ask(server, "/text.txt", Range="bytes=900-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */900")


def test_a_part_is_sent_only_of_the_version_that_the_client_has(server: Server) -> None:
    tag = ask(server, "/text.txt").headers["etag"]
    for condition, status in (
        (tag, 206),
        (MODIFIED, 206),
        ('"other"', 200),
        (f"W/{tag}", 200),
        ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
    ):
        answer = ask(server, "/text.txt", Range="bytes=0-3", If_Range=condition)
        assert (answer.status, len(answer.body)) == (status, 4 if status == 206 else 900)


# ---- conditions


@needs("curl")
def test_curl_loads_a_file_again_only_if_it_has_changed(
    server: Server, root: Path, tmp_path: Path
) -> None:
    tags, out, path = tmp_path / "tags", tmp_path / "out", root / "changing.txt"
    path.write_text("one")
    os.utime(path, (OLD, OLD))

    def load() -> str:
        compare = ("--etag-compare", str(tags), "--etag-save", str(tags))
        where = ("-o", str(out), "-w", "%{http_code}")
        return curl(*compare, *where, f"{server.url}/changing.txt")

    assert (load(), out.read_text()) == ("200", "one")
    assert (load(), out.read_text()) == ("304", "one")
    path.write_text("two")  # of the same size
    os.utime(path, (OLD + 1, OLD + 1))
    assert (load(), out.read_text()) == ("200", "two")
    path.unlink()


@needs("curl")
def test_curl_asks_by_date(server: Server) -> None:
    for date, status in (
        ("Sun, 09 Sep 2001 01:46:40 GMT", "304"),
        ("Sun, 09 Sep 2001 01:46:39 GMT", "200"),
        ("-Sun, 09 Sep 2001 01:46:41 GMT", "200"),  # If-Unmodified-Since
        ("-Sun, 09 Sep 2001 01:46:39 GMT", "412"),
    ):
        where = ("-o", "/dev/null", "-w", "%{http_code}")
        assert curl("-z", date, *where, f"{server.url}/text.txt") == status


def test_conditions_are_heard_in_all_their_headers(server: Server) -> None:
    tag = ask(server, "/text.txt").headers["etag"]
    for headers, status in (
        ({"If_None_Match": f'"x", W/{tag}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"x"', "If_Modified_Since": MODIFIED}, 200),
        ({"If_Modified_Since": MODIFIED, "Range": "bytes=0-1"}, 304),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": tag, "If_Unmodified_Since": "Mon, 01 Jan 1990 00:00:00 GMT"}, 200),
        ({"If_Unmodified_Since": "Mon, 01 Jan 1990 00:00:00 GMT"}, 412),
    ):
        answer = ask(server, "/text.txt", **headers)
        assert answer.status == status
        if status == 304:
            assert (answer.headers["etag"], answer.body) == (tag, b"")
    assert ask(server, "/none", If_Match='"x"').status == 404  # there is nothing to compare


def test_a_header_that_comes_twice_is_one_list(server: Server) -> None:
    tag = ask(server, "/text.txt").headers["etag"]
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.putrequest("GET", "/text.txt")
    connection.putheader("If-None-Match", tag)
    connection.putheader("If-None-Match", '"x"')
    connection.endheaders()
    assert connection.getresponse().status == 304
    connection.close()


# ---- what is not served


@needs("curl")
@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/sub/%2E%2e/%2e./secret.txt",
        "/..%2fsecret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/text.txt%00.png",
        "/leak.txt",
        "/leak/passwd",
        "/leak2/secret.txt",
        "/loop",
        "/broken",
        "/.git/config",
        "/.git/",
        "/%2egit/config",
        "/sub/up/.git/config",
        "/text.txt/",
        "/text.txt/more",
        "/%ff%fe",
        "/%C3%28",
        "/%zz",
        "/" + "x" * 300,
        "/" + "x/" * 4000,
        "/%F0%9F%98%80",
    ],
)
def test_what_is_not_for_strangers_is_not_found(server: Server, path: str) -> None:
    told = curl("--path-as-is", "-g", "-w", "\n%{http_code}", server.url + path)
    body, _, status = told.rpartition("\n")
    assert status in ("400", "404")
    assert "secret" not in body and "root:" not in body


def test_links_within_the_root_are_followed(server: Server) -> None:
    assert ask(server, "/link.txt").body == TEXT
    assert ask(server, "/sub/up/text.txt").body == TEXT


def test_a_fifo_is_refused_and_never_opened(server: Server, root: Path) -> None:
    assert ask(server, "/fifo").status == 403
    with pytest.raises(OSError, match="No such device"):  # nobody reads it
        os.open(root / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_devices_are_refused() -> None:
    with Server("files", "--root", "/dev") as server:
        for name in ("zero", "null", "tty", "random"):
            if os.path.exists(f"/dev/{name}"):
                assert ask(server, f"/{name}").status == 403
        server.stop()


def test_hidden_names_are_served_on_demand(root: Path) -> None:
    with Server("files", "--root", str(root), "--hidden") as server:
        assert ask(server, "/.git/config").body == b"secret"
        assert b".git" in ask(server, "/").body
        assert ask(server, "/%2e%2e/secret.txt").status == 400
        server.stop()


def test_files_that_cannot_be_read_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # who may read everything: give that up
        wrapper = tmp_path / "python"
        drop = "setpriv --bounding-set=-dac_override,-dac_read_search"
        wrapper.write_text(f'#!/bin/sh\nexec {drop} {sys.executable} "$@"\n')
        wrapper.chmod(0o755)
        if tool("setpriv", "--bounding-set=-dac_override", "true").returncode:
            pytest.skip("root cannot give up reading everything here")
        monkeypatch.setattr(sys, "executable", str(wrapper))
    site = tmp_path / "site"
    (site / "closed").mkdir(parents=True)
    for name in ("mine.txt", "closed/index.html"):
        (site / name).write_text("mine")
    (site / "mine.txt").chmod(0)
    (site / "closed").chmod(0)
    with Server("files", "--root", str(site)) as server:
        assert [ask(server, path).status for path in ("/mine.txt", "/closed/", "/closed/x")] == [
            403
        ] * 3
        assert b"mine.txt" in ask(server, "/").body
        server.stop()
    (site / "closed").chmod(stat.S_IRWXU)


def test_other_methods_are_refused_and_the_connection_goes_on(server: Server) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    for method in ("POST", "PUT", "DELETE", "PATCH", "BREW"):
        connection.request(method, "/text.txt", body=b"x" * 1000)
        response = connection.getresponse()
        assert (response.status, response.read() != b"") == (405, True)
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    sock = connection.sock
    for path in ("/text.txt", "*"):
        connection.request("OPTIONS", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (204, b"")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert connection.sock is sock
    connection.close()


# ---- folders


def test_a_folder_has_a_page(server: Server) -> None:
    status, headers, body = ask(server, "/")
    page = body.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert '<meta name="viewport"' in page
    assert re.search(r'"text\.txt".*>text\.txt<.*>900 B<.*>2001-09-0[89] \d\d:\d\d<', page)
    assert re.search(r'"big".*>100 MB<', page)
    assert 'href="odd%20%26%20%3Cb%3E/"' in page and "odd &amp; &lt;b&gt;/" in page
    assert "b &lt;i&gt;&#x27;&quot;&amp;%41?#;:ü.txt" in page
    assert 'href="bad%FF.txt"' in page
    assert page.index("sub/") < page.index("big")  # folders first
    for hidden in ("leak", "loop", "broken", "fifo", ".git", '"../"'):
        assert hidden not in page
    assert 'href="../"' in ask(server, "/sub/").body.decode()


def test_every_link_of_a_page_leads_somewhere(server: Server) -> None:
    links = re.findall('<li><a href="([^"]*)"', ask(server, "/").body.decode())
    assert len(links) == 10
    assert {ask(server, f"/{link}", "HEAD").status for link in links} == {200}


def test_a_folder_without_its_slash_is_redirected(server: Server) -> None:
    for path, location in (
        ("/sub", "/sub/"),
        ("/sub/deep?a=b&c=%2F", "/sub/deep/?a=b&c=%2F"),
        ("//sub", "/sub/"),  # and not to a host of this name
        ("/odd%20&%20%3cb%3e", "/odd%20%26%20%3Cb%3E/"),
    ):
        answer = ask(server, path)
        assert (answer.status, answer.headers["location"]) == (301, location)


@needs("curl")
def test_curl_follows_to_a_folder_with_a_page_of_its_own(server: Server) -> None:
    assert curl("-L", f"{server.url}/indexed?x=1") == "<p>own page</p>"


def test_a_long_folder_comes_whole(server: Server, root: Path) -> None:
    many = root / "many"
    many.mkdir()
    for number in range(1234):
        (many / f"{number:04}").touch()
    page = ask(server, "/many/").body.decode()
    assert re.findall(r'href="(\d{4})"', page) == [f"{number:04}" for number in range(1234)]
    assert "1234 entries" in page
    for path in many.iterdir():
        path.unlink()
    assert "no entries" in ask(server, "/many/").body.decode()
    many.rmdir()


# ---- large files, and files that change


@needs("curl")
def test_a_large_file_takes_little_memory(server: Server) -> None:
    ask(server, "/random")
    before = server.memory()
    where = ("-o", "/dev/null", "-w", "%{size_download} ")
    told = curl(
        "--no-progress-meter", "-Z", *where, *[f"{server.url}/big", *where] * 2, f"{server.url}/big"
    )
    assert told.split() == [str(BIG)] * 3
    assert server.memory() - before < 8_000_000


def test_a_client_that_goes_away_leaves_nothing_open(server: Server) -> None:
    ask(server, "/text.txt")
    before = server.descriptors()
    for _ in range(10):
        with socket.create_connection((server.host, server.port)) as sock:
            sock.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(100)
    server.settles(lambda: server.descriptors() <= before, True)


def test_a_file_that_shrinks_meanwhile_ends_the_connection(server: Server, root: Path) -> None:
    path = root / "shrinking"
    with open(path, "wb") as file:
        file.truncate(100_000_000)
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        request = b"GET /shrinking HTTP/1.1\r\nHost: x\r\n\r\n"
        sock.sendall(request + request.replace(b"shrinking", b"text.txt"))
        reader = sock.makefile("rb")
        assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
        os.truncate(path, 50_000_000)
        rest = reader.read()  # to the end of the connection
        reader.close()
    path.unlink()
    _, _, body = rest.partition(b"\r\n\r\n")
    assert b"Content-Length: 100000000\r\n" in rest
    assert len(body) == 50_000_000
    assert not body.strip(b"\0")  # and no second response in it


def test_a_file_that_grows_meanwhile_is_sent_as_long_as_it_was(server: Server, root: Path) -> None:
    path = root / "growing"
    with open(path, "wb") as file:
        file.truncate(50_000_000)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    connection.request("GET", "/growing")
    response = connection.getresponse()
    os.truncate(path, 60_000_000)
    assert len(response.read()) == 50_000_000
    connection.request("GET", "/text.txt")
    assert connection.getresponse().read() == TEXT
    connection.close()
    path.unlink()


def test_a_file_that_is_shorter_than_it_says_is_refused_if_that_shows_in_time() -> None:
    name = "/sys/devices/system/cpu/online"  # says 4096 bytes
    if not os.path.exists(name):
        pytest.skip(f"there is no {name}")
    with Server("files", "--root", os.path.dirname(name)) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        for _ in range(2):
            connection.request("GET", "/online")
            response = connection.getresponse()
            assert (response.status, response.read() != b"") == (503, True)
        connection.close()
        server.stop()


# ---- the program


def test_verbose_tells_each_request_in_a_line(root: Path) -> None:
    with Server("files", "--root", str(root), "--verbose") as server:
        ask(server, "/text.txt?a=b")
        ask(server, "/none", "HEAD")
        with socket.create_connection((server.host, server.port), timeout=20) as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
        wanted = ['"GET /text.txt?a=b" 200 900', '"HEAD /none" 404 0', '"-" 400 ']
        server.settles(lambda: [line in server.stderr() for line in wanted], [True] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--root", "/nowhere"], "no folder"),
        (["--root", __file__], "no folder"),
        (["--idle", "-1"], "seconds"),
        (["--write-seconds", "x"], "seconds"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], message: str) -> None:
    done = python("-m", "examples.servers.files", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_help_has_examples() -> None:
    done = python("-m", "examples.servers.files", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("--root", "--header-seconds", "--workers", "curl -r -100"):
        assert part in done.stdout
