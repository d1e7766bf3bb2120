"""The echo server and client of the examples, as their users run them: as programs.

Server and client are processes of their own, on 127.0.0.1. The client opens all
its connections before it sends the first byte and closes none before the last
echo is checked, so N connections are N at the same time; and it fails unless
every byte was right. A server must end by SIGTERM with exit code 0 and nothing
on stderr, where warnings (`-W default`) would show as well: a socket that is
not closed is one. Few connections run with the kernel's invariants checked.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import until_asleep

ROOT = Path(__file__).resolve().parent.parent
POLLERS = ("epoll", "poll", "select")
MANY = ("epoll", "poll")  # those that can watch more than 1024 descriptors
KIB, MIB = 1 << 10, 1 << 20
STRUCT_LINGER = (1).to_bytes(4, sys.byteorder) + bytes(4)
SUMMARY = re.compile(
    r"(\d+) connections, (\d+) echoes, (\d+) bytes, (\d+) errors, \d+\.\d\d seconds\n"
)
PAST_SELECT = re.compile(
    r"echo_server: closing a connection: select\(\) cannot watch descriptor \d{4,}: "
    r"it is built for numbers below 1024; use the epoll or the poll poller"
)

Server = Any  # of what the fixture makes
Starter = Callable[..., Any]


def python(*args: Any, check: bool = False) -> tuple[list[str], dict[str, Any]]:
    """A command line of Python, and how to run it: warnings shown, invariants checked or not."""
    environment = {**os.environ, "MICROTHREADS_DEBUG": "1" if check else "0"}
    command = [sys.executable, "-W", "default", *map(str, args)]
    return command, {"cwd": ROOT, "env": environment}


class EchoServer:
    """A server in a process of its own."""

    def __init__(self, *args: Any, check: bool) -> None:
        command, options = python(*args, check=check)
        self.errors = tempfile.TemporaryFile("w+")  # a pipe that nobody reads could fill up
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, **options
        )
        self.pid = self.process.pid
        self.host, self.port = self._address()
        until_asleep(self.pid)

    def _address(self) -> tuple[str, int]:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 20)
        line = self.process.stdout.readline() if readable else "nothing in 20 s"
        found = re.fullmatch(r"listening on (.+):(\d+)\n", line)
        assert found, f"the server said {line!r}; {self.stderr()}"
        return found[1], int(found[2])

    def stderr(self) -> str:
        self.errors.seek(0)
        return self.errors.read()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=20)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def descriptors(self) -> list[int]:
        return [int(name) for name in os.listdir(f"/proc/{self.pid}/fd")]

    def rss(self) -> int:
        """How many bytes of memory it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    def dispose(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start a server by its arguments for Python; it is gone after the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: Any, check: bool = False) -> EchoServer:
            server = EchoServer(*args, check=check)
            stack.callback(server.dispose)
            return server

        yield start


@pytest.fixture
def serve(start: Starter) -> Iterator[Starter]:
    """Start the example on a free port; after the test it must end without a word."""
    servers = []

    def serve(poller: str = "epoll", check: bool = False) -> EchoServer:
        command = ("-m", "examples.echo_server", "--port", 0, "--poller", poller)
        servers.append(start(*command, check=check))
        return servers[-1]

    yield serve
    for server in servers:
        assert (server.end(), server.stderr()) == (0, "")


def run_client(server: Server, *args: Any, check: bool = False) -> Any:
    command = ("-m", "examples.echo_client", "--port", server.port, *args)
    line, options = python(*command, check=check)
    return subprocess.run(line, capture_output=True, text=True, timeout=600, **options)


def summary(client: Any) -> tuple[int, ...]:
    """Connections, echoes, bytes and errors, as the client's last line has them."""
    found = SUMMARY.fullmatch(client.stdout)
    assert found, client
    return tuple(map(int, found.groups()))


def drive(server: Server, poller: str, connections: int, size: int, *args: Any) -> None:
    """Run the client, and expect every byte of every connection to be right."""
    check = connections <= 100
    plan = ("--poller", poller, "--connections", connections, "--size", size, *args)
    client = run_client(server, *plan, check=check)
    assert (client.returncode, client.stderr) == (0, "")
    connected, echoes, count, errors = summary(client)
    assert (connected, count, errors) == (connections, echoes * size, 0)
    assert echoes >= connections


def until(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.01)


