import time
from dataclasses import replace

import pytest

from retrieval import artifacts, evaluation, readiness
from retrieval.answers import Readiness
from retrieval.embeddings import embedding
from retrieval.encoders import builtin, devices
from retrieval.errors import Unavailable
from retrieval.jobs import manifests, running
from retrieval.jobs.plan import Selection, plan
from retrieval.jobs.running import Step, run
from retrieval.roots import Roots

SELECTION = Selection(("phantoms",), (), ("pixels", "histogram"), ("paper", "cosine"))


def test_a_run_computes_what_is_to_do_and_tells_how_far_it_is(empty_roots):
    steps: list[Step] = []
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=steps.append)
    assert [entry.state for entry in plan(SELECTION, empty_roots)] == ["done"] * 4
    assert len(outcome.done) == 4
    assert not outcome.failed and not outcome.busy
    assert [step.number for step in steps] == sorted(step.number for step in steps)
    assert {(step.number, step.of) for step in steps} == {(number, 4) for number in range(1, 5)}
    shares = [step.share for step in steps if step.number == 1]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_what_sees_the_same_pictures_is_embedded_together(empty_roots, tmp_path, monkeypatch):
    asked: list[tuple[str, list[str]]] = []
    steps: list[Step] = []
    real = running.embed_together

    def embed_together(data, size, side, specs, roots, **named):
        asked.append((side, [spec.name for spec in specs]))
        real(data, size, side, specs, roots, **named)
        for spec in specs:
            key = embedding.key_of(data, size, side, spec)
            assert (roots.cache / f"{key}.json").exists()

    monkeypatch.setattr(running, "embed_together", embed_together)
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 100)
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=steps.append)
    assert asked == [("train", ["pixels", "histogram"]), ("test", ["pixels", "histogram"])]
    assert len(outcome.done) == 4
    shares = [step.share for step in steps if step.number == 1]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(set(shares)) > 10
    words = [step.words for step in steps if step.number == 1]
    assert any("histogram" in said for said in words) and any("pixels" in said for said in words)
    assert not any("train" in step.words or "test" in step.words for step in steps if step.number > 1)
    apart = Roots(data=(), weights=None, precomputed=tmp_path / "none", cache=tmp_path / "apart")
    for one in outcome.done:
        files = [embedding.key_of(one.data, one.size, side, one.spec) + ".vectors.npy" for side in ("train", "test")]
        evaluation.evaluate(one, apart)
        assert all((apart.cache / file).read_bytes() == (empty_roots.cache / file).read_bytes() for file in files)


def test_a_manifest_shares_out_the_time_of_what_was_embedded_together(empty_roots, monkeypatch):
    real = running.embed_together

    def slowly(*args, **named):
        time.sleep(0.5)
        real(*args, **named)

    monkeypatch.setattr(running, "embed_together", slowly)
    began = time.monotonic()
    run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    spent = time.monotonic() - began
    (manifest,) = manifests.read_all(empty_roots)
    seconds = {line["cell"].split("/", 2)[2]: line["seconds"] for line in manifest["cells"]}
    assert sum(seconds.values()) <= spent
    assert seconds["pixels/paper"] > 0.1 and seconds["histogram/paper"] > 0.1  # of one second for both
    assert all(line["rate"] for line in manifest["cells"] if line["pictures"])


def test_a_manifest_says_what_ran(empty_roots):
    run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == "whole"
    assert [line["state"] for line in manifest["cells"]] == ["done"] * 4
    assert manifest["cells"][0]["pictures"] > 0
    assert manifest["host"] and manifest["versions"]["numpy"]
    keys = [line["cell"] for line in manifest["cells"]]
    assert manifest["asked"] == {"device": "auto", "cells": keys}
    assert manifest["begun"] <= manifest["until"]
    (result,) = [one for one in evaluation.current_results(empty_roots) if one.cell.key == keys[0]]
    assert manifest["cells"][0]["by"] == {
        "data": result.data,
        "weights": result.weights,
        "runtime": "numpy",
        "device": "cpu",
        "batch": 64,
        "precision": "fp32",
    }


