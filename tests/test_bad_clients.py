"""Every example server bears bad clients: what is done to them is in badclients/.

A failing input of the fuzzer is told with its seed and its number, and the command that
sends it again, alone. Run pytest with -s for the figures.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

import pytest
from badclients import __main__ as command
from badclients import campaign as campaigns
from badclients import fuzzing
from badclients.campaign import Plan, campaign
from badclients.fuzzing import Fuzzer
from badclients.inputs import LONG, Input, input_of
from badclients.table import BY_NAME
from helpers import python

SAMPLES = (b"GET 12 \r\n", b"x" * 1000)


@pytest.fixture(params=list(BY_NAME))
def entry(request: pytest.FixtureRequest):
    return BY_NAME[request.param]


@pytest.mark.once
@pytest.mark.timeout(120)
def test_a_server_bears_bad_clients_and_goes_on_serving(entry):
    campaign(entry, Plan(), command.tell)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_server_bears_more_of_them_for_longer(entry, seed):
    campaign(entry, Plan(inputs=100_000, seed=seed, seconds=60, slow=500), command.tell)


# the tools themselves


def test_an_input_depends_on_the_seed_and_its_number_only():
    first = [input_of(SAMPLES, "name", 0, number) for number in range(500)]
    assert [input_of(SAMPLES, "name", 0, number) for number in range(500)] == first
    assert [input_of(SAMPLES, "name", 1, number) for number in range(500)] != first
    assert len({each.data for each in first}) > 300
    assert {each.ending for each in first} == {"half-close", "close", "reset"}
    assert all(len(each.data) <= LONG for each in first)


class Faulty:
    """A target in a thread that goes wrong in some way at every input with a 7 at its end."""

    entry = BY_NAME["echo-tcp"]

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.errors = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=[client], daemon=True).start()

    def answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):
            data = b""
            while piece := client.recv(65536):
                data += piece
            if data.endswith(b"7"):
                if self.fault == "says something":
                    self.errors += 1
                elif self.fault == "answers wrongly":
                    data += b"?"
                else:
                    time.sleep(3)
            client.sendall(data)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.getsockname(), timeout=1)

    def filled(self, data: bytes) -> bytes:
        return data

    def said(self) -> int:
        return self.errors


@pytest.fixture
def sevens(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of all inputs only one is bad; its number."""

    def input_of(samples, name, seed, number):
        return Input([b"input ", b"7" if number == 123 else b"%d." % number], "half-close")

    monkeypatch.setattr(fuzzing, "input_of", input_of)
    return 123


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("answers wrongly", "the answer was b'input 7?'"),
        ("does not end", "the server does not end the connection, 1.0 s after its client"),
    ],
)
def test_the_fuzzer_tells_which_input_has_gone_wrong(sevens, fault, complaint):
    target = Faulty(fault)
    with target.listener:
        fuzzer = Fuzzer(target, 0)
        fuzzer.run(range(500), lambda count: None)
    assert fuzzer.complaints == {sevens: complaint}
    told = campaigns.report(fuzzer, sevens, complaint)
    assert told.endswith("python3 -m tests.badclients --server echo-tcp --seed 0 --only 123")


def test_the_fuzzer_finds_which_input_had_the_server_say_something(sevens):
    target = Faulty("says something")
    with target.listener:
        fuzzer = Fuzzer(target, 0)
        fuzzer.run(range(500), lambda count: None)
        assert sevens in fuzzer.recent
        assert fuzzer.done < 500, "it stops there"
        fuzzer.recent = deque(sorted(fuzzer.recent)[-20:] + [sevens])
        assert fuzzer.culprit(target) == sevens


def test_one_input_can_be_sent_alone(capsys):
    assert command.main(["--server", "echo-tcp", "--seed", "5", "--only", "17"]) == 0
    bad = input_of(BY_NAME["echo-tcp"].samples, "echo-tcp", 5, 17)
    assert capsys.readouterr().out == (
        f"echo-tcp\n{bad.pieces}, then {bad.ending}\nnothing is wrong with that\n"
    )


@pytest.mark.parametrize("arguments", [["--only", "1"], ["--server", "nobody"], ["--inputs", "x"]])
def test_wrong_arguments_of_the_command_are_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert "badclients: error:" in capsys.readouterr().err


def test_the_command_runs_from_the_root_and_tells_of_itself():
    done = python("-m", "tests.badclients", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in BY_NAME)
