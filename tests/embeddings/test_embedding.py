"""Embeddings made shard by shard, resumed, noticed when stale or damaged; with real encoders on small sets."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.datasets.specs import SPLITS, Dataset
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import builtin, loading
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import pixels_for, seen_batch
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import Busy, Unavailable
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parents[2]
PIXELS, LITE = find_encoder("pixels"), find_encoder("efficientnet_lite0")
PHANTOMS, VOLUMES = find_dataset("phantoms"), find_dataset("phantoms3d")


def put(roots: Roots, name: str, counts: dict[str, int]) -> Dataset:
    """A real dataset cut to a few items of noise, as a file in the data folder."""
    dataset = dataclasses.replace(find_dataset(name), counts=MappingProxyType(counts), sizes=(28,))
    draw = np.random.default_rng(0)
    arrays = {f"{split}_images": draw.integers(0, 256, dataset.shape(28, split), dtype=np.uint8) for split in SPLITS}
    arrays |= {f"{split}_labels": np.zeros((counts[split], 1), np.uint8) for split in SPLITS}
    roots.data[0].mkdir(parents=True, exist_ok=True)
    np.savez_compressed(roots.data[0] / dataset.files[28].name, **arrays)  # type: ignore[arg-type]
    return dataset


def vectors_file(roots: Roots, dataset: Dataset, size: int, split: str, spec: EncoderSpec) -> Path:
    return roots.cache / f"{embedding.key_of(dataset, size, split, spec)}.vectors.npy"


def stored(roots: Roots, spec: EncoderSpec = PIXELS) -> embedding.Embeddings | None:
    split = open_split(PHANTOMS, 64, "test", roots)
    return embedding.stored(split, spec, loading.identify(spec, roots), roots)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the pixels encoder has got; the encoder itself runs."""
    seen: list[int] = []
    whole = builtin.BuiltinEncoder.embed

    def embed(self: builtin.BuiltinEncoder, inputs: np.ndarray) -> np.ndarray:
        seen.append(len(inputs))
        return whole(self, inputs)

    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", embed)
    return seen


@pytest.fixture
def fifties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 50)


# --- what they are


@pytest.mark.parametrize(
    ("name", "shape"), [("pathmnist", (28, 28, 3)), ("bloodmnist", (28, 28, 3)), ("octmnist", (28, 28))]
)
def test_pixels_of_pictures_are_the_file_itself(name: str, shape: tuple[int, ...], empty_roots: Roots):
    dataset = put(empty_roots, name, {"train": 7, "val": 2, "test": 3})
    made = embedding.embed(dataset, 28, "train", PIXELS, empty_roots)
    images = open_split(dataset, 28, "train", empty_roots).images
    assert images.shape == (7, *shape)
    assert made.vectors.dtype == np.float32
    assert np.array_equal(made.vectors, images.reshape(7, -1))


def test_pixels_of_volumes_have_one_row_a_slice(empty_roots: Roots):
    made = embedding.embed(VOLUMES, 28, "test", PIXELS, empty_roots)
    images = open_split(VOLUMES, 28, "test", empty_roots).images
    assert made.vectors.shape == (20, 28, 28 * 28)
    assert np.array_equal(made.vectors, images.reshape(20, 28, -1))


def test_shape_numbers_have_one_row_a_volume(empty_roots: Roots):
    spec = find_encoder("shape")
    made = embedding.embed(VOLUMES, 28, "test", spec, empty_roots)
    images = open_split(VOLUMES, 28, "test", empty_roots).images
    assert made.vectors.shape == (20, 1, 11)
    np.testing.assert_allclose(made.vectors[3, 0], builtin.shape(images[3]), rtol=1e-6)


