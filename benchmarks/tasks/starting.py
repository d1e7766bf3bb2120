"""What it costs to begin: CPU of fresh processes, less that of a bare interpreter.

``python3 -m benchmarks.tasks.starting import trio`` starts interpreters that only
import it, and bare ones, in turns, and prints the difference of the medians in
milliseconds. With ``first`` instead of ``import``, they run an empty main as well.

The bytecode cache is a folder of this measurement's own and warm, whatever the
environment says: without one, compiling would be most of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from statistics import median

from benchmarks.workload import quick

IMPORT = {"threads": "import threading"}

EMPTY = "async def main(): pass\n"
FIRST = {
    "microthreads": "import microthreads\n" + EMPTY + "microthreads.run(main())",
    "asyncio": "import asyncio\n" + EMPTY + "asyncio.run(main())",
    "uvloop": "import uvloop\n" + EMPTY + "uvloop.run(main())",
    "gevent": "import gevent\ngevent.spawn(id, 1).join()",
    "trio": "import trio\n" + EMPTY + "trio.run(main)",
    "tinyio": "import tinyio\ndef main():\n    yield\ntinyio.Loop().run(main())",
    "curio": "import curio\n" + EMPTY + "curio.run(main)",
    "threads": "import threading\nt = threading.Thread(target=id, args=(1,))\nt.start(); t.join()",
}


def cpu(program: str, environment: dict[str, str]) -> float:
    """Seconds of CPU that a fresh interpreter spends on a program."""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise ImportError(complaint.strip().splitlines()[-1])
    return used.ru_utime + used.ru_stime


def measure(program: str) -> dict[str, object]:
    """Milliseconds that the program takes over an interpreter that does nothing."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        bare, spent = [], []
        try:
            for _ in range(2):  # warms the cache
                cpu("pass", environment)
                cpu(program, environment)
            for _ in range(3 if quick() else 15):
                bare.append(cpu("pass", environment))
                spent.append(cpu(program, environment))
        except ImportError as error:
            return {"skip": f"import fails: {error}"}
    return {"value": (median(spent) - median(bare)) * 1e3}


if __name__ == "__main__":
    what, contender = sys.argv[1:]
    wanted = IMPORT.get(contender, f"import {contender}") if what == "import" else FIRST[contender]
    print(json.dumps(measure(wanted)))
