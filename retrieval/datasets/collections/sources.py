"""Folders, zips and tars of pictures as people have them, opened for reading where they lie.

Nothing is copied and nothing is unpacked to a disk. Whatever cannot be used is left out with a reason; what may be a
trap as a whole, such as an archive that unpacks to hundreds of times its size, is refused.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from retrieval.datasets.collections import containers, layout, sifting, slices
from retrieval.datasets.collections.containers import Container, Kind, unusable
from retrieval.datasets.collections.folders import Folder
from retrieval.datasets.collections.imported import SUFFIXES
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.collections.tars import BLOCK, Tar, is_tar
from retrieval.datasets.collections.vectors import VectorFile
from retrieval.datasets.collections.zips import Zip
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput

# Archives that are known by their first bytes and not read, and how to make one that is.
_COMPRESSED = (
    (b"\x1f\x8b", "gunzip --keep"),
    (b"BZh", "bunzip2 --keep"),
    (b"\xfd7zXZ\x00", "unxz --keep"),
    (b"\x28\xb5\x2f\xfd", "unzstd --keep"),
)
_OTHER_ARCHIVES = ((b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!", "a RAR archive"))
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Entry:
    """A file of a source that may be a picture.

    Attributes:
        name: Relative to the source, with forward slashes.
        bytes: Its size.
        label: Its class, by folder or table; None where there are no labels.
        group: What it belongs to, such as a patient, by table or pattern; None: to nothing but itself.
        split: Where a table or folders say so.
        burned_in: Whether the source says that text is burned into its pixels.
        slices: Of a volume whose slices are files of their own, their names; its own is then that of their folder.
    """

    name: str
    bytes: int
    label: str | None = None
    group: str | None = None
    split: SplitName | None = None
    burned_in: bool = False
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Source:
    """A folder, zip or tar that is open; close it, or use it as a context manager.

    Attributes:
        entries: In the order of their names.
        left_out: Files that are not used, with reasons; of many with the same one, some and how many more.
        ndim: 2 where its entries are pictures, 3 where they are volumes.
    """

    container: Container
    entries: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]
    ndim: Literal[2, 3] = 2

    @property
    def path(self) -> Path:
        return self.container.path

    @property
    def kind(self) -> Kind:
        return self.container.kind

    def read(self, name: str) -> bytes:
        """All bytes of a file, from any thread; BadInput where it is gone, damaged or too large."""
        return containers.read_whole(self.container, name)

    def stamp(self, name: str) -> tuple[int, int]:
        """Size, and a number that changes with the bytes: a time in nanoseconds, or in a zip the checksum.

        For a member of a tar it is the time of the archive itself.

        Raises:
            BadInput: The file is gone.
        """
        return self.container.stamp(name)

    def close(self) -> None:
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: Path, *, pattern: str | None = None, ndim: Literal[2, 3] = 2) -> Source:
    """Open a folder, zip or plain tar and list the pictures in it with what is told of them (see `layout.laid_out`).

    Or a file of vectors (see `imported.read_imported`), whose items are listed in their stead.

    Args:
        pattern: A regular expression whose one group is the patient's part of a file name.
        ndim: 3 lists volumes: files that may hold one, and the series of slices in its folders.

    Raises:
        BadInput: There is no such folder or archive, it is damaged, a trap or holds no picture, its table or folders
            contradict themselves, or the pattern is none.
    """
    expression = layout.compiled(pattern) if pattern is not None else None
    container = open_container(path)
    if isinstance(container, VectorFile):
        return _of_vectors(container, pattern, ndim)
    try:
        return _listed(container, expression, ndim)
    except BaseException:
        container.close()
        raise


def _listed(container: Container, pattern: re.Pattern[str] | None, ndim: Literal[2, 3]) -> Source:
    found = container.found()
    sift = sifting.sifted(found, start=container.start, kinds=_kinds(container, ndim))
    series = slices.gathered(sift.pictures, container) if ndim == 3 else dict.fromkeys(sift.pictures, ())
    read = functools.partial(containers.read_whole, container)
    order = layout.laid_out(tuple(series), sift.tables, read=read, pattern=pattern)
    left_out = sifting.shortened([*sift.left_out, *order.left_out])
    if not order.pictures:
        raise _without_pictures(container.path, left_out, noun="picture" if ndim == 2 else "volume")
    sizes = {each.name: each.bytes for each in found}
    entries = (
        Entry(
            told.name,
            sum(sizes[name] for name in series[told.name] or (told.name,)),
            told.label,
            told.group,
            told.split,
            slices=series[told.name],
        )
        for told in order.pictures
    )
    return Source(container=container, entries=tuple(entries), left_out=left_out, ndim=ndim)


def _kinds(container: Container, ndim: int) -> sifting.Kinds:
    if ndim == 2:
        return sifting.PICTURE_FILES
    return sifting.VOLUMES_AND_ZIPS if container.kind == "folder" else sifting.VOLUME_FILES


def open_container(path: Path) -> Container:
    """Open a source without listing it, for reading files whose names are known; a folder costs nothing then.

    Raises:
        BadInput: There is no such folder or archive, or it is damaged or a trap.
    """
    try:
        if path.is_dir():
            return Folder(path)
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return VectorFile(path)
        if not path.is_file():
            raise unusable(path, "there is no such folder or archive", remedy="Check its path and name.")
        with path.open("rb") as stream:
            start = stream.read(BLOCK)
        if start.startswith(_ZIP):
            return Zip(path)
        if is_tar(start):
            return Tar(path)
    except OSError as error:
        reason = f"it cannot be opened ({error.strerror or type(error).__name__})"
        raise unusable(path, reason, remedy="Check its path and that you may read it.") from error
    raise _unknown_kind(path, start)


def _of_vectors(container: VectorFile, pattern: str | None, ndim: int) -> Source:
    if ndim == 3:
        raise BadInput(
            f"{container.path.name} is taken for a file of vectors, not for volumes.",
            remedy="Put it into a folder, and give that.",
        )
    if pattern is not None:
        raise BadInput(
            "A pattern finds groups in the names of files, and these are vectors.",
            remedy="Give the groups in the file, under the name groups.",
        )
    told = container.imported
    absent = (None,) * len(told)
    rows = zip(told.ids, told.labels or absent, told.groups or absent, told.splits or absent, strict=True)
    entries = (Entry(name, container.size, label, group, split) for name, label, group, split in rows)
    return Source(container=container, entries=tuple(sorted(entries, key=lambda each: each.name)), left_out=())


def _unknown_kind(path: Path, start: bytes) -> BadInput:
    for signature, command in _COMPRESSED:
        if start.startswith(signature):
            return unusable(
                path,
                "it is compressed as a whole, so that no picture in it can be read without unpacking all before it",
                remedy=f"`{command} {path.name}` makes a plain tar of it; or give a zip, or the unpacked folder.",
            )
    for signature, what in _OTHER_ARCHIVES:
        if start.startswith(signature):
            return unusable(path, f"it is {what}", remedy="Pack it as a zip, or give the unpacked folder.")
    return unusable(
        path,
        "it is neither a folder nor a zip nor a tar, or it is damaged",
        remedy="Give the folder that the pictures lie in, or a zip or tar of it.",
    )


def _without_pictures(path: Path, left_out: tuple[LeftOut, ...], *, noun: str) -> BadInput:
    some = " ".join(f"{each.name}: {each.reason}" for each in (*left_out[:2], *left_out[2:][-1:]))
    why = f"Left out were, among others: {some}" if left_out else f"Put {noun}s into it, or name another."
    return unusable(path, f"it holds no {noun} that can be used", remedy=why)
