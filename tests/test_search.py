import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval import artifacts, evaluation, readiness, search
from retrieval.answers import ItemQuery, UploadQuery
from retrieval.cells import Cell, cell
from retrieval.datasets.opening import is_at_hand, locate
from retrieval.encoders import builtin
from retrieval.errors import BadInput, RetrievalError, Unavailable, UnknownName
from retrieval.groups import find_groups, key_of
from retrieval.ranking import neighbours as ranked
from retrieval.roots import Roots
from retrieval.scoring.uncertainty import wilson

REPOSITORY = Path(__file__).resolve().parent.parent
PIXELS, NETWORK = cell("breastmnist", 28, "pixels"), cell("breastmnist", 28, "efficientnet_lite0")
COSINE = replace(PIXELS, protocol="cosine")
PHANTOMS = cell("phantoms", 64, "pixels")


@pytest.fixture(scope="module")
def breast(roots: Roots, need) -> Roots:
    """BreastMNIST at hand, with what sampled queries and uploads need."""
    need(is_at_hand(PIXELS.data, 28, roots), "breastmnist at 28")
    for where in (PIXELS, COSINE, NETWORK):
        search.prepare(where, roots)
        evaluation.embeddings(where, "train", roots)  # neighbours may be shipped, without the gallery's embeddings
    return roots


def picture(roots: Roots, split: str, index: int, folder: Path) -> UploadQuery:
    """A picture of BreastMNIST as a file of the user's."""
    path = folder / f"{split}-{index}.png"
    Image.fromarray(np.array(evaluation.split_of(PIXELS, split, roots).images[index])).save(path)
    return UploadQuery(path)


def places(answer) -> list[int]:
    return [neighbour.index for neighbour in answer.neighbours]


@pytest.mark.parametrize("where", [PIXELS, COSINE, NETWORK], ids=lambda where: where.key)
@pytest.mark.parametrize("k", [1, 5, 100])
def test_a_sampled_picture_gets_its_stored_row(breast, where, k):
    stored = evaluation.neighbours(where, "test", breast)
    train, test = (evaluation.split_of(where, side, breast) for side in ("train", "test"))
    for index in (0, 77, 155):
        answer = search.find(ItemQuery("test", index), where, breast, k=k)
        assert places(answer) == stored.indices[index, :k].tolist()
        assert [each.score for each in answer.neighbours] == stored.scores[index, :k].tolist()
        assert [each.rank for each in answer.neighbours] == list(range(1, k + 1))
        assert answer.query_labels == (test.labels[index, 0],)
        for each in answer.neighbours:
            assert each.labels == (train.labels[each.index, 0],)
            assert each.label_name == where.data.classes[each.labels[0]]
            assert each.agrees == (each.labels == answer.query_labels)
        assert answer.verified and answer.cell == where and answer.query == ItemQuery("test", index)
        assert answer.provenance["extractor"] == where.spec.title and answer.provenance["protocol"] == where.rules.title


def test_a_card_leaves_itself_out_and_is_answered_the_same_way(breast):
    stored = evaluation.neighbours(PIXELS, "train", breast)
    for index in range(0, 546, 60):
        answer = search.find(ItemQuery("train", index), PIXELS, breast, k=100)
        assert places(answer) == stored.indices[index].tolist()
        assert index not in places(answer)
        assert answer.query_label_name is not None and answer.nearness is not None


@pytest.mark.parametrize("where", [PIXELS, COSINE, NETWORK], ids=lambda where: where.key)
def test_an_uploaded_test_picture_gets_what_the_sampled_one_gets(breast, tmp_path, where):
    for index in (0, 31, 77, 155):
        sampled = search.find(ItemQuery("test", index), where, breast)
        answer = search.find(picture(breast, "test", index, tmp_path), where, breast)
        assert places(answer) == places(sampled)
        np.testing.assert_allclose(
            [each.score for each in answer.neighbours], [each.score for each in sampled.neighbours], rtol=1e-4
        )
        assert answer.vote == sampled.vote
        assert [each.duplicate for each in answer.neighbours] == [each.duplicate for each in sampled.neighbours]


def test_of_an_upload_no_label_is_claimed(breast, tmp_path):
    answer = search.find(picture(breast, "test", 3, tmp_path), PIXELS, breast)
    assert answer.query_labels is None and answer.query_label_name is None
    assert [each.agrees for each in answer.neighbours] == [None] * 5


