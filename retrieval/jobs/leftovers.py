"""What lies in the cache and serves nothing any more: stale, orphaned, or left by a run that was killed.

Nothing is removed that a process holds, that could still be taken up, or of which it cannot be told, since its data or
weights are not at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from retrieval import artifacts, evaluation, results
from retrieval.cells import Cell, cell
from retrieval.datasets import opening
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding
from retrieval.encoders import configs, loading, weights, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Precision
from retrieval.errors import RetrievalError, UnknownName
from retrieval.groups import fingerprint_of as groups_fingerprint
from retrieval.roots import Roots

STALE = "data, weights or rules are others than those that it was made with"
ORPHANED = "this version knows no such name"
KILLED = "left by a write that was killed"
FINISHED = "the shards of a run that has finished"


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
    kinds = (_of_embeddings, _of_neighbours, _of_groups, _of_results, _of_graphs, _parts)
    found = [one for kind in kinds for one in kind(roots)]
    return tuple(sorted(found, key=lambda one: one.key))


def remove(found: tuple[Leftover, ...], roots: Roots) -> tuple[Leftover, ...]:
    """Remove what was found and still serves nothing; what has gone."""
    still = {one.key: one for one in leftovers(roots)}
    gone = tuple(still[one.key] for one in found if one.key in still)
    for one in gone:
        for file in reversed(one.files):  # what is in a folder before the folder
            artifacts.remove_file(file)
        if one.why == FINISHED:
            artifacts.remove_folder(roots.cache / one.key)
    return gone


def _of_embeddings(roots: Roots) -> Iterator[Leftover]:
    for key in _keys(roots, "embeddings", depth=4):
        _, dataset, size, encoder, split = key.split("/")
        expected = _expected_embeddings(dataset, size, encoder, split, roots)
        yield from _judged(key, expected, roots)
        shards = roots.cache / f"{key}.shards"
        if expected not in (None, "") and _mark(key, roots) == expected and shards.is_dir():
            yield _leftover(f"{key}.shards", tuple(shards.rglob("*")), roots, FINISHED)


def _of_neighbours(roots: Roots) -> Iterator[Leftover]:
    for key in _keys(roots, "neighbours", depth=5):
        _, dataset, size, encoder, protocol, side = key.split("/")
        yield from _judged(key, _expected_neighbours(dataset, size, encoder, protocol, side, roots), roots)


def _of_groups(roots: Roots) -> Iterator[Leftover]:
    for key in _keys(roots, "groups", depth=2):
        _, dataset, size = key.split("/")
        yield from _judged(key, _expected_groups(dataset, size, roots), roots)


def _of_results(roots: Roots) -> Iterator[Leftover]:
    for key in _keys(roots, results.FOLDER, depth=4):
        _, dataset, size, encoder, protocol = key.split("/")
        path = roots.cache / f"{key}.json"
        result = results.read(path)
        known = _cell(dataset, size, encoder, protocol, roots)
        if known is None:
            yield _leftover(key, (path,), roots, ORPHANED)
        elif result is not None and not evaluation.is_current(result, roots):
            yield _leftover(key, (path,), roots, STALE)


def _of_graphs(roots: Roots) -> Iterator[Leftover]:
    for key in _keys(roots, with_onnx.FOLDER, depth=2):
        yield from _judged(key, _expected_graph(key, roots), roots)


def _parts(roots: Roots) -> Iterator[Leftover]:
    for path in artifacts.left_parts(roots.cache):
        yield _leftover(str(path.relative_to(roots.cache)), (path,), roots, KILLED)


def _keys(roots: Roots, folder: str, *, depth: int) -> Iterator[str]:
    """The keys of the manifests so many folders deep, shards left out."""
    for path in sorted((roots.cache / folder).glob("/".join(["*"] * depth) + ".json")):
        key = path.relative_to(roots.cache).with_suffix("").as_posix()
        if ".shards/" not in key:
            yield key


def _judged(key: str, expected: str | None, roots: Roots) -> Iterator[Leftover]:
    """A leftover where the name is unknown (no expectation) or the mark another; none where it cannot be told ("")."""
    if expected == "" or (expected is not None and _mark(key, roots) == expected):
        return
    manifest = roots.cache / f"{key}.json"
    if artifacts.is_locked(roots.cache / f"{key}.lock"):
        return
    files = (manifest, *sorted(manifest.parent.glob(f"{manifest.stem}.*.npy")))
    yield _leftover(key, files, roots, ORPHANED if expected is None else STALE)


def _mark(key: str, roots: Roots) -> str | None:
    document = artifacts.read_sealed(roots.cache / f"{key}.json")
    return document.get("fingerprint") if isinstance(document, dict) else None


def _expected_embeddings(dataset: str, size: str, encoder: str, split: str, roots: Roots) -> str | None:
    """The fingerprint that would be made now; None for an unknown name; empty where it cannot be told."""
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


def _expected_graph(key: str, roots: Roots) -> str | None:
    """As the others; a graph that cannot be read tells no side, and is of no use."""
    manifest = artifacts.read_sealed(roots.cache / f"{key}.json")
    try:
        spec = find_encoder(key.split("/")[1])
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


def _leftover(key: str, files: tuple[Path, ...], roots: Roots, why: str) -> Leftover:
    return Leftover(key, files, sum(file.stat().st_size for file in files if file.is_file()), why)
