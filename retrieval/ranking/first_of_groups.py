"""Of each group of gallery items only its nearest: one card a patient instead of five of the same one."""

from collections.abc import Callable

import numpy as np

DEPTH = 100  # neighbours that are looked through before the whole gallery is

Nearest = Callable[[int], tuple[np.ndarray, np.ndarray]]


def first_of_groups(
    nearest: Nearest, groups: np.ndarray | None, *, k: int, deep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest item of each of the k nearest groups, nearest first; fewer where there are fewer groups.

    Exact: where the first hundred neighbours hold fewer than k groups, all of the gallery are looked at.

    Args:
        nearest: k -> gallery indices and scores of a query, [k] or fewer where there are fewer, best first.
        groups: Group numbers of the gallery, int [N]; None: each item is a group of its own.
        deep: Look at the whole gallery at once, for a query of which every asking costs much.

    Returns:
        Indices and scores, [k] or fewer.
    """
    if groups is None:
        return nearest(k)
    for depth in (len(groups),) if deep else (min(DEPTH, len(groups)), len(groups)):
        indices, scores = nearest(depth)
        _, places = np.unique(groups[indices], return_index=True)
        first = np.sort(places)[:k]
        if len(first) == k:
            break
    return indices[first], scores[first]
