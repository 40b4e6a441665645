"""The neighbour that a file is written into before it takes the file's name: made, claimed, and removed when left.

For `artifacts` and nobody else. Every byte goes through `os.write`.
"""

import glob
import io
import os
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def stream(descriptor: int) -> IO[bytes]:
    """A buffered stream over an open file, which is closed with it."""
    return io.BufferedWriter(_Descriptor(descriptor))


def create(path: Path, *, mode: int) -> tuple[int, Path]:
    """A new neighbour of a file, open and claimed, so that nobody takes it for what a killed write left.

    Args:
        mode: Who may do what with it, less what the user's umask forbids.
    """
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        except FileExistsError:
            continue
        _claim(descriptor, wait=True)
        if part.exists():  # else another process was quicker, and removed it before it was claimed
            return descriptor, part
        os.close(descriptor)


def remove_left(path: Path) -> None:
    """Remove what killed writes of this file left: nobody claims it, or it is older than a day."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(FileNotFoundError):  # another process removes it as well, or has just finished it
            if part.stat().st_mtime < time.time() - 86_400:
                part.unlink()
            else:
                _remove_unclaimed(part)


def is_left(part: Path) -> bool:
    """Whether nobody claims a part: its write was killed."""
    try:
        descriptor = os.open(part, os.O_RDONLY)
    except FileNotFoundError:  # finished meanwhile
        return False
    try:
        return _claim(descriptor)
    finally:
        os.close(descriptor)


def _remove_unclaimed(part: Path) -> None:
    """Claimed while it is removed, so that whoever has just made it waits, and sees that it is gone."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        if _claim(descriptor):
            part.unlink()
    finally:
        os.close(descriptor)


def _claim(descriptor: int, *, wait: bool = False) -> bool:
    """Whether the open file is now this process's own; False where another holds it or the disk knows no such claims.

    The system lets go of it when the file is closed, also when its holder is killed.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class _Descriptor(io.RawIOBase):
    """A file descriptor as a raw stream; `os.write` may take fewer bytes than it is given, the buffer goes on then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        return os.write(self._descriptor, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._descriptor, size)
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)
