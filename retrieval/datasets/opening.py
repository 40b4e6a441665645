"""Opening any dataset by one function, wherever its pictures come from."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retrieval import artifacts
from retrieval.datasets import medmnist
from retrieval.datasets.collections import opening as collections
from retrieval.datasets.specs import SPLITS, Dataset, Split, SplitName
from retrieval.datasets.unpacking import Report
from retrieval.errors import Unavailable, UnknownName
from retrieval.roots import Roots


def open_split(
    dataset: Dataset,
    size: int,
    split: SplitName,
    roots: Roots,
    *,
    fetch: bool = False,
    progress: Report | None = None,
) -> Split:
    """Open a split; microseconds when it is open already.

    Args:
        fetch: Download the file if it is not at hand.
        progress: Called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        UnknownName: There is no such size or split.
        Unavailable: The file is not at hand or cannot be fetched or unpacked; says what to do.
        BadInput: The file at hand is not what the dataset describes; says why.
    """
    _check(dataset, size, split)
    if dataset.own is not None:
        with _cache_at_hand(roots):
            return collections.open_split(dataset, size, split, roots)
    if dataset.synthetic:
        return _drawn(_Drawing(dataset.name, split, dataset))
    report = progress or _silent
    with _cache_at_hand(roots):
        if fetch:
            medmnist.fetch(dataset, size, roots, report=report)
        return _opened(_Request(dataset.name, size, split, roots, _stamp(dataset, size, roots), dataset, report))


def fetch_file(dataset: Dataset, size: int, roots: Roots, *, progress: Report | None = None) -> Path | None:
    """Download a dataset's file into the cache unless it is at hand; where it lies (None for what is drawn)."""
    _check(dataset, size)
    if dataset.synthetic:
        return None
    if dataset.own is not None:
        return collections.locate(dataset, roots)
    with _cache_at_hand(roots):
        return medmnist.fetch(dataset, size, roots, report=progress or _silent)


def is_at_hand(dataset: Dataset, size: int, roots: Roots) -> bool:
    """Whether the dataset can be opened without a download, judged by names alone: cheap enough for a menu."""
    return dataset.synthetic or locate(dataset, size, roots) is not None


def locate(dataset: Dataset, size: int, roots: Roots) -> Path | None:
    """The file that the dataset would be opened from, by name alone; None where there is none, or it is drawn."""
    _check(dataset, size)
    if dataset.own is not None:
        return collections.locate(dataset, roots)
    return None if dataset.synthetic else medmnist.locate(dataset, size, roots)


def describe_missing(dataset: Dataset, size: int, roots: Roots) -> Unavailable:
    """What to say where a file is not at hand: its name, its size, where it was looked for, what to do."""
    _check(dataset, size)
    if dataset.own is not None:
        return collections.describe_missing(dataset, roots)
    return medmnist.describe_missing(dataset, size, roots)


def data_digest(dataset: Dataset, size: int, roots: Roots) -> tuple[str, bool]:
    """The digest that the dataset's Splits carry, and whether it is the publisher's; Unavailable without a file."""
    _check(dataset, size)
    if dataset.own is not None:
        return dataset.own.digest, True
    if dataset.synthetic:
        return _digest_of_drawings(_Drawing(dataset.name, "train", dataset)), True
    with _cache_at_hand(roots):
        source = medmnist.identify(dataset, size, roots, report=_silent)
    if source is None:
        raise describe_missing(dataset, size, roots)
    return source.digest, source.verified


def _silent(_text: str, _share: float) -> None:
    """Progress that nobody asked for."""


def _check(dataset: Dataset, size: int, split: str = "train") -> None:
    if size not in dataset.sizes:
        raise UnknownName(f"size of {dataset.name}", size, dataset.sizes)
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)


@contextmanager
def _cache_at_hand(roots: Roots) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{error.filename or roots.cache} cannot be read or written: {error.strerror or error}.",
            remedy="Make room or allow access, or point RETRIEVAL_CACHE to another folder.",
        ) from error


# What the caches below go by; the dataset itself cannot be hashed and is found by its name.


@dataclass(frozen=True)
class _Request:
    name: str
    size: int
    split: SplitName
    roots: Roots
    stamp: tuple[Path, int, int]  # another file, or the same one changed, is another request
    dataset: Dataset = field(compare=False)
    report: Report = field(compare=False)


@dataclass(frozen=True)
class _Drawing:
    name: str
    split: SplitName
    dataset: Dataset = field(compare=False)


def _stamp(dataset: Dataset, size: int, roots: Roots) -> tuple[Path, int, int]:
    path = medmnist.locate(dataset, size, roots)
    if path is None:
        raise medmnist.describe_missing(dataset, size, roots)
    stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _opened(request: _Request) -> Split:
    return medmnist.read_split(request.dataset, request.size, request.split, request.roots, report=request.report)


@functools.lru_cache(maxsize=8)
def _drawn(drawing: _Drawing) -> Split:
    images, labels, _ = _draw(drawing)
    return Split(
        dataset=drawing.dataset,
        size=drawing.dataset.sizes[0],
        name=drawing.split,
        images=images,
        labels=labels,
        digest=_digest_of_drawings(drawing),
        verified=True,
    )


def _digest_of_drawings(drawing: _Drawing) -> str:
    """One digest for all splits, as a file has one."""
    drawn = (_Drawing(drawing.name, split, drawing.dataset) for split in SPLITS if drawing.dataset.counts[split])
    return artifacts.fingerprint(**{each.split: _draw(each)[2] for each in drawn})


def _draw(drawing: _Drawing) -> tuple[np.ndarray, np.ndarray, str]:
    from retrieval.datasets import phantoms  # late: seldom needed

    return phantoms.draw(drawing.dataset, drawing.split)
