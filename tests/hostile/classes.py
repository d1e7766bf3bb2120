"""Classes of odd exceptions: each makes trouble for whoever handles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microthreads import Cancelled, InvariantError


class Trouble(BaseException):
    """What odd things raise; no Exception, since much code looks for that only."""


def failing(kind: type[BaseException]) -> Callable[..., Any]:
    """A method, or the getter of a property, that fails."""

    def fail(*arguments: Any, **options: Any) -> Any:
        raise kind("made to fail")

    return fail


METHODS = (
    "with_traceback", "__setattr__", "__str__", "__repr__", "__eq__", "__hash__", "add_note",
    "__getattribute__", "__reduce__", "__delattr__", "__bool__",
)  # fmt: skip
PROPERTIES = (
    "__traceback__", "__cause__", "__context__", "__suppress_context__", "__notes__", "__class__",
    "args",
)  # fmt: skip


def odd(base: type[BaseException], name: str, trouble: type[BaseException]) -> Any:
    """Makes an exception of which the method or property `name` fails."""
    attribute: Any = failing(trouble)
    if name in PROPERTIES:
        attribute = property(attribute, attribute)
    return lambda: type(f"Odd{base.__name__}", (base,), {name: attribute})("odd")


class Unmade(Exception):
    """It cannot be made a second time: not by `raise Unmade`, nor by a copy."""

    def __init__(self, *, needed: int) -> None:
        super().__init__()


class Slots(Exception):
    __slots__ = ("only",)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


@dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    code: int


class Base(BaseException):
    """Nothing that `except Exception` catches."""


class OddGroup(BaseExceptionGroup[BaseException]):
    """A group that does not come apart."""

    trouble: type[BaseException] = ValueError

    def derive(self, errors: Any) -> Any:
        raise self.trouble("not derived")

    def split(self, *arguments: Any) -> Any:
        raise self.trouble("not split")

    subgroup = split


class TroubleGroup(OddGroup):
    trouble = Trouble


class Underivable(BaseExceptionGroup[BaseException]):
    def derive(self, errors: Any) -> Any:
        raise ValueError("not derived")


class Junk(BaseExceptionGroup[BaseException]):
    """A group that comes apart into what is no error."""

    def split(self, *arguments: Any) -> Any:
        return "two", "parts"


class DerivesJunk(BaseExceptionGroup[BaseException]):
    def derive(self, errors: Any) -> Any:
        return "no group"


class Split(BaseExceptionGroup[BaseException]):
    def split(self, *arguments: Any) -> Any:
        return "one"


class EmptyAsked(BaseExceptionGroup[BaseException]):
    """A group that says it holds nothing."""

    @property
    def exceptions(self) -> Any:
        return ()


class OddCancelled(Cancelled):
    """A cancellation that does not say of what."""

    @property
    def scope(self) -> Any:
        raise ValueError("no scope")


class Unshown:
    def __str__(self) -> str:
        raise ValueError("not shown")

    __repr__ = __str__


class Stop(StopIteration):
    @property
    def value(self) -> Any:
        raise ValueError("no value")


def group(kind: Any, *more: BaseException) -> Callable[[], BaseException]:
    return lambda: kind("some", [OSError("one"), Cancelled("elsewhere"), *more])


def circular() -> BaseException:
    """Its context is another one, whose context it is."""
    first, second = OSError("first"), OSError("second")
    first.__context__, second.__context__ = second, first
    first.__cause__, second.__cause__ = second, first
    return first


def deep() -> BaseException:
    """A group in a group, some hundred times."""
    error: BaseException = OSError("innermost")
    for _ in range(500):
        error = BaseExceptionGroup("outer", [error])
    return error


ERRORS: dict[str, dict[str, Callable[[], BaseException]]] = {
    "plain": {"OSError": lambda: OSError("plain"), "Base": lambda: Base("no Exception")},
    "method fails": {
        f"{base.__name__}, {name} raises {trouble.__name__}": odd(base, name, trouble)
        for base in (Exception, BaseException)
        for trouble in (TypeError, Trouble)
        for name in METHODS
    },
    "property fails": {
        f"{name} raises {trouble.__name__}": odd(Exception, name, trouble)
        for trouble in (TypeError, Trouble)
        for name in PROPERTIES
    },
    "frozen": {
        "slots": Slots,
        "frozen": lambda: Frozen(1),
        "frozen, slots": lambda: FrozenSlots(1),
        "not made again": lambda: Unmade(needed=1),
    },
    "group": {
        kind.__name__: group(kind)
        for kind in (OddGroup, TroubleGroup, Underivable, Junk, DerivesJunk, Split, EmptyAsked)
    }
    | {"deep group": deep, "plain group": group(BaseExceptionGroup)},
    "of the library": {
        "Cancelled": Cancelled,
        "Cancelled, not shown": lambda: Cancelled(Unshown(), Unshown()),
        "Cancelled, no scope": OddCancelled,
        "InvariantError": lambda: InvariantError("pretended"),
    },
    "of Python": {
        "circular": circular,
        "StopIteration": lambda: StopIteration(1),
        "StopIteration, no value": lambda: Stop(1),
        "StopAsyncIteration": StopAsyncIteration,
        "GeneratorExit": GeneratorExit,
        "RecursionError": RecursionError,
        "MemoryError": MemoryError,
        "AssertionError": AssertionError,
        "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
    },
}
