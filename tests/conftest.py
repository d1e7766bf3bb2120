"""What all tests share: kernels that check their invariants, and time that jumps.

`vrun(main())` runs a program on a virtual clock. Every kernel that a test
makes checks its invariants after each transition.
"""

from __future__ import annotations

import collections
import collections.abc
from collections.abc import Iterator
from typing import Any

import pytest

import microthreads
from microthreads.observe import Invariants
from microthreads.sim import VirtualClock

# selectors2 2.0.2 takes Mapping from a place that Python 3.10 removed.
if not hasattr(collections, "Mapping"):
    collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: run with --soak"))


@pytest.fixture(autouse=True)
def invariants(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(microthreads.Kernel, "default_observers", (Invariants(),))
    yield


@pytest.fixture
def vrun() -> Any:
    """`run`, on a virtual clock."""

    def run(main: Any, **options: Any) -> Any:
        return microthreads.run(main, clock=VirtualClock(), **options)

    return run
