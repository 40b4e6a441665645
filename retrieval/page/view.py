"""What the Search tab draws: plain values for its script, made of an Answer or of a reason why there is none."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np

from retrieval.answers import Answer, ItemQuery, Readiness, TextQuery
from retrieval.cells import Cell
from retrieval.datasets.catalogue import DATASETS, datasets
from retrieval.datasets.relevance import class_names
from retrieval.datasets.specs import Dataset, Split
from retrieval.encoders.catalogue import ENCODERS
from retrieval.errors import RetrievalError
from retrieval.page import addresses, extractors, jobs_tab, rendering, words
from retrieval.page.link import Link, to_words
from retrieval.page.uploads import Upload
from retrieval.pictures.decoded import MAX_VOLUME_BYTES
from retrieval.pictures.item import size_name
from retrieval.protocols import PROTOCOLS
from retrieval.roots import Roots

History = Literal["push", "replace", "keep"]
"""What an answer does to the browser's history: a new entry, the present one replaced, or the address kept."""


# A picture up to 64 x 64 in colour travels inside the answer. Fetching each by its address made painted cards a third
# slower, on a warm browser and server; larger ones are better fetched, and kept.
INLINE_BYTES = 64 * 64 * 3


@dataclass(frozen=True)
class Figure:
    """A picture to draw. Of a volume `src` holds `{z}`, `slices` says how many there are and `fullest` which is first.

    Attributes:
        src: Relative address.
        alt: In words, for who cannot see it.
        size: Its true size, in words.
        width, height: In pixels.
    """

    src: str
    alt: str
    size: str
    width: int
    height: int
    slices: int = 0
    fullest: int = 0


def menus(keep_minutes: float) -> dict[str, Any]:
    """What the menus offer, from the literals alone: no file is looked at."""
    return {
        "datasets": [_offered(data) for data in DATASETS],
        "encoders": [extractors.offered(spec) for spec in ENCODERS],
        "domains": [list(pair) for pair in extractors.DOMAINS.items()],
        "protocols": [[protocol.name, protocol.title] for protocol in PROTOCOLS],
        "kinds": {str(ndim): kinds for ndim, kinds in words.FILE_KINDS.items()},
        "most": MAX_VOLUME_BYTES,
        "promise": words.promise(keep_minutes),
    }


def collections(roots: Roots) -> list[dict[str, Any]]:
    """What the menu of datasets offers besides: the collections that there are now."""
    return [_offered(data) for data in datasets(roots) if data.own is not None]


def _offered(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "title": data.title,
        "ndim": extractors.dimensions(data),
        "own": data.own is not None,
        "grouped": data.grouped,
        "sizes": list(data.sizes),
        "classes": list(class_names(data)),
        "test": data.counts["test"],
    }


