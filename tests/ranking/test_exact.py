from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.ranking import exact
from retrieval.roots import Roots

SIMILARITIES = ("euclidean", "cosine")
FEW = settings(max_examples=60, deadline=None)


def brute(gallery: np.ndarray, query: np.ndarray, similarity: str) -> np.ndarray:
    """The score of every gallery row, lower is nearer, in float64: exact where all values are small whole numbers."""
    rows, query = gallery.astype(np.float64), query.astype(np.float64)
    if similarity == "euclidean":
        return ((rows - query) ** 2).sum(axis=1)
    norms = np.sqrt((rows**2).sum(axis=1) * (query**2).sum())
    return -np.divide((rows * query).sum(axis=1), norms, out=np.zeros(len(rows)), where=norms > 0)


def check(gallery: np.ndarray, queries: np.ndarray, k: int, similarity: str) -> None:
    indices, scores = exact.nearest(gallery, queries, k=k, similarity=similarity)
    assert indices.dtype == np.int32 and scores.dtype == np.float32
    assert indices.shape == scores.shape == (len(queries), k)
    for row, query in enumerate(queries):
        expected = brute(gallery, query, similarity)
        order = np.argsort(expected, kind="stable")[:k]
        np.testing.assert_array_equal(indices[row], order)
        shown = np.sqrt(expected[order]) if similarity == "euclidean" else -expected[order]
        np.testing.assert_allclose(scores[row], shown, rtol=1e-6, atol=1e-7)


