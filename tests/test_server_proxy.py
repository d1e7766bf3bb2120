"""The proxy: what it passes on, in either direction, and what it counts.

Upstream stands a listener of the test's, where single steps matter, or a program.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import programs
import pytest
from helpers import ROOT
from programs import Server, needs, tool

from examples.servers import pipes, proxy
from microthreads import Socket, Stream, run

KIB, MIB = 1 << 10, 1 << 20
LONG = 20  # seconds that nothing here takes


@pytest.fixture(scope="module")
def echo():
    with Server("echo") as server:
        yield server
        server.stop()


@pytest.fixture
def upstream():
    with listener() as sock:
        yield sock


def listener(backlog=None):
    sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    sock.settimeout(LONG)
    return sock


def proxy_to(sock, *options, **more):
    host, port = sock.getsockname()[:2]
    return Server("proxy", "--to", f"{host}:{port}", *options, **more)


def connected(server):
    sock = socket.create_connection((server.host, server.port), timeout=LONG)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def joined(server, upstream):
    """A client of the proxy, and what the proxy has connected it to."""
    with connected(server) as client:
        far, _ = upstream.accept()
        with far:
            far.settimeout(LONG)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client, far


def all_of(sock):
    """What comes until the end."""
    found = bytearray()
    while data := sock.recv(MIB):
        found += data
    return bytes(found)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def assert_reset(sock):
    """It is reset, or will be soon; `recv` would not do, since the end may have come before."""
    poller = select.poll()
    poller.register(sock, 0)
    assert poller.poll(LONG * 1000), "no reset has come"
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error in (errno.ECONNRESET, errno.EPIPE), os.strerror(error)


def totals(server):
    """What it prints at SIGUSR1."""
    server.signal(signal.SIGUSR1)
    return printed(server)


def printed(server):
    readable, _, _ = select.select([server.process.stdout], [], [], LONG)
    assert readable, "nothing was printed"
    return server.process.stdout.readline().strip()


def ended(server):
    """Stop it; what it has printed at its end, and its log."""
    server.signal(signal.SIGTERM)
    assert server.process.wait(LONG) == 0
    return server.process.stdout.read().strip(), server.stderr()


def told(server, pattern, seconds=LONG):
    """Wait until the log has `pattern`; the match."""
    until = time.monotonic() + seconds
    while not (found := re.search(pattern, server.stderr())) and time.monotonic() < until:
        time.sleep(0.02)
    assert found, server.stderr()
    return found


class Sending(threading.Thread):
    """Sends in the background, and ends the direction."""

    def __init__(self, sock, data, *, end=True):
        super().__init__(daemon=True)
        self.sock, self.data, self.end = sock, data, end
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            self.sock.sendall(self.data)
            if self.end:
                self.sock.shutdown(socket.SHUT_WR)


# ---- what is passed on


def test_many_megabytes_go_both_ways_at_once(upstream):
    up, down = os.urandom(MIB) * 24, os.urandom(MIB) * 24
    with proxy_to(upstream) as server:
        with joined(server, upstream) as (client, far):
            senders = [Sending(client, up), Sending(far, down)]
            found = []
            reader = threading.Thread(target=lambda: found.append(all_of(far)))
            reader.start()
            assert hashlib.sha256(all_of(client)).digest() == hashlib.sha256(down).digest()
            reader.join(LONG)
            assert hashlib.sha256(found[0]).digest() == hashlib.sha256(up).digest()
            for sender in senders:
                sender.join(LONG)
        server.stop()
        assert server.process.stdout.read() == (
            f"1 connections, {len(up)} bytes up, {len(down)} bytes down\n"
        )


def test_through_the_echo_server_comes_back_what_was_sent(echo):
    data = os.urandom(8 * MIB)
    with Server("proxy", "--to", f"127.0.0.1:{echo.port}") as server:
        with connected(server) as client:
            sender = Sending(client, data)
            assert all_of(client) == data
            sender.join(LONG)
        server.stop()


def test_single_bytes_are_passed_on_at_once(upstream):
    with proxy_to(upstream) as server, joined(server, upstream) as (client, far):
        began = time.monotonic()
        for number in range(200):
            client.sendall(bytes([number]))
            assert far.recv(10) == bytes([number])
            far.sendall(b"a")
            far.sendall(b"b")
            assert client.recv(1) + client.recv(1) == b"ab"
        assert time.monotonic() - began < 5  # 40 ms each, if pieces waited for acknowledgements


@pytest.mark.parametrize("first", ["client", "server"])
def test_when_one_direction_ends_the_other_one_goes_on(upstream, first):
    with proxy_to(upstream) as server:
        with joined(server, upstream) as (client, far):
            one, other = (client, far) if first == "client" else (far, client)
            one.sendall(b"that is all")
            one.shutdown(socket.SHUT_WR)
            assert all_of(other) == b"that is all"
            for _ in range(3):
                other.sendall(b"x" * MIB)
                time.sleep(0.05)
                left = MIB
                while left:
                    left -= len(one.recv(left))
            other.close()
            assert one.recv(1) == b""
        server.stop()


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(upstream, who):
    with proxy_to(upstream, "--verbose") as server:
        with joined(server, upstream) as (client, far):
            one, other = (client, far) if who == "client" else (far, client)
            one.sendall(b"half of")
            assert other.recv(100) == b"half of"
            reset(one)
            assert_reset(other)
        told(server, r"7 bytes up, 0 down|0 bytes up, 7 down")
        assert "reset" in told(server, r"cut: (.*)")[1]


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_after_the_end_of_a_direction_is_seen(upstream, who):
    """Nobody reads from a side that has ended; so it is looked at."""
    with proxy_to(upstream) as server:
        with joined(server, upstream) as (client, far):
            one, other = (client, far) if who == "client" else (far, client)
            one.shutdown(socket.SHUT_WR)
            assert other.recv(1) == b""
            reset(one)
            assert_reset(other)
        server.stop()


def test_a_reset_is_seen_while_the_other_side_neither_reads_nor_sends(upstream):
    with proxy_to(upstream) as server:
        with joined(server, upstream) as (client, far):
            far.setblocking(False)
            fill(far)
            reset(far)
            assert_reset(client)
        server.stop()


def fill(sock):
    """Send until nothing more is taken, for a while; how much."""
    sent, quiet = 0, 0
    while quiet < 5:
        try:
            sent += sock.send(bytes(65536))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
    return sent


# ---- limits


def test_a_client_that_never_reads_makes_the_sender_wait_and_no_memory_fill_up(upstream):
    with proxy_to(upstream) as server, contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(joined(server, upstream)) for _ in range(5)]
        for _, far in pairs:
            far.setblocking(False)
        before, sent = server.memory(), 0
        for _ in range(2):
            sent += sum(fill(far) for _, far in pairs)
        assert server.memory() - before < 8 * MIB
        client, far = pairs[0]
        far.setblocking(True)
        Sending(far, b"the end")
        assert all_of(client).endswith(b"the end")


def test_500_connections_at_once(echo):
    with Server("proxy", "--to", f"127.0.0.1:{echo.port}") as server:
        before = server.descriptors()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(server)) for _ in range(500)]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            for number, client in enumerate(clients):
                assert client.recv(100) == b"%d" % number
            assert server.descriptors() >= before + 1000
        server.settles(server.descriptors, before)
        assert totals(server).startswith("500 connections, 1390 bytes up, 1390 bytes down")
        server.stop()


def test_no_upstream_closes_the_client_and_the_next_one_is_served(upstream):
    address = upstream.getsockname()
    upstream.close()
    with Server("proxy", "--to", f"{address[0]}:{address[1]}") as server:
        with connected(server) as client:
            assert client.recv(1) == b""
        told(server, "WARNING 127.0.0.1.*refused")
        with socket.create_server(address) as again:
            again.settimeout(LONG)
            with joined(server, again) as (client, far):
                far.sendall(b"here I am")
                assert client.recv(100) == b"here I am"
        out, _ = ended(server)
        assert out == "1 connections, 0 bytes up, 9 bytes down"


def test_an_upstream_that_does_not_answer_is_waited_for_so_long():
    with listener(backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(8):  # its backlog takes one or two; the others are on their way
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with proxy_to(full, "--connect-timeout", "0.3") as server, connected(server) as client:
            began = time.monotonic()
            assert client.recv(1) == b""
            assert 0.2 < time.monotonic() - began < LONG / 2
            told(server, "WARNING 127.0.0.1.*timed out")


def test_where_nothing_moves_for_too_long_both_sides_are_cut_off(upstream):
    with proxy_to(upstream, "--idle", "1", "--verbose") as server:
        with joined(server, upstream) as (client, far):
            for _ in range(8):  # it lives on while something moves
                client.sendall(b"x")
                time.sleep(0.2)
            assert far.recv(100) == b"x" * 8
            assert_reset(client)
            assert_reset(far)
        told(server, "8 bytes up, 0 down, .*cut: nothing moved for 1 s")


# ---- counting


def test_a_line_is_logged_for_each_connection(upstream):
    with proxy_to(upstream, "--verbose") as server:
        with joined(server, upstream) as (client, far):
            client.sendall(b"question")
            assert far.recv(100) == b"question"
            far.sendall(b"answer")
            far.close()
            assert all_of(client) == b"answer"
        port = upstream.getsockname()[1]
        told(server, rf"INFO 127.0.0.1:\d+ to 127.0.0.1:{port}: 8 bytes up, 6 down, \d\.\d\d s\n")


@pytest.mark.parametrize("workers", ["1", "3"])
def test_sigusr1_prints_the_totals_of_all_workers(upstream, workers):
    with proxy_to(upstream, "--workers", workers) as server, contextlib.ExitStack() as stack:
        assert totals(server) == "0 connections, 0 bytes up, 0 bytes down"
        for _ in range(12):
            client, far = stack.enter_context(joined(server, upstream))
            client.sendall(b"123")
            assert far.recv(10) == b"123"
            far.sendall(b"12345")
            assert client.recv(10) == b"12345"
        server.settles(lambda: totals(server), "12 connections, 36 bytes up, 60 bytes down", 5)
        stack.close()
        out, errors = ended(server)
        assert (out, errors) == ("12 connections, 36 bytes up, 60 bytes down", "")


def test_a_signal_to_all_of_them_by_name_ends_no_worker(upstream):
    with proxy_to(upstream, "--workers", "2") as server:
        with joined(server, upstream) as (client, far):
            os.killpg(server.pid, signal.SIGUSR1)
            assert " connections, " in printed(server)
            client.sendall(b"still here")
            assert far.recv(100) == b"still here"
        server.stop()


# ---- the end


def test_sigterm_lets_a_transfer_finish(upstream):
    data = os.urandom(MIB) * 4
    with proxy_to(upstream, "--grace", "15") as server:
        with joined(server, upstream) as (client, far):
            far.sendall(data[:MIB])
            server.signal(signal.SIGTERM)
            time.sleep(0.3)
            Sending(far, data[MIB:])
            assert all_of(client) == data
        assert server.process.wait(LONG) == 0
        assert server.process.stdout.read() == f"1 connections, 0 bytes up, {4 * MIB} bytes down\n"
        assert server.stderr() == ""


def test_what_does_not_finish_in_time_is_reset_not_ended(upstream):
    with proxy_to(upstream, "--grace", "0.2") as server, joined(server, upstream) as (client, far):
        far.sendall(b"the first half")
        assert client.recv(100) == b"the first half"
        server.signal(signal.SIGTERM)
        assert_reset(client)
        assert_reset(far)
        assert server.process.wait(LONG) == 0
        assert server.stderr() == ""


# ---- other programs


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    import trustme

    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return folder


@needs("openssl")
@needs("curl")
def test_curl_loads_megabytes_from_openssl_through_it(certificate, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(MIB) * 12)
    with listener() as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-WWW", "-quiet", "-accept", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        [*command, "-cert", str(certificate / "server.pem")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            accepting(port)
            with Server("proxy", "--to", f"localhost:{port}") as server:
                url = f"https://localhost:{server.port}/large"
                where = ["--connect-to", f"localhost:{server.port}:127.0.0.1:{server.port}"]
                trust = ["--cacert", str(certificate / "ca.pem")]
                for _ in range(2):
                    done = tool("curl", "-sS", *where, *trust, "-o", str(tmp_path / "copy"), url)
                    assert (done.returncode, done.stderr) == (0, "")
                    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()
                server.stop()
        finally:
            process.kill()


def accepting(port):
    """Wait until somebody listens."""
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)


@needs("openssl")
def test_openssl_talks_to_the_encrypting_echo_server_through_it(certificate):
    cert = str(certificate / "server.pem")
    with Server("echo", "--cert", cert) as echo:
        with Server("proxy", "--to", f"127.0.0.1:{echo.port}") as server:
            command = ["s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}"]
            with subprocess.Popen(
                ["openssl", *command, "-CAfile", str(certificate / "ca.pem")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                process.stdin.write(b"hello\n")
                process.stdin.flush()
                assert process.stdout.readline() == b"hello\n"
                process.terminate()
            context = ssl.create_default_context(cafile=str(certificate / "ca.pem"))
            data = os.urandom(4 * MIB)
            with context.wrap_socket(connected(server), server_hostname="localhost") as client:
                found = bytearray()
                for start in range(0, len(data), 64 * KIB):  # an SSLSocket is one thread's
                    client.sendall(data[start : start + 64 * KIB])
                    while len(found) < start + 64 * KIB:
                        found += client.recv(MIB)
                assert found == data
            server.settles(lambda: totals(server).split()[0], "2")


# ---- the command line


@pytest.mark.parametrize(
    "to",
    ["", "host", "host:", ":80", "host:0", "host:99999", "::1:80", "[]:80", "host:http"]
    + ["a..b:80", ".example.org:80", f"{'a' * 64}:80"],
)
def test_a_destination_that_is_none_is_told(to, capsys):
    with pytest.raises(SystemExit, match="2"):
        proxy.main(["--to", to])
    assert "argument --to: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("host", "to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "127.1"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.9.9.9"),
        ("", "127.0.0.1"),
    ],
)
def test_a_proxy_to_itself_does_not_start(host, to, capsys):
    with pytest.raises(SystemExit, match="2"):
        proxy.main(["--host", host, "--port", "25019", "--to", f"{to}:25019"])
    assert "is this proxy itself" in capsys.readouterr().err


def test_another_address_with_the_same_port_is_not_itself():
    assert not proxy.is_itself(("127.0.0.2", 80), "127.0.0.1", 80)
    assert not proxy.is_itself(("192.0.2.1", 80), "", 80)
    assert not proxy.is_itself(("127.0.0.1", 81), "127.0.0.1", 80)


def test_a_proxy_that_finds_itself_later_says_so_in_a_line():
    with listener() as free:
        port = free.getsockname()[1]
    # It is handed its socket, so that it cannot know before.
    with programs.handed_over("proxy", ("127.0.0.1", port), "--to", f"127.1:{port}") as errors:
        with socket.create_connection(("127.0.0.1", port), LONG) as client:
            assert client.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), LONG) as client:
            assert client.recv(1) == b""
        found = re.findall("that is this proxy itself", errors())
        assert len(found) == len(errors().splitlines()) == 2


def test_a_socket_that_tcp_has_connected_to_itself_is_no_connection(monkeypatch):
    """It happens where nobody listens, if the system chooses that very port to connect from."""

    async def to_itself(host, port, seconds):
        own = socket.socket()
        own.bind(("127.0.0.1", 0))
        own.connect(own.getsockname())
        return Stream(Socket(own))

    monkeypatch.setattr(pipes, "open_connection", to_itself)
    with pytest.raises(ConnectionRefusedError):
        run(pipes.connected("127.0.0.1", 1, 1.0))


def test_clients_of_a_unix_socket_are_served_and_have_a_name_in_the_log(echo, tmp_path):
    path = tmp_path / "socket"
    options = ("--to", f"127.0.0.1:{echo.port}", "--verbose")
    with programs.handed_over("proxy", path, *options) as errors:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LONG)
            client.bind("\0a\x1b[31m\nWARNING forged")
            client.connect(str(path))
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert all_of(client) == b"hello"
        until = time.monotonic() + LONG
        while "5 bytes up" not in errors() and time.monotonic() < until:
            time.sleep(0.02)
        assert re.fullmatch(r"INFO \S.* to 127\S+: 5 bytes up, 5 down, .* s\n", errors())
        assert errors().isascii()
        assert "\x1b" not in errors()


@pytest.mark.skipif(not shutil.which("ip"), reason="asks whether there is IPv6")
@pytest.mark.skipif("::1" not in tool("ip", "-6", "addr").stdout, reason="there is no IPv6")
def test_it_connects_by_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as upstream:
        upstream.settimeout(LONG)
        with Server("proxy", "--to", f"[::1]:{upstream.getsockname()[1]}") as server:
            with joined(server, upstream) as (client, far):
                far.sendall(b"by six")
                assert client.recv(100) == b"by six"
            server.stop()


def test_help_has_examples():
    done = tool(sys.executable, "-m", "examples.servers.proxy", "--help", cwd=ROOT)
    assert done.returncode == 0
    assert "--to 127.0.0.1:25000" in done.stdout
