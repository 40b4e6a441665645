"""When a neighbour is relevant to a query: labels -> indicators, gains and words."""

import numpy as np

from retrieval.datasets.specs import Dataset

NO_FINDING = "no finding"


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """The dataset's classes in the order of `indicator`'s columns; a set of findings has "no finding" as its last."""
    return (*dataset.classes, NO_FINDING) if dataset.task == "findings" else dataset.classes


def indicator(dataset: Dataset, labels: np.ndarray) -> np.ndarray:
    """Which classes each item has.

    Args:
        dataset: Whose labels they are.
        labels: [..., L] as in a Split: one class or grade in the first column, or one column of 0 and 1 a finding.

    Returns:
        bool [..., C], C = len(class_names(dataset)): one class true; or the findings, and where there is none the last.
    """
    labels = np.asarray(labels)
    if dataset.task != "findings":
        return labels[..., :1] == np.arange(len(dataset.classes))
    found = labels.astype(bool)
    return np.concatenate([found, ~found.any(axis=-1, keepdims=True)], axis=-1)


def gains(query: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """1 where a neighbour shares a class with its query, else 0.

    Args:
        query: bool [Q, C].
        neighbours: bool [Q, k, C].

    Returns:
        float64 [Q, k].
    """
    return np.asarray((query[:, None, :] & neighbours).any(axis=-1), dtype=np.float64)


def closeness(dataset: Dataset, query_labels: np.ndarray, neighbour_labels: np.ndarray) -> np.ndarray:
    """How close a neighbour's grade a is to the query's b: 1 - |a - b| / (C - 1), 1 for the same, 0 for the far end.

    Args:
        dataset: One of ordered grades.
        query_labels: [Q, 1].
        neighbour_labels: [Q, k, 1].

    Returns:
        float64 [Q, k].
    """
    steps = np.abs(neighbour_labels[:, :, 0].astype(np.int64) - query_labels[:, :1].astype(np.int64))
    return np.asarray(1.0 - steps / max(len(dataset.classes) - 1, 1))


def label_name(dataset: Dataset, labels: np.ndarray) -> str:
    """The labels of one item, [L], in words: "malignant"; "effusion, mass"; "no finding"."""
    has = indicator(dataset, labels)
    return ", ".join(name for name, present in zip(class_names(dataset), has, strict=True) if present)
