"""A folder that strangers may read: which of its files there are, and which are not for them.

What a path of a URL may lead to is decided here, and nowhere else:

- Names are taken apart at "/" first, and only then is %xx replaced. So no name can have
  a "/" in it; one that has, or is "..", or has a backslash or a zero byte, is refused (400).
- Names that begin with a dot are not there, for strangers (404): `.git`, `.env`, `.htpasswd`.
  `hidden=True` serves them as well.
- A symlink may lead to anywhere within the folder, but not out of it (404). What a link
  within the folder leads to is served, whatever it is called.
- Only files and folders are served. A fifo would keep its reader waiting, and a device
  could do anything: they are not even opened (403).

Files are looked for and opened without waiting, but not in no time: the disk may have to
turn. Who can change the folder while it is served could swap a folder for a link between
the look and the opening; give nobody else that right.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

REFUSED = {
    errno.ENOENT: (404, "there is no such file"),
    errno.ENOTDIR: (404, "there is no such file"),
    errno.ELOOP: (404, "there is no such file"),
    errno.ENAMETOOLONG: (404, "there is no such file"),
    errno.EACCES: (403, "this file is not for you"),
    errno.EPERM: (403, "this file is not for you"),
    errno.EMFILE: (503, "too many files are open"),
    errno.ENFILE: (503, "too many files are open"),
}


class Refusal(Exception):  # noqa: N818  (no error of ours)
    """What is asked for is not served.

    Args:
        status: The status to answer with.
        reason: What the client is told.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Entry(NamedTuple):
    """A line of a folder's page.

    Attributes:
        name: Of the file or folder.
        is_folder: Which of the two it is.
        size: In bytes.
        modified: When it was changed, in seconds since 1970.
    """

    name: str
    is_folder: bool
    size: int
    modified: float


def names_of(path: str) -> list[str]:
    """The names along a path.

    Args:
        path: As it was sent, such as "/photos/a%20cat.jpg".

    Raises:
        Refusal: It has a name that no file of ours can have.
    """
    names = [os.fsdecode(unquote_to_bytes(name)) for name in path.split("/") if name]
    for name in names:
        if name in (".", "..") or any(character in name for character in "/\\\0"):
            raise Refusal(400, "this path is not allowed")
    return names


class Folder:
    """What is served.

    Args:
        root: The folder's path.
        hidden: Whether names that begin with a dot are served, too.
    """

    def __init__(self, root: str, *, hidden: bool = False) -> None:
        self.root = os.path.realpath(root)
        self.hidden = hidden
        self._within = os.path.join(self.root, "")  # with one slash, even if it is "/"

    def find(self, names: Sequence[str]) -> str:
        """Where the file or folder is to which these names lead, free of links.

        Raises:
            Refusal: There is none, or it is not for strangers.
        """
        if not all(map(self._shows, names)):
            raise Refusal(404, "there is no such file")
        with refusals():
            path = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if not self._has(path):
            raise Refusal(404, "there is no such file")
        return path

    def entries(self, path: str) -> list[os.DirEntry[str]]:
        """What is in a folder, in the order of its page: folders first, then by name.

        Raises:
            Refusal: It cannot be read.
        """
        with refusals(), os.scandir(path) as found:
            shown = [each for each in found if self._shows(each.name) and "\\" not in each.name]
        return sorted(shown, key=lambda each: (not is_folder(each), each.name.casefold()))

    def entry(self, found: os.DirEntry[str]) -> Entry | None:
        """One line of a folder's page; None if strangers could not have it."""
        try:
            if found.is_symlink() and not self._has(os.path.realpath(found.path, strict=True)):
                return None
            status = found.stat()
        except OSError:
            return None  # it is gone, or a link to nothing
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return None
        return Entry(found.name, is_folder(found), status.st_size, status.st_mtime)

    def _shows(self, name: str) -> bool:
        return self.hidden or not name.startswith(".")

    def _has(self, path: str) -> bool:
        return path == self.root or path.startswith(self._within)


def is_folder(found: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one."""
    try:
        return found.is_dir()
    except OSError:
        return False


def opened(path: str) -> FileIO:
    """Open a file for reading; `path` is free of links.

    Raises:
        Refusal: It is no file, or it cannot be read.
    """
    with refusals():
        check_is_file(os.stat(path, follow_symlinks=False))
        # Should it have become a fifo by now, this does not wait, and is noticed below.
        file = FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
        try:
            check_is_file(os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file


def check_is_file(status: os.stat_result) -> None:
    """Refuse what is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        raise Refusal(403, "this is no file that can be sent")


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what the operating system says about a path into a `Refusal`."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise Refusal(*REFUSED[error.errno]) from error
