"""Names and addresses: look-ups keep nobody waiting, and what cannot be is refused at the call.

The resolver is one of the test's own; where time matters it is virtual.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import socket
import threading
from pathlib import Path

import pytest
from helpers import program, vrun
from peers import LONG, listening

from microthreads import (
    Cancelled,
    DeadlockError,
    Event,
    join,
    listen,
    now,
    open_connection,
    open_udp,
    race,
    run,
    serve,
    sleep,
    spawn,
    timeout,
)
from microthreads.net import dns

look_up = socket.getaddrinfo


class Resolver:
    """In place of `getaddrinfo`: names that begin with "slow" hang until `go_on` is set."""

    def __init__(self):
        self.go_on = threading.Event()
        self.asked = []  # the names, by whatever thread
        self.asked_here = []  # by the thread that made this

        self.here = threading.get_ident()

    def __call__(self, host, port, *arguments, flags=0, **options):
        if flags & socket.AI_NUMERICHOST:
            return look_up(host, port, *arguments, flags=flags, **options)
        (self.asked_here if threading.get_ident() == self.here else self.asked).append(host)
        if isinstance(host, str) and host.startswith("slow"):
            self.go_on.wait(LONG)
        if isinstance(host, str) and host.endswith(".test"):
            host = "127.0.0.1"
        return look_up(host, port, *arguments, flags=flags, **options)


@pytest.fixture
def resolver(monkeypatch):
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.go_on.set()


@pytest.fixture
def no_threads_yet(monkeypatch):
    monkeypatch.setattr(dns, "pool", dns.Pool())


def threads():
    return [thread for thread in threading.enumerate() if "-dns-" in thread.name]


async def handler(stream):
    await stream.write(b"hello")


async def outcome(routine):
    """The error by which a look-up and what follows it ends; None if there is none."""
    try:
        with await routine:
            return None
    except Exception as error:
        return error


async def hang(number, first=0):
    """So many look-ups that hang; their tasks."""
    tasks = []
    for each in range(first, first + number):
        tasks.append(await spawn(outcome(open_connection(f"slow{each}.test", 1, seconds=math.inf))))
        await sleep(0)
    return tasks


async def serving(routine_of):
    """Start a server, and wait until it listens; its task, and the port."""
    server, found = await listening(routine_of)
    return server, found[0][1]


# ---- A thread that cannot start is an OSError, and costs nothing


USES = {
    "open_connection": lambda: open_connection("quick.test", 1),
    "local_address": lambda: open_connection("127.0.0.1", 1, local_address=("quick.test", 0)),
    "open_udp": lambda: open_udp("quick.test", 1),
    "serve": lambda: serve(handler, "quick.test", 0),
}


@pytest.mark.parametrize("use", USES)
def test_without_threads_a_look_up_is_an_oserror_and_takes_no_place(
    resolver, no_threads_yet, use, monkeypatch
):
    def cannot(thread):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", cannot)
            during = [await outcome(USES[use]()) for _ in range(40)]
        with timeout(LONG):
            after = await outcome(open_connection("quick.test", 1))
        return during, after

    during, after = run(main())
    assert {error.errno for error in during} == {socket.EAI_AGAIN}
    assert "quick.test" in str(during[0])
    assert "thread" in str(during[0])
    assert isinstance(after, ConnectionRefusedError)


def test_a_look_up_that_could_not_begin_is_waited_for_by_nobody(
    resolver, no_threads_yet, monkeypatch
):
    def cannot(thread):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", cannot)
            await outcome(open_connection("quick.test", 1))
        await Event().wait()

    with pytest.raises(DeadlockError):
        run(main())


# ---- Look-ups that hang keep nobody waiting for long


@pytest.mark.parametrize("given_up", [False, True])
def test_look_ups_that_hang_hold_up_another_name_for_about_a_second(resolver, given_up):
    async def main():
        tasks = await hang(16)
        if given_up:
            for task in tasks:
                task.cancel()
        began = now()
        error = await outcome(open_connection("quick.test", 1, seconds=math.inf))
        waited = now() - began
        for task in tasks:
            task.cancel()
        return type(error), waited

    kind, waited = vrun(main())
    assert kind is ConnectionRefusedError
    assert waited <= 2.0


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "::1", "127.1", "0"])
def test_numbers_and_localhost_wait_for_no_thread(resolver, host):
    async def main():
        tasks = await hang(40)
        await sleep(5)
        began = now()
        error = await outcome(open_connection(host, 1, seconds=math.inf))
        waited = now() - began
        for task in tasks:
            task.cancel()
        return waited, type(error), host in resolver.asked

    assert vrun(main()) == (0.0, ConnectionRefusedError, False)


def test_threads_that_hang_are_replaced_within_a_bound_and_end_again(resolver, no_threads_yet):
    before = set(threads())

    async def main():
        tasks = await hang(200)
        await sleep(10)
        most = len(set(threads()) - before)
        assert 100 <= most <= 128, "by the module's documentation"
        for task in tasks:
            task.cancel()
        await sleep(0)
        resolver.go_on.set()

    async def after():
        with timeout(LONG):
            while len(set(threads()) - before) > 16:
                await sleep(0.005)
        return await outcome(open_connection("quick.test", 1))

    vrun(main())
    assert isinstance(run(after()), ConnectionRefusedError)
    assert len(resolver.asked) <= 129, "those who were given up in the queue are not looked up"


def test_a_look_up_that_was_given_up_leaves_nothing_in_the_queue(resolver):
    async def main():
        tasks = await hang(16)
        for each in range(50):
            with pytest.raises(TimeoutError):
                await open_connection(f"later{each}.test", 1, seconds=0.001)
        resolver.go_on.set()
        for task in tasks:
            await join(task)
        await outcome(open_connection("quick.test", 1))

    run(main())
    assert not [name for name in resolver.asked if name.startswith("later")]


def test_who_loses_a_race_with_a_hanging_look_up_goes_on_at_once(resolver):
    async def nap():
        await sleep(0.5)
        return "first"

    async def main():
        assert await race(open_connection("slow.test", 1), nap()) == "first"
        task = (await hang(1))[0]
        task.cancel()
        with pytest.raises(Cancelled):
            await join(task)
        return now()

    assert vrun(main()) == 0.5


def test_a_forked_child_looks_names_up_though_its_parents_threads_hang():
    done = program(
        """
        import os, socket, threading, warnings
        from microthreads import open_connection, run, sleep, spawn

        warnings.simplefilter("ignore")
        look_up, parent = socket.getaddrinfo, os.getpid()

        def hanging(host, *rest, flags=0, **options):
            if not flags & socket.AI_NUMERICHOST and os.getpid() == parent:
                threading.Event().wait()
            host = "127.0.0.1" if host.endswith(".test") else host
            return look_up(host, *rest, flags=flags, **options)

        async def hangs(number):
            await open_connection(f"slow{number}.test", 1)

        async def child():
            for number in range(20):
                try:
                    await open_connection(f"child{number}.test", 1, seconds=20)
                except ConnectionRefusedError:
                    pass

        async def main():
            for number in range(20):
                await spawn(hangs(number), daemon=True)
            await sleep(0.05)
            if os.fork() == 0:
                thread = threading.Thread(target=lambda: (run(child()), os._exit(42)))
                thread.start()
                thread.join(25)
                os._exit(1)
            print(os.waitstatus_to_exitcode(os.wait()[1]))

        socket.getaddrinfo = hanging
        run(main())
        """
    )
    assert done.stdout == "42\n", done.stderr


# ---- What cannot be a name is no address, which is an OSError


NO_NAMES = ["a..b", ".example.org", "a" * 64, "a" * 64 + ".org", "\udcff.org"]
CALLS = {
    "open_connection": lambda name: open_connection(name, 1),
    "local_address": lambda name: open_connection("127.0.0.1", 1, local_address=(name, 0)),
    "open_udp": lambda name: open_udp(name, 1),
    "open_udp, local": lambda name: open_udp(local_address=(name, 0)),
    "serve": lambda name: serve(handler, name, 0),
    "serve, one of two": lambda name: serve(handler, ["127.0.0.1", name], 0),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_a_name_is_a_gaierror(call):
    async def main():
        for name in NO_NAMES:
            with pytest.raises(socket.gaierror) as caught:
                await CALLS[call](name)
            assert repr(name) in str(caught.value)

    run(main())


@pytest.mark.parametrize("name", NO_NAMES)
def test_listen_says_so_too(name):
    with pytest.raises(socket.gaierror):
        listen(name, 0)


# ---- A name as the local address is looked up like any other


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_name_as_local_address_is_looked_up_aside(resolver, kind):
    """While that takes its time, others go on; and the kernel's thread asks for nothing."""

    async def main():
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        mine = ("slow-mine.test", 0)
        if kind == "tcp":
            task = await spawn(opened(open_connection("127.0.0.1", port, local_address=mine)))
        else:
            task = await spawn(opened(open_udp("127.0.0.1", port, local_address=mine)))
        for _ in range(10):
            await sleep(0.001)
        resolver.go_on.set()
        with timeout(LONG), listener:
            return await join(task)

    async def opened(routine):
        with await routine as it:
            return (it.sock if kind == "tcp" else it).getsockname()[0]

    assert run(main()) == "127.0.0.1"
    assert resolver.asked == ["slow-mine.test"]
    assert "slow-mine.test" not in resolver.asked_here


