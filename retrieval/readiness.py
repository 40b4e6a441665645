"""What a cell can answer now, what is missing, and what it would cost: cheap, and without torch."""

from dataclasses import dataclass

from retrieval import artifacts, evaluation, phrases
from retrieval.answers import Readiness
from retrieval.cells import Cell
from retrieval.datasets import opening
from retrieval.embeddings import embedding, shapes
from retrieval.encoders import configs, devices, preprocessing, weights
from retrieval.encoders.specs import Pixels
from retrieval.errors import RetrievalError
from retrieval.evaluation import Marks
from retrieval.ranking import spaces
from retrieval.ranking.neighbours import Side
from retrieval.roots import Roots

A_MINUTE = 90.0  # estimated seconds up to which missing parts are computed in place
START_UP = 8.0  # seconds until a network is loaded
PRODUCTS = 3e10  # multiplications a second that a ranking does, roughly


@dataclass(frozen=True)
class Missing:
    """What of a cell is not on disk, or not current.

    Attributes:
        neighbours: The sides whose neighbours are still to be ranked.
        vectors: The sides that are still to be embedded, the gallery first: for those neighbours, and the gallery for
            uploads besides, where an upload can be embedded here.
    """

    neighbours: tuple[Side, ...]
    vectors: tuple[Side, ...]


def of_pictures(cell: Cell, roots: Roots, *, device: str = "auto") -> Readiness:
    """What a cell can answer now, and what is missing for it to be computed on a device; cheap, and without torch."""
    if not opening.is_at_hand(cell.data, cell.size, roots):
        return _unavailable(opening.describe_missing(cell.data, cell.size, roots))
    no = lacking(cell, roots, device=device)
    uploads = no is None and not cell.data.vectors
    try:
        parts = evaluation.marks(cell, roots)
        if not parts.verified:
            evaluation.split_of(cell, "train", roots)  # of a file that is not the publisher's only opening it tells
        absent = missing(cell, roots, device=device, parts=parts)
    except RetrievalError as error:
        return _unavailable(error)
    if not absent.neighbours:
        return _stored(cell, roots, no, absent)
    if no is not None:
        return _unavailable(no)
    seconds = estimate(cell, roots, absent)
    message = "This combination has not been computed yet."
    if seconds <= A_MINUTE:
        return Readiness("minute", uploads, message, f"It is computed here, in about {plain_time(seconds)}.", seconds)
    return Readiness("command", uploads, f"{message} It takes about {plain_time(seconds)}.", command(cell), seconds)


def of_words(cell: Cell, roots: Roots) -> Readiness:
    """Whether words can be asked with in a cell now, and what is missing; as `of_pictures`, without torch."""
    if not opening.is_at_hand(cell.data, cell.size, roots):
        return _unavailable(opening.describe_missing(cell.data, cell.size, roots))
    try:
        no = phrases.lacking(cell, roots)
        if no is not None:
            return _unavailable(no)
        if phrases.embedded(cell, roots):
            return Readiness("ready", True, "", "", 0.0)
    except RetrievalError as error:
        return _unavailable(error)
    seconds = START_UP + cell.data.counts["train"] * _seconds_each(cell, roots)
    message = "The gallery has not been embedded for words yet."
    if seconds <= A_MINUTE:
        return Readiness("minute", True, message, f"It is embedded here, in about {plain_time(seconds)}.", seconds)
    return Readiness(
        "command", True, f"{message} It takes about {plain_time(seconds)}.", phrases.command(cell), seconds
    )


def lacking(cell: Cell, roots: Roots, *, device: str = "auto") -> RetrievalError | None:
    """What embedding a picture lacks: the weights, or a device for their precision; None where nothing does.

    Or that the extractor cannot take pictures as they are.
    """
    if weights.state(cell.spec, roots) != "ready":
        return weights.missing(cell.spec)
    return devices.refusal(cell.spec, device) or shapes.refusal(cell.data, cell.size, cell.spec)


