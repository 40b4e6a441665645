"""A folder or an archive -> the record of a collection; and the same again when its files have changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval import artifacts
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.collections import archived, records
from retrieval.datasets.collections.archive_address import Address
from retrieval.datasets.collections.dicomweb import Archive
from retrieval.datasets.collections.facts import Facts, facts_of
from retrieval.datasets.collections.person_tags import Tags, label_keyword, new_key
from retrieval.datasets.collections.records import Collection, File
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.collections.sources import Entry, Source, open_source
from retrieval.datasets.collections.splitting import Item, assign
from retrieval.datasets.collections.tagged import from_file, from_record, without_label
from retrieval.datasets.collections.vectors import facts_of_vector
from retrieval.datasets.collections.volumes import facts_of_volume, read_files, stamp_of
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput
from retrieval.roots import Login, Roots

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
    label_tag: str | None = None,
    seed: int = 0,
    vectors: str = "",
    ndim: Literal[2, 3] = 2,
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of the pictures in a folder or an archive. Each is decoded once; none is copied or kept.

    DICOM files of one patient are one group, where neither a table nor the pattern says another.

    Args:
        name: Its key; unlike any dataset's.
        pattern: Regular expression: what it finds in a file's name (its first group, if it has one) is the group.
        label_tag: The attribute of DICOM files that is their label, by its keyword.
        seed: Of the splitting, where the source does not say how to split.
        vectors: Of a file of vectors, what made them.
        ndim: 3 makes one of volumes: of files that hold one, and of folders of slices.

    Raises:
        BadInput: The name cannot be used, or is taken or begun with an archive, the source cannot be used, or it holds
            too few pictures.
        Busy: Another process changes this collection.
    """
    place = path.expanduser().absolute()
    tags = None if vectors else Tags(new_key(), label_keyword(label_tag) if label_tag else None)

    def opened() -> Source:
        archived.check_not_begun(records.folder_of(name, roots))
        source = open_source(place, pattern=pattern, ndim=ndim)
        if label_tag and source.kind == "vectors":
            raise BadInput(
                "An attribute of DICOM files cannot be the label of vectors.",
                remedy="Give the labels in the file, under the name labels.",
            )
        return source

    return _added(name, roots, opened, pattern=pattern, seed=seed, vectors=vectors, tags=tags, progress=progress)


