"""The metrics against a table worked by hand, a plain loop, and other libraries where their definitions agree."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from retrieval.scoring import metrics

# The query's class, its neighbours' classes, and the study's AP@5, mMV@5, ACC@1, ACC@3, ACC@5, each worked by hand.
BY_HAND = [
    (1, [1, 1, 0, 1, 0], (1 / 1 + 2 / 2 + 3 / 4) / 3, 1, 1, 1, 1),
    (0, [1, 1, 0, 1, 0], (1 / 3 + 2 / 5) / 2, 0, 0, 1, 1),
    (3, [0, 1, 2, 4, 3], 1 / 5, 1, 0, 0, 1),
    (2, [1, 1, 2, 2, 0], (1 / 3 + 2 / 4) / 2, 1, 0, 1, 1),
    (0, [1, 1, 2, 2, 0], 1 / 5, 0, 0, 0, 1),
    (3, [0, 0, 0, 0, 0], 0, 0, 0, 0, 0),
    (1, [1, 0, 0, 0, 0], 1, 0, 1, 1, 1),
]

RANKINGS = st.integers(2, 6).flatmap(
    lambda n: st.tuples(st.integers(0, n - 1), st.lists(st.integers(0, n - 1), min_size=5, max_size=8))
)


def _one_hot(labels: np.ndarray, n_classes: int = 6) -> np.ndarray:
    return labels[..., None] == np.arange(n_classes)


def _random(seed: int, *, queries: int = 60, depth: int = 5, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, size=queries), rng.integers(0, classes, size=(queries, depth))


def _gains(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (labels == truth[:, None]).astype(np.float64)


def _votes(labels: np.ndarray) -> np.ndarray:
    return metrics.vote_counts(_one_hot(labels))


@pytest.mark.parametrize(("y", "labels", "ap", "vote", "acc1", "acc3", "acc5"), BY_HAND)
def test_the_study_s_metrics_as_worked_by_hand(y, labels, ap, vote, acc1, acc3, acc5):
    truth, neighbours = np.array([y]), np.array([labels])
    gains = _gains(truth, neighbours)
    assert metrics.average_precision_found(gains, k=5)[0] == pytest.approx(ap, abs=1e-15)
    assert metrics.tied_vote(_votes(neighbours), _one_hot(truth)).tolist() == [bool(vote)]
    assert [bool(metrics.hit(gains, k=k)[0]) for k in (1, 3, 5)] == [bool(acc1), bool(acc3), bool(acc5)]


def test_the_strict_vote_gives_a_tie_to_the_nearest():
    neighbours = np.array([[0, 1, 2, 4, 3], [1, 1, 2, 2, 0], [0, 2, 2, 1, 1], [3, 3, 3, 0, 0]])
    assert metrics.strict_winner(_one_hot(neighbours)).tolist() == [0, 1, 2, 3]
    assert metrics.strict_vote(_one_hot(neighbours), _one_hot(np.array([3, 1, 1, 3]))).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_a_neighbour_votes_for_each_of_its_findings():
    # Findings 0, 1 and the lack of any (2): two votes for 0, three for 1, one for none.
    neighbours = np.array([[[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0]]], dtype=bool)
    votes = metrics.vote_counts(neighbours)
    assert votes.tolist() == [[2, 3, 1]]
    assert metrics.tied_vote(votes, np.array([[True, True, False]])).tolist() == [True]
    assert metrics.tied_vote(votes, np.array([[True, False, False]])).tolist() == [False]


def test_a_tie_within_the_nearest_neighbour_s_findings_goes_to_the_lower_number():
    neighbours = np.array([[[0, 1, 1], [0, 1, 1], [1, 0, 0]]], dtype=bool)
    assert metrics.strict_winner(neighbours).tolist() == [1]


def test_textbook_average_precision_counts_what_was_not_found():
    gains = np.array([[1.0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]])
    relevant = np.array([100, 3, 0, 1])
    expected = [1 / 5, (1 + 2 / 3) / 3, 0, 1 / 5]
    assert metrics.average_precision(gains, relevant, k=5).tolist() == pytest.approx(expected)


def test_graded_ndcg_by_hand():
    gains, best = np.array([[0.5, 1.0, 0.0]]), np.array([[1.0, 1.0, 0.5]])
    dcg, ideal = 0.5 + 1 / math.log2(3), 1 + 1 / math.log2(3) + 0.5 / 2
    assert metrics.ndcg(gains, best, k=3)[0] == pytest.approx(dcg / ideal)
    assert metrics.ndcg(np.zeros((1, 3)), np.zeros((1, 3)), k=3).tolist() == [0]


def _loop(y: int, labels: list[int], k: int) -> dict[str, float]:
    """Every metric of one query, written down as its definition says."""
    found, precisions = 0, []
    for rank, label in enumerate(labels[:k], start=1):
        if label == y:
            found += 1
            precisions.append(found / rank)
    votes = Counter(labels[:k])
    most = max(votes.values())
    tied = [label for label in labels[:k] if votes[label] == most]
    first = labels[:k].index(y) + 1 if found else 0
    return {
        "found": sum(precisions) / found if found else 0.0,
        "textbook": sum(precisions) / min(k, labels.count(y)) if y in labels else 0.0,
        "precision": found / k,
        "hit": float(found > 0),
        "first": float(first),
        "reciprocal": 1 / first if first else 0.0,
        "tied": float(y in tied),
        "strict": float(tied[0] == y),
        "ndcg": sum(1 / math.log2(rank + 1) for rank, label in enumerate(labels[:k], start=1) if label == y)
        / (sum(1 / math.log2(rank + 1) for rank in range(1, min(k, labels.count(y)) + 1)) or 1.0),
    }


@given(RANKINGS, st.integers(1, 5))
def test_every_metric_equals_a_plain_loop(ranking, k):
    y, labels = ranking  # the whole list serves as the gallery, so what is relevant in it is its count
    truth, neighbours = np.array([y]), np.array([labels])
    gains, relevant = _gains(truth, neighbours), np.array([labels.count(y)])
    best = -np.sort(-gains, axis=1)
    near = _one_hot(neighbours[:, :k])
    found = {
        "found": metrics.average_precision_found(gains, k=k),
        "textbook": metrics.average_precision(gains, relevant, k=k),
        "precision": metrics.precision(gains, k=k),
        "hit": metrics.hit(gains, k=k),
        "first": metrics.first_rank(gains, k=k),
        "reciprocal": metrics.reciprocal_rank(gains, k=k),
        "tied": metrics.tied_vote(metrics.vote_counts(near), _one_hot(truth)),
        "strict": metrics.strict_vote(near, _one_hot(truth)),
        "ndcg": metrics.ndcg(gains, best, k=k),
    }
    assert {name: float(value[0]) for name, value in found.items()} == pytest.approx(_loop(y, labels, k))


def test_queries_do_not_touch_each_other():
    truth, labels = _random(3)
    order = np.random.default_rng(4).permutation(len(truth))
    gains = _gains(truth, labels)
    for metric in (metrics.average_precision_found, metrics.precision, metrics.hit, metrics.reciprocal_rank):
        assert np.array_equal(metric(gains, k=5)[order], metric(gains[order], k=5))
        assert np.array_equal(metric(gains, k=5)[7:8], metric(gains[7:8], k=5))


def test_names_of_classes_do_not_matter():
    truth, labels = _random(5)
    renamed = np.array([2, 0, 3, 1])
    for metric in (metrics.strict_vote, lambda near, own: metrics.tied_vote(metrics.vote_counts(near), own)):
        before = metric(_one_hot(labels), _one_hot(truth))
        assert np.array_equal(before, metric(_one_hot(renamed[labels]), _one_hot(renamed[truth])))
        assert 0 < before.sum() < len(before)


def test_order_within_the_list_matters_only_where_it_should():
    truth, labels = _random(6)
    turned = labels[:, ::-1]
    gains, back = _gains(truth, labels), _gains(truth, turned)
    own = _one_hot(truth)
    assert np.array_equal(metrics.precision(gains, k=5), metrics.precision(back, k=5))
    assert np.array_equal(metrics.hit(gains, k=5), metrics.hit(back, k=5))
    assert np.array_equal(metrics.tied_vote(_votes(labels), own), metrics.tied_vote(_votes(turned), own))
    assert not np.array_equal(metrics.average_precision_found(gains, k=5), metrics.average_precision_found(back, k=5))
    assert not np.array_equal(metrics.strict_vote(_one_hot(labels), own), metrics.strict_vote(_one_hot(turned), own))


def test_what_holds_between_the_metrics():
    for pattern in itertools.product([0.0, 1.0], repeat=5):
        gains = np.array([pattern])
        hits = [metrics.hit(gains, k=k)[0] for k in (1, 3, 5)]
        assert hits == sorted(hits)
        textbook = metrics.average_precision(gains, np.array([1000]), k=5)[0]
        assert textbook <= metrics.average_precision_found(gains, k=5)[0]
        assert 0 <= textbook <= metrics.ndcg(gains, np.ones((1, 5)), k=5)[0] <= 1


def test_metrics_agree_with_torchmetrics():
    import torch
    from torchmetrics.functional import retrieval as other

    truth, labels = _random(7, depth=12)
    gains = _gains(truth, labels)
    scores = torch.linspace(1.0, 0.1, labels.shape[1])  # falling and positive: the order of the list
    best = -np.sort(-gains, axis=1)
    pairs = [
        (metrics.average_precision_found(gains, k=5), other.retrieval_average_precision),  # it divides by what it found
        (metrics.precision(gains, k=5), other.retrieval_precision),
        (metrics.reciprocal_rank(gains, k=5), other.retrieval_reciprocal_rank),
        (metrics.hit(gains, k=5), other.retrieval_hit_rate),
        (metrics.ndcg(gains, best, k=5), other.retrieval_normalized_dcg),
    ]
    for ours, theirs in pairs:
        expected = [float(theirs(scores, torch.from_numpy(row > 0), top_k=5)) for row in gains]
        assert ours.astype(float).tolist() == pytest.approx(expected, abs=1e-6)


def test_graded_ndcg_agrees_with_scikit_learn():
    rng = np.random.default_rng(8)
    graded = rng.integers(0, 5, size=(40, 9)) / 4
    falling = np.tile(np.arange(9, 0, -1.0), (40, 1))
    best = -np.sort(-graded, axis=1)
    expected = [
        sklearn.metrics.ndcg_score(row[None], order[None], k=5) for row, order in zip(graded, falling, strict=True)
    ]
    assert metrics.ndcg(graded, best, k=5).tolist() == pytest.approx(expected)


def test_metrics_agree_with_pytorch_metric_learning():
    import torch
    from pytorch_metric_learning.utils import accuracy_calculator as other

    truth, labels = _random(9, classes=3, queries=80, depth=6)
    gains = _gains(truth, labels)
    theirs = {"knn_labels": torch.from_numpy(labels)[..., None], "gt_labels": torch.from_numpy(truth)[:, None]}
    rules = {"avg_of_avgs": False, "return_per_class": False}
    rules["label_comparison_fn"] = lambda query, near: (query[:, None] == near).all(dim=-1)
    # It divides by all that is relevant, so it agrees where that is not more than k.
    held = np.array([3, 4, 6])
    counts = (torch.arange(3)[:, None], torch.from_numpy(held))
    ap = other.mean_average_precision(**theirs, **rules, ref_includes_query=False, label_counts=counts)
    assert metrics.average_precision(gains, held[truth], k=6).mean() == pytest.approx(ap)
    assert metrics.precision(gains, k=4).mean() == pytest.approx(other.precision_at_k(**theirs, **rules, k=4))
    assert metrics.reciprocal_rank(gains, k=6).mean() == pytest.approx(other.mean_reciprocal_rank(**theirs, **rules))
    balanced = other.precision_at_k(**theirs, **{**rules, "avg_of_avgs": True}, k=1)
    assert metrics.balanced_accuracy(metrics.hit(gains, k=1), _one_hot(truth)) == pytest.approx(balanced)


def test_classification_of_the_first_neighbour_agrees_with_scikit_learn():
    truth, labels = _random(10, classes=5)
    first = np.where(np.arange(len(truth)) % 3 > 0, truth, labels[:, 0])  # better than chance
    assert metrics.quadratic_kappa(first, truth, n_classes=5) == pytest.approx(
        sklearn.metrics.cohen_kappa_score(truth, first, weights="quadratic", labels=range(5))
    )
    assert metrics.balanced_accuracy(first == truth, _one_hot(truth)) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(truth, first)
    )
    assert metrics.absolute_error(first, truth).mean() == pytest.approx(
        sklearn.metrics.mean_absolute_error(truth, first)
    )


def test_kappa_at_its_ends_and_where_it_is_not_defined():
    grades = np.array([0, 1, 2, 3, 4, 0])
    assert metrics.quadratic_kappa(grades, grades, n_classes=5) == pytest.approx(1)
    assert metrics.quadratic_kappa(np.array([1, 0]), np.array([0, 1]), n_classes=2) == pytest.approx(-1)
    assert metrics.quadratic_kappa(np.array([2, 2, 2]), np.array([2, 2, 2]), n_classes=5) is None


def test_absolute_error_does_not_wrap_around_in_unsigned_grades():
    assert metrics.absolute_error(np.array([0], dtype=np.uint8), np.array([4], dtype=np.uint8)).tolist() == [4]


def test_balanced_accuracy_passes_over_classes_that_no_query_has():
    right, truth = np.array([True, True, False, False]), np.array([0, 0, 0, 2])
    assert metrics.balanced_accuracy(right, _one_hot(truth, 4)) == pytest.approx((2 / 3 + 0) / 2)


def test_lists_shorter_than_k_are_read_as_if_the_rest_were_irrelevant():
    gains = np.array([[1.0, 1.0, 0.0]])
    longer = np.array([[1.0, 1.0, 0.0, 0.0, 0.0]])
    best = np.ones((1, 5))
    assert metrics.precision(gains, k=5) == metrics.precision(longer, k=5) == 0.4
    assert metrics.average_precision(gains, np.array([9]), k=5) == metrics.average_precision(longer, np.array([9]), k=5)
    assert metrics.ndcg(gains, best, k=5) == pytest.approx(metrics.ndcg(longer, best, k=5))
