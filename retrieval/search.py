"""Query -> Answer: neighbours with labels, the vote among them, and how far to trust it."""

import functools
import time

import numpy as np

from retrieval import evaluation, phrases, provenance, votes
from retrieval.answers import (
    Answer,
    ItemQuery,
    Nearness,
    PictureQuery,
    Query,
    Readiness,
    Reliability,
    TextQuery,
    UploadQuery,
)
from retrieval.cells import Cell
from retrieval.datasets import opening, relevance
from retrieval.datasets.collections import vectors
from retrieval.datasets.specs import Split
from retrieval.embeddings import embedding, shapes
from retrieval.embeddings.embedding import Progress
from retrieval.encoders import configs, devices, loading, preprocessing, weights
from retrieval.encoders.specs import Pixels
from retrieval.errors import BadInput, RetrievalError, UnknownName
from retrieval.evaluation import Marks
from retrieval.groups import Groups, find_groups, kinship_within
from retrieval.pictures.item import noted_item
from retrieval.pictures.reading import read_bytes
from retrieval.ranking import neighbours as ranked
from retrieval.ranking import spaces
from retrieval.ranking.neighbours import Neighbours, Side
from retrieval.roots import Roots
from retrieval.scoring import reliability
from retrieval.scoring.uncertainty import wilson

A_MINUTE = 90.0  # estimated seconds up to which missing parts are computed in place
START_UP = 8.0  # seconds until a network is loaded
PRODUCTS = 3e10  # multiplications a second that a ranking does, roughly
BEYOND = 99.0  # percentile of the nearest score above which nothing in the gallery looks like the query


def find(query: Query, cell: Cell, roots: Roots, *, k: int = 5) -> Answer:
    """The k nearest gallery items of a query, with all that is known about how far to trust them.

    What is missing on the way (embeddings, neighbours) is computed; ask `readiness` first where that must be quick (for
    words `words_readiness`). Words are compared as `phrases` says, whatever the cell's protocol.

    Raises:
        BadInput: The uploaded file or the words cannot be used, or there is no such item or no such k.
        Unavailable: Data or weights are missing; says what to do.
    """
    began = time.perf_counter()
    if isinstance(query, TextQuery):
        return phrases.find(query, cell, roots, k=k)
    gallery = evaluation.split_of(cell, "train", roots)
    votes.check_k(k, len(gallery))
    groups = find_groups(cell.data, cell.size, roots)
    item, labels, notes = _item(query, cell, roots)
    indices, scores = _nearest(query, item, cell, roots, k)
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


def readiness(cell: Cell, roots: Roots) -> Readiness:
    """What a cell can answer now, and what is missing; cheap, and without torch."""
    if not opening.is_at_hand(cell.data, cell.size, roots):
        return _unavailable(opening.describe_missing(cell.data, cell.size, roots))
    lacking = _lacking(cell, roots)
    uploads = lacking is None and not cell.data.vectors
    try:
        parts = evaluation.marks(cell, roots)
        if not parts.verified:
            evaluation.split_of(cell, "train", roots)  # of a file that is not the publisher's only opening it tells
        sides = evaluation.sides_of(cell)
        stored = all(evaluation.stored_neighbours(cell, side, roots, parts=parts) is not None for side in sides)
    except RetrievalError as error:
        return _unavailable(error)
    if stored:
        return _stored(cell, roots, lacking)
    if lacking is not None:
        return _unavailable(lacking)
    seconds = estimate(cell, roots)
    message = "This combination has not been computed yet."
    if seconds <= A_MINUTE:
        return Readiness("minute", uploads, message, f"It is computed here, in about {seconds:.0f} seconds.", seconds)
    return Readiness("command", uploads, f"{message} It takes about {plain_time(seconds)}.", _command(cell), seconds)


def words_readiness(cell: Cell, roots: Roots) -> Readiness:
    """Whether words can be asked with in a cell now, and what is missing; as `readiness`, without torch."""
    if not opening.is_at_hand(cell.data, cell.size, roots):
        return _unavailable(opening.describe_missing(cell.data, cell.size, roots))
    try:
        lacking = phrases.lacking(cell, roots)
        if lacking is not None:
            return _unavailable(lacking)
        if phrases.embedded(cell, roots):
            return Readiness("ready", True, "", "", 0.0)
    except RetrievalError as error:
        return _unavailable(error)
    seconds = START_UP + cell.data.counts["train"] * _seconds_each(cell, roots)
    message = "The gallery has not been embedded for words yet."
    if seconds <= A_MINUTE:
        return Readiness("minute", True, message, f"It is embedded here, in about {seconds:.0f} seconds.", seconds)
    return Readiness(
        "command", True, f"{message} It takes about {plain_time(seconds)}.", phrases.command(cell), seconds
    )


