"""On what a run took place: processor, Python, versions, date, load."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def processor() -> str:
    """The model of the CPU, as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model", "cpu model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def commit() -> str:
    """The commit of the working tree, or nothing where there is no git."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def load() -> list[float]:
    """The load averages, where the system has them."""
    try:
        return [round(each, 2) for each in os.getloadavg()]
    except OSError:
        return []


def about(command: str, packages: Iterable[str]) -> dict[str, Any]:
    """All of it, for the head of the results."""
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": versions(packages),
        "commit": commit(),
        "load at start": load(),
    }
