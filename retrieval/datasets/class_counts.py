"""How many items of each class a dataset's splits hold: enough to know what an answer is worth that looks at none."""

import logging

import numpy as np

from retrieval import artifacts
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.datasets.specs import Dataset, SplitName
from retrieval.errors import RetrievalError
from retrieval.roots import Roots

log = logging.getLogger(__name__)

FILE = "published/class_counts.json"


def unordered_labels(
    dataset: Dataset, size: int, split: SplitName, roots: Roots, *, open_file: bool = False
) -> np.ndarray | None:
    """The labels of a split, int64 [N, L], in no particular order; None where they are not known.

    They are rebuilt from the shipped counts; a dataset has the same items, hence the same counts, at each of its sizes.

    Args:
        open_file: Where no counts are shipped, open the dataset's file if it is at hand. That takes long for a large
            file which was never opened before, so ask for it only where it was.
    """
    counts = _shipped(dataset, roots)
    if counts is not None:
        return np.repeat(np.arange(len(dataset.classes), dtype=np.int64), counts[split])[:, None]
    if not open_file or not is_at_hand(dataset, size, roots):
        return None
    try:
        return open_split(dataset, size, split, roots).labels
    except RetrievalError as error:
        log.warning("The labels of %s at %d are not known: %s", dataset.name, size, error)
        return None


def _shipped(dataset: Dataset, roots: Roots) -> dict[str, list[int]] | None:
    document = artifacts.read_json(roots.precomputed / FILE) or {}
    return document.get("datasets", {}).get(dataset.name)
