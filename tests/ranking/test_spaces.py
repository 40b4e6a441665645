"""Spaces are fitted on the gallery alone, and each does what its name says."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from retrieval.embeddings.embedding import Embeddings
from retrieval.errors import Unavailable
from retrieval.protocols import PROTOCOLS, Space, find_protocol
from retrieval.ranking import neighbours as ranked
from retrieval.ranking import spaces
from retrieval.roots import Roots

SPACED = ["pca-3", "pca_whitening-3", "whitening", "autoencoder-4", "umap-2"]


def vectors(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Vectors whose values hang together, float32, from the same source whatever the seed."""
    mix = np.random.default_rng(99).standard_normal((length, length))
    return (np.random.default_rng(seed).standard_normal((count, length)) @ mix + 3).astype(np.float32)


def embeddings(rows: np.ndarray, mark: str) -> Embeddings:
    return Embeddings(rows, mark, True)


def test_pca_keeps_the_axis_of_most_variance_by_hand():
    rows = np.array([[0, 0], [4, 0], [2, 1], [2, -1]], np.float32)
    fitted = spaces.fit(Space("pca", 1), rows)
    np.testing.assert_allclose(fitted.gallery, [[-2], [2], [0], [0]], atol=1e-6)
    np.testing.assert_allclose(fitted.apply(np.array([[3, 50]], np.float32)), [[1]], atol=1e-6)
    assert fitted.facts == {"kind": "pca", "dimensions": 1, "variance": pytest.approx(0.8), "shrinkage": None}


@pytest.mark.parametrize(("count", "length"), [(200, 12), (12, 200)])
def test_pca_has_the_distances_of_scikit_learn(count, length):
    rows, others = vectors(count, length), vectors(5, length, seed=1)
    fitted, known = spaces.fit(Space("pca", 6), rows), PCA(6, svd_solver="full").fit(rows.astype(np.float64))
    ours = np.linalg.norm(fitted.apply(others)[:, None] - fitted.gallery, axis=2)
    theirs = np.linalg.norm(known.transform(others)[:, None] - known.transform(rows), axis=2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert fitted.facts["variance"] == pytest.approx(known.explained_variance_ratio_.sum())


@pytest.mark.parametrize(("count", "length", "kept"), [(5, 40, 4), (40, 5, 5), (400, 300, 256)])
def test_no_more_dimensions_are_kept_than_the_gallery_spans(count, length, kept):
    for kind in ("pca", "pca_whitening"):
        fitted = spaces.fit(Space(kind, 256), vectors(count, length))
        assert fitted.gallery.shape == (count, kept) and fitted.facts["dimensions"] == kept


def test_whitening_gives_the_gallery_the_same_spread_everywhere():
    rows = vectors(20_000, 6)
    white = spaces.fit(Space("whitening"), rows)
    np.testing.assert_allclose(np.cov(white.gallery.T), np.eye(6), atol=0.02)
    assert 0 < white.facts["shrinkage"] < 0.01
    axes = spaces.fit(Space("pca_whitening", 4), rows)
    np.testing.assert_allclose(np.cov(axes.gallery.T), np.eye(4), atol=1e-5)


def test_whitening_of_few_long_vectors_is_shrunk_so_that_distances_still_differ():
    rows = vectors(20, 300)
    plain, shrunk = (spaces.fit(space, rows).gallery for space in (Space("pca_whitening", 300), Space("whitening")))
    apart = [np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(20, 1)] for places in (plain, shrunk)]
    assert np.ptp(apart[0]) < 1e-3 * apart[0].mean()  # as far from each other, all of them
    assert np.ptp(apart[1]) > 0.05 * apart[1].mean()


def test_what_a_query_has_outside_of_the_gallerys_span_changes_no_order():
    rows, query = vectors(12, 60), vectors(1, 60, seed=5)
    centred = rows - rows.mean(axis=0)
    outside = np.linalg.svd(centred.astype(np.float64))[2][-1]
    for name in ("pca-5", "whitening", "pca_whitening-5"):
        protocol = find_protocol(name)
        plain, _ = ranked.rank(rows, query, protocol, k=12)
        moved, _ = ranked.rank(rows, (query + 9 * outside).astype(np.float32), protocol, k=12)
        np.testing.assert_array_equal(plain, moved)


