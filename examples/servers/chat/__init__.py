"""A chat with rooms: over WebSockets, by long polling, in a browser and in a terminal.

    python3 -m examples.servers.chat             the server; then open its address
    python3 -m examples.servers.chat.client      a client for the terminal
    python3 -m examples.servers.chat.load        ten thousand clients, and what they see

Read it from the inside out:

    wire.py          what is said: events, requests, names, and the refusal of what is wrong
    rooms.py         rooms and members; no input or output, and nothing in it waits
    frames.py        the WebSocket protocol on either side, by wsproto
    deflate.py       compressed messages, as an extension of wsproto's
    websocket.py     a member on a WebSocket: one task, which selects
    polling.py       a member that polls, the "Comet" way
    guard.py         which pages may speak here
    web.py           which request goes where
    __main__.py      options, and the start
    connecting.py    the client's side, for client.py and load.py
    page.html        the page; link.js is its connection, chat.js and chat.css what is seen

The heart is `Member` in rooms.py: whatever a room tells its members is put into their
outboxes by plain calls, and a task for each member carries it away.
"""

try:
    import wsproto  # noqa: F401
except ModuleNotFoundError:
    raise SystemExit("the chat needs wsproto: python3 -m pip install h11 wsproto") from None
