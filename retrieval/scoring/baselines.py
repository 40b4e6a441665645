"""What one gets without looking at a picture: the constant answer, and blind draws in closed form."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.datasets import relevance
from retrieval.datasets.specs import Dataset
from retrieval.scoring.ideal import relevant_counts
from retrieval.scoring.reading import hit_depths


@dataclass(frozen=True)
class Baseline:
    """The study's metrics of an answer that knows no picture.

    Attributes:
        metrics: Percent at full precision: mAP@k, mMV@k, ACC@1, ACC@3, ACC@k; absent where there is no closed form.
        hits: Queries answered rightly; empty where the figures are expectations.
        n_queries: Number of queries.
    """

    metrics: Mapping[str, float]
    hits: Mapping[str, int]
    n_queries: int


def majority(dataset: Dataset, *, gallery_labels: np.ndarray, query_labels: np.ndarray, k: int = 5) -> Baseline:
    """Always the gallery's commonest class (of equally common ones the lower number), whatever the query.

    All k neighbours are then right or all are wrong, so every metric is the share of queries that have that class.

    Args:
        dataset: Whose labels they are.
        gallery_labels: [N, L].
        query_labels: [Q, L].
        k: As in the metrics' names.
    """
    commonest = int(relevance.indicator(dataset, gallery_labels).sum(axis=0).argmax())
    hits, n_queries = int(relevance.indicator(dataset, query_labels)[:, commonest].sum()), len(query_labels)
    counted = (f"mMV@{k}", *(f"ACC@{depth}" for depth in hit_depths(k)))
    return Baseline(
        metrics=dict.fromkeys((f"mAP@{k}", *counted), 100.0 * hits / n_queries),
        hits=dict.fromkeys(counted, hits),
        n_queries=n_queries,
    )


def blind_draw(dataset: Dataset, *, gallery_labels: np.ndarray, query_labels: np.ndarray, k: int = 5) -> Baseline:
    """The expected metrics of k items drawn from the gallery with replacement, in closed form.

    With p the share of the gallery that is relevant to a query, ACC@m is 1 - (1 - p)^m; see `expected_found_precision`
    for mAP and `expected_tied_vote` for mMV, which is absent for findings: their votes are not independent draws.

    Args:
        dataset: Whose labels they are.
        gallery_labels: [N, L].
        query_labels: [Q, L].
        k: How many are drawn.
    """
    relevant = relevant_counts(dataset, query_labels=query_labels, gallery_labels=gallery_labels)
    share = relevant / len(gallery_labels)
    values = {f"mAP@{k}": expected_found_precision(share, k=k)}
    if dataset.task != "findings":
        shares = relevance.indicator(dataset, gallery_labels).mean(axis=0)
        values[f"mMV@{k}"] = expected_tied_vote(shares, k=k)[query_labels[:, 0]]
    values |= {f"ACC@{depth}": 1.0 - (1.0 - share) ** depth for depth in hit_depths(k)}
    percent = {name: 100.0 * float(value.mean()) for name, value in values.items()}
    return Baseline(metrics=percent, hits={}, n_queries=len(query_labels))


def expected_found_precision(share: np.ndarray, *, k: int) -> np.ndarray:
    """The expectation of `metrics.average_precision_found` where each of the k is relevant with probability `share`.

    Given h relevant ones among the k, every order is equally likely: rank i holds one with probability h / k, and then
    (i - 1)(h - 1) / (k - 1) are expected before it. So E[AP | h] = (1/k) sum_i (1 + (i - 1)(h - 1) / (k - 1)) / i,
    weighted by the binomial probability of h = 1 .. k.

    Args:
        share: float [...], 0 to 1.
        k: How many are drawn.
    """
    ranks = np.arange(1, k + 1)
    expected = np.zeros_like(share, dtype=np.float64)
    for found in range(1, k + 1):
        before = (ranks - 1) * (found - 1) / max(k - 1, 1)
        given_found = float(((1 + before) / ranks).sum()) / k
        expected = expected + math.comb(k, found) * share**found * (1.0 - share) ** (k - found) * given_found
    return expected


def expected_tied_vote(shares: np.ndarray, *, k: int) -> np.ndarray:
    """For each class, the probability that it is among those with the most votes of k draws with replacement.

    The sum of the multinomial probabilities of all counts in which no class has more votes than it.

    Args:
        shares: float [C], the classes' shares in the gallery, summing to 1.
        k: How many are drawn.

    Returns:
        float64 [C].
    """
    counts = _compositions(k, parts=len(shares))
    factorials = np.array([math.factorial(number) for number in range(k + 1)], dtype=np.float64)
    ways = factorials[k] / factorials[counts].prod(axis=1)
    probability = ways * (shares**counts).prod(axis=1)
    leads = counts == counts.max(axis=1, keepdims=True)
    return probability @ leads


def _compositions(total: int, *, parts: int) -> np.ndarray:
    """Every split of `total` votes among `parts` classes, int64 [ways, parts]: bars placed among stars."""
    bars = itertools.combinations(range(total + parts - 1), parts - 1)
    places = np.array([(-1, *bar, total + parts - 1) for bar in bars], dtype=np.int64)
    return np.diff(places, axis=1) - 1
