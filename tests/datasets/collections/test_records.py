"""What is written of a collection, and read back; names that cannot be; a record that was damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
from own_pictures import write_classes

from retrieval.datasets.catalogue import DATASETS, datasets, find_dataset
from retrieval.datasets.collections import adding, records
from retrieval.errors import BadInput, Unavailable, UnknownName
from retrieval.roots import Roots

TAKEN = [dataset.name for dataset in DATASETS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classes(tmp_path / "mine", {"dark": 10, "light": 20})
    return tmp_path / "mine"


@pytest.mark.parametrize("name", ["Mine", "", "1st", "a b", "../up", "a/b", "a.b", "x" * 41, "é"])
def test_names_that_are_no_plain_key_are_refused(name: str):
    with pytest.raises(BadInput, match="cannot be the name"):
        records.check_name(name, TAKEN)


@pytest.mark.parametrize("name", ["breastmnist", "phantoms"])
def test_the_name_of_a_dataset_is_refused(name: str):
    with pytest.raises(BadInput, match="the name of a dataset already"):
        records.check_name(name, TAKEN)


def test_what_is_written_is_read(folder: Path, empty_roots: Roots):
    made = adding.add("mine", folder, empty_roots)
    assert records.find("mine", empty_roots) == made
    assert records.names(empty_roots) == ["mine"]


def test_a_collection_is_a_dataset(folder: Path, empty_roots: Roots):
    adding.add("mine", folder, empty_roots)
    found = find_dataset("mine", empty_roots)
    assert datasets(empty_roots) == (*DATASETS, found)
    assert found.classes == ("dark", "light")
    assert dict(found.counts) == {"train": 21, "val": 3, "test": 6}
    assert (found.ndim, found.channels, found.sizes[0], found.labelled) == (2, 1, 0, True)
    assert found.own and found.own.even and found.own.side == 16


def test_without_roots_or_after_removal_there_is_none(folder: Path, empty_roots: Roots):
    adding.add("mine", folder, empty_roots)
    with pytest.raises(UnknownName):
        find_dataset("mine")
    records.remove("mine", empty_roots)
    with pytest.raises(UnknownName):
        find_dataset("mine", empty_roots)
    with pytest.raises(UnknownName, match="no collection named 'mine'"):
        records.remove("mine", empty_roots)
    assert len(list(folder.rglob("*.png"))) == 30


def test_another_label_split_or_picture_is_another_digest(folder: Path, empty_roots: Roots):
    made = adding.add("mine", folder, empty_roots)
    digest = records._own(made).digest
    for change in ({"label": "light"}, {"split": "val"}, {"pixels": "0" * 32}):
        first = replace(made.files[0], **{"split": "train"} | change)
        assert records._own(replace(made, files=(first, *made.files[1:]))).digest != digest or first == made.files[0]


def test_a_damaged_record_says_so(folder: Path, empty_roots: Roots):
    adding.add("mine", folder, empty_roots)
    facts = next(records.folder_of("mine", empty_roots).glob("files-*.json"))
    facts.write_bytes(facts.read_bytes().replace(b"dark", b"dusk"))
    records._files.cache_clear()
    with pytest.raises(Unavailable, match="damaged"):
        records.find("mine", empty_roots)
    header = records.folder_of("mine", empty_roots) / "collection.json"
    header.write_bytes(header.read_bytes().replace(b"light", b"night"))
    assert records.datasets(empty_roots) == ()
