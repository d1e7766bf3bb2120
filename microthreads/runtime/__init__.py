"""A program's kernel: how it begins and ends, and how it is reached from outside."""

from microthreads.runtime.kernel import Kernel, run
from microthreads.runtime.pollers import SelectorPoller

__all__ = ["Kernel", "SelectorPoller", "run"]
