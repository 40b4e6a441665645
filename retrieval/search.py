"""Query -> Answer: neighbours with labels, the vote among them, and how far to trust it."""

import functools
import time

import numpy as np

from retrieval import evaluation, phrases, provenance, readiness, votes
from retrieval.answers import (
    Answer,
    ItemQuery,
    Nearness,
    PictureQuery,
    Query,
    Reliability,
    TextQuery,
    UploadQuery,
)
from retrieval.cells import Cell
from retrieval.datasets import opening, relevance
from retrieval.datasets.collections import vectors
from retrieval.datasets.collections.opening import gallery_groups
from retrieval.datasets.specs import Split
from retrieval.embeddings import embedding
from retrieval.embeddings.embedding import Progress
from retrieval.encoders import configs, loading, preprocessing
from retrieval.errors import BadInput, UnknownName
from retrieval.evaluation import Marks
from retrieval.groups import Groups, find_groups, kinship_within
from retrieval.pictures.item import noted_item
from retrieval.pictures.reading import read_bytes
from retrieval.ranking import neighbours as ranked
from retrieval.ranking.first_of_groups import first_of_groups
from retrieval.ranking.neighbours import Neighbours, Side
from retrieval.roots import Roots
from retrieval.scoring import reliability
from retrieval.scoring.uncertainty import wilson

BEYOND = 99.0  # percentile of the nearest score above which nothing in the gallery looks like the query


def find(query: Query, cell: Cell, roots: Roots, *, k: int | None = None, one_per_group: bool = False) -> Answer:
    """The k nearest gallery items of a query, with all that is known about how far to trust them.

    Without a k the five nearest, or all where the gallery holds fewer.
    What is missing on the way (embeddings, neighbours) is computed; ask `readiness` first where that must be quick.
    Words are compared as `phrases` says, whatever the cell's protocol. `one_per_group`: of each group that people gave
    to the gallery (a patient, a case) only its nearest item.

    Raises:
        BadInput: The uploaded file or the words cannot be used, or there is no such item, no such k or no such groups.
        Unavailable: Data or weights are missing; says what to do.
    """
    began = time.perf_counter()
    if isinstance(query, TextQuery):
        return phrases.find(query, cell, roots, k=k, one_per_group=one_per_group)
    gallery = evaluation.split_of(cell, "train", roots)
    k = votes.settled_k(k, gallery, itself=isinstance(query, ItemQuery) and query.split == "train")
    given = gallery_groups(cell.data, roots) if one_per_group else None
    groups = find_groups(cell.data, cell.size, roots)
    item, labels, notes = _item(query, cell, roots)
    nearest = functools.partial(_nearest, query, item, cell, roots)
    indices, scores = first_of_groups(nearest, given, k=k, deep=isinstance(query, UploadQuery))
    truth = None if labels is None else relevance.indicator(cell.data, labels[None])[0]
    found = tuple(
        votes.neighbour(rank, int(index), float(score), gallery, truth, _kin(query, item, int(index), gallery, groups))
        for rank, (index, score) in enumerate(zip(indices, scores, strict=True), 1)
    )
    vote = votes.vote(found, gallery)
    parts = evaluation.marks(cell, roots)  # after what was missing has been computed
    return Answer(
        cell=cell,
        query=query,
        query_labels=None if truth is None else votes.numbers(truth),
        query_label_name=None if labels is None else relevance.label_name(cell.data, labels),
        neighbours=found,
        vote=vote,
        reliability=_reliability(cell, roots, parts, gallery, truth, indices[0]),
        nearness=_nearness(cell, roots, parts, found[0].score),
        verified=parts.verified,
        provenance={
            "extractor": cell.spec.title,
            "weights": parts.weights,
            "data": gallery.digest,
            "protocol": cell.rules.title,
            **provenance.versions(cell.spec.library),
        },
        seconds=time.perf_counter() - began,
        notes=notes,
        one_per_group=one_per_group,
    )


def sample(cell: Cell, roots: Roots, *, label: int | None = None, seed: int | None = None) -> ItemQuery:
    """A test picture at random; of one class (by its position in `relevance.class_names`) if asked."""
    test = evaluation.split_of(cell, "test", roots)
    among, names = np.arange(len(test)), relevance.class_names(cell.data)
    if label is not None and label not in range(len(names)):
        raise BadInput(f"{cell.data.title} has no class {label}.", remedy=f"Choose one from 0 to {len(names) - 1}.")
    if label is not None:
        among = np.flatnonzero(relevance.indicator(cell.data, np.asarray(test.labels))[:, label])
    if not len(among):
        raise BadInput(
            f"{cell.data.title} has no test picture of the class {names[label or 0]}.", remedy="Choose another class."
        )
    return ItemQuery(split="test", index=int(np.random.default_rng(seed).choice(among)))


def prepare(cell: Cell, roots: Roots, *, device: str = "auto", progress: Progress | None = None) -> None:
    """Compute what a cell still needs to answer: groups, neighbours of test and gallery, and vectors for uploads.

    The gallery's vectors are left out where no upload can be embedded here: what is stored may still answer.
    """
    find_groups(cell.data, cell.size, roots)
    for side in evaluation.sides_of(cell):
        evaluation.neighbours(cell, side, roots, device=device, progress=progress)
    if "train" in readiness.missing(cell, roots, device=device).vectors:
        evaluation.embeddings(cell, "train", roots, device=device, progress=progress)


def sees(query: PictureQuery, cell: Cell, roots: Roots) -> np.ndarray:
    """What the encoder sees of a query, before normalising: uint8 [S, S] or [S, S, 3]; of a volume [D, S, S]."""
    item = _item(query, cell, roots)[0]
    pixels = preprocessing.pixels_for(configs.at_hand(cell.spec, roots), cell.data.ndim)
    if cell.data.ndim == 2:
        return preprocessing.seen_picture(item, pixels)
    return np.stack([preprocessing.seen_picture(plane, pixels) for plane in preprocessing.seen_slices(item, pixels)])


