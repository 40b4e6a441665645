"""An encoder against the study: the same cell measured here and printed there, set side by side in hits.

What is measured comes from the weights at hand, never from what is shipped. What the study leaves open (whether size 28
was enlarged first, how equal distances are ordered, misprints) is tried or named, and is no miss.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from retrieval import published
from retrieval.cells import Cell, cell
from retrieval.datasets import opening
from retrieval.datasets.specs import SplitName
from retrieval.embeddings import embedding
from retrieval.embeddings.embedding import Progress
from retrieval.encoders import catalogue, configs, loading, memory, weights
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.errors import RetrievalError
from retrieval.published import COUNTED, METRICS, PublishedRow
from retrieval.ranking import neighbours as ranked
from retrieval.roots import Roots
from retrieval.scoring import reading

Kind = Literal["reproduced", "undetermined", "missed", "incomparable", "no row", "refused"]

ENLARGED = 32  # the side to which the study's code enlarges size 28, if it does
_REACH = 20  # neighbours looked at for equal distances
_EXACT = 1e-6  # percent points: what double precision adds to a mean


@dataclass(frozen=True)
class Figure:
    """One metric, printed and measured.

    Attributes:
        metric: Its name.
        published: Percent as printed; None where there is no row.
        measured: Percent.
        published_hits, measured_hits: Queries answered rightly; None for mAP@5, and where there is no row.
        misprint: Whether no count gives the printed figure.
        agrees: Whether the hits are equal, or mAP@5 lies within what printing takes away; None where there is no row.
    """

    metric: str
    published: float | None
    measured: float
    published_hits: int | None
    measured_hits: int | None
    misprint: bool = False
    agrees: bool | None = None

    @property
    def difference(self) -> float | None:
        """Measured minus published: hits, or percent points for mAP@5."""
        if self.published_hits is not None and self.measured_hits is not None:
            return self.measured_hits - self.published_hits
        return None if self.published is None else self.measured - self.published


@dataclass(frozen=True)
class Trial:
    """The cell measured with one size of input.

    Attributes:
        input: What is done to the items first, in words; empty where there is only one way.
        figures: The study's five metrics.
        tied: Queries whose answer depends on the order of equal distances.
        device: Where the vectors were made.
        seconds: Until they were at hand; next to nothing where an earlier run had made them.
    """

    input: str
    figures: tuple[Figure, ...]
    tied: int
    device: str
    seconds: float

    @property
    def misses(self) -> tuple[Figure, ...]:
        """The figures that do not agree, misprints left out."""
        return tuple(figure for figure in self.figures if figure.agrees is False and not figure.misprint)


@dataclass(frozen=True)
class Verification:
    """What came of an encoder in a cell.

    Attributes:
        cell: Of the protocol `paper`.
        kind: The verdict, for programs.
        verdict: In words.
        trials: As many as there are sizes of input that the study may have had; none where it was refused.
        weights: The digest of the tensors; empty where they could not be read.
        weights_verified: Whether they are known to be the publisher's.
        revision: The commit of the Hub; empty where it is not known.
        n_queries: Queries; 0 where it was refused.
        seconds: That the verification took.
        remedy: What to do, where it was refused.
    """

    cell: Cell
    kind: Kind
    verdict: str
    trials: tuple[Trial, ...] = ()
    weights: str = ""
    weights_verified: bool = False
    revision: str = ""
    n_queries: int = 0
    seconds: float = 0.0
    remedy: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether nothing speaks against it: where there is nothing to compare with, nothing does."""
        return self.kind not in ("missed", "refused")


