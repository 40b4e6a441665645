"""DICOM files -> a picture, or a volume of the frames of one file or of the slices of a series."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.errors import BadInput
from retrieval.pictures import dicom_grey
from retrieval.pictures.archives import check_members, read_member
from retrieval.pictures.axes import checked_spacing, to_axial
from retrieval.pictures.decoded import CUBES, MAX_PIXELS, MAX_VOLUME_BYTES, Picture, Volume
from retrieval.pictures.dicom_header import damage, is_dicom, read_header
from retrieval.pictures.dicom_pixels import GREY, stored_frames
from retrieval.pictures.dicom_space import Stack, place_of, sides_of, stack

ZIP = b"PK\x03\x04"

_LISTING = "DICOMDIR"


@dataclass(frozen=True, eq=False)
class Slices:
    """Frames of one shape: their headers (one of a file stands for all of its frames), numbers in it, and pixels."""

    headers: tuple[Any, ...]
    numbers: tuple[int, ...]
    stored: tuple[np.ndarray, ...]

    @property
    def burned_in(self) -> bool:
        """Whether a file says that text is burned into its pixels."""
        return any(str(header.get("BurnedInAnnotation", "")).strip().upper() == "YES" for header in self.headers)

    @property
    def colour(self) -> bool:
        """Whether they are RGB."""
        return self.stored[0].ndim == 3


def decode_dicom(data: bytes, *, called: str) -> Picture | Volume:
    """Decode a DICOM file: one picture as it lies, or its frames as a volume in physical order.

    Grey is rescaled, windowed (the first window, or the first table of values of interest; without any, 8-bit values
    stay and others are scaled by their own range), MONOCHROME1 inverted, padding drawn black. A volume has one window,
    that of its middle slice.

    Raises:
        BadInput: It has no picture, cannot be decoded, or is too large.
    """
    try:
        slices = _slices_of(data, called)
        if len(slices.numbers) > 1:
            return _volume(slices, ())
        levels, notes = _levels(slices, (0,))
        return Volume(levels, (1.0, *sides_of(slices.headers[0], 0)), notes, burned_in=slices.burned_in).only(0)
    except damage():
        raise _damaged(called) from None  # what a reader raises may quote a value of the file


def decode_series(data: bytes, *, called: str) -> Picture | Volume:
    """The DICOM slices of a zip archive as one volume, or its only file as what it is.

    Files of other kinds in it are left out, and counted in a note.

    Raises:
        BadInput: The archive is not one series of slices that lie in equal steps, or is not to be trusted.
    """
    with _opened(data, called) as archive:
        return _series(archive, called)


def first_slice(data: bytes, *, called: str) -> bytes | None:
    """The first DICOM file of a zip archive, whose patient is that of all; None where it holds none.

    Raises:
        BadInput: The archive is damaged, or not to be trusted.
    """
    with _opened(data, called) as archive:
        return next((file for name, file in _files(archive, called) if _is_slice(name, file)), None)


def decode_slices(files: Sequence[bytes], *, called: str) -> Volume:
    """The DICOM slices of one series, each a file, as a volume in physical order: as `decode_series` of a zip of them.

    Raises:
        BadInput: They are no series of slices that lie in equal steps, are too large, or one is damaged.
    """
    try:
        return _stacked(files, called, ())
    except damage():
        raise BadInput(f"One of the slices of {called} is damaged.", remedy="Copy or export them again.") from None


@contextmanager
def _opened(data: bytes, called: str) -> Iterator[zipfile.ZipFile]:
    """A zip archive; whatever of it turns out to be damaged is a sentence."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive
    except damage():
        raise BadInput(
            f"{called} is a zip archive that is damaged, or one of its files is.",
            remedy="Pack the slices of one series again, and try that archive.",
        ) from None


def _files(archive: zipfile.ZipFile, called: str) -> Iterator[tuple[str, bytes]]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    check_members(members, called)
    for member in members:
        with archive.open(member) as stream:
            yield member.filename, read_member(stream, member.file_size)


def _is_slice(name: str, data: bytes) -> bool:
    return is_dicom(data) and not name.endswith(_LISTING)


