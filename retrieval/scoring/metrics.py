"""Metrics of ranked neighbours, as pure functions.

Most read gains: float [Q, k], the relevance (0 to 1) of each query's neighbours, best neighbour first; a neighbour is
relevant where its gain is above 0. They return one value a query, float64 or bool [Q]; whoever calls takes the mean.
Lists shorter than k are read as if what is missing were irrelevant.

The study: arXiv 2409.09430 as its code runs it. Its AP and its vote are not the textbook's; both kinds are here, under
different names.
"""

import numpy as np


def average_precision_found(gains: np.ndarray, *, k: int) -> np.ndarray:
    """The study's AP@k: (1/h) sum_i r_i (r_1 + .. + r_i) / i, with h the relevant neighbours found among the k.

    One relevant neighbour at rank 1 and none after it is a perfect 1; 0 where h = 0.
    """
    relevant = gains[:, :k] > 0
    return _precision_sum(relevant) / np.maximum(relevant.sum(axis=1), 1)


def average_precision(gains: np.ndarray, relevant: np.ndarray, *, k: int) -> np.ndarray:
    """Textbook AP@k: sum_i r_i (r_1 + .. + r_i) / i over min(k, relevant); 0 where nothing in the gallery is relevant.

    Args:
        gains: [Q, k].
        relevant: int [Q], how many gallery items are relevant to the query.
        k: How many neighbours are read.

    Source: Manning, Raghavan, Schuetze, Introduction to Information Retrieval (2008), section 8.4, cut at k.
    """
    return _precision_sum(gains[:, :k] > 0) / np.maximum(np.minimum(relevant, k), 1)


def precision(gains: np.ndarray, *, k: int) -> np.ndarray:
    """P@k: the share of the k that is relevant. Source: as `average_precision`."""
    return (gains[:, :k] > 0).sum(axis=1) / k


def hit(gains: np.ndarray, *, k: int) -> np.ndarray:
    """The study's ACC@k: whether at least one of the k is relevant (a hit rate, neither precision nor a vote); bool."""
    return np.asarray((gains[:, :k] > 0).any(axis=1))


def first_rank(gains: np.ndarray, *, k: int) -> np.ndarray:
    """The rank, 1 to k, of the first relevant neighbour; 0 where none of the k is; int64 [Q]."""
    relevant = gains[:, :k] > 0
    return np.where(relevant.any(axis=1), relevant.argmax(axis=1) + 1, 0)


def reciprocal_rank(gains: np.ndarray, *, k: int) -> np.ndarray:
    """1 / rank of the first relevant neighbour among the k, else 0. Source: Voorhees, TREC-8 QA track report (1999)."""
    ranks = first_rank(gains, k=k)
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)


def ndcg(gains: np.ndarray, ideal_gains: np.ndarray, *, k: int) -> np.ndarray:
    """nDCG@k: DCG over the DCG of the ideal list, DCG = sum_i g_i / log2(i + 1); 0 where the ideal is 0.

    Args:
        gains: [Q, k], may be graded.
        ideal_gains: [Q, k], the best gains that the gallery holds for each query, best first.
        k: How many neighbours are read.

    Source: Jarvelin and Kekalainen, ACM TOIS 20(4), 2002, with the discount log2(i + 1) and linear gain.
    """
    ideal = _discounted_sum(ideal_gains[:, :k])
    return np.divide(_discounted_sum(gains[:, :k]), ideal, out=np.zeros(len(gains)), where=ideal > 0)


def vote_counts(neighbours: np.ndarray) -> np.ndarray:
    """Votes a class: every neighbour votes for each class it has. bool [Q, k, C] -> int64 [Q, C]."""
    return neighbours.sum(axis=1, dtype=np.int64)


def tied_vote(votes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The study's mMV: right if a class with the most votes, any of those tied, is the query's.

    Args:
        votes: int [Q, C].
        truth: bool [Q, C], the query's classes.

    Returns:
        bool [Q].
    """
    return np.asarray((_leaders(votes) & truth).any(axis=1))


def strict_winner(neighbours: np.ndarray) -> np.ndarray:
    """The one class that wins the vote of bool [Q, k, C]: of tied classes that of the nearest neighbour; int64 [Q].

    Where that neighbour has several of the tied classes (findings), the lower class number wins.
    """
    leaders = _leaders(vote_counts(neighbours))
    depth = neighbours.shape[1]
    nearest = np.where(neighbours.any(axis=1), neighbours.argmax(axis=1), depth)
    return np.where(leaders, nearest, depth + 1).argmin(axis=1)


def strict_vote(neighbours: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Majority vote, ties to the nearest: whether `strict_winner` of [Q, k, C] is in the truth [Q, C]; bool [Q]."""
    return np.take_along_axis(truth, strict_winner(neighbours)[:, None], axis=1)[:, 0]


def balanced_accuracy(right: np.ndarray, truth: np.ndarray) -> float:
    """The mean, over the classes that any query has, of the share of right answers among the queries of that class.

    Args:
        right: bool [Q].
        truth: bool [Q, C], one class a query.

    Source: Brodersen et al., ICPR 2010; the macro-averaged recall.
    """
    present = truth.any(axis=0)
    recalls = (truth[:, present] * right[:, None]).sum(axis=0) / truth[:, present].sum(axis=0)
    return float(recalls.mean())


def quadratic_kappa(predicted: np.ndarray, truth: np.ndarray, *, n_classes: int) -> float | None:
    """Cohen's kappa with weights (i - j)^2: 1 - sum w O / sum w E, O the confusion counts, E those by chance; -1 to 1.

    Args:
        predicted: int [Q], 0 to n_classes - 1.
        truth: int [Q].
        n_classes: Number of grades.

    Returns:
        None where it is not defined: every grade, given and predicted, is the same.

    Source: Cohen, Psychological Bulletin 70(4), 1968.
    """
    observed = np.zeros((n_classes, n_classes))
    np.add.at(observed, (truth, predicted), 1)
    grades = np.arange(n_classes)
    weights = (grades[:, None] - grades) ** 2
    by_chance = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(truth)
    expected = float((weights * by_chance).sum())
    return 1.0 - float((weights * observed).sum()) / expected if expected > 0 else None


def absolute_error(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many grades the prediction is off, float64 [Q]; its mean is the mean absolute error."""
    return np.abs(predicted.astype(np.float64) - truth)


def _precision_sum(relevant: np.ndarray) -> np.ndarray:
    """sum_i r_i (r_1 + .. + r_i) / i, float64 [Q]."""
    return (relevant * relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)).sum(axis=1)


def _discounted_sum(gains: np.ndarray) -> np.ndarray:
    return (gains / np.log2(np.arange(2, gains.shape[1] + 2))).sum(axis=1)


def _leaders(votes: np.ndarray) -> np.ndarray:
    return votes == votes.max(axis=1, keepdims=True)
