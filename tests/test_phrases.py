"""Words as queries: what is compared, what is refused, and the command line that asks with them."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_words
import torch
from encoders.vocabularies import put_vocabulary

from retrieval import evaluation, phrases, readiness, search
from retrieval.answers import TextQuery
from retrieval.cells import Cell, cell
from retrieval.embeddings import embedding
from retrieval.encoders import catalogue, loading, text_towers, vocabularies
from retrieval.encoders.catalogue import find_encoder
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

WORDS = "a bright disc in the middle"


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Roots with the weights of the tiny encoder; phantoms need no data."""
    folder = tmp_path_factory.mktemp("words")
    roots = Roots(data=(), weights=folder / "weights", precomputed=folder / "precomputed", cache=folder / "cache")
    tiny_words.put_weights(roots)
    return roots


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """The drawn pictures by the tiny encoder."""
    monkeypatch.setattr(catalogue, "ENCODERS", (*catalogue.ENCODERS, tiny_words.tiny_spec()))
    return cell("phantoms", 64, "tiny_words", "paper")


def _vectors(texts: list[str], roots: Roots) -> np.ndarray:
    encoder = loading.load_text_encoder("tiny_words", roots)
    return encoder.vectors(encoder.vocabulary.tokens(texts))


def test_words_find_the_pictures_of_the_highest_cosine(at_hand: Roots, where: Cell):
    answer = search.find(TextQuery(f"  {WORDS}\n"), where, at_hand, k=7)
    pictures = evaluation.embeddings(where, "train", at_hand).vectors
    vector = _vectors([WORDS], at_hand)[0]
    cosines = pictures @ vector / np.linalg.norm(pictures, axis=1) / np.linalg.norm(vector)
    assert [each.index for each in answer.neighbours] == np.argsort(-cosines, kind="stable")[:7].tolist()
    np.testing.assert_allclose([each.score for each in answer.neighbours], np.sort(cosines)[::-1][:7], atol=1e-6)
    labels = evaluation.split_of(where, "train", at_hand).labels
    assert all(each.labels == (labels[each.index, 0],) for each in answer.neighbours)
    assert sum(tally.votes for tally in answer.vote) == 7
    assert answer.query == TextQuery(WORDS)


def test_the_vector_is_open_clips_for_its_own_numbers(at_hand: Roots, where: Cell):
    import open_clip

    whole = open_clip.CLIP(**tiny_words.CONFIG).eval()  # type: ignore[arg-type]
    from safetensors.torch import load_file

    assert at_hand.weights is not None
    whole.load_state_dict(load_file(at_hand.weights / "tiny_words" / "tiny.safetensors"), strict=True)
    texts = [WORDS, "H&amp;E stained tissue, 40x", "x"]
    with torch.inference_mode():
        theirs = whole.encode_text(open_clip.tokenize(texts), normalize=True).numpy()
    ours = _vectors(texts, at_hand)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_nothing_is_claimed_that_is_not_known(at_hand: Roots, where: Cell):
    answer = search.find(TextQuery(WORDS), where, at_hand)
    assert (answer.query_labels, answer.query_label_name, answer.reliability, answer.nearness) == (None,) * 4
    assert all(each.agrees is None and each.duplicate is None for each in answer.neighbours)
    assert not answer.verified  # nobody knows these weights
    assert answer.cell.protocol == "cosine" and answer.provenance["protocol"] == phrases.TITLE
    assert answer.notes == ()


def test_the_protocol_of_pictures_changes_nothing_for_words(at_hand: Roots, where: Cell):
    answers = [
        search.find(TextQuery(WORDS), dataclasses.replace(where, protocol=name), at_hand)
        for name in ("paper", "cosine", "pca-8")
    ]
    assert answers[0].neighbours == answers[1].neighbours == answers[2].neighbours


def test_what_was_cut_is_said(at_hand: Roots, where: Cell):
    answer = search.find(TextQuery("disc " * 100), where, at_hand)
    assert answer.notes == (
        "These words come to 100 pieces, of which Tiny CLIP (random) reads 75: the rest was left out.",
    )
    assert answer.neighbours == search.find(TextQuery("disc " * 75), where, at_hand).neighbours


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no words"), (" \n\t ", "no words"), ("x" * 1001, "1,001 characters"), ("half \ud83d", "half of a letter")],
)
def test_words_that_cannot_be_used_are_refused(text: str, said: str, at_hand: Roots, where: Cell):
    with pytest.raises(BadInput, match=said) as refused:
        search.find(TextQuery(text), where, at_hand)
    assert refused.value.remedy


def test_words_of_which_nothing_is_known_are_refused(weighted: Roots):
    spec = find_encoder("biomedclip")
    put_vocabulary(spec, weighted)
    read = vocabularies.read(spec, weighted)
    with pytest.raises(BadInput, match="Nothing of these words"):
        phrases._notes(read.tokens(["zebra crossing"]), spec)
    assert phrases._notes(read.tokens(["chest zebra"]), spec) == (
        "1 of the 2 pieces that were read are not in its vocabulary.",
    )


@pytest.fixture
def weighted(tmp_path: Path, empty_roots: Roots) -> Roots:
    return dataclasses.replace(empty_roots, weights=tmp_path / "weights")