def test_an_uploaded_gallery_picture_finds_itself_as_an_exact_duplicate(breast, tmp_path):
    found = [search.find(picture(breast, "train", index, tmp_path), PIXELS, breast) for index in (5, 300, 545)]
    for answer, index in zip(found, (5, 300, 545), strict=True):
        assert places(answer)[0] == index
        assert answer.neighbours[0].score == 0
        assert answer.neighbours[0].duplicate == "exact"


def test_duplicates_of_a_sampled_picture_are_marked_and_nothing_else(breast):
    groups = find_groups(PIXELS.data, 28, breast)
    marked = 0
    for index in range(0, 156, 5):
        for each in search.find(ItemQuery("test", index), PIXELS, breast, k=20).neighbours:
            assert (each.duplicate is not None) == (groups.test[index] == groups.train[each.index])
            marked += each.duplicate == "near"
    assert marked >= 5


@pytest.mark.parametrize("k", [1, 4, 5, 8])
def test_the_vote_counts_and_ties_go_to_the_nearer(breast, k):
    train = evaluation.split_of(PIXELS, "train", breast)
    tied = 0
    for index in range(60):
        answer = search.find(ItemQuery("test", index), PIXELS, breast, k=k)
        labels = [each.labels[0] for each in answer.neighbours]
        order = sorted(set(labels), key=lambda label: (-labels.count(label), labels.index(label)))
        assert [tally.label for tally in answer.vote] == order
        assert [tally.votes for tally in answer.vote] == [labels.count(label) for label in order]
        for tally in answer.vote:
            assert tally.share == tally.votes / k
            assert tally.gallery_share == (train.labels[:, 0] == tally.label).mean()
            assert tally.label_name == PIXELS.data.classes[tally.label]
        tied += labels.count(0) == labels.count(1) and answer.vote[0].label == labels[0] == 1
    assert tied > 0 or k % 2


def firsts(roots: Roots) -> list[tuple[int, int]]:
    """Label of each test picture, and of its first neighbour outside its group, by a loop."""
    groups, stored = find_groups(PIXELS.data, 28, roots), evaluation.neighbours(PIXELS, "test", roots)
    train, test = (evaluation.split_of(PIXELS, side, roots) for side in ("train", "test"))
    pairs = []
    for index, row in enumerate(stored.indices):
        first = next(item for item in row if groups.train[item] != groups.test[index])
        pairs.append((int(test.labels[index, 0]), int(train.labels[first, 0])))
    return pairs


def test_reliability_of_a_sampled_picture_is_that_of_its_class(breast):
    pairs, test = firsts(breast), evaluation.split_of(PIXELS, "test", breast)
    for label in (0, 1):
        index = int(np.flatnonzero(test.labels[:, 0] == label)[0])
        found = search.find(ItemQuery("test", index), PIXELS, breast).reliability
        assert found is not None and found.basis == "true class"
        assert found.label_name == PIXELS.data.classes[label]
        assert found.hits == pairs.count((label, label))
        assert found.n == sum(truth == label for truth, _ in pairs) == (test.labels[:, 0] == label).sum()
        assert (found.low, found.high) == wilson(found.hits, found.n)


def test_reliability_of_an_upload_is_that_of_what_its_first_neighbour_says(breast, tmp_path):
    pairs, seen = firsts(breast), set()
    for index in range(20):
        answer = search.find(picture(breast, "test", index, tmp_path), PIXELS, breast)
        label, found = answer.neighbours[0].labels[0], answer.reliability
        assert found is not None and found.basis == "first neighbour"
        assert found.label_name == PIXELS.data.classes[label]
        assert found.hits == pairs.count((label, label))
        assert found.n == sum(first == label for _, first in pairs)
        seen.add(label)
    assert seen == {0, 1}


def test_nearness_is_the_share_of_the_gallerys_own_nearest_that_are_as_near(breast):
    groups, stored = find_groups(PIXELS.data, 28, breast), evaluation.neighbours(PIXELS, "train", breast)
    own = []
    for index, row in enumerate(stored.indices):
        rank = next(rank for rank, item in enumerate(row) if groups.train[item] != groups.train[index])
        own.append(stored.scores[index, rank])
    for index in range(0, 156, 30):
        answer = search.find(ItemQuery("test", index), PIXELS, breast)
        score = answer.neighbours[0].score
        assert answer.nearness is not None
        assert answer.nearness.percentile == pytest.approx(100 * sum(each <= score for each in own) / 546)
        assert answer.nearness.beyond == (answer.nearness.percentile > 99)


