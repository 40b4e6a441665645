"""One reading of a ranking: every metric under its name, against a plain loop, for each task."""

import numpy as np
import pytest

from retrieval.scoring import ideal, metrics
from retrieval.scoring.baselines import majority
from retrieval.scoring.reading import hit_depths, read_ranking

STUDY = {"mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5"}
TEXTBOOK = {"P@5", "AP@5", "MV@5", "MRR@5", "nDCG@5"}
HITS = {"mMV@5", "ACC@1", "ACC@3", "ACC@5", "MV@5"}

BY_HAND_TRUTH = np.array([[1], [0], [3], [2], [0], [3], [1]])
BY_HAND = np.array(
    [
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 0],
        [0, 1, 2, 4, 3],
        [1, 1, 2, 2, 0],
        [1, 1, 2, 2, 0],
        [0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
)[..., None]


def _case(task: str, seed: int, *, queries: int = 40, gallery: int = 30, depth: int = 8, columns: int = 5) -> dict:
    """Labels of a gallery and of queries, and a ranking that names each gallery item at most once."""
    rng = np.random.default_rng(seed)
    shape = (columns,) if task == "findings" else (1,)
    high = 2 if task == "findings" else columns
    held = rng.integers(0, high, size=(gallery, *shape)) * (rng.random((gallery, 1)) < 0.7)
    asked = rng.integers(0, high, size=(queries, *shape)) * (rng.random((queries, 1)) < 0.7)
    ranking = np.array([rng.permutation(gallery)[:depth] for _ in range(queries)])
    return {"query_labels": asked, "neighbour_labels": held[ranking], "gallery_labels": held}


def _shares_a_finding(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one & other).any()) or (not one.any() and not other.any())


def test_the_table_worked_by_hand(make_dataset):
    gallery = np.repeat(np.arange(5), 20)[:, None]
    dataset = make_dataset("classes", 5)
    scores = read_ranking(dataset, query_labels=BY_HAND_TRUTH, neighbour_labels=BY_HAND, gallery_labels=gallery)
    assert scores.metrics["mAP@5"] == pytest.approx(100 * (11 / 12 + 11 / 30 + 1 / 5 + 5 / 12 + 1 / 5 + 0 + 1) / 7)
    assert dict(scores.hits) == {"mMV@5": 3, "ACC@1": 2, "ACC@3": 4, "ACC@5": 6, "MV@5": 1}
    assert scores.ranks.tolist() == [1, 3, 5, 3, 5, 0, 1]
    assert scores.n_queries == 7


@pytest.mark.parametrize(
    ("task", "more"),
    [("classes", {"balanced ACC@1"}), ("ordinal", {"balanced ACC@1", "kappa@1", "MAE@1"}), ("findings", set())],
)
def test_each_task_has_its_metrics_and_no_others(make_dataset, task, more):
    scores = read_ranking(make_dataset(task, 5), **_case(task, 1))
    assert set(scores.metrics) == STUDY | TEXTBOOK | more
    assert set(scores.hits) == HITS
    assert all(type(value) is float for value in scores.metrics.values())
    assert all(type(value) is int for value in scores.hits.values())
    for name, hits in scores.hits.items():
        assert scores.metrics[name] == pytest.approx(100 * hits / scores.n_queries)


def test_findings_against_a_plain_loop(make_dataset):
    case = _case("findings", 2)
    scores = read_ranking(make_dataset("findings", 5), **case)
    tied, average, ranks, textbook = [], [], [], []
    for own, near in zip(case["query_labels"], case["neighbour_labels"][:, :5], strict=True):
        gains = np.array([[float(_shares_a_finding(own, other)) for other in near]])
        relevant = np.array([sum(_shares_a_finding(own, other) for other in case["gallery_labels"])])
        votes = [*near.sum(axis=0), sum(not other.any() for other in near)]
        mine = [*own, not own.any()]
        tied.append(any(mine[label] for label, count in enumerate(votes) if count == max(votes)))
        average.append(metrics.average_precision_found(gains, k=5)[0])
        textbook.append(metrics.average_precision(gains, relevant, k=5)[0])
        ranks.append(int(gains[0].argmax()) + 1 if gains.any() else 0)
    assert scores.hits["mMV@5"] == sum(tied)
    assert scores.ranks.tolist() == ranks
    assert scores.metrics["mAP@5"] == pytest.approx(100 * np.mean(average))
    assert scores.metrics["AP@5"] == pytest.approx(100 * np.mean(textbook))


