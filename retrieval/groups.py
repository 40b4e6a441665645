"""Groups: items that are the same picture again, found by looking at the pixels of one dataset at one size.

Two items are *exact* duplicates when their pixels are the same, and *near* duplicates when, reduced to about 28 pixels
a side and with the gallery's mean picture taken away, they correlate by more than 0.97 at some shift of up to two
pixels (one in volumes). Without the mean, any two fundus photographs would correlate that well. With it they have to
correlate by more than 0.9 all the same, since what the mean leaves of two dark pictures is its own negative, whatever
they show. A group is what such pairs connect. The module stands after ranking, since in a large dataset only the
nearest neighbours of small thumbnails are looked at. Pictures and volumes of a collection, which may be of any shape,
are compared as grey squares and cubes of 28 pixels, so that its groups are the same at every size; exact duplicates are
those of its record.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from retrieval import artifacts, provenance
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import Dataset, Split
from retrieval.embeddings.pipeline import give_back
from retrieval.pictures.decoded import Volume
from retrieval.pictures.item import make_item, make_volume_item
from retrieval.ranking import exact
from retrieval.roots import Roots

NEAR = 0.97
ALIKE = 0.9  # with the mean left in; pairs looked at had .95 and more where they were right, .72 where not
REDUCED_SIDE = 28
SHIFT = {2: 2, 3: 1}
EVERY_PAIR = 16_000  # up to so many items every pair is looked at: a minute or two on two cores
CANDIDATES = 64
AT_ONCE = 64  # items whose pixels lie in memory
LEAST_THUMBNAIL = 0.5  # near duplicates' thumbnails correlate by far more; checked against all pairs in the tests
GROUPING = 2

Kinship = Literal["exact", "near"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Group numbers beside the labels; items that are alone have a number of their own.

    Attributes:
        train, test: int64 [N] and [Q].
        mean: float32 mean gallery picture, reduced; what is taken away before pictures are correlated.
        fingerprint: Of the data and of the rules above.
    """

    train: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    fingerprint: str

    def of(self, split: str) -> np.ndarray:
        """The group numbers of `train` or `test`."""
        return self.train if split == "train" else self.test


def find_groups(dataset: Dataset, size: int, roots: Roots) -> Groups:
    """The Groups of a dataset at one size; found once, then read."""
    size = _looked_at(dataset, size)
    train, test = open_split(dataset, size, "train", roots), open_split(dataset, size, "test", roots)
    key = key_of(dataset, size)
    mark = fingerprint_of(train.digest)
    found = artifacts.load(roots.lookup, key, fingerprint=mark)
    if found is not None:
        return Groups(**found.arrays, fingerprint=mark)
    find = _group if dataset.own is None else _group_own
    numbers, mean = find(train, test)
    arrays = {"train": numbers[: len(train)], "test": numbers[len(train) :], "mean": mean}
    artifacts.save(roots.cache, key, arrays=arrays, fingerprint=mark, meta=provenance.versions())
    return Groups(**arrays, fingerprint=mark)


def fingerprint_of(data: str) -> str:
    """The key of staleness of Groups, by the digest of their data."""
    return artifacts.fingerprint(grouping=GROUPING, data=data, near=NEAR, alike=ALIKE, candidates=CANDIDATES)


def key_of(dataset: Dataset, size: int) -> str:
    """Where the Groups lie, relative to a root."""
    return f"groups/{dataset.name}/{_looked_at(dataset, size)}"


def _looked_at(dataset: Dataset, size: int) -> int:
    """The size at which items are compared: of a collection always its first."""
    return size if dataset.own is None else dataset.sizes[0]


def kinship(picture: np.ndarray, other: np.ndarray, mean: np.ndarray, ndim: int) -> Kinship | None:
    """Whether two uint8 items of one shape are the same picture: `exact`, `near` or neither."""
    if np.array_equal(picture, other):
        return "exact"
    both, pair = _reduced(np.stack([picture, other]), ndim), np.array([[0, 1]])
    near = correlation(both - mean, pair, ndim)[0] > NEAR and correlation(both, pair, ndim)[0] > ALIKE
    return "near" if near else None


def kinship_within(dataset: Dataset, picture: np.ndarray, other: np.ndarray, mean: np.ndarray) -> Kinship | None:
    """As `kinship`, of two items of a dataset; those of a collection may differ in shape."""
    if dataset.own is None:
        return kinship(picture, other, mean, dataset.ndim)
    if np.array_equal(picture, other):
        return "exact"
    if dataset.vectors:
        return None
    found = kinship(_thumbnail(picture, dataset), _thumbnail(other, dataset), mean, dataset.ndim)
    return "near" if found else None


