"""The study's own figures (arXiv 2409.09430, tables S.1 to S.6), read from the CSV files in `published/` when asked."""

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
_REDUCTION = "published_reduction.csv"

# The misprint of S.5 whose count is certain. That of S.6 (synapsemnist3d, umap, ACC@3) has two, so it has no hits.
_MENDED = {("S.5", "adrenalmnist3d", "tsne"): {"ACC@3": 263}}

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
        reduction: What shortened the vectors (`pca`, `autoencoder`, `tsne`, `umap`); None for raw ones.
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
    reduction: str | None = None


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


def reduction_rows(roots: Roots) -> tuple[PublishedRow, ...]:
    """The study's rows with shortened vectors (S.5, S.6); Unavailable where their file is damaged or not there.

    No number of ours may be set beside them: gallery and queries were fitted separately. Rows without a reduction are
    left out, as they repeat S.2.
    """
    folder = _folder(roots, _REDUCTION)
    try:
        stat = (folder / _REDUCTION).stat()
        return _read_reductions(folder, (stat.st_size, stat.st_mtime_ns))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _unreadable(folder, _REDUCTION, error) from error


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
    folder = _folder(roots, _RESULTS)
    try:
        stats = [(folder / name).stat() for name in (_RESULTS, _HITS)]
        return _read(folder, tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _unreadable(folder, f"{_RESULTS} and {_HITS}", error) from error


def _folder(roots: Roots, name: str) -> Path:
    homes = (root / FOLDER for root in (roots.precomputed, SHIPPED))
    return next((home for home in homes if (home / name).is_file()), SHIPPED / FOLDER)


def _unreadable(folder: Path, files: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"The study's published figures cannot be read ({error}).",
        remedy=f"Restore {files} in {folder} from the project's own copy.",
    )


@functools.lru_cache(maxsize=8)
def _read(folder: Path, state: tuple[tuple[int, int], ...]) -> dict[tuple[str, int, str], PublishedRow]:
    """The rows of a folder by address; remembered while the files' sizes and times stay the same."""
    hits = {_address(record): record for record in _records(folder / _HITS)}
    rows = (_row(record, counts=hits[_address(record)]) for record in _records(folder / _RESULTS))
    return {(row.dataset, row.size, row.encoder): row for row in rows}


@functools.lru_cache(maxsize=8)
def _read_reductions(folder: Path, state: tuple[int, int]) -> tuple[PublishedRow, ...]:
    records = (record for record in _records(folder / _REDUCTION) if record["reduction"] != "none")
    return tuple(_row(record, counts=_counted(record)) for record in records)


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
        reduction=record.get("reduction"),
    )


def _counted(record: Mapping[str, str]) -> dict[str, str]:
    """The hits behind printed percents that have no table of hits; empty where no count is certain."""
    n_queries = int(record["n_queries"])
    counts = {name: _count(float(record[name]), n_queries) for name in COUNTED}
    counts |= _MENDED.get((record["table"], record["dataset"], record["reduction"]), {})
    return {f"{name}_hits": "" if count is None else str(count) for name, count in counts.items()}


def _count(printed: float, n_queries: int) -> int | None:
    """The count that a percent was printed of, rounded or cut off; None where none fits."""
    nearest = round(printed * n_queries / 100)
    return None if _is_misprint(printed, exact=100.0 * nearest / n_queries) else nearest


def _is_misprint(printed: float, *, exact: float) -> bool:
    return not -_LAST_DIGIT / 2 - 1e-9 <= exact - printed < _LAST_DIGIT + 1e-9
