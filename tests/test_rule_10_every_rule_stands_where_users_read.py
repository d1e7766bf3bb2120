"""Rule 10: every rule stands where users read.

Cases whose outcome nobody could guess: what happens is tested here, and so is that a page
or a docstring has a passage on it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import signal
import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import ROOT, raw_pair

import microthreads
from microthreads import (
    Cancelled,
    Channel,
    ClosedError,
    Full,
    Kernel,
    Lock,
    Queue,
    Semaphore,
    current_task,
    now,
    run,
    select,
    shield,
    sleep,
    spawn,
    wait_signal,
)
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_all_tasks_that_wait_for_a_signal_go_on_by_one(as_task: Any, number: int) -> None:
    log: list[Any] = []

    def waiter(name: str) -> Gen:
        log.append((name, (yield wait_signal(number))))

    def main() -> Gen:
        tasks = []
        for name in ("first", "second"):
            tasks.append((yield spawn(as_task(waiter(name)))))
        yield
        signal.raise_signal(number)
        for task in tasks:
            yield task.join()

    run(main())
    assert log == [("first", number), ("second", number)]


def test_a_signal_that_two_tasks_got_is_not_remembered_for_a_third() -> None:
    log: list[str] = []

    def waiter(name: str) -> Gen:
        yield wait_signal(signal.SIGHUP)
        log.append(name)

    def main() -> Gen:
        tasks = []
        for name in ("first", "second"):
            tasks.append((yield spawn(waiter(name))))
        yield
        signal.raise_signal(signal.SIGHUP)
        for task in tasks:
            yield task.join()
        late = yield spawn(waiter("third"))
        yield sleep(0.005)
        late.cancel()

    run(main())
    assert log == ["first", "second"]


# ---- queues


def test_a_put_goes_straight_to_a_getter_and_never_counts_against_the_bound(
    vrun: Any, as_task: Any
) -> None:
    log: list[Any] = []
    queue: Queue[int] = Queue(1)

    def getter() -> Gen:
        log.append(("got", (yield queue.get())))

    def main() -> Gen:
        for _ in range(2):
            yield spawn(as_task(getter()))
        for number in range(2):
            yield queue.put(number)
            log.append(("put", number, queue.qsize()))
        queue.put_nowait(2)
        with pytest.raises(Full):
            queue.put_nowait(3)
        log.append(queue.qsize())

    vrun(main())
    assert sorted(map(str, log)) == sorted(
        map(str, [("got", 0), ("got", 1), ("put", 0, 0), ("put", 1, 0), 1])
    )


def test_a_getter_that_was_handed_an_item_keeps_it_though_others_ask_first(vrun: Any) -> None:
    log: list[Any] = []
    queue: Queue[int] = Queue(5)

    def getter() -> Gen:
        log.append((yield queue.get()))

    def main() -> Gen:
        yield spawn(getter())
        queue.put_nowait(1)
        assert queue.empty()
        with pytest.raises(microthreads.Empty):
            queue.get_nowait()
        yield

    vrun(main())
    assert log == [1]


def in_a_cancelled_task(call: Any) -> list[Any]:
    """What comes of `call` in a task that is cancelled: the error, and whether it went on."""
    log: list[Any] = []

    def worker() -> Gen:
        current_task().cancel()
        try:
            yield call
            log.append("went on")
        except BaseException as error:
            log.append(type(error))
            raise

    def main() -> Gen:
        yield spawn(worker())

    run(main(), clock=VirtualClock())
    return log


def test_a_put_with_room_raises_in_a_cancelled_task_and_puts_nothing() -> None:
    queue: Queue[int] = Queue(5)
    assert in_a_cancelled_task(queue.put(1)) == [Cancelled]
    assert (queue.qsize(), queue.unfinished_tasks) == (0, 0)


def test_no_call_that_could_go_at_once_goes_in_a_cancelled_task() -> None:
    queue: Queue[int] = Queue()
    queue.put_nowait(1)
    channel: Channel[int] = Channel(1)
    lock, semaphore = Lock(), Semaphore(1)
    calls = [queue.get(), channel.send(1), lock.acquire(), semaphore.acquire(), sleep(0)]
    assert [in_a_cancelled_task(call) for call in calls] == [[Cancelled]] * len(calls)
    assert (queue.qsize(), len(channel), lock.locked()) == (1, 0, False)


def test_a_put_with_room_behind_a_shield_is_made_in_a_cancelled_task(vrun: Any) -> None:
    queue: Queue[int] = Queue(5)

    def worker() -> Gen:
        current_task().cancel()
        with shield(1):
            yield queue.put(1)

    def main() -> Gen:
        yield spawn(worker())
        yield
        yield
        return queue.qsize()

    assert vrun(main()) == 1


# ---- sockets


@pytest.mark.parametrize("arrived", ["end of stream", "bytes"])
def test_a_cancel_before_the_next_poll_wins_over_what_has_arrived_which_stays(
    as_task: Any, arrived: str
) -> None:
    log: list[Any] = []

    def reader(near: Any) -> Gen:
        try:
            log.append((yield near.recv()))
        except Cancelled:
            log.append("cancelled")
            raise

    def main(near: Any, far: socket.socket) -> Gen:
        task = yield spawn(as_task(reader(near)))
        yield sleep(0.001)
        if arrived == "bytes":
            far.send(b"late")
        else:
            far.shutdown(socket.SHUT_WR)
        task.cancel()
        yield sleep(0.001)
        log.append((yield near.recv()))

    with ExitStack() as stack:
        run(main(*raw_pair(stack)))
    assert log == ["cancelled", b"late" if arrived == "bytes" else b""]


def test_an_end_of_stream_that_a_poll_has_seen_wins_over_a_later_cancel() -> None:
    log: list[Any] = []

    def reader(near: Any) -> Gen:
        log.append((yield near.recv()))
        try:
            yield
        except Cancelled:
            log.append("cancelled")
            raise

    with ExitStack() as stack, Kernel() as kernel:
        near, far = raw_pair(stack)
        task = kernel.spawn(reader(near))
        kernel.fileno()
        kernel.tick()
        far.close()

        class Late(microthreads.observe.Observer):
            def woken(self, woken: Any, value: Any) -> None:
                if woken is task and value == b"":
                    kernel.post(task.cancel)
                    task.cancel()

        kernel.observe(Late())
        for _ in range(4):
            kernel.tick()
    assert log == [b"", "cancelled"]


# ---- channels


def test_try_recv_on_a_closed_empty_channel_raises_whatever_the_default(vrun: Any) -> None:
    channel: Channel[int] = Channel(2)
    log: list[Any] = [channel.try_recv(), channel.try_recv("default")]
    channel.try_send(1)
    channel.close()
    log.append(channel.try_recv("default"))
    for default in ((), ("default",), (None,)):
        with pytest.raises(ClosedError, match="closed, and empty"):
            channel.try_recv(*default)
    assert log == [None, "default", 1]


def test_a_channel_is_true_whatever_it_holds() -> None:
    channel: Channel[int] = Channel(1)
    found = [(bool(channel), len(channel))]
    channel.try_send(1)
    found.append((bool(channel), len(channel)))
    channel.close()
    found.append((bool(channel), len(channel)))
    assert found == [(True, 0), (True, 1), (True, 1)]


# ---- a routine that another task is using


def test_a_routine_that_a_task_runs_is_refused_to_others_by_every_spelling_that_can_tell(
    vrun: Any,
) -> None:
    log: list[str] = []

    def worker() -> Gen:
        yield sleep(2)
        log.append("worker ended")

    def main() -> Gen:
        routine = worker()
        task = yield spawn(routine)
        for call in (routine, spawn(routine), select(spawn(routine), sleep(1))):
            with pytest.raises(RuntimeError, match="is run by"):
                yield call
        yield task
        return now()

    assert vrun(main()) == 2
    assert log == ["worker ended"]


def test_a_coroutine_that_a_task_runs_is_refused_by_python_to_whoever_awaits_it(
    vrun: Any,
) -> None:
    async def worker() -> str:
        await sleep(2)
        return "value"

    async def main() -> Any:
        routine = worker()
        task = await spawn(routine)
        with pytest.raises(RuntimeError, match="awaited already"):
            await routine
        return await task

    assert vrun(main()) == "value"


# ---- where users read

SUBJECTS: dict[str, list[str]] = {
    "several tasks that wait for one signal": ["signal", "several|two|all tasks", "go on|wake"],
    "a put that goes straight to a getter": [r"\bputs?\b", r"\bget", "straight|direct|handed"],
    "an end of stream that has arrived, and a cancel": [
        "end of (the |a )?(stream|file)|stream'?s end|ended",
        "cancel",
        "poll|arrived",
    ],
    "a put with room in a cancelled task": ["cancelled", r"\bputs?\b|\bsends?\b", r"\broom\b"],
    "try_recv of a closed and empty channel": ["try_recv", "default", "closed", "empty"],
    "the truth of a channel": [r"\bchannels?\b", r"\btrue\b|bool\(", "empty"],
    "yield from a routine that was spawned": ["yield from", "spawn", "another task|its task"],
}


def passages() -> Iterator[str]:
    """The paragraphs of the pages, and the docstrings of public things with their names."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        yield from re.split(r"\n\s*\n", page.read_text())
    for module in pkgutil.walk_packages(microthreads.__path__, "microthreads."):
        if module.name.endswith("__main__"):
            continue
        for name, thing in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{name} {thing.__doc__}"
                for method, function in vars(thing).items():
                    if not method.startswith("_"):
                        yield f"{name}.{method} {function.__doc__}"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_page_or_a_docstring_has_a_passage_on(subject: str) -> None:
    patterns = [re.compile(each, re.IGNORECASE) for each in SUBJECTS[subject]]
    assert any(all(each.search(text) for each in patterns) for text in passages())
