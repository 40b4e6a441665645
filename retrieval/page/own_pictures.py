"""What the Collections tab says of collections and of archives on their way: plain values for its script."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from retrieval.datasets.collections import received, records
from retrieval.datasets.collections.duplicates import contradicting, crossing, duplicates
from retrieval.datasets.collections.records import Collection, File
from retrieval.datasets.collections.sifting import LeftOut
from retrieval.datasets.specs import Dataset
from retrieval.page.arrivals import Arrival
from retrieval.roots import Roots

MOST_LEFT_OUT = 20  # files named, and how many more there are
MOST_SETS = 10  # of duplicates
MOST_CLASSES = 200

_MORE = re.compile(r"\(([\d,]+) more\)")  # as `sifting.shortened` names what it leaves out


def listed(roots: Roots) -> list[dict[str, Any]]:
    """Every collection in a line; only what menus need is read."""
    return [_line(data, roots) for data in records.datasets(roots)]


def arrival(one: Arrival) -> dict[str, Any]:
    """An archive on its way, or one that is over."""
    return {
        "id": one.id,
        "name": one.name,
        "state": one.state,
        "live": one.live,
        "words": one.words,
        "share": one.share,
        "message": str(one.error) if one.error else "",
    }


def outcome(found: Collection, *, about: str) -> dict[str, Any]:
    """What a collection holds, and what of its source it does not; `about` is its Dataset's."""
    left = found.left_out
    return {
        "name": found.name,
        "pictures": about if found.vectors else f"{about} {_pictures(found)}",
        "classes": _classes(found.files)[:MOST_CLASSES],
        "more_classes": max(0, len(_classes(found.files)) - MOST_CLASSES),
        "groups": _groups(found.files),
        "burned_in": _burned_in(found.files),
        "duplicates": _duplicates(found.files),
        "same": [[file.name for file in same] for same in duplicates(found.files)[:MOST_SETS]],
        "left_out": [asdict(each) for each in left[:MOST_LEFT_OUT]],
        "more_left_out": sum(map(_count, left[MOST_LEFT_OUT:])),
    }


def _line(data: Dataset, roots: Roots) -> dict[str, Any]:
    held = _number(sum(data.counts.values()), data.noun)
    return {
        "name": data.name,
        "title": data.title,
        "sizes": list(data.sizes),
        "words": f"{held}{_in_classes(data)}: {splits(data)}.",
        "received": received.is_received(data.name, roots),
    }


def _in_classes(data: Dataset) -> str:
    return f" in {_number(len(data.classes), 'class', 'classes')}" if data.labelled else ", without labels"


def splits(data: Dataset) -> str:
    """How many of its pictures are for what."""
    train, test, val = (data.counts[split] for split in ("train", "test", "val"))
    return f"{train:,} to search in, {test:,} to ask with, {val:,} set aside"


def _pictures(found: Collection) -> str:
    sides = [side for file in found.files for side in (file.height, file.width)]
    low, high = min(sides), max(sides)
    size = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    colour = "in colour" if found.channels == 3 else "grey"
    return f"They are {colour}, of {size} pixels a side."


def _classes(files: Sequence[File]) -> list[list[Any]]:
    """Label, and how many are searched in, asked with and set aside; none where there are no labels."""
    counts = Counter((file.label, file.split) for file in files if file.label is not None)
    labels = sorted({label for label, _ in counts if label is not None})
    return [[label, *(counts[label, split] for split in ("train", "test", "val"))] for label in labels]


def _groups(files: Sequence[File]) -> str:
    count = len({file.group for file in files if file.group is not None})
    return f"{_number(count, 'group')}, such as patients; none on two sides." if count else ""


def _burned_in(files: Sequence[File]) -> str:
    count = sum(file.burned_in for file in files)
    said = f"Text seems to be burned into the pixels of {_number(count, 'picture')}: it may name a person."
    return said if count else ""


def _duplicates(files: Sequence[File]) -> str:
    same = duplicates(files)
    if not same:
        return "No exact duplicates."
    said = f"Exact duplicates: {_number(len(same), 'set')}, {_number(sum(map(len, same)), 'file')}"
    two, other = len(crossing(files)), len(contradicting(files))
    sides = f"{two:,} of them on two sides, as the source has it" if two else "each on one side"
    return f"{said}; {sides}" + (f"; {other:,} with different labels." if other else ".")


def _count(each: LeftOut) -> int:
    """How many files a line of what was left out stands for."""
    more = _MORE.fullmatch(each.name)
    return int(more[1].replace(",", "")) if more else 1


def _number(count: int, noun: str, several: str = "") -> str:
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"
