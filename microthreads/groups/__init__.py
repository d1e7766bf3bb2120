"""Groups: tasks that begin and end together. Read group.py first."""

from microthreads.groups.group import TaskGroup
from microthreads.groups.parallel import parallel_map
from microthreads.groups.supervisor import Supervisor
from microthreads.groups.together import gather, race

__all__ = ["Supervisor", "TaskGroup", "gather", "parallel_map", "race"]
