"""systemd: what it is told, and the sockets that it hands over.

The tests are systemd: they bind the socket that is told, and a Python that hands over
listeners becomes, by exec, the program that takes them.
"""

from __future__ import annotations

import os
import signal
import socket
import textwrap
import time

import pytest
from helpers import program, started_python

from microthreads import sd_notify

LONG = 20  # seconds that nothing here takes


@pytest.fixture(params=["path", "abstract"])
def told(request, tmp_path, monkeypatch):
    """The socket that systemd listens at."""
    if request.param == "path":
        name, address = str(tmp_path / "notify"), str(tmp_path / "notify")
    else:
        name = f"@microthreads-systemd-{os.getpid()}"
        address = "\0" + name[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LONG)
        sock.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def nothing_more(sock):
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1000)
    return True


# ---- telling


@pytest.mark.parametrize(
    "state", ["READY=1", "STATUS=grüßt\nMAINPID=7\nREADY=1", "X=" + "y" * 2000]
)
def test_what_is_told_arrives_as_it_is(told, state, caplog):
    assert sd_notify(state) is True
    assert told.recv(65536).decode() == state
    assert nothing_more(told)
    assert caplog.records == []


def test_each_call_is_a_message_of_its_own(told):
    before = len(os.listdir("/proc/self/fd"))
    for state in ("READY=1", "RELOADING=1", "STOPPING=1"):
        assert sd_notify(state)
    assert len(os.listdir("/proc/self/fd")) == before
    assert [told.recv(1000) for _ in range(3)] == [b"READY=1", b"RELOADING=1", b"STOPPING=1"]


@pytest.mark.parametrize("name", [None, ""])
def test_nobody_is_told_if_nobody_asked(name, monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert sd_notify("READY=1") is False
    assert caplog.records == []


@pytest.mark.parametrize("place", ["missing", "nobody", "file", "stream", "abstract", "too long"])
def test_who_cannot_be_told_is_a_warning_in_the_log(place, tmp_path, monkeypatch, caplog):
    path = tmp_path / "notify"
    name = str(path)
    kind = socket.SOCK_STREAM if place == "stream" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_UNIX, kind) as sock:
        if place in ("nobody", "stream"):
            sock.bind(name)
    if place == "file":
        path.write_text("")
    elif place == "abstract":
        name = f"@microthreads-nobody-{os.getpid()}"
    elif place == "too long":
        name += "x" * 200
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    before = len(os.listdir("/proc/self/fd"))
    assert sd_notify("READY=1") is False
    assert len(os.listdir("/proc/self/fd")) == before
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name.startswith("microthreads")


@pytest.mark.timeout(LONG)
def test_who_does_not_listen_keeps_nobody_waiting(told, caplog):
    """The socket's buffer is full in the end, and its owner reads nothing."""
    told_at_all = 0
    while sd_notify("WATCHDOG=1"):
        told_at_all += 1
        assert told_at_all < 100_000
    assert told_at_all > 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# ---- taking sockets

# Opens the descriptors, and becomes the program that takes them, with the same process id.
HANDED_OVER = """
import os, socket, sys

def listener(family=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen()
    return sock

given = [{given}]
high = [os.dup(one.fileno()) for one in given]
high = [os.dup2(fd, 100 + place) for place, fd in enumerate(high)]
os.closerange(3, 100)
for place, fd in enumerate(high):
    os.dup2(fd, 3 + place, inheritable=True)
os.closerange(100, 200)
environment = dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
environment.update({environment})
environment = {{name: value for name, value in environment.items() if value is not None}}
os.environ.update(environment)
os.execv(sys.executable, [sys.executable, "-W", "error", "-c", {text!r}])
"""

PRELUDE = """
import os, socket, subprocess, sys
from microthreads import *

"""


def handed_over(given, text, environment="{}"):
    """The text of a program that runs `text` with sockets handed over to it."""
    text = PRELUDE + textwrap.dedent(text)
    return HANDED_OVER.format(given=given, text=text, environment=environment)


