"""A collection is a dataset like any other: evaluated, searched, grouped, planned, computed by jobs, on the board."""

import json
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes, write_picture
from PIL import Image

from retrieval import artifacts, doctor, evaluation, results, search
from retrieval.answers import ItemQuery, UploadQuery
from retrieval.cells import AS_THEY_ARE, cell, grid
from retrieval.datasets.collections import adding, records
from retrieval.datasets.opening import open_split
from retrieval.embeddings import embedding
from retrieval.errors import BadInput, Unavailable
from retrieval.groups import find_groups
from retrieval.jobs import queue, running, worker
from retrieval.jobs.leftovers import leftovers, remove
from retrieval.jobs.plan import Selection, cells_of, plan
from retrieval.jobs.reasons import STALE
from retrieval.leaderboard import leaderboard
from retrieval.roots import Roots


@pytest.fixture
def folder(tmp_path: Path, empty_roots: Roots) -> Path:
    """Sixty pictures of two classes, of which the last of each is there twice and once moved by a pixel."""
    write_classes(tmp_path / "mine", {"dark": 30, "light": 30})
    adding.add("mine", tmp_path / "mine", empty_roots)
    return tmp_path / "mine"


def test_a_cell_carries_its_collection(folder: Path, empty_roots: Roots):
    found = cell("mine", None, "histogram", roots=empty_roots)
    assert found == cell("mine", 0, "histogram", "paper", roots=empty_roots)
    assert hash(found) == hash(cell("mine", 0, "histogram", "paper", roots=empty_roots))
    assert (found.key, found.size, found.side) == ("mine/0/histogram/paper", AS_THEY_ARE, 16)
    assert found.data.counts["train"] == 42
    assert found in grid(empty_roots) and not any(one.dataset == "mine" for one in grid())


def test_a_size_may_be_left_out_of_a_collection_alone(empty_roots: Roots):
    with pytest.raises(BadInput, match="comes in several sizes"):
        cell("breastmnist", None, "histogram", roots=empty_roots)


@pytest.mark.parametrize("size", [0, 28])
def test_it_is_evaluated_and_stands_on_the_board(folder: Path, empty_roots: Roots, size: int):
    asked = cell("mine", size, "pixels", roots=empty_roots)
    found = evaluation.evaluate(asked, empty_roots)
    assert found.as_published.metrics["ACC@1"] == 100.0  # one class is brighter
    assert found.as_published.n_queries == 12 and found.n_gallery == 42
    assert results.read(results.path_of(empty_roots.cache, asked)) == found
    assert evaluation.evaluate(asked, empty_roots) == found
    rows = {row.encoder: row for row in leaderboard(empty_roots) if row.dataset == "mine"}
    assert set(rows) == {"pixels", "majority class", "blind draw"}
    assert rows["majority class"].as_published.metrics["ACC@1"] == 50.0
    assert rows["pixels"].as_published.beats_majority["ACC@1"] is True
    low, high = rows["pixels"].as_published.intervals["ACC@1"]
    assert 70 < low < high == 100.0


def test_after_an_update_the_result_is_made_again(folder: Path, empty_roots: Roots):
    before = evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)
    write_classes(folder, {"dark": 10}, first=50)
    adding.update("mine", empty_roots)
    assert [row for row in leaderboard(empty_roots) if row.dataset == "mine"] == []
    after = evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)
    assert after.n_gallery > before.n_gallery and after.data != before.data


def test_its_pictures_are_found_again_and_duplicates_are_marked(folder: Path, empty_roots: Roots):
    asked = cell("mine", None, "pixels", roots=empty_roots)
    gallery = open_split(asked.data, 0, "train", empty_roots)
    answer = search.find(UploadQuery(folder / gallery.images.files[5].name), asked, empty_roots)
    assert (answer.neighbours[0].index, answer.neighbours[0].duplicate) == (5, "exact")
    assert answer.neighbours[0].score == 0.0
    sampled = search.find(search.sample(asked, empty_roots, seed=0), asked, empty_roots)
    assert sampled.vote[0].label_name == sampled.query_label_name
    assert sampled.reliability is not None and sampled.reliability.n > 0


def test_groups_are_the_same_at_every_size_and_span_shapes(tmp_path: Path, empty_roots: Roots):
    folder = tmp_path / "mine"
    write_classes(folder, {"a": 40}, shape=(60, 60))
    picture = Image.open(folder / "a" / "00000.png")
    picture.save(folder / "a" / "copy.bmp")
    picture.resize((120, 120), Image.Resampling.BICUBIC).save(folder / "a" / "larger.png")
    asked = {"a/copy.bmp", "a/larger.png"}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    rows = [f"{name},a,{'test' if name in asked else 'train'}" for name in names]
    (folder / "table.csv").write_text("\n".join(["file,label,split", *rows]))
    adding.add("mine", folder, empty_roots)
    data = cell("mine", None, "histogram", roots=empty_roots).data
    found = find_groups(data, 0, empty_roots)
    assert np.array_equal(find_groups(data, 64, empty_roots).train, found.train)
    assert found.test.tolist() == [found.train[0]] * 2, "the copy, and the one of another shape"
    assert len(set(found.train)) == 40


