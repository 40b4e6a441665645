"""PNG, JPEG, TIFF and their like -> a grey or RGB picture, or the pages of a TIFF as a volume.

Pillow decodes; this module decides what it may see. A file is bounded in pixels before it is decoded, and only raster
formats on a list are tried. The formats' own openers are called instead of
`PIL.Image.open`, whose pixel bound is one variable for the whole process and lower than ours.
"""

import io

import numpy as np
from PIL import ExifTags, GifImagePlugin, Image, ImageFile

from retrieval.errors import BadInput
from retrieval.pictures.decoded import (
    DAMAGE,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_PLANES,
    MAX_VOLUME_BYTES,
    Picture,
    Volume,
    check_voxels,
    one_picture,
)
from retrieval.pictures.intensities import Plane, draw, eight_bit, own_range, range_note

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")


def decode_raster(data: bytes, *, called: str) -> Picture:
    """Decode bytes that begin as a listed format.

    Grey of more than 8 bits is scaled by its own range (lowest 0, highest 255, a constant picture 0); transparency is
    laid on black; the EXIF orientation is applied; of several frames the first is taken.

    Raises:
        BadInput: It is too large, or cannot be read.
    """
    kind = _checked_kind(data, called)
    try:
        return _decode(called, kind, data)
    except DAMAGE as error:
        raise _damaged(called, kind) from error


def decode_pages(data: bytes, *, called: str) -> Volume:
    """The pages of a TIFF as the slices of a volume, in their order; the spacing is taken as equal.

    Pages of more than 8 bits are scaled by the range of all of them together.

    Raises:
        BadInput: It has one page only, pages of different sizes, is too large, or cannot be read.
    """
    kind = _checked_kind(data, called, most=MAX_VOLUME_BYTES)
    try:
        return _volume(called, kind, data)
    except DAMAGE as error:
        raise _damaged(called, kind) from error


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
# Counting the frames of a GIF or TIFF walks the whole file in Python: done only where that takes less than a second.
_COUNTED_BYTES = 2**18

# Reads of a TIFF outside of its pixels: honest directories have some twenty entries, and are gone through four times.
_MOST_READS = 1000 * MAX_PLANES

_COMMENT, _MOST_COMMENTS = b"!\xfe", 1000  # what one begins with in a GIF

_PHOTOMETRIC, _BITS, _SAMPLE_FORMAT, _WHITE_IS_ZERO, _UNSIGNED = 262, 258, 339, 0, 1


def raster_format(data: bytes) -> str | None:
    """The listed format whose signature the data begins with."""
    Image.init()
    for kind in FORMATS:
        accepts = Image.OPEN[kind][1] if kind in Image.OPEN else None
        verdict = accepts(data[:16]) if accepts and len(data) > 2 else False
        if verdict and not isinstance(verdict, str):  # a string: this Pillow was built without the format
            return kind
    return None


def _checked_kind(data: bytes, called: str, *, most: int = MAX_BYTES) -> str:
    if len(data) > most:
        raise BadInput(
            f"{called} is larger than {most >> 20} MB.", remedy="Save it smaller, or as JPEG, and try again."
        )
    kind = raster_format(data)
    if kind is None:
        raise BadInput(f"{called} is not a picture that can be read.", remedy="Choose another file.")
    return kind


def _damaged(called: str, kind: str) -> BadInput:
    return BadInput(
        f"{called} begins as a {kind} picture but cannot be read: it is damaged, cut short or has no pixels.",
        remedy="Open it in an image program, save it again as PNG, and try that file.",
    )


def _decode(name: str, kind: str, data: bytes) -> Picture:
    stored = _open(kind, data)
    _check_cost(name, stored, data)
    notes = [*_frame_notes(kind, data), *_depth_notes(stored)]
    _load(stored)
    orientation = _orientation(stored)
    if orientation is None:
        notes.append("Its EXIF data is damaged, so the picture is used as it is stored.")
    image, more = _plain(stored)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    image.info.clear()
    return Picture(image=image, notes=(*notes, *more))


