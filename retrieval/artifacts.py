"""Key -> file: atomic writes, checksums, fingerprints, locks. Nobody else writes files.

An artifact is a set of arrays beside a manifest, `KEY.json`, which is written last. It holds the fingerprint of all
that the arrays depend on, the sha256 of each array file, and what is worth knowing about how they were made, under a
checksum of its own. A manifest that is altered, or whose arrays are missing, short or altered, is *damaged*, one with
another fingerprint is *stale*; both are made again by whoever asked.

Every byte goes through `os.write`, `os.fsync` and `os.replace`, looked up when they are called: whoever stands in for
those three sees, and can end, all that this module does to the disk.
"""

import errno
import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np

from retrieval import parts
from retrieval.errors import Busy, Unavailable

log = logging.getLogger(__name__)

# Who may read and write a file, less what the user's umask forbids: as `open` does it, or its owner alone.
_OPEN, _PRIVATE = 0o666, 0o600
_FULL = (errno.ENOSPC, errno.EDQUOT)  # no room on the disk, or none left to this user
_TOO_MANY = (errno.EMFILE, errno.ENFILE)  # open files: of this process, or of the machine


@dataclass(frozen=True)
class Rows:
    """An array too large to hold, as blocks of its rows in order; written as one file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Iterable[np.ndarray]


@dataclass(frozen=True)
class Artifact:
    """Arrays of one key as they lie on disk.

    Attributes:
        fingerprint: Of everything the arrays depend on.
        arrays: Name to memory-mapped array, read-only.
        meta: What else the maker recorded: provenance, never part of the key.
    """

    fingerprint: str
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


def fingerprint(**parts: Any) -> str:
    """A 32-digit hexadecimal digest of named, JSON-representable parts; the order of names does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file's bytes; remembered while its size, times and place on the disk stay the same.

    Another file may bring its size and time of modification with it, but not the rest.
    """
    stat = path.stat()
    return _file_digest(path, algorithm, stat.st_size, (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))


@functools.lru_cache(maxsize=4096)
def _file_digest(path: Path, algorithm: str, size: int, times: tuple[int, ...]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def write_atomic(path: Path, write: Callable[[IO[bytes]], object], *, private: bool = False) -> None:
    """Write a file whole or not at all: into a neighbour, synced, then renamed over `path`.

    Args:
        private: Nobody but its owner may read it, whatever the umask allows.

    Raises:
        Unavailable: There is no room for it, or too many files are open.
    """
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        parts.remove_left(path)
        descriptor, part = parts.create(path, mode=_PRIVATE if private else _OPEN)
        try:
            with parts.stream(descriptor) as stream:
                write(stream)
                stream.flush()
                os.fsync(descriptor)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say in a sentence that the disk is full or too many files are open; what else is refused stays an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = f"{path.name} could not be written: there is no room left in {path.parent}."
            remedy = "Make room there, or point RETRIEVAL_CACHE to a folder on a larger disk, and run it again: "
        elif error.errno in _TOO_MANY:
            message = f"{path.name} could not be opened: as many files are open already as the system allows."
            remedy = "Allow more (ulimit -n), or run fewer things at once, and run it again: "
        else:
            raise
        raise Unavailable(message, remedy=f"{remedy}what was finished before is kept.") from error


def resume_atomic(path: Path, write: Callable[[IO[bytes]], object], *, check: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, in as many calls as it takes: what an interrupted call wrote is kept beside it.

    What the disk refuses stays an OSError, also for want of room: the caller knows what to say of its download.

    Args:
        write: Gets a stream that stands at the end of what earlier calls left (`tell()` bytes) and may truncate it.
        check: Gets the path of the finished bytes and raises where they are wrong; they are removed then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), _OPEN)
    with parts.stream(descriptor) as stream:
        stream.seek(0, os.SEEK_END)
        write(stream)
        stream.flush()
        os.fsync(descriptor)
    try:
        check(part)
    except Exception:
        part.unlink()
        raise
    os.replace(part, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder to sync it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, document: Any, *, private: bool = False) -> None:
    """Write a JSON document atomically, indented, keys in the order given."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda stream: stream.write(text.encode()), private=private)


def read_json(path: Path) -> Any | None:
    """The document at `path`; None where there is none, or where it is damaged (which is logged).

    Unavailable where too many files are open: that is no damage.
    """
    try:
        with _refusals(path):
            return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError, RecursionError) as error:
        log.warning("%s is damaged (%s) and will be made again.", path, error)
        return None