def _series(archive: zipfile.ZipFile, called: str) -> Picture | Volume:
    files = dict(_files(archive, called))
    slices = [data for name, data in files.items() if _is_slice(name, data)]
    if not slices:
        raise BadInput(
            f"{called} is a zip archive without DICOM files in it.",
            remedy="Pack the DICOM slices of one series, or choose the file in it.",
        )
    if len(slices) == 1:
        return decode_dicom(slices[0], called=called)
    left = len(files) - len(slices)
    notes = (f"Of the archive {left:,} other files are left out.",) if left else ()
    return _stacked(slices, called, notes)


def _stacked(files: Sequence[bytes], called: str, notes: tuple[str, ...]) -> Volume:
    volume = _volume(_together([_slices_of(data, called) for data in files], called), notes)
    if volume.flaw:
        raise BadInput(f"{called}: {volume.flaw[0]}", remedy=volume.flaw[1])
    return volume


def _slices_of(data: bytes, called: str) -> Slices:
    if len(data) > MAX_VOLUME_BYTES:
        raise BadInput(f"{called} is larger than {MAX_VOLUME_BYTES >> 20} MB.", remedy="Send a part of it.")
    header = read_header(data, called=called)
    frames = stored_frames(header, called=called)
    for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if name in header:
            del header[name]  # decoded by now, and as large again
    return Slices((header,) * len(frames), tuple(range(len(frames))), tuple(frames))


def _together(parts: Sequence[Slices], called: str) -> Slices:
    """The slices of several files as those of one volume; BadInput where they are not of one series and shape."""
    series = {str(part.headers[0].get("SeriesInstanceUID", "")) for part in parts}
    if len(series) > 1:
        raise BadInput(f"{called} holds slices of {len(series)} series.", remedy="Pack one series at a time.")
    if len({(part.stored[0].shape, part.colour, _inverted(part)) for part in parts}) > 1:
        raise BadInput(f"{called} holds slices of different sizes or kinds.", remedy="Pack one series at a time.")
    if sum(len(part.stored) * part.stored[0].size for part in parts) > MAX_PIXELS:
        raise BadInput(f"{called} holds more than 100 million voxels.", remedy="Send a part of it.")
    return Slices(
        tuple(header for part in parts for header in part.headers),
        tuple(number for part in parts for number in part.numbers),
        tuple(frame for part in parts for frame in part.stored),
    )


def _volume(slices: Slices, notes: tuple[str, ...]) -> Volume:
    places = [place_of(header, number) for header, number in zip(slices.headers, slices.numbers, strict=True)]
    lies = stack(places, slices.headers)
    levels, said = _levels(slices, lies.order)
    turned = None if lies.flaw else to_axial(levels, lies.affine)
    notes = (*said, *lies.notes, *notes)
    if turned is None:
        return Volume(levels, CUBES, notes, lies.flaw or _UNKNOWN.flaw, slices.burned_in)
    spacing, unsaid = checked_spacing(turned[1])
    return Volume(turned[0], spacing, (*notes, *unsaid), burned_in=slices.burned_in)


_UNKNOWN = Stack((), np.eye(4), flaw=("Its slices do not say how they lie.", "Send them as one NIfTI file."))


def _inverted(slices: Slices) -> bool:
    return slices.headers[0].get("PhotometricInterpretation") == GREY[0]


def _levels(slices: Slices, order: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 [D, H, W(, 3)] in this order, and what was done to the values."""
    if slices.colour:
        return np.stack([slices.stored[at] for at in order]), ()
    planes = [dicom_grey.plane(slices.headers[at], slices.numbers[at], slices.stored[at]) for at in order]
    middle = order[len(order) // 2]
    return dicom_grey.levels(planes, slices.headers[middle], slices.numbers[middle], inverted=_inverted(slices))


def _damaged(called: str) -> BadInput:
    return BadInput(
        f"{called} begins as a DICOM file but cannot be read: it is damaged, cut short or written in a way not known.",
        remedy="Export the picture as PNG or TIFF, and try that file.",
    )
