"""Connecting: names looked up in threads, and addresses tried one after the other.

Networks that answer as they are told stand in for names with several addresses; time
is virtual where the order of attempts is asked for.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from helpers import program, vrun

from microthreads import (
    Cancelled,
    gather,
    join,
    move_on_after,
    now,
    open_connection,
    open_udp,
    open_unix_connection,
    run,
    select,
    serve,
    sleep,
    spawn,
)

GOOD, REFUSED, SILENT = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NAME = "many.test"


@pytest.fixture(params=["epoll", "poll"])
def poller(request):
    return request.param


@pytest.fixture
def listener():
    with socket.create_server((GOOD, 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.fixture
def port(listener):
    return listener.getsockname()[1]


@pytest.fixture
def silent():
    """The address of a listener that answers nobody: its backlog is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((GOOD, 0))
        full.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield full.getsockname()


class Network:
    """The `socket` module, but for a name with these addresses, some of which fail.

    It answers in place, as for a numeric address, if no thread is asked for: virtual time
    does not wait for threads.
    """

    def __init__(self, addresses, port, silent=None, families=None, thread=False):
        self.addresses, self.port, self.silent, self.thread = addresses, port, silent, thread
        self.families = families or {}
        self.log, self.sockets = [], []
        self.looked_up_in = []

    def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        if host != NAME:
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        if self.thread and flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.looked_up_in.append(threading.current_thread())
        return [
            (
                self.families.get(address, socket.AF_INET),
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in self.addresses
        ]

    def socket(self, *arguments, **options):
        network = self

        class Told(socket.socket):
            def directed(self, address):
                network.log.append((address[0], now()))
                if address[0] == REFUSED:
                    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
                return network.silent if address[0] == SILENT else (GOOD, network.port)

            def connect(self, address):
                super().connect(self.directed(address))

            def connect_ex(self, address):
                try:
                    return super().connect_ex(self.directed(address))
                except OSError as error:
                    return error.errno

        sock = Told(*arguments, **options)
        self.sockets.append(sock)
        return sock

    def __getattr__(self, name):
        return getattr(socket, name)

    @property
    def tried(self):
        """The addresses, each when it was tried first."""
        times = {}
        for address, when in self.log:
            times.setdefault(address, when)
        return times

    @property
    def still_open(self):
        return sum(sock.fileno() >= 0 for sock in self.sockets)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def connected(port, host=NAME, **options):
    """Connect and close; which local address it was from."""
    stream = yield open_connection(host, port, **options)
    with stream:
        return stream.sock.getsockname()


def looked_up(monkeypatch, function):
    """Have names looked up by `function(host)`; numeric addresses as ever."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host is None or host[:1].isdigit() or ":" in host:
            return real(host, *arguments, **options)
        flags = options.get("flags", arguments[4] if len(arguments) > 4 else 0)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        function(host)
        return real(GOOD, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# ---- one address


def test_a_stream_is_connected_to_the_peer(listener, port, poller):
    def main():
        stream = yield open_connection(GOOD, port)
        with stream:
            connection, address = listener.accept()
            with connection:
                assert stream.peername == (GOOD, port)
                yield stream.write(b"hello")
                connection.sendall(b"you")
                return connection.recv(10), (yield stream.read_exactly(3))

    assert run(main(), poller=poller) == (b"hello", b"you")


def test_it_is_a_coroutine_as_well(listener, port, poller):
    async def main():
        async with await open_connection(GOOD, port) as stream:
            return stream.peername

    assert run(main(), poller=poller) == (GOOD, port)


def test_nobody_listening_is_a_connection_refused(poller):
    with socket.socket() as unused:
        unused.bind((GOOD, 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError) as caught:
            run(connected(port, GOOD), poller=poller)
    assert str(port) in str(caught.value)


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40])
def test_a_port_out_of_range_is_a_value_error(port):
    with pytest.raises(ValueError, match=str(port)):
        run(connected(port, GOOD))


def test_ipv6_addresses_are_fine_as_well(poller):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6")
    with listener:
        port = listener.getsockname()[1]
        assert run(connected(port, "::1"), poller=poller)[0] == "::1"


def test_the_local_address_is_as_asked_for(listener, port, poller):
    local = ("127.0.0.9", 0)
    assert run(connected(port, GOOD, local_address=local), poller=poller)[0] == "127.0.0.9"
    connection, address = listener.accept()
    connection.close()
    assert address[0] == "127.0.0.9"


def test_a_local_address_that_is_not_ours_is_an_os_error(port):
    before = descriptors()
    with pytest.raises(OSError):
        run(connected(port, GOOD, local_address=("192.0.2.1", 0)))
    assert descriptors() == before


def test_a_silent_host_takes_no_longer_than_it_may(silent, poller):
    before = descriptors()

    def main():
        began = now()
        with pytest.raises(TimeoutError):
            yield open_connection(*silent, seconds=5)
        return now() - began

    assert vrun(main(), poller=poller) == pytest.approx(5)
    assert descriptors() == before


def test_connecting_can_be_cancelled_and_leaves_nothing(silent, poller):
    before = descriptors()

    def main():
        task = yield spawn(open_connection(*silent))
        yield sleep(1)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        with move_on_after(1) as scope:
            yield open_connection(*silent)
        return scope.expired

    assert vrun(main(), poller=poller) is True
    assert descriptors() == before


# ---- looking names up


def test_numeric_addresses_need_no_thread():
    out = program(
        """
        import socket, threading
        from microthreads import open_connection, run

        def main(port):
            stream = yield open_connection("127.0.0.1", port)
            stream.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            run(main(listener.getsockname()[1]))
        print(threading.active_count(), [thread.name for thread in threading.enumerate()])
        """
    )
    assert (out.stdout[:2], out.stderr) == ("1 ", "")


def test_a_name_is_looked_up_in_a_thread(monkeypatch, port, poller):
    threads = []
    looked_up(monkeypatch, lambda host: threads.append((host, threading.current_thread())))
    run(connected(port), poller=poller)
    assert [host for host, _ in threads] == [NAME]
    assert threads[0][1] is not threading.current_thread()


def test_other_tasks_go_on_while_a_name_is_looked_up(monkeypatch, port, poller):
    go_on = threading.Event()
    looked_up(monkeypatch, lambda host: go_on.wait(20))

    def main():
        task = yield spawn(connected(port))
        for _ in range(5):
            yield sleep(0.001)
        assert not task.done
        go_on.set()
        return (yield join(task))[0]

    assert run(main(), poller=poller) == GOOD


def test_who_is_cancelled_in_a_look_up_leaves_at_once(monkeypatch, port, poller):
    go_on, begun = threading.Event(), threading.Event()

    def slow(host):
        begun.set()
        go_on.wait(20)

    looked_up(monkeypatch, slow)

    def main():
        task = yield spawn(connected(port))
        while not begun.is_set():
            yield sleep(0.001)
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)
        with pytest.raises(TimeoutError):
            yield open_connection(NAME, port, seconds=0.01)
        winner, _ = yield select((yield spawn(sleeping(0.01))), sleep(30))
        return winner, go_on.is_set()

    assert run(main(), poller=poller) == (0, False)
    go_on.set()  # the threads end what they do, and nobody looks at it


def sleeping(seconds):
    yield sleep(seconds)


def test_a_look_up_that_hangs_does_not_hold_up_the_end_of_the_program():
    began = time.monotonic()
    out = program(
        """
        import socket, time
        from microthreads import move_on_after, open_connection, run

        real = socket.getaddrinfo
        def getaddrinfo(host, *arguments, **options):
            if host == "slow.test" and not options.get("flags", 0) & socket.AI_NUMERICHOST:
                time.sleep(600)
            return real(host, *arguments, **options)
        socket.getaddrinfo = getaddrinfo

        def main():
            with move_on_after(0.05) as scope:
                yield open_connection("slow.test", 80)
            print(scope.expired)

        run(main())
        """
    )
    assert (out.stdout, out.stderr, out.returncode) == ("True\n", "", 0)
    assert time.monotonic() - began < 60


def test_many_names_are_looked_up_at_the_same_time(monkeypatch, port, poller):
    together = threading.Barrier(5)
    looked_up(monkeypatch, lambda host: together.wait(5))

    def main():
        return (yield gather(*(connected(port, f"host{number}.test") for number in range(5))))

    assert [address[0] for address in run(main(), poller=poller)] == [GOOD] * 5


def test_more_names_than_threads_are_all_looked_up(monkeypatch, port, poller):
    running, most = [], []

    def slow(host):
        running.append(host)
        most.append(len(running))
        time.sleep(0.002)
        running.remove(host)

    looked_up(monkeypatch, slow)

    def main():
        return (yield gather(*(connected(port, f"host{number}.test") for number in range(100))))

    assert len(run(main(), poller=poller)) == 100
    assert len(most) == 100
    assert max(most) <= 16


def test_a_name_that_does_not_exist_is_a_gaierror_that_says_which(monkeypatch, poller):
    def missing(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    looked_up(monkeypatch, missing)
    with pytest.raises(socket.gaierror) as caught:
        run(connected(80, "nowhere.test"), poller=poller)
    assert caught.value.errno == socket.EAI_NONAME
    assert "nowhere.test" in str(caught.value)


def test_whatever_the_resolver_raises_comes_out(monkeypatch, poller):
    def broken(host):
        raise LookupError(host)

    looked_up(monkeypatch, broken)
    with pytest.raises(LookupError):
        run(connected(80, "label.test"), poller=poller)


def test_one_failing_look_up_harms_no_other(monkeypatch, port, poller):
    def some(host):
        if host.startswith("bad"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    looked_up(monkeypatch, some)

    def guarded(host):
        try:
            return (yield connected(port, host))[0]
        except socket.gaierror:
            return "none"

    def main():
        return (yield gather(*map(guarded, ["good1", "bad1", "good2", "bad2"])))

    assert run(main(), poller=poller) == [GOOD, "none", GOOD, "none"]


def test_the_network_of_the_kernel_is_asked(port, poller):
    network = Network([GOOD], port, thread=True)
    run(connected(port), poller=poller, network=network)
    (thread,) = network.looked_up_in
    assert thread is not threading.current_thread()
    assert network.still_open == 0


def test_each_kernel_in_its_thread_looks_names_up(monkeypatch, port):
    looked_up(monkeypatch, lambda host: time.sleep(0.001))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(run(connected(port))[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [GOOD] * 4


def test_a_forked_child_looks_names_up_in_threads_of_its_own():
    out = program(
        """
        import os, socket
        from microthreads import open_connection, run

        real = socket.getaddrinfo
        def getaddrinfo(host, *arguments, **options):
            if options.get("flags", 0) & socket.AI_NUMERICHOST:
                return real(host, *arguments, **options)
            return real("127.0.0.1", *arguments, **options)
        socket.getaddrinfo = getaddrinfo

        def main(port):
            stream = yield open_connection("name.test", port)
            stream.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            run(main(port))
            child = os.fork()
            if not child:
                run(main(port))
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        warnings="ignore",
    )
    assert (out.stdout, out.stderr) == ("7\n", "")


