"""One measurement, in this process: ``python3 -m benchmarks.tasks.measure CONTENDER WORK SIZE``.

It imports the module of that contender and no other, since what else is imported is
not without effect (see docs/design.md, on contexts), does the work once, and prints
nanoseconds of CPU an operation as JSON. A work that measures something else than
CPU time returns the JSON itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from typing import Any

from benchmarks.tasks.clock import Watch
from benchmarks.workload import quick


def measure(contender: str, work: str, size: int) -> dict[str, Any]:
    """Do the work once: {"value": nanoseconds an operation}, or {"skip": why not}."""
    try:
        module = importlib.import_module(f"benchmarks.tasks.on_{contender}")
    except Exception as error:  # curio 1.6 raises AttributeError, for one
        return {"skip": f"import fails: {type(error).__name__}: {error}"}
    if quick() and size > 1_000:
        size //= 100
    sys.setrecursionlimit(20_000)
    gc.collect()
    watch = Watch()
    done = getattr(module, work)(size, watch)
    watch.end()
    if isinstance(done, dict):
        return done
    return {"value": watch.seconds / done * 1e9}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
