"""Workers that are dead or stuck stop nobody, and none of them lives for ever."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading

import pytest
from servers import HOST, LONG, alive, asked, say, until

from microthreads import Workers, serve

pytestmark = pytest.mark.once  # processes, and real seconds


def lines_until(server, word):
    """What it says on its standard error, up to a line with this word."""
    lines = []
    while not lines or word not in lines[-1]:
        lines.append(server.process.stderr.readline())
        assert lines[-1], f"it ended, and said {lines}"
    return lines


def test_that_a_worker_is_replaced_for_its_age_is_no_reload_to_systemd(served, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(LONG)
        told.bind(str(tmp_path / "notify"))
        server = served(
            "tcp", "workers=Workers(2, max_clients=1)", NOTIFY_SOCKET=told.getsockname()
        )
        before = server.workers()
        until(lambda: asked(server) and not before & server.workers())
        server.kill(signal.SIGTERM)
        assert server.ended()[0] == 0
        told.setblocking(False)
        said = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(told.recv(1000).decode())
    assert said == ["READY=1", "STOPPING=1"]


def test_clients_of_a_worker_that_is_stopped_are_served_by_the_others(served, kind):
    server = served(kind, "workers=2")
    victim, other = server.workers()
    os.kill(victim, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for _ in range(12)]
            assert {int(say(client, b"pid\n")) for client in clients} == {other}
    finally:
        os.kill(victim, signal.SIGCONT)
    assert server.workers() == {victim, other}
    until(lambda: asked(server) == victim)  # it has its share again


def test_a_worker_that_is_stuck_for_too_long_is_killed_and_another_one_begins(served):
    server = served("tcp", "workers=Workers(2, heartbeat=3.0)")
    victim, other = server.workers()
    os.kill(victim, signal.SIGSTOP)
    until(lambda: not alive(victim) and len(server.workers()) == 2)
    assert other in server.workers()
    assert any("stuck" in line and str(victim) in line for line in lines_until(server, "killed"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(12)]
        assert {int(say(client, b"pid\n")) for client in clients} <= server.workers()


def test_an_endless_loop_in_a_handler_takes_only_its_own_worker(served):
    prelude = """
    def spins(line):
        while True:
            pass

    talk = handler

    def handler(stream):
        line = yield stream.readline()
        if line == b"spin\\n":
            stream.plain.sock.send(b"now\\n")  # a plain call: nobody is accepted meanwhile
            spins(line)
        yield stream.write(b"%d\\n" % os.getpid())
    """
    server = served("tcp", "workers=Workers(2, heartbeat=3.0)", prelude)
    before = server.workers()
    with server.client() as busy:
        assert say(busy, b"spin\n") == b"now\n"
        for _ in range(12):
            assert asked(server) in server.workers() | before
    until(lambda: len(server.workers()) == 2 and server.workers() != before)


def test_a_worker_that_has_served_enough_clients_is_replaced_and_none_is_refused(served, kind):
    server = served(kind, "workers=Workers(2, max_clients=20)")
    before = server.workers()
    pids = set()
    until(lambda: pids.add(asked(server)) or len(pids) >= 4)
    until(lambda: asked(server) and not server.workers() & before)
    until(lambda: len(server.workers()) == 2)
    server.kill(signal.SIGTERM)
    assert server.ended() == (0, "after\n", "")


def test_a_worker_that_is_old_enough_is_replaced_and_finishes_its_conversations(served):
    server = served("tcp", "workers=Workers(1, max_age=0.5), grace=30.0")
    (before,) = server.workers()
    with server.client() as client:
        assert int(say(client, b"pid\n")) == before
        until(lambda: asked(server) != before)
        assert int(say(client, b"pid\n")) == before
    until(lambda: before not in server.workers())


def test_one_worker_is_a_process_of_its_own(served):
    server = served("tcp", "workers=Workers(1)")
    assert asked(server) != server.process.pid
    assert {asked(server)} == server.workers()


@pytest.mark.parametrize("workers", ["workers=1", "workers=2"])
def test_systemds_watchdog_is_told_as_often_as_it_asks(served, tmp_path, workers):
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(place)
        sock.settimeout(LONG)
        served("tcp", workers, NOTIFY_SOCKET=place, WATCHDOG_USEC="200000")
        heard = [sock.recv(1000) for _ in range(6)]
    assert heard.count(b"WATCHDOG=1") >= 4


@pytest.mark.parametrize("pid", ["1", "x"])
def test_a_watchdog_that_asks_another_process_is_not_told(served, tmp_path, pid):
    place = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(place)
        server = served(
            "tcp", "workers=2", NOTIFY_SOCKET=place, WATCHDOG_USEC="1000", WATCHDOG_PID=pid
        )
        server.kill(signal.SIGTERM)
        server.ended()
        sock.setblocking(False)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(sock.recv(1000))
    assert heard == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    "options",
    [
        {"number": 0},
        {"number": 2, "heartbeat": 0},
        {"number": 2, "heartbeat": math.nan},
        {"number": 2, "max_clients": 0},
        {"number": 2, "max_age": -1.0},
    ],
)
def test_what_workers_cannot_be_is_a_value_error_that_names_it(options):
    (name, *_) = [each for each in options if each != "number"] or ["number"]
    with pytest.raises(ValueError, match=name):
        Workers(**options)


def test_a_number_of_workers_is_checked_at_the_call():
    with pytest.raises(ValueError, match="workers"):
        serve(print, HOST, 0, workers=0)


def test_survivors_serve_at_once_while_a_worker_crashes_again_and_again(served, tmp_path):
    flag = tmp_path / "die"
    prelude = f"""
    def forked():
        if os.path.exists({str(flag)!r}):
            os._exit(3)

    os.register_at_fork(after_in_child=forked)
    """
    server = served("tcp", "workers=2", prelude)
    victim, other = server.workers()
    flag.touch()
    os.kill(victim, signal.SIGKILL)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asked(server))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert answers == [other] * 12
