"""A folder over HTTP: ranges, conditions, and a page for each folder.

Read ../http1.py first. Then: folders.py says which files there are for strangers, and which
are not; conditions.py whether one needs to be sent; ranges.py which part of it; and
pages.py has the HTML. What is here puts these together.

A file goes out in pieces of 256 KiB, and never is more than one of them in memory. Reading
a piece blocks all tasks of the process, but briefly: from memory, where a file mostly is,
some 20 microseconds; from a disk some milliseconds. (A disk that is far away, as NFS is,
is not for this server.) The next piece is read when the client has taken the one before.

Try: `--workers 2`, a long download by `curl --limit-rate 1M`, and `kill -HUP` of the first
process meanwhile; or `truncate -s 1` of the file, and see what curl says.
"""

from __future__ import annotations

import argparse
import mimetypes
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Iterator, Sequence
from io import FileIO
from pathlib import Path

if not __package__:  # run as a folder, not by -m: the checkout is three folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from examples.servers.common import make_parser, run_server, serving
from examples.servers.conversation import converse
from examples.servers.files import pages
from examples.servers.files.conditions import range_holds, status_for, version_of
from examples.servers.files.folders import Folder, Refusal, names_of, opened
from examples.servers.files.ranges import Layout, content_range, layout, ranges_of
from examples.servers.http1 import Http
from examples.servers.limits import add_limits, limits_of
from examples.servers.messages import Request

EXAMPLES = """examples:
  python3 -m examples.servers.files                       this folder, on port 8000
  python3 -m examples.servers.files --root ~/Pictures --host 0.0.0.0
                                                          for all who can reach this machine
  python3 -m examples.servers.files --workers 4           in four processes
  python3 -m examples.servers.files --verbose             with a line for each request

Then, in another terminal:
  curl -O http://127.0.0.1:8000/README.md
  curl -r -100 http://127.0.0.1:8000/README.md            the last 100 bytes
  curl -C - -O http://127.0.0.1:8000/big.iso              go on where it was cut
  wrk -c 200 http://127.0.0.1:8000/README.md
"""

PIECE = 262144  # bytes that are read at once
AT_ONCE = 65536  # bytes of a body that go out together with the headers: one write, not two
LINES = 100  # of a folder's page that are made at once
ALLOWED = ("Allow", "GET, HEAD, OPTIONS")
NO_GUESSING = ("X-Content-Type-Options", "nosniff")  # a text is no HTML, whatever is in it
PACKED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}


class Shrunk(Exception):  # noqa: N818  (no error of ours)
    """A file has become shorter while it was sent."""


async def answer(http: Http, request: Request, folder: Folder) -> None:
    """Answer one request."""
    try:
        await served(http, request, folder)
    except Refusal as refusal:
        page = pages.refusal_page(refusal.status, str(refusal))
        await http.respond(refusal.status, page, pages.HTML, *refusal.headers)


async def served(http: Http, request: Request, folder: Folder) -> None:
    """Send what is asked for.

    Raises:
        Refusal: It is not served.
    """
    if request.method == "OPTIONS":
        await http.respond(204, b"", ALLOWED)
        return
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405, "files here can only be read", ALLOWED)
    if request.raw_path == "*":
        raise Refusal(400, "this path is not allowed")
    names, slash = names_of(request.raw_path), request.raw_path.endswith("/")
    path = folder.find(names)
    if not os.path.isdir(path):
        if slash:
            raise Refusal(404, "there is no such folder")
        await send_file(http, request, path, names[-1])
    elif not slash:
        await send_on(http, request, names)
    elif (index := index_of(folder, names)) is not None:
        await send_file(http, request, index, "index.html")
    else:
        await send_folder(http, folder, path, names)


async def send_on(http: Http, request: Request, names: Sequence[str]) -> None:
    """Tell where a folder is: with a slash at the end, as links in its page need it."""
    query = f"?{request.raw_query}" if request.raw_query else ""
    await http.respond(301, b"", ("Location", pages.address(names) + query))


# Folders


def index_of(folder: Folder, names: Sequence[str]) -> str | None:
    """Where a folder's own page is, if it has one."""
    try:
        path = folder.find([*names, "index.html"])
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        return None
    return path if os.path.isfile(path) else None


