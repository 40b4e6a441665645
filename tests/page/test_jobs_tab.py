import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from retrieval.answers import Readiness
from retrieval.cells import cell
from retrieval.jobs import queue
from retrieval.jobs.plan import STUDY, Selection
from retrieval.jobs.queue import Progress
from retrieval.page import jobs_tab, view
from retrieval.page.link import Link

JSON = {"Content-Type": "application/json"}
ONE = {"scope": "cell", "dataset": "phantoms", "size": "64", "encoder": "pixels", "protocol": "cosine"}


@pytest.fixture
def client(empty_roots, monkeypatch) -> Iterator[TestClient]:
    monkeypatch.setattr(jobs_tab.worker, "ensure", lambda roots: None)  # nothing runs beside the test
    with TestClient(Starlette(routes=jobs_tab.routes(empty_roots))) as opened:
        yield opened


def ask(client, **words):
    return client.post("/jobs", content=json.dumps(words), headers=JSON).json()


def test_jobs_are_steered_in_json_only(client):
    assert client.post("/jobs", data={"do": "add"}).status_code == 415
    assert client.post("/jobs", content=b"{", headers=JSON).status_code == 400
    assert client.post("/jobs", content=b'"' + b"x" * 30_000 + b'"', headers=JSON).status_code == 400


def test_a_job_is_queued_steered_and_removed(client):
    name = ask(client, do="add", **ONE)["id"]
    (job,) = client.get("/jobs.json").json()["jobs"]
    assert (job["id"], job["state"], job["live"], job["percent"]) == (name, "waiting", True, 0)
    assert job["title"].endswith("64 pixels, cosine")
    assert [what for what, _ in job["buttons"]] == ["pause", "cancel"]
    (job,) = ask(client, do="pause", id=name)["jobs"]
    assert [what for what, _ in job["buttons"]] == ["resume", "cancel"]
    assert ask(client, do="resume", id=name)["jobs"][0]["state"] == "waiting"
    (job,) = ask(client, do="cancel", id=name)["jobs"]
    assert [what for what, _ in job["buttons"]] == ["resume", "remove"]
    assert ask(client, do="remove", id=name)["jobs"] == []


def test_what_was_done_in_part_can_be_tried_again(client, empty_roots):
    name = ask(client, do="add", **ONE)["id"]
    for errors, label, buttons in (((), "Done", ["remove"]), (("No.",), "Done in part", ["resume", "remove"])):
        queue.record(queue.find(name, empty_roots), Progress(state="done", errors=errors), empty_roots)
        (job,) = client.get("/jobs.json").json()["jobs"]
        assert (job["label"], [what for what, _ in job["buttons"]]) == (label, buttons)


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"do": ["add"]},
        {"do": "add"},
        {"do": "add", **ONE, "dataset": "phantom"},
        {"do": "add", **ONE, "size": "65"},
        {"do": "add", **ONE, "size": "9" * 5000},
        {"do": "plan", **ONE, "scope": {"a": 1}},
        {"do": "remove", "id": "../.."},
        {"do": "pause", "id": {"a": 1}},
    ],
)
def test_what_makes_no_sense_gets_a_sentence(client, words):
    answer = ask(client, **words)
    assert answer["message"].endswith(".")
    assert client.get("/jobs.json").json() == {"jobs": []}


def test_a_plan_says_what_it_costs(client):
    found = ask(client, do="plan", **ONE)["plan"]
    assert found["to_do"] == 1
    assert found["words"].startswith("1 cell to compute: ")
    missing = ask(client, do="plan", scope="row", encoder="pixels", protocol="paper")["plan"]
    assert missing["to_do"] == 0
    assert missing["words"] == "Nothing of this can be computed here."
    assert missing["unavailable"][0].endswith(".")


def test_switched_off_nothing_is_queued(client, monkeypatch):
    monkeypatch.setenv("RETRIEVAL_JOBS", "off")
    refused = client.post("/jobs", content=json.dumps({"do": "add", **ONE}), headers=JSON)
    assert refused.status_code == 403
    assert refused.json()["message"].endswith(".")
    assert client.get("/jobs.json").json() == {"jobs": []}
    assert jobs_tab.offer(cell("phantoms", 64, "pixels"), 90) is None


def test_switched_off_no_queue_is_shown_since_its_titles_tell_of_collections(client, monkeypatch):
    ask(client, do="add", **ONE)
    assert len(client.get("/jobs.json").json()["jobs"]) == 1
    monkeypatch.setenv("RETRIEVAL_JOBS", "off")
    assert client.get("/jobs.json").json() == {"jobs": []}


def test_an_offer_names_its_cell_and_how_long_it_takes(monkeypatch):
    monkeypatch.delenv("RETRIEVAL_JOBS", raising=False)
    offered = jobs_tab.offer(cell("phantoms", 64, "pixels", "cosine"), 600)
    assert offered == {"label": "Compute in the background, about 10 minutes", "cell": ONE}


def test_how_far_a_job_is(empty_roots):
    job = queue.add(Selection(datasets=("phantoms",), encoders=("pixels",)), empty_roots, title="Some")
    told = Progress(state="running", number=2, of=4, finished=1, share=0.5, words="At it", left=90.0)
    queue.record(job, told, empty_roots)
    (shown,) = jobs_tab.documents(empty_roots)
    assert shown["percent"] == 38
    assert shown["words"] == "Cell 2 of 4. At it."
    assert shown["label"] == "Interrupted, goes on soon"


def test_titles_say_what_is_computed(empty_roots):
    assert jobs_tab.title_of(STUDY, empty_roots) == "The study's whole grid"
    row = jobs_tab.chosen({"scope": "row", "encoder": "densenet121", "protocol": "paper"}, empty_roots)
    assert jobs_tab.title_of(row, empty_roots) == "DenseNet121 (Keras, as in the study) on several datasets, paper"


def test_search_offers_what_takes_longer_than_a_minute(monkeypatch):
    monkeypatch.delenv("RETRIEVAL_JOBS", raising=False)
    link = Link(cell=cell("phantoms", 64, "pixels", "cosine"))
    slow = Readiness("command", False, "Not computed.", "Run a command.", 600.0)
    assert view.not_ready(slow, link, history="keep")["later"]["cell"] == ONE
    assert view.not_ready(replace(slow, state="minute"), link, history="keep")["later"]["cell"] == ONE
    assert view.not_ready(replace(slow, state="ready"), link, history="keep")["later"]["cell"] == ONE  # for uploads
    assert view.not_ready(replace(slow, state="ready", seconds=0.0), link, history="keep")["later"] is None
    assert view.not_ready(replace(slow, state="unavailable"), link, history="keep")["later"] is None
