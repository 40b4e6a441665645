"""What lies in the cache and serves nothing any more: stale, orphaned, or left by a run that was killed.

Nothing is removed that a process holds, that could still be taken up, or of which it cannot be told, since its data or
weights are not at hand.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from retrieval import artifacts, evaluation, results
from retrieval.cells import Cell, cell
from retrieval.datasets import opening
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.specs import SPLITS
from retrieval.embeddings import embedding
from retrieval.encoders import configs, loading, weights, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Precision
from retrieval.errors import Busy, RetrievalError, UnknownName
from retrieval.groups import fingerprint_of as groups_fingerprint
from retrieval.roots import Roots

STALE = "data, weights or rules are others than those that it was made with"
ORPHANED = "this version knows no such name"
KILLED = "left by a write that was killed"
FINISHED = "the shards of a run that has finished"

# How many folders deep manifests lie under the cache's, and which of these are made under a lock beside the manifest.
_DEPTHS = {"embeddings": 4, "neighbours": 5, "groups": 2, results.FOLDER: 4, with_onnx.FOLDER: 2}
_LOCKED = ("embeddings", "neighbours")
_SHARDS, _PART = ".shards", ".part"


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
    folders = tuple(f"{one.key}/" for one in free if one.key.endswith(_SHARDS))
    return tuple(sorted((one for one in free if not one.key.startswith(folders)), key=lambda one: one.key))


def remove(found: tuple[Leftover, ...], roots: Roots) -> tuple[Leftover, ...]:
    """Remove what was found, each thing held and judged once more before it goes; what has gone."""
    return tuple(gone for one in found if (gone := _removed(one.key, roots)) is not None)


def _keys(roots: Roots) -> Iterator[str]:
    """The keys of all manifests, of folders of shards, and of what killed writes left."""
    paths = [
        path.with_suffix("")
        for folder, depth in _DEPTHS.items()
        for path in (roots.cache / folder).glob("/".join(["*"] * depth) + ".json")
    ]
    paths += (roots.cache / "embeddings").glob(f"*/*/*/*{_SHARDS}")
    paths += artifacts.left_parts(roots.cache)
    return (path.relative_to(roots.cache).as_posix() for path in paths)


def _judged(key: str, roots: Roots) -> Leftover | None:
    """What lies under a key, if it serves nothing; None where nothing lies there."""
    why = _why(key, roots)
    if why is None:
        return None
    files = tuple(file for file in _files(key, roots) if file.exists())
    return Leftover(key, files, sum(file.stat().st_size for file in files if file.is_file()), why) if files else None


def _removed(key: str, roots: Roots) -> Leftover | None:
    """What has gone; None where somebody is at work on it, or where it serves again."""
    try:
        with _held(key, roots):
            one = _judged(key, roots)
            if one is None:
                return None
            if key.endswith(_SHARDS):
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
    locked = key.startswith(tuple(f"{folder}/" for folder in _LOCKED)) and not key.endswith(_PART)
    return roots.cache / f"{key.removesuffix(_SHARDS)}.lock" if locked else None


def _files(key: str, roots: Roots) -> tuple[Path, ...]:
    place = roots.cache / key
    if key.endswith(_PART):
        return (place,)
    if key.endswith(_SHARDS):
        return (place, *place.rglob("*"))
    return (place.with_name(f"{place.name}.json"), *sorted(place.parent.glob(f"{place.name}.*.npy")))


def _why(key: str, roots: Roots) -> str | None:
    """Why what lies under a key serves nothing; None where it does, or where that cannot be told."""
    if key.endswith(_PART):
        return KILLED if artifacts.is_left_part(roots.cache / key) else None
    if key.endswith(_SHARDS):
        return _why_shards(key.removesuffix(_SHARDS), roots)
    folder, *names = key.split("/")
    if folder == results.FOLDER:
        return _why_result(key, names, roots)
    expected = _EXPECTED[folder](*names, roots)
    if expected == "" or (expected is not None and _mark(key, roots) == expected):
        return None
    return ORPHANED if expected is None else STALE


def _why_shards(key: str, roots: Roots) -> str | None:
    """As `_why`, of the shards of Embeddings of this key: they serve as long as the next run takes any of them up."""
    _, dataset, size, encoder, split = key.split("/")
    expected = _expected_embeddings(dataset, size, encoder, split, roots)
    if not expected:
        return ORPHANED if expected is None else None
    if artifacts.load(roots.lookup, key, fingerprint=expected) is not None:
        return FINISHED
    made = embedding.shards(find_dataset(dataset, roots), split, key, expected)
    return None if any(_mark(shard, roots) == mark for shard, mark in made.items()) else STALE


def _why_result(key: str, names: list[str], roots: Roots) -> str | None:
    dataset, size, encoder, protocol = names
    if _cell(dataset, size, encoder, protocol, roots) is None:
        return ORPHANED
    result = results.read(roots.cache / f"{key}.json")
    return STALE if result is not None and not evaluation.is_current(result, roots) else None


def _mark(key: str, roots: Roots) -> str | None:
    document = artifacts.read_sealed(roots.cache / f"{key}.json")
    return document.get("fingerprint") if isinstance(document, dict) else None


def _expected_embeddings(dataset: str, size: str, encoder: str, split: str, roots: Roots) -> str | None:
    """The fingerprint that would be made now; None for an unknown name; empty where it cannot be told."""
    if split not in SPLITS:
        return None
    if _is_variant(encoder):
        return ""
    try:
        data, spec = find_dataset(dataset, roots), find_encoder(encoder)
        if data.own is not None:  # stale as a whole, it still holds the vectors of pictures that have not changed
            return ""
        if not opening.is_at_hand(data, int(size), roots) or weights.state(spec, roots) != "ready":
            return ""
        spec, digest = configs.at_hand(spec, roots), opening.data_digest(data, int(size), roots)[0]
        known = loading.identify(spec, roots).digest
        return embedding.fingerprint_of(data, int(size), split, spec, data=digest, weights=known)
    except (UnknownName, ValueError):
        return None
    except RetrievalError:
        return ""


def _is_variant(encoder: str) -> bool:
    """Whether a folder's name is that of a variant (`uni.32`), made to be compared with, and of no encoder's own."""
    _, point, last = encoder.rpartition(".")
    return bool(point) and last not in get_args(Precision)


def _expected_neighbours(dataset: str, size: str, encoder: str, protocol: str, side: str, roots: Roots) -> str | None:
    known = _cell(dataset, size, encoder, protocol, roots)
    if known is None or side not in ("train", "test"):
        return None
    if not opening.is_at_hand(known.data, known.size, roots) or weights.state(known.spec, roots) != "ready":
        return ""
    try:
        return evaluation.marks(known, roots).neighbours(side)
    except RetrievalError:
        return ""


def _expected_groups(dataset: str, size: str, roots: Roots) -> str | None:
    try:
        data = find_dataset(dataset, roots)
        if not opening.is_at_hand(data, int(size), roots):
            return ""
        return groups_fingerprint(opening.data_digest(data, int(size), roots)[0])
    except (UnknownName, ValueError):
        return None
    except RetrievalError:
        return ""


def _expected_graph(encoder: str, name: str, roots: Roots) -> str | None:
    """As the others; a graph that cannot be read tells no side, and is of no use."""
    manifest = artifacts.read_sealed(roots.cache / with_onnx.FOLDER / encoder / f"{name}.json")
    try:
        spec = find_encoder(encoder)
        if not isinstance(manifest, dict):
            return None
        if weights.state(spec, roots) != "ready":
            return ""
        spec = configs.at_hand(spec, roots)
        height, width = manifest["meta"]["side"]
        return with_onnx.fingerprint_of(spec, loading.identify(spec, roots).digest, (height, width))
    except UnknownName:
        return None
    except RetrievalError:
        return ""


def _cell(dataset: str, size: str, encoder: str, protocol: str, roots: Roots) -> Cell | None:
    try:
        return cell(dataset, int(size), encoder, protocol, roots=roots)
    except (RetrievalError, ValueError):
        return None


_EXPECTED: Mapping[str, Callable[..., str | None]] = {
    "embeddings": _expected_embeddings,
    "neighbours": _expected_neighbours,
    "groups": _expected_groups,
    with_onnx.FOLDER: _expected_graph,
}
