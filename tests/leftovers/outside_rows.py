"""The rows of what comes from outside: futures, signals, submissions, sockets."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import Future
from typing import Any

from microthreads import (
    Descriptor,
    Socket,
    Stream,
    current_task,
    listen,
    open_connection,
    sleep,
    wait_future,
    wait_signal,
)

from .held import Watch
from .row import Row, Steps, World, helper, set_broken, set_go

MUCH = 400_000  # bytes, more than a socket takes at once

# ---- futures, signals, submissions


def with_future(world: World, hold: Watch) -> None:
    world.future = Future()


def no_future(world: World) -> None:
    if world.future.done():
        world.future = None


def succeed(world: World, hold: Watch) -> None:
    world.future.set_result(hold("result of the future"))


def fail(world: World, hold: Watch) -> None:
    world.future.set_exception(hold.error("error of the future"))


def raise_signal(world: World, hold: Watch) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def submitted(world: World, hold: Watch) -> Steps:
    future = hold.add("future", kernel().submit(helper(world, hold)))
    try:
        return (yield wait_future(future))
    finally:
        future.cancel()
        del future


async def submitted_async(world: World, hold: Watch) -> Any:
    future = hold.add("future", kernel().submit(helper(world, hold)))
    try:
        return await wait_future(future)
    finally:
        future.cancel()
        del future


def posted(world: World, hold: Watch) -> Steps:
    kernel().post(lambda thing: None, hold("argument of what is posted"))
    yield world.go.wait()


async def posted_async(world: World, hold: Watch) -> None:
    kernel().post(lambda thing: None, hold("argument of what is posted"))
    await world.go.wait()


def kernel() -> Any:
    return current_task().kernel


# ---- sockets


def with_pair(world: World, hold: Watch) -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    far.setblocking(False)
    world.near, world.far = Socket(near), far
    world.stream = Stream(world.near)


def with_full_pair(world: World, hold: Watch) -> None:
    with_pair(world, hold)
    try:
        while True:
            world.near.sock.send(bytes(4096))
    except BlockingIOError:
        pass


def come(world: World, hold: Watch) -> None:
    world.far.send(b"a line\n")


def make_room(world: World, hold: Watch) -> Steps:
    """The other end takes all there is, and what follows."""
    for _ in range(300):
        try:
            while world.far.recv(65536):
                pass
        except BlockingIOError:
            yield sleep(0.0001)


def close_near(world: World, hold: Watch) -> None:
    world.near.close()


def send(world: World, hold: Watch) -> Any:
    return world.near.send(hold.buffer("data sent", 100))


def sendall(world: World, hold: Watch) -> Any:
    return world.near.sendall(hold.buffer("data sent", MUCH))


def write(world: World, hold: Watch) -> Any:
    return world.stream.write(hold.buffer("data written", MUCH))


def recv_into(world: World, hold: Watch) -> Any:
    return world.near.recv_into(hold.buffer("buffer", 100))


def pair_row(name: str, call: Any, **options: Any) -> Row:
    ways: dict[str, Any] = {"setup": with_pair, "ready": come, "go": come}
    ways |= {"refused": close_near, "fail": close_near}
    return Row(name, call, **{**ways, **options})


def write_row(name: str, call: Any, **options: Any) -> Row:
    return pair_row(name, call, setup=with_full_pair, ready=None, go=make_room, **options)


# ---- connections


def with_listener(world: World, hold: Watch) -> None:
    world.near = listen("127.0.0.1", 0)
    world.peers = []


def connect(world: World, hold: Watch) -> None:
    peer = socket.socket()
    peer.connect(world.near.getsockname())
    world.peers.append(peer)


def accepted(world: World, got: Any, hold: Watch) -> None:
    hold.add("connection", got[0]).close()


def connected(world: World, got: Any, hold: Watch) -> None:
    hold.add("connection", got).close()


def full_listener(world: World, hold: Watch) -> None:
    """A listener whose queue is full, so that connecting takes its time."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    world.near = Socket(listener)
    world.peers = []
    for _ in range(3):
        peer = socket.socket()
        peer.setblocking(False)
        peer.connect_ex(listener.getsockname())
        world.peers.append(peer)


def open_to(world: World, hold: Watch) -> Any:
    return open_connection(*world.near.getsockname())


def no_more_listener(world: World, hold: Watch) -> None:
    address = world.near.getsockname()
    world.near.close()
    world.near = Gone(address)


class Gone:
    """A listener that is closed, and remembers where it was."""

    def __init__(self, address: Any) -> None:
        self.address = address

    def getsockname(self) -> Any:
        return self.address

    def close(self) -> None:
        """It is."""


def with_pipe(world: World, hold: Watch) -> None:
    near, world.far_end = os.pipe()
    world.near = hold_open(near)
    world.descriptor = Descriptor(world.near)


def hold_open(number: int) -> Any:
    return os.fdopen(number, "rb", buffering=0)


def fill_pipe(world: World, hold: Watch) -> None:
    os.write(world.far_end, b"!")


def detach(world: World, hold: Watch) -> None:
    world.descriptor.detach()


OUTSIDE_ROWS = (
    Row(
        "wait_future",
        lambda world, hold: wait_future(world.future),
        setup=with_future,
        ready=succeed,
        go=succeed,
        refused=fail,
        fail=fail,
        drop=no_future,
    ),
    Row(
        "wait_signal",
        lambda world, hold: wait_signal(signal.SIGUSR1, signal.SIGUSR2),
        go=raise_signal,
    ),
    Row("submit", submitted, submitted_async, go=set_go, fail=set_broken, is_routine=True),
    Row("post", posted, posted_async, go=set_go, is_routine=True),
    pair_row("Socket.recv", lambda world, hold: world.near.recv(100)),
    pair_row("Socket.recv_into", recv_into),
    write_row("Socket.send", send),
    write_row("Socket.sendall", sendall, selectable=False),
    Row(
        "Socket.accept",
        lambda world, hold: world.near.accept(),
        setup=with_listener,
        ready=connect,
        go=connect,
        after=accepted,
        refused=close_near,
        fail=close_near,
    ),
    pair_row("Socket.readable", lambda world, hold: world.near.readable()),
    pair_row("Stream.read", lambda world, hold: world.stream.read()),
    pair_row("Stream.readline", lambda world, hold: world.stream.readline()),
    write_row("Stream.write", write, selectable=False),
    Row(
        "open_connection",
        open_to,
        setup=with_listener,
        ready=lambda world, hold: None,
        after=connected,
        refused=no_more_listener,
        parks=False,
        is_routine=True,
    ),
    Row("open_connection, to a full one", open_to, setup=full_listener, is_routine=True),
    Row(
        "Descriptor.readable",
        lambda world, hold: world.descriptor.readable(),
        setup=with_pipe,
        ready=fill_pipe,
        go=fill_pipe,
        refused=detach,
        fail=detach,
    ),
)
