"""The network: sockets, and what is made of them."""

from microthreads.net.sockets import Socket, listen

__all__ = ["Socket", "listen"]
