"""The Leaderboard tab: a shell whose script fetches the rows from a plain route when the tab is first opened."""

import functools
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from retrieval import results
from retrieval.cells import cell
from retrieval.datasets import opening
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.collections import records
from retrieval.encoders import configs, weights
from retrieval.encoders.catalogue import with_named
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import RetrievalError
from retrieval.leaderboard import (
    BLIND,
    MAJORITY,
    STUDY_METRICS,
    Figures,
    Row,
    leaderboard,
    metric_names,
    select,
    to_csv,
)
from retrieval.page.assets import read
from retrieval.roots import Roots, queueing_allowed

JSON_ROUTE, CSV_ROUTE = "leaderboard.json", "leaderboard.csv"

# Not in the catalogue: what looks at no picture.
_TITLES = {
    MAJORITY: "Majority class (looks at no picture)",
    BLIND: "Blind draw (looks at no picture)",
}
_SOURCES = {"measured": "Measured", "published": "Published", "baseline": "Baseline"}

METRICS_ABOUT = {
    "ACC@1": "Share of queries whose nearest neighbour has the query's label.",
    "ACC@3": "Share of queries with the right label at least once among the three nearest.",
    "ACC@5": "Share of queries with the right label at least once among the five nearest: a hit rate, not a vote.",
    "mMV@5": "Share of queries whose label has the most votes of the five; a tie that includes it counts.",
    "mAP@5": "The study's mean average precision: one right neighbour at rank 1 and none after it is already perfect.",
    "MV@5": "Strict majority vote of the five; a tie goes to the nearest.",
    "P@5": "Mean share of the five that have the query's label.",
    "AP@5": "Textbook average precision: divided by the five (or fewer) that could have been right.",
    "MRR@5": "Mean of one over the rank of the first right neighbour.",
    "nDCG@5": "Gain of the five, discounted by rank, over the best possible; grades count by closeness.",
    "balanced ACC@1": "ACC@1 per class, then averaged, so that a rare class weighs as much as a common one.",
    "kappa@1": "Agreement of the first neighbour's grade with the true one beyond chance, by squared error; at most 1.",
    "MAE@1": "How many grades the first neighbour is off, on average; lower is better.",
}
_LOWER_IS_BETTER = {"MAE@1"}


@dataclass(frozen=True)
class _Board:
    """Rows and their JSON, compressed, as long as the files they come from stay the same."""

    rows: tuple[Row, ...]
    packed: bytes
    etag: str


def build(roots: Roots) -> None:
    """Put the tab's content into the gr.Tab being built; `roots` are read when the rows are fetched, not here."""
    gr.HTML(
        "",
        html_template=read("leaderboard.html"),
        css_template=read("leaderboard.css"),
        js_on_load=read("leaderboard.js"),
        apply_default_css=False,
        elem_id="leaderboard",
        url=JSON_ROUTE,
        csv_url=CSV_ROUTE,
        queueing=queueing_allowed(),
    )


def routes(roots: Roots) -> list[Route]:
    """The rows as JSON (compressed, with an ETag) and as CSV with the table's filters as query parameters."""

    # Plain functions: Starlette runs them in a thread, so that reading many files holds up nobody.
    def as_json(request: Request) -> Response:
        return _answer(roots, lambda board: _packed(board, request.headers))

    def as_csv(request: Request) -> Response:
        return _answer(roots, lambda board: _table(board, request.query_params))

    return [Route(f"/{JSON_ROUTE}", as_json), Route(f"/{CSV_ROUTE}", as_csv)]


def page_document(rows: tuple[Row, ...], roots: Roots | None = None) -> dict[str, Any]:
    """What the script draws: numbers rounded to what is shown, by position of their metric, so that it stays small."""
    metrics, named = metric_names(rows), {row.encoder for row in rows}
    specs = with_named(sorted(named))
    return {
        "metrics": [_metric(name) for name in metrics],
        "titles": {
            "dataset": {dataset.name: dataset.title for dataset in DATASETS},
            "encoder": _TITLES | {spec.name: spec.title for spec in specs},
            "source": _SOURCES,
        },
        "extractors": {spec.name: _known(spec) for spec in specs if spec.name in named},
        "rows": [_row(row, metrics, roots) for row in rows],
    }


def _answer(roots: Roots, respond: Callable[[_Board], Response]) -> Response:
    """What `respond` makes of the current rows; where they cannot be read, why and what to do."""
    try:
        return respond(_made(roots, _signature(roots)))
    except RetrievalError as error:
        return JSONResponse({"error": {"message": error.message, "remedy": error.remedy}}, status_code=503)


