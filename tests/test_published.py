"""The study's rows as they are carried, and their misprints."""

import csv
import dataclasses
import shutil

import pytest

from retrieval import published
from retrieval.errors import Unavailable
from retrieval.published import published_row, published_rows, reduction_rows
from retrieval.roots import SHIPPED


@pytest.fixture(scope="module")
def rows(roots):
    return published_rows(roots)


def test_there_are_251_rows_each_of_another_address(rows):
    assert len(rows) == 251
    assert len({(row.dataset, row.size, row.encoder) for row in rows}) == 251
    assert {row.table: row.size for row in rows} == {"S.1": 28, "S.2": 64, "S.3": 128, "S.4": 224}
    assert len({row.encoder for row in rows}) == 9


def test_every_row_is_whole(rows):
    for row in rows:
        assert tuple(row.printed) == published.METRICS
        assert set(row.metrics) == set(published.METRICS)
        assert tuple(row.hits) == published.COUNTED


def test_hits_fit_percent_to_the_last_digit_printed(rows):
    for row in rows:
        for name, hits in row.hits.items():
            assert -0.005 - 1e-9 <= 100 * hits / row.n_queries - row.metrics[name] <= 0.01 + 1e-9


def test_metrics_keep_their_order_once_misprints_are_mended(rows):
    for row in rows:
        assert 0 < row.metrics["ACC@1"] <= row.metrics["ACC@3"] <= row.metrics["ACC@5"] <= 100
        assert row.hits["ACC@1"] <= row.hits["ACC@3"] <= row.hits["ACC@5"] <= row.n_queries
        assert 0 < row.metrics["mAP@5"] <= 100


def test_exactly_the_known_misprints_are_mended_and_each_has_a_note(rows):
    misprints = {(row.dataset, row.size, row.encoder, *row.misprints): row for row in rows if row.misprints}
    assert set(misprints) == {
        ("dermamnist", 28, "resnet50", "mMV@5"),
        ("adrenalmnist3d", 28, "medclip", "ACC@3"),
        ("pneumoniamnist", 64, "efficientnetv2m", "ACC@3"),
        ("adrenalmnist3d", 64, "uni", "ACC@1"),
        ("breastmnist", 224, "vgg19", "ACC@5"),
    }
    assert all(row.note for row in misprints.values())
    unscaled = misprints["breastmnist", 224, "vgg19", "ACC@5"]
    assert (unscaled.printed["ACC@5"], unscaled.metrics["ACC@5"], unscaled.hits["ACC@5"]) == (1.00, 100.0, 156)


def test_a_row_is_found_by_the_names_of_a_cell(roots):
    row = published_row(roots, dataset="retinamnist", size=28, encoder="densenet121", protocol="paper")
    assert row is not None
    assert dict(row.metrics) == {"mAP@5": 56.42, "mMV@5": 51.75, "ACC@1": 45.25, "ACC@3": 69.0, "ACC@5": 83.25}
    assert dict(row.hits) == {"mMV@5": 207, "ACC@1": 181, "ACC@3": 276, "ACC@5": 333}
    assert (row.n_queries, row.table, row.note, row.misprints) == (400, "S.1", "", ())


@pytest.mark.parametrize(
    "names",
    [
        {"dataset": "breastmnist", "size": 64, "encoder": "medclip"},  # the one row that the tables lack
        {"dataset": "breastmnist", "size": 28, "encoder": "densenet121", "protocol": "cosine"},
        {"dataset": "chestmnist", "size": 28, "encoder": "densenet121"},
        {"dataset": "breastmnist", "size": 28, "encoder": "pixels"},
    ],
)
def test_what_the_study_does_not_have_is_none(roots, names):
    assert published_row(roots, **names) is None


def test_facts_need_no_precomputed_folder(empty_roots, rows):
    assert published_rows(empty_roots) == rows


def test_a_folder_of_the_user_s_comes_first(empty_roots, rows):
    folder = empty_roots.precomputed / published.FOLDER
    shutil.copytree(SHIPPED / published.FOLDER, folder)
    lines = (folder / "published_results.csv").read_text().splitlines(keepends=True)
    (folder / "published_results.csv").write_text("".join(lines[:3]))
    assert published_rows(empty_roots) == rows[:2]
    (folder / "published_results.csv").write_text("".join(lines[:4]))  # noticed, though the first was remembered
    assert published_rows(empty_roots) == rows[:3]


