"""Benchmarks over the network of this machine: echo, bulk data, HTTP, idle connections.

workloads.py lists them; measure.py is one measurement; servers/ has the contenders.
"""

from benchmarks.network.workloads import WORKLOADS

__all__ = ["WORKLOADS"]
