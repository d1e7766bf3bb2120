"""Which request goes where.

    /                      the page, and what belongs to it
    /ws                    a WebSocket: HTTP is over, and websocket.py goes on
    /poll/join, /poll/...  long polling: polling.py

What HTTP has kept of a client is let go before its WebSocket begins: it would be a third of
what an idle member costs. Pages of other sites may not speak here in the name of who looks at
them: guard.py sees to that.
"""

from __future__ import annotations

from pathlib import Path

from wsproto.connection import Connection

from examples.servers.chat.guard import Guard
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
        guard: Who may speak here.
        ping: Seconds of silence after which a WebSocket's client is asked for a sign.
    """

    def __init__(self, hub: Hub, polling: Polling, guard: Guard, ping: float) -> None:
        self.hub = hub
        self.polling = polling
        self.guard = guard
        self.ping = ping
        here = Path(__file__).parent
        self.files = {
            path: ((here / name).read_bytes(), f"{kind}; charset=utf-8")
            for path, (name, kind) in FILES.items()
        }

    async def visit(self, stream: Stream) -> None:
        """Serve one connection: by HTTP, and then perhaps as a WebSocket."""
        accepted = await self.speak_http(stream)
        if accepted is not None:
            await Session(stream, *accepted, self.hub, self.ping).run()

    async def speak_http(self, stream: Stream) -> tuple[Connection, bool] | None:
        """Answer requests until the client has no more, or wants a WebSocket."""
        http = Http(stream, self.hub.stopping, PATIENT)
        try:
            while (request := await http.next_request()) is not None:
                self.guard.check(request, stream.plain.getsockname())
                if request.path == "/ws":
                    return await accept(http, request)
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
