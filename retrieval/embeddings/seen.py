"""What encoders see of a shard: prepared by the first of them that asks, and found by those that want the same."""

import threading
from dataclasses import dataclass, field

import numpy as np

from retrieval.embeddings.pipeline import Pictures
from retrieval.encoders import preprocessing
from retrieval.encoders.specs import Pixels

KEPT = 1 << 29  # bytes of prepared pictures of one geometry that are kept: the rest is prepared each time


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of volumes, identical ones once.

    Attributes:
        distinct: uint8 [U, H, W].
        places: For every slice of every volume, in order, which of them it is; int [N * S].
        shape: (N, S).
    """

    distinct: np.ndarray
    places: np.ndarray
    shape: tuple[int, int]


def slices_of(volumes: np.ndarray, pixels: Pixels) -> Slices:
    """The slices of uint8 volumes [N, D, H, W] as far apart as an encoder wants them."""
    slices = np.stack([preprocessing.seen_slices(volume, pixels) for volume in volumes])
    flat = slices.reshape(-1, *slices.shape[2:])
    first, places = _distinct(flat)
    return Slices(flat[first], places, slices.shape[:2])


@dataclass(eq=False)
class Seen:
    """One shard as encoders see it; those of one geometry share what is prepared."""

    _pictures: dict[Pixels, "Prepared"] = field(default_factory=dict)
    _slices: dict[Pixels, Slices] = field(default_factory=dict)

    def pictures(self, pictures: Pictures, pixels: Pixels) -> tuple[Pictures, Pixels]:
        """The shard's pictures, prepared at most once, and what is still to be done to them."""
        geometry, values = preprocessing.apart(pixels)
        if geometry == Pixels():  # they come as they are
            return pictures, pixels
        if geometry not in self._pictures:
            self._pictures[geometry] = Prepared(pictures, geometry)
        return self._pictures[geometry], values

    def slices(self, volumes: np.ndarray, pixels: Pixels) -> Slices:
        """The slices of the shard's volumes."""
        geometry, _ = preprocessing.apart(pixels)
        if geometry not in self._slices:
            self._slices[geometry] = slices_of(volumes, geometry)
        return self._slices[geometry]


@dataclass(eq=False)
class Shared:
    """What the encoders see of the shard that they are at, where several of them are asked in turn."""

    start: int = -1
    seen: Seen | None = None

    def at(self, start: int) -> Seen:
        """Of the shard that begins here; what was seen of another is forgotten."""
        if self.seen is None or self.start != start:
            self.start, self.seen = start, Seen()
        return self.seen


class Prepared:
    """Pictures at the size at which networks see them, each prepared when it is first asked for; for many threads.

    As many as fill `KEPT` bytes are kept. Two threads may ask for one of them at once and both prepare it.
    """

    def __init__(self, pictures: Pictures, geometry: Pixels) -> None:
        self._given, self._geometry = pictures, geometry
        self._kept: np.ndarray | None = None
        self._there = np.zeros(len(pictures), bool)
        self._beginning = threading.Lock()

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, asked: slice) -> np.ndarray:
        """uint8 [N, S, S] or [N, S, S, 3]."""
        numbers = np.arange(*asked.indices(len(self)))
        kept = self._kept
        if kept is not None and self._there[numbers].all():
            return kept[asked]
        made = preprocessing.seen_pictures(self._given[asked], self._geometry)
        kept = self._begun(made)
        few = numbers < len(kept)
        kept[numbers[few]] = made[few]
        self._there[numbers[few]] = True
        return made

    def _begun(self, made: np.ndarray) -> np.ndarray:
        with self._beginning:
            if self._kept is None:
                most = min(len(self), KEPT // made[0].nbytes)
                self._kept = np.empty((most, *made.shape[1:]), np.uint8)
            return self._kept


def _distinct(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the first of each set of identical pictures, and for every picture its place among them."""
    rows = np.ascontiguousarray(pictures).reshape(len(pictures), -1)
    numbers: dict[bytes, int] = {}
    places = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows])
    _, first = np.unique(places, return_index=True)
    return first, places
