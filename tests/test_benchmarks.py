"""The benchmark: what it runs, in which order, and how it ends.

Needs none of the peers: most measurements here are a line of Python. What is made of
the figures is in test_benchmarks_results.py.
"""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import cli, running, workload
from benchmarks.catalogue import WORKLOADS
from benchmarks.progress import Progress, in_words
from benchmarks.results import Results, Row
from benchmarks.workload import Measure, Workload


def benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def printing(text: str, **more: object) -> Measure:
    """A measurement that only prints."""
    return Measure([sys.executable, "-c", f"print({text!r})"], **more)


def made_up(name: str = "work", **contenders: Measure) -> Workload:
    return Workload(name, f"{name} done", "ns", contenders, group="made up")


def quiet() -> Progress:
    return Progress(io.StringIO())


def rows_of(*workloads: Workload, rounds: int = 1, measured: object = running.one) -> list[Row]:
    return list(running.run(workloads, [], rounds, False, quiet(), measured))


def samples(*values: float) -> list[dict[str, float]]:
    return [{"value": value} for value in values]


# ---- the command


def test_a_quick_run_prints_figures_ratios_and_the_machine(tmp_path: Path) -> None:
    words = ["--quick", "--only", "spawn-join", "--contenders", "microthreads,asyncio,floor"]
    done = benchmarks(
        *words, "--json", str(tmp_path / "r.json"), "--markdown", str(tmp_path / "r.md")
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in lines[0]
    assert re.search(r"^  microthreads +[\d.,]+$", done.stdout, re.MULTILINE)
    assert re.search(r"^  asyncio +[\d.,]+ +[\d.]+× ours  best peer$", done.stdout, re.MULTILINE)
    (row,) = Results.load(tmp_path / "r.json").rows
    assert sorted(row.samples) == ["asyncio", "floor", "microthreads"]
    assert "| spawn a task and join it, ns |" in (tmp_path / "r.md").read_text()


def test_a_pattern_that_matches_nothing_is_an_error_that_says_so() -> None:
    done = benchmarks("--only", "swtich")
    assert done.returncode == 2
    assert "no workload matches 'swtich'; --list shows them" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--contenders", "asyncoi"], "no contender 'asyncoi'"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--from", "/nowhere.json"], "No such file"),
        (["--from", __file__], "does not hold results"),
    ],
)
def test_what_cannot_be_done_is_told(words: list[str], complaint: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert complaint in capsys.readouterr().err


def test_the_list_names_every_workload_and_contender(capsys) -> None:
    assert cli.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{each.name} " in listed for each in WORKLOADS)
    assert all(f"  {name}" in listed for name in workload.PACKAGES)


def test_the_headline_is_what_the_readme_shows(capsys) -> None:
    assert cli.main(["--headline", "--list"]) == 0
    listed = capsys.readouterr().out.partition("contenders:")[0]
    assert "spawn-join " in listed and "spawn/1000000 " not in listed
    shown = (Path(__file__).parent.parent / "README.md").read_text()
    for line in listed.strip().splitlines():
        assert line.split("  ", 1)[1].strip() in shown.replace(", cpu,", ","), line


def test_a_pattern_that_no_headline_matches_is_an_error(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--headline", "--only", "spawn/1000000"])
    assert "no workload matches 'spawn/1000000'" in capsys.readouterr().err


def test_a_pattern_is_a_name_or_a_part_of_one_or_a_shell_pattern() -> None:
    all_of_them = [made_up(name) for name in ("a/1", "a/10", "b/1")]

    def names(*patterns: str) -> list[str]:
        return [each.name for each in cli.selected(all_of_them, patterns)]

    assert names("a/1") == ["a/1"]
    assert names("a") == ["a/1", "a/10"]
    assert names("*/1") == ["a/1", "b/1"]
    assert names("b", "10") == ["a/10", "b/1"]
    assert names() == ["a/1", "a/10", "b/1"]


def test_workloads_have_names_of_their_own_and_contenders_that_are_known() -> None:
    names = [each.name for each in WORKLOADS]
    assert len(set(names)) == len(names)
    for each in WORKLOADS:
        assert {workload.family(name) for name in each.contenders} <= set(workload.PACKAGES)
        assert not set(each.missing) & set(each.contenders), each.name


# ---- running


def test_contenders_take_turns_round_by_round(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def logs(name: str) -> Measure:
        code = f"open({str(log)!r}, 'a').write('{name} '); print('{{\"value\": 1}}')"
        return Measure([sys.executable, "-c", code])

    rows_of(made_up(asyncio=logs("a"), threads=logs("t"), floor=logs("f")), rounds=3)
    assert log.read_text().split() == ["a", "t", "f"] * 3


def test_a_workload_can_have_fewer_rounds() -> None:
    few = replace(made_up(floor=printing('{"value": 1}')), rounds=2)
    (row,) = rows_of(few, rounds=4)
    assert row.samples == {"floor": samples(1, 1)}


def test_a_failure_is_told_once_and_the_run_goes_on() -> None:
    calls = []

    def measured(measure: Measure, *_: object) -> dict[str, float]:
        calls.append(measure.note)
        return running.one(measure, ["value"])

    broken = Measure([sys.executable, "-c", "1/0"], note="broken")
    fine = printing('warning\n{"value": 5}', note="fine")
    (row,) = rows_of(made_up(asyncio=broken, threads=fine), rounds=2, measured=measured)
    assert calls == ["broken", "fine", "fine"]
    assert row.reasons == {"asyncio": "failed, exit code 1: ZeroDivisionError: division by zero"}
    assert row.samples == {"threads": samples(5, 5)}


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ('{"skip": "no epoll"}', "no epoll"),
        ('{"other": 1}', 'failed, exit code 0: {"other": 1}'),
        ('{"value": NaN}', 'failed, exit code 0: {"value": NaN}'),
        ("", "failed, exit code 0: it printed nothing"),
        ("[]", "failed, exit code 0: []"),
    ],
)
def test_what_is_no_figure_is_a_reason(printed: str, reason: str) -> None:
    (row,) = rows_of(made_up(floor=printing(printed)))
    assert (row.samples, row.reasons) == ({}, {"floor": reason})


def test_what_takes_too_long_is_killed() -> None:
    slow = Measure([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2)
    (row,) = rows_of(made_up(floor=slow))
    assert row.reasons == {"floor": "took longer than 0.2 s"}


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(workload.PACKAGES, "gevent", ("no_such_package",))
    fine = printing('{"value": 1}')
    both = made_up(gevent=fine, floor=replace(fine, needs=("nor_this",)))
    (row,) = rows_of(replace(both, missing={"threads": "cannot"}))
    assert row.reasons == {
        "threads": "cannot",
        "gevent": "not installed: no_such_package",
        "floor": "not installed: nor_this",
    }


def test_wanted_contenders_come_with_their_variants() -> None:
    fine = printing("")
    both = made_up(**{"asyncio": fine, "asyncio protocol": fine, "floor": fine})
    assert list(running.chosen(both, ["asyncio"])[0]) == ["asyncio", "asyncio protocol"]
    assert list(running.chosen(both, ["asyncio protocol"])[0]) == ["asyncio protocol"]


def test_ctrl_c_ends_the_run_with_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "spawn-join", "--rounds", "1000"]
    command += ["--contenders", "floor", "--json", str(tmp_path / "r.json")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, complaint = process.communicate(timeout=20)
    assert process.returncode == 130, complaint
    assert (complaint, "floor" in out) == ("ended early\n", True)
    about = json.loads((tmp_path / "r.json").read_text())["about"]
    assert about["ended"] == "ended early by Ctrl-C"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_says_what_is_measured_and_how_long_the_rest_takes() -> None:
    progress = Progress(out := Terminal())
    progress.expect({"work": (["asyncio", "trio"], 2)})
    assert progress.seconds_left() is None
    with progress.measuring("work", "asyncio", 0):
        time.sleep(0.01)
    assert 0.03 <= progress.seconds_left() < 3
    with progress.measuring("work", "trio", 0):
        pass
    assert "work: trio, round 1 of 2; 3 to go, about 0 s" in out.getvalue()
    assert [in_words(each) for each in (89, 100, 7500)] == ["89 s", "2 min", "2 h 5 min"]
