"""The options of a kernel, as type checkers see them; the package imports this nowhere.

`run`, `explore` and `replay` pass on what they are given beside their own arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from microthreads.kernel import Clock, Observer, Policy, Poller, Task


class Selector(Protocol):
    """What a selector must have: those of `selectors` do, and those of other packages."""

    def register(self, fileobj: Any, events: int, data: Any = None, /) -> Any: ...
    def unregister(self, fileobj: Any, /) -> Any: ...
    def modify(self, fileobj: Any, events: int, data: Any = None, /) -> Any: ...
    def select(self, timeout: float | None = None, /) -> list[tuple[Any, int]]: ...
    def close(self) -> None: ...


PollerName: TypeAlias = Literal["epoll", "poll", "select"]
AnyPoller: TypeAlias = PollerName | Poller | Selector


class WorldOptions(TypedDict, total=False):
    """What can be chosen in the explorer's world, too; see `Kernel`."""

    network: Any
    observers: Iterable[Observer]
    grace: float


class KernelOptions(WorldOptions, total=False):
    """The arguments of `Kernel`."""

    clock: Clock | None
    poller: AnyPoller | None
    policy: Policy | None
    on_crash: Callable[[Task[Any]], object]
