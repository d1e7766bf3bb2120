"""A program's kernel: how it begins and ends, and how it is reached from outside."""

from microthreads.runtime.kernel import Kernel, run

__all__ = ["Kernel", "run"]