def test_of_a_run_that_found_all_in_other_hands_or_nothing_to_do_no_manifest_stays(empty_roots):
    entries = plan(replace(SELECTION, encoders=("pixels",)), empty_roots)
    (first, *_) = entries
    key = embedding.key_of(first.cell.data, 64, "train", first.cell.spec)
    with artifacts.lock(empty_roots.cache / f"{key}.lock", what="it"):
        outcome = run(entries, empty_roots, report=lambda step: None)
    assert len(outcome.busy) == 2
    run((), empty_roots, report=lambda step: None)
    assert list(manifests.read_all(empty_roots)) == []


def test_a_cell_that_fails_does_not_hold_up_the_others(empty_roots, monkeypatch):
    real = embedding.check_finite

    def refuse(spec, vectors, what):
        real(spec, vectors * (float("nan") if spec.name == "pixels" else 1), what)

    monkeypatch.setattr(embedding, "check_finite", refuse)
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    assert {cell.encoder for cell in outcome.done} == {"histogram"}
    assert {cell.encoder for cell, _, _ in outcome.failed} == {"pixels"}
    assert all(message and remedy for _, message, remedy in outcome.failed)
    (manifest,) = manifests.read_all(empty_roots)
    assert [line["state"] for line in manifest["cells"]] == ["failed", "failed", "done", "done"]
    assert "not finite" in manifest["cells"][0]["error"]


@pytest.mark.parametrize("lost", [("neighbours", "embeddings"), ("neighbours",), ("embeddings",)])
def test_what_lacks_beside_a_stored_result_is_made_and_the_result_stays(empty_roots, lost):
    """As for the cells whose results are shipped without their neighbours or vectors."""
    run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in empty_roots.cache.glob("results/**/*.json")}
    for folder in lost:
        artifacts.remove_folder(empty_roots.cache / folder)
    cells = [entry.cell for entry in plan(SELECTION, empty_roots)]
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    assert list(outcome.done) == cells
    assert [entry.state for entry in plan(SELECTION, empty_roots)] == ["done"] * 4
    assert all(readiness.of_pictures(one, empty_roots) == Readiness("ready", True, "", "", 0.0) for one in cells)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept} == kept
    test = {one: (empty_roots.cache / f"embeddings/{one.dataset}/{one.size}/{one.encoder}/test.json") for one in cells}
    assert all(path.exists() == ("neighbours" in lost or "embeddings" not in lost) for path in test.values())


def too_large(monkeypatch, when: str) -> None:
    """Let memory be too small for raw pixels: for their encoder, for one of its batches, or for their rankings."""
    load, embed, evaluate = builtin.load, builtin.BuiltinEncoder.embed, running.evaluate

    def fail(fails: bool, whole, *words, **named):
        if fails:
            raise MemoryError
        return whole(*words, **named)

    if when == "loading":
        monkeypatch.setattr(builtin, "load", lambda spec: fail(spec.name == "pixels", load, spec))
    elif when == "embedding":
        monkeypatch.setattr(
            builtin.BuiltinEncoder, "embed", lambda self, seen: fail(self.spec.name == "pixels", embed, self, seen)
        )
    else:
        monkeypatch.setattr(
            running,
            "evaluate",
            lambda cell, *rest, **named: fail(cell.encoder == "pixels", evaluate, cell, *rest, **named),
        )


@pytest.mark.parametrize("when", ["loading", "embedding", "ranking"])
def test_a_cell_for_which_memory_is_too_small_does_not_hold_up_the_others(empty_roots, monkeypatch, when):
    too_large(monkeypatch, when)
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    assert {cell.encoder for cell in outcome.done} == {"histogram"}
    assert [cell.encoder for cell, _, _ in outcome.failed] == ["pixels", "pixels"]
    assert all(
        "too little memory for Raw pixels (baseline) on Phantoms (synthetic)" in message
        for _, message, _ in outcome.failed
    )
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == "whole"


@pytest.fixture
def broken(monkeypatch) -> None:
    """The encoder of raw pixels fails as CUDA and as nobody foresaw."""
    embed = builtin.BuiltinEncoder.embed

    def fail(self, seen):
        if self.spec.name == "pixels":
            raise RuntimeError("CUDA error: unspecified launch failure\nand where it was")
        return embed(self, seen)

    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", fail)


