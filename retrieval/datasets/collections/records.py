"""The record of a collection: which files it is made of, and what each was when it was added. Nothing is copied.

Under the cache, `collections/NAME/` holds `collection.json`, what menus need, and one file with a line of facts for
each picture, named by its own digest, so that a reader who comes while a collection is updated sees the old or the new.
Keys, names of files and pictures of persons lie there: nobody but the user who adds them may enter.
"""

import functools
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from types import MappingProxyType
from typing import Any, Literal

from retrieval import artifacts
from retrieval.datasets.collections.containers import Kind
from retrieval.datasets.collections.person_tags import Tags
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.specs import SPLITS, Dataset, Own, SplitName
from retrieval.errors import BadInput, Unavailable, UnknownName
from retrieval.pictures.item import AS_THEY_ARE
from retrieval.roots import Roots

log = logging.getLogger(__name__)

FOLDER = "collections"
HEADER = "collection.json"
NOT_LABELLED = "not labelled"
SIZES = (AS_THEY_ARE, 28, 64, 128, 224)
VOLUME_SIZES = (28, 64)  # those of MedMNIST's volumes
RECORD = 1  # raised when what a record says changes its meaning

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TEXTS = ("name", "digest", "pixels", "label", "group", "split")
_NUMBERS = ("bytes", "mtime_ns", "height", "width", "coloured", "burned_in")
_USUAL: Mapping[str, Any] = MappingProxyType({"depth": 1, "slices": ()})  # not written where all are so


@dataclass(frozen=True, slots=True)
class File:
    """One picture of a collection, as it was when it was added.

    Attributes:
        name: Its path inside the source.
        bytes, mtime_ns: By which a later look sees that it may have changed.
        digest: Of its bytes: by which every reading sees whether it has.
        pixels: Of the decoded picture: two files with the same are exact duplicates.
        height, width: In pixels.
        coloured: Whether the three channels of any pixel differ.
        label: Its class; None where it has none.
        group: What belongs together, a patient or a case; None where nothing is known.
        split: Where it stands.
        burned_in: Whether its file or its source says, or its pixels show, that text is burned into it.
        depth: Slices of the volume in the file; 1 of a picture. Among pictures only its middle one is used.
        slices: Names of the files of a volume whose slices are files of their own, which then has its folder's name.
    """

    name: str
    bytes: int
    mtime_ns: int
    digest: str
    pixels: str
    height: int
    width: int
    coloured: bool
    label: str | None
    group: str | None
    split: SplitName
    burned_in: bool = False
    depth: int = 1
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """A person's own pictures, or volumes.

    Attributes:
        name: Lower-case key, unlike any dataset's.
        source: The folder or archive that holds them.
        kind: What the source is.
        pattern: By which a group is found in a file's name; None: not at all.
        seed: Of the splitting.
        files: In sorted order of their names.
        left_out: What of the source is no part of it, and why.
        vectors: What made them, if they are vectors in place of pictures.
        tags: How DICOM files among them are grouped and labelled; None: not by their attributes.
        ndim: 2 for pictures, 3 for volumes.
    """

    name: str
    source: Path
    kind: Kind
    pattern: str | None
    seed: int
    files: tuple[File, ...]
    left_out: tuple[LeftOut, ...]
    vectors: str = ""
    tags: Tags | None = None
    ndim: Literal[2, 3] = 2

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in sorted order; last, where any picture has none, that it has none."""
        labels = sorted({file.label for file in self.files if file.label is not None})
        return tuple(labels) if self.labelled else (*labels, NOT_LABELLED)

    @property
    def labelled(self) -> bool:
        """Whether every picture has a label."""
        return all(file.label is not None for file in self.files)

    @property
    def channels(self) -> Literal[1, 3]:
        """3 if any picture is coloured."""
        return 3 if any(file.coloured for file in self.files) else 1

    @property
    def reduced(self) -> int:
        """How many files of a collection of pictures are volumes, of which the middle slice was taken."""
        return sum(file.depth > 1 for file in self.files) if self.ndim == 2 else 0

    def of(self, split: str) -> tuple[File, ...]:
        """The pictures of a split, in order."""
        return tuple(file for file in self.files if file.split == split)


def check_name(name: str, taken: Sequence[str]) -> None:
    """BadInput where a name is no plain key, or that of a dataset."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be the name of a collection.",
            remedy="Begin with a lower-case letter, then letters, digits, - or _; at most 40 in all.",
        )
    if name in taken:
        raise BadInput(f"{name} is the name of a dataset already.", remedy="Choose another name for the collection.")


