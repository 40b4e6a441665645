"""The command line as programs and people meet it: real processes, real data, exit codes, one document."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from encoders.stand_in import Hub, served
from PIL import Image

from retrieval import doctor
from retrieval.cli import texts
from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parent.parent
NOWHERE = "http://127.0.0.1:9"  # a proxy that no one answers at, so that nothing is fetched

Run = Callable[..., subprocess.CompletedProcess[str]]
PIXELS = ("--dataset", "breastmnist", "--size", "28", "--encoder", "pixels")


def _environment(roots: Roots) -> dict[str, str]:
    named = {"RETRIEVAL_WEIGHTS": str(roots.weights)} if roots.weights else {}
    return named | {
        "RETRIEVAL_DATA": os.pathsep.join(map(str, roots.data)),
        "RETRIEVAL_PRECOMPUTED": str(roots.precomputed),
        "RETRIEVAL_CACHE": str(roots.cache),
        "PYTHONPATH": str(REPOSITORY),
        "ALL_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `python -m retrieval` with these roots, from a folder that is not the checkout."""

    def go(*words: object, roots: Roots, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith("RETRIEVAL_")}
        return subprocess.run(
            [sys.executable, "-m", "retrieval", *map(str, words)],
            cwd=tmp_path,
            env=keep | {"HOME": str(tmp_path)} | _environment(roots) | dict(environ or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    return go


@pytest.fixture
def breast(roots: Roots, need: Callable[[object, str], None]) -> Roots:
    need(is_at_hand(find_dataset("breastmnist"), 28, roots), "breastmnist.npz in RETRIEVAL_DATA")
    return roots


@pytest.fixture
def picture(breast: Roots, tmp_path: Path) -> Path:
    """A test picture of BreastMNIST as a PNG file."""
    path = tmp_path / "picture.png"
    Image.fromarray(open_split(find_dataset("breastmnist"), 28, "test", breast).images[3]).save(path)
    return path


def _document(done: subprocess.CompletedProcess[str], code: int = 0) -> dict:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_lists_every_dataset(run: Run, empty_roots: Roots) -> None:
    listed = _document(run("list", "datasets", "--format", "json", roots=empty_roots))
    assert [each["name"] for each in listed] == [dataset.name for dataset in DATASETS]
    assert {each["name"] for each in listed if each["at_hand"]} == {d.name for d in DATASETS if d.synthetic}


def test_lists_every_encoder_with_the_state_of_its_weights(run: Run, empty_roots: Roots) -> None:
    listed = _document(run("list", "encoders", "--format", "json", roots=empty_roots))
    assert [each["name"] for each in listed] == [spec.name for spec in ENCODERS]
    told = {"name", "library", "dim", "licence", "gated", "state", "domain", "bytes", "page"}
    assert all(told <= each.keys() for each in listed)
    states = {each["name"]: each["state"] for each in listed}
    assert states["pixels"] == states["efficientnet_lite0"] == "ready"
    assert states["densenet121"] == "downloadable"
    assert states["uni"] == "gated"
    sizes = {each["name"]: each["bytes"] for each in listed}
    assert (sizes["pixels"], sizes["uni"]) == (None, 1_213_527_781)


def test_people_get_an_aligned_table(run: Run, empty_roots: Roots) -> None:
    done = run("list", "encoders", roots=empty_roots)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    columns = lines[0].split()
    assert columns == ["name", "domain", "library", "dim", "gated", "state", "size", "title", "licence"]
    for name in ("domain", "library"):
        column = lines[0].index(name)
        assert [line[column:].split()[0] for line in lines[1:]] == [getattr(spec, name) for spec in ENCODERS]
    uni = next(line for line in lines if line.startswith("uni "))
    assert " yes " in uni and " gated " in uni and " 1.2 GB " in uni


def test_an_unknown_name_is_refused_with_the_nearest(run: Run, empty_roots: Roots) -> None:
    words = ("evaluate", "--dataset", "brestmnist", "--size", 28, "--encoder", "pixels")
    document = _document(run(*words, "--format", "json", roots=empty_roots), code=1)
    assert document.keys() == {"error"}
    assert document["error"]["message"] == "There is no dataset named 'brestmnist'."
    assert document["error"]["remedy"].startswith("Did you mean 'breastmnist'? Valid: ")

    for_people = run(*words, roots=empty_roots)
    assert (for_people.returncode, for_people.stdout) == (1, "")
    assert "Did you mean 'breastmnist'?" in for_people.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--dataset", "breastmnist"],
        ["list", "pictures"],
        ["search", *PIXELS],
        ["search", "a.png", *PIXELS, "-k", "0"],
        ["download"],
        ["download", "--dataset", "breastmnist", "--encoder", "densenet121"],
        ["nonsense"],
    ],
    ids=lambda words: " ".join(words),
)
def test_wrong_use_is_exit_2_and_silent_on_stdout(words: list[str], run: Run, empty_roots: Roots) -> None:
    done = run(*words, roots=empty_roots)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage" in done.stderr


