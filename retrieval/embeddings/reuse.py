"""Vectors of a collection that are there already: those of pictures that an update has left as they were.

Embeddings of a collection keep, beside each vector, the digest of the picture that it is of. When the collection has
changed, its stored Embeddings are stale as a whole, but the vector of a picture depends on that picture alone.

New Embeddings take the place of the old ones file by file, and a run that ends half-way leaves a mixture that is taken
for neither. So the old ones are set aside before, and found there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from retrieval import artifacts
from retrieval.datasets.specs import Split
from retrieval.roots import Roots

BLOCK = 1024  # rows copied at once


@dataclass(frozen=True, eq=False)
class Kept:
    """What an earlier run has left for a split.

    Attributes:
        stored: The Embeddings as they lie on disk; `vectors` are float32 [M, D], or for volumes [M, S, D].
        places: int64 [N]: the row of each item of the split; -1 where there is none.
    """

    stored: artifacts.Artifact
    places: np.ndarray

    def rest(self, split: Split) -> Split:
        """The items that are still to be embedded, as a Split of their own."""
        missing = np.flatnonzero(self.places < 0)
        return replace(split, images=split.images[missing], labels=split.labels[missing])

    def joined(self, made: Iterable[np.ndarray]) -> artifacts.Rows:
        """All vectors in the split's order: the stored ones, and those that were `made` of the rest, in order."""
        shape = (len(self.places), *self.stored.arrays["vectors"].shape[1:])
        return artifacts.Rows(shape, np.dtype(np.float32), self._blocks(made))

    def set_aside(self, key: str, roots: Roots) -> None:
        """Copy the stored ones to another key, if they do not lie there already."""
        mark = self.stored.fingerprint
        if artifacts.load((roots.cache,), key, fingerprint=mark) is None:
            artifacts.save(roots.cache, key, arrays=self.stored.arrays, fingerprint=mark, meta=self.stored.meta)

    def _blocks(self, made: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        new, stored = (row for vectors in made for row in vectors), self.stored.arrays["vectors"]
        for start in range(0, len(self.places), BLOCK):
            places = self.places[start : start + BLOCK]
            block = np.array(stored[np.maximum(places, 0)])
            for number in np.flatnonzero(places < 0):
                block[number] = next(new)
            yield block


def digests_of(split: Split) -> np.ndarray:
    """What each picture of a collection's split is known by, uint8 [N, 16]."""
    return split.images.digests


def find(split: Split, context: str, keys: Iterable[str], roots: Roots) -> Kept | None:
    """The vectors of earlier Embeddings of a collection's split; None where none serves.

    Args:
        context: The fingerprint of all that a vector depends on besides its picture.
        keys: Where they lie, or were set aside; the first that is sound is taken.
    """
    found = next((one for key in keys if (one := artifacts.latest(roots.cache, key)) is not None), None)
    if found is None or found.meta.get("context") != context or "digests" not in found.arrays:
        return None
    rows = {digest.tobytes(): row for row, digest in enumerate(found.arrays["digests"])}
    places = np.array([rows.get(digest.tobytes(), -1) for digest in digests_of(split)], np.int64)
    if (places < 0).all():
        return None
    return Kept(found, places)
