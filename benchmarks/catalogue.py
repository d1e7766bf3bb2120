"""All workloads, in the order of the table: those of one process, then those of the network.

Add one by adding it to a list in `benchmarks/tasks/workloads.py` or in
`benchmarks/network/`; what it must say is in workload.py.
"""

from __future__ import annotations

from benchmarks.network import WORKLOADS as NETWORK
from benchmarks.tasks.workloads import WORKLOADS as TASKS
from benchmarks.workload import Workload

WORKLOADS: list[Workload] = [*TASKS, *NETWORK]