def test_a_cell_that_fails_as_nobody_foresaw_does_not_hold_up_the_others(empty_roots, broken, caplog):
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    assert {cell.encoder for cell in outcome.done} == {"histogram"} and len(outcome.done) == 2
    assert [cell.encoder for cell, _, _ in outcome.failed] == ["pixels", "pixels"]
    _, message, remedy = outcome.failed[0]
    assert message == (
        "Raw pixels (baseline) on Phantoms (synthetic) could not be computed, "
        "by an error that was not foreseen (RuntimeError)."
    )
    assert remedy.startswith("The log says what it was.")
    assert "Traceback" in caplog.text and "unspecified launch failure" in caplog.text
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == "whole"


def test_what_the_disk_refuses_of_a_cell_is_said_and_the_others_go_on(empty_roots, monkeypatch):
    evaluate = running.evaluate

    def refused(cell, *rest, **named):
        if cell.encoder == "pixels":
            raise PermissionError(13, "Permission denied")
        return evaluate(cell, *rest, **named)

    monkeypatch.setattr(running, "evaluate", refused)
    outcome = run(plan(SELECTION, empty_roots), empty_roots, report=lambda step: None)
    assert {cell.encoder for cell in outcome.done} == {"histogram"}
    assert all("Permission denied" in message and remedy for _, message, remedy in outcome.failed)


GONE = devices.Lost("The GPU was lost.", remedy="Run the same again.")


@pytest.mark.parametrize("encoders", [("pixels", "histogram"), ("pixels",)], ids=["together", "alone"])
def test_a_lost_gpu_ends_the_run_before_another_cell_is_tried_on_it(empty_roots, broken, monkeypatch, caplog, encoders):
    monkeypatch.setattr(devices, "lost", lambda device: GONE if device == "cuda:0" else None)
    monkeypatch.setattr(devices, "on_cpu", lambda device: True)  # so that there is room for both
    steps: list[Step] = []
    entries = plan(replace(SELECTION, encoders=encoders), empty_roots)
    with pytest.raises(devices.Lost):
        run(entries, empty_roots, device="cuda:0", report=steps.append)
    assert {step.number for step in steps} == {1}
    assert str(GONE) in caplog.text and "unspecified launch failure" in caplog.text
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == "stopped (Lost)"
    assert [(line["state"], line["error"]) for line in manifest["cells"]] == [("failed", str(GONE))]


def test_who_listens_can_end_it_by_an_error_of_the_products_own(empty_roots):
    def stop(step: Step) -> None:
        if step.share > 0:
            raise Unavailable("There is no room.")

    with pytest.raises(Unavailable, match="There is no room"):
        run(plan(SELECTION, empty_roots), empty_roots, report=stop)


def test_who_listens_can_end_it_and_what_is_finished_stays(empty_roots):
    class Enough(Exception):
        pass

    def stop(step: Step) -> None:
        if step.number == 2:
            raise Enough

    with pytest.raises(Enough):
        run(plan(SELECTION, empty_roots), empty_roots, report=stop)
    states = [entry.state for entry in plan(SELECTION, empty_roots)]
    assert states == ["done", "to do", "to do", "to do"]
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == "stopped (Enough)"


def test_what_another_process_holds_comes_last_and_is_named(empty_roots):
    (first, *rest) = plan(SELECTION, empty_roots)
    key = embedding.key_of(first.cell.data, 64, "train", first.cell.spec)
    with artifacts.lock(empty_roots.cache / f"{key}.lock", what="it"):
        outcome = run([first, *rest], empty_roots, report=lambda step: None)
    assert {cell.encoder for cell in outcome.busy} == {"pixels"}
    assert {cell.encoder for cell in outcome.done} == {"histogram"}
    (manifest,) = manifests.read_all(empty_roots)
    assert sorted(line["state"] for line in manifest["cells"]) == ["busy", "busy", "done", "done"]
    assert evaluation.evaluate(first.cell, empty_roots).n_gallery > 0
