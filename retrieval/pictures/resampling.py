"""Exact resampling, each kernel of a named library: the same name in another library gives other pixels."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Interpolation = Literal["pil_bicubic", "pil_bilinear", "cv2_linear", "cv2_cubic"]


def resize(picture: np.ndarray, shape: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """A uint8 picture [H, W] or [H, W, 3] resized to (height, width), uint8; unchanged where it has that shape already.

    `pil_bicubic` and `pil_bilinear` are Pillow's kernels (with antialiasing when they shrink); `cv2_linear` and
    `cv2_cubic` are OpenCV's INTER_LINEAR and INTER_CUBIC (without).
    """
    if picture.shape[:2] == shape:
        return picture
    if interpolation.startswith("pil"):
        return _resize_pil(picture, shape, interpolation)
    return _resize_cv2(picture, shape, interpolation)


def _resize_pil(picture: np.ndarray, shape: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    from PIL import Image

    kernel = Image.Resampling.BICUBIC if interpolation == "pil_bicubic" else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), kernel))


def _resize_cv2(picture: np.ndarray, shape: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    import cv2

    kernel = cv2.INTER_LINEAR if interpolation == "cv2_linear" else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), (shape[1], shape[0]), interpolation=kernel)


def shortest_to(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """The (height, width) at which the shorter side is `side`; the longer is cut off to whole pixels.

    As torchvision's Resize and the image processors of transformers do it.
    """
    height, width = shape
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def middle(picture: np.ndarray, side: int, *, halved: Literal["even", "down"]) -> np.ndarray:
    """The square of this side in the middle of a picture; an odd border is halved to the even number, or down.

    torchvision's CenterCrop rounds half a pixel to the even number, transformers' center_crop rounds it down.
    """
    top, left = ((length - side) / 2 for length in picture.shape[:2])
    row, column = (round(top), round(left)) if halved == "even" else (int(top), int(left))
    return picture[row : row + side, column : column + side]


def on_canvas(picture: np.ndarray, at_least: int) -> np.ndarray:
    """A uint8 picture in the middle of a black grey-level square, [S, S]; S is its longer side, or `at_least`.

    Never enlarged, and colour becomes grey by the paste: as MedCLIP's image processor does it.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    side = max(at_least, height, width)
    canvas = Image.new("L", (side, side))
    canvas.paste(Image.fromarray(picture), (int((side - width) / 2), int((side - height) / 2)))
    return np.asarray(canvas)


def zoom_depth(volume: np.ndarray, depth: int) -> np.ndarray:
    """A uint8 volume [D, H, W] resampled along axis 0 to `depth` slices, uint8; the first and last slice stay.

    Cubic B-spline with prefilter (scipy.ndimage.zoom, order 3), rounded and clamped to 0..255: as in arXiv 2409.09430.
    """
    if len(volume) == depth:
        return volume
    from scipy import ndimage

    # With scipy's default mode, rounding can put the last slice outside the volume (28 to 48) and leave it black.
    return np.asarray(ndimage.zoom(volume, (depth / len(volume), 1, 1), order=3, mode="mirror"))


def resize_box(volume: np.ndarray, box: Sequence[tuple[float, float]], size: int) -> np.ndarray:
    """A box of a uint8 volume [D, H, W] as a cube uint8 [size, size, size]; unchanged where it is one already.

    Pillow's bicubic kernel along each axis, with antialiasing where it shrinks, in float32; clamped and rounded once.

    Args:
        box: For each axis from where to where, in voxels. What lies outside has no part, but for voxels cut by it.
    """
    near = [(math.floor(start), math.ceil(end)) for start, end in box]
    cut = volume[tuple(slice(start, end) for start, end in near)]
    depth, rows, columns = ((start - low, end - low) for (start, end), (low, _) in zip(box, near, strict=True))
    if cut.shape == (size,) * 3 and list(box) == near:
        return np.ascontiguousarray(cut)
    planes = np.stack([_box_pil(plane, (size, size), rows, columns) for plane in cut])
    cube = _box_pil(planes.reshape(len(cut), -1), (size, size * size), depth, (0, size * size))
    return np.rint(np.clip(cube, 0, 255)).astype(np.uint8).reshape(size, size, size)


def _box_pil(plane: np.ndarray, shape: tuple[int, int], rows: Sequence[float], columns: Sequence[float]) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    box = (columns[0], rows[0], columns[1], rows[1])
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box))
