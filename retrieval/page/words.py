"""An Answer in plain sentences: what the neighbours say, how far to trust it, and where it comes from."""

from collections import Counter
from collections.abc import Sequence

from retrieval.answers import Answer, ItemQuery, Nearness, Neighbour, Query, Readiness, Reliability, Tally, TextQuery
from retrieval.cells import Cell
from retrieval.datasets.specs import Dataset
from retrieval.pictures.item import size_name

DUPLICATE = {"exact": "exact duplicate", "near": "near duplicate"}
MOST_QUOTED = 90  # letters of somebody's words in a heading
NO_VOTE = "These pictures have no labels, so there is no vote."
SPLIT = {"test": "test", "train": "gallery"}
FILE_KINDS = {
    2: "PNG, JPEG, TIFF, WebP, DICOM, NIfTI or npy; of a volume its middle slice.",
    3: "NIfTI, npy, npz, a zip of DICOM slices, DICOM of many frames, or a TIFF of many pages.",
}


def percent(share: float) -> str:
    """A share of 0 to 1 as whole percent, with the narrow space that keeps it on one line."""
    return f"{_whole(share)}\u202f%"


def score(value: float) -> str:
    """A distance or similarity with as many digits as tell neighbours apart on a card."""
    digits = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def pixels_of(shape: Sequence[int]) -> str:
    """The true size of a picture [H, W, ...] in words, width first."""
    return f"{shape[1]:,} × {shape[0]:,} pixels"


def voxels_of(shape: Sequence[int]) -> str:
    """The true size of a volume [D, H, W] in words, width first."""
    return f"{shape[2]:,} × {shape[1]:,} × {shape[0]:,} voxels"


def promise(keep_minutes: float) -> str:
    """What becomes of an upload."""
    return (
        f"Stays on this machine, deleted after {keep_minutes:.0f} minutes; of DICOM and NIfTI files only the grey "
        "levels are kept. Not for diagnosis."
    )


VECTORS_ALONE = "These are vectors that were made elsewhere: ask with one of them."
"""Where a collection holds vectors and no pictures."""


def query_title(query: Query, data: Dataset) -> str:
    """What was asked with, for a heading."""
    if isinstance(query, ItemQuery):
        return f"{SPLIT[query.split].capitalize()} {data.noun} {query.index}"
    return _quoted(query.text) if isinstance(query, TextQuery) else f"Your {data.noun}"


def summary(answer: Answer) -> str:
    """The whole answer in one sentence, for the status line and for who cannot see the cards."""
    title = query_title(answer.query, answer.cell.data)
    known = f", labelled “{answer.query_label_name}”" if answer.query_label_name else ""
    count = len(answer.neighbours)
    nearest = f"the nearest of {count} groups" if answer.one_per_group else f"the {count} nearest"
    if not answer.cell.data.labelled:
        return f"{title}: {nearest} of {gallery_size(answer.cell)}, which have no labels."
    names = Counter(neighbour.label_name for neighbour in answer.neighbours)
    said = ", ".join(f"{number} {name}" for name, number in names.most_common())
    return f"{title}{known}: {nearest} are {said}."


def gallery_size(cell: Cell) -> str:
    """How many items are searched."""
    return f"{cell.data.counts[cell.rules.gallery]:,} gallery {cell.data.noun}s"


def heading(answer: Answer) -> str:
    """What the cards are."""
    shown = f"Nearest {len(answer.neighbours)}"
    if answer.one_per_group:
        return f"{shown} groups among {gallery_size(answer.cell)}, one card each"
    return f"{shown} of {gallery_size(answer.cell)}"


def vote_sentence(answer: Answer) -> str:
    """What most neighbours say, beside how common that is anyway."""
    if not answer.vote:
        return NO_VOTE
    first, k = answer.vote[0], len(answer.neighbours)
    tied = [tally for tally in answer.vote if tally.votes == first.votes]
    anyway = f"{percent(first.gallery_share)} of the gallery is so anyway"
    if answer.cell.data.task == "findings":
        return f"{first.votes} of {k} show “{first.label_name}” ({percent(first.votes / k)}); {anyway}."
    if len(tied) > 1:
        return (
            f"A tie at {first.votes} of {k}; it goes to “{first.label_name}”, which has the nearer neighbour. {anyway}."
        )
    return f"{first.votes} of {k} say “{first.label_name}” ({percent(first.share)}); {anyway}."


