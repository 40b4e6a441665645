"""Volumes whose slices are files of their own: DICOM files of one frame, one series in a folder."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from retrieval.datasets.collections.containers import Container, read_whole
from retrieval.errors import BadInput
from retrieval.pictures.dicom_header import damage, series_of
from retrieval.pictures.reading import MAX_VOLUME_BYTES, kind_of

_ENOUGH = 512  # bytes by which a file is known for DICOM

_Folders = Mapping[str, Mapping[str | None, Sequence[str]]]


def gathered(names: Sequence[str], container: Container) -> dict[str, tuple[str, ...]]:
    """The volumes that files may hold or make: each name with its slices, none of a file that is a volume by itself.

    A series has the name of its folder where nothing else lies in that, and else that of its first slice. Of files that
    cannot be read as DICOM nothing is known: where a folder holds one series, they are slices of it, so that it is left
    out as a whole, and is never taken without them.

    Args:
        names: Files of the container, sorted.
    """
    folders: dict[str, dict[str | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    unread: dict[str, list[str]] = defaultdict(list)
    for name in names:
        try:
            folders[_folder(name)][_series(container, name)].append(name)
        except BadInput:
            unread[_folder(name)].append(name)
    for folder, lost in unread.items():
        known = [series for series in folders[folder] if series is not None]
        folders[folder][known[0] if len(known) == 1 else None].extend(lost)
    return dict(sorted(_named(folders)))


def _series(container: Container, name: str) -> str | None:
    """What the series of a slice is told apart by; None for what is no slice. BadInput where nothing can be known."""
    start = container.start(name, _ENOUGH)
    if not start:
        raise BadInput(f"{name!r} is empty.", remedy="Copy or export it again.")
    if kind_of(start) != "dicom":
        return None
    try:
        return series_of(read_whole(container, name, most=MAX_VOLUME_BYTES), called=repr(name))
    except damage():
        raise BadInput(f"{name!r} is damaged.", remedy="Copy or export it again.") from None


def _named(folders: _Folders) -> list[tuple[str, tuple[str, ...]]]:
    above = {parent for folder in folders for parent in _above(folder)}
    volumes: list[tuple[str, tuple[str, ...]]] = []
    for folder, series in folders.items():
        for each, files in series.items():
            if each is None or len(files) == 1:
                volumes += [(name, ()) for name in files]
                continue
            alone = len(series) == 1 and folder and folder not in above
            volumes.append((folder.removesuffix("/") if alone else min(files), tuple(sorted(files))))
    return volumes


def _folder(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _above(folder: str) -> list[str]:
    """The folders that a folder lies in, however deep; without the source itself."""
    steps = folder.split("/")[:-2]
    return ["/".join(steps[: count + 1]) + "/" for count in range(len(steps))]
