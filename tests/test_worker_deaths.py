"""Workers that die, are killed, or do not finish: who notices, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from servers import alive, heard, replaced, say, until


def test_killed_workers_are_replaced_and_clients_wait_meanwhile(served, kind):
    server = served(kind)
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGSTOP)  # so that none of them accepts
    with contextlib.ExitStack() as stack:
        early = [stack.enter_context(server.client()) for _ in range(10)]
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        late = [stack.enter_context(server.client()) for _ in range(10)]
        pids = {int(say(client, b"pid\n")) for client in early + late}
    assert not pids & before
    assert pids <= replaced(server, before, 2)


def test_a_worker_that_dies_takes_its_own_clients_with_it_and_no_others(served):
    server = served("tcp", "workers=2")
    with contextlib.ExitStack() as stack:
        clients = {}
        for _ in range(20):
            client = stack.enter_context(server.client())
            clients[client] = int(say(client, b"pid\n"))
        victim = clients[next(iter(clients))]
        os.kill(victim, signal.SIGKILL)
        for client, pid in clients.items():
            if pid == victim:
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(100) == b""
            else:
                assert say(client, b"hello\n") == b"hello\n"
    until(lambda: len(server.workers()) == 2 and victim not in server.workers())
    server.kill(signal.SIGTERM)
    code, out, errors = server.ended()
    assert (code, out) == (0, "after\n")
    (line,) = errors.splitlines()  # it is reported, once
    assert str(victim) in line
    assert "SIGKILL" in line


def test_a_worker_that_is_told_to_finish_finishes_and_is_replaced(served, kind):
    server = served(kind, "workers=2, grace=30.0")
    with server.client() as client:
        victim = int(say(client, b"pid\n"))
        (other,) = server.workers() - {victim}
        os.kill(victim, signal.SIGTERM)
        until(lambda: server.workers() - {victim, other})  # it does not wait for this client
        assert say(client, b"hello\n") == b"hello\n"
    until(lambda: victim not in server.workers() and len(server.workers()) == 2)
    assert other in server.workers()
    server.kill(signal.SIGTERM)
    assert server.ended()[:2] == (0, "after\n")


def test_a_worker_that_keeps_on_dying_is_started_later_and_later(served, tmp_path):
    flag = tmp_path / "die"
    prelude = f"""
    def forking():
        if os.path.exists({str(flag)!r}):
            print(time.monotonic(), flush=True)

    def forked():
        if os.path.exists({str(flag)!r}):
            os._exit(3)

    os.register_at_fork(before=forking, after_in_child=forked)
    """
    server = served("tcp", "workers=2", prelude)
    victim, other = server.workers()
    flag.touch()
    os.kill(victim, signal.SIGKILL)
    times = [float(server.process.stdout.readline()) for _ in range(5)]
    pauses = [later - sooner for sooner, later in zip(times, times[1:])]
    assert all(longer > 1.4 * pause for pause, longer in zip(pauses, pauses[1:])), pauses
    with contextlib.ExitStack() as stack:  # the other one serves those of the one that is gone
        clients = [stack.enter_context(server.client()) for _ in range(20)]
        flag.unlink()
        assert other in {int(say(client, b"pid\n")) for client in clients}
    until(lambda: len(server.workers()) == 2)
    server.kill(signal.SIGTERM)
    code, out, errors = server.ended()
    assert (code, out) == (0, "after\n")
    assert len(errors.splitlines()) >= 5


def test_a_server_can_be_stopped_while_a_worker_waits_for_its_next_try(served, tmp_path):
    flag = tmp_path / "die"
    prelude = (
        f"os.register_at_fork(after_in_child=lambda: os.path.exists({str(flag)!r}) and os._exit(3))"
    )
    server = served("tcp", "workers=2", prelude)
    flag.touch()
    for victim in server.workers():
        os.kill(victim, signal.SIGKILL)
    until(lambda: not server.workers())
    server.kill(signal.SIGTERM)
    assert server.ended()[:2] == (0, "after\n")


def test_a_worker_whose_parent_dies_while_it_begins_ends_and_says_nothing(served, tmp_path):
    flag = tmp_path / "orphan"
    prelude = f"""
    def forked():
        if os.path.exists({str(flag)!r}):
            parent = os.getppid()
            os.kill(parent, signal.SIGKILL)
            while os.getppid() == parent:
                time.sleep(0.001)

    os.register_at_fork(after_in_child=forked)
    """
    server = served("tcp", "workers=2", prelude)
    workers = server.workers()
    flag.touch()
    server.kill(signal.SIGHUP)
    assert server.ended() == (-signal.SIGKILL, "", "")  # all have closed what they say it to
    until(lambda: not any(map(alive, workers)))


def test_a_replacement_that_dies_at_once_harms_nobody(served, kind, tmp_path):
    """The ones before it stay; a later SIGHUP, when it would live, replaces them."""
    flag = tmp_path / "die"
    prelude = (
        f"os.register_at_fork(after_in_child=lambda: os.path.exists({str(flag)!r}) and os._exit(3))"
    )
    server = served(kind, "workers=2, grace=30.0", prelude)
    before = server.workers()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(10)]
        for client in clients:
            assert int(say(client, b"pid\n")) in before
        flag.touch()
        server.kill(signal.SIGHUP)
        for _ in range(20):
            with server.client() as client:
                assert int(say(client, b"pid\n")) in before
        flag.unlink()
        for client in clients:
            assert int(say(client, b"pid\n")) in before
    assert server.workers() >= before
    server.kill(signal.SIGHUP)
    replaced(server, before, 2)
    server.kill(signal.SIGTERM)
    assert server.ended()[:2] == (0, "after\n")


@pytest.mark.soak
@pytest.mark.parametrize("how", ["yield shield_forever()", "time.sleep(1000)"])
@pytest.mark.parametrize("which", [min, max])
def test_a_worker_that_does_not_finish_is_killed_and_named(served, how, which):
    prelude = f"""
    def handler(stream):
        yield stream.write(b"%d\\n" % os.getpid())
        if (yield stream.readline()):
            {how}

    def shield_forever():
        with shield(float("inf")):
            while True:
                yield sleep(1)
    """
    server = served("tcp", "workers=2, grace=0.1", prelude)
    straggler, other = which(server.workers()), ({min: max, max: min}[which])(server.workers())
    with contextlib.ExitStack() as stack:
        while int(heard(client := stack.enter_context(server.client()))) != straggler:
            pass
        client.sendall(b"go on for ever\n")
        server.kill(signal.SIGTERM)
        code, out, errors = server.ended()
    assert (code, out) == (0, "after\n")
    assert str(straggler) in errors
    assert str(other) not in errors  # that one had finished