async def send_folder(http: Http, folder: Folder, path: str, names: Sequence[str]) -> None:
    """Send a page that shows what is in a folder.

    Of a long one, the names are read and sorted at once (100,000 in some 0.3 s, in which
    nobody else is served); lines are made and sent in parts, and others have their turn.
    """
    entries = folder.entries(path)
    await http.start(200, pages.HTML)
    if not http.is_head:
        await http.send(pages.folder_begin(names).encode())
        count = 0
        for start in range(0, len(entries), LINES):
            found = filter(None, map(folder.entry, entries[start : start + LINES]))
            lines = list(map(pages.folder_line, found))
            await http.send("".join(lines).encode())
            count += len(lines)
        await http.send(pages.folder_end(count).encode())
    await http.finish()


# Files


async def send_file(http: Http, request: Request, path: str, name: str) -> None:
    """Send a file, or what is asked for of it."""
    with opened(path) as file:
        status = os.fstat(file.fileno())
        version = version_of(status, time.time())
        verdict = status_for(request.headers, version)
        if verdict == 412:
            raise Refusal(412, "the file is not in the version that you want it in")
        if verdict == 304:
            await http.respond(304, b"", *version.headers)
            return
        parts = None
        if request.method == "GET" and range_holds(request.headers, version):
            parts = ranges_of(request.headers.get("range", ""), status.st_size)
        headers = [*version.headers, ("Accept-Ranges", "bytes"), NO_GUESSING]
        code, body, more = body_of(parts, status.st_size, kind_of(name))
        await send_body(http, code, file, body, headers + more)


def body_of(
    parts: list[range] | None, size: int, kind: str
) -> tuple[int, Layout, list[tuple[str, str]]]:
    """The status, the body and its headers, for these parts of a file; None: for all of it.

    Raises:
        Refusal: There are no such parts.
    """
    if parts is None:
        return 200, [range(size)], [("Content-Type", kind)]
    if not parts:
        raise Refusal(416, "the file is shorter", ("Content-Range", f"bytes */{size}"))
    if len(parts) == 1:
        where = ("Content-Range", content_range(parts[0], size))
        return 206, [parts[0]], [("Content-Type", kind), where]
    boundary = secrets.token_hex(16)
    several = f"multipart/byteranges; boundary={boundary}"
    return 206, layout(parts, size, kind, boundary), [("Content-Type", several)]


async def send_body(
    http: Http, status: int, file: FileIO, body: Layout, headers: list[tuple[str, str]]
) -> None:
    """Send a response with this body, the ranges of which are bytes of the file.

    If the file turns out to be shorter than it was, the response is not brought to its
    end, and h11 knows that: the connection is closed, so the client notices.
    """
    length = sum(map(len, body))
    try:
        if length <= AT_ONCE:
            await http.respond(status, b"".join(pieces(file, body)), *headers)
            return
        await http.start(status, *headers, ("Content-Length", str(length)))
        for piece in () if http.is_head else pieces(file, body):
            await http.send(piece)
        await http.finish()
    except Shrunk:
        if not http.begun:
            raise Refusal(503, "the file is being changed", ("Retry-After", "1")) from None


def pieces(file: FileIO, body: Layout) -> Iterator[bytes]:
    """The bytes of a body, of which never more than `PIECE` are in memory.

    Raises:
        Shrunk: The file does not have them any more.
    """
    for part in body:
        if isinstance(part, bytes):
            yield part
            continue
        at = part.start
        while at < part.stop:
            piece = os.pread(file.fileno(), min(PIECE, part.stop - at), at)
            if not piece:
                raise Shrunk
            yield piece
            at += len(piece)


def kind_of(name: str) -> str:
    """The Content-Type of a file, by its name."""
    kind, packing = mimetypes.guess_type("/" + name)  # the slash: "data:x" is no URL here
    if packing is not None:
        return PACKED.get(packing, "application/octet-stream")
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def folder_named(path: str) -> str:
    """`path`, for argparse, if it is a folder that can be read."""
    if not os.path.isdir(path) or not os.access(path, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{path!r} is no folder that can be read")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    parser = make_parser("files", "Serve a folder over HTTP.", EXAMPLES, port=8000, workers=True)
    add = parser.add_argument
    add("--root", type=folder_named, default=".", help="the folder (default: %(default)s)")
    add("--hidden", action="store_true", help="serve names that begin with a dot, too")
    add_limits(parser)
    args = parser.parse_args(arguments)
    folder, limits = Folder(args.root, hidden=args.hidden), limits_of(args)

    def answering(http: Http, request: Request) -> Awaitable[None]:
        return answer(http, request, folder)

    return run_server(
        args,
        lambda stopping: serving(
            args,
            lambda stream: converse(stream, answering, stopping, limits),
            stopping=stopping,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
