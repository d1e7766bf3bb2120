"""Servers to run and to read: ``python3 -m examples.servers.echo``, and so on.

All share common.py: the options, the line "listening on", and the graceful end. Those
that speak HTTP share http1.py. ../README.md has the list.
"""
