"""What several test files use, and which is no fixture.

Tasks of either kind, pairs of sockets, Python in a process of its own, what things
cost, and state machines. The fixtures are in conftest.py.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import math
import os
import pickle
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

import microthreads
from microthreads import Socket, now, sleep, sleep_until
from microthreads.sim import VirtualClock

Gen = Generator[Any, Any, Any]
ROOT = Path(__file__).resolve().parent.parent

# ---- tasks


def vrun(main: Any, **options: Any) -> Any:
    """`run`, on a virtual clock."""
    return microthreads.run(main, clock=VirtualClock(), **options)


async def coroutine_of(generator: Gen) -> Any:
    """An `async def` task that does what `generator` does."""
    step, value = generator.send, None
    while True:
        try:
            request = step(value)
        except StopIteration as end:
            return end.value
        try:
            if request is None:
                request = sleep(0)
            elif inspect.isgenerator(request):
                request = coroutine_of(request)
            value, step = await request, generator.send
        except BaseException as error:
            value, step = error, generator.throw


def later(seconds: float, function: Callable[..., Any], *arguments: Any) -> Gen:
    """Sleep, and call a function."""
    yield sleep(seconds)
    return function(*arguments)


def receiving(source: Any) -> Gen:
    """Receive once, from a channel or a socket."""
    return (yield source.recv())


def ticks_of_10_ms(seconds: float) -> Gen:
    """How many of the next multiples of 10 ms a sleeper meets, each before the one after it."""
    ticks, start = 0, now()
    while (passed := now() - start) < seconds:
        yield sleep_until(start + (int(passed * 100) + 1) / 100)
        ticks += 1
    return ticks


def errors_of(group: BaseExceptionGroup) -> list[str]:
    """The errors in an exception group, as text, in their order."""
    return [repr(error) for error in group.exceptions]


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep the library's log quiet: what it would say is not the matter, or too much."""
    logger = logging.getLogger("microthreads")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


# ---- sockets


def raw_pair(stack: ExitStack) -> tuple[Socket, socket.socket]:
    """A `Socket`, and the non-blocking stdlib socket at its other end."""
    near, far = socket.socketpair()
    far.setblocking(False)
    return stack.enter_context(Socket(near)), stack.enter_context(far)


def tcp_pair(stack: ExitStack) -> tuple[Socket, socket.socket]:
    """A `Socket`, and the blocking stdlib socket at the other end of its TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return stack.enter_context(Socket(near)), stack.enter_context(far)


# ---- processes


@contextlib.contextmanager
def started_python(
    *arguments: str, cwd: Path = ROOT, warnings: str = "error", **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """Python in a process of its own, killed at the end of the block."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-W", warnings, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def python(
    *arguments: str, seconds: float = 60, text: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own to its end; `text` is what it can read."""
    with started_python(*arguments, **options) as process:
        out, errors = process.communicate(text, timeout=seconds)
    return subprocess.CompletedProcess(arguments, process.returncode, out, errors)


def program(text: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program, which may be indented, in a process of its own."""
    return python("-c", textwrap.dedent(text), **options)


OUT_OF_DESCRIPTORS = """
import logging, os, resource, socket
from contextlib import ExitStack
from microthreads import accept_loop, listen, run, serve, sleep, spawn

records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("microthreads").addHandler(handler)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
opened = ExitStack()


def greet(send):
    yield send(b"hello")


def bound(found):
    listener = opened.enter_context(listen("127.0.0.1", 0))
    found.append(listener.getsockname())
    return listener


def main():
    found = []
    server = yield spawn({routine})
    yield sleep(0.01)
    client = socket.socket()
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    client.connect(found[0])
    yield sleep(0.25)
    for number in held:
        os.close(number)
    yield sleep(0.15)
    client.settimeout(5)
    print(client.recv(100).decode(), len(records))
    server.cancel()
    client.close()


with opened:
    run(main())
"""


def out_of_descriptors(routine: str) -> subprocess.CompletedProcess[str]:
    """Run a server out of descriptors, and give them back; a client comes meanwhile.

    Args:
        routine: What serves, by `greet`, and puts its address into `found`.

    Returns:
        The process: it prints the greeting, and how often the library has logged something.
    """
    return program(OUT_OF_DESCRIPTORS.replace("{routine}", routine))


# ---- costs


class ProcessorTime:
    """How long a block takes the processor, with no garbage collected in it."""

    seconds = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()
        self.began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.began
        gc.enable()


def assert_ten_times_as_many_cost_about_ten_times_as_much(
    measure: Callable[[int], float], few: int = 1_000, most: float = 20
) -> None:
    """Measure with so `few` and with ten times as many; the best of several tries counts.

    A busy machine makes some tries slow, the large ones more often than the small ones. So
    there are more tries until the best of each show it; what is square never does. And
    where it can be, it is measured in a process of its own: in one that has run thousands
    of tests, ten times as many objects lie scattered, and cost twice as much each.

    Args:
        measure: Given a number, returns seconds. A function of a module can go elsewhere.
        few: The smaller number.
        most: How many times as much is too much: something square would be at 100.
    """
    try:
        packed = pickle.dumps((measure, few, most)).hex()
    except (pickle.PicklingError, AttributeError, TypeError):
        small, large = best_costs(measure, few, most)
    else:
        done = python("-c", f"import sys; sys.path.insert(0, {TESTS!r}){APART}", packed)
        assert done.returncode == 0, done.stderr
        small, large = map(float, done.stdout.split())
    print(f"\n{few:,} in {small * 1e3:.2f} ms, {10 * few:,} in {large * 1e3:.2f} ms")
    assert large < most * small


TESTS = str(Path(__file__).resolve().parent)
APART = """
import pickle, helpers
print(*helpers.best_costs(*pickle.loads(bytes.fromhex(sys.argv[1]))))
"""


def best_costs(measure: Callable[[int], float], few: int, most: float) -> tuple[float, float]:
    """The best of several tries with so few, and with ten times as many."""
    small = min(measure(few) for _ in range(7))
    large = math.inf
    for _ in range(10):
        large = min(large, measure(10 * few))
        if large < most * small:
            break
    return small, large


# ---- state machines


def check_machine(
    machine: type[RuleBasedStateMachine], examples: int, steps: int, **options: Any
) -> None:
    """Run a state machine so many times, each with up to so many steps."""
    health = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=health,
            **options,
        ),
    )