def names(roots: Roots) -> list[str]:
    """The names of the collections under these roots."""
    return sorted(path.parent.name for path in (roots.cache / FOLDER).glob(f"*/{HEADER}"))


def find(name: str, roots: Roots) -> Collection:
    """The collection of this name, whole.

    Raises:
        UnknownName: There is none.
        Unavailable: Its record is damaged.
    """
    header = _header(name, roots)
    if header is None:
        raise UnknownName("collection", name, names(roots) or ["none was added yet"])
    path = folder_of(name, roots) / header["files"]
    try:
        files = _files(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Unavailable(
            f"The record of the collection {name} is damaged ({error}).",
            remedy=f"Run: python -m retrieval collection remove {name}. Then add it again; the pictures are untouched.",
        ) from error
    return Collection(
        name=name,
        source=Path(header["source"]),
        kind=header["kind"],
        pattern=header["pattern"],
        seed=header["seed"],
        files=files,
        left_out=tuple(LeftOut(**each) for each in header["left_out"]),
        vectors=header["own"].get("vectors", ""),
        tags=Tags(**header["tags"]) if header.get("tags") else None,
        ndim=header.get("ndim", 2),
    )


def datasets(roots: Roots) -> tuple[Dataset, ...]:
    """Every collection as a Dataset; one whose record cannot be read is left out, and the log says so."""
    headers = (_header(name, roots) for name in names(roots))
    return tuple(_dataset(header) for header in headers if header is not None)


@dataclass(frozen=True)
class Standing:
    """What a collection is now, without the facts of its files.

    Attributes:
        dataset: As a Dataset.
        source: Its folder or archive.
        files: The name of the file of facts: another one where any fact is another.
    """

    dataset: Dataset
    source: Path
    files: str


def standing(name: str, roots: Roots) -> Standing:
    """What a collection is now; UnknownName where there is none."""
    header = _header(name, roots)
    if header is None:
        raise UnknownName("collection", name, names(roots) or ["none was added yet"])
    return Standing(_dataset(header), Path(header["source"]), header["files"])


def make_folder(roots: Roots) -> None:
    """Make the folder that all collections lie in, if there is none: nobody else may enter it, whatever the umask."""
    artifacts.private_folder(roots.cache / FOLDER)


def write(collection: Collection, roots: Roots) -> Dataset:
    """Write a record in the place of the one before; the Dataset that it is."""
    folder = folder_of(collection.name, roots)
    files = collection.files
    unusual = [name for name, usual in _USUAL.items() if any(getattr(file, name) != usual for file in files)]
    columns = {name: [getattr(file, name) for file in files] for name in (*_TEXTS, *_NUMBERS, *unusual)}
    data = json.dumps(columns, separators=(",", ":"), ensure_ascii=True).encode()
    path = folder / f"files-{hashlib.sha256(data).hexdigest()[:32]}.json"
    artifacts.write_atomic(path, lambda stream: stream.write(data), private=True)
    header = _header_of(collection, path.name)
    artifacts.write_sealed(folder / HEADER, header, private=True)
    for old in folder.glob("files-*.json"):
        if old != path:
            artifacts.remove_file(old)
    return _dataset(header)


def remove(name: str, roots: Roots) -> None:
    """Forget a collection: its record, and what was computed for it. The pictures stay. UnknownName."""
    if name not in names(roots) and not (_NAME.fullmatch(name) and folder_of(name, roots).exists()):
        raise UnknownName("collection", name, names(roots) or ["none was added yet"])
    with artifacts.lock(lock_file(name, roots), what=f"the collection {name}"):
        artifacts.remove_folder(folder_of(name, roots))
        for made in ("embeddings", "neighbours", "groups", "results"):
            artifacts.remove_folder(roots.cache / made / name)


def folder_of(name: str, roots: Roots) -> Path:
    """Where a collection's record lies."""
    return roots.cache / FOLDER / name


def lock_file(name: str, roots: Roots) -> Path:
    """What who changes a collection holds."""
    return roots.cache / FOLDER / f"{name}.lock"


def _header(name: str, roots: Roots) -> dict[str, Any] | None:
    if not _NAME.fullmatch(name):
        return None
    header = artifacts.read_sealed(folder_of(name, roots) / HEADER)
    return header if header is not None and header.get("record") == RECORD else None


def _header_of(collection: Collection, files: str) -> dict[str, Any]:
    return {
        "record": RECORD,
        "name": collection.name,
        "source": str(collection.source),
        "kind": collection.kind,
        "pattern": collection.pattern,
        "seed": collection.seed,
        "tags": asdict(collection.tags) if collection.tags else None,
        "files": files,
        "classes": list(collection.classes),
        "counts": {split: len(collection.of(split)) for split in SPLITS},
        "channels": collection.channels,
        "ndim": collection.ndim,
        "own": asdict(_own(collection)),
        "left_out": [asdict(each) for each in collection.left_out],
    }


def _own(collection: Collection) -> Own:
    files = collection.files
    rows = [[file.pixels, file.label, file.group, file.split] for file in files]
    kind = {} if collection.ndim == 2 else {"ndim": collection.ndim}
    return Own(
        digest=artifacts.fingerprint(rows=rows, classes=collection.classes, channels=collection.channels, **kind),
        side=median_low(min(file.height, file.width) for file in files),
        largest=max(file.height * file.width for file in files),
        even=len({(file.height, file.width) for file in files}) == 1,
        labelled=collection.labelled,
        vectors=collection.vectors,
        grouped=any(file.group is not None for file in files),
    )


def _dataset(header: Mapping[str, Any]) -> Dataset:
    counts, own = header["counts"], Own(**header["own"])
    ndim = header.get("ndim", 2)
    noun = f"vectors by {own.vectors}" if own.vectors else "pictures" if ndim == 2 else "volumes"
    return Dataset(
        name=header["name"],
        title=header["name"],
        about=f"{sum(counts.values()):,} {noun} of your own, from {_origin(header)}.",
        ndim=ndim,
        channels=header["channels"],
        task="classes",
        classes=tuple(header["classes"]),
        counts=MappingProxyType(dict(counts)),
        sizes=(AS_THEY_ARE,) if own.vectors else SIZES if ndim == 2 else VOLUME_SIZES,
        licence="your own",
        url="",
        citation="",
        own=own,
    )


def _origin(header: Mapping[str, Any]) -> str:
    return "a DICOMweb archive" if header["kind"] == "dicomweb" else Path(header["source"]).name


@functools.lru_cache(maxsize=4)  # of 100,000 pictures some 60 MB each
def _files(path: Path) -> tuple[File, ...]:
    """The facts in a file; ValueError where its digest is not its name's."""
    data = path.read_bytes()
    if path.stem != f"files-{hashlib.sha256(data).hexdigest()[:32]}":
        raise ValueError("its checksum does not fit its content")
    columns = json.loads(data)
    if "slices" in columns:
        columns["slices"] = [tuple(names) for names in columns["slices"]]
    order, count = File.__dataclass_fields__, len(columns["name"])
    filled = (columns[name] if name in columns else [_USUAL[name]] * count for name in order)
    return tuple(File(*row) for row in zip(*filled, strict=True))
