"""Where the weights of an encoder may lie: looked at anew at every call, so that nothing is stale."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from retrieval.encoders import catalogue, hub
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.roots import Roots

Entry = TypeVar("Entry")

DEPTH = 4  # folders below the encoder's own: models--owner--name/snapshots/<commit>/<folder>/


def locate(spec: EncoderSpec, roots: Roots) -> Path | None:
    """The encoder's weights file; None where there is none.

    Looked for, in this order: in the folder of that name in the weights root, or up to four folders below it; in the
    package that carries it; in the product's cache; in the user's Hub cache. Encoders with the same weights share them.
    """
    source = spec.weights
    if source is None:
        return None
    return next(_found(spec, source, roots), None)


def kept(spec: EncoderSpec, source: WeightsSource, roots: Roots) -> Path:
    """Where the product keeps a file that it fetched from an address."""
    return roots.cache / "weights" / spec.plain / Path(source.filename).name


def _found(spec: EncoderSpec, source: WeightsSource, roots: Roots) -> Iterator[Path]:
    kin = _kin(spec, source)
    if roots.weights is not None:
        yield from filter(None, (_below(roots.weights / one.plain, source) for one in kin))
    packaged = _in_package(source)
    if packaged is not None:
        yield packaged
    yield from (place for place in (kept(one, source, roots) for one in kin) if _is(place, Path.is_file))
    if source.repo:
        caches = (roots.cache / "hub", *([roots.hub] if roots.hub else []))
        names = (source.filename, *source.files)
        yield from filter(None, (hub.stored(cache, source, names) for cache in caches))


def _kin(spec: EncoderSpec, source: WeightsSource) -> list[EncoderSpec]:
    """The encoder, and those of the catalogue that differ from it in other things than their weights."""
    others = (one for one in catalogue.ENCODERS if one.name != spec.plain and one.weights is not None)
    return [spec, *(one for one in others if one.weights == source)]


def _below(folder: Path, source: WeightsSource) -> Path | None:
    """The file in a folder that a person filled, however deep the layout in which they got it."""
    names = list(dict.fromkeys(Path(name).name for name in (source.filename, *source.files)))
    direct = next((folder / name for name in names if _is(folder / name, Path.is_file)), None)
    if direct is not None:
        return direct

    def place(path: Path) -> tuple[bool, int, int, str]:
        pinned = bool(source.revision) and source.revision in path.parts
        return not pinned, names.index(path.name), len(path.parts), str(path)

    return min((path for path in _files(folder, DEPTH) if path.name in names), key=place, default=None)


def _files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # no folder, or one that this user may not read, holds nothing for them
        return
    for entry in entries:
        if _is(entry, os.DirEntry.is_file):
            yield Path(entry.path)
        elif depth and _is(entry, os.DirEntry.is_dir):
            yield from _files(Path(entry.path), depth - 1)


def _is(entry: Entry, kind: Callable[[Entry], bool]) -> bool:
    """Whether an entry is of a kind; a link that leads in a circle, or where this user may not look, is of none."""
    try:
        return kind(entry)
    except OSError:
        return False


def _in_package(source: WeightsSource) -> Path | None:
    found = importlib.util.find_spec(source.package) if source.package else None  # finds it without importing it
    folders = found.submodule_search_locations if found else None
    file = Path(next(iter(folders))) / source.member if folders else None
    return file if file is not None and file.is_file() else None
