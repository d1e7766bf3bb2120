"""Serving: a task for each client, what ends it, and how a server stops.

Clients are streams in the same kernel, so that one program sees both ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
import struct

import pytest
from helpers import out_of_descriptors, vrun

from microthreads import (
    Cancelled,
    ClosedError,
    Event,
    Kernel,
    Socket,
    current_task,
    join,
    listen,
    open_connection,
    open_unix_connection,
    run,
    serve,
    serve_on,
    serve_unix,
    shield,
    sleep,
    spawn,
)

HOST = "127.0.0.1"


@pytest.fixture(params=["epoll", "poll"])
def poller(request):
    return request.param


@pytest.fixture(params=["tcp", "unix"])
def place(request, tmp_path):
    """Where to serve, and how to get there."""
    return Place(None if request.param == "tcp" else str(tmp_path / "socket"))


class Place:
    """A server's address, of either kind."""

    def __init__(self, path=None):
        self.path = path
        self.addresses = []

    def served(self, handler, **options):
        """Start a server, and wait until it listens; its task."""
        listening = Event()

        def ready(addresses):
            self.addresses = addresses
            listening.set()

        if self.path is None:
            routine = serve(handler, HOST, 0, ready=ready, **options)
        else:
            routine = serve_unix(handler, self.path, ready=ready, **options)
        task = yield spawn(routine, name="server")
        yield listening.wait()
        return task

    def connect(self):
        if self.path is None:
            return open_connection(HOST, self.addresses[0][1])
        return open_unix_connection(self.path)


def stopped(server):
    """Cancel a server, and wait for its end."""
    server.cancel()
    try:
        yield join(server)
    except Cancelled:
        return


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def echoing(stream):
    while line := (yield stream.readline()):
        yield stream.write(line)


async def echoing_coroutine(stream):
    async for line in stream:
        await stream.write(line)


def asked(place, question=b"hello\n"):
    """Connect, ask, and hang up; the answer."""
    stream = yield place.connect()
    with stream:
        yield stream.write(question)
        return (yield stream.readline())


def until(condition):
    while not condition():
        yield sleep(0.001)


def others():
    """The tasks besides main."""
    tasks = current_task().kernel.tasks
    return [task for task in tasks if task is not current_task()]


# ---- handlers


@pytest.mark.parametrize("handler", [echoing, echoing_coroutine])
def test_handlers_are_generator_functions_or_async_functions(place, handler, poller):
    def main():
        server = yield place.served(handler)
        answers = []
        for number in range(3):
            answers.append((yield asked(place, b"%d\n" % number)))
        yield stopped(server)
        return answers

    assert run(main(), poller=poller) == [b"0\n", b"1\n", b"2\n"]


def test_clients_are_served_at_the_same_time(place, poller):
    def main():
        server = yield place.served(echoing)
        first = yield place.connect()
        second = yield place.connect()
        with first, second:
            yield second.write(b"second\n")
            yield first.write(b"first\n")
            answers = (yield first.readline()), (yield second.readline())
        yield stopped(server)
        return answers

    assert run(main(), poller=poller) == (b"first\n", b"second\n")


def test_a_connection_is_closed_when_its_handler_returns(place, poller):
    streams = []

    def handler(stream):
        streams.append(stream)
        yield stream.write(b"bye")

    def main():
        server = yield place.served(handler)
        stream = yield place.connect()
        with stream:
            got = yield stream.read(-1)
        yield until(lambda: streams[0].closed)
        yield stopped(server)
        return got

    assert run(main(), poller=poller) == b"bye"


def test_a_failing_handler_is_reported_once_and_the_server_goes_on(place, poller):
    crashes = []

    def handler(stream):
        line = yield stream.readline()
        if line == b"fail\n":
            raise LookupError("as asked")
        yield stream.write(line)

    def main():
        server = yield place.served(handler)
        answers = []
        for question in (b"fail\n", b"hello\n", b"fail\n", b"bye\n"):
            answers.append((yield asked(place, question)))
        yield stopped(server)
        return answers

    with Kernel(poller=poller, on_crash=crashes.append) as kernel:
        assert kernel.run(main()) == [b"", b"hello\n", b"", b"bye\n"]
    assert [repr(task.exception()) for task in crashes] == ["LookupError('as asked')"] * 2


