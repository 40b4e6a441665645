"""Splits of collections: what `datasets.opening` does for files, for folders and archives of a person's own."""

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retrieval.datasets.collections import pictures, records
from retrieval.datasets.collections.containers import Container
from retrieval.datasets.collections.pictures import Pictures
from retrieval.datasets.collections.records import NOT_LABELLED
from retrieval.datasets.collections.sources import open_container
from retrieval.datasets.specs import Dataset, Split, SplitName
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots


def open_split(dataset: Dataset, size: int, split: SplitName, roots: Roots) -> Split:
    """Open a split of a collection; no picture is read yet.

    Raises:
        Unavailable: Its folder or archive is gone, or it has been updated since `dataset` was found.
    """
    now = records.standing(dataset.name, roots)
    if now.dataset.own != dataset.own:
        raise Unavailable(f"The collection {dataset.name} was updated just now.", remedy="Ask again.")
    if not now.source.exists():
        raise describe_missing(dataset, roots)
    stat = now.source.stat()
    stamp = (now.files, stat.st_size, stat.st_mtime_ns)
    return _opened(_Request(dataset.name, digest_of(dataset), size, split, roots, stamp, dataset))


def gallery_groups(dataset: Dataset, roots: Roots) -> np.ndarray:
    """The groups that people gave to the gallery's pictures, as numbers, int64 [N]; one without is a group of its own.

    Raises:
        BadInput: They gave none.
        Unavailable: The collection has been updated since `dataset` was found.
    """
    if not dataset.grouped:
        raise BadInput(
            f"The pictures of {dataset.title} have no groups that were given to them, such as patients.",
            remedy="Ask for single pictures; or give groups by a CSV (file,label,group) or a pattern, and add it anew.",
        )
    if records.standing(dataset.name, roots).dataset.own != dataset.own:
        raise Unavailable(f"The collection {dataset.name} was updated just now.", remedy="Ask again.")
    gallery = records.find(dataset.name, roots).of("train")
    numbers: dict[tuple[str, str], int] = {}
    keys = [("file", file.name) if file.group is None else ("group", file.group) for file in gallery]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def locate(dataset: Dataset, roots: Roots) -> Path | None:
    """The folder or archive of a collection; None where it is not there."""
    path = records.standing(dataset.name, roots).source
    return path if path.exists() else None


def describe_missing(dataset: Dataset, roots: Roots) -> Unavailable:
    """What to say where a collection's folder or archive is gone; by its name alone, since pages say it too."""
    called = records.standing(dataset.name, roots).source.name
    return Unavailable(
        f"The {dataset.noun}s of the collection {dataset.name} were in {called!r}, which is not there any more.",
        remedy="Bring it back to where `python -m retrieval collection list` says it was; or run: "
        f"python -m retrieval collection remove {dataset.name}. Then add it anew.",
    )


def digest_of(dataset: Dataset) -> str:
    """The digest that the Splits of a collection carry; ValueError for any other dataset."""
    if dataset.own is None:
        raise ValueError(f"{dataset.name} is no collection")
    return dataset.own.digest


def close_all() -> None:
    """Let go of the archives that are open; after one was removed, else its bytes stay on the disk."""
    _opened.cache_clear()
    _container.cache_clear()
    pictures.forget()


@dataclass(frozen=True)
class _Request:
    name: str
    digest: str
    size: int
    split: SplitName
    roots: Roots
    stamp: tuple[str, int, int]  # another record, or another archive in the same place, is another request
    dataset: Dataset = field(compare=False)


@functools.lru_cache(maxsize=16)
def _opened(request: _Request) -> Split:
    collection, dataset = records.find(request.name, request.roots), request.dataset
    files = collection.of(request.split)
    classes = {label: number for number, label in enumerate(dataset.classes)}
    numbers = [classes[NOT_LABELLED if file.label is None else file.label] for file in files]
    labels = np.array(numbers, np.int64).reshape(-1, 1)
    labels.setflags(write=False)
    images = Pictures(dataset, request.size, _container(collection.source, request.stamp), files)
    return Split(dataset, request.size, request.split, images, labels, request.digest, verified=True)


@functools.lru_cache(maxsize=4)
def _container(path: Path, stamp: tuple[str, int, int]) -> Container:
    """Opened once for all splits and sizes; anew after an update, or where the archive is another."""
    return open_container(path)