# every byte is right


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    ("connections", "size"), [(1, 1), (1, KIB), (1, MIB), (20, MIB), (100, 1), (100, KIB)]
)
def test_every_byte_comes_back(serve, poller, connections, size):
    drive(serve(poller, check=True), poller, connections, size)


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(("connections", "size"), [(100, KIB), (20, MIB)])
def test_resets_and_half_closes_are_one_connections_affair(serve, poller, connections, size):
    server = serve(poller, check=True)
    third = connections // 3
    endings = ("--messages", 3, "--reset", third, "--half-close", third)
    for _ in range(3):
        drive(server, poller, connections, size, *endings)


@pytest.mark.parametrize("poller", MANY)
@pytest.mark.parametrize(
    ("connections", "size"),
    [(5_000, 1), (5_000, KIB), pytest.param(15_000, 1, marks=pytest.mark.soak), (15_000, KIB)],
)
def test_thousands_are_connected_at_the_same_time(serve, poller, connections, size):
    drive(serve(poller), poller, connections, size)


@pytest.mark.parametrize("poller", MANY)
def test_thousands_of_connections_end_in_every_way(serve, poller):
    endings = ("--messages", 2, "--reset", 1_500, "--half-close", 1_500)
    drive(serve(poller), poller, 5_000, KIB, *endings)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("poller", MANY)
@pytest.mark.parametrize("connections", [5_000, 15_000])
def test_thousands_are_connected_and_echo_a_mebibyte_each(serve, poller, connections):
    """All are connected at the same time; 64 of the mebibytes are under way at once."""
    drive(serve(poller), poller, connections, MIB)


@pytest.mark.parametrize("poller", POLLERS)
def test_900_connections_are_fine_with_every_poller(serve, poller):
    drive(serve(poller), poller, 900, KIB, "--messages", 3)


def test_connections_are_all_open_while_the_client_holds_them(serve):
    server = serve()
    before = len(server.descriptors())
    line, options = python("-m", "examples.echo_client", "--port", server.port, "--hold", 2)
    line += ["--connections", "3000"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, **options) as client:
        until(lambda: len(server.descriptors()) == before + 3000)
        time.sleep(0.5)
        assert len(server.descriptors()) == before + 3000
        assert client.communicate(timeout=20)[0].startswith("3000 connections, 3000 echoes")
    until(lambda: len(server.descriptors()) == before)


def test_bytes_that_come_one_by_one_and_across_reads_come_back_in_order(serve):
    data = bytes(range(256)) * 2
    with serve(check=True).connect() as client:
        for index in range(len(data)):
            client.sendall(data[index : index + 1])
        received = b""
        while len(received) < len(data):
            received += client.recv(7)
        assert received == data


# past what select() can watch


def test_select_names_its_limit_and_goes_on_serving_those_below_it(start):
    server = start("-m", "examples.echo_server", "--port", 0, "--poller", "select")
    room = 1024 - (max(server.descriptors()) + 1)
    client = run_client(server, "--connections", 1_100, "--messages", 3)
    connected, echoes, _, errors = summary(client)
    assert (connected, client.returncode) == (1_100, 1)
    assert echoes >= 3 * room, "those below the limit are served meanwhile"
    assert 1 <= errors <= 1_100 - room
    lines = server.stderr().splitlines()
    assert all(PAST_SELECT.fullmatch(line) for line in lines), lines
    assert len(lines) == 1_100 - room, "one line for each connection past the limit"
    drive(server, "epoll", 900, KIB)
    assert server.end() == 0
    assert server.stderr().splitlines() == lines


def test_select_ends_a_newcomer_past_the_limit_and_no_one_else(start):
    server = start("-m", "examples.echo_server", "--port", 0, "--poller", "select")
    room = 1024 - (max(server.descriptors()) + 1)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(room)]
        until(lambda: len(server.descriptors()) == 1024)
        for _ in range(2):
            with server.connect() as newcomer:
                assert newcomer.recv(1) == b""
        for client in (clients[0], clients[-1]):
            client.sendall(b"still here")
            assert client.recv(100) == b"still here"
        clients.pop().close()
        until(lambda: len(server.descriptors()) == 1023)
        with server.connect() as newcomer:
            newcomer.sendall(b"there is room again")
            assert newcomer.recv(100) == b"there is room again"
    assert server.end() == 0
    assert len(server.stderr().splitlines()) == 2


# what becomes of one connection is no other's affair