def answered(
    answer: Answer,
    link: Link,
    *,
    splits: Mapping[str, Split],
    upload: Upload | None,
    readiness: Readiness,
    history: History,
    notice: str = "",
    getting: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An answer as the page draws it; `splits` holds the gallery, and the query's split where it is an item.

    `getting`: how to get the weights, where stored neighbours answer without them.
    """
    gallery = splits[answer.cell.rules.gallery]
    figures = [asdict(figure) for figure in _query_figures(answer, link, splits, upload)] or [None, None]
    score, _, nearer = answer.cell.rules.score_name.partition(" (")
    before, standing, after = words.provenance_line(answer)
    version = addresses.version_of(gallery)
    asked = f"{to_words(link, private=True)}&{urlencode({'v': version})}"
    return {
        "kind": "answer",
        **_frame(link, history, notice, shown=len(answer.neighbours)),
        "version": version,
        "instead": no_upload(link.cell, readiness),
        "getting": getting,
        "first_upload": readiness.message if readiness.uploads and not link.uploaded else "",
        "summary": words.summary(answer),
        "query": {
            "title": words.query_title(answer.query, answer.cell.data),
            "label": answer.query_label_name or "",
            "notes": _notes(answer, upload),
            "original": figures[0],
            "seen": figures[1],
        },
        "cards": [_card(answer, place, gallery) for place in range(len(answer.neighbours))],
        "heading": words.heading(answer),
        "score": score,
        "nearer": nearer.rstrip(")"),
        "vote": _vote(answer),
        "reliability": words.trust_sentence(answer),
        "nearness": words.nearness_sentence(answer.nearness, answer),
        "beyond": bool(answer.nearness and answer.nearness.beyond),
        "line": [before, after],
        "standing": standing,
        "unverified": not answer.verified,
        "files": {name: f"answer.{name}?{asked}" for name in ("csv", "png")},
        "slices": max(gallery.images.shape[1], figures[0]["slices"]) if figures[0] and figures[0]["slices"] else 0,
        "volume": bool(upload and upload.volume),
    }


def unavailable(error: RetrievalError, link: Link, *, history: History, notice: str = "") -> dict[str, Any]:
    """A reason why there is no answer, with what to do."""
    return {
        "kind": "problem",
        **_frame(link, history, notice),
        "title": "No answer",
        "message": error.message,
        "remedy": error.remedy,
        "compute": "",
    }


def not_ready(readiness: Readiness, link: Link, *, history: History, notice: str = "") -> dict[str, Any]:
    """What a cell lacks, before anything is asked; with a button where it can be computed in place."""
    return {
        "kind": "problem",
        **_frame(link, history, notice),
        "title": words.readiness_title(readiness),
        "message": readiness.message,
        "remedy": readiness.remedy,
        "compute": "Compute it now" if readiness.state == "minute" else "",
        "later": _later(link, readiness),
    }


def _later(link: Link, readiness: Readiness) -> dict[str, Any] | None:
    """A job for what is to be computed; not for words, whose vectors of the gallery are no part of a cell."""
    wanted = readiness.state != "unavailable" and readiness.seconds and link.text is None
    return jobs_tab.offer(link.cell, readiness.seconds) if wanted else None


def no_weights(getting: Mapping[str, Any], link: Link, *, history: History, notice: str = "") -> dict[str, Any]:
    """An extractor whose weights are not at hand: what it is, what works now, and how to get them."""
    return {
        "kind": "problem",
        **_frame(link, history, notice),
        "title": getting["title"],
        "message": getting["now"],
        "remedy": "",
        "compute": "",
        "getting": getting,
        "instead": _own_needs_weights(link.cell),
    }


def refused(error: RetrievalError) -> dict[str, Any]:
    """What was asked cannot be; what is shown stays."""
    return {"kind": "refusal", "message": error.message, "remedy": error.remedy}


def working(*, said: str, fraction: float | None) -> dict[str, Any]:
    """Something is being computed or fetched in place; `fraction` from 0 to 1, None where the whole is not known."""
    return {"kind": "working", "said": said, "fraction": fraction}


def no_upload(cell: Cell, readiness: Readiness) -> str:
    """Why a picture of the visitor's own cannot be asked with, where sampled ones can; empty where it can."""
    if cell.data.vectors:
        return words.VECTORS_ALONE
    if readiness.state == "ready" and not readiness.uploads:
        bound = cell.spec.precision != "fp32"  # to a device, besides its weights
        return f"{readiness.message} {readiness.remedy}" if bound else _own_needs_weights(cell)
    return f"{readiness.message} {readiness.remedy}" if readiness.state == "ready" and readiness.remedy else ""


def _own_needs_weights(cell: Cell) -> str:
    noun = cell.data.noun
    return f"Asking with your own {noun} needs the weights of {cell.spec.title}, which are not at hand."


def _frame(link: Link, history: History, notice: str, *, shown: int | None = None) -> dict[str, Any]:
    """What every kind of panel has; `shown`: how many neighbours an answer has, of a small gallery fewer than asked."""
    cell, count = link.cell, link.k if shown is None else shown
    neighbours = f"{count} neighbour" if count == 1 else f"{count} neighbours"
    return {
        "address": to_words(link),
        "private": to_words(link, private=True),
        "token": link.token or "",
        "history": history,
        "notice": notice,
        "now": f"{cell.data.title} {size_name(cell.size)} · {cell.spec.title} · {neighbours}",
        "about": f"{cell.data.about} {cell.spec.about}",
        "extractor": extractors.facts(cell.spec, cell.data),
        "getting": None,
        "instead": words.VECTORS_ALONE if cell.data.vectors else "",
        "first_upload": "",
        "sharing": (
            "The link restores these settings, but not your upload: it cannot be part of a link."
            if link.uploaded
            else "The link restores this page."
        ),
    }


def _query_figures(
    answer: Answer, link: Link, splits: Mapping[str, Split], upload: Upload | None
) -> tuple[Figure, ...]:
    """The query as it is and as the extractor sees it; none of words."""
    cell = answer.cell
    if isinstance(answer.query, TextQuery):
        return ()
    if isinstance(answer.query, ItemQuery):
        split = splits[answer.query.split]
        original = _figure(cell, answer.query, split, alt=words.query_title(answer.query, cell.data))
        return original, _seen(cell, addresses.seen(cell, answer.query, addresses.version_of(split)), original)
    if upload is None or link.token is None:
        raise ValueError("an answer to an uploaded picture needs the upload")
    original = _uploaded_volume(upload, link.token) if cell.data.ndim == 3 else _uploaded_picture(upload, link.token)
    return original, _seen(cell, addresses.uploaded_seen(cell, link.token), original)


def _uploaded_picture(upload: Upload, token: str) -> Figure:
    size = words.pixels_of((upload.height, upload.width)) + (" (shown smaller)" if upload.shrunk else "")
    return Figure(
        src=addresses.uploaded(token), alt="Your picture", size=size, width=upload.width, height=upload.height
    )


def _uploaded_volume(upload: Upload, token: str) -> Figure:
    depth, height, width = upload.shape
    size = words.voxels_of(upload.shape) + (" (shown smaller)" if upload.slices_shrunk else "")
    return Figure(
        src=addresses.uploaded_slice(token),
        alt="Your volume",
        size=size,
        width=width,
        height=height,
        slices=depth,
        fullest=upload.fullest,
    )


def _notes(answer: Answer, upload: Upload | None) -> list[str]:
    """Of an upload those of when it came: what is read again is what was kept of it."""
    if upload is None:
        return list(answer.notes)
    return list(upload.notes if answer.cell.data.ndim == 2 else upload.volume_notes)


def _figure(cell: Cell, item: ItemQuery, split: Split, *, alt: str) -> Figure:
    shape = split.images.shape
    volume = cell.data.ndim == 3
    pixels = rendering.drawn(np.asarray(split.images[item.index]), cell.data)
    height, width = pixels.shape[1:3] if volume else pixels.shape[:2]
    size = words.voxels_of(shape[1:]) if volume else words.pixels_of((height, width))
    size = f"{width:,} numbers" if cell.data.vectors else size
    size += " (shown smaller)" if not volume and max(height, width) > rendering.MOST_SHOWN else ""
    small = not volume and pixels.nbytes <= INLINE_BYTES
    return Figure(
        src=rendering.data_address(pixels) if small else addresses.picture(cell, item, addresses.version_of(split)),
        alt=alt,
        size=size,
        width=width,
        height=height,
        slices=shape[1] if volume else 0,
        fullest=rendering.fullest_slice(pixels) if volume else 0,
    )


def _seen(cell: Cell, src: str, original: Figure) -> Figure:
    if cell.data.vectors:
        return original
    pixels = cell.spec.pixels if cell.data.ndim == 2 else cell.spec.slices
    side = pixels.side(cell.side) if pixels else cell.side
    slices = side if pixels and pixels.depth == "spline" and original.slices else original.slices
    fullest = round(original.fullest * (slices - 1) / max(1, original.slices - 1)) if slices else 0
    size = f"{slices} slices of {side} × {side} pixels" if slices else words.pixels_of((side, side))
    alt = "The same as the extractor sees it"
    return Figure(src=src, alt=alt, size=size, width=side, height=side, slices=slices, fullest=fullest)


def _card(answer: Answer, place: int, gallery: Split) -> dict[str, Any]:
    neighbour = answer.neighbours[place]
    item = ItemQuery(split=answer.cell.rules.gallery, index=neighbour.index)
    return {
        "rank": neighbour.rank,
        "split": item.split,
        "index": neighbour.index,
        "label": neighbour.label_name,
        "score": words.score(neighbour.score),
        "mark": words.agreement(neighbour),
        "duplicate": words.DUPLICATE.get(neighbour.duplicate or "", ""),
        "figure": asdict(_figure(answer.cell, item, gallery, alt="")),
    }


def _vote(answer: Answer) -> dict[str, Any]:
    k = len(answer.neighbours)
    if not answer.vote:
        return {"sentence": words.NO_VOTE, "rows": []}
    return {
        "sentence": words.vote_sentence(answer),
        "rows": [
            {
                "label": tally.label_name,
                "said": words.tally_line(tally, k),
                "share": round(100 * tally.share, 2),
                "gallery": round(100 * tally.gallery_share, 2),
            }
            for tally in answer.vote
        ],
    }
