"""The address of every number."""

import dataclasses

import pytest

from retrieval.cells import Cell, cell, grid
from retrieval.datasets.catalogue import DATASETS
from retrieval.encoders.catalogue import ENCODERS
from retrieval.errors import Unavailable, UnknownName
from retrieval.protocols import PROTOCOLS


def test_a_cell_finds_what_its_names_stand_for():
    address = cell("breastmnist", 28, "densenet121", "cosine")
    assert address.key == "breastmnist/28/densenet121/cosine"
    assert (address.data.name, address.spec.name, address.rules.name) == ("breastmnist", "densenet121", "cosine")


def test_the_studys_protocol_is_the_default():
    assert cell("breastmnist", 28, "pixels") == Cell("breastmnist", 28, "pixels", "paper")


@pytest.mark.parametrize(
    ("names", "message", "remedy"),
    [
        (("breastmnits", 28, "pixels", "paper"), "no dataset named 'breastmnits'", "'breastmnist'"),
        (("breastmnist", 28, "densnet121", "paper"), "no extractor named 'densnet121'", "'densenet121'"),
        (("breastmnist", 28, "pixels", "papers"), "no protocol named 'papers'", "'paper'"),
        (("breastmnist", 32, "pixels", "paper"), "no size of breastmnist named '32'", "Valid: 28, 64, 128, 224."),
        (("adrenalmnist3d", 128, "pixels", "paper"), "no size of adrenalmnist3d named '128'", "Valid: 28, 64."),
        (("phantoms", 28, "pixels", "paper"), "no size of phantoms named '28'", "Valid: 64."),
    ],
)
def test_an_address_that_does_not_exist_is_refused(names: tuple, message: str, remedy: str):
    with pytest.raises(UnknownName) as caught:
        cell(*names)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("dataset", "encoder", "ndim"), [("adrenalmnist3d", "histogram", 3), ("breastmnist", "shape", 2)]
)
def test_an_extractor_that_cannot_take_the_items_is_refused_and_those_that_can_are_listed(
    dataset: str, encoder: str, ndim: int
):
    with pytest.raises(UnknownName) as caught:
        cell(dataset, 28, encoder)
    assert caught.value.message == f"There is no extractor for {ndim}D items named {encoder!r}."
    listed = caught.value.remedy.split("Valid: ")[1].removesuffix(".").split(", ")
    assert listed == [spec.name for spec in ENCODERS if spec.takes(ndim)]
    assert encoder not in listed


def test_in_bfloat16_nothing_is_compared_as_in_the_study():
    with pytest.raises(Unavailable) as caught:
        cell("breastmnist", 28, "resnet50.bf16", "paper")
    assert "not compared under the protocol paper" in caught.value.message
    assert "Choose resnet50, the same network in float32" in caught.value.remedy
    assert "paper" not in caught.value.remedy and "whitening" in caught.value.remedy
    assert cell("breastmnist", 28, "resnet50.bf16").protocol == "cosine"
    assert cell("breastmnist", 28, "resnet50.bf16", "pca-64").key == "breastmnist/28/resnet50.bf16/pca-64"
    assert not any("." in address.encoder for address in grid())


def test_the_grid_holds_every_meaningful_cell_once():
    takes = {ndim: sum(spec.takes(ndim) for spec in ENCODERS) for ndim in (2, 3)}
    expected = sum(len(dataset.sizes) * takes[dataset.ndim] for dataset in DATASETS) * len(PROTOCOLS)
    cells = grid()
    assert len(cells) == expected
    assert len({address.key for address in cells}) == expected
    assert all(cell(**address.names) == address for address in cells)


def test_the_grid_with_the_first_extractors_by_hand():
    first = {"efficientnet_lite0", "densenet121", "pixels", "histogram", "shape"}
    cells = [address for address in grid() if address.encoder in first]
    # 12 sets at 4 sizes and the phantoms at 1; 6 sets at 2 sizes and the phantoms at 1; 4 extractors each, 7 protocols
    assert len(cells) == (12 * 4 + 1) * 4 * 7 + (6 * 2 + 1) * 4 * 7


def test_the_grid_is_in_the_order_of_the_catalogues():
    names = [address.dataset for address in grid()]
    assert sorted(names, key=[dataset.name for dataset in DATASETS].index) == names
    assert tuple(grid()[0].names.values())[2:] == (ENCODERS[0].name, PROTOCOLS[0].name)


def test_a_key_is_a_path_that_stays_below_its_root():
    for address in grid():
        parts = address.key.split("/")
        assert len(parts) == 4 and not {"", ".", ".."} & set(parts)


def test_a_cell_is_a_value():
    address = cell("breastmnist", 28, "pixels")
    assert {address: 1}[cell("breastmnist", 28, "pixels", "paper")] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        address.size = 64  # type: ignore[misc]


def test_scores_say_which_way_is_nearer():
    assert {protocol.name: protocol.score_name for protocol in PROTOCOLS} == {
        "paper": "distance (lower is nearer)",
        "cosine": "cosine similarity (higher is nearer)",
        "pca-256": "distance (lower is nearer)",
        "pca_whitening-256": "cosine similarity (higher is nearer)",
        "whitening": "cosine similarity (higher is nearer)",
        "autoencoder-256": "distance (lower is nearer)",
        "umap-2": "distance (lower is nearer)",
    }
