"""The command: what a person who types it sees."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, python, started_python

import microthreads


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return python("-m", "microthreads", *arguments, **options)


def script(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text("from microthreads import *\n" + text)
    return path


def test_the_demo_checks_every_byte_and_prints_a_table() -> None:
    done = command("demo", "--clients", "50", "--messages", "10", "--size", "3000")
    assert done.returncode == 0, done.stderr
    rows = {line[:24].strip(): line[24:].split()[0] for line in done.stdout.splitlines()}
    assert rows["clients"] == "50"
    assert rows["echoes"] == "500"
    assert rows["bytes"] == f"{2 * 500 * 3000:,}"
    assert int(rows["peak tasks"].replace(",", "")) >= 50
    assert {"switches", "us a switch", "ticks of 10 ms", "piped through channels"} <= set(rows)


def test_the_demo_shows_progress_while_it_works() -> None:
    done = command("demo", "--clients", "20", "--messages", "500")
    assert "of 10,000 echoes" in done.stderr


@pytest.mark.parametrize("poller", ["poll", "select"])
def test_the_demo_runs_on_other_pollers(poller: str) -> None:
    done = command("demo", "--clients", "20", "--messages", "5", "--poller", poller)
    assert done.returncode == 0, done.stderr


def test_the_demo_says_what_it_cannot_do() -> None:
    done = command("demo", "--poller", "select", "--clients", "600")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("microthreads: select() can watch 1,024 descriptors")


@pytest.mark.parametrize("bad", ["0", "-3", "many"])
def test_a_bad_number_of_clients_is_wrong_usage(bad: str) -> None:
    done = command("demo", "--clients", bad)
    assert done.returncode == 2
    assert f"argument --clients: {bad} is no whole number, 1 or more" in done.stderr


def test_ctrl_c_ends_the_demo_with_130_and_no_traceback() -> None:
    demo = ("-m", "microthreads", "demo", "--clients", "5", "--messages", "20000")
    with started_python(*demo, warnings="ignore") as process:
        assert process.stderr is not None
        assert "echoes" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.endswith("microthreads: interrupted\n")
    assert out == ""


def test_version_and_help() -> None:
    assert microthreads.__version__ in command("--version").stdout
    shown = command("--help").stdout
    assert "examples:" in shown
    assert "exit codes:" in shown
    assert command().returncode == 2


def test_run_runs_the_main_routine_with_its_arguments(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "import sys\n"
        "def main(*words):\n    yield sleep(0)\n    print(words, sys.argv[1:], __name__ == '__main__')\n",
    )
    done = command("run", str(path), "a", "--b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "('a', '--b') ['a', '--b'] False\n")


def test_run_runs_the_routine_that_is_named(tmp_path: Path) -> None:
    path = script(tmp_path, "async def other():\n    await sleep(0)\n    print('other')\n")
    assert command("run", f"{path}:other").stdout == "other\n"


def test_a_script_can_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("word = 'found'\n")
    path = script(tmp_path, "import beside\ndef main():\n    yield\n    print(beside.word)\n")
    assert command("run", str(path)).stdout == "found\n"


@pytest.mark.parametrize(
    ("text", "routine", "message"),
    [
        ("def main():\n    yield\n", "absent", "has no routine absent; it has "),
        ("def main(port):\n    yield\n", "main", "missing a required argument: 'port'"),
        ("def main():\n    return 3\n", "main", "returned 3: it must be a generator"),
        ("async def main():\n    yield\n", "main", "that makes it an async generator, and no"),
    ],
)
def test_wrong_usage_of_run_is_one_line_and_exit_code_2(
    tmp_path: Path, text: str, routine: str, message: str
) -> None:
    done = command("run", f"{script(tmp_path, text)}:{routine}")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ("run(main())", True),
        ("result = microthreads.run(main())", True),
        ("if __name__ == '__main__':\n    run(main())", False),
        ("def again():\n    run(main())", False),
    ],
)
def test_a_script_that_calls_run_by_itself_is_told_that_its_main_runs_twice(
    tmp_path: Path, last: str, told: bool
) -> None:
    text = "import microthreads\nfrom microthreads import run\ndef main():\n    yield\n"
    done = command("run", str(script(tmp_path, f"{text}    print('ran')\n{last}\n")))
    assert done.stdout == "ran\n" * (1 + told)
    assert (":7 called run() when the script was loaded; put that below" in done.stderr) == told
    assert done.returncode == 0


def test_run_without_a_file_asks_for_the_file_alone() -> None:
    done = command("run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "microthreads run: error: the following arguments are required: FILE.py[:ROUTINE]"
    )


def test_a_routine_that_is_not_there_is_answered_by_those_that_the_script_defines(
    tmp_path: Path,
) -> None:
    path = script(tmp_path, "def begin():\n    yield\nasync def go_on():\n    pass\n")
    done = command("run", f"{path}:nope")
    assert done.stderr == f"microthreads: {path} has no routine nope; it has begin, go_on\n"


@pytest.mark.parametrize(
    "text", ["def main(:\n", "1 / 0\n", "raise ExceptionGroup('', [KeyError()])"]
)
def test_a_script_that_does_not_begin_is_told_without_the_frames_of_the_import(
    tmp_path: Path, text: str
) -> None:
    done = command("run", str(script(tmp_path, text)))
    assert done.returncode == 1
    assert "importlib" not in done.stderr
    assert "program.py" in done.stderr


def test_a_cancellation_that_leaves_a_script_is_its_failure(tmp_path: Path) -> None:
    done = command("run", str(script(tmp_path, "raise Cancelled('the script')\n")))
    assert done.returncode == 1
    assert "importlib" not in done.stderr
    assert done.stderr.endswith("Cancelled: the script was cancelled\n")


def test_a_script_that_is_not_there_is_wrong_usage() -> None:
    done = command("run", "absent.py")
    assert (done.returncode, done.stderr) == (2, "microthreads: there is no file absent.py\n")


def test_a_failure_is_exit_code_1_with_a_traceback_of_the_scripts_own_frames(
    tmp_path: Path,
) -> None:
    done = command("run", str(script(tmp_path, "def main():\n    yield\n    1 / 0\n")))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "1 / 0" in done.stderr
    assert "microthreads/runtime" not in done.stderr


def test_a_deadlock_is_exit_code_3_with_the_report(tmp_path: Path) -> None:
    done = command(
        "run", str(script(tmp_path, "def main():\n    yield Channel(name='jobs').recv()\n"))
    )
    assert done.returncode == 3
    assert "recv on Channel 'jobs' (0/0)" in done.stderr
    assert "program.py:3 in main" in done.stderr


def test_ctrl_c_in_a_script_is_exit_code_130_after_its_finally_blocks(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        "import signal\n"
        "def main():\n    try:\n        signal.raise_signal(signal.SIGINT)\n        yield sleep(60)\n"
        "    finally:\n        print('cleaned up')\n",
    )
    done = command("run", str(path))
    assert (done.returncode, done.stdout) == (130, "cleaned up\n")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    shell = f"{sys.executable} -m microthreads --help | true"
    done = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_exit_code_1() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "microthreads", "demo", "--clients", "2", "--messages", "2"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "microthreads: cannot write: [Errno 28] No space left on device"
    )
    assert "Traceback" not in done.stderr


def test_two_demos_at_once_do_not_disturb_each_other() -> None:
    line = [sys.executable, "-m", "microthreads", "demo", "--clients", "30", "--messages", "20"]
    two = [subprocess.Popen(line, cwd=ROOT, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    for process in two:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, "600" in out) == (0, True), err


def test_a_failing_system_call_of_a_script_is_its_own_failure(tmp_path: Path) -> None:
    done = command("run", str(script(tmp_path, "def main():\n    yield\n    open('absent')\n")))
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