@pytest.mark.parametrize("where", [PIXELS, COSINE], ids=lambda where: where.key)
def test_noise_is_beyond_everything(breast, tmp_path, where):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)).save(tmp_path / "noise.png")
    answer = search.find(UploadQuery(tmp_path / "noise.png"), where, breast)
    assert answer.nearness is not None
    assert answer.nearness.percentile > 99 and answer.nearness.beyond
    assert [each.duplicate for each in answer.neighbours] == [None] * 5


def test_a_gallery_picture_is_not_beyond_anything(breast, tmp_path):
    answer = search.find(picture(breast, "train", 9, tmp_path), PIXELS, breast)
    assert answer.nearness is not None
    assert answer.nearness.percentile < 1 and not answer.nearness.beyond


@pytest.mark.parametrize("k", [0, -1, 101, 546])
def test_a_k_that_cannot_be_is_refused(breast, k):
    with pytest.raises(BadInput, match=f"k is {k}") as refused:
        search.find(ItemQuery("test", 0), PIXELS, breast, k=k)
    assert "between 1 and 100" in refused.value.remedy


def test_in_a_small_gallery_k_reaches_all_the_others(empty_roots: Roots):
    where = cell("phantoms3d", 28, "shape")
    assert len(search.find(ItemQuery("train", 0), where, empty_roots, k=59).neighbours) == 59
    assert len(search.find(ItemQuery("test", 0), where, empty_roots, k=60).neighbours) == 60
    with pytest.raises(BadInput, match="holds 60 volumes, this one among them, so at most 59 neighbours can be shown"):
        search.find(ItemQuery("train", 0), where, empty_roots, k=60)
    with pytest.raises(BadInput, match="holds 60 volumes, so at most 60 neighbours can be shown"):
        search.find(ItemQuery("test", 0), where, empty_roots, k=61)


@pytest.mark.parametrize(("split", "index"), [("test", 156), ("test", -1), ("train", 546)])
def test_an_item_that_does_not_exist_is_refused(breast, split, index):
    with pytest.raises(BadInput, match=f"no {split} item {index}"):
        search.find(ItemQuery(split, index), PIXELS, breast)


@pytest.mark.parametrize("split", ["val", "training"])
def test_only_test_and_gallery_pictures_can_be_asked_with(breast, split):
    with pytest.raises(UnknownName, match=split) as refused:
        search.find(ItemQuery(split, 0), PIXELS, breast)  # type: ignore[arg-type]
    assert "test, train" in refused.value.remedy


