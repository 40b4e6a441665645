"""What folders and archives have in common: the files found in them, and reading those within bounds."""

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from retrieval.errors import BadInput
from retrieval.pictures.reading import MAX_BYTES

Kind = Literal["folder", "zip", "tar", "vectors", "dicomweb"]

MAX_FILES = 500_000
MOST_READ = 64 * 2**20  # bytes of an archive that are read at once: a zip's whole directory is


@dataclass(frozen=True)
class Found:
    """A file of a container as its listing describes it.

    Attributes:
        name: Relative, with forward slashes; what `start` and `stamp` take.
        bytes: Its size.
        problem: Why it cannot be used, a sentence; empty where nothing speaks against it.
    """

    name: str
    bytes: int
    problem: str = ""


class Container(Protocol):
    """A folder or an archive whose files are read where they lie, in any order and by several threads."""

    path: Path
    kind: Kind

    def found(self) -> tuple[Found, ...]:
        """All files in it, in no order, hidden and unusable ones too; BadInput where it cannot be listed."""
        ...

    def start(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a file, or all if it has fewer; BadInput where they cannot be read."""
        ...

    def stamp(self, name: str) -> tuple[int, int]:
        """Its size, and a number that changes with its bytes; BadInput where it is gone."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def read_whole(container: Container, name: str, *, most: int | None = None) -> bytes:
    """All bytes of a file; BadInput where it is gone, empty, damaged or larger than `most`, or than a picture may be.

    The bound holds for what is read, whatever the listing says of its size.
    """
    most = MAX_BYTES if most is None else most
    data = container.start(name, most + 1)
    if not data:
        raise unreadable(container.path, name, "it is empty")
    if len(data) > most:
        raise unreadable(container.path, name, f"it is larger than {most // 2**20} MB")
    if len(data) != container.stamp(name)[0]:
        raise unreadable(container.path, name, "it has another length than it is said to have")
    return data


def unusable(path: Path, reason: str, *, remedy: str) -> BadInput:
    """The error for a source that is refused as a whole."""
    return BadInput(f"{path.name!r} cannot be used as a source of pictures: {reason}.", remedy=remedy)


def unreadable(path: Path, name: str, reason: str) -> BadInput:
    """The error for one file of a source."""
    return BadInput(
        f"{name!r} in {path.name!r} cannot be read: {reason}.",
        remedy="See whether it was moved or changed, and update the collection.",
    )


def absent(path: Path, name: str) -> BadInput:
    """The error for a file that a source does not hold, or does not hold any more."""
    return unreadable(path, name, "there is no such file")


def check_count(path: Path, count: int) -> None:
    """BadInput where a source holds more files than are looked at."""
    if count > MAX_FILES:
        raise unusable(
            path,
            f"it holds more than {MAX_FILES:,} files",
            remedy="Divide it into several collections.",
        )


class ArchiveFile(io.RawIOBase):
    """An archive's bytes by their place.

    It keeps a position of its own, so that neither threads nor forked processes move each other's; and it reads no more
    at once than a bound, whatever length a damaged archive asks for.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        self._position = 0
        self.size = os.fstat(self._descriptor).st_size

    @property
    def mtime_ns(self) -> int:
        """The time of its last change."""
        return os.fstat(self._descriptor).st_mtime_ns

    def at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end; ValueError beyond the bound."""
        if not 0 <= size <= MOST_READ or offset < 0:
            raise ValueError(f"{size} bytes at {offset} are not read at once")
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._lock:  # Windows has no pread
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def read(self, size: int = -1, /) -> bytes:
        size = self.size - self._position if size < 0 else size
        data = self.at(self._position, size)
        self._position += len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError("a place before the file's beginning")
        self._position = start + offset
        return self._position

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
