"""What the product says when it says no."""

import pytest

from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.errors import BadInput, Busy, RetrievalError, Unavailable, UnknownName
from retrieval.protocols import PROTOCOLS, find_protocol


def test_message_and_remedy_are_one_text():
    error = Unavailable("There is no file.", remedy="Fetch it.")
    assert (error.message, error.remedy, str(error)) == (
        "There is no file.",
        "Fetch it.",
        "There is no file. Fetch it.",
    )
    assert str(BadInput("It is empty.")) == "It is empty."


@pytest.mark.parametrize("kind", [UnknownName, Unavailable, BadInput, Busy])
def test_every_no_is_caught_as_one(kind: type):
    assert issubclass(kind, RetrievalError)


@pytest.mark.parametrize(
    ("given", "meant"), [("brestmnist", "breastmnist"), ("BreastMNIST", "breastmnist"), ("retina", "retinamnist")]
)
def test_a_misspelt_dataset_is_suggested_and_all_are_listed(given: str, meant: str):
    with pytest.raises(UnknownName) as caught:
        find_dataset(given)
    assert caught.value.message == f"There is no dataset named {given!r}."
    assert f"Did you mean {meant!r}?" in caught.value.remedy
    listed = caught.value.remedy.split("Valid: ")[1].removesuffix(".").split(", ")
    assert listed == [dataset.name for dataset in DATASETS]


@pytest.mark.parametrize(
    ("given", "meant"), [("EfficientNet-Lite0", "efficientnet_lite0"), ("DenseNet-121", "densenet121")]
)
def test_a_misspelt_extractor_is_suggested_and_all_are_listed(given: str, meant: str):
    with pytest.raises(UnknownName) as caught:
        find_encoder(given)
    assert f"Did you mean {meant!r}?" in caught.value.remedy
    assert all(spec.name in caught.value.remedy for spec in ENCODERS)


def test_a_misspelt_protocol_is_suggested_and_all_are_listed():
    with pytest.raises(UnknownName) as caught:
        find_protocol("cosinus")
    assert "Did you mean 'cosine'?" in caught.value.remedy
    assert all(protocol.name in caught.value.remedy for protocol in PROTOCOLS)


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(UnknownName) as caught:
        find_protocol("xyz")
    assert caught.value.remedy.startswith("Valid: paper, cosine, pca-256, ")


@pytest.mark.parametrize("given", ["", "../breastmnist", "breastmnist/28", "a\nb", 28, None])
def test_whatever_is_given_as_a_name_is_answered_in_one_line(given: object):
    with pytest.raises(UnknownName) as caught:
        find_dataset(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_sizes_are_names_like_others():
    error = UnknownName("size of breastmnist", 46, (28, 64, 128, 224))
    assert error.message == "There is no size of breastmnist named '46'."
    assert error.remedy.endswith("Valid: 28, 64, 128, 224.")
