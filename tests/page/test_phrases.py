"""What the page makes of words, without a browser."""

import csv
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_words
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from retrieval.answers import TextQuery
from retrieval.encoders import catalogue
from retrieval.errors import BadInput
from retrieval.page import words
from retrieval.page.about_extractors import tables
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.link import parse, to_words
from retrieval.page.rendering import answer_csv, text_tile
from retrieval.page.routes import routes
from retrieval.page.uploads import open_uploads
from retrieval.roots import Roots

ASKED = {"dataset": "phantoms", "size": "64", "encoder": "tiny_words", "protocol": "paper", "k": "5"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(catalogue, "ENCODERS", (*catalogue.ENCODERS, tiny_words.tiny_spec()))
    roots = Roots(data=(), weights=tmp_path / "weights", precomputed=tmp_path / "none", cache=tmp_path / "cache")
    tiny_words.put_weights(roots)
    desk = Desk(roots=roots, uploads=open_uploads(roots.cache), start=PHANTOMS)
    with TestClient(Starlette(routes=routes(desk))) as opened:
        yield opened


def ask(client: TestClient, **more: str) -> dict:
    return client.post("/ask", json={"words": {**ASKED, **more}}).json()


def test_words_are_computed_once_and_then_answered(client: TestClient):
    first = ask(client, text="a disc")
    assert (first["kind"], first["compute"], first["later"]) == ("problem", "Compute it now", None)
    desk = client.app.routes[1].endpoint.keywords["desk"]  # type: ignore[attr-defined]
    *said, last = desk.compute({**ASKED, "text": "a disc"})
    assert all(each["kind"] == "working" for each in said)
    assert last["kind"] == "answer" and last["query"]["title"] == "“a disc”"
    assert last["query"]["original"] is None and last["query"]["seen"] is None
    assert last["score"] == "cosine similarity"
    assert "text=a+disc" in last["address"]

    row, *_ = csv.DictReader(io.StringIO(client.get(f"/{last['files']['csv']}").text))
    assert (row["query"], row["protocol"], row["same_label"]) == ("a disc", "cosine", "")
    sheet = client.get(f"/{last['files']['png']}")
    assert "words.png" in sheet.headers["content-disposition"]
    with Image.open(io.BytesIO(sheet.content)) as picture:
        assert picture.width > 1000


def test_what_cannot_be_asked_is_refused_in_a_sentence(client: TestClient):
    empty = ask(client, text=" ")
    assert empty["kind"] == "refusal" and "no words" in empty["message"]
    other = ask(client, text="a disc", encoder="pixels")
    assert other["kind"] == "problem" and "cannot be asked with words" in other["message"]
    missing = ask(client, text="a disc", encoder="plip")
    assert missing["getting"]["command"] == "python -m retrieval download --encoder plip"


def test_a_link_carries_words_and_nothing_else_asks(monkeypatch: pytest.MonkeyPatch):
    link = parse({"text": " two  words "}, PHANTOMS)
    assert link.text == "two words" and link.names_query
    assert parse(dict(pair.split("=") for pair in to_words(link).split("&")), PHANTOMS).text == "two+words"
    assert parse({"text": "words", "item": "test-3"}, PHANTOMS).text is None
    with pytest.raises(BadInput, match="no words"):
        parse({"text": ""}, PHANTOMS)


def test_sentences_of_an_answer_to_words(answer, changed):
    asked = changed(query=TextQuery("a " * 80), query_label_name=None, reliability=None, nearness=None)
    title = words.query_title(asked.query, asked.cell.data)
    assert len(title) <= words.MOST_QUOTED + 2 and title.endswith("…”")
    assert "not known" in words.trust_sentence(asked)
    assert words.trust_sentence(answer) == words.reliability_sentence(answer.reliability, answer.cell.data)
    assert "words by cosine" in "".join(words.provenance_line(asked))
    assert "'=1+1" in answer_csv(dataclasses.replace(asked, query=TextQuery("=1+1")))
    assert text_tile("word " * 200).shape == (224, 224, 3)


def test_about_says_who_takes_words_and_what_is_untested():
    about = tables()
    assert about.count("<strong>Words:</strong>") == sum(spec.text is not None for spec in catalogue.ENCODERS)
    assert "Not tested: Its vocabulary was not at hand" in about
