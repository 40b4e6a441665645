"""Of each group its nearest item: against looking at everything, also where a hundred neighbours do not reach."""

import numpy as np
import pytest

from retrieval.ranking.first_of_groups import DEPTH, first_of_groups


def ranked(count: int, seed: int):
    """`nearest` of one query among `count` items, and how deep it was asked."""
    order, asked = np.random.default_rng(seed).permutation(count), []

    def nearest(k: int):
        asked.append(k)
        return order[:k], np.arange(count, dtype=np.float32)[:k]

    return nearest, order, asked


def by_hand(order: np.ndarray, groups: np.ndarray, k: int) -> list[int]:
    seen, found = set(), []
    for index in order:
        if groups[index] not in seen:
            seen.add(groups[index])
            found.append(int(index))
    return found[:k]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("sizes", [1, 7, 60, 400])
def test_it_is_what_looking_at_everything_finds(sizes: int, deep: bool):
    nearest, order, _ = ranked(600, seed=sizes)
    groups = np.random.default_rng(1).permutation(600) // sizes
    indices, scores = first_of_groups(nearest, groups, k=5, deep=deep)
    assert indices.tolist() == by_hand(order, groups, 5)
    assert [order[int(score)] for score in scores] == indices.tolist()
    assert len(indices) == min(5, len(set(groups)))


def test_a_hundred_are_enough_where_they_hold_so_many_groups():
    nearest, order, asked = ranked(600, seed=0)
    first_of_groups(nearest, np.arange(600), k=100, deep=False)
    assert asked == [DEPTH]
    groups = np.arange(600)
    groups[order[:150]] = 9  # one patient has all of the nearest
    indices, _ = first_of_groups(nearest, groups, k=2, deep=False)
    assert asked == [DEPTH, DEPTH, 600]
    assert indices.tolist() == by_hand(order, groups, 2)
