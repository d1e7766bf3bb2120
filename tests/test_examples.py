"""The numbered examples run, and print what is written here.

Each runs as its readers run it, as a program of its own, with invariants checked
and warnings as errors. Its twin on threads prints the same, or what of it does
not depend on which thread comes first.
"""

from __future__ import annotations

import ast
import doctest
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, python, started_python

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("e[0-9]*.py"))
TWINS = sorted(path.stem for path in EXAMPLES.glob("threads/e[0-9]*.py"))

# What each prints; "..." stands for anything.
EXPECTED = {
    "e01_round_robin": """\
left 3
right 2
middle 3
left 2
right 1
middle 2
left 1
middle 1
""",
    "e02_countdown": """\
rocket 3
balloon 2
counting
rocket 2
rocket 1
balloon 1
rocket has landed
balloon has landed
""",
    "e03_workers": """\
worker 3 starts
worker 2 starts
worker 1 starts
worker 1 ends
worker 2 ends
worker 3 ends
the result is 9
the result is 4
the result is 1
the daemon has ended
""",
    "e04_lost_updates": """\
the counter is 1001
it should be 2000
""",
    "e05_lock": """\
the counter is 2000
""",
    "e06_bank_account": """\
Account: paid [True, True], balance -100
CarefulAccount: paid [True, False], balance 0
""",
    "e07_monitor": """\
in stock: {'apples': 5, 'pears': 5}
totals that the clerk has seen: {10}
""",
    "e08_downloads": """\
20 downloads, the last one: This is /page/19
at once, at most: 5
""",
    "e09_event": """\
early waits
the settings are there
early paints in blue
late paints in blue
""",
    "e10_result": """\
the worker is at work
its answer is 5050
""",
    "e11_condition": """\
put a
got a
put b
put c
got b
put d
got c
put e
got d
got e
""",
    "e12_queue": """\
all is ordered
bob serves soup
bob serves rice
ann serves spaghetti bolognese
all is served
""",
    "e13_deadlock": """\
nothing can wake the tasks that wait
  TASK    STATE   WAITS ON                                    AT
  #2 Ann  parked  acquire Lock 'paper', owned by task #3 Bob  ...e13_deadlock.py:... in write
  #3 Bob  parked  acquire Lock 'pen', owned by task #2 Ann    ...e13_deadlock.py:... in write
  the cycle:
    task #2 Ann waits to acquire Lock 'paper', owned by task #3 Bob
    task #3 Bob waits to acquire Lock 'pen', owned by task #2 Ann
""",
    "e14_lock_order": """\
Ann writes
Bob writes
""",
    "e15_philosophers": """\
Aspasia has eaten three times
Socrates has eaten three times
Hypatia has eaten three times
Plato has eaten three times
Diogenes has eaten three times
""",
    "e16_readers_writer": """\
Ann reads 'once'; readers: 1
Bob reads 'once'; readers: 2
'upon' is written; readers: 0
Cyd reads 'upon'; readers: 1
Dan reads 'upon'; readers: 2
""",
    "e17_pipeline": """\
1
9
25
49
81
""",
    "e18_prime_sieve": "".join(f"{prime}\n" for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)),
    "e19_select": """\
the west says good evening
nobody has answered in time
the east says good morning
""",
    "e20_ping": 33 * "+.." + "+\n34 open, 66 closed\n",
}

# Where a twin prints something else
OF_THE_TWIN = {
    "e13_deadlock": """\
Ann is still there
Bob is still there
""",
}


def letters(text: str) -> Any:
    """All that is printed, however mixed up: threads may meet in the middle of a line."""
    return sorted(text)


def each_in_order(text: str) -> Any:
    """The lines that begin with the same word, in order."""
    return sorted(text.splitlines(), key=lambda line: line.split()[0])


