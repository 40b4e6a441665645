import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_words
from safetensors.numpy import save_file

from retrieval import artifacts, evaluation, results, verification
from retrieval.cells import cell
from retrieval.datasets import opening
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding
from retrieval.encoders import catalogue, loading, text_towers, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Joint
from retrieval.jobs.leftovers import leftovers, remove
from retrieval.jobs.reasons import FINISHED, KILLED, ORPHANED, STALE, UNFINISHED, UNPACKED

PIXELS = cell("phantoms", 64, "pixels")
TRAIN = "embeddings/phantoms/64/pixels/train"


@pytest.fixture
def begun(empty_roots, monkeypatch):
    """The roots, with the first shard of a run that was ended."""
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 50)
    making = embedding.by_shards(PIXELS.data, 64, "train", PIXELS.spec, empty_roots)
    assert next(making) is None
    making.close()
    return empty_roots


@pytest.fixture
def finished(begun):
    """The roots, with the whole, and beside it the shards as a run leaves them that is killed before they go."""
    shards = begun.cache / f"{TRAIN}.shards"
    shutil.copytree(shards, shards.with_name("kept"))
    embedding.embed(PIXELS.data, 64, "train", PIXELS.spec, begun)
    shards.with_name("kept").rename(shards)
    return begun


def _files(roots):
    return {path for path in roots.cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_what_is_of_use_is_no_leftover(empty_roots):
    evaluation.evaluate(PIXELS, empty_roots)
    assert leftovers(empty_roots) == ()


def test_what_is_stale_is_named_with_its_size_and_goes_when_asked(empty_roots):
    evaluation.evaluate(PIXELS, empty_roots)
    before = _files(empty_roots)
    key = "embeddings/phantoms/64/histogram/train"
    found = artifacts.load((empty_roots.cache,), "embeddings/phantoms/64/pixels/train", fingerprint=_mark(empty_roots))
    artifacts.save(empty_roots.cache, key, arrays=found.arrays, fingerprint="0" * 32, meta={})
    (one,) = leftovers(empty_roots)
    assert (one.key, one.why) == (key, STALE)
    assert one.bytes > found.arrays["vectors"].nbytes
    assert remove((one,), empty_roots) == (one,)
    assert _files(empty_roots) == before
    assert leftovers(empty_roots) == ()


def test_a_stale_result_and_one_of_an_unknown_name(empty_roots):
    found = evaluation.evaluate(PIXELS, empty_roots)
    fields = vars(found)
    results.write(empty_roots.cache, type(found)(**{**fields, "fingerprint": "0" * 32}))
    unknown = type(found.cell)("phantoms", 64, "gone", "paper")
    results.write(empty_roots.cache, type(found)(**{**fields, "cell": unknown}))
    why = {one.key: one.why for one in leftovers(empty_roots)}
    assert why == {"results/phantoms/64/gone/paper": ORPHANED, "results/phantoms/64/pixels/paper": STALE}


def test_what_a_killed_write_left_goes_and_what_is_being_written_stays(empty_roots):
    left = empty_roots.cache / "results" / ".paper.json.abc.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    seen = []

    def write(stream):
        stream.write(b"whole")
        seen.extend(leftovers(empty_roots))

    artifacts.write_atomic(empty_roots.cache / "results" / "other.json", write)
    assert [(one.why, one.bytes) for one in seen] == [(KILLED, 4)]


def test_what_another_process_holds_is_left_alone(empty_roots):
    key = "embeddings/phantoms/64/histogram/train"
    artifacts.save(empty_roots.cache, key, arrays={}, fingerprint="0" * 32, meta={})
    with artifacts.lock(empty_roots.cache / f"{key}.lock", what="it"):
        assert leftovers(empty_roots) == ()
    assert len(leftovers(empty_roots)) == 1


def _when_the_first_goes(monkeypatch, act):
    """Do something while things are being removed, as another process may."""
    remove_file, done = artifacts.remove_file, []

    def removed(path):
        remove_file(path)
        if not done:
            done.append(path)
            act()

    monkeypatch.setattr(artifacts, "remove_file", removed)


def test_what_is_made_anew_while_the_rest_goes_stays(empty_roots, monkeypatch):
    result = evaluation.evaluate(PIXELS, empty_roots)
    results.write(empty_roots.cache, type(result)(**{**vars(result), "fingerprint": "0" * 32}))
    artifacts.save(empty_roots.cache, "embeddings/phantoms/64/gone/train", arrays={}, fingerprint="", meta={})
    found = leftovers(empty_roots)
    assert [one.why for one in found] == [ORPHANED, STALE]
    _when_the_first_goes(monkeypatch, lambda: results.write(empty_roots.cache, result))
    assert remove(found, empty_roots) == found[:1]
    assert results.read(results.path_of(empty_roots.cache, PIXELS)) == result


def test_what_another_process_comes_to_hold_while_the_rest_goes_stays(empty_roots, monkeypatch):
    held = "neighbours/phantoms/64/histogram/paper/train"
    for key in ("embeddings/phantoms/64/gone/train", held):
        artifacts.save(empty_roots.cache, key, arrays={}, fingerprint="0" * 32, meta={})
    found = leftovers(empty_roots)
    assert [one.key for one in found][1:] == [held]
    with ExitStack() as stack:
        lock = artifacts.lock(empty_roots.cache / f"{held}.lock", what="it")
        _when_the_first_goes(monkeypatch, lambda: stack.enter_context(lock))
        assert remove(found, empty_roots) == found[:1]
    assert remove(found, empty_roots) == found[1:]


def test_shards_that_the_next_run_takes_up_are_no_leftover(begun):
    assert leftovers(begun) == ()


def test_the_shards_of_a_finished_run_go_and_what_came_of_them_stays(finished):
    (one,) = leftovers(finished)
    assert (one.key, one.why) == (f"{TRAIN}.shards", FINISHED)
    assert one.bytes > 50 * 64 * 64 * 4
    assert remove((one,), finished) == (one,)
    assert not (finished.cache / f"{TRAIN}.shards").exists()
    assert artifacts.load((finished.cache,), TRAIN, fingerprint=_mark(finished)) is not None


def test_shards_from_which_damaged_vectors_are_made_again_are_no_leftover(finished):
    whole = finished.cache / f"{TRAIN}.vectors.npy"
    whole.write_bytes(whole.read_bytes()[:-1])
    assert leftovers(finished) == ()


def test_shards_that_another_process_holds_are_left_alone(finished):
    found = leftovers(finished)
    with artifacts.lock(finished.cache / f"{TRAIN}.lock", what="it"):
        assert leftovers(finished) == ()
        assert remove(found, finished) == ()
    assert remove(found, finished) == found


@pytest.mark.parametrize(("encoder", "why"), [("pixels", STALE), ("gone", ORPHANED)])
def test_shards_that_no_run_takes_up_go_with_all_that_is_in_them(encoder, why, begun):
    shards = begun.cache / f"embeddings/phantoms/64/{encoder}/val.shards"
    shutil.copytree(begun.cache / f"{TRAIN}.shards", shards)  # of another split, as they would be of other weights
    (shards / ".00000050.vectors.npy.abc.part").write_bytes(b"half")
    (one,) = leftovers(begun)
    assert (one.key, one.why) == (shards.relative_to(begun.cache).as_posix(), why)
    assert one.bytes == sum(path.stat().st_size for path in shards.iterdir())
    assert remove((one,), begun) == (one,)
    assert not shards.exists() and leftovers(begun) == ()


def test_graphs_of_other_weights_go_and_those_of_the_weights_at_hand_stay(empty_roots):
    spec = find_encoder("efficientnet_lite0")  # its weights come with the installation
    digest = loading.identify(spec, empty_roots).digest
    for weights in (digest, "0" * 32):
        mark = with_onnx.fingerprint_of(spec, weights, (224, 224))
        key = f"graphs/{spec.name}/{mark}"
        artifacts.save(empty_roots.cache, key, arrays={}, fingerprint=mark, meta={"side": (224, 224)})
    (one,) = leftovers(empty_roots)
    assert (one.key, one.why) == (key, STALE)


def _saved(key, roots, mark="0" * 32):
    artifacts.save(roots.cache, key, arrays={"vectors": np.zeros(3)}, fingerprint=mark, meta={})


def _whys(roots):
    return {one.key: one.why for one in leftovers(roots)}


def _aged(path, days):
    past = time.time() - 86_400 * days
    os.utime(path, (past, past))


@pytest.mark.parametrize("key", ["embeddings/gone/64/pixels/train", "neighbours/phantoms/64/pixels/paper/test"])
def test_arrays_whose_manifest_was_never_written_go_unless_somebody_is_writing_them(key, empty_roots):
    _saved(key, empty_roots)
    (empty_roots.cache / f"{key}.json").unlink()
    with artifacts.lock(empty_roots.cache / f"{key}.lock", what="it"):
        assert leftovers(empty_roots) == ()
    (one,) = leftovers(empty_roots)
    assert (one.key, one.why) == (key, KILLED) and one.bytes > 24
    assert remove((one,), empty_roots) == (one,)
    assert _files(empty_roots) == set()


@pytest.mark.parametrize("key", ["groups/phantoms/64", "graphs/efficientnet_lite0/0123"])
def test_what_is_written_without_a_lock_must_be_a_day_old(key, empty_roots):
    _saved(key, empty_roots)
    (empty_roots.cache / f"{key}.json").unlink()
    assert leftovers(empty_roots) == ()
    _aged(empty_roots.cache / f"{key}.vectors.npy", 2)
    assert _whys(empty_roots) == {key: KILLED}


def test_variants_of_what_is_unknown_go_and_those_of_which_it_cannot_be_told_stay(begun):
    place = begun.cache / "embeddings/phantoms/64"
    for name in ("gone.32", "gone.joint", "pixels.joint", "pixels.other"):
        _saved(f"embeddings/phantoms/64/{name}/train", begun)
    for name in ("gone.32", "pixels.other"):
        shutil.copytree(begun.cache / f"{TRAIN}.shards", place / name / "val.shards")
    gone = ["gone.32/train", "gone.32/val.shards", "gone.joint/train", "pixels.joint/train"]
    assert _whys(begun) == {f"embeddings/phantoms/64/{name}": ORPHANED for name in gone}


def test_a_variant_that_was_compared_with_stays_until_it_would_be_made_otherwise(empty_roots):
    where = cell("phantoms3d", 28, "pixels")
    enlarged = verification.enlarged(where.spec)
    embedding.embed(where.data, 28, "test", enlarged, empty_roots, variant=str(verification.ENLARGED))
    assert leftovers(empty_roots) == ()
    key = f"embeddings/phantoms3d/28/pixels.{verification.ENLARGED}/train"
    _saved(key, empty_roots)
    assert _whys(empty_roots) == {key: STALE}


def test_a_gallery_for_words_stays_until_it_would_be_made_otherwise(empty_roots, monkeypatch, tmp_path):
    roots = replace(empty_roots, weights=tmp_path / "weights")
    tiny = tiny_words.tiny_spec()
    projected = replace(tiny, text=replace(tiny.text, joint=Joint(pooling="another", layout=tiny.layout, steps=())))
    monkeypatch.setattr(catalogue, "ENCODERS", (*catalogue.ENCODERS, projected))
    key = "embeddings/phantoms/64/tiny_words.joint/train"
    _saved(key, roots)
    assert leftovers(roots) == (), "without weights it cannot be told"
    (tmp_path / "weights" / "tiny_words").mkdir(parents=True)
    save_file({"any": np.zeros(3)}, tmp_path / "weights" / "tiny_words" / "tiny.safetensors")
    assert _whys(roots) == {key: STALE}
    spec, weights = text_towers.joint(projected)[0], loading.identify(projected, roots).digest
    data = evaluation.split_of(PIXELS, "train", roots).digest
    _saved(key, roots, embedding.fingerprint_of(PIXELS.data, 64, "train", spec, data=data, weights=weights))
    assert leftovers(roots) == ()


def test_a_download_goes_once_nobody_has_gone_on_with_it_for_a_week(empty_roots):
    keys = ["downloads/pathmnist_224.npz.part", "hub/models--a--b/incoming/c/0123.part", "weights/d/e.pth.part"]
    for key in keys:
        place = empty_roots.cache / key
        place.parent.mkdir(parents=True)
        place.write_bytes(b"half")
        _aged(place, 6)
    assert leftovers(empty_roots) == ()
    for key in keys:
        _aged(empty_roots.cache / key, 8)
    with artifacts.lock(empty_roots.cache / "downloads/pathmnist_224.npz.lock", what="the download"):
        assert _whys(empty_roots) == dict.fromkeys(keys[1:], UNFINISHED)
    found = leftovers(empty_roots)
    assert [(one.key, one.bytes) for one in found] == [(key, 4) for key in keys]
    (empty_roots.cache / keys[0]).write_bytes(b"gone on with")
    assert remove(found, empty_roots) == found[1:]
    assert _files(empty_roots) == {empty_roots.cache / keys[0]}


@pytest.fixture
def unpacked(roots, empty_roots, need):
    """Roots of their own with a copy of a published file, opened; and that copy."""
    data = find_dataset("breastmnist")
    found = opening.locate(data, 28, roots)
    need(found and found.suffix == ".npz", "breastmnist.npz in RETRIEVAL_DATA")
    empty_roots.data[0].mkdir(parents=True, exist_ok=True)
    copied = shutil.copy(found, empty_roots.data[0])
    opening.open_split(data, 28, "train", empty_roots)
    return empty_roots, Path(copied)


def test_a_published_file_unpacked_serves_in_its_place_and_goes_when_that_is_another(unpacked):
    roots, file = unpacked
    data, official = find_dataset("breastmnist"), f"data/{find_dataset('breastmnist').files[28].md5}"
    assert leftovers(roots) == ()
    with np.load(file) as arrays:
        others = dict(arrays)
    file.unlink()
    assert leftovers(roots) == (), "it is what the dataset is opened from now"
    np.savez_compressed(file, **others)
    (one,) = leftovers(roots)
    assert (one.key, one.why) == (official, UNPACKED) and one.bytes > others["train_images"].nbytes
    opening.open_split(data, 28, "train", roots)
    with artifacts.lock(roots.cache / f"{official}.lock", what="it"):
        assert leftovers(roots) == ()
    assert remove((one,), roots) == (one,)
    assert not (roots.cache / official).exists() and leftovers(roots) == ()
    file.unlink()
    assert list(_whys(roots).values()) == [UNPACKED], "this one was not the published file"


def test_what_was_half_unpacked_goes_as_a_whole(unpacked):
    roots, _ = unpacked
    folder = roots.cache / "data" / find_dataset("breastmnist").files[28].md5
    (folder / "manifest.json").unlink()
    (folder / ".val_images.npy.abc.part").write_bytes(b"half")
    assert _whys(roots) == {f"data/{folder.name}": KILLED}
    assert len(remove(leftovers(roots), roots)) == 1
    assert not folder.exists()


def _mark(roots):
    return evaluation.marks(PIXELS, roots).train_embeddings