def tally_line(tally: Tally, k: int) -> str:
    """One class of the vote, as text beside its bar."""
    return f"{tally.votes} of {k} ({percent(tally.share)}), gallery {percent(tally.gallery_share)}"


def trust_sentence(answer: Answer) -> str:
    """How far to trust an answer: of words nothing is known."""
    if isinstance(answer.query, TextQuery):
        return (
            "How far to trust an answer to words is not known: it has not been measured here. How near words and "
            "pictures come to each other says nothing beside how near pictures do."
        )
    return reliability_sentence(answer.reliability, answer.cell.data)


def reliability_sentence(reliability: Reliability | None, data: Dataset) -> str:
    """How often the first neighbour has been right in cases like this one, on the dataset's own test items."""
    noun = data.noun
    if not data.labelled:
        return "How far to trust this cannot be measured: the pictures have no labels."
    if reliability is None:
        return "How far to trust this is not known yet: the test pictures have not been ranked by this extractor."
    name, hits, n = reliability.label_name, reliability.hits, reliability.n
    if n == 0:
        says = "whose first neighbour says" if reliability.basis == "first neighbour" else "of class"
        return f"There is no test {noun} {says} “{name}”, so how far to trust this is not known."
    share = percent(hits / n)
    counted = f"{hits:,} of {n:,}{_interval(reliability)}"
    if reliability.basis == "first neighbour":
        return f"Among test {noun}s whose first neighbour says “{name}”, {share} are ({counted})."
    return f"Among test {noun}s that are “{name}”, the first neighbour is right for {share} ({counted})."


def nearness_sentence(nearness: Nearness | None, answer: Answer) -> str:
    """How near the first neighbour is, as the gallery's own pictures go."""
    if nearness is None:
        return ""
    noun = answer.cell.data.noun
    owner = f"this {noun}" if isinstance(answer.query, ItemQuery) else f"your {noun}"
    if nearness.beyond:
        return (
            f"Nothing here looks like {owner}: its first neighbour is farther away than those of more than "
            f"99\u202f% of the gallery's own {noun}s. Do not rely on what the neighbours say."
        )
    far = nearness.percentile > 90
    how = (
        "unusually near" if nearness.percentile < 10 else "farther away than usual" if far else "about as near as usual"
    )
    share = percent(nearness.percentile / 100) if nearness.percentile >= 0.5 else "less than 1\u202f%"
    return f"The first neighbour is {how}: {share} of the gallery's own {noun}s have one at least as near."


def agreement(neighbour: Neighbour) -> dict[str, str] | None:
    """Mark and words for whether a neighbour shares the query's label; None where that label is not known."""
    if neighbour.agrees is None:
        return None
    return {"kind": "same", "words": "same label"} if neighbour.agrees else {"kind": "other", "words": "other label"}


def provenance_line(answer: Answer) -> tuple[str, str, str]:
    """Extractor, weights, protocol and data; whether they are verified; the time taken. One line in three parts."""
    cell = answer.cell
    weights = answer.provenance.get("weights") if cell.spec.weights is not None else None
    parts = [
        cell.spec.title,
        *([f"weights {weights[:8]}"] if isinstance(weights, str) else []),
        "words by cosine" if isinstance(answer.query, TextQuery) else cell.rules.title,
        f"{cell.data.title} {size_name(cell.size)}",
        *(["one card per group"] if answer.one_per_group else []),
    ]
    standing = "verified" if answer.verified else "unverified"
    if cell.data.synthetic:
        standing = f"synthetic, {standing}"
    return " · ".join(parts) + " · ", standing, f" · {duration(answer.seconds)}"


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{round(seconds)} s"
    return f"{round(seconds / 60)} minutes"


def readiness_title(readiness: Readiness) -> str:
    """The state of a cell in a few words."""
    return {
        "ready": "Ready",
        "minute": f"Not computed yet: takes about {duration(max(1.0, readiness.seconds))}",
        "command": f"Not computed yet: takes about {duration(max(60.0, readiness.seconds))}",
        "unavailable": "Not at hand",
    }[readiness.state]


def _quoted(text: str) -> str:
    """Words as a heading: in quotes, cut where they are long."""
    return f"“{text if len(text) <= MOST_QUOTED else text[: MOST_QUOTED - 1].rstrip() + '…'}”"


def _interval(reliability: Reliability) -> str:
    if reliability.low is None or reliability.high is None:
        return ""
    return f"; 95\u202f% {_whole(reliability.low)} to {_whole(reliability.high)}; duplicates left out"


def _whole(share: float) -> int:
    return round(100 * share)
