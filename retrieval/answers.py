"""What a query is and what it gets back: plain values that page, command line and tests read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retrieval.cells import Cell
from retrieval.datasets.specs import SplitName


@dataclass(frozen=True)
class ItemQuery:
    """A picture of the dataset itself, by split (`test`, or `train` for a card that was clicked) and index."""

    split: SplitName
    index: int


@dataclass(frozen=True)
class UploadQuery:
    """A picture or volume of the user's.

    Attributes:
        path: Of its file.
        data: The file's bytes, where they are in memory only; the path is a name then.
    """

    path: Path
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class TextQuery:
    """Words for what the pictures should show; for encoders with a text side."""

    text: str


PictureQuery = ItemQuery | UploadQuery
Query = PictureQuery | TextQuery


@dataclass(frozen=True)
class Neighbour:
    """One gallery picture.

    Attributes:
        rank: 1 is the nearest.
        index: In the gallery (the train split).
        labels: Label numbers, as `relevance.class_names` counts them; one, or several findings.
        label_name: In words.
        score: Distance or similarity, as the protocol says.
        agrees: Whether it shares the query's label; None where the query's label is not known.
        duplicate: Whether it is the query's picture again: `exact`, `near`, or None.
    """

    rank: int
    index: int
    labels: tuple[int, ...]
    label_name: str
    score: float
    agrees: bool | None
    duplicate: Literal["exact", "near"] | None


@dataclass(frozen=True)
class Tally:
    """One class among the neighbours: its votes, its share of the k votes, its share of the gallery (0 to 1)."""

    label: int
    label_name: str
    votes: int
    share: float
    gallery_share: float


@dataclass(frozen=True)
class Reliability:
    """How often this extractor's first neighbour has been right, measured on the dataset's own test pictures.

    Attributes:
        basis: `true class`: among test pictures of the query's class, how many first neighbours share it.
            `first neighbour`: among test pictures whose first neighbour has this class, how many have it themselves.
        label_name: That class.
        hits, n: hits of n; n may be 0, then low and high are None.
        low, high: Wilson 95 % interval, 0 to 1.
    """

    basis: Literal["true class", "first neighbour"]
    label_name: str
    hits: int
    n: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Nearness:
    """How near the first neighbour is, by the gallery's own first neighbours (each with its group left out).

    Attributes:
        percentile: Percent of gallery pictures whose own first neighbour is at least as near as the query's; 0 to 100.
        beyond: True above the 99th: nothing in this gallery looks like the query.
    """

    percentile: float
    beyond: bool


@dataclass(frozen=True)
class Answer:
    """What a query gets.

    Attributes:
        cell: Dataset, size, encoder, protocol; for words always by cosine, whatever pictures are compared by.
        query: As asked.
        query_labels, query_label_name: Of an item of the dataset; None for an upload and for words.
        neighbours: Best first, k of them; fewer where one is shown of each group, and there are fewer groups.
        vote: Classes among the neighbours, most votes first (ties: the class of the nearer neighbour first).
        reliability: None where no test neighbours have been computed, and for words: none were ever asked with.
        nearness: None where no gallery neighbours have been computed, and for words: how near words come to pictures
            says nothing beside how near pictures come to each other.
        verified: Whether data and weights are both the known ones.
        provenance: Words for one line: encoder, weights, data, protocol, versions.
        seconds: Time taken, without drawing.
        notes: Sentences on what of the query was left out, changed or not used.
        one_per_group: Whether of each group only the nearest picture is among the neighbours.
    """

    cell: Cell
    query: Query
    query_labels: tuple[int, ...] | None
    query_label_name: str | None
    neighbours: tuple[Neighbour, ...]
    vote: tuple[Tally, ...]
    reliability: Reliability | None
    nearness: Nearness | None
    verified: bool
    provenance: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    one_per_group: bool = False


@dataclass(frozen=True)
class Readiness:
    """What a cell can answer now, and what is missing.

    Attributes:
        state: `ready`: sampled queries are answered at once. `minute`: what is missing is computed in place, in about
            `seconds`. `command`: it takes longer; `remedy` is the command. `unavailable`: data or weights are missing.
        uploads: Whether an uploaded picture can be embedded (weights at hand) once the gallery is.
        message: What is so, in a sentence; empty where all is ready.
        remedy: What to do next; empty where nothing is needed.
        seconds: Estimated time to compute what is missing, for uploads too; 0 where nothing is, or nothing can be.
    """

    state: Literal["ready", "minute", "command", "unavailable"]
    uploads: bool
    message: str
    remedy: str
    seconds: float
