"""Numbers of all types, and what is no number, wherever a number goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

from .case import Case, Cases
from .counted import CALLS
from .trial import World, trial


class OnlyFloat:
    """As an element of an array may be."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __float__(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class OnlyIndex:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __index__(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Fails:
    """It is some number, and raises when one of its operators is used."""

    def __float__(self) -> float:
        return 1.0

    def refuse(self, *others: Any) -> Any:
        raise ArithmeticError("no")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = refuse
    __hash__ = None  # type: ignore[assignment]


class Compared(int):
    """An integer whose comparisons fail."""

    def refuse(self, *others: Any) -> Any:
        raise ArithmeticError("no")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = refuse
    __hash__ = int.__hash__


class Added(int):
    """An integer with which one cannot count."""

    def refuse(self, *others: Any) -> Any:
        raise ArithmeticError("no")

    __add__ = __radd__ = __sub__ = __rsub__ = refuse


class AddsUpToText(int):
    """An integer that comes to no number."""

    def junk(self, *others: Any) -> Any:
        return "junk"

    __add__ = __radd__ = __sub__ = __rsub__ = junk


class FloatCompared(float):
    def refuse(self, *others: Any) -> Any:
        raise ArithmeticError("no")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __add__ = __radd__ = refuse
    __hash__ = float.__hash__


class NoDoubt(list[Any]):
    """As an array of two: what compares has no truth value."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    __lt__ = __gt__ = __le__ = __ge__ = __eq__


NUMBERS: dict[str, dict[str, Callable[[], Any]]] = {
    "int": {
        str(number): lambda number=number: number
        for number in (0, 1, 2, -1, -(10**9), 10**9, 2**63)
    }
    | {"10**300": lambda: 10**300, "10**400": lambda: 10**400, "-10**400": lambda: -(10**400)},
    "bool": {"True": lambda: True, "False": lambda: False},
    "float": {
        str(number): lambda number=number: number  # type: ignore[misc]
        for number in (0.5, -0.5, -0.0, 5e-324, 1e308, math.nan, math.inf, -math.inf)
    },
    "Decimal": {
        f"Decimal {text}": lambda text=text: Decimal(text)  # type: ignore[misc]
        for text in ("1", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "1E+9999")
    },
    "Fraction": {
        "Fraction 1/3": lambda: Fraction(1, 3),
        "Fraction 10**400": lambda: Fraction(10**400),
        "Fraction -10**400": lambda: Fraction(-(10**400)),
    },
    "object": {
        "only __float__": lambda: OnlyFloat(1.0),
        "only __float__, nan": lambda: OnlyFloat(math.nan),
        "__float__ raises": lambda: OnlyFloat(RuntimeError("no")),
        "__float__ gives text": lambda: OnlyFloat("1"),
        "only __index__": lambda: OnlyIndex(1),
        "__index__ raises": lambda: OnlyIndex(RuntimeError("no")),
        "__index__ gives text": lambda: OnlyIndex("1"),
        "operators raise": Fails,
        "like an array": lambda: NoDoubt([1, 2]),
    },
    "subclass": {
        "int not compared": lambda: Compared(1),
        "int not added": lambda: Added(1),
        "int adds to text": lambda: AddsUpToText(1),
        "float not compared": lambda: FloatCompared(1.0),
    },
    "no number": {
        "complex": lambda: 1j,
        "str": lambda: "1",
        "bytes": lambda: b"1",
        "None": lambda: None,
        "tuple": lambda: (1,),
        "type": lambda: int,
    },
}


def cases() -> Cases:
    """Each number with each call that takes one."""
    for call, routine in CALLS.items():
        for kind, things in NUMBERS.items():
            for thing, make in things.items():
                yield Case("numbers", call, kind, thing, partial(attempt, routine, make))


def attempt(routine: Callable[[World, Any], Any], make: Callable[[], Any]) -> list[str]:
    return trial(lambda world: routine(world, make()))
