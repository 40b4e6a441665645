"""The named protocols: how vectors become a ranking, and a ranking numbers."""

from dataclasses import dataclass
from typing import Literal

from retrieval.errors import UnknownName

Similarity = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class Protocol:
    """How vectors become a ranking and a ranking becomes numbers.

    Attributes:
        name: Key.
        title: For menus.
        about: In plain words.
        gallery: The split that is searched.
        query: The split asked with.
        volumes: What is done with the slices' vectors of a volume.
        similarity: `euclidean` (a distance: lower is nearer) or `cosine` (a similarity: higher is nearer).
        k: How many neighbours the metrics read.
        depth: How many neighbours are stored.
        source: Where it is defined.
    """

    name: str
    title: str
    about: str
    similarity: Similarity
    source: str
    gallery: Literal["train"] = "train"
    query: Literal["test"] = "test"
    volumes: Literal["concatenate"] = "concatenate"
    k: int = 5
    depth: int = 100

    @property
    def score_name(self) -> str:
        """What the score of a neighbour is called, and which way is nearer."""
        return {"euclidean": "distance (lower is nearer)", "cosine": "cosine similarity (higher is nearer)"}[
            self.similarity
        ]


PROTOCOLS = (
    Protocol(
        name="paper",
        title="As in the study (Euclidean)",
        about="Euclidean distance between raw feature vectors; a volume is the concatenation of its slices' vectors.",
        similarity="euclidean",
        source="arXiv 2409.09430, as its code runs it",
    ),
    Protocol(
        name="cosine",
        title="Cosine similarity",
        about="Cosine of the angle between raw feature vectors; a volume is the concatenation of its slices' vectors.",
        similarity="cosine",
        source="the usual choice in retrieval; named in the README of the study's code, which does not use it",
    ),
)


def find_protocol(name: str) -> Protocol:
    """The protocol of this name; UnknownName lists the valid ones."""
    for protocol in PROTOCOLS:
        if protocol.name == name:
            return protocol
    raise UnknownName("protocol", name, [protocol.name for protocol in PROTOCOLS])
