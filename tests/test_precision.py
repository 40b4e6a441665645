"""A cell in bfloat16, from the spec to the pages: computed on a GPU, read everywhere, never under the study's protocol.

What follows the vectors needs no GPU: they are the float32 network's here, rounded to bfloat16. That networks compute
in it is looked at beside each library's loader.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from retrieval import artifacts, evaluation, readiness, search
from retrieval.answers import ItemQuery
from retrieval.cells import Cell, cell
from retrieval.cli import asking
from retrieval.embeddings import embedding
from retrieval.encoders import devices, loading
from retrieval.errors import Unavailable
from retrieval.jobs.leftovers import leftovers
from retrieval.jobs.plan import Selection, cells_of, plan
from retrieval.jobs.reasons import ORPHANED, STALE
from retrieval.leaderboard import leaderboard, to_csv
from retrieval.page import leaderboard_tab
from retrieval.page.desk import PHANTOMS, Desk
from retrieval.page.link import parse, to_words
from retrieval.page.uploads import open_uploads
from retrieval.results import Result
from retrieval.roots import SHIPPED, Roots

PLAIN = cell("phantoms", 64, "efficientnet_lite0", "cosine")
REDUCED = cell("phantoms", 64, "efficientnet_lite0.bf16", "cosine")
ON_CPU = devices.on_cpu("auto")

without_gpu = pytest.mark.skipif(not ON_CPU, reason="this machine has a GPU, where bfloat16 is not refused")


def fill(where: Cell, plain: Cell, roots: Roots) -> None:
    """Store vectors for a cell: the plain one's, rounded to bfloat16."""
    for side in ("train", "test"):
        key = embedding.key_of(where.data, where.size, side, where.spec)
        mark = evaluation.marks(where, roots).embeddings(side)
        exact = np.array(evaluation.embeddings(plain, side, roots, device="cpu").vectors)
        vectors = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
        artifacts.save(roots.cache, key, arrays={"vectors": vectors}, fingerprint=mark, meta={"device": "cpu"})


@pytest.fixture(scope="module")
def reduced(tmp_path_factory) -> Roots:
    """Roots whose cache holds the cell's vectors."""
    cache = tmp_path_factory.mktemp("cache")
    roots = Roots(data=(), weights=None, precomputed=SHIPPED, cache=cache)
    fill(REDUCED, PLAIN, roots)
    return roots


@pytest.fixture(scope="module")
def result(reduced) -> Result:
    return evaluation.evaluate(REDUCED, reduced)


@pytest.fixture
def desk(reduced, result) -> Desk:
    return Desk(roots=reduced, uploads=open_uploads(reduced.cache), start=PHANTOMS)


def test_its_fingerprints_are_its_own_and_its_weights_are_not(reduced):
    ours, theirs = evaluation.marks(REDUCED, reduced), evaluation.marks(PLAIN, reduced)
    assert ours.weights == theirs.weights and ours.verified
    assert len({ours.train, ours.test, theirs.train, theirs.test}) == 4
    assert len({ours.train_embeddings, ours.test_embeddings, theirs.train_embeddings, theirs.test_embeddings}) == 4


def test_a_row_has_its_own_title_and_stands_beside_the_plain_one(reduced, result):
    assert evaluation.evaluate(REDUCED, reduced) == result, "read back, not computed"
    rows = [row for row in leaderboard(reduced, synthetic=True) if row.encoder == REDUCED.encoder]
    assert [(row.protocol, row.source, row.verified) for row in rows] == [("cosine", "measured", True)]
    document = json.loads(json.dumps(leaderboard_tab.page_document(tuple(rows))))
    assert document["titles"]["encoder"][REDUCED.encoder] == "EfficientNet-Lite0 (ImageNet, bf16)"
    assert document["extractors"][REDUCED.encoder]["study"] == ""
    assert [row["searchable"] for row in document["rows"]] == [True]
    assert REDUCED.encoder in to_csv(rows)
    asking.check_filters({"encoder": REDUCED.encoder}, rows, reduced)


def test_it_is_no_leftover_unless_it_is_stale_or_of_an_unknown_network(reduced, result):
    assert leftovers(reduced) == ()
    stale, gone = (f"embeddings/phantoms/64/{name}/train" for name in ("densenet121.bf16", "gone.bf16"))
    known = replace(reduced, weights=reduced.cache / "weights of its own")
    artifacts.save(known.cache, gone, arrays={}, fingerprint="0" * 32, meta={})
    artifacts.save(known.cache, stale, arrays={}, fingerprint="0" * 32, meta={})
    assert [(one.key, one.why) for one in leftovers(known)] == [(gone, ORPHANED)], "without weights none can be told"
    own = "embeddings/phantoms/64/efficientnet_lite0.bf16/val"
    artifacts.save(known.cache, own, arrays={}, fingerprint="0" * 32, meta={})
    assert {one.key: one.why for one in leftovers(known)} == {gone: ORPHANED, own: STALE}
    for key in (gone, stale, own):
        (known.cache / f"{key}.json").unlink()