def test_without_labels_it_is_searched_and_not_ranked(tmp_path: Path, empty_roots: Roots):
    for number in range(40):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=number)
    adding.add("mine", tmp_path / "mine", empty_roots)
    asked = cell("mine", None, "pixels", roots=empty_roots)
    with pytest.raises(Unavailable, match="have no labels, so that no ranking"):
        evaluation.evaluate(asked, empty_roots)
    search.prepare(asked, empty_roots)
    answer = search.find(ItemQuery("test", 0), asked, empty_roots)
    assert answer.vote == () and answer.reliability is None and answer.query_labels is None
    assert {neighbour.agrees for neighbour in answer.neighbours} == {None}
    assert answer.nearness is not None
    selection = Selection(("mine",), (), ("pixels",))
    (entry,) = plan(selection, empty_roots)
    assert entry.state == "done"
    artifacts.remove_folder(empty_roots.cache / "embeddings")
    (entry,) = plan(selection, empty_roots)
    assert (entry.state, entry.cause) == ("to do", "Its neighbours are stored, the vectors of its gallery are not.")
    assert running.run([entry], empty_roots, report=lambda step: None).done == (asked,)
    assert plan(selection, empty_roots)[0].state == "done"


def test_a_gallery_without_queries_is_searched(tmp_path: Path, empty_roots: Roots):
    rows = ["file,split"]
    for number in range(12):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=number)
        rows.append(f"{number}.png,train")
    (tmp_path / "mine" / "table.csv").write_text("\n".join(rows))
    adding.add("mine", tmp_path / "mine", empty_roots)
    asked = cell("mine", None, "pixels", roots=empty_roots)
    assert evaluation.sides_of(asked) == ("train",)
    answer = search.find(UploadQuery(tmp_path / "mine" / "3.png"), asked, empty_roots)
    assert answer.neighbours[0].score == 0.0


def test_raw_pixels_of_an_upload_of_another_shape_are_refused(folder: Path, empty_roots: Roots, tmp_path: Path):
    other = write_picture(tmp_path / "other.png", seed=1, shape=(20, 31))
    asked = cell("mine", None, "pixels", roots=empty_roots)
    with pytest.raises(BadInput, match="yours has another than those of mine"):
        search.find(UploadQuery(other), asked, empty_roots)
    assert search.find(UploadQuery(other), cell("mine", None, "histogram", roots=empty_roots), empty_roots)


def test_too_few_pictures_are_searched_and_not_ranked(tmp_path: Path, empty_roots: Roots):
    write_classes(tmp_path / "mine", {"a": 3, "b": 3})
    adding.add("mine", tmp_path / "mine", empty_roots)
    with pytest.raises(Unavailable, match="a ranking is judged from 6"):
        evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)


def test_nothing_but_duplicates_is_no_ranking(tmp_path: Path, empty_roots: Roots):
    rows = ["file,label,split"]
    for number in range(20):
        write_picture(tmp_path / "mine" / f"{number}.png", seed=0)
        rows.append(f"{number}.png,{'ab'[number % 2]},{'test' if number > 15 else 'train'}")
    (tmp_path / "mine" / "table.csv").write_text("\n".join(rows))
    adding.add("mine", tmp_path / "mine", empty_roots)
    with pytest.raises(Unavailable, match="the same picture again"):
        evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)


def test_a_plan_takes_its_pictures_as_they_are_unless_sizes_are_named(folder: Path, empty_roots: Roots):
    chosen = Selection(datasets=("mine",), encoders=("histogram",))
    assert [one.size for one in cells_of(chosen, empty_roots)] == [0]
    sized = Selection(datasets=("mine",), sizes=(28, 64), encoders=("histogram",))
    assert [one.size for one in cells_of(sized, empty_roots)] == [28, 64]
    everything = cells_of(Selection(encoders=("histogram",)), empty_roots)
    assert [one.size for one in everything if one.dataset == "mine"] == [0]


def test_a_job_computes_it(folder: Path, empty_roots: Roots):
    chosen = Selection(datasets=("mine",), encoders=("pixels", "histogram"))
    job = queue.add(chosen, empty_roots, title="Mine")
    worker.work(empty_roots, device="cpu", until_empty=True)
    assert queue.find(job.id, empty_roots).state == "done"
    assert {entry.state for entry in plan(chosen, empty_roots)} == {"done"}
    runs = [json.loads(path.read_text()) for path in (empty_roots.cache / "runs").glob("*.json")]
    assert {line["cell"] for line in runs[0]["cells"]} == {"mine/0/pixels/paper", "mine/0/histogram/paper"}