@pytest.mark.parametrize("task", ["classes", "ordinal", "findings"])
def test_what_the_gallery_holds_against_a_plain_loop(make_dataset, task):
    case = _case(task, 3)
    rng = np.random.default_rng(4)
    gone = rng.random((40, 30)) < 0.3
    found = ideal.relevant_counts(
        make_dataset(task, 5),
        query_labels=case["query_labels"],
        gallery_labels=case["gallery_labels"],
        left_out=np.argwhere(gone),
    )
    relevant = _shares_a_finding if task == "findings" else lambda one, other: one[0] == other[0]
    expected = [
        sum(relevant(own, other) for other, out in zip(case["gallery_labels"], gone[row], strict=True) if not out)
        for row, own in enumerate(case["query_labels"])
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize("gallery", [3, 30])
def test_the_ideal_of_grades_is_the_gallery_s_closest(make_dataset, gallery):
    case = _case("ordinal", 5, gallery=gallery, depth=3)
    rng = np.random.default_rng(6)
    gone = rng.random((40, gallery)) < 0.4
    best = ideal.ideal_closeness(
        make_dataset("ordinal", 5),
        query_labels=case["query_labels"],
        gallery_labels=case["gallery_labels"],
        k=5,
        left_out=np.argwhere(gone),
    )
    held = case["gallery_labels"][:, 0]
    for row, (own,) in enumerate(case["query_labels"]):
        close = sorted((1 - abs(own - held[~gone[row]]) / 4).tolist(), reverse=True)
        assert best[row].tolist() == (close + [0.0] * 5)[:5]


def test_a_perfect_ranking_is_perfect_in_every_metric(make_dataset):
    gallery = np.repeat(np.arange(5), [9, 2, 7, 6, 5])[:, None]  # fewer than five of one grade
    queries = np.arange(5)[:, None]
    ranking = np.argsort(np.abs(gallery[:, 0] - queries), axis=1, kind="stable")[:, :5]
    scores = read_ranking(
        make_dataset("ordinal", 5), query_labels=queries, neighbour_labels=gallery[ranking], gallery_labels=gallery
    )
    # The rare grade has two pictures: all found, but three of its five neighbours are the next grade.
    assert scores.metrics["P@5"] == pytest.approx(100 * (4 + 2 / 5) / 5)
    assert scores.metrics["MV@5"] == 80
    for name in ("mAP@5", "ACC@1", "AP@5", "MRR@5", "nDCG@5", "balanced ACC@1"):
        assert scores.metrics[name] == pytest.approx(100)
    assert scores.metrics["kappa@1"] == pytest.approx(1)
    assert scores.metrics["MAE@1"] == 0


def test_only_the_first_k_neighbours_are_read(make_dataset):
    case = _case("ordinal", 7, depth=20)
    short = {**case, "neighbour_labels": case["neighbour_labels"][:, :5]}
    whole, cut = (read_ranking(make_dataset("ordinal", 5), **labels) for labels in (case, short))
    assert whole.metrics == cut.metrics
    assert np.array_equal(whole.ranks, cut.ranks)


def test_another_k_has_other_names(make_dataset):
    case = _case("classes", 8, depth=20)
    scores = read_ranking(make_dataset("classes", 5), **case, k=10)
    assert {"mAP@10", "mMV@10", "ACC@1", "ACC@3", "ACC@10", "P@10", "nDCG@10"} <= set(scores.metrics)
    assert not {name for name in scores.metrics if name.endswith("@5")}
    assert [hit_depths(k) for k in (1, 2, 3, 5, 10)] == [(1,), (1, 2), (1, 3), (1, 3, 5), (1, 3, 10)]


def test_the_constant_ranking_scores_as_the_majority_baseline(make_dataset):
    dataset, case = make_dataset("classes", 5), _case("classes", 9)
    commonest = np.bincount(case["gallery_labels"][:, 0]).argmax()
    constant = np.full((40, 5, 1), commonest)
    scores = read_ranking(dataset, **{**case, "neighbour_labels": constant})
    baseline = majority(dataset, gallery_labels=case["gallery_labels"], query_labels=case["query_labels"])
    assert {name: scores.metrics[name] for name in STUDY} == pytest.approx(dict(baseline.metrics))


def test_what_is_left_out_of_the_gallery_is_not_missed(make_dataset):
    gallery = np.array([[0], [0], [1], [1]])
    labels = {
        "query_labels": np.array([[0]]),
        "neighbour_labels": np.array([[[0], [1], [1]]]),
        "gallery_labels": gallery,
    }
    dataset = make_dataset("classes", 2)
    assert read_ranking(dataset, **labels).metrics["AP@5"] == pytest.approx(50)
    assert read_ranking(dataset, **labels, left_out=np.array([[0, 1]])).metrics["AP@5"] == pytest.approx(100)
    nothing = np.zeros((0, 2), dtype=int)
    assert read_ranking(dataset, **labels, left_out=nothing).metrics["AP@5"] == pytest.approx(50)


def test_kappa_is_absent_where_it_is_not_defined(make_dataset):
    same = np.zeros((3, 5, 1), dtype=int)
    scores = read_ranking(
        make_dataset("ordinal", 5), query_labels=same[:, 0], neighbour_labels=same, gallery_labels=same[:, 0]
    )
    assert "kappa@1" not in scores.metrics
    assert scores.metrics["MAE@1"] == 0
