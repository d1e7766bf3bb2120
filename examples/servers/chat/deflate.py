"""Compressed messages: the extension permessage-deflate (RFC 7692), for wsproto.

Every message is compressed by itself ("no context takeover"), in either direction. So an idle
member holds next to nothing for it: 6.4 KiB with it, 6.2 without, measured; what zlib keeps
from one small message to the next would be 100 KiB more. And an event is compressed once, for
all members of a room.

wsproto has this extension, too, but inflates without a bound (64 KiB become 64 MiB), and
takes a ping between the fragments of a message for the message's end.
"""

from __future__ import annotations

import re
import zlib

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    RsvBits,
)

NAME = "permessage-deflate"
ANSWER = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
OURS = 9  # bits: the smallest window, so that it does for each client; larger ones gain little
THEIRS = 15  # bits: the largest window, so that any client's messages fit in
TAIL = b"\0\0\xff\xff"  # the end of each message, which is not sent
PARAMETER = re.compile(
    r"(server_no_context_takeover|client_no_context_takeover)"
    r'|(server_max_window_bits)="?(9|1[0-5])"?'
    r'|(client_max_window_bits)(="?([89]|1[0-5])"?)?'
)


def agreed(offers: str) -> str | None:
    """The answer to the first offer that can be accepted; None if there is none.

    Args:
        offers: The header Sec-WebSocket-Extensions.
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        found = [PARAMETER.fullmatch(each) for each in parameters]
        names = {each and each[0].partition("=")[0] for each in found}
        if name == NAME and all(found) and len(names) == len(found):
            asked = "server_max_window_bits" in names
            return f"{ANSWER}; server_max_window_bits={OURS}" if asked else ANSWER
    return None


class Deflate(Extension):
    """One side of a WebSocket whose messages may be compressed.

    Args:
        most: How many bytes a message may have, when it is inflated.
    """

    __slots__ = ("_control", "_inflating", "_left", "_most")
    name = NAME

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = 0  # bytes that the message may still have
        self._inflating: zlib._Decompress | None = None  # during a compressed message
        self._control = False  # whether the frame that comes is a ping or the like

    def enabled(self) -> bool:
        """It was agreed on."""
        return True

    def offer(self) -> bool | str:
        """Nothing: only servers have it here."""
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """A frame begins; the first one of a message says whether it is compressed."""
        self._control = opcode.iscontrol()
        begins = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not begins:
            return CloseReason.PROTOCOL_ERROR
        if begins:
            self._inflating = zlib.decompressobj(-THEIRS) if rsv.rsv1 else None
            self._left = self._most
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """A part of a frame."""
        return data if self._control else self._inflated(data)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """The end of a frame."""
        if self._control or not fin or self._inflating is None:
            return None
        data = self._inflated(TAIL)
        self._inflating = None
        return data

    def _inflated(self, data: bytes) -> bytes | CloseReason:
        if self._inflating is None:
            return data
        try:
            found = self._inflating.decompress(data, self._left + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._left -= len(found)
        return found if self._left >= 0 else CloseReason.MESSAGE_TOO_BIG

    def frame_outbound(
        self,
        proto: FrameDecoder | FrameProtocol,
        opcode: Opcode,
        rsv: RsvBits,
        data: bytes,
        fin: bool,
    ) -> tuple[RsvBits, bytes]:
        """A whole message, compressed if that makes it smaller."""
        if opcode not in (Opcode.TEXT, Opcode.BINARY) or not fin:
            return rsv, data
        deflating = zlib.compressobj(wbits=-OURS)
        small = deflating.compress(data) + deflating.flush(zlib.Z_SYNC_FLUSH)
        small = small.removesuffix(TAIL)
        return (RsvBits(True, False, False), small) if len(small) < len(data) else (rsv, data)
