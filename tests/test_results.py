import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from retrieval import artifacts, results
from retrieval.cells import Cell, cell
from retrieval.results import Reading, Result

CELL = cell("breastmnist", 28, "pixels")


def made_up(where: Cell = CELL, fingerprint: str = "f" * 32) -> Result:
    published = Reading({"mAP@5": 100 / 3, "ACC@1": 200 / 3, "MAE@1": 0.1 + 0.2}, {"ACC@1": 2}, 3)
    return Result(
        cell=where,
        fingerprint=fingerprint,
        data="d" * 32,
        weights="none",
        verified=True,
        as_published=published,
        groups_left_out=replace(published, hits={"ACC@1": 1}),
        n_gallery=7,
        grouped_queries=1,
        ranks=(1, 0, 2),
        ranks_left_out=(3, 0, 2),
        provenance={"numpy": "2.4", "seconds": 0.125, "device": "cpü"},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    results.write(tmp_path, made_up())
    return results.path_of(tmp_path, CELL)


def test_a_result_comes_back_to_the_last_digit(path, tmp_path):
    assert path == tmp_path / "results" / "breastmnist" / "28" / "pixels" / "paper.json"
    assert results.read(path) == made_up()


def test_where_there_is_none_there_is_none(tmp_path, caplog):
    assert results.read(tmp_path / "nothing.json") is None
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[" * 100_000, b'{"checksum": "', b"{}"])
def test_a_file_that_is_no_result_is_noticed(path, caplog, content):
    path.write_bytes(content)
    assert results.read(path) is None
    assert f"{path} is damaged" in caplog.text


@pytest.mark.parametrize(
    "document",
    [
        3,
        "text",
        [],
        ["result"],
        {"result": None, "checksum": None},
        {"result": [], "checksum": ""},
        {"result": asdict(made_up())},
        {"checksum": "f" * 32},
    ],
)
def test_a_document_of_another_kind_is_noticed(path, caplog, document):
    path.write_text(json.dumps(document))
    assert results.read(path) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("position", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_noticed_wherever_it_is(path, caplog, position):
    content = bytearray(path.read_bytes())
    start = int(len(content) * position)
    place = next(index for index in range(start, len(content)) if chr(content[index]).isalnum())
    content[place] ^= 1
    path.write_bytes(content)
    assert results.read(path) is None
    assert "is damaged" in caplog.text


def test_a_number_made_better_by_hand_is_noticed(path, caplog):
    document = json.loads(path.read_bytes())
    document["result"]["as_published"]["hits"]["ACC@1"] = 3
    path.write_text(json.dumps(document))
    assert results.read(path) is None
    assert "checksum does not fit" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"ranks": None},
        {"ranks_left_out": 3},
        {"as_published": []},
        {"groups_left_out": {"metrics": {}}},
        {"cell": {"dataset": "breastmnist"}},
        {"cell": None},
        {"unheard_of": 1},
    ],
)
def test_a_result_of_another_form_is_noticed_though_its_checksum_fits(path, caplog, change):
    """As an earlier or later version of this program might have written it."""
    document = {**json.loads(path.read_bytes())["result"], **change}
    path.write_text(json.dumps({"checksum": artifacts.fingerprint(result=document), "result": document}))
    assert results.read(path) is None
    assert "is damaged" in caplog.text


def test_a_number_that_is_none_is_never_written(tmp_path):
    broken = replace(made_up(), as_published=Reading({"mAP@5": float("nan")}, {}, 1))
    with pytest.raises(ValueError, match="JSON"):
        results.write(tmp_path, broken)
    assert results.read(results.path_of(tmp_path, CELL)) is None


def test_of_one_cell_the_first_roots_result_counts(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    other = cell("breastmnist", 28, "pixels", "cosine")
    results.write(first, made_up(fingerprint="new"))
    results.write(second, made_up(fingerprint="old"))
    results.write(second, made_up(other))
    found = list(results.read_all((first, second, tmp_path / "nowhere"), accept=lambda _: True))
    assert [(each.cell, each.fingerprint) for each in found] == [(CELL, "new"), (other, "f" * 32)]


def test_what_is_damaged_or_not_accepted_gives_way_to_the_next_root(tmp_path):
    roots = [tmp_path / name for name in ("damaged", "stale", "current")]
    for root in roots:
        results.write(root, made_up(fingerprint=root.name))
    results.path_of(roots[0], CELL).write_bytes(b"{")
    found = results.read_all(tuple(roots), accept=lambda result: result.fingerprint != "stale")
    assert [each.fingerprint for each in found] == ["current"]


def test_a_file_on_its_way_is_not_read(path, tmp_path):
    path.with_name(f".{path.name}.abc.part").write_bytes(b"{")
    assert len(list(results.read_all((tmp_path,), accept=lambda _: True))) == 1
