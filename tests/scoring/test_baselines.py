"""Baselines against the study's data by class counts, and against drawing in every possible way."""

import itertools
from collections import Counter

import numpy as np
import pytest

from retrieval.scoring import metrics
from retrieval.scoring.baselines import blind_draw, expected_found_precision, expected_tied_vote, majority

METRICS = ("mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5")

# Items per class in gallery and queries; the constant answer; a blind draw (as METRICS), percent to two decimals.
SETS = {
    "breastmnist": ([147, 399], [42, 114], 73.08, [71.44, 67.32, 60.65, 88.07, 94.29]),
    "retinamnist": ([486, 128, 206, 194, 66], [174, 46, 92, 68, 20], 43.50, [43.14, 41.65, 28.68, 59.17, 73.74]),
    "adrenalmnist3d": ([929, 259], [229, 69], 76.85, [74.14, 72.94, 65.14, 88.13, 93.19]),
}


def _labels(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)[:, None]


@pytest.mark.parametrize("name", SETS)
def test_levels_of_the_study_s_sets(make_dataset, name):
    gallery, queries, constant, drawn = SETS[name]
    dataset = make_dataset("ordinal" if name == "retinamnist" else "classes", len(gallery))
    labels = {"gallery_labels": _labels(gallery), "query_labels": _labels(queries)}
    always, blind = majority(dataset, **labels), blind_draw(dataset, **labels)
    assert [round(always.metrics[metric], 2) for metric in METRICS] == [constant] * 5
    assert [round(blind.metrics[metric], 2) for metric in METRICS] == drawn
    assert set(always.metrics) == set(blind.metrics) == set(METRICS)
    assert dict(always.hits) == dict.fromkeys(METRICS[1:], max(queries))
    assert always.n_queries == blind.n_queries == sum(queries)
    assert not blind.hits  # expectations are no counts


def test_the_constant_answer_is_the_gallery_s_commonest_class_not_the_queries(make_dataset):
    answer = majority(make_dataset("classes", 3), gallery_labels=_labels([1, 3, 2]), query_labels=_labels([8, 1, 1]))
    assert answer.metrics["ACC@1"] == pytest.approx(10)
    assert answer.hits["ACC@1"] == 1


def test_the_constant_answer_of_findings_may_be_that_there_is_none(make_dataset):
    gallery = np.array([[0, 0], [0, 0], [1, 1], [1, 0], [0, 0]])
    queries = np.array([[0, 0], [1, 0], [0, 1], [0, 0]])
    assert majority(make_dataset("findings", 2), gallery_labels=gallery, query_labels=queries).hits["mMV@5"] == 2


@pytest.mark.parametrize("k", [1, 2, 5, 6])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.97, 1.0])
def test_expected_average_precision_is_the_sum_over_all_patterns(k, share):
    expected = 0.0
    for pattern in itertools.product([0.0, 1.0], repeat=k):
        probability = np.prod([share if relevant else 1 - share for relevant in pattern])
        expected += probability * metrics.average_precision_found(np.array([pattern]), k=k)[0]
    assert expected_found_precision(np.array([share]), k=k)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shares", [[1.0], [0.3, 0.7], [0.2, 0.0, 0.5, 0.3]])
@pytest.mark.parametrize("k", [1, 4, 5])
def test_expected_vote_is_the_sum_over_all_draws(shares, k):
    expected = np.zeros(len(shares))
    for draw in itertools.product(range(len(shares)), repeat=k):
        votes = Counter(draw)
        leaders = [label for label in votes if votes[label] == max(votes.values())]
        expected[leaders] += np.prod([shares[label] for label in draw])
    assert expected_tied_vote(np.array(shares), k=k) == pytest.approx(expected, abs=1e-12)


def test_eleven_classes_are_within_reach():
    leads = expected_tied_vote(np.full(11, 1 / 11), k=5)
    assert leads == pytest.approx(np.full(11, leads[0]))
    assert 1 / 11 < leads[0] < 5 / 11


def test_of_findings_only_what_has_a_closed_form_is_given(make_dataset):
    gallery = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    queries = np.array([[0, 1], [0, 0], [1, 1]])  # relevant: 1, 2 and 2 of 4
    blind = blind_draw(make_dataset("findings", 2), gallery_labels=gallery, query_labels=queries)
    assert set(blind.metrics) == set(METRICS) - {"mMV@5"}
    assert blind.metrics["ACC@1"] == pytest.approx(100 * (1 + 2 + 2) / 12)
    assert blind.metrics["ACC@3"] == pytest.approx(100 * (3 - 0.75**3 - 2 * 0.5**3) / 3)


def test_a_real_blind_draw_comes_near_its_expectation(make_dataset):
    gallery, queries, _, _ = SETS["retinamnist"]
    rng = np.random.default_rng(0)
    truth = np.tile(_labels(queries)[:, 0], 100)
    drawn = rng.choice(_labels(gallery)[:, 0], size=(len(truth), 5))
    expected = blind_draw(make_dataset("classes", 5), gallery_labels=_labels(gallery), query_labels=_labels(queries))
    gains = (drawn == truth[:, None]).astype(float)
    votes = metrics.vote_counts(drawn[..., None] == np.arange(5))
    own = truth[:, None] == np.arange(5)
    assert 100 * metrics.average_precision_found(gains, k=5).mean() == pytest.approx(expected.metrics["mAP@5"], abs=1)
    assert 100 * metrics.tied_vote(votes, own).mean() == pytest.approx(expected.metrics["mMV@5"], abs=1)
