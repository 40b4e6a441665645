"""A user's file -> a grey or RGB picture, or one sentence that says why not.

Pillow decodes; this module decides what it may see. A file is bounded in bytes before it is read and in pixels before
it is decoded, and only raster formats on a list are tried. The formats' own openers are called instead of
`PIL.Image.open`, whose pixel bound is one variable for the whole process and lower than ours.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from retrieval.errors import BadInput

MAX_BYTES = 50 * 2**20
MAX_PIXELS = 100_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        image: Upright, mode `L` or `RGB`, 8 bits a channel; colour profiles are not applied.
        notes: Sentences on what was left out or changed, for the reader of the answer.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """Decode a picture file of any listed format.

    Grey of more than 8 bits is scaled by its own range (lowest 0, highest 255, a constant picture 0); transparency is
    laid on black; the EXIF orientation is applied; of several frames the first is taken.

    Raises:
        BadInput: the file cannot be opened, is too large, or is no picture that can be read.
    """
    return decode_picture(_read_bytes(path), name=path.name)


def decode_picture(data: bytes, *, name: str) -> Picture:
    """`read_picture` of bytes that are in memory already; `name` is what a sentence calls them."""
    called = repr(name)
    kind = _format(data)
    if kind is None:
        raise _not_a_picture(called, data)
    try:
        return _decode(called, kind, data)
    except _DAMAGE as error:
        raise BadInput(
            f"{called} begins as a {kind} picture but cannot be read: it is damaged, cut short or has no pixels.",
            remedy="Open it in an image program, save it again as PNG, and try that file.",
        ) from error


# All that Pillow's decoders were seen to raise on damaged files. RuntimeError holds NotImplementedError and
# RecursionError, ArithmeticError holds overflow and division by zero, Warning what a strict filter raises.
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    BufferError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)

# What people try that is no raster picture, by its bytes at an offset.
_OTHER_KINDS = (
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1\0", "a NIfTI volume"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript drawing"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A progressive JPEG of a few kilobytes can ask for thousands of passes over all its pixels; honest ones have about ten.
_MAX_SCANS = 200
# Counting the frames of a GIF or TIFF walks the whole file in Python: done only where that takes no time to speak of.
_COUNTED_BYTES = 2**21
_BLOCK_PIXELS = 2**20

_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT, _WHITE_IS_ZERO, _UNSIGNED = 262, 258, 339, 0, 1


def _read_bytes(path: Path) -> bytes:
    name = repr(path.name)
    try:
        if not path.is_file():
            raise BadInput(f"There is no file {name}.", remedy="Check its path and name.")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(
            f"{name} cannot be opened: {reason}.", remedy="Check its name and that you may read it."
        ) from error
    if not data:
        raise BadInput(f"{name} is empty.", remedy="Choose a picture file that holds something.")
    if len(data) > MAX_BYTES:
        raise BadInput(f"{name} is larger than 50 MB.", remedy="Save it smaller, or as JPEG, and try again.")
    return data


def _format(data: bytes) -> str | None:
    """The listed format whose signature the data begins with."""
    Image.init()
    for kind in FORMATS:
        accepts = Image.OPEN[kind][1] if kind in Image.OPEN else None
        verdict = accepts(data[:16]) if accepts and len(data) > 2 else False
        if verdict and not isinstance(verdict, str):  # a string: this Pillow was built without the format
            return kind
    return None


def _not_a_picture(name: str, data: bytes) -> BadInput:
    for offset, signature, what in _OTHER_KINDS:
        if data[offset:].startswith(signature):
            return BadInput(f"{name} is {what}, which is not read here.", remedy="Export the picture as PNG or TIFF.")
    listed = ", ".join(FORMATS)
    return BadInput(f"{name} is not a picture that can be read.", remedy=f"Choose one of these formats: {listed}.")


def _decode(name: str, kind: str, data: bytes) -> Picture:
    stored = _open(kind, data)
    _check_cost(name, stored, data)
    notes = [*_frame_notes(kind, data), *_depth_notes(stored)]
    stored.load()
    orientation = _orientation(stored)
    if orientation is None:
        notes.append("Its EXIF data is damaged, so the picture is used as it is stored.")
    image, more = _plain(stored)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    image.info.clear()
    return Picture(image=image, notes=(*notes, *more))


def _open(kind: str, data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    return Image.OPEN[kind][0](io.BytesIO(data), "")


def _check_cost(name: str, stored: ImageFile.ImageFile, data: bytes) -> None:
    width, height = stored.size
    if width * height > MAX_PIXELS:
        raise BadInput(
            f"{name} has {width:,} x {height:,} pixels; at most 100 megapixels are read.",
            remedy="Crop it or make it smaller, and try again.",
        )
    if stored.info.get("progressive") and data.count(b"\xff\xda") > _MAX_SCANS:
        raise BadInput(f"{name} is a JPEG stored in too many passes.", remedy="Save it again as PNG.")


def _frame_notes(kind: str, data: bytes) -> list[str]:
    """Looks at a second reading of the header, because counting moves the reader away from the first frame."""
    try:
        stored = _open(kind, data)
        if not getattr(stored, "is_animated", False):
            return []
        counted = "n_frames" in vars(stored) or len(data) <= _COUNTED_BYTES
        count = f"{getattr(stored, 'n_frames', 1):,}" if counted else "several"
    except _DAMAGE:
        return ["Only the first frame is used; those after it are damaged."]
    return [f"Only the first of {count} frames is used."]


def _depth_notes(stored: ImageFile.ImageFile) -> list[str]:
    """Pillow keeps the upper byte of 16-bit colour. Known only before loading, from the layout of the stored rows."""
    deep = any(";16" in str(tile[3]) for tile in stored.tile) and stored.mode in ("RGB", "RGBA")
    return ["Of the 16 bits of each channel the upper 8 are used."] if deep else []


def _orientation(stored: ImageFile.ImageFile) -> int | None:
    """The EXIF orientation, 1 where there is none; None where the EXIF data cannot be read."""
    try:
        value = stored.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return None
    return value if isinstance(value, int) else 1


def _plain(stored: ImageFile.ImageFile) -> tuple[Image.Image, list[str]]:
    """The picture in mode L or RGB, and notes on what that took."""
    if stored.mode == "F" or stored.mode.startswith("I"):
        return _scaled(stored)
    grey = stored.mode in ("1", "L", "LA", "La")
    if stored.has_transparency_data:
        return _on_black(stored.convert("LA" if grey else "RGBA"))
    return stored.convert("L" if grey else "RGB"), []


def _on_black(image: Image.Image) -> tuple[Image.Image, list[str]]:
    mode = "L" if image.mode == "LA" else "RGB"
    alpha = image.getchannel("A")
    black = Image.new(mode, image.size)
    black.paste(image.convert(mode), mask=alpha)
    opaque = alpha.getextrema() == (255, 255)
    return black, [] if opaque else ["Its transparent parts are laid on black."]


def _scaled(stored: ImageFile.ImageFile) -> tuple[Image.Image, list[str]]:
    tags = getattr(stored, "tag_v2", {})
    values = np.asarray(stored)
    if stored.mode == "I" and tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)  # Pillow reads them into signed integers
    grey, low, high = _scale_by_range(values, clear=stored.info.get("transparency"))
    if low == high:
        return Image.fromarray(grey), [f"All its values are {low:g}, so it is drawn black."]
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow does so itself up to 8 bits, but not beyond
    return Image.fromarray(grey), [f"Its values from {low:g} to {high:g} are drawn as 0 to 255."]


def _scale_by_range(values: np.ndarray, *, clear: int | None) -> tuple[np.ndarray, float, float]:
    """Scale [H, W] by its lowest and highest value to uint8, rounding to nearest; also return those two.

    Values that are not finite, or equal `clear`, count as transparent: they have no part in the range and become 0.
    Worked in blocks of rows, because 100 megapixels in float64 would take 800 MB.
    """
    rows = max(1, _BLOCK_PIXELS // values.shape[1])
    blocks = [values[start : start + rows] for start in range(0, len(values), rows)]
    shown = [np.isfinite(block) & (block != clear) for block in blocks]
    ends = [_ends(block[seen]) for block, seen in zip(blocks, shown, strict=True) if seen.any()]
    low, high = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
    span = high - low or 1.0
    scaled = [
        np.rint((np.where(seen, block, low).astype(np.float64) - low) * 255 / span).astype(np.uint8)
        for block, seen in zip(blocks, shown, strict=True)
    ]
    return np.concatenate(scaled), low, high


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