def test_missing_data_say_what_to_do(run: Run, empty_roots: Roots) -> None:
    error = _document(run("evaluate", *PIXELS, "--format", "json", roots=empty_roots), code=1)["error"]
    assert "breastmnist.npz" in error["message"]
    assert "download --dataset breastmnist --size 28" in error["remedy"]


def test_a_download_without_network_is_refused_in_a_sentence(run: Run, empty_roots: Roots) -> None:
    for what in (("--dataset", "breastmnist"), ("--encoder", "densenet121")):
        error = _document(run("download", *what, "--format", "json", roots=empty_roots), code=1)["error"]
        assert error["message"] and error["remedy"]
    assert not list(empty_roots.cache.rglob("*.npz"))


def test_a_download_of_weights_says_licence_gate_and_size_before_it_starts(run: Run, empty_roots: Roots) -> None:
    done = run("download", "--encoder", "uni", roots=empty_roots)
    assert (done.returncode, done.stdout) == (1, "")
    told, refusal = done.stderr.split("Page: https://huggingface.co/MahmoodLab/UNI\n")
    assert told.splitlines() == [
        "Licence: CC-BY-NC-ND-4.0 (https://huggingface.co/MahmoodLab/UNI)",
        "Gated: yes: the publisher gives them out after a login and consent",
        "Size: about 1.2 GB",
    ]
    assert "HF_HUB_OFFLINE forbids downloads" in refusal and "RETRIEVAL_WEIGHTS" in refusal


def test_a_gated_download_without_a_login_is_refused_with_the_page(run: Run, empty_roots: Roots) -> None:
    with served(Hub(repo="MahmoodLab/UNI", gated=True)) as hub:
        online = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}
        error = _document(
            run("download", "--encoder", "uni", "--format", "json", roots=empty_roots, environ=online), code=1
        )["error"]
    assert [one.path.rpartition("/")[2] for one in hub.asked] == ["pytorch_model.bin"]
    assert "no login was found here" in error["message"]
    assert "https://huggingface.co/MahmoodLab/UNI" in error["remedy"] and "hf auth login" in error["remedy"]


def test_weights_that_come_and_cannot_be_used_do_not_stay(run: Run, empty_roots: Roots) -> None:
    source = find_encoder("rad_dino").weights
    assert source is not None
    content = b"not a checkpoint, though it is what lies on the Hub"
    with served(Hub(repo=source.repo, files={source.revision: {source.filename: content}})) as hub:
        online = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "0"}
        words = ("download", "--encoder", "rad_dino", "--format", "json")
        error = _document(run(*words, roots=empty_roots, environ=online), code=1)["error"]
    assert "cannot be read" in error["message"] and "It was removed from the cache." in error["message"]
    assert source.repo in error["remedy"]
    assert [path for path in empty_roots.cache.rglob("*") if path.is_file() and content in path.read_bytes()] == []


