"""UDP: datagrams to and from a socket of the standard library, by number and by name."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

import pytest
from helpers import later, receiving
from servers import until

from microthreads import (
    Cancelled,
    ClosedError,
    Socket,
    gather,
    join,
    open_udp,
    run,
    select,
    sleep,
    spawn,
    timeout,
)

LONG = 20  # seconds that nothing here takes


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


NO_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6")


@pytest.fixture(params=["127.0.0.1", pytest.param("::1", marks=NO_IPV6)])
def host(request):
    return request.param


@pytest.fixture
def peer(host):
    """A plain socket at that address."""
    with plain(host) as sock:
        yield sock


@contextlib.contextmanager
def plain(host="127.0.0.1", port=0):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LONG)
        sock.bind((host, port))
        yield sock


def bounded(main, **options):
    """`run`, within a time that nothing here takes."""

    def limited():
        with timeout(LONG):
            return (yield main)

    return run(limited(), **options)


def port_of(sock):
    return sock.getsockname()[1]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def failing(*arguments, **options):
    """The error of `open_udp`; it leaves no descriptor behind."""

    def main():
        with pytest.raises(Exception) as caught:
            yield open_udp(*arguments, **options)
        return caught.value

    before = descriptors()
    error = bounded(main())
    # A thread that has just rung the kernel's bell may hold it for a moment longer.
    until(lambda: descriptors() == before)
    return error


# ---- connected


@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_a_connected_socket_sends_to_its_peer_and_hears_it(host, peer, poller):
    def main():
        with (yield open_udp(host, port_of(peer))) as sock:
            assert isinstance(sock, Socket)
            assert sock.getpeername()[:2] == (host, port_of(peer))
            assert (yield sock.send(b"question")) == 8
            data, address = peer.recvfrom(100)
            assert address[:2] == sock.getsockname()[:2]
            peer.sendto(b"answer", address)
            return data, (yield sock.recv())

    assert bounded(main(), poller=poller) == (b"question", b"answer")


def test_coroutines_await_it(host, peer):
    async def main():
        with await open_udp(host, port_of(peer)) as sock:
            await sock.send(b"question")
            data, address = peer.recvfrom(100)
            peer.sendto(data.upper(), address)
            return await sock.recv()

    assert bounded(main()) == b"QUESTION"


def test_a_connected_socket_hears_nobody_else(host, peer):
    def main():
        with (yield open_udp(host, port_of(peer))) as sock:
            with plain(host) as stranger:
                stranger.sendto(b"advertisement", sock.getsockname())
            peer.sendto(b"letter", sock.getsockname())
            first = yield sock.recv()
            return first, (yield select(sock.recv(), sleep(0.01)))

    assert bounded(main()) == (b"letter", (1, None))


def test_a_name_is_looked_up():
    with plain() as peer:

        def main():
            with (yield open_udp("localhost", port_of(peer))) as sock:
                yield sock.send(b"question")
                return sock.sock.family

        if bounded(main()) == socket.AF_INET:
            assert peer.recv(100) == b"question"


def test_a_peer_where_nobody_listens_is_a_refused_connection(host):
    with plain(host) as gone:
        port = port_of(gone)

    def main():
        with (yield open_udp(host, port)) as sock:
            yield sock.send(b"anybody?")
            with pytest.raises(ConnectionRefusedError):
                yield sock.recv()
            with plain(host, port) as peer:  # it is back; the socket is good still
                yield sock.send(b"again")
                return peer.recv(100)

    assert bounded(main()) == b"again"


def test_a_socket_that_waits_hears_of_the_refusal(host):
    with plain(host) as gone:
        port = port_of(gone)

    def main():
        with (yield open_udp(host, port)) as sock:
            task = yield spawn(receiving(sock))
            yield
            yield sock.send(b"anybody?")
            with pytest.raises(ConnectionRefusedError):
                yield join(task)

    bounded(main())


def test_a_local_address_can_be_chosen_for_a_connected_socket(host, peer):
    def main():
        with (yield open_udp(host, port_of(peer), local_address=(host, 0))) as sock:
            yield sock.send(b"question")
            _, address = peer.recvfrom(100)
            return address[0], address[1] == port_of(sock.sock)

    assert bounded(main()) == (host, True)


# ---- not connected


def test_an_unconnected_socket_answers_whoever_asks(host):
    def main():
        with (yield open_udp(local_address=(host, 0))) as sock:
            assert sock.getsockname()[0] == host
            with plain(host) as one, plain(host) as other:
                one.sendto(b"one", sock.getsockname())
                other.sendto(b"other", sock.getsockname())
                for _ in range(2):
                    data, address = yield sock.recvfrom()
                    assert (yield sock.sendto(data.upper(), address)) == len(data)
                return one.recv(100), other.recv(100)

    assert bounded(main()) == (b"ONE", b"OTHER")


def test_without_anything_it_is_a_socket_for_ipv4():
    def main():
        with plain() as peer, (yield open_udp()) as sock:
            assert sock.sock.family == socket.AF_INET
            yield sock.sendto(b"question", peer.getsockname())
            data, address = peer.recvfrom(100)
            peer.sendto(b"answer", address)
            answer, sender = yield sock.recvfrom()
            return data, answer, sender == peer.getsockname()

    assert bounded(main()) == (b"question", b"answer", True)


def test_datagrams_keep_their_bounds():
    """An empty one is one, a large one is whole, and what there is no room for is cut off."""
    large = os.urandom(60_000)

    def main():
        with plain() as peer, (yield open_udp(local_address=("127.0.0.1", 0))) as sock:
            got = []
            for data in (b"first", b"", large, b"0123456789", b"last"):
                peer.sendto(data, sock.getsockname())
                got.append((yield sock.recv(5) if data[:1] == b"0" else sock.recv()))
            yield sock.sendto(large, peer.getsockname())
            yield sock.sendto(b"", peer.getsockname())
            got += [peer.recv(65536), peer.recv(65536)]
            return got

    assert bounded(main()) == [b"first", b"", large, b"01234", b"last", large, b""]


def test_a_datagram_that_is_too_large_is_an_os_error_and_the_socket_goes_on():
    def main():
        with plain() as peer, (yield open_udp("127.0.0.1", port_of(peer))) as sock:
            with pytest.raises(OSError) as caught:
                yield sock.send(bytes(70_000))
            yield sock.send(b"small")
            return caught.value.errno, peer.recv(100)

    assert bounded(main()) == (errno.EMSGSIZE, b"small")


# ---- waiting


def test_a_select_over_two_sockets_and_a_time_limit_takes_one():
    def main():
        with plain() as peer, (yield open_udp(local_address=("127.0.0.1", 0))) as one:
            with (yield open_udp(local_address=("127.0.0.1", 0))) as other:
                nothing = yield select(one.recv(), other.recv(), sleep(0.005))
                yield spawn(later(0.005, peer.sendto, b"here", other.getsockname()))
                first = yield select(one.recv(), other.recv(), sleep(LONG))
                peer.sendto(b"1", one.getsockname())
                peer.sendto(b"2", other.getsockname())
                second = yield select(one.recv(), other.recv(), sleep(LONG))
                third = yield select(one.recv(), other.recv(), sleep(LONG))
                return nothing, first, {second, third}

    assert bounded(main()) == ((2, None), (1, b"here"), {(0, b"1"), (1, b"2")})


def test_a_receive_that_was_given_up_takes_no_datagram():
    def main():
        with plain() as peer, (yield open_udp(local_address=("127.0.0.1", 0))) as sock:
            with pytest.raises(TimeoutError):
                with timeout(0.005):
                    yield sock.recvfrom()
            task = yield spawn(receiving(sock))
            yield
            task.cancel()
            peer.sendto(b"kept", sock.getsockname())
            with pytest.raises(Cancelled):
                yield join(task)
            return (yield sock.recv())

    assert bounded(main()) == b"kept"


def test_several_tasks_may_receive_and_each_datagram_is_for_one_of_them():
    def main():
        with plain() as peer, (yield open_udp(local_address=("127.0.0.1", 0))) as sock:
            tasks = []
            for _ in range(3):
                tasks.append((yield spawn(receiving(sock))))
            yield
            for number in range(4):
                peer.sendto(b"%d" % number, sock.getsockname())
            got = []
            for task in tasks:
                got.append((yield join(task)))
            return got, (yield sock.recv())

    got, left = bounded(main())
    assert sorted([*got, left]) == [b"0", b"1", b"2", b"3"]


def test_one_of_several_receivers_can_give_up():
    def main():
        with plain() as peer, (yield open_udp(local_address=("127.0.0.1", 0))) as sock:
            first = yield spawn(receiving(sock))
            second = yield spawn(receiving(sock))
            yield
            first.cancel()
            peer.sendto(b"for the second", sock.getsockname())
            with pytest.raises(Cancelled):
                yield join(first)
            return (yield join(second))

    assert bounded(main()) == b"for the second"


def test_closing_wakes_the_tasks_that_wait():
    def main():
        sock = yield open_udp(local_address=("127.0.0.1", 0))
        tasks = []
        for _ in range(2):
            tasks.append((yield spawn(receiving(sock))))
        yield
        sock.close()
        for task in tasks:
            with pytest.raises(ClosedError):
                yield join(task)
        with pytest.raises(ClosedError):
            yield sock.recv()

    before = descriptors()
    bounded(main())
    assert descriptors() == before


def test_many_sockets_ask_one_server_at_the_same_time():
    def asked(port, number):
        with (yield open_udp("127.0.0.1", port)) as sock:
            while True:
                yield sock.send(b"%d" % number)
                index, answer = yield select(sock.recv(), sleep(1))
                if index == 0:
                    return int(answer)

    def answering(sock):
        while True:
            data, address = yield sock.recvfrom()
            yield sock.sendto(data, address)

    def main():
        with (yield open_udp(local_address=("127.0.0.1", 0))) as sock:
            yield spawn(answering(sock), daemon=True)
            port = port_of(sock)
            return (yield gather(*[asked(port, number) for number in range(50)]))

    assert list(bounded(main())) == list(range(50))


# ---- options


def test_several_sockets_share_a_port_if_all_of_them_agree():
    def main():
        with (yield open_udp(local_address=("127.0.0.1", 0), reuse_port=True)) as one:
            address = one.getsockname()
            with (yield open_udp(local_address=address, reuse_port=True)) as other:
                heard = set()
                for _ in range(100):
                    with plain() as peer:
                        peer.sendto(b"x", address)
                    index, _ = yield select(one.recv(), other.recv(), sleep(LONG))
                    heard.add(index)
                return heard

    assert bounded(main()) == {0, 1}


def test_broadcasts_are_for_those_who_asked():
    def main():
        with (yield open_udp()) as sock:
            with pytest.raises(PermissionError):
                yield sock.sendto(b"all", ("255.255.255.255", 9))
        with (yield open_udp(broadcast=True)) as sock:
            with contextlib.suppress(OSError):  # no network is not the matter
                try:
                    yield sock.sendto(b"all", ("255.255.255.255", 9))
                except PermissionError:
                    return "not allowed"
        return "allowed"

    assert bounded(main()) == "allowed"


# ---- refusals


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_a_value_error(host, port):
    assert isinstance(failing(host, port), ValueError)
    assert isinstance(failing(local_address=(host, port)), ValueError)


def test_a_host_without_a_port_is_a_value_error(host):
    assert isinstance(failing(host), ValueError)
    assert isinstance(failing(host, local_address=(host, 0)), ValueError)


def test_a_port_in_use_is_an_os_error_that_names_it(host, peer):
    error = failing(local_address=(host, port_of(peer)))
    assert isinstance(error, OSError)
    assert error.errno == errno.EADDRINUSE
    assert str(port_of(peer)) in str(error)
    error = failing(local_address=(host, port_of(peer)), reuse_port=True)
    assert isinstance(error, OSError)


def test_an_address_of_another_machine_is_an_os_error():
    error = failing(local_address=("192.0.2.1", 0))
    assert isinstance(error, OSError)
    assert error.errno == errno.EADDRNOTAVAIL


def test_a_name_without_an_address_is_an_error_of_the_lookup():
    assert isinstance(failing("nowhere.invalid", 9), socket.gaierror)
    assert isinstance(failing(local_address=("nowhere.invalid", 0)), socket.gaierror)


@NO_IPV6
@pytest.mark.parametrize(("one", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_families_that_do_not_go_together_are_an_os_error(one, other):
    assert isinstance(failing(one, 9, local_address=(other, 0)), OSError)