def test_a_failing_handler_is_in_the_log_if_nobody_asks(place, caplog):
    def handler(stream):
        yield stream.readline()
        raise LookupError("as asked")

    def main():
        server = yield place.served(handler)
        yield asked(place)
        yield stopped(server)

    run(main())
    assert len(caplog.records) == 1
    assert "as asked" in caplog.text


def test_a_handler_that_fails_when_called_ends_its_connection_and_no_other(place, poller, caplog):
    calls = []
    crashes = []

    def handler(stream):
        calls.append(stream)
        if len(calls) == 1:
            raise LookupError("not a routine yet")
        return echoing(stream)

    def main():
        server = yield place.served(handler)
        answers = []
        for _ in range(2):
            try:
                answers.append((yield asked(place)))
            except ConnectionError:
                answers.append(b"")
        yield stopped(server)
        return answers

    with Kernel(poller=poller, on_crash=crashes.append) as kernel:
        assert kernel.run(main()) == [b"", b"hello\n"]
    assert len(crashes) + len(caplog.records) == 1
    assert calls[0].closed


@pytest.mark.parametrize("value", [None, 7, echoing])
def test_a_handler_that_returns_no_routine_is_a_type_error_somewhere(place, value, poller, caplog):
    """Reported once: by the server's own end, or for the connection."""
    crashes = []
    streams = []

    def handler(stream):
        streams.append(stream)
        return value

    def main():
        server = yield place.served(handler)
        try:
            got = yield asked(place)
        except ConnectionError:
            got = b""
        ended = server.done and server.exception()
        if not server.done:
            yield stopped(server)
        return got, ended

    with Kernel(poller=poller, on_crash=crashes.append) as kernel:
        try:
            got, _ = kernel.run(main())
        except TypeError:
            got = b""
    assert got == b""
    assert streams[0].closed
    assert len(crashes) + len(caplog.records) == 1
    if crashes:
        assert isinstance(crashes[0].exception(), TypeError)


def test_a_client_that_resets_harms_nobody(poller, caplog):
    place = Place()

    def main():
        server = yield place.served(echoing)
        for _ in range(3):
            stream = yield place.connect()
            yield stream.write(b"x")
            stream.abort()
        answer = yield asked(place)
        yield stopped(server)
        return answer

    crashes = []
    with Kernel(poller=poller, on_crash=crashes.append) as kernel:
        assert kernel.run(main()) == b"hello\n"
    assert all(isinstance(task.exception(), ConnectionError) for task in crashes)


def test_clients_that_are_gone_before_they_are_accepted_harm_nobody(poller):
    place = Place()

    def main():
        server = yield place.served(echoing)
        for _ in range(20):
            raw = socket.create_connection(place.addresses[0])
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        answer = yield asked(place)
        yield stopped(server)
        return answer

    with Kernel(poller=poller, on_crash=lambda task: None) as kernel:
        assert kernel.run(main()) == b"hello\n"


def test_a_handler_may_close_its_stream_itself_and_more_than_once(place, poller):
    def handler(stream):
        with stream:
            yield stream.write(b"bye")
        stream.close()

    def main():
        server = yield place.served(handler)
        stream = yield place.connect()
        with stream:
            got = yield stream.read(-1)
        yield stopped(server)
        return got

    crashes = []
    with Kernel(poller=poller, on_crash=crashes.append) as kernel:
        assert kernel.run(main()) == b"bye"
    assert crashes == []


# ---- addresses


def test_ready_is_called_once_with_the_addresses(place, poller):
    calls = []

    def main():
        server = yield place.served(echoing)
        calls.append(place.addresses)
        yield stopped(server)

    run(main(), poller=poller)
    (addresses,) = calls
    assert isinstance(addresses, list)
    if place.path is None:
        ((host, port),) = addresses
        assert host == HOST
        assert port > 0
    else:
        assert addresses == [place.path]


def test_several_addresses_share_one_port(poller):
    def main():
        found = []
        server = yield spawn(serve(echoing, ["127.0.0.1", "127.0.0.2"], 0, ready=found.extend))
        yield until(lambda: found)
        assert len({port for _, port in found}) == 1
        answers = []
        for host, port in found:
            stream = yield open_connection(host, port)
            with stream:
                yield stream.write(host.encode() + b"\n")
                answers.append((yield stream.readline()))
        yield stopped(server)
        return answers

    assert run(main(), poller=poller) == [b"127.0.0.1\n", b"127.0.0.2\n"]


