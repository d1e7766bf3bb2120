"""A program that is begun again at SIGHUP: new code and configuration, and no client refused."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading

import pytest
from helpers import started_python
from servers import HOST, LONG, alive, children, heard, say, until

pytestmark = pytest.mark.once  # processes, and real seconds

PROGRAM = """
import json, os, pathlib, sys
from microthreads import *

FOLDER = pathlib.Path(__file__).parent
VERSION = "{version}"
{prelude}

def handler(stream):
    while line := (yield stream.readline()):
        yield stream.write(f"{{VERSION}} {{os.getppid()}}\\n".encode())

def ready(addresses):
    print(json.dumps([VERSION, addresses], default=bytes.decode), flush=True)

def main():
    yield {routine}
    print("after", flush=True)

run(main())
"""

KINDS = {
    "tcp": "serve(handler, '127.0.0.1', {port}, workers=Workers({workers}, exec_at_hup=True), "
    "ready=ready, grace=5.0)",
    "unix": "serve_unix(handler, FOLDER / 'socket', workers=Workers({workers}, exec_at_hup=True), "
    "ready=ready, grace=5.0)",
    "abstract": "serve_unix(handler, chr(0) + str(FOLDER)[-90:], "
    "workers=Workers({workers}, exec_at_hup=True), ready=ready, grace=5.0)",
    "on": "serve_on(handler, [listen('127.0.0.1', {port})], "
    "workers=Workers({workers}, exec_at_hup=True), ready=ready, grace=5.0)",
}


def free_port():
    with socket.create_server((HOST, 0)) as sock:
        return sock.getsockname()[1]


class Program:
    """A program in a file, which can be written anew."""

    def __init__(self, stack, folder, kind, prelude=""):
        self.file, self.kind, self.port = folder / "program.py", kind, free_port()
        self.write("one", prelude)
        self.process = stack.enter_context(started_python(str(self.file), cwd=folder))
        self.version, (self.address, *_) = self.told()

    def write(self, version, prelude="", workers=2):
        routine = KINDS[self.kind].format(port=self.port, workers=workers)
        text = PROGRAM.format(version=version, prelude=prelude, routine=routine)
        self.file.write_text(text)

    def told(self):
        assert select.select([self.process.stdout], [], [], LONG)[0], "it is never ready"
        return json.loads(self.process.stdout.readline())

    def client(self):
        if isinstance(self.address, str):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(LONG)
            client.connect(self.address)
            return client
        return socket.create_connection(tuple(self.address), timeout=LONG)

    def asked(self):
        with self.client() as client:
            return say(client, b"who?\n").decode().split()[0]

    def workers(self):
        return {pid for pid in children(self.process.pid) if alive(pid)}

    def ended(self):
        out, errors = self.process.communicate(timeout=LONG)
        return self.process.returncode, out, errors


@pytest.fixture(params=KINDS)
def program(request, tmp_path):
    with contextlib.ExitStack() as stack:
        yield Program(stack, tmp_path, request.param)


def test_the_new_code_serves_in_the_same_process_at_the_same_address(program):
    assert program.asked() == "one"
    before = program.workers()
    program.write("two", workers=3)
    program.process.send_signal(signal.SIGHUP)
    assert program.told() == ["two", [program.address]]
    until(lambda: program.workers() and not program.workers() & before)
    assert len(program.workers()) == 3
    assert {program.asked() for _ in range(10)} == {"two"}
    program.process.send_signal(signal.SIGTERM)
    assert program.ended() == (0, "after\n", "")


def test_a_conversation_is_finished_by_the_code_that_began_it(program):
    with program.client() as client:
        assert say(client, b"who?\n").split()[0] == b"one"
        program.write("two")
        program.process.send_signal(signal.SIGHUP)
        program.told()
        until(lambda: program.asked() == "two")
        assert say(client, b"who?\n").split()[0] == b"one"


def test_no_client_is_refused_while_the_program_is_begun_again(program):
    answers, over = [], threading.Event()

    def ask():
        while not over.is_set():
            answers.append(program.asked())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in ("two", "three", "four"):
            program.write(version)
            program.process.send_signal(signal.SIGHUP)
            assert program.told()[0] == version
            until(lambda version=version: answers[-1:] == [version])
    finally:
        over.set()
        for thread in threads:
            thread.join(LONG)
    assert {"one", "two", "three", "four"} >= set(answers) >= {"one", "four"}


@pytest.mark.parametrize(
    "prelude", ["this is no Python", "raise SystemExit(3)", "raise SystemExit", "import nothing"]
)
def test_a_program_that_would_not_serve_is_not_begun_and_the_old_one_goes_on(tmp_path, prelude):
    with contextlib.ExitStack() as stack:
        program = Program(stack, tmp_path, "tcp")
        before = program.workers()
        program.write("two", prelude)
        program.process.send_signal(signal.SIGHUP)
        while "goes on" not in (line := program.process.stderr.readline()):
            assert line
        assert program.asked() == "one"
        assert program.workers() == before
        program.write("three")
        program.process.send_signal(signal.SIGHUP)
        assert program.told()[0] == "three"


def test_the_socket_at_a_path_gets_the_permissions_that_the_new_code_says(tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        monkeypatch.setitem(KINDS, "unix", KINDS["unix"].replace("grace", "mode=0o600, grace"))
        program = Program(stack, tmp_path, "unix")
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
        monkeypatch.setitem(KINDS, "unix", KINDS["unix"].replace("0o600", "0o660"))
        program.write("two")
        program.process.send_signal(signal.SIGHUP)
        assert program.told()[0] == "two"
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o660


TWO_SERVERS = """
import pathlib
from microthreads import *

FOLDER = pathlib.Path(__file__).parent

