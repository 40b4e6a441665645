"""`collection ...` as programs and people meet it: one document, sentences, exit codes, and real pictures."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, SHARED
from own_pictures import write_classes
from typer.testing import CliRunner
from volume_files import axial_nifti

from retrieval.cli.commands import app
from retrieval.roots import Roots, environment_of

Run = Callable[..., Any]
UPLOADS = SHARED / "uploads"


@pytest.fixture
def run(empty_roots: Roots) -> Run:
    """Run a command of the program in this process; `document=True` gives what it printed as JSON."""

    def go(*words: object, code: int = 0, document: bool = False) -> Any:
        more = ("--format", "json") if document else ()
        done = CliRunner().invoke(app, [*map(str, words), *more], env=environment_of(empty_roots))
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if document else done.stdout

    return go


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classes(tmp_path / "mine", {"dark": 20, "light": 30})
    (tmp_path / "mine" / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "mine"


def test_add_says_what_there_is_and_what_comes_next(run: Run, folder: Path):
    said = run("collection", "add", "mine", folder)
    assert "mine: 50 pictures of 16 pixels a side, grey" in said
    assert "35 to search in, 10 to ask with, 5 set aside; no groups." in said
    assert "dark/broken.png" in said
    assert "python -m retrieval evaluate --dataset mine --encoder" in said


def test_the_document_is_the_same_for_add_and_show(run: Run, folder: Path):
    added = run("collection", "add", "mine", folder, "--seed", 3, document=True)
    assert added == run("collection", "show", "mine", document=True)
    assert added["counts"] == {"train": 35, "val": 5, "test": 10}
    assert added["classes"]["dark"] == {"train": 14, "val": 2, "test": 4}
    assert (added["seed"], added["kind"], added["labelled"], added["channels"]) == (3, "folder", True, 1)
    assert [each["name"] for each in added["left_out"]] == ["dark/broken.png"]


def test_list_update_export_remove(run: Run, folder: Path, tmp_path: Path):
    assert run("collection", "list", document=True) == []
    run("collection", "add", "mine", folder)
    (listed,) = run("collection", "list", document=True)
    assert (listed["name"], listed["pictures"], listed["source"]) == ("mine", 50, str(folder))
    write_classes(folder, {"dark": 2}, first=80)
    updated = run("collection", "update", "mine", document=True)
    assert updated["new"] == ["dark/00080.png", "dark/00081.png"] and updated["pictures"] == 52
    assert "Files: 0 new, 0 changed, 0 vanished." in run("collection", "update", "mine")
    table = tmp_path / "mine.csv"
    assert run("collection", "export", "mine", "--to", table, document=True)["pictures"] == 52
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert rows[0]["file"] == "dark/00000.png" and {row["split"] for row in rows} == {"train", "val", "test"}
    run("collection", "remove", "mine")
    assert run("collection", "list", document=True) == []


def test_what_is_exported_is_read_again_with_the_same_splits(run: Run, folder: Path, tmp_path: Path):
    first = run("collection", "add", "mine", folder, document=True)
    run("collection", "export", "mine", "--to", folder / "table.csv")
    second = run("collection", "add", "again", folder, "--seed", 9, document=True)
    assert second["classes"] == first["classes"]


def test_it_is_among_the_datasets(run: Run, folder: Path):
    run("collection", "add", "mine", folder)
    found = next(each for each in run("list", "datasets", document=True) if each["name"] == "mine")
    assert found["sizes"] == found["at_hand"] == [0, 28, 64, 128, 224]
    assert found["own"]["labelled"] is True
    assert "mine" in run("list", "datasets")
    error = run("embed", "--dataset", "mine", "--size", 7, "--encoder", "pixels", code=1, document=True)["error"]
    assert error["remedy"].endswith("Valid: 0 (as they are), 28, 64, 128, 224.")


def test_without_a_size_it_is_embedded_evaluated_searched_and_planned(run: Run, folder: Path):
    run("collection", "add", "mine", folder)
    asked = ("--dataset", "mine", "--encoder", "histogram")
    assert run("embed", *asked, document=True) == {
        **{"dataset": "mine", "size": 0, "encoder": "histogram"},
        **{"n_gallery": 35, "n_queries": 10},
    }
    found = run("evaluate", *asked, document=True)
    assert found["size"] == 0 and found["n_queries"] == 10
    assert found["baselines"]["majority class"]["ACC@1"] == 60.0
    low, high = found["intervals"]["ACC@1"]
    assert low < found["metrics"]["ACC@1"] <= high
    said = run("evaluate", *asked)
    assert "mine as they are, histogram, paper: 10 queries" in said
    assert "95 % interval" in said and "majority class 60.00 %; blind draw" in said
    answer = run("search", folder / "dark" / "00003.png", *asked, document=True)
    assert answer["size"] == 0 and len(answer["queries"][0]["neighbours"]) == 5
    (entry,) = run("precompute", "--datasets", "mine", "--encoders", "histogram", "--dry-run", document=True)["cells"]
    assert (entry["size"], entry["state"]) == (0, "done")
    rows = run("leaderboard", "--dataset", "mine", document=True)["rows"]
    assert {row["encoder"] for row in rows} == {"histogram", "majority class", "blind draw"}
    assert "mine as they are, 10 queries" in run("leaderboard", "--dataset", "mine")


@pytest.mark.parametrize(("splits", "remedy"), [(["train"] * 12, "or give some the split test"), (["train"] * 3, "")])
def test_what_cannot_be_judged_is_searched_next(run: Run, tmp_path: Path, splits: list[str], remedy: str):
    """All in the gallery, as advised for searching in every picture; and too few for a ranking."""
    files = write_classes(tmp_path / "few", {"dark": 6, "light": 6})
    rows = [f"{file.parent.name}/{file.name},{file.parent.name}" for file in files]
    given = [*splits, *["test"] * (len(rows) - len(splits))]
    lines = [f"{row},{split}" for row, split in zip(rows, given, strict=True)]
    (tmp_path / "few" / "table.csv").write_text("\n".join(["file,label,split", *lines]))
    assert "Run: python -m retrieval search PICTURE --dataset few --encoder" in run(
        "collection", "add", "few", tmp_path / "few"
    )
    error = run("evaluate", "--dataset", "few", "--encoder", "pixels", code=1, document=True)["error"]
    assert "a ranking is judged from 6 and one on" in error["message"] and remedy in error["remedy"]


def test_three_pictures_are_searched_and_a_k_that_is_too_large_says_why(run: Run, tmp_path: Path):
    picture, *_ = write_classes(tmp_path / "few", {"dark": 2, "light": 1})
    run("collection", "add", "few", tmp_path / "few")
    asked = ("search", picture, "--dataset", "few", "--encoder", "pixels")
    assert len(run(*asked, document=True)["queries"][0]["neighbours"]) == 2
    assert len(run(*asked, "-k", 2, document=True)["queries"][0]["neighbours"]) == 2
    error = run(*asked, "-k", 3, code=1, document=True)["queries"][0]["error"]
    assert error["message"] == "The gallery of few holds 2 pictures, so at most 2 neighbours can be shown."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("collection", "add", "breastmnist", "{folder}"), "the name of a dataset already"),
        (("collection", "add", "My Pictures", "{folder}"), "cannot be the name of a collection"),
        (("collection", "add", "mine", "{folder}/nowhere"), "there is no such folder or archive"),
        (("collection", "show", "mine"), "There is no collection named 'mine'"),
        (("collection", "remove", "../mine"), "There is no collection named"),
        (("evaluate", "--dataset", "mine", "--encoder", "pixels"), "There is no dataset named 'mine'"),
        (("evaluate", "--dataset", "phantoms", "--encoder", "pixels"), "comes in several sizes"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_exit_1(run: Run, folder: Path, words: tuple[str, ...], message: str):
    error = run(*(word.format(folder=folder) for word in words), code=1, document=True)["error"]
    assert message in error["message"] and error["remedy"]


@pytest.mark.parametrize(
    "words",
    [
        "embed --dataset phantoms --size 64 --encoder pixels --device foo",
        "evaluate --dataset phantoms --size 64 --encoder pixels --device cuda:x",
        "precompute --device cuda:0,foo --dry-run",
        "download --encoder pixels --size 28",
        "collection export mine --to mine.csv --size 28",
    ],
)
def test_options_that_would_do_nothing_are_wrong_usage(run: Run, words: str):
    assert run(*words.split(), code=2) == ""


@pytest.mark.parametrize(
    ("name", "pictures", "classes"), [("blood", 190, 5), ("fundus", 185, 5), ("chest_xray", 200, 2)]
)
def test_real_pictures_become_collections(run: Run, need, name: str, pictures: int, classes: int):
    need((UPLOADS / name).is_dir(), f"uploads/{name} beside the checkout")
    found = run("collection", "add", name, UPLOADS / name, document=True)
    assert (found["pictures"], len(found["classes"]), found["left_out"]) == (pictures, classes, [])
    judged = run("evaluate", "--dataset", name, "--encoder", "histogram", document=True)
    assert judged["n_queries"] == found["counts"]["test"]
    assert set(judged["baselines"]) == {"majority class", "blind draw"}


def test_mednist_becomes_a_collection_in_one_command(run: Run, need, empty_roots: Roots, tmp_path: Path):
    """A real process on the whole archive: 12,000 pictures, six classes, its exact duplicates listed."""
    archive = SHARED / "collections" / "MedNIST-12000.tar"
    need(archive.is_file(), "collections/MedNIST-12000.tar beside the checkout")
    command = [sys.executable, "-m", "retrieval", "collection", "add", "mednist", str(archive), "--format", "json"]
    environ = environment_of(empty_roots, {**os.environ, "PYTHONPATH": str(REPOSITORY)})
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counts"] == {"train": 8400, "val": 1200, "test": 2400}
    assert len(found["classes"]) == 6 and found["duplicates"] and found["duplicates_on_two_sides"] == []


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("mine.txt", "its name ends in none of .npz, .npy, .parquet"),
        ("mine/dark", "it is a folder"),
        ("mine/dark/00000.png/new/mine.npz", "00000.png is no folder"),
    ],
)
def test_where_to_write_is_looked_at_before_the_work(run: Run, folder: Path, empty_roots: Roots, to: str, message: str):
    run("collection", "add", "mine", folder)
    words = ("collection", "export", "mine", "--encoder", "pixels", "--to", folder.parent / to)
    error = run(*words, code=1, document=True)["error"]
    assert message in error["message"] and "RETRIEVAL_CACHE" not in error["remedy"]
    assert not (empty_roots.cache / "embeddings").exists()


def test_verify_looks_at_where_to_write_first(run: Run, tmp_path: Path):
    (tmp_path / "taken.csv").mkdir()
    error = run("verify", "--encoder", "nothing", "--out", tmp_path / "taken.csv", code=1, document=True)["error"]
    assert error["message"].endswith("taken.csv' cannot be written: it is a folder.")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Sixteen volumes and two pictures in two class folders."""
    for number in range(16):
        volume = np.random.default_rng(number).integers(0, 256, (6, 9, 8), np.uint8)
        path = tmp_path / "scans" / ("even", "odd")[number % 2] / f"{number:02d}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(axial_nifti(volume))
    write_classes(tmp_path / "scans", {"even": 1, "odd": 1})
    return tmp_path / "scans"


