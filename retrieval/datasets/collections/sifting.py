"""Which files of a source are pictures, which are tables of labels, and why the others are left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import Found
from retrieval.errors import BadInput
from retrieval.pictures.reading import MAX_BYTES, MAX_VOLUME_BYTES

PICTURES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jpf", ".jpc"),
        *(".dcm", ".dicom", ".ima", ".nii", ".nii.gz"),
    )
)
VOLUMES = frozenset((".tif", ".tiff", ".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".npy", ".npz"))
TABLES = frozenset({".csv", ".tsv"})
ARCHIVES = frozenset((".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"))

MOST_LISTED = 50  # files that are named one by one for the same reason

_DICOM_AT, _DICOM = 128, b"DICM"


@dataclass(frozen=True)
class Kinds:
    """Files that are taken: what their names end in, how large they may be, and what each is."""

    suffixes: frozenset[str]
    most: int
    noun: str
    empty: bool  # empty ones too: as a slice that a volume lacks


PICTURE_FILES = Kinds(PICTURES, MAX_BYTES, "picture", empty=False)
VOLUME_FILES = Kinds(VOLUMES, MAX_VOLUME_BYTES, "volume", empty=True)
VOLUMES_AND_ZIPS = replace(VOLUME_FILES, suffixes=VOLUMES | {".zip"})  # a zip in an archive is never opened


@dataclass(frozen=True)
class LeftOut:
    """A file, or several of a kind, that a collection does not take, and the reason, a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Sifted:
    """Files that may be pictures, tables that may be of labels, and the others."""

    pictures: tuple[str, ...]
    tables: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def sifted(found: Sequence[Found], *, start: Callable[[str, int], bytes], kinds: Kinds = PICTURE_FILES) -> Sifted:
    """Part the files of a source by their names and sizes.

    A file whose name ends in nothing, or in a number, as files from scanners do, is a picture if it begins as DICOM.

    Args:
        start: The first bytes of a file.
        kinds: Of files that are taken.
    """
    seen = [each for each in found if not naming.is_hidden(each.name)]
    verdicts = [(each, _verdict(each, start, kinds)) for each in seen]
    pictures = [each.name for each, verdict in verdicts if verdict == "picture"]
    clashes = naming.clashing(pictures)
    others = Counter(_suffix(each.name) for each, verdict in verdicts if verdict == "other")
    left_out = [
        *(LeftOut(naming.shown(each.name), verdict) for each, verdict in verdicts if verdict.endswith(".")),
        *(LeftOut(naming.shown(name), reason) for name, reason in clashes.items()),
        *(_of_a_kind(suffix, count, kinds.noun) for suffix, count in sorted(others.items())),
        *_hidden(len(found) - len(seen)),
    ]
    return Sifted(
        pictures=tuple(sorted(set(pictures) - clashes.keys())),
        tables=tuple(sorted(each.name for each, verdict in verdicts if verdict == "table")),
        left_out=tuple(left_out),
    )


def shortened(left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """The list with at most `MOST_LISTED` files named for one reason, and how many more there are."""
    by_reason: dict[str, list[LeftOut]] = {}
    for each in left_out:
        by_reason.setdefault(each.reason, []).append(each)
    return tuple(each for group in by_reason.values() for each in _shortened(group))


def _shortened(group: list[LeftOut]) -> list[LeftOut]:
    more = len(group) - MOST_LISTED
    return group if more <= 0 else [*group[:MOST_LISTED], LeftOut(f"({more:,} more)", group[0].reason)]


def _verdict(each: Found, start: Callable[[str, int], bytes], kinds: Kinds) -> str:
    """`picture`, `table`, `other`, or a sentence on why the file is left out."""
    suffix = _suffix(each.name)
    if problem := each.problem or naming.problem(each.name):
        return problem
    if suffix in ARCHIVES and suffix not in kinds.suffixes:
        return "It is an archive inside the source, which is not opened."
    if suffix not in kinds.suffixes | TABLES:
        return _by_content(each, suffix, start, kinds)
    if not each.bytes and (suffix in TABLES or not kinds.empty):
        return "It is empty."
    most = MAX_BYTES if suffix in TABLES else kinds.most
    if each.bytes > most:
        return f"It is larger than {most // 2**20} MB."
    return "table" if suffix in TABLES else "picture"


def _by_content(each: Found, suffix: str, start: Callable[[str, int], bytes], kinds: Kinds) -> str:
    if (suffix and not suffix[1:].isdigit()) or PurePosixPath(each.name).name.upper() == "DICOMDIR":
        return "other"
    try:
        is_dicom = start(each.name, _DICOM_AT + len(_DICOM))[_DICOM_AT:] == _DICOM
    except BadInput as error:
        return error.message
    if is_dicom and each.bytes > kinds.most:
        return f"It is larger than {kinds.most // 2**20} MB."
    return "picture" if is_dicom else "other"


def _suffix(name: str) -> str:
    path = PurePosixPath(name.lower())
    return ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix


def _of_a_kind(suffix: str, count: int, noun: str) -> LeftOut:
    files = "1 file whose name ends so is" if count == 1 else f"{count:,} files whose names end so are"
    if suffix:
        return LeftOut(naming.shown(f"*{suffix}"), f"{files} of no kind of {noun} that is read here.")
    return LeftOut("files without an ending", f"{count:,} of them do not begin as a DICOM file does.")


def _hidden(count: int) -> list[LeftOut]:
    reason = f"{count:,} of the system's own, or hidden, such as .DS_Store."
    return [LeftOut("hidden files", reason)] if count else []
