"""The floor in C, ../floor.c: this process becomes that program."""

from __future__ import annotations

import os
import socket
from functools import partial

from benchmarks.network.compiled import built


def become(role: str, listener: socket.socket) -> None:
    os.set_inheritable(listener.fileno(), True)
    os.execv(PROGRAM, [str(PROGRAM), role, str(listener.fileno())])


PROGRAM = built("floor")  # here, so that a server that cannot be built says so before it listens
SERVERS = {("C", role): partial(become, role) for role in ("echo", "http", "sink", "source")}
