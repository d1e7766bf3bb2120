"""What is said of a wrong program: what happened, to which object, and what to do.

The programs are in tests/mistakes/, each with what is said of it in its docstring;
`python -m tests.mistakes --write` writes that anew, there and into docs/mistakes.md.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, program, python
from mistakes import __main__ as mistakes

import microthreads
import microthreads.net
import microthreads.queues
from microthreads import (
    Channel,
    DeadlockError,
    Event,
    Kernel,
    SystemCall,
    TaskGroup,
    current_task,
    listen,
    now,
    open_connection,
    open_udp,
    run,
    select,
    serve,
    sleep,
    spawn,
    timeout,
    wait_future,
    wait_signal,
)
from microthreads.hints import hint_for
from microthreads.kernel import PENDING
from microthreads.names import HERE, IN_OTHER_WORDS

Gen = Generator[Any, Any, Any]

# The rows of the list that this answers. Forgotten yields that no kernel can see are the debug
# mode's, and calls that block the thread a watchdog's.
ROWS = (
    "ctx D5 57 58 A6 emb 16 17 19 20 A4 94 D4 06 E2 12 14 15 39 40 48 24 27 28 29 30 46 54 84 85 "
    "89 62 63 25 65 76 77 D9 66 67 73 75 95 97 A9 CLI D7"
).split()


@pytest.fixture(scope="module")
def said() -> Any:
    """What is said of each program: all are run in one process."""
    done = python("-m", "tests.mistakes", "--json", warnings="default")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", mistakes.names())
def test_a_wrong_program_is_told_what_happened_and_what_to_do(said: Any, name: str) -> None:
    expected = mistakes.textwrap.dedent(mistakes.docstring(name)["said"])
    assert said[name] == expected


def test_every_row_of_the_list_has_its_program() -> None:
    assert set(ROWS) == {mistakes.docstring(name)["row"] for name in mistakes.names()} - {"also"}


def test_the_page_quotes_what_the_programs_are_told() -> None:
    page = mistakes.PAGE.read_text(encoding="utf-8")
    quoted = [(match["name"], match[0]) for match in mistakes.ON_PAGE.finditer(page)]
    assert len(quoted) == page.count("<!-- mistake:") > 35
    assert quoted == [(name, mistakes.entry(name)) for name, _ in quoted]


# ---- names of other libraries


def raised_by(main: Any, **options: Any) -> Any:
    with pytest.raises(Exception) as caught:
        run(main, **options)
    return caught.value


def hints_on(error: BaseException) -> list[str]:
    return [note for note in getattr(error, "__notes__", []) if note.startswith("hint: ")]


PUBLIC = [getattr(microthreads, name) for name in microthreads.__all__]
ATTRIBUTES = {name for each in PUBLIC if isinstance(each, type) for name in dir(each)}


@pytest.mark.parametrize("ours", HERE)
def test_what_a_name_is_called_here_is_there(ours: str) -> None:
    assert ours in microthreads.__all__ or ours in ATTRIBUTES


def test_no_name_that_is_there_is_said_to_be_called_otherwise() -> None:
    assert set(IN_OTHER_WORDS).isdisjoint(microthreads.__all__)


@pytest.mark.parametrize("name", ["wait_for", "create_task", "to_thread", "start_soon", "Nursery"])
def test_an_import_of_another_librarys_name_says_what_it_is_called_here(name: str) -> None:
    with pytest.raises(ImportError, match=f"cannot import name '{name}' from 'microthreads': ."):
        exec(f"from microthreads import {name}")
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': ."):
        getattr(microthreads, name)
    assert not hasattr(microthreads, name)


def test_a_name_that_nobody_knows_is_pythons_to_tell() -> None:
    with pytest.raises(
        AttributeError, match=r"^module 'microthreads' has no attribute 'nonsense'$"
    ):
        microthreads.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'microthreads'"):
        exec("from microthreads import nonsense")


def attempt(function: Any) -> Gen:
    yield
    function()


@pytest.mark.parametrize(
    ("make", "name", "ours"),
    [
        (lambda: Channel(), "put", "send"),
        (lambda: Channel(), "get_nowait", "try_recv"),
        (lambda: microthreads.Queue(), "send", "put"),
        (lambda: TaskGroup(), "start_soon", "spawn"),
        (lambda: microthreads.Lock(), "unlock", "release"),
        (lambda: Channel, "receive", "recv"),
        (lambda: Event(), "terminate", None),
    ],
)
def test_a_method_of_another_librarys_is_told_its_name_here(
    make: Any, name: str, ours: str | None
) -> None:
    error = raised_by(attempt(lambda: getattr(make(), name)))
    expected = [] if ours is None else [f"hint: it is called {ours} here"]
    assert [hint.split(",")[0] for hint in hints_on(error)] == expected


class Channel2:
    """A class of the program's own."""


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Channel2().put,
        lambda: spawn2(1, 2),
        lambda: 1 + "1",
        lambda: None.create_future,
        lambda: {}["put"],
    ],
)
def test_what_has_nothing_to_do_with_us_gets_no_hint(mistake: Any) -> None:
    assert hints_on(raised_by(attempt(mistake))) == []


