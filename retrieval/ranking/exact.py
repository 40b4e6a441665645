"""Exact nearest neighbours, ties by rule: the lower gallery index comes first.

A matrix product gives approximate scores fast but not exactly: it expands the square in finite precision. So it only
selects candidates: every row that its error bound does not prove to be farther than k others. Those are scored again
directly in float64. Mostly they are hardly more than k; where rows are too close together, the whole gallery.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from retrieval.protocols import Similarity

SPARE = 60  # rows beyond k that are looked at first; mostly they hold all candidates
LONGEST_SINGLE = 8192  # longer vectors are multiplied in float64, or the error bound would prove little
SINGLE_SQUARES = (1e-24, 1e24)  # other squared norms too, or float32 products would vanish or overflow
BLOCK_BYTES = 1 << 26  # of gallery rows widened to float64 at a time
DIRECT_BYTES = 1 << 23  # of rows squared or scored directly at a time: they stay in the processor's cache
SCORE_BYTES = 1 << 28  # of approximate scores held at a time; smaller blocks slow the product down
PIECE = 32  # queries that a thread finishes at a time


def nearest(
    gallery: np.ndarray, queries: np.ndarray, *, k: int, similarity: Similarity
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery rows of each query: indices int32 [Q, k] and scores float32 [Q, k], best first.

    `gallery` is float32 [N, D], `queries` float32 [Q, D], k at most N. `euclidean` gives distances (ascending),
    `cosine` similarities (descending; 0 where a vector is all zero). Equal float64 scores are ordered by gallery index.
    ValueError where k does not fit, or where a vector holds a value that is not finite.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k must be between 1 and the {len(gallery)} pictures of the gallery, not {k}")
    gallery, queries = np.ascontiguousarray(gallery), np.ascontiguousarray(queries)
    squares, query_squares = _all_squares(gallery, of="gallery"), _all_squares(queries, of="queries")
    searched = _Gallery(gallery, squares, similarity, dtype=_precision(gallery.shape[1], squares, query_squares))
    indices = np.empty((len(queries), k), np.int32)
    scores = np.empty((len(queries), k), np.float32)
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # numpy lets go of the interpreter's lock
        for block, products in searched.products(queries):
            best = threads.map(searched.best, _pieces(block), _pieces(products), itertools.repeat(k))
            for found, ranked in best:
                indices[done : done + len(found)], scores[done : done + len(found)] = found, ranked
                done += len(found)
    return indices, scores


def nearest_others(rows: np.ndarray, *, k: int, similarity: Similarity) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, of every row among all the others: itself is left out by index, identical rows are not."""
    if len(rows) < 2:
        raise ValueError("a gallery of one picture has no neighbours")
    k = min(k, len(rows) - 1)
    indices, scores = nearest(rows, rows, k=k + 1, similarity=similarity)
    drop = indices == np.arange(len(rows))[:, None]
    drop[~drop.any(axis=1), -1] = True  # so many identical rows of lower index that it is not among the k + 1
    return indices[~drop].reshape(-1, k), scores[~drop].reshape(-1, k)


def _cut(approximate: np.ndarray, count: int) -> np.ndarray:
    """Per row a value that at least `count` entries do not exceed; the smallest such one, or a little more.

    The count-th smallest of the minima of 16 columns each is an upper bound of the count-th smallest, and quick to get.
    """
    n = approximate.shape[1]
    if n < 64 * count:
        return np.partition(approximate, count - 1, axis=1)[:, count - 1]
    whole = n // 16 * 16
    minima = approximate[:, :whole].reshape(len(approximate), 16, -1).min(axis=1)
    return np.partition(minima, count - 1, axis=1)[:, count - 1]