def test_an_upload_that_is_no_picture_or_is_gone_is_refused(breast, tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("text.png", "gone.png"):
        with pytest.raises(BadInput):
            search.find(UploadQuery(tmp_path / name), PIXELS, breast)


def test_a_picture_is_no_query_for_volumes(empty_roots: Roots, tmp_path):
    where = cell("phantoms3d", 28, "shape")
    Image.new("L", (28, 28)).save(tmp_path / "slice.png")
    with pytest.raises(BadInput, match="volume") as refused:
        search.find(UploadQuery(tmp_path / "slice.png"), where, empty_roots)
    assert "dataset of pictures" in refused.value.remedy
    search.prepare(where, empty_roots)
    answer = search.find(ItemQuery("test", 0), where, empty_roots)
    assert len(answer.neighbours) == 5 and answer.reliability is not None and answer.nearness is not None


def test_what_is_missing_is_computed_on_the_way(breast, tmp_path):
    fresh = replace(breast, precomputed=tmp_path / "precomputed", cache=tmp_path / "cache")
    upload = search.find(picture(breast, "test", 0, tmp_path), PIXELS, fresh)
    assert upload.reliability is None and upload.nearness is None  # they need what an upload does not
    sampled = search.find(ItemQuery("test", 0), PIXELS, fresh)
    assert places(sampled) == places(upload) == places(search.find(ItemQuery("test", 0), PIXELS, breast))
    assert sampled.reliability is not None and sampled.nearness is None
    search.prepare(PIXELS, fresh)
    assert search.find(ItemQuery("test", 0), PIXELS, fresh).nearness is not None


def test_sampling_is_by_class_and_by_seed(breast):
    test = evaluation.split_of(PIXELS, "test", breast)
    for label in (0, 1):
        found = {search.sample(PIXELS, breast, label=label, seed=seed).index for seed in range(30)}
        assert {int(test.labels[index, 0]) for index in found} == {label}
        assert len(found) > 10
    assert search.sample(PIXELS, breast, seed=4) == search.sample(PIXELS, breast, seed=4)
    for label in (2, -1):
        with pytest.raises(BadInput, match=f"no class {label}"):
            search.sample(PIXELS, breast, label=label)


def test_what_an_extractor_sees(breast, empty_roots: Roots):
    image = np.asarray(evaluation.split_of(PIXELS, "test", breast).images[0])
    np.testing.assert_array_equal(search.sees(ItemQuery("test", 0), PIXELS, breast), image)
    seen = search.sees(ItemQuery("test", 0), NETWORK, breast)
    expected = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(seen, np.asarray(expected))
    volume = search.sees(ItemQuery("test", 0), cell("phantoms3d", 28, "densenet121"), empty_roots)
    assert volume.shape == (32, 32, 32) and volume.dtype == np.uint8


def test_without_data_it_says_what_is_missing(empty_roots: Roots):
    found = readiness.of_pictures(PIXELS, empty_roots)
    assert found.state == "unavailable" and not found.uploads
    assert "breastmnist" in found.message.lower() and "download" in found.remedy
    with pytest.raises(Unavailable):
        search.find(ItemQuery("test", 0), PIXELS, empty_roots)


def test_without_weights_it_says_what_is_missing(empty_roots: Roots):
    where = cell("phantoms", 64, "densenet121")
    found = readiness.of_pictures(where, empty_roots)
    assert found.state == "unavailable" and not found.uploads
    assert "weights of DenseNet121" in found.message and found.remedy
    with pytest.raises(Unavailable, match="weights"):
        search.find(ItemQuery("test", 0), where, empty_roots)


def test_without_weights_stored_neighbours_still_answer_samples(empty_roots: Roots):
    """As a host that has what is shipped and no weights. Here the lists are made up; what is read of them is not."""
    where = cell("phantoms", 64, "densenet121")
    parts, rng = evaluation.marks(where, empty_roots), np.random.default_rng(0)
    for side, count in (("test", 150), ("train", 600)):
        indices = np.stack([rng.permutation(600)[:100] for _ in range(count)]).astype(np.int32)
        arrays = {"indices": indices, "scores": np.sort(rng.random((count, 100), np.float32), axis=1)}
        key, mark = ranked.key_of(where.key, side), parts.neighbours(side)
        artifacts.save(empty_roots.precomputed, key, arrays=arrays, fingerprint=mark, meta={})
    found = readiness.of_pictures(where, empty_roots)
    assert found.state == "ready" and not found.uploads
    assert found.message.startswith("Sampled pictures only") and found.remedy
    assert len(search.find(ItemQuery("test", 0), where, empty_roots).neighbours) == 5
    assert len(search.find(ItemQuery("train", 599), where, empty_roots).neighbours) == 5


def test_what_takes_seconds_is_computed_in_place_and_then_ready(empty_roots: Roots):
    found = readiness.of_pictures(PHANTOMS, empty_roots)
    assert found.state == "minute" and found.uploads and 0 < found.seconds <= readiness.A_MINUTE
    assert "not been computed" in found.message and "second" in found.remedy
    assert not (empty_roots.cache / "embeddings").exists()  # asking computes nothing
    search.prepare(PHANTOMS, empty_roots)
    found = readiness.of_pictures(PHANTOMS, empty_roots)
    assert (found.state, found.uploads, found.message, found.remedy, found.seconds) == ("ready", True, "", "", 0.0)


@pytest.mark.parametrize("protocol", ["pca-16", "whitening", "pca_whitening-16"])
def test_an_upload_lies_where_the_same_stored_picture_lies(empty_roots: Roots, tmp_path, protocol):
    where = replace(PHANTOMS, protocol=protocol)
    search.prepare(where, empty_roots)
    stored = evaluation.neighbours(where, "test", empty_roots)
    path = tmp_path / "test-3.png"
    Image.fromarray(np.array(evaluation.split_of(where, "test", empty_roots).images[3])).save(path)
    answer = search.find(UploadQuery(path), where, empty_roots, k=20)
    assert places(answer) == stored.indices[3, :20].tolist()
    np.testing.assert_allclose([each.score for each in answer.neighbours], stored.scores[3, :20], rtol=1e-4)
    card = search.find(ItemQuery("train", 5), where, empty_roots, k=20)
    assert 5 not in places(card)


def test_what_takes_long_is_given_as_a_command(roots: Roots, need, tmp_path):
    where = cell("adrenalmnist3d", 64, "efficientnet_lite0")
    need(is_at_hand(where.data, 64, roots), "adrenalmnist3d at 64")
    found = readiness.of_pictures(where, replace(roots, precomputed=tmp_path, cache=roots.cache))
    assert found.state == "command" and found.uploads and found.seconds > readiness.A_MINUTE
    assert found.remedy == (
        "Run: python -m retrieval precompute --datasets adrenalmnist3d --sizes 64 --encoders efficientnet_lite0 "
        "--protocols paper"
    )


def test_a_data_file_that_cannot_be_used_is_a_sentence(empty_roots: Roots):
    empty_roots.data[0].mkdir()
    (empty_roots.data[0] / "breastmnist.npz").write_bytes(b"not an archive")
    found = readiness.of_pictures(PIXELS, empty_roots)
    assert found.state == "unavailable" and "npz" in found.message and found.remedy
    with pytest.raises(RetrievalError):
        search.find(ItemQuery("test", 0), PIXELS, empty_roots)


def test_a_group_larger_than_the_stored_lists_is_no_stack_trace(breast, tmp_path):
    """120 copies of one picture in the gallery: their 99 stored neighbours are all of their own group."""
    path = locate(PIXELS.data, 28, breast)
    assert path is not None
    with np.load(path) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    arrays["train_images"][100:220] = arrays["test_images"][0]
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / path.name, **arrays)
    other = replace(breast, data=(tmp_path / "data",), cache=tmp_path / "cache")
    search.prepare(PIXELS, other)
    answer = search.find(ItemQuery("test", 0), PIXELS, other)
    label = arrays["test_labels"][0, 0]
    assert not answer.verified
    assert places(answer) == [100, 101, 102, 103, 104]
    assert [each.duplicate for each in answer.neighbours] == ["exact"] * 5
    assert answer.reliability is not None and answer.nearness is not None
    assert answer.reliability.n == (arrays["test_labels"][:, 0] == label).sum() - 1