def test_an_empty_cell_is_absent_not_zero(empty_roots):
    folder = empty_roots.precomputed / published.FOLDER
    folder.mkdir(parents=True)
    for name, dropped in (("published_results.csv", "ACC@3"), ("published_hits.csv", "ACC@3_hits")):
        with (SHIPPED / published.FOLDER / name).open(newline="") as stream:
            record = next(csv.DictReader(stream))
        with (folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, record)
            writer.writeheader()
            writer.writerow({**record, dropped: ""})
    (row,) = published_rows(empty_roots)
    assert "ACC@3" not in row.metrics
    assert "ACC@3" not in row.hits
    assert set(row.metrics) == {"mAP@5", "mMV@5", "ACC@1", "ACC@5"}


@pytest.mark.parametrize("damage", ["no hits", "not a number", "another header", "cut short"])
def test_damaged_files_are_said_to_be_so(empty_roots, damage):
    folder = empty_roots.precomputed / published.FOLDER
    shutil.copytree(SHIPPED / published.FOLDER, folder)
    results = folder / "published_results.csv"
    if damage == "no hits":
        (folder / "published_hits.csv").unlink()
    elif damage == "not a number":
        results.write_text(results.read_text().replace("83.18", "eighty"))
    elif damage == "another header":
        results.write_text(results.read_text().replace("encoder", "model", 1))
    else:
        results.write_text(results.read_text()[:-30])
    with pytest.raises(Unavailable) as caught:
        published_rows(empty_roots)
    assert str(folder) in caught.value.remedy


def test_rows_are_values(rows):
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows[0].size = 64


def test_there_are_16_rows_with_a_reduction_and_their_hits_fit(roots, rows):
    reduced = reduction_rows(roots)
    assert len({(row.dataset, row.encoder, row.reduction) for row in reduced}) == len(reduced) == 16
    assert {row.reduction for row in reduced} == {"pca", "autoencoder", "tsne", "umap"}
    assert {(row.table, row.encoder, row.size) for row in reduced} == {("S.5", "vgg19", 64), ("S.6", "uni", 64)}
    assert all(row.reduction is None for row in rows)
    for row in reduced:
        for name, hits in row.hits.items():
            assert -0.005 - 1e-9 <= 100 * hits / row.n_queries - row.metrics[name] <= 0.01 + 1e-9


def test_of_the_two_misprints_among_them_one_has_a_certain_count(roots):
    reduced = {(row.dataset, row.encoder, row.reduction): row for row in reduction_rows(roots)}
    point = reduced["adrenalmnist3d", "vgg19", "tsne"]
    assert (point.printed["ACC@3"], point.hits["ACC@3"], point.misprints) == (882.6, 263, ("ACC@3",))
    assert point.metrics["ACC@3"] == 100 * 263 / 298
    unclear = reduced["synapsemnist3d", "uni", "umap"]
    assert "ACC@3" not in unclear.hits and unclear.metrics["ACC@3"] == 60.40 and unclear.note
    assert unclear.hits["ACC@1"] == 95
    assert {name for name, row in reduced.items() if len(row.hits) < 4} == {("synapsemnist3d", "uni", "umap")}


def test_a_damaged_table_of_reductions_is_said_to_be_so(empty_roots):
    folder = empty_roots.precomputed / published.FOLDER
    folder.mkdir(parents=True)
    (folder / "published_reduction.csv").write_text("table,dataset\nS.5,breastmnist\n")
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        reduction_rows(empty_roots)
    assert "published_reduction.csv" in caught.value.remedy


def test_the_reduction_table_repeats_the_plain_rows(rows):
    """Its rows without a reduction are the same runs as S.2's, so they check both files."""
    by_names = {(row.dataset, row.size, row.encoder): row for row in rows}
    with (SHIPPED / published.FOLDER / "published_reduction.csv").open(newline="") as stream:
        reductions = list(csv.DictReader(stream))
    assert len(reductions) == 20
    plain = [record for record in reductions if record["reduction"] == "none"]
    assert len(plain) == 4
    for record in plain:
        row = by_names[record["dataset"], int(record["size"]), record["encoder"]]
        for name in published.METRICS:
            assert float(record[name]) == pytest.approx(row.metrics[name], abs=0.005)
