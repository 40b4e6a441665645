"""Which split a picture goes to: shares, groups and duplicates on one side, and nothing that stands is moved."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from retrieval.datasets.collections.splitting import Item, assign
from retrieval.errors import BadInput


def items(counts: dict[str, int], *, group: int = 0) -> list[Item]:
    """So many items of each label; with `group`, so many in turn of one group."""
    made = []
    for label, count in counts.items():
        for number in range(count):
            named = f"{label}{number // group}" if group else None
            made.append(Item(f"{label}-{number}", label, named, None))
    return made


def test_ten_of_a_label_are_seven_one_and_two():
    assert Counter(assign(items({"a": 10}), seed=0)) == {"train": 7, "val": 1, "test": 2}


@pytest.mark.parametrize("seed", range(5))
def test_single_pictures_are_within_one_of_their_share(seed: int):
    counts = {"rare": 3, "some": 17, "many": 251}
    made = items(counts)
    found: dict[str, Counter] = defaultdict(Counter)
    for item, split in zip(made, assign(made, seed=seed), strict=True):
        found[item.label or ""][split] += 1
    for label, count in counts.items():
        for split, share in {"train": 0.7, "val": 0.1, "test": 0.2}.items():
            assert abs(found[label][split] - share * count) <= 1, (label, split)


def test_a_group_is_never_on_two_sides_and_the_shares_are_near():
    made = items({"a": 300, "b": 300}, group=6)
    splits = assign(made, seed=1)
    sides: dict[str | None, set] = defaultdict(set)
    for item, split in zip(made, splits, strict=True):
        sides[item.group].add(split)
    assert all(len(side) == 1 for side in sides.values())
    counted = Counter(splits)
    assert abs(counted["train"] - 420) <= 12 and abs(counted["test"] - 120) <= 12


def test_groups_that_share_a_picture_stand_on_one_side():
    made = items({"a": 40}, group=4)
    made[3] = replace(made[3], pixels="same")  # of the group a0
    made[5] = replace(made[5], pixels="same")  # of the group a1
    splits = assign(made, seed=0)
    assert len({splits[place] for place in range(8)}) == 1


def test_the_order_of_names_does_not_matter_but_the_seed_does():
    made = items({"a": 50, "b": 20})
    order = np.random.default_rng(0).permutation(len(made))
    before = assign(made, seed=3)
    after = assign([made[place] for place in order], seed=3)
    assert [before[place] for place in order] == after
    assert assign(made, seed=4) != before


def test_what_stands_stays_and_new_pictures_fill_what_lacks():
    forty = items({"a": 40})
    old = [replace(item, split=split) for item, split in zip(forty, assign(forty, seed=0), strict=True)]
    new = [Item(f"new-{number}", "a", None, None) for number in range(60)]
    splits = assign([*old, *new], seed=0)
    assert splits[:40] == [item.split for item in old]
    assert Counter(splits) == {"train": 70, "val": 10, "test": 20}


def test_a_new_picture_goes_where_its_group_or_its_double_stands():
    standing = [Item("p1", "a", "g1", "test"), Item("p2", "a", None, "val"), *items({"a": 30})[:30]]
    fixed = [item if item.split else replace(item, split="train") for item in standing]
    splits = assign([*fixed, Item("p3", "a", "g1", None), Item("p2", "a", None, None)], seed=0)
    assert splits[-2:] == ["test", "val"]


def test_of_two_that_decide_the_group_does():
    standing = [Item("p1", "a", "g1", "test"), Item("p2", "a", "g2", "train")]
    assert assign([*standing, Item("p2", "a", "g1", None)], seed=0)[-1] == "test"


def test_a_group_that_stands_on_two_sides_is_refused():
    with pytest.raises(BadInput, match="'g1' stand in two splits, train and test"):
        assign([Item("p1", "a", "g1", "train"), Item("p2", "a", "g1", "test")], seed=0)


def test_without_labels_the_shares_hold_too():
    made = [Item(str(number), None, None, None) for number in range(100)]
    assert Counter(assign(made, seed=0)) == {"train": 70, "val": 10, "test": 20}
