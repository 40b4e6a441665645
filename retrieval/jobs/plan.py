"""What there is to do: a selection of names -> its cells, each with where it stands and what it will cost."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from retrieval import evaluation, readiness, results
from retrieval.answers import Readiness
from retrieval.cells import Cell, cell, usual_sizes
from retrieval.datasets.catalogue import datasets, find_dataset
from retrieval.datasets.specs import Dataset
from retrieval.encoders import devices
from retrieval.encoders.catalogue import encoders_for, find_encoder, takes
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import RetrievalError, UnknownName
from retrieval.jobs import manifests
from retrieval.protocols import PROTOCOLS, find_protocol
from retrieval.ranking.neighbours import Side
from retrieval.readiness import Missing
from retrieval.results import Result
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
        state: `done`, nothing is left to compute or nothing more can be; `stale`, a result is there but not what would
            be computed now; `to do`; or `unavailable`.
        cause, remedy: Sentences, where it is stale or unavailable, or where a part of it is there.
        pictures: Pictures (or volumes) that are still to be embedded.
        bytes: About what will be written.
        seconds: About how long it takes: at the pace of earlier runs here; if there were none, on two processor cores.
        embedding: How much of that its pictures take.
        estimated: About how long on two processor cores.
        sides: Those that are still to be embedded, the gallery first.
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
    sides: tuple[Side, ...] = ()


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
    """The cells of a selection with where each stands and what it costs; without torch, unless a GPU is named.

    Only checksums are computed, of data, weights and what is stored: reading time, and once for each file. Nothing is
    unpacked, but for a data file that is not the publisher's: opening alone tells whether it can be used.

    What several cells need (one embedding under several protocols) is counted with the first of them. Times
    are told at the pace of earlier runs by this host and device, where there were any. Of several devices one has to be
    able to compute a cell.

    Raises:
        Unavailable: A device that is named cannot be used.
    """
    where, pace = _checked(device), manifests.pace(roots, device) or 1.0
    coming: dict[tuple[str, int, str], set[Side]] = defaultdict(set)
    entries = []
    for one in cells_of(selection, roots):
        before = coming[one.dataset, one.size, one.encoder]
        entries.append(_paced(_entry(one, roots, device=where, coming=before), pace))
        before.update(entries[-1].sides)
    return tuple(entries)


def _checked(device: str) -> str:
    """The device that computes all that any of these can: a GPU, where one is among them."""
    if device == "auto":
        return device
    names = [name if devices.on_cpu(name) else devices.ready(name) for name in devices.named(device)]
    return next((name for name in names if not devices.on_cpu(name)), "cpu")


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


def _entry(one: Cell, roots: Roots, *, device: str, coming: Collection[Side]) -> Entry:
    """`coming`: the sides whose vectors will be there, since another cell is computed before that needs them too."""
    try:
        result = evaluation.stored_result(one, evaluation.fingerprint_of(evaluation.marks(one, roots)), roots)
        ready = readiness.of_pictures(one, roots, device=device)
        if _is_done(one, result, ready):
            return Entry(one, "done", "", "", 0, 0, 0.0)
        if ready.state == "unavailable":
            return Entry(one, "unavailable", ready.message, ready.remedy, 0, 0, 0.0)
        missing = readiness.missing(one, roots, device=device)
        return _to_do(one, result, roots, missing=missing, coming=coming)
    except RetrievalError as error:
        return Entry(one, "unavailable", error.message, error.remedy, 0, 0, 0.0)


def _is_done(one: Cell, result: Result | None, ready: Readiness) -> bool:
    """Whether all that can be computed of a cell is there; a result alone where nothing else can be."""
    if ready.state == "unavailable":
        return result is not None
    judged = result is not None or evaluation.unrankable(one) is not None  # what it can be: searched
    return judged and ready.state == "ready" and not ready.seconds


def _to_do(one: Cell, result: Result | None, roots: Roots, *, missing: Missing, coming: Collection[Side]) -> Entry:
    absent = replace(missing, vectors=tuple(side for side in missing.vectors if side not in coming))
    pictures = sum(one.data.counts[side] for side in absent.vectors)
    lists = sum(one.data.counts[side] for side in absent.neighbours) * one.rules.depth * _OF_A_NEIGHBOUR
    written = pictures * readiness.vector_bytes(one, roots) + lists
    seconds, rest = (readiness.estimate(one, roots, each) for each in (absent, replace(absent, vectors=())))
    whole = Entry(one, "to do", _parts(result, missing), "", pictures, written, seconds)
    whole = replace(whole, embedding=max(0.0, seconds - rest), sides=absent.vectors)
    if result is None and any(results.read(results.path_of(root, one)) is not None for root in roots.lookup):
        cause = "Data, weights or rules are others than those that its stored result was computed with."
        return replace(whole, state="stale", cause=cause, remedy="It is computed anew.")
    return whole


def _parts(result: Result | None, missing: Missing) -> str:
    """Which parts of a cell are stored and which are not, in a sentence; empty where none is."""
    stored = [*(["result"] if result else []), *(["neighbours"] if not missing.neighbours else [])]
    if not stored:
        return ""
    if missing.neighbours:
        rest = "its neighbours are"
    else:
        rest = "the vectors of its gallery are" if missing.vectors else "its result is"
    return f"Its {' and '.join(stored)} {'is' if stored == ['result'] else 'are'} stored, {rest} not."
