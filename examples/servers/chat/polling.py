"""Members that poll: for browsers and networks that let no WebSocket through.

    POST /poll/join            {"type": "join", ...}        -> {"token": ...}
    GET  /poll/TOKEN?after=N   waits for events after the Nth -> {"events": [...], "after": M}
    POST /poll/TOKEN           {"type": "say", ...}         -> 204

The answer to a GET comes when there are events, or when it has waited long enough; then
the client asks again. A response can be lost on its way, so events are kept until the
next GET says, by `after`, that they have come.

Try: join with curl, and poll with after=0 twice: the same events come twice.
"""

from __future__ import annotations

import json
import secrets

from examples.servers.chat.rooms import MOST_WAITING, Hub, Member
from examples.servers.chat.wire import MOST_BYTES, Code, Parcel, Refused, packed, request_of
from examples.servers.http1 import Http
from examples.servers.messages import BadRequest, Request
from microthreads import now, select, sleep

JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
MOST_SESSIONS = 10_000
SWEEP = 0.5  # seconds between two looks for sessions that are no longer polled


class Session:
    """What is kept of a member between two requests."""

    __slots__ = ("first", "kept", "member", "polls", "seen", "turn")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.kept: list[Parcel] = []  # events that may have to be sent again
        self.first = 0  # how many came before those
        self.polls = 0  # how many GETs are waiting: one, or two if the client gave one up
        self.turn = 0  # which GET was the last
        self.seen = now()

    def forget(self, after: int) -> None:
        """The client has the events up to this one."""
        if not 0 <= after <= self.first + len(self.kept):
            raise BadRequest(400, "there were not so many events")
        if after > self.first:
            del self.kept[: after - self.first]
            self.first = after

    def gather(self) -> None:
        """Take what is new; but who never says that anything came, gets no more."""
        if len(self.kept) < MOST_WAITING:
            self.kept += self.member.take()


class Polling:
    """All sessions.

    Args:
        hub: The rooms.
        patience: How long, in seconds, a GET waits for events.
        keep: How long, in seconds, a session lasts that is not polled.
    """

    def __init__(self, hub: Hub, patience: float, keep: float) -> None:
        self.hub = hub
        self.patience = patience
        self.keep = keep
        self.sessions: dict[str, Session] = {}

    async def join(self, http: Http) -> None:
        """Begin a session."""
        body, member = await http.whole_body(MOST_BYTES), Member()
        try:
            if len(self.sessions) >= MOST_SESSIONS:
                raise Refused(Code.FULL, "there are too many members; come back later")
            self.hub.join(member, request_of(body))
        except Refused as refused:
            reason = packed("ended", code=refused.code, text=refused.text)
            await http.respond(refused.code.status, reason.json, *JSON)
            return
        token = secrets.token_urlsafe(16)
        self.sessions[token] = Session(member)
        await http.respond(200, json.dumps({"token": token}).encode(), *JSON)

    async def ask(self, http: Http, request: Request, token: str) -> None:
        """Wait for events, and send them."""
        session = self._session(token)
        after = request.query.get("after", ["0"])[0]
        session.forget(int(after) if after.isdecimal() and len(after) < 16 else -1)
        await self._wait(session)
        events = [parcel.json for parcel in session.kept]
        ending = session.member.ending
        if ending is not None:
            events.append(packed("ended", code=ending[0], text=ending[1]).json)
            self._end(token)
        last = session.first + len(events)
        await http.respond(200, b'{"events":[%b],"after":%d}' % (b",".join(events), last), *JSON)

    async def _wait(self, session: Session) -> None:
        """Wait for something new; a later GET of the same session ends it, too."""
        member = session.member
        session.turn += 1
        turn = session.turn
        member.news.set()  # for the GET before, if there is one
        session.polls += 1
        try:
            session.gather()
            until = now() + self.patience
            while not session.kept and member.ending is None and turn == session.turn:
                left = max(0.0, until - now())
                calls = (member.news.wait(), self.hub.stopping.wait(), sleep(left))
                which, _ = await select(*calls)
                session.gather()
                if which > 0:
                    break
        finally:
            session.polls -= 1
            session.seen = now()

    async def send(self, http: Http, token: str) -> None:
        """Do what a client asks for."""
        session = self._session(token)
        body = await http.whole_body(MOST_BYTES)
        try:
            self.hub.asked(session.member, request_of(body))
        except Refused as refused:
            raise BadRequest(refused.code.status, refused.text) from None
        if session.member.ending is not None and not session.polls:
            self._end(token)
        await http.respond(204)

    async def sweep(self) -> None:
        """End the sessions that are no longer polled, for ever."""
        while True:
            await sleep(SWEEP)
            latest = now() - self.keep
            for token, session in list(self.sessions.items()):
                if not session.polls and session.seen < latest:
                    session.member.end(Code.SILENT, "you have not polled")
                    self._end(token, "gone")

    def _session(self, token: str) -> Session:
        if token not in self.sessions:
            raise BadRequest(404, "there is no such session, or it has ended")
        return self.sessions[token]

    def _end(self, token: str, why: str = "") -> None:
        session = self.sessions.pop(token, None)
        if session is not None:
            self.hub.leave(session.member, why)