def spawn2() -> None:
    pass


def test_a_function_of_the_programs_own_with_our_name_gets_no_hint() -> None:
    done = program(
        """
        from microthreads import run
        def spawn(): pass
        def main():
            yield
            spawn(1)
        run(main())
        """
    )
    assert "spawn() takes 0 positional arguments but 1 was given" in done.stderr
    assert "hint" not in done.stderr


def test_a_hint_is_given_once_however_many_tasks_the_error_ends() -> None:
    def fail() -> Gen:
        yield
        Channel().put(1)  # type: ignore[attr-defined]

    def joining(task: Any) -> Gen:
        yield task

    def main() -> Gen:
        first = yield spawn(fail())
        yield (yield spawn(joining(first)))

    assert len(hints_on(raised_by(main()))) == 1


def test_an_error_that_comes_from_a_loop_of_asyncio_in_a_thread_gets_no_hint() -> None:
    def in_thread() -> None:
        async def main() -> None:
            raise RuntimeError("Event loop is closed")

        asyncio.run(main())

    def main() -> Gen:
        with ThreadPoolExecutor(1) as pool:
            yield wait_future(pool.submit(in_thread))

    assert hints_on(raised_by(main())) == []


def in_executor(function: Any, *args: Any) -> Gen:
    with ThreadPoolExecutor(1) as pool:
        yield wait_future(pool.submit(function, *args))


async def uses_none_as_a_loop() -> None:
    await asyncio.sleep(0)
    loop: Any = None
    loop.create_future()


async def asks_in_a_thread_of_asyncio() -> None:
    await asyncio.to_thread(asyncio.get_running_loop)


def test_asyncio_that_is_used_in_a_thread_gets_no_hint() -> None:
    for make in (uses_none_as_a_loop, asks_in_a_thread_of_asyncio):
        assert hints_on(raised_by(in_executor(lambda make=make: asyncio.run(make())))) == []
    assert hints_on(raised_by(in_executor(asyncio.get_running_loop))) == []


def test_an_error_of_the_programs_own_with_asyncios_words_gets_no_hint() -> None:
    def fail() -> None:
        raise RuntimeError("no running event loop")

    assert hints_on(raised_by(attempt(fail))) == []


def numbers() -> Gen:
    yield 1


