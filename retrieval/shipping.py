"""What is computed becomes what is shipped: for developers, who fill `precomputed/` on purpose."""

from retrieval import artifacts, evaluation, results
from retrieval.cells import Cell
from retrieval.embeddings import embedding
from retrieval.groups import key_of
from retrieval.ranking import neighbours as ranked
from retrieval.roots import Roots


def ship(cell: Cell, roots: Roots, *, gallery: bool = False) -> None:
    """Put the result, the neighbour lists and the groups of an evaluated cell into the precomputed root.

    With `gallery` also the gallery's embeddings, so that a first upload is answered without embedding the gallery.
    """
    result = evaluation.evaluate(cell, roots)
    results.write(roots.precomputed, result)
    parts = evaluation.marks(cell, roots)
    keys = {ranked.key_of(cell.key, side): parts.neighbours(side) for side in ("test", "train")}
    keys[key_of(cell.data, cell.size)] = parts.groups
    if gallery:
        keys[embedding.key_of(cell.data, cell.size, "train", cell.spec)] = parts.embeddings("train")
    for key, mark in keys.items():
        artifacts.carry(roots.lookup, roots.precomputed, key, fingerprint=mark)
