"""A server for WSGI applications, as they are: Flask's, Django's, or a plain function.

The kernel has all the connections, and a few threads run the application: a request
takes a thread when all of it is there, its body as well, and gives it back when its answer
is made, not when it is read. So a thread waits for no client, however slow that is. More
requests than threads wait in line, and the kernel goes on meanwhile.

Here are the options, the threads and a small application; what PEP 3333 asks for is in
gateway.py, and what waits for slow clients in spool.py. `Gateway.answer` is where the
kernel and the threads meet.

Try: `curl -N` the path /count of the built-in application, and stop it half way: the
log says so. Then `--app` your own, and `--threads 1` to see requests wait for each other.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

if not __package__:  # run as a folder, not by -m: the checkout is three folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from examples.servers.common import make_parser, positive, run_server, serving
from examples.servers.conversation import converse
from examples.servers.http1 import Http
from examples.servers.limits import add_limits, limits_of
from examples.servers.messages import BadRequest, Request
from examples.servers.wsgi.gateway import Application, Call, environ_of
from examples.servers.wsgi.spool import Answer, Disk, Full, Upload
from microthreads import Event, Stream

EXAMPLES = """examples:
  python3 -m examples.servers.wsgi                               a small application
  python3 -m examples.servers.wsgi --app hello:app               the `app` of ./hello.py
  python3 -m examples.servers.wsgi --app mysite.wsgi:application --threads 20 --workers 4

Then, in another terminal:
  curl http://127.0.0.1:8000/
  curl -N http://127.0.0.1:8000/count
  curl --data-binary @README.md http://127.0.0.1:8000/upload
"""

logger = logging.getLogger("wsgi")

MIB = 1 << 20
KEPT = {
    "--max-body": (256, "how large a request's body may be"),
    "--ahead": (48, "how far an answer may be ahead of its client; then its thread waits"),
    "--max-spool": (1024, "how much a process may have on the disk, in the folder $TMPDIR"),
}
LAST_SECONDS = 1.0  # for threads that have just been told that their client is gone


class Gateway:
    """What all requests have in common: the application, and the threads that run it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._application: Application = args.app
        self._limits = limits_of(args)
        self._most = args.max_body * MIB
        self._ahead = args.ahead * MIB
        self._disk = Disk(args.max_spool * MIB)
        self._threads = ThreadPoolExecutor(args.threads, thread_name_prefix="wsgi")
        self._asked: set[Future[None]] = set()  # requests that run, or wait for a thread
        self._environ = {
            "SERVER_SOFTWARE": "microthreads",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": args.threads > 1,
            "wsgi.multiprocess": args.workers > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,  # a body ends where it ends, chunked ones too
        }

    def handler(self, stopping: Event) -> Callable[[Stream], Any]:
        """What serves one client."""
        return lambda stream: converse(stream, self.answer, stopping, self._limits)

    async def answer(self, http: Http, request: Request) -> None:
        """Have a thread answer a request, and send what it gives."""
        with closing(Upload(self._disk)) as upload, closing(Answer(self._disk, self._ahead)) as out:
            await self.receive(http, request, upload)
            environ = self._environ | environ_of(http, request, upload)
            call = Call(self._application, http, environ, upload, out, self.wanted)
            future = self._threads.submit(call.run)
            self._asked.add(future)
            future.add_done_callback(self._asked.discard)
            try:
                await call.deliver()
            finally:
                future.cancel()  # if it still waits for a thread, nobody waits for it

    async def receive(self, http: Http, request: Request, upload: Upload) -> None:
        """Wait until the request's body is all there.

        Raises:
            BadRequest: It is too large, not as it was announced, or comes too slowly.
        """
        if int(request.headers.get("content-length", "0")) > self._most:
            raise BadRequest(413, f"a body may have {self._most} bytes")
        try:
            while piece := await http.read_body():
                upload.put(piece)
                if upload.size > self._most:
                    raise BadRequest(413, f"a body may have {self._most} bytes")
        except Full as error:
            logger.warning("%s: %s", http.peer, error)
            raise BadRequest(503, "there is no room for this body now") from None
        upload.file.seek(0)

    def wanted(self) -> bool:
        """Whether a request waits for a thread."""
        return not all(each.running() or each.done() for each in list(self._asked))

    def end(self) -> None:
        """Wait a moment for threads whose time is over; end the process if they go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        _, others = wait(list(self._asked), LAST_SECONDS)
        if others:
            logger.error("%d requests still run; the process ends without them", len(others))
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(1)  # nothing else ends a thread, and Python would wait for it


def application(text: str) -> Application:
    """The application that is called `text`, as MODULE:ATTRIBUTE; for argparse."""
    module, colon, attribute = text.partition(":")
    names = [*module.split("."), *attribute.split(".")]
    if not colon or not all(name.isidentifier() for name in names):
        raise argparse.ArgumentTypeError(f"MODULE:ATTRIBUTE is needed, not {text!r}")
    found = imported(module)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise argparse.ArgumentTypeError(f"{module} has no {attribute}")
        found = getattr(found, name)
    if not callable(found):
        raise argparse.ArgumentTypeError(f"{text} is no application: {found!r} is not callable")
    return found  # type: ignore[no-any-return]


def imported(module: str) -> Any:
    """A module, from the current folder or from where modules are."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{module}.".startswith(f"{missing}."):
            traceback.print_exc()  # it is there, and fails: its author wants to know where
        raise argparse.ArgumentTypeError(f"cannot import {module}: {error!r}") from None


def demo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A small application: a page, a stream, and somewhere to upload to."""
    pages = {"/": hello, "/count": count, "/upload": upload}
    page = pages.get(environ["PATH_INFO"])
    start_response("200 OK" if page else "404 Not Found", [("Content-Type", "text/plain")])
    return page(environ) if page else [b"there are /, /count and /upload\n"]


def hello(environ: dict[str, Any]) -> list[bytes]:
    """Greet."""
    return [f"hello, {environ['REMOTE_ADDR']}\n".encode()]


def count(environ: dict[str, Any]) -> Iterator[bytes]:
    """Count to ten, and take two seconds for it."""
    try:
        for number in range(1, 11):
            yield b"%d\n" % number
            time.sleep(0.2)
    except GeneratorExit:
        environ["wsgi.errors"].write("nobody listens any more\n")
        raise


def upload(environ: dict[str, Any]) -> list[bytes]:
    """Say how long the body was."""
    size = 0
    while piece := environ["wsgi.input"].read(65536):
        size += len(piece)
    return [b"%d bytes\n" % size]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code."""
    about = "Run a WSGI application in threads, and keep its connections without."
    parser = make_parser("wsgi", about, EXAMPLES, port=8000, workers=True)
    add = parser.add_argument
    app = "the application; the current folder is looked through first (default: a small one)"
    add("--app", type=application, default=demo, metavar="MODULE:ATTRIBUTE", help=app)
    threads = "requests that run at once, in each process (default: %(default)s)"
    add("--threads", type=positive, default=8, metavar="N", help=threads)
    add_limits(parser)
    group = parser.add_argument_group("what is kept for slow clients, in MiB")
    for option, (default, text) in KEPT.items():
        shown = f"{text} (default: %(default)s)"
        group.add_argument(option, type=positive, default=default, metavar="MIB", help=shown)
    args = parser.parse_args(arguments)
    gateway = Gateway(args)
    code = run_server(
        args, lambda stopping: serving(args, gateway.handler(stopping), stopping=stopping)
    )
    gateway.end()
    return code


if __name__ == "__main__":
    sys.exit(main())
