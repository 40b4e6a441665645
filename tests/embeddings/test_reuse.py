"""Vectors of a collection's pictures are made once: after an update only what is new or changed is embedded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_pictures import write_classes, write_picture

from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.collections import adding
from retrieval.datasets.opening import open_split
from retrieval.embeddings import embedding, shapes
from retrieval.embeddings.together import embed_together
from retrieval.encoders import builtin
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.errors import Unavailable
from retrieval.roots import Roots

PIXELS, HISTOGRAM, LITE = (find_encoder(name) for name in ("pixels", "histogram", "efficientnet_lite0"))


@pytest.fixture
def folder(tmp_path: Path, empty_roots: Roots) -> Path:
    write_classes(tmp_path / "mine", {"dark": 20, "light": 20})
    adding.add("mine", tmp_path / "mine", empty_roots)
    return tmp_path / "mine"


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many pictures are embedded meanwhile, batch by batch."""
    seen: list[int] = []
    whole = builtin.BuiltinEncoder.embed

    def embed(self: builtin.BuiltinEncoder, pictures: np.ndarray) -> np.ndarray:
        seen.append(len(pictures))
        return whole(self, pictures)

    with monkeypatch.context() as patched:
        patched.setattr(builtin.BuiltinEncoder, "embed", embed)
        yield seen


def embed(roots: Roots, spec: EncoderSpec = PIXELS, *, size: int = 0, split: str = "train") -> embedding.Embeddings:
    return embedding.embed(find_dataset("mine", roots), size, split, spec, roots)  # type: ignore[arg-type]


def by_hand(roots: Roots, size: int = 0) -> np.ndarray:
    images = open_split(find_dataset("mine", roots), size, "train", roots).images
    return np.stack([picture.reshape(-1).astype(np.float32) for picture in images])


@pytest.mark.parametrize("size", [0, 28])
def test_vectors_are_those_of_the_pictures_in_order(folder: Path, empty_roots: Roots, size: int):
    np.testing.assert_array_equal(embed(empty_roots, size=size).vectors, by_hand(empty_roots, size))


def test_after_an_update_exactly_the_new_and_the_changed_are_embedded(folder: Path, empty_roots: Roots, monkeypatch):
    before = embed(empty_roots)
    write_classes(folder, {"dark": 10}, first=50)
    write_picture(folder / "light" / "00003.png", seed=99)
    (folder / "light" / "00007.png").unlink()
    changes = adding.update("mine", empty_roots)
    lacking = {*changes.new, *changes.changed} & {file.name for file in changes.collection.of("train")}
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert sum(seen) == len(lacking) > 0
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots))
    assert after.meta["embedded"] == len(lacking)
    assert after.meta["kept"] == len(after.vectors) - len(lacking)


def test_where_files_have_only_gone_none_is_embedded(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots)
    (folder / "light" / "00007.png").unlink()
    (folder / "dark" / "00001.png").unlink()
    adding.update("mine", empty_roots)
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert seen == []
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots))


def test_a_renamed_file_keeps_its_vector(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots)
    for number in range(20):
        (folder / "dark" / f"{number:05d}.png").rename(folder / "dark" / f"z{19 - number:05d}.png")
    adding.update("mine", empty_roots)
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert seen == []
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots))


def test_a_second_update_builds_on_the_first(folder: Path, empty_roots: Roots, monkeypatch):
    for first in (100, 200):
        embed(empty_roots)
        write_classes(folder, {"dark": 10}, first=first)
        adding.update("mine", empty_roots)
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert 0 < sum(seen) <= 10
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots))


def test_where_vectors_were_made_is_kept_with_them(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots)
    write_classes(folder, {"dark": 10}, first=50)
    adding.update("mine", empty_roots)
    with monkeypatch.context() as patched:
        patched.setattr(builtin.BuiltinEncoder, "device", "cuda:0", raising=False)
        assert embed(empty_roots).meta["device"] == "cpu and cuda"
    (folder / "light" / "00007.png").unlink()
    adding.update("mine", empty_roots)
    assert embed(empty_roots).meta["device"] == "cpu and cuda"


def test_what_was_only_kept_is_not_said_to_be_made_here(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots)
    (folder / "light" / "00007.png").unlink()
    (folder / "dark" / "00001.png").unlink()
    adding.update("mine", empty_roots)
    monkeypatch.setattr(builtin.BuiltinEncoder, "device", "cuda:0", raising=False)
    made = embed(empty_roots)
    assert (made.meta["runtime"], made.meta["device"], made.meta["embedded"]) == ("numpy", "cpu", 0)


