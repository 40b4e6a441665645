"""A picture made an item of a dataset."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import volume_files as files
from PIL import Image

from retrieval.datasets.phantoms_literals import PHANTOMS_2D, PHANTOMS_3D
from retrieval.errors import BadInput
from retrieval.pictures.item import make_item, read_item

GREY = PHANTOMS_2D
COLOUR = dataclasses.replace(PHANTOMS_2D, channels=3)


def test_grey_is_the_luminance():
    picture = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8))
    item = make_item(picture, dataset=GREY, size=2)
    assert item.dtype == np.uint8
    assert item.tolist() == [[76, 150], [29, 255]]  # .299, .587 and .114 of 255, rounded


def test_colour_repeats_grey_three_times():
    item = make_item(Image.new("L", (3, 3), 40), dataset=COLOUR, size=3)
    assert item.shape == (3, 3, 3)
    assert np.unique(item).tolist() == [40]


@pytest.mark.parametrize("dataset", [GREY, COLOUR])
def test_a_picture_of_the_right_size_is_not_touched(dataset):
    shape = (28, 28) if dataset.channels == 1 else (28, 28, 3)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(make_item(Image.fromarray(pixels), dataset=dataset, size=28), pixels)


@pytest.mark.parametrize(
    ("width", "height", "columns", "rows"),
    [
        (6, 2, (2, 4), (0, 2)),
        (2, 6, (0, 2), (2, 4)),
        (5, 2, (1, 3), (0, 2)),  # three too many: one from the left, two from the right
        (2, 3, (0, 2), (0, 2)),  # one too many: from the bottom
    ],
)
def test_the_square_is_cut_from_the_middle(width, height, columns, rows):
    pixels = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    item = make_item(Image.fromarray(pixels), dataset=GREY, size=2)
    assert np.array_equal(item, pixels[slice(*rows), slice(*columns)])


def test_resampling_is_pils_bicubic_of_the_square_alone():
    pixels = np.random.default_rng(2).integers(0, 256, (50, 90), dtype=np.uint8)
    square = Image.fromarray(np.ascontiguousarray(pixels[:, 20:70]))
    item = make_item(Image.fromarray(pixels), dataset=GREY, size=28)
    assert np.array_equal(item, np.asarray(square.resize((28, 28), Image.Resampling.BICUBIC)))


def test_a_narrow_picture_still_makes_an_item():
    assert make_item(Image.new("L", (1, 500), 7), dataset=GREY, size=28).tolist() == [[7] * 28] * 28


def test_the_item_is_the_callers_own():
    item = make_item(Image.new("L", (4, 4)), dataset=GREY, size=4)
    item[0, 0] = 1
    assert item.flags.c_contiguous


def test_reading_a_file_does_the_same(tmp_path: Path):
    path = tmp_path / "query.png"
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8))
    picture.save(path)
    for dataset in (GREY, COLOUR):
        assert np.array_equal(read_item(path, dataset=dataset, size=28), make_item(picture, dataset=dataset, size=28))


def test_a_picture_is_no_query_for_volumes(tmp_path: Path):
    path = tmp_path / "query.png"
    Image.new("L", (4, 4)).save(path)
    for ask in (
        lambda: make_item(Image.new("L", (4, 4)), dataset=PHANTOMS_3D, size=28),
        lambda: read_item(path, dataset=PHANTOMS_3D, size=28),
    ):
        with pytest.raises(BadInput, match="volume") as refusal:
            ask()
        assert "dataset of pictures" in refusal.value.remedy


def test_a_volume_file_is_the_item_of_either_kind_of_dataset(tmp_path: Path):
    levels = np.random.default_rng(4).integers(0, 256, (9, 9, 9), dtype=np.uint8)
    path = files.write(tmp_path, "query.nii", files.axial_nifti(levels))
    assert np.array_equal(read_item(path, dataset=PHANTOMS_3D, size=9), levels)
    assert np.array_equal(read_item(path, dataset=GREY, size=9), levels[4])
