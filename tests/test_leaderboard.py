"""The leaderboard's rows: where they come from, what they leave blank, and what keeps noise from being read as rank."""

import csv
import io
import json
import shutil
from dataclasses import asdict, replace

import pytest
from scipy.stats import binomtest

from retrieval import evaluation, results
from retrieval.cells import cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.class_counts import unordered_labels
from retrieval.datasets.opening import data_digest, is_at_hand, open_split
from retrieval.encoders.weights import expected
from retrieval.leaderboard import BLIND, MAJORITY, Figures, leaderboard, near_best, select, to_csv
from retrieval.roots import SHIPPED, Roots

DENSENET_BREAST = {"mMV@5": 127, "ACC@1": 125, "ACC@3": 150, "ACC@5": 154}  # the study's row, in hits


@pytest.fixture
def board_roots(empty_roots: Roots) -> Roots:
    """Nothing measured; the shipped published figures and class counts."""
    shutil.copytree(SHIPPED / "published", empty_roots.precomputed / "published")
    return empty_roots


def _write(roots: Roots, names: tuple[str, int, str, str], hits: dict[str, int], *, fewer: int = 0) -> None:
    """A measured Result with these hits; with groups left out, `fewer` of each."""
    where = cell(*names)
    n = where.data.counts["test"]

    def reading(lost: int) -> results.Reading:
        left = {name: count - lost for name, count in hits.items()}
        return results.Reading(metrics={name: 100 * count / n for name, count in left.items()}, hits=left, n_queries=n)

    weights = expected(where.spec).digest
    data = data_digest(where.data, where.size, roots)[0] if where.data.synthetic else "d"
    result = results.Result(
        cell=where,
        fingerprint=evaluation.fingerprint_of(evaluation.marks_of(where, data=data, weights=weights, verified=True)),
        data=data,
        weights=weights,
        verified=True,
        as_published=reading(0),
        groups_left_out=reading(fewer),
        n_gallery=where.data.counts["train"],
        grouped_queries=55,
        ranks=(1,) * n,
        ranks_left_out=(1,) * n,
        provenance={},
    )
    results.write(roots.cache, result)


def _only(rows, **names):
    (row,) = select(rows, **names)
    return row


def test_the_study_stands_alone_where_nothing_is_measured(board_roots):
    rows = leaderboard(board_roots)
    assert len(select(rows, source="published")) == 251 + 16
    assert select(rows, source="measured") == ()
    # three datasets with known class counts: two at four sizes, one at two, each with two baselines
    assert len(select(rows, source="baseline")) == 2 * (4 + 4 + 2)


@pytest.mark.parametrize(
    ("dataset", "constant", "blind"),
    [
        ("breastmnist", 73.08, (71.44, 67.32, 60.65, 88.07, 94.29)),
        ("retinamnist", 43.50, (43.14, 41.65, 28.68, 59.17, 73.74)),
        ("adrenalmnist3d", 76.85, (74.14, 72.94, 65.14, 88.13, 93.19)),
    ],
)
def test_baselines_are_the_known_ones(board_roots, dataset, constant, blind):
    names = ("mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5")
    rows = select(leaderboard(board_roots), dataset=dataset, size=28, source="baseline")
    majority, drawn = _only(rows, encoder=MAJORITY), _only(rows, encoder=BLIND)
    assert [round(majority.as_published.metrics[name], 2) for name in names] == [constant] * 5
    assert [round(drawn.as_published.metrics[name], 2) for name in names] == list(blind)
    assert majority.groups_left_out == majority.as_published
    assert drawn.groups_left_out is None


def test_published_rows_that_do_not_beat_the_majority_class_are_marked(board_roots):
    rows = select(leaderboard(board_roots), dataset="adrenalmnist3d", source="published", protocol="paper")
    assert len(rows) == 18
    assert sum(row.as_published.beats_majority["ACC@1"] for row in rows) == 0
    assert sum(row.as_published.beats_majority["mMV@5"] for row in rows) == 4


def test_whether_a_row_beats_the_majority_is_unknown_without_class_counts(board_roots):
    (row,) = select(leaderboard(board_roots), dataset="pathmnist", size=28, encoder="uni")
    assert row.as_published.beats_majority == {}


