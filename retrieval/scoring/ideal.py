"""What the gallery holds for each query: how many relevant items, and the best gains any ranking could have."""

import numpy as np

from retrieval.datasets import relevance
from retrieval.datasets.specs import Dataset


def relevant_counts(
    dataset: Dataset, *, query_labels: np.ndarray, gallery_labels: np.ndarray, left_out: np.ndarray | None = None
) -> np.ndarray:
    """How many gallery items share a class with each query.

    Args:
        dataset: Whose labels they are.
        query_labels: [Q, L].
        gallery_labels: [N, L].
        left_out: int [P, 2], pairs (query, gallery item) of items that are not in that query's gallery; no pair twice.

    Returns:
        int64 [Q].
    """
    # Label rows repeat (78,468 items of 14 findings have under a thousand), so only different ones are multiplied.
    queries, position = np.unique(query_labels, axis=0, return_inverse=True)
    items, counts = np.unique(gallery_labels, axis=0, return_counts=True)
    shared = _shares(relevance.indicator(dataset, queries), relevance.indicator(dataset, items))
    found = (shared @ counts)[position.reshape(-1)]
    if left_out is not None and len(left_out):
        query, item = left_out.T
        has = relevance.indicator(dataset, query_labels[query])
        gone = (has & relevance.indicator(dataset, gallery_labels[item])).any(axis=1)
        np.subtract.at(found, query, gone.astype(found.dtype))
    return found


def ideal_gains(relevant: np.ndarray, *, k: int) -> np.ndarray:
    """The best gains where gains are 0 or 1: min(k, relevant) ones. int [Q] -> float64 [Q, k]."""
    return (np.arange(k) < relevant[:, None]).astype(np.float64)


def ideal_closeness(
    dataset: Dataset,
    *,
    query_labels: np.ndarray,
    gallery_labels: np.ndarray,
    k: int,
    left_out: np.ndarray | None = None,
) -> np.ndarray:
    """The k best values of `relevance.closeness` that the gallery of an ordinal dataset holds, best first.

    Args as in `relevant_counts`; float64 [Q, k], 0 where the gallery has fewer than k items.
    """
    n_classes = len(dataset.classes)
    held = np.bincount(gallery_labels[:, 0], minlength=n_classes)
    held = np.repeat(held[None, :], len(query_labels), axis=0)
    if left_out is not None and len(left_out):
        np.subtract.at(held, (left_out[:, 0], gallery_labels[left_out[:, 1], 0]), 1)
    grades = np.broadcast_to(np.arange(n_classes)[None, :, None], (len(query_labels), n_classes, 1))
    close = relevance.closeness(dataset, query_labels, grades)
    order = np.argsort(-close, axis=1, kind="stable")
    best_first = np.pad(np.take_along_axis(close, order, axis=1), ((0, 0), (0, 1)))
    used_up = np.take_along_axis(held, order, axis=1).cumsum(axis=1)
    grade_at = (used_up[:, None, :] <= np.arange(k)[None, :, None]).sum(axis=-1)
    return np.take_along_axis(best_first, grade_at, axis=1)


def _shares(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Whether two rows share a class: bool [A, C], bool [B, C] -> int64 [A, B]."""
    return (queries.astype(np.int64) @ items.T.astype(np.int64) > 0).astype(np.int64)