def write_sealed(path: Path, document: Mapping[str, Any], *, private: bool = False) -> None:
    """Write a JSON document that will be trusted, atomically and with a checksum over all of it."""
    write_json(path, {**document, "checksum": fingerprint(document=document)}, private=private)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The document that `write_sealed` wrote; None where there is none, or where it is altered (which is logged)."""
    document = read_json(path)
    if document is None:
        return None
    if isinstance(document, dict):
        checksum = document.pop("checksum", None)
        if checksum == fingerprint(document=document):
            return document
    log.warning("%s is damaged (its checksum does not fit its content) and will be made again.", path)
    return None


def _manifest(root: Path, key: str) -> Path:
    return root / f"{key}.json"


def _array_file(root: Path, key: str, name: str) -> Path:
    return root / f"{key}.{name}.npy"


def save(
    root: Path, key: str, *, arrays: Mapping[str, np.ndarray | Rows], fingerprint: str, meta: Mapping[str, Any]
) -> None:
    """Write the arrays of a key, then its manifest."""
    files = {}
    for name, array in arrays.items():
        path = _array_file(root, key, name)
        rows = array if isinstance(array, Rows) else Rows(array.shape, array.dtype, [array])
        write_atomic(path, functools.partial(_write_rows, rows))
        files[name] = {"file": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}
    document = {"fingerprint": fingerprint, "files": files, "meta": dict(meta)}
    write_sealed(_manifest(root, key), document)


def _write_rows(rows: Rows, stream: IO[bytes]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    written = 0
    for block in rows.blocks:
        stream.write(np.ascontiguousarray(block, dtype=rows.dtype).data)
        written += len(block)
    if written != rows.shape[0]:
        raise ValueError(f"{written} rows were given for an array of {rows.shape[0]}")


def load(roots: tuple[Path, ...], key: str, *, fingerprint: str) -> Artifact | None:
    """The first sound artifact of a key with this fingerprint; None if there is none (a damaged one is logged).

    Unavailable where too many files are open: that is no damage.
    """
    for root in roots:
        document = read_sealed(_manifest(root, key))
        if document is None or document.get("fingerprint") != fingerprint:
            continue
        try:
            files, meta = dict(document["files"]), dict(document["meta"])
            # A file is looked for by its array's name, so that a name that was altered is noticed as well.
            with _refusals(_manifest(root, key)):
                arrays = {name: _open_array(_array_file(root, key, name), files[name]) for name in files}
            if not arrays:
                raise ValueError("it names no arrays")
            return Artifact(fingerprint=fingerprint, arrays=arrays, meta=meta)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s) and will be made again.", _manifest(root, key), error)
    return None


def latest(root: Path, key: str) -> Artifact | None:
    """The sound artifact of a key under a root, whatever its fingerprint; None if there is none."""
    document = read_sealed(_manifest(root, key))
    mark = document.get("fingerprint") if document is not None else None
    return load((root,), key, fingerprint=mark) if isinstance(mark, str) else None


def carry(roots: tuple[Path, ...], target: Path, key: str, *, fingerprint: str) -> None:
    """Copy the first sound artifact of a key with this fingerprint into another root."""
    found = load(roots, key, fingerprint=fingerprint)
    if found is None:
        raise FileNotFoundError(f"there is no current {key} to copy")
    save(target, key, arrays=found.arrays, fingerprint=fingerprint, meta=found.meta)


def _open_array(path: Path, entry: Mapping[str, Any]) -> np.ndarray:
    stat = path.stat()
    if stat.st_size != entry["bytes"] or file_digest(path) != entry["sha256"]:
        raise ValueError(f"{path.name} does not have the recorded size or checksum")
    return _mapped(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)  # one question opens a dozen, and opening costs more than reading a row
def _mapped(path: Path, size: int, mtime_ns: int) -> np.ndarray:
    """The array in a file, for as long as that has this size and time."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


@contextmanager
def lock(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file `path`; raise Busy at once if another process has it. It is freed when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path, blocking=False)
    try:
        with _refusals(path):
            held.acquire()
    except filelock.Timeout as error:
        message = f"Another process is at work on {what}."
        raise Busy(message, remedy="Wait until it has finished, then try again.") from error
    try:
        yield
    finally:
        held.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path` now."""
    if not path.exists():
        return False
    try:
        with lock(path, what=path.name):
            return False
    except Busy:
        return True


def log_stream(path: Path, *, most: int = 1_000_000) -> IO[bytes]:
    """A file open for adding lines to, for the caller to close; one longer than `most` bytes begins anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    long = path.exists() and path.stat().st_size > most
    return path.open("wb" if long else "ab")


def private_folder(folder: Path) -> None:
    """Make a folder that nobody but its owner may enter; one that is there already stays as its owner has it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it; what is gone already is no error."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def remove_file(path: Path) -> None:
    """Remove a file, or a folder that is empty; what is gone already is no error."""
    with suppress(FileNotFoundError):
        path.rmdir() if path.is_dir() else path.unlink()


def left_parts(root: Path) -> Iterator[Path]:
    """Files under a root that killed writes left: nobody writes them any more."""
    return (path for path in sorted(root.rglob(".*.part")) if is_left_part(path))


def is_left_part(path: Path) -> bool:
    """Whether a killed write left this file: nobody writes it any more."""
    return parts.is_left(path)
