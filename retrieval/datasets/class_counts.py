"""How many items of each class a dataset's splits hold: enough to know what an answer is worth that looks at none."""

import numpy as np

from retrieval import artifacts
from retrieval.datasets.specs import Dataset
from retrieval.roots import Roots

FILE = "published/class_counts.json"


def unordered_labels(dataset: Dataset, split: str, roots: Roots) -> np.ndarray | None:
    """A split's labels, int64 [N, 1], class by class, not in the items' order; None where no counts are shipped.

    A dataset has the same items, hence the same counts, at each of its sizes.
    """
    document = artifacts.read_json(roots.precomputed / FILE) or {}
    counts = document.get("datasets", {}).get(dataset.name)
    if counts is None:
        return None
    return np.repeat(np.arange(len(dataset.classes), dtype=np.int64), counts[split])[:, None]
