"""Workers: how many answer, how all of them end, and what systemd is told.

The server is a Python of its own that prints its addresses when it is ready; clients are
plain sockets. Workers that die are in test_worker_deaths.py, and those that are replaced
under load in test_rolling.py.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import ssl

import pytest
import trustme
from helpers import program
from servers import HOST, KINDS, LONG, alive, asked, heard, replaced, say, until

from microthreads import listen, run, serve, serve_on, serve_unix

# ---- how many


def answered(selector, count):
    """Wait for so many answers at least: the clients that got them, and from whom."""
    answers = {}
    while len(answers) < count:
        found = selector.select(LONG)
        assert found, f"{len(answers)} answers instead of {count}"
        for key, _ in found:
            selector.unregister(key.fileobj)
            answers[key.fileobj] = int(heard(key.fileobj))
    return answers


@pytest.mark.parametrize("count", [2, 3])
def test_so_many_processes_answer_each_as_many_clients_as_it_may(served, kind, count):
    """The other clients wait, are not refused, and have their turn when somebody leaves."""
    server = served(kind, f"workers={count}, max_connections=1")
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(40):
            client = stack.enter_context(server.client())
            client.sendall(b"pid\n")
            selector.register(client, selectors.EVENT_READ)
        first = answered(selector, count)
        assert set(first.values()) == server.workers()
        assert server.process.pid not in first.values()
        assert selector.select(0.05) == []
        inside, had_their_turn = first, count
        while had_their_turn < 40:
            for client in inside:
                client.close()
            inside = answered(selector, 1)
            assert len(inside) <= count
            had_their_turn += len(inside)
    assert had_their_turn == 40


def test_all_workers_answer(served):
    server = served("tcp", "workers=4")
    pids = set()
    until(lambda: pids.add(asked(server)) or len(pids) == 4)
    assert pids == server.workers()
    assert all(asked(server) in pids for _ in range(20))


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_worker_is_a_value_error(kind, count, tmp_path):
    def main():
        with pytest.raises(ValueError):
            if kind == "tcp":
                yield serve(print, HOST, 0, workers=count)
            elif kind == "unix":
                yield serve_unix(print, str(tmp_path / "socket"), workers=count)
            else:
                with listen(HOST, 0) as sock:
                    yield serve_on(print, [sock], workers=count)

    run(main())
    assert not (tmp_path / "socket").exists()


def test_workers_outside_the_main_thread_are_a_runtime_error():
    out = program(
        """
        import threading
        from microthreads import *

        def main():
            try:
                yield serve(print, "127.0.0.1", 0, workers=2, ready=print)
            except RuntimeError:
                print("RuntimeError")

        thread = threading.Thread(target=lambda: run(main()))
        thread.start()
        thread.join()
        """
    )
    assert (out.stdout, out.stderr) == ("RuntimeError\n", "")


def test_ready_is_called_once_by_the_parent_when_all_of_them_accept(served):
    prelude = """
    def ready(addresses):
        with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
            print(json.dumps(addresses + [os.getpid(), file.read().split()]), flush=True)
    """
    server = served("tcp", "workers=3", prelude)
    *addresses, pid, workers = server.addresses
    assert pid == server.process.pid
    assert {int(worker) for worker in workers} == server.workers()
    ((_, port),) = addresses
    server.addresses = addresses
    assert asked(server) in server.workers()
    before = server.workers()
    server.kill(signal.SIGHUP)
    replaced(server, before, 3)
    server.kill(signal.SIGTERM)
    assert server.ended() == (0, "after\n", "")
    assert port > 0


def test_workers_speak_tls(served, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(tmp_path / "key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    prelude = f"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain({str(tmp_path / "cert")!r}, {str(tmp_path / "key")!r})
    """
    server = served("tcp", "workers=2, ssl=context", prelude)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trust)

    def asked_secretly():
        with trust.wrap_socket(server.client(), server_hostname=HOST) as client:
            return int(say(client, b"pid\n"))

    pids = set()
    until(lambda: pids.add(asked_secretly()) or len(pids) == 2)
    assert pids == server.workers()
    server.kill(signal.SIGTERM)
    assert server.ended() == (0, "after\n", "")


# ---- ends


