"""The network: sockets, streams, servers. Read sockets.py and then streams.py first."""

from microthreads.net.connecting import open_connection, open_unix_connection
from microthreads.net.listeners import listen
from microthreads.net.servers import accept_loop
from microthreads.net.serving import serve, serve_unix
from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream

__all__ = [
    "Socket",
    "Stream",
    "accept_loop",
    "listen",
    "open_connection",
    "open_unix_connection",
    "serve",
    "serve_unix",
]
