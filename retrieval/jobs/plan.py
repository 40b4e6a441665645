"""What there is to do: a selection of names -> its cells, each with its state and what it will cost."""

from dataclasses import dataclass
from typing import Literal

from retrieval import evaluation, search
from retrieval.cells import Cell, grid
from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.errors import RetrievalError, UnknownName
from retrieval.protocols import find_protocol
from retrieval.roots import Roots

EntryState = Literal["done", "stale", "to do", "unavailable"]


@dataclass(frozen=True)
class Selection:
    """Cells by names; an empty tuple stands for all, of protocols for `paper`."""

    datasets: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A cell and what is to be done for it.

    Attributes:
        cell: The cell.
        state: Where it stands.
        cause, remedy: Sentences, where it is unavailable or stale.
        pictures: Pictures to be embedded.
        bytes: Roughly, to be written.
        seconds: Roughly, on two processor cores.
    """

    cell: Cell
    state: EntryState
    cause: str
    remedy: str
    pictures: int
    bytes: int
    seconds: float


STUDY = Selection(
    datasets=tuple(data.name for data in DATASETS if not data.synthetic),
    encoders=(
        "vgg19",
        "resnet50",
        "densenet121",
        "efficientnetv2m",
        "medclip",
        "biomedclip",
        "openclip",
        "conch",
        "uni",
    ),
)
"""The study's whole grid."""


def cells_of(selection: Selection) -> tuple[Cell, ...]:
    """The cells of a selection; UnknownName where a name does not exist or nothing is left."""
    for name in selection.datasets:
        find_dataset(name)
    for name in selection.encoders:
        find_encoder(name)
    for name in selection.protocols:
        find_protocol(name)
    protocols = selection.protocols or ("paper",)
    found = tuple(
        cell
        for cell in grid()
        if cell.protocol in protocols
        and (not selection.datasets or cell.dataset in selection.datasets)
        and (not selection.sizes or cell.size in selection.sizes)
        and (not selection.encoders or cell.encoder in selection.encoders)
    )
    if not found:
        raise UnknownName("cell", selection, [spec.name for spec in ENCODERS])
    return found


def plan(selection: Selection, roots: Roots) -> tuple[Entry, ...]:
    """The cells of a selection, each with its state and cost; cheap, and without torch."""
    return tuple(_entry(cell, roots) for cell in cells_of(selection))


def _entry(cell: Cell, roots: Roots) -> Entry:
    try:
        mark = evaluation.fingerprint_of(evaluation.marks(cell, roots))
        if evaluation.stored_result(cell, mark, roots) is not None:
            return Entry(cell, "done", "", "", 0, 0, 0.0)
    except RetrievalError as error:
        return Entry(cell, "unavailable", error.message, error.remedy, 0, 0, 0.0)
    ready = search.readiness(cell, roots)
    if ready.state == "unavailable":
        return Entry(cell, "unavailable", ready.message, ready.remedy, 0, 0, 0.0)
    pictures = cell.data.counts["train"] + cell.data.counts["test"]
    return Entry(cell, "to do", "", "", pictures, pictures * 4 * (cell.spec.dim or cell.size**2), ready.seconds)
