"""What a handler wrote arrives if it returns normally: `Stream.finish`, and `serve` by it.

Clients are plain sockets of the standard library, or streams of ours where TLS is to be
spoken; where time matters it is virtual.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import ssl
import struct
import threading
import weakref
from contextlib import ExitStack

import pytest
from helpers import tcp_pair, vrun
from peers import LONG, MIB, NAME, in_thread, until

from microthreads import (
    BusyError,
    Cancelled,
    ClosedError,
    Event,
    Stream,
    current_task,
    join,
    now,
    open_connection,
    open_unix_connection,
    run,
    serve,
    serve_unix,
    sleep,
    spawn,
    timeout,
)

SIZE = 3_000_000
RESET = struct.pack("ii", 1, 0)


class Place:
    """Where is served, and how clients come there: by "tcp", "unix" or "tls"."""

    def __init__(self, kind, path, authority):
        self.kind, self.path, self.authority = kind, path, authority

    async def start(self, handler, daemon=False, **options):
        listening, found = Event(), []

        def ready(addresses):
            found.extend(addresses)
            listening.set()

        options = {"ready": ready, "grace": 10.0} | options
        if self.kind == "unix":
            routine = serve_unix(handler, self.path, **options)
        else:
            context = self.authority.server() if self.kind == "tls" else None
            routine = serve(handler, "127.0.0.1", 0, ssl=context, **options)
        self.server = await spawn(routine, daemon=daemon)
        await listening.wait()
        self.address = found[0]

    @contextlib.asynccontextmanager
    async def serving(self, handler, **options):
        await self.start(handler, **options)
        yield
        await self.stop()

    async def stop(self):
        self.server.cancel()
        with contextlib.suppress(Cancelled):
            await join(self.server)

    def dial(self):
        """A blocking socket of the standard library, which speaks TLS if need be."""
        sock = socket.socket(socket.AF_UNIX if self.kind == "unix" else socket.AF_INET)
        sock.settimeout(LONG)
        sock.connect(self.address)
        if self.kind == "tls":
            sock = self.authority.client().wrap_socket(
                sock, server_hostname=NAME, suppress_ragged_eofs=False
            )
        return sock

    async def connect(self):
        """A stream of ours."""
        if self.kind == "unix":
            return await open_unix_connection(self.address)
        context = self.authority.client() if self.kind == "tls" else None
        return await open_connection(*self.address, ssl=context)


@pytest.fixture(params=["tcp", "unix", "tls"])
def place(request, tmp_path, authority):
    return Place(request.param, str(tmp_path / "socket"), authority)


def all_of(sock):
    got = bytearray()
    while data := sock.recv(65536):
        got += data
    return len(got)


async def waits(stream):
    await stream.read(-1)


# ---- What was written arrives, whatever else the client sends


def test_an_answer_arrives_though_a_byte_of_the_client_is_never_read(place, unobserved, go):
    asked, more = threading.Event(), threading.Event()

    async def handler(stream):
        await stream.readline()
        asked.set()
        await until(more.is_set)
        await stream.write(bytes(SIZE))

    def client():
        with place.dial() as sock:
            sock.sendall(b"GET\n")
            asked.wait(LONG)
            sock.sendall(b"\n")
            more.set()
            return all_of(sock)

    async def main():
        async with place.serving(handler):
            with in_thread(client) as outcome:
                await until(lambda: outcome)

            return outcome[0]

    assert go(main()) == (SIZE, None)


def test_a_client_that_sends_a_lot_before_it_reads_gets_the_short_answer(place, unobserved, go):
    async def handler(stream):
        await stream.readline()
        await stream.write(b"too much\n")

    def client():
        with place.dial() as sock:
            sock.sendall(b"PUT\n")
            for _ in range(64):
                sock.sendall(bytes(MIB // 16))
            if place.kind != "tls":
                sock.shutdown(socket.SHUT_WR)
            return all_of(sock)

    async def main():
        async with place.serving(handler):
            with in_thread(client) as outcome:
                await until(lambda: outcome)
            return outcome[0]

    assert go(main()) == (len(b"too much\n"), None)


def test_a_client_that_has_ended_its_side_gets_all_and_holds_nothing(place, unobserved):
    async def handler(stream):
        await stream.read(-1)
        await stream.write(bytes(SIZE))

    async def main():
        async with place.serving(handler):
            with await place.connect() as stream:
                await stream.write(b"question")
                await stream.write_eof()
                got = len(await stream.read(-1))
                began = now()
                await place.stop()
                return got, now() - began

    assert vrun(main()) == (SIZE, 0.0)


def test_finish_is_the_end_that_loses_nothing_also_without_serve(unobserved, go):
    with ExitStack() as stack:
        near, far = tcp_pair(stack)
        far.settimeout(LONG)
        stream = Stream(near)
        far.sendall(b"never read")

        async def main():
            await stream.write(b"the answer")
            await stream.finish(float(LONG))

        def client():
            far.sendall(bytes(MIB))
            return all_of(far), far.close()

        with in_thread(client) as outcome:
            go(main())
        assert outcome[0][0][0] == len(b"the answer")
        assert stream.closed


# ---- It is bounded, and closes in any case


@pytest.mark.parametrize("seconds", [None, 0.5, 30.0])
def test_finish_waits_for_so_many_seconds(seconds):
    with ExitStack() as stack:
        near, _far = tcp_pair(stack)
        stream = Stream(near)

        async def main():
            await (stream.finish() if seconds is None else stream.finish(seconds))
            return now()

        assert vrun(main()) == (2.0 if seconds is None else seconds)
        assert stream.closed


def test_finish_waits_no_longer_for_a_peer_that_does_not_read_what_was_written():
    with ExitStack() as stack:
        near, _far = tcp_pair(stack)
        stream = Stream(near)

        async def main():
            with pytest.raises(TimeoutError), timeout(1.0):
                await stream.write(bytes(64 * MIB))
            await stream.finish(3.0)
            return now()

        assert vrun(main()) == 4.0
        assert stream.closed


@pytest.mark.parametrize("how", ["cancelled", "time is over", "another task closes it", "reset"])
def test_a_finish_that_is_cut_short_has_closed(how, go):
    with ExitStack() as stack:
        near, far = tcp_pair(stack)
        stream = Stream(near)

        async def finish():
            if how == "time is over":
                with pytest.raises(TimeoutError), timeout(0.01):
                    await stream.finish(float(LONG))
            else:
                await stream.finish(float(LONG))

        async def main():
            task = await spawn(finish())
            await sleep(0.005)
            if how == "cancelled":
                task.cancel()
            elif how == "another task closes it":
                stream.close()
            elif how == "reset":
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                far.close()
            with contextlib.suppress(Cancelled):
                await join(task)
            await stream.finish()  # once more is no error
            return stream.closed

        assert go(main())


def test_finish_is_refused_while_another_task_reads_which_gets_closed_error(go):
    with ExitStack() as stack:
        near, _far = tcp_pair(stack)
        stream = Stream(near)

        async def main():
            task = await spawn(waits(stream))
            await sleep(0)
            with pytest.raises(BusyError):
                await stream.finish()
            with pytest.raises(ClosedError):
                await join(task)
            return stream.closed

        assert go(main())


# ---- For the program, the stream is closed when its handler has returned


def test_a_stream_that_was_kept_is_closed_at_once(place, go):
    kept, waiting = [], []

    async def handler(stream):
        await stream.readline()
        kept.append(stream)
        waiting.append(await spawn(waits(stream)))
        await stream.write(b"bye\n")

    async def main():
        async with place.serving(handler):
            with await place.connect() as client:
                await client.write(b"hello\n")
                assert await client.read(-1) == b"bye\n"
                with pytest.raises(ClosedError):
                    await join(waiting[0])
                stream = kept[0]
                assert stream.closed
                for call in (
                    stream.read,
                    lambda: stream.read_exactly(1),
                    stream.readline,
                    lambda: stream.write(b"x"),
                    stream.write_eof,
                ):
                    with pytest.raises(ClosedError):
                        await call()
                stream.close()
                await stream.finish()

    go(main())


# ---- What finishing takes of the server


async def bye(stream):
    await stream.readline()
    await stream.write(b"bye\n")


async def served_once(place):
    """A client that was answered, and stays; its stream."""
    stream = await place.connect()
    await stream.write(b"hello\n")
    assert await stream.readline() == b"bye\n"
    return stream


@pytest.mark.parametrize("stays", [True, False])
def test_a_place_of_max_connections_is_given_back_after_finishing(place, stays):
    async def main():
        async with place.serving(bye, max_connections=1):
            began = now()
            first = await served_once(place)
            if not stays:
                first.close()
            with await served_once(place):
                waited = now() - began
                first.close()
            return waited

    assert vrun(main()) == (2.0 if stays else 0.0)


@pytest.mark.parametrize(("grace", "most"), [(0.0, 0.0), (0.5, 0.5), (60.0, 2.0)])
def test_a_stop_waits_for_those_who_finish_but_no_longer_than_its_grace(place, grace, most, caplog):
    async def main():
        async with place.serving(bye, grace=grace):
            with await served_once(place) as stream:
                began = now()
                await place.stop()
                return now() - began, await stream.read(-1)

    assert vrun(main()) == (most, b"")
    assert caplog.records == []


async def fails(stream):
    await stream.readline()
    await stream.write(b"bye\n")
    raise LookupError("as asked")


def test_a_handler_that_fails_does_not_wait_for_its_client(place):
    crashes, ends = [], []

    async def main():
        async with place.serving(fails):
            with await served_once(place) as stream:
                began = now()
                try:
                    ends.append(await stream.read(-1))
                except ssl.SSLEOFError:
                    ends.append("cut off")
                await place.stop()
                return now() - began

    assert vrun(main(), on_crash=crashes.append) == 0.0
    assert ends == ["cut off" if place.kind == "tls" else b""]
    assert len(crashes) == 1


def test_clients_that_reset_while_they_are_seen_off_are_no_failure(place, caplog):
    caplog.set_level(logging.INFO, "microthreads")
    crashes = []

    async def main():
        async with place.serving(bye):
            for _ in range(5):
                stream = await served_once(place)
                stream.abort()
            await sleep(0.01)

    run(main(), on_crash=crashes.append)
    assert crashes == []
    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


def test_nothing_is_left_of_those_who_were_seen_off(place, go):
    streams = weakref.WeakSet()

    async def handler(stream):
        streams.add(stream)
        await bye(stream)

    async def main():
        async with place.serving(handler):
            with await served_once(place):
                pass
            await until(lambda: len(current_task().kernel.tasks) == 3)
            before = len(os.listdir("/proc/self/fd"))
            clients = [await served_once(place) for _ in range(10)]
            for number, each in enumerate(clients):
                each.abort() if number % 2 else each.close()
            await until(lambda: len(current_task().kernel.tasks) == 3)
            gc.collect()
            return len(streams), len(os.listdir("/proc/self/fd")) - before

    assert go(main()) == (0, 0)


def test_a_daemon_that_sees_clients_off_does_not_keep_the_program(place):
    kernels, began = [], []

    async def main():
        await place.start(bye, daemon=True, grace=60.0)
        stream = await served_once(place)
        kernels.append(current_task().kernel)
        began.append(now())
        return stream

    stream = vrun(main())
    assert kernels[0].now() == began[0]
    stream.close()
