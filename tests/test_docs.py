"""The documentation does what it says: its programs run, and its references exist.

Every block of Python in README.md and docs/*.md is run, in order. The blocks of
a page make up one program, in one namespace, unless a comment stands before one:

    <!-- skip -->      it is not run
    <!-- new -->       it begins another program
    <!-- output -->    before a block of text: what the program has printed
                       since the last such block; "..." stands for anything

Each program runs in a process of its own, with invariants checked.
"""

from __future__ import annotations

import ast
import doctest
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers import ROOT, python

import microthreads
import microthreads.observe
import microthreads.sim

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>skip|new|output) -->\n+)?"
    r"^(?P<ticks>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=ticks)$",
    re.MULTILINE | re.DOTALL,
)
LABELLED_HEADING = re.compile(r"^\((?P<label>[\w/-]+)\)=\n+#+ ", re.MULTILINE)
TAG = re.compile(r"DOC: ([\w-]+/[\w-]+)")

# Runs the blocks that it reads, each at its own lines of its own file, and
# writes down what was printed after each.
RUNNER = """
import contextlib, io, json, sys
page, blocks = json.load(sys.stdin)
names, printed = {"__name__": "__main__"}, []
for line, text in blocks:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * (line - 1) + text, page, "exec"), names)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


@dataclass
class Program:
    """Blocks that share a namespace, and what the page says that they print."""

    page: str
    blocks: list[tuple[int, str]] = field(default_factory=list)
    outputs: dict[int, str] = field(default_factory=dict)  # by the number of blocks before


def programs_of(page: str, text: str) -> list[Program]:
    programs = [Program(page)]
    for block in FENCE.finditer(text):
        mark, language = block["mark"], block["language"].strip()
        if language == "python" and mark != "skip":
            if mark == "new":
                programs.append(Program(page))
            line = text.count("\n", 0, block.start("text")) + 1
            programs[-1].blocks.append((line, block["text"]))
        elif mark == "output":
            programs[-1].outputs[len(programs[-1].blocks)] = block["text"]
    return [program for program in programs if program.blocks]


def run(program: Program, directory: Path) -> list[str]:
    """Run the blocks; what was printed after each."""
    source = json.dumps([program.page, program.blocks])
    done = python("-c", RUNNER, text=source, cwd=directory, MICROTHREADS_DEBUG="1")
    assert done.returncode == 0, f"{program.page} does not run:\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{program.page} logs a failure:\n{done.stderr}"
    printed: list[str] = json.loads(done.stdout)
    return printed


def mismatches(program: Program, printed: list[str]) -> list[str]:
    """Where the page says something else than was printed."""
    checker, problems, before = doctest.OutputChecker(), [], 0
    for upto, want in sorted(program.outputs.items()):
        got = "".join(printed[before:upto])
        before = upto
        if not checker.check_output(want, got, doctest.ELLIPSIS):
            line = program.blocks[upto - 1][0]
            problems.append(f"{program.page}:{line} prints\n{got}where it says\n{want}")
    return problems


ALL = [
    pytest.param(program, id=f"{program.page}:{program.blocks[0][0]}")
    for page in PAGES
    for program in programs_of(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("program", ALL)
def test_the_programs_on_a_page_run_and_print_what_it_says(
    program: Program, tmp_path: Path
) -> None:
    assert mismatches(program, run(program, tmp_path)) == []


def test_the_program_of_the_readme_has_twelve_lines_and_an_output() -> None:
    program = programs_of("README.md", README.read_text(encoding="utf-8"))[0]
    lines = [line for line in program.blocks[0][1].splitlines() if line.strip()]
    assert len(lines) == 12
    assert 1 in program.outputs


def test_the_readme_gives_the_two_commands_each_in_a_block_of_its_own() -> None:
    text = README.read_text(encoding="utf-8")
    commands = [
        block["text"].strip() for block in FENCE.finditer(text) if block["language"] == "sh"
    ]
    tests = (
        "python3 -m venv .venv && .venv/bin/pip install -q -U pip && "
        ".venv/bin/pip install -q -e . --group test && .venv/bin/python -m pytest -q"
    )
    assert commands == ["python3 -m microthreads demo", tests]


SAMPLE = """
```python
x = 1
print(x)
```

<!-- output -->
```text
1
```

<!-- skip -->
```python
1 / 0
```

```python
print(x + 1)
```

Words.

<!-- output -->

```text
t...o
```

