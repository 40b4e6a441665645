"""A collection on the page: in its menus, answered, drawn, and told to be without labels where it is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes, write_picture
from starlette.applications import Starlette
from starlette.testclient import TestClient

import retrieval
from retrieval import readiness, search
from retrieval.cells import cell
from retrieval.datasets.collections import adding
from retrieval.datasets.opening import open_split
from retrieval.leaderboard import leaderboard
from retrieval.page import addresses, jobs_tab, leaderboard_tab, rendering, view, words
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.link import fitting_cell, parse, to_words
from retrieval.page.routes import routes
from retrieval.page.uploads import open_uploads
from retrieval.roots import Roots

ASKED = {"dataset": "mine", "encoder": "histogram"}


@pytest.fixture
def desk(tmp_path: Path, empty_roots: Roots) -> Desk:
    write_classes(tmp_path / "mine", {"dark": 30, "light": 30}, shape=(20, 30))
    adding.add("mine", tmp_path / "mine", empty_roots)
    return Desk(roots=empty_roots, uploads=open_uploads(empty_roots.cache), start=PHANTOMS)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(desk))) as opened:
        yield opened


def prepared(desk: Desk) -> dict:
    search.prepare(cell("mine", None, "histogram", roots=desk.roots), desk.roots)
    return desk.handle(ASKED)


def test_a_link_leads_to_its_pictures_as_they_are(desk):
    link = parse(ASKED, PHANTOMS, desk.roots)
    assert (link.cell.size, link.cell.data.title) == (0, "mine")
    assert parse(dict(part.split("=") for part in to_words(link).split("&")), PHANTOMS, desk.roots) == link
    assert fitting_cell("mine", PHANTOMS, desk.roots).size == 0


def test_it_is_answered_and_offered(desk):
    value = prepared(desk)
    assert value["kind"] == "answer" and len(value["cards"]) == 5
    assert value["now"] == "mine as they are · Intensity histogram (baseline) · 5 neighbours"
    assert value["cards"][0]["figure"]["size"] == "30 × 20 pixels"
    (offered,) = value["collections"]
    assert (offered["name"], offered["own"], offered["sizes"][0]) == ("mine", True, 0)
    assert offered["classes"] == ["dark", "light"]


def test_its_pictures_are_served(desk, client):
    split = open_split(cell("mine", None, "histogram", roots=desk.roots).data, 0, "train", desk.roots)
    place = "picture/mine/0/train/3.png"
    assert client.get(place).content == rendering.png(split.images[3])
    assert client.get("seen/mine/0/histogram/train/3.png").status_code == 200
    assert client.get("picture/mine/0/train/9999.png").status_code == 404
    assert client.get(f"{place}?v={addresses.version_of(split)}").status_code == 200
    before = client.get(f"{place}?v=01234567-{retrieval.__version__}")
    assert before.status_code == 404 and "was updated since" in before.text


def test_an_answer_as_a_file_computes_nothing(desk, client):
    asked = "dataset=mine&encoder=histogram&size=0&item=test-1"
    for kind in ("csv", "png"):
        refused = client.get(f"answer.{kind}?{asked}")
        assert refused.status_code == 404
        assert refused.text == "This combination has not been computed yet. Ask for it on the page first."
    assert not list(desk.roots.cache.rglob("neighbours/*"))
    prepared(desk)
    assert client.get(f"answer.csv?{asked}").text.count("mine,0,histogram") == 5
    assert client.get(f"answer.png?{asked}").status_code == 200


def test_what_takes_long_is_not_computed_in_place(desk, monkeypatch):
    monkeypatch.setattr(readiness, "A_MINUTE", 0.0)
    *said, last = desk.compute(ASKED)
    assert (last["kind"], last["compute"]) == ("problem", "")
    assert "has not been computed yet" in last["message"] and "python -m retrieval precompute" in last["remedy"]
    assert not list(desk.roots.cache.rglob("neighbours/*"))


def test_cards_and_files_of_before_an_update_are_refused(desk, client, tmp_path):
    value = prepared(desk)
    card, file = value["cards"][0], value["files"]["csv"]
    words = {**ASKED, "item": f"{card['split']}-{card['index']}", "v": value["version"]}
    assert desk.handle(words)["kind"] == "answer" and client.get(file).status_code == 200
    write_classes(tmp_path / "mine", {"dark": 4}, shape=(20, 30), first=30)
    adding.update("mine", desk.roots)
    now = prepared(desk)
    assert now["kind"] == "answer" and now["version"] != value["version"]
    refused, gone = desk.handle(words), client.get(file)
    assert refused["kind"] == "refusal" and "was updated since" in refused["message"]
    assert gone.status_code == 404 and "was updated since" in gone.text


def test_a_large_picture_is_shown_smaller():
    assert rendering.shown(np.zeros((2000, 3000, 3), np.uint8)).shape == (667, 1000, 3)
    small = np.zeros((1024, 20), np.uint8)
    assert rendering.shown(small) is small


def test_without_labels_there_is_no_vote(tmp_path, empty_roots):
    for number in range(40):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=number)
    adding.add("mine", tmp_path / "mine", empty_roots)
    value = prepared(Desk(roots=empty_roots, uploads=open_uploads(empty_roots.cache), start=PHANTOMS))
    assert value["vote"] == {"sentence": words.NO_VOTE, "rows": []}
    assert "no labels" in value["reliability"] and "have no labels" in value["summary"]
    assert value["query"]["label"] == "" and {card["mark"] for card in value["cards"]} == {None}


def test_a_gallery_of_two_is_shown_whole_and_more_is_refused(tmp_path, empty_roots):
    write_classes(tmp_path / "mine", {"dark": 2, "light": 1})
    adding.add("mine", tmp_path / "mine", empty_roots)
    desk = Desk(roots=empty_roots, uploads=open_uploads(empty_roots.cache), start=PHANTOMS)
    value = prepared(desk)
    assert (value["kind"], len(value["cards"])) == ("answer", 2)
    assert len(desk.handle({**ASKED, "item": "train-0", "k": "5"})["cards"]) == 1
    assert "holds 2 pictures, so at most 2 neighbours can be shown" in desk.handle({**ASKED, "k": "6"})["message"]


def test_jobs_offer_it_and_say_its_size(desk):
    offered = jobs_tab._menus(desk.roots)["dataset"][-1]
    assert offered == ["mine", "mine", [0, 28, 64, 128, 224], True]
    asked = {"scope": "cell", "dataset": "mine", "size": "0", "encoder": "histogram", "protocol": "paper"}
    selection = jobs_tab.chosen(asked, desk.roots)
    title = jobs_tab.title_of(selection, desk.roots)
    assert title == "Intensity histogram (baseline) on mine, as they are, paper"
    assert jobs_tab.reply({"do": "plan", **asked}, desk.roots)["plan"]["to_do"] == 1


def test_its_rows_can_be_searched_from_the_leaderboard(desk):
    from retrieval.evaluation import evaluate

    evaluate(cell("mine", None, "histogram", roots=desk.roots), desk.roots)
    before = leaderboard_tab._signature(desk.roots)
    document = leaderboard_tab.page_document(leaderboard(desk.roots), desk.roots)
    row = next(row for row in document["rows"] if row["dataset"] == "mine" and row["source"] == "measured")
    assert row["searchable"] and row["size"] == 0
    adding.records.remove("mine", desk.roots)
    assert leaderboard_tab._signature(desk.roots) != before


def test_menus_of_the_page_are_those_of_the_literals_alone():
    assert not any(data["own"] for data in view.menus(10)["datasets"])


def test_vectors_are_drawn_as_stripes_and_asked_with_one_of_them(desk, client, tmp_path):
    made = np.random.default_rng(1).standard_normal((40, 12)).astype(np.float32)
    np.savez(tmp_path / "theirs.npz", vectors=made, labels=np.arange(40) % 2)
    adding.add("theirs", tmp_path / "theirs.npz", desk.roots, vectors="My network")
    search.prepare(cell("theirs", None, "imported", roots=desk.roots), desk.roots)
    value = desk.handle({"dataset": "theirs"})
    assert value["kind"] == "answer" and value["instead"] == words.VECTORS_ALONE
    assert value["now"] == "theirs as they are · My network · 5 neighbours"
    assert value["query"]["original"] == value["query"]["seen"]
    assert value["cards"][0]["figure"]["size"] == "12 numbers"
    assert value["query"]["title"].startswith("Test vector")
    assert value["extractor"]["offered"]["takes"] == [1]
    assert next(one for one in value["collections"] if one["name"] == "theirs")["ndim"] == 1
    split = open_split(cell("theirs", None, "imported", roots=desk.roots).data, 0, "train", desk.roots)
    drawn = rendering.drawn(split.images[2], split.dataset)
    numbers = np.frombuffer(split.images[2], "<f4")
    assert drawn.shape == (12, 12) and (drawn[0] == drawn[-1]).all()
    assert drawn[0, numbers.argmin()] == 0 and drawn[0, numbers.argmax()] == 255
    assert client.get("picture/theirs/0/train/2.png").content == rendering.png(drawn)
    assert client.get("seen/theirs/0/imported/train/2.png").content == rendering.png(drawn)
