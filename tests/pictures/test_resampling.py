"""Each named kernel is its library's own, to the byte."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from retrieval.pictures.resampling import Interpolation, resize, zoom_depth

KERNELS: tuple[Interpolation, ...] = ("pil_bicubic", "cv2_linear", "cv2_cubic")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


def by_hand(picture: np.ndarray, side: int, kernel: Interpolation) -> np.ndarray:
    if kernel == "pil_bicubic":
        return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
    method = {"cv2_linear": cv2.INTER_LINEAR, "cv2_cubic": cv2.INTER_CUBIC}[kernel]
    return cv2.resize(picture, (side, side), interpolation=method)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3), (224, 224, 3), (17, 29)])
@pytest.mark.parametrize("side", [16, 32, 100, 224])
def test_a_kernel_is_its_librarys_own(shape: tuple[int, ...], side: int, kernel: Interpolation):
    picture = noise(*shape)
    resized = resize(picture, (side, side), kernel)
    assert resized.dtype == np.uint8
    assert resized.shape == (side, side, *shape[2:])
    if shape[:2] != (side, side):
        assert np.array_equal(resized, by_hand(picture, side, kernel))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_the_same_size_is_left_alone(shape: tuple[int, ...], kernel: Interpolation):
    assert np.array_equal(resize(noise(*shape), (28, 28), kernel), noise(*shape))


@pytest.mark.parametrize("side", [14, 56])
def test_no_two_kernels_give_the_same_pixels(side: int):
    resized = {kernel: resize(noise(28, 28), (side, side), kernel) for kernel in KERNELS}
    assert len({picture.tobytes() for picture in resized.values()}) == len(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_not_contiguous_or_read_only_is_resized_alike(kernel: Interpolation):
    volume = noise(28, 30, 28)
    across = volume[:, 3]
    volume.flags.writeable = False
    assert not volume[:, :, 3].flags.c_contiguous
    assert np.array_equal(resize(across, (32, 32), kernel), by_hand(across.copy(), 32, kernel))
    assert np.array_equal(resize(volume[:, :28, 3], (32, 32), kernel), by_hand(volume[:, :28, 3].copy(), 32, kernel))


@pytest.mark.parametrize("kernel", ["pil_bicubic", "cv2_cubic"])
def test_a_cubic_kernel_is_clamped_at_black_and_white(kernel: Interpolation):
    edge = np.zeros((8, 8), np.uint8)
    edge[:, 4:] = 255
    row = resize(edge, (32, 32), kernel)[16].astype(int)
    assert row[0] == 0 and row[-1] == 255
    assert (np.diff(row) >= 0).all()  # an overshoot that wrapped round would go down


# --- along the depth of a volume


@pytest.mark.parametrize(("depth", "target"), [(28, 32), (28, 28), (10, 32), (64, 32)])
def test_depth_is_scipys_cubic_spline_as_the_study_calls_it(depth: int, target: int):
    volume = noise(depth, 9, 7)
    zoomed = zoom_depth(volume, target)
    assert zoomed.dtype == np.uint8
    assert zoomed.shape == (target, 9, 7)
    assert np.array_equal(zoomed, ndimage.zoom(volume, (target / depth, 1, 1), order=3))


@pytest.mark.parametrize("target", [29, 32, 50, 14, 48])  # scipy's default leaves the last slice black at 14 and 48
def test_the_first_and_the_last_slice_stay(target: int):
    volume = noise(28, 6, 6)
    zoomed = zoom_depth(volume, target)
    assert np.array_equal(zoomed[0], volume[0])
    assert np.array_equal(zoomed[-1], volume[-1])


def test_a_step_along_the_depth_overshoots_and_is_clamped():
    volume = np.zeros((28, 3, 3), np.uint8)
    volume[14:] = 255
    exact = ndimage.zoom(volume.astype(float), (32 / 28, 1, 1), order=3)
    assert exact.min() < -1 and exact.max() > 256  # it would not fit into uint8
    zoomed = zoom_depth(volume, 32)
    assert np.abs(zoomed - np.clip(exact, 0, 255)).max() <= 1
    assert (zoomed[:14] < 128).all() and (zoomed[18:] > 128).all()


def test_the_same_depth_is_left_alone():
    volume = noise(32, 5, 5)
    assert zoom_depth(volume, 32) is volume