@pytest.mark.parametrize("host", [None, ""])
def test_all_addresses_are_both_families_with_one_port(host, poller):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6")

    def main():
        found = []
        server = yield spawn(serve(echoing, host, 0, ready=found.extend))
        yield until(lambda: found)
        answers = []
        for client in ("127.0.0.1", "::1"):
            stream = yield open_connection(client, found[0][1])
            with stream:
                yield stream.write(b"hello\n")
                answers.append((yield stream.readline()))
        yield stopped(server)
        return len({address[1] for address in found}), answers

    assert run(main(), poller=poller) == (1, [b"hello\n"] * 2)


def test_an_address_in_use_is_an_os_error_and_no_listener_is_left(poller):
    before = descriptors()
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]

        def main():
            with pytest.raises(OSError) as caught:
                yield serve(echoing, ["127.0.0.1", "127.0.0.2"], port)
            return caught.value.errno

        assert run(main(), poller=poller) == errno.EADDRINUSE
    assert descriptors() == before


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_a_value_error(port):
    def main():
        with pytest.raises(ValueError):
            yield serve(echoing, HOST, port)

    run(main())


@pytest.mark.parametrize(
    "options", [{"max_connections": -1}, {"grace": -1.0}, {"max_connections": 0}]
)
def test_negative_numbers_are_value_errors(options):
    def main():
        with pytest.raises(ValueError):
            yield serve(echoing, HOST, 0, ready=lambda _: 1 / 0, **options)

    run(main())


def test_several_servers_may_share_a_port():
    def main():
        found = []
        one = yield spawn(serve(echoing, HOST, 0, reuse_port=True, ready=found.extend))
        yield until(lambda: found)
        two = yield spawn(serve(echoing, HOST, found[0][1], reuse_port=True, ready=found.extend))
        yield until(lambda: len(found) == 2)
        yield stopped(one)
        yield stopped(two)
        return found[0] == found[1]

    assert run(main()) is True


# ---- how many


def test_clients_beyond_max_connections_wait_and_are_not_refused(place, poller):
    most, running = [], set()

    def handler(stream):
        running.add(stream)
        most.append(len(running))
        try:
            yield stream.write((yield stream.readline()))
        finally:
            running.remove(stream)

    def main():
        server = yield place.served(handler, max_connections=2)
        streams = []
        for _ in range(6):
            streams.append((yield place.connect()))
        yield until(lambda: len(running) == 2)
        yield sleep(0.01)
        assert len(most) == 2
        answers = []
        for number, stream in enumerate(streams):
            with stream:
                yield stream.write(b"%d\n" % number)
                answers.append((yield stream.readline()))
        yield stopped(server)
        return answers

    assert run(main(), poller=poller) == [b"%d\n" % number for number in range(6)]
    assert max(most) == 2
    assert len(most) == 6


def test_failing_and_cancelled_handlers_give_their_places_back(place, poller):
    tasks = []

    def handler(stream):
        tasks.append(current_task())
        if (yield stream.readline()) == b"fail\n":
            raise LookupError("as asked")
        yield sleep(60)

    def main():
        server = yield place.served(handler, max_connections=1, grace=0.0)
        for number in range(6):
            stream = yield place.connect()
            with stream:
                yield until(lambda: len(tasks) == number + 1)
                if number % 2:
                    yield stream.write(b"fail\n")
                else:
                    tasks[-1].cancel()
                assert (yield stream.read()) == b""
        yield stopped(server)
        return len(tasks)

    with Kernel(poller=poller, on_crash=lambda task: None) as kernel:
        assert kernel.run(main()) == 6