async def async_numbers() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        (lambda: numbers().append(3), "hint: if numbers() makes a routine, it has not run"),
        (lambda: (each for each in [1]).append(3), None),
        (lambda: open_connection("", 1).write, "hint: open_connection() made a routine, which"),
        (
            lambda: iter(async_numbers()),
            "hint: an `async def` with a `yield` in it is an async gen",
        ),
        (lambda: memoryview("x"), "hint: if it was for a connection"),  # type: ignore[arg-type]
        (lambda: submit(1), "hint: if microthreads' is meant: it is called spawn here"),  # type: ignore[name-defined]  # noqa: F821, E501
        (lambda: Subclass().closed, "hint: the __init__ of Subclass must call super().__init__()"),
        (lambda: Subclass().nothing, None),  # type: ignore[attr-defined]
        (lambda: microthreads.Stream.drain, "hint: `write` returns when there is room"),  # type: ignore[attr-defined]  # noqa: E501
    ],
)
@pytest.mark.forgets
def test_a_hint_says_no_more_than_is_known(mistake: Any, hint: str | None) -> None:
    hints = hints_on(raised_by(attempt(mistake)))
    assert [text.startswith(hint or "nothing") for text in hints] == [True] * (hint is not None)


class Subclass(Channel[Any]):
    def __init__(self) -> None:
        self.log: list[Any] = []


AWAITED = [
    (lambda: Event().set(), "if a plain call was awaited"),
    (lambda: [sleep(1)], "await them one by one"),
    (lambda: Channel(1), "did you mean its recv() or send()?"),
    (lambda: Event(), "did you mean its wait()?"),
    (lambda: numbers, "that is the function itself"),
    (lambda: Future[None](), "await wait_future(future)"),
    (lambda: async_numbers(), "an `async def` with a `yield` in it"),
    (lambda: Channel2(), None),
    (lambda: 5, None),
]


@pytest.mark.parametrize(("make", "hint"), AWAITED)
@pytest.mark.forgets
def test_what_was_meant_by_awaiting_it_is_said(make: Any, hint: str | None) -> None:
    async def main() -> None:
        await make()

    hints = hints_on(raised_by(main()))
    assert len(hints) == (hint is not None)
    assert (hint or "") in "".join(hints)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("task.done()", "hint: done of a Task is no method: leave the parentheses away"),
        ("task.cancelled()", "hint: a task that was cancelled raises `Cancelled`"),
        ("own.done()", None),
        ("task.result()()", None),
    ],
)
def test_a_value_that_is_called_as_a_method_is_said_to_be_none(
    tmp_path: Path, call: str, hint: str | None
) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "from microthreads import run, spawn\nclass Own:\n    done = True\n"
        "async def main():\n    own, task = Own(), await spawn(work())\n    await task\n"
        f"    {call}\nasync def work():\n    pass\nrun(main())\n"
    )
    done = python(str(path))
    assert "object is not callable" in done.stderr
    assert ("hint" in done.stderr) == (hint is not None)
    assert (hint or "") in done.stderr


def test_a_routine_of_ours_that_asyncio_runs_is_told_whose_it_is() -> None:
    async def main() -> None:
        await sleep(1)

    with pytest.raises(RuntimeError) as caught:
        run(attempt(lambda: asyncio.run(main())))
    assert hints_on(caught.value)[0].endswith("is for microthreads.run, not for asyncio")


def test_a_handler_that_is_no_routine_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def plain(stream: Any) -> None: ...

    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        with timeout(20):
            serving = await spawn(microthreads.serve_on(plain, [listener]))  # type: ignore[arg-type]
            async with await open_connection(*listener.getsockname()) as stream:
                await stream.read(1)
        serving.cancel()

    run(main())
    assert "serve() with the handler plain() needs a generator" in caplog.text


