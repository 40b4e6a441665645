"""Archives at the command line: added, gone on with, asked with by a UID, and refused in sentences."""

import json
from collections.abc import Callable
from typing import Any

import orthanc
import pytest
from typer.testing import CliRunner

from retrieval.cli.commands import app
from retrieval.roots import Roots, environment_of

LOGIN = {"RETRIEVAL_DICOMWEB_USER": orthanc.USER, "RETRIEVAL_DICOMWEB_PASSWORD": orthanc.PASSWORD}
PHANTOMS = ("--dataset", "phantoms", "--size", "64", "--encoder", "pixels")
Run = Callable[..., Any]


@pytest.fixture
def run(empty_roots: Roots) -> Run:
    def go(*words: str, code: int = 0, login: dict[str, str] = LOGIN, document: bool = False) -> Any:
        more = ("--format", "json") if document else ()
        done = CliRunner().invoke(app, [*words, *more], env=environment_of(empty_roots) | login)
        assert done.exit_code == code, done.output
        assert orthanc.PASSWORD not in done.output
        return json.loads(done.stdout) if document else done.output

    return go


def test_an_archive_is_added_and_asked_with_by_a_uid(run: Run, archive: orthanc.Orthanc):
    place = f"dicomweb:{archive.url}"
    said = run("collection", "add", "ours", place, "--query", "Modality=CR", "--label-tag", "BodyPartExamined")
    assert f"ours: 24 pictures of 28 pixels a side, grey, from {archive.url}\n" in said
    assert "6 groups, none on two sides" in said
    assert "Fetching from 127.0.0.1" in said
    shown = run("collection", "show", "ours", document=True)
    assert (shown["kind"], shown["burned_in"], sorted(shown["classes"])) == ("dicomweb", [], ["BREAST", "CHEST"])
    assert shown["archive"] == {
        "url": archive.url,
        "query": {"Modality": "CR"},
        "label_tag": "BodyPartExamined",
    }
    assert archive.url in run("collection", "list")
    assert "Files: 0 new, 0 changed, 0 vanished." in run("collection", "update", "ours")

    uid = next(iter(archive.files))
    asked = ("--dataset", "ours", "--encoder", "pixels", "-k", "1")
    answer = run("search", f"{place}#{uid}", *asked, document=True)
    (query,) = answer["queries"]
    assert query["error"] is None
    assert len(query["neighbours"]) == 1
    refused = run("search", f"{place}#1.2.3", f"{place}#{uid}", *asked, code=1, document=True)
    assert ["has no picture with the UID 1.2.3" in str(each["error"]) for each in refused["queries"]] == [True, False]
    assert "is forgotten" in run("collection", "remove", "ours")


def test_a_login_is_asked_for_and_never_repeated(run: Run, archive: orthanc.Orthanc):
    place = f"dicomweb:{archive.url}"
    assert "answered 401: it does not let in" in run("collection", "add", "ours", place, code=1, login={})
    with_login = place.replace("//", "//reader:secret-word@")
    for words in (("collection", "add", "ours", with_login), ("search", f"{with_login}#1.2", *PHANTOMS)):
        said = run(*words, code=1)
        assert "holds a login" in said
        assert "secret-word" not in said
    half = {"RETRIEVAL_DICOMWEB_USER": "reader"}
    assert "the user or the password is not set" in run("collection", "add", "ours", place, code=1, login=half)


def test_a_name_is_no_label_and_no_question(run: Run):
    place = "dicomweb:http://127.0.0.1:9/rs"
    assert "cannot be a label" in run("collection", "add", "ours", place, "--label-tag", "PatientName", code=1)
    assert "tells of a person" in run("collection", "add", "ours", place, "--query", "PatientID=1", code=1)
    assert "no attribute" in run("collection", "add", "ours", place, "--query", "Modalty=CR", code=1)


def test_options_are_for_what_they_fit(run: Run, tmp_path):
    assert "is for archives" in run("collection", "add", "mine", str(tmp_path), "--query", "Modality=CR", code=2)
    assert "are for files" in run("collection", "add", "mine", "dicomweb:http://x", "--pattern", "(p)", code=2)
