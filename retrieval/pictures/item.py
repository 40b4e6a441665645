"""A picture -> an item of a dataset: what a search compares, the same for the command line and the page."""

from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures.reading import read_picture

AS_THEY_ARE = 0
"""The size of pictures that are neither cropped nor resized."""


class ItemForm(Protocol):
    """What of a Dataset decides how its items look. Datasets come after pictures, so theirs is not named here."""

    @property
    def title(self) -> str: ...

    @property
    def ndim(self) -> int: ...

    @property
    def channels(self) -> int: ...


def size_name(size: int) -> str:
    """A size as it stands beside a dataset's name: `28`, or in words."""
    return "as they are" if size == AS_THEY_ARE else str(size)


def make_item(picture: Image.Image, *, dataset: ItemForm, size: int) -> np.ndarray:
    """Make a picture what the dataset's own pictures are: its colours, square, `size` pixels a side.

    Grey datasets get the luminance (ITU-R 601-2, as PIL's mode `L`), the others RGB. The square is cut from the
    middle; where an odd number of pixels is too many, the extra one goes from the right or the bottom. Then PIL's
    bicubic resampling, which leaves a picture of the right size untouched. Of the size `AS_THEY_ARE` only the colours
    are made the dataset's.

    Returns:
        uint8 [size, size], or [size, size, 3] where the dataset has three channels; [H, W] or [H, W, 3] as they are.

    Raises:
        BadInput: the dataset holds volumes.
    """
    _refuse_volumes(dataset)
    pixels = np.asarray(picture.convert("L" if dataset.channels == 1 else "RGB"))
    if size == AS_THEY_ARE:
        return np.array(pixels)
    square = Image.fromarray(_centre_square(pixels))
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(square)


def read_item(path: Path, *, dataset: ItemForm, size: int) -> np.ndarray:
    """`make_item` of a picture file; whoever wants the notes as well calls `read_picture` and `make_item`."""
    _refuse_volumes(dataset)
    return make_item(read_picture(path).image, dataset=dataset, size=size)


def _refuse_volumes(dataset: ItemForm) -> None:
    if dataset.ndim == 3:
        raise BadInput(
            f"{dataset.title} holds volumes, and a volume of your own cannot be the query yet.",
            remedy="Sample one of its test volumes instead, or choose a dataset of pictures.",
        )


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
