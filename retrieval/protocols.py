"""The named protocols: how vectors become a ranking, and a ranking numbers."""

import re
from dataclasses import dataclass, replace
from typing import Literal

from retrieval.errors import Unavailable, UnknownName

Similarity = Literal["euclidean", "cosine"]
SpaceKind = Literal["none", "pca", "whitening", "pca_whitening", "autoencoder", "umap"]

MOST_DIMENSIONS = 4096


@dataclass(frozen=True)
class Space:
    """What is done to vectors before they are compared; fitted on the gallery only, then applied to queries.

    Attributes:
        kind: `none` leaves them as they are.
        dimensions: How many are asked for, where the kind takes a number; of `pca` and `pca_whitening` no more are
            kept than the gallery's pictures span.
    """

    kind: SpaceKind = "none"
    dimensions: int | None = None


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
        space: What is done to the vectors before they are compared.
        similarity: `euclidean` (a distance: lower is nearer) or `cosine` (a similarity: higher is nearer).
        k: How many neighbours the metrics read.
        depth: How many neighbours are stored.
        source: Where it is defined.
        exact: Whether it takes float32 features only, since its numbers are set beside published ones.
    """

    name: str
    title: str
    about: str
    similarity: Similarity
    source: str
    gallery: Literal["train"] = "train"
    query: Literal["test"] = "test"
    volumes: Literal["concatenate"] = "concatenate"
    space: Space = Space()
    k: int = 5
    depth: int = 100
    exact: bool = False

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
        exact=True,
    ),
    Protocol(
        name="cosine",
        title="Cosine similarity",
        about="Cosine of the angle between raw feature vectors; a volume is the concatenation of its slices' vectors.",
        similarity="cosine",
        source="the usual choice in retrieval; named in the README of the study's code, which does not use it",
    ),
    Protocol(
        name="pca-256",
        title="PCA to 256 dimensions",
        about="Euclidean distance along the 256 directions in which the gallery's vectors vary most.",
        similarity="euclidean",
        source="principal component analysis, fitted on the gallery; the study fitted gallery and queries separately",
        space=Space("pca", 256),
    ),
    Protocol(
        name="pca_whitening-256",
        title="PCA whitening to 256 dimensions",
        about="As PCA to 256 dimensions, each direction scaled to the same spread in the gallery; cosine of the angle.",
        similarity="cosine",
        source="Jegou & Chum 2012, fitted on the gallery",
        space=Space("pca_whitening", 256),
    ),
    Protocol(
        name="whitening",
        title="Whitening (shrunk covariance)",
        about="Directions in which the gallery varies much are scaled down and others up, as far as the number of "
        "pictures lets their spread be known (Ledoit-Wolf shrinkage); cosine of the angle.",
        similarity="cosine",
        source="Ledoit & Wolf 2004, fitted on the gallery",
        space=Space("whitening"),
    ),
    Protocol(
        name="autoencoder-256",
        title="Autoencoder to 256 dimensions",
        about="Euclidean distance between the 256 hidden values of a small network that learns to reproduce the "
        "gallery's vectors.",
        similarity="euclidean",
        source="one hidden ReLU layer, linear output, fitted on the gallery; the study also trained on test pictures",
        space=Space("autoencoder", 256),
    ),
    Protocol(
        name="umap-2",
        title="UMAP to 2 dimensions",
        about="Euclidean distance on a map of the gallery drawn by UMAP, on which queries are then placed.",
        similarity="euclidean",
        source="McInnes et al. 2018, fitted on the gallery; the study fitted gallery and queries separately",
        space=Space("umap", 2),
    ),
)

WHY_STUDY_DIFFERS = (
    "The study fitted each reduction once on the gallery and once again on the test pictures, so that the two lie in "
    "different spaces; its autoencoder was trained on the test pictures too and ends in a sigmoid that cannot "
    "reproduce features above 1, and its autoencoder, t-SNE and UMAP had no fixed seed."
)

_NUMBERED = re.compile(r"(pca|pca_whitening|autoencoder|umap)-([1-9][0-9]{0,3})", re.ASCII)
_FORM = f"pca-N, pca_whitening-N, autoencoder-N or umap-N with N from 1 to {MOST_DIMENSIONS}"


def find_protocol(name: str) -> Protocol:
    """The protocol of this name, such as `paper`, or `pca-64` with any number of dimensions.

    Raises:
        UnknownName: There is none; lists the valid ones and the form of those with a number.
        Unavailable: t-SNE is asked for, which cannot place a new picture.
    """
    for protocol in PROTOCOLS:
        if protocol.name == name:
            return protocol
    if re.fullmatch(r"tsne(-.*)?", name):
        raise _no_tsne()
    asked = _NUMBERED.fullmatch(name)
    if asked is None or int(asked[2]) > MOST_DIMENSIONS:
        raise UnknownName("protocol", name, [*(protocol.name for protocol in PROTOCOLS), _FORM])
    return _resized(name, asked[1], int(asked[2]))


def _resized(name: str, kind: str, dimensions: int) -> Protocol:
    """The named protocol of this kind, with another number of dimensions."""
    model = next(protocol for protocol in PROTOCOLS if protocol.space.kind == kind)
    usual, counted = str(model.space.dimensions), str(dimensions)
    return replace(
        model,
        name=name,
        title=model.title.replace(usual, counted),
        about=model.about.replace(usual, counted),
        space=replace(model.space, dimensions=dimensions),
    )


def _no_tsne() -> Unavailable:
    return Unavailable(
        "t-SNE places only the pictures that it was fitted on; it has no mapping for a new query. "
        f"{WHY_STUDY_DIFFERS} So the study's t-SNE rows (tables S.5 and S.6) cannot be made with queries unseen.",
        remedy="Choose pca-2 or umap-2, which are fitted on the gallery and then place queries.",
    )