# ---- several addresses


def test_the_next_address_is_tried_after_a_quarter_of_a_second(port, silent, poller):
    network = Network([SILENT, GOOD], port, silent)
    before = descriptors()

    def main():
        stream = yield open_connection(NAME, port)
        with stream:
            assert stream.peername == (GOOD, port)
            return network.still_open

    assert vrun(main(), poller=poller, network=network) == 1  # the loser is closed
    assert network.tried[GOOD] - network.tried[SILENT] == pytest.approx(0.25)
    assert network.still_open == 0
    assert descriptors() == before


def test_the_next_address_is_tried_at_once_if_one_fails(port, poller):
    network = Network([REFUSED, GOOD], port)
    vrun(connected(port), poller=poller, network=network)
    assert network.tried[GOOD] == network.tried[REFUSED]
    assert network.still_open == 0


def test_a_silent_address_holds_up_no_more_than_the_next(port, silent, poller):
    network = Network([SILENT, REFUSED, GOOD], port, silent)
    vrun(connected(port), poller=poller, network=network)
    times = network.tried
    assert list(times) == [SILENT, REFUSED, GOOD]
    assert times[REFUSED] - times[SILENT] == pytest.approx(0.25)
    assert times[GOOD] == times[REFUSED]
    assert network.still_open == 0


