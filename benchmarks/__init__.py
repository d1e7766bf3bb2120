"""Benchmarks: microthreads beside its peers, in one run. ``python3 -m benchmarks``."""
