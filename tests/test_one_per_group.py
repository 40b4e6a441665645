"""One card per patient: in answers, on the command line, in links and on what is drawn of them."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_words
from own_pictures import write_picture
from typer.testing import CliRunner

from retrieval import evaluation, search
from retrieval.answers import ItemQuery, Query, TextQuery, UploadQuery
from retrieval.cells import Cell, cell
from retrieval.cli.commands import app
from retrieval.datasets.collections import adding, records
from retrieval.encoders import catalogue
from retrieval.errors import BadInput
from retrieval.page import words
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.link import parse, to_words
from retrieval.page.uploads import open_uploads
from retrieval.roots import Roots, environment_of

PER_PATIENT = 20


def added(folder: Path, roots: Roots, *, patients: int, splits: bool = True) -> Cell:
    """Pictures of patients, each patient's alike; a table says who is whose, and that the last stands to be asked."""
    rows = []
    for patient in range(patients):
        for number in range(PER_PATIENT):
            name = f"{patient}-{number}.png"
            write_picture(folder / name, seed=(patient, number), low=150 * patient // patients)
            split = "test" if patient == patients - 1 else "train"
            rows.append([name, "odd" if patient % 2 else "even", f"patient {patient}", split])
    with (folder / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "label", "group", "split"], *rows])
    adding.add("mine", folder, roots)
    return cell("mine", None, "histogram", roots=roots)


@pytest.fixture(scope="module")
def own_roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    place = tmp_path_factory.mktemp("patients")
    return Roots(data=(place / "data",), weights=None, precomputed=place / "precomputed", cache=place / "cache")


@pytest.fixture(scope="module")
def asked(own_roots: Roots) -> Cell:
    """Nine patients of twenty pictures to search in: the nearest hundred are of five of them, or little more."""
    where = added(own_roots.cache.parent / "mine", own_roots, patients=10)
    search.prepare(where, own_roots)
    return where


def by_hand(where: Cell, vector: np.ndarray, roots: Roots, *, without: int | None = None) -> list[int]:
    """Each patient's nearest picture, nearest first, by looking at all; ties to the lower index."""
    gallery = evaluation.embeddings(where, "train", roots).vectors.astype(np.float64)
    order = np.argsort(((gallery - vector) ** 2).sum(axis=1), kind="stable")
    groups, first = [file.group for file in records.find("mine", roots).of("train")], {}
    for index in order:
        if index != without:
            first.setdefault(groups[index], int(index))
    return list(first.values())


@pytest.mark.parametrize("k", [1, 5, 9])
@pytest.mark.parametrize("split", ["test", "train"])
def test_sampled_pictures_find_each_patient_once(asked: Cell, own_roots: Roots, split, k):
    vectors = evaluation.embeddings(asked, split, own_roots).vectors
    for index in (0, 7):
        found = search.find(ItemQuery(split, index), asked, own_roots, k=k, one_per_group=True)
        expected = by_hand(asked, vectors[index], own_roots, without=index if split == "train" else None)
        assert [neighbour.index for neighbour in found.neighbours] == expected[:k]
        assert [neighbour.rank for neighbour in found.neighbours] == list(range(1, k + 1))
        assert found.one_per_group
        plain = search.find(ItemQuery(split, index), asked, own_roots, k=k)
        assert found.neighbours[0] == plain.neighbours[0], "the nearest is the nearest of its patient too"
        assert (found.reliability, found.nearness) == (plain.reliability, plain.nearness)


def test_a_file_finds_each_patient_once_and_the_vote_counts_what_is_shown(asked, own_roots, tmp_path):
    path = write_picture(tmp_path / "new.png", seed=99, low=70)
    found = search.find(UploadQuery(path), asked, own_roots, k=9, one_per_group=True)
    groups = [file.group for file in records.find("mine", own_roots).of("train")]
    assert len({groups[neighbour.index] for neighbour in found.neighbours}) == 9
    assert {tally.label_name: tally.votes for tally in found.vote} == {"even": 5, "odd": 4}
    plain = search.find(UploadQuery(path), asked, own_roots, k=100)
    assert [near.index for near in found.neighbours][0] == plain.neighbours[0].index
    distances = [near.score for near in found.neighbours]
    assert distances == sorted(distances)


def test_fewer_patients_than_asked_for_are_fewer_cards(asked, own_roots):
    found = search.find(ItemQuery("test", 0), asked, own_roots, k=50, one_per_group=True)
    assert len(found.neighbours) == 9
    assert sum(tally.votes for tally in found.vote) == 9
    assert found.vote[0].share == pytest.approx(5 / 9)


