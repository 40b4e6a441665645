import shutil
from contextlib import ExitStack

import pytest

from retrieval import artifacts, evaluation, results
from retrieval.cells import cell
from retrieval.embeddings import embedding
from retrieval.encoders import loading, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.jobs.leftovers import FINISHED, KILLED, ORPHANED, STALE, leftovers, remove

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


def _mark(roots):
    return evaluation.marks(PIXELS, roots).train_embeddings
