"""The SOCKS5 proxy: step by step over raw sockets, and as curl uses it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import signal
import socket
import struct
import sys
import threading
import time

import programs
import pytest
from helpers import ROOT
from programs import Server, needs, tool

from examples.servers import socks as socks_server

MIB = 1 << 20
LONG = 20  # seconds that nothing here takes
CONNECT, BIND, ASSOCIATE = 1, 2, 3
GREETING = b"\5\1\0"


@pytest.fixture(scope="module")
def echo():
    with Server("echo") as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def website():
    with Server("wsgi") as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def socks():
    """A proxy that everybody may use, and which all must leave in order."""
    with Server("socks") as server:
        before = server.descriptors()
        yield server
        server.settles(server.descriptors, before)
        server.stop()


@pytest.fixture(scope="module")
def private():
    """A proxy with a password."""
    with Server("socks", "--user", "ada:sec:ret") as server:
        yield server
        server.stop()


def connected(server):
    return socket.create_connection((server.host, server.port), timeout=LONG)


def request(host, port, command=CONNECT, version=5):
    """A request, with the kind of address that `host` is; bytes are a name in any case."""
    try:
        address = ipaddress.ip_address(host if isinstance(host, str) else "a name")
    except ValueError:
        name = host if isinstance(host, bytes) else host.encode()
        where = b"\3" + bytes([len(name)]) + name
    else:
        where = (b"\1" if address.version == 4 else b"\4") + address.packed
    return bytes([version, command, 0]) + where + struct.pack(">H", port)


def exactly(sock, n):
    data = b""
    while len(data) < n and (more := sock.recv(n - len(data))):
        data += more
    return data


def asked(server, *arguments, **options):
    """What is answered to a request: the reply code, and the address; then the end."""
    with connected(server) as client:
        client.sendall(GREETING)
        assert exactly(client, 2) == b"\5\0"
        client.sendall(request(*arguments, **options))
        return reply(client), client.recv(1)


def reply(client):
    version, code, reserved, kind = exactly(client, 4)
    assert (version, reserved) == (5, 0)
    host = ipaddress.ip_address(exactly(client, {1: 4, 4: 16}[kind]))
    return code, str(host), int.from_bytes(exactly(client, 2), "big")


@contextlib.contextmanager
def through(server, host, port, greeting=GREETING):
    """A connection through the proxy."""
    with connected(server) as client:
        client.sendall(greeting)
        assert exactly(client, 2) == b"\5\0"
        client.sendall(request(host, port))
        assert reply(client)[0] == 0
        yield client


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


# ---- connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_bytes_go_both_ways(socks, echo, host):
    data = os.urandom(2 * MIB)
    with through(socks, host, echo.port) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert exactly(client, len(data)) == data
        sender.join(LONG)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_an_address_of_version_6(socks):
    try:
        upstream = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6")
    upstream.settimeout(LONG)
    with upstream, connected(socks) as client:
        client.sendall(GREETING + request("::1", upstream.getsockname()[1]))
        assert exactly(client, 2) == b"\5\0"
        code, host, port = reply(client)
        far, address = upstream.accept()
        with far:
            assert (code, host, port) == (0, "::1", address[1])
            far.sendall(b"by six")
        assert client.recv(100) == b"by six"


def test_the_reply_says_where_the_connection_comes_from(socks):
    with socket.create_server(("127.0.0.1", 0)) as upstream, connected(socks) as client:
        upstream.settimeout(LONG)
        client.sendall(GREETING + request("127.0.0.1", upstream.getsockname()[1]))
        assert exactly(client, 2) == b"\5\0"
        answer = reply(client)
        far, address = upstream.accept()
        far.close()
        assert answer == (0, *address)


def test_what_follows_the_request_at_once_is_passed_on(socks, echo):
    with connected(socks) as client:
        client.sendall(GREETING + request("127.0.0.1", echo.port) + b"early")
        assert exactly(client, 2 + 10 + 5)[-5:] == b"early"


def test_every_byte_may_come_by_itself(private, echo):
    with connected(private) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        login = b"\1\3ada\7sec:ret"
        for byte in b"\5\3\0\1\2" + login + request("localhost", echo.port) + b"x":
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert exactly(client, 4) == b"\5\2\1\0"
        assert reply(client)[0] == 0
        assert client.recv(1) == b"x"


def test_200_clients_at_once(socks, echo):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(socks)) for _ in range(200)]
        for client in clients:
            client.sendall(GREETING + request("127.0.0.1", echo.port) + b"hello")
        for client in clients:
            assert exactly(client, 17)[-5:] == b"hello"


# ---- what is refused, and why


def test_nobody_listens_there(socks):
    assert asked(socks, "127.0.0.1", unused_port()) == ((5, "0.0.0.0", 0), b"")


@pytest.mark.parametrize("command", [BIND, ASSOCIATE, 0, 99])
def test_a_command_that_is_not_connect(socks, command):
    assert asked(socks, "127.0.0.1", 80, command) == ((7, "0.0.0.0", 0), b"")


@pytest.mark.parametrize(
    "name", ["no-such-name.invalid", "a..b", "x" * 255, b"\0", b"\xff\xfe", b"a b", b"127.0.0.1\0"]
)
def test_a_name_that_has_no_address(socks, name):
    assert asked(socks, name, 80) == ((4, "0.0.0.0", 0), b"")


@pytest.mark.parametrize(("name", "port"), [("", 80), ("localhost", 0), ("127.0.0.1", 0)])
def test_what_cannot_be_meant(socks, name, port):
    assert asked(socks, name, port) == ((1, "0.0.0.0", 0), b"")


def test_an_unknown_kind_of_address(socks):
    with connected(socks) as client:
        client.sendall(GREETING + b"\5\1\0\2" + bytes(100))
        assert exactly(client, 2) == b"\5\0"
        assert reply(client)[0] == 8
        assert client.recv(1) == b""


def test_a_network_that_cannot_be_reached(socks):
    codes = {asked(socks, "255.255.255.255", 80)[0][0], asked(socks, "ff02::1", 80)[0][0]}
    assert codes <= {1, 2, 3, 4}  # systems differ in what they call it


def test_a_server_that_does_not_answer_in_time():
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with Server("socks", "--connect-timeout", "0.3") as server:
            assert asked(server, *full.getsockname()) == ((4, "0.0.0.0", 0), b"")
            server.stop()


def test_only_what_is_allowed_can_be_connected_to(echo):
    allow = ["--allow", f"127.0.0.1:{echo.port}", "--allow", "*.Example.invalid"]
    with Server("socks", *allow, "--allow", "[::1]:80") as server:
        assert asked(server, "::1", 80)[0][0] != 2
        with through(server, "127.0.0.1", echo.port) as client:
            client.sendall(b"allowed")
            assert client.recv(100) == b"allowed"
        others = [
            ("127.0.0.1", unused_port()),
            ("localhost", echo.port),
            ("::1", 81),
            ("example.invalid", 80),
            (b"::ffff:127.0.0.1", unused_port()),
        ]
        for host, port in others:
            assert asked(server, host, port) == ((2, "0.0.0.0", 0), b"")
        assert asked(server, "WWW.Example.invalid", 80)[0][0] == 4
        assert asked(server, b"127.0.0.1\0.example.invalid", echo.port)[0][0] == 4
        server.stop()


@pytest.mark.parametrize(
    "spelling",
    ["127.0.0.1", b"127.1", b"0x7f.1", b"2130706433", b"0177.0.0.1", "::ffff:127.0.0.1"]
    + [b"::FFFF:127.0.0.1", b"::ffff:7f00:1", b"127.0.0.1."],
)
def test_an_address_that_is_allowed_is_so_however_it_is_spelled(echo, spelling):
    with Server("socks", "--allow", f"127.1:{echo.port}") as server:
        with through(server, spelling, echo.port) as client:
            client.sendall(b"allowed")
            assert client.recv(100) == b"allowed"
        assert asked(server, spelling, unused_port()) == ((2, "0.0.0.0", 0), b"")


@pytest.mark.parametrize("name", ["::ffff:7f00:80", b"::ffff:7f00:80", b"x:80", b"[::1]:80"])
def test_a_port_that_is_allowed_is_not_a_part_of_the_name(name):
    with socket.create_server(("127.0.0.1", 0)) as secret:
        with Server("socks", "--allow", "*:80") as server:
            assert asked(server, name, secret.getsockname()[1])[0][0] in (2, 4)
            server.stop()


@pytest.mark.parametrize(
    ("deny", "name"),
    [
        ("127.0.0.0/8", b"127.1"),
        ("127.0.0.0/8", "::ffff:127.9.9.9"),
        ("127.0.0.*", b"2130706433"),
        ("127.0.0.0/8", b"0.0.0.0"),  # which is a way to say 127.0.0.1
        ("LocalHost.", b"localhost"),
        ("localhost", b"LOCALHOST."),
    ],
)
def test_what_is_denied_is_so_however_it_is_spelled(echo, deny, name):
    with Server("socks", "--deny", f"{deny}:{echo.port}") as server:
        assert asked(server, name, echo.port) == ((2, "0.0.0.0", 0), b"")
        server.stop()


def test_a_name_that_is_allowed_does_not_lead_to_an_address_that_is_denied(echo):
    deny = ["--deny", "127.0.0.0/8", "--deny", "::1"]
    with Server("socks", "--allow", "localhost", *deny) as server:
        assert asked(server, "localhost", echo.port) == ((2, "0.0.0.0", 0), b"")
        server.stop()


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0"])
def test_it_does_not_connect_to_itself(listens):
    names = ["127.0.0.1", "127.8.8.8", "0.0.0.0", "::ffff:127.0.0.1", b"localhost", b"127.1"]
    with Server("socks", "--host", listens) as server:
        server.host = "127.0.0.1"
        before = server.descriptors()
        answers = {asked(server, name, server.port)[0][0] for name in names}
        assert answers <= {2, 5}  # not allowed, or nobody listens there
        hop = GREETING + request("127.0.0.1", server.port)
        with connected(server) as client:
            client.sendall(hop * 500)
            assert exactly(client, 12)[:4] == b"\5\0\5\2"
            assert server.descriptors() < before + 10
        server.stop()


def test_a_client_has_so_many_connections_and_no_more(echo):
    with Server("socks", "--per-client", "3", "--verbose") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(through(server, "127.0.0.1", echo.port))
            with connected(server) as fourth, contextlib.suppress(ConnectionError):
                fourth.sendall(GREETING)
                assert fourth.recv(2) == b""
            with socket.create_connection(
                (server.host, server.port), LONG, source_address=("127.0.0.2", 0)
            ) as other:
                other.sendall(GREETING)
                assert exactly(other, 2) == b"\5\0"
        assert "has too many connections" in server.stderr()
        server.settles(lambda: seated(server, echo), True)


def seated(server, echo):
    """Whether a client is let in, now that others have left."""
    with contextlib.suppress(ConnectionError, ValueError), through(server, "127.0.0.1", echo.port):
        return True


def test_clients_of_a_unix_socket_are_served(echo, tmp_path):
    path = str(tmp_path / "socket")
    with programs.handed_over("socks", path, "--per-client", "1"):
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(LONG)
                client.connect(path)
                client.sendall(GREETING + request("127.0.0.1", echo.port) + b"hello")
                assert exactly(client, 17)[-5:] == b"hello"


# ---- who is let in


@pytest.mark.parametrize("methods", [b"\2", b"\0\2", b"\1\2\0\x80"])
def test_the_right_password(private, echo, methods):
    with connected(private) as client:
        client.sendall(b"\5" + bytes([len(methods)]) + methods)
        assert exactly(client, 2) == b"\5\2"
        client.sendall(b"\1\3ada\7sec:ret")
        assert exactly(client, 2) == b"\1\0"
        client.sendall(request("127.0.0.1", echo.port) + b"in")
        assert reply(client)[0] == 0
        assert client.recv(10) == b"in"


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("eve", "sec:ret"), ("ada", ""), ("", ""), ("ada:sec", "ret"), ("é", "ü")],
)
def test_a_wrong_password(private, name, password):
    one, two = name.encode(), password.encode()
    with connected(private) as client:
        client.sendall(b"\5\1\2")
        assert exactly(client, 2) == b"\5\2"
        client.sendall(b"\1" + bytes([len(one)]) + one + bytes([len(two)]) + two)
        client.sendall(request("127.0.0.1", 80))
        assert exactly(client, 2) == b"\1\1"
        assert client.recv(1) == b""


@pytest.mark.parametrize("methods", [b"", b"\0", b"\1", b"\0\1\x80"])
def test_without_a_password_nobody_comes_in(private, methods):
    with connected(private) as client:
        client.sendall(b"\5" + bytes([len(methods)]) + methods)
        assert exactly(client, 2) == b"\5\xff"
        assert client.recv(1) == b""


def test_an_unknown_version_of_logging_in(private):
    with connected(private) as client:
        client.sendall(b"\5\1\2\2\3ada\7sec:ret")
        assert exactly(client, 4) == b"\5\2\1\1"
        assert client.recv(1) == b""


def test_where_no_password_is_wanted_a_client_must_do_without(socks):
    with connected(socks) as client:
        client.sendall(b"\5\1\2")
        assert exactly(client, 2) == b"\5\xff"
        assert client.recv(1) == b""


# ---- clients that are none


@pytest.mark.parametrize("first", [b"\4\1\0\x50\x7f\0\0\1\0", b"GET / HTTP/1.1\r\n\r\n", b"\0\0"])
def test_what_speaks_something_else_is_disconnected(socks, first):
    with connected(socks) as client:
        client.sendall(first)
        with contextlib.suppress(ConnectionError):
            assert client.recv(10) == b""


def test_who_takes_too_long_is_disconnected():
    with Server("socks", "--handshake", "0.5", "--verbose") as server:
        with connected(server) as silent, connected(server) as slow:
            slow.sendall(GREETING)
            assert exactly(slow, 2) == b"\5\0"
            began = time.monotonic()
            slow.sendall(b"\5\1\0\3\x09local")
            assert (slow.recv(1), silent.recv(1)) == (b"", b"")
            assert time.monotonic() - began < LONG / 2
        assert "took more than 0.5 s" in server.stderr()


def test_who_leaves_in_the_middle_is_nothing_to_report(socks):
    whole = GREETING + request("localhost", 80)
    for length in range(len(whole)):
        with connected(socks) as client:
            client.sendall(whole[:length])
            if length % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_noise_harms_nobody(socks, echo):
    noise = random.Random(5)
    for _ in range(60):
        with connected(socks) as client:
            begin = noise.choice([b"", GREETING, GREETING + b"\5\1\0\3", GREETING + b"\5\1\0\4"])
            client.sendall(begin + noise.randbytes(noise.randrange(20)))
    with through(socks, "127.0.0.1", echo.port) as client:
        client.sendall(b"unharmed")
        assert client.recv(100) == b"unharmed"


# ---- the pipes


def test_a_reset_is_passed_on_and_bytes_are_counted():
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(LONG)
        with Server("socks", "--verbose") as server:
            with through(server, *upstream.getsockname()) as client:
                far, _ = upstream.accept()
                far.sendall(b"half")
                assert client.recv(100) == b"half"
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                far.close()
                with pytest.raises(ConnectionError):
                    client.recv(1)
            server.signal(signal.SIGTERM)
            assert server.process.wait(LONG) == 0
            assert server.process.stdout.read() == "1 connections, 0 bytes up, 4 bytes down\n"
            assert re.search(r"to 127.0.0.1:\d+: 0 bytes up, 4 down, .* cut: ", server.stderr())


def test_sigterm_lets_a_conversation_finish(echo):
    with Server("socks", "--workers", "2") as server:
        with through(server, "127.0.0.1", echo.port) as client:
            server.signal(signal.SIGTERM)
            time.sleep(0.2)
            client.sendall(b"still here")
            assert client.recv(100) == b"still here"
        assert server.process.wait(LONG) == 0
        assert server.stderr() == ""


# ---- curl


def curl(*arguments):
    done = tool(
        "curl", "-sS", "--max-time", str(LONG), *arguments, env={"PATH": os.environ["PATH"]}
    )
    return done.returncode, done.stdout, done.stderr


@needs("curl")
@pytest.mark.parametrize("how", ["--socks5", "--socks5-hostname"])
def test_curl(socks, website, how):
    proxy = [how, socks.addresses[0]]
    assert curl(*proxy, website.url) == (0, "hello, 127.0.0.1\n", "")
    named = f"http://localhost:{website.port}/"
    assert curl(*proxy, named) == (0, "hello, 127.0.0.1\n", "")
    assert curl(*proxy, f"http://127.0.0.1:{unused_port()}/")[0] == 97


@needs("curl")
def test_curl_uploads_megabytes(socks, website, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(6 * MIB))
    upload = ["--data-binary", f"@{tmp_path}/large", f"{website.url}/upload"]
    assert curl("--socks5", socks.addresses[0], *upload) == (0, f"{6 * MIB} bytes\n", "")


@needs("curl")
def test_curl_logs_in(private, website):
    proxy = ["--socks5-hostname", private.addresses[0]]
    assert curl(*proxy, "--proxy-user", "ada:sec:ret", website.url)[:2] == (0, "hello, 127.0.0.1\n")
    assert curl(*proxy, "--proxy-user", "ada:wrong", website.url)[0] == 97
    assert curl(*proxy, website.url)[0] == 97


# ---- the command line


@pytest.mark.parametrize("user", ["", "ada", ":secret", "ada:", "a" * 256 + ":b"])
def test_a_user_that_is_none_is_told(user, capsys):
    with pytest.raises(SystemExit, match="2"):
        socks_server.main(["--user", user])
    assert "NAME:PASSWORD is needed" in capsys.readouterr().err


@pytest.mark.parametrize("allow", ["", ":80", "host:0", "host:http", "host:99999", "10.0.0.0/33"])
def test_a_rule_that_is_none_is_told(allow, capsys):
    with pytest.raises(SystemExit, match="2"):
        socks_server.main(["--allow", allow])
    assert "argument --allow: " in capsys.readouterr().err


def test_help_has_examples():
    done = tool(sys.executable, "-m", "examples.servers.socks", "--help", cwd=ROOT)
    assert done.returncode == 0
    assert "--user ada:secret" in done.stdout
