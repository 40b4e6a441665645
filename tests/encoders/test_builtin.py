"""The project's own features, worked out by hand."""

import math

import numpy as np
import pytest

from retrieval.encoders import builtin
from retrieval.encoders.catalogue import find_encoder


def test_pixels_are_the_values_in_reading_order():
    picture = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    encoder = builtin.load(find_encoder("pixels"))
    vectors = encoder.embed(picture[None])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    assert encoder.weights_digest == "none"


# --- histogram


def test_squares_of_a_histogram_sum_to_one_in_every_channel():
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.float32)
    squares = builtin.histogram(picture).reshape(3, builtin.LEVELS) ** 2
    np.testing.assert_allclose(squares.sum(axis=1), 1)


def test_each_of_32_bins_holds_eight_grey_levels():
    levels = np.arange(256, dtype=np.float32).reshape(16, 16)
    squares = builtin.histogram(np.stack([levels] * 3, axis=-1)) ** 2
    np.testing.assert_allclose(squares, 8 / 256)
    for level, place in [(0, 0), (7, 0), (8, 1), (127, 15), (128, 16), (255, 31)]:
        flat = builtin.histogram(np.full((4, 4, 3), level, np.float32))
        assert np.flatnonzero(flat[:32]).tolist() == [place]


def test_channels_are_counted_apart():
    picture = np.zeros((2, 2, 3), np.float32)
    picture[..., 1], picture[..., 2] = 100, 255
    assert np.flatnonzero(builtin.histogram(picture)).tolist() == [0, 32 + 12, 64 + 31]


def test_the_distance_between_histograms_is_hellingers():
    def grey(values: list[int]) -> np.ndarray:
        return np.repeat(np.array(values, np.float32).reshape(2, 2, 1), 3, axis=2)

    # shares (1/2, 1/2) against (3/4, 1/4): H^2 = 1 - sum of roots of products
    one, other = builtin.histogram(grey([0, 0, 255, 255])), builtin.histogram(grey([0, 0, 0, 255]))
    hellinger = math.sqrt(1 - (math.sqrt(1 / 2 * 3 / 4) + math.sqrt(1 / 2 * 1 / 4)))
    assert np.linalg.norm(one[:32] - other[:32]) == pytest.approx(math.sqrt(2) * hellinger)
    # nothing shared: as far as can be
    far = builtin.histogram(grey([100] * 4))
    assert np.linalg.norm(one[:32] - far[:32]) == pytest.approx(math.sqrt(2))


def test_a_histogram_does_not_know_places():
    picture = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.float32)
    assert np.array_equal(builtin.histogram(picture), builtin.histogram(picture[::-1, ::-1]))


# --- shape


def volume(side: int = 20) -> np.ndarray:
    return np.zeros((side, side, side), np.uint8)


def test_the_numbers_of_a_box():
    box = volume()
    box[2:12, 5:9, 3:5] = 255  # 10 x 4 x 2
    numbers = builtin.shape(box)
    axes = [math.sqrt(n * n / 12) for n in (10, 4, 2)]  # of a solid box of these sides
    surface = 2 * (10 * 4 + 10 * 2 + 4 * 2)
    expected = [80 ** (1 / 3), 10, 4, 2, *axes, math.sqrt(surface)]
    np.testing.assert_allclose(numbers[:8] * 20, expected)
    np.testing.assert_allclose(numbers[8:], [1, 0.4, 0.2])


def test_a_box_lying_otherwise_has_the_same_axes_and_other_extents():
    box = volume()
    box[2:12, 5:9, 3:5] = 200
    turned = builtin.shape(box.transpose(2, 0, 1))
    upright = builtin.shape(box)
    np.testing.assert_allclose(turned[1:4] * 20, [2, 10, 4])
    others = [0, *range(4, 11)]
    np.testing.assert_allclose(turned[others], upright[others])


def test_a_shape_may_lie_anywhere_even_at_the_border():
    box = volume()
    box[0:10, 0:4, 18:20] = 255
    middle = volume()
    middle[5:15, 8:12, 9:11] = 255
    np.testing.assert_allclose(builtin.shape(box), builtin.shape(middle))


def test_the_numbers_of_a_ball():
    side, radius = 41, 15
    z, y, x = np.indices((side, side, side)) - side // 2
    ball = np.where(z * z + y * y + x * x <= radius * radius, 255, 0).astype(np.uint8)
    numbers = builtin.shape(ball)
    assert numbers[0] * side == pytest.approx((4 / 3 * math.pi * radius**3) ** (1 / 3), rel=0.01)
    np.testing.assert_allclose(numbers[1:4] * side, 2 * radius + 1)
    np.testing.assert_allclose(numbers[4:7] * side, radius / math.sqrt(5), rtol=0.01)  # of a solid ball
    # counted in faces of voxels, a ball has the surface of six of its shadows
    assert (numbers[7] * side) ** 2 == pytest.approx(6 * math.pi * radius**2, rel=0.02)
    assert numbers[8] == pytest.approx(math.pi / 6, rel=0.1)
    np.testing.assert_allclose(numbers[9:], 1, rtol=1e-6)


def test_one_voxel_is_a_cube():
    dot = volume(10)
    dot[4, 5, 6] = 128
    cube = [0.1] * 4 + [math.sqrt(1 / 12) / 10] * 3 + [math.sqrt(6) / 10, 1, 1, 1]
    np.testing.assert_allclose(builtin.shape(dot), cube)


@pytest.mark.parametrize("level", [0, 127])
def test_an_empty_volume_is_all_zero(level: int):
    numbers = builtin.shape(np.full((6, 6, 6), level, np.uint8))
    assert numbers.tolist() == [0.0] * 11


def test_what_the_specs_promise_is_what_comes():
    shapes = builtin.load(find_encoder("shape")).embed(np.stack([volume(), np.full_like(volume(), 255)]))
    histograms = builtin.load(find_encoder("histogram")).embed(np.zeros((2, 28, 28, 3), np.float32))
    assert shapes.shape == (2, find_encoder("shape").dim) and shapes.dtype == np.float32
    assert histograms.shape == (2, find_encoder("histogram").dim) and histograms.dtype == np.float32