# What of its output a twin has in common with the example
COMMON: dict[str, Callable[[str], Any]] = {
    "e02_countdown": letters,
    "e03_workers": lambda text: letters(text.removesuffix("the daemon has ended\n")),
    "e04_lost_updates": lambda text: 0 < int(re.findall(r"\d+", text)[0]) < 2000,
    "e11_condition": each_in_order,
    "e12_queue": lambda text: letters(text.replace("ann ", "bob ")),
    "e14_lock_order": letters,
    "e15_philosophers": letters,
    "e16_readers_writer": lambda text: letters(re.sub(r"readers: \d", "", text)),
}


def printed(*arguments: str) -> str:
    """What Python prints with these arguments. It must say nothing on stderr."""
    done = python(*arguments, MICROTHREADS_DEBUG="1")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def test_the_examples_are_numbered_and_each_has_an_expected_output() -> None:
    assert list(EXPECTED) == NAMES
    assert [int(name[1:3]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_what_is_expected(name: str) -> None:
    out = printed("-m", f"examples.{name}")
    if not doctest.OutputChecker().check_output(EXPECTED[name], out, doctest.ELLIPSIS):
        assert out == EXPECTED[name]


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_prints_the_same(name: str) -> None:
    common = COMMON.get(name, str)
    expected = OF_THE_TWIN.get(name, EXPECTED[name])
    assert common(printed("-m", f"examples.threads.{name}")) == common(expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_in_a_few_lines_what_it_shows_and_what_to_try(name: str) -> None:
    text = docstring(EXAMPLES / f"{name}.py")
    assert "\n\nTry: " in text
    assert 5 <= len(text.splitlines()) <= 15


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_names_the_example_and_does_without_the_library(name: str) -> None:
    path = EXAMPLES / "threads" / f"{name}.py"
    assert name in NAMES
    assert docstring(path).startswith(f"The twin of ../{name}.py")
    assert "microthreads" not in path.read_text(encoding="utf-8")


def test_the_readme_lists_every_example_and_every_twin() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| \[(\w+)\]\((.*?)\) \| .* \| (.*?) ?\|$", readme, re.MULTILINE)
    assert rows == [
        (
            str(int(name[1:3])),
            name,
            f"{name}.py",
            f"[twin](threads/{name}.py)" if name in TWINS else "",
        )
        for name in NAMES
    ]


# What the docstrings say of `explore`

EXPLORING = """
from examples import e04_lost_updates, e05_lock, e06_bank_account, e14_lock_order
from microthreads import gather
from microthreads.sim import explore

def counts(example):
    def check():
        assert (yield example.count(1)) == 2
    return check

def pays(account_class):
    def check():
        account = account_class(100)
        yield gather(account.withdraw(100), account.withdraw(100))
        assert account.balance >= 0
    return check

e14_lock_order.print = lambda *words: None
for program in (
    counts(e04_lost_updates), counts(e05_lock),
    pays(e06_bank_account.Account), pays(e06_bank_account.CarefulAccount),
    e14_lock_order.main,
):
    print(explore(program).verdict.name)
"""


def test_the_explorer_finds_the_bugs_and_proves_the_repairs() -> None:
    assert printed("-c", EXPLORING).split() == ["FAILED", "PROVED", "FAILED", "PROVED", "PROVED"]


def test_one_addition_each_is_right_by_luck() -> None:
    program = "from examples.e04_lost_updates import *; print(run(count(1)))"
    assert printed("-c", program) == "2\n"


WITHOUT_A_YIELD = """
import pathlib
from examples import e13_deadlock
from microthreads.sim import explore
source = pathlib.Path(e13_deadlock.__file__).read_text(encoding="utf-8")
names = {"__name__": "example", "print": lambda *words: None}
exec(source.replace("        yield  # let", "        pass  # let"), names)
print(explore(names["main"]).verdict.name)
"""


def test_the_deadlock_that_needs_no_yield_between_the_locks_is_found() -> None:
    assert printed("-c", WITHOUT_A_YIELD) == "FAILED\n"


# Ctrl-C


def test_ctrl_c_ends_a_long_sieve_at_once() -> None:
    with started_python("-m", "examples.e18_prime_sieve", "1000000") as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert first[-1] == "71\n"
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