def verify(asked: Cell, roots: Roots, *, device: str = "auto", progress: Progress | None = None) -> Verification:
    """Embed a cell's pictures with the weights at hand, rank, score, and set the numbers beside the study's.

    Vectors go to the cache, as ever; those of another size of input under a name and a fingerprint of their own.

    Raises:
        Unavailable: Data or weights are missing; says what to do.
        BadInput: The weights or their config file cannot be used.
    """
    began = time.perf_counter()
    row = published.published_row(
        roots, dataset=asked.dataset, size=asked.size, encoder=asked.encoder, protocol=asked.protocol
    )
    own = replace(roots, precomputed=roots.cache)  # shipped vectors prove nothing about the weights at hand
    spec = configs.at_hand(asked.spec, roots)
    found = loading.identify(spec, roots)
    trials = tuple(
        _trial(asked, one, row, own, words=words, variant=variant, device=device, progress=progress)
        for words, variant, one in _inputs(spec, asked, row)
    )
    kind, verdict = judge(row, trials, asked, incomparable=spec.incomparable)
    return Verification(
        cell=asked,
        kind=kind,
        verdict=verdict,
        trials=trials,
        weights=found.digest,
        weights_verified=found.verified,
        revision=found.revision,
        n_queries=asked.data.counts["test"],
        seconds=time.perf_counter() - began,
    )


def verify_all(
    dataset: str, size: int, roots: Roots, *, device: str = "auto", progress: Progress | None = None
) -> Iterator[Verification]:
    """Every encoder of the catalogue that takes the dataset's items and has its weights at hand, one after another.

    One that says no, or runs out of memory, is told as refused, and the next one follows.

    Raises:
        UnknownName: There is no such dataset or size.
        Unavailable: The dataset's file is missing.
    """
    first = cell(dataset, size, "pixels")
    opening.open_split(first.data, size, "test", roots)
    for spec in catalogue.ENCODERS:
        if spec.takes(first.data.ndim) and weights.state(spec, roots) == "ready":
            yield _told(replace(first, encoder=spec.name), roots, device, progress)


def judge(
    row: PublishedRow | None, trials: tuple[Trial, ...], asked: Cell, *, incomparable: str = ""
) -> tuple[Kind, str]:
    """The verdict on trials, in one word and in words."""
    if row is None:
        return "no row", "the study has no row for this cell"
    met = next((trial for trial in trials if not trial.misses), None)
    if met is not None:
        return _met(row, met, is_first=met is trials[0])
    near = next((trial for trial in trials if _is_within_ties(row, trial, asked)), None)
    if near is not None:
        hang = f"the order of equal distances, on which {near.tied} queries depend{_after(near)}"
        return "undetermined", f"reproduced but for what the study leaves undetermined ({hang})"
    if incomparable:
        return "incomparable", f"not comparable ({incomparable})"
    best = min(trials, key=_off)
    off = ", ".join(f"{figure.metric} {figure.difference:+.4g}" for figure in best.misses)
    return "missed", f"not reproduced ({off}{_after(best)})"


def enlarged(spec: EncoderSpec) -> EncoderSpec:
    """The spec with pictures enlarged first, as the study's code may have done."""
    return replace(spec, pixels=_enlarged(spec.pixels), slices=_enlarged_slices(spec.slices))


def _told(asked: Cell, roots: Roots, device: str, progress: Progress | None) -> Verification:
    began = time.perf_counter()
    try:
        with memory.refusals(f"{asked.spec.title} on {asked.data.title}"):
            return verify(asked, roots, device=device, progress=progress)
    except RetrievalError as error:
        message, remedy = error.message, error.remedy
    except OSError as error:
        message, remedy = f"A file cannot be used: {error}.", "Make room, or allow access to it."
    except RuntimeError as error:  # torch's word for much
        message, remedy = f"It could not be run ({type(error).__name__}: {error}).", "Try --device cpu."
    return Verification(asked, "refused", message, seconds=time.perf_counter() - began, remedy=remedy)


def _inputs(spec: EncoderSpec, asked: Cell, row: PublishedRow | None) -> Iterator[tuple[str, str, EncoderSpec]]:
    """Words, variant and spec of each size of input that the study may have had; the spec's own first."""
    if row is None or published.says_input(row):
        yield "", "", spec
        return
    yield f"{asked.size} as it is", "", spec
    words = f"enlarged to {ENLARGED} first"
    yield words, str(ENLARGED), enlarged(spec)


def _enlarged(pixels: Pixels | None) -> Pixels | None:
    """As the study's code enlarges pictures: cv2, linear."""
    return None if pixels is None else replace(pixels, at_least=ENLARGED, enlarge="cv2_linear")


