"""What a Dataset, a Split and a Group are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
        files: By size (pixels along one side). Empty for what the project draws itself.
        licence: SPDX-like name of the data's licence.
        url: The page a reader is sent to.
        citation: Who to cite.
        synthetic: Drawn by the project; never ranked beside real data.
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

    def shape(self, size: int, split: str) -> tuple[int, ...]:
        """The shape of a split's images: [N, H, W], [N, H, W, 3] or, for volumes, [N, D, H, W]."""
        sides = (size,) * self.ndim
        return (self.counts[split], *sides, 3) if self.channels == 3 else (self.counts[split], *sides)


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures and labels of one split of one Dataset at one size.

    Attributes:
        images: uint8, memory-mapped; [N, H, W], [N, H, W, 3] or [N, D, H, W].
        labels: int64 [N, 1], or [N, findings] of 0 and 1.
        digest: Of the file the split comes from (its MD5), or of the drawing program's output.
        verified: Whether that digest is the publisher's.
    """

    dataset: Dataset
    size: int
    name: SplitName
    images: np.ndarray
    labels: np.ndarray
    digest: str
    verified: bool

    def __len__(self) -> int:
        return len(self.images)
