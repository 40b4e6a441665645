"""Words as queries: compared by cosine with the gallery's pictures, in the space that an encoder's two sides share."""

import functools
import time
from dataclasses import replace
from typing import Any

import numpy as np

from retrieval import evaluation, provenance, votes
from retrieval.answers import Answer, TextQuery
from retrieval.cells import Cell
from retrieval.datasets.collections.opening import gallery_groups
from retrieval.embeddings import embedding
from retrieval.embeddings.embedding import Embeddings, Progress
from retrieval.encoders import catalogue, configs, devices, loading, text_towers, vocabularies, weights
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.tokenizing import Tokens
from retrieval.errors import BadInput, RetrievalError, Unavailable
from retrieval.protocols import find_protocol
from retrieval.ranking import neighbours as ranked
from retrieval.ranking.first_of_groups import first_of_groups
from retrieval.roots import Roots

MOST = 1000  # characters; the longest context takes some 200 words
SIMILARITY = find_protocol("cosine")  # as the two sides were trained; pictures may be compared by another protocol
TITLE = "Words and pictures by cosine in the space that they share"


def plain(text: str) -> str:
    """The words of a query with single spaces; BadInput where there are none, too many, or none that can be written."""
    said = " ".join(text.split())
    if not said:
        raise BadInput("There are no words to search with.", remedy="Write what the pictures should show.")
    if len(said) > MOST:
        raise BadInput(
            f"These words are {len(said):,} characters long.", remedy=f"Search with at most {MOST:,} characters."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in said):
        raise BadInput("These words hold half of a letter, which cannot be read.", remedy="Write them anew.")
    return said


def lacking(cell: Cell, roots: Roots) -> RetrievalError | None:
    """What asking with words lacks in a cell: a text side, pictures, weights, a vocabulary; None where nothing does."""
    spec = cell.spec
    refusal = text_towers.without_words(spec, catalogue.ENCODERS)
    if refusal is not None:
        return refusal
    if cell.data.ndim == 3:
        return Unavailable(
            f"Words are compared with pictures, and {cell.data.title} holds volumes.",
            remedy="Choose a dataset of pictures.",
        )
    if weights.state(spec, roots) != "ready":
        return weights.missing(spec)
    return vocabularies.lacking(spec, roots) or devices.refusal(spec)


def embedded(cell: Cell, roots: Roots) -> bool:
    """Whether the gallery's vectors in the shared space are on disk and current."""
    spec, variant = text_towers.joint(configs.at_hand(cell.spec, roots))
    split, at_hand = evaluation.split_of(cell, "train", roots), loading.identify(spec, roots)
    return embedding.stored(split, spec, at_hand, roots, variant=variant) is not None


def gallery(cell: Cell, roots: Roots, *, progress: Progress | None = None) -> Embeddings:
    """The gallery's vectors in the shared space, computed if need be; those of the encoder itself where they are that.

    RetrievalError where something is lacking.
    """
    no = lacking(cell, roots)
    if no is not None:
        raise no
    spec, variant = text_towers.joint(cell.spec)
    return embedding.embed(cell.data, cell.size, "train", spec, roots, variant=variant, progress=progress)


def find(query: TextQuery, cell: Cell, roots: Roots, *, k: int | None = None, one_per_group: bool = False) -> Answer:
    """The k gallery pictures nearest to words, by cosine; without a reliability or a nearness.

    Raises:
        BadInput: The words cannot be used, or there is no such k or no such groups.
        Unavailable: The encoder has no text side, or something is missing; says what to do.
    """
    began = time.perf_counter()
    text = plain(query.text)
    vectors = gallery(cell, roots)
    pictures = evaluation.split_of(cell, "train", roots)
    k = votes.settled_k(k, pictures, itself=False)
    given = gallery_groups(cell.data, roots) if one_per_group else None
    encoder = loading.load_text_encoder(cell.encoder, roots)
    loading.check_same(cell.spec, loading.identify(cell.spec, roots).digest, encoder.weights_digest)
    tokens = encoder.vocabulary.tokens([text])
    notes = _notes(tokens, cell.spec)
    asked = encoder.vectors(tokens)
    embedding.check_finite(cell.spec, asked, "these words")
    nearest = functools.partial(_nearest, vectors, asked)
    indices, scores = first_of_groups(nearest, given, k=k, deep=True)
    found = tuple(
        votes.neighbour(rank, int(index), float(score), pictures, None, None)
        for rank, (index, score) in enumerate(zip(indices, scores, strict=True), 1)
    )
    return Answer(
        cell=replace(cell, protocol=SIMILARITY.name),
        query=TextQuery(text),
        query_labels=None,
        query_label_name=None,
        neighbours=found,
        vote=votes.vote(found, pictures),
        reliability=None,
        nearness=None,
        verified=vectors.verified,
        provenance=_provenance(cell.spec, encoder.weights_digest, pictures.digest),
        seconds=time.perf_counter() - began,
        notes=notes,
        one_per_group=one_per_group,
    )


def _nearest(gallery: Embeddings, asked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    indices, scores = ranked.rank(gallery.vectors, asked, SIMILARITY, k=k, mark=gallery.fingerprint)
    return indices[0], scores[0]


def command(cell: Cell) -> str:
    """What to run where embedding the gallery takes long."""
    return (
        f"Run: python -m retrieval search --text WORDS --dataset {cell.dataset} --size {cell.size} "
        f"--encoder {cell.encoder}"
    )


def _provenance(spec: EncoderSpec, digest: str, data: str) -> dict[str, Any]:
    tower = text_towers.tower_of(spec)
    return {
        "extractor": spec.title,
        "weights": digest,
        "data": data,
        "protocol": TITLE,
        "vocabulary": tower.tokenizer.untested or "compared whole with the publisher's",
        **provenance.versions(spec.library),
        **provenance.versions(tower.library),
    }


def _notes(tokens: Tokens, spec: EncoderSpec) -> tuple[str, ...]:
    """What of the words was not read; BadInput where that is all of them."""
    pieces, read, unknown = tokens.pieces[0], tokens.read[0], tokens.unknown[0]
    if read == unknown:
        raise BadInput(
            f"Nothing of these words is in the vocabulary of {spec.title}.",
            remedy="Write words of letters and digits, best in English.",
        )
    said = []
    if read < pieces:
        said.append(
            f"These words come to {pieces:,} pieces, of which {spec.title} reads {read:,}: the rest was left out."
        )
    if unknown:
        said.append(f"{unknown} of the {read} pieces that were read are not in its vocabulary.")
    return tuple(said)
