"""Where the page finds its pictures and files: relative addresses with a version, so that they may be kept for ever."""

from urllib.parse import urlencode

import retrieval
from retrieval.answers import ItemQuery
from retrieval.cells import Cell
from retrieval.datasets.specs import Split
from retrieval.errors import Unavailable

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


def uploaded_slice(token: str) -> str:
    """One slice of a visitor's volume, with `{z}` for its number."""
    return f"upload/{token}/slice/{SLICE}.png"


def uploaded_seen(cell: Cell, token: str) -> str:
    """What the extractor sees of a visitor's picture; of a volume one slice, with `{z}` for its number."""
    words = urlencode({"dataset": cell.dataset, "size": cell.size, "encoder": cell.encoder})
    if cell.data.ndim == 3:
        return f"upload/{token}/seen-slice/{SLICE}.png?{words}"
    return f"upload/{token}/seen.png?{words}"


def version_of(split: Split) -> str:
    """Changes whenever the pictures of a split, or the way they are drawn, may have changed."""
    return f"{split.digest[:DIGITS]}-{retrieval.__version__}"


def check_version(cell: Cell, version: str) -> None:
    """Unavailable where a version is of a collection as it was before an update: the number is another picture's."""
    own = cell.data.own
    if own is not None and version and not version.startswith(own.digest[:DIGITS]):
        raise Unavailable(f"The collection {cell.dataset} was updated since.", remedy="Ask again.")
