"""Who is compared, and where its servers are."""

from __future__ import annotations

WHERE = {  # contender: (module of servers/, style there)
    "microthreads": ("ours", "sockets"),
    "microthreads streams": ("ours", "streams"),
    "asyncio": ("on_asyncio", "asyncio streams"),
    "asyncio protocol": ("on_asyncio", "asyncio protocol"),
    "uvloop": ("on_asyncio", "uvloop streams"),
    "uvloop protocol": ("on_asyncio", "uvloop protocol"),
    "gevent": ("on_gevent", "greenlets"),
    "trio": ("on_trio", "streams"),
    "curio": ("on_curio", "sockets"),
    "threads": ("blocking", "threads"),
    "floor": ("bare", "epoll"),
    "floor C": ("in_c", "C"),
}

NOTES = {
    "microthreads": "accept_loop and Socket",
    "microthreads streams": "serve_on and Stream",
    "asyncio": "streams",
    "asyncio protocol": "callbacks",
    "uvloop": "streams",
    "uvloop protocol": "callbacks",
    "gevent": "StreamServer",
    "trio": "serve_listeners",
    "curio": "sockets",
    "threads": "one for each connection",
    "floor": "a bare epoll loop in Python",
    "floor C": "a bare epoll loop in C",
}
