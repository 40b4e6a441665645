"""Results, baselines and the study's published rows as one table in which chance is not read as rank.

A row that was measured here, one that the study printed and one that looks at no picture stand side by side; what a
row does not have is absent, never zero. Synthetic data is never among real data.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from retrieval import evaluation, results
from retrieval.datasets.catalogue import datasets, find_dataset
from retrieval.datasets.class_counts import unordered_labels
from retrieval.datasets.specs import Dataset
from retrieval.encoders.catalogue import ENCODERS
from retrieval.protocols import WHY_STUDY_DIFFERS
from retrieval.published import PublishedRow, published_rows, reduction_rows
from retrieval.roots import Roots
from retrieval.scoring.baselines import Baseline, blind_draw, majority
from retrieval.scoring.uncertainty import wilson

Source = Literal["measured", "published", "baseline"]

STUDY_METRICS = ("ACC@1", "ACC@3", "ACC@5", "mMV@5", "mAP@5")
DIFFERENCE_METRICS = ("mMV@5", "ACC@1", "ACC@3", "ACC@5")
MAJORITY, BLIND = "majority class", "blind draw"

_AGAINST_MAJORITY = ("mMV@5", "ACC@1")


@dataclass(frozen=True)
class Figures:
    """The numbers of one reading of a row.

    Attributes:
        metrics: As in a Reading.
        hits: Of the metrics that are a share of queries.
        intervals: Of those, Wilson's 95 % interval (low, high) in percent.
        beats_majority: For mMV@5 and ACC@1, whether it has more right than always answering the gallery's commonest
            class; absent where that is not known.
        near_best: Metrics whose interval overlaps that of the best row of the same dataset, size and protocol (the best
            itself among them): these rows cannot be told apart by so few queries.
    """

    metrics: Mapping[str, float]
    hits: Mapping[str, int]
    intervals: Mapping[str, tuple[float, float]]
    beats_majority: Mapping[str, bool]
    near_best: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard.

    Attributes:
        dataset, size, encoder: Names; the encoder of a baseline that looks at no picture is what it does, in words.
        protocol: None for a baseline that no protocol changes.
        source: `measured` here, `published` by the study, or a `baseline` that looks at no picture.
        n_queries: Queries.
        grouped_queries: Queries with a duplicate in the gallery; None where not known.
        as_published: Every train picture in the gallery.
        groups_left_out: The query's duplicates left out; None where not known.
        verified: Whether data and weights are the known ones; None for rows that were not measured here.
        cheap: A cheap feature that any extractor should beat.
        ranked: Whether accuracy may rank it; False where pictures have several findings at once.
        synthetic: Of data that the project draws itself.
        hits_difference: Measured minus published, in hits; None unless the cell is both measured and published.
        note: What is known to be wrong with the printed figures.
    """

    dataset: str
    size: int
    encoder: str
    protocol: str | None
    source: Source
    n_queries: int
    grouped_queries: int | None
    as_published: Figures
    groups_left_out: Figures | None
    verified: bool | None
    cheap: bool
    ranked: bool
    synthetic: bool
    hits_difference: Mapping[str, int] | None = None
    note: str = ""


def leaderboard(roots: Roots, *, synthetic: bool = False) -> tuple[Row, ...]:
    """Every row of real data, or of synthetic data alone; by dataset, size, then ACC@1, best first, missing last."""
    published = published_rows(roots)
    printed = {(row.dataset, row.size, row.encoder): row for row in published}
    rows = [_measured(result, printed) for result in evaluation.current_results(roots)]
    rows += [_published(row) for row in (*published, *reduction_rows(roots))]
    rows = [row for row in rows if row.synthetic == synthetic]
    known = {dataset.name: dataset for dataset in datasets(roots)}
    places = dict.fromkeys((row.dataset, row.size) for row in rows)
    opened = {(row.dataset, row.size) for row in rows if row.source == "measured"}
    floors = {place: baselines(known[place[0]], place[1], roots=roots, opened=place in opened) for place in places}
    rows = [_against_majority(row, floors[row.dataset, row.size]) for row in rows]
    rows = _with_near_best(rows)
    rows += [row for floor in floors.values() for row in floor]
    order = {name: place for place, name in enumerate(known)}
    return tuple(sorted(rows, key=lambda row: _place(row, order)))


