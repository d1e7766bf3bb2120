"""What waits for a slow client, so that no thread has to: in memory first, then on the disk.

    Upload    a request's body: the kernel puts in, and when all is there, a thread reads
    Answer    a response's body: a thread puts in, and meanwhile the kernel takes out
    Disk      how much all of them may have on the disk, which is not endless

Each may have `IN_MEMORY` bytes in memory, so small ones never see the disk. What finds no
room there is not lost: an upload is refused, and an answer's thread waits for its client.
A file has no name, so nothing of it is left, however the server ends. It is where temporary
files are: the environment variable TMPDIR says where that is.
"""

from __future__ import annotations

import os
import tempfile
import threading
from io import FileIO

IN_MEMORY = 65536  # bytes
PIECE = 65536  # bytes that are written or read at once: that takes some 20 microseconds


class Full(Exception):  # noqa: N818  (as it is called)
    """There is no room on the disk, or not for this."""


class Gone(ConnectionAbortedError):  # noqa: N818  (likewise)
    """Nobody takes the answer any more."""


class Disk:
    """How much may be on the disk; for any thread.

    Args:
        most: That many bytes, all in all.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def reserve(self, size: int) -> bool:
        """Count so many bytes more; False if that is too much."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def release(self, size: int) -> None:
        """Count so many bytes less."""
        with self._lock:
            self._left += size


class Upload:
    """A request's body.

    Attributes:
        file: What the application reads.
        size: How many bytes there are.
    """

    def __init__(self, disk: Disk) -> None:
        self.file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  (see `close`)
        self.size = 0
        self._disk = disk
        self._reserved = 0

    def put(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            Full: There is no room for it.
        """
        size = self.size + len(piece)
        if size > IN_MEMORY:
            if not self._disk.reserve(size - self._reserved):
                raise Full(f"the spool has no room for {size} bytes")
            self._reserved = size
        try:
            self.file.write(piece)
        except OSError as error:
            raise Full(str(error)) from error
        self.size = size

    def close(self) -> None:
        """Nobody reads it any more. A plain call, which may be repeated."""
        self.file.close()
        reserved, self._reserved = self._reserved, 0  # at once: both threads may close it
        self._disk.release(reserved)


class Answer:
    """A response's body, on its way from a thread to a client.

    What is in memory was put in before what is in the file. When the client has taken all
    of the file, that begins anew: so an answer whose client keeps up needs little of it.

    Args:
        disk: What counts the bytes on the disk.
        ahead: How many bytes may be in the file.

    Attributes:
        taken: How many bytes were taken out.
    """

    def __init__(self, disk: Disk, ahead: int) -> None:
        self.taken = 0
        self._disk = disk
        self._ahead = ahead
        self._memory = bytearray()
        self._file: FileIO | None = None
        self._written = self._read = 0  # how far the file is
        self._closed = False
        self._changed = threading.Condition()

    def put(self, data: memoryview) -> int:
        """Put in the begin of `data`; return how much that was, 0 if there is no room.

        Raises:
            Gone: Nobody takes it any more.
        """
        with self._changed:
            if self._closed:
                raise Gone("this request is over")
            room = 0 if self._written else IN_MEMORY - len(self._memory)
            if room > 0:
                self._memory += data[:room]
                return min(room, len(data))
            return self._put_on_disk(data[: min(PIECE, self._ahead - self._written)])

    def _put_on_disk(self, data: memoryview) -> int:
        if not data or not self._disk.reserve(len(data)):
            return 0
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            size = os.pwrite(self._file.fileno(), data, self._written)
        except OSError:  # the disk is full, or there are too many files: so the thread waits
            size = 0
        self._disk.release(len(data) - size)
        self._written += size
        return size

    def take(self) -> bytes:
        """Take out the next piece; ``b""`` if there is none now."""
        with self._changed:
            if self._memory:
                piece = bytes(self._memory)
                self._memory.clear()
            elif self._file is not None and self._read < self._written:
                piece = os.pread(self._file.fileno(), PIECE, self._read)
                self._read += len(piece)
                if self._read == self._written:
                    self._empty()
            else:
                return b""
            self.taken += len(piece)
            self._changed.notify_all()
            return piece

    def _empty(self) -> None:
        if self._file is not None:
            self._file.truncate(0)
        self._disk.release(self._written)
        self._written = self._read = 0

    def moves_on(self, since: int, seconds: float) -> bool:
        """Wait until `taken` is no longer `since`; False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self.taken != since, seconds)

    def close(self) -> None:
        """Nobody takes it any more. A plain call, which may be repeated."""
        with self._changed:
            self._closed = True
            self._memory.clear()
            self._empty()
            if self._file is not None:
                self._file.close()
            self._file = None
            self._changed.notify_all()