def test_the_first_address_is_enough_if_it_answers(port, poller):
    network = Network([GOOD, SILENT, REFUSED], port)
    run(connected(port), poller=poller, network=network)
    assert list(network.tried) == [GOOD]


def test_families_take_turns(port, poller):
    six = {f"127.0.1.{number}": socket.AF_INET6 for number in range(3)}
    tried = []

    class Logged(Network):
        def socket(self, family=-1, *arguments, **options):
            tried.append(family)
            sock = super().socket(socket.AF_INET, *arguments, **options)
            if family == socket.AF_INET6:
                sock.directed = lambda address: refuse()
            return sock

    def refuse():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    network = Logged([*six, REFUSED, GOOD], port, families=six)
    vrun(connected(port), poller=poller, network=network)
    assert tried == [socket.AF_INET6, socket.AF_INET, socket.AF_INET6, socket.AF_INET]
    assert network.still_open == 0


def test_if_all_addresses_fail_all_are_named(port, poller):
    network = Network([REFUSED, "127.0.0.4", "127.0.0.5"], 1)  # nobody listens there
    with pytest.raises(OSError) as caught:
        run(connected(port), poller=poller, network=network)
    message = str(caught.value)
    assert all(address in message for address in network.addresses), message
    assert "refused" in message
    assert network.still_open == 0


