"""The axes of a gallery and its shrinkage, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA

from retrieval.errors import Unavailable
from retrieval.ranking import axes
from retrieval.ranking.axes import principal_axes, shrinkage, shrunk_variances


def gallery(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Vectors whose values hang together, float32."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((count, length)) @ random.standard_normal((length, length)) + 3
    return mixed.astype(np.float32)


def test_two_axes_by_hand():
    found = principal_axes(np.array([[0, 0], [4, 0], [2, 1], [2, -1]], np.float32))
    np.testing.assert_allclose(found.mean, [2, 0])
    np.testing.assert_allclose(found.directions, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(found.variances, [8 / 3, 2 / 3])
    assert found.first(1).share() == pytest.approx(0.8)


@pytest.mark.parametrize(("count", "length"), [(200, 12), (12, 200), (20, 20)])
def test_coordinates_are_those_of_scikit_learn(count, length):
    rows, others = gallery(count, length).astype(np.float64), gallery(5, length, seed=1)
    kept = min(count - 1, length)
    found, known = principal_axes(rows), PCA(kept, svd_solver="full").fit(rows)
    np.testing.assert_allclose(found.variances, known.explained_variance_, rtol=1e-6)
    turned = np.sign((found.directions * known.components_.T).sum(axis=0))  # versions differ in the rule of sign
    np.testing.assert_allclose(found.coordinates(others), known.transform(others) * turned, rtol=1e-5, atol=1e-5)
    largest = found.directions[np.abs(found.directions).argmax(axis=0), np.arange(kept)]
    assert (largest > 0).all()


def test_both_ways_to_the_axes_agree(monkeypatch):
    rows = gallery(40, 60)
    mean = rows.mean(axis=0, dtype=np.float64)
    monkeypatch.setattr(axes, "BLOCK_BYTES", 8 * 60 * 7)  # several blocks, the last one shorter
    by_pictures, by_values = axes._by_pictures(rows, mean), axes._by_values(rows, mean)
    np.testing.assert_allclose(by_pictures[0], by_values[0], rtol=1e-9)
    signed = axes._signed(by_pictures[1]), axes._signed(by_values[1])
    np.testing.assert_allclose(*signed, atol=1e-7)


@pytest.mark.parametrize(("count", "length"), [(300, 10), (10, 300), (50, 50)])
def test_shrinkage_is_that_of_scikit_learn(count, length):
    rows = gallery(count, length).astype(np.float64)
    covariance, intensity = ledoit_wolf(rows)
    found = principal_axes(rows)
    assert shrinkage(found) == pytest.approx(intensity, rel=1e-8)
    shrunk = shrunk_variances(found, shrinkage(found))
    inside = found.directions.T @ covariance @ found.directions
    np.testing.assert_allclose(inside, np.diag(shrunk), atol=1e-8 * shrunk[0])


def test_pictures_that_are_all_the_same_have_one_axis_and_no_variance():
    found = principal_axes(np.full((4, 3), 7, np.float32))
    assert found.variances.tolist() == [0.0]
    assert found.share() == 1.0 and shrinkage(found) == 0.0
    np.testing.assert_array_equal(found.coordinates(np.full((2, 3), 7, np.float32)), np.zeros((2, 1)))


def test_axes_without_variance_are_left_out():
    rows = gallery(50, 4)
    doubled = np.concatenate([rows, rows, np.ones((50, 3), np.float32)], axis=1)
    assert len(principal_axes(doubled).variances) == 4


def test_what_would_take_hours_is_refused(monkeypatch):
    monkeypatch.setattr(axes, "LARGEST", 10)
    assert len(principal_axes(gallery(20, 10)).variances) == 10
    with pytest.raises(Unavailable, match="20 vectors of 11 values"):
        principal_axes(gallery(20, 11))