def test_a_handler_of_an_accept_loop_that_is_no_routine_is_named() -> None:
    def plain(connection: Any) -> None: ...

    async def main() -> None:
        with listen("127.0.0.1", 0) as listener, timeout(20):
            async with TaskGroup() as group:
                await group.spawn(microthreads.accept_loop(listener, plain))  # type: ignore[arg-type]
                await open_connection(*listener.getsockname())
                await sleep(20)

    error = raised_by(main())
    assert "accept_loop() with the handler plain() needs a gen" in str(error.exceptions[0])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: wait_signal([2, 15]), r"give them one by one"),  # type: ignore[arg-type]
        (lambda: select(sleep(each) for each in [1]), r"give what is in it one by one"),  # type: ignore[arg-type,call-overload]
        (lambda: serve_a_socket(), r"needs a list of listening sockets: write \[listener\]"),
    ],
)
def test_what_is_to_be_given_one_by_one_or_in_a_list_is_said(make: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


def serve_a_socket() -> None:
    with listen("127.0.0.1", 0) as listener:
        microthreads.serve_on(print, listener)  # type: ignore[arg-type]


# ---- system calls of the program's own


class Bare(SystemCall[int]):
    pass


class WithoutArm(SystemCall[Any]):
    def attempt(self, task: Any) -> Any:
        return PENDING


@dataclasses.dataclass
class WithoutSuper(SystemCall[int]):
    gate: int

    def attempt(self, task: Any) -> Any:
        return self.gat  # type: ignore[attr-defined]


class Misspelt(SystemCall[int]):
    def __init__(self) -> None:
        super().__init__()
        self.gate = 1

    attempt = WithoutSuper.attempt


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (Bare, "class Bare must define `def attempt(self, task)`"),
        (WithoutArm, "class WithoutArm must define `def arm(self, waiter)`"),
        (lambda: WithoutSuper(1), "its __init__ must call super().__init__() (in a dataclass: "),
        (Misspelt, "'Misspelt' has no 'gat': it is a system call; if its result is meant, "),
    ],
)
def test_a_system_call_of_the_programs_own_is_told_what_it_lacks(make: Any, text: str) -> None:
    def main() -> Gen:
        yield make()

    error = raised_by(main())
    assert text in str(error)
    assert hints_on(error) == []


def test_a_hint_that_cannot_be_found_stops_nothing() -> None:
    class Hostile(TypeError):
        def __str__(self) -> str:
            raise KeyError

    def main() -> Gen:
        yield
        raise Hostile

    assert type(raised_by(main())) is Hostile


def test_a_syntax_error_in_an_async_generator_has_its_hint() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("async def f():\n    yield\n    return 1\n", "f.py", "exec")
    assert "async generator" in str(hint_for(caught.value))


# ---- yielded by mistake


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        ((1, 2), "gather"),
        (Future[None](), "wait_future"),
        (Event(), "its wait()"),
        (TaskGroup(), "it is a block, `with TaskGroup"),
        (Channel(1), "did you mean its recv() or send()?"),
        (async_numbers(), "gone through by `async for`"),
        (threading.Event(), "no system call, task or routine"),
        (threading.Lock(), "no system call, task or routine"),
        ({}, "a routine gives its result by `return`"),
    ],
)
def test_what_was_meant_by_yielding_it_is_said(thing: Any, hint: str) -> None:
    def main() -> Gen:
        yield thing

    text = str(raised_by(main()))
    assert hint in text
    if hint.endswith("routine"):
        assert text.endswith(hint)  # another library's objects are not ours to advise on


def test_unpacking_a_stream_is_not_said_to_be_a_for_alone() -> None:
    async def main() -> None:
        with listen("127.0.0.1", 0) as listener:
            async with await open_connection(*listener.getsockname()) as stream:
                _reader, _writer = stream  # type: ignore[misc]

    assert "a plain `for` (or unpacking) cannot wait for stream" in str(raised_by(main()))


def test_a_future_of_asyncio_that_is_awaited_is_told_apart() -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    async def main() -> None:
        await future

    try:
        assert "asyncio's, whose loop does not run" in str(raised_by(main()))
    finally:
        future.cancel()
        loop.close()