def test_of_a_job_whose_collection_is_removed_the_rest_is_done_and_it_is_said(folder: Path, empty_roots: Roots):
    adding.add("other", folder, empty_roots)
    chosen = Selection(datasets=("mine", "other"), encoders=("pixels",))
    job = queue.add(chosen, empty_roots, title="Both")
    records.remove("mine", empty_roots)
    assert queue.jobs(empty_roots) == (job,)
    assert queue.pause(job.id, empty_roots).state == "paused"
    assert queue.resume(job.id, empty_roots).state == "waiting"
    worker.do(queue.find(job.id, empty_roots), empty_roots, device="cpu")
    done = queue.find(job.id, empty_roots)
    assert (done.state, done.progress.words) == ("done", "1 cell computed.")
    assert done.progress.errors == (
        "The collection mine was removed after this was queued. Add it again to compute it.",
    )
    queue.remove(job.id, empty_roots)
    assert queue.jobs(empty_roots) == ()


def test_a_job_of_a_removed_collection_alone_fails_with_a_sentence(folder: Path, empty_roots: Roots):
    job = queue.add(Selection(datasets=("mine",), encoders=("pixels",)), empty_roots, title="Mine")
    records.remove("mine", empty_roots)
    worker.do(job, empty_roots, device="cpu")
    failed = queue.find(job.id, empty_roots)
    assert failed.state == "failed"
    assert failed.progress.errors[0].startswith("There is no dataset named 'mine'.")
    adding.add("mine", folder, empty_roots)
    assert queue.next_job(empty_roots) is None, "it does not begin by itself"


def test_a_job_whose_collection_is_removed_while_it_runs_stays_in_sight(
    folder: Path, empty_roots: Roots, monkeypatch: pytest.MonkeyPatch
):
    real = worker.run

    def run(*words, **named):
        records.remove("mine", empty_roots)
        assert [one.state for one in queue.jobs(empty_roots)] == ["running"]
        return real(*words, **named)

    monkeypatch.setattr(worker, "run", run)
    job = queue.add(Selection(datasets=("mine",), encoders=("pixels",)), empty_roots, title="Mine")
    with artifacts.lock(queue.lock_file(empty_roots), what="the queue"):
        worker.do(job, empty_roots, device="cpu")
    failed = queue.find(job.id, empty_roots)
    assert failed.state == "failed" and failed.progress.errors[0].startswith("mine/0/pixels/paper: ")


def test_what_an_update_leaves_stale_goes_but_not_the_vectors(folder: Path, empty_roots: Roots):
    evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)
    assert leftovers(empty_roots) == ()
    write_classes(folder, {"dark": 10}, first=50)
    adding.update("mine", empty_roots)
    kinds = {one.key.split("/")[0] for one in leftovers(empty_roots)}
    assert kinds == {"neighbours", "groups", "results"}


def test_shards_serve_until_another_update(folder: Path, empty_roots: Roots, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 4)
    shards = "embeddings/mine/0/pixels/train.shards"

    def begin() -> None:
        asked = cell("mine", None, "pixels", roots=empty_roots)
        making = embedding.by_shards(asked.data, 0, "train", asked.spec, empty_roots)
        assert next(making) is None
        making.close()
        assert (empty_roots.cache / shards).is_dir() and leftovers(empty_roots) == ()

    def update(first: int) -> None:
        write_classes(folder, {"dark": 10}, first=first)
        adding.update("mine", empty_roots)

    begin()
    update(50)
    assert [(one.key, one.why) for one in leftovers(empty_roots)] == [(shards, STALE)]
    asked = cell("mine", None, "pixels", roots=empty_roots)
    embedding.embed(asked.data, 0, "train", asked.spec, empty_roots)
    update(70)
    begin()  # beside the vectors that are kept
    update(90)
    found = leftovers(empty_roots)
    assert [(one.key, one.why) for one in found] == [(shards, STALE)]
    assert remove(found, empty_roots) == found


def test_what_was_set_aside_stays_while_it_is_what_would_be_kept(folder: Path, empty_roots: Roots):
    asked = cell("mine", None, "pixels", roots=empty_roots)
    key = "embeddings/mine/0/pixels/train"
    mark = embedding.embed(asked.data, 0, "train", asked.spec, empty_roots).fingerprint
    whole = artifacts.load((empty_roots.cache,), key, fingerprint=mark)
    artifacts.save(empty_roots.cache, f"{key}.shards/kept", arrays=whole.arrays, fingerprint=mark, meta=whole.meta)
    write_classes(folder, {"dark": 10}, first=50)
    adding.update("mine", empty_roots)
    assert [one.why for one in leftovers(empty_roots)] == [STALE], "the whole is there"
    vectors = empty_roots.cache / f"{key}.vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert leftovers(empty_roots) == ()


def test_removing_it_removes_what_was_computed(folder: Path, empty_roots: Roots):
    evaluation.evaluate(cell("mine", None, "pixels", roots=empty_roots), empty_roots)
    records.remove("mine", empty_roots)
    assert [path for path in empty_roots.cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
    assert len(list(folder.rglob("*.png"))) == 60


def test_the_doctor_looks_whether_it_is_there(folder: Path, empty_roots: Roots):
    def looked() -> doctor.Check:
        return next(check for check in doctor.examine(empty_roots) if check.name == "collection mine")

    assert looked().state == "ok"
    folder.rename(folder.with_name("elsewhere"))
    assert looked().state == "missing" and "collection remove mine" in looked().remedy
