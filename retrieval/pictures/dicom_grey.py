"""Stored grey values of DICOM files -> what they mean, and what of it is shown (PS3.3, C.11.1 and C.11.2)."""

import functools
import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from retrieval.pictures.dicom_pixels import is_little, looked_up, lookup_table
from retrieval.pictures.dicom_space import group_of
from retrieval.pictures.intensities import Curve, Display, Lookup, Plane, Window, draw, own_range, range_note

_AS_THEY_ARE = Window(127.5, 255, "LINEAR_EXACT")  # 0 is drawn 0 and 255 is drawn 255


def plane(header: Any, frame: int, stored: np.ndarray) -> Plane:
    """A frame [H, W] with its rescale or table, and with its padding left out."""
    values = group_of(header, frame, "PixelValueTransformationSequence")
    tables = header.get("ModalityLUTSequence")
    clear = _padding(header, stored)
    if tables:
        first, entries, _ = lookup_table(tables[0], little=is_little(header), signed=_signed(header))
        return Plane(stored, table=functools.partial(looked_up, first=first, entries=entries), clear=clear)
    slope, intercept = (_number(values.get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
    return Plane(stored, slope or 1.0, intercept or 0.0, clear=clear)  # a slope of 0 would leave nothing


def levels(planes: Sequence[Plane], header: Any, frame: int, *, inverted: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 [D, H, W] of frames, all by the window of the one named, and the notes on it."""
    display, notes = _display(header, frame)
    if display is None and _plain_bytes(planes, header):
        display = _AS_THEY_ARE
    elif display is None:
        low, high = own_range(planes)
        notes, inverted = (*notes, range_note(low, high)), inverted and low != high
    return draw(planes, display, inverted=inverted), notes


def _display(header: Any, frame: int) -> tuple[Display | None, tuple[str, ...]]:
    """What the file says is to be shown: its first table, else its first window that has a width."""
    chosen = group_of(header, frame, "FrameVOILUTSequence")
    tables = chosen.get("VOILUTSequence")
    if tables:
        return _table(tables[0], header), _first_of(len(tables), "table of values of interest")
    windows = list(zip(_several(chosen, "WindowCenter"), _several(chosen, "WindowWidth"), strict=False))
    curve = _curve(chosen)
    usable = [Window(center, width, curve) for center, width in windows if width >= (1 if curve == "LINEAR" else 1e-9)]
    if usable:
        said = f"window (center {usable[0].center:g}, width {usable[0].width:g})"
        return usable[0], _first_of(len(usable), said)
    return None, ("Its window has no width and is not applied.",) if windows else ()


def _first_of(count: int, what: str) -> tuple[str, ...]:
    return (f"The first of its {count} windows is applied: {what}.",) if count > 1 else (f"Its {what} is applied.",)


def _table(item: Any, header: Any) -> Display:
    first, entries, bits = lookup_table(item, little=is_little(header), signed=True)
    white = 2**bits - 1 if 8 <= bits <= 16 else max(1, int(entries.max(initial=1)))
    return Lookup(lambda real: np.minimum(looked_up(np.rint(real), first, entries) * (255 / white), 255))


def _several(item: Any, name: str) -> list[float]:
    """The finite numbers of an element that may hold one, several or none."""
    value = item.get(name)
    if value is None or value == "":
        return []
    each = [value] if isinstance(value, str | int | float) else list(value)
    numbers = [float(part) for part in each]
    return numbers if all(map(math.isfinite, numbers)) else []


def _curve(item: Any) -> Curve:
    named = str(item.get("VOILUTFunction") or "LINEAR")
    if named not in get_args(Curve):
        return "LINEAR"
    return named  # type: ignore[return-value]


def _number(value: Any) -> float | None:
    return None if value is None or value == "" or not math.isfinite(float(value)) else float(value)


def _plain_bytes(planes: Sequence[Plane], header: Any) -> bool:
    """Whether the stored values are 8-bit grey levels already."""
    eight = header.get("BitsStored") == 8 and planes[0].stored.dtype == np.uint8
    return eight and all(plane.as_stored for plane in planes)


def _signed(header: Any) -> bool:
    return header.get("PixelRepresentation") == 1


def _padding(header: Any, stored: np.ndarray) -> tuple[float, float] | None:
    """The stored values that stand for no picture, lowest and highest (PS3.3, C.7.5.1.1.2)."""
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if value is None or value == "":
        return None
    ends = [_as_stored(int(end), stored) for end in (value, value if limit in (None, "") else limit)]
    return float(min(ends)), float(max(ends))


def _as_stored(value: int, stored: np.ndarray) -> int:
    """A padding value is often read as unsigned where the pixels are signed, and the other way round."""
    if stored.dtype.kind == "i" and value >= 2**15 and stored.dtype.itemsize == 2:
        return value - 2**16
    return value + 2**16 if stored.dtype.kind == "u" and value < 0 else value