def test_an_address_brings_the_page_to_it(desk):
    words = {"dataset": "phantoms", "size": "64", "encoder": REDUCED.encoder}
    link = parse(words, PHANTOMS)
    assert link.cell.protocol == "cosine", "the first protocol that takes it"
    assert parse(dict(part.split("=") for part in to_words(link).split("&")), PHANTOMS) == link
    value = desk.handle({**words, "item": "test-3"}, address=True)
    assert (value["kind"], value["notice"]) == ("answer", "")
    assert value["extractor"]["offered"]["name"] == REDUCED.encoder
    assert value["extractor"]["offered"]["takes"] == [2, 3]


def test_an_address_that_names_the_studys_protocol_says_why_not(desk):
    words = {"dataset": "phantoms", "size": "64", "encoder": REDUCED.encoder, "protocol": "paper"}
    assert "float32 only" in desk.handle(words, address=True)["notice"]
    refusal = desk.handle(words)
    assert refusal["kind"] == "refusal" and "efficientnet_lite0," in refusal["remedy"]


@without_gpu
def test_without_a_gpu_what_is_stored_answers_and_uploads_say_why_not(desk, reduced):
    ready = readiness.of_pictures(REDUCED, reduced)
    assert (ready.state, ready.uploads) == ("ready", False)
    assert "is for a GPU" in ready.message and "Choose efficientnet_lite0" in ready.remedy
    value = desk.handle({"dataset": "phantoms", "size": "64", "encoder": REDUCED.encoder, "item": "test-3"})
    assert "is for a GPU" in value["instead"]
    assert search.find(ItemQuery("test", 3), REDUCED, reduced).neighbours


@without_gpu
def test_without_a_gpu_nothing_is_computed_and_the_plan_says_so(empty_roots):
    with pytest.raises(Unavailable, match="EfficientNet-Lite0 .* is for a GPU") as caught:
        loading.load_encoder(REDUCED.encoder, empty_roots)
    assert caught.value.remedy.startswith("Choose efficientnet_lite0, the same network in float32")
    with pytest.raises(Unavailable, match="is for a GPU"):
        evaluation.evaluate(REDUCED, empty_roots)
    selection = Selection(("phantoms",), (), ("efficientnet_lite0", REDUCED.encoder), ("cosine",))
    plain, ours = plan(selection, empty_roots)
    assert (plain.state, ours.state) == ("to do", "unavailable")
    assert "is for a GPU" in ours.cause and ours.remedy


def test_a_plan_for_the_cpu_refuses_it_whatever_the_machine_has(empty_roots, monkeypatch):
    monkeypatch.setattr(devices, "_SIGNS_OF_A_GPU", (__file__,))
    monkeypatch.setattr(devices, "ready", lambda device: "cuda" if device == "auto" else device)
    selection = Selection(("phantoms",), (), (REDUCED.encoder,), ("cosine",))
    states = {
        device: plan(selection, empty_roots, device=device)[0] for device in ("auto", "cpu", "cuda:1", "cpu,cuda:1")
    }
    assert [entry.state for entry in states.values()] == ["to do", "unavailable", "to do", "to do"]
    assert "is for a GPU" in states["cpu"].cause


@pytest.mark.parametrize("device", ["cuda:97", "cpu,cuda:97", "processor"])
def test_a_plan_for_a_device_that_is_not_there_says_so(empty_roots, device):
    with pytest.raises(Unavailable, match="cannot be used") as caught:
        plan(Selection(("phantoms",), (), ("pixels",)), empty_roots, device=device)
    assert "--device" in caught.value.remedy


def test_on_the_cpu_it_is_refused_whatever_the_machine_has(empty_roots):
    with pytest.raises(Unavailable, match="is for a GPU"):
        loading.load_encoder(REDUCED.encoder, empty_roots, device="cpu")


def test_a_plan_under_the_studys_protocol_is_refused_with_what_to_choose(empty_roots):
    with pytest.raises(Unavailable, match="not compared under the protocol paper") as caught:
        cells_of(Selection(("phantoms",), (), (REDUCED.encoder,)), empty_roots)
    assert "cosine, pca-256" in caught.value.remedy


@pytest.mark.gpu
def test_a_gpu_embeds_in_bfloat16(empty_roots, need):
    need(not ON_CPU, "an NVIDIA GPU that torch can use")
    made = evaluation.embeddings(REDUCED, "test", empty_roots)
    plain = evaluation.embeddings(PLAIN, "test", empty_roots, device="cuda")
    assert made.meta["precision"] == "bf16" and made.meta["device"].startswith("cuda")
    assert "precision" not in plain.meta
    assert made.vectors.dtype == np.float32 and not np.array_equal(made.vectors, plain.vectors)
    along = (made.vectors * plain.vectors).sum(1)
    lengths = np.linalg.norm(made.vectors, axis=1) * np.linalg.norm(plain.vectors, axis=1)
    assert (along / lengths).min() > 0.99
