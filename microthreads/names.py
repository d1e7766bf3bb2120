"""What things are called elsewhere, and what they are called here.

Who comes from asyncio, trio, curio, threading, queue or Go writes names that this package
does not have. One table serves them all: a name that a module lacks, an object lacks, or a
program has never defined (hints.py).

Imported only when such a name has been used.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import Any

HERE = {  # what it is called here: what it is called elsewhere
    "Channel": "Chan MemoryChannel Pipe create_memory_object_stream open_memory_channel",
    "ClosedError": "BrokenResourceError ClosedResourceError EndOfChannel EndOfStream",
    "Cancelled": "CancelledError TaskCancelled get_cancelled_exc_class",
    "BusyError": "BusyResourceError",
    "Empty": "QueueEmpty",
    "Full": "QueueFull",
    "ShutDown": "QueueShutDown",
    "IncompleteReadError": "IncompleteRead",
    "LimitExceeded": "LimitOverrunError",
    "TaskGroup": "Nursery WaitGroup create_task_group open_nursery",
    "Semaphore": "CapacityLimiter",
    "Socket": "SocketStream from_stdlib_socket",
    "Stream": "SocketType StreamReader StreamWriter",
    "Lock": "Mutex",
    "accept_loop": "serve_listeners tcp_server",
    "cancel": "abort kill stop terminate",
    "close": "aclose is_closing wait_closed",
    "current_task": "current_thread get_current_task getcurrent",
    "done": "is_alive",
    "exception": "exc_info",
    "get": "recv receive take",
    "get_nowait": "receive_nowait recv_nowait try_get try_recv",
    "join": "wait wait_all joinall",
    "listen": "create_server open_tcp_listeners",
    "now": "clock current_time monotonic time",
    "open_connection": "connect create_connection open_tcp_stream",
    "open_udp": "create_datagram_endpoint udp_socket",
    "open_unix_connection": "connect_unix open_unix_socket",
    "parallel_map": "imap imap_unordered map starmap",
    "peername": "get_extra_info getpeername",
    "put": "send",
    "put_nowait": "send_nowait try_put try_send",
    "read": "receive receive_some recv",
    "read_exactly": "readexactly",
    "read_until": "readuntil",
    "readline": "read_line",
    "recv": "get receive receive_some read",
    "release": "unlock",
    "acquire": "lock",
    "result": "get_coro value",
    "run": "run_forever run_until_complete",
    "select": "FIRST_COMPLETED",
    "send": "put write send_all",
    "sendall": "send_all write",
    "serve": "serve_tcp start_server",
    "serve_unix": "start_unix_server",
    "sleep": "checkpoint delay lowlevel sleep_forever",
    "sleep_until": "wake_at",
    "spawn": "Greenlet Process Thread add_task create_task ensure_future fork go spawn_link "
    "start start_soon submit",
    "timeout": "fail_after",
    "try_recv": "get_nowait receive_nowait recv_nowait",
    "try_send": "put_nowait send_nowait",
    "wait_signal": "add_signal_handler open_signal_receiver",
    "write": "send send_all sendall writelines",
    "write_eof": "send_eof shutdown",
}
IN_OTHER_WORDS = {  # what no single name of ours stands for
    "Future": "a Channel(capacity=1), or an Event, hands one result over",
    "Runner": "Kernel() is what runs several programs, one after the other",
    "TimeoutError": "it is Python's own TimeoutError, which needs no import",
    "as_completed": "let each task send its result on a Channel, and receive from that",
    "contextvars": "Python's own contextvars work, a context for each task",
    "current_kernel": "current_task().kernel is the kernel that runs",
    "explore": "it is in microthreads.sim",
    "get_event_loop": "current_task().kernel is the kernel that runs",
    "get_running_loop": "current_task().kernel is the kernel that runs",
    "new_event_loop": "Kernel() makes one",
    "run_in_executor": "`yield wait_future(executor.submit(function))` waits for a thread",
    "run_sync": "`yield wait_future(executor.submit(function))` waits for a thread",
    "in_thread": "`yield wait_future(executor.submit(function))` waits for a thread",
    "run_in_thread": "`yield wait_future(executor.submit(function))` waits for a thread",
    "timeout_at": "`with CancelScope(deadline=time):` ends a block at a time",
    "to_thread": "`yield wait_future(executor.submit(function))` waits for a thread",
    "wait_for": "a time limit is a block, `with timeout(seconds):`, around what is yielded",
    "timeout_after": "a time limit is a block, `with timeout(seconds):`, around what is yielded",
    "VirtualClock": "it is in microthreads.sim",
    "Invariants": "it is in microthreads.observe",
    "Observer": "it is in microthreads.observe",
}

OF_OBJECTS = {  # attributes that no single one of ours stands for
    "add_done_callback": "have a task that joins it, by `yield` or `await`, and then goes on",
    "cancelled": "a task that was cancelled raises `Cancelled` where it is joined",
    "drain": "`write` returns when there is room for more: nothing is left to wait for",
}


def called_here(name: str, owner: Any) -> str | None:
    """What to say of a `name` that `owner`, a module or a class of ours, does not have.

    None if nothing is known of it.
    """
    is_module = not isinstance(owner, type)
    if is_module and name in IN_OTHER_WORDS:
        return IN_OTHER_WORDS[name]
    if not is_module and name in OF_OBJECTS:
        return OF_OBJECTS[name]
    known = owner.__all__ if is_module else dir(owner)
    for ours, theirs in HERE.items():
        if name in theirs.split() and ours in known:
            return f"it is called {ours} here{', to be yielded or awaited' * is_call(owner, ours)}"
    return None


def is_call(owner: Any, name: str) -> bool:
    """Whether what `owner` calls so returns a system call, or a routine."""
    annotations = getattr(getattr(owner, name), "__annotations__", {})
    return str(annotations.get("return")).startswith(TO_BE_YIELDED)


TO_BE_YIELDED = ("SystemCall", "AwaitableGenerator", "ParallelMap")


def meaning(names: Sequence[str], frame: FrameType) -> Any:
    """What a dotted name means in `frame`, without running any code; None if it means nothing."""
    from inspect import getattr_static  # noqa: PLC0415  (it takes its time to import)

    first, *rest = names
    code = frame.f_code
    if first in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
        thing = frame.f_locals.get(first)
    else:
        thing = frame.f_globals.get(first, frame.f_builtins.get(first))
    for name in rest:
        thing = None if thing is None else getattr_static(thing, name, None)
    return thing
