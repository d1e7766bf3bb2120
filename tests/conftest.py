"""What all tests share: kernels that check their invariants, and time that jumps.

`vrun(main())` runs a program on a virtual clock. Every kernel that a test
makes checks its invariants after each transition. What is no fixture is in helpers.py.
"""

from __future__ import annotations

import collections
import collections.abc
import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import microthreads
from microthreads.observe import Invariants, forgotten
from microthreads.places import PACKAGE

forgotten.watch()  # before helpers imports what it watches

import helpers  # noqa: E402

# selectors2 2.0.2 takes Mapping from a place that Python 3.10 removed.
if not hasattr(collections, "Mapping"):
    collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that take minutes, too")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts in the background with SIGINT ignored, and children inherit
    # that: here they are to hear Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    # Parameters of tests are made before any test runs, and some are calls that are to be refused.
    forgotten.made.clear()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: run with --soak"))


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """Collections of garbage look at nothing older than the module.

    Many tests collect garbage, and modules, items and reports live as long as the run:
    looking at all of them each time took a minute of the suite's four.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def invariants(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(microthreads.Kernel, "default_observers", (Invariants(),))
    yield


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and helps are as wide as without a terminal, wherever the tests run."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def forgotten_yields(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """A test that makes a call and never yields it fails, unless it is marked `forgets`.

    So does one whose clean-up is cut off by a cancellation. Results that nobody asks for
    are left alone: many tests start a task for what it does on its way.
    """
    news: list[str] = []

    def note(text: str, place: tuple[str, int], module: str | None = None) -> None:
        if not place[0].startswith(PACKAGE):  # of which nobody is told
            news.append(f"{place[0]}:{place[1]}: {text}")

    monkeypatch.setattr(forgotten, "tell", note)
    monkeypatch.setattr(forgotten, "unheard", lambda task: None)
    yield news
    if request.node.get_closest_marker("forgets") is None:
        assert not news, "\n".join(news)
    else:
        gc.collect()  # what it leaves must not be found in the next test


@pytest.fixture
def unobserved(invariants: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of invariants, which takes several times as long."""
    monkeypatch.setattr(microthreads.Kernel, "default_observers", ())


@pytest.fixture
def vrun() -> Any:
    """`run`, on a virtual clock."""
    return helpers.vrun


@pytest.fixture(params=["generator", "coroutine"])
def as_task(request: pytest.FixtureRequest) -> Any:
    """What makes a task, of either kind, of a generator."""
    if request.param == "coroutine":
        return helpers.coroutine_of
    return lambda generator: generator


@pytest.fixture(scope="module")
def authority() -> Any:
    """Who signs the certificates of a module's tests."""
    from peers import Authority  # noqa: PLC0415  (trustme takes its time to import)

    return Authority()


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> Any:
    """A version of TLS."""
    from ssl import TLSVersion  # noqa: PLC0415  (likewise)

    return TLSVersion[request.param]


@pytest.fixture(params=["epoll", "poll"])
def go(request: pytest.FixtureRequest) -> Any:
    """`run`, with each of two pollers."""
    return lambda main, **options: microthreads.run(main, poller=request.param, **options)


@pytest.fixture(params=["tcp", "unix", "on"])
def kind(request: pytest.FixtureRequest) -> Any:
    """How a server with workers is begun: see servers.py."""
    return request.param


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    """What starts servers with workers, of which nothing is left at the end of the test."""
    from servers import serving  # noqa: PLC0415  (few tests need it)

    with serving(tmp_path) as start:
        yield start