def test_intervals_are_wilsons(board_roots):
    _write(board_roots, ("breastmnist", 28, "densenet121", "paper"), DENSENET_BREAST)
    row = _only(leaderboard(board_roots), source="measured")
    for name, hits in DENSENET_BREAST.items():
        known = binomtest(hits, 156).proportion_ci(method="wilson")
        assert row.as_published.intervals[name] == pytest.approx((100 * known.low, 100 * known.high))


def test_difference_in_hits_where_a_cell_is_measured_and_published(board_roots):
    hits = DENSENET_BREAST | {"ACC@1": 120, "ACC@5": 155}
    _write(board_roots, ("breastmnist", 28, "densenet121", "paper"), hits)
    _write(board_roots, ("breastmnist", 28, "densenet121", "cosine"), hits)
    _write(board_roots, ("breastmnist", 28, "pixels", "paper"), hits)
    rows = select(leaderboard(board_roots), source="measured")
    assert _only(rows, encoder="densenet121", protocol="paper").hits_difference == {
        "mMV@5": 0,
        "ACC@1": -5,
        "ACC@3": 0,
        "ACC@5": 1,
    }
    assert _only(rows, encoder="densenet121", protocol="cosine").hits_difference is None
    assert _only(rows, encoder="pixels").hits_difference is None
    assert _only(rows, encoder="pixels").cheap


def test_both_readings_are_kept_apart(board_roots):
    _write(board_roots, ("breastmnist", 28, "densenet121", "paper"), DENSENET_BREAST, fewer=12)
    row = _only(leaderboard(board_roots), source="measured")
    assert row.as_published.hits["ACC@1"] == 125
    assert row.groups_left_out.hits["ACC@1"] == 113
    assert row.as_published.beats_majority["ACC@1"]  # 125 of 156 against 114
    assert not row.groups_left_out.beats_majority["ACC@1"]


def test_a_row_equal_to_the_majority_class_does_not_beat_it(board_roots):
    _write(board_roots, ("breastmnist", 28, "pixels", "paper"), DENSENET_BREAST | {"ACC@1": 114, "mMV@5": 115})
    assert _only(leaderboard(board_roots), source="measured").as_published.beats_majority == {
        "ACC@1": False,
        "mMV@5": True,
    }


def test_what_is_missing_is_blank_and_never_zero(board_roots):
    rows = [asdict(row) for row in leaderboard(board_roots)]
    json.dumps(rows, allow_nan=False)
    published = [row for row in rows if row["source"] == "published"]
    assert all(row["groups_left_out"] is None and row["verified"] is None for row in published)
    table = list(csv.DictReader(io.StringIO(to_csv(leaderboard(board_roots)))))
    row = next(row for row in table if row["source"] == "published" and row["encoder"] == "conch")
    blank = {name for name, value in row.items() if value == ""}
    assert {"verified", "grouped_queries", "ACC@1 groups left out", "ACC@1 hits minus published"} <= blank
    assert "0" not in row.values()


def test_misprints_carry_their_note(board_roots):
    row = _only(leaderboard(board_roots), dataset="adrenalmnist3d", size=64, encoder="uni", protocol="paper")
    assert "63.76" in row.note
    assert row.as_published.metrics["ACC@1"] == pytest.approx(100 * 190 / 298)


def test_rows_lie_by_dataset_size_and_accuracy_whatever_the_order_of_writing(board_roots):
    _write(board_roots, ("retinamnist", 28, "pixels", "paper"), {"ACC@1": 173, "mMV@5": 206})
    _write(board_roots, ("breastmnist", 28, "pixels", "paper"), {"ACC@1": 121, "mMV@5": 121})
    rows = leaderboard(board_roots)
    places = [(row.dataset, row.size) for row in rows]
    assert places == sorted(places, key=places.index)
    for place in set(places):
        first = [row.as_published.metrics["ACC@1"] for row in rows if (row.dataset, row.size) == place]
        assert first == sorted(first, reverse=True)
    assert leaderboard(board_roots) == rows


def test_several_findings_are_never_ranked_by_accuracy(board_roots):
    _write(board_roots, ("chestmnist", 28, "pixels", "paper"), {"ACC@1": 9000, "mMV@5": 9000})
    _write(board_roots, ("chestmnist", 28, "histogram", "paper"), {"ACC@1": 100, "mMV@5": 100})
    rows = select(leaderboard(board_roots), dataset="chestmnist")
    assert [row.encoder for row in rows] == ["histogram", "pixels"]
    assert not any(row.ranked or row.as_published.near_best for row in rows)


