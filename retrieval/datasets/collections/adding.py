"""A folder or an archive -> the record of a collection; and the same again when its files have changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval import artifacts
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.collections import records
from retrieval.datasets.collections.facts import Facts, facts_of
from retrieval.datasets.collections.records import Collection, File
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.collections.sources import Entry, Source, open_source
from retrieval.datasets.collections.splitting import Item, assign
from retrieval.datasets.collections.vectors import facts_of_vector
from retrieval.datasets.collections.volumes import facts_of_volume, read_files, stamp_of
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput
from retrieval.roots import Roots

FEWEST = 3  # pictures: two to search in, and one to ask with

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Changes:
    """What an update has found.

    Attributes:
        collection: As it is now.
        new, changed, vanished: Names of files, in order; a file that was moved has vanished under the old name.
    """

    collection: Collection
    new: tuple[str, ...]
    changed: tuple[str, ...]
    vanished: tuple[str, ...]


def add(
    name: str,
    path: Path,
    roots: Roots,
    *,
    pattern: str | None = None,
    seed: int = 0,
    vectors: str = "",
    ndim: Literal[2, 3] = 2,
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of the pictures in a folder or an archive. Each is decoded once; none is copied or kept.

    Args:
        name: Its key; unlike any dataset's.
        pattern: Regular expression: what it finds in a file's name (its first group, if it has one) is the group.
        seed: Of the splitting, where the source does not say how to split.
        vectors: Of a file of vectors, what made them.
        ndim: 3 makes one of volumes: of files that hold one, and of folders of slices.

    Raises:
        BadInput: The name cannot be used or is taken, the source cannot be used, or it holds too few pictures.
        Busy: Another process changes this collection.
    """
    records.check_name(name, [dataset.name for dataset in DATASETS])
    with artifacts.lock(records.lock_file(name, roots), what=f"the collection {name}"):
        if name in records.names(roots):
            raise BadInput(
                f"There is a collection {name} already.",
                remedy=f"Run: python -m retrieval collection update {name}. Or choose another name, or remove it.",
            )
        with open_source(path.expanduser().absolute(), pattern=pattern, ndim=ndim) as source:
            collection = _made(name, source, {}, pattern=pattern, seed=seed, progress=progress, vectors=vectors)
        records.write(collection, roots)
    return collection


def update(name: str, roots: Roots, *, progress: Progress | None = None) -> Changes:
    """Look again: files that are new, changed or gone. Every other one keeps its split, and its vectors.

    Raises:
        UnknownName: There is no such collection.
        BadInput, Unavailable: Its source cannot be used any more.
    """
    records.find(name, roots)
    with artifacts.lock(records.lock_file(name, roots), what=f"the collection {name}"):
        before = records.find(name, roots)
        old = {file.name: file for file in before.files}
        with open_source(before.source, pattern=before.pattern, ndim=before.ndim) as source:
            now = _made(
                name, source, old, pattern=before.pattern, seed=before.seed, progress=progress, vectors=before.vectors
            )
        if now != before:
            records.write(now, roots)
    there = {file.name: file for file in now.files}
    return Changes(
        collection=now,
        new=tuple(name for name in there if name not in old),
        changed=tuple(name for name, file in there.items() if name in old and old[name].pixels != file.pixels),
        vanished=tuple(name for name in old if name not in there),
    )


