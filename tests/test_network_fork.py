"""A process made by `fork` keeps no client from seeing the end; and nobody's bytes forge a log line.

Forking is done by programs in processes of their own, which kill their children.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct

import pytest
from helpers import program

from microthreads import (
    Cancelled,
    Event,
    join,
    open_unix_connection,
    run,
    serve_unix,
    sleep,
    spawn,
)

HEAD = """
import multiprocessing, os, signal, socket, sys, threading, time, warnings
from microthreads import *

warnings.simplefilter("ignore")  # of a fork beside threads
KIND, POLLER = {kind!r}, {poller!r}
children = []


def by_fork():
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    children.append(pid)


def by_multiprocessing():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    children.append(process.pid)


def contexts():
    import ssl, trustme
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


SERVER, CLIENT = contexts() if KIND == "tls" else (None, None)
PATH = chr(0) + f"test_network_fork-{{os.getpid()}}"


async def serving(handler, **options):
    listening, found = Event(), []

    def ready(addresses):
        found.extend(addresses)
        listening.set()

    if KIND == "unix":
        routine = serve_unix(handler, PATH, ready=ready, **options)
    else:
        routine = serve(handler, "127.0.0.1", 0, ssl=SERVER, ready=ready, **options)
    server = await spawn(routine, daemon=True)
    await listening.wait()
    return server, found[0]


async def connect(address):
    if KIND == "unix":
        return await open_unix_connection(address)
    return await open_connection("localhost", address[1], ssl=CLIENT)


def go(main):
    try:
        with timeout_of_process(25):
            run(main(), poller=POLLER)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


class timeout_of_process:
    def __init__(self, seconds):
        self.timer = threading.Timer(seconds, lambda: (print("hangs", flush=True), os._exit(1)))
        self.timer.daemon = True

    def __enter__(self):
        self.timer.start()

    def __exit__(self, *_):
        self.timer.cancel()
"""


def result_of(text, kind="tcp", poller="epoll"):
    import textwrap

    done = program(HEAD.format(kind=kind, poller=poller) + textwrap.dedent(text))
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(params=["epoll", "poll"])
def poller(request):
    return request.param


# ---- The parent's end is seen, though a child has a copy of the connection


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("fork", ["by_fork", "by_multiprocessing"])
def test_a_client_sees_the_end_of_its_handler_though_a_child_lives(kind, fork, poller):
    assert (
        result_of(
            f"""
            async def handler(stream):
                {fork}()
                await stream.write(b"started")

            async def main():
                _, address = await serving(handler)
                with await connect(address) as stream, timeout(10):
                    print(await stream.read(-1))

            go(main)
            """,
            kind,
            poller,
        )
        == "b'started'\n"
    )


HOW = {
    "fails": "raise LookupError",
    "is cancelled": "await sleep(0.05); current_task().cancel(); await sleep(60)",
    "closes": "stream.close(); await sleep(60)",
    "finishes": "await stream.finish(); await sleep(60)",
}


@pytest.mark.parametrize("how", HOW)
def test_however_a_handler_ends_its_client_sees_it(how):
    assert (
        result_of(
            f"""
            import logging
            logging.disable()

            async def handler(stream):
                by_fork()
                await stream.write(b"started")
                {HOW[how]}

            async def main():
                _, address = await serving(handler)
                with await connect(address) as stream, timeout(10):
                    print(await stream.read(-1))

            go(main)
            """
        )
        == "b'started'\n"
    )


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_a_server_sees_the_end_of_its_client_though_a_child_of_the_client_lives(kind, poller):
    assert (
        result_of(
            """
            heard, ended = [], Event()

            async def handler(stream):
                heard.append(await stream.read(-1))
                ended.set()

            async def main():
                _, address = await serving(handler)
                with await connect(address) as stream:
                    by_fork()
                    await stream.write(b"all")
                with timeout(10):
                    await ended.wait()
                print(heard)

            go(main)
            """,
            kind,
            poller,
        )
        == "[b'all']\n"
    )


def test_an_accepted_socket_that_is_closed_is_closed_for_the_peer():
    assert (
        result_of(
            """
            async def handler(connection):
                by_fork()
                await connection.sendall(b"started")

            async def main():
                listener = listen("127.0.0.1", 0)
                await spawn(accept_loop(listener, handler), daemon=True)
                with await open_connection(*listener.getsockname()) as stream, timeout(10):
                    print(await stream.read(-1))

            go(main)
            """
        )
        == "b'started'\n"
    )


def test_a_socket_that_was_connected_and_is_closed_is_closed_for_the_peer():
    assert (
        result_of(
            """
            async def main():
                with socket.create_server(("127.0.0.1", 0)) as listener:
                    sock = Socket(socket.socket())
                    await sock.connect(listener.getsockname())
                    by_fork()
                    sock.close()
                    far, _ = listener.accept()
                    far.settimeout(10)
                    print(far.recv(100))

            go(main)
            """
        )
        == "b''\n"
    )


# ---- What a child does with its copies is nothing to the parent


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_a_child_that_closes_its_copies_ends_no_connection_of_the_parent(kind, poller):
    assert (
        result_of(
            """
            async def handler(stream):
                line = await stream.readline()
                pid = os.fork()
                if pid == 0:
                    stream.close()
                    stream.plain.close()
                    os._exit(0)
                os.waitpid(pid, 0)
                while line:
                    await stream.write(line.upper())
                    line = await stream.readline()

            async def main():
                _, address = await serving(handler)
                with await connect(address) as stream, timeout(10):
                    for word in (b"one", b"two", b"three"):
                        await sleep(0.05)  # so that the handler waits for it
                        await stream.write(word + bytes([10]))
                        print(await stream.readline())

            go(main)
            """,
            kind,
            poller,
        )
        == "b'ONE\\n'\nb'TWO\\n'\nb'THREE\\n'\n"
    )


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_child_that_closes_its_copy_of_a_listener_stops_no_server(kind, poller):
    assert (
        result_of(
            """
            async def handler(stream):
                await stream.write(b"hello")

            async def main():
                if KIND == "unix":
                    sock = socket.socket(socket.AF_UNIX)
                    sock.bind(PATH)
                    sock.listen()
                    listener = Socket(sock)
                else:
                    listener = listen("127.0.0.1", 0)
                await spawn(serve_on(handler, [listener]), daemon=True)
                for _ in range(2):
                    with await connect(listener.getsockname()) as stream, timeout(10):
                        print(await stream.read(-1))
                    pid = os.fork()
                    if pid == 0:
                        listener.close()
                        os._exit(0)
                    os.waitpid(pid, 0)

            go(main)
            """,
            kind,
            poller,
        )
        == "b'hello'\nb'hello'\n"
    )


def test_a_worker_that_forks_keeps_no_client_waiting_either():
    assert (
        result_of(
            """
            async def handler(stream):
                by_fork()
                await stream.write(b"%d" % children[-1])

            async def main():
                server, address = await serving(handler, workers=2, grace=1.0)
                for _ in range(4):
                    with await connect(address) as stream, timeout(10):
                        pid = int(await stream.read(-1))
                        os.kill(pid, signal.SIGKILL)
                        print("end")

            go(main)
            """
        )
        == "end\n" * 4
    )


# ---- Nobody's bytes forge a line of the log


EVIL = "\0evil\nERROR forged\r\x1b[31m\u202e"


@contextlib.contextmanager
def evil_client(path):
    """A client whose socket has a name that would write lines of its own into a log."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(EVIL + str(os.getpid()))
        sock.connect(path)
        yield sock