def link_local():
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            raw, *_, name = line.split()
            if raw.startswith("fe80"):
                return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(raw))}%{name}"
    pytest.skip("this machine has no link-local IPv6 address")


def test_an_address_keeps_its_scope(go):
    address = link_local()

    async def main():
        for many in (address, [address, "127.0.0.1"]):
            server, port = await serving(functools.partial(started, many))
            stream = await open_connection(address, port, local_address=(address, 0))
            with stream:
                assert await stream.read(-1) == b"hello"
                scope = stream.plain.getsockname()[3]
            server.cancel()
            assert scope == socket.if_nametoindex(address.partition("%")[2])
            with await open_udp(address, 9, local_address=(address, 0)) as sock:
                assert sock.getsockname()[3] == scope

    go(main())


def started(host, ready, **options):
    return serve(handler, host, 0, ready=ready, **options)


@pytest.mark.parametrize("own", [("", 0), ("127.0.0.1", 0)])
def test_any_address_is_one_to_connect_from(own, go):
    async def main():
        server, port = await serving(functools.partial(started, "127.0.0.1"))
        with await open_connection("127.0.0.1", port, local_address=own) as stream:
            assert await stream.read(-1) == b"hello"
        server.cancel()

    go(main())


def test_an_own_address_may_be_as_getsockname_has_it(go):
    name, _, device = link_local().partition("%")
    own = (name, 0, 0, socket.if_nametoindex(device))

    async def main():
        server, port = await serving(functools.partial(started, f"{name}%{device}"))
        with await open_connection(f"{name}%{device}", port, local_address=own) as stream:
            assert await stream.read(-1) == b"hello"
            scopes = [stream.plain.getsockname()[3]]
        with await open_udp(local_address=own) as sock:
            scopes.append(sock.getsockname()[3])
        server.cancel()
        return scopes

    assert go(main()) == [own[3]] * 2


