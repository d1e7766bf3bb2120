"""Benchmarks: microthreads beside its peers, in one run. ``python3 -m benchmarks --help``.

Read workload.py first, for what a benchmark is; tasks/ and network/ hold the work that
is measured, running.py runs it, results.py and table.py say what came of it.
"""
