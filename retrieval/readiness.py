"""What a cell can answer now, what is missing, and what it would cost: cheap, and without torch."""

from retrieval import evaluation, phrases
from retrieval.answers import Readiness
from retrieval.cells import Cell
from retrieval.datasets import opening
from retrieval.embeddings import embedding, shapes
from retrieval.encoders import configs, devices, loading, preprocessing, weights
from retrieval.encoders.specs import Pixels
from retrieval.errors import RetrievalError
from retrieval.ranking import spaces
from retrieval.ranking.neighbours import Side
from retrieval.roots import Roots

A_MINUTE = 90.0  # estimated seconds up to which missing parts are computed in place
START_UP = 8.0  # seconds until a network is loaded
PRODUCTS = 3e10  # multiplications a second that a ranking does, roughly


def of_pictures(cell: Cell, roots: Roots) -> Readiness:
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
        return Readiness("minute", uploads, message, f"It is computed here, in about {plain_time(seconds)}.", seconds)
    return Readiness("command", uploads, f"{message} It takes about {plain_time(seconds)}.", command(cell), seconds)


def of_words(cell: Cell, roots: Roots) -> Readiness:
    """Whether words can be asked with in a cell now, and what is missing; as `of_pictures`, without torch."""
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
        return Readiness("minute", True, message, f"It is embedded here, in about {plain_time(seconds)}.", seconds)
    return Readiness(
        "command", True, f"{message} It takes about {plain_time(seconds)}.", phrases.command(cell), seconds
    )


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


def plain_time(seconds: float) -> str:
    """A time in words: `40 seconds`, `12 minutes`, `3 hours`."""
    if seconds < 1.5:
        return "a second"
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


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
    return Readiness("ready", True, note, "" if seconds <= A_MINUTE else command(cell), 0.0)


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
    """What computes a cell on the command line."""
    return (
        f"Run: python -m retrieval evaluate --dataset {cell.dataset} --size {cell.size} "
        f"--encoder {cell.encoder} --protocol {cell.protocol}"
    )