def correlation(residuals: np.ndarray, pairs: np.ndarray, ndim: int) -> np.ndarray:
    """For pairs [P, 2] of float32 residuals [N, ...] the largest Pearson correlation over shifts of one of the two.

    The core of one (a margin of the largest shift left off) against the other's window of the same size, both ways.
    """
    best = np.full(len(pairs), -1.0, np.float32)
    core = _core(residuals, ndim)
    step = max(1, (1 << 24) // core.shape[1])
    for moved in _windows(residuals, ndim):
        for start in range(0, len(pairs), step):
            one, two = pairs[start : start + step].T
            for left, right in ((one, two), (two, one)):
                found = np.einsum("pd,pd->p", core[left], moved[right])
                np.maximum(best[start : start + step], found, out=best[start : start + step])
    return best


def near_pairs(residuals: np.ndarray, ndim: int) -> np.ndarray:
    """Pairs [P, 2] of near duplicates among float32 residuals [N, ...], every pair looked at; for thousands."""
    core, near = _core(residuals, ndim), np.zeros((len(residuals), len(residuals)), bool)
    step = max(1, (1 << 26) // len(residuals))
    for moved in _windows(residuals, ndim):
        for start in range(0, len(core), step):
            near[start : start + step] |= core[start : start + step] @ moved.T > NEAR
    return np.argwhere(np.triu(near | near.T, 1))


def near_pairs_of_many(residuals: np.ndarray, ndim: int) -> np.ndarray:
    """As `near_pairs`, looking only at each item's nearest by thumbnail; for tens of thousands of items."""
    thumbnails = _standard(_block_means(residuals, 4, ndim))
    indices, scores = exact.nearest_others(thumbnails, k=CANDIDATES, similarity="cosine")
    one, rank = np.nonzero(scores > LEAST_THUMBNAIL)
    pairs = np.unique(np.sort(np.stack([one, indices[one, rank]], axis=1), axis=1), axis=0)
    return pairs[correlation(residuals, pairs, ndim) > NEAR]


def _group(train: Split, test: Split) -> tuple[np.ndarray, np.ndarray]:
    """A group number for every item, train before test, and the mean gallery picture; pixels are read part by part."""
    ndim = train.dataset.ndim
    blocks = [_looked_over(pictures, ndim) for split in (train, test) for pictures in _blocks(split.images)]
    reduced, digests = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return _connected(reduced, _exact_pairs(digests), n_gallery=len(train), ndim=ndim)


def _group_own(train: Split, test: Split) -> tuple[np.ndarray, np.ndarray]:
    """The same of a collection, whose pictures are decoded one by one."""
    if train.dataset.vectors:  # exact duplicates alone: what is near is what is searched for
        alone = np.unique(np.concatenate([train.images.digests, test.images.digests]), axis=0, return_inverse=True)[1]
        return alone.reshape(-1).astype(np.int64), np.zeros((REDUCED_SIDE, REDUCED_SIDE), np.float32)
    small = [_thumbnail(picture, train.dataset) for split in (train, test) for picture in split.images]
    digests = np.concatenate([train.images.digests, test.images.digests])
    ndim = train.dataset.ndim
    return _connected(_reduced(np.stack(small), ndim), _exact_pairs(digests), n_gallery=len(train), ndim=ndim)


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Some items at a time; of a mapped file only what is looked at lies in memory."""
    for start in range(0, len(images), AT_ONCE):
        yield images[start : start + AT_ONCE]
        give_back(images)


def _looked_over(pictures: np.ndarray, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Items reduced, and the digest of each one's pixels, uint8 [N, 32]."""
    digests = b"".join(hashlib.sha256(np.ascontiguousarray(picture).data).digest() for picture in pictures)
    return _reduced(pictures, ndim), np.frombuffer(digests, np.uint8).reshape(len(pictures), -1)


def _thumbnail(picture: np.ndarray, dataset: Dataset) -> np.ndarray:
    if dataset.ndim == 3:
        return make_volume_item(Volume(picture), size=REDUCED_SIDE)
    return make_item(Image.fromarray(picture), dataset=replace(dataset, channels=1), size=REDUCED_SIDE)


def _connected(
    reduced: np.ndarray, exact_pairs: np.ndarray, *, n_gallery: int, ndim: int
) -> tuple[np.ndarray, np.ndarray]:
    """What exact and near duplicates connect: group numbers, and the mean of the gallery, which comes first."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    mean = reduced[:n_gallery].mean(axis=0, dtype=np.float64).astype(np.float32)
    find = near_pairs if len(reduced) <= EVERY_PAIR else near_pairs_of_many
    near = find(reduced - mean, ndim)
    pairs = np.concatenate([exact_pairs, near[correlation(reduced, near, ndim) > ALIKE]])
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(reduced),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64), mean


def _exact_pairs(digests: np.ndarray) -> np.ndarray:
    """Every item that repeats an earlier one, with the first of its kind: [P, 2]."""
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(digest.tobytes(), index), index) for index, digest in enumerate(digests)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _reduced(pictures: np.ndarray, ndim: int) -> np.ndarray:
    """float32 items by means of whole blocks of pixels, 28 to 55 a side."""
    return _block_means(pictures, max(1, pictures.shape[1] // REDUCED_SIDE), ndim)


def _block_means(pictures: np.ndarray, factor: int, ndim: int) -> np.ndarray:
    """float32 items [N, side, ...] by means of blocks of `factor` pixels; what is left over at the end is cut off."""
    values = pictures.astype(np.float32, copy=False)
    for axis in range(1, ndim + 1):
        count = values.shape[axis] // factor
        whole = np.take(values, range(count * factor), axis=axis)
        values = whole.reshape(*whole.shape[:axis], count, factor, *whole.shape[axis + 1 :]).mean(axis=axis + 1)
    return values


def _core(residuals: np.ndarray, ndim: int) -> np.ndarray:
    return _standard(_window(residuals, (SHIFT[ndim],) * ndim, ndim))


def _windows(residuals: np.ndarray, ndim: int) -> Iterator[np.ndarray]:
    """Standardised rows of every shifted window, shift by shift."""
    places = itertools.product(range(2 * SHIFT[ndim] + 1), repeat=ndim)
    return (_standard(_window(residuals, place, ndim)) for place in places)


def _window(residuals: np.ndarray, place: tuple[int, ...], ndim: int) -> np.ndarray:
    side = residuals.shape[1] - 2 * SHIFT[ndim]
    return residuals[(slice(None), *(slice(start, start + side) for start in place))]


def _standard(pictures: np.ndarray) -> np.ndarray:
    """Rows [N, D] with mean 0 and norm 1; a constant picture becomes 0 and correlates with nothing."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 1e-6, norms, np.inf)
    return rows
