"""The network: sockets, and what is made of them."""

from microthreads.net.servers import accept_loop
from microthreads.net.sockets import Socket, listen

__all__ = ["Socket", "accept_loop", "listen"]
