"""Exact resampling, each kernel of a named library: the same name in another library gives other pixels."""

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
