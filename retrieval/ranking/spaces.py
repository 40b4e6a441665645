"""Spaces fitted on a gallery, and vectors placed in them: a query never has a say in where anything lies."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retrieval.protocols import Space
from retrieval.ranking import learned_spaces
from retrieval.ranking.axes import Axes, principal_axes, shrinkage, shrunk_variances

# Raised when the code changes where a vector is placed, so that what was ranked in a space before is stale.
SPACES = 1

_FEW = 2  # fitted spaces kept in memory: those of the gallery that is asked now, and of the one before


@dataclass(frozen=True, eq=False)
class FittedSpace:
    """A Space as one gallery makes it.

    Attributes:
        space: What was fitted.
        gallery: The gallery in it, float32 [N, d].
        place: Vectors [M, D] -> their places, float64 [M, d]; each on its own.
        facts: For provenance: `kind`, `dimensions` kept, `variance` (share of the gallery's kept; None where the
            kind has none), `shrinkage` (None where there is none).
    """

    space: Space
    gallery: np.ndarray
    place: Callable[[np.ndarray], np.ndarray]
    facts: Mapping[str, Any]

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors [M, D] in the space, float32 [M, d]."""
        return np.ascontiguousarray(self.place(vectors), np.float32)


def fit(space: Space, gallery: np.ndarray) -> FittedSpace:
    """The space of a gallery, float32 [N, D].

    Unavailable where a package is missing, or both N and D are too large.
    """
    return _FITS[space.kind](space, gallery)


def remembered(space: Space, gallery: np.ndarray, *, mark: str) -> FittedSpace:
    """As `fit`; the last few are kept in memory by `mark`, the gallery's fingerprint."""
    return _remembered(_Asked(mark, space, gallery))


@dataclass(frozen=True)
class _Asked:
    mark: str
    space: Space
    gallery: np.ndarray = field(compare=False)


@functools.lru_cache(maxsize=_FEW)
def _remembered(asked: _Asked) -> FittedSpace:
    return fit(asked.space, asked.gallery)


def products(space: Space, *, count: int, length: int, queries: int) -> float:
    """Roughly as many multiplications as fitting takes and placing a gallery and queries, for an estimate of time."""
    if space.kind == "none":
        return 0.0
    rank = min(count, length)
    kept = min(space.dimensions or rank, rank)
    axes = count * length * rank + 10.0 * rank**3 + (count + queries) * length * kept
    if space.kind == "autoencoder":
        return axes + 6.0 * learned_spaces.EPOCHS * count * rank * (space.dimensions or rank)
    # Of UMAP it is not products that take time: a second's worth for so many pictures, and some to make it ready.
    return axes + 3e8 * (count + queries) + 3e11 if space.kind == "umap" else axes


def _as_it_is(space: Space, gallery: np.ndarray) -> FittedSpace:
    return FittedSpace(space, gallery, lambda vectors: vectors, _facts(space, gallery.shape[1], variance=1.0))


def _pca(space: Space, gallery: np.ndarray) -> FittedSpace:
    axes = principal_axes(gallery).first(space.dimensions)
    return _scaled(space, gallery, axes, np.ones(len(axes.variances)))


def _pca_whitening(space: Space, gallery: np.ndarray) -> FittedSpace:
    axes = principal_axes(gallery).first(space.dimensions)
    return _scaled(space, gallery, axes, _inverse_roots(axes.variances))


def _whitening(space: Space, gallery: np.ndarray) -> FittedSpace:
    """By the shrunk covariance: by the plain one, few pictures with long vectors are all equally far from each other.

    In the gallery's own span: what a query has outside of it is the same for every picture and changes no order.
    """
    axes = principal_axes(gallery)
    intensity = shrinkage(axes)
    scales = _inverse_roots(shrunk_variances(axes, intensity))
    return _scaled(space, gallery, axes, scales, intensity=intensity)


def _scaled(
    space: Space, gallery: np.ndarray, axes: Axes, scales: np.ndarray, *, intensity: float | None = None
) -> FittedSpace:
    """Coordinates along axes, each times its scale."""

    def place(vectors: np.ndarray) -> np.ndarray:
        return axes.coordinates(vectors) * scales

    facts = _facts(space, len(scales), variance=axes.share(), intensity=intensity)
    return FittedSpace(space, place(gallery).astype(np.float32), place, facts)


def _autoencoder(space: Space, gallery: np.ndarray) -> FittedSpace:
    return _learned(space, gallery, learned_spaces.autoencoder)


def _umap(space: Space, gallery: np.ndarray) -> FittedSpace:
    return _learned(space, gallery, learned_spaces.umap)


def _learned(space: Space, gallery: np.ndarray, learn: learned_spaces.Learn) -> FittedSpace:
    """Learned from all coordinates along the axes: distances are as before, but long vectors become short."""
    axes = principal_axes(gallery)
    placed, apply = learn(axes.coordinates(gallery), space.dimensions or 2)
    facts = _facts(space, placed.shape[1])
    return FittedSpace(space, placed.astype(np.float32), lambda vectors: apply(axes.coordinates(vectors)), facts)


def _inverse_roots(variances: np.ndarray) -> np.ndarray:
    """1 / sqrt, and 0 where there is no variance."""
    return np.divide(1.0, np.sqrt(variances), out=np.zeros_like(variances), where=variances > 0)


def _facts(
    space: Space, dimensions: int, *, variance: float | None = None, intensity: float | None = None
) -> dict[str, Any]:
    return {"kind": space.kind, "dimensions": dimensions, "variance": variance, "shrinkage": intensity}


_FITS: Mapping[str, Callable[[Space, np.ndarray], FittedSpace]] = {
    "none": _as_it_is,
    "pca": _pca,
    "whitening": _whitening,
    "pca_whitening": _pca_whitening,
    "autoencoder": _autoencoder,
    "umap": _umap,
}
