"""The engine's values -> what a program reads: the contract of the command line. Nothing is rounded here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from retrieval.answers import Answer, Tally, TextQuery, UploadQuery
from retrieval.cells import Cell
from retrieval.datasets import opening
from retrieval.datasets.specs import Dataset
from retrieval.doctor import Check
from retrieval.encoders import weights
from retrieval.encoders.specs import EncoderSpec
from retrieval.leaderboard import DIFFERENCE_METRICS, Row
from retrieval.published import PublishedRow
from retrieval.results import Result
from retrieval.roots import Roots
from retrieval.scoring.uncertainty import wilson


def dataset(spec: Dataset, roots: Roots) -> dict[str, Any]:
    """A Dataset's literal, with the sizes that can be opened without a download."""
    return {
        "name": spec.name,
        "title": spec.title,
        "about": spec.about,
        "ndim": spec.ndim,
        "channels": spec.channels,
        "task": spec.task,
        "classes": list(spec.classes),
        "counts": dict(spec.counts),
        "sizes": list(spec.sizes),
        "at_hand": [size for size in spec.sizes if opening.is_at_hand(spec, size, roots)],
        "synthetic": spec.synthetic,
        "own": asdict(spec.own) if spec.own else None,
        "licence": spec.licence,
        "url": spec.url,
        "citation": spec.citation,
    }


def encoder(spec: EncoderSpec, roots: Roots) -> dict[str, Any]:
    """An EncoderSpec, and whether its weights are `ready`, `downloadable`, `gated` or `missing`.

    `bytes`: of the weights file; null where it is not known or there is none. `page`: the publisher's. `words`: how it
    reads them, and what of that is untested; null where it cannot be asked with words.
    """
    return {
        "name": spec.name,
        "title": spec.title,
        "about": spec.about,
        "library": spec.library,
        "architecture": spec.architecture,
        "dim": spec.dim,
        "takes": [ndim for ndim in (2, 3) if spec.takes(ndim)],
        "licence": spec.licence,
        "licence_url": spec.licence_url,
        "training": spec.training,
        "gated": spec.gated,
        "baseline": spec.baseline,
        "domain": spec.domain,
        "bytes": (spec.weights.bytes if spec.weights else 0) or None,
        "page": weights.page(spec),
        "unverified": list(spec.unverified),
        "words": _words(spec),
        "state": weights.state(spec, roots),
    }


def _words(spec: EncoderSpec) -> dict[str, Any] | None:
    if spec.text is None:
        return None
    tokenizer = spec.text.tokenizer
    vocabulary = tokenizer.file or None
    return {"context": tokenizer.context, "vocabulary": vocabulary, "untested": tokenizer.untested or None}


def fetched(spec: EncoderSpec, found: weights.Weights) -> dict[str, Any]:
    """Where an extractor's weights lie, and how far they are known to be the publisher's."""
    return {
        "encoder": spec.name,
        "file": str(found.path) if found.path else None,
        "digest": found.digest,
        "expected_digest": (spec.weights.digest if spec.weights else found.digest) or None,
        "revision": found.revision or None,
        "pinned_revision": (spec.weights.revision if spec.weights else "") or None,
        "verified": found.verified,
        "bytes": found.path.stat().st_size if found.path else None,
        "licence": spec.licence,
        "licence_url": spec.licence_url,
        "gated": spec.gated,
    }


def result(found: Result) -> dict[str, Any]:
    """A Result without what is said query by query."""
    return {
        **found.cell.names,
        "n_queries": found.as_published.n_queries,
        "verified": found.verified,
        "metrics": dict(found.as_published.metrics),
        "hits": dict(found.as_published.hits),
        "groups_left_out": {
            "grouped_queries": found.grouped_queries,
            "metrics": dict(found.groups_left_out.metrics),
            "hits": dict(found.groups_left_out.hits),
        },
    }


def evaluation(found: Result, study: PublishedRow | None, floor: Sequence[Row]) -> dict[str, Any]:
    """A Result beside the study's row for the same cell, if it has one, and the difference in hits.

    `intervals`: Wilson's 95 %, in percent. `baselines`: what answers give that look at no picture.
    """
    whole = found.as_published
    return {
        **result(found),
        "intervals": {name: _interval(hits, whole.n_queries) for name, hits in whole.hits.items()},
        "baselines": {row.encoder: dict(row.as_published.metrics) for row in floor},
        "published": dict(study.metrics) if study else None,
        "hits_difference": _difference(found, study) if study else None,
        "provenance": dict(found.provenance),
    }


def embeddings(asked: Cell, *, gallery: int, queries: int) -> dict[str, Any]:
    """What `embed` has made."""
    address = {name: value for name, value in asked.names.items() if name != "protocol"}
    return {**address, "n_gallery": gallery, "n_queries": queries}


def answer(query: UploadQuery | TextQuery, found: Answer) -> dict[str, Any]:
    """One query's entry in the document of `search`; of words also how they were compared."""
    words = {"compared": found.provenance["protocol"]}
    return {
        **_asked(query),
        **(words if isinstance(query, TextQuery) else {}),
        "error": None,
        "neighbours": [
            {
                "rank": neighbour.rank,
                "index": neighbour.index,
                "label": _number(neighbour.labels),
                "label_name": neighbour.label_name,
                "score": neighbour.score,
            }
            for neighbour in found.neighbours
        ],
        "vote": _vote(found.vote),
        "nearness": asdict(found.nearness) if found.nearness else None,
        "reliability": asdict(found.reliability) if found.reliability else None,
        "verified": found.verified,
        "notes": list(found.notes),
        "one_per_group": found.one_per_group,
    }


def refused(query: UploadQuery | TextQuery, error: Mapping[str, str]) -> dict[str, Any]:
    """The entry of a query that got no answer."""
    return {**_asked(query), "error": dict(error), "neighbours": [], "vote": None}


def _asked(query: UploadQuery | TextQuery) -> dict[str, str]:
    return {"text": query.text} if isinstance(query, TextQuery) else {"file": str(query.path)}


def check(found: Check) -> dict[str, Any]:
    """One thing that `doctor` looked at."""
    return asdict(found)


def _number(labels: Sequence[int]) -> int | list[int]:
    """One label as a number; several findings at once as a list."""
    return labels[0] if len(labels) == 1 else list(labels)


def _vote(tallies: Sequence[Tally]) -> dict[str, Any] | None:
    if not tallies:
        return None
    first = tallies[0]
    return {"label": first.label, "label_name": first.label_name, "share": first.share}


def _interval(hits: int, n: int) -> list[float] | None:
    ends = wilson(hits, n)
    return None if ends is None else [100 * end for end in ends]


def _difference(found: Result, study: PublishedRow) -> dict[str, int | None]:
    """Measured minus published; null where the study's figure fits no count."""
    measured = found.as_published.hits
    return {
        name: measured[name] - study.hits[name] if name in measured and name in study.hits else None
        for name in DIFFERENCE_METRICS
    }
