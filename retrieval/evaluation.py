"""Cell -> Result: where data, encoder, ranking and scoring meet. Whatever is missing on the way is computed.

Three nested keys: embeddings < neighbours < result. Fingerprints need the data's and the weights' digests, not the
vectors, so that a result or a neighbour list is found without an encoder, and without torch.
"""

import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from retrieval import artifacts, provenance, results
from retrieval.cells import Cell
from retrieval.cells import cell as named
from retrieval.datasets import opening
from retrieval.datasets.specs import Split
from retrieval.embeddings import embedding
from retrieval.embeddings.embedding import Embeddings, Progress
from retrieval.encoders import configs, loading, weights
from retrieval.errors import RetrievalError, Unavailable
from retrieval.groups import Groups, find_groups
from retrieval.groups import fingerprint_of as groups_fingerprint
from retrieval.ranking import neighbours as ranked
from retrieval.ranking.neighbours import Neighbours, Side
from retrieval.results import Reading, Result
from retrieval.roots import Roots
from retrieval.scoring import reading as scoring

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Marks:
    """The fingerprints of a cell's parts, the digests behind them, and whether data and weights are the known ones."""

    train_embeddings: str
    test_embeddings: str
    train: str
    test: str
    groups: str
    data: str
    weights: str
    verified: bool

    def embeddings(self, side: Side) -> str:
        return self.train_embeddings if side == "train" else self.test_embeddings

    def neighbours(self, side: Side) -> str:
        return self.train if side == "train" else self.test


def marks(cell: Cell, roots: Roots) -> Marks:
    """The fingerprints of a cell by the data, weights and config file at hand; else by what the spec names."""
    at_hand, spec = loading.identify_or_expect(cell.spec, roots), configs.at_hand(cell.spec, roots)
    data, verified = opening.data_digest(cell.data, cell.size, roots)
    return marks_of(
        cell, data=data, weights=at_hand.digest, verified=verified and at_hand.verified, settled=spec.settled
    )


@functools.lru_cache(maxsize=1024)
def marks_of(cell: Cell, *, data: str, weights: str, verified: bool, settled: configs.Facts = ()) -> Marks:
    """The fingerprints of a cell by digests of its data and its weights, and what was settled; nothing is read."""
    spec, dataset, size = configs.applied(cell.spec, settled), cell.data, cell.size
    train, test = (
        embedding.fingerprint_of(dataset, size, split, spec, data=data, weights=weights) for split in ("train", "test")
    )
    return Marks(
        train_embeddings=train,
        test_embeddings=test,
        train=ranked.fingerprint_of(train, train, cell.rules, _depth(cell, "train")),
        test=ranked.fingerprint_of(train, test, cell.rules, _depth(cell, "test")),
        groups=groups_fingerprint(data),
        data=data,
        weights=weights,
        verified=verified,
    )


def sides_of(cell: Cell) -> tuple[Side, ...]:
    """The sides of a cell that hold any item, queries first; of a collection the queries may be none."""
    sides: tuple[Side, ...] = ("test", "train")
    return tuple(side for side in sides if cell.data.counts[side])


def split_of(cell: Cell, side: Side, roots: Roots) -> Split:
    """The cell's gallery (`train`) or queries (`test`)."""
    return opening.open_split(cell.data, cell.size, side, roots)


def embeddings(
    cell: Cell, side: Side, roots: Roots, *, device: str = "auto", progress: Progress | None = None
) -> Embeddings:
    """The vectors of the cell's gallery or test pictures, computed if need be."""
    return embedding.embed(cell.data, cell.size, side, cell.spec, roots, device=device, progress=progress)


def stored_neighbours(cell: Cell, side: Side, roots: Roots, *, parts: Marks | None = None) -> Neighbours | None:
    """The neighbours of the cell's test or gallery pictures on disk, if they are sound and current.

    `parts`: the cell's marks, where the caller has them.
    """
    parts = parts or marks(cell, roots)
    return ranked.stored(ranked.key_of(cell.key, side), parts.neighbours(side), roots)


def neighbours(
    cell: Cell, side: Side, roots: Roots, *, device: str = "auto", progress: Progress | None = None
) -> Neighbours:
    """The neighbours of the cell's test or gallery pictures, computed if need be.

    Unavailable where data or weights became others while they were computed.
    """
    parts = marks(cell, roots)
    found = stored_neighbours(cell, side, roots, parts=parts)
    if found is not None:
        return found
    gallery = embeddings(cell, "train", roots, device=device, progress=progress)
    query = gallery if side == "train" else embeddings(cell, "test", roots, device=device, progress=progress)
    _check_unchanged(cell, (gallery.fingerprint, parts.train_embeddings), (query.fingerprint, parts.embeddings(side)))
    key, mark = ranked.key_of(cell.key, side), parts.neighbours(side)
    return ranked.make(key, mark, gallery, query, cell.rules, _depth(cell, side), roots)


