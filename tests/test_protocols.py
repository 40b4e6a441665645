"""The named protocols, and those with a number of dimensions of one's own."""

import pytest

from retrieval.errors import Unavailable, UnknownName
from retrieval.protocols import MOST_DIMENSIONS, PROTOCOLS, Space, find_protocol


def test_every_named_protocol_is_found_and_the_studys_has_no_space():
    assert all(find_protocol(protocol.name) is protocol for protocol in PROTOCOLS)
    assert find_protocol("paper").space == find_protocol("cosine").space == Space("none", None)


def test_any_number_of_dimensions_can_be_asked_for():
    assert find_protocol("pca-64").space == Space("pca", 64)
    assert find_protocol("pca-64").title == "PCA to 64 dimensions"
    assert find_protocol("pca_whitening-1").space == Space("pca_whitening", 1)
    assert find_protocol("pca_whitening-1").similarity == "cosine"
    assert find_protocol("autoencoder-32").space == Space("autoencoder", 32)
    assert "the 32 hidden values" in find_protocol("autoencoder-32").about
    assert find_protocol(f"umap-{MOST_DIMENSIONS}").space == Space("umap", 4096)


@pytest.mark.parametrize(
    "name", ["pca-0", "pca-4097", "pca-064", "pca--3", "pca-", "pca-x", "pca-256/..", "whitening-3", "pca-٣", "pca-3\n"]
)
def test_a_number_that_does_not_fit_is_answered_with_the_form(name):
    with pytest.raises(UnknownName) as caught:
        find_protocol(name)
    assert "pca-N, pca_whitening-N, autoencoder-N or umap-N with N from 1 to 4096" in caught.value.remedy


@pytest.mark.parametrize("name", ["tsne", "tsne-2", "tsne-50"])
def test_tsne_is_said_to_be_impossible_and_why_the_study_has_it(name):
    with pytest.raises(Unavailable) as caught:
        find_protocol(name)
    assert "no mapping for a new query" in caught.value.message
    assert "S.5 and S.6" in caught.value.message and "different spaces" in caught.value.message
    assert "pca-2" in caught.value.remedy and "umap-2" in caught.value.remedy
