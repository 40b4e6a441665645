"""Result <-> JSON, and whether what was read is sound."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from retrieval import artifacts
from retrieval.cells import Cell

log = logging.getLogger(__name__)

FOLDER = "results"


@dataclass(frozen=True)
class Reading:
    """The numbers of one reading of a ranking.

    Attributes:
        metrics: Percent at full precision, but kappa@1 (-1 to 1) and MAE@1 (grades). The study's are mAP@5, mMV@5,
            ACC@1, ACC@3, ACC@5; textbook ones have their own names. Absent where a metric is not defined.
        hits: For metrics that are a share of queries: how many.
        n_queries: Number of queries.
    """

    metrics: Mapping[str, float]
    hits: Mapping[str, int]
    n_queries: int


@dataclass(frozen=True)
class Result:
    """The numbers of one Cell.

    Attributes:
        cell: Its address.
        fingerprint: Of data, weights, pixels, ranking and metric rules.
        data, weights: The digests of what it was computed from.
        verified: Whether data and weights are both the known ones.
        as_published: Every train picture is in the gallery.
        groups_left_out: Near and exact duplicates of the query are left out of the gallery.
        n_gallery: Pictures in the gallery.
        grouped_queries: Queries that have a duplicate in the gallery.
        ranks: Per query, as published: the rank (1 to 5) of the first neighbour that shares its label; 0 if none does.
        ranks_left_out: The same with the query's group left out.
        provenance: Versions, device, date; not part of the fingerprint.
    """

    cell: Cell
    fingerprint: str
    data: str
    weights: str
    verified: bool
    as_published: Reading
    groups_left_out: Reading
    n_gallery: int
    grouped_queries: int
    ranks: tuple[int, ...]
    ranks_left_out: tuple[int, ...]
    provenance: Mapping[str, Any]


def path_of(root: Path, cell: Cell) -> Path:
    """Where the Result of a Cell lies under a root."""
    return root / FOLDER / f"{cell.key}.json"


def write(root: Path, result: Result) -> None:
    """Write a Result atomically, with a checksum of its own."""
    plain = replace(result, cell=replace(result.cell, own=None))
    document = {**asdict(plain), "cell": result.cell.names}
    checksum = artifacts.fingerprint(result=document)
    artifacts.write_json(path_of(root, result.cell), {"checksum": checksum, "result": document})


def read(path: Path) -> Result | None:
    """The Result in a file; None where there is none or it is damaged (which is logged)."""
    document = artifacts.read_json(path)
    if document is None:
        return None
    try:
        if artifacts.fingerprint(result=document["result"]) != document["checksum"]:
            raise ValueError("its checksum does not fit its content")
        return _parse(document["result"])
    except (KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s) and will be made again.", path, error)
        return None


def _parse(fields: dict[str, Any]) -> Result:
    return Result(
        **{
            **fields,
            "cell": Cell(**fields["cell"]),
            "as_published": Reading(**fields["as_published"]),
            "groups_left_out": Reading(**fields["groups_left_out"]),
            "ranks": tuple(fields["ranks"]),
            "ranks_left_out": tuple(fields["ranks_left_out"]),
        }
    )


def read_all(roots: tuple[Path, ...], *, accept: Callable[[Result], bool]) -> Iterator[Result]:
    """Every sound and accepted Result under the roots; of one Cell only the first such root's."""
    seen: set[Cell] = set()
    for root in roots:
        for path in sorted((root / FOLDER).rglob("*.json")):
            result = read(path)
            if result is not None and result.cell not in seen and accept(result):
                seen.add(result.cell)
                yield result