def done_with(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def waiting_for(future: Future[Any]) -> Gen:
    return (yield wait_future(future))


@pytest.mark.forgets
def test_a_routine_as_a_futures_result_is_refused_and_a_generator_expression_is_not() -> None:
    async def work() -> None: ...

    routine = work()
    assert "which has not run" in str(raised_by(waiting_for(done_with(routine))))
    routine.close()
    numbers = (number for number in [1])
    assert run(waiting_for(done_with(numbers))) is numbers
    begun = sleeping()
    begun.send(None)
    assert run(waiting_for(done_with(begun))) is begun


def sleeping() -> Gen:
    yield sleep(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: open_connection("127.0.0.1", "80"),  # type: ignore[arg-type]
        lambda: listen("127.0.0.1", "80"),  # type: ignore[arg-type]
        lambda: listen("127.0.0.1", None),  # type: ignore[arg-type]
        lambda: run(serve(print, "127.0.0.1", "80")),  # type: ignore[arg-type]
        lambda: open_udp("127.0.0.1", "80"),  # type: ignore[arg-type]
        lambda: open_udp(local_address=("127.0.0.1", "80")),  # type: ignore[arg-type]
    ],
)
def test_a_port_that_is_no_integer_is_named_as_such(make: Any) -> None:
    with pytest.raises(TypeError, match=r"port.* integer.*, got ('80'|None)"):
        make()


# ---- calls outside tasks


def test_a_plain_function_that_needs_a_task_is_named() -> None:
    for call, what in ((current_task, "task"), (now, "kernel")):

        def main(call: Any = call) -> None:
            call()

        text = rf"^no {what} is running in this thread.*main has no yield, so main\(\) runs at once"
        with pytest.raises(RuntimeError, match=text):
            main()


def test_a_generator_that_no_kernel_runs_is_not_said_to_have_no_yield() -> None:
    def routine() -> Gen:
        yield current_task()

    with pytest.raises(RuntimeError, match=r"use microthreads\.run\(main\(\)\)$"):
        next(routine())


# ---- deadlocks


def report(main: Any) -> DeadlockError:
    with pytest.raises(DeadlockError) as caught:
        run(main)
    return caught.value


def test_a_deadlock_says_nothing_of_threads_where_there_are_none() -> None:
    done = program(
        """
        import threading
        from microthreads import Channel, run
        thread = threading.Thread(target=print)
        thread.start()
        thread.join()
        def main():
            yield Channel().recv()
        run(main())
        """
    )
    assert "DeadlockError" in done.stderr
    assert "other threads" not in done.stderr


def test_a_deadlock_counts_the_threads_when_they_are_many() -> None:
    go = threading.Event()
    threads = [threading.Thread(target=go.wait, name=f"one{number}") for number in range(30)]
    for thread in threads:
        thread.start()
    try:
        text = report(sleepless()).advice.replace("\n", " ")
    finally:
        go.set()
        for thread in threads:
            thread.join()
    assert "more): from there, `kernel.post(event.set)` wakes a task" in text
    assert "`sleep(math.inf)`" in text


def sleepless() -> Gen:
    yield Channel().recv()


def test_what_a_deadlock_advises_is_true() -> None:
    """A task in `sleep(math.inf)` keeps the kernel waiting, and `kernel.post` wakes the other."""
    done = program(
        """
        import math, threading
        from microthreads import Event, current_task, run, sleep, spawn

        def main():
            kernel, event = current_task().kernel, Event()
            yield spawn(sleep_for_ever(), daemon=True)
            threading.Timer(0.01, kernel.post, (event.set,)).start()
            yield event.wait()
            print("woken")

        def sleep_for_ever():
            yield sleep(math.inf)

        run(main())
        """
    )
    assert (done.stdout, done.stderr) == ("woken\n", "")


def test_a_deadlock_error_keeps_its_advice_on_the_way_to_another_process() -> None:
    error = DeadlockError("the table", "the advice")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "nothing can wake the tasks that wait\nthe table\nthe advice"
    assert str(DeadlockError("the table")) == "nothing can wake the tasks that wait\nthe table"