<!-- new -->
```python
print("x" in globals())
```
"""


def test_blocks_are_found_with_their_lines_and_their_marks() -> None:
    first, second = programs_of("sample.md", SAMPLE)
    assert first.blocks == [(3, "x = 1\nprint(x)\n"), (18, "print(x + 1)\n")]
    assert first.outputs == {1: "1\n", 2: "t...o\n"}
    assert second.blocks == [(31, 'print("x" in globals())\n')]


def test_blocks_of_a_program_share_names_and_a_wrong_output_is_told(tmp_path: Path) -> None:
    first, second = programs_of("sample.md", SAMPLE)
    assert run(second, tmp_path) == ["False\n"]
    printed = run(first, tmp_path)
    assert printed == ["1\n", "2\n"]
    assert mismatches(first, printed) == ["sample.md:18 prints\n2\nwhere it says\nt...o\n"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mark_stands_before_a_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    marks = re.findall(r"<!-- (?:skip|new|output) -->", text)
    assert len(marks) == sum(block["mark"] is not None for block in FENCE.finditer(text))


def test_a_block_that_fails_is_told_with_its_page_and_line(tmp_path: Path) -> None:
    (program,) = programs_of("sample.md", "words\n\n```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r'File "sample.md", line 5'):
        run(program, tmp_path)


# References from the code into the pages, and back


def labels_of(pages: dict[str, str]) -> set[str]:
    """The headings that a tag can name, as labels: ``(life/park)=`` above the heading."""
    return {match["label"] for text in pages.values() for match in LABELLED_HEADING.finditer(text)}


def dangling_tags(sources: dict[str, str], labels: set[str]) -> list[str]:
    """The ``DOC:`` tags in `sources` that no page has a heading for."""
    return [
        f"{name}: {tag}"
        for name, text in sources.items()
        for tag in TAG.findall(text)
        if tag not in labels
    ]


def texts(paths: list[Path]) -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def test_every_doc_tag_in_the_code_has_its_heading() -> None:
    sources = texts(sorted((ROOT / "microthreads").rglob("*.py")))
    assert dangling_tags(sources, labels_of(texts(PAGES))) == []


def test_a_tag_without_a_heading_is_found() -> None:
    labels = labels_of({"docs/page.md": "(life/park)=\n## Park\n\n(life/lost)=\nno heading\n"})
    assert labels == {"life/park"}
    sources = {"a.py": "x = 1  # DOC: life/park\n", "b.py": "# See there. DOC: life/lost\n"}
    assert dangling_tags(sources, labels) == ["b.py: life/lost"]


INCLUDE = re.compile(r"^```\{literalinclude\} (\S+)\n:pyobject: (\S+)", re.MULTILINE)


def defined_in(source: str, dotted: str) -> bool:
    """Whether `source` defines the function or class `dotted`."""
    body = ast.parse(source).body
    for name in dotted.split("."):
        found = [node for node in body if getattr(node, "name", None) == name]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def test_what_the_pages_quote_is_in_the_code() -> None:
    quotes = [
        (page.name, path, name)
        for page in DOCS.glob("*.md")
        for path, name in INCLUDE.findall(page.read_text(encoding="utf-8"))
    ]
    assert len(quotes) > 10
    missing = [
        quote
        for quote in quotes
        if not defined_in((DOCS / quote[1]).read_text(encoding="utf-8"), quote[2])
    ]
    assert missing == []


def test_what_is_quoted_is_looked_up_by_its_dotted_name() -> None:
    source = "class A:\n    def f(self): ...\n"
    assert [defined_in(source, name) for name in ("A", "A.f", "A.g", "f")] == [1, 1, 0, 0]


def undocumented(module: str, names: list[str], reference: str) -> list[str]:
    """The names of `module` that the reference has no entry for."""
    entry = r"^\.\. (?:auto\w+|py:data):: " + re.escape(module) + r"(?:\.\w+)*\.{}\b"
    return [name for name in names if not re.search(entry.format(name), reference, re.MULTILINE)]


@pytest.mark.parametrize(
    "module", [microthreads, microthreads.observe, microthreads.sim], ids=lambda m: m.__name__
)
def test_every_public_name_is_in_the_reference(module: object) -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert undocumented(module.__name__, module.__all__, reference) == []  # type: ignore[attr-defined]


def test_a_name_that_the_reference_lacks_is_found() -> None:
    assert undocumented("m", ["run", "runs"], ".. autofunction:: m.run\n") == ["runs"]