def test_a_sigterm_lets_conversations_end_and_refuses_newcomers(served, kind):
    server = served(kind, "workers=2, grace=30.0")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(6)]
        for client in clients:
            assert say(client, b"hello\n") == b"hello\n"
        assert len(server.workers()) == 2
        server.kill(signal.SIGTERM)
        until(lambda: refused(server))
        for client in clients:
            assert say(client, b"last words\n") == b"last words\n"
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
    assert server.ended() == (0, "after\n", "")
    assert not server.path.exists()


def refused(server):
    try:
        server.client().close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


def test_handlers_that_would_like_to_know_are_told_that_it_stops(served, kind):
    server = served(kind, "workers=2, grace=30.0")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(6)]
        for client in clients:
            assert int(say(client, b"pid\n")) in server.workers()
            client.sendall(b"until stopping\n")
        server.kill(signal.SIGTERM)
        assert [heard(client) for client in clients] == [b"stopping\n"] * 6
    assert server.ended() == (0, "after\n", "")


def test_handlers_that_take_longer_than_the_grace_are_cancelled(served, kind):
    server = served(kind, "workers=2, grace=0.1")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(6)]
        for client in clients:
            say(client, b"hello\n")
        server.kill(signal.SIGTERM)
        assert [client.recv(100) for client in clients] == [b""] * 6
    assert server.ended() == (0, "after\n", "")


@pytest.mark.parametrize("end", ["cancel", "SIGTERM", "ready fails"])
def test_a_server_that_ends_leaves_no_process_and_no_descriptor(tmp_path, kind, end):
    out = program(
        f"""
        import os, signal
        from microthreads import *

        END, PATH = {end!r}, {str(tmp_path / "socket")!r}

        def handler(stream):
            yield stream.write((yield stream.readline()))

        def asked(address):
            if isinstance(address, str):
                stream = yield open_unix_connection(address)
            else:
                stream = yield open_connection(*address)
            with stream:
                yield stream.write(b"hello\\n")
                return (yield stream.readline())

        def main():
            answers = Channel(10)
            yield sleep(0.01)
            before = sorted(os.listdir("/proc/self/fd"))
            listening, addresses = Event(), []

            def ready(found):
                if END == "ready fails":
                    raise LookupError("not ready")
                addresses.extend(found)
                listening.set()

            def serving():
                try:
                    yield {KINDS[kind].format("workers=2, grace=1.0").replace("stopping=stopping, ", "")}
                    print("returned")
                except (LookupError, Cancelled) as error:
                    print(type(error).__name__)

            server = yield spawn(serving())
            if END != "ready fails":
                yield listening.wait()
                for _ in range(8):
                    assert (yield asked(addresses[0])) == b"hello\\n"
                if END == "cancel":
                    server.cancel()
                else:
                    os.kill(os.getpid(), signal.SIGTERM)
            yield join(server)
            after = sorted(os.listdir("/proc/self/fd"))
            print(len(after) - len(before), os.path.exists(PATH))
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                print("no children")

        run(main())
        """
    )
    how = {"cancel": "Cancelled", "SIGTERM": "returned", "ready fails": "LookupError"}[end]
    assert out.stderr == ""
    assert out.stdout == f"{how}\n0 False\nno children\n"


def test_ctrl_c_ends_all_of_them_and_only_the_parent_says_so(served, kind):
    """A terminal sends it to all of them, as one group."""
    server = served(kind, "workers=3, grace=0.1", "os.setsid()")
    with server.client() as client:
        say(client, b"hello\n")
        assert len(server.workers()) == 3
        os.killpg(server.process.pid, signal.SIGINT)
        code, out, errors = server.ended()
        assert client.recv(100) == b""
    assert (code, out) == (-signal.SIGINT, "")
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1].startswith("KeyboardInterrupt")
    assert not server.path.exists()


def test_workers_end_by_themselves_when_their_parent_is_killed(served, kind):
    server = served(kind, "workers=3, grace=0.1")
    with server.client() as client:
        say(client, b"hello\n")
        workers = server.workers()
        assert len(workers) == 3
        server.kill(signal.SIGKILL)
        assert client.recv(100) == b""
    until(lambda: not any(map(alive, workers)))
    assert server.ended() == (-signal.SIGKILL, "", "")


