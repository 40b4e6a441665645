"""A picture or volume -> an item of a dataset: what a search compares, the same for the command line and the page."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures.burned_in import warned
from retrieval.pictures.decoded import Volume
from retrieval.pictures.reading import decode_picture, decode_volume, read_bytes
from retrieval.pictures.resampling import resize_box

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


def size_choices(sizes: Iterable[int]) -> list[str]:
    """Sizes as they are asked for: `28`, or `0 (as they are)`."""
    return [str(size) if size != AS_THEY_ARE else f"{size} ({size_name(size)})" for size in sizes]


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
    if dataset.ndim == 3:
        raise BadInput(
            f"{dataset.title} holds volumes, and this is a picture.",
            remedy="Ask with a volume, or choose a dataset of pictures.",
        )
    pixels = np.asarray(picture.convert("L" if dataset.channels == 1 else "RGB"))
    if size == AS_THEY_ARE:
        return np.array(pixels)
    square = Image.fromarray(_centre_square(pixels))
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(square)


def make_volume_item(volume: Volume, *, size: int) -> np.ndarray:
    """Make a volume what the volumes of datasets are: grey, a cube of space, `size` voxels a side.

    The cube is cut from the middle: its edge, in millimetres, is the shortest of the volume's three. An edge of whole
    voxels is cut at whole ones (of an odd number too many, the extra one goes from the end), any other exactly. Then
    PIL's bicubic resampling along each axis, with antialiasing where it shrinks, in floats that are rounded once. A
    volume of cubes that has the right size is left untouched.

    Returns:
        uint8 [size, size, size].
    """
    grey = grey_levels(volume)
    edge = min(count * side for count, side in zip(grey.shape, volume.spacing, strict=True))
    boxes = [_middle(count, edge / side) for count, side in zip(grey.shape, volume.spacing, strict=True)]
    return resize_box(grey, boxes, size)


def grey_levels(volume: Volume) -> np.ndarray:
    """uint8 [D, H, W]: a volume's levels; of colour the luminance."""
    if volume.levels.ndim == 3:
        return volume.levels
    planes = (Image.fromarray(np.ascontiguousarray(plane)).convert("L") for plane in volume.levels)
    return np.stack([np.asarray(plane) for plane in planes])


def read_item(path: Path, *, dataset: ItemForm, size: int) -> np.ndarray:
    """The item of a picture or volume file, by `make_item` or `make_volume_item`."""
    return noted_item(read_bytes(path), name=path.name, dataset=dataset, size=size)[0]


def noted_item(data: bytes, *, name: str, dataset: ItemForm, size: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The item of a file's bytes, and the notes on how it was read, of text burned into it as well.

    Args:
        name: What a sentence calls it.
    """
    if dataset.ndim == 3:
        volume = decode_volume(data, name=name)
        return make_volume_item(volume, size=size), volume.notes
    picture = warned(decode_picture(data, name=name))
    return make_item(picture.image, dataset=dataset, size=size), picture.notes


def _middle(count: int, length: float) -> tuple[float, float]:
    """Where a stretch of this many voxels lies in the middle of `count`: from, to."""
    whole = round(length)
    if abs(length - whole) < 1e-6 * count:
        start = (count - whole) // 2
        return float(start), float(start + whole)
    start = (count - length) / 2
    return start, start + length


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