def lost_in(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text("from microthreads import *\nimport microthreads\n" + text)
    done = python("-m", "microthreads", "run", str(path), cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    lost = [line for line in done.stderr.splitlines() if " without `yield`" in line]
    return [line.split(" without")[0] for line in lost]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("helper()", "program.py:5 calls helper()"),
        ("coroutine()", "program.py:5 calls coroutine()"),
        ("spawn(helper())", "program.py:5 calls spawn()"),
        ("microthreads.sleep(1)", "program.py:5 calls microthreads.sleep()"),
        ("gather(helper(), helper())", "program.py:5 calls gather()"),
        ("channel.send(1)", "program.py:5 calls channel.send()"),
        ("parallel_map(print, [], limit=1)", "program.py:5 calls parallel_map()"),
        ("channel.try_recv()", None),
        ("channel.close", None),
        ("print()", None),
        ("yield sleep(0)", None),
        ("yield from helper()", None),
        ("task = helper()", None),
        ("[helper() for _ in range(1)]", None),
        ("plain()", None),
        ("channel.nothing if False else None", None),
    ],
)
def test_a_deadlock_names_the_lines_that_throw_a_call_away(
    tmp_path: Path, line: str, expected: str | None
) -> None:
    text = (
        f"def main():\n    channel = Channel()\n    {line}\n    yield channel.recv()\n"
        "def helper():\n    yield\n"
        "async def coroutine():\n    pass\n"
        "def plain():\n    return helper()\n"
    )
    assert lost_in(tmp_path, text) == ([] if expected is None else [expected])


def test_a_local_name_of_one_function_says_nothing_of_another_function(tmp_path: Path) -> None:
    text = (
        "def main():\n    queue = Queue()\n    yield queue.get()\n"
        "def other():\n    import queue\n    queue = queue.Queue()\n    queue.put(1)\n"
    )
    assert lost_in(tmp_path, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "def main():\n    yield Channel().recv()\ndef never_called():\n    spawn(main())\n",
        "def main():\n    yield Channel().recv()\n    spawn(main())\n",
        (
            "def each(items, spawn):\n    spawn(items)\n    yield Channel().recv()\n"
            "def main():\n    yield each([], print)\n"
        ),
        (
            "def helper():\n    yield\ndef main():\n    def inner():\n        helper = print\n"
            "        helper()\n    inner()\n    yield Channel().recv()\n"
        ),
        (
            "class Mail:\n    def send(self, text): pass\ndef main():\n    box = Mail()\n"
            "    box.send(1)\n    box = Channel()\n    yield box.recv()\n"
        ),
    ],
)
def test_a_deadlock_blames_no_line_that_is_right_or_has_not_run(tmp_path: Path, text: str) -> None:
    assert lost_in(tmp_path, text) == []


@pytest.mark.parametrize(
    ("block", "after"),
    [("if channel:", ""), ("while True:", "    "), ("with CancelScope():", "    ")],
)
def test_a_deadlock_says_perhaps_of_a_line_that_may_not_have_run(
    tmp_path: Path, block: str, after: str
) -> None:
    text = (
        f"def main():\n    channel = Channel()\n    {block}\n        channel.send(1)\n"
        f"    {after}yield channel.recv()\n"
    )
    assert lost_in(tmp_path, text) == ["program.py:6 perhaps called channel.send()"]


def test_each_line_at_which_a_task_stands_is_looked_at(tmp_path: Path) -> None:
    text = (
        "def work(first, second, turn):\n    if turn:\n        yield first.recv()\n"
        "    second.send(1)\n    yield second.recv()\n"
        "def main():\n    first, second = Channel(), Channel()\n"
        "    yield gather(work(first, second, True), work(first, second, False))\n"
    )
    assert lost_in(tmp_path, text) == ["program.py:6 calls second.send()"]


def test_a_call_below_in_a_loop_may_have_run_in_an_earlier_round(tmp_path: Path) -> None:
    text = (
        "def main():\n    channel = Channel(1)\n    yield channel.send(1)\n    while True:\n"
        "        value = yield channel.recv()\n        channel.send(value)\n"
    )
    assert lost_in(tmp_path, text) == ["program.py:8 perhaps called channel.send()"]


