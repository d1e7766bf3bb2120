"""gevent: greenlets that read like threads. The handlers are those of blocking.py."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent.server
import gevent.socket

from benchmarks.network.servers.blocking import HANDLERS


def on_gevent(handler: Callable[[Any], None], listener: socket.socket) -> None:
    theirs = gevent.socket.socket(fileno=listener.detach())
    server = gevent.server.StreamServer(theirs, lambda connection, _: handler(connection))
    server.serve_forever()


SERVERS = {("greenlets", role): partial(on_gevent, handler) for role, handler in HANDLERS.items()}
