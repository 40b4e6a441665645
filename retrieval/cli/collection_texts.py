"""What a collection holds, in sentences and tables for people."""

from collections.abc import Sequence
from typing import Any

from retrieval.cells import cell
from retrieval.cli.tables import table
from retrieval.datasets.collections import records
from retrieval.datasets.collections.records import Collection
from retrieval.datasets.collections.vectors import NUMBER
from retrieval.evaluation import unrankable
from retrieval.roots import Roots

_MOST = 10  # of a long list; the document holds all


def text_of(found: Collection, document: dict[str, Any]) -> str:
    """A collection for people; the document is that for programs."""
    origin = document["archive"]["url"] if "archive" in document else found.source
    counts, same = document["counts"], document["duplicates"]
    lines = [
        f"{found.name}: {_what(found, document)}, from {origin}",
        f"{counts['train']:,} to search in, {counts['test']:,} to ask with, {counts['val']:,} set aside; "
        f"{_groups(document['groups'])}.",
        *_volumes(found),
        "",
        _classes(document["classes"]),
        "",
        f"Exact duplicates: {_number(same, 'set')}, {sum(map(len, same)):,} files.",
        *_few([", ".join(names[:4]) + (" …" if len(names) > 4 else "") for names in same]),
        *_warnings(document),
        *_burned_in(document["burned_in"]),
        f"Left out: {_number(document['left_out'], 'file')}.",
        *_few([f"{each['name']}: {each['reason']}" for each in document["left_out"]]),
    ]
    return "\n".join(lines)


def next_step(found: Collection, roots: Roots) -> str:
    """The command that a reader may want next: judge an extractor where one can be judged, else search."""
    asked = cell(found.name, None, "imported" if found.vectors else "efficientnet_lite0", roots=roots)
    query = "VECTOR.npy" if found.vectors else asked.data.noun.upper()
    verb = f"search {query}" if unrankable(asked) else "evaluate"
    return f"Run: python -m retrieval {verb} --dataset {found.name} --encoder {asked.encoder}"


def _what(found: Collection, document: dict[str, Any]) -> str:
    count, colour = document["pictures"], "in colour" if found.channels == 3 else "grey"
    if found.vectors:
        return f"{count:,} vectors of {found.files[0].bytes // NUMBER.itemsize:,} numbers by {found.vectors}"
    if found.ndim == 3:
        return f"{count:,} volumes of {_range(document['sides'])} voxels a side, grey"
    return f"{count:,} pictures of {_range(document['sides'])} pixels a side, {colour}"


def _volumes(found: Collection) -> list[str]:
    """At which sizes volumes are compared; or how many were made pictures."""
    if found.ndim == 3:
        usual, *others = records.VOLUME_SIZES
        return [f"They are compared as cubes of {usual} voxels a side, with --size of {' or '.join(map(str, others))}."]
    if not found.reduced:
        return []
    return [
        f"{found.reduced:,} of {len(found.files):,} files are volumes, of which the middle slice was taken; "
        "add them with --volumes to compare whole volumes."
    ]


def _classes(classes: dict[str, dict[str, int]]) -> str:
    if not classes:
        return "They have no labels: they can be searched, not ranked."
    rows = [
        {"class": label, "search in": n["train"], "ask with": n["test"], "aside": n["val"]}
        for label, n in classes.items()
    ]
    return table(rows, ("class", "search in", "ask with", "aside"))


def _warnings(document: dict[str, Any]) -> list[str]:
    """What in a source is worth a second look."""
    two, other = document["duplicates_on_two_sides"], document["duplicates_with_other_labels"]
    said = [f"{_number(two, 'set')} of them on two sides, as the source has it."] if two else []
    return said + ([f"{_number(other, 'set')} of them with different labels."] if other else [])


def _burned_in(names: Sequence[str]) -> list[str]:
    """The warning of text in the pixels; nothing where there is none."""
    if not names:
        return []
    said = f"Text seems to be burned into the pixels of {_number(names, 'picture')}: it may name a person."
    return [said, *_few(list(names))]


def _groups(count: int) -> str:
    return f"{count:,} groups, none on two sides" if count else "no groups"


def _range(sides: dict[str, int]) -> str:
    low, high = sides["shortest"], sides["longest"]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(what: Sequence[Any], noun: str) -> str:
    return f"{len(what):,} {noun}" + ("" if len(what) == 1 else "s")


def _few(lines: Sequence[str]) -> list[str]:
    more = [f"  … and {len(lines) - _MOST:,} more; --format json lists all"] if len(lines) > _MOST else []
    return [f"  {line}" for line in lines[:_MOST]] + more