class _Gallery:
    """A gallery made ready: identical rows collapsed, norms taken, the product's precision chosen.

    Approximate scores are squared distances less the query's squared norm, or negated projections of the query on the
    unit rows: both ascend, and both are bounded in error by what the query's norm gives.
    """

    def __init__(self, gallery: np.ndarray, squares: np.ndarray, similarity: Similarity, *, dtype: np.dtype) -> None:
        self.euclidean = similarity == "euclidean"
        self.dtype = dtype
        first, self.members = _collapse(gallery, squares)
        self.distinct = gallery if self.members is None else gallery[first]
        self.squares = squares[first]
        self.offsets = (self.squares if self.euclidean else _over(1.0, np.sqrt(self.squares))).astype(dtype)
        self.largest = float(np.sqrt(self.squares.max()))
        self.product_error = _relative_error(gallery.shape[1], self.dtype)
        self.direct_error = _relative_error(gallery.shape[1], np.dtype(np.float64))

    def _error(self, norm: float) -> float:
        """Bound on how far an approximate and a direct score of one row are apart, for a query of this norm."""
        if not self.euclidean:
            return (self.product_error + 2 * self.direct_error) * norm
        expanded = 2 * self.product_error * self.largest * norm + 4 * float(np.finfo(self.dtype).eps) * self.largest**2
        return expanded + 2 * self.direct_error * (norm + self.largest) ** 2

    def products(self, queries: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks of queries, and their products with the distinct rows [B, rows]; each overwrites the one before."""
        step = max(1, SCORE_BYTES // (len(self.distinct) * self.dtype.itemsize))
        out = np.empty((min(step, len(queries)), len(self.distinct)), self.dtype)
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            products = out[: len(block)]
            self._multiply(block.astype(self.dtype) * (-2 if self.euclidean else -1), products)
            yield block, products

    def _multiply(self, queries: np.ndarray, out: np.ndarray) -> None:
        start = 0
        for rows in [self.distinct] if self.dtype == self.distinct.dtype else _blocks(self.distinct):
            np.matmul(queries, rows.astype(self.dtype, copy=False).T, out=out[:, start : start + len(rows)])
            start += len(rows)

    def best(self, queries: np.ndarray, products: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices and scores [B, k] of the k nearest rows of some queries, exactly; uses up their products."""
        approximate = (np.add if self.euclidean else np.multiply)(products, self.offsets, out=products)
        cuts = _cut(approximate, min(k + SPARE, approximate.shape[1]))
        found = [self._best(*each, k) for each in zip(queries.astype(np.float64), approximate, cuts, strict=True)]
        return np.stack([indices for indices, _ in found]), np.stack([scores for _, scores in found])

    def _best(self, query: np.ndarray, approximate: np.ndarray, cut: float, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices and scores of the k nearest rows of one float64 query, exactly."""
        near = np.flatnonzero(approximate <= cut)
        kth = min(k, len(near)) - 1
        farthest = float(np.partition(approximate[near], kth)[kth]) + 2 * self._error(float(query @ query) ** 0.5)
        if farthest < cut:
            candidates = near[approximate[near].astype(np.float64) <= farthest]
        else:
            candidates = np.flatnonzero(approximate <= np.nextafter(approximate.dtype.type(farthest), np.inf))
        return self._ordered(candidates, self._exact(query, candidates), k)

    def _exact(self, query: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Squared distances, or negated similarities, in float64 by direct evaluation."""
        parts = np.array_split(candidates, _block_count(len(candidates), self.distinct.shape[1], DIRECT_BYTES))
        return np.concatenate([self._direct(query, chosen) for chosen in parts])

    def _direct(self, query: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        rows = np.take(self.distinct, chosen, axis=0).astype(np.float64)
        if self.euclidean:
            rows -= query
            return _squares(rows)
        # From the raw vectors, not from unit ones: whole numbers stay exact, so that equal similarities are equal.
        products = np.einsum("nd,d->n", rows, query)
        return _over(-products, np.sqrt(self.squares[chosen] * (query @ query)))

    def _ordered(self, candidates: np.ndarray, exact: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k first gallery indices by (score, index), distinct rows expanded into all that are identical."""
        if self.members is not None:
            sets = [self.members[candidate][:k] for candidate in candidates]
            exact = np.repeat(exact, [len(members) for members in sets])
            candidates = np.concatenate(sets)
        order = np.lexsort((candidates, exact))[:k]
        scores = np.sqrt(exact[order]) if self.euclidean else -exact[order]
        return candidates[order].astype(np.int32), scores.astype(np.float32)


def _squares(rows: np.ndarray) -> np.ndarray:
    """Squared norms of rows [N, D], float64."""
    wide = rows.astype(np.float64, copy=False)
    return np.einsum("nd,nd->n", wide, wide)


def _over(values: np.ndarray | float, norms: np.ndarray) -> np.ndarray:
    """values / norms, and 0 where the norm is 0."""
    return np.divide(values, norms, out=np.zeros_like(norms), where=norms > 0)


def _all_squares(rows: np.ndarray, *, of: str) -> np.ndarray:
    squares = np.concatenate([_squares(block) for block in _blocks(rows, DIRECT_BYTES)])
    if not np.isfinite(squares).all():
        raise ValueError(f"the vectors of the {of} hold values that are not finite")
    return squares


def _precision(length: int, *squares: np.ndarray) -> np.dtype:
    """Of the product: float32 where its error bound holds and proves something, else float64."""
    known = np.concatenate(squares)
    known = known[known > 0]
    low, high = SINGLE_SQUARES
    single = length <= LONGEST_SINGLE and ((known > low) & (known < high)).all()
    return np.dtype(np.float32 if single else np.float64)


def _relative_error(length: int, dtype: np.dtype) -> float:
    """Bound on the error of a product of unit vectors: a rounding a term, in any order (Higham, 2002, section 3.1)."""
    unit = float(np.finfo(dtype).eps) / 2
    terms = length + 8
    return terms * unit / (1 - terms * unit)


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + PIECE] for start in range(0, len(rows), PIECE))


def _blocks(rows: np.ndarray, at_most: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Rows in blocks of even length: alone in a block, a long row would be summed in another order than its equals."""
    return iter(np.array_split(rows, _block_count(len(rows), rows.shape[1], at_most)))


def _block_count(count: int, length: int, at_most: int = BLOCK_BYTES) -> int:
    return max(1, min(-(-count * length * 8 // at_most), count // 2))


def _collapse(rows: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray | slice, list[np.ndarray] | None]:
    """First index of each set of identical rows, and the members of each set, ascending; all and None if all differ.

    Only rows with the same squared norm (which identical rows have) are looked at byte by byte.
    """
    _, place, count = np.unique(squares, return_inverse=True, return_counts=True)
    if len(count) == len(rows):
        return slice(None), None
    sets: dict[object, list[int]] = {}
    for index in range(len(rows)):
        alone = count[place[index]] == 1
        key = index if alone else hashlib.blake2b(np.ascontiguousarray(rows[index]).data, digest_size=16).digest()
        sets.setdefault(key, []).append(index)
    if len(sets) == len(rows):
        return slice(None), None
    return np.array([members[0] for members in sets.values()]), [np.array(members) for members in sets.values()]
