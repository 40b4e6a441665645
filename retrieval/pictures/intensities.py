"""Stored values of any depth -> grey levels 0 to 255: by a window, by a table, as they are, or by their own range."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Curve = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

_BLOCK_PIXELS = 2**20  # worked in blocks of rows, because 100 megapixels in float64 would take 800 MB


@dataclass(frozen=True, eq=False)
class Plane:
    """One grey picture as stored, and how its values become real ones: rescaled, or looked up in a table.

    Attributes:
        stored: [H, W], whole numbers or floats.
        slope, intercept: Real value = stored value * slope + intercept.
        table: Looks stored values up instead.
        clear: Lowest and highest stored value that is no part of the picture: transparent, or padding.
    """

    stored: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    table: Callable[[np.ndarray], np.ndarray] | None = None
    clear: tuple[float, float] | None = None

    @property
    def as_stored(self) -> bool:
        """Whether the real values are the stored ones."""
        return self.table is None and (self.slope, self.intercept) == (1.0, 0.0)

    def real(self) -> np.ndarray:
        """float64 [H, W]."""
        if self.table is not None:
            return np.asarray(self.table(self.stored), np.float64)
        return self.stored.astype(np.float64) * self.slope + self.intercept

    def shown(self) -> np.ndarray:
        """bool [H, W]: which values are finite and part of the picture."""
        finite = np.isfinite(self.stored)
        if self.clear is None:
            return finite
        low, high = self.clear
        return finite & ((self.stored < low) | (self.stored > high))

    def rows(self) -> Iterator["Plane"]:
        """The same plane in blocks of rows."""
        step = max(1, _BLOCK_PIXELS // max(1, self.stored.shape[1]))
        return (replace(self, stored=self.stored[top : top + step]) for top in range(0, len(self.stored), step))


@dataclass(frozen=True)
class Window:
    """Which real values are drawn from black to white (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3).

    `LINEAR` counts the width in whole values (from `center - 0.5 - (width - 1) / 2`), `LINEAR_EXACT` as it stands.
    """

    center: float
    width: float
    curve: Curve = "LINEAR"

    def grey(self, real: np.ndarray) -> np.ndarray:
        """float64 of 0 (black) to 255 (white), not rounded."""
        if self.curve == "SIGMOID":
            return 255 / (1 + np.exp(np.clip(-4 * (real - self.center) / self.width, -700, 700)))
        if self.curve == "LINEAR_EXACT":
            return np.clip((real - self.center) / self.width + 0.5, 0, 1) * 255
        if self.width == 1:
            return np.where(real > self.center - 0.5, 255.0, 0.0)
        return np.clip((real - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1) * 255


@dataclass(frozen=True, eq=False)
class Lookup:
    """What turns real values into float64 of 0 (black) to 255 (white), not rounded."""

    grey: Callable[[np.ndarray], np.ndarray]


Display = Window | Lookup


def draw(planes: Sequence[Plane], display: Display | None = None, *, inverted: bool = False) -> np.ndarray:
    """Grey levels uint8 [D, H, W] of D planes of one shape, all by the same rule, rounded to nearest.

    Without a display the lowest of all real values becomes 0 and the highest 255. What is not shown is 0, before and
    after inverting.
    """
    if display is None:
        display = _whole(*own_range(planes))
    levels = np.empty((len(planes), *planes[0].stored.shape), np.uint8)
    for number, plane in enumerate(planes):
        levels[number] = np.concatenate([_levels(block, display, inverted) for block in plane.rows()])
    return levels


def own_range(planes: Sequence[Plane]) -> tuple[float, float]:
    """The lowest and the highest real value of what is shown; 0 and 0 where nothing is."""
    low, high = np.inf, -np.inf
    for plane in planes:
        for block in plane.rows():
            with np.errstate(invalid="ignore", over="ignore"):
                real = block.real()[block.shown()]
            real = real[np.isfinite(real)]  # a rescale can lead beyond all numbers
            if len(real):
                low, high = min(low, float(real.min())), max(high, float(real.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def range_note(low: float, high: float) -> str:
    """What is said of values that were drawn by their own range."""
    if low == high:
        return f"All its values are {low:g}, so it is drawn black."
    return f"Its values from {low:g} to {high:g} are drawn as 0 to 255."


def eight_bit(levels: np.ndarray) -> np.ndarray:
    """8-bit values as grey levels: as they are; a mask, which holds only 0 and 1, as 0 and 255."""
    return levels * np.uint8(255) if levels.max(initial=0) == 1 else levels


def _whole(low: float, high: float) -> Lookup:
    span = high - low or 1.0
    return Lookup(lambda real: (real - low) * 255 / span)


def _levels(plane: Plane, display: Display, inverted: bool) -> np.ndarray:
    seen = plane.shown()
    with np.errstate(invalid="ignore", over="ignore"):
        grey = np.nan_to_num(np.where(seen, display.grey(plane.real()), 0.0), posinf=255.0, neginf=0.0)
    levels = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    return np.where(seen, 255 - levels, 0).astype(np.uint8) if inverted else levels
