"""A small web site on this machine, slow on purpose: e08_downloads.py loads from it.

It has threads of its own, so that it is the same site for tasks and for threads,
and it counts how many requests it works on at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread


class Website(ThreadingHTTPServer):
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = ("127.0.0.1", self.server_port)
        self.counting = Lock()
        self.at_once = self.most_at_once = 0

    def count(self, change: int) -> None:
        with self.counting:
            self.at_once += change
            self.most_at_once = max(self.most_at_once, self.at_once)


class Handler(BaseHTTPRequestHandler):
    server: Website

    def do_GET(self) -> None:
        self.server.count(+1)
        time.sleep(0.1)
        self.server.count(-1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"This is {self.path}".encode())

    def log_message(self, *details: object) -> None:
        pass


@contextmanager
def website() -> Iterator[Website]:
    """``with website() as site:`` serves at `site.address` until the block ends."""
    with Website() as site:
        Thread(target=site.serve_forever, args=(0.01,)).start()
        try:
            yield site
        finally:
            site.shutdown()
