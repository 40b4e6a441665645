"""The leaderboard's routes, without a browser."""

import csv
import gzip
import io
import json
import os
import shutil
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from retrieval import evaluation, results
from retrieval.cells import cell
from retrieval.encoders import loading
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.leaderboard import leaderboard
from retrieval.page import leaderboard_tab
from retrieval.roots import SHIPPED, Roots


@pytest.fixture
def board_roots(empty_roots: Roots) -> Roots:
    shutil.copytree(SHIPPED / "published", empty_roots.precomputed / "published")
    return empty_roots


@pytest.fixture
def client(board_roots: Roots) -> TestClient:
    return TestClient(Starlette(routes=leaderboard_tab.routes(board_roots)))


def _write_one(roots: Roots, encoder: str = "pixels", weights: str = "none") -> None:
    reading = results.Reading(metrics={"ACC@1": 50.0, "nDCG@5": 12.34567}, hits={"ACC@1": 78}, n_queries=156)
    where = cell("breastmnist", 28, encoder)
    result = results.Result(
        cell=where,
        fingerprint=evaluation.fingerprint_of(evaluation.marks_of(where, data="d", weights=weights, verified=True)),
        data="d",
        weights=weights,
        verified=False,
        as_published=reading,
        groups_left_out=reading,
        n_gallery=546,
        grouped_queries=55,
        ranks=(1,) * 156,
        ranks_left_out=(1,) * 156,
        provenance={},
    )
    results.write(roots.cache, result)


def test_json_is_compressed_and_known_by_its_etag(client):
    first = client.get("/leaderboard.json", headers={"accept-encoding": "gzip"})
    assert first.status_code == 200
    assert first.headers["content-encoding"] == "gzip"
    again = client.get("/leaderboard.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get("/leaderboard.json", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == first.json()


def test_a_new_result_makes_a_new_table(client, board_roots):
    before = client.get("/leaderboard.json")
    _write_one(board_roots)
    after = client.get("/leaderboard.json")
    assert after.headers["etag"] != before.headers["etag"]
    (row,) = [row for row in after.json()["rows"] if row["source"] == "measured"]
    assert (row["encoder"], row["verified"], row["searchable"]) == ("pixels", False, True)


@pytest.mark.parametrize("other", ["breastmnist.npz", "preprocessor_config.json", "pytorch_model.bin"])
def test_a_row_goes_with_other_data_weights_or_config_and_comes_back_with_its_own(other, board_roots, tmp_path):
    import torch

    roots = replace(board_roots, weights=tmp_path / "weights")
    folder = tmp_path / "weights" / "plip"
    for made in (folder, roots.data[0]):
        made.mkdir(parents=True)
    torch.save({"a": torch.zeros(2)}, folder / "pytorch_model.bin")
    _write_one(roots, "plip", loading.identify(find_encoder("plip"), roots).digest)
    client = TestClient(Starlette(routes=leaderboard_tab.routes(roots)))
    assert _measured(client) == ["plip"]
    place = (roots.data[0] if other.endswith(".npz") else folder) / other
    own = place.read_bytes() if place.exists() else None
    if own is None:
        place.write_text('{"image_mean": [0.1, 0.2, 0.3]}')
    else:
        stat = place.stat()
        torch.save({"a": torch.ones(2)}, place)
        os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy that keeps times
    assert _measured(client) == []
    if own is None:
        place.unlink()
    else:
        place.write_bytes(own)
    assert _measured(client) == ["plip"]


def _measured(client: TestClient) -> list[str]:
    rows = client.get("/leaderboard.json").json()["rows"]
    return [row["encoder"] for row in rows if row["source"] == "measured"]


def test_missing_numbers_are_null(board_roots):
    _write_one(board_roots)
    document = leaderboard_tab.page_document(leaderboard(board_roots))
    names = [metric["name"] for metric in document["metrics"]]
    (row,) = [row for row in document["rows"] if row["source"] == "measured"]
    assert row["all"]["value"][names.index("ACC@1")] == 50.0
    assert row["all"]["value"][names.index("ACC@3")] is None
    assert row["all"]["below"] == [names.index("ACC@1")]
    assert all(row["left"] is None for row in document["rows"] if row["source"] == "published")


def test_what_the_page_rounds_is_what_all_digits_would_give(roots):
    """Rounding to three digits and then to two would make 84.62 of 132 in 156 another number."""
    rows = leaderboard(roots)
    document = leaderboard_tab.page_document(rows)
    names = [metric["name"] for metric in document["metrics"]]
    told = 0
    for row, sent in zip(rows, document["rows"], strict=True):
        figures = row.as_published
        for name, value in zip(names, sent["all"]["value"], strict=False):
            if value is not None:
                assert f"{value:.2f}" == f"{figures.metrics[name]:.2f}", (row, name)
                told += f"{round(value, 3):.2f}" != f"{value:.2f}"
        for name, low, high in zip(names, sent["all"]["low"], sent["all"]["high"], strict=False):
            if low is not None:
                assert [f"{end:.1f}" for end in (low, high)] == [f"{end:.1f}" for end in figures.intervals[name]]
    assert told, "some rows tell the one rounding from the other"


def test_every_metric_is_explained(board_roots):
    document = leaderboard_tab.page_document(leaderboard(board_roots))
    assert all(metric["about"] for metric in document["metrics"])


def test_only_cells_that_exist_can_be_searched_with(board_roots):
    rows = leaderboard_tab.page_document(leaderboard(board_roots))["rows"]
    searchable = {row["encoder"] for row in rows if row["searchable"]}
    named = {spec.name for spec in ENCODERS}
    assert searchable == {row["encoder"] for row in rows if row["encoder"] in named and row["protocol"]}
    assert "densenet121" in searchable


def test_what_is_known_of_an_extractor_is_said_once(board_roots):
    document = leaderboard_tab.page_document(leaderboard(board_roots))
    known = document["extractors"]
    assert set(known) == {row["encoder"] for row in document["rows"]} & {spec.name for spec in ENCODERS}
    for spec in ENCODERS:
        if spec.name in known:
            expected = {"study": spec.study, "unverified": list(spec.unverified), "overlaps": dict(spec.overlaps)}
            assert known[spec.name] == expected
    assert known["densenet121"]["study"]


def test_csv_takes_the_tables_filters(client):
    answer = client.get("/leaderboard.csv?dataset=retinamnist&size=28&source=published&encoder=densenet121")
    (record,) = csv.DictReader(io.StringIO(answer.text))
    assert record["ACC@1 hits"] == "181"
    assert answer.headers["content-type"].startswith("text/csv")
    assert "leaderboard.csv" in answer.headers["content-disposition"]
    for nothing in ("size=abc", "dataset=%3Cscript%3E", "size=29"):
        assert len(client.get(f"/leaderboard.csv?{nothing}").text.splitlines()) == 1


def test_unreadable_figures_are_a_sentence(client, board_roots):
    (board_roots.precomputed / "published" / "published_hits.csv").write_text("table,dataset\n")
    answer = client.get("/leaderboard.json")
    assert answer.status_code == 503
    assert answer.json()["error"]["remedy"]


def test_thousands_of_rows_stay_small(board_roots):
    rows = (leaderboard(board_roots) * 8)[:2000]
    assert len(rows) == 2000
    text = json.dumps(leaderboard_tab.page_document(rows), separators=(",", ":")).encode()
    assert len(text) < 2_000_000
    assert len(gzip.compress(text)) < 250_000
