"""Which request goes where.

    /                      the page, and what belongs to it
    /ws                    a WebSocket: HTTP is over, and websocket.py goes on
    /poll/join, /poll/...  long polling: polling.py

What HTTP has kept of a client is let go before its WebSocket begins: it would be a third of
what an idle member costs. A browser says which page a request comes from; pages of other
sites may not speak here in the name of who looks at them.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from wsproto.connection import Connection

from examples.servers.chat.polling import Polling
from examples.servers.chat.rooms import Hub
from examples.servers.chat.websocket import Session, accept
from examples.servers.http1 import Http
from examples.servers.limits import PATIENT
from examples.servers.messages import BadRequest, Request
from microthreads import Stream

FILES = {
    "/": ("page.html", "text/html"),
    "/chat.css": ("chat.css", "text/css"),
    "/chat.js": ("chat.js", "text/javascript"),
    "/link.js": ("link.js", "text/javascript"),
}
SAFE = (
    ("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)


class Site:
    """What clients find here.

    Args:
        hub: The rooms.
        polling: The members that poll.
        ping: Seconds of silence after which a WebSocket's client is asked for a sign.
    """

    def __init__(self, hub: Hub, polling: Polling, ping: float) -> None:
        self.hub = hub
        self.polling = polling
        self.ping = ping
        here = Path(__file__).parent
        self.files = {
            path: ((here / name).read_bytes(), f"{kind}; charset=utf-8")
            for path, (name, kind) in FILES.items()
        }

    async def visit(self, stream: Stream) -> None:
        """Serve one connection: by HTTP, and then perhaps as a WebSocket."""
        connection = await self.speak_http(stream)
        if connection is not None:
            await Session(stream, connection, self.hub, self.ping).run()

    async def speak_http(self, stream: Stream) -> Connection | None:
        """Answer requests until the client has no more, or wants a WebSocket."""
        http = Http(stream, self.hub.stopping, PATIENT)
        try:
            while (request := await http.next_request()) is not None:
                check_origin(request)
                if request.path == "/ws":
                    return await accept(http)
                await self.answer(http, request)
                http.log()
        except BadRequest as error:
            await http.refuse(error)
            http.log()
        await http.close()
        return None

    async def answer(self, http: Http, request: Request) -> None:
        """Answer one request."""
        method, path = request.method, request.path
        if path in self.files and method in ("GET", "HEAD"):
            body, kind = self.files[path]
            await http.respond(200, body, ("Content-Type", kind), *SAFE)
        elif path == "/poll/join" and method == "POST":
            await self.polling.join(http)
        elif path.startswith("/poll/") and method == "GET":
            await self.polling.ask(http, request, path.removeprefix("/poll/"))
        elif path.startswith("/poll/") and method == "POST":
            await self.polling.send(http, path.removeprefix("/poll/"))
        elif path in self.files or path.startswith("/poll/"):
            raise BadRequest(405, "this cannot be done here")
        else:
            raise BadRequest(404, "there is nothing here")


def check_origin(request: Request) -> None:
    """Refuse what a page of another site has sent."""
    origin = request.headers.get("origin")
    try:
        host = None if origin is None else urlsplit(origin).netloc
    except ValueError:
        host = ""
    if host is not None and host.lower() != request.headers.get("host", "").lower():
        raise BadRequest(403, "this comes from a page of another site")
