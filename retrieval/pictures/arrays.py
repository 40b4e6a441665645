"""NumPy's own files -> a picture or a volume: a `.npy`, or the only fitting array of an `.npz`. Never pickled."""

import io
import math
import struct
import zipfile
from typing import IO

import numpy as np

from retrieval.errors import BadInput
from retrieval.pictures.archives import check_members, read_member
from retrieval.pictures.decoded import (
    CUBES,
    DAMAGE,
    MAX_VOLUME_BYTES,
    Picture,
    Spacing,
    Volume,
    check_voxels,
    picture_or_volume,
)
from retrieval.pictures.intensities import Plane, draw, eight_bit, own_range, range_note

NPY = b"\x93NUMPY"

_COLOURS = 3
_LOCAL_HEADER = 30  # bytes of a zip member before its name
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_SAID = 5


def decode_npy(data: bytes, *, called: str) -> Picture | Volume:
    """An array [H, W], [D, H, W], or in colour and 8 bits [H, W, 3] or [D, H, W, 3]; axes of length 1 do not count.

    8-bit values stay as they are (a mask of 0 and 1 becomes 0 and 255); others are scaled by their own range.

    Raises:
        BadInput: It is damaged, too large, holds objects, or no array of these shapes.
    """
    try:
        return _drawn(_array(data, called), called, CUBES)
    except DAMAGE as error:
        raise _damaged(called) from error


def decode_npz(data: bytes, *, called: str) -> Picture | Volume:
    """The only array of an archive that `decode_npy` takes.

    An array `spacing` [3] beside it says how far slices, rows and columns are apart. One called `levels` is used as it
    is: grey levels 0 to 255, whatever they are.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_members(archive.infolist(), called)
            arrays = {each.filename.removesuffix(".npy"): _member(archive, each, called) for each in archive.infolist()}
        return _chosen(arrays, called)
    except DAMAGE as error:
        raise _damaged(called) from error


def begins_npz(data: bytes) -> bool:
    """Whether the first file of a zip archive is a NumPy array."""
    start = _LOCAL_HEADER + sum(struct.unpack("<2H", data[26:_LOCAL_HEADER])) if len(data) > _LOCAL_HEADER else 0
    return data[_LOCAL_HEADER:start].split(b"\0")[0][:256].find(b".npy") > 0


def write_npz(stream: IO[bytes], volume: Volume) -> None:
    """Write an `.npz` from which `decode_npz` reads the same volume again (but for its notes)."""
    spacing, flaw = np.asarray(volume.spacing), np.asarray(volume.flaw, np.str_)
    np.savez(stream, levels=volume.levels, spacing=spacing, flaw=flaw)


def _chosen(arrays: dict[str, np.ndarray], called: str) -> Picture | Volume:
    spacing = _spacing(arrays.pop("spacing", None), called)
    flaw = tuple(str(part) for part in arrays.pop("flaw", np.zeros(0)))
    if "levels" in arrays:
        return _as_levels(arrays["levels"], called, spacing, flaw)
    fitting = {name: array for name, array in arrays.items() if np.squeeze(array).ndim in (2, 3, 4)}
    if len(fitting) != 1:
        names = ", ".join(repr(name) for name in list(fitting)[:_MOST_SAID])
        said = f"{len(fitting)} arrays that could be the query: {names}" if fitting else "no picture and no volume"
        raise BadInput(f"{called} holds {said}.", remedy="Save the one array to ask with alone.")
    return _drawn(next(iter(fitting.values())), called, spacing)


def _as_levels(levels: np.ndarray, called: str, spacing: Spacing, flaw: tuple[str, ...]) -> Volume:
    if levels.dtype != np.uint8 or levels.ndim not in (3, 4):
        raise BadInput(f"The array 'levels' of {called} holds no grey levels.", remedy="Give it another name.")
    check_voxels(called, levels.shape[:3])
    return Volume(levels, spacing, flaw=flaw)


def _spacing(stored: np.ndarray | None, called: str) -> Spacing:
    if stored is None:
        return CUBES
    values = [float(value) for value in stored.ravel()]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise BadInput(f"The spacing in {called} is not three positive numbers.", remedy="Save it as [3], or without.")
    return values[0], values[1], values[2]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, called: str) -> np.ndarray:
    with archive.open(member) as stream:
        return _array(read_member(stream, member.file_size), called)


def _array(data: bytes, called: str) -> np.ndarray:
    """The array of a `.npy`, over its very bytes."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject or dtype.kind not in "biufU":
        raise BadInput(f"{called} holds {dtype} values, no numbers.", remedy="Save whole numbers or floats.")
    count = math.prod(shape)
    if count * dtype.itemsize > 8 * MAX_VOLUME_BYTES:
        raise BadInput(
            f"{called} holds {count:,} values, which is too many.", remedy="Crop it, or save a smaller copy."
        )
    flat = np.frombuffer(data, dtype, count=count, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def _drawn(array: np.ndarray, called: str, spacing: Spacing) -> Picture | Volume:
    array = np.squeeze(array)
    colour = array.ndim >= 3 and array.shape[-1] == _COLOURS and array.dtype == np.uint8
    if array.ndim - colour not in (2, 3) or array.dtype.kind == "U":
        raise BadInput(
            f"{called} holds an array of shape {array.shape}, which is no picture and no volume.",
            remedy="Save one picture [H, W] or one volume [D, H, W].",
        )
    array = array[None] if array.ndim - colour == 2 else array
    check_voxels(called, array.shape[:3])
    if colour:
        return picture_or_volume(Volume(np.ascontiguousarray(array), spacing))
    return picture_or_volume(_grey(array, spacing))


def _grey(array: np.ndarray, spacing: Spacing) -> Volume:
    if array.dtype in (np.uint8, np.bool_):
        return Volume(eight_bit(np.ascontiguousarray(array).astype(np.uint8)), spacing)
    planes = [Plane(plane) for plane in array]
    return Volume(draw(planes), spacing, (range_note(*own_range(planes)),))


def _damaged(called: str) -> BadInput:
    return BadInput(
        f"{called} begins as a NumPy file but cannot be read: it is damaged or cut short.",
        remedy="Save it again with numpy.save, without pickle, and try that file.",
    )
