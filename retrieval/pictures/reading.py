"""A user's file -> a picture or a volume, or one sentence that says why not. Its bytes decide what it is, not its name.

A file is bounded in bytes before it is read, and in pixels before it is decoded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from retrieval.errors import BadInput
from retrieval.pictures import archives, arrays, dicom, dicom_header, nifti, rasters
from retrieval.pictures.decoded import MAX_BYTES, MAX_PIXELS, MAX_VOLUME_BYTES, Picture, Volume, one_picture
from retrieval.pictures.rasters import FORMATS

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_VOLUME_BYTES",
    "Picture",
    "Volume",
    "decode",
    "decode_picture",
    "decode_volume",
    "dicom_in",
    "kind_of",
    "read_bytes",
    "read_picture",
    "read_volume",
]

_ENOUGH = 512  # bytes by which a file is known for DICOM

Kind = Literal["raster", "dicom", "nifti", "npy", "npz", "zip", "gzip"]
OTHERS = "DICOM, NIfTI, npy, npz, or a zip of DICOM slices"

# What people try that is none of these, by its bytes at an offset.
_OTHER_KINDS = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript drawing"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
)


def read_picture(path: Path) -> Picture:
    """Decode a file as a picture; of a volume the middle slice, with a note.

    Raises:
        BadInput: The file cannot be opened, is too large, or is nothing that can be read.
    """
    return decode_picture(read_bytes(path), name=path.name)


def read_volume(path: Path) -> Volume:
    """Decode a file as a volume; of a TIFF its pages.

    Raises:
        BadInput: As `read_picture`, or it holds one picture, or slices that make no volume.
    """
    return decode_volume(read_bytes(path), name=path.name)


def decode_picture(data: bytes, *, name: str) -> Picture:
    """`read_picture` of bytes that are in memory already; `name` is what a sentence calls them."""
    found = decode(data, name=name)
    return found.middle() if isinstance(found, Volume) else found


def decode_volume(data: bytes, *, name: str) -> Volume:
    """`read_volume` of bytes that are in memory already; `name` is what a sentence calls them."""
    called = repr(name)
    if kind_of(data) == "raster":
        return rasters.decode_pages(data, called=called)
    found = decode(data, name=name)
    if isinstance(found, Picture):
        raise one_picture(called)
    if found.flaw:
        raise BadInput(f"{called}: {found.flaw[0]}", remedy=found.flaw[1])
    return found


def decode(data: bytes, *, name: str) -> Picture | Volume:
    """What a file holds; of a raster picture with several frames or pages the first."""
    called, kind = repr(name), kind_of(data)
    if kind is None:
        raise _not_a_picture(called, data)
    if kind == "gzip":
        data = archives.unpack_gzip(data, called=called)
        kind = kind_of(data)
        if kind not in ("nifti", "dicom", "npy"):
            raise BadInput(
                f"{called} is a gzip archive with something else than a NIfTI or DICOM file in it.",
                remedy="Unpack it, and choose the file in it.",
            )
    return _DECODERS[kind](data, called=called)


def kind_of(data: bytes) -> Kind | None:
    """Which kind of file bytes begin as; None where that is none of those that are read."""
    if data[dicom_header.PREFIX_AT :].startswith(dicom_header.PREFIX):
        return "dicom"  # first: the 128 bytes before may hold the head of a TIFF
    if rasters.raster_format(data):
        return "raster"
    if data.startswith(arrays.NPY):
        return "npy"
    if data.startswith(archives.GZIP):
        return "gzip"
    if data.startswith(dicom.ZIP):
        return "npz" if arrays.begins_npz(data) else "zip"
    if nifti.nifti_kind(data):
        return "nifti"
    return "dicom" if dicom_header.is_dicom(data) else None


def dicom_in(data: bytes, *, name: str) -> bytes | None:
    """The DICOM file that is decoded of a file: itself, what it packs, or the first slice of a zip; None without one.

    Raises:
        BadInput: It is an archive that is damaged, too large or not to be trusted.
    """
    called, kind = repr(name), kind_of(data)
    if kind == "zip":
        return dicom.first_slice(data, called=called)
    if kind == "gzip" and kind_of(archives.begin_gzip(data, _ENOUGH, called=called)) == "dicom":
        return archives.unpack_gzip(data, called=called)
    return data if kind == "dicom" else None


def read_bytes(path: Path) -> bytes:
    """The bytes of a user's file; BadInput where it cannot be opened, is empty or too large."""
    name = repr(path.name)
    try:
        if path.is_dir():
            raise BadInput(
                f"{name} is a folder.", remedy="Name one file, or a zip file with the DICOM slices of one volume."
            )
        if not path.is_file():
            raise BadInput(f"There is no file {name}.", remedy="Check its path and name.")
        with path.open("rb") as stream:
            data = stream.read(MAX_VOLUME_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(
            f"{name} cannot be opened: {reason}.", remedy="Check its name and that you may read it."
        ) from error
    if not data:
        raise BadInput(f"{name} is empty.", remedy="Choose a picture file that holds something.")
    if len(data) > MAX_VOLUME_BYTES:
        raise _too_large(name)
    return data


_DECODERS: dict[str, Callable[..., Picture | Volume]] = {
    "raster": rasters.decode_raster,
    "dicom": dicom.decode_dicom,
    "nifti": nifti.decode_nifti,
    "npy": arrays.decode_npy,
    "npz": arrays.decode_npz,
    "zip": dicom.decode_series,
}


def _too_large(called: str) -> BadInput:
    return BadInput(
        f"{called} is larger than {MAX_VOLUME_BYTES >> 20} MB.", remedy="Send a part of it, or a smaller copy."
    )


def _not_a_picture(name: str, data: bytes) -> BadInput:
    for offset, signature, what in _OTHER_KINDS:
        if data[offset:].startswith(signature):
            return BadInput(f"{name} is {what}, which is not read here.", remedy="Export the picture as PNG or TIFF.")
    listed = ", ".join(FORMATS)
    return BadInput(
        f"{name} is not a picture that can be read.", remedy=f"Choose one of these formats: {listed}, {OTHERS}."
    )