def test_volumes_are_added_evaluated_and_searched(run: Run, scans: Path):
    said = run("collection", "add", "mine", scans, "--volumes")
    assert "mine: 16 volumes of 6 to 9 voxels a side, grey" in said
    assert "They are compared as cubes of 28 voxels a side, with --size of 64." in said
    assert "*.png: 2 files whose names end so are of no kind of volume that is read here." in said
    found = run("collection", "show", "mine", document=True)
    assert (found["ndim"], found["reduced_volumes"], found["sides"]) == (3, 0, {"shortest": 6, "longest": 9})
    asked = ("--dataset", "mine", "--encoder", "pixels")
    assert run("evaluate", *asked, document=True)["size"] == 28
    assert "mine 28, pixels, paper" in run("evaluate", *asked)
    answer = run("search", scans / "even" / "00.nii", *asked, "-k", 1, document=True)
    assert answer["size"] == 28 and answer["queries"][0]["neighbours"]
    (listed,) = [each for each in run("list", "datasets", document=True) if each["name"] == "mine"]
    assert (listed["ndim"], listed["sizes"]) == (3, [28, 64])
    (entry,) = run("precompute", "--datasets", "mine", "--encoders", "pixels", "--dry-run", document=True)["cells"]
    assert (entry["size"], entry["state"]) == (28, "done")
    refused = run("collection", "export", "mine", "--encoder", "pixels", "--to", "mine.npz", code=1, document=True)
    assert "a vector of each slice" in refused["error"]["message"]


def test_a_folder_of_volumes_says_that_their_middle_slices_were_taken(run: Run, scans: Path):
    said = (
        "16 of 18 files are volumes, of which the middle slice was taken; "
        "add them with --volumes to compare whole volumes."
    )
    assert said in run("collection", "add", "mine", scans)
    assert said in run("collection", "show", "mine")
    assert run("collection", "show", "mine", document=True)["reduced_volumes"] == 16