def test_synthetic_rows_never_stand_beside_real_ones(board_roots):
    _write(board_roots, ("phantoms", 64, "pixels", "paper"), {"ACC@1": 150, "mMV@5": 150})
    assert not any(row.synthetic for row in leaderboard(board_roots))
    alone = leaderboard(board_roots, synthetic=True)
    assert {row.dataset for row in alone} == {"phantoms"}
    assert {row.source for row in alone} == {"measured", "baseline"}


def _figures(**intervals: tuple[float, float]) -> Figures:
    return Figures(metrics={}, hits={}, intervals={"ACC@1": intervals["at"]} if intervals else {}, beats_majority={})


def test_rows_whose_interval_reaches_the_best_ones_are_not_separable():
    table = [_figures(at=(60.0, 70.0)), _figures(at=(50.0, 60.0)), _figures(at=(49.0, 59.9)), None, _figures()]
    assert near_best(table) == [("ACC@1",), ("ACC@1",), (), (), ()]


def test_separability_is_judged_within_one_protocol(board_roots):
    _write(board_roots, ("breastmnist", 28, "pixels", "cosine"), {"ACC@1": 80})
    _write(board_roots, ("breastmnist", 28, "pixels", "paper"), {"ACC@1": 80})
    rows = select(leaderboard(board_roots), source="measured")
    assert "ACC@1" in _only(rows, protocol="cosine").as_published.near_best
    assert "ACC@1" not in _only(rows, protocol="paper").as_published.near_best


def test_the_studys_reductions_are_beside_ours_and_never_compared_with_them(board_roots):
    _write(board_roots, ("adrenalmnist3d", 64, "vgg19", "pca-256"), {"ACC@1": 150})
    rows = leaderboard(board_roots)
    ours = _only(rows, source="measured")
    theirs = _only(rows, dataset="adrenalmnist3d", encoder="vgg19", protocol="pca (study)", source="published")
    assert ours.hits_difference is None and theirs.hits_difference is None
    assert theirs.as_published.hits["ACC@1"] == 200
    assert "ACC@1" in ours.as_published.near_best, "the best of its own table, though the study's has more hits"
    assert "Not comparable" in theirs.note and "separate" not in ours.note
    named = {row.protocol for row in select(rows, source="published")}
    assert named == {"paper", "pca (study)", "autoencoder (study)", "tsne (study)", "umap (study)"}
    assert "pca (study)" in to_csv(rows)


def test_filters_keep_baselines_under_every_protocol(board_roots):
    rows = leaderboard(board_roots)
    assert select(rows) == rows
    some = select(rows, dataset="breastmnist", size=28, protocol="cosine")
    assert {row.encoder for row in some} == {MAJORITY, BLIND}
    assert select(rows, dataset="breastmnist", size=29) == ()


def test_csv_has_both_readings_at_full_precision(board_roots):
    _write(board_roots, ("breastmnist", 28, "densenet121", "paper"), DENSENET_BREAST, fewer=10)
    rows = select(leaderboard(board_roots), source="measured")
    (record,) = csv.DictReader(io.StringIO(to_csv(rows)))
    assert float(record["ACC@1"]) == 100 * 125 / 156
    assert float(record["ACC@1 groups left out"]) == 100 * 115 / 156
    assert record["ACC@1 hits"] == "125"
    assert record["ACC@1 hits minus published"] == "0"
    assert record["ACC@1 beats majority"] == "True"
    assert to_csv(()).startswith("dataset,size,encoder")


def test_a_result_of_an_unknown_dataset_is_left_out(board_roots):
    _write(board_roots, ("breastmnist", 28, "pixels", "paper"), {"ACC@1": 80})
    (result,) = evaluation.current_results(board_roots)
    results.write(board_roots.cache, replace(result, cell=replace(result.cell, dataset="gone")))
    assert len(select(leaderboard(board_roots), source="measured")) == 1


@pytest.mark.parametrize(
    ("name", "size"), [("breastmnist", 28), ("retinamnist", 28), ("adrenalmnist3d", 28), ("adrenalmnist3d", 64)]
)
def test_class_counts_are_those_of_the_data(roots, need, name, size):
    dataset = find_dataset(name)
    need(is_at_hand(dataset, size, roots), f"the file of {name} at {size}")
    for split in ("train", "test"):
        labels = unordered_labels(dataset, size, split, roots)
        assert labels is not None
        assert sorted(labels[:, 0]) == sorted(open_split(dataset, size, split, roots).labels[:, 0])
