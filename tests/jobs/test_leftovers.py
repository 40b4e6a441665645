from retrieval import artifacts, evaluation, results
from retrieval.cells import cell
from retrieval.encoders import loading, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.jobs.leftovers import KILLED, ORPHANED, STALE, leftovers, remove

PIXELS = cell("phantoms", 64, "pixels")


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
