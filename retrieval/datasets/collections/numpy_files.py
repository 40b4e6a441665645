"""Arrays of numbers and texts in `.npy` and `.npz` files, read only after their headers were held against bounds."""

import csv
import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from retrieval.errors import BadInput

MAX_BYTES = 4 * 2**30  # of one array: a million vectors of a thousand numbers
MAX_TABLE = 256 * 2**20
MAX_ARRAYS = 64
MAX_CHARACTERS = 1000  # of one text in an array

_KINDS = "fiubUS"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, KeyError)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_AGAIN = "Write it again with numpy.save or numpy.savez, without objects."


def refused(called: str, reason: str, remedy: str) -> BadInput:
    """The error for a file of vectors that cannot be used."""
    return BadInput(f"{called!r} cannot be used as vectors: {reason}.", remedy=remedy)


def read_npy(path: Path) -> np.ndarray:
    """The array in an npy file; BadInput where it is damaged, too large or holds other than numbers and texts."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        return _array(stream, size, path.name)


def read_npz(source: Path | IO[bytes], *, called: str = "") -> dict[str, np.ndarray]:
    """The arrays in an npz file by their names; BadInput as `read_npy`. Members that are no arrays are passed over."""
    called = called or (source.name if isinstance(source, Path) else "the file")
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGED as error:
        raise refused(called, f"it is no whole npz file ({error})", _AGAIN) from error
    with archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        if len(members) > MAX_ARRAYS:
            raise refused(called, f"it holds more than {MAX_ARRAYS} arrays", "Save the vectors alone.")
        return {member.filename.removesuffix(".npy"): _member(archive, member, called) for member in members}


def write_npz(stream: IO[bytes], vectors: np.ndarray, columns: Mapping[str, Sequence[str]]) -> None:
    """Write vectors and texts as an npz file."""
    texts: dict[str, Any] = {name: np.array(values, np.str_) for name, values in columns.items()}
    np.savez(stream, vectors=vectors, **texts)


def table_bytes(columns: Mapping[str, Sequence[str]]) -> bytes:
    """A CSV of texts, a row for each item."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode()


def bounded(path: Path) -> bytes:
    """The bytes of a table; BadInput where it is larger than one may be."""
    with path.open("rb") as stream:
        data = stream.read(MAX_TABLE + 1)
    if len(data) > MAX_TABLE:
        raise refused(path.name, f"it is larger than {MAX_TABLE >> 20} MB", "Divide it and its vectors.")
    return data


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, called: str) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise refused(called, f"{member.filename} is compressed in a way that numpy does not write", _AGAIN)
    try:
        with archive.open(member) as stream:
            return _array(stream, member.file_size, called)
    except _DAMAGED as error:
        raise refused(called, f"{member.filename} is damaged ({error})", _AGAIN) from error


def _array(stream: IO[bytes], size: int, called: str) -> np.ndarray:
    """The array in a stream of `size` bytes, which must be what its header says to the byte."""
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = _HEADERS[version](stream)
    except _DAMAGED as error:
        raise refused(called, f"the header of an array cannot be read ({error})", _AGAIN) from error
    _check(shape, dtype, called)
    if size != stream.tell() + math.prod(shape) * dtype.itemsize:
        raise refused(called, f"an array of {dtype} {list(shape)} does not fill the {size:,} bytes it has", _AGAIN)
    array = np.empty(math.prod(shape), dtype)
    view = array.view(np.uint8).data if array.nbytes else memoryview(bytearray())
    filled = 0
    while filled < len(view) and (piece := stream.read(min(1 << 22, len(view) - filled))):
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled < len(view):
        raise refused(called, f"an array ends {len(view) - filled:,} bytes early", _AGAIN)
    return array.reshape(shape, order="F" if fortran else "C")


def _check(shape: tuple[int, ...], dtype: np.dtype, called: str) -> None:
    if dtype.hasobject:
        raise refused(called, "it holds pickled objects, which are never opened", _AGAIN)
    if dtype.kind not in _KINDS or dtype.names or dtype.subdtype:
        raise refused(called, f"it holds {dtype} where numbers or texts belong", _AGAIN)
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise refused(called, f"an array of {list(shape)} takes more than {MAX_BYTES >> 30} GB", "Divide it.")
    if dtype.kind in "US" and dtype.itemsize > 4 * MAX_CHARACTERS:
        raise refused(called, f"its texts have room for more than {MAX_CHARACTERS} characters", "Shorten them.")
