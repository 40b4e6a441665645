"""A ranking and its labels -> the numbers of one reading."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.datasets import relevance
from retrieval.datasets.specs import Dataset
from retrieval.scoring import ideal, metrics

RULES_VERSION = 1  # raise it whenever a number for the same ranking changes; it is part of a Result's fingerprint


@dataclass(frozen=True, eq=False)
class Scores:
    """The numbers of one reading of a ranking.

    Attributes:
        metrics: Percent at full precision, but kappa@1 (-1 to 1) and MAE@1 (grades). Absent where not defined.
        hits: For metrics that are a share of queries: how many.
        n_queries: Number of queries.
        ranks: int64 [Q], the rank (1 to k) of the first neighbour that shares the query's label; 0 if none does.
    """

    metrics: Mapping[str, float]
    hits: Mapping[str, int]
    n_queries: int
    ranks: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ranking:
    """What the metrics read, made once: gains [Q, k], the neighbours' [Q, k, C] and the queries' [Q, C] classes."""

    gains: np.ndarray
    neighbours: np.ndarray
    truth: np.ndarray
    relevant: np.ndarray
    k: int


def read_ranking(
    dataset: Dataset,
    *,
    query_labels: np.ndarray,
    neighbour_labels: np.ndarray,
    gallery_labels: np.ndarray,
    k: int = 5,
    left_out: np.ndarray | None = None,
) -> Scores:
    """Every metric that the dataset's task allows, of neighbours already ranked.

    Args:
        dataset: Whose labels they are.
        query_labels: [Q, L], Q at least 1.
        neighbour_labels: [Q, k or more, L], best first.
        gallery_labels: [N, L], of the whole gallery.
        k: How many neighbours are read; it is in the metrics' names.
        left_out: int [P, 2], pairs (query, gallery item) not in that query's gallery: its group, if that is left out.
    """
    neighbours = relevance.indicator(dataset, neighbour_labels[:, :k])
    truth = relevance.indicator(dataset, query_labels)
    gallery = {"query_labels": query_labels, "gallery_labels": gallery_labels, "left_out": left_out}
    ranking = _Ranking(
        gains=relevance.gains(truth, neighbours),
        neighbours=neighbours,
        truth=truth,
        relevant=ideal.relevant_counts(dataset, **gallery),
        k=k,
    )
    if dataset.task == "ordinal":
        graded = relevance.closeness(dataset, query_labels, neighbour_labels[:, :k])
        best = ideal.ideal_closeness(dataset, k=k, **gallery)
    else:
        graded, best = ranking.gains, ideal.ideal_gains(ranking.relevant, k=k)
    hits, n_queries = _hits(ranking), len(truth)
    values = {
        f"mAP@{k}": _percent(metrics.average_precision_found(ranking.gains, k=k)),
        **{name: 100.0 * count / n_queries for name, count in hits.items()},
        **_textbook(ranking),
        f"nDCG@{k}": _percent(metrics.ndcg(graded, best, k=k)),
        **_single_label(dataset, ranking=ranking, query_labels=query_labels, first_labels=neighbour_labels[:, 0]),
    }
    return Scores(metrics=values, hits=hits, n_queries=n_queries, ranks=metrics.first_rank(ranking.gains, k=k))


def hit_depths(k: int) -> tuple[int, ...]:
    """The depths at which ACC is read: 1, 3 and k itself."""
    return tuple(sorted({depth for depth in (1, 3, k) if depth <= k}))


def _hits(ranking: _Ranking) -> dict[str, int]:
    tied = metrics.tied_vote(metrics.vote_counts(ranking.neighbours), ranking.truth)
    right = {f"mMV@{ranking.k}": tied}
    right |= {f"ACC@{depth}": metrics.hit(ranking.gains, k=depth) for depth in hit_depths(ranking.k)}
    right[f"MV@{ranking.k}"] = metrics.strict_vote(ranking.neighbours, ranking.truth)
    return {name: int(values.sum()) for name, values in right.items()}


def _textbook(ranking: _Ranking) -> dict[str, float]:
    k = ranking.k
    return {
        f"P@{k}": _percent(metrics.precision(ranking.gains, k=k)),
        f"AP@{k}": _percent(metrics.average_precision(ranking.gains, ranking.relevant, k=k)),
        f"MRR@{k}": _percent(metrics.reciprocal_rank(ranking.gains, k=k)),
    }


def _single_label(
    dataset: Dataset, *, ranking: _Ranking, query_labels: np.ndarray, first_labels: np.ndarray
) -> dict[str, float]:
    """What needs one label an item; of findings there is no confusion matrix."""
    if dataset.task == "findings":
        return {}
    right = metrics.hit(ranking.gains, k=1)
    values: dict[str, float] = {"balanced ACC@1": 100.0 * metrics.balanced_accuracy(right, ranking.truth)}
    if dataset.task == "ordinal":
        predicted, truth = first_labels[:, 0], query_labels[:, 0]
        kappa = metrics.quadratic_kappa(predicted, truth, n_classes=len(dataset.classes))
        values |= {} if kappa is None else {"kappa@1": kappa}
        values["MAE@1"] = float(metrics.absolute_error(predicted, truth).mean())
    return values


def _percent(values: np.ndarray) -> float:
    return 100.0 * float(values.mean())