NO_TORCH = """
import sys
from retrieval import readiness, roots, search
from retrieval.answers import ItemQuery
from retrieval.cells import cell
where, here = cell("breastmnist", 28, "efficientnet_lite0"), roots.roots_from_environment()
state = readiness.of_pictures(where, here).state
answers = [search.find(ItemQuery(split, 0), where, here) for split in ("test", "train")]
print(state, [len(answer.neighbours) for answer in answers], sorted({"torch", "timm", "gradio"} & set(sys.modules)))
"""


def test_a_sampled_picture_and_a_card_need_no_torch(breast: Roots, tmp_path):
    groups, parts = find_groups(NETWORK.data, 28, breast), evaluation.marks(NETWORK, breast)
    keys = {ranked.key_of(NETWORK.key, side): parts.neighbours(side) for side in ("test", "train")}
    for key, mark in {**keys, key_of(NETWORK.data, 28): groups.fingerprint}.items():
        artifacts.carry(breast.lookup, tmp_path / "precomputed", key, fingerprint=mark)
    environment = {
        **os.environ,
        "RETRIEVAL_DATA": os.pathsep.join(map(str, breast.data)),
        "RETRIEVAL_PRECOMPUTED": str(tmp_path / "precomputed"),
        "RETRIEVAL_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", NO_TORCH]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ready [5, 5] []"


def test_cells_are_checked_by_whoever_names_them():
    assert Cell("breastmnist", 28, "pixels", "paper") == PIXELS
    with pytest.raises(UnknownName, match="2D"):
        cell("breastmnist", 28, "shape")


def test_a_picture_whose_features_are_not_finite_is_refused(
    breast: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    query = picture(breast, "test", 3, tmp_path)
    search.find(query, PIXELS, breast)  # so that the gallery is there
    monkeypatch.setitem(builtin._FEATURES, "pixels", lambda item: np.full(item.size, np.nan))
    with pytest.raises(Unavailable, match="not finite numbers for this picture"):
        search.find(query, PIXELS, breast)


def test_a_time_is_said_in_words():
    times = [readiness.plain_time(seconds) for seconds in (0.2, 40, 600, 36_000)]
    assert times == ["a second", "40 seconds", "10 minutes", "10 hours"]
