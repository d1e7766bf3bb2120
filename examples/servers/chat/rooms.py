"""Rooms and members. Nothing here waits, and nothing knows how a member is reached.

A `Member` is what both transports share: an outbox that rooms put parcels into, by a
plain call, and an event that tells the member's task that there is something. The
task takes all there is at once; so under load, many parcels are one write.

Memory stays bounded: an outbox has room for so many parcels (their bytes are shared with
all other members), and whose outbox overflows is out of the room at that moment.
In a crowd it is no longer told who comes and goes: ten thousand who join a room would
be a hundred million notices.

Invariants: a member is in `room.members` exactly while `member.room` is that room;
a hub has no room without members.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable

from examples.servers.chat import wire
from examples.servers.chat.wire import Code, Parcel, Refused, label, packed
from microthreads import Event, now
from microthreads.errors import printable

logger = logging.getLogger("chat")

MOST_WAITING = 256  # parcels in an outbox
HISTORY = 100  # messages that a room remembers
CROWD = 200  # members; from here on, joins, leaves and typing are not told
CALM = 150  # members; from here down, they are told again
TOO_SLOW = "too slow"


class Member:
    """One who is in a room, or about to be.

    Attributes:
        name, key: As it joined.
        room: Where it is, or None.
        news: Set when there is something to take, or `ending` has come.
        ending: Why it is out, as a close code and a text; None while it is not.
    """

    __slots__ = ("allowed", "ending", "key", "name", "news", "outbox", "room", "since")

    def __init__(self) -> None:
        self.name = self.key = ""
        self.room: Room | None = None
        self.news = Event()
        self.ending: tuple[int, str] | None = None
        self.outbox: list[Parcel] = []
        self.allowed = 0.0  # messages, at the time `since`
        self.since = float("-inf")

    def deliver(self, parcel: Parcel) -> bool:
        """Put a parcel into the outbox; False, once, if that is full: that is the end."""
        if self.ending is not None:
            return True
        if len(self.outbox) >= MOST_WAITING:
            self.outbox.clear()
            self.end(Code.SLOW, "you were cut off: too much was waiting for you")
            return False
        self.outbox.append(parcel)
        self.news.set()
        return True

    def take(self) -> list[Parcel]:
        """All that is in the outbox. A plain call."""
        self.news.clear()
        parcels, self.outbox = self.outbox, []
        return parcels

    def end(self, code: int, text: str) -> None:
        """Say that this member is out. A plain call; the first reason counts."""
        if self.ending is None:
            self.ending = (code, text)
            self.news.set()


class Room:
    """Some members, and what was said.

    Attributes:
        born: What tells it from other rooms that had this name before.
        said: How many messages there were.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.born = secrets.token_hex(4)
        self.members: dict[str, Member] = {}  # by their names, in lower case
        self.history: deque[Parcel] = deque(maxlen=HISTORY)
        self.crowded = False
        self.said = 0

    def names(self) -> list[str]:
        """The members' names; of a crowd, those who came first."""
        first = list(self.members.values())[:CROWD]
        return [member.name for member in first]

    def tell(self, parcel: Parcel, but: Member | None = None) -> list[Member]:
        """Deliver to all but one; those are returned whose outbox is full."""
        members = self.members.values()
        return [each for each in members if each is not but and not each.deliver(parcel)]

    def resized(self) -> list[Member]:
        """Somebody came or left: tell all if it became a crowd by that, or calm again.

        Returns:
            Those whose outbox is full.
        """
        count = len(self.members)
        if self.crowded == (count > (CALM if self.crowded else CROWD)):
            return []
        self.crowded = not self.crowded
        return self.tell(packed("members", names=self.names(), count=count))


