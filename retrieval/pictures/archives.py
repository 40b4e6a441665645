"""What an archive may hold before any of it is unpacked. Nothing is ever written where an archive says."""

import gzip
import io
import re
import stat
import zipfile
from collections.abc import Sequence
from typing import IO

from retrieval.errors import BadInput
from retrieval.pictures.decoded import DAMAGE, MAX_PLANES, MAX_VOLUME_BYTES

GZIP = b"\x1f\x8b"
MOST_UNPACKED = 2 * MAX_VOLUME_BYTES
MOST_MEMBERS = 2 * MAX_PLANES

_RATIO = 1100  # no honest deflate packs tighter
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_PIECE = 1 << 20
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


def check_members(members: Sequence[zipfile.ZipInfo], called: str) -> None:
    """BadInput for an archive that is too large unpacked, reaches outside itself, is locked, or holds links."""
    if len(members) > MOST_MEMBERS:
        raise _refused(called, f"holds {len(members):,} files; at most {MOST_MEMBERS:,} are read")
    if len({member.filename for member in members}) < len(members):
        raise _refused(called, "holds two files of one name")
    for member in members:
        _check_member(member, called)
    if sum(member.file_size for member in members) > MOST_UNPACKED:
        raise _refused(called, f"is larger than {MOST_UNPACKED >> 20} MB when it is unpacked")


def read_member(stream: IO[bytes], size: int) -> bytes:
    """The first `size` bytes of a zip's member, fewer where it ends, in pieces.

    Asked for all of a member, or for many bytes at once, `zipfile` unpacks as many before it looks at how many the
    archive's directory says there are.
    """
    pieces, left = [], size
    while left and (piece := stream.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def unpack_gzip(data: bytes, *, called: str) -> bytes:
    """What a gzip archive holds, up to the bound of archives.

    Raises:
        BadInput: It is damaged, or holds too much.
    """
    unpacked = begin_gzip(data, MOST_UNPACKED + 1, called=called)
    if len(unpacked) > MOST_UNPACKED:
        raise BadInput(
            f"{called} is larger than {MOST_UNPACKED >> 20} MB when it is unpacked.",
            remedy="Crop it, or send one time point of it.",
        )
    return unpacked


def begin_gzip(data: bytes, size: int, *, called: str) -> bytes:
    """The first `size` bytes of what a gzip archive holds; BadInput where it is damaged until there."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return stream.read(size)
    except DAMAGE as error:
        raise BadInput(
            f"{called} is a gzip archive that is damaged or cut short.", remedy="Copy or save it again."
        ) from error


def _check_member(member: zipfile.ZipInfo, called: str) -> None:
    mode = member.external_attr >> 16
    if _OUTSIDE.search(member.filename) or "\0" in member.filename:
        raise _refused(called, "names a file outside of itself")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(called, "holds a link or a device instead of a file")
    if member.flag_bits & _ENCRYPTED:
        raise _refused(called, "is locked with a password")
    if member.compress_type not in _METHODS:
        raise _refused(called, "is packed in a way that is not read here")
    if member.file_size > max(1, member.compress_size) * _RATIO:
        raise _refused(called, "unpacks to a thousand times its size")


def _refused(called: str, what: str) -> BadInput:
    return BadInput(f"{called} {what}.", remedy="Send a plain zip of the slices of one series.")
