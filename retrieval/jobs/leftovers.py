"""What lies in the cache and serves nothing any more: stale, orphaned, or left by a run that was killed.

Nothing is removed that a process holds; why the rest serves nothing is told by `reasons`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from retrieval import artifacts, results
from retrieval.encoders import with_onnx
from retrieval.errors import Busy
from retrieval.jobs.reasons import PART, SHARDS, is_folder, is_killed_write, why
from retrieval.roots import Roots

# How many folders deep manifests and arrays lie under the cache's, where downloads come in, and what a process that
# writes there holds a lock beside.
_DEPTHS = {"embeddings": 4, "neighbours": 5, "groups": 2, results.FOLDER: 4, with_onnx.FOLDER: 2}
_DOWNLOADS = ("downloads", "weights", "hub")
_LOCKED = ("embeddings", "neighbours", "data", *_DOWNLOADS)


@dataclass(frozen=True)
class Leftover:
    """One thing that could go.

    Attributes:
        key: Its place under the cache.
        files: Its files.
        bytes: What they fill.
        why: Why it serves nothing.
    """

    key: str
    files: tuple[Path, ...]
    bytes: int
    why: str


def leftovers(roots: Roots) -> tuple[Leftover, ...]:
    """All that could go from the cache, by key."""
    judged = [one for key in _keys(roots) if (one := _judged(key, roots)) is not None]
    free = [one for one in judged if not _is_held(one.key, roots)]
    folders = tuple(f"{one.key}/" for one in free if is_folder(one.key))
    return tuple(sorted((one for one in free if not one.key.startswith(folders)), key=lambda one: one.key))


def remove(found: tuple[Leftover, ...], roots: Roots) -> tuple[Leftover, ...]:
    """Remove what was found, each thing held and judged once more before it goes; what has gone."""
    return tuple(gone for one in found if (gone := _removed(one.key, roots)) is not None)


def _keys(roots: Roots) -> set[str]:
    """The keys of all manifests and arrays, folders of shards and of what was unpacked, downloads and killed writes."""
    return {path.relative_to(roots.cache).as_posix() for path in _places(roots.cache)}


def _places(cache: Path) -> Iterator[Path]:
    for folder, depth in _DEPTHS.items():
        for path in (cache / folder).glob("/".join(["*"] * depth)):
            if path.suffix == ".json":
                yield path.with_suffix("")
            elif path.suffix == ".npy":
                yield path.with_suffix("").with_suffix("")  # KEY.NAME.npy
    yield from (cache / "embeddings").glob(f"*/*/*/*{SHARDS}")
    yield from (path for path in (cache / "data").glob("*") if path.is_dir() and is_folder(f"data/{path.name}"))
    for folder in _DOWNLOADS:
        yield from (cache / folder).rglob(f"*{PART}")
    yield from artifacts.left_parts(cache)


def _judged(key: str, roots: Roots) -> Leftover | None:
    """What lies under a key, if it serves nothing; None where nothing lies there."""
    because = why(key, roots)
    if because is None:
        return None
    files = tuple(file for file in _files(key, roots) if file.exists())
    size = sum(file.stat().st_size for file in files if file.is_file())
    return Leftover(key, files, size, because) if files else None


def _removed(key: str, roots: Roots) -> Leftover | None:
    """What has gone; None where somebody is at work on it, or where it serves again."""
    try:
        with _held(key, roots):
            one = _judged(key, roots)
            if one is None:
                return None
            if is_folder(key):
                artifacts.remove_folder(roots.cache / key)
            else:
                for file in reversed(one.files):  # the manifest last, by which the rest would be found again
                    artifacts.remove_file(file)
            return one
    except Busy:
        return None


def _held(key: str, roots: Roots) -> AbstractContextManager[None]:
    """Who makes what lies under a key is kept from it, or Busy; nobody where it is replaced whole, without a lock."""
    file = _lock_file(key, roots)
    return nullcontext() if file is None else artifacts.lock(file, what=key)


def _is_held(key: str, roots: Roots) -> bool:
    file = _lock_file(key, roots)
    return file is not None and artifacts.is_locked(file)


def _lock_file(key: str, roots: Roots) -> Path | None:
    if is_killed_write(key) or not key.startswith(tuple(f"{folder}/" for folder in _LOCKED)):
        return None
    return roots.cache / f"{key.removesuffix(SHARDS).removesuffix(PART)}.lock"


def _files(key: str, roots: Roots) -> tuple[Path, ...]:
    place = roots.cache / key
    if key.endswith(PART):
        return (place,)
    if is_folder(key):
        return (place, *place.rglob("*"))
    return (place.with_name(f"{place.name}.json"), *sorted(place.parent.glob(f"{place.name}.*.npy")))