@pytest.mark.parametrize("name", ["pathmnist", "octmnist"])
def test_a_network_embeds_colour_and_grey(name: str, empty_roots: Roots):
    dataset = put(empty_roots, name, {"train": 3, "val": 1, "test": 2})
    made = embedding.embed(dataset, 28, "train", LITE, empty_roots, device="cpu")
    encoder = loading.load_encoder(LITE.name, empty_roots, device="cpu")
    images = open_split(dataset, 28, "train", empty_roots).images
    alone = np.concatenate([encoder.embed(seen_batch(images[i : i + 1], pixels_for(LITE, 2))) for i in range(3)])
    assert made.vectors.shape == (3, 1280)
    np.testing.assert_allclose(made.vectors, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("name", ["pixels", "efficientnet_lite0"])
def test_identical_slices_embedded_once_are_as_if_each_had_been(name: str, roots: Roots, need: Callable):
    adrenal = find_dataset("adrenalmnist3d")
    need(is_at_hand(adrenal, 28, roots), "adrenalmnist3d at 28 is not at hand")
    volumes = open_split(adrenal, 28, "test", roots).images[:4]
    encoder = loading.load_encoder(name, roots, device="cpu")
    slices = volumes.reshape(-1, 28, 28)
    assert len(np.unique(slices.reshape(len(slices), -1), axis=0)) < len(slices)
    once = embedding.embed_volumes(encoder, volumes)
    each = embedding.embed_pictures(encoder, slices, ndim=3).reshape(*volumes.shape[:2], -1)
    assert once.shape == each.shape
    np.testing.assert_allclose(once, each, rtol=0, atol=1e-5 * np.abs(each).max())
    equal = [(i, j) for i in range(28) for j in range(i) if np.array_equal(volumes[0, i], volumes[0, j])]
    assert equal and all(np.array_equal(once[0, i], once[0, j]) for i, j in equal)


def test_identical_slices_reach_the_encoder_once(counted: list[int]):
    draw = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    volumes = draw[np.array([[0, 1, 2, 0], [3, 3, 2, 4]])]
    vectors = embedding.embed_volumes(builtin.load(PIXELS), volumes)
    assert sum(counted) == 5
    assert np.array_equal(vectors, volumes.reshape(2, 4, 64))


def test_the_last_batch_may_be_short(counted: list[int]):
    pictures = np.random.default_rng(0).integers(0, 256, (pipeline.BATCH * 2 + 3, 4, 4), dtype=np.uint8)
    vectors = embedding.embed_pictures(builtin.load(PIXELS), pictures)
    assert counted == [pipeline.BATCH, pipeline.BATCH, 3]
    assert np.array_equal(vectors, pictures.reshape(len(pictures), -1))


# --- how they are kept


def test_what_is_on_disk_is_not_made_again(empty_roots: Roots, counted: list[int]):
    first = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert sum(counted) == 150
    second = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert sum(counted) == 150
    assert np.array_equal(first.vectors, second.vectors) and first.fingerprint == second.fingerprint
    assert isinstance(second.vectors, np.memmap) and second.verified


@pytest.mark.usefixtures("fifties")
def test_progress_is_said_in_words_and_shares_and_the_shards_are_tidied_away(empty_roots: Roots):
    said: list[tuple[str, float]] = []
    embedding.embed(
        PHANTOMS, 64, "test", PIXELS, empty_roots, progress=lambda words, share: said.append((words, share))
    )
    assert [share for _, share in said] == pytest.approx([1 / 3, 2 / 3, 1])
    assert said[1][0] == "Raw pixels (baseline): 100 of 150 test items"
    kept = {path.name for path in vectors_file(empty_roots, PHANTOMS, 64, "test", PIXELS).parent.iterdir()}
    assert kept - {"test.lock"} == {"test.json", "test.vectors.npy"}


@pytest.mark.usefixtures("fifties")
def test_shards_do_not_show_in_the_file(empty_roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 1000)
    other = dataclasses.replace(empty_roots, cache=tmp_path / "other")
    embedding.embed(PHANTOMS, 64, "test", PIXELS, other)
    files = [vectors_file(roots, PHANTOMS, 64, "test", PIXELS).read_bytes() for roots in (empty_roots, other)]
    assert files[0] == files[1]


def test_what_is_shipped_is_read_and_never_written(empty_roots: Roots, counted: list[int]):
    maker = dataclasses.replace(empty_roots, cache=empty_roots.precomputed)
    made = embedding.embed(PHANTOMS, 64, "test", PIXELS, maker)
    counted.clear()
    found = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert counted == [] and found.fingerprint == made.fingerprint
    assert not vectors_file(empty_roots, PHANTOMS, 64, "test", PIXELS).exists()


# --- killed, damaged, stale


KILLED = """
import os, signal, sys
from pathlib import Path
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders.catalogue import find_encoder
from retrieval.roots import Roots

embedding.PICTURES_IN_SHARD = 50
nothing = Path(sys.argv[1]) / "nothing"
roots = Roots(data=(), weights=None, precomputed=nothing, cache=Path(sys.argv[1]) / "cache")
embedding.embed(
    find_dataset("phantoms"), 64, "test", find_encoder("pixels"), roots,
    progress=lambda words, share: os.kill(os.getpid(), signal.SIGKILL),
)
"""


@pytest.mark.usefixtures("fifties")
def test_a_killed_run_goes_on_where_it_was_killed(empty_roots: Roots, tmp_path: Path, counted: list[int]):
    undisturbed = dataclasses.replace(empty_roots, cache=tmp_path / "undisturbed")
    whole = embedding.embed(PHANTOMS, 64, "test", PIXELS, undisturbed)
    counted.clear()
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    shards = vectors_file(empty_roots, PHANTOMS, 64, "test", PIXELS).parent / "test.shards"
    assert len(list(shards.glob("*.json"))) == 1
    assert stored(empty_roots) is None

    resumed = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert sum(counted) == 100  # of 150: the first shard was not made again
    assert resumed.fingerprint == whole.fingerprint
    files = [vectors_file(roots, PHANTOMS, 64, "test", PIXELS).read_bytes() for roots in (empty_roots, undisturbed)]
    assert files[0] == files[1]
    assert not shards.exists()


def interrupted(roots: Roots, at: float = 0.0) -> Path:
    """Leave one finished shard behind, as a run does that is interrupted at this share; its array."""

    class Interrupted(Exception):
        pass

    def stop(words: str, share: float) -> None:
        if share >= at:
            raise Interrupted

    with pytest.raises(Interrupted):
        embedding.embed(PHANTOMS, 64, "test", PIXELS, roots, progress=stop)
    (shard,) = vectors_file(roots, PHANTOMS, 64, "test", PIXELS).parent.glob("test.shards/*.npy")
    return shard


FEW_FILES = """
import resource, sys
from pathlib import Path
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding
from retrieval.embeddings.together import embed_together
from retrieval.encoders.catalogue import find_encoder
from retrieval.roots import Roots

embedding.PICTURES_IN_SHARD = 2
cache = Path(sys.argv[1])
roots = Roots(data=(), weights=None, precomputed=cache / "nothing", cache=cache)
dataset, specs = find_dataset("phantoms"), [find_encoder(name) for name in ("pixels", "histogram")]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
embed_together(dataset, 64, "test", specs, roots)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sets no limits on a process")
def test_more_shards_than_a_process_may_open_files(tmp_path: Path):
    """Two encoders make 75 shards each, and 64 files are kept open for whoever asks for them again."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", FEW_FILES, str(tmp_path), "112"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    home = tmp_path / "embeddings" / "phantoms" / "64"
    assert {path.parent.name for path in home.glob("*/test.json")} == {"pixels", "histogram"}


@pytest.mark.usefixtures("fifties")
@pytest.mark.parametrize("damage", ["altered", "cut", "gone", "manifest cut", "manifest gone"])
def test_a_damaged_shard_is_made_again(damage: str, empty_roots: Roots, counted: list[int]):
    shard = interrupted(empty_roots)
    manifest = shard.with_name(shard.name.replace(".vectors.npy", ".json"))
    path = manifest if "manifest" in damage else shard
    content = path.read_bytes()
    if damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif "cut" in damage:
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    counted.clear()
    made = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert sum(counted) == 150
    assert np.array_equal(made.vectors, open_split(PHANTOMS, 64, "test", empty_roots).images.reshape(150, -1))


@pytest.mark.usefixtures("fifties")
def test_memory_that_was_too_small_once_is_not_tried_again_and_a_resumed_run_goes_on_as_the_first(
    empty_roots: Roots, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
):
    whole = builtin.BuiltinEncoder.embed
    refused: list[int] = []

    def embed(self: builtin.BuiltinEncoder, inputs: np.ndarray) -> np.ndarray:
        if len(inputs) > 20 and len(counted) >= 1:
            refused.append(len(inputs))
            raise MemoryError
        return whole(self, inputs)

    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", embed)
    undisturbed = dataclasses.replace(empty_roots, cache=tmp_path / "undisturbed")
    made = embedding.embed(PHANTOMS, 64, "test", PIXELS, undisturbed)
    assert counted == [50] + [16, 16, 16, 2] * 2 and refused == [50, 32]
    assert made.meta["batch"] == 16 and made.meta["batches"] == [[50, pipeline.BATCH], [100, 16]]

    class Stopped(Exception):
        pass

    def stop(words: str, share: float) -> None:
        if share >= 2 / 3:
            raise Stopped

    counted.clear()
    refused.clear()
    with pytest.raises(Stopped):
        embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots, progress=stop)
    assert len(refused) == 2
    embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert counted == [50] + [16, 16, 16, 2] * 2 and len(refused) == 2
    files = [vectors_file(roots, PHANTOMS, 64, "test", PIXELS) for roots in (empty_roots, undisturbed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    manifests = [file.with_name("test.json").read_bytes() for file in files]
    assert manifests[0] == manifests[1]


@pytest.mark.usefixtures("fifties")
@pytest.mark.parametrize(("runtime", "batches"), [("numpy", [7] * 7 + [1]), ("onnx", [50])])
def test_a_batch_is_measured_once_and_then_read_from_the_shards_of_such_a_device(
    runtime: str, batches: list[int], empty_roots: Roots, counted: list[int], monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[int, int]] = []

    def measured(encoder: builtin.BuiltinEncoder, side: tuple[int, int], *, count: int) -> int:
        assert count == 150
        asked.append(side)
        return 7

    monkeypatch.setattr(pipeline, "batch_for", measured)
    interrupted(empty_roots, at=1 / 3)
    assert asked == [(64, 64)] and counted == [7] * 7 + [1]
    counted.clear()
    monkeypatch.setattr(pipeline, "batch_for", lambda encoder, side, count: 64)
    monkeypatch.setattr(builtin.BuiltinEncoder, "runtime", runtime, raising=False)
    embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert counted == batches * 2


@pytest.mark.usefixtures("fifties")
def test_vectors_that_were_made_in_two_places_name_both(empty_roots: Roots, monkeypatch: pytest.MonkeyPatch):
    interrupted(empty_roots)
    monkeypatch.setattr(builtin.BuiltinEncoder, "runtime", "torch", raising=False)
    monkeypatch.setattr(builtin.BuiltinEncoder, "device", "cuda:1", raising=False)
    made = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert (made.meta["runtime"], made.meta["device"]) == ("numpy and torch", "cpu and cuda")
    made = embedding.embed(PHANTOMS, 64, "train", PIXELS, empty_roots)
    assert (made.meta["runtime"], made.meta["device"]) == ("torch", "cuda:1")


def test_volumes_that_were_seen_whole_in_two_places_name_both(empty_roots: Roots, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedding, "VOLUMES_IN_SHARD", 10)
    making = embedding.by_shards(VOLUMES, 28, "test", find_encoder("shape"), empty_roots)
    assert next(making) is None
    making.close()
    monkeypatch.setattr(builtin.BuiltinEncoder, "device", "cuda:0", raising=False)
    made = embedding.embed(VOLUMES, 28, "test", find_encoder("shape"), empty_roots)
    assert made.meta["device"] == "cpu and cuda"


@pytest.mark.usefixtures("fifties")
def test_shards_of_another_length_are_not_taken_for_ours(
    empty_roots: Roots, counted: list[int], monkeypatch: pytest.MonkeyPatch
):
    interrupted(empty_roots)
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 75)
    counted.clear()
    made = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert sum(counted) == 150
    assert np.array_equal(made.vectors, open_split(PHANTOMS, 64, "test", empty_roots).images.reshape(150, -1))


def test_damaged_embeddings_are_made_again(empty_roots: Roots, counted: list[int]):
    before = embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots).vectors.copy()
    path = vectors_file(empty_roots, PHANTOMS, 64, "test", PIXELS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert stored(empty_roots) is None
    counted.clear()
    assert np.array_equal(embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots).vectors, before)
    assert sum(counted) == 150


