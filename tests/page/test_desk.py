"""What the page draws where weights are missing, and of a download, without a browser."""

from dataclasses import replace

import pytest

from retrieval.encoders import weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.page import questions
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.uploads import open_uploads
from retrieval.roots import SHIPPED, Roots


@pytest.fixture
def desk(empty_roots: Roots) -> Desk:
    roots = replace(empty_roots, precomputed=SHIPPED)
    return Desk(roots=roots, uploads=open_uploads(roots.cache), start=PHANTOMS)


def asked(encoder: str, **more: object) -> dict:
    return {"words": {"dataset": "phantoms", "size": "64", "encoder": encoder}, **more}


def test_what_is_gated_is_not_fetched_from_the_page(desk):
    *_, last = questions.download(desk, asked("virchow2", run=3))
    refusal = weights.missing(find_encoder("virchow2"))
    assert (last["kind"], last["run"]) == ("problem", 3)
    assert last["getting"]["trouble"] == str(refusal), "said before anything is asked of the Hub"
    assert last["getting"]["download"] == ""


def test_the_number_of_a_run_comes_back_with_all_that_it_says(desk):
    values = list(questions.download(desk, asked("virchow2", run=7)))
    assert {value["run"] for value in values} == {7}
    assert values[0]["kind"] == "working"
    assert [value["run"] for value in questions.download(desk, asked("virchow2", run="x"))][0] == 0


def test_a_question_without_sense_gets_a_sentence(desk):
    for question in (None, {"words": {"dataset": "nothing"}}, {"words": {"encoder": "nothing"}}):
        *_, last = questions.download(desk, question)
        assert last["kind"] in ("problem", "answer")


def test_an_extractor_without_weights_is_explained_and_never_an_error(desk):
    value = desk.handle(asked("virchow2")["words"])
    assert value["kind"] == "problem"
    assert value["getting"]["download"] == "" and "Virchow2" in value["title"]
    assert value["extractor"]["licence"]["text"] == find_encoder("virchow2").licence
    assert "needs the weights" in value["instead"]


@pytest.fixture
def public(monkeypatch):
    """As a public server is set up."""
    monkeypatch.setenv("RETRIEVAL_JOBS", "off")


def tiny(protocol: str) -> dict[str, str]:
    return {"dataset": "phantoms", "size": "64", "encoder": "histogram", "protocol": protocol, "item": "test-3"}


def test_visitors_of_a_public_server_have_only_what_the_menu_offers_computed(desk, public):
    value = desk.handle(tiny("pca-7"))
    assert (value["kind"], value["compute"], value["later"]) == ("problem", "", None)
    *_, last = questions.compute(desk, {"words": tiny("pca-7")})
    for said in (value, last):
        assert "only protocols that the menu offers" in said["message"]
        assert "python -m retrieval precompute" in said["remedy"] and "--protocols pca-7" in said["remedy"]
    assert not [path for path in desk.roots.cache.rglob("*") if "pca-7" in path.parts]
    assert desk.handle(tiny("cosine"))["compute"]
    *_, last = questions.compute(desk, {"words": tiny("cosine")})
    assert last["kind"] == "answer"


def test_what_was_stored_before_answers_on_a_public_server_too(desk, monkeypatch):
    monkeypatch.delenv("RETRIEVAL_JOBS", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    *_, last = questions.compute(desk, {"words": tiny("pca-7")})
    assert last["kind"] == "answer"
    monkeypatch.setenv("RETRIEVAL_JOBS", "off")
    assert desk.handle(tiny("pca-7"))["kind"] == "answer"
