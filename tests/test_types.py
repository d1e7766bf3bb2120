"""What mypy and pyright infer from the public names, and what they say of mistakes.

Each of them runs once, strict, over tests/typing, the numbered examples, and the programs of
docs/typing.md. There, a program that is marked to be skipped has mistakes, and the block of
text after it says what the checkers report, in the order of the lines.
"""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, python
from test_docs import FENCE

import microthreads
import microthreads.net
import microthreads.observe
import microthreads.sim
from microthreads import Kernel
from microthreads.runtime.options import KernelOptions, WorldOptions
from microthreads.sim.executions import OURS

PAGE = ROOT / "docs" / "typing.md"
STATED = sorted((ROOT / "tests" / "typing").glob("*.py"))
EXAMPLES = sorted((ROOT / "examples").glob("e*.py"))

# What the programs on the page are checked with; the second, as it says there.
RIGHT = "# pyright: strict\n"
WRONG = """\
# mypy: enable-error-code="unused-awaitable, truthy-bool"
# pyright: standard, reportUnusedCallResult=true
"""


class Page:
    """The programs of docs/typing.md, as files: one that is right, and those with mistakes."""

    def __init__(self, directory: Path) -> None:
        self.right = directory / "page.py"
        self.wrong: list[Path] = []
        self.quoted: list[list[str]] = []
        blocks = list(FENCE.finditer(PAGE.read_text(encoding="utf-8")))
        good = "\n".join(
            block["text"] for block in blocks if block["language"] == "python" and not block["mark"]
        )
        self.right.write_text(RIGHT + good)
        imports = "".join(re.findall(r"^from .*\n", good, re.MULTILINE))
        for block, after in zip(blocks, blocks[1:], strict=False):
            if block["mark"] == "skip":
                self.wrong.append(directory / f"mistakes_{len(self.wrong)}.py")
                self.wrong[-1].write_text(WRONG + imports + block["text"])
                self.quoted.append(after["text"].splitlines())

    @property
    def files(self) -> list[Path]:
        return [self.right, *self.wrong]

    def quotes(self, checker: str) -> list[str]:
        """What the page says that `checker` reports, for each program with mistakes."""
        return [
            "".join(line + "\n" for line in lines if line.startswith(f"{checker}: "))
            for lines in self.quoted
        ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(tmp_path_factory.mktemp("page"))


def checker(name: str, *arguments: object) -> str:
    """What a checker writes to its standard output."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install --group lint")
    command = [sys.executable, "-m", name, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy_reports(files: list[Path], cache: Path) -> dict[Path, list[str]]:
    told = checker("mypy", "--output", "json", "--cache-dir", cache, *files).splitlines()
    reports = defaultdict(list)
    for each in map(json.loads, told):
        if each["severity"] == "error":
            reports[ROOT / each["file"]].append(f"{each['message']}  [{each['code']}]")
    return reports


def pyright_reports(files: list[Path], cache: Path) -> dict[Path, list[str]]:
    told = json.loads(checker("pyright", "--outputjson", "--pythonpath", sys.executable, *files))
    assert told["summary"]["filesAnalyzed"] == len(files)
    reports = defaultdict(list)
    for each in sorted(told["generalDiagnostics"], key=lambda each: each["range"]["start"]["line"]):
        reports[Path(each["file"])].append(
            f"{each['message'].splitlines()[0]}  [{each.get('rule')}]"
        )
    return reports


SAYS = doctest.OutputChecker().check_output  # "..." stands for anything
REPORTS = {"mypy": mypy_reports, "pyright": pyright_reports}


@pytest.mark.once
@pytest.mark.parametrize("name", REPORTS)
def test_a_checker_infers_what_is_stated_and_reports_the_mistakes(
    name: str, page: Page, tmp_path: Path
) -> None:
    reports = REPORTS[name]([*STATED, *EXAMPLES, *page.files], tmp_path)
    for path, quoted in zip(page.wrong, page.quotes(name), strict=True):
        told = "".join(f"{name}: {report}\n" for report in reports.pop(path, []))
        assert quoted and SAYS(quoted, told, doctest.ELLIPSIS), told
    assert reports == {}


@pytest.mark.parametrize(
    "module",
    [microthreads, microthreads.net, microthreads.observe, microthreads.sim],
    ids=lambda module: module.__name__,
)
def test_what_is_inferred_is_stated_for_every_public_name(module: Any) -> None:
    stated = "".join(path.read_text() for path in STATED)
    unstated = [
        name
        for name in module.__all__
        if not re.search(rf"\b{name}\b", stated) and not is_exception(getattr(module, name))
    ]
    assert unstated == []


def is_exception(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)


def test_the_options_are_those_of_a_kernel() -> None:
    taken = {
        name: parameter.annotation
        for name, parameter in inspect.signature(Kernel).parameters.items()
    }
    stated = {name: each.__forward_arg__ for name, each in KernelOptions.__annotations__.items()}
    assert stated == taken
    assert set(WorldOptions.__annotations__) == set(taken) - set(OURS)


def test_nothing_is_imported_for_the_options_when_a_program_runs() -> None:
    done = python(
        "-c",
        "import sys, microthreads as m\n"
        "from microthreads.sim import explore\n"
        "m.run(m.gather())\n"
        "explore(m.gather)\n"
        "print('microthreads.runtime.options' in sys.modules)",
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
