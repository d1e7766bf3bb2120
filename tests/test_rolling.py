"""Rolling: workers are replaced under load, and no client notices.

The clients are in a process of their own, and written with asyncio: another kernel, so
that no fault of this one is on both sides. Each connects, talks, sees the end of the
stream, and begins again; everything that is not as it should be is counted by its name.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import pytest
from helpers import started_python
from servers import LONG, alive, asked, replaced, say, until

CLIENTS = 200

LOAD = """
import asyncio, collections, json, sys

address, count = json.loads(sys.argv[1]), int(sys.argv[2])
faults, pids, turns = collections.Counter(), collections.Counter(), [0] * count
over = asyncio.Event()
LONG = b"x" * 20_000 + b"\\n"


async def connected():
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


async def talk(number):
    reader, writer = await connected()
    try:
        writer.write(b"pid\\n")
        pid = await reader.readline()
        for line in (b"hello\\n", LONG, b"bye\\n"):
            writer.write(line)
            if (answer := await reader.readline()) != line:
                faults[f"{len(answer)} bytes of {len(line)}"] += 1
                return
            await asyncio.sleep(0.001)
        if turns[number] % 2:  # every other client hangs up with no more ado
            writer.write_eof()
            if await reader.read() != b"":
                faults["more than was asked for"] += 1
        pids[int(pid)] += 1
        turns[number] += 1
    finally:
        writer.close()


async def client(number):
    while not over.is_set():
        try:
            async with asyncio.timeout(20):
                await talk(number)
        except Exception as error:
            faults[f"{type(error).__name__}: {error}"] += 1


async def main():
    clients = [asyncio.create_task(client(number)) for number in range(count)]
    while not min(turns):
        await asyncio.sleep(0.01)
    print("running", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    over.set()
    await asyncio.gather(*clients)
    print(json.dumps([dict(faults), dict(pids), min(turns), sum(turns)]))


asyncio.run(main())
"""


class Load:
    """The clients of a server, as long as the block lasts; then what they have seen."""

    def __init__(self, server, count=CLIENTS):
        address = json.dumps(server.addresses[0])
        self.started = started_python("-c", LOAD, address, str(count))

    def __enter__(self):
        self.process = self.started.__enter__()
        assert self.process.stdout.readline() == "running\n"
        return self

    def __exit__(self, *error):
        if error[0] is None:
            out, errors = self.process.communicate("over\n", timeout=2 * LONG)
            assert errors == ""
            self.faults, pids, self.least, self.most = json.loads(out)
            self.pids = set(map(int, pids))
        self.started.__exit__(*error)


@pytest.mark.parametrize("kind", ["tcp", "unix", "on"])
def test_no_client_notices_that_workers_are_replaced(served, kind):
    """Three times each of three workers, while 200 clients come and go."""
    server = served(kind, "workers=3, grace=20.0")
    generations = [server.workers()]
    with Load(server) as load:
        for _ in range(3):
            server.kill(signal.SIGHUP)
            generations.append(replaced(server, generations[-1], 3))
            time.sleep(0.3)  # some turns with those
    assert load.faults == {}
    assert load.least >= 2
    everybody = set().union(*generations)
    assert len(everybody) == 12
    assert load.pids <= everybody
    if kind != "unix":  # there, one worker may be quick enough for all
        assert load.pids == everybody
    server.kill(signal.SIGTERM)
    assert server.ended() == (0, "after\n", "")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_no_client_notices_replacements_one_upon_the_other(served, kind):
    """A SIGHUP may come while those before it are still at work."""
    server = served(kind, "workers=2, grace=20.0")
    before = server.workers()
    with Load(server, 50) as load:
        for _ in range(10):
            server.kill(signal.SIGHUP)
            time.sleep(0.02)
        replaced(server, before, 2)
        time.sleep(0.2)
    assert load.faults == {}
    until(lambda: len(server.workers()) == 2)
    server.kill(signal.SIGTERM)
    assert server.ended() == (0, "after\n", "")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_no_client_is_refused_while_workers_are_killed(served, kind):
    """Whom a killed worker served has lost it; all others wait for the next one."""
    server = served(kind, "workers=3, grace=20.0")
    with Load(server, 50) as load:
        for _ in range(4):
            before = server.workers()
            os.kill(min(before), signal.SIGKILL)
            until(lambda: min(before) not in server.workers() and len(server.workers()) == 3)
    assert not [fault for fault in load.faults if "efused" in fault or "Timeout" in fault]
    assert sum(load.faults.values()) <= 4 * 50


def test_a_conversation_outlives_the_replacement_of_its_worker(served):
    server = served("tcp", "workers=2, grace=30.0")
    before = server.workers()
    with server.client() as client:
        pid = int(say(client, b"pid\n"))
        server.kill(signal.SIGHUP)
        until(lambda: server.workers() - before)
        until(lambda: asked(server) not in before)  # newcomers are served meanwhile
        for _ in range(3):
            assert int(say(client, b"pid\n")) == pid
        assert alive(pid)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    replaced(server, before, 2)


def test_only_those_who_are_replaced_are_told_that_they_stop(served):
    server = served("tcp", "workers=2, grace=30.0")
    before = server.workers()
    with server.client() as old:
        old.sendall(b"until stopping\n")
        server.kill(signal.SIGHUP)
        assert old.recv(100) == b"stopping\n"
    replaced(server, before, 2)
    with server.client() as new:
        new.sendall(b"until stopping\n")
        new.settimeout(0.1)
        with pytest.raises(TimeoutError):
            new.recv(100)
        new.settimeout(LONG)
        server.kill(signal.SIGTERM)
        assert new.recv(100) == b"stopping\n"


def test_a_sigterm_in_the_middle_of_a_replacement_ends_all_of_them(served):
    server = served("tcp", "workers=3, grace=0.1")
    with server.client() as client:
        say(client, b"hello\n")
        server.kill(signal.SIGHUP)
        server.kill(signal.SIGTERM)
        assert client.recv(100) == b""
    assert server.ended() == (0, "after\n", "")
