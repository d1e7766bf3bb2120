"""The echo server of every course: one operating system thread for each client.

Read it beside ../echo_server.py, which is the same program with a task in each
thread's place. Try: drive both with `python3 -m examples.echo_client` at 100,
1,000 and 10,000 connections, and watch memory and the number of threads.

    python3 -m examples.threads.echo_server --port 25000
"""

from __future__ import annotations

import argparse
import socket
from threading import Thread


def echo(client: socket.socket) -> None:
    with client:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # the client is gone


def serve(host: str, port: int) -> None:
    with socket.create_server((host, port), backlog=4096) as listener:
        host, port = listener.getsockname()
        print(f"listening on {host}:{port}", flush=True)
        while True:
            client, _ = listener.accept()
            Thread(target=echo, args=(client,), daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Echo to each client, in a thread of its own.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=25000)
    args = parser.parse_args()
    try:
        serve(args.host, args.port)
    except KeyboardInterrupt:
        pass