def printable_records(caplog):
    messages = [record.getMessage() for record in caplog.records]
    assert messages
    assert all(message.isprintable() for message in messages), messages
    return messages


@pytest.fixture
def path(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "microthreads")
    return str(tmp_path / "socket")


async def served(path, handler, talk, **options):
    listening = Event()
    routine = serve_unix(handler, path, ready=lambda _: listening.set(), **options)
    server = await spawn(routine)
    await listening.wait()
    with evil_client(path) as sock:
        await talk(sock)
    await sleep(0.05)
    server.cancel()
    with contextlib.suppress(Cancelled):
        await join(server)


@pytest.mark.parametrize("linger", [True, False])
def test_the_name_of_a_client_that_went_away_is_escaped(path, caplog, linger):
    async def handler(stream):
        await stream.read_exactly(100)

    async def talk(sock):
        sock.sendall(b"half")
        await sleep(0.02)
        if linger:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    run(served(path, handler, talk))
    assert "went away" in printable_records(caplog)[0]
    assert "evil" in caplog.text


def test_the_name_of_a_client_that_speaks_no_tls_is_escaped(path, caplog):
    from peers import Authority

    async def talk(sock):
        sock.sendall(b"no TLS, but\nERROR forged\x1b[31m\r\n")
        await sleep(0.02)

    async def handler(stream):
        await stream.read()

    run(served(path, handler, talk, ssl=Authority().server()))
    assert "no TLS with" in printable_records(caplog)[0]


@pytest.mark.parametrize("text", [b"x\nERROR:root:forged", b"x\x1b[31m", b"x\r\nERROR y"])
def test_what_a_client_sent_begins_no_line_in_the_report_of_a_failure(path, caplog, text):
    async def handler(stream):
        line = await stream.read()
        raise LookupError(f"no such key: {line.decode()}")

    async def talk(sock):
        sock.sendall(text)
        await sleep(0.02)

    run(served(path, handler, talk))
    assert "no such key: x" in caplog.text
    formatted = logging.Formatter("%(levelname)s %(message)s").format(caplog.records[0])
    for line in formatted.splitlines():
        assert line.isprintable(), line
        assert not line.startswith("ERROR:root")
        assert line.count("ERROR") <= line.startswith(("ERROR", "  "))


def test_texts_of_streams_sockets_and_errors_are_printable(path):
    texts = []

    async def handler(stream):
        texts.extend([str(stream), repr(stream), str(stream.plain), repr(stream.plain)])
        for call in (stream.read_exactly(100), stream.read_until(b"\n")):
            try:
                await call
            except Exception as error:
                texts.append(str(error))
        for call in (stream.read(), stream.write(b"x"), stream.write_eof()):
            texts.append(str(call))
            with contextlib.suppress(OSError):
                await call
        stream.close()
        try:
            await stream.read()
        except Exception as error:
            texts.append(str(error))

    async def talk(sock):
        sock.sendall(b"half")
        sock.shutdown(socket.SHUT_WR)
        await sleep(0.02)

    run(served(path, handler, talk))
    assert len(texts) == 10
    assert all(text.isprintable() for text in texts), texts


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_errors_about_odd_paths_are_printable(tmp_path, kind):
    odd = kind(str(tmp_path / "a\nERROR forged\x1b[31m"))

    async def handler(stream):
        await stream.read()

    async def main():
        with pytest.raises(OSError, match="connect") as caught:
            await open_unix_connection(odd)
        texts = [str(caught.value)]
        with open(odd, "w"):
            with pytest.raises(OSError, match="no socket") as caught:
                await serve_unix(handler, odd)
        return [*texts, str(caught.value)]

    for text in run(main()):
        assert text.isprintable(), text
