"""A split of a collection: pictures as an array has them, at any size, and never another than was added."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes, write_picture
from PIL import Image

from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.collections import adding
from retrieval.datasets.opening import data_digest, describe_missing, fetch_file, is_at_hand, locate, open_split
from retrieval.errors import Unavailable, UnknownName
from retrieval.pictures.item import AS_THEY_ARE, make_item
from retrieval.pictures.reading import read_picture
from retrieval.roots import Roots


@pytest.fixture
def folder(tmp_path: Path, empty_roots: Roots) -> Path:
    """Twenty pictures of 16 x 16 and ten of 24 x 10."""
    write_classes(tmp_path / "mine", {"dark": 20})
    write_classes(tmp_path / "mine", {"wide": 10}, shape=(10, 24))
    adding.add("mine", tmp_path / "mine", empty_roots)
    return tmp_path / "mine"


def opened(roots: Roots, size: int = AS_THEY_ARE, split: str = "train"):
    return open_split(find_dataset("mine", roots), size, split, roots)  # type: ignore[arg-type]


def test_every_picture_is_that_of_its_file(folder: Path, empty_roots: Roots):
    split = opened(empty_roots)
    assert len(split) == len(split.images) == len(split.labels) == split.dataset.counts["train"]
    for number, file in enumerate(split.images.files):
        expected = np.asarray(Image.open(folder / file.name))
        assert np.array_equal(split.images[number], expected)
        assert split.dataset.classes[split.labels[number, 0]] == file.name.split("/")[0]


def test_at_a_size_it_is_the_item_that_an_upload_would_be(folder: Path, empty_roots: Roots):
    split = opened(empty_roots, 28)
    for number, file in enumerate(split.images.files):
        expected = make_item(read_picture(folder / file.name).image, dataset=split.dataset, size=28)
        assert np.array_equal(split.images[number], expected)
    assert split.images.shape == (len(split), 28, 28)


def test_it_is_indexed_like_an_array(folder: Path, empty_roots: Roots):
    images = opened(empty_roots).images
    assert [len(images[2:5]), len(images[np.array([3, 1])])] == [3, 2]
    assert np.array_equal(images[2:5][0], images[2])
    assert np.array_equal(images[np.array([3, 1])][1], images[1])
    assert np.array_equal(images[np.int64(1)], images[1])
    assert len(list(images)) == len(images)
    assert images.digests.shape == (len(images), 16) and images.digests.dtype == np.uint8


def test_a_coloured_one_makes_all_of_them_rgb(folder: Path, empty_roots: Roots):
    write_picture(folder / "dark" / "coloured.png", seed=3, shape=(9, 9, 3))
    adding.update("mine", empty_roots)
    assert all(
        picture.ndim == 3 for split in ("train", "val", "test") for picture in opened(empty_roots, 0, split).images
    )


def test_a_changed_file_is_noticed(folder: Path, empty_roots: Roots):
    split = opened(empty_roots)
    write_picture(folder / split.images.files[0].name, seed=77)
    with pytest.raises(Unavailable, match="has changed since it was added") as caught:
        split.images[0]
    assert caught.value.remedy == "Run: python -m retrieval collection update mine"
    adding.update("mine", empty_roots)
    assert all(picture is not None for picture in opened(empty_roots).images)


def test_a_vanished_file_is_noticed(folder: Path, empty_roots: Roots):
    split = opened(empty_roots)
    (folder / split.images.files[0].name).unlink()
    with pytest.raises(Unavailable, match="cannot be read any more"):
        split.images[0]


def test_a_vanished_folder_is_noticed(folder: Path, empty_roots: Roots):
    dataset = find_dataset("mine", empty_roots)
    assert is_at_hand(dataset, 0, empty_roots) and locate(dataset, 28, empty_roots) == folder
    shutil.move(folder, folder.with_name("elsewhere"))
    assert not is_at_hand(dataset, 0, empty_roots)
    with pytest.raises(Unavailable, match="not there any more"):
        open_split(dataset, 0, "train", empty_roots)
    said = describe_missing(dataset, 0, empty_roots)
    assert "were in 'mine'" in said.message and "collection remove mine" in said.remedy
    assert str(folder.parent) not in str(said)


def test_a_dataset_of_before_an_update_is_not_opened(folder: Path, empty_roots: Roots):
    before = find_dataset("mine", empty_roots)
    write_picture(folder / "dark" / "new.png", seed=5)
    adding.update("mine", empty_roots)
    with pytest.raises(Unavailable, match="was updated just now"):
        open_split(before, 0, "train", empty_roots)
    assert data_digest(before, 0, empty_roots) != data_digest(find_dataset("mine", empty_roots), 0, empty_roots)


def test_sizes_and_files_are_those_of_a_collection(folder: Path, empty_roots: Roots):
    dataset = find_dataset("mine", empty_roots)
    with pytest.raises(UnknownName, match="size of mine"):
        open_split(dataset, 27, "train", empty_roots)
    assert fetch_file(dataset, 28, empty_roots) == folder