def missing(cell: Cell, roots: Roots, *, device: str = "auto", parts: Marks | None = None) -> Missing:
    """What of a cell is still to be computed before nothing is left to do for it, or for whoever asks in it.

    `parts`: the cell's marks, where the caller has them. Nothing is unpacked, but checksums are computed once.
    """
    parts = parts or evaluation.marks(cell, roots)
    sides = evaluation.sides_of(cell)
    lists: list[Side] = [side for side in sides if not _ranked(cell, side, roots, parts)]
    uploads = not cell.data.vectors and lacking(cell, roots, device=device) is None
    needed = {*lists, "train"} if lists or uploads else set()
    vectors: list[Side] = [side for side in sides if side in needed and not _embedded(cell, side, roots, parts)]
    return Missing(tuple(lists), tuple(reversed(vectors)))


def estimate(cell: Cell, roots: Roots, absent: Missing) -> float:
    """Rough seconds, on two CPU cores, to embed and to rank what is missing of a cell."""
    counts = cell.data.counts
    items = sum(counts[side] for side in absent.vectors)
    start_up = START_UP if items and cell.spec.weights else 1.0
    return start_up + items * _seconds_each(cell, roots) + _products(cell, roots, absent) / PRODUCTS


def vector_bytes(cell: Cell, roots: Roots) -> int:
    """Bytes of what is stored for one picture, or for all slices of one volume."""
    return 4 * _slices(cell, roots) * (cell.spec.dim or cell.data.channels * cell.side**2)


def plain_time(seconds: float) -> str:
    """A time in words: `40 seconds`, `12 minutes`, `3 hours`."""
    if seconds < 1.5:
        return "a second"
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def _unavailable(error: RetrievalError) -> Readiness:
    return Readiness("unavailable", False, error.message, error.remedy, 0.0)


def _ranked(cell: Cell, side: Side, roots: Roots, parts: Marks) -> bool:
    """Whether the neighbours of the cell's gallery or test pictures are on disk, sound and current."""
    return evaluation.stored_neighbours(cell, side, roots, parts=parts) is not None


def _embedded(cell: Cell, side: Side, roots: Roots, parts: Marks) -> bool:
    """Whether the vectors of the cell's gallery or test pictures are on disk, sound and current."""
    key = embedding.key_of(cell.data, cell.size, side, cell.spec)
    return artifacts.load(roots.lookup, key, fingerprint=parts.embeddings(side)) is not None


def _products(cell: Cell, roots: Roots, absent: Missing) -> float:
    """Roughly as many multiplications as ranking takes, of what is still to be ranked."""
    if not absent.neighbours:
        return 0.0
    counts, length = cell.data.counts, vector_bytes(cell, roots) // 4
    placing = spaces.products(cell.rules.space, count=counts["train"], length=length, queries=counts["test"])
    return sum(counts[side] for side in absent.neighbours) * counts["train"] * length + placing


def _stored(cell: Cell, roots: Roots, no: RetrievalError | None, absent: Missing) -> Readiness:
    """Sampled queries are ready; say what an upload would still need."""
    if cell.data.vectors:
        return Readiness("ready", False, "", "", 0.0)
    if no is not None:
        noun = "pictures" if cell.data.ndim == 2 else "volumes"
        return Readiness("ready", False, f"Sampled {noun} only: {no.message}", no.remedy, 0.0)
    if not absent.vectors:
        return Readiness("ready", True, "", "", 0.0)
    seconds = estimate(cell, roots, absent)
    note = f"The first upload embeds the gallery, in about {plain_time(seconds)}."
    return Readiness("ready", True, note, "" if seconds <= A_MINUTE else command(cell), seconds)


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


def command(cell: Cell) -> str:
    """What computes all that is missing of a cell, also of one that can only be searched and not judged."""
    return (
        f"Run: python -m retrieval precompute --datasets {cell.dataset} --sizes {cell.size} "
        f"--encoders {cell.encoder} --protocols {cell.protocol}"
    )