def test_a_deadlock_in_a_program_without_a_source_is_reported_all_the_same() -> None:
    names: dict[str, Any] = {"Channel": Channel}
    exec("def main():\n    yield Channel().recv()\n", names)
    assert "recv on Channel" in str(report(names["main"]()))


def test_a_submission_that_a_deadlock_has_ended_says_so() -> None:
    with Kernel() as kernel:
        future = kernel.submit(sleepless())
        with pytest.raises(DeadlockError):
            kernel.run(sleepless())
        notes = " ".join(future.exception().__notes__)  # type: ignore[union-attr]
    assert "`sleep(math.inf)` keeps one waiting" in notes
    assert "nothing can wake the tasks that wait\n  TASK" in notes


# ---- old Pythons

OLD = """
import runpy, sys
sys.version_info = (3, 10, 13, "final", 0)
"""


def test_an_older_python_is_told_what_is_needed() -> None:
    done = program(OLD + "import microthreads")
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: microthreads needs Python 3.11 or newer; this is 3.10"


@pytest.mark.parametrize("arguments", [["demo"], ["run", "program.py"], []])
def test_the_command_tells_an_older_python_in_one_line(arguments: list[str]) -> None:
    text = f"{OLD}\nsys.argv = ['-m', *{arguments}]\nrunpy.run_module('microthreads')"
    done = program(text)
    assert done.returncode == 1
    assert done.stderr == "microthreads needs Python 3.11 or newer; this is 3.10\n"


@pytest.mark.parametrize("name", ["__init__.py", "oldest.py"])
def test_what_an_older_python_reads_first_it_can_read(name: str) -> None:
    source = (ROOT / "microthreads" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))


def test_the_check_of_the_python_comes_before_every_other_import_of_ours() -> None:
    tree = ast.parse((ROOT / "microthreads" / "__init__.py").read_text(encoding="utf-8"))
    ours = [
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("microthreads")
        for alias in node.names
    ]
    assert ours[0] == "oldest"


# ---- programs that are started where they cannot run


def bare_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python with nothing installed, and nothing found by an environment variable."""
    command = [sys.executable, "-S", "-E", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "name", ["e02_countdown.py", "e07_monitor.py", "e17_pipeline.py", "threads/e08_downloads.py"]
)
def test_an_example_runs_by_its_path_from_anywhere_with_nothing_installed(
    tmp_path: Path, name: str
) -> None:
    done = bare_python(str(ROOT / "examples" / name), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["echo.py", "cache"])
def test_a_server_runs_by_its_path_from_anywhere_with_nothing_installed(
    tmp_path: Path, name: str
) -> None:
    done = bare_python(str(ROOT / "examples" / "servers" / name), "--help", cwd=tmp_path)
    assert done.stdout.startswith(f"usage: python3 -m examples.servers.{name.removesuffix('.py')}")


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("chat", "the chat needs wsproto"),
        ("chat.client", "the chat needs wsproto"),
        ("chat.load", "the chat needs wsproto"),
        ("files", "this server needs h11"),
        ("wsgi", "this server needs h11"),
    ],
)
def test_a_server_without_its_libraries_says_what_to_install(name: str, needs: str) -> None:
    done = bare_python("-m", f"examples.servers.{name}", cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == f"{needs}: python3 -m pip install h11 wsproto\n"


def test_an_older_python_is_told_by_the_examples_as_well() -> None:
    done = program(f"{OLD}\nsys.argv = ['-m']\nrunpy.run_module('examples.servers.chat')")
    assert done.stderr == "microthreads needs Python 3.11 or newer; this is 3.10\n"


def test_a_program_that_needs_the_examples_is_told_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("import examples\ndef main():\n    yield\n")
    (tmp_path / "microthreads").symlink_to(ROOT / "microthreads")
    done = bare_python("-m", "microthreads", "run", "program.py", cwd=tmp_path)
    assert done.stderr.splitlines()[-2:] == [
        "ModuleNotFoundError: No module named 'examples'",
        "hint: the examples start from the root of the repository: `python3 -m examples.NAME`",
    ]
