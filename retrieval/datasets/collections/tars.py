"""A plain tar as a source: members are read where they lie, nothing is unpacked to a disk.

The headers are read here (POSIX ustar and pax, GNU long names, as in the manuals of `pax` and GNU tar), not by
`tarfile`: that follows a damaged length back to where it was and never ends, and reads extended headers of any size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import (
    MOST_READ,
    ArchiveFile,
    Found,
    Kind,
    absent,
    check_count,
    unreadable,
    unusable,
)
from retrieval.errors import BadInput

BLOCK = 512
MAX_EXTENDED = 64 * 2**10  # bytes of one extended header or long name

_REGULAR = (b"0", b"\0", b"7")
_SPARSE, _LONG_NAME, _LONG_LINK, _FOLDER, _PAX, _PAX_OF_SUN, _GLOBAL = b"S", b"L", b"K", b"5", b"x", b"X", b"g"
_EXTENDED = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_OF_SUN, _GLOBAL)
_LINKS, _DEVICES = (b"1", b"2"), (b"3", b"4", b"6")
_RECORD = re.compile(rb"[1-9][0-9]{0,7} ")
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")


@dataclass(frozen=True)
class _Member:
    name: str
    offset: int
    bytes: int
    problem: str = ""


@dataclass(frozen=True)
class _Header:
    kind: bytes
    name: bytes
    size: int


@dataclass(frozen=True)
class _Renaming:
    """What extended headers say of the member that follows."""

    name: bytes | None = None
    size: int | None = None
    is_sparse: bool = False


class Tar:
    """The members of a tar that is not compressed."""

    kind: Kind = "tar"

    def __init__(self, path: Path) -> None:
        """Read all headers; BadInput where the archive is damaged or cut short."""
        self.path = path
        self._file = ArchiveFile(path)
        try:
            self._listed = self._all()
        except BaseException:
            self._file.close()
            raise
        self._members = {member.name: member for member in self._listed}

    def found(self) -> tuple[Found, ...]:
        """All members but folders."""
        return tuple(Found(member.name, member.bytes, member.problem) for member in self._listed)

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a member."""
        member = self._member(name)
        if member.problem:
            raise unreadable(self.path, name, member.problem[0].lower() + member.problem[1:].removesuffix("."))
        try:
            return self._pieces(member.offset, min(size, member.bytes))
        except OSError as error:
            raise unreadable(self.path, name, error.strerror or type(error).__name__) from error

    def stamp(self, name: str) -> tuple[int, int]:
        """The member's size, and when the archive was last changed: a tar holds no checksum of its members."""
        return self._member(name).bytes, self._file.mtime_ns

    def close(self) -> None:
        """Close the archive."""
        self._file.close()

    def _pieces(self, offset: int, size: int) -> bytes:
        """So many bytes, of which no more are asked for at once than is allowed."""
        starts = range(offset, offset + size, MOST_READ)
        return b"".join(self._file.at(start, min(MOST_READ, offset + size - start)) for start in starts)

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise absent(self.path, naming.shown(name))
        return self._members[name]

    def _all(self) -> list[_Member]:
        members: list[_Member] = []
        for number, member in enumerate(self._walk()):
            check_count(self.path, number + 1)
            if member is not None:
                members.append(member)
        return members

    def _walk(self) -> Iterator[_Member | None]:
        """Member by member to the end mark; None for what is none, such as a folder."""
        offset, renamed = 0, _Renaming()
        while (block := self._block(offset)) != bytes(BLOCK):
            header = _header(block)
            if header is None:
                raise self._damaged(offset)
            offset = self._after_map(offset + BLOCK, block) if header.kind == _SPARSE else offset + BLOCK
            size = _data_bytes(header, renamed)
            if offset + size > self._file.size:
                raise self._damaged(offset)
            if header.kind in _EXTENDED:
                renamed = self._renamed(header, offset, renamed)
                yield None
            else:
                yield _member(header, offset, size, renamed)
                renamed = _Renaming()
            offset += -(-size // BLOCK) * BLOCK

    def _renamed(self, header: _Header, offset: int, renamed: _Renaming) -> _Renaming:
        """What is known of the next member after one more extended header."""
        if header.size > MAX_EXTENDED:
            raise self._damaged(offset)
        data = self._file.at(offset, header.size)
        if header.kind == _LONG_NAME:
            return replace(renamed, name=data.split(b"\0")[0])
        if header.kind == _LONG_LINK:
            return renamed
        records = _records(data)
        if records is None or (header.kind == _GLOBAL and {b"path", b"size"} & records.keys()):
            raise self._damaged(offset)
        return renamed if header.kind == _GLOBAL else _renaming(records, renamed)

    def _after_map(self, offset: int, block: bytes) -> int:
        """Where a sparse member's data begin: its map may go on in blocks of its own."""
        goes_on = block[482]
        while goes_on:
            goes_on = self._block(offset)[504]
            offset += BLOCK
        return offset

    def _block(self, offset: int) -> bytes:
        block = self._file.at(offset, BLOCK)
        if len(block) < BLOCK:
            raise self._damaged(offset)
        return block

    def _damaged(self, offset: int) -> BadInput:
        return unusable(
            self.path,
            f"it is damaged or cut short at byte {offset:,}",
            remedy="Fetch or pack it again, or give the folder instead.",
        )


def is_tar(block: bytes) -> bool:
    """Whether a file's first 512 bytes are a tar's header, or the end mark of an empty one."""
    return len(block) >= BLOCK and (block[:BLOCK] == bytes(BLOCK) or _header(block[:BLOCK]) is not None)


def _header(block: bytes) -> _Header | None:
    """The header in a block; None where its checksum or a number in it is wrong."""
    checksum, size = _number(block[148:156]), _number(block[124:136])
    if checksum is None or size is None or not _fits(checksum, block):
        return None
    name = block[:100].split(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0")[0] + b"/" + name
    return _Header(kind=block[156:157], name=name, size=size)


def _fits(checksum: int, block: bytes) -> bool:
    """Whether it is the sum of a header's bytes, its own field as blanks; old programs took some as negative."""
    others = block[:148] + b" " * 8 + block[156:]
    total = sum(others)
    return checksum == total or checksum == total - 256 * sum(byte > 127 for byte in others)


def _number(field: bytes) -> int | None:
    """Octal digits, or, after a first byte of 128, a number to the base of 256 (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    octal = _OCTAL.fullmatch(field)
    return int(octal[1] or b"0", 8) if octal else None


def _records(data: bytes) -> dict[bytes, bytes] | None:
    """The records `LENGTH KEY=VALUE` of a pax header; None where they are damaged."""
    records, place = {}, 0
    while place < len(data) and data[place]:
        length = _RECORD.match(data, place)
        if length is None:
            return None
        end = place + int(length[0])
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        if not equals or end <= length.end() or data[end - 1 : end] != b"\n":
            return None
        records[key], place = value, end
    return records


def _renaming(records: dict[bytes, bytes], renamed: _Renaming) -> _Renaming:
    size = records.get(b"size", b"")
    return _Renaming(
        name=records.get(b"path", renamed.name),
        size=int(size) if size.isdigit() else renamed.size,
        is_sparse=any(key.startswith(b"GNU.sparse.") for key in records),
    )


def _data_bytes(header: _Header, renamed: _Renaming) -> int:
    """How many bytes follow a header; links, devices and folders have none, whatever is said of their size."""
    if header.kind in (*_LINKS, *_DEVICES, _FOLDER):
        return 0
    return header.size if renamed.size is None or header.kind in _EXTENDED else renamed.size


def _member(header: _Header, offset: int, size: int, renamed: _Renaming) -> _Member | None:
    raw = header.name if renamed.name is None else renamed.name
    if header.kind == _FOLDER or raw.endswith(b"/"):
        return None
    try:
        name, unread = raw.decode("utf-8"), ""
    except UnicodeDecodeError:
        name, unread = raw.decode("utf-8", "backslashreplace"), "Its name is not in UTF-8."
    problem = _kind_problem(header.kind, renamed) or unread
    return _Member(naming.plain(name), offset, size, problem)


def _kind_problem(kind: bytes, renamed: _Renaming) -> str:
    if kind in _LINKS:
        return "It is a link, and links in archives are not followed."
    if kind == _SPARSE or renamed.is_sparse:
        return "It is stored with its empty places left out (sparse), which is not read here."
    return "" if kind in _REGULAR else "It is no plain file."