def test_fetched_weights_say_where_they_lie_and_what_they_are_known_by(run: Run, empty_roots: Roots) -> None:
    document = _document(run("download", "--encoder", "efficientnet_lite0", "--format", "json", roots=empty_roots))
    source = find_encoder("efficientnet_lite0").weights
    assert source is not None
    assert (document["digest"], document["verified"], document["revision"]) == (source.digest, True, None)
    assert Path(document["file"]).stat().st_size == document["bytes"] == source.bytes
    for_people = run("download", "--encoder", "efficientnet_lite0", roots=empty_roots).stdout.splitlines()
    assert for_people == [document["file"], f"Digest of the tensors {source.digest}; verified."]


def test_other_weights_than_the_known_ones_are_called_so(run: Run, empty_roots: Roots, tmp_path: Path) -> None:
    import torch

    found = {}
    for name in ("efficientnet_lite0", "rad_dino"):
        source = find_encoder(name).weights
        assert source is not None
        snapshot = tmp_path / "weights" / name / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        torch.save({"weight": torch.ones(3)}, snapshot / "pytorch_model.bin")
        (snapshot / "pytorch_model.bin").rename(
            snapshot / (source.filename if "lite0" in name else "pytorch_model.bin")
        )
        own = replace(empty_roots, weights=tmp_path / "weights")
        found[name] = run("download", "--encoder", name, roots=own).stdout
    assert "NOT verified: other tensors than the ones that are known (aefcda92" in found["efficientnet_lite0"]
    assert f"revision {'0' * 40} (not the pinned 2ec9ca0e" in found["rad_dino"]
    assert "NOT verified: nobody has told this product what to compare them with" in found["rad_dino"]


def test_what_is_at_hand_is_not_fetched(run: Run, breast: Roots) -> None:
    document = _document(run("download", "--dataset", "breastmnist", "--format", "json", roots=breast))
    assert (document["dataset"], document["size"]) == ("breastmnist", 28)
    assert Path(document["file"]).is_file()


def test_evaluate_computes_the_contract_document(run: Run, breast: Roots, tmp_path: Path) -> None:
    anew = replace(breast, precomputed=tmp_path / "none", cache=tmp_path / "cache")
    document = _document(run("evaluate", *PIXELS, "--format", "json", roots=anew))
    assert {name: document[name] for name in ("dataset", "size", "encoder", "protocol")} == {
        "dataset": "breastmnist",
        "size": 28,
        "encoder": "pixels",
        "protocol": "paper",
    }
    assert (document["n_queries"], document["verified"]) == (156, True)
    assert document["published"] is None and document["hits_difference"] is None
    for name, hits in document["hits"].items():
        assert document["metrics"][name] == pytest.approx(100 * hits / 156, abs=1e-9)

    listed = _document(run("list", "results", "--format", "json", roots=anew))
    assert [each["metrics"] for each in listed] == [document["metrics"]]
    lists, vectors = "neighbours/breastmnist/28/pixels/paper", "embeddings/breastmnist/28/pixels"
    made = [anew.cache / f"{key}.json" for key in (f"{lists}/test", f"{lists}/train", f"{vectors}/train")]
    for path in made:
        path.unlink()
    for_people = run("evaluate", *PIXELS, roots=anew)
    cell = ("--datasets", "breastmnist", "--sizes", "28", "--encoders", "pixels", "--protocols", "paper")
    assert "1 cell computed" in run("precompute", *cell, roots=anew).stdout
    assert all(path.is_file() for path in made), "what lacks beside a stored result is computed too"
    assert f"{document['metrics']['ACC@1']:.2f} % ({document['hits']['ACC@1']} of 156)" in for_people.stdout


