"""What a server needs besides the standard library; it is asked for before anything else."""

import sys
from importlib.util import find_spec


def need(*names: str) -> None:
    """End the program with one sentence if a library that it needs is not installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        them = " and ".join(missing)
        sys.exit(f"this server needs {them}: python3 -m pip install {' '.join(missing)}")