def add_archive(
    name: str,
    address: Address,
    roots: Roots,
    *,
    label_tag: str | None = None,
    login: Login | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Collection:
    """Make a collection of the pictures in a DICOMweb archive. Their pixels are kept under the cache.

    One that was stopped is taken up where it was by the same call.

    Args:
        label_tag: The attribute that is the label, by its keyword.
        login: What the archive is shown; kept nowhere.

    Raises:
        BadInput: As `add`, or the label tells of a person, or it was begun with another archive, query or label.
        Unavailable: The archive cannot be asked, or does not let in; what has come is kept.
        Busy: Another process changes this collection.
    """
    keyword = label_keyword(label_tag) if label_tag else None

    def fetched() -> Source:
        begun = archived.begin(records.folder_of(name, roots), address, keyword)
        return _fetched(begun, login, progress)

    return _added(name, roots, fetched, pattern=None, seed=seed, vectors="", tags=None, progress=progress)


def _added(
    name: str,
    roots: Roots,
    opened: Callable[[], Source],
    *,
    pattern: str | None,
    seed: int,
    vectors: str,
    tags: Tags | None,
    progress: Progress | None,
) -> Collection:
    records.check_name(name, [dataset.name for dataset in DATASETS])
    records.make_folder(roots)
    with artifacts.lock(records.lock_file(name, roots), what=f"the collection {name}"):
        if name in records.names(roots):
            raise BadInput(
                f"There is a collection {name} already.",
                remedy=f"Run: python -m retrieval collection update {name}. Or choose another name, or remove it.",
            )
        with opened() as source:
            collection = _made(
                name, source, {}, pattern=pattern, seed=seed, progress=progress, vectors=vectors, tags=tags
            )
        records.write(collection, roots)
    return collection


def update(name: str, roots: Roots, *, login: Login | None = None, progress: Progress | None = None) -> Changes:
    """Look again: files that are new, changed or gone. Every other one keeps its split, and its vectors.

    Args:
        login: What the archive is shown, where the collection comes from one.

    Raises:
        UnknownName: There is no such collection.
        BadInput, Unavailable: Its source cannot be used any more.
    """
    records.find(name, roots)
    with artifacts.lock(records.lock_file(name, roots), what=f"the collection {name}"):
        before = records.find(name, roots)
        old = {file.name: file for file in before.files}
        with _opened_again(before, roots, login, progress) as source:
            now = _made(
                name,
                source,
                old,
                pattern=before.pattern,
                seed=before.seed,
                progress=progress,
                vectors=before.vectors,
                tags=before.tags,
            )
        if now != before:
            records.write(now, roots)
        if isinstance(source.container, archived.Pixels):
            source.container.forget()
    there = {file.name: file for file in now.files}
    return Changes(
        collection=now,
        new=tuple(name for name in there if name not in old),
        changed=tuple(name for name, file in there.items() if name in old and old[name].pixels != file.pixels),
        vanished=tuple(name for name in old if name not in there),
    )


def _opened_again(before: Collection, roots: Roots, login: Login | None, progress: Progress | None) -> Source:
    if before.kind == "dicomweb":
        return _fetched(archived.find_again(records.folder_of(before.name, roots)), login, progress)
    return open_source(before.source, pattern=before.pattern, ndim=before.ndim)


def _fetched(begun: archived.Archived, login: Login | None, progress: Progress | None) -> Source:
    with Archive(begun.address, login) as archive:
        return archived.opened(begun, archived.fetch(begun, archive, progress=progress))


def _made(
    name: str,
    source: Source,
    old: Mapping[str, File],
    *,
    pattern: str | None,
    seed: int,
    progress: Progress | None,
    vectors: str,
    tags: Tags | None,
) -> Collection:
    vectors = _maker(source, vectors)
    looked, left_out = _looked_at(source, old, name, progress, tags)
    if len(looked) < FEWEST:
        why = f" The first that was left out: {left_out[0].reason}" if left_out else ""
        noun = "vector" if source.kind == "vectors" else "picture" if source.ndim == 2 else "volume"
        held = f"1 {noun}" if len(looked) == 1 else f"{len(looked)} {noun}s"
        raise BadInput(
            f"{source.path.name} holds {held} that can be read; a collection needs {FEWEST}.{why}",
            remedy=f"Add {noun}s; at least {FEWEST} are needed.",
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
            burned_in=facts.burned_in or entry.burned_in,
            depth=facts.depth,
            slices=entry.slices,
        )
        for (entry, facts, stamp), split in zip(looked, splits, strict=True)
    )
    return Collection(name, source.path, source.kind, pattern, seed, files, left_out, vectors, tags, source.ndim)


_Looked = list[tuple[Entry, Facts, tuple[int, int]]]


def _looked_at(
    source: Source, old: Mapping[str, File], name: str, progress: Progress | None, tags: Tags | None
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
            known = None
            if before and (before.bytes, before.mtime_ns, before.slices) == (*stamp, entry.slices):
                known = from_record(entry, before, tags)
            if before and known:
                looked.append((known, _facts_before(before), stamp))
            else:
                looked.append((*_read(source, entry, tags), stamp))
        except BadInput as error:
            left_out.append(LeftOut(entry.name, error.message))
    if progress is not None:
        progress(f"Looked at {name}: {len(source.entries):,} files", 1.0)
    lacking = without_label([entry for entry, _, _ in looked], tags)
    left_out += [LeftOut(name, reason) for name, reason in lacking.items()]
    return [each for each in looked if each[0].name not in lacking], tuple(left_out)


def _check_gallery(splits: Sequence[SplitName], name: str) -> None:
    """A gallery of one picture has no neighbours for it."""
    if splits.count("train") < FEWEST - 1:
        held = "one picture" if "train" in splits else "no picture"
        raise BadInput(
            f"The gallery of {name} would hold {held}; it needs {FEWEST - 1}.",
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


def _read(source: Source, entry: Entry, tags: Tags | None) -> tuple[Entry, Facts]:
    if source.kind == "vectors":
        return entry, facts_of_vector(source.read(entry.name))
    if source.ndim == 3:
        files = read_files(source.container, entry.name, entry.slices)
        return from_file(entry, files[0], tags), facts_of_volume(files, name=entry.name)
    data = source.read(entry.name)
    return from_file(entry, data, tags), facts_of(data, name=entry.name)


def _facts_before(file: File) -> Facts:
    return Facts(file.digest, file.pixels, file.height, file.width, file.coloured, file.burned_in, file.depth)


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