def _made(
    name: str,
    source: Source,
    old: Mapping[str, File],
    *,
    pattern: str | None,
    seed: int,
    progress: Progress | None,
    vectors: str,
) -> Collection:
    vectors = _maker(source, vectors)
    looked, left_out = _looked_at(source, old, name, progress)
    if len(looked) < FEWEST:
        why = f" The first that was left out: {left_out[0].reason}" if left_out else ""
        noun = "pictures" if source.ndim == 2 else "volumes"
        raise BadInput(
            f"{source.path.name} holds {len(looked)} {noun} that can be read; a collection needs {FEWEST}.{why}",
            remedy="Name a folder of class folders, a folder with a CSV (file,label), or a zip or tar of either.",
        )
    moved = _moved(looked, old)
    items = [
        Item(facts.pixels, entry.label, entry.group, _split_before(entry, facts, old, moved))
        for entry, facts, _ in looked
    ]
    splits = assign(items, seed=seed)
    _check_gallery(splits, name)
    files = tuple(
        File(
            name=entry.name,
            bytes=stamp[0],
            mtime_ns=stamp[1],
            digest=facts.digest,
            pixels=facts.pixels,
            height=facts.height,
            width=facts.width,
            coloured=facts.coloured,
            label=entry.label,
            group=entry.group,
            split=split,
            depth=facts.depth,
            slices=entry.slices,
        )
        for (entry, facts, stamp), split in zip(looked, splits, strict=True)
    )
    return Collection(name, source.path, source.kind, pattern, seed, files, left_out, vectors, source.ndim)


_Looked = list[tuple[Entry, Facts, tuple[int, int]]]


def _looked_at(
    source: Source, old: Mapping[str, File], name: str, progress: Progress | None
) -> tuple[_Looked, tuple[LeftOut, ...]]:
    """Every candidate that is a picture, with its facts and its stamp; and all that are none, with the reason."""
    looked: _Looked = []
    left_out = list(source.left_out)
    for number, entry in enumerate(source.entries):
        if progress is not None and number % 64 == 0:
            progress(f"Looking at {name}: {number:,} of {len(source.entries):,} files", number / len(source.entries))
        try:
            stamp = stamp_of(source.container, entry.name, entry.slices)
            before = old.get(entry.name)
            same = before is not None and (before.bytes, before.mtime_ns, before.slices) == (*stamp, entry.slices)
            looked.append((entry, _facts_before(before) if before and same else _facts(source, entry), stamp))
        except BadInput as error:
            left_out.append(LeftOut(entry.name, error.message))
    if progress is not None:
        progress(f"Looked at {name}: {len(source.entries):,} files", 1.0)
    return looked, tuple(left_out)


def _check_gallery(splits: Sequence[SplitName], name: str) -> None:
    """A gallery of one picture has no neighbours for it."""
    if splits.count("train") < FEWEST - 1:
        raise BadInput(
            f"The gallery of {name} would hold {splits.count('train')} pictures; it needs {FEWEST - 1}.",
            remedy="Put more pictures into the split train, or leave the splits out: they are made then.",
        )


def _maker(source: Source, named: str) -> str:
    """What made the vectors of a source, in words; empty where it holds pictures."""
    if source.kind == "vectors":
        return named.strip() or "an unnamed extractor"
    if named:
        raise BadInput(
            f"{source.path.name} holds pictures, which were not made by {named}.",
            remedy="Name an extractor only where a file of vectors is added.",
        )
    return ""


def _facts(source: Source, entry: Entry) -> Facts:
    if source.kind == "vectors":
        return facts_of_vector(source.read(entry.name))
    if source.ndim == 3:
        return facts_of_volume(read_files(source.container, entry.name, entry.slices), name=entry.name)
    return facts_of(source.read(entry.name), name=entry.name)


def _facts_before(file: File) -> Facts:
    return Facts(file.digest, file.pixels, file.height, file.width, file.coloured, file.depth)


def _moved(looked: _Looked, old: Mapping[str, File]) -> dict[str, File]:
    """By their pixels, the files that are gone: what is new and looks the same was moved."""
    there = {entry.name for entry, _, _ in looked}
    return {file.pixels: file for name, file in old.items() if name not in there}


def _split_before(entry: Entry, facts: Facts, old: Mapping[str, File], moved: Mapping[str, File]) -> SplitName | None:
    """Where a picture stands already: as the source says, or as the record does; None where it is another picture."""
    if entry.split is not None:
        return entry.split
    before = old.get(entry.name) or moved.get(facts.pixels)
    same = before is not None and before.pixels == facts.pixels and before.group == entry.group
    return before.split if before is not None and same else None
