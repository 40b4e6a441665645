"""The literals against the publisher's own list, and the names by which datasets are found."""

import importlib.util
import re
from difflib import SequenceMatcher
from pathlib import Path
from types import ModuleType

import pytest

from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.errors import UnknownName

OFFICIAL = [dataset for dataset in DATASETS if not dataset.synthetic]
NAMES = [dataset.name for dataset in OFFICIAL]
TASKS = {"multi-label, binary-class": "findings", "ordinal-regression": "ordinal"}


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The publisher's INFO, from its file alone: its package imports torch and makes a folder in the home."""
    package = importlib.util.find_spec("medmnist")
    assert package and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "info.py"
    spec = importlib.util.spec_from_file_location("medmnist_info", path)
    assert spec and spec.loader
    module = ModuleType("medmnist_info")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        spec.loader.exec_module(module)
    return module.INFO


def test_all_official_sets_are_known(info: dict):
    assert sorted(NAMES) == sorted(info)


@pytest.mark.parametrize("name", NAMES)
def test_facts_equal_the_publishers(info: dict, name: str):
    dataset, facts = find_dataset(name), info[name]
    assert dataset.title == facts["python_class"]
    assert dataset.ndim == (3 if "3D" in facts["python_class"] else 2)
    assert dataset.channels == facts["n_channels"]
    assert dict(dataset.counts) == facts["n_samples"]
    assert dataset.task == TASKS.get(facts["task"], "classes")
    assert dataset.licence == facts["license"].replace(" ", "-")


@pytest.mark.parametrize("name", NAMES)
def test_addresses_and_checksums_equal_the_publishers(info: dict, name: str):
    dataset, facts = find_dataset(name), info[name]
    suffixes = {size: "" if size == 28 else f"_{size}" for size in dataset.sizes}
    assert {"MD5" + suffix for suffix in suffixes.values()} == {key for key in facts if key.startswith("MD5")}
    for size, suffix in suffixes.items():
        file = dataset.files[size]
        assert (file.url, file.md5) == (facts["url" + suffix], facts["MD5" + suffix])
        assert file.name == f"{name}{suffix}.npz"


def _words(text: str) -> str:
    return " ".join(sorted(re.findall(r"[a-z0-9]+", text.lower())))


@pytest.mark.parametrize("name", NAMES)
def test_plain_class_names_stand_in_the_publishers_order(info: dict, name: str):
    ours = [_words(text) for text in find_dataset(name).classes]
    theirs = [_words(text) for _, text in sorted(info[name]["label"].items(), key=lambda item: int(item[0]))]
    likeness = [[SequenceMatcher(None, mine, other).ratio() for other in theirs] for mine in ours]
    assert len(ours) == len(theirs)
    for label, row in enumerate(likeness):
        rivals = row[:label] + row[label + 1 :]
        assert row[label] > max(rivals), (name, label, ours[label])


def test_sizes():
    assert {dataset.sizes for dataset in OFFICIAL if dataset.ndim == 2} == {(28, 64, 128, 224)}
    assert {dataset.sizes for dataset in OFFICIAL if dataset.ndim == 3} == {(28, 64)}


def test_every_dataset_says_what_it_is():
    for dataset in DATASETS:
        assert dataset.about.endswith(".") and dataset.title and dataset.licence and dataset.citation, dataset.name
        assert len(set(dataset.classes)) == len(dataset.classes)


def test_synthetic_sets_stand_last_and_say_so():
    assert [dataset.name for dataset in DATASETS if dataset.synthetic] == ["phantoms", "phantoms3d"]
    assert all(dataset.synthetic and "synthetic" in dataset.title.lower() for dataset in DATASETS[-2:])
    assert len({dataset.name for dataset in DATASETS}) == len(DATASETS)


def test_shapes_follow_from_the_literal():
    assert find_dataset("breastmnist").shape(64, "test") == (156, 64, 64)
    assert find_dataset("retinamnist").shape(28, "train") == (1080, 28, 28, 3)
    assert find_dataset("adrenalmnist3d").shape(64, "val") == (98, 64, 64, 64)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownName, match="breastmnist") as caught:
        find_dataset("brestmnist")
    assert "Did you mean 'breastmnist'?" in caught.value.remedy
    assert all(dataset.name in caught.value.remedy for dataset in DATASETS)
