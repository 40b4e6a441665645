"""The drawn datasets: the same bytes everywhere, balanced, varied."""

import ast
import inspect
from collections import Counter

import numpy as np
import pytest

from retrieval.datasets import drawing, phantoms
from retrieval.datasets.phantoms import draw
from retrieval.datasets.phantoms_literals import PHANTOMS_2D, PHANTOMS_3D
from retrieval.errors import UnknownName

# Changing a drawing on purpose changes these; what was computed from the old ones is stale then and must be made anew.
DIGESTS = {
    ("phantoms", "train"): "4c2bee77295e2ad93a5a78b7eacc28aa",
    ("phantoms", "test"): "8b26fc4a1e8d4480a60880fe0005f65f",
    ("phantoms3d", "train"): "b53b2590c48320b69f4109aef2020177",
    ("phantoms3d", "test"): "44d8b49b2f8a1c5337101fee9a076a0f",
}
BOTH = [PHANTOMS_2D, PHANTOMS_3D]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("dataset", BOTH, ids=lambda dataset: dataset.name)
def test_every_machine_draws_the_same_bytes(dataset, split):
    images, labels, digest = draw(dataset, split)
    assert digest == DIGESTS[dataset.name, split]
    assert images.dtype == np.uint8 and images.shape == dataset.shape(dataset.sizes[0], split)
    assert labels.dtype == np.int64 and labels.shape == (dataset.counts[split], 1)


@pytest.mark.parametrize("dataset", BOTH, ids=lambda dataset: dataset.name)
def test_classes_are_balanced(dataset):
    for split in ("train", "test"):
        counts = Counter(draw(dataset, split)[1][:, 0].tolist())
        assert set(counts) == set(range(len(dataset.classes)))
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("dataset", BOTH, ids=lambda dataset: dataset.name)
def test_no_picture_is_drawn_twice(dataset):
    drawn = [image.tobytes() for split in ("train", "test") for image in draw(dataset, split)[0]]
    assert len(set(drawn)) == sum(dataset.counts.values())


@pytest.mark.parametrize("dataset", BOTH, ids=lambda dataset: dataset.name)
def test_pictures_of_a_class_resemble_each_other_but_not_closely(dataset):
    """The nearest training picture by raw pixels says more than chance, and is no near copy."""
    (gallery, labels, _), (queries, truth, _) = draw(dataset, "train"), draw(dataset, "test")
    gallery, queries = (split.reshape(len(split), -1).astype(np.int64) for split in (gallery, queries))
    distances = (queries**2).sum(1)[:, None] - 2 * queries @ gallery.T + (gallery**2).sum(1)
    nearest = distances.argmin(axis=1)
    assert (labels[nearest] == truth).mean() > 1.5 / len(dataset.classes)
    assert np.sqrt(distances.min() / queries.shape[1]) > 8  # grey levels, root mean square


def test_every_class_fills_the_greys():
    images, labels, _ = draw(PHANTOMS_2D, "train")
    for label in range(len(PHANTOMS_2D.classes)):
        of_class = images[labels[:, 0] == label]
        assert np.ptp(np.percentile(of_class, [1, 99])) > 90
        assert of_class.std(axis=0).min() > 0.5  # no pixel is the same in all


def test_a_split_without_pictures_is_empty():
    images, labels, _ = draw(PHANTOMS_2D, "val")
    assert images.shape == (0, 64, 64) and labels.shape == (0, 1)


def test_an_unknown_split_is_refused():
    with pytest.raises(UnknownName, match="train, val, test"):
        draw(PHANTOMS_2D, "training")


def test_what_is_kept_in_memory_cannot_be_painted_over():
    images, labels, _ = draw(PHANTOMS_2D, "test")
    assert draw(PHANTOMS_2D, "test")[0] is images
    for array in (images, labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_thirty_two_bits_hold_every_intermediate_value(monkeypatch):
    monkeypatch.setattr(drawing, "_INT", np.int64)
    drawing._roots.cache_clear()
    try:
        for dataset in BOTH:
            shape = dataset.shape(dataset.sizes[0], "test")
            drawn = phantoms._draw.__wrapped__(f"{dataset.name}/test", dataset.classes, shape)
            assert drawn[2] == DIGESTS[dataset.name, "test"]
    finally:
        drawing._roots.cache_clear()


@pytest.mark.parametrize("module", [drawing, phantoms])
def test_no_fraction_is_ever_formed(module):
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not isinstance(getattr(node, "op", None), ast.Div)


def test_random_numbers_keep_to_their_range_and_depend_on_the_key_alone():
    drawn = drawing.numbers("key", (3000,), -2, 3)
    assert set(drawn.tolist()) == {-2, -1, 0, 1, 2, 3}
    assert max(Counter(drawn.tolist()).values()) < 600
    assert drawn[:50].tolist() == drawing.numbers("key", (50,), -2, 3).tolist()
    assert drawn[:50].tolist() != drawing.numbers("other", (50,), -2, 3).tolist()


def test_integer_roots_and_sines_are_near_the_true_ones():
    squares = np.arange(100_000)
    assert np.array_equal(drawing.root(squares), np.sqrt(squares).astype(int))
    angles = np.arange(-300, 300)
    assert np.abs(drawing.sine(angles) - 1024 * np.sin(angles * 2 * np.pi / 256)).max() < 3
    assert np.abs(drawing.cosine(angles) - 1024 * np.cos(angles * 2 * np.pi / 256)).max() < 3
