"""A folder as a source: its files are read where they lie, and no link is followed out of it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import Found, Kind, absent, check_count, unreadable, unusable
from retrieval.errors import BadInput


class Folder:
    """The files under a folder, however deep."""

    kind: Kind = "folder"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()

    def found(self) -> tuple[Found, ...]:
        """All files under it; links that lead out of it, links to folders and what is no plain file with a reason."""
        files: list[Found] = []
        for each in self._walk():
            files.append(each)
            check_count(self.path, len(files))
        return tuple(files)

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a file, which must still be a plain one inside the folder."""
        path = self._place(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with open(descriptor, "rb") as stream:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise unreadable(self.path, name, "it is no plain file")
                return stream.read(size)
        except OSError as error:
            raise self._refusal(name, error) from error

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and time of the last change in nanoseconds."""
        try:
            status = self._place(name).stat()
        except OSError as error:
            raise self._refusal(name, error) from error
        return status.st_size, status.st_mtime_ns

    def close(self) -> None:
        """Nothing is held open."""

    def _place(self, name: str) -> Path:
        if naming.plain(name) != name or naming.problem(name):
            raise absent(self.path, naming.shown(name))
        try:
            place = (self._root / name).resolve()
        except (OSError, RuntimeError) as error:  # a link in a circle
            raise unreadable(self.path, name, "its link leads nowhere") from error
        if not place.is_relative_to(self._root):
            raise unreadable(self.path, name, "it is a link that leads out of the folder")
        return place

    def _refusal(self, name: str, error: OSError) -> BadInput:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return absent(self.path, name)
        return unreadable(self.path, name, error.strerror or type(error).__name__)

    def _walk(self) -> Iterator[Found]:
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self._root / folder) as listing:
                    entries = list(listing)
            except OSError as error:
                if not folder:
                    reason = f"it cannot be opened ({error.strerror})"
                    raise unusable(self.path, reason, remedy="See whether you may read it.") from error
                yield Found(folder, 0, f"The folder cannot be opened: {error.strerror}.")
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.extend([] if naming.is_hidden(name) else [name])
                else:
                    yield self._file(name, entry)

    def _file(self, name: str, entry: os.DirEntry[str]) -> Found:
        try:
            status = entry.stat()
            if entry.is_symlink() and (problem := self._link_problem(entry, status)):
                return Found(name, 0, problem)
        except (OSError, RuntimeError):
            return Found(name, 0, "It is a link that leads nowhere, or cannot be looked at.")
        if not stat.S_ISREG(status.st_mode):
            return Found(name, 0, "It is no plain file.")
        return Found(name, status.st_size)

    def _link_problem(self, entry: os.DirEntry[str], status: os.stat_result) -> str:
        if not Path(entry.path).resolve().is_relative_to(self._root):
            return "It is a link that leads out of the folder."
        return "It is a link to a folder, which is not followed." if stat.S_ISDIR(status.st_mode) else ""
