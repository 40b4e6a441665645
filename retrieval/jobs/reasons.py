"""Why what lies under a key of the cache serves nothing any more, by the data and the weights at hand.

Nothing is said of what could still be taken up, or of which it cannot be told, since its data or weights are missing.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast, get_args

from retrieval import artifacts, evaluation, results, verification
from retrieval.cells import Cell, cell
from retrieval.datasets import opening, unpacking
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.specs import SPLITS, SplitName
from retrieval.embeddings import embedding
from retrieval.encoders import configs, loading, text_towers, weights, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, Precision
from retrieval.errors import RetrievalError, UnknownName
from retrieval.groups import fingerprint_of as groups_fingerprint
from retrieval.roots import Roots

STALE = "data, weights or rules are others than those that it was made with"
ORPHANED = "this version knows no such name"
KILLED = "left by a write that was killed"
FINISHED = "the shards of a run that has finished"
UNFINISHED = "a download that was not finished"
UNPACKED = "the file that it was unpacked from is gone, or another now"

SHARDS, PART = ".shards", ".part"
WEEK, DAY = 7 * 86_400, 86_400  # seconds in which a download is gone on with, and in which what is written is finished

_UNPACKED = re.compile(r"data/[0-9a-f]{32}")
_UNLOCKED = ("groups/", f"{with_onnx.FOLDER}/")  # whose arrays and manifest are written without a lock


def why(key: str, roots: Roots) -> str | None:
    """Why what lies under a key serves nothing; None where it does, or where that cannot be told."""
    if is_killed_write(key):
        return KILLED if artifacts.is_left_part(roots.cache / key) else None
    if key.endswith(PART):
        return UNFINISHED if _age(roots.cache / key) > WEEK else None
    if _UNPACKED.fullmatch(key):
        return _why_unpacked(key, roots)
    if key.endswith(SHARDS):
        return _why_shards(key.removesuffix(SHARDS), roots)
    if not (roots.cache / f"{key}.json").is_file():
        return _why_without_manifest(key, roots)
    folder, *names = key.split("/")
    if folder == results.FOLDER:
        return _why_result(key, names, roots)
    expected = _EXPECTED[folder](*names, roots)
    if expected == "" or (expected is not None and _mark(key, roots) == expected):
        return None
    return ORPHANED if expected is None else STALE


def is_killed_write(key: str) -> bool:
    """Whether a key is that of a file that was to take another's place at once: hidden, as no download is."""
    return key.rpartition("/")[2].startswith(".") and key.endswith(PART)


def is_folder(key: str) -> bool:
    """Whether a key is that of a folder that goes as a whole."""
    return key.endswith(SHARDS) or _UNPACKED.fullmatch(key) is not None


def _age(path: Path) -> float:
    """Seconds since a file was written; none where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _why_without_manifest(key: str, roots: Roots) -> str | None:
    """Of arrays alone: without a manifest, which is written last, nobody reads them."""
    place = roots.cache / key
    young = any(_age(array) < DAY for array in place.parent.glob(f"{place.name}.*.npy"))
    return None if young and key.startswith(_UNLOCKED) else KILLED


def _why_unpacked(key: str, roots: Roots) -> str | None:
    """Of a MedMNIST file's arrays: they serve while that file is at hand, or in its place if it was the published."""
    said = artifacts.read_sealed(roots.cache / key / unpacking.MANIFEST)
    if said is None:  # each array is unpacked anew
        return KILLED
    try:
        data, size = find_dataset(said["dataset"]), said["size"]
        if not opening.is_at_hand(data, size, roots):
            return UNPACKED
        return None if opening.data_digest(data, size, roots)[0] == key.rpartition("/")[2] else UNPACKED
    except (UnknownName, KeyError):
        return ORPHANED
    except RetrievalError:
        return None


def _why_shards(key: str, roots: Roots) -> str | None:
    """Of the shards of Embeddings of this key: they serve as long as the next run takes any of them up."""
    _, dataset, size, encoder, split = key.split("/")
    expected = _embedded_now(dataset, size, encoder, split, roots)
    if not expected:
        return ORPHANED if expected is None else None
    if artifacts.load(roots.lookup, key, fingerprint=expected) is not None:
        return FINISHED
    try:
        made = _shards_now(key, expected, roots)
    except RetrievalError:
        return None
    return None if any(_mark(shard, roots) == mark for shard, mark in made.items()) else STALE


def _shards_now(key: str, mark: str, roots: Roots) -> dict[str, str]:
    """The fingerprints, by their keys, of the shards that the next run would take up."""
    _, dataset, size, encoder, split = key.split("/")
    data, spec = find_dataset(dataset, roots), _maker(encoder, roots)
    if data.own is None or spec is None:
        return embedding.shards(data, split, key, mark)
    opened = opening.open_split(data, int(size), cast(SplitName, split), roots)
    return embedding.shards_beside_kept(opened, configs.at_hand(spec, roots), key, mark, roots)


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
    """As the next; of a collection never told: stale as a whole they hold the vectors of pictures that are the same."""
    found = _embedded_now(dataset, size, encoder, split, roots)
    return "" if found and find_dataset(dataset, roots).own is not None else found


def _embedded_now(dataset: str, size: str, encoder: str, split: str, roots: Roots) -> str | None:
    """The fingerprint that would be made now; None for an unknown name; empty where it cannot be told."""
    if split not in SPLITS:
        return None
    try:
        data, spec = find_dataset(dataset, roots), _maker(encoder, roots)
        if spec is None or not opening.is_at_hand(data, int(size), roots) or weights.state(spec, roots) != "ready":
            return ""
        spec, digest = configs.at_hand(spec, roots), opening.data_digest(data, int(size), roots)[0]
        known = loading.identify(spec, roots).digest
        return embedding.fingerprint_of(data, int(size), split, spec, data=digest, weights=known)
    except (UnknownName, ValueError):
        return None
    except RetrievalError:
        return ""


def _maker(encoder: str, roots: Roots) -> EncoderSpec | None:
    """The spec by which the vectors in a folder of this name are made: an encoder's own, or a variant (`uni.32`).

    UnknownName where there is no such encoder, or none of such a variant; None where what the variant is is not known.
    """
    name, _, variant = encoder.rpartition(".")
    if not name or variant in get_args(Precision):
        return find_encoder(encoder)
    spec = configs.at_hand(find_encoder(name), roots)
    if variant == str(verification.ENLARGED):
        return verification.enlarged(spec)
    if variant != text_towers.JOINT:
        return None
    made, called = (spec, "") if spec.text is None else text_towers.joint(spec)
    if called != variant:
        raise UnknownName("extractor", encoder, [name])
    return made


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