def test_evaluate_stands_beside_the_study(run: Run, breast: Roots, need: Callable[[object, str], None]) -> None:
    need(breast.weights, "RETRIEVAL_WEIGHTS with densenet121")
    words = ("evaluate", "--dataset", "breastmnist", "--size", 28, "--encoder", "densenet121", "--format", "json")
    document = _document(run(*words, roots=breast))
    assert document["hits_difference"] == {"mMV@5": 0, "ACC@1": 0, "ACC@3": 0, "ACC@5": 0}
    assert document["metrics"]["mAP@5"] == pytest.approx(document["published"]["mAP@5"], abs=0.011)
    cosine = _document(run(*words, "--protocol", "cosine", roots=breast))
    assert cosine["published"] is None


def test_search_answers_what_it_can(run: Run, breast: Roots, picture: Path, tmp_path: Path) -> None:
    text, absent = tmp_path / "notes.png", tmp_path / "absent.png"
    text.write_text("not a picture")
    done = run("search", picture, text, absent, *PIXELS, "-k", 3, "--format", "json", roots=breast)
    document = _document(done, code=1)
    assert [query["file"] for query in document["queries"]] == [str(picture), str(text), str(absent)]
    found, unreadable, nowhere = document["queries"]
    assert found["error"] is None
    assert [each["rank"] for each in found["neighbours"]] == [1, 2, 3]
    scores = [each["score"] for each in found["neighbours"]]
    assert scores == sorted(scores)
    labels = [each["label_name"] for each in found["neighbours"]]
    assert found["vote"]["share"] == pytest.approx(labels.count(found["vote"]["label_name"]) / 3)
    for refused in (unreadable, nowhere):
        assert refused["error"]["message"] and refused["error"]["remedy"]
        assert refused["neighbours"] == [] and refused["vote"] is None


def test_search_of_readable_pictures_is_exit_0(run: Run, breast: Roots, picture: Path) -> None:
    done = run("search", picture, *PIXELS, "--protocol", "cosine", roots=breast)
    assert done.returncode == 0, done.stderr
    assert f"{picture}: vote: " in done.stdout
    _, trust, score, *rows = done.stdout.splitlines()
    said = (
        r"Among test items whose first neighbour says “[\w ]+”, (\d+) of (\d+) are \((.+) %, 95 % interval .+ to .+\)\."
    )
    found = re.fullmatch(said, trust)
    assert found, trust
    hits, n, share = map(float, found.groups())
    assert share == pytest.approx(100 * hits / n, abs=0.05)
    assert score == "Score: cosine similarity (higher is nearer)."
    assert len(rows) == 1 + 5


def test_evaluate_speaks_of_duplicates_where_it_leaves_them_out(run: Run, breast: Roots) -> None:
    """Groups are what people say of their own pictures."""
    said = run("evaluate", *PIXELS, roots=breast).stdout
    assert "duplicates left out" in said and "groups" not in said


def test_where_nothing_is_known_of_an_answer_that_is_said() -> None:
    none = {"basis": "first neighbour", "label_name": "rare", "hits": 0, "n": 0, "low": None, "high": None}
    query = {"error": None, "neighbours": [], "vote": None, "nearness": None, "reliability": None, "verified": True}
    words = texts.answers({"protocol": "paper", "queries": [{**query, "text": "a scar"}]})
    assert "How far to trust this is not known.\nScore: cosine similarity" in words
    unseen = texts.answers({"protocol": "paper", "queries": [{**query, "file": "a.png", "reliability": none}]})
    assert "of no test item does the first neighbour say “rare”.\nScore: distance (lower is nearer)." in unseen


def test_search_that_cannot_begin_keeps_its_own_document(run: Run, empty_roots: Roots) -> None:
    document = _document(run("search", "a.png", *PIXELS, "--format", "json", roots=empty_roots), code=1)
    assert document["dataset"] == "breastmnist"
    assert document["queries"][0]["error"] == document["error"]


def test_leaderboard_in_three_forms(run: Run, roots: Roots) -> None:
    document = _document(run("leaderboard", "--format", "json", roots=roots))
    assert any(row["source"] == "published" for row in document["rows"])
    table = run("leaderboard", "--format", "csv", "--dataset", "breastmnist", roots=roots)
    records = list(csv.DictReader(StringIO(table.stdout)))
    assert {record["dataset"] for record in records} == {"breastmnist"}
    for_people = run("leaderboard", "--dataset", "breastmnist", "--size", 28, roots=roots)
    assert for_people.returncode == 0
    assert for_people.stdout.startswith("breastmnist 28, 156 queries\n")