@pytest.mark.parametrize("workers", [2, 3])
def test_a_server_cancelled_while_it_starts_leaves_nothing_and_says_nothing(workers):
    """At each of its first steps."""
    out = program(
        f"""
        import os
        from microthreads import *

        def main():
            yield sleep(0.01)
            before = sorted(os.listdir("/proc/self/fd"))
            for steps in range(30):
                server = yield spawn(serve(print, "127.0.0.1", 0, workers={workers}, grace=0.0))
                for _ in range(steps):
                    yield
                server.cancel()
                try:
                    yield join(server)
                except Cancelled:
                    pass
                assert sorted(os.listdir("/proc/self/fd")) == before
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    continue
                print("a child is left")

        run(main())
        """
    )
    assert (out.stdout, out.stderr) == ("", "")


def test_workers_run_their_handlers_and_nothing_else_of_the_program(served, tmp_path):
    """Neither its other tasks, nor what comes after `serve`, nor what it has yet to print."""
    log, flag = tmp_path / "log", tmp_path / "flag"
    prelude = f"""
    import atexit

    def note(what):
        with open({str(log)!r}, "a") as file:
            print(what, os.getpid(), file=file)

    def ticking():
        while not os.path.exists({str(flag)!r}):
            note("tick")
            yield sleep(0.001)
        print("printed", flush=False)
        while True:
            note("tock")
            yield sleep(0.001)

    def serving():
        yield spawn(ticking(), daemon=True)
        try:
            yield serve(handler, "127.0.0.1", 0, workers=2, ready=ready)
        finally:
            note("finally")

    atexit.register(note, "atexit")
    """
    server = served("tcp", "", prelude, routine="serving()")
    before = server.workers()
    assert asked(server) in before
    flag.touch()
    until(lambda: "tock" in log.read_text())  # what it prints waits in its buffer now
    server.kill(signal.SIGHUP)
    replaced(server, before, 2)
    server.kill(signal.SIGTERM)
    code, out, errors = server.ended()
    assert (code, out, errors) == (0, "printed\nafter\n", "")
    lines = log.read_text().splitlines()
    assert {int(line.split()[1]) for line in lines} == {server.process.pid}
    others = [line.split()[0] for line in lines if line[0] != "t"]
    assert others == ["finally", "atexit"]


def test_a_program_may_have_several_servers_with_workers(tmp_path):
    out = program(
        f"""
        import os, signal
        from microthreads import *

        def handler(stream):
            yield stream.readline()
            yield stream.write(b"%d" % os.getpid())

        def asked(opening):
            with (yield opening) as stream:
                yield stream.write(b"pid\\n")
                return int((yield stream.read(-1)))

        def main():
            found, path = [], {str(tmp_path / "socket")!r}
            options = dict(workers=2, ready=found.extend)
            one = yield spawn(serve(handler, "127.0.0.1", 0, **options))
            other = yield spawn(serve_unix(handler, path, **options))
            while len(found) < 2:
                yield sleep(0.001)
            found.remove(path)
            pids = [(yield asked(open_connection(*found[0]))), (yield asked(open_unix_connection(path)))]
            print(len({{*pids, os.getpid()}}))
            os.kill(os.getpid(), signal.SIGTERM)
            yield join(one)
            yield join(other)
            print("both ended")

        run(main())
        """
    )
    assert (out.stdout, out.stderr) == ("3\nboth ended\n", "")


# ---- telling systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_when_it_is_ready_reloads_and_stops(served, kind, tmp_path, abstract):
    name = f"@microthreads-workers-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(LONG)
        told.bind("\0" + name[1:] if abstract else name)
        server = served(kind, NOTIFY_SOCKET=name)
        before = server.workers()
        log = [told.recv(1000).decode().splitlines()]
        server.kill(signal.SIGHUP)
        log += [told.recv(1000).decode().splitlines() for _ in range(2)]
        assert not before & server.workers()  # ready again: all of them are new
        server.kill(signal.SIGTERM)
        log.append(told.recv(1000).decode().splitlines())
        assert server.ended() == (0, "after\n", "")
        told.setblocking(False)
        with pytest.raises(BlockingIOError):  # the workers themselves say nothing
            told.recv(1000)
    states = [[line for line in lines if line.endswith("=1")] for lines in log]
    assert states == [["READY=1"], ["RELOADING=1"], ["READY=1"], ["STOPPING=1"]]
