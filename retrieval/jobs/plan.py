"""What there is to do: a selection of names -> its cells, each with where it stands and what it will cost."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from retrieval import evaluation, readiness, results
from retrieval.cells import Cell, cell, usual_sizes
from retrieval.datasets.catalogue import datasets, find_dataset
from retrieval.datasets.specs import Dataset
from retrieval.encoders.catalogue import encoders_for, find_encoder, takes
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import RetrievalError, UnknownName
from retrieval.jobs import manifests
from retrieval.protocols import PROTOCOLS, find_protocol
from retrieval.roots import Roots

EntryState = Literal["done", "stale", "to do", "unavailable"]

_OF_A_NEIGHBOUR = 8  # bytes: an index and a score


@dataclass(frozen=True)
class Selection:
    """Cells by names; an empty tuple stands for all (of datasets: all real ones), of protocols for `paper`.

    Of a collection no sizes stand for its pictures as they are.
    """

    datasets: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    encoders: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A cell and what is to be done for it.

    Attributes:
        cell: The cell.
        state: `done`; `stale`, a result is there but not what would be computed now; `to do`; or `unavailable`.
        cause, remedy: Sentences, where it is stale or unavailable.
        pictures: Pictures (or volumes) that are still to be embedded.
        bytes: About what will be written.
        seconds: About how long it takes: at the pace of earlier runs here; if there were none, on two processor cores.
        embedding: How much of that its pictures take.
        estimated: About how long on two processor cores.
    """

    cell: Cell
    state: EntryState
    cause: str
    remedy: str
    pictures: int
    bytes: int
    seconds: float
    embedding: float = 0.0
    estimated: float = 0.0


STUDY = Selection(
    datasets=(
        *("breastmnist", "pneumoniamnist", "retinamnist", "dermamnist", "bloodmnist", "pathmnist"),
        *("adrenalmnist3d", "synapsemnist3d"),
    ),
    encoders=(
        *("vgg19", "resnet50", "densenet121", "efficientnetv2m"),
        *("medclip", "biomedclip", "openclip", "conch", "uni"),
    ),
    protocols=("paper",),
)
"""The grid of arXiv 2409.09430: nine extractors on its eight datasets, at every size that they have."""


def cells_of(selection: Selection, roots: Roots) -> tuple[Cell, ...]:
    """The cells of a selection, those that share work one after the other.

    What has no meaning (a size that a dataset has not, volumes for an extractor that takes none) is left out.

    Raises:
        UnknownName: A name does not exist, or nothing is left.
        Unavailable: A protocol that cannot be had is asked for.
    """
    protocols = [find_protocol(name).name for name in selection.protocols] or [PROTOCOLS[0].name]
    encoders = [find_encoder(name) for name in selection.encoders]
    named = [find_dataset(name, roots) for name in selection.datasets]
    chosen = named or [one for one in datasets(roots) if not one.synthetic]
    _check_sizes(selection.sizes, chosen)
    found = tuple(
        cell(data.name, size, spec.name, protocol, roots=roots)
        for data in chosen
        for size in (data.sizes if selection.sizes else usual_sizes(data))
        if not selection.sizes or size in selection.sizes
        for spec in encoders or encoders_for(data)
        if takes(spec, data)
        for protocol in protocols
    )
    if not found:
        raise _nothing(chosen[0], encoders)
    return found


def plan(selection: Selection, roots: Roots, *, device: str = "auto") -> tuple[Entry, ...]:
    """The cells of a selection with where each stands and what it costs; cheap, and without torch.

    What several cells need (one embedding under several protocols) is counted with the first of them. Times
    are told at the pace of earlier runs by this host and device, where there were any.
    """
    pace = manifests.pace(roots, device) or 1.0
    counted: set[tuple[str, int, str]] = set()
    entries = []
    for one in cells_of(selection, roots):
        place = (one.dataset, one.size, one.encoder)
        entries.append(_paced(_entry(one, roots, shared=place in counted), pace))
        if entries[-1].state in ("to do", "stale"):
            counted.add(place)
    return tuple(entries)


def _paced(entry: Entry, pace: float) -> Entry:
    return replace(entry, seconds=entry.seconds * pace, embedding=entry.embedding * pace, estimated=entry.seconds)


def _check_sizes(sizes: Iterable[int], datasets: list[Dataset]) -> None:
    known = sorted({size for data in datasets for size in data.sizes})
    for size in sizes:
        if size not in known:
            raise UnknownName("size of these datasets", size, known)


def _nothing(data: Dataset, encoders: list[EncoderSpec]) -> UnknownName:
    fitting = [spec.name for spec in encoders_for(data)]
    return UnknownName(f"extractor for {data.ndim}D items", encoders[0].name, fitting)


def _entry(one: Cell, roots: Roots, *, shared: bool) -> Entry:
    try:
        if evaluation.stored_result(one, evaluation.fingerprint_of(evaluation.marks(one, roots)), roots) is not None:
            return Entry(one, "done", "", "", 0, 0, 0.0)
        ready = readiness.of_pictures(one, roots)
        if ready.state == "ready" and evaluation.unrankable(one) is not None:
            return Entry(one, "done", "", "", 0, 0, 0.0)  # what it can be: searched
        if ready.state == "unavailable":
            return Entry(one, "unavailable", ready.message, ready.remedy, 0, 0, 0.0)
        return _to_do(one, roots, shared=shared)
    except RetrievalError as error:
        return Entry(one, "unavailable", error.message, error.remedy, 0, 0, 0.0)


def _to_do(one: Cell, roots: Roots, *, shared: bool) -> Entry:
    sides = evaluation.sides_of(one)
    missing = [side for side in sides if not shared and not readiness.embedded(one, side, roots)]
    pictures = sum(one.data.counts[side] for side in missing)
    lists = sum(one.data.counts[side] for side in sides) * one.rules.depth * _OF_A_NEIGHBOUR
    state: dict[str, Any] = {"state": "to do", "cause": "", "remedy": ""}
    if any(results.read(results.path_of(root, one)) is not None for root in roots.lookup):
        cause = "Data, weights or rules are others than those that its stored result was computed with."
        state = {"state": "stale", "cause": cause, "remedy": "It is computed anew."}
    written = pictures * readiness.vector_bytes(one, roots) + lists
    seconds, rest = readiness.estimate(one, roots, shared=shared), readiness.estimate(one, roots, shared=True)
    return Entry(one, **state, pictures=pictures, bytes=written, seconds=seconds, embedding=max(0.0, seconds - rest))
