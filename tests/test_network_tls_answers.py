"""Who only reads, or only writes, answers what the peer asks for in the middle, by TLS.

That is other keys (TLS 1.2), or the certificate of the client (TLS 1.3). The peers are
`openssl s_server` and the standard library.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack

import pytest
from peers import LONG, MIB, NAME, Carried, in_thread, pairs, serving, until

from microthreads import (
    join,
    open_connection,
    spawn,
    timeout,
)

# ---- Who only reads, or only writes, answers all the same


class OpenSSL:
    """`openssl s_server` for one client, with what it has printed; commands go to its stdin."""

    def __init__(self, authority, folder, version):
        pem = folder / "server.pem"
        authority.cert.private_key_and_cert_chain_pem.write_to_path(pem)
        authority.ca.cert_pem.write_to_path(folder / "ca.pem")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.printed = bytearray()
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", pem, "-key", pem]
            + ["-state", "-CAfile", folder / "ca.pem", f"-{version.name.replace('TLSv', 'tls')}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.thread = threading.Thread(target=self._keep)
        self.thread.start()

    def _keep(self):
        while data := self.process.stdout.read1(65536):
            self.printed += data

    def was_answered(self, version):
        """Whether a handshake was done again, or the client's certificate was looked at."""
        if version == ssl.TLSVersion.TLSv1_2:
            return self.printed.count(b"TLS read finished") == 2
        return b"depth=0" in self.printed

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.thread.join()
        self.process.communicate()


@pytest.fixture
def openssl(authority, tmp_path, version):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    with OpenSSL(authority, tmp_path, version) as server:
        yield server


def certified_client(authority, version):
    context = authority.client(version=version, cert=authority.client_cert)
    context.post_handshake_auth = True
    return context


ASK = {ssl.TLSVersion.TLSv1_2: b"R\n", ssl.TLSVersion.TLSv1_3: b"c\n"}


def connected_to(server, authority, version):
    context = certified_client(authority, version)
    return open_connection("127.0.0.1", server.port, ssl=context, server_hostname=NAME)


def test_a_client_that_only_reads_answers_openssl(openssl, authority, version, go):
    """It asks for other keys (TLS 1.2), or for the client's certificate (TLS 1.3)."""

    async def main():
        await until(lambda: b"ACCEPT" in openssl.printed)
        with await connected_to(openssl, authority, version) as stream, timeout(LONG):
            openssl.say(b"hello\n")
            first = await stream.readline()
            reader = await spawn(line_of(stream))
            openssl.say(ASK[version])
            await until(lambda: openssl.was_answered(version))
            openssl.say(b"after\n")
            return first, await join(reader)

    async def line_of(stream):
        return await stream.readline()

    assert go(main()) == (b"hello\n", b"after\n")


def test_a_client_that_writes_a_lot_answers_openssl_in_between(
    unobserved, openssl, authority, version, go
):
    async def main():
        await until(lambda: b"ACCEPT" in openssl.printed)
        with await connected_to(openssl, authority, version) as stream, timeout(LONG):
            openssl.say(b"hello\n")
            await stream.readline()
            reader = await spawn(stream_line(stream))
            writer = await spawn(write_lines(stream, 40_000))
            await until(lambda: openssl.printed.count(b"a line of it\n") > 100)
            openssl.say(ASK[version])
            await until(lambda: openssl.was_answered(version))
            await join(writer)
            await until(lambda: openssl.printed.count(b"a line of it\n") == 40_000)
            openssl.say(b"after\n")
            return await join(reader)

    async def stream_line(stream):
        return await stream.readline()

    assert go(main()) == b"after\n"


async def write_lines(stream, number):
    for _ in range(0, number, 100):
        await stream.write(b"a line of it\n" * 100)


@pytest.mark.parametrize("writes", [False, True], ids=["only reads", "writes a lot"])
def test_a_client_gives_the_standard_library_the_certificate_it_asks_for_later(
    unobserved, authority, writes, go
):
    version = ssl.TLSVersion.TLSv1_3
    server = authority.server(version=version, clients=True)
    server.post_handshake_auth = True
    server.verify_mode = ssl.CERT_OPTIONAL
    total = 4 * MIB if writes else 0
    greeted = threading.Event()

    def talk(far):
        peer = Carried(far, server)
        peer.handshake()
        peer.write(b"hello\n")
        assert greeted.wait(LONG)  # so the request comes alone
        peer.tls.verify_client_post_handshake()
        peer.do(peer.tls.do_handshake)  # asks
        got = 0
        while not peer.tls.getpeercert() or got < total:
            peer.incoming.write(far.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    got += len(peer.tls.read(65536))
            peer.flush()
        peer.write(b"thanks\n")
        return got

    async def main(stream):
        with stream, timeout(LONG):
            await stream.start_tls(certified_client(authority, version), server_hostname=NAME)
            writer = await spawn(stream_bytes(stream))
            lines = [await stream.readline()]
            greeted.set()
            lines.append(await stream.readline())
            await join(writer)
            return lines

    async def stream_bytes(stream):
        await stream.write(bytes(total))

    with ExitStack() as stack:
        stream, far = pairs(stack)
        far.settimeout(10.0)
        with in_thread(talk, far) as outcome:
            assert go(main(stream)) == [b"hello\n", b"thanks\n"]
        assert outcome[0][0] == total


def test_a_server_of_ours_may_ask_a_client_of_ours_that_only_reads(authority, go):
    seen = []

    async def handler(stream):
        await stream.readline()
        stream.tls.verify_client_post_handshake()
        stream.tls.do_handshake()
        await stream.write(b"")  # sends the request, alone
        reader = await spawn(hear(stream))  # who has to hear the answer
        await until(lambda: stream.tls.getpeercert())
        reader.cancel()
        seen.append(True)

    async def hear(stream):
        await stream.readline()

    async def main():
        server = authority.server(version=ssl.TLSVersion.TLSv1_3, clients=True)
        server.post_handshake_auth, server.verify_mode = True, ssl.CERT_OPTIONAL
        async with serving(handler, ssl=server) as port:
            context = certified_client(authority, ssl.TLSVersion.TLSv1_3)
            with await open_connection("127.0.0.1", port, ssl=context, server_hostname=NAME) as it:
                await it.write(b"hello\n")
                with timeout(LONG):
                    return await it.read(-1)

    assert (go(main()), seen) == (b"", [True])
