"""The stored frames of a DICOM file: bounded first, then decoded by pydicom with the decoder that suits each syntax."""

import itertools
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from retrieval.errors import BadInput
from retrieval.pictures import dicom_jpeg
from retrieval.pictures.decoded import check_voxels

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"

# The first of these that can do a syntax is used, and no other is tried on what it refuses.
_PLUGINS = (dicom_jpeg.PLUGIN, "pyjpegls", "pylibjpeg", "pillow")
# The start of frame of JPEG and JPEG-LS, and the size marker of a JPEG 2000 codestream.
_START_OF_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]")
_CODESTREAM = b"\xff\x4f\xff\x51"
_FEWEST_BYTES = 16  # of a compressed frame that a decoder is tried on


def stored_frames(header: Any, *, called: str) -> np.ndarray:
    """All frames as they are stored: [F, H, W], or in colour uint8 [F, H, W, 3].

    Raises:
        BadInput: There are too many pixels, they are compressed or coloured in a way that is not read, or they differ
            from what the header says.
    """
    shape = _shape(header)
    check_voxels(called, shape)
    syntax = header.file_meta.TransferSyntaxUID
    decoder = _decoder(syntax, called)
    if syntax.is_encapsulated:
        _check_streams(header, called, shape)
    plugin = next((name for name in _PLUGINS if name in decoder.available_plugins), "")
    frames, facts = decoder.as_array(header, raw=False, allow_excess_frames=False, decoding_plugin=plugin)
    kind = str(facts["photometric_interpretation"])
    if kind == PALETTE:
        return _through_palette(frames.reshape(shape), header)
    if kind in GREY:
        return frames.reshape(shape)
    if kind == "RGB":
        return _upper_byte(frames.reshape(*shape, 3), int(facts["bits_stored"]))
    raise BadInput(
        f"{called} stores its colours in a way that is not read here.", remedy="Export the picture as PNG or TIFF."
    )


def lookup_table(item: Any, *, little: bool, signed: bool) -> tuple[int, np.ndarray, int]:
    """The first value that a DICOM table maps, its entries as stored, and their bits."""
    count, first, bits = (int(part) for part in item.LUTDescriptor)
    return _first(first, signed), _entries(item["LUTData"].value, count or 2**16, little), bits


def looked_up(values: np.ndarray, first: int, entries: np.ndarray) -> np.ndarray:
    """Whole numbers through a table: those before its first get its first entry, those beyond its last the last."""
    places = np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)
    return entries[places]


def is_little(header: Any) -> bool:
    """Whether the numbers of tables are stored with the lowest byte first."""
    return bool(header.file_meta.TransferSyntaxUID.is_little_endian)


def _shape(header: Any) -> tuple[int, int, int]:
    return int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns)


def _decoder(syntax: Any, called: str) -> Any:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    else:
        dicom_jpeg.add_to(decoder)
    if decoder is None or not decoder.is_available:
        raise BadInput(
            f"{called} is compressed in a way that is not read here (transfer syntax {_plain_name(syntax)}).",
            remedy="Save it uncompressed, or export the picture as PNG or TIFF.",
        )
    return decoder


def _plain_name(syntax: Any) -> str:
    name = str(syntax.name) if syntax.is_transfer_syntax else ""
    return name or "unknown"


def _check_streams(header: Any, called: str, shape: tuple[int, int, int]) -> None:
    """Each compressed frame must be of the size that the header says, before a decoder makes room for what it says."""
    count, height, width = shape
    found = 0
    for stream in _streams(header, count):
        found += 1
        said = _coded_size(stream)
        if len(stream) < _FEWEST_BYTES or (said is not None and said != (height, width)):
            raise BadInput(
                f"{called} is damaged: its compressed picture is not of the size that it says.",
                remedy="Copy or export it again.",
            )
    if found < count:
        raise BadInput(f"{called} is cut short: frames are missing.", remedy="Copy or export it again.")


def _streams(header: Any, count: int) -> Iterator[bytes]:
    from pydicom.encaps import generate_frames

    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    frames = generate_frames(header.PixelData, number_of_frames=count, extended_offsets=offsets)
    yield from itertools.islice(frames, count)


def _coded_size(stream: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG, JPEG-LS or JPEG 2000 stream names; None for others, as run lengths."""
    if stream.startswith(b"\xff\xd8"):
        return _jpeg_size(stream)
    at = stream.find(_CODESTREAM) if stream.startswith((_CODESTREAM, b"\0\0\0\x0cjP")) else -1
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack(">4I", stream[at + 8 : at + 24])
    return bottom - top, right - left


def _jpeg_size(stream: bytes) -> tuple[int, int] | None:
    at = 2
    while len(stream) >= at + 9:
        if _START_OF_FRAME.match(stream, at):
            height, width = struct.unpack(">2H", stream[at + 5 : at + 9])
            return height, width
        at += 1 if stream[at + 1] == 0xFF else 2 + struct.unpack(">H", stream[at + 2 : at + 4])[0]
    return None


def _upper_byte(colour: np.ndarray, bits: int) -> np.ndarray:
    """Colour of any depth in 8 bits; of more than 8 the upper ones."""
    return (colour >> max(0, bits - 8)).astype(np.uint8)


def _through_palette(indices: np.ndarray, header: Any) -> np.ndarray:
    channels = [_palette(header, colour) for colour in ("Red", "Green", "Blue")]
    deep = max(int(channel.max()) for _, channel in channels) > 255  # some write 8 bits as if they were 16
    shifted = [(first, (channel >> (8 if deep else 0)).astype(np.uint8)) for first, channel in channels]
    return np.stack([looked_up(indices, first, channel) for first, channel in shifted], axis=-1)


def _palette(header: Any, colour: str) -> tuple[int, np.ndarray]:
    count, first, bits = (int(part) for part in header[f"{colour}PaletteColorLookupTableDescriptor"].value)
    first, plain = _first(first, header.get("PixelRepresentation") == 1), f"{colour}PaletteColorLookupTableData"
    if plain in header:
        return first, _entries(header[plain].value, count or 2**16, is_little(header))
    return first, _segments(header[f"Segmented{plain}"].value, bits, is_little(header), count or 2**16)


def _segments(data: bytes, bits: int, little: bool, count: int) -> np.ndarray:
    """A palette stored in segments (PS3.3, C.7.9.2): runs of single values, and straight lines between values."""
    words = [int(word) for word in np.frombuffer(data, np.uint8 if bits == 8 else ("<u2" if little else ">u2"))]
    entries: list[int] = []
    at = 0
    while at + 1 < len(words) and len(entries) < count:
        kind, length = words[at], words[at + 1]
        if kind == 0:
            entries += words[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == 1 and entries:
            start, end = entries[-1], words[at + 2]
            entries += [round(start + (end - start) * step / length) for step in range(1, length + 1)]
            at += 3
        else:
            raise ValueError("a palette of indirect segments")
    if len(entries) < count:
        raise ValueError("a palette that is cut short")
    return np.asarray(entries[:count], np.uint16)


def _entries(data: Any, count: int, little: bool) -> np.ndarray:
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, np.int64)).astype(np.uint16)[:count]
    if len(data) < 2 * count:
        return np.frombuffer(data, np.uint8, count=count).astype(np.uint16)
    return np.frombuffer(data, "<u2" if little else ">u2", count=count).astype(np.uint16)


def _first(first: int, signed: bool) -> int:
    """The first mapped value is signed where the pixels are, but stored and often read as if it were not."""
    return first - 2**16 if signed and first >= 2**15 else first