def test_when_the_first_coloured_picture_comes_all_are_embedded(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots, size=28)
    write_picture(folder / "dark" / "coloured.png", seed=1, shape=(16, 16, 3))
    adding.update("mine", empty_roots)
    with counted(monkeypatch) as seen:
        after = embed(empty_roots, size=28)
    assert sum(seen) == len(after.vectors)
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots, 28))


def test_vectors_by_other_pixels_are_not_taken(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots, HISTOGRAM)
    write_classes(folder, {"dark": 5}, first=50)
    adding.update("mine", empty_roots)
    changed = replace(HISTOGRAM, pixels=Pixels(size=8, scale="none"))
    with counted(monkeypatch) as seen:
        after = embed(empty_roots, changed)
    assert sum(seen) == len(after.vectors)


def test_damaged_vectors_are_not_taken(folder: Path, empty_roots: Roots, monkeypatch):
    embed(empty_roots)
    path = empty_roots.cache / f"{embedding.key_of(find_dataset('mine', empty_roots), 0, 'train', PIXELS)}.vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    write_classes(folder, {"dark": 5}, first=50)
    adding.update("mine", empty_roots)
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert sum(seen) == len(after.vectors)


def test_a_run_that_was_stopped_goes_on_with_what_was_kept(folder: Path, empty_roots: Roots, monkeypatch):
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 4)
    embed(empty_roots)
    write_classes(folder, {"dark": 30}, first=50)
    adding.update("mine", empty_roots)
    dataset = find_dataset("mine", empty_roots)
    making = embedding.by_shards(dataset, 0, "train", PIXELS, empty_roots)
    assert next(making) is None
    making.close()
    with counted(monkeypatch) as seen:
        after = embed(empty_roots)
    assert sum(seen) == after.meta["embedded"] - 4
    np.testing.assert_array_equal(after.vectors, by_hand(empty_roots))


def test_encoders_at_once_do_not_share_where_one_has_kept_vectors(folder: Path, empty_roots: Roots):
    """Both take pictures at 8 pixels a side, so they would share; only one of them knows any vector."""
    small = replace(PIXELS, name="small", pixels=Pixels(size=8, scale="none", channels="native"))
    other = replace(HISTOGRAM, name="other", pixels=Pixels(size=8, scale="none"))
    embedding.embed(find_dataset("mine", empty_roots), 0, "train", small, empty_roots)
    write_classes(folder, {"dark": 10}, first=50)
    adding.update("mine", empty_roots)
    dataset = find_dataset("mine", empty_roots)
    embed_together(dataset, 0, "train", [small, other], empty_roots)
    together = [embedding.embed(dataset, 0, "train", spec, empty_roots).vectors.copy() for spec in (small, other)]
    artifacts.remove_folder(empty_roots.cache / "embeddings")
    for spec, vectors in zip((small, other), together, strict=True):
        np.testing.assert_array_equal(embedding.embed(dataset, 0, "train", spec, empty_roots).vectors, vectors)


def test_pictures_of_several_shapes_go_one_by_one(tmp_path: Path, empty_roots: Roots, monkeypatch):
    write_classes(tmp_path / "mine", {"a": 10}, shape=(12, 30))
    write_classes(tmp_path / "mine", {"b": 10}, shape=(25, 14))
    adding.add("mine", tmp_path / "mine", empty_roots)
    with pytest.raises(Unavailable, match="compares pictures of one size"):
        embed(empty_roots, PIXELS)
    assert embed(empty_roots, PIXELS, size=28).vectors.shape[1] == 28 * 28
    with counted(monkeypatch) as seen:
        embed(empty_roots, HISTOGRAM)
    assert set(seen) == {1}
    fixed = replace(HISTOGRAM, pixels=Pixels(size=8, scale="none"))
    with counted(monkeypatch) as seen:
        embed(empty_roots, fixed)
    assert len(seen) == 1


def test_which_encoders_see_one_size(tmp_path: Path, empty_roots: Roots):
    write_classes(tmp_path / "mine", {"a": 5}, shape=(12, 30))
    write_classes(tmp_path / "mine", {"b": 1}, shape=(3000, 2000))
    adding.add("mine", tmp_path / "mine", empty_roots)
    dataset = find_dataset("mine", empty_roots)
    assert shapes.are_one(dataset, 0, LITE) and not shapes.are_one(dataset, 0, find_encoder("vgg19"))
    assert shapes.are_one(dataset, 28, find_encoder("vgg19"))
    refused = shapes.refusal(dataset, 0, find_encoder("vgg19"))
    assert refused is not None and "6.0 megapixels" in refused.message
    assert shapes.refusal(dataset, 0, LITE) is None and shapes.refusal(dataset, 28, find_encoder("vgg19")) is None