def _item(query: PictureQuery, cell: Cell, roots: Roots) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The query as an item of the dataset, its labels if they are known, and notes on how a file was read."""
    if isinstance(query, UploadQuery) and cell.data.vectors:
        width = evaluation.split_of(cell, "train", roots).images.shape[2]
        return vectors.read_one(query.path, length=width // vectors.NUMBER.itemsize), None, ()
    if isinstance(query, UploadQuery):
        data = read_bytes(query.path) if query.data is None else query.data
        item, notes = noted_item(data, name=query.path.name, dataset=cell.data, size=cell.size)
        return item, None, notes
    if query.split not in ("test", "train"):
        raise UnknownName("split to ask from", query.split, ("test", "train"))
    split = opening.open_split(cell.data, cell.size, query.split, roots)
    if not 0 <= query.index < len(split):
        raise BadInput(
            f"{cell.data.title} has no {query.split} item {query.index}.",
            remedy=f"Choose an index from 0 to {len(split) - 1}.",
        )
    labels = np.asarray(split.labels[query.index]) if cell.data.labelled else None
    return np.asarray(split.images[query.index]), labels, ()


def _nearest(query: PictureQuery, item: np.ndarray, cell: Cell, roots: Roots, k: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(query, ItemQuery):
        return evaluation.nearest_to(cell, "train" if query.split == "train" else "test", query.index, roots, k=k)
    before = loading.identify(cell.spec, roots).digest
    ndim = cell.data.ndim
    plane = item.shape[1:] if ndim == 3 else item.shape
    side = preprocessing.seen_side(plane, preprocessing.pixels_for(configs.at_hand(cell.spec, roots), ndim))
    gallery, encoder = evaluation.embeddings(cell, "train", roots), loading.load_encoder(cell.encoder, roots, side=side)
    loading.check_same(cell.spec, before, encoder.weights_digest)
    embed = embedding.embed_volumes if ndim == 3 else embedding.embed_pictures
    made = embed(encoder, item[None])
    embedding.check_finite(cell.spec, made, "this picture" if ndim == 2 else "this volume")
    if made.shape[1:] != gallery.vectors.shape[1:]:
        raise BadInput(
            f"{cell.spec.title} compares pictures of one size, and yours has another than those of {cell.data.title}.",
            remedy=f"Choose a size, for instance {cell.data.sizes[-1]}, or another extractor.",
        )
    indices, scores = ranked.rank(gallery.vectors, made, cell.rules, k=k, mark=gallery.fingerprint)
    return indices[0], scores[0]


def _kin(query: PictureQuery, item: np.ndarray, index: int, gallery: Split, groups: Groups) -> str | None:
    """Whether a gallery item is the query's picture again; groups know it for items, pixels tell it for uploads."""
    if isinstance(query, ItemQuery) and groups.of(query.split)[query.index] != groups.train[index]:
        return None
    found = kinship_within(gallery.dataset, item, np.asarray(gallery.images[index]), groups.mean)
    return found if isinstance(query, UploadQuery) else found or "near"


def _reliability(
    cell: Cell, roots: Roots, parts: Marks, gallery: Split, truth: np.ndarray | None, nearest: int
) -> Reliability | None:
    """How often first neighbours are right among the test pictures.

    Each has its group left out: a picture that nobody has seen before has no duplicate in the gallery either.
    """
    unjudged = not cell.data.labelled or not cell.data.counts["test"]
    if unjudged or evaluation.stored_neighbours(cell, "test", roots, parts=parts) is None:
        return None
    test = evaluation.split_of(cell, "test", roots)
    asked, firsts = _firsts(cell, "test", roots, parts)
    first = firsts.indices[:, 0]
    has = relevance.indicator(cell.data, np.asarray(gallery.labels[nearest])) if truth is None else truth
    label = int(np.flatnonzero(has)[0])
    count = reliability.by_first_neighbour if truth is None else reliability.by_true_class
    hits, n = count(cell.data, test_labels=test.labels[asked], first_labels=gallery.labels[first], label=label)
    low, high = wilson(hits, n) or (None, None)
    basis = "first neighbour" if truth is None else "true class"
    return Reliability(basis, relevance.class_names(cell.data)[label], hits, n, low, high)


def _nearness(cell: Cell, roots: Roots, parts: Marks, score: float) -> Nearness | None:
    if evaluation.stored_neighbours(cell, "train", roots, parts=parts) is None:
        return None
    own = _firsts(cell, "train", roots, parts)[1].scores[:, 0]
    lower = cell.rules.similarity == "euclidean"
    percentile = reliability.percentile_of(score, own, lower_is_nearer=lower)
    return None if percentile is None else Nearness(percentile, percentile > BEYOND)


@functools.lru_cache(maxsize=64)  # the same for every query of a cell, and in a large one not quick
def _firsts(cell: Cell, side: Side, roots: Roots, parts: Marks) -> tuple[np.ndarray, Neighbours]:
    """The first neighbour of the cell's own pictures that is not of their own group, [M, 1], and their indices [M].

    Pictures whose stored neighbours are all of their own group are left out.
    """
    groups = find_groups(cell.data, cell.size, roots)
    ranking = evaluation.neighbours(cell, side, roots)
    asked = np.flatnonzero(ranking.reaching(groups.train, groups.of(side), k=1))
    lists = Neighbours(ranking.indices[asked], ranking.scores[asked], ranking.fingerprint)
    return asked, lists.leave_out(groups.train, groups.of(side)[asked], k=1)
