"""Where the page finds its pictures and files: relative addresses with a version, so that they may be kept for ever."""

from urllib.parse import urlencode

import retrieval
from retrieval.answers import ItemQuery
from retrieval.cells import Cell
from retrieval.datasets.specs import Split

DIGITS = 8  # of a digest: enough to tell two states of a dataset apart
SLICE = "{z}"
"""Stands in an address for the number of a slice; the page puts it in."""


def picture(cell: Cell, item: ItemQuery, version: str) -> str:
    """The picture itself at its own pixels; of a volume one slice, with `{z}` for its number."""
    place = f"{cell.dataset}/{cell.size}/{item.split}/{item.index}"
    if cell.data.ndim == 3:
        return f"slice/{place}/{SLICE}.png?v={version}"
    return f"picture/{place}.png?v={version}"


def seen(cell: Cell, item: ItemQuery, version: str) -> str:
    """What the extractor sees of it; of a volume one slice, with `{z}` for its number."""
    place = f"{cell.dataset}/{cell.size}/{cell.encoder}/{item.split}/{item.index}"
    if cell.data.ndim == 3:
        return f"seen-slice/{place}/{SLICE}.png?v={version}"
    return f"seen/{place}.png?v={version}"


def uploaded(token: str) -> str:
    """A visitor's picture."""
    return f"upload/{token}/picture.png"


def uploaded_seen(cell: Cell, token: str) -> str:
    """What the extractor sees of a visitor's picture."""
    words = urlencode({"dataset": cell.dataset, "size": cell.size, "encoder": cell.encoder})
    return f"upload/{token}/seen.png?{words}"


def version_of(split: Split) -> str:
    """Changes whenever the pictures of a split, or the way they are drawn, may have changed."""
    return f"{split.digest[:DIGITS]}-{retrieval.__version__}"
