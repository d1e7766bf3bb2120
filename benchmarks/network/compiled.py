"""The two C programs, built when they are first asked for: floor.c and client.c.

They are kept in the user's cache folder, under a name that changes with the source.
Without a compiler there is no floor in C, and client.py takes the client's place.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMPILERS = ("cc", "gcc", "clang")


class CannotBuildError(Exception):
    """There is no C compiler, or it refuses."""


def cache_folder() -> Path:
    """Where built programs are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "microthreads-benchmarks"


@functools.cache
def built(name: str, folder: Path | None = None) -> Path:
    """The program of `name`.c, built if it is not there yet.

    Raises:
        CannotBuildError: It cannot be built, and why.
    """
    source = HERE / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    program = (folder or cache_folder()) / f"{name}-{digest}"
    if not program.exists():
        compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
        if compiler is None:
            raise CannotBuildError("no C compiler")
        program.parent.mkdir(parents=True, exist_ok=True)
        _compile(compiler, source, program)
    return program


def _compile(compiler: str, source: Path, program: Path) -> None:
    """Build aside and move into place: several processes may do so at once."""
    with tempfile.TemporaryDirectory(dir=program.parent) as aside:
        result = Path(aside) / program.name
        command = [compiler, "-std=gnu11", "-O2", "-Wall", "-o", str(result), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotBuildError(f"{compiler} failed: {done.stderr.strip()[:200]}")
        result.replace(program)