def baselines(dataset: Dataset, size: int, *, roots: Roots, opened: bool) -> tuple[Row, ...]:
    """Majority class and blind draw; none where the labels are not known. `opened`: its file was read before."""
    gallery = unordered_labels(dataset, size, "train", roots, open_file=opened)
    queries = unordered_labels(dataset, size, "test", roots, open_file=opened)
    if gallery is None or queries is None:
        return ()
    constant = majority(dataset, gallery_labels=gallery, query_labels=queries)
    blind = blind_draw(dataset, gallery_labels=gallery, query_labels=queries)
    # Leaving out a query's few duplicates does not change the gallery's commonest class.
    return (
        _baseline(dataset, size, MAJORITY, whole=constant, left=constant),
        _baseline(dataset, size, BLIND, whole=blind, left=None),
    )


def select(
    rows: Iterable[Row],
    *,
    dataset: str | None = None,
    size: int | None = None,
    encoder: str | None = None,
    protocol: str | None = None,
    source: str | None = None,
) -> tuple[Row, ...]:
    """The rows that fit every filter given; a row without a protocol fits each protocol."""
    wanted = {"dataset": dataset, "size": size, "encoder": encoder, "source": source}
    return tuple(
        row
        for row in rows
        if all(value is None or getattr(row, name) == value for name, value in wanted.items())
        and (protocol is None or row.protocol in (None, protocol))
    )


def to_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV, both readings in columns of their own; full precision, missing is empty."""
    table = list(rows)
    metrics = metric_names(table)
    records = [_record(row, metrics) for row in table]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(records[0] if records else _FIELDS)
    writer.writerows(record.values() for record in records)
    return out.getvalue()


def metric_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Every metric that any row has, the study's five first, the others in the order met."""
    met = dict.fromkeys(name for row in rows for name in row.as_published.metrics)
    return (*STUDY_METRICS, *(name for name in met if name not in STUDY_METRICS))


# --- from what is measured, printed or known without a picture -----------------------------------------------------


def _figures(metrics: Mapping[str, float], hits: Mapping[str, int], n_queries: int) -> Figures:
    intervals = {}
    for name, count in hits.items():
        interval = wilson(count, n_queries)
        if interval is not None:
            intervals[name] = (100 * interval[0], 100 * interval[1])
    return Figures(metrics=dict(metrics), hits=dict(hits), intervals=intervals, beats_majority={})


def _row(dataset: Dataset, size: int, encoder: str, **fields: Any) -> Row:
    cheap = any(spec.baseline for spec in ENCODERS if spec.name == encoder)
    traits = {"cheap": cheap, "ranked": dataset.task != "findings", "synthetic": dataset.synthetic}
    empty = {"grouped_queries": None, "groups_left_out": None, "verified": None}
    return Row(dataset=dataset.name, size=size, encoder=encoder, **{**traits, **empty, **fields})


def _measured(result: results.Result, printed: Mapping[tuple[str, int, str], PublishedRow]) -> Row:
    cell, whole, left = result.cell, result.as_published, result.groups_left_out
    study = printed.get((cell.dataset, cell.size, cell.encoder)) if cell.protocol == "paper" else None
    return _row(
        cell.data,
        cell.size,
        cell.encoder,
        protocol=cell.protocol,
        source="measured",
        n_queries=whole.n_queries,
        grouped_queries=result.grouped_queries,
        as_published=_figures(whole.metrics, whole.hits, whole.n_queries),
        groups_left_out=_figures(left.metrics, left.hits, left.n_queries),
        verified=result.verified,
        hits_difference=_difference(whole.hits, study.hits) if study else None,
    )


def _difference(measured: Mapping[str, int], printed: Mapping[str, int]) -> dict[str, int]:
    """Measured minus published; a metric that either lacks (no count fits a misprint) is absent."""
    return {name: measured[name] - printed[name] for name in DIFFERENCE_METRICS if name in measured and name in printed}


def _published(row: PublishedRow) -> Row:
    reduced = row.reduction is not None
    return _row(
        find_dataset(row.dataset),
        row.size,
        row.encoder,
        protocol=f"{row.reduction} (study)" if reduced else "paper",
        source="published",
        n_queries=row.n_queries,
        as_published=_figures(row.metrics, row.hits, row.n_queries),
        note=f"Not comparable. {WHY_STUDY_DIFFERS} {row.note}".strip() if reduced else row.note,
    )