# ---- A free port is one that is free on all addresses


def other_takes(monkeypatch, times):
    """So many times somebody else binds the port, before it is bound a second time."""
    bind, taken = socket.socket.bind, []

    def watched(self, address):
        if address[1] and len(taken) < times:
            other = socket.socket(self.family)
            if self.family == socket.AF_INET6:
                other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bind(other, address)
            other.listen()
            taken.append(other)
        return bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", watched)
    return taken


@pytest.mark.parametrize("host", [None, ["127.0.0.1", "::1"]])
@pytest.mark.parametrize("times", [1, 5])
def test_a_port_that_one_address_has_free_and_another_has_not_is_given_up(monkeypatch, host, times):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    taken = other_takes(monkeypatch, times)

    async def main():
        server, port = await serving(functools.partial(started, host))
        for each in ("127.0.0.1", "::1"):
            with await open_connection(each, port) as stream:
                assert await stream.read(-1) == b"hello"
        server.cancel()

    run(main())
    assert len(taken) == times
    for other in taken:
        other.close()


def test_a_port_that_was_asked_for_is_not_exchanged_for_another():
    async def main():
        with listen("127.0.0.1", 0) as listener:
            with pytest.raises(OSError, match="in use") as caught:
                await serve(handler, "127.0.0.1", listener.getsockname()[1])
        return caught.value.errno

    assert run(main()) == errno.EADDRINUSE


# Found later: what may hang is never the kernel's thread, nor the last chance of a look-up


def test_localhost_with_a_dot_is_asked_for_without_it(resolver, go):
    go(outcome(open_connection("LOCALHOST.", 1)))
    assert resolver.asked_here == ["LOCALHOST"]
    assert resolver.asked == []


def test_a_look_up_for_which_no_thread_could_start_is_hurried_again(
    resolver, no_threads_yet, monkeypatch, go
):
    def cannot(thread):
        raise RuntimeError("can't start new thread")

    async def main():
        tasks = await hang(dns.THREADS)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", cannot)
            quick = await spawn(outcome(open_connection("quick.test", 1, seconds=math.inf)))
            await sleep(1.5 * dns.PATIENCE)  # it was hurried, in vain
            assert not quick.done
        with timeout(LONG):
            assert isinstance(await quick, ConnectionRefusedError)
        for task in tasks:
            task.cancel()

    go(main())


@pytest.mark.parametrize("verb", [open_connection, open_udp])
@pytest.mark.parametrize(
    ("local", "kind"),
    [
        (("127.0.0.1", 99_999), ValueError),
        (("127.0.0.1", -1), ValueError),
        (("127.0.0.1", "80"), TypeError),
        (("127.0.0.1",), TypeError),
        ("127.0.0.1", TypeError),
        ((None, 80), TypeError),
    ],
)
def test_what_is_no_local_address_is_refused_at_the_call(verb, local, kind):
    with pytest.raises(kind, match=r"local"):
        verb("127.0.0.1", 1, local_address=local)


def test_a_client_is_let_go_though_no_descriptor_is_left(go):
    """The end of a connection needs none of its own."""

    async def main():
        server, port = await serving(lambda ready: serve(handler, "127.0.0.1", 0, ready=ready))
        with await open_connection("127.0.0.1", port) as stream, contextlib.ExitStack() as taken:
            with contextlib.suppress(OSError):
                while True:
                    taken.enter_context(socket.socket())
            with timeout(LONG):
                assert await stream.read(-1) == b"hello"
        server.cancel()
        with contextlib.suppress(Cancelled):
            await server

    go(main())
