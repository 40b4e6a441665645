"""Vectors + protocol -> Neighbours, on disk and back. One `rank` for page and leaderboard."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from retrieval import artifacts, provenance
from retrieval.embeddings.embedding import Embeddings
from retrieval.protocols import Protocol
from retrieval.ranking import exact, spaces
from retrieval.ranking.spaces import FittedSpace
from retrieval.roots import Roots

# Raised when the code changes what a ranking is, so that what was stored before is stale.
RANKING = 1

Side = Literal["test", "train"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Gallery indices and scores per query, best first.

    Attributes:
        indices: int32 [Q, depth].
        scores: float32 [Q, depth]; distances ascend, similarities descend.
        fingerprint: Of the embeddings and the ranking rules.
        meta: How they and the embeddings were made; recorded, not part of the fingerprint.
    """

    indices: np.ndarray
    scores: np.ndarray
    fingerprint: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def leave_out(self, groups: np.ndarray, query_groups: np.ndarray, *, k: int) -> "Neighbours":
        """The k first neighbours that are not of the query's own group; group numbers [N] and [Q].

        ValueError where so many are of the query's group that fewer than k are left.
        """
        if not self.reaching(groups, query_groups, k=k).all():
            raise ValueError(f"the {self.indices.shape[1]} stored neighbours do not reach beyond the query's own group")
        same = groups[self.indices] == query_groups[:, None]
        order = np.argsort(same, axis=1, kind="stable")[:, :k]
        take = np.take_along_axis
        return Neighbours(take(self.indices, order, 1), take(self.scores, order, 1), self.fingerprint)

    def reaching(self, groups: np.ndarray, query_groups: np.ndarray, *, k: int) -> np.ndarray:
        """Which queries, bool [Q], have k neighbours that are not of their own group."""
        return (groups[self.indices] != query_groups[:, None]).sum(axis=1) >= k


def matrix(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, D] as they are; the slices' vectors of volumes [N, S, D] concatenated in slice order, [N, S * D]."""
    return vectors.reshape(len(vectors), -1)


def rank(
    gallery: np.ndarray, queries: np.ndarray, protocol: Protocol, *, k: int, mark: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery items of each query by the protocol: int32 and float32 [Q, k]; vectors as embedded.

    `mark`: the gallery's fingerprint; with it the space fitted on the gallery is remembered.
    """
    return _among(_fitted(gallery, protocol, mark), queries, protocol, k=k)


def fingerprint_of(gallery: str, query: str, protocol: Protocol, depth: int) -> str:
    """The key of staleness of Neighbours, from the fingerprints of the embeddings."""
    space = protocol.space
    # Only where there is a space: what was ranked without one before there were any is still current.
    placed = {} if space.kind == "none" else {"space": [spaces.SPACES, space.kind, space.dimensions]}
    return artifacts.fingerprint(
        ranking=RANKING,
        gallery=gallery,
        query=query,
        similarity=protocol.similarity,
        volumes=protocol.volumes,
        depth=depth,
        **placed,
    )


def key_of(cell_key: str, side: Side) -> str:
    """Where the neighbours of a cell's test (`test`) or gallery (`train`) pictures lie, relative to a root."""
    return f"neighbours/{cell_key}/{side}"


def stored(key: str, mark: str, roots: Roots) -> Neighbours | None:
    """The Neighbours on disk, if they are there, sound and not stale."""
    found = artifacts.load(roots.lookup, key, fingerprint=mark)
    return None if found is None else Neighbours(**found.arrays, fingerprint=mark, meta=found.meta)


def make(
    key: str, mark: str, gallery: Embeddings, query: Embeddings, protocol: Protocol, depth: int, roots: Roots
) -> Neighbours:
    """Rank every query, write and return; where query and gallery are the same split, each leaves itself out."""
    fitted = _fitted(gallery.vectors, protocol, gallery.fingerprint)
    if query.fingerprint == gallery.fingerprint:
        indices, scores = exact.nearest_others(fitted.gallery, k=depth, similarity=protocol.similarity)
    else:
        indices, scores = _among(fitted, query.vectors, protocol, k=depth)
    arrays = {"indices": indices, "scores": scores}
    meta = {"ranked": provenance.versions(), "embedded": dict(gallery.meta)}
    if protocol.space.kind != "none":
        meta["space"] = dict(fitted.facts)
    with artifacts.lock(roots.cache / f"{key}.lock", what=f"the neighbours {key}"):
        artifacts.save(roots.cache, key, arrays=arrays, fingerprint=mark, meta=meta)
    return Neighbours(**arrays, fingerprint=mark, meta=meta)


def _fitted(gallery: np.ndarray, protocol: Protocol, mark: str | None) -> FittedSpace:
    rows, space = matrix(gallery), protocol.space
    if mark is None or space.kind == "none":
        return spaces.fit(space, rows)
    return spaces.remembered(space, rows, mark=mark)


def _among(fitted: FittedSpace, queries: np.ndarray, protocol: Protocol, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    rows, placed = fitted.gallery, fitted.apply(matrix(queries))
    return exact.nearest(rows, placed, k=min(k, len(rows)), similarity=protocol.similarity)
