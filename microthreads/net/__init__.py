"""The network, from the system's sockets up to servers in several processes.

    sockets, socketcalls            the calls of a socket; datagrams: UDP
    streams, streamcalls, tls       bytes in order, read by lines and limits, encrypted
    dns, connecting                 from a name to a stream
    listeners, accepting            from an address to connections
    server, serving, endings        a task for each client, and a stop that lets them finish
    processes, workers, duty        several processes: who looks after them, and what they do
    systemd                         who starts it all

Read sockets.py first, then streams.py and server.py.
"""

from microthreads.net.accepting import accept_loop
from microthreads.net.connecting import open_connection, open_unix_connection
from microthreads.net.datagrams import open_udp
from microthreads.net.listeners import listen
from microthreads.net.server import Workers
from microthreads.net.serving import serve, serve_on, serve_unix
from microthreads.net.sockets import Socket
from microthreads.net.streams import Stream
from microthreads.net.systemd import activated_sockets, sd_notify

__all__ = [
    "Socket",
    "Stream",
    "Workers",
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