def prepare(cell: Cell, roots: Roots, *, device: str = "auto", progress: Progress | None = None) -> None:
    """Compute what a cell still needs to answer sampled queries: groups, embeddings, neighbours of test and gallery."""
    find_groups(cell.data, cell.size, roots)
    for side in evaluation.sides_of(cell):
        evaluation.neighbours(cell, side, roots, device=device, progress=progress)


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
        stored = evaluation.neighbours(cell, "train" if query.split == "train" else "test", roots)
        return stored.indices[query.index, :k], stored.scores[query.index, :k]
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


def _unavailable(error: RetrievalError) -> Readiness:
    return Readiness("unavailable", False, error.message, error.remedy, 0.0)


def _lacking(cell: Cell, roots: Roots) -> RetrievalError | None:
    """What embedding a picture lacks: the weights, or a device for their precision; None where nothing does.

    Or that the extractor cannot take pictures as they are.
    """
    if weights.state(cell.spec, roots) != "ready":
        return weights.missing(cell.spec)
    return devices.refusal(cell.spec) or shapes.refusal(cell.data, cell.size, cell.spec)


def _stored(cell: Cell, roots: Roots, lacking: RetrievalError | None) -> Readiness:
    """Sampled queries are ready; say what an upload would still need."""
    if cell.data.vectors:
        return Readiness("ready", False, "", "", 0.0)
    if lacking is not None:
        noun = "pictures" if cell.data.ndim == 2 else "volumes"
        return Readiness("ready", False, f"Sampled {noun} only: {lacking.message}", lacking.remedy, 0.0)
    if embedded(cell, "train", roots):
        return Readiness("ready", True, "", "", 0.0)
    seconds = estimate(cell, roots)
    note = f"The first upload embeds the gallery, in about {plain_time(seconds)}."
    return Readiness("ready", True, note, "" if seconds <= A_MINUTE else _command(cell), 0.0)


def embedded(cell: Cell, side: Side, roots: Roots) -> bool:
    """Whether the vectors of the cell's gallery or test pictures are on disk and current."""
    split = evaluation.split_of(cell, side, roots)
    spec = configs.at_hand(cell.spec, roots)
    return embedding.stored(split, spec, loading.identify(spec, roots), roots) is not None


def estimate(cell: Cell, roots: Roots, *, shared: bool = False) -> float:
    """Rough seconds, on two CPU cores, to embed what is not embedded yet and to rank test and gallery pictures.

    `shared`: the vectors will be there, since another cell is computed before that needs them too.
    """
    counts, each = cell.data.counts, _seconds_each(cell, roots)
    sides = evaluation.sides_of(cell)
    items = 0 if shared else sum(counts[part] for part in sides if not embedded(cell, part, roots))
    start_up = START_UP if items and cell.spec.weights else 1.0
    length = vector_bytes(cell, roots) // 4
    placing = spaces.products(cell.rules.space, count=counts["train"], length=length, queries=counts["test"])
    ranking = (counts["train"] + counts["test"]) * counts["train"] * length + placing
    return start_up + items * each + ranking / PRODUCTS


def vector_bytes(cell: Cell, roots: Roots) -> int:
    """Bytes of what is stored for one picture, or for all slices of one volume."""
    return 4 * _slices(cell, roots) * (cell.spec.dim or cell.data.channels * cell.side**2)


def _seconds_each(cell: Cell, roots: Roots) -> float:
    """Rough seconds to embed one picture or volume."""
    side, usual = _pixels(cell, roots).side(cell.side), cell.spec.ms_at_224
    return _slices(cell, roots) * max(usual * (side / 224) ** 2, min(usual, 1.0)) / 1000


def _slices(cell: Cell, roots: Roots) -> int:
    if cell.data.ndim == 2:
        return 1
    pixels = _pixels(cell, roots)
    return pixels.side(cell.size) if pixels.depth == "spline" else cell.size


def _pixels(cell: Cell, roots: Roots) -> Pixels:
    return preprocessing.pixels_for(configs.at_hand(cell.spec, roots), cell.data.ndim)


def _command(cell: Cell) -> str:
    return (
        f"Run: python -m retrieval evaluate --dataset {cell.dataset} --size {cell.size} "
        f"--encoder {cell.encoder} --protocol {cell.protocol}"
    )


def plain_time(seconds: float) -> str:
    """A time in words: `40 seconds`, `12 minutes`, `3 hours`."""
    if seconds < 1.5:
        return "a second"
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"
