"""MedMNIST files: found, fetched, known by their MD5, opened."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from retrieval import artifacts
from retrieval.datasets.download import download, plain_size
from retrieval.datasets.npz import Npz, download_command
from retrieval.datasets.specs import Dataset, Split, SplitName
from retrieval.datasets.unpacking import MANIFEST, Report, images_of, is_sound, labels_of, unpack, unpacked_size
from retrieval.errors import Unavailable
from retrieval.roots import Roots

PIECE = 1 << 23  # bytes hashed between two reports


@dataclass(frozen=True)
class Source:
    """What a dataset's arrays come from.

    Attributes:
        path: The npz; or the manifest of arrays unpacked earlier, where the npz is gone.
        digest: The MD5 of the npz.
        verified: Whether that is the one its publisher states.
    """

    path: Path
    digest: str
    verified: bool


def locate(dataset: Dataset, size: int, roots: Roots) -> Path | None:
    """Where the file lies, by name alone: in a data folder, among the downloads, or unpacked in the cache."""
    name = dataset.files[size].name
    places = [folder / name for folder in _searched(roots)]
    places.append(_unpacked(roots, dataset.files[size].md5) / MANIFEST)
    return next((place for place in places if os.path.isfile(place)), None)


def describe_missing(dataset: Dataset, size: int, roots: Roots) -> Unavailable:
    """What to say where the file is not at hand: its name, its size, where it was looked for, what to do."""
    return _missing(dataset, size, roots, size_said=f" (at most {plain_size(unpacked_size(dataset, size))})")


def _missing(dataset: Dataset, size: int, roots: Roots, *, size_said: str = "") -> Unavailable:
    name = dataset.files[size].name
    return Unavailable(
        f"{dataset.title} at {size} is not at hand: {name}{size_said} was looked for in "
        f"{', '.join(map(str, _searched(roots)))}.",
        remedy=f"{download_command(dataset, size)} fetches it, or put {name} into {roots.data[0]}."
        if roots.data
        else f"{download_command(dataset, size)} fetches it.",
    )


def fetch(dataset: Dataset, size: int, roots: Roots, *, report: Report) -> Path:
    """Download the published file into the cache, unless a usable one is at hand; return where it lies."""
    source = identify(dataset, size, roots, report=report)
    if source is not None and _is_usable(source, dataset, size, roots):
        return source.path
    file = dataset.files[size]
    most = unpacked_size(dataset, size)

    def progress(done: int, total: int | None) -> None:
        report(f"Downloading {file.name}: {plain_size(done)}", min(1.0, done / (total or most)))

    target = _downloads(roots) / file.name
    try:
        download(file, target, progress=progress, at_most=most + most // 50 + (1 << 20))
    except Unavailable as error:
        missing = _missing(dataset, size, roots)  # the other sentence says how large it may be
        raise Unavailable(f"{missing.message} {error.message}", remedy=f"{error.remedy} {missing.remedy}") from error
    _remember(target, roots, file.md5)
    return target


def identify(dataset: Dataset, size: int, roots: Roots, *, report: Report) -> Source | None:
    """The file at hand with its MD5, which is computed once and remembered; None where there is no file."""
    path = locate(dataset, size, roots)
    if path is None:
        return None
    official = dataset.files[size].md5
    digest = official if path.name == MANIFEST else _md5(path, roots, report)
    return Source(path=path, digest=digest, verified=digest == official)


def read_split(dataset: Dataset, size: int, split: SplitName, roots: Roots, *, report: Report) -> Split:
    """Open a split of the file at hand, unpacked first where that has not been done.

    Raises:
        Unavailable: There is no file, or what the cache holds of it is damaged, or there is no room to unpack it.
        BadInput: The file is not what the dataset describes.
    """
    source = identify(dataset, size, roots, report=report)
    if source is None:
        raise describe_missing(dataset, size, roots)
    if not _is_usable(source, dataset, size, roots):
        raise Unavailable(
            f"What the cache holds of {dataset.title} at {size} is damaged ({source.path}).",
            remedy=f"{download_command(dataset, size)} fetches it again.",
        )
    folder = _unpacked(roots, source.digest)
    unpack(Npz(source.path, dataset, size), folder, report=report)
    return Split(
        dataset=dataset,
        size=size,
        name=split,
        images=images_of(folder, split),
        labels=labels_of(folder, split),
        digest=source.digest,
        verified=source.verified,
    )


def _searched(roots: Roots) -> tuple[Path, ...]:
    return (*roots.data, _downloads(roots))


def _downloads(roots: Roots) -> Path:
    return roots.cache / "downloads"


def _unpacked(roots: Roots, digest: str) -> Path:
    return roots.cache / "data" / digest


def _is_usable(source: Source, dataset: Dataset, size: int, roots: Roots) -> bool:
    """False for what the cache holds and is not as it was put there; a user's file is judged when it is opened."""
    if source.path.name == MANIFEST:
        return is_sound(source.path.parent, dataset, size)
    return source.verified or source.path.parent != _downloads(roots)


def _md5(path: Path, roots: Roots, report: Report) -> str:
    known = artifacts.read_sealed(_memo(path, roots))
    stat = path.stat()
    if known is not None and (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return str(known["md5"])
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
            done += len(piece)
            report(f"Checking {path.name}", min(1.0, done / stat.st_size))
    _remember(path, roots, digest.hexdigest(), stat)
    return digest.hexdigest()


def _remember(path: Path, roots: Roots, md5: str, stat: os.stat_result | None = None) -> None:
    stat = stat or path.stat()
    document = {"path": str(path), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "md5": md5}
    artifacts.remember(_memo(path, roots), document)


def _memo(path: Path, roots: Roots) -> Path:
    return roots.cache / "data" / "checked" / f"{artifacts.fingerprint(path=str(path.absolute()))}.json"
