"""Who is at the other end in the tests of the network, and servers that are ready.

Peers are Python's own `ssl`: sockets of it in a thread, or an `SSLObject` whose ciphertext
the tests carry themselves, byte by byte if need be.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import trustme
from helpers import tcp_pair

from microthreads import Event, Socket, Stream, serve, sleep, spawn, timeout

KIB, MIB = 1 << 10, 1 << 20
NAME = "server.test"
LONG = 20  # seconds that nothing here takes


class Authority:
    """Who signs the certificates of these tests, and contexts with them."""

    def __init__(self):
        self.ca = trustme.CA()
        self.cert = self.ca.issue_cert(NAME, "127.0.0.1", "localhost")
        self.client_cert = self.ca.issue_cert("client@client.test")
        self.unknown = trustme.CA()

    def server(self, cert=None, alpn=(), version=None, clients=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (cert or self.cert).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return only(context, version)

    def client(self, alpn=(), version=None, trust=True, cert=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # quicker than with the system's trust
        if trust:
            self.ca.configure_trust(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if cert:
            cert.configure_cert(context)
        return only(context, version)


def only(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@contextlib.contextmanager
def in_thread(function, *arguments):
    """Run a function in a thread; at the end of the block it must have ended well."""
    outcome = []

    def work():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield outcome
    thread.join(LONG)
    assert not thread.is_alive(), "the peer goes on"
    if outcome[0][1] is not None:
        raise outcome[0][1]


class Carried:
    """An `SSLObject` over a blocking socket, whose ciphertext is carried by hand."""

    def __init__(self, sock, context, server_side=True, hostname=None, most=1 << 20):
        self.sock, self.most = sock, most
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side, hostname)

    def flush(self):
        """Send what OpenSSL has to say, so many bytes at a time."""
        data = self.outgoing.read()
        for start in range(0, len(data), self.most):
            self.sock.sendall(data[start : start + self.most])

    def do(self, function, *arguments):
        while True:
            try:
                result = function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            else:
                self.flush()
                return result

    def handshake(self):
        self.do(self.tls.do_handshake)

    def read(self, size):
        try:
            return self.do(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def read_exactly(self, size):
        got = bytearray()
        while len(got) < size:
            data = self.read(size - len(got))
            if not data:
                break
            got += data
        return bytes(got)

    def write(self, data):
        data = memoryview(data)
        while data:
            data = data[self.do(self.tls.write, data) :]

    def say_goodbye(self):
        """Send a close_notify, and do not wait for the peer's."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()


def pairs(stack, family="tcp"):
    """A stream, and the blocking socket at its other end."""
    if family == "tcp":
        near, far = tcp_pair(stack)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        left, far = socket.socketpair()
        near = stack.enter_context(Socket(left))
        stack.enter_context(far)
    far.settimeout(LONG)
    return Stream(near), far


async def listening(routine_of):
    """Start a server, and wait until it listens; its task, and its addresses.

    `routine_of` is called with what is to be its `ready`.
    """
    listens, found = Event(), []

    def ready(addresses):
        found.extend(addresses)
        listens.set()

    server = await spawn(routine_of(ready))
    await listens.wait()
    return server, found


@contextlib.asynccontextmanager
async def serving(handler, **options):
    """A server in this block; its port."""
    server, found = await listening(
        lambda ready: serve(handler, "127.0.0.1", 0, ready=ready, grace=5.0, **options)
    )
    try:
        yield found[0][1]
    finally:
        server.cancel()


async def until(condition):
    """Wait until something holds, which other tasks or threads bring about."""
    with timeout(LONG):
        while not condition():
            await sleep(0.005)
