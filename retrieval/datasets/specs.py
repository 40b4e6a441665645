"""What a Dataset, a Split and a Group are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Task = Literal["classes", "ordinal", "findings"]
SplitName = Literal["train", "val", "test"]

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class DataFile:
    """One official file: its name, where it is fetched from, and the MD5 its publisher states (empty: none)."""

    name: str
    url: str
    md5: str


@dataclass(frozen=True)
class Own:
    """What is true of a collection besides: of the files in it as they were when it was added or last updated.

    Attributes:
        digest: Of its pictures, labels and splits, in order.
        side: The median of its pictures' shorter sides, in pixels.
        largest: Pixels of the largest picture.
        even: Whether all its pictures have one shape.
        labelled: Whether every picture has a label: without, it can be searched, not ranked.
        vectors: What made them, if it holds vectors in place of pictures; empty where it holds pictures.
        grouped: Whether any picture has a group that a person gave it, such as a patient.
    """

    digest: str
    side: int
    largest: int
    even: bool
    labelled: bool
    vectors: str = ""
    grouped: bool = False


@dataclass(frozen=True)
class Dataset:
    """What is true of a set before a byte of it is read.

    Attributes:
        name: Lower-case key, as in file names.
        title: As its authors write it.
        about: One line on what it is.
        ndim: 2 for pictures, 3 for volumes.
        channels: 1 for grey, 3 for RGB.
        task: `classes` (one label), `ordinal` (one label, ordered grades), `findings` (several labels at once).
        classes: Plain words, by label number.
        counts: Items per split.
        sizes: Sides in pixels; of a collection also `AS_THEY_ARE`, its pictures neither cropped nor resized.
        files: By size (pixels along one side). Empty for what the project draws itself, and for collections.
        licence: SPDX-like name of the data's licence.
        url: The page a reader is sent to.
        citation: Who to cite.
        synthetic: Drawn by the project; never ranked beside real data.
        own: Of a collection alone: what its record says besides.
    """

    name: str
    title: str
    about: str
    ndim: Literal[2, 3]
    channels: Literal[1, 3]
    task: Task
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    sizes: tuple[int, ...]
    licence: str
    url: str
    citation: str
    files: Mapping[int, DataFile] = field(default_factory=dict)
    synthetic: bool = False
    own: Own | None = None

    @property
    def labelled(self) -> bool:
        """Whether every item has a label, so that a ranking can be judged."""
        return self.own is None or self.own.labelled

    @property
    def vectors(self) -> str:
        """What made the vectors that are its items; empty where they are pictures or volumes."""
        return "" if self.own is None else self.own.vectors

    @property
    def noun(self) -> str:
        """What one of its items is called: `picture`, `volume` or `vector`."""
        if self.vectors:
            return "vector"
        return "picture" if self.ndim == 2 else "volume"

    @property
    def grouped(self) -> bool:
        """Whether people gave its items groups, of which one card each can be shown."""
        return self.own is not None and self.own.grouped

    def shape(self, size: int, split: str) -> tuple[int, ...]:
        """The shape of a split's images: [N, H, W], [N, H, W, 3] or, for volumes, [N, D, H, W]."""
        sides = (size,) * self.ndim
        return (self.counts[split], *sides, 3) if self.channels == 3 else (self.counts[split], *sides)


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures and labels of one split of one Dataset at one size.

    Attributes:
        images: uint8, memory-mapped; [N, H, W], [N, H, W, 3] or [N, D, H, W]. Of a collection a sequence that decodes
            a picture when it is asked for, and may hold pictures of several shapes.
        labels: int64 [N, 1], or [N, findings] of 0 and 1.
        digest: Of the file the split comes from (its MD5), or of the drawing program's output.
        verified: Whether that digest is the publisher's.
    """

    dataset: Dataset
    size: int
    name: SplitName
    images: Any
    labels: np.ndarray
    digest: str
    verified: bool

    def __len__(self) -> int:
        return len(self.images)