def _enlarged_slices(pixels: Pixels | None) -> Pixels | None:
    """As it enlarges volumes: a spline in depth, cv2's cubic kernel in plane."""
    return None if pixels is None else replace(pixels, at_least=ENLARGED, enlarge="cv2_cubic", depth="spline")


def _trial(
    asked: Cell,
    spec: EncoderSpec,
    row: PublishedRow | None,
    roots: Roots,
    *,
    words: str,
    variant: str,
    device: str,
    progress: Progress | None,
) -> Trial:
    sides: tuple[SplitName, ...] = ("train", "test")
    began = time.perf_counter()
    gallery, queries = (
        embedding.embed(asked.data, asked.size, side, spec, roots, variant=variant, device=device, progress=progress)
        for side in sides
    )
    seconds = time.perf_counter() - began
    indices, scores = ranked.rank(gallery.vectors, queries.vectors, asked.rules, k=_REACH)
    train, test = (np.asarray(opening.open_split(asked.data, asked.size, side, roots).labels) for side in sides)
    read = reading.read_ranking(
        asked.data, query_labels=test, neighbour_labels=train[indices], gallery_labels=train, k=asked.rules.k
    )
    return Trial(
        input=words,
        figures=tuple(_figure(name, read, row, asked.data.ndim) for name in METRICS if name in read.metrics),
        tied=tied(scores, train[indices], k=asked.rules.k),
        device=str(gallery.meta.get("device", "")),
        seconds=seconds,
    )


def tied(scores: np.ndarray, labels: np.ndarray, *, k: int) -> int:
    """Queries of which items of several labels at one same distance compete for a place among the first k.

    Scores [Q, M], sorted, and the labels [Q, M, L] that go with them; M beyond k, so that the k-th has a successor.
    """
    same = scores[:, 1:] == scores[:, :-1]
    differ = (labels[:, 1:] != labels[:, :-1]).any(axis=2)
    # Within one run of equal scores it is enough that two neighbours in it differ; the run has to begin before k.
    runs = np.cumsum(np.pad(~same, ((0, 0), (1, 0))), axis=1)
    last = runs[:, k - 1 : k]
    return int((same & differ & (runs[:, :-1] <= last)).any(axis=1).sum())


def _figure(name: str, read: reading.Scores, row: PublishedRow | None, ndim: int) -> Figure:
    measured, hits = read.metrics[name], read.hits.get(name) if name in COUNTED else None
    if row is None or name not in row.printed:
        return Figure(name, None, measured, None, hits)
    wanted = row.hits.get(name)
    if hits is not None and wanted is not None:
        agrees = hits == wanted
    else:
        low, high = published.rounding(row, ndim=ndim)
        agrees = low - _EXACT <= measured - row.printed[name] <= high + _EXACT
    return Figure(name, row.printed[name], measured, wanted, hits, misprint=name in row.misprints, agrees=agrees)


def _met(row: PublishedRow, met: Trial, *, is_first: bool) -> tuple[Kind, str]:
    open_ = [] if is_first else [f"it is met with pictures {met.input}, which its code may or may not have done"]
    open_ += [
        f"the printed {figure.metric} is a misprint"
        for figure in met.figures
        if figure.misprint and figure.agrees is False
    ]
    if open_:
        return "undetermined", f"reproduced but for what the study leaves undetermined ({'; '.join(open_)})"
    return "reproduced", f"reproduced{f' ({met.input})' if met.input else ''}"


def _is_within_ties(row: PublishedRow, trial: Trial, asked: Cell) -> bool:
    """Whether another order of equal distances, which its code leaves to chance, could make up for every miss."""
    if not trial.tied or published.orders_ties(row, ndim=asked.data.ndim):
        return False
    most = {True: 100.0 * trial.tied / row.n_queries, False: float(trial.tied)}
    return all(abs(figure.difference or 0.0) <= most[figure.metric not in COUNTED] for figure in trial.misses)


def _after(trial: Trial) -> str:
    return f"; {trial.input}" if trial.input else ""


def _off(trial: Trial) -> float:
    """How far a trial is off, in hits; mAP@5 decides between equals."""
    return sum(abs(figure.difference or 0.0) * (1.0 if figure.metric in COUNTED else 1e-3) for figure in trial.misses)