def _packed(board: _Board, asked: Mapping[str, str]) -> Response:
    headers = {"ETag": board.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if asked.get("if-none-match") == board.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in asked.get("accept-encoding", ""):
        return Response(gzip.decompress(board.packed), media_type="application/json", headers=headers)
    return Response(board.packed, media_type="application/json", headers=headers | {"Content-Encoding": "gzip"})


def _table(board: _Board, asked: Mapping[str, str]) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="leaderboard.csv"', "Cache-Control": "no-cache"}
    return Response(to_csv(select(board.rows, **_filters(asked))), media_type="text/csv", headers=headers)


@functools.lru_cache(maxsize=2)
def _made(roots: Roots, signature: tuple[Any, ...]) -> _Board:
    """Read, ranked and packed once per state of the files; `signature` is what makes a new state known."""
    rows = leaderboard(roots)
    text = json.dumps(page_document(rows, roots), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    return _Board(rows=rows, packed=gzip.compress(text.encode(), compresslevel=6, mtime=0), etag=etag)


def _signature(roots: Roots) -> tuple[Any, ...]:
    """Path, times, place and size of every file that rows come from, or are held against."""
    measured = [path for root in roots.lookup for path in _below(root / results.FOLDER)]
    collections = sorted((roots.cache / records.FOLDER).glob("*/collection.json"))  # a change makes rows stale
    files = [*measured, *_below(roots.precomputed / "published"), *collections, *_held_against(measured, roots)]
    return tuple(_stamp(path) for path in files)


def _below(folder: Path) -> list[Path]:
    """All files in a folder, in order; by a walk, which need not ask of each whether it is one."""
    return sorted(Path(within, name) for within, _, names in os.walk(folder) for name in names)


def _stamp(path: Path) -> tuple[Any, ...]:
    """What tells a file from another in its place, also from one that brought its size and time with it."""
    try:
        stat = path.stat()
    except FileNotFoundError:  # renamed or removed since it was listed
        return (str(path),)
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _held_against(measured: Iterable[Path], roots: Roots) -> Iterator[Path]:
    """The files of data and weights at hand, and config files, by which it is judged whether results are current."""
    folders = {path.parent for path in measured}  # dataset/size/encoder
    places = {(folder.parent.parent.name, folder.parent.name) for folder in folders}
    names = sorted({folder.name for folder in folders})
    sizes = ((data, size) for data in DATASETS for size in data.sizes if (data.name, str(size)) in places)
    found = [opening.locate(data, size, roots) for data, size in sizes]
    for spec in with_named(names):
        if spec.name in names:
            found += [weights.locate(spec, roots), configs.locate(spec, roots)]
    return filter(None, found)


def _filters(asked: Mapping[str, str]) -> dict[str, Any]:
    """The table's filters from an address; a size that is no number fits no row."""
    names = ("dataset", "encoder", "protocol", "source")
    filters: dict[str, Any] = {name: asked[name] for name in names if asked.get(name)}
    if asked.get("size"):
        filters["size"] = int(asked["size"]) if asked["size"].isdecimal() else -1
    return filters


def _known(spec: EncoderSpec) -> dict[str, Any]:
    """What to know of an extractor before its rows are trusted; said once, not in each row."""
    return {"study": spec.study, "unverified": list(spec.unverified), "overlaps": dict(spec.overlaps)}


def _metric(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "about": METRICS_ABOUT.get(name, ""),
        "study": name in STUDY_METRICS,
        "accuracy": "ACC@" in name or "MV@" in name,
        "lower": name in _LOWER_IS_BETTER,
    }


def _row(row: Row, metrics: tuple[str, ...], roots: Roots | None) -> dict[str, Any]:
    difference = row.hits_difference
    return {
        "dataset": row.dataset,
        "size": row.size,
        "encoder": row.encoder,
        "protocol": row.protocol,
        "source": row.source,
        "n": row.n_queries,
        "grouped": row.grouped_queries,
        "verified": row.verified,
        "cheap": row.cheap,
        "ranked": row.ranked,
        "note": row.note,
        "difference": dict(difference) if difference is not None else None,
        "searchable": _is_searchable(row, roots),
        "all": _reading(row.as_published, metrics),
        "left": _reading(row.groups_left_out, metrics) if row.groups_left_out else None,
    }


def _is_searchable(row: Row, roots: Roots | None) -> bool:
    """Whether the Search tab can be opened with the row's cell."""
    if row.protocol is None:
        return False
    try:
        cell(row.dataset, row.size, row.encoder, row.protocol, roots=roots)
    except RetrievalError:
        return False
    return True


def _reading(figures: Figures, metrics: tuple[str, ...]) -> dict[str, Any]:
    ends = [figures.intervals.get(name, (None, None)) for name in metrics]
    return {
        "value": _short(_compact(figures.metrics.get(name)) for name in metrics),
        "low": _short(_compact(low) for low, _ in ends),
        "high": _short(_compact(high) for _, high in ends),
        "hits": _short(figures.hits.get(name) for name in metrics),
        "below": [number for number, name in enumerate(metrics) if figures.beats_majority.get(name) is False],
        "near": [number for number, name in enumerate(metrics) if name in figures.near_best],
    }


def _short(values: Iterable[float | None]) -> list[float | None]:
    """What is missing at the end need not be said."""
    known = list(values)
    while known and known[-1] is None:
        known.pop()
    return known


def _compact(value: float | None) -> float | None:
    """With digits enough that the page, which rounds to two, rounds as if it had all: never twice near a half."""
    return None if value is None else round(value, 8)