def _baseline(dataset: Dataset, size: int, what: str, *, whole: Baseline, left: Baseline | None) -> Row:
    return _row(
        dataset,
        size,
        what,
        protocol=None,
        source="baseline",
        n_queries=whole.n_queries,
        as_published=_figures(whole.metrics, whole.hits, whole.n_queries),
        groups_left_out=_figures(left.metrics, left.hits, left.n_queries) if left else None,
    )


# --- what keeps noise from being read as rank -----------------------------------------------------------------------


def _against_majority(row: Row, floor: tuple[Row, ...]) -> Row:
    constant = next((line.as_published for line in floor if line.encoder == MAJORITY), None)
    if constant is None:
        return row
    left = _beating(row.groups_left_out, constant) if row.groups_left_out else None
    return replace(row, as_published=_beating(row.as_published, constant), groups_left_out=left)


def _beating(figures: Figures, constant: Figures) -> Figures:
    # Hits, not percent: what the study printed was cut off or rounded.
    hits, floor = figures.hits, constant.hits
    beats = {name: hits[name] > floor[name] for name in _AGAINST_MAJORITY if name in hits and name in floor}
    return replace(figures, beats_majority=beats)


def _with_near_best(rows: list[Row]) -> list[Row]:
    """The same rows, each reading with the metrics in which it is not separable from its table's best row."""
    tables: dict[tuple[str, int, str | None], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.ranked:
            tables[row.dataset, row.size, row.protocol].append(number)
    marked = list(rows)
    for numbers in tables.values():
        whole = near_best([rows[number].as_published for number in numbers])
        left = near_best([rows[number].groups_left_out for number in numbers])
        for number, all_in, without in zip(numbers, whole, left, strict=True):
            figures = rows[number].groups_left_out
            marked[number] = replace(
                rows[number],
                as_published=replace(rows[number].as_published, near_best=all_in),
                groups_left_out=replace(figures, near_best=without) if figures else None,
            )
    return marked


def near_best(table: list[Figures | None]) -> list[tuple[str, ...]]:
    """For each reading of one table: the metrics whose interval reaches up to the low end of the best one's."""
    # The lower end grows with the hits, so the best row's is the highest.
    lows: dict[str, float] = {}
    for figures in table:
        for name, (low, _) in figures.intervals.items() if figures else ():
            lows[name] = max(low, lows.get(name, low))
    return [
        tuple(name for name, (_, high) in figures.intervals.items() if high >= lows[name]) if figures else ()
        for figures in table
    ]


def _place(row: Row, order: Mapping[str, int]) -> tuple[Any, ...]:
    first = row.as_published.metrics.get("ACC@1") if row.ranked else None
    by_accuracy = (first is None, -(first or 0.0))
    return (order[row.dataset], row.size, *by_accuracy, row.encoder, row.protocol or "", row.source)


# --- CSV ------------------------------------------------------------------------------------------------------------

_FIELDS = ("dataset", "size", "encoder", "protocol", "source", "verified", "n_queries", "grouped_queries", "note")


def _record(row: Row, metrics: tuple[str, ...]) -> dict[str, Any]:
    """Every row has the same names in the same order, whatever it lacks."""
    difference = row.hits_difference or {}
    return {
        **{name: getattr(row, name) for name in _FIELDS},
        **_reading_record(row.as_published, metrics, suffix=""),
        **_reading_record(row.groups_left_out, metrics, suffix=" groups left out"),
        **{f"{name} hits minus published": difference.get(name) for name in DIFFERENCE_METRICS},
    }


def _reading_record(figures: Figures | None, metrics: tuple[str, ...], *, suffix: str) -> dict[str, Any]:
    known = figures or Figures(metrics={}, hits={}, intervals={}, beats_majority={})
    record: dict[str, Any] = {}
    for name in metrics:
        low, high = known.intervals.get(name, (None, None))
        values = {"": known.metrics.get(name), " hits": known.hits.get(name), " low": low, " high": high}
        record |= {f"{name}{part}{suffix}": value for part, value in values.items() if not part or _is_counted(name)}
    beats = {f"{name} beats majority{suffix}": known.beats_majority.get(name) for name in _AGAINST_MAJORITY}
    return record | beats


def _is_counted(metric: str) -> bool:
    return metric.startswith(("ACC@", "mMV@", "MV@"))
