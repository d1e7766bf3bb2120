"""Twenty downloads, five at a time, with a semaphore.

All twenty tasks are there from the start; a semaphore with five permits lets five
of them go on. Whoever has finished gives the permit to the next one. The web site
says how many requests it had at once.

Try: other numbers of permits; none at all. Then take the semaphore out, and have
`parallel_map(..., limit=5)` do it: now there are never more than five tasks.
"""

import socket

from examples import Routine
from examples.website import Website, website
from microthreads import Semaphore, Socket, gather, run


def download(address: tuple[str, int], path: str, permits: Semaphore) -> Routine[str]:
    with (yield permits.acquire()), Socket(socket.socket()) as connection:
        yield connection.connect(address)
        yield connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := (yield connection.recv()):
            answer += data
    return answer.partition(b"\r\n\r\n")[2].decode()


def main(site: Website) -> Routine[None]:
    permits = Semaphore(5)
    pages = yield gather(*(download(site.address, f"/page/{n}", permits) for n in range(20)))
    print(len(pages), "downloads, the last one:", pages[-1])
    print("at once, at most:", site.most_at_once)


if __name__ == "__main__":
    with website() as site:
        run(main(site))
