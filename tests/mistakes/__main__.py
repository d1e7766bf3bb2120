"""The wrong programs beside this file, each run, and what is said of it.

    python -m tests.mistakes            what is said of each
    python -m tests.mistakes NAME ...   of these
    python -m tests.mistakes --write    and put it into the programs and docs/mistakes.md; once
                                        more if that has moved lines which are named

A program's docstring is its row in the list of mistakes, the mistake in words, and below that
what is said: what `microthreads run` shows, without the traceback. Addresses of objects are
shown as 0x...
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "mistakes.md"
DOCSTRING = re.compile(
    r'\A"""(?P<row>\w+): (?P<title>.*?)\.(?:\n\n(?P<said>.*?)\n)?"""\n', re.DOTALL
)
ON_PAGE = re.compile(
    r"<!-- mistake: (?P<name>\w+) -->\n.*?^```text\n.*?^```\n", re.DOTALL | re.MULTILINE
)
LEFT_OUT = re.compile(r"in task #|    \+--")  # where it was spawned, as a whole path
BEGINS = re.compile(r"microthreads: |(\w+\.)*\w*(Error|Cancelled)\b")


def names() -> list[str]:
    """All programs."""
    return sorted(path.stem for path in HERE.glob("[!_]*.py"))


def docstring(name: str) -> re.Match[str]:
    """Row, title and what is said. By a regular expression: some have syntax errors."""
    match = DOCSTRING.match((HERE / f"{name}.py").read_text(encoding="utf-8"))
    assert match, f"{name}.py does not begin with its row and its title"
    return match


def outputs(wanted: list[str]) -> dict[str, str]:
    """Run the programs, as `microthreads run` does; what is shown, without the traceback."""
    from microthreads.cli import main  # noqa: PLC0415

    shown = {}
    os.chdir(HERE)  # paths are shown relative to it
    for name in wanted:
        path = list(sys.path)
        with contextlib.redirect_stderr(io.StringIO()) as out, contextlib.redirect_stdout(out):
            main(["run", f"{name}.py"])
        sys.path[:] = path
        shown[name] = essence(out.getvalue())
    return shown


def essence(output: str) -> str:
    """The last error that is shown, with its notes; all lines of it."""
    lines = [line.removeprefix("    | ") for line in output.splitlines()]
    starts = [number for number, line in enumerate(lines) if BEGINS.match(line)]
    said = [line for line in lines[starts[-1] if starts else 0 :] if not LEFT_OUT.match(line)]
    return re.sub(r"0x[0-9a-f]+", "0x...", re.sub(r"socket \d+", "socket 3", "\n".join(said)))


def entry(name: str) -> str:
    """What the page has of a program."""
    match = docstring(name)
    said = "\n".join(
        line if line.startswith("  ") else textwrap.fill(line, 92, subsequent_indent="  ")
        for line in textwrap.dedent(match["said"] or "").splitlines()
    )
    title = match["title"].replace("\n", " ")
    return f"<!-- mistake: {name} -->\n**{title}**\n\n```text\n{said}\n```\n"


def write(found: dict[str, str]) -> None:
    """Put what is said into the programs, and what they say into the page."""
    for name, said in found.items():
        match, path = docstring(name), HERE / f"{name}.py"
        head = f'"""{match["row"]}: {match["title"]}.\n\n{textwrap.indent(said, "    ")}\n"""\n'
        path.write_text(head + path.read_text(encoding="utf-8")[match.end() :], encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(ON_PAGE.sub(lambda found: entry(found["name"]), page), encoding="utf-8")


if __name__ == "__main__":
    options = {each for each in sys.argv[1:] if each.startswith("--")}
    found = outputs([each for each in sys.argv[1:] if each not in options] or names())
    if "--write" in options:
        write(found)
    if "--json" in options:
        print(json.dumps(found))
    else:
        print(
            "\n\n".join(f"{name}\n{textwrap.indent(said, '    ')}" for name, said in found.items())
        )