def test_if_all_addresses_are_silent_the_time_ends_it(port, silent, poller):
    network = Network([SILENT, SILENT, SILENT], port, silent)
    before = descriptors()

    def main():
        began = now()
        with pytest.raises(TimeoutError):
            yield open_connection(NAME, port, seconds=3)
        return now() - began

    assert vrun(main(), poller=poller, network=network) == pytest.approx(3)
    assert len(network.sockets) == 3
    assert network.still_open == 0
    assert descriptors() == before


def test_cancelled_among_attempts_all_are_closed(port, silent, poller):
    network = Network([SILENT, SILENT, SILENT], port, silent)
    before = descriptors()

    def main():
        task = yield spawn(open_connection(NAME, port))
        yield sleep(1)
        assert network.still_open == 3
        task.cancel()
        with pytest.raises(Cancelled):
            yield join(task)

    vrun(main(), poller=poller, network=network)
    assert network.still_open == 0
    assert descriptors() == before


def test_a_name_without_addresses_is_an_os_error(port, poller):
    with pytest.raises(OSError):
        run(connected(port), poller=poller, network=Network([], port))


def test_many_connect_at_once_and_leave_nothing(listener, port, poller):
    before = descriptors()

    def main():
        return (yield gather(*(connected(port, GOOD) for _ in range(100))))

    assert len(set(run(main(), poller=poller))) == 100
    assert descriptors() == before


# ---- Unix sockets


@pytest.mark.parametrize("as_bytes", [False, True])
def test_unix_sockets_are_connected_to_by_path(tmp_path, as_bytes, poller):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def main():
            stream = yield open_unix_connection(path.encode() if as_bytes else path)
            with stream:
                connection, _ = listener.accept()
                with connection:
                    yield stream.write(b"hello")
                    return stream.peername, connection.recv(10)

        assert run(main(), poller=poller) == (path, b"hello")


def test_unix_sockets_may_have_abstract_names(poller):
    name = f"\0microthreads-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()

        async def main():
            async with await open_unix_connection(name) as stream:
                return stream.peername

        assert run(main(), poller=poller) == name.encode()


def test_no_unix_socket_is_a_file_not_found_error(tmp_path):
    before = descriptors()

    def main(path):
        yield open_unix_connection(path)

    with pytest.raises(FileNotFoundError):
        run(main(str(tmp_path / "nothing")))
    assert descriptors() == before


def test_a_unix_socket_that_nobody_listens_on_refuses(tmp_path):
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    before = descriptors()

    def main():
        yield open_unix_connection(path)

    with pytest.raises(ConnectionRefusedError):
        run(main())
    assert descriptors() == before


# ---- what was found by the example servers


@pytest.mark.parametrize("name", ["127.0.0.1\0.example.org", "\0", "localhost\0"])
def test_a_zero_byte_does_not_end_a_name(name, port):
    """The C library would connect to what stands before it."""
    for routine in (
        lambda: open_connection(name, port),
        lambda: open_udp(name, port),
        lambda: serve(lambda stream: None, name, 0),
    ):
        with pytest.raises(ValueError, match="zero byte"):
            run(routine())


def test_if_all_addresses_refuse_that_is_a_refusal(port):
    network = Network([REFUSED, REFUSED], port)
    with pytest.raises(ConnectionRefusedError, match="refused; .*refused"):
        vrun(connected(port), network=network)


def test_small_writes_are_not_held_back(listener, port):
    def main():
        with (yield open_connection(*listener.getsockname())) as stream:
            return stream.plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert run(main()) != 0
