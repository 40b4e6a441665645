"""How often the first neighbour has been right, and how near it is, measured on the dataset's own pictures."""

import numpy as np

from retrieval.datasets import relevance
from retrieval.datasets.specs import Dataset


def by_true_class(
    dataset: Dataset, *, test_labels: np.ndarray, first_labels: np.ndarray, label: int
) -> tuple[int, int]:
    """Among test pictures that have a class: how many first neighbours have it too.

    Args:
        dataset: Whose labels they are.
        test_labels: [Q, L].
        first_labels: [Q, L], of each test picture's first neighbour.
        label: Its position in `relevance.class_names`.

    Returns:
        (hits, n); n may be 0.
    """
    return _shared(test_labels, first_labels, dataset=dataset, label=label)


def by_first_neighbour(
    dataset: Dataset, *, test_labels: np.ndarray, first_labels: np.ndarray, label: int
) -> tuple[int, int]:
    """Among test pictures whose first neighbour has a class: how many have it themselves. As `by_true_class`."""
    return _shared(first_labels, test_labels, dataset=dataset, label=label)


def percentile_of(score: float, reference: np.ndarray, *, lower_is_nearer: bool) -> float | None:
    """The percent (0 to 100) of the reference scores that are at least as near; None where there is no reference.

    Args:
        score: Of the query's first neighbour.
        reference: float [N], of the gallery's own first neighbours.
        lower_is_nearer: True for a distance, False for a similarity.
    """
    if len(reference) == 0:
        return None
    as_near = reference <= score if lower_is_nearer else reference >= score
    return 100.0 * int(as_near.sum()) / len(reference)


def _shared(given: np.ndarray, other: np.ndarray, *, dataset: Dataset, label: int) -> tuple[int, int]:
    has = relevance.indicator(dataset, given)[:, label]
    other_has = relevance.indicator(dataset, other)[:, label]
    return int((has & other_has).sum()), int(has.sum())
