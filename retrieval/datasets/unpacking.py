"""An npz unpacked into arrays that can be memory-mapped, kept in the cache.

A member of an npz *is* an npy file, so unpacking is copying, and needs no more memory than one piece. The manifest is
written last: a folder without a sound one is no data.
"""

import logging
import math
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from retrieval import artifacts
from retrieval.datasets.download import plain_size
from retrieval.datasets.npz import MEMBERS, Npz, checked_members, expected_shape, opened, pieces
from retrieval.datasets.specs import Dataset
from retrieval.errors import Busy, Unavailable

log = logging.getLogger(__name__)

Report = Callable[[str, float], None]  # what is being done, and the share of it that is done

MANIFEST = "manifest.json"
SLACK = 1 << 26  # bytes left free on the disk
PATIENCE = 30.0  # seconds to wait for another process that unpacks the same file


def unpacked_size(dataset: Dataset, size: int) -> int:
    """How many bytes the pictures and labels of a dataset take unpacked; a published file is hardly ever larger."""
    return sum(math.prod(expected_shape(dataset, size, member)) for member in MEMBERS)


def unpack(npz: Npz, folder: Path, *, report: Report) -> None:
    """Fill `folder` with the arrays of a file, unless they lie there already and are sound.

    Args:
        report: Called with what is being done and the share of it that is done, 0 to 1.

    Raises:
        BadInput: The file is not what its dataset describes.
        Unavailable: There is no room for the arrays.
        Busy: Another process is unpacking it and has not come to an end.
    """
    if is_sound(folder, npz.dataset, npz.size):
        return
    with _in_turn(folder, what=f"unpacking {npz.path.name}"):
        if not is_sound(folder, npz.dataset, npz.size):
            _unpack(npz, folder, report)


def is_sound(folder: Path, dataset: Dataset, size: int) -> bool:
    """Whether `folder` holds this dataset: by size and time of each file, by its checksum where the time differs."""
    document = artifacts.read_sealed(folder / MANIFEST)
    if document is None or (document.get("dataset"), document.get("size")) != (dataset.name, size):
        return False
    try:
        entries = {name: _confirmed(folder / name, document["files"][name]) for name in MEMBERS}
    except (OSError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s) and will be made again.", folder, error)
        return False
    if entries != document["files"]:
        artifacts.write_sealed(folder / MANIFEST, {**document, "files": entries})
    return True


def images_of(folder: Path, split: str) -> np.ndarray:
    """The images of a split, memory-mapped and read-only."""
    return np.load(folder / f"{split}_images.npy", mmap_mode="r", allow_pickle=False)


def labels_of(folder: Path, split: str) -> np.ndarray:
    """The labels of a split: int64 [N, 1] or [N, findings], read-only."""
    labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False).astype(np.int64)
    labels.setflags(write=False)
    return labels


@contextmanager
def _in_turn(folder: Path, *, what: str) -> Iterator[None]:
    """Hold the folder's lock; two that want the same file at once share one unpacking, so wait a while for it."""
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(artifacts.lock(folder.with_name(f"{folder.name}.lock"), what=what))
                break
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def _unpack(npz: Npz, folder: Path, report: Report) -> None:
    for left in folder.glob(".*.part"):  # by a process that was killed
        left.unlink()
    with opened(npz) as archive:
        members = checked_members(archive, npz)
        _check_room(npz, folder, sum(member.file_size for member in members))
        files = _copy(archive, members, npz, folder, report)
    document = {"dataset": npz.dataset.name, "size": npz.size, "source": npz.path.name, "files": files}
    artifacts.write_sealed(folder / MANIFEST, document)


def _copy(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], npz: Npz, folder: Path, report: Report
) -> dict[str, dict[str, int]]:
    total, done, files = sum(member.file_size for member in members), 0, {}
    text = f"Unpacking {npz.path.name}: {plain_size(total)}"
    for member in members:

        def pour(stream: IO[bytes], member: zipfile.ZipInfo = member, before: int = done) -> None:
            for piece in pieces(archive, member, npz):
                stream.write(piece)
                report(text, (before + stream.tell()) / total)

        target = folder / member.filename
        artifacts.write_atomic(target, pour)
        files[member.filename] = _entry(target, member.CRC)
        done += member.file_size
    return files


def _check_room(npz: Npz, folder: Path, need: int) -> None:
    free = shutil.disk_usage(_existing(folder)).free
    if need + SLACK > free:
        raise Unavailable(
            f"{npz.path.name} takes {plain_size(need)} unpacked, and {folder.parent} has {plain_size(free)} free.",
            remedy="Make room, or point RETRIEVAL_CACHE to a folder on a larger disk.",
        )


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _entry(path: Path, crc: int) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "crc32": crc, "mtime_ns": stat.st_mtime_ns}


def _confirmed(path: Path, entry: dict[str, Any]) -> dict[str, int]:
    """The entry as it stands now; ValueError where the file is another than the one recorded."""
    now = _entry(path, entry["crc32"])
    if now["bytes"] != entry["bytes"]:
        raise ValueError(f"{path.name} has {now['bytes']} bytes instead of {entry['bytes']}")
    if now["mtime_ns"] != entry["mtime_ns"] and _crc(_blocks(path)) != entry["crc32"]:
        raise ValueError(f"{path.name} has another checksum than recorded")
    return now


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            yield block


def _crc(blocks: Iterable[bytes]) -> int:
    crc = 0
    for block in blocks:
        crc = zlib.crc32(block, crc)
    return crc