def taking(given, text, environment="{}"):
    """What that program prints, all of it."""
    out = program(handed_over(given, text, environment))
    assert out.stderr == ""
    return out.stdout


SAY = """
found = activated_sockets()
for one in found:
    assert isinstance(one, Socket)
    print(one.fileno(), one.sock.family.name, one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    one.close()
print(len(activated_sockets()))
"""


def test_sockets_are_taken_in_their_order_and_once(tmp_path):
    unix = f"listener(socket.AF_UNIX, {str(tmp_path / 'socket')!r})"
    said = taking(f"listener(), {unix}, listener()", SAY)
    assert said == "3 AF_INET 1\n4 AF_UNIX 1\n5 AF_INET 1\n0\n"


@pytest.mark.parametrize(
    "environment",
    [
        "LISTEN_PID='1'",
        "LISTEN_PID=str(os.getppid())",
        "LISTEN_FDS='0'",
        "LISTEN_PID=None, LISTEN_FDS=None",
        "LISTEN_FDS=None",
    ],
)
def test_what_is_for_nobody_or_for_another_process_is_not_taken(environment):
    text = """
    print(activated_sockets())
    with socket.socket(fileno=3) as left:
        print(left.getsockname()[0])
    """
    assert taking("listener()", text, f"dict({environment})") == "[]\n127.0.0.1\n"


@pytest.mark.parametrize("environment", ["LISTEN_PID='me'", "LISTEN_FDS='all'"])
def test_what_is_no_number_is_a_value_error(environment):
    text = """
    try:
        activated_sockets()
    except ValueError:
        print("ValueError")
    """
    assert taking("listener()", text, f"dict({environment})") == "ValueError\n"


@pytest.mark.parametrize(
    ("given", "count"), [("open('/dev/null')", 1), ("listener(), open('/dev/null')", 2), ("", 1)]
)
def test_what_is_no_socket_is_an_os_error(given, count):
    text = """
    try:
        activated_sockets()
    except OSError:
        print("OSError")
    """
    assert taking(given, text, f"dict(LISTEN_FDS='{count}')") == "OSError\n"


def test_child_processes_get_neither_sockets_nor_variables():
    text = """
    (one,) = activated_sockets()
    sys.stdout.flush()
    child = "import os, microthreads; print(microthreads.activated_sockets(), os.path.exists('/proc/self/fd/3'))"
    subprocess.run([sys.executable, "-c", child], close_fds=False)
    if (child := os.fork()) == 0:
        print(activated_sockets(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    one.close()
    """
    assert taking("listener()", text) == "[] False\n[]\n"


SERVED = """
def shout(stream):
    while line := (yield stream.readline()):
        yield stream.write(line.upper())

def ready(addresses):
    print(*[address[1] for address in addresses], flush=True)

try:
    run(serve_on(shout, activated_sockets(), {options}ready=ready))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("options", ["", "workers=2, "])
def test_clients_are_served_on_sockets_that_were_handed_over(options):
    text = handed_over("listener(), listener()", SERVED.format(options=options))
    with started_python("-c", text) as process:
        for port in process.stdout.readline().split():
            with socket.create_connection(("127.0.0.1", int(port)), timeout=LONG) as client:
                client.sendall(b"hello\n")
                assert client.recv(100) == b"HELLO\n"
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=LONG)
    assert out == ("interrupted\n", "")


def test_a_client_that_came_before_the_program_began_is_served():
    """That is what the sockets are handed over for."""
    given = "listener()"
    text = handed_over(given, SERVED.format(options=""))
    said = "print(given[0].getsockname()[1], flush=True)\nsys.stdin.readline()\nhigh ="
    with started_python("-c", text.replace("high =", said, 1)) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
            client.sendall(b"early\n")
            began = time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            assert client.recv(100) == b"EARLY\n"
            assert time.monotonic() - began < LONG
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONG)
    assert errors == ""