class Hub:
    """All rooms.

    Args:
        stopping: Set when the server is to stop.
        burst: How many requests a member may make in `seconds`.
        seconds: And then so many again.
    """

    def __init__(self, stopping: Event, burst: int = 20, seconds: float = 5.0) -> None:
        self.rooms: dict[str, Room] = {}
        self.burst = burst
        self.speed = burst / seconds
        self.stopping = stopping
        limit = f"at most {burst} messages in {seconds:g} seconds"
        self.too_fast = packed("notice", text=f"Not so fast: {limit}. Your message was not sent.")
        self.requests: dict[str, Callable[[Member, dict[str, str]], None]] = {
            "say": self.say,
            "typing": self.typing,
            "leave": lambda member, _: member.end(Code.LEFT, "goodbye"),
        }

    # Coming and going

    def join(self, member: Member, request: dict[str, str]) -> None:
        """Let a member in. A plain call.

        Raises:
            Refused: The name is taken, or none; or the server is stopping.
        """
        if self.stopping.is_set():
            raise Refused(Code.STOPPING, "the server is stopping")
        name = label("name", request.get("name", ""), wire.MOST_NAME)
        room_name = label("room", request.get("room", ""), wire.MOST_ROOM)
        room = self.rooms.get(room_name) or Room(room_name)
        member.name, member.key = name, request.get("key", "")[: wire.MOST_KEY]
        before = room.members.get(name.casefold())
        if before is not None and not (before.key and before.key == member.key):
            raise Refused(Code.TAKEN, f"somebody in {room_name} is called {name} already")
        self.rooms[room_name] = member.room = room
        room.members[name.casefold()] = member
        self._welcome(member, room)
        if before is None:
            self._announce(member, room)
        else:
            before.room = None
            before.end(Code.REPLACED, "you have come back, on another connection")

    def _welcome(self, member: Member, room: Room) -> None:
        about = {"room": room.name, "born": room.born}
        here = {"names": room.names(), "count": len(room.members)}
        welcome = packed("welcome", name=member.name, **about, **here)
        for parcel in (welcome, *room.history):
            member.deliver(parcel)

    def _announce(self, member: Member, room: Room) -> None:
        if not room.crowded:
            self._tell(room, packed("joined", name=member.name, at=time.time()), member)
        self._out([(each, TOO_SLOW) for each in room.resized()])

    def leave(self, member: Member, why: str = "") -> None:
        """See a member out, if it is in. A plain call."""
        self._out([(member, why)])

    def _out(self, leaving: list[tuple[Member, str]]) -> None:
        """See members out, and those for whom the news of that is one parcel too many."""
        while leaving:
            member, why = leaving.pop()
            room, member.room = member.room, None
            if room is None:
                continue
            if why == TOO_SLOW:
                names = printable(f"{member.name} in {room.name}")
                logger.info("%s was too slow: cut off", names)
            del room.members[member.name.casefold()]
            if not room.members:
                del self.rooms[room.name]
                continue
            left = packed("left", name=member.name, why=why, at=time.time())
            slow = [] if room.crowded else room.tell(left)
            leaving += [(each, TOO_SLOW) for each in slow + room.resized()]

    async def close(self) -> None:
        """Wait until the server is to stop; then tell all members."""
        await self.stopping.wait()
        for room in list(self.rooms.values()):
            for member in list(room.members.values()):
                member.end(Code.STOPPING, "the server is stopping")

    # Talking

    def asked(self, member: Member, request: dict[str, str]) -> None:
        """Do what a member asks for. A plain call.

        Raises:
            Refused: It cannot be done.
        """
        do = self.requests.get(request["type"])
        if do is None or member.room is None:
            raise Refused(Code.BAD, "this is nothing that a member can ask for")
        if not self.allows(member):
            if not member.deliver(self.too_fast):
                self.leave(member, TOO_SLOW)
            return
        do(member, request)

    def allows(self, member: Member) -> bool:
        """Whether a member may make one more request now."""
        time_now = now()
        gained = (time_now - member.since) * self.speed
        member.allowed, member.since = min(self.burst, member.allowed + gained), time_now
        if member.allowed < 1:
            return False
        member.allowed -= 1
        return True

    def say(self, member: Member, request: dict[str, str]) -> None:
        """Tell all in a member's room, the member included, what it says."""
        text, room = wire.message(request.get("text", "")), member.room
        assert room is not None
        room.said += 1
        parcel = packed("said", id=room.said, name=member.name, text=text, at=time.time())
        room.history.append(parcel)
        self._tell(room, parcel)

    def typing(self, member: Member, request: dict[str, str]) -> None:
        """Tell the others in a member's room that it is typing."""
        room = member.room
        assert room is not None
        if not room.crowded:
            self._tell(room, packed("typing", name=member.name), member)

    def _tell(self, room: Room, parcel: Parcel, but: Member | None = None) -> None:
        """Tell all in a room, but for one; who does not take it is out."""
        self._out([(each, TOO_SLOW) for each in room.tell(parcel, but)])
