"""The network: sockets, streams, servers. Read sockets.py and then streams.py first."""

from microthreads.net.accepting import accept_loop
from microthreads.net.connecting import open_connection, open_unix_connection
from microthreads.net.datagrams import open_udp
from microthreads.net.listeners import listen
from microthreads.net.serving import serve, serve_on, serve_unix
from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream
from microthreads.net.systemd import activated_sockets, sd_notify

__all__ = [
    "Socket",
    "Stream",
    "accept_loop",
    "activated_sockets",
    "listen",
    "open_connection",
    "open_udp",
    "open_unix_connection",
    "sd_notify",
    "serve",
    "serve_on",
    "serve_unix",
]
