"""Files of a collection that hold the same picture: equal in every decoded pixel, whatever their bytes and names."""

from collections import defaultdict
from collections.abc import Iterable

from retrieval.datasets.collections.records import File


def duplicates(files: Iterable[File]) -> tuple[tuple[File, ...], ...]:
    """Sets of two or more files that hold the same picture, in the order of their first names."""
    alike: dict[str, list[File]] = defaultdict(list)
    for file in files:
        alike[file.pixels].append(file)
    return tuple(tuple(same) for same in alike.values() if len(same) > 1)


def crossing(files: Iterable[File]) -> tuple[tuple[File, ...], ...]:
    """Those of them that stand in more than one split, as only the source's own splits or groups can have it."""
    return tuple(same for same in duplicates(files) if len({file.split for file in same}) > 1)


def contradicting(files: Iterable[File]) -> tuple[tuple[File, ...], ...]:
    """Those of them that have different labels."""
    return tuple(same for same in duplicates(files) if len({file.label for file in same}) > 1)
