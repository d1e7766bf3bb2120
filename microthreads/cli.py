"""The command: ``python3 -m microthreads``, or ``microthreads`` when it is installed.

Exit codes: 0 all went well, 1 the program failed, 2 wrong usage, 3 deadlock,
130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import ast
import errno
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import microthreads
from microthreads.errors import Cancelled, DeadlockError
from microthreads.kernel.routines import is_routine
from microthreads.places import without_our_frames
from microthreads.runtime.reports import note_hint

FAILED, USAGE, DEADLOCK, CTRL_C = 1, 2, 3, 130

EXAMPLES = """\
examples:
  python3 -m microthreads demo
  python3 -m microthreads demo --clients 100 --messages 1000 --poller poll
  python3 -m microthreads run program.py
  python3 -m microthreads run program.py:start 8080 --verbose

exit codes: 0 success, 1 failure, 2 wrong usage, 3 deadlock, 130 Ctrl-C
"""


class UsageError(Exception):
    """The command line asks for what is not there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
        sys.stdout.flush()
    except UsageError as error:
        return _end(USAGE, str(error))
    except DeadlockError as error:
        return _end(DEADLOCK, f"deadlock: {error}")
    except KeyboardInterrupt:
        return _end(CTRL_C, "interrupted")
    except (Exception, BaseExceptionGroup, Cancelled) as error:
        return _failed(error)
    return 0


def _end(code: int, message: str) -> int:
    print(f"microthreads: {message}", file=sys.stderr)
    return code


def _failed(error: BaseException) -> int:
    """Tell of a failure: in one line if output cannot be written, else with its traceback."""
    number = error.errno if isinstance(error, OSError) else None
    if number not in (errno.EPIPE, errno.ENOSPC):
        note_hint(error)
        traceback.print_exception(error.with_traceback(own_part(error)))
        return FAILED
    # Nobody reads standard output any more, or the disk is full. What is still
    # in its buffer must not fail a second time when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED if number == errno.EPIPE else _end(FAILED, f"cannot write: {error}")


def own_part(error: BaseException) -> TracebackType | None:
    """The traceback of `error` from the first frame on that is the script's own."""
    trace = without_our_frames(error).__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
        trace = trace.tb_next
    return trace


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="microthreads",
        description="Green threads in pure Python.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"microthreads {microthreads.__version__}, Python {sys.version.split()[0]}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="an echo server, its clients, a ticker and a pipeline in one kernel",
        description="Start an echo server and its clients in one kernel, beside a ticking task "
        "and a pipeline of channels; check every byte; print what happened.",
        epilog="example: python3 -m microthreads demo --clients 200 --size 4096",
    )
    demo.add_argument("--clients", type=_positive, default=500, help="at once (default 500)")
    demo.add_argument("--messages", type=_positive, default=100, help="a client (default 100)")
    demo.add_argument("--size", type=_positive, default=1024, help="of one, in bytes (1024)")
    demo.add_argument("--poller", choices=["epoll", "poll", "select"], help="default: the best")
    demo.set_defaults(action=_demo)


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run a script's main routine",
        description="Run the routine `main` of a script, or the one that is named behind a colon. "
        "It gets ARGS as strings, and sees them in sys.argv. The script's "
        'if __name__ == "__main__" part is not run.',
        epilog="example: python3 -m microthreads run program.py:start 8080",
    )
    run.add_argument(
        "--debug",
        action="store_true",
        help="tell of calls that were never yielded, and the like, at the line that made them",
    )
    run.add_argument("script", metavar="FILE.py[:ROUTINE]")
    run.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS").required = False
    run.set_defaults(action=_run)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number, 1 or more")
    return int(text)


def _demo(options: argparse.Namespace) -> None:
    from microthreads.demo import Demo  # noqa: PLC0415  (`run --debug` comes before groups and net)

    try:
        demo = Demo(options.clients, options.messages, options.size, options.poller)
        demo.run()
    except ValueError as error:  # a poller that this platform, or so many clients, cannot have
        raise UsageError(error) from None


def _run(options: argparse.Namespace) -> None:
    if options.debug:
        from microthreads.observe.forgotten import watch  # noqa: PLC0415  (costs nothing if not)

        watch()
    path, routine = _split(options.script)
    function = _load(path, routine, options.args)
    try:
        inspect.signature(function).bind(*options.args)
    except TypeError as error:
        raise UsageError(f"{routine}() of {path}: {error}") from None
    main_routine = function(*options.args)
    if inspect.isasyncgen(main_routine):
        raise UsageError(
            f"{routine}() of {path} has a yield in an async def: that makes it an async generator, "
            "and no routine; await system calls there instead"
        )
    if not is_routine(main_routine):
        raise UsageError(
            f"{routine}() of {path} returned {main_routine!r}: it must be a generator (with a "
            "yield in it) or an async def"
        )
    microthreads.run(main_routine)


def _split(script: str) -> tuple[Path, str]:
    path, colon, routine = script.rpartition(":")
    if not colon or not path.endswith(".py"):
        path, routine = script, "main"
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}")
    return Path(path), routine or "main"


def _load(path: Path, routine: str, args: list[str]) -> Callable[..., Any]:
    """The function `routine` of the script at `path`, the script's body run."""
    spec = importlib.util.spec_from_file_location("__script__", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python script: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["__script__"] = module
    sys.path.insert(0, str(path.parent.resolve()))
    sys.argv = [str(path), *args]
    spec.loader.exec_module(module)
    _warn_of_run(path, module)
    function: Callable[..., Any] | None = getattr(module, routine, None)
    if function is None or not callable(function):
        names = [name for name, value in vars(module).items() if _is_own_routine(value)]
        known = f"; it has {', '.join(names)}" if names else ""
        raise UsageError(f"{path} has no routine {routine}{known}")
    return function


def _warn_of_run(path: Path, module: Any) -> None:
    """Tell of a `run(main())` that stands free in the script: it has run, and now runs again."""
    for statement in ast.parse(path.read_bytes()).body:
        free = isinstance(statement, ast.Expr | ast.Assign)
        for node in ast.walk(statement) if free else ():
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            ours = called == "run" and getattr(module, "run", None) is microthreads.run
            if ours or called == "microthreads.run":
                where = f"{path}:{statement.lineno} called run() when the script was loaded"
                text = f'{where}; put that below `if __name__ == "__main__":`'
                print(f"microthreads: {text}", file=sys.stderr)


def _is_own_routine(thing: Any) -> bool:
    """Whether the script defines it, and a call of it makes a routine."""
    makes_routine = inspect.isgeneratorfunction(thing) or inspect.iscoroutinefunction(thing)
    return makes_routine and thing.__module__ == "__script__"