def test_embeddings_of_other_pixels_pooling_or_network_are_stale(empty_roots: Roots):
    embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert stored(empty_roots) is not None
    assert PIXELS.pixels is not None
    for changed in (
        dataclasses.replace(PIXELS, pixels=dataclasses.replace(PIXELS.pixels, size=32)),
        dataclasses.replace(PIXELS, pixels=dataclasses.replace(PIXELS.pixels, interpolation="cv2_linear")),
        dataclasses.replace(PIXELS, pooling="maximum"),
        dataclasses.replace(PIXELS, architecture="histogram"),
    ):
        assert stored(empty_roots, changed) is None
    retitled = dataclasses.replace(PIXELS, title="Another title", licence="another", slices=None)
    assert stored(empty_roots, retitled) is not None


def test_the_fingerprint_knows_data_weights_split_and_size():
    def mark(**changed: object) -> str:
        known = {"dataset": PHANTOMS, "size": 64, "split": "test", "data": "a", "weights": "b", **changed}
        dataset, size, split = known.pop("dataset"), known.pop("size"), known.pop("split")
        return embedding.fingerprint_of(dataset, size, split, LITE, **known)  # type: ignore[arg-type]

    marks = [mark(), mark(data="c"), mark(weights="c"), mark(split="train"), mark(size=28), mark(dataset=VOLUMES)]
    assert len(set(marks)) == len(marks)
    assert mark() == mark()