def test_leaderboard_does_not_filter_by_an_unknown_name(run: Run, roots: Roots) -> None:
    done = run("leaderboard", "--encoder", "densnet121", "--format", "json", roots=roots)
    assert "Did you mean 'densenet121'?" in _document(done, code=1)["error"]["remedy"]
    assert run("leaderboard", "--encoder", "openclip", roots=roots).returncode == 0  # only the study has it


def test_doctor_says_what_is_missing_and_how_to_get_it(run: Run, empty_roots: Roots) -> None:
    checks = _document(run("doctor", "--format", "json", roots=empty_roots))["checks"]
    assert {check["state"] for check in checks} <= {"ok", "missing", "note"}
    assert all(check["remedy"] for check in checks if check["state"] == "missing")
    found = {check["name"]: check for check in checks}
    assert found["data breastmnist"]["state"] == found["weights densenet121"]["state"] == "missing"
    assert found["data phantoms"]["state"] == found["RETRIEVAL_CACHE"]["state"] == "ok"


@pytest.mark.parametrize(("version", "state"), [("3.11.2", "ok"), ("3.12.0", "ok"), ("3.13.1", "note")])
def test_doctor_notes_a_python_that_was_not_tested(
    empty_roots: Roots, monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: version)
    python = doctor.examine(empty_roots)[0]
    assert (python.state, version in python.message) == (state, True)


def test_doctor_notices_a_damaged_result(run: Run, empty_roots: Roots) -> None:
    path = empty_roots.cache / "results" / "breastmnist" / "28" / "pixels" / "paper.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"checksum": "0", "result": {}}')
    done = run("doctor", roots=empty_roots)
    assert done.returncode == 0
    assert "evaluate --dataset breastmnist --size 28 --encoder pixels --protocol paper" in done.stdout


def test_the_disk_saying_no_is_a_sentence(run: Run, breast: Roots, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file where the cache folder should be")
    blocked = replace(breast, precomputed=tmp_path / "none", cache=in_the_way / "cache")
    error = _document(run("evaluate", *PIXELS, "--format", "json", roots=blocked), code=1)["error"]
    assert "RETRIEVAL_CACHE" in error["remedy"]


def test_a_download_of_an_extractor_without_a_name_speaks_of_extractors(run: Run, empty_roots: Roots) -> None:
    error = _document(run("download", "--encoder", "", "--format", "json", roots=empty_roots), code=1)["error"]
    assert error["message"] == "There is no extractor named ''." and "densenet121" in error["remedy"]


# --- precompute ------------------------------------------------------------------------------------------------------

TWO = ("precompute", "--datasets", "phantoms", "--encoders", "histogram", "--protocols", "paper,pca-8")


def test_precompute_lists_computes_and_has_nothing_left_to_do(run, empty_roots):
    listed = run(*TWO, "--dry-run", "--format", "json", roots=empty_roots)
    assert listed.returncode == 0
    assert [cell["state"] for cell in json.loads(listed.stdout)["cells"]] == ["to do", "to do"]
    computed = run(*TWO, roots=empty_roots)
    assert computed.returncode == 0, computed.stderr
    assert computed.stdout.startswith("2 cells computed")
    assert "Cell 1 of 2, phantoms/64/histogram/paper" in computed.stderr
    again = run(*TWO, "--format", "json", roots=empty_roots)
    assert [cell["state"] for cell in json.loads(again.stdout)["cells"]] == ["done", "done"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "--encoder", "efficientnet_lite0.bf16"), "not compared under the protocol paper"),
        (("embed", "--dataset", "phantoms", "--size", 64, "--encoder", "efficientnet_lite0.bf16"), "is for a GPU"),
    ],
)
def test_in_bfloat16_nothing_is_verified_nor_run_on_a_processor(run, empty_roots, words, said):
    device = ("--device", "cpu", "--format", "json")
    error = _document(run(*words, *device, roots=empty_roots), code=1)["error"]
    assert said in error["message"]
    assert "Choose efficientnet_lite0, the same network in float32" in error["remedy"]


