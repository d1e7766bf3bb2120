"""The twin of ../e08_downloads.py."""

import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Semaphore

from examples.website import Website, website


def download(address: tuple[str, int], permits: Semaphore, path: str) -> str:
    with permits, socket.socket() as connection:
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def main(site: Website) -> None:
    load = partial(download, site.address, Semaphore(5))
    with ThreadPoolExecutor(max_workers=20) as pool:
        pages = list(pool.map(load, (f"/page/{n}" for n in range(20))))
    print(len(pages), "downloads, the last one:", pages[-1])
    print("at once, at most:", site.most_at_once)


if __name__ == "__main__":
    with website() as site:
        main(site)
