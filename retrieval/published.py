"""The study's own figures (arXiv 2409.09430, tables S.1 to S.4), read from the CSV files in `published/` when asked."""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import Unavailable
from retrieval.roots import SHIPPED, Roots

FOLDER = "published"
PROTOCOL = "paper"  # the only protocol whose numbers may be set beside these
SOURCE = "arXiv 2409.09430"

METRICS = ("mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5")
COUNTED = METRICS[1:]

# Its four networks in Keras. Their 2D rows come from another print than all others, which cuts off after two decimals
# (each of 139 figures for which cutting and rounding differ); their 3D rows are partly cut and partly rounded.
CNNS = ("vgg19", "resnet50", "densenet121", "efficientnetv2m")

_RESULTS, _HITS = "published_results.csv", "published_hits.csv"
_ENLARGED = 32  # the side to which its code as it was published enlarges size 28
_LAST_DIGIT = 0.01  # figures are rounded to it or cut off after it


@dataclass(frozen=True)
class PublishedRow:
    """One row of the study: a dataset at a size with an encoder.

    Attributes:
        dataset, size, encoder: As a Cell names them; encoders that are not in the catalogue occur.
        metrics: Percent, by metric. As printed; but where a printed figure is a misprint, what its hits give.
        printed: Percent exactly as printed, misprints included.
        misprints: Names of the metrics whose printed figure cannot be a count over `n_queries`, nor is near its hits.
        hits: Queries answered rightly, by metric (all but mAP@5).
        n_queries: Number of queries.
        note: On misprints and sources; empty where there is nothing to say.
        table: Of the supplement, such as "S.1".
    """

    dataset: str
    size: int
    encoder: str
    metrics: Mapping[str, float]
    printed: Mapping[str, float]
    misprints: tuple[str, ...]
    hits: Mapping[str, int]
    n_queries: int
    note: str
    table: str


def published_rows(roots: Roots) -> tuple[PublishedRow, ...]:
    """The study's rows in the order of its tables; Unavailable where the files are damaged or not there.

    They are facts that cannot be computed anew, so the shipped files serve where `roots.precomputed` has none.
    """
    return tuple(_by_address(roots).values())


def published_row(
    roots: Roots, *, dataset: str, size: int, encoder: str, protocol: str = PROTOCOL
) -> PublishedRow | None:
    """The study's row for a Cell's names; None where it has none, as for every protocol but `paper`."""
    return _by_address(roots).get((dataset, size, encoder)) if protocol == PROTOCOL else None


def rounding(row: PublishedRow, *, ndim: int) -> tuple[float, float]:
    """How far below and above a printed mAP@5 the exact figure may lie, in percent points: cut off, or rounded."""
    if row.encoder not in CNNS:
        return -_LAST_DIGIT / 2, _LAST_DIGIT / 2
    return (0.0, _LAST_DIGIT) if ndim == 2 else (-_LAST_DIGIT / 2, _LAST_DIGIT)


def orders_ties(row: PublishedRow, *, ndim: int) -> bool:
    """Whether its code says which of two equal distances comes first: not for its foundation models in 2D."""
    return row.encoder in CNNS or ndim == 3


def says_input(row: PublishedRow) -> bool:
    """Whether it says at which size its pictures were given: not whether 28 was enlarged to 32 for foundation models.

    Keras takes nothing smaller than 32; the others take both.
    """
    return row.encoder in CNNS or row.size >= _ENLARGED


def _by_address(roots: Roots) -> dict[tuple[str, int, str], PublishedRow]:
    homes = (root / FOLDER for root in (roots.precomputed, SHIPPED))
    folder = next((home for home in homes if (home / _RESULTS).is_file()), SHIPPED / FOLDER)
    try:
        stats = [(folder / name).stat() for name in (_RESULTS, _HITS)]
        return _read(folder, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise Unavailable(
            f"The study's published figures cannot be read ({error}).",
            remedy=f"Restore {_RESULTS} and {_HITS} in {folder} from the project's own copy.",
        ) from error


@functools.lru_cache(maxsize=8)
def _read(folder: Path, state: tuple[tuple[int, int], ...]) -> dict[tuple[str, int, str], PublishedRow]:
    """The rows of a folder by address; remembered while the files' sizes and times stay the same."""
    hits = {_address(record): record for record in _records(folder / _HITS)}
    rows = (_row(record, counts=hits[_address(record)]) for record in _records(folder / _RESULTS))
    return {(row.dataset, row.size, row.encoder): row for row in rows}


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        records = list(csv.DictReader(stream, strict=True))
    if any(None in record or None in record.values() for record in records):
        raise ValueError(f"a row of {path.name} is too short or too long")
    return records


def _address(record: Mapping[str, str]) -> tuple[str, str, str, str]:
    return record["table"], record["dataset"], record["size"], record["encoder"]


def _row(record: Mapping[str, str], *, counts: Mapping[str, str]) -> PublishedRow:
    n_queries = int(record["n_queries"])
    printed = {name: float(record[name]) for name in METRICS if record[name]}
    hits = {name: int(counts[f"{name}_hits"]) for name in COUNTED if counts[f"{name}_hits"]}
    exact = {name: 100.0 * count / n_queries for name, count in hits.items()}
    misprints = tuple(name for name in printed if name in exact and _is_misprint(printed[name], exact=exact[name]))
    return PublishedRow(
        dataset=record["dataset"],
        size=int(record["size"]),
        encoder=record["encoder"],
        metrics={**printed, **{name: exact[name] for name in misprints}},
        printed=printed,
        misprints=misprints,
        hits=hits,
        n_queries=n_queries,
        note=record["note"],
        table=record["table"],
    )


def _is_misprint(printed: float, *, exact: float) -> bool:
    return not -_LAST_DIGIT / 2 - 1e-9 <= exact - printed < _LAST_DIGIT + 1e-9
