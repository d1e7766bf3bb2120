"""The simulated world: time that jumps, and schedules that are chosen."""

from microthreads.sim.clock import VirtualClock
from microthreads.sim.explorer import explore, replay
from microthreads.sim.report import Report, Step, Verdict

__all__ = ["Report", "Step", "Verdict", "VirtualClock", "explore", "replay"]
