"""Debug mode: what was made and never yielded is told of, at the line that made it.

The programs run in processes of their own, as people run them. Our own suite has the
mode on (conftest.py), so each test of it is a test for false alarms as well.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, python, vrun

from microthreads import Channel, Queue, gather, select, sleep, spawn, timeout

HEAD = "from microthreads import *\n"
DEV = ("-X", "dev")


def ran(path: Path, text: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in debug mode; its lines are counted from the one below the imports."""
    path = path / "program.py"
    path.write_text(HEAD + textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    options = {"warnings": "default", "seconds": 60, **options}
    return python(*(arguments or DEV), str(path), **options)


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was told of, each with its line in the program."""
    return [
        f"{int(line) - 1}: {text}"
        for line, text in re.findall(r"program\.py:(\d+): RuntimeWarning: (.*)", done.stderr)
    ]


# Each mistake, with what is said of it. The first line is the program's first.
MISTAKES = {
    "sleep": (
        """
        def main():
            sleep(1)
            yield
        run(main())
        """,
        ["2: sleep(1) was never yielded, so it did nothing: `yield sleep(1)`"],
    ),
    "sleep in a coroutine": (
        """
        async def main():
            sleep(1)
        run(main())
        """,
        ["2: sleep(1) was never awaited, so it did nothing: `await sleep(1)`"],
    ),
    "spawn": (
        """
        def main():
            t = spawn(main())
            print(t)
            yield
        run(main())
        """,
        ["2: spawn(main()) was never yielded, so it did nothing: `yield spawn(main())`"],
    ),
    "spawn outside a run": (
        """
        def work():
            yield
        t = spawn(work())
        print(t)
        """,
        [
            (
                "3: spawn(work()) was never yielded or awaited, so it did nothing: a task does that, "
                "by `yield spawn(work())` in a routine"
            )
        ],
    ),
    "gather": (
        """
        def work():
            yield
        def main():
            gather(work(), work())
            yield
        run(main())
        """,
        [
            (
                "4: gather(work(), work()) was never yielded, so it did nothing: "
                "`yield gather(work(), work())`"
            )
        ],
    ),
    "a supervisor": (
        """
        def main():
            supervisor = Supervisor()
            supervisor.run()
            yield
        run(main())
        """,
        ["3: supervisor.run() was never yielded, so it did nothing: `yield supervisor.run()`"],
    ),
    "a server": (
        """
        def main():
            serve(print, "127.0.0.1", 0)
            yield
        run(main())
        """,
        [
            (
                '2: serve(print, "127.0.0.1", 0) was never yielded, so it did nothing: '
                '`yield serve(print, "127.0.0.1", 0)`'
            )
        ],
    ),
    "parallel_map": (
        """
        def main():
            parallel_map(print, [1, 2], limit=1)
            yield
        run(main())
        """,
        [
            (
                "2: parallel_map(print, [1, 2], limit=1) was never yielded, so it did nothing: "
                "`yield parallel_map(print, [1, 2], limit=1)`"
            )
        ],
    ),
    "spawn of a group": (
        """
        def work():
            yield
        def main():
            with TaskGroup() as group:
                group.spawn(work())
                yield group.join()
        run(main())
        """,
        [
            (
                "5: group.spawn(work()) was never yielded, so it did nothing: "
                "`yield group.spawn(work())`"
            )
        ],
    ),
    "acquire": (
        """
        def main():
            Lock().acquire(
                timeout=1)
            yield
        run(main())
        """,
        ["2: Lock.acquire(...) was never yielded, so it did nothing: `yield Lock.acquire(...)`"],
    ),
    "compared": (
        """
        def main():
            c = Channel(1)
            yield c.send(5)
            if c.recv() == 5:
                print("five")
        run(main())
        """,
        ["4: c.recv() was never yielded, so it did nothing: `yield c.recv()`"],
    ),
    "formatted": (
        """
        def main():
            q = Queue()
            yield q.put(1)
            print(f"got {q.get()}")
        run(main())
        """,
        ["4: q.get() was never yielded, so it did nothing: `yield q.get()`"],
    ),
    "iterated over": (
        """
        def main():
            c = Channel(1)
            yield c.send(5)
            for x in c.recv():
                print(x)
        run(main())
        """,
        ["4: c.recv() was never yielded, so it did nothing: `yield c.recv()`"],
    ),
    "unpacked": (
        """
        def main():
            c = Channel(1)
            yield c.send((1, 2))
            try:
                a, b = c.recv()
            except ValueError:
                pass
        run(main())
        """,
        ["5: c.recv() was never yielded, so it did nothing: `yield c.recv()`"],
    ),
    "as JSON": (
        """
        import json
        def main():
            q = Queue()
            yield q.put(1)
            try:
                json.dumps(q.get())
            except TypeError:
                pass
        run(main())
        """,
        ["6: q.get() was never yielded, so it did nothing: `yield q.get()`"],
    ),
    "contextmanager": (
        """
        from contextlib import contextmanager
        @contextmanager
        def resource():
            yield sleep(0.1)
        def main():
            with resource() as r:
                yield
        run(main())
        """,
        [
            (
                "4: sleep(0.1) was yielded, but not to the kernel, so it did nothing: whatever runs "
                "resource() itself (a `for`, next(), the `with` of a @contextmanager) got the call in "
                "place of its result. Have a task yield the routine, or use @asynccontextmanager and "
                "`async with`"
            )
        ],
    ),
    "clean-up that yields": (
        """
        def work():
            try:
                yield sleep(9)
            finally:
                yield sleep(0.1)
                print("never")
        def main():
            task = yield spawn(work())
            yield
            task.cancel()
        run(main())
        """,
        [
            (
                "5: task #2 work is cancelled, so `sleep` was cut off, and what follows it: every "
                "yield raises `Cancelled` again. Clean up without yields, or inside "
                "`with shield(seconds):`"
            )
        ],
    ),
    "a bare except": (
        """
        def work():
            for _ in range(150):
                try:
                    yield sleep(9)
                except:
                    pass
        def main():
            task = yield spawn(work())
            yield
            task.cancel()
        run(main())
        """,
        [
            (
                "4: task #2 work is cancelled, so `sleep` was cut off, and what follows it: every "
                "yield raises `Cancelled` again. Clean up without yields, or inside "
                "`with shield(seconds):`"
            ),
            (
                "4: task #2 work has swallowed its cancellation 100 times, and goes on: let "
                "`Cancelled` through, as `except Exception:` does and a bare `except:` does not"
            ),
        ],
    ),
    "a result that nobody asks for": (
        """
        def work():
            yield
            return 5
        def main():
            for _ in range(3):
                yield spawn(work())
        run(main())
        """,
        [
            (
                "6: task work returned something (int) and nobody joined it: `yield` the task to have "
                "that, or have it return nothing"
            )
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_of_at_its_line_with_what_to_write(name: str, tmp_path: Path) -> None:
    text, news = MISTAKES[name]
    done = ran(tmp_path, text)
    assert (told(done), done.returncode) == (news, 0)


@pytest.mark.parametrize("name", MISTAKES)
def test_nothing_is_told_where_debug_mode_is_off(name: str, tmp_path: Path) -> None:
    done = ran(tmp_path, MISTAKES[name][0], "-u", MICROTHREADS_DEBUG="0")
    assert (done.stderr, done.returncode) == ("", 0)


# How it is asked for, and how it is heard


FORGOTTEN = "def main():\n    sleep(1)\n    yield\n"
NEWS = ["2: sleep(1) was never yielded, so it did nothing: `yield sleep(1)`"]


RIGHT = {
    "a handler that is no routine": """
        def plain(stream):
            pass
        async def main():
            listener = listen("127.0.0.1", 0)
            serving = await spawn(serve_on(plain, [listener]))
            async with await open_connection(*listener.getsockname()) as stream:
                await stream.read(1)
            serving.cancel()
        run(main())
    """,
    "what an accept_loop's handler returns": """
        def handler(connection):
            return (yield connection.recv())
        async def main():
            listener = listen("127.0.0.1", 0)
            serving = await spawn(accept_loop(listener, handler))
            async with await open_connection(*listener.getsockname()) as stream:
                await stream.write(b"x")
                await stream.read(1)
            serving.cancel()
            listener.close()
        run(main())
    """,
    "what ready() makes": """
        async def handler(stream):
            pass
        async def main():
            channel = Channel(1)
            serving = await spawn(serve(handler, "127.0.0.1", 0, ready=channel.send))
            await sleep(0)
            await sleep(0)
            serving.cancel()
        run(main())
    """,
    "routines that were cancelled before they began": """
        def inner(call):
            yield call
        def main():
            task = yield spawn(gather(inner(sleep(1)), inner(sleep(2))))
            task.cancel()
            yield
        run(main())
    """,
    "a call that was yielded, and could not be made": """
        class Wrong(SystemCall):
            def __init__(self):
                pass
            def attempt(self, task):
                pass
        def main():
            try:
                yield Wrong()
            except AttributeError:
                pass
        run(main())
    """,
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_program_could_not_yield_is_not_told_of(name: str, tmp_path: Path) -> None:
    done = ran(tmp_path, RIGHT[name])
    assert "RuntimeWarning" not in done.stderr


def test_a_call_that_is_posted_is_told_of_at_the_post(tmp_path: Path) -> None:
    text = """
        def main():
            channel = Channel(1)
            current_task().kernel.post(channel.send, 1)
            current_task().kernel.post(channel.try_send, 1)
            yield
        run(main())
    """
    (news,) = told(ran(tmp_path, text))
    assert news.startswith("3: Channel.send() makes what is to be yielded, and post() only calls")


def test_advice_that_would_be_wrong_is_not_given(tmp_path: Path) -> None:
    text = """
        def main():
            channel = Channel(9)
            list(map(channel.send, [1]))
            any(channel.send(each) is None for each in [1])
            yield
        run(main())
    """
    assert told(ran(tmp_path, text)) == [
        (
            "3: what `list(map(channel.send, [1]))` made was never yielded or awaited, so it did "
            "nothing"
        ),
        "4: channel.send(each) was never yielded by a routine, so it did nothing",
    ]


def test_the_environment_variable_turns_it_on(tmp_path: Path) -> None:
    done = ran(tmp_path, FORGOTTEN + "run(main())\n", "-u", MICROTHREADS_DEBUG="1")
    assert told(done) == NEWS


def test_run_with_debug_turns_it_on_for_routines_as_well(tmp_path: Path) -> None:
    text = FORGOTTEN + "    gather()\n"
    assert told(ran(tmp_path, text, "-m", "microthreads", "run", "--debug")) == [
        *NEWS,
        "4: gather() was never yielded, so it did nothing: `yield gather()`",
    ]
    assert told(ran(tmp_path, text, "-m", "microthreads", "run")) == []


def test_only_the_environment_variable_has_the_kernel_checked_as_well(tmp_path: Path) -> None:
    text = "print(len(Kernel.default_observers))\n"
    assert ran(tmp_path, text).stdout == "0\n"
    assert ran(tmp_path, text, "-u", MICROTHREADS_DEBUG="1").stdout == "1\n"


def test_what_lives_until_python_ends_is_told_of_then_and_quietly(tmp_path: Path) -> None:
    text = """
    class Circle: pass
    kept = Circle()
    kept.kept, kept.call, kept.routine = kept, sleep(1), gather()
    """
    done = ran(tmp_path, text)
    assert [news.split(" was ")[0] for news in told(done)] == ["3: sleep(1)", "3: gather()"]
    assert "ignored" not in done.stderr


def test_where_warnings_are_errors_it_is_one_that_cannot_be_raised_as_pythons_own(
    tmp_path: Path,
) -> None:
    done = ran(tmp_path, FORGOTTEN + "run(main())\n", *DEV, warnings="error")
    assert "Exception ignored in" in done.stderr
    assert "RuntimeWarning: sleep(1) was never yielded" in done.stderr
    assert done.returncode == 0


def test_a_filter_for_the_programs_module_is_heeded(tmp_path: Path) -> None:
    quiet = "import warnings\nwarnings.filterwarnings('ignore', module='__main__')\n"
    assert told(ran(tmp_path, quiet + FORGOTTEN + "run(main())\n")) == []


def test_one_line_is_told_of_once_however_often_it_forgets(tmp_path: Path) -> None:
    text = "def main():\n    for _ in range(1000): sleep(1)\n    yield\nrun(main())\n"
    assert told(ran(tmp_path, text)) == NEWS


def test_without_debug_mode_nothing_of_it_is_imported() -> None:
    text = "import sys, microthreads.groups; print([n for n in sys.modules if 'observe' in n])"
    assert python("-c", text, MICROTHREADS_DEBUG="0").stdout == "[]\n"


def test_the_names_of_calls_and_routines_are_the_same_when_watched(tmp_path: Path) -> None:
    text = """
    def main():
        task = yield spawn(gather())
        print(task.name, gather.__name__, accept_loop.__name__)
        yield task
    run(main())
    """
    assert ran(tmp_path, text).stdout == ran(tmp_path, text, "-u").stdout != ""


# What is not told of: this suite's own mode is on, and `forgotten_yields` is what it has told


def test_a_call_that_is_made_once_and_yielded_often_is_used(forgotten_yields: list[str]) -> None:
    def main():
        nap = sleep(0.1)
        for _ in range(3):
            yield nap

    vrun(main())
    assert forgotten_yields == []


def test_the_losers_of_a_select_are_used_whether_they_were_tried_or_not(
    forgotten_yields: list[str],
) -> None:
    def main():
        channel = Channel(1)
        channel.try_send(1)
        yield select(sleep(1), channel.recv(), Queue().get(timeout=5))
        with timeout(1):
            yield select(select(Channel().recv(), sleep(0.5)), sleep(2))

    vrun(main())
    assert forgotten_yields == []


def test_a_call_that_a_cancellation_kept_from_its_yield_is_not_told_of(
    forgotten_yields: list[str],
) -> None:
    def keeps(channel):
        later = channel.recv()
        yield sleep(9)
        yield later

    def main():
        task = yield spawn(keeps(Channel()))
        yield sleep(1)
        task.cancel()
        yield sleep(1)
        del task

    vrun(main())
    assert forgotten_yields == []


def test_what_was_refused_with_an_error_is_not_told_of_as_well(
    forgotten_yields: list[str],
) -> None:
    def main():
        channel = Channel()
        for wrong in (
            lambda: channel.recv() + 1,
            lambda: bool(channel.recv()),
            lambda: spawn(channel.recv()),
            lambda: Queue().get(timeout=-1),
            lambda: select(channel.recv(), None),
        ):
            with pytest.raises((TypeError, ValueError)):
                wrong()
        yield

    vrun(main())
    assert forgotten_yields == []


def test_routines_that_are_given_on_are_told_of_by_what_they_were_given_to(
    forgotten_yields: list[str],
) -> None:
    def main():
        with timeout(1):
            yield gather(gather(), gather())
            task = yield spawn(gather())
            yield task

    vrun(main())
    assert forgotten_yields == []


@pytest.mark.forgets
def test_a_routine_that_was_forgotten_with_what_it_has_is_told_of_once(
    forgotten_yields: list[str],
) -> None:
    def main():
        spawn(gather(gather()))
        select(sleep(1), select(sleep(2)))
        yield

    vrun(main())
    assert [news.split(": ")[1] for news in forgotten_yields] == [
        "spawn(gather(gather())) was never yielded, so it did nothing",
        "select(sleep(1), select(sleep(2))) was never yielded, so it did nothing",
    ]


# Our own suite


OURS = """
import pytest
from microthreads import run, sleep

def main():
    sleep(1)
    yield

def test_one():
    run(main())

@pytest.mark.forgets
def test_two():
    run(main())
"""


def test_a_test_of_ours_that_forgets_a_yield_fails_unless_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "test_ours.py"
    path.write_text(OURS, encoding="utf-8")
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conftest"]
    arguments += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(path)]
    done = python(*arguments, PYTHONPATH=str(ROOT / "tests"), warnings="default")
    assert "test_ours.py:6: sleep(1) was never yielded, so it did nothing" in done.stdout
    assert "2 passed, 1 error" in done.stdout


# What the documentation says


PAGE = (ROOT / "docs" / "first-steps.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("(forgotten-yields)=") :]


def quoted(mark: str, section: str = SECTION) -> str:
    """The first block behind a mark in the section on forgotten yields."""
    return re.split(r"^```\w*\n", section[section.index(mark) :], maxsplit=1, flags=re.M)[1].split(
        "```"
    )[0]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(quoted("<!-- skip -->"), encoding="utf-8")
    return tmp_path


def test_debug_mode_says_what_first_steps_says_that_it_does(example: Path) -> None:
    done = python("program.py", cwd=example, warnings="default", MICROTHREADS_DEBUG="1")
    errors = done.stderr.replace(str(example), "/home/you")
    assert (done.stdout, errors) == ("", quoted("<!-- output of debug mode -->"))


def test_a_type_checker_says_what_first_steps_says_that_it_does(example: Path) -> None:
    pytest.importorskip("mypy")
    arguments = ("--enable-error-code", "unused-awaitable", "program.py")
    cache = str(example / "cache")
    done = python("-m", "mypy", "--cache-dir", cache, *arguments, cwd=example, warnings="default")
    assert done.stdout == quoted("<!-- output of mypy -->")


# Calls that are computed with


@pytest.mark.parametrize(
    "compute",
    [
        lambda call: call + 1,
        lambda call: 1 + call,
        lambda call: "a" + call,
        lambda call: call["x"],
        lambda call: call < 5,
        lambda call: 5 < call,
        lambda call: -call,
        lambda call: int(call),
        lambda call: range(call),
        lambda call: "abc"[call],
    ],
)
def test_a_call_that_is_taken_for_its_result_says_that_it_was_not_made(compute: Any) -> None:
    text = r"<Get: get from Queue \(0\)> is a call that has not been made: yield or await it"
    with pytest.raises(TypeError, match=text):
        compute(Queue().get())


@pytest.mark.forgets
def test_calls_are_told_apart_by_identity_as_ever() -> None:
    one, other = sleep(1), sleep(1)
    assert one in [other, one]
    assert one != other
