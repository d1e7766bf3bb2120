"""Servers with workers, each in a process of its own, for several test files.

Clients are plain sockets of the test's process. Every wait ends some time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import textwrap
import time
from contextlib import ExitStack

from helpers import started_python

HOST = "127.0.0.1"
LONG = 30  # seconds that nothing here takes

SERVER = """
import json, logging, os, signal, socket, ssl, sys, time
from microthreads import *

stopping = Event()

def handler(stream):
    while line := (yield stream.readline()):
        if line == b"pid\\n":
            line = b"%d\\n" % os.getpid()
        elif line == b"die\\n":
            os._exit(1)
        elif line == b"until stopping\\n":
            yield stopping.wait()
            line = b"stopping\\n"
        yield stream.write(line)

def ready(addresses):
    print(json.dumps(addresses), flush=True)

PATH = sys.argv[-1]
{prelude}
def main():
    yield {routine}
    print("after", flush=True)

run(main())
"""

KINDS = {
    "tcp": "serve(handler, '127.0.0.1', 0, stopping=stopping, ready=ready, {})",
    "unix": "serve_unix(handler, PATH, stopping=stopping, ready=ready, {})",
    "on": "serve_on(handler, [listen('127.0.0.1', 0)], stopping=stopping, ready=ready, {})",
}


@contextlib.contextmanager
def serving(path):
    """What starts servers, of which nothing is left at the end of the block."""
    with ExitStack() as stack:

        def start(kind="tcp", options="workers=2", prelude="", routine=None, **environment):
            routine = routine or KINDS[kind].format(options)
            server = Server(stack, routine, prelude, path / "socket", environment)
            stack.callback(server.all_gone)
            return server

        yield start


class Server:
    def __init__(self, stack, routine, prelude, path, environment):
        text = SERVER.format(prelude=textwrap.dedent(prelude), routine=routine)
        self.path, self.seen = path, set()
        self.process = stack.enter_context(started_python("-c", text, str(path), **environment))
        assert select.select([self.process.stdout], [], [], LONG)[0], "it is never ready"
        self.addresses = json.loads(self.process.stdout.readline())

    def client(self):
        if isinstance(self.addresses[0], str):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(LONG)
            try:
                client.connect(self.addresses[0])
            except OSError:
                client.close()
                raise
            return client
        return socket.create_connection(self.addresses[0], timeout=LONG)

    def workers(self):
        """The process ids of its children, which are alive."""
        pids = {pid for pid in children(self.process.pid) if alive(pid)}
        self.seen |= pids
        return pids

    def kill(self, number):
        os.kill(self.process.pid, number)

    def ended(self):
        """Its exit code, and what it has said after its addresses."""
        out, errors = self.process.communicate(timeout=LONG)
        return self.process.returncode, out, errors

    def all_gone(self):
        self.process.kill()
        self.process.wait(LONG)
        until(lambda: not any(alive(pid) for pid in self.seen))


def children(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return set(map(int, file.read().split()))
    return set()


def alive(pid):
    """Whether there is such a process, which is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition, seconds=LONG):
    """Wait until something holds that only other processes can bring about."""
    deadline = time.monotonic() + seconds
    while not (held := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
    return held


def say(client, line):
    """Say a line; the line that is answered."""
    client.sendall(line)
    return heard(client)


def heard(client):
    data = b""
    while not data.endswith(b"\n") and (more := client.recv(1000)):
        data += more
    return data


def asked(server):
    """The process id of who answers a new client."""
    with server.client() as client:
        return int(say(client, b"pid\n"))


def replaced(server, before, count):
    """Wait for so many workers of which none is one of those; all of them answer then."""
    until(lambda: len(now := server.workers()) == count and not now & before)
    return server.workers()
