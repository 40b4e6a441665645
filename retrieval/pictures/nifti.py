"""NIfTI files, packed or not -> a picture or a volume in the canonical orientation."""

import math
import struct
from typing import Any

import numpy as np

from retrieval.errors import BadInput
from retrieval.pictures.axes import checked_spacing, to_axial
from retrieval.pictures.decoded import (
    DAMAGE,
    Picture,
    Volume,
    check_voxels,
    picture_or_volume,
)
from retrieval.pictures.intensities import Plane, Window, draw, eight_bit, own_range, range_note

_MAGICS = {(344, b"n+1\0"): "Nifti1Image", (4, b"n+2\0\r\n\x1a\n"): "Nifti2Image"}
_PAIRS = ((344, b"ni1\0"), (4, b"ni2\0\r\n\x1a\n"))
_ANALYZE_HEADER = 348
_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def nifti_kind(data: bytes) -> str | None:
    """`whole` for a NIfTI file, `part` for a header or Analyze file whose voxels lie in another one, else None."""
    if any(data[at:].startswith(magic) for at, magic in _MAGICS):
        return "whole"
    if any(data[at:].startswith(magic) for at, magic in _PAIRS):
        return "part"
    sizes = [struct.unpack(order, data[:4])[0] for order in ("<i", ">i")] if len(data) >= _ANALYZE_HEADER else []
    return "part" if _ANALYZE_HEADER in sizes else None


def decode_nifti(data: bytes, *, called: str) -> Picture | Volume:
    """Read the voxels of a NIfTI-1 or NIfTI-2 file, rescaled as its header says, in the canonical orientation.

    8-bit voxels that are not rescaled stay as they are (a mask of 0 and 1 becomes 0 and 255); others are drawn by the
    display range of the header (cal_min to cal_max) where there is one, else by their own. Of several time points the
    first is taken.

    Raises:
        BadInput: It is damaged, too large, or holds what cannot be drawn.
    """
    if nifti_kind(data) == "part":
        raise BadInput(
            f"{called} is one half of a pair of files (.hdr and .img), which is not read here.",
            remedy="Save the volume as one NIfTI file (.nii or .nii.gz).",
        )
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        return _decode(data, called)
    except (*DAMAGE, HeaderDataError, ImageFileError) as error:
        raise _damaged(called) from error


def _decode(data: bytes, called: str) -> Picture | Volume:
    image = _opened(data)
    shape, notes = _first_of(image.shape, called)
    check_voxels(called, shape)
    dtype = image.header.get_data_dtype()
    _check_size(called, image, len(data), dtype)
    stored = np.asanyarray(image.dataobj.get_unscaled())
    stored = stored.reshape(*stored.shape[:3], -1, order="F")[..., 0] if stored.ndim > 3 else stored
    turned = to_axial(stored.reshape(shape), image.affine)
    if turned is None:
        turned, spacing, more = stored.reshape(shape).T, (0.0, 0.0, 0.0), ("It does not say how it lies in the body.",)
    else:
        (turned, spacing), more = turned, ()
    spacing, unsaid = checked_spacing(spacing)
    notes = (*notes, *more, *unsaid)
    if dtype.fields:
        levels = np.stack([turned[name] for name in ("R", "G", "B")], axis=-1)
        return picture_or_volume(Volume(levels, spacing, notes))
    levels, said = _grey(turned, image)
    return picture_or_volume(Volume(levels, spacing, (*said, *notes)))


def _opened(data: bytes) -> Any:
    import nibabel

    kind = next(kind for (at, magic), kind in _MAGICS.items() if data[at:].startswith(magic))
    return getattr(nibabel, kind).from_bytes(data)


def _first_of(shape: tuple[int, ...], called: str) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """The shape of the first time point, and a note where there are more; BadInput where more than time varies."""
    times, beyond = shape[3] if len(shape) > 3 else 1, math.prod(shape[4:])
    if beyond != 1 or len(shape) < 2:
        raise BadInput(
            f"{called} holds several values for each voxel.", remedy="Save one volume of it as a file of its own."
        )
    if min(shape) < 1:
        raise BadInput(f"{called} has no voxels.", remedy="Choose a file that holds a volume.")
    space = (*shape[:3], 1)[:3]
    notes = (f"Only the first of its {times:,} time points is used.",) if times > 1 else ()
    return (int(space[0]), int(space[1]), int(space[2])), notes


def _check_size(called: str, image: Any, length: int, dtype: np.dtype) -> None:
    if dtype.kind not in "iuf" and dtype != _COLOUR:
        raise BadInput(f"{called} holds values that cannot be drawn.", remedy="Save it as whole numbers or floats.")
    needs = math.prod(image.shape) * dtype.itemsize + int(image.dataobj.offset)
    if needs > length:
        raise BadInput(f"{called} is cut short: it says more voxels than it holds.", remedy="Copy or save it again.")


def _grey(voxels: np.ndarray, image: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    if voxels.dtype == np.uint8 and (slope, intercept) == (1.0, 0.0):
        return eight_bit(voxels), ()
    planes = [Plane(plane, slope, intercept) for plane in voxels]
    low, high = (float(image.header[name]) for name in ("cal_min", "cal_max"))
    if math.isfinite(low) and math.isfinite(high) and low < high:
        window = Window((low + high) / 2, high - low, "LINEAR_EXACT")
        note = f"Values from {low:g} to {high:g}, the display range of its header, are drawn as 0 to 255."
        return draw(planes, window), (note,)
    return draw(planes), (range_note(*own_range(planes)),)


def _damaged(called: str) -> BadInput:
    return BadInput(
        f"{called} begins as a NIfTI volume but cannot be read: it is damaged or cut short.",
        remedy="Save it again as .nii.gz, and try that file.",
    )
