"""The layers: imports point one way, and the core stays small."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

import microthreads

PACKAGE = Path(microthreads.__file__).parent

LAYERS = [
    ["errors", "names", "oldest", "places", "spelling"],
    ["kernel"],
    ["calls", "hints", "whose"],
    ["timeouts"],
    ["runtime"],
    ["channels", "select", "signals", "offload", "sync", "queues"],
    ["groups"],
    ["net"],
    ["observe"],
    ["sim"],
    ["demo"],
    ["cli", "__init__", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }


def imports(source: str) -> set[str]:
    """The modules of ours that `source` imports when it runs, each without "microthreads."."""
    tree = ast.parse(source)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("microthreads"):
            base = (node.module or "").removeprefix("microthreads").lstrip(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                found.add(whole if whole in modules() else base or "__init__")
        elif isinstance(node, ast.Import):
            found |= {
                a.name.partition(".")[2] or "__init__"
                for a in node.names
                if a.name.startswith("microthreads")
            }
    return found


def layer(module: str) -> str:
    return module.split(".")[0]


def upward(module: str, source: str) -> list[str]:
    return [
        f"{module} imports {other}"
        for other in sorted(imports(source))
        if RANK[layer(other)] > RANK[layer(module)]
        or (
            RANK[layer(other)] == RANK[layer(module)]
            and layer(other) != layer(module)
            and layer(module) != "cli"
            and layer(module) != "__main__"
        )
    ]


def test_every_module_has_a_layer() -> None:
    assert {layer(module) for module in modules()} <= set(RANK)


def test_no_import_points_upwards() -> None:
    arrows = [
        arrow for module, path in modules().items() for arrow in upward(module, path.read_text())
    ]
    assert arrows == []


def test_the_check_finds_an_upward_arrow() -> None:
    assert upward("kernel.task", "from microthreads.channels import Channel") == [
        "kernel.task imports channels"
    ]
    assert upward("kernel.task", "import microthreads") == ["kernel.task imports __init__"]


def test_no_import_closes_a_circle() -> None:
    graph = {module: imports(path.read_text()) - {module} for module, path in modules().items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in graph.get(module, graph.get(f"{module}.__init__", set())):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_core_imports_errors_and_places_only() -> None:
    for module, path in modules().items():
        if layer(module) == "kernel":
            imported = {layer(other) for other in imports(path.read_text())}
            assert imported <= {"kernel", "errors", "places"}


def code_and_comment(source: str) -> int:
    """How many lines of `source` hold code or a comment; docstrings and blank lines do not count."""
    lines = set()
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = token.type == tokenize.STRING and previous in (
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.NL,
        )
        if (
            token.type
            not in (
                tokenize.NL,
                tokenize.NEWLINE,
                tokenize.INDENT,
                tokenize.DEDENT,
                tokenize.ENDMARKER,
            )
            and not docstring
        ):
            lines |= set(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.COMMENT:
            previous = token.type
    return len(lines)


def test_the_core_is_under_1460_lines_of_code_and_comment() -> None:
    assert (
        sum(code_and_comment(path.read_text()) for path in (PACKAGE / "kernel").glob("*.py")) < 1460
    )


def test_counting_leaves_out_docstrings_and_blank_lines() -> None:
    assert (
        code_and_comment(
            '"""Doc.\n\nMore."""\n\n# why\nx = 1\n\ndef f():\n    """D."""\n    return x\n'
        )
        == 4
    )


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_function_is_over_25_lines_but_the_run_loop(module: str) -> None:
    tree = ast.parse(modules()[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "_round":
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 25, f"{module}.{node.name} has {length} lines"


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_module_says_what_it_is_for_and_has_under_400_lines(module: str) -> None:
    source = modules()[module].read_text()
    assert ast.get_docstring(ast.parse(source))
    assert code_and_comment(source) < 400
