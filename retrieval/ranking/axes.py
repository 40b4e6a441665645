"""The principal axes of a gallery: where its vectors vary most, and how much of that is known from so few pictures.

All in float64. Where there are fewer pictures than values in a vector, the axes come from the products of pictures with
pictures [N, N], else from those of values with values [D, D]; both give the same axes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from retrieval.errors import Unavailable

LARGEST = 12_288  # side of the square matrix whose axes are taken; larger ones need hours and gigabytes
BLOCK_BYTES = 1 << 26  # of rows or columns widened to float64 at a time


@dataclass(frozen=True, eq=False)
class Axes:
    """Orthonormal axes of a gallery, most variance first; those without variance are left out.

    Attributes:
        mean: float64 [D].
        directions: float64 [D, R], a column an axis; of each the entry largest in size is positive.
        variances: float64 [R], along each axis, divided by N - 1.
        total: Sum of all variances, of the axes that were cut off too.
        fourth: Sum over the gallery of the fourth power of the distance from the mean, for the shrinkage.
        count: N.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    total: float
    fourth: float
    count: int

    def first(self, dimensions: int | None) -> "Axes":
        """The axes with most variance, at most so many; None is all."""
        kept = self.variances[:dimensions]
        return Axes(self.mean, self.directions[:, : len(kept)], kept, self.total, self.fourth, self.count)

    def coordinates(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors [M, D] along the axes, from the mean: float64 [M, R]."""
        out = np.empty((len(vectors), self.directions.shape[1]))
        for rows in _slices(len(vectors), vectors.shape[1]):
            np.matmul(vectors[rows].astype(np.float64) - self.mean, self.directions, out=out[rows])
        return out

    def share(self) -> float:
        """Share of the gallery's variance along these axes, 0 to 1."""
        return float(self.variances.sum() / self.total) if self.total else 1.0


def principal_axes(gallery: np.ndarray) -> Axes:
    """All axes of a gallery [N, D] with variance; one at random where it has none.

    Unavailable where both N and D are too large.
    """
    count, length = gallery.shape
    if min(count, length) > LARGEST:
        raise Unavailable(
            f"The axes of {count:,} vectors of {length:,} values would take hours and gigabytes to find.",
            remedy="Choose a smaller size, or an extractor with shorter vectors.",
        )
    mean = gallery.mean(axis=0, dtype=np.float64)
    scatter, directions = (_by_pictures if count < length else _by_values)(gallery, mean)
    variances = scatter / max(count - 1, 1)
    norms = _squared_norms(gallery, mean)
    total = float(norms.sum() / max(count - 1, 1))
    return Axes(mean, _signed(directions), variances, total, float(norms @ norms), count)


def shrinkage(axes: Axes) -> float:
    """How far the covariance should be shrunk towards the same variance along every axis: 0 (not) to 1.

    The intensity of Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (Journal of
    Multivariate Analysis, 2004), which needs no matrix: of the covariance only its squared norm, the sum of the squared
    variances, of the pictures only the fourth powers of their distances from the mean. `axes` are all of a gallery.
    """
    variances = _plain(axes)
    squared = float(variances @ variances)
    spread = squared - float(variances.sum()) ** 2 / len(axes.mean)
    error = (axes.fourth / axes.count - squared) / axes.count
    return float(np.clip(error / spread, 0.0, 1.0)) if spread > 0 else 0.0


def shrunk_variances(axes: Axes, intensity: float) -> np.ndarray:
    """Variances [R] along all axes of a gallery after shrinking, divided by N."""
    variances = _plain(axes)
    return (1 - intensity) * variances + intensity * float(variances.sum()) / len(axes.mean)


def _plain(axes: Axes) -> np.ndarray:
    """Variances divided by N, as Ledoit & Wolf have them."""
    return axes.variances * (axes.count - 1) / axes.count


def _by_values(gallery: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of squares along the axes, descending, and the axes, from the products of values with values."""
    products = np.zeros((len(mean), len(mean)))
    for rows in _slices(*gallery.shape):
        centred = gallery[rows].astype(np.float64) - mean
        products += centred.T @ centred
    return _descending(products, max(gallery.shape))


def _by_pictures(gallery: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same from the products of pictures with pictures."""
    count, length = gallery.shape
    blocks = list(_slices(length, count))
    products = np.zeros((count, count))
    for columns in blocks:
        centred = gallery[:, columns].astype(np.float64) - mean[columns]
        products += centred @ centred.T
    scatter, weights = _descending(products, max(gallery.shape))
    weights = weights / np.sqrt(np.where(scatter > 0, scatter, 1.0))
    directions = np.empty((length, len(scatter)))
    for columns in blocks:
        centred = gallery[:, columns].astype(np.float64) - mean[columns]
        np.matmul(centred.T, weights, out=directions[columns])
    return scatter, directions


def _descending(products: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues that are not numerically zero, descending (at least one), and their eigenvectors in columns."""
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    rank = max(1, int((values > values[0] * longest * np.finfo(np.float64).eps).sum()))
    return values[:rank], vectors[:, :rank]


def _signed(directions: np.ndarray) -> np.ndarray:
    """The same axes, each turned so that its entry largest in size is positive: libraries differ in the sign."""
    largest = np.abs(directions).argmax(axis=0)
    return directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0, -1.0, 1.0)


def _squared_norms(gallery: np.ndarray, mean: np.ndarray) -> np.ndarray:
    centred = (gallery[rows].astype(np.float64) - mean for rows in _slices(*gallery.shape))
    return np.concatenate([np.einsum("nd,nd->n", block, block) for block in centred])


def _slices(count: int, length: int) -> Iterator[slice]:
    """Slices of `count` rows of so many values."""
    step = max(1, BLOCK_BYTES // (8 * length))
    return (slice(start, start + step) for start in range(0, count, step))
