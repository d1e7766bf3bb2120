"""One server in a process: ``python3 -m benchmarks.network.server CONTENDER ROLE``.

It prints its port, serves until it is killed, and imports nothing but what its contender
needs: what else is imported can cost (contextvars does). If it cannot serve, it prints
"skip" and why. contenders.py says which module of servers/ that is.
"""

from __future__ import annotations

import importlib
import socket
import sys

from benchmarks.network.contenders import WHERE

BACKLOG = 4096


def listening() -> socket.socket:
    """A listener for everybody, so that all have the same backlog, and no Nagle.

    Without TCP_NODELAY, which connections inherit, the second segment of a large write
    waits for the first to be acknowledged. Some libraries set it; now all have it.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


def main() -> None:
    contender, role = sys.argv[1:]
    name, style = WHERE[contender]
    try:
        module = importlib.import_module(f"benchmarks.network.servers.{name}")
        if contender.startswith("uvloop"):
            importlib.import_module("uvloop")
    except Exception as error:  # curio's import fails with an AttributeError
        print("skip", f"{contender} does not import here: {error}", flush=True)
        return
    listener = listening()
    print(listener.getsockname()[1], flush=True)
    module.SERVERS[style, role](listener)


if __name__ == "__main__":
    main()
