"""Folders of pictures, and what of them is a candidate: names, sizes, labels from class folders."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.reading import MAX_BYTES


@dataclass(frozen=True)
class LeftOut:
    """A file of a source that is no part of a collection, and why, in a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One candidate file of a source.

    Attributes:
        name: Its path inside the source, with `/`.
        bytes: Its size.
        label: The folder that it is in; None at the top.
        group: What the pattern finds in its name.
        split: None: not said.
    """

    name: str
    bytes: int
    label: str | None
    group: str | None
    split: SplitName | None


@dataclass(frozen=True)
class Source:
    """An opened folder."""

    path: Path
    kind: Literal["folder", "zip", "tar"]
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]

    def read(self, name: str) -> bytes:
        """The bytes of a file; BadInput where it cannot be read or is too large."""
        try:
            with (self.path / name).open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise BadInput(f"{name!r} cannot be opened: {error.strerror or error}.") from error
        if len(data) > MAX_BYTES:
            raise BadInput(f"{name!r} is larger than 50 MB.")
        return data

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and time of modification."""
        stat = (self.path / name).stat()
        return stat.st_size, stat.st_mtime_ns


def open_source(path: Path, *, pattern: str | None = None) -> Source:
    """The folder's files in sorted order."""
    if not path.is_dir():
        raise Unavailable(f"There is no folder {path}.", remedy="Check the path.")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    entries = tuple(_entry(path, file, pattern) for file in files)
    return Source(path, "folder", tuple(sorted(entries, key=lambda entry: entry.name)), ())


def _entry(path: Path, file: Path, pattern: str | None) -> Entry:
    name = file.relative_to(path).as_posix()
    found = re.search(pattern, name) if pattern else None
    group = (found[1] if found.re.groups else found[0]) if found else None
    label = file.parent.name if file.parent != path else None
    return Entry(name, file.stat().st_size, label, group, None)
