"""A zip as a source: members are read where they lie, nothing is unpacked to a disk.

`zipfile` gives out no more of a member than its entry in the directory says, takes no more of the archive for it than
that says, and compares the checksum at the end. So the bounds below, on what the directory says, hold for what is read
as well. Members compressed otherwise than by deflate are refused: `zipfile` unpacks those in one piece of any size.
"""

import itertools
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import (
    ArchiveFile,
    Found,
    Kind,
    absent,
    check_count,
    unreadable,
    unusable,
)
from retrieval.pictures.archives import read_member

MOST_TIMES = 200  # a member, or the archive, that grows more than this is a bomb ...
SMALL_BYTES = 16 * 2**20  # ... unless it is small nevertheless, as blank pictures are

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, struct.error, MemoryError)
_LOCAL_HEADER = 30  # bytes before the name
_ENCRYPTED, _PATCHED, _STRONG, _UTF8 = 0x01, 0x20, 0x40, 0x800


class Zip:
    """The members of a zip."""

    kind: Kind = "zip"

    def __init__(self, path: Path) -> None:
        """Read the directory; BadInput where it is damaged or the archive is a bomb."""
        self.path = path
        self._file = ArchiveFile(path)
        try:
            self._archive = self._opened()
            members = [member for member in self._archive.infolist() if not member.orig_filename.endswith("/")]
            self._refuse_bombs(members)
        except BaseException:
            self._file.close()
            raise
        self._names = [(_name(member), member) for member in members]
        self._members = dict(self._names)

    def found(self) -> tuple[Found, ...]:
        """All members but folders."""
        return tuple(Found(name, member.file_size, _problem(member)) for name, member in self._names)

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a member; its checksum is compared where that is all of it."""
        member = self._member(name)
        if problem := _problem(member):
            raise unreadable(self.path, name, problem[0].lower() + problem[1:].removesuffix("."))
        try:
            with self._archive.open(member) as stream:
                return read_member(stream, min(size, member.file_size))
        except _DAMAGED as error:
            raise unreadable(self.path, name, f"it is damaged ({error})") from error

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and checksum (CRC-32), which reading compares with the bytes."""
        member = self._member(name)
        return member.file_size, member.CRC

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()
        self._file.close()

    def _opened(self) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(self._file)
        except _DAMAGED as error:
            raise unusable(
                self.path,
                f"it is no whole zip, or damaged ({error})",
                remedy="Fetch or pack it again, or give the folder instead.",
            ) from error
        check_count(self.path, len(archive.infolist()))
        return archive

    def _member(self, name: str) -> zipfile.ZipInfo:
        if name not in self._members:
            raise absent(self.path, naming.shown(name))
        return self._members[name]

    def _refuse_bombs(self, members: list[zipfile.ZipInfo]) -> None:
        remedy = "Do not open it; if it is yours, pack its files anew."
        if _overlap(members):
            raise unusable(self.path, "members of it lie over one another, as in a bomb", remedy=remedy)
        total = sum(member.file_size for member in members)
        if total > max(MOST_TIMES * self._file.size, SMALL_BYTES):
            times = total // max(self._file.size, 1)
            raise unusable(self.path, f"it unpacks to {times:,} times its size, as a bomb does", remedy=remedy)


def _overlap(members: list[zipfile.ZipInfo]) -> bool:
    places = sorted((member.header_offset, member.header_offset + _least_bytes(member)) for member in members)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(places))


def _least_bytes(member: zipfile.ZipInfo) -> int:
    return _LOCAL_HEADER + len(member.orig_filename) + member.compress_size


def _name(member: zipfile.ZipInfo) -> str:
    """The member's name; one that is not marked as UTF-8 but is so (macOS writes them) is read as such."""
    name = member.orig_filename  # `filename` ends at a NUL
    if not member.flag_bits & _UTF8 and not name.isascii():
        with suppress(UnicodeError):  # else the code page of old, as which zipfile has read it
            name = name.encode("cp437").decode("utf-8")
    return naming.plain(name)


def _problem(member: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "It is a link, and links in archives are not followed."
    if kind not in (0, stat.S_IFREG):
        return "It is no plain file."
    if member.flag_bits & (_ENCRYPTED | _STRONG):
        return "It is encrypted."
    if member.flag_bits & _PATCHED or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "It is packed otherwise than by deflate, the way of packing that every program reads."
    if member.file_size > max(MOST_TIMES * member.compress_size, SMALL_BYTES):
        return f"It unpacks to more than {MOST_TIMES} times its size, as a bomb does."
    return ""
