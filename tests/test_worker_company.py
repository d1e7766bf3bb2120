"""Workers, and what else there is in their programs: children, other servers, other programs.

A worker is a copy of the first process. What that has open, and what a worker forks
itself, must not keep anything from coming to its end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

import pytest
from servers import HOST, LONG, alive, asked, replaced, say, until

from microthreads import run, serve

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs pidfd_open")

FORKS = """
def forking(stream):
    child = os.fork()
    if child == 0:
        time.sleep(1000)
        os._exit(0)
    yield stream.write(b"%d %d\\n" % (os.getpid(), child))
"""


@pytest.fixture
def children():
    """Children that a test hears of; they are ended after it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def forking_server(served):
    return served(
        prelude=FORKS,
        routine="serve(forking, '127.0.0.1', 0, workers=2, grace=0.0, ready=ready)",
    )


def forked_by(server, children):
    """Have a worker fork a child: the process id of the worker."""
    with server.client() as client:
        worker, child = map(int, say(client, b"").split())
    children.append(child)
    return worker


def test_a_worker_whose_child_lives_on_is_replaced_when_it_dies(served, children):
    server = forking_server(served)
    worker = forked_by(server, children)
    os.kill(worker, signal.SIGKILL)
    until(lambda: worker not in server.workers() and len(server.workers()) == 2)
    assert alive(children[0])


def test_workers_whose_children_live_on_are_replaced_at_sighup(served, children):
    server = forking_server(served)
    before = server.workers()
    while {forked_by(server, children) for _ in range(5)} != before:
        pass
    server.kill(signal.SIGHUP)
    assert len(replaced(server, before, 2)) == 2


def test_workers_end_when_the_first_process_dies_though_a_child_of_its_lives_on(served, children):
    prelude = """
    def told(addresses):
        child = os.fork()
        if child == 0:
            time.sleep(1000)
        print(json.dumps(addresses + [child]), flush=True)
    """
    routine = "serve(handler, '127.0.0.1', 0, workers=2, grace=0.0, ready=told)"
    server = served(prelude=prelude, routine=routine)
    children.append(server.addresses.pop())
    workers = server.workers()
    server.kill(signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in workers - set(children)))
    assert alive(children[0])


@pytest.mark.parametrize("number", [signal.SIGRTMIN + 3, signal.SIGSEGV, signal.SIGKILL])
def test_a_worker_that_any_signal_ends_is_replaced(served, number):
    server = served(options="workers=2")
    victim = asked(server)
    os.kill(victim, number)
    until(lambda: victim not in server.workers() and len(server.workers()) == 2)
    server.kill(signal.SIGTERM)
    code, _, errors = server.ended()
    assert code == 0
    assert "was ended by" in errors


def test_a_port_in_use_is_refused_with_workers_too(served):
    server = served(options="workers=2")
    with pytest.raises(OSError, match="in use"):
        run(serve(lambda stream: None, HOST, server.addresses[0][1], workers=2))


def test_workers_hold_no_connections_of_other_servers(served):
    """Who is told goodbye by a server beside them sees the end, though workers began meanwhile."""
    prelude = """
    def two():
        opened = []
        beside = serve(handler, "127.0.0.1", 0, ready=opened.extend)
        yield spawn(beside, daemon=True)
        yield from serve(
            handler, "127.0.0.1", 0, workers=2, ready=lambda found: ready(found + opened)
        )
    """
    server = served(prelude=prelude, routine="from two()")
    with socket.create_connection(server.addresses[1], timeout=LONG) as client:
        assert say(client, b"hello\n") == b"hello\n"
        before = server.workers()
        server.kill(signal.SIGHUP)
        replaced(server, before, 2)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        assert client.recv(10) == b""


def test_an_old_worker_that_does_not_finish_is_named_and_killed(served):
    """Ten seconds after its grace; and then the next one is replaced."""
    prelude = """
    from microthreads.net import workers
    workers.LAST_SECONDS = workers.FORCE = 0.1

    def stuck(stream):
        yield stream.write(b"stuck\\n")
        time.sleep(1000)
    """
    routine = "serve(stuck, '127.0.0.1', 0, workers=2, grace=0.0, ready=ready)"
    server = served(prelude=prelude, routine=routine)
    before = server.workers()
    with server.client() as client:
        assert say(client, b"") == b"stuck\n"
        server.kill(signal.SIGHUP)
        replaced(server, before, 2)
    server.kill(signal.SIGTERM)
    code, _, errors = server.ended()
    assert code == 0
    assert errors.count("is killed") == 1