def whole(rng: np.random.Generator, *shape: int, high: int = 4) -> np.ndarray:
    return rng.integers(0, high, shape).astype(np.float32)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Small whole numbers, so that ties, duplicates and zero vectors abound and float64 is exact."""
    length, n, q = draw(st.integers(1, 5)), draw(st.integers(1, 150)), draw(st.integers(1, 4))
    values = st.integers(-2, 2).map(float)
    gallery = draw(arrays.arrays(np.float32, (n, length), elements=values))
    queries = draw(arrays.arrays(np.float32, (q, length), elements=values))
    return gallery, queries, draw(st.integers(1, n))


@pytest.mark.parametrize("similarity", SIMILARITIES)
@FEW
@given(problem=problems())
def test_equals_brute_force_with_ties_to_the_lower_index(similarity, problem):
    check(*problem, similarity)


@FEW
@given(problem=problems())
def test_neighbours_among_the_others_equal_brute_force(problem):
    rows, _, k = problem
    if len(rows) < 2:
        return
    for similarity in SIMILARITIES:
        indices, _ = exact.nearest_others(rows, k=k, similarity=similarity)
        for row, found in enumerate(indices):
            scores = brute(rows, rows[row], similarity)
            others = [index for index in np.argsort(scores, kind="stable") if index != row]
            np.testing.assert_array_equal(found, others[: min(k, len(rows) - 1)])


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("high", [2, 4, 256])
@pytest.mark.parametrize(("n", "length", "k"), [(3000, 6, 5), (3000, 6, 100), (700, 784, 5), (5000, 1, 5), (65, 3, 65)])
def test_equals_brute_force_on_whole_numbers(similarity, high, n, length, k):
    rng = np.random.default_rng(n + length + high)
    check(whole(rng, n, length, high=high), whole(rng, 20, length, high=high), k, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_many_more_identical_rows_than_candidates(similarity):
    rng = np.random.default_rng(0)
    gallery = np.concatenate([whole(rng, 50, 8), np.tile(whole(rng, 1, 8), (500, 1)), whole(rng, 50, 8)])
    check(gallery, np.concatenate([gallery[[60]], whole(rng, 10, 8)]), 100, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("value", [0, 3, 0.1])
def test_a_gallery_of_one_picture_many_times_is_answered_in_order(similarity, value):
    gallery = np.full((300, 9), value, np.float32)
    indices, _ = exact.nearest(gallery, gallery[:2], k=300, similarity=similarity)
    np.testing.assert_array_equal(indices, np.tile(np.arange(300), (2, 1)))
    others, _ = exact.nearest_others(gallery, k=100, similarity=similarity)
    for row in (0, 50, 100, 299):
        np.testing.assert_array_equal(others[row], [index for index in range(300) if index != row][:100])


def test_plus_and_minus_zero_are_the_same_number():
    gallery = np.zeros((200, 4), np.float32)
    gallery[::2] *= -1
    check(gallery, np.ones((1, 4), np.float32), 150, "euclidean")


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_zero_vectors(similarity):
    rng = np.random.default_rng(1)
    gallery = rng.integers(-3, 4, (400, 5)).astype(np.float32)
    gallery[::3] = 0
    queries = np.concatenate([np.zeros((2, 5), np.float32), rng.integers(-3, 4, (20, 5)).astype(np.float32)])
    check(gallery, queries, 300, similarity)
    if similarity == "cosine":
        assert (exact.nearest(gallery, queries[:1], k=5, similarity="cosine")[1] == 0).all()


def test_cosine_of_whole_numbers_ties_where_the_angle_is_the_same():
    gallery = np.array([[2, 4], [1, 2], [4, 8], [1, 3], [-1, -2]], np.float32)
    indices, scores = exact.nearest(gallery, gallery[:3], k=5, similarity="cosine")
    np.testing.assert_array_equal(indices, [[0, 1, 2, 3, 4]] * 3)
    assert scores.max() == 1 and scores.min() == -1


def test_ties_are_those_of_rational_arithmetic():
    rng = np.random.default_rng(5)
    gallery, query = rng.integers(-2, 3, (200, 3)), np.array([1, 2, -1])
    gallery = gallery[np.abs(gallery).sum(axis=1) > 0]

    def key(index: int) -> tuple[Fraction, int]:
        dot = int(gallery[index] @ query)
        squared = Fraction(dot * abs(dot), int(gallery[index] @ gallery[index]))
        return -squared, index

    indices, _ = exact.nearest(
        gallery.astype(np.float32), query[None].astype(np.float32), k=len(gallery), similarity="cosine"
    )
    levels = [key(int(index))[0] for index in indices[0]]
    assert levels == sorted(levels)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("seed", range(3))
def test_small_differences_far_from_the_origin(similarity, seed):
    """In float32 the expanded square has an error of about 16 here, and the distances are below 10."""
    rng = np.random.default_rng(seed)
    gallery = (4096 + rng.integers(0, 3, (500, 16))).astype(np.float32)
    check(gallery, (4096 + rng.integers(0, 3, (20, 16))).astype(np.float32), 5, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_vectors_of_very_different_lengths(similarity):
    rng = np.random.default_rng(2)
    gallery = whole(rng, 800, 8, high=5) * (2.0 ** rng.integers(-8, 12, (800, 1))).astype(np.float32)
    queries = whole(rng, 30, 8, high=5) * (2.0 ** rng.integers(-8, 12, (30, 1))).astype(np.float32)
    check(gallery, queries, 10, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("scale", [-140, -70, -40, 60, 110])
def test_numbers_at_the_ends_of_float32(similarity, scale):
    """Their products vanish or overflow in float32; scaled by a power of two, nothing about the ranking changes."""
    rng = np.random.default_rng(3)
    gallery, queries = whole(rng, 500, 8, high=9), whole(rng, 10, 8, high=9)
    factor = np.float32(2.0**scale)
    found, _ = exact.nearest(gallery * factor, queries * factor, k=20, similarity=similarity)
    expected, _ = exact.nearest(gallery, queries, k=20, similarity=similarity)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_tiny_vectors_among_ordinary_ones(similarity):
    rng = np.random.default_rng(4)
    gallery, queries = whole(rng, 500, 8, high=9), whole(rng, 10, 8, high=9)
    gallery[::2] *= np.float32(2.0**-100)
    queries[::2] *= np.float32(2.0**-100)
    check(gallery, queries, 20, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_long_vectors_are_multiplied_in_float64(similarity):
    rng = np.random.default_rng(6)
    gallery = whole(rng, 80, exact.LONGEST_SINGLE + 5, high=2)
    gallery[40:60] = gallery[:20]
    check(gallery, np.concatenate([gallery[45:47], whole(rng, 3, gallery.shape[1], high=2)]), 10, similarity)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_identical_long_rows_are_equal_wherever_they_stand(similarity, monkeypatch):
    """Blocks of two rows and an odd gallery: no block may hold a single row, which would be summed in another order."""
    rng = np.random.default_rng(7)
    gallery = rng.normal(size=(9, 9000)).astype(np.float32)
    gallery[[4, 8]] = gallery[0]
    monkeypatch.setattr(exact, "BLOCK_BYTES", 2 * 9000 * 8)
    queries = rng.normal(size=(4, 9000)).astype(np.float32)
    indices, _ = exact.nearest(gallery, queries, k=9, similarity=similarity)
    for found in indices.tolist():
        first = found.index(0)
        assert found[first : first + 3] == [0, 4, 8]


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_memory_layout_does_not_matter(similarity, tmp_path: Path):
    rng = np.random.default_rng(8)
    gallery, queries = whole(rng, 400, 12), whole(rng, 7, 12)
    expected = exact.nearest(gallery, queries, k=30, similarity=similarity)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    wide = np.repeat(np.repeat(gallery, 2, axis=0), 3, axis=1)[::2, ::3]
    for stored in (mapped, np.asfortranarray(gallery), wide, gallery[::-1][::-1], gallery.astype(np.float64)):
        found = exact.nearest(stored, np.asfortranarray(queries), k=30, similarity=similarity)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_queries_in_blocks_are_answered_as_one_by_one(similarity, monkeypatch):
    rng = np.random.default_rng(9)
    gallery, queries = rng.normal(size=(900, 24)).astype(np.float32), rng.normal(size=(50, 24)).astype(np.float32)
    expected = exact.nearest(gallery, queries, k=7, similarity=similarity)
    alone = [exact.nearest(gallery, query[None], k=7, similarity=similarity) for query in queries]
    monkeypatch.setattr(exact, "SCORE_BYTES", 900 * 4 * 3)  # three queries a block
    monkeypatch.setattr(exact, "BLOCK_BYTES", 24 * 8 * 100)
    blocked = exact.nearest(gallery, queries, k=7, similarity=similarity)
    for part in (0, 1):
        np.testing.assert_array_equal(expected[part], np.concatenate([one[part] for one in alone]))
        np.testing.assert_array_equal(expected[part], blocked[part])


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_where_the_cut_cannot_be_proven_the_whole_gallery_is_scanned(similarity, monkeypatch):
    """Hundreds of distinct rows nearer to each other than float32 can tell, the nearest with the highest index."""
    steps = np.arange(400, 0, -1, dtype=np.float32) / 4096
    gallery = np.stack([np.full(400, 2048, np.float32), 2048 + steps], axis=1)
    query = np.array([[2048, 2048]], np.float32)
    scanned = _count_scans(monkeypatch)
    check(gallery, query, 5, similarity)
    assert exact.nearest(gallery, query, k=1, similarity=similarity)[0][0, 0] == 399
    assert scanned(400) == 2


def test_ordinary_data_are_answered_without_a_scan(monkeypatch):
    rng = np.random.default_rng(10)
    gallery, queries = rng.normal(size=(2000, 64)).astype(np.float32), rng.normal(size=(20, 64)).astype(np.float32)
    scanned = _count_scans(monkeypatch)
    for similarity in SIMILARITIES:
        check(gallery, queries, 5, similarity)
    assert sum(scanned(few) for few in range(5, 9)) == 40


def _count_scans(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """How many times so many rows were scored directly; the scoring itself is left as it is."""
    sizes: list[int] = []
    direct = exact._Gallery._exact

    def counted(self: exact._Gallery, query: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        sizes.append(len(candidates))
        return direct(self, query, candidates)

    monkeypatch.setattr(exact._Gallery, "_exact", counted)
    return sizes.count


@FEW
@given(
    values=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 4), st.integers(400, 3000)), elements=st.floats(-9, 9, width=32)
    ),
    count=st.integers(1, 6),
)
def test_the_cut_lets_enough_through(values, count):
    cut = exact._cut(values, count)
    assert ((values <= cut[:, None]).sum(axis=1) >= count).all()
    assert (cut >= np.partition(values, count - 1, axis=1)[:, count - 1]).all()


def test_a_large_gallery_is_cut_by_minima_and_still_exact():
    rng = np.random.default_rng(11)
    n = 64 * (5 + exact.SPARE) + 7
    gallery, queries = whole(rng, n, 10, high=16), whole(rng, 10, 10, high=16)
    for similarity in SIMILARITIES:
        check(gallery, queries, 5, similarity)


@pytest.mark.parametrize(("similarity", "index"), [("euclidean", faiss.IndexFlatL2), ("cosine", faiss.IndexFlatIP)])
def test_agrees_with_faiss_where_there_are_no_ties(similarity, index):
    rng = np.random.default_rng(12)
    gallery, queries = rng.normal(size=(3000, 48)).astype(np.float32), rng.normal(size=(100, 48)).astype(np.float32)
    flat = index(48)
    unit = 1.0 if similarity == "euclidean" else np.linalg.norm(gallery, axis=1, keepdims=True)
    flat.add(gallery / np.float32(1) if similarity == "euclidean" else (gallery / unit).astype(np.float32))
    _, expected = flat.search(queries, 10)
    indices, _ = exact.nearest(gallery, queries, k=10, similarity=similarity)
    assert (indices == expected).mean() > 0.999


def test_faiss_alone_is_not_exact_on_adrenal_voxels(roots: Roots, need):
    """Its batched search expands the square in float32; distances between whole numbers show it."""
    dataset = find_dataset("adrenalmnist3d")
    need(is_at_hand(dataset, 28, roots), "adrenalmnist3d at 28")
    train, test = (open_split(dataset, 28, name, roots).images for name in ("train", "test"))
    gallery, queries = (images.reshape(len(images), -1).astype(np.float32) for images in (train, test))
    flat = faiss.IndexFlatL2(gallery.shape[1])
    flat.add(gallery)
    _, by_faiss = flat.search(queries, 5)
    indices, scores = exact.nearest(gallery, queries, k=5, similarity="euclidean")
    # Products of whole numbers below 256 are exact in float64, so here the square may be expanded.
    rows, asked = gallery.astype(np.float64), queries.astype(np.float64)
    squares = (asked**2).sum(axis=1)[:, None] - 2 * asked @ rows.T + (rows**2).sum(axis=1)
    order = np.argsort(squares, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(scores, np.sqrt(np.take_along_axis(squares, order, 1)).astype(np.float32))
    assert (by_faiss != order).any(axis=1).sum() > 10


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_nobody_is_its_own_neighbour(similarity):
    rng = np.random.default_rng(13)
    rows = np.concatenate([whole(rng, 100, 6), np.tile(whole(rng, 1, 6), (200, 1)), np.zeros((200, 6), np.float32)])
    rows = rows[rng.permutation(len(rows))]
    indices, scores = exact.nearest_others(rows, k=100, similarity=similarity)
    assert not (indices == np.arange(len(rows))[:, None]).any()
    steps = np.diff(scores, axis=1)
    assert (steps >= 0).all() if similarity == "euclidean" else (steps <= 0).all()
    for row, found in enumerate(indices):
        order = np.argsort(brute(rows, rows[row], similarity), kind="stable")
        np.testing.assert_array_equal(found, order[order != row][:100])


def test_among_few_others_all_are_found():
    indices, scores = exact.nearest_others(np.array([[0.0], [3], [1]], np.float32), k=100, similarity="euclidean")
    np.testing.assert_array_equal(indices, [[2, 1], [2, 0], [0, 1]])
    np.testing.assert_array_equal(scores, [[1, 3], [2, 3], [1, 2]])


def test_a_gallery_of_one_has_no_others():
    with pytest.raises(ValueError, match="one picture"):
        exact.nearest_others(np.zeros((1, 3), np.float32), k=1, similarity="euclidean")


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_k_that_does_not_fit_is_refused(k):
    with pytest.raises(ValueError, match="between 1 and the 3 pictures"):
        exact.nearest(np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32), k=k, similarity="euclidean")


def test_no_queries_no_answers():
    indices, scores = exact.nearest(
        np.zeros((3, 2), np.float32), np.zeros((0, 2), np.float32), k=2, similarity="euclidean"
    )
    assert indices.shape == scores.shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_what_is_not_finite_is_refused(value, similarity):
    sound, broken = np.ones((70, 3), np.float32), np.ones((70, 3), np.float32)
    broken[69, 2] = value
    with pytest.raises(ValueError, match="of the gallery .* not finite"):
        exact.nearest(broken, sound, k=1, similarity=similarity)
    with pytest.raises(ValueError, match="of the queries .* not finite"):
        exact.nearest(sound, broken, k=1, similarity=similarity)


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match="mismatch|size"):
        exact.nearest(np.zeros((3, 2), np.float32), np.zeros((1, 3), np.float32), k=1, similarity="euclidean")
