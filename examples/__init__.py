"""Example programs; run one as ``python3 -m examples.NAME`` from the checkout.

The numbered ones are the classics, to be read in order: README.md has the list.
"""

import microthreads  # noqa: F401, I001  (first: it tells older Pythons what is needed)

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Routine: TypeAlias = Generator[Any, Any, T]
"""What a generator function returns whose `return` gives a T: a type for type checkers."""