@pytest.mark.parametrize("name", SPACED)
def test_other_queries_change_nothing(name):
    """A query finds the same alone as among others, and after others."""
    protocol, rows, queries = find_protocol(name), vectors(60, 8), vectors(7, 8, seed=1)
    together, scores = ranked.rank(rows, queries, protocol, k=9)
    ranked.rank(rows, 100 * queries, protocol, k=9)
    for number in range(7):
        alone, score = ranked.rank(rows, queries[number : number + 1], protocol, k=9)
        np.testing.assert_array_equal(alone[0], together[number])
        np.testing.assert_allclose(score[0], scores[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPACED)
def test_a_space_is_the_same_each_time(name):
    space, rows, queries = find_protocol(name).space, vectors(50, 8), vectors(3, 8, seed=1)
    first, again = spaces.fit(space, rows), spaces.fit(space, rows)
    np.testing.assert_array_equal(first.gallery, again.gallery)
    np.testing.assert_array_equal(first.apply(queries), again.apply(queries))
    assert first.gallery.dtype == first.apply(queries).dtype == np.float32


def test_an_autoencoder_keeps_what_is_near_near():
    """Two clouds far apart: the hidden values tell them apart, of queries too."""
    rows, queries = vectors(80, 10), vectors(10, 10, seed=2)
    rows[40:] += 30
    queries[5:] += 30
    found, _ = ranked.rank(rows, queries, find_protocol("autoencoder-6"), k=5)
    assert ((found >= 40) == (np.arange(10) >= 5)[:, None]).all()


def test_a_map_places_queries_among_their_like():
    rows, queries = vectors(80, 10), vectors(10, 10, seed=2)
    rows[40:] += 100
    queries[5:] += 100
    found, _ = ranked.rank(rows, queries, find_protocol("umap-2"), k=5)
    assert ((found >= 40) == (np.arange(10) >= 5)[:, None]).all()


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(Unavailable, match="umap-learn") as caught:
        spaces.fit(Space("umap", 2), vectors(20, 4))
    assert caught.value.remedy == "Run: python -m pip install umap-learn"


def test_a_space_is_remembered_by_the_gallerys_fingerprint():
    rows = vectors(20, 4)
    first = spaces.remembered(Space("pca", 2), rows, mark="a")
    assert spaces.remembered(Space("pca", 2), rows.copy(), mark="a") is first
    assert spaces.remembered(Space("pca", 3), rows, mark="a") is not first
    assert spaces.remembered(Space("pca", 2), rows, mark="b") is not first


@pytest.mark.parametrize("name", SPACED)
def test_the_same_picture_finds_the_same_when_uploaded_as_when_stored(name, empty_roots: Roots):
    protocol = find_protocol(name)
    gallery, query = embeddings(vectors(60, 8), f"g {name}"), embeddings(vectors(4, 8, seed=1), "q")
    stored = ranked.make(f"here/{name}", "mark", gallery, query, protocol, 10, empty_roots)
    uploaded, scores = ranked.rank(gallery.vectors, query.vectors[2:3], protocol, k=10, mark=gallery.fingerprint)
    np.testing.assert_array_equal(uploaded[0], stored.indices[2])
    np.testing.assert_allclose(scores[0], stored.scores[2], rtol=1e-4)
    assert stored.meta["space"]["kind"] == protocol.space.kind


def test_gallery_pictures_lie_where_they_lie_for_queries_and_leave_themselves_out(empty_roots: Roots):
    protocol, gallery = find_protocol("pca-3"), embeddings(vectors(30, 8), "own")
    stored = ranked.make("own", "mark", gallery, gallery, protocol, 29, empty_roots)
    whole, _ = ranked.rank(gallery.vectors, gallery.vectors, protocol, k=30)
    assert (whole[:, 0] == np.arange(30)).all()
    np.testing.assert_array_equal(stored.indices, whole[:, 1:])


def test_fingerprints_differ_by_space_and_dimensions_and_stay_where_there_is_none():
    names = [*(protocol.name for protocol in PROTOCOLS), "pca-64", "umap-3", "pca_whitening-64"]
    marks = {name: ranked.fingerprint_of("g", "q", find_protocol(name), 100) for name in names}
    assert len(set(marks.values())) == len(names)


def test_the_estimate_grows_with_what_is_asked():
    asked = {"count": 500, "length": 1024, "queries": 100}
    none, pca, learned, placed = (
        spaces.products(find_protocol(name).space, **asked) for name in ("paper", "pca-64", "autoencoder-64", "umap-2")
    )
    assert none == 0 < pca < learned < placed
