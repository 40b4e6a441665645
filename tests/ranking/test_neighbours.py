from dataclasses import replace

import numpy as np
import pytest

from retrieval.embeddings.embedding import Embeddings
from retrieval.protocols import find_protocol
from retrieval.ranking import neighbours as ranked
from retrieval.ranking.neighbours import Neighbours
from retrieval.roots import Roots

PAPER, COSINE = find_protocol("paper"), find_protocol("cosine")


def table(*rows: list[int]) -> Neighbours:
    """Neighbours whose scores tell where they stood: 0.0, 0.1, ..."""
    indices = np.array(rows, np.int32)
    return Neighbours(indices, np.tile(np.arange(indices.shape[1], dtype=np.float32) / 10, (len(rows), 1)), "mark")


def embeddings(vectors: np.ndarray, mark: str) -> Embeddings:
    return Embeddings(vectors.astype(np.float32), mark, True)


#            gallery item: 0  1  2  3  4  5
GROUPS = np.array([10, 11, 11, 12, 13, 11])


@pytest.mark.parametrize(
    ("query_group", "kept", "scores"),
    [
        (99, [1, 0, 2], [0.0, 0.1, 0.2]),  # nobody is of the query's group
        (10, [1, 2, 5], [0.0, 0.2, 0.3]),
        (11, [0, 3, 4], [0.1, 0.4, 0.5]),  # three of six, one of them the nearest
        (13, [1, 0, 2], [0.0, 0.1, 0.2]),  # its only kin stands last
    ],
)
def test_a_group_is_left_out_and_the_rest_keeps_its_order(query_group, kept, scores):
    left = table([1, 0, 2, 5, 3, 4]).leave_out(GROUPS, np.array([query_group]), k=3)
    np.testing.assert_array_equal(left.indices, [kept])
    np.testing.assert_allclose(left.scores, [scores], rtol=1e-6)
    assert left.fingerprint == "mark"


def test_each_query_leaves_out_its_own_group():
    left = table([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]).leave_out(GROUPS, np.array([10, 11]), k=2)
    np.testing.assert_array_equal(left.indices, [[1, 2], [4, 3]])


def test_a_list_that_does_not_reach_beyond_the_group_is_refused():
    lists = table([1, 2, 5, 0])
    np.testing.assert_array_equal(lists.leave_out(GROUPS, np.array([11]), k=1).indices, [[0]])
    with pytest.raises(ValueError, match="the 4 stored neighbours do not reach"):
        lists.leave_out(GROUPS, np.array([11]), k=2)
    with pytest.raises(ValueError, match="do not reach"):
        lists.leave_out(GROUPS, np.array([99]), k=5)


def test_it_says_which_lists_reach_beyond_the_group():
    lists = table([1, 2, 5, 0], [1, 2, 5, 0], [0, 3, 4, 1])
    np.testing.assert_array_equal(lists.reaching(GROUPS, np.array([11, 10, 99]), k=1), [True, True, True])
    np.testing.assert_array_equal(lists.reaching(GROUPS, np.array([11, 10, 99]), k=2), [False, True, True])


def test_volumes_are_ranked_by_their_slices_in_order():
    """The same slices in another order are another volume."""
    slices = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    gallery, queries = np.concatenate([slices[:, ::-1], slices]), slices + 0.1
    indices, scores = ranked.rank(gallery, queries, PAPER, k=2)
    np.testing.assert_array_equal(indices, [[1, 0]])
    np.testing.assert_allclose(scores[0, 0], np.sqrt(6 * 0.01), rtol=1e-5)
    np.testing.assert_array_equal(ranked.matrix(slices), [[0, 1, 2, 3, 4, 5]])


def test_the_protocol_decides_what_is_near():
    gallery, query = np.array([[1.0, 1], [9, 0]], np.float32), np.array([[2.0, 0]], np.float32)
    assert ranked.rank(gallery, query, PAPER, k=1)[0].tolist() == [[0]]
    assert ranked.rank(gallery, query, COSINE, k=1)[0].tolist() == [[1]]


def test_more_neighbours_than_there_are_cannot_be_had():
    assert ranked.rank(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), PAPER, k=100)[0].shape == (3, 3)


def test_what_is_made_is_found_again(empty_roots: Roots):
    rng = np.random.default_rng(0)
    gallery, query = embeddings(rng.normal(size=(30, 4)), "gallery"), embeddings(rng.normal(size=(5, 4)), "query")
    key = ranked.key_of("set/28/pixels/paper", "test")
    assert ranked.stored(key, "mark", empty_roots) is None
    made = ranked.make(key, "mark", gallery, query, PAPER, 20, empty_roots)
    assert made.indices.shape == made.scores.shape == (5, 20)
    np.testing.assert_array_equal(made.indices, ranked.rank(gallery.vectors, query.vectors, PAPER, k=20)[0])
    for roots in (empty_roots, replace(empty_roots, precomputed=empty_roots.cache, cache=empty_roots.data[0])):
        found = ranked.stored(key, "mark", roots)
        assert found is not None and found.fingerprint == "mark"
        np.testing.assert_array_equal(found.indices, made.indices)
        np.testing.assert_array_equal(found.scores, made.scores)
    assert ranked.stored(key, "another", empty_roots) is None
    assert ranked.stored(ranked.key_of("set/28/pixels/paper", "train"), "mark", empty_roots) is None


def test_in_the_gallery_each_picture_leaves_itself_out_by_index(empty_roots: Roots):
    vectors = np.array([[0.0], [0], [5], [6]])
    gallery = embeddings(vectors, "gallery")
    made = ranked.make("key", "mark", gallery, gallery, PAPER, 3, empty_roots)
    np.testing.assert_array_equal(made.indices, [[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
    assert made.scores[0, 0] == 0  # an identical picture is still a neighbour


def test_whatever_changes_a_ranking_changes_its_fingerprint():
    marks = {
        ranked.fingerprint_of("a", "b", PAPER, 100),
        ranked.fingerprint_of("a", "c", PAPER, 100),
        ranked.fingerprint_of("c", "b", PAPER, 100),
        ranked.fingerprint_of("a", "b", COSINE, 100),
        ranked.fingerprint_of("a", "b", PAPER, 99),
    }
    assert len(marks) == 5
    renamed = replace(PAPER, name="other", title="Other", about="", source="", k=3)
    assert ranked.fingerprint_of("a", "b", renamed, 100) == ranked.fingerprint_of("a", "b", PAPER, 100)