def test_who_has_no_text_side_says_so(weighted: Roots):
    for name in ("pixels", "efficientnet_lite0"):
        with pytest.raises(Unavailable, match="cannot be asked with words") as refused:
            search.find(TextQuery(WORDS), cell("phantoms", 64, name), weighted)
        assert "biomedclip" in refused.value.remedy


def test_volumes_weights_and_vocabulary_are_missed_in_words(at_hand: Roots, weighted: Roots, where: Cell):
    def said(name: str, roots: Roots, dataset: str = "phantoms", size: int = 64) -> str:
        ready = readiness.of_words(cell(dataset, size, name), roots)
        assert ready.state == "unavailable" and ready.remedy
        return ready.message

    assert "holds volumes" in said("tiny_words", at_hand, "phantoms3d", 28)
    assert "The weights of PLIP" in said("plip", weighted)
    assert weighted.weights is not None
    place = weighted.weights / "biomedclip" / "open_clip_pytorch_model.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert "vocabulary of the text side of BiomedCLIP" in said("biomedclip", weighted)


def test_readiness_says_when_the_gallery_is_embedded(at_hand: Roots, where: Cell, tmp_path: Path):
    fresh = dataclasses.replace(at_hand, cache=tmp_path / "cache")
    before = readiness.of_words(where, fresh)
    assert before.state == "minute" and before.seconds > 0
    phrases.gallery(where, fresh)
    assert readiness.of_words(where, fresh).state == "ready"


def test_the_variant_of_conch_has_its_own_place_and_fingerprint():
    spec = find_encoder("conch")
    other, variant = text_towers.joint(spec)
    data = cell("phantoms", 64, "conch").data
    marks = {embedding.fingerprint_of(data, 64, "train", one, data="d" * 8, weights="w" * 8) for one in (spec, other)}
    keys = {embedding.key_of(data, 64, "train", spec, name) for name in ("", variant)}
    assert len(marks) == len(keys) == 2
    assert spec.pixels == other.pixels and spec.weights == other.weights


# --- the command line


@pytest.fixture
def run(at_hand: Roots, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line with the tiny encoder, as a process of its own."""

    def go(*words: object) -> subprocess.CompletedProcess[str]:
        named = {
            "RETRIEVAL_DATA": "",
            "RETRIEVAL_WEIGHTS": str(at_hand.weights),
            "RETRIEVAL_PRECOMPUTED": str(at_hand.precomputed),
            "RETRIEVAL_CACHE": str(at_hand.cache),
            "PYTHONPATH": str(tiny_words.REPOSITORY),
            "HF_HUB_OFFLINE": "1",
        }
        program = [sys.executable, tiny_words.__file__, *map(str, words)]
        environment = {**os.environ, "HOME": str(tmp_path), **named}
        return subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return go


ADDRESS = ("--dataset", "phantoms", "--size", 64, "--encoder")


def test_the_command_answers_each_text_in_order(run, at_hand: Roots, where: Cell):
    texts = (WORDS, " ", "a square")
    asked = [part for text in texts for part in ("--text", text)]
    done = run("search", *asked, *ADDRESS, "tiny_words", "-k", 3, "--format", "json")
    assert done.returncode == 1, done.stderr  # one of them could not be answered
    first, empty, last = json.loads(done.stdout)["queries"]
    assert [entry["text"] for entry in (first, empty, last)] == list(texts)
    assert first["error"] is None and last["error"] is None and "no words" in empty["error"]["message"]
    expected = search.find(TextQuery(WORDS), where, at_hand, k=3)
    assert [each["index"] for each in first["neighbours"]] == [each.index for each in expected.neighbours]
    assert first["compared"] == phrases.TITLE
    assert (first["nearness"], first["reliability"]) == (None, None)


def test_people_read_how_words_were_compared(run):
    done = run("search", "--text", "disc " * 90, *ADDRESS, "tiny_words")
    assert done.returncode == 0, done.stderr
    assert f"{phrases.TITLE}." in done.stdout and "come to 90 pieces" in done.stdout


def test_words_and_files_are_not_mixed_and_refusals_are_sentences(run):
    for words in (["picture.png", "--text", WORDS], []):
        assert run("search", *words, *ADDRESS, "tiny_words").returncode == 2
    no = run("search", "--text", WORDS, *ADDRESS, "pixels", "--format", "json")
    document = json.loads(no.stdout)
    assert no.returncode == 1 and "cannot be asked with words" in document["error"]["message"]
    assert "tiny_words" in document["error"]["remedy"]
    missing = run("search", "--text", WORDS, *ADDRESS, "plip", "--format", "json")
    assert missing.returncode == 1 and "The weights of PLIP" in json.loads(missing.stdout)["error"]["message"]


def test_the_list_says_who_takes_words_and_what_is_untested(run):
    listed = {each["name"]: each["words"] for each in json.loads(run("list", "encoders", "--format", "json").stdout)}
    assert listed["pixels"] is None
    assert listed["tiny_words"] == {"context": 77, "vocabulary": None, "untested": None}
    assert listed["biomedclip"]["vocabulary"] == "vocab.txt" and listed["biomedclip"]["untested"]
