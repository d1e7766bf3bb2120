"""A program's kernel: how it begins and ends, and how it is reached from outside."""

from microthreads.runtime.kernel import Kernel
from microthreads.runtime.program import run

__all__ = ["Kernel", "run"]
