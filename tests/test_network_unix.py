"""Unix sockets: one of two listens, paths of all kinds, permissions; and junk in a handshake.

Paths are made in a folder of the test's own, and abstract names are this process's.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import threading
from pathlib import Path

import pytest
from peers import LONG, NAME

from microthreads import (
    Cancelled,
    Event,
    join,
    open_connection,
    open_unix_connection,
    run,
    select,
    serve,
    serve_unix,
    sleep,
    spawn,
    timeout,
)


async def handler(stream):
    await stream.write(b"hello")


@contextlib.asynccontextmanager
async def serving(path, handler=handler, serve=serve_unix, **options):
    """Serve in this block; the addresses."""
    listening, found = Event(), []

    def ready(addresses):
        found.extend(addresses)
        listening.set()

    server = await spawn(serve(handler, *path, ready=ready, grace=5.0, **options))
    which, _ = await select(listening.wait(), join(server))
    assert which == 0
    yield found
    server.cancel()
    with contextlib.suppress(Cancelled):
        await join(server)


async def asked(path):
    with await open_unix_connection(path) as stream, timeout(LONG):
        return await stream.read(-1)


def leave_stale(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


# ---- Of two that start at once, one listens


def test_of_two_that_start_at_once_at_a_stale_path_one_listens(tmp_path, monkeypatch, go):
    """The other one, in a kernel of its own, starts when the first is about to remove it."""
    path, listen_too, told = tmp_path / "socket", [], []
    leave_stale(path)
    stop = threading.Event()

    async def other():
        server = await spawn(serve_unix(handler, path, ready=lambda _: told.append("listens")))
        while not stop.is_set():
            which, _ = await select(join(server), sleep(0.01))
            if which == 0:
                return
        server.cancel()

    def start_other():
        try:
            run(other())
        except OSError as error:
            told.append(errno.errorcode[error.errno])

    def let_other_start(real, *arguments):
        if threading.current_thread() is threading.main_thread() and not listen_too:
            listen_too.append(threading.Thread(target=start_other))
            listen_too[0].start()
            listen_too[0].join(0.3)  # it goes as far as it can
        return real(*arguments)

    for name in ("unlink", "remove", "rename", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real: let_other_start(real, *a))

    async def main():
        async with serving([path]):
            assert await asked(path) == b"hello"
            with timeout(LONG):
                while listen_too[0].is_alive() and "listens" not in told:
                    await sleep(0.01)
        stop.set()

    go(main())
    listen_too[0].join(LONG)
    assert told == ["EADDRINUSE"]


def test_ten_at_once_in_one_kernel_are_one_server(tmp_path, go):
    path, ready = tmp_path / "socket", []
    leave_stale(path)

    async def one(number):
        try:
            await serve_unix(handler, path, ready=lambda _: ready.append(number))
        except OSError as error:
            return error.errno

    async def main():
        tasks = [await spawn(one(number)) for number in range(10)]
        with timeout(LONG):
            while sum(task.done for task in tasks) < 9:
                await sleep(0.005)
        assert await asked(path) == b"hello"
        errors = [await join(task) for task in tasks if task.done]
        for task in tasks:
            task.cancel()
        return errors

    assert go(main()) == [errno.EADDRINUSE] * 9
    assert len(ready) == 1


def test_who_comes_to_a_path_that_is_served_leaves_it_alone(tmp_path):
    path = tmp_path / "socket"

    async def main():
        async with serving([path]):
            with pytest.raises(OSError, match="somebody does"):
                await serve_unix(handler, path)
            return await asked(path)

    assert run(main()) == b"hello"
    assert os.listdir(tmp_path) == [], "something is left behind"


# ---- Paths of all kinds


class Named:
    """A path-like object whose path is bytes."""

    def __init__(self, path):
        self.path = os.fsencode(path)

    def __fspath__(self):
        return self.path


@pytest.mark.parametrize("kind", [str, Path, os.fsencode, Named])
def test_a_path_may_be_text_bytes_or_path_like(tmp_path, kind, go):
    path = kind(tmp_path / "söcket")

    async def main():
        async with serving([path]):
            got = await asked(path)
            assert stat.S_ISSOCK(os.stat(tmp_path / "söcket").st_mode)
        return got

    assert go(main()) == b"hello"
    assert os.listdir(tmp_path) == [], "it is removed at the end"


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_an_abstract_name_may_be_text_or_bytes(kind, go):
    name = kind(f"\0microthreads-{os.getpid()}")

    async def main():
        async with serving([name]):
            return await asked(name)

    assert go(main()) == b"hello"


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_a_path_that_is_too_long_is_said_to_be(kind):
    path = kind("/tmp/" + "ö" * 60)  # noqa: S108  (60 characters, but 120 bytes)

    async def main():
        for routine in (serve_unix(handler, path), open_unix_connection(path)):
            with pytest.raises(OSError, match="too long") as caught:
                await routine
            assert caught.value.errno == errno.ENAMETOOLONG
            assert "/tmp/" in str(caught.value)  # noqa: S108

    run(main())


def test_the_longest_path_that_there_can_be_is_not_too_long(tmp_path):
    path = str(tmp_path) + "/" + "x" * (107 - len(os.fsencode(tmp_path)) - 1)

    async def main():
        async with serving([path]):
            return await asked(path)

    assert run(main()) == b"hello"


def test_the_longest_abstract_name_that_there_can_be_is_not_too_long():
    name = f"\0microthreads-{os.getpid()}-".ljust(108, "x")

    async def main():
        async with serving([name]):
            return await asked(name)

    assert run(main()) == b"hello"


@pytest.mark.parametrize("path", ["", b"", "a\0b"])
def test_what_can_be_no_path_is_a_value_error(path):
    async def main():
        for call in (serve_unix, lambda _, path: open_unix_connection(path)):
            with pytest.raises(ValueError, match="path"):
                await call(handler, path)

    run(main())


@pytest.mark.parametrize("path", [3, None, 1.5])
def test_what_is_no_path_is_a_type_error_at_the_call(path):
    for call in (lambda: serve_unix(handler, path), lambda: open_unix_connection(path)):
        with pytest.raises(TypeError):
            call()


# ---- The permissions of the socket


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, None])
@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_socket_has_the_permissions_that_were_asked_for_from_the_first_on(
    tmp_path, mode, umask, monkeypatch
):
    path = tmp_path / "socket"
    seen = []
    listen = socket.socket.listen

    def watched(sock, *arguments):
        seen.append(stat.S_IMODE(os.stat(path).st_mode))
        listen(sock, *arguments)

    monkeypatch.setattr(socket.socket, "listen", watched)

    async def main():
        async with serving([path], mode=mode):
            return stat.S_IMODE(os.stat(path).st_mode)

    before = os.umask(umask)
    try:
        wanted = 0o777 & ~umask if mode is None else mode
        assert run(main()) == wanted
        assert seen == [wanted], "before anybody can connect"
    finally:
        os.umask(before)


# ---- Junk, or a hang-up, in the handshake of a handler is one line of INFO


def junk(sock):
    sock.sendall(b"this is no TLS at all\r\n\r\n")


def hang_up(sock):
    sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_a_hello(sock):
    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    sock.close()


@pytest.mark.parametrize("place", ["tcp", "unix"])
@pytest.mark.parametrize("how", ["serve(ssl=)", "start_tls"])
@pytest.mark.parametrize("trouble", [junk, hang_up, reset, half_a_hello])
def test_a_client_that_fails_in_the_handshake_is_one_line_of_info(
    authority, tmp_path, caplog, place, how, trouble, go
):
    caplog.set_level(logging.DEBUG, "microthreads")
    crashes, context = [], authority.server()

    async def starttls(stream):
        await stream.start_tls(context, server_side=True)
        await stream.write(b"hello")

    async def main():
        options = {"handler": starttls} if how == "start_tls" else {"ssl": context}
        if place == "tcp":
            served = serving(["127.0.0.1", 0], serve=serve, **options)
        else:
            served = serving([str(tmp_path / "socket")], **options)
        async with served as found:
            sock = socket.socket(socket.AF_INET if place == "tcp" else socket.AF_UNIX)
            with sock:
                sock.connect(found[0])
                await sleep(0.01)
                trouble(sock)
                with timeout(LONG):
                    while not caplog.records:
                        await sleep(0.005)
            connecting = (
                open_connection(*found[0]) if place == "tcp" else open_unix_connection(found[0])
            )
            with await connecting as stream:
                await stream.start_tls(authority.client(), server_hostname=NAME)
                return await stream.read(-1)

    assert go(main(), on_crash=crashes.append) == b"hello"
    assert crashes == []
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]
    assert "\n" not in caplog.records[0].getMessage()