def handler(stream):
    while line := (yield stream.readline()):
        yield stream.write(b"one\\n")

async def served(name):
    ready = lambda addresses: print(name, flush=True)
    await serve_unix(handler, FOLDER / name, workers=Workers(1, exec_at_hup=True), ready=ready)

async def late():
    while not (FOLDER / "go").exists():
        await sleep(0.01)
    await served("late")

run(gather(served("early"), late()))
"""


def test_a_server_that_begins_late_is_served_by_its_old_workers_until_then(tmp_path):
    with contextlib.ExitStack() as stack:
        (tmp_path / "go").touch()
        (tmp_path / "program.py").write_text(TWO_SERVERS)
        program = str(tmp_path / "program.py")
        process = stack.enter_context(started_python(program, cwd=tmp_path))
        assert {process.stdout.readline() for _ in range(2)} == {"early\n", "late\n"}
        before = {pid for pid in children(process.pid) if alive(pid)}
        (tmp_path / "go").unlink()
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "early\n"
        until(lambda: len({pid for pid in before if alive(pid)}) == 1)
        client = stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(LONG)
        client.connect(str(tmp_path / "late"))
        assert say(client, b"who?\n") == b"one\n"
        client.close()
        (tmp_path / "go").touch()
        assert process.stdout.readline() == "late\n"
        until(lambda: not any(alive(pid) for pid in before))


def begun(program, **changes):
    """Write a program that makes a file when it would serve, and have it tried."""
    program.write("two", **changes)
    text = program.file.read_text()
    told = "print(json.dumps([VERSION, addresses], default=bytes.decode), flush=True)"
    program.file.write_text(text.replace(told, "(FOLDER / 'begun').touch()"))
    program.process.send_signal(signal.SIGHUP)


def test_a_trial_serves_nobody_if_the_new_program_has_no_workers(tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        program = Program(stack, tmp_path, "tcp")
        monkeypatch.setitem(KINDS, "tcp", "serve(handler, '127.0.0.1', {port}, ready=ready)")
        begun(program)
        until((tmp_path / "begun").exists)
        assert {program.asked() for _ in range(64)} == {"one"}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_that_stops_during_a_trial_leaves_nobody_behind(tmp_path, end):
    with contextlib.ExitStack() as stack:
        program = Program(stack, tmp_path, "tcp")
        workers = program.workers()
        begun(program, prelude="(FOLDER / 'begun').touch(); import time; time.sleep(600)")
        until((tmp_path / "begun").exists)
        everybody = program.workers()
        assert everybody > workers
        program.process.send_signal(end)
        assert program.ended()[0] == (0 if end == signal.SIGTERM else -end)
        until(lambda: not any(alive(pid) for pid in everybody))


def test_a_program_that_cannot_be_started_any_more_is_not_begun_and_the_old_one_goes_on(tmp_path):
    with contextlib.ExitStack() as stack:
        gone = "import sys; sys.executable = '/nowhere/python'"
        program = Program(stack, tmp_path, "tcp", gone)
        before = program.workers()
        program.process.send_signal(signal.SIGHUP)
        while "goes on" not in (line := program.process.stderr.readline()):
            assert line
        assert program.asked() == "one"
        assert program.workers() == before


def test_several_signals_at_once_begin_it_again_and_nothing_is_left(tmp_path):
    with contextlib.ExitStack() as stack:
        program = Program(stack, tmp_path, "tcp")
        before = program.workers()
        program.write("two")
        for _ in range(20):
            program.process.send_signal(signal.SIGHUP)
        assert program.told()[0] == "two"
        until(lambda: len(program.workers()) == 2 and not program.workers() & before)
        with program.client() as client:
            assert say(client, b"who?\n").split() == [b"two", b"%d" % program.process.pid]
        descriptors = os.listdir(f"/proc/{program.process.pid}/fd")
        program.process.send_signal(signal.SIGHUP)
        assert program.told()[0] == "two"
        until(lambda: len(program.workers()) == 2)
        until(lambda: len(os.listdir(f"/proc/{program.process.pid}/fd")) == len(descriptors))


def test_old_workers_finish_when_the_new_program_is_killed(tmp_path):
    with contextlib.ExitStack() as stack:
        program = Program(stack, tmp_path, "tcp")
        with program.client() as client:
            assert heard_one(client)
            old = program.workers()
            program.write("two")
            program.process.send_signal(signal.SIGHUP)
            program.told()
            everybody = program.workers()
            program.process.kill()
        until(lambda: not any(alive(pid) for pid in everybody | old))


def heard_one(client):
    client.sendall(b"who?\n")
    return heard(client).startswith(b"one")


BESIDE = """
import pathlib
from microthreads import *

FOLDER = pathlib.Path(__file__).parent

def handler(stream):
    while line := (yield stream.readline()):
        yield stream.write(b"one\\n")

async def main():
    ready = Event()
    await spawn(serve_unix(handler, FOLDER / "alone", ready=lambda _: ready.set()), daemon=True)
    await ready.wait()
    told = lambda _: print("one", flush=True)
    await serve_unix(handler, FOLDER / "many", ready=told, workers=Workers(1, exec_at_hup=True))

run(main())
"""


def test_a_server_without_workers_beside_it_keeps_its_socket_too(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(BESIDE)
    with started_python(str(file), cwd=tmp_path) as process:
        assert process.stdout.readline() == "one\n"
        file.write_text(BESIDE.replace('"one', '"two'))
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "two\n"
        for name in ("alone", "many"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(LONG)
                client.connect(str(tmp_path / name))
                until(lambda client=client: say(client, b"who?\n") in (b"one\n", b"two\n"))
                if name == "alone":
                    assert say(client, b"who?\n") == b"two\n"
