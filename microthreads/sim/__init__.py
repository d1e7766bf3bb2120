"""The simulated world: time that jumps, for tests that take none."""

from microthreads.sim.clock import VirtualClock

__all__ = ["VirtualClock"]
