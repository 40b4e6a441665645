"""Ranked gallery items -> the neighbours of an Answer, and the vote among them."""

import numpy as np

from retrieval.answers import Neighbour, Tally
from retrieval.datasets import relevance
from retrieval.datasets.specs import Split
from retrieval.errors import BadInput

USUAL, MOST = 5, 100  # neighbours: where nobody says how many, and the most that are ever given


def settled_k(k: int | None, gallery: Split, *, itself: bool) -> int:
    """How many neighbours to give: k, or where none is asked for five, and all where the gallery holds fewer.

    `itself`: the query is of the gallery, and left out. BadInput where the gallery cannot give k.
    """
    data, held = gallery.dataset, len(gallery)
    most = min(held - itself, MOST)
    settled = min(USUAL, most) if k is None else k
    if 1 <= settled <= most:
        return settled
    if most == MOST or (k is not None and k < 1):
        raise BadInput(f"k is {k}.", remedy=f"Choose a k between 1 and {most}.")
    own, these = ", this one among them" if itself else "", "neighbour" if most == 1 else "neighbours"
    raise BadInput(
        f"The gallery of {data.title} holds {held} {data.noun}s{own}, so at most {most} {these} can be shown.",
        remedy=f"Choose a k between 1 and {most}.",
    )


def neighbour(
    rank: int, index: int, score: float, gallery: Split, truth: np.ndarray | None, kin: str | None
) -> Neighbour:
    """One gallery item as a neighbour.

    Args:
        rank, index, score: As it was ranked.
        gallery: Which it is an item of.
        truth: The query's own labels as an indicator row, where they are known.
        kin: Whether it is the query's picture again.
    """
    labels = np.asarray(gallery.labels[index])
    has = relevance.indicator(gallery.dataset, labels)
    return Neighbour(
        rank=rank,
        index=index,
        labels=numbers(has),
        label_name=relevance.label_name(gallery.dataset, labels),
        score=score,
        agrees=None if truth is None else bool((has & truth).any()),
        duplicate=kin,  # type: ignore[arg-type]
    )


def numbers(has: np.ndarray) -> tuple[int, ...]:
    """The label numbers of an indicator row, as `relevance.class_names` counts them."""
    return tuple(int(label) for label in np.flatnonzero(has))


def vote(found: tuple[Neighbour, ...], gallery: Split) -> tuple[Tally, ...]:
    """Classes among the neighbours, most votes first; of equal ones that of the nearer neighbour.

    None where the gallery has no labels.
    """
    if not gallery.dataset.labelled:
        return ()
    names = relevance.class_names(gallery.dataset)
    has = np.array([[label in neighbour.labels for label in range(len(names))] for neighbour in found])
    shares = relevance.indicator(gallery.dataset, np.asarray(gallery.labels)).mean(axis=0)
    votes, first = has.sum(axis=0), has.argmax(axis=0)
    order = sorted(np.flatnonzero(votes), key=lambda label: (-votes[label], first[label], label))
    return tuple(
        Tally(int(label), names[label], int(votes[label]), float(votes[label] / len(found)), float(shares[label]))
        for label in order
    )
