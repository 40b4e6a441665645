"""Vectors that people have, and those of a collection written to a file: evaluated and searched like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes
from typer.testing import CliRunner

from retrieval import evaluation, readiness, search
from retrieval.answers import ItemQuery, UploadQuery
from retrieval.cells import cell, grid
from retrieval.cli.commands import app
from retrieval.datasets.collections import adding, records
from retrieval.datasets.collections.imported import Imported, read_imported, write_imported
from retrieval.datasets.opening import open_split
from retrieval.embeddings import embedding
from retrieval.encoders.literals.imported import IMPORTED
from retrieval.errors import BadInput, Unavailable, UnknownName
from retrieval.exporting import exported
from retrieval.groups import find_groups
from retrieval.jobs.plan import Selection, cells_of
from retrieval.leaderboard import leaderboard
from retrieval.roots import Roots


def vectors(count: int = 60, dim: int = 8) -> Imported:
    """Two classes a little apart; the last vector repeats the first."""
    chance = np.random.default_rng(3)
    made = chance.standard_normal((count, dim)).astype(np.float32)
    made[: count // 2, 0] += 4
    made[-1] = made[0]
    labels = ["left"] * (count // 2) + ["right"] * (count - count // 2 - 1) + ["left"]
    return Imported(made, tuple(f"{row:03d}" for row in range(count)), tuple(labels))


@pytest.fixture
def mine(tmp_path: Path, empty_roots: Roots) -> Imported:
    made = vectors()
    write_imported(made, tmp_path / "mine.npz")
    adding.add("mine", tmp_path / "mine.npz", empty_roots, vectors="My network")
    return made


def test_vectors_are_kept_to_the_bit(mine: Imported, empty_roots: Roots):
    asked = cell("mine", None, "imported", roots=empty_roots)
    assert (asked.spec.title, asked.data.sizes, asked.data.vectors) == ("My network", (0,), "My network")
    by_id = dict(zip(mine.ids, mine.vectors, strict=True))
    files = records.find("mine", empty_roots)
    for split in ("train", "test"):
        made = embedding.embed(asked.data, 0, split, asked.spec, empty_roots)
        expected = np.stack([by_id[file.name] for file in files.of(split)])
        assert made.vectors.dtype == np.float32 and made.vectors.tobytes() == expected.tobytes()


def test_they_are_evaluated_searched_and_ranked(mine: Imported, empty_roots: Roots):
    asked = cell("mine", None, "imported", roots=empty_roots)
    found = evaluation.evaluate(asked, empty_roots)
    assert found.n_gallery == 42 and 75 < found.as_published.metrics["ACC@1"] <= 100
    row = next(row for row in leaderboard(empty_roots) if row.dataset == "mine" and row.encoder == "imported")
    assert row.as_published.metrics["ACC@1"] == found.as_published.metrics["ACC@1"]
    answer = search.find(ItemQuery("test", 0), asked, empty_roots, k=3)
    split, gallery = open_split(asked.data, 0, "test", empty_roots), open_split(asked.data, 0, "train", empty_roots)
    query = np.frombuffer(split.images[0], "<f4")
    distances = [np.linalg.norm(np.frombuffer(each, "<f4") - query) for each in gallery.images]
    assert [each.index for each in answer.neighbours] == list(np.argsort(distances, kind="stable")[:3])


def test_a_vector_can_be_asked_with(mine: Imported, empty_roots: Roots, tmp_path: Path):
    asked = cell("mine", None, "imported", roots=empty_roots)
    gallery = open_split(asked.data, 0, "train", empty_roots)
    np.save(tmp_path / "one.npy", np.frombuffer(gallery.images[7], "<f4")[None])
    answer = search.find(UploadQuery(tmp_path / "one.npy"), asked, empty_roots, k=2)
    assert answer.neighbours[0].index == 7 and answer.neighbours[0].duplicate == "exact"
    for wrong in (np.ones((2, 8), np.float32), np.ones((1, 9), np.float32)):
        np.save(tmp_path / "one.npy", wrong)
        with pytest.raises(BadInput, match="one of 8 numbers is asked with"):
            search.find(UploadQuery(tmp_path / "one.npy"), asked, empty_roots)
    assert readiness.of_pictures(asked, empty_roots).uploads is False


def test_equal_vectors_are_one_group_and_stand_on_one_side(mine: Imported, empty_roots: Roots):
    files = {file.name: file for file in records.find("mine", empty_roots).files}
    assert files["000"].split == files["059"].split and files["000"].pixels == files["059"].pixels
    data = cell("mine", None, "imported", roots=empty_roots).data
    groups = find_groups(data, 0, empty_roots)
    assert len(np.unique(np.concatenate([groups.train, groups.test]))) == len(groups.train) + len(groups.test) - 1


def test_vectors_and_pictures_are_never_mistaken_for_each_other(mine: Imported, empty_roots: Roots, tmp_path: Path):
    write_classes(tmp_path / "own", {"dark": 30, "light": 30})
    adding.add("own", tmp_path / "own", empty_roots)
    with pytest.raises(UnknownName, match="extractor for vectors") as caught:
        cell("mine", None, "pixels", roots=empty_roots)
    assert caught.value.remedy.endswith("Valid: imported.")
    with pytest.raises(UnknownName):
        cell("own", None, "imported", roots=empty_roots)
    with pytest.raises(UnknownName):
        cell("breastmnist", 28, "imported")
    names = {(one.dataset, one.encoder) for one in grid(empty_roots)}
    assert ("mine", "imported") in names and ("own", "pixels") in names
    assert ("mine", "pixels") not in names and ("own", "imported") not in names
    chosen = cells_of(Selection(datasets=("mine",)), empty_roots)
    assert {one.encoder for one in chosen} == {"imported"}
    with pytest.raises(BadInput, match="holds pictures"):
        adding.add("other", tmp_path / "own", empty_roots, vectors="My network")
    with pytest.raises(BadInput, match="these are vectors"):
        adding.add("other", tmp_path / "mine.npz", empty_roots, pattern="(.)")
    for made_by in ("", "My network"):
        with pytest.raises(BadInput, match="cannot be the label of vectors"):
            adding.add("other", tmp_path / "mine.npz", empty_roots, label_tag="Modality", vectors=made_by)


def test_a_file_of_vectors_that_changes_is_noticed(mine: Imported, empty_roots: Roots, tmp_path: Path):
    asked = cell("mine", None, "imported", roots=empty_roots)
    other = Imported(np.ascontiguousarray(mine.vectors[::-1]), mine.ids, mine.labels)
    write_imported(other, tmp_path / "mine.npz")
    with pytest.raises(Unavailable, match="has changed since it was added"):
        embedding.embed(asked.data, 0, "train", asked.spec, empty_roots)
    changes = adding.update("mine", empty_roots)
    assert len(changes.changed) == 58 and changes.collection.vectors == "My network"
    (tmp_path / "mine.npz").unlink()
    with pytest.raises(Unavailable, match="not there any more"):
        search.find(ItemQuery("test", 0), cell("mine", None, "imported", roots=empty_roots), empty_roots)


def test_without_labels_they_can_be_searched(empty_roots: Roots, tmp_path: Path):
    np.save(tmp_path / "bare.npy", vectors().vectors)
    adding.add("bare", tmp_path / "bare.npy", empty_roots)
    asked = cell("bare", None, "imported", roots=empty_roots)
    with pytest.raises(Unavailable, match="no labels"):
        evaluation.evaluate(asked, empty_roots)
    assert len(search.find(ItemQuery("test", 0), asked, empty_roots).neighbours) == 5


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_what_a_collection_exports_has_the_same_result_when_it_is_added(
    empty_roots: Roots, tmp_path: Path, suffix: str, need
):
    if suffix == ".parquet":
        need(__import__("importlib.util").util.find_spec("pyarrow"), "pyarrow is not installed")
    write_classes(tmp_path / "own", {"dark": 20, "light": 20, "lighter": 20})
    adding.add("own", tmp_path / "own", empty_roots)
    asked = cell("own", None, "histogram", roots=empty_roots)
    write_imported(exported(asked, empty_roots), tmp_path / f"own{suffix}")
    read = read_imported(tmp_path / f"own{suffix}")
    assert read.ids[0] == records.find("own", empty_roots).of("train")[0].name
    adding.add("again", tmp_path / f"own{suffix}", empty_roots, vectors="Histograms")
    again = cell("again", None, "imported", roots=empty_roots)
    one, two = (evaluation.evaluate(each, empty_roots) for each in (asked, again))
    assert one.as_published == two.as_published
    for split in ("train", "test"):
        first = evaluation.neighbours(asked, split, empty_roots)
        second = evaluation.neighbours(again, split, empty_roots)
        assert np.array_equal(first.indices, second.indices) and np.array_equal(first.scores, second.scores)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RETRIEVAL_CACHE", str(tmp_path / "cache"))
    write_imported(vectors(), tmp_path / "mine.npz")

    def run(*words: str, code: int = 0) -> dict:
        done = CliRunner().invoke(app, [*words, "--format", "json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    added = run("collection", "add", "mine", str(tmp_path / "mine.npz"), "--encoder", "My network")
    assert (added["kind"], added["vectors"], added["pictures"]) == ("vectors", "My network", 60)
    shown = CliRunner().invoke(app, ["collection", "show", "mine"]).stdout
    assert "60 vectors of 8 numbers by My network" in shown
    assert run("evaluate", "--dataset", "mine", "--encoder", "imported")["dataset"] == "mine"
    np.save(tmp_path / "one.npy", vectors().vectors[:1])
    found = run("search", str(tmp_path / "one.npy"), "--dataset", "mine", "--encoder", "imported")
    assert found["queries"][0]["neighbours"]
    to = tmp_path / "out.npy"
    out = run("collection", "export", "mine", "--encoder", "imported", "--to", str(to))
    assert out["files"] == [str(to), str(tmp_path / "out.csv")]
    assert sorted(map(tuple, read_imported(to).vectors)) == sorted(map(tuple, vectors().vectors))
    refused = run("collection", "export", "mine", "--encoder", "imported", "--to", str(tmp_path / "x.pkl"), code=1)
    assert "cannot be written" in json.dumps(refused)


def test_the_spec_embeds_no_pictures():
    assert IMPORTED.weights is None and IMPORTED.dim is None and IMPORTED.slices is None
