"""The vectors of a collection by an encoder, with what is told of each item: as a file of vectors holds them."""

import numpy as np

from retrieval.cells import Cell
from retrieval.datasets.collections import records
from retrieval.datasets.collections.imported import Imported
from retrieval.datasets.specs import SPLITS, SplitName
from retrieval.embeddings import embedding
from retrieval.embeddings.embedding import Progress
from retrieval.errors import Unavailable
from retrieval.roots import Roots


def exported(cell: Cell, roots: Roots, *, device: str = "auto", progress: Progress | None = None) -> Imported:
    """The vectors of all pictures of a cell's collection, split by split; what is not embedded yet is embedded.

    Raises:
        UnknownName: The cell's dataset is no collection.
        Unavailable: The pictures or the weights are not at hand, or it is one of volumes.
    """
    if cell.data.ndim == 3:
        raise Unavailable(
            f"Extractors make a vector of each slice of a volume of {cell.data.title}, and a file holds one an item.",
            remedy="Leave --encoder out: then what is known of each volume is written.",
        )
    collection = records.find(cell.dataset, roots)
    splits: list[SplitName] = [split for split in SPLITS if cell.data.counts[split]]
    made = [
        embedding.embed(cell.data, cell.size, split, cell.spec, roots, device=device, progress=progress).vectors
        for split in splits
    ]
    files = [file for split in splits for file in collection.of(split)]
    return Imported(
        vectors=np.concatenate(made),
        ids=tuple(file.name for file in files),
        labels=tuple(file.label or "" for file in files) if collection.labelled else None,
        groups=tuple(file.group for file in files) if any(file.group for file in files) else None,
        splits=tuple(file.split for file in files),
    )