@pytest.mark.parametrize("poller", POLLERS)
def test_a_client_that_does_not_read_or_resets_midway_holds_up_nobody(serve, poller):
    server = serve(poller, check=True)
    with server.connect() as greedy, server.connect() as polite:
        greedy.settimeout(0.3)
        with pytest.raises(TimeoutError):
            greedy.sendall(bytes(64 * MIB))  # never read: the server waits to send
        polite.sendall(b"hello")
        assert polite.recv(100) == b"hello"
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, STRUCT_LINGER)
        greedy.close()
        polite.sendall(b"again")
        assert polite.recv(100) == b"again"


def test_an_idle_connection_costs_less_than_4_kib_whatever_it_sent_before(serve):
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = []
        for count in (500, 3_000):  # the first ones pay for what all share
            before = server.rss()
            for _ in range(count):
                clients.append(stack.enter_context(server.connect()))
                clients[-1].sendall(bytes(16 * KIB))
                assert len(clients[-1].recv(16 * KIB, socket.MSG_WAITALL)) == 16 * KIB
        assert (server.rss() - before) / 3_000 < 4 * KIB


def test_running_out_of_descriptors_is_one_line_and_goes_by(start):
    server = start("-m", "examples.echo_server", "--port", 0)
    room = 5
    limit = max(server.descriptors()) + 1 + room
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(room + 3)]
        for client in clients:
            client.sendall(b"hello")
        for client in clients[:room]:
            assert client.recv(100) == b"hello"
        until(lambda: "accepting pauses" in server.stderr())
        for client in clients[:room]:
            client.close()
        for client in clients[room:]:
            assert client.recv(100) == b"hello"
    assert server.end() == 0
    assert len(server.stderr().splitlines()) == 1


# the end


@contextlib.contextmanager
def busy_clients(server: Server) -> Iterator[list[socket.socket]]:
    """Clients whose tasks wait to receive, and one whose task waits to send."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(50)]
        for client in clients[:-1]:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        clients[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            clients[-1].sendall(bytes(64 * MIB))
        yield clients


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_cleanly_while_clients_are_connected(start, poller, number, code):
    server = start("-m", "examples.echo_server", "--port", 0, "--poller", poller, check=True)
    with busy_clients(server) as clients:
        assert (server.end(number), server.stderr()) == (code, "")
        assert all(client.recv(1) == b"" for client in clients[:-1])
        with pytest.raises(ConnectionRefusedError):
            server.connect()


COUNTED = """
import sys
from examples import echo_server

echo = echo_server.echo

def counted(client):
    try:
        yield from echo(client)
    finally:
        print("a handler's finally block has run", flush=True)