def test_two_addresses_share_max_connections(poller):
    running = []

    def handler(stream):
        running.append(stream)
        yield stream.read()

    def main():
        found = []
        server = yield spawn(
            serve(handler, ["127.0.0.1", "127.0.0.2"], 0, max_connections=1, ready=found.extend)
        )
        yield until(lambda: found)
        for turn in range(4):  # nobody comes to the first one, then to the second one
            stream = yield open_connection(*found[(turn // 2) % 2])
            with stream:
                yield until(lambda: len(running) == turn + 1)
        yield stopped(server)
        return len(running)

    assert run(main(), poller=poller) == 4


def test_a_thousand_connections_are_all_served_and_gone_in_the_end(unobserved, poller):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip("not enough descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    place = Place()
    before = descriptors()

    def main():
        server = yield place.served(echoing)
        yield sleep(0.001)  # the kernel's own are open when it has waited
        inside = descriptors()
        streams = []
        for _ in range(1000):
            streams.append((yield place.connect()))
        for number, stream in enumerate(streams):
            yield stream.write(b"%d\n" % number)
        for number, stream in enumerate(streams):
            assert (yield stream.readline()) == b"%d\n" % number
        at_most = descriptors() - inside
        for stream in streams:
            stream.close()
        yield until(lambda: descriptors() == inside)
        yield stopped(server)
        return at_most

    try:
        assert run(main(), poller=poller) == 2000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert descriptors() == before


# ---- stopping


def test_a_stopped_server_leaves_no_task_and_no_descriptor(place, poller):
    tasks = []

    def handler(stream):
        tasks.append(current_task())
        yield from echoing(stream)

    def main():
        yield sleep(0.001)  # the kernel's own are open when it has waited
        before = descriptors()
        server = yield place.served(handler, grace=0.0)
        streams = []
        for _ in range(5):
            streams.append((yield place.connect()))
        yield until(lambda: len(tasks) == 5)
        yield stopped(server)
        done = [task.done for task in tasks]
        ends = []
        for stream in streams:
            with stream:
                ends.append((yield stream.read()))
        return done, ends, descriptors() - before

    assert run(main(), poller=poller) == ([True] * 5, [b""] * 5, 0)


def test_a_stopping_server_refuses_newcomers_at_once_and_lets_handlers_finish(place, poller):
    log = []

    def handler(stream):
        log.append("begun")
        line = yield stream.readline()
        yield stream.write(line)
        log.append("finished")

    def main():
        server = yield place.served(handler, grace=60.0)
        stream = yield place.connect()
        with stream:
            yield until(lambda: log)
            server.cancel()
            yield sleep(0.005)
            try:
                (yield place.connect()).close()
            except OSError:
                log.append("refused")
            assert not server.done
            yield stream.write(b"last words\n")
            log.append((yield stream.readline()))
            yield stopped(server)
            log.append("stopped")

    run(main(), poller=poller)
    assert log[:2] == ["begun", "refused"]
    assert set(log[2:4]) == {"finished", b"last words\n"}
    assert log[4] == "stopped"


def test_handlers_that_take_longer_than_the_grace_are_cancelled(poller):
    """On a virtual clock: the time of each step."""
    log = []
    place = Place()

    def handler(stream):
        try:
            yield sleep(1000)
        except Cancelled:
            log.append(("cancelled", current_task().kernel.clock.now() - log[0]))
            raise
        finally:
            with shield(5):
                yield sleep(1)
            log.append("cleaned up")

    def main():
        server = yield place.served(handler, grace=10.0)
        stream = yield place.connect()
        with stream:
            yield sleep(1)
            log.append(current_task().kernel.clock.now())
            yield stopped(server)
            log.append("stopped")

    vrun(main(), poller=poller)
    assert log[1] == ("cancelled", pytest.approx(10))
    assert log[2:] == ["cleaned up", "stopped"]


def test_no_grace_cancels_handlers_at_once():
    place = Place()
    log = []

    def handler(stream):
        try:
            yield sleep(1000)
        finally:
            log.append(current_task().kernel.clock.now())

    def main():
        server = yield place.served(handler, grace=0.0)
        stream = yield place.connect()
        with stream:
            yield sleep(1)
            log.append(current_task().kernel.clock.now())
            yield stopped(server)

    vrun(main())
    assert log[0] == log[1]


def test_stragglers_are_named_in_the_log_and_the_server_ends(caplog, poller):
    place = Place()
    release = []

    def straggler(stream):
        with shield(float("inf")):
            while not release:
                yield sleep(1)

    def main():
        server = yield place.served(straggler, grace=1.0)
        stream = yield place.connect()
        with stream:
            yield sleep(1)
            yield stopped(server)
            named = caplog.text
            release.append(True)
        return named

    named = vrun(main(), poller=poller)
    assert "straggler" in named


def test_a_handler_cancelled_before_its_first_step_closes_its_connection(place, poller):
    """The body never runs; the connection must not be left open even so."""
    steps = []
    before = descriptors()

    def handler(stream):
        task = current_task()  # the server's: the handler is called in it
        steps.append("called")
        task.cancel()
        return body(stream)

    def body(stream):
        steps.append("body")
        yield stream.read()

    def main():
        server = yield place.served(handler, grace=0.0)
        stream = yield place.connect()
        with stream:
            try:
                end = yield stream.read()
            except ConnectionResetError:
                end = b""
        with contextlib.suppress(Cancelled):
            yield join(server)
        return end

    assert run(main(), poller=poller) == b""
    assert steps[0] == "called"
    assert descriptors() == before


def test_a_second_cancel_while_it_stops_does_not_leave_handlers_behind(place, poller):
    tasks = []

    def handler(stream):
        tasks.append(current_task())
        yield stream.read()

    def main():
        server = yield place.served(handler, grace=0.05)
        stream = yield place.connect()
        with stream:
            yield until(lambda: tasks)
            server.cancel()
            yield sleep(0.005)
            server.cancel("again")
            yield stopped(server)
            return [task.done for task in tasks]

    assert run(main(), poller=poller) == [True]


def test_a_server_ends_with_its_program(place, caplog):
    """A daemon is cancelled when main returns; it stops as ever."""
    ended = []

    def handler(stream):
        try:
            yield stream.read()
        finally:
            ended.append(stream)

    def main():
        listening = Event()
        if place.path is None:
            routine = serve(
                handler,
                HOST,
                0,
                grace=0.0,
                ready=lambda a: (place.addresses.extend(a), listening.set()),
            )
        else:
            routine = serve_unix(handler, place.path, grace=0.0, ready=lambda _: listening.set())
        yield spawn(routine, daemon=True)
        yield listening.wait()
        stream = yield place.connect()
        with stream:
            yield stream.write(b"x")
            yield sleep(0.005)

    before = descriptors()
    run(main())
    assert len(ended) == 1
    assert descriptors() == before
    assert caplog.records == []


def test_a_server_that_never_began_leaves_nothing(place):
    before = descriptors()

    def main():
        if place.path is None:
            routine = serve(echoing, HOST, 0)
        else:
            routine = serve_unix(echoing, place.path)
        task = yield spawn(routine)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)

    run(main())
    assert descriptors() == before
    assert place.path is None or not os.path.exists(place.path)


def test_a_ready_that_fails_ends_the_server_and_closes_its_listeners(place):
    before = descriptors()

    def ready(addresses):
        raise LookupError("not ready")

    def main():
        with pytest.raises(LookupError):
            if place.path is None:
                yield serve(echoing, HOST, 0, ready=ready)
            else:
                yield serve_unix(echoing, place.path, ready=ready)

    run(main())
    assert descriptors() == before
    assert place.path is None or not os.path.exists(place.path)


def test_writers_are_woken_when_the_server_stops(place):
    log = []

    def handler(stream):
        try:
            yield stream.write(bytes(64 << 20))
        except Cancelled as error:
            log.append(error.bytes_sent > 0)
            raise

    def main():
        server = yield place.served(handler, grace=0.0)
        stream = yield place.connect()
        with stream:
            yield stream.read(1)
            yield sleep(0.01)
            yield stopped(server)

    run(main())
    assert log == [True]


def test_a_stream_kept_longer_than_its_task_is_closed(place):
    kept = []

    def handler(stream):
        kept.append(stream)
        yield

    def main():
        server = yield place.served(handler)
        stream = yield place.connect()
        with stream:
            yield stream.read()
        with pytest.raises(ClosedError):
            yield kept[0].read()
        yield stopped(server)

    run(main())


# ---- running out of descriptors


@pytest.mark.parametrize("options", ["", ", max_connections=2"])
def test_a_server_survives_running_out_of_descriptors_and_logs_it_once(options):
    handler = "lambda stream: greet(stream.write)"
    done = out_of_descriptors(
        f"serve({handler}, '127.0.0.1', 0, grace=0.0, ready=found.extend{options})"
    )
    assert (done.stdout, done.stderr) == ("hello 1\n", "")


# ---- the paths of Unix sockets


def test_a_socket_that_was_left_behind_is_replaced(tmp_path, poller):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
        left.listen()
    place = Place(path)

    def main():
        server = yield place.served(echoing)
        answer = yield asked(place)
        yield stopped(server)
        return answer

    assert run(main(), poller=poller) == b"hello\n"
    assert not os.path.exists(path)


def test_a_socket_that_somebody_serves_is_left_alone(tmp_path, poller):
    place = Place(str(tmp_path / "socket"))

    def main():
        server = yield place.served(echoing)
        with pytest.raises(OSError) as caught:
            yield serve_unix(echoing, place.path)
        answer = yield asked(place)
        yield stopped(server)
        return caught.value.errno, answer

    before = descriptors()
    assert run(main(), poller=poller) == (errno.EADDRINUSE, b"hello\n")
    assert descriptors() == before


@pytest.mark.timeout(5)
def test_a_socket_with_a_full_backlog_is_somebodys_and_looking_does_not_block(tmp_path):
    path = str(tmp_path / "socket")
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket(socket.AF_UNIX))
        full.bind(path)
        full.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(path)

        def main():
            with pytest.raises(OSError):
                yield serve_unix(echoing, path)

        run(main())
        assert stat.S_ISSOCK(os.stat(path).st_mode)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_never_replaced(tmp_path, kind):
    path = tmp_path / "precious"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    else:
        (tmp_path / "target").write_text("precious")
        path.symlink_to(tmp_path / "target")

    def main():
        with pytest.raises(OSError):
            yield serve_unix(echoing, str(path))

    before = descriptors()
    run(main())
    assert descriptors() == before
    assert path.is_dir() if kind == "directory" else path.read_text() == "precious"
    assert kind != "link" or path.is_symlink()


def test_a_path_that_somebody_else_took_meanwhile_is_not_removed(tmp_path):
    """Another server has replaced the path, or a file is there now: it is not ours to remove."""
    path = tmp_path / "socket"
    place = Place(str(path))

    def main():
        server = yield place.served(echoing)
        path.unlink()
        path.write_text("somebody else's")
        yield stopped(server)

    run(main())
    assert path.read_text() == "somebody else's"


def test_a_path_that_is_gone_at_the_end_is_fine(tmp_path):
    place = Place(str(tmp_path / "socket"))

    def main():
        server = yield place.served(echoing)
        os.unlink(place.path)
        yield stopped(server)

    crashes = []
    with Kernel(on_crash=crashes.append) as kernel:
        kernel.run(main())
    assert crashes == []


def test_abstract_names_are_served_and_leave_nothing(poller):
    place = Place(f"\0microthreads-serving-{os.getpid()}-{poller}")

    def main():
        server = yield place.served(echoing)
        answer = yield asked(place)
        yield stopped(server)
        with pytest.raises(ConnectionRefusedError):
            yield place.connect()
        return answer

    assert run(main(), poller=poller) == b"hello\n"


def test_a_directory_that_is_not_there_is_an_os_error(tmp_path):
    def main():
        with pytest.raises(FileNotFoundError):
            yield serve_unix(echoing, str(tmp_path / "nowhere" / "socket"))

    before = descriptors()
    run(main())
    assert descriptors() == before


# ---- newcomers


@pytest.mark.parametrize("options", [{}, {"max_connections": 1000}])
def test_newcomers_are_accepted_many_in_a_turn(options):
    """Otherwise each would wait for a whole round of all handlers that are busy."""
    began: list[int] = []
    rounds = 0

    def handler(stream):
        began.append(rounds)
        yield stream.read()

    def main():
        nonlocal rounds
        listener = listen(HOST, 0, backlog=200)
        with contextlib.ExitStack() as stack:
            for _ in range(150):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            server = yield spawn(serve_on(handler, [listener], grace=0, **options))
            while len(began) < 150:
                rounds += 1
                yield
            yield from stopped(server)

    run(main())
    assert began[-1] - began[0] < 20


def test_no_more_are_accepted_in_a_turn_than_there_are_places():
    here: list[int] = []
    most = served = 0

    def handler(stream):
        nonlocal most, served
        here.append(1)
        most = max(most, len(here))
        yield stream.write(b"welcome")
        yield stream.read()
        here.pop()
        served += 1

    def main():
        listener = listen(HOST, 0, backlog=200)
        with contextlib.ExitStack() as stack:
            address = listener.getsockname()
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(100)]
            server = yield spawn(serve_on(handler, [listener], grace=0, max_connections=7))
            for client in clients:
                wrapped = Socket(client)
                assert (yield wrapped.recv()) == b"welcome"
                wrapped.close()
            while served < 100:
                yield sleep(0.001)
            yield from stopped(server)

    run(main())
    assert most == 7