def test_a_picture_without_a_group_is_one_of_its_own(tmp_path: Path, empty_roots: Roots):
    rows = [["file", "label", "group"]]
    for number in range(30):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=number)
        rows.append([f"{number}.png", "a" if number % 2 else "b", "p" if number < 6 else ""])
    with (tmp_path / "mine" / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    adding.add("mine", tmp_path / "mine", empty_roots)
    where = cell("mine", None, "histogram", roots=empty_roots)
    gallery = records.find("mine", empty_roots).of("train")
    alone = sum(file.group is None for file in gallery)
    found = search.find(ItemQuery("test", 0), where, empty_roots, k=len(gallery) - 1, one_per_group=True)
    assert len(found.neighbours) == alone + any(file.group for file in gallery)


@pytest.mark.parametrize("dataset", ["phantoms", "mine"])
def test_without_groups_it_is_refused_in_words(tmp_path: Path, empty_roots: Roots, dataset: str):
    for number in range(20):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=number)
    adding.add("mine", tmp_path / "mine", empty_roots)
    where = cell(dataset, 64 if dataset == "phantoms" else None, "histogram", roots=empty_roots)
    assert not where.data.grouped
    query: Query = ItemQuery("test", 0)
    with pytest.raises(BadInput, match="no groups"):
        search.find(query, where, empty_roots, one_per_group=True)
    with pytest.raises(BadInput, match="no groups"):
        parse({"dataset": dataset, "cards": "one-per-group"}, PHANTOMS, empty_roots)


@pytest.fixture
def run(own_roots: Roots) -> Callable[..., str]:
    def go(*said: object) -> str:
        done = CliRunner().invoke(app, [*map(str, said)], env=environment_of(own_roots))
        assert done.exit_code == 0, done.output
        return done.stdout

    return go


def test_the_command_line_gives_one_a_patient(asked, own_roots, run, tmp_path):
    path = write_picture(tmp_path / "new.png", seed=99, low=70)
    command = ["search", path, "--dataset", "mine", "--encoder", "histogram", "-k", 9]
    (query,) = json.loads(run(*command, "--one-per-group", "--format", "json"))["queries"]
    groups = [file.group for file in records.find("mine", own_roots).of("train")]
    assert query["one_per_group"] and len({groups[each["index"]] for each in query["neighbours"]}) == 9
    assert "of each group its nearest picture" in run(*command, "--one-per-group")
    assert "of each group" not in run(*command)


def test_the_page_says_what_it_shows(asked, own_roots):
    desk = Desk(roots=own_roots, uploads=open_uploads(own_roots.cache), start=PHANTOMS)
    wanted = {"dataset": "mine", "encoder": "histogram", "k": "9", "item": "test-0", "cards": "one-per-group"}
    value = desk.handle(wanted)
    assert len(value["cards"]) == 9
    assert "the nearest of 9 groups are 5 even, 4 odd" in value["summary"]
    assert value["heading"] == "Nearest 9 groups among 180 gallery pictures, one card each"
    assert "one card per group" in value["line"][0]
    assert "cards=one-per-group" in value["address"] and "cards=one-per-group" in value["files"]["csv"]
    assert value["collections"][0]["grouped"]
    link = parse(wanted, PHANTOMS, own_roots)
    assert parse(dict(part.split("=") for part in to_words(link).split("&")), PHANTOMS, own_roots) == link
    plain = desk.find(parse({**wanted, "cards": ""}, PHANTOMS, own_roots))
    assert "one card per group" not in "".join(words.provenance_line(plain))
    assert desk.handle({**wanted, "cards": "all"})["kind"] == "refusal"


def test_words_find_each_patient_once(asked, own_roots, tmp_path, monkeypatch):
    """Where whole rankings by words are long lists, one of each patient is the first of each in that list."""
    weighted = replace(own_roots, weights=tmp_path / "weights")
    tiny_words.put_weights(weighted)
    monkeypatch.setattr(catalogue, "ENCODERS", (*catalogue.ENCODERS, tiny_words.tiny_spec()))
    where, query = cell("mine", None, "tiny_words", roots=weighted), TextQuery("a bright disc")
    whole = search.find(query, where, weighted, k=100).neighbours
    groups, first = [file.group for file in records.find("mine", weighted).of("train")], {}
    for neighbour in whole:
        first.setdefault(groups[neighbour.index], neighbour.index)
    found = search.find(query, where, weighted, k=len(first), one_per_group=True)
    assert [neighbour.index for neighbour in found.neighbours] == list(first.values())
    assert found.one_per_group and len(first) > 1