class _Directories(io.BytesIO):
    """A TIFF's bytes, bounded in what is read of them before the pixels.

    Directories may lie over one another, and each entry of them may name the whole file; Pillow reads and keeps all.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.bounded, self._reads, self._bytes = True, _MOST_READS, 4 * len(data) + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if self.bounded:
            self._reads -= 1
            self._bytes -= len(data)
            if self._reads < 0 or self._bytes < 0:
                raise ValueError("its directories name more than it holds")
        return data


class _Gif(GifImagePlugin.GifImageFile):
    """A GIF whose comments are passed over: Pillow joins them block by block, for hours where they are 50 MB."""

    _comments = 0

    def data(self) -> bytes | None:
        stream = self.fp
        if not isinstance(stream, io.BytesIO) or not _at_comment(stream):
            return super().data()
        self._comments += 1
        if self._comments > _MOST_COMMENTS:
            raise ValueError("it has too many comments")
        while super().data():
            pass
        return None


def _at_comment(stream: io.BytesIO) -> bool:
    at = stream.tell()
    return stream.getbuffer()[at - 2 : at] == _COMMENT


def _open(kind: str, data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    if kind == "GIF":
        return _Gif(io.BytesIO(data), "")
    return Image.OPEN[kind][0](_Directories(data) if kind == "TIFF" else io.BytesIO(data), "")


def _load(stored: ImageFile.ImageFile) -> None:
    """Decode the frame; strips may well be read more than once, since they are read by the buffer."""
    stream = stored.fp
    if not isinstance(stream, _Directories):
        stored.load()
        return
    stream.bounded = False
    stored.load()
    stream.bounded = True


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
        count = _count_frames(kind, stored) if counted else None
    except DAMAGE:
        return ["Only the first frame is used; those after it are damaged."]
    return [f"Only the first of {'several' if count is None else f'{count:,}'} frames is used."]


def _count_frames(kind: str, stored: ImageFile.ImageFile) -> int | None:
    """How many frames there are; None for a TIFF of more pages than a volume may have.

    For each page of a TIFF Pillow looks through all before it, so its own count of a million never ends.
    """
    if kind == "TIFF":
        try:
            for number in range(1, MAX_PLANES + 1):  # page by page: after a leap Pillow takes the last for that number
                stored.seek(number)
            return None
        except EOFError:
            pass  # the count is known now; or damage again, where the file ends before its last page does
    return getattr(stored, "n_frames", 1)


def _depth_notes(stored: ImageFile.ImageFile) -> list[str]:
    """Pillow keeps the upper byte of 16-bit colour. Known only before loading, from the layout of the stored rows."""
    deep = any(";16" in str(tile[3]) for tile in stored.tile) and stored.mode in ("RGB", "RGBA")
    return ["Of the 16 bits of each channel the upper 8 are used."] if deep else []


def _orientation(stored: ImageFile.ImageFile) -> int | None:
    """The EXIF orientation, 1 where there is none; None where the EXIF data cannot be read."""
    try:
        value = stored.getexif().get(ExifTags.Base.Orientation, 1)
    except DAMAGE:
        return None
    return value if isinstance(value, int) else 1


def _plain(stored: ImageFile.ImageFile) -> tuple[Image.Image, list[str]]:
    """The picture in mode L or RGB, and notes on what that took."""
    if _deep(stored):
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


def _scaled(stored: Image.Image) -> tuple[Image.Image, list[str]]:
    plane = _plane(stored)
    low, high = own_range([plane])
    grey = Image.fromarray(draw([plane], inverted=low != high and _white_is_zero(stored))[0])
    return grey, [range_note(low, high)]


def _plane(stored: Image.Image) -> Plane:
    """The values of a picture of more than 8 bits; what is transparent has no part in them."""
    tags = getattr(stored, "tag_v2", {})
    values = np.asarray(stored)
    if stored.mode == "I" and tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,):
        values = values.view(np.uint32)  # Pillow reads them into signed integers
    clear = stored.info.get("transparency")
    return Plane(values, clear=None if clear is None else (clear, clear))


def _white_is_zero(stored: Image.Image) -> bool:
    """Pillow inverts up to 8 bits itself, but not beyond."""
    return getattr(stored, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _deep(stored: Image.Image) -> bool:
    return stored.mode == "F" or stored.mode.startswith("I")


def _volume(called: str, kind: str, data: bytes) -> Volume:
    stored = _open(kind, data)
    count = _count_frames(kind, stored) if kind == "TIFF" else 1
    if count is None:
        raise BadInput(f"{called} has more than {MAX_PLANES:,} pages.", remedy="Send a part of it.")
    if count < 2:
        raise one_picture(called)
    stored.seek(0)
    _check_cost(called, stored, data)
    width, height = stored.size
    check_voxels(called, (count, height, width))
    mode, deep = stored.mode, _deep(stored)
    pages = []
    for number in range(count):
        stored.seek(number)
        if stored.size != (width, height) or stored.mode != mode:
            raise BadInput(f"The pages of {called} differ in size or kind.", remedy="Save pages of one kind only.")
        _load(stored)
        pages.append(_plane(stored) if deep else np.asarray(_plain(stored)[0]))
    if not deep:
        levels = np.stack(pages)
        return Volume(eight_bit(levels) if levels.ndim == 3 else levels)
    low, high = own_range(pages)
    return Volume(draw(pages, inverted=low != high and _white_is_zero(stored)), notes=(range_note(low, high),))