echo_server.echo = counted
sys.exit(echo_server.main(["--port", "0"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_runs_every_handlers_finally_block(start, number, code):
    server = start("-c", COUNTED)
    with busy_clients(server) as clients:
        assert (server.end(number), server.stderr()) == (code, "")
        assert len(server.process.stdout.read().splitlines()) == len(clients)


def test_it_ends_while_nobody_is_connected_and_though_told_twice(start):
    server = start("-m", "examples.echo_server", "--port", 0)
    server.process.send_signal(signal.SIGTERM)
    assert (server.end(), server.stderr()) == (0, "")


@pytest.mark.parametrize("poller", MANY)
def test_it_ends_while_thousands_are_connected(start, poller):
    server = start("-m", "examples.echo_server", "--port", 0, "--poller", poller)
    with contextlib.ExitStack() as stack:
        for _ in range(5_000):
            client = stack.enter_context(server.connect())
        client.sendall(b"hello")  # the last one: once it is served, all are
        assert client.recv(100) == b"hello"
        assert (server.end(), server.stderr()) == (0, "")


def test_its_port_is_free_at_once_when_it_has_ended(start):
    server = start("-m", "examples.echo_server", "--port", 0)
    with server.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        assert server.end() == 0
        again = start("-m", "examples.echo_server", "--port", server.port)
    assert (again.port, again.end()) == (server.port, 0)


# the command line


def run_python(*args: Any, cwd: Path = ROOT) -> Any:
    line, options = python(*args)
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, **{**options, "cwd": cwd}
    )


@pytest.mark.parametrize("name", ["echo_server", "echo_client", "threads.echo_server"])
def test_help_says_what_there_is(name):
    told = run_python("-m", f"examples.{name}", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "--host" in told.stdout
    if name != "threads.echo_server":
        assert f"python3 -m examples.{name}" in told.stdout


@pytest.mark.parametrize("name", ["echo_server", "echo_client"])
def test_it_runs_as_a_file_from_anywhere(name, tmp_path):
    told = run_python(ROOT / "examples" / f"{name}.py", "--help", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")


def test_a_port_in_use_is_one_line_and_exit_code_1(serve):
    port = serve().port
    told = run_python("-m", "examples.echo_server", "--port", port)
    line = f"echo_server: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert (told.returncode, told.stdout, told.stderr) == (1, "", line)


WITHOUT_EPOLL = """
import select, sys
del select.epoll
from examples import echo_server
sys.exit(echo_server.main(["--port", "0", "--poller", "epoll"]))
"""


def test_a_poller_that_the_platform_lacks_is_one_line_and_exit_code_2():
    told = run_python("-c", WITHOUT_EPOLL)
    line = "this platform has no epoll: choose another poller"
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == f"echo_server: error: argument --poller: {line}"


@pytest.mark.parametrize("args", [("--port", 65536), ("--port", "x"), ("--poller", "kqueue")])
def test_a_bad_argument_is_exit_code_2(args):
    told = run_python("-m", "examples.echo_server", *args)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Traceback" not in told.stderr


# the client


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_client_says_that_no_server_is_there():
    port = free_port()
    told = run_python("-m", "examples.echo_client", "--port", port)
    line = f"echo_client: cannot connect to 127.0.0.1:{port}: Connection refused\n"
    assert (told.returncode, told.stdout, told.stderr) == (1, "", line)


def test_the_client_says_that_descriptors_will_not_do():
    told = run_python("-m", "examples.echo_client", "--connections", 100_000_000)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("echo_client: 100000000 connections need 100000020 descriptors")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("--connections", 0), ("--reset", 101), ("--hold", -1)])
def test_the_client_refuses_what_makes_no_sense(args):
    told = run_python("-m", "examples.echo_client", *args)
    assert (told.returncode, told.stdout) == (2, "")
    assert "Traceback" not in told.stderr


LIAR = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            data = bytearray(client.recv(1000, socket.MSG_WAITALL))
            exec(sys.argv[1])
            client.sendall(data)
"""


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        ("data[-1] ^= 1", "a wrong byte among those after the first 0"),
        ("data.append(0)", "a wrong byte among those after the first 0"),
        ("data.pop()", "closed by the server after 999 of 1000 bytes"),
    ],
)
def test_the_client_notices_a_single_byte(start, lie, complaint):
    server = start("-c", LIAR, lie)
    client = run_client(server, "--connections", 1, "--size", 1000)
    assert (client.returncode, client.stderr) == (1, f"echo_client: {complaint}\n")
    assert summary(client) == (1, 0, 0, 1)


def test_the_client_notices_a_byte_too_many_after_a_half_close(start):
    server = start("-c", LIAR, "client.sendall(data); client.recv(1); data = b'!'")
    client = run_client(server, "--connections", 1, "--size", 1000, "--half-close", 1)
    assert (client.returncode, summary(client)) == (1, (1, 0, 0, 1))


def test_the_client_gives_up_on_a_server_that_stays_silent(start):
    server = start("-c", LIAR, "__import__('time').sleep(60)")
    client = run_client(server, "--connections", 3, "--size", 1000, "--timeout", 0.5)
    assert (client.returncode, summary(client)) == (1, (3, 0, 0, 3))
    assert client.stderr == 3 * "echo_client: timed out after 0.5 s\n"


def test_the_client_shows_progress_on_a_terminal(serve):
    server = serve()
    ours, theirs = pty.openpty()
    try:
        command = ("-m", "examples.echo_client", "--port", server.port, "--hold", 0.8)
        line, options = python(*command)
        subprocess.run(line, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, **options)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown.count("\r100 connections, 100 echoes, 102400 bytes, 0 errors") >= 1
    assert shown.endswith("\n")


def test_ctrl_c_ends_the_client_without_a_traceback(serve):
    server = serve()
    before = len(server.descriptors())
    line, options = python("-m", "examples.echo_client", "--port", server.port, "--hold", 60)
    with subprocess.Popen(line, stdout=-1, stderr=-1, text=True, **options) as client:
        until(lambda: len(server.descriptors()) == before + 100)
        time.sleep(0.2)
        client.send_signal(signal.SIGINT)
        assert client.communicate(timeout=20) == ("", "")
        assert client.returncode == 130


# the original


@pytest.mark.parametrize(("connections", "size"), [(1, 1), (100, KIB), (20, MIB)])
def test_the_server_with_threads_gives_the_same_bytes(start, connections, size):
    server = start("-m", "examples.threads.echo_server", "--port", 0)
    third = connections // 3
    drive(server, "epoll", connections, size)
    drive(server, "epoll", connections, size, "--reset", third, "--half-close", third)
    assert server.stderr() == ""
