"""The echo server of examples/servers, driven by clients that we did not write.

openssl and Python's own blocking `ssl` speak TLS to it, netcat and plain sockets all else.
What its workers and systemd do is in test_server_workers.py, and what an idle connection
costs in test_server_memory.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from helpers import ROOT, python
from programs import Server, needs, tool

KIB, MIB = 1 << 10, 1 << 20
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
KINDS = ["tcp", "tls", "unix"]


class Paper:
    """Certificates as files: the server's, who vouches for it, and somebody else who does not."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.server = str(folder / "server.pem")
        self.ca = str(folder / "ca.pem")
        self.other = str(folder / "other.pem")
        ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            self.server
        )
        ca.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other)

    def context(self, version: str = "1.3") -> ssl.SSLContext:
        """A client's context that trusts the server, for one version."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = context.maximum_version = VERSIONS[version]
        return context


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    return Paper(tmp_path_factory.mktemp("paper"))


def connected(server: Server) -> socket.socket:
    """A plain connection to a server."""
    if not server.port:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(server.addresses[0])
        return sock
    return socket.create_connection((server.host, server.port), timeout=20)


def encrypted(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    """An encrypted connection; its end must be a clean one."""
    return context.wrap_socket(
        connected(server), server_hostname="localhost", suppress_ragged_eofs=False
    )


def has_said_something(server: Server) -> bool:
    """Whether it has, without reading it: where the file is at, the server writes."""
    return os.fstat(server.errors.fileno()).st_size > 0


def exchange(sock: socket.socket, data: bytes) -> None:
    """Send and receive at once, in one thread as `ssl` wants it; the same must come back."""
    sock.setblocking(False)
    sent, received, until = 0, bytearray(), time.monotonic() + 60
    while len(received) < len(data):
        assert time.monotonic() < until, f"{len(received)} of {len(data)} bytes came back"
        select.select([sock], [sock] if sent < len(data) else [], [], 0.1)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if sent < len(data):
                sent += sock.send(data[sent : sent + 65536])
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while piece := sock.recv(MIB):
                received += piece
            raise AssertionError("the end came too early")
    sock.settimeout(20)
    assert received == data


def options_of(kind: str, paper: Paper, folder: Path) -> list[str]:
    """The options that make it a server of this kind."""
    found = {"tcp": [], "tls": ["--cert", paper.server], "unix": ["--unix", str(folder / "socket")]}
    return found[kind]


def client_of(kind: str, server: Server, paper: Paper) -> socket.socket:
    """A connection to a server of this kind."""
    return encrypted(server, paper.context()) if kind == "tls" else connected(server)


# openssl


@contextlib.contextmanager
def s_client(server: Server, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """openssl's client, which sends its standard input, and prints what it gets."""
    command = ["openssl", "s_client", "-quiet", "-no_ign_eof", *options]
    command += ["-connect", f"{server.host}:{server.port}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """End the client's input: its exit code, and what it said on the standard error."""
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.decode()


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_gets_its_data_back_and_ends_cleanly(paper, version):
    data = b"hello\n" * 20_000
    with Server("echo", "--cert", paper.server, "--verbose") as server:
        verify = ("-CAfile", paper.ca, "-verify_return_error", "-verify_hostname", "localhost")
        with s_client(server, version, *verify) as client:
            writer = threading.Thread(
                target=lambda: (client.stdin.write(data), client.stdin.flush())
            )
            writer.start()
            assert client.stdout.read(len(data)) == data
            writer.join()
            assert told(client)[0] == 0
        server.stop()  # --verbose: it would have told of an end that is none


@needs("openssl")
def test_openssl_refuses_the_server_if_it_does_not_trust_its_certificate(paper):
    with Server("echo", "--cert", paper.server, "--verbose") as server:
        with s_client(server, "-CAfile", paper.other, "-verify_return_error") as client:
            code, errors = told(client)
        assert code != 0
        assert "unable to get local issuer certificate" in errors
        server.settles(lambda: has_said_something(server), True)
        server.signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert re.fullmatch(r"INFO no TLS with .*\n", server.stderr())


@needs("openssl")
def test_a_version_of_tls_that_is_too_old_is_refused_and_told(paper):
    with Server("echo", "--cert", paper.server) as server:
        with s_client(server, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0") as client:
            code, errors = told(client)
        assert code != 0
        assert "alert protocol version" in errors
        with s_client(server, "-tls1_2") as client:
            client.stdin.write(b"still here")
            client.stdin.flush()
            assert client.stdout.read(10) == b"still here"
        server.stop()


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_sees_that_a_conversation_was_cut_short(paper, version):
    with Server("echo", "--cert", paper.server, "--grace", "0") as server:
        with s_client(server, version) as client:
            client.stdin.write(b"hello")
            client.stdin.flush()
            assert client.stdout.read(5) == b"hello"
            server.stop()  # with no grace, clients are cut off
            assert client.stdout.read() == b""
            assert "unexpected eof" in told(client)[1]


# Python's own blocking client


@pytest.mark.parametrize("version", VERSIONS)
def test_pythons_own_client_exchanges_megabytes_and_both_ends_are_clean(paper, version):
    with Server("echo", "--cert", paper.server, "--verbose") as server:
        with encrypted(server, paper.context(version)) as sock:
            assert sock.version() == f"TLSv{version}"
            for size in (1, 16 * KIB, 16 * KIB + 1, 4 * MIB):
                exchange(sock, os.urandom(size))
            with sock.unwrap() as plain:  # waits for the server's own clean end
                assert plain.recv(1) == b""
        server.stop()


def test_an_end_that_is_no_clean_one_is_told_in_the_log_only(paper):
    with Server("echo", "--cert", paper.server, "--verbose") as server:
        with encrypted(server, paper.context()) as sock:
            exchange(sock, b"hello")
        server.settles(lambda: has_said_something(server), True)
        server.signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert re.fullmatch(r"INFO .*: the client went away: SSLEOFError.*\n", server.stderr())


def test_a_hundred_encrypted_clients_are_served_at_once(paper):
    everybody = threading.Barrier(100)

    def client(number: int) -> None:
        with encrypted(server, paper.context("1.2" if number % 2 else "1.3")) as sock:
            everybody.wait(60)  # all are connected now
            exchange(sock, os.urandom(20 * KIB))
            everybody.wait(60)

    with Server("echo", "--cert", paper.server) as server, ThreadPoolExecutor(100) as threads:
        assert list(threads.map(client, range(100))) == [None] * 100
        server.stop()


# TCP, Unix sockets, UDP


@needs("nc")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_netcat_gets_its_lines_back(kind, paper, tmp_path):
    with Server("echo", *options_of(kind, paper, tmp_path)) as server:
        to = [server.host, str(server.port)] if server.port else ["-U", server.addresses[0]]
        done = tool("nc", "-N", *to, input="hello\n" * 10_000)
        assert (done.returncode, done.stdout) == (0, "hello\n" * 10_000)
        server.stop()


def test_a_thousand_connections_echo_every_byte():
    with Server("echo", check=False) as server:
        command = ("-m", "examples.echo_client", "--port", str(server.port))
        done = python(*command, "--connections", "1000", "--messages", "5")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("1000 connections, 5000 echoes, 5120000 bytes, 0 errors")
        server.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_megabytes_come_back_in_order(kind, paper, tmp_path):
    with Server("echo", *options_of(kind, paper, tmp_path)) as server:
        with client_of(kind, server, paper) as sock:
            exchange(sock, os.urandom(8 * MIB))
        server.stop()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_of_all_sizes_come_back(host):
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Server("echo", "--udp", "--host", host) as server:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            for size in (0, 1, 1500, 9000, 65_000, 65_507):
                data = os.urandom(size)
                sock.sendto(data, (host, server.port))
                assert sock.recvfrom(70_000)[0] == data
        server.stop()


def test_datagrams_to_nobody_do_not_disturb_the_others():
    """Its answer is refused, of which the server is told by the call after it."""
    with Server("echo", "--udp") as server:
        for _ in range(50):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.sendto(b"too late", (server.host, server.port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.sendto(b"hello", (server.host, server.port))
            assert sock.recv(100) == b"hello"
        server.stop()


def test_a_unix_socket_is_removed_at_the_end_and_one_left_behind_is_replaced(paper, tmp_path):
    path = tmp_path / "socket"
    with Server("echo", "--unix", str(path)) as server:
        server.kill()
    assert path.is_socket()
    with Server("echo", "--unix", str(path)) as server:
        with connected(server) as sock:
            exchange(sock, b"hello")
        server.stop()
    assert not path.exists()


# the end


@pytest.mark.parametrize("kind", KINDS)
def test_four_workers_serve_and_end(kind, paper, tmp_path):
    options = options_of(kind, paper, tmp_path)
    with Server("echo", "--workers", "4", *options) as server:
        assert len(tool("ps", "-o", "pid=", "--ppid", str(server.pid)).stdout.split()) == 4
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                sock = stack.enter_context(client_of(kind, server, paper))
                exchange(sock, os.urandom(10 * KIB))
        server.stop()


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_under_way_is_finished_after_sigterm(kind, workers, paper, tmp_path):
    options = options_of(kind, paper, tmp_path)
    with Server("echo", "--workers", workers, *options) as server:
        with client_of(kind, server, paper) as sock:
            exchange(sock, b"hello")
            server.signal(signal.SIGTERM)
            if kind != "unix":
                server.settles(lambda: refused(server), True)
            exchange(sock, os.urandom(MIB))
            assert server.process.poll() is None, "it waits for its client"
        assert (server.process.wait(20), server.stderr()) == (0, "")


def refused(server: Server) -> bool:
    try:
        connected(server).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--udp",)])
def test_ctrl_c_is_exit_code_130_and_no_traceback(options):
    with Server("echo", *options) as server:
        os.killpg(server.pid, signal.SIGINT)  # as a terminal sends it: to all its processes
        assert (server.process.wait(20), server.stderr()) == (130, "")


# the command line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--key", "key.pem"], "--key needs --cert"),
        (["--udp", "--workers", "2"], "--workers needs connections, and --udp has none"),
        (["--udp", "--unix", "socket"], "not allowed with argument"),
        (["--cert", "/nowhere.pem"], "no certificate and key in /nowhere.pem"),
        (["--cert", __file__], "no certificate and key in"),
        (["--port", "65536"], "a port is a number from 0 to 65535, not '65536'"),
        (["--port", "-1"], "a port is a number from 0 to 65535, not '-1'"),
        (["--workers", "0"], "a number of at least 1 is needed, not '0'"),
        (["--max-connections", "x"], "a number of at least 1 is needed, not 'x'"),
        (["--grace", "nan"], "a number of seconds is needed, not 'nan'"),
        (["more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_named(arguments, complaint):
    done = python("-m", "examples.servers.echo", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--udp",)])
def test_a_port_in_use_is_one_line_and_exit_code_1(options):
    with Server("echo", *options) as server:
        done = python("-m", "examples.servers.echo", *options, "--port", str(server.port))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("echo: cannot ")
        assert done.stderr.endswith("Address already in use\n")
        assert done.stderr.count("\n") == 1
        server.stop()


def test_help_shows_examples_and_it_runs_as_a_file_from_anywhere(tmp_path):
    by_name = python("-m", "examples.servers.echo", "--help")
    by_file = python(str(ROOT / "examples/servers/echo.py"), "--help", cwd=tmp_path)
    assert (by_name.returncode, by_name.stderr) == (0, "")
    assert by_name.stdout == by_file.stdout
    assert "python3 -m examples.servers.echo --workers 4" in by_name.stdout
