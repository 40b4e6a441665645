"""Exact resampling, each kernel of a named library: the same name in another library gives other pixels."""

from typing import Literal

import numpy as np

Interpolation = Literal["pil_bicubic", "cv2_linear", "cv2_cubic"]


def resize(picture: np.ndarray, side: int, interpolation: Interpolation) -> np.ndarray:
    """A uint8 picture [H, W] or [H, W, 3] resized to side x side, uint8; unchanged where it has that size already.

    `pil_bicubic` is Pillow's BICUBIC (with antialiasing when it shrinks); `cv2_linear` and `cv2_cubic` are OpenCV's
    INTER_LINEAR and INTER_CUBIC (without).
    """
    if picture.shape[:2] == (side, side):
        return picture
    if interpolation == "pil_bicubic":
        return _resize_pil(picture, side)
    return _resize_cv2(picture, side, interpolation)


def _resize_pil(picture: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def _resize_cv2(picture: np.ndarray, side: int, interpolation: Interpolation) -> np.ndarray:
    import cv2

    kernel = cv2.INTER_LINEAR if interpolation == "cv2_linear" else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=kernel)


def zoom_depth(volume: np.ndarray, depth: int) -> np.ndarray:
    """A uint8 volume [D, H, W] resampled along axis 0 to `depth` slices, uint8; the first and last slice stay.

    Cubic B-spline with prefilter (scipy.ndimage.zoom, order 3), rounded and clamped to 0..255: as in arXiv 2409.09430.
    """
    if len(volume) == depth:
        return volume
    from scipy import ndimage

    # With scipy's default mode, rounding can put the last slice outside the volume (28 to 48) and leave it black.
    return np.asarray(ndimage.zoom(volume, (depth / len(volume), 1, 1), order=3, mode="mirror"))
