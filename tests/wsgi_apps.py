"""Small WSGI applications that do what the tests of the WSGI server need, right or wrong."""

import json
import logging
import sys
import threading
import time
from urllib.parse import unquote
from wsgiref.validate import validator

PLAIN = [("Content-Type", "text/plain")]
log = []  # what has happened, for /log
lock = threading.Lock()
now_running = 0
most_running = 0
kept = []  # bodies of requests that are over


class Closing:
    """An iterable that says when it is closed."""

    def __init__(self, blocks, name):
        self.blocks = iter(blocks)
        self.name = name

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        log.append(f"closed {self.name}")


def app(environ, start_response):
    """Have the function that the path names answer."""
    name = environ["PATH_INFO"].lstrip("/").partition("/")[0]
    page = globals().get(f"page_{name}")
    if page is None:
        start_response("404 Not Found", PLAIN)
        return [b"not here"]
    return page(environ, start_response)


def page_environ(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    hidden = ("wsgi.input", "wsgi.errors")
    found = {name: value for name, value in environ.items() if name not in hidden}
    return [json.dumps(found, default=str).encode()]


def page_log(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["\n".join(log).encode()]


def page_read(environ, start_response):
    body, how = environ["wsgi.input"], environ["QUERY_STRING"]
    found = {
        "all": lambda: [body.read(), body.read()],
        "pieces": lambda: list(iter(lambda: body.read(1000), b"")),
        "one": lambda: [body.read(3), b"".join(body)],
        "line": lambda: [body.readline(), body.readline(2), body.read()],
        "lines": lambda: body.readlines(),
        "iterate": lambda: list(body),
        "nothing": list,
    }[how]()
    start_response("200 OK", PLAIN)
    return [b"%d:" % len(found), b"".join(found)]


def page_size(environ, start_response):
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", PLAIN)
    return [b"%d bytes" % size]


def page_answer(environ, start_response):
    """Answer with the status in the query, and the body that follows it."""
    status, _, body = environ["QUERY_STRING"].partition("&")
    start_response(f"{status} Some", PLAIN)
    return [body.encode()] if body else []


def page_length(environ, start_response):
    """Announce so many bytes, and send so many."""
    said, sent = map(int, environ["QUERY_STRING"].split("&"))
    start_response("200 OK", [*PLAIN, ("Content-Length", str(said))])
    return Closing([b"x" * 5] * (sent // 5), "length")


def page_blocks(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing([b"", b"one ", b"", b"two ", b"three", b""], "blocks")


def page_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"one ")
    write(b"")
    write(b"two ")
    return [b"three"]


def page_late(environ, start_response):
    """`start_response` is called when the first block is asked for."""
    start_response("200 OK", PLAIN)
    yield b"late"


def page_head(environ, start_response):
    """What is answered to a HEAD, as frameworks do that take the body away."""
    start_response("200 OK", PLAIN)
    if environ["REQUEST_METHOD"] == "GET":
        return [b"a page"]
    return {"nothing": [], "empty": [b""], "none": ()}[environ["QUERY_STRING"]]


def page_status(environ, start_response):
    """The status line and the headers that the query has, and a body all the same."""
    status, *headers = unquote(environ["QUERY_STRING"]).split("&")
    start_response(status, [tuple(each.split("=")) for each in headers])
    return [b"hello"]


def page_large(environ, start_response):
    """So many bytes of a known text, in one block or in several."""
    size, blocks = map(int, environ["QUERY_STRING"].split("&"))
    start_response("200 OK", PLAIN)
    return Closing([large(size // blocks)] * blocks, "large")


LINES = b"".join(b"%07d\n" % number for number in range(100_003))


def large(size):
    """A text no piece of which is like the one beside it."""
    return (LINES * (size // len(LINES) + 1))[:size]


def page_headers(environ, start_response):
    headers = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Name", "\xe9\xe8"),
        ("Date", "now"),
    ]
    start_response("200 OK", PLAIN + headers)
    return [b""]


def page_streaming(environ, start_response):
    """A block, and then one more when the next request says so."""
    start_response("200 OK", PLAIN)
    yield b"first"
    while "go on" not in log:
        time.sleep(0.01)
    yield b"second"


def page_goon(environ, start_response):
    log.append("go on")
    return page_log(environ, start_response)


def page_endless(environ, start_response):
    """A body without an end; the status may be in the query."""
    start_response(f"{environ['QUERY_STRING'] or 200} OK", PLAIN)

    def blocks():
        while True:
            log.append("block")
            yield bytes(65536)

    return Closing(blocks(), "endless")


def page_sleep(environ, start_response):
    global now_running, most_running
    with lock:
        now_running += 1
        most_running = max(most_running, now_running)
    time.sleep(float(environ["QUERY_STRING"]))
    with lock:
        now_running -= 1
    start_response("200 OK", PLAIN)
    return [b"most %d" % most_running]


def page_running(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"%d" % now_running]


def page_keep(environ, start_response):
    kept.append(environ["wsgi.input"])
    return page_log(environ, start_response)


def page_kept(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        return [kept.pop().read()]
    except (OSError, ValueError) as error:
        return [str(error).encode()]


def page_errors(environ, start_response):
    environ["wsgi.errors"].write("written to wsgi.errors\n")
    environ["wsgi.errors"].writelines(["and more\n"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", PLAIN)
    return []


# What breaks.


class FailingClose(Closing):
    def close(self):
        super().close()
        raise ZeroDivisionError("in close()")


def page_failclose(environ, start_response):
    start_response("200 OK", PLAIN)
    return FailingClose([b"one", b"two"][: int(environ["QUERY_STRING"])], "failclose")


def page_fail(environ, start_response):
    raise ZeroDivisionError("at once")


def page_failstarted(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(failing([]), "failstarted")


def page_failafter(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing(failing([b"some"]), "failafter")


def failing(blocks):
    yield from blocks
    raise ZeroDivisionError("in the middle")


def page_refused(environ, start_response):
    raise ConnectionRefusedError("of the database, not of the client")


def page_exit(environ, start_response):
    sys.exit("this must not end the server")


def page_silent(environ, start_response):
    return [] if environ["QUERY_STRING"] else [b"body"]


def page_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return []


def page_again(environ, start_response):
    """An error is noticed in time, and answered in place of what was to be."""
    start_response("200 OK", [*PLAIN, ("Content-Length", "1000")])
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        start_response("503 Later", PLAIN, sys.exc_info())
    return [b"later"]


def page_toolate(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"begun")
    try:
        raise ZeroDivisionError("noticed too late")
    except ZeroDivisionError:
        start_response("500 Oh", PLAIN, sys.exc_info())
    log.append("not reached")
    return []


def page_wrong(environ, start_response):
    status, headers, body = {
        "status": ("OK", [], []),
        "number": ("20 OK", [], []),
        "digits": ("\u0662\u0660\u0660 OK", [], []),
        "phrase": ("200 OK\r\nX-C: d", [], []),
        "return": ("200 OK\rX-C: d", [], []),
        "escape": ("200 \x1b[31mOK", [], []),
        "widephrase": ("200 \u20ac", [], []),
        "informational": ("100 Continue", [], []),
        "bytes": (b"200 OK", [], []),
        "tuple": ("200 OK", (), []),
        "newline": ("200 OK", [("X-A", "b\r\nX-C: d")], []),
        "name": ("200 OK", [("X A", "b")], []),
        "hop": ("200 OK", [("Connection", "close")], []),
        "length": ("200 OK", [("Content-Length", "-1")], []),
        "wide": ("200 OK", [("X-A", "\u20ac")], []),
        "text": ("200 OK", [], ["text"]),
        "none": ("200 OK", [], None),
    }[environ["QUERY_STRING"]]
    start_response(status, headers)
    return body


def simple(environ, start_response):
    body = environ["wsgi.input"].read(1_000_000) if environ["REQUEST_METHOD"] == "POST" else b"-"
    length = [("Content-Length", str(len(body)))] if environ["QUERY_STRING"] == "sized" else []
    start_response("200 OK", [("Content-Type", "text/plain"), *length])
    return [body[:2], body[2:]]


validated = validator(simple)
not_callable = "this"


def quoting(environ, start_response):
    """Fails with all that it was sent in its error, and logs it as well."""
    text = " ".join(str(value) for name, value in environ.items() if name != "wsgi.errors")
    logging.getLogger("application").error("cannot answer %s", environ["PATH_INFO"])
    raise LookupError(text)
