"""The benchmarks of the network: every server does what is measured, and figures come out."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.network import WORKLOADS, web
from benchmarks.network.compiled import CannotBuildError, built
from benchmarks.network.contenders import NOTES, WHERE
from benchmarks.network.measure import KINDS
from benchmarks.network.processes import Child, SkipError, server
from benchmarks.network.wire import END, RESPONSE, Requests

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they use epoll and /proc")
ROOT = Path(__file__).parents[1]


@pytest.fixture(params=WHERE)
def connect(request):
    """Connects to a server of the contender in a role; skips what is not installed."""
    running = []

    def connect_to(role):
        child = server(request.param, role)
        try:
            _, port = child.__enter__()
        except SkipError as reason:
            pytest.skip(str(reason))
        running.append(child)
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        running.append(sock)
        return sock

    yield connect_to
    for each in reversed(running):
        each.__exit__(None, None, None)


def received(sock, size):
    data = bytearray()
    while len(data) < size and (piece := sock.recv(65536)):
        data += piece
    return bytes(data)


def test_a_server_echoes_what_comes_whatever_its_size(connect):
    sock = connect("echo")
    for size in (1, 1024, 65536, 5_000_000):  # the last one is more than buffers take
        message = os.urandom(size)
        sender = threading.Thread(target=sock.sendall, args=(message,))
        sender.start()
        try:
            assert received(sock, size) == message
        finally:
            sender.join()


def test_a_server_answers_every_request_once_however_they_are_cut(connect):
    sock = connect("http")
    request = b"GET / HTTP/1.1\r\nHost: here" + END
    for cut in (1, len(request) - 3, len(request)):
        sock.sendall(request[:cut])
        sock.sendall(request[cut:] + request * 2)
        assert received(sock, 3 * len(RESPONSE)) == 3 * RESPONSE
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""


def test_a_sink_says_how_much_it_has_taken(connect):
    sock = connect("sink")
    sock.sendall(bytes(3_000_001))
    sock.shutdown(socket.SHUT_WR)
    assert received(sock, 100) == b"3000001"


def test_a_source_sends_as_much_as_it_is_asked_for(connect):
    sock = connect("source")
    sock.sendall((3_000_001).to_bytes(8, "little"))
    assert len(received(sock, 3_000_001)) == 3_000_001


@pytest.mark.parametrize("cut", range(1, len(END) + 1))
def test_requests_are_counted_where_they_end(cut):
    requests = Requests()
    data = b"a" + END + b"b" + END[:cut]
    assert [requests.feed(data), requests.feed(END[cut:])] == [1 + (cut == 4), int(cut < 4)]


@pytest.mark.parametrize("name", ["floor", "client"])
def test_the_c_programs_build_without_a_warning(name, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        with pytest.raises(CannotBuildError):
            built(name, tmp_path)
        pytest.skip("no C compiler")
    assert os.access(built(name, tmp_path), os.X_OK)
    source = ROOT / f"benchmarks/network/{name}.c"
    words = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([compiler, *words, source], check=True)


def clients():
    yield [sys.executable, "-m", "benchmarks.network.client"]
    if shutil.which("cc"):
        yield [str(built("client"))]


@pytest.mark.parametrize("size", [1, 1024, 200_000])
def test_both_clients_count_the_same_echoes(size):
    with server("microthreads", "echo") as (served, port):
        for command in clients():
            child = Child([*command, str(port), str(size)])
            try:
                assert child.ask("connect 3") == ["3"]
                echoes, seconds, p50, p99 = map(float, child.ask("run 5"))
            finally:
                child.stop()
            assert echoes == 15
            assert 0 < p50 <= p99 <= seconds * 1e6 < 5e6
        assert served.cpu_seconds() > 0


TINY = {
    "echo": ("64", "2"),
    "growth": ("2", "4"),
    "memory": ("20",),
    "bulk": ("sink",),
    "http": ("2",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_measurement_gives_the_figures_of_its_workloads(kind, monkeypatch):
    monkeypatch.setenv("MICROTHREADS_BENCHMARK_QUICK", "1")
    workload = next(each for each in WORKLOADS if kind in each.contenders["floor"].command)
    *command, was_kind, name = workload.contenders["floor"].command[:5]
    assert (was_kind, name) == (kind, "floor")
    done = subprocess.run(
        [*command, kind, "floor", *TINY[kind]], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    figures = json.loads(done.stdout)
    if "skip" in figures:
        pytest.skip(figures["skip"])
    assert all(figures[key] >= 0 for key in workload.keys)
    assert figures[workload.keys[0]] > 0 or kind == "memory"


def test_every_contender_is_measured_or_missing_for_a_reason():
    assert set(NOTES) == set(WHERE)
    for workload in WORKLOADS:
        assert set(WHERE) == set(workload.contenders) | set(workload.missing)


def test_what_cannot_be_measured_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SkipError, match="wrk is not installed"):
        web.http("floor", "1")


def test_the_figures_of_wrk_are_read_in_microseconds():
    output = "50%  1.50ms\n99%  2.00s\n 2000 requests in 1.00s, 1MB read\nRequests/sec:  2000.0\n"
    assert web.parsed(output) == {"requests": 2000, "elapsed": 500, "p50": 1500, "p99": 2e6}
    with pytest.raises(RuntimeError, match="met errors"):
        web.parsed("  Socket errors: connect 0, read 1, write 0, timeout 0\n" + output)
