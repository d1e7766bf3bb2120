"""The chat in a terminal: one task, which waits for the keyboard and the server at once.

Try: two of them in two terminals; `yes | head -30 | python3 -m ... --name bob`, which
runs into the limit; and Ctrl-C, Ctrl-D or /quit to leave.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from examples.servers.chat.__main__ import PORT
from examples.servers.chat.connecting import Link, connect
from examples.servers.chat.wire import Code
from examples.servers.common import port_number
from microthreads import Descriptor, move_on_after, run, select

EXAMPLES = """examples:
  python3 -m examples.servers.chat.client --name ann
  python3 -m examples.servers.chat.client --name ann --room tea --port 8010
  echo hello | python3 -m examples.servers.chat.client --name bob

What you type is said in the room, but for

  /who      who is there
  /quit     leave; so does the end of the input
"""
HELP = "there are /who and /quit; a name cannot be changed while one is in"
LEAVING = 5.0  # seconds for the server to close


class Talk:
    """A visit to a room.

    Args:
        link: The connection.
        own: The member's name.
        echo: Whether to print what the member says, as well: a terminal shows it already.
    """

    def __init__(self, link: Link, own: str, echo: bool) -> None:
        self.link = link
        self.own = own
        self.echo = echo
        self.names: list[str] = []
        self.count = 0
        self.line = b""  # what was typed, up to the end of a line that is yet to come
        self.code = 0  # to exit with

    async def run(self) -> None:
        """Talk until either side has enough."""
        keyboard, stream = Descriptor(sys.stdin), self.link.stream
        typing = True
        while typing and self.link.frames.ended is None:
            which, data = await select(stream.read(), keyboard.readable())
            if which == 0:
                if not data:
                    break
                await self.heard(data)
            else:
                typing = await self.typed()
        keyboard.detach()
        if self.link.frames.ended is None:
            await self.leave()
        elif self.code == 0:
            self.code = 1
            print("* the connection is closed")

    async def leave(self) -> None:
        """Close, and print what was said up to then."""
        link = self.link
        with move_on_after(LEAVING):
            await link.write(link.frames.close(Code.LEFT, ""))
            while link.frames.ended is None and (data := await link.stream.read()):
                self.show_all(data)
        if link.frames.ended is None:
            self.code = 1
            print("* the server is gone")

    async def heard(self, data: bytes) -> None:
        """Something has come."""
        self.show_all(data)
        await self.link.answer()

    def show_all(self, data: bytes) -> None:
        for event in self.link.events(data):
            self.show(event)
        sys.stdout.flush()

    async def typed(self) -> bool:
        """Say what was typed; False at its end."""
        data = os.read(sys.stdin.fileno(), 65536)
        *lines, self.line = (self.line + data).split(b"\n")
        if not data:
            lines, self.line = [self.line], b""
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text == "/quit":
                return False
            if text == "/who":
                print(f"* {self.count} here: {', '.join(map(visible, self.names))}", flush=True)
            elif text.startswith("/"):
                print(f"* {HELP}", flush=True)
            elif text:
                await self.link.ask("say", text=text)
        return bool(data)

    def show(self, event: dict[str, Any]) -> None:
        """Print an event."""
        kind, name = event["type"], visible(event.get("name", ""))
        if kind == "said" and (self.echo or event["name"] != self.own):
            at = time.strftime("%H:%M", time.localtime(event["at"]))
            print(f"{at} {name}: {visible(event['text'])}")
        elif kind == "welcome":
            print(f"* you are in {visible(event['room'])}, with {event['count'] - 1} others")
        elif kind in ("joined", "left"):
            why = f" ({event['why']})" if event.get("why") else ""
            print(f"* {name} has {kind}{why}")
        elif kind in ("notice", "ended"):
            print(f"* {visible(event['text'])}")
        self.count_members(kind, event)

    def count_members(self, kind: str, event: dict[str, Any]) -> None:
        """Keep the list of who is there."""
        if kind in ("welcome", "members"):
            self.names, self.count = event["names"], event["count"]
        elif kind == "joined":
            self.names.append(event["name"])
            self.count += 1
        elif kind == "left":
            self.names = [name for name in self.names if name != event["name"]]
            self.count -= 1
        elif kind == "ended":
            self.code = 1


def visible(text: str) -> str:
    """`text` without what could command a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


async def visit(args: argparse.Namespace) -> int:
    """Join a room and talk; the exit code."""
    link = await connect(args.host, args.port)
    with link.stream:
        await link.ask("join", name=args.name, room=args.room)
        talk = Talk(link, args.name.strip(), echo=not sys.stdin.isatty())
        await talk.run()
    return talk.code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the client; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m examples.servers.chat.client",
        description="Talk in a room of the chat server.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", required=True, help="what to be called")
    parser.add_argument("--room", default="lobby", help="where (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="the server (default: %(default)s)")
    parser.add_argument(
        "--port", type=port_number, default=PORT, help="its port (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    try:
        return run(visit(args))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        print(f"chat: {error.strerror or error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
