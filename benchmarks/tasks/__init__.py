"""The work that needs no network. What there is: workloads.py. How it is done: `on_*.py`."""
