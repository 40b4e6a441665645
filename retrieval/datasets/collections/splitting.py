"""Which split a picture stands in: about 70 % gallery, 10 % validation, 20 % test; what belongs together on one side.

Pictures of one group, and exact duplicates, make one unit. Units are taken in an order that the seed settles (larger
ones first), and each goes where its labels lack most. So for every label each split is about as far from its share as
the largest unit is large; for single pictures, one. Whatever stands already stays where it is.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput

SHARES: Mapping[SplitName, int] = {"train": 7, "val": 1, "test": 2}  # of ten

_ORDER: tuple[SplitName, ...] = ("test", "val", "train")  # of equal lacks the first is met first


@dataclass(frozen=True, slots=True)
class Item:
    """What decides where a picture goes.

    Attributes:
        pixels: The digest that exact duplicates share.
        label, group: As in a record; None where not known.
        split: Where it stands already; None where that is to be decided.
    """

    pixels: str
    label: str | None
    group: str | None
    split: SplitName | None


def assign(items: Sequence[Item], *, seed: int) -> list[SplitName]:
    """A split for each item, in order; BadInput where one group stands on two sides already."""
    by_group = _groups_standing(items)
    counts: dict[str | None, Counter[SplitName]] = defaultdict(Counter)
    for item in items:
        if item.split is not None:
            counts[item.label][item.split] += 1
    units = _units(items)
    splits: list[SplitName | None] = [item.split for item in items]
    for unit in sorted(units, key=lambda unit: _turn(unit, items, seed)):
        left = [place for place in unit if splits[place] is None]
        if not left:
            continue
        usual = _standing(unit, items) or _lacking(left, items, counts)
        for place in left:
            item = items[place]
            found = by_group.get(item.group or "", usual)
            splits[place] = found
            counts[item.label][found] += 1
    return [split for split in splits if split is not None]


def _groups_standing(items: Sequence[Item]) -> dict[str, SplitName]:
    """Where groups stand already."""
    found: dict[str, SplitName] = {}
    for item in items:
        if item.group and item.split is not None and found.setdefault(item.group, item.split) != item.split:
            raise BadInput(
                f"Pictures of the group {item.group!r} stand in two splits, {found[item.group]} and {item.split}.",
                remedy="Put all pictures of a group into one split, or leave the splits out: they are made then.",
            )
    return found


def _units(items: Sequence[Item]) -> list[list[int]]:
    """Places of the items that belong together, by group or by pixels, directly or through others."""
    parents = list(range(len(items)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, item in enumerate(items):
        for key in (("pixels", item.pixels), ("group", item.group or "")):
            if key[1]:
                parents[root(place)] = root(first.setdefault(key, place))
    units: dict[int, list[int]] = defaultdict(list)
    for place in range(len(items)):
        units[root(place)].append(place)
    return list(units.values())


def _turn(unit: list[int], items: Sequence[Item], seed: int) -> tuple[int, str]:
    """Larger units first, then as the seed has it, whatever the order of names and whatever groups are called."""
    key = min(items[place].pixels for place in unit)
    return -len(unit), hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).hexdigest()


def _standing(unit: list[int], items: Sequence[Item]) -> SplitName | None:
    """Where most of a unit stands already."""
    standing = Counter(split for place in unit if (split := items[place].split) is not None)
    return max(_ORDER, key=lambda split: standing[split]) if standing else None


def _lacking(unit: list[int], items: Sequence[Item], counts: Mapping[str | None, Counter[SplitName]]) -> SplitName:
    """The split that lacks most of a unit's labels, once the unit is counted among them; in whole numbers."""
    labels = Counter(items[place].label for place in unit)

    def lack(split: SplitName) -> int:
        return sum(
            number * (SHARES[split] * (counts[label].total() + number) - 10 * counts[label][split])
            for label, number in labels.items()
        )

    return max(_ORDER, key=lack)
