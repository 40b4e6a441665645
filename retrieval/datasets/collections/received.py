"""Archives of pictures that were sent here: where each lies, since its pictures are read in place, and when it goes.

An archive lies in a folder of its own beside its collection's record, and goes with it. One that a killed server left
before there was a record belongs to nothing; it goes once nobody has written to it for some minutes.
"""

import re
import secrets
import time
from pathlib import Path

from retrieval import artifacts
from retrieval.datasets.collections import records
from retrieval.roots import Roots

QUIET_SECONDS = 600  # an archive that still arrives has been written to since

_FOLDER = "received-"
_ARCHIVE = re.compile(r"\.(zip|tar)", re.IGNORECASE)


def place_for(name: str, file: str, roots: Roots) -> Path:
    """Where the archive of a collection is to lie: never where another one does, and where nobody else may look.

    Args:
        file: Its name, fit for a path; by its ending it is always an archive.
    """
    records.make_folder(roots)
    ending = "" if _ARCHIVE.fullmatch(Path(file).suffix) else ".zip"
    return records.folder_of(name, roots) / f"{_FOLDER}{secrets.token_hex(8)}" / f"{file}{ending}"


def is_received(name: str, roots: Roots) -> bool:
    """Whether a collection's pictures were sent here as an archive; UnknownName where there is no such collection."""
    place = records.standing(name, roots).source.parent
    return place.parent == records.folder_of(name, roots) and place.name.startswith(_FOLDER)


def discard(path: Path) -> None:
    """Delete an archive of which no collection was made; its collection's folder too, if nothing else is in it."""
    artifacts.remove_folder(path.parent)
    folder = path.parent.parent
    if folder.is_dir() and not any(folder.iterdir()):
        artifacts.remove_file(folder)


def sweep(roots: Roots) -> int:
    """Delete archives that belong to no collection and that nobody writes or reads any more; returns how many."""
    left = [
        place
        for place in (roots.cache / records.FOLDER).glob(f"*/{_FOLDER}*")
        if place.is_dir() and not (place.parent / records.HEADER).exists() and _is_quiet(place, roots)
    ]
    for place in left:
        discard(place / "any")
    return len(left)


def _is_quiet(place: Path, roots: Roots) -> bool:
    written = max((path.stat().st_mtime for path in (place, *place.iterdir())), default=0.0)
    if written > time.time() - QUIET_SECONDS:
        return False
    return not artifacts.is_locked(records.lock_file(place.parent.name, roots))