def test_the_fingerprint_knows_the_precision_and_nothing_else_of_it():
    def mark(spec: EncoderSpec) -> str:
        return embedding.fingerprint_of(PHANTOMS, 64, "test", spec, data="d", weights="w")

    assert mark(LITE) == "c32743c81e0d635fa9cbe8e0f874e321", "as ever: what is stored in float32 stays current"
    reduced = find_encoder("efficientnet_lite0.bf16")
    assert mark(reduced) != mark(LITE)
    assert mark(dataclasses.replace(LITE, precision="bf16")) == mark(reduced)
    assert embedding.key_of(PHANTOMS, 64, "test", reduced) == "embeddings/phantoms/64/efficientnet_lite0.bf16/test"


def test_unverified_data_make_unverified_embeddings(empty_roots: Roots):
    dataset = put(empty_roots, "octmnist", {"train": 2, "val": 1, "test": 2})
    assert not embedding.embed(dataset, 28, "test", PIXELS, empty_roots).verified


# --- refusals


def test_a_second_writer_is_told_that_there_is_a_first(empty_roots: Roots, counted: list[int]):
    path = empty_roots.cache / f"{embedding.key_of(PHANTOMS, 64, 'test', PIXELS)}.lock"
    with artifacts.lock(path, what="a test"), pytest.raises(Busy) as caught:
        embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert "the embeddings of Phantoms (synthetic) by Raw pixels (baseline)" in caught.value.message
    assert counted == []
    assert len(embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots).vectors) == 150


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_and_not_kept(
    value: float, empty_roots: Roots, monkeypatch: pytest.MonkeyPatch
):
    whole = builtin.BuiltinEncoder.embed

    def broken(self: builtin.BuiltinEncoder, inputs: np.ndarray) -> np.ndarray:
        vectors = whole(self, inputs)
        vectors[-1, -1] = value
        return vectors

    with monkeypatch.context() as patch:
        patch.setattr(builtin.BuiltinEncoder, "embed", broken)
        with pytest.raises(Unavailable, match="not finite") as caught:
            embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    assert "items 0 to 149" in caught.value.message and caught.value.remedy
    assert list(empty_roots.cache.rglob("*.npy")) == []
    assert np.isfinite(embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots).vectors).all()


def test_missing_weights_are_said_before_anything_is_made(empty_roots: Roots):
    with pytest.raises(Unavailable, match="DenseNet121"):
        embedding.embed(PHANTOMS, 64, "test", find_encoder("densenet121"), empty_roots)
    assert not empty_roots.cache.exists()


def test_how_they_were_made_is_recorded_beside_them(empty_roots: Roots):
    embedding.embed(PHANTOMS, 64, "test", PIXELS, empty_roots)
    manifest = artifacts.read_json(empty_roots.cache / "embeddings/phantoms/64/pixels/test.json")
    assert manifest is not None
    assert {"retrieval", "python", "numpy", "date", "runtime", "device", "batch"} == manifest["meta"].keys()
