"""What an idle connection costs a server: resident memory, of a process of its own.

As `the benchmarks` measures it, with 15,000 connections at once: some that came
before pay for what all share, and each has echoed a byte, so that its task waits in
its read. The clients are this process, so that each has descriptors for its own end only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from helpers import ROOT

CONNECTIONS = 15_000
KIB = 1024
FIRST = 200  # connections that are there before it is measured
NO_LINGER = (1).to_bytes(4, sys.byteorder) + bytes(4)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as may be, for this test only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < CONNECTIONS + FIRST + 300:
        pytest.skip(f"a process may have {hard} descriptors here (see ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(stack: contextlib.ExitStack, address: tuple[str, int], count: int) -> None:
    """So many connections that have echoed a byte, and are closed by a reset at the end."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.create_connection(address, timeout=60))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        client.sendall(b"x")
        clients.append(client)
    for client in clients:
        assert client.recv(10) == b"x"


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def cost(pid: int, address: tuple[str, int]) -> float:
    """KiB of a server's memory for each of the connections."""
    with contextlib.ExitStack() as stack:
        connect(stack, address, FIRST)
        before = resident(pid)
        connect(stack, address, CONNECTIONS)
        time.sleep(0.1)
        found = (resident(pid) - before) / CONNECTIONS / KIB
    print(f"\n{found:.2f} KiB for each of {CONNECTIONS:,} idle connections")
    return found


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[int, tuple[str, int]]]:
    """A program that serves: its process id, and its address."""
    command = [sys.executable, "-W", "default", *arguments]
    pipe = subprocess.PIPE
    # What is measured is not to be measured by coverage at the same time.
    alone = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=alone
    ) as process:
        assert process.stdout is not None
        try:
            host, _, port = process.stdout.readline().split()[-1].rpartition(":")
            yield process.pid, (host, int(port))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
            assert errors == ""
        finally:
            process.kill()


def test_an_idle_connection_costs_at_most_1_2_kib_on_a_plain_socket(descriptors):
    with started("-m", "examples.echo_server", "--port", "0") as (pid, address):
        assert cost(pid, address) <= 1.2


def test_an_idle_connection_costs_at_most_2_5_kib_on_a_stream(descriptors):
    with started("-m", "examples.servers.echo", "--port", "0") as (pid, address):
        assert cost(pid, address) <= 2.5