def nearest_to(cell: Cell, side: Side, index: int, roots: Roots, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery pictures of one of the cell's own, itself left out: int32 and float32 [k], or all.

    The stored ones as far as they reach; beyond them it is ranked, from the vectors.
    """
    stored = neighbours(cell, side, roots)
    indices, scores = stored.indices[index], stored.scores[index]
    if k <= len(indices) or len(indices) == cell.data.counts["train"] - (side == "train"):
        return indices[:k], scores[:k]
    gallery, query = embeddings(cell, "train", roots), embeddings(cell, side, roots)
    asked, everything = query.vectors[index : index + 1], len(gallery.vectors)
    whole, told = ranked.rank(gallery.vectors, asked, cell.rules, k=everything, mark=gallery.fingerprint)
    beyond = ~np.isin(whole[0], [*indices, *([index] if side == "train" else [])])
    return np.append(indices, whole[0][beyond])[:k], np.append(scores, told[0][beyond])[:k]


def evaluate(cell: Cell, roots: Roots, *, device: str = "auto", progress: Progress | None = None) -> Result:
    """The Result of a cell: read if one with this fingerprint is there, else computed and written.

    Raises:
        Unavailable: Data or weights are missing, or became others meanwhile; or a collection's items cannot be ranked.
    """
    lacking = unrankable(cell)
    if lacking is not None:
        raise lacking
    parts = marks(cell, roots)
    found = stored_result(cell, fingerprint_of(parts), roots)
    if found is not None:
        return found
    groups = find_groups(cell.data, cell.size, roots)
    ranking = neighbours(cell, "test", roots, device=device, progress=progress)
    neighbours(cell, "train", roots, device=device, progress=progress)  # so that a click on a card needs no encoder
    result = _score(cell, ranking, groups, roots, parts)
    results.write(roots.cache, result)
    return result


def unrankable(cell: Cell) -> Unavailable | None:
    """Why no ranking of a collection can be judged; None where one can."""
    data, needed = cell.data, cell.rules.k + 1
    if not data.labelled:
        return Unavailable(
            f"The {data.noun}s of {data.title} have no labels, so that no ranking of them can be judged.",
            remedy="They can be searched. To rank extractors, give labels by class folders or a CSV, and update it.",
        )
    if data.own is not None and (not data.counts["test"] or data.counts["train"] < needed):
        how = "Add more" if data.counts["test"] else "Add more, or give some the split test,"
        return Unavailable(
            f"{data.title} has {data.counts['train']} {data.noun}s in its gallery and {data.counts['test']} to ask "
            f"with; a ranking is judged from {needed} and one on.",
            remedy=f"It can be searched. {how} and update the collection.",
        )
    return None


def fingerprint_of(parts: Marks) -> str:
    """The key of staleness of a Result."""
    return artifacts.fingerprint(neighbours=parts.test, groups=parts.groups, rules=scoring.RULES_VERSION)


def current_results(roots: Roots) -> Iterator[Result]:
    """Every Result under the roots that is sound and what would be computed now; its cell knows its collection."""
    for result in results.read_all(roots.lookup, accept=lambda result: is_current(result, roots)):
        yield replace(result, cell=named(**result.cell.names, roots=roots))


def is_current(result: Result, roots: Roots) -> bool:
    """Whether a Result is what would be computed now; without data or weights at hand, those that it names count."""
    try:
        cell = named(**result.cell.names, roots=roots)
    except RetrievalError:  # a dataset or an extractor that this version no longer has, or does not compare so
        return False
    if cell.own is not None and opening.data_digest(cell.own, cell.size, roots)[0] != result.data:
        return False  # of the collection as it was before an update
    try:
        return _fits(cell, result, roots)
    except RetrievalError as error:  # with a file that cannot be used, or is half copied, nothing could be computed now
        log.warning("%s", error)
        return False


def _fits(cell: Cell, result: Result, roots: Roots) -> bool:
    """Whether the files at hand, and this version's rules, are those that a Result was computed with."""
    settled = _settled(cell, result, roots)
    parts = marks_of(cell, data=result.data, weights=result.weights, verified=result.verified, settled=settled)
    if result.fingerprint != fingerprint_of(parts):
        return False
    if weights.state(cell.spec, roots) == "ready" and loading.identify(cell.spec, roots).digest != result.weights:
        return False
    at_hand = opening.is_at_hand(cell.data, cell.size, roots)
    return not at_hand or opening.data_digest(cell.data, cell.size, roots)[0] == result.data


def _settled(cell: Cell, result: Result, roots: Roots) -> configs.Facts:
    """What the config file beside the weights settles; without weights at hand, what the Result was made with."""
    if weights.state(cell.spec, roots) == "ready":
        return configs.at_hand(cell.spec, roots).settled
    embedded = result.provenance.get("embedded")
    return configs.from_record(embedded.get("settled")) if isinstance(embedded, Mapping) else ()


def stored_result(cell: Cell, mark: str, roots: Roots) -> Result | None:
    """The first sound Result of a cell with this fingerprint."""
    found = (results.read(results.path_of(root, cell)) for root in roots.lookup)
    return next((result for result in found if result is not None and result.fingerprint == mark), None)


def _depth(cell: Cell, side: str) -> int:
    most = cell.data.counts["train"] - (side == "train")
    return min(cell.rules.depth, most)


def _check_unchanged(cell: Cell, *pairs: tuple[str, str]) -> None:
    """Unavailable unless each part that was read or made is what the cell's marks said when the work began."""
    if any(found != expected for found, expected in pairs):
        raise Unavailable(
            f"Data or weights of {cell.data.title} by {cell.spec.title} became others while they were worked with.",
            remedy="Ask again once the files are no longer being changed.",
        )


def _score(cell: Cell, ranking: Neighbours, groups: Groups, roots: Roots, parts: Marks) -> Result:
    train, test = split_of(cell, "train", roots), split_of(cell, "test", roots)
    read = ((test.digest, parts.data), (ranking.fingerprint, parts.test), (groups.fingerprint, parts.groups))
    _check_unchanged(cell, *read)
    left_out = _same_group(groups)
    whole = _read(cell, test, train, ranking)
    rest = _read(cell, test, train, _beyond_groups(cell, ranking, groups, roots, parts), left_out=left_out)
    return Result(
        cell=cell,
        fingerprint=fingerprint_of(parts),
        data=parts.data,
        weights=parts.weights,
        verified=parts.verified,
        as_published=_reading(whole),
        groups_left_out=_reading(rest),
        n_gallery=len(train),
        grouped_queries=len(np.unique(left_out[:, 0])),
        ranks=tuple(whole.ranks.tolist()),
        ranks_left_out=tuple(rest.ranks.tolist()),
        provenance={**ranking.meta, "scored": provenance.versions()},
    )


def _same_group(groups: Groups) -> np.ndarray:
    """Pairs (query, gallery item) of one group, int [P, 2]; most queries have none, so only the others are compared."""
    grouped = np.flatnonzero(np.isin(groups.test, groups.train))
    pairs = np.argwhere(groups.test[grouped, None] == groups.train)
    return np.stack([grouped[pairs[:, 0]], pairs[:, 1]], axis=1)


def _read(
    cell: Cell, test: Split, train: Split, ranking: Neighbours, left_out: np.ndarray | None = None
) -> scoring.Scores:
    k = cell.rules.k
    return scoring.read_ranking(
        cell.data,
        query_labels=test.labels,
        neighbour_labels=train.labels[ranking.indices[:, :k]],
        gallery_labels=train.labels,
        k=k,
        left_out=left_out,
    )


def _reading(scores: scoring.Scores) -> Reading:
    return Reading(metrics=dict(scores.metrics), hits=dict(scores.hits), n_queries=scores.n_queries)


def _beyond_groups(cell: Cell, ranking: Neighbours, groups: Groups, roots: Roots, parts: Marks) -> Neighbours:
    """The first k neighbours not of the query's group; ranked again, deeper, where the stored ones do not reach."""
    k = cell.rules.k
    largest = int(np.bincount(groups.train).max())
    if largest + k > len(groups.train):
        raise Unavailable(
            f"{largest} of the {len(groups.train)} gallery pictures of {cell.data.title} are the same picture again, "
            f"so that fewer than {k} others are left to compare with.",
            remedy="It can be searched. Add more and update the collection.",
        )
    if largest + k > ranking.indices.shape[1]:
        gallery, query = embeddings(cell, "train", roots), embeddings(cell, "test", roots)
        embedded = ((gallery.fingerprint, parts.train_embeddings), (query.fingerprint, parts.test_embeddings))
        _check_unchanged(cell, *embedded)
        deeper = ranked.rank(gallery.vectors, query.vectors, cell.rules, k=largest + k, mark=gallery.fingerprint)
        ranking = Neighbours(*deeper, fingerprint=ranking.fingerprint)
    return ranking.leave_out(groups.train, groups.test, k=k)
