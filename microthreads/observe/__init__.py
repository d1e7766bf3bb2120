"""Seeing inside: observers of what tasks do."""

from microthreads.observe.invariants import Invariants
from microthreads.observe.observers import Observer

__all__ = ["Invariants", "Observer"]