def test_precompute_says_what_is_missing_and_what_to_do(run, empty_roots):
    done = run("precompute", "--datasets", "phantoms", "--encoders", "uni", roots=empty_roots)
    assert done.returncode == 1
    assert "unavailable" in done.stderr
    assert "download --encoder uni" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--datasets", "phantom"), "Did you mean 'phantoms'?"),
        (("--sizes", "big"), "no size in pixels"),
        (("--study", "--encoders", "uni"), "its own extractors"),
        (("--protocols", "tsne-2"), "t-SNE places only"),
        (("--encoders", "resnet50.bf16"), "not compared under the protocol paper"),
        (("--encoders", "resnet50.fp8"), "Did you mean 'resnet50.bf16'?"),
    ],
)
def test_precompute_refuses_what_makes_no_sense(run, empty_roots, words, said):
    refused = run("precompute", *words, "--dry-run", roots=empty_roots)
    assert refused.returncode == 1
    assert said in refused.stderr


@pytest.mark.parametrize("words", [["-m", "retrieval", "serve"], [str(REPOSITORY / "app.py")]], ids=["serve", "app.py"])
def test_a_port_that_is_taken_is_named(words: list[str], empty_roots: Roots, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {**os.environ, **_environment(empty_roots), "GRADIO_SERVER_PORT": port}
        done = subprocess.run([sys.executable, *words], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"cannot be served at 127.0.0.1, port {port}: Address already in use. Name another" in " ".join(
        done.stderr.split()
    )
    assert "Traceback" not in done.stderr


def test_without_a_cache_that_can_be_written_there_is_a_diagnosis_and_a_leaderboard(
    run: Run, breast: Roots, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    bare = replace(breast, cache=tmp_path / "file")
    checks = {check["name"]: check for check in _document(run("doctor", "--format", "json", roots=bare))["checks"]}
    assert checks["RETRIEVAL_CACHE"]["state"] == "missing"
    assert "evaluated" in checks["results"]["message"]
    done = run("leaderboard", "--dataset", "breastmnist", "--size", "28", roots=bare)
    assert done.returncode == 0 and "densenet121" in done.stdout
    assert "damaged" not in done.stderr


def test_numbers_from_a_file_that_nobody_published_say_so(run: Run, breast: Roots, tmp_path: Path) -> None:
    altered, other = tmp_path / "altered", replace(breast, data=(tmp_path / "altered",), cache=tmp_path / "cache")
    altered.mkdir()
    published = next(path for folder in breast.data for path in [folder / "breastmnist.npz"] if path.is_file())
    arrays = dict(np.load(published))
    arrays["train_images"][0, 0, 0] ^= 1
    np.savez(altered / "breastmnist.npz", **arrays)
    Image.fromarray(arrays["test_images"][3]).save(tmp_path / "picture.png")
    assert run("evaluate", *PIXELS, roots=other).returncode == 0
    assert "Data or weights are NOT verified." in run("search", tmp_path / "picture.png", *PIXELS, roots=other).stdout
    lines = run("leaderboard", "--dataset", "breastmnist", roots=other).stdout.splitlines()
    assert "NOT verified" in next(line for line in lines if line.startswith("pixels"))


def test_a_folder_is_called_a_folder(run: Run, breast: Roots, tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    assert "'slices' is a folder. Name one file" in run("search", tmp_path / "slices", *PIXELS, roots=breast).stdout


def test_an_answer_that_cannot_be_written_is_said(run: Run, empty_roots: Roots, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "retrieval", "list", "datasets"]
    environ = {**os.environ, **_environment(empty_roots)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, env=environ, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "The answer could not be written: No space left on device.\n"
