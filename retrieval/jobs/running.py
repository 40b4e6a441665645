"""Do what a plan says, cell by cell, and tell how far it is. What was finished stays, however a run ends.

With the first cell that needs a dataset's pictures as an encoder sees them, all cells are embedded that need the same.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from retrieval.cells import Cell
from retrieval.embeddings.embedding import Progress
from retrieval.embeddings.listening import Listener
from retrieval.embeddings.together import embed_together, geometry
from retrieval.encoders import devices, memory
from retrieval.errors import Busy, RetrievalError, Unavailable
from retrieval.evaluation import evaluate, fingerprint_of, marks, sides_of, stored_result, unrankable
from retrieval.jobs import manifests
from retrieval.jobs.manifests import Line, Manifest
from retrieval.jobs.plan import Entry
from retrieval.results import Result
from retrieval.roots import Roots
from retrieval.search import prepare

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """How far a run is.

    Attributes:
        cell: The cell under way.
        number, of: Which one it is, counted from 1, of how many.
        words: What is being done.
        share: Of this cell, 0 to 1.
        rate: Pictures a second that are embedded, for this cell and those embedded with it; None where not known yet.
        left: Seconds until all is done, by the estimates of the plan and the time so far; None where not known yet.
        done: Cells that this run has done.
    """

    cell: Cell
    number: int
    of: int
    words: str
    share: float
    rate: float | None
    left: float | None
    done: int


@dataclass(frozen=True)
class Outcome:
    """How a run ended: cells that are done, those that failed with message and remedy, those another process holds."""

    done: tuple[Cell, ...]
    failed: tuple[tuple[Cell, str, str], ...]
    busy: tuple[Cell, ...]


def run(entries: Sequence[Entry], roots: Roots, *, device: str = "auto", report: Callable[[Step], None]) -> Outcome:
    """Compute every entry that is stale or to do; those that another process is at come last, and then once more.

    A cell that cannot be computed, for whatever reason, does not hold up the others. An exception of `report` ends the
    run at once; what is finished by then, down to the shards of the embeddings under way, is kept and taken up by the
    next run.

    Raises:
        Lost: The GPU answers no more, so that no other cell is tried on it.
    """
    work = _Work(
        tuple(entry for entry in entries if entry.state in ("to do", "stale")), roots, device, Listener(report)
    )
    ended = "whole"
    try:
        held = [entry for entry in work.entries if not work.do(entry)]
        busy = tuple(entry.cell for entry in held if not work.do(entry, again=True))
    except BaseException as error:
        ended = f"stopped ({type(error).__name__})"
        raise
    finally:
        work.end(ended)
    return Outcome(tuple(work.done), tuple(work.failed), busy)


@dataclass(eq=False)
class _Work:
    """A run under way."""

    entries: tuple[Entry, ...]
    roots: Roots
    device: str
    report: Listener
    began: float = field(default_factory=time.monotonic)
    done: list[Cell] = field(default_factory=list)
    failed: list[tuple[Cell, str, str]] = field(default_factory=list)
    lines: dict[Cell, Line] = field(default_factory=dict)
    past: float = 0.0  # estimated seconds of what is behind
    cell_began: float = 0.0
    cell_share: float = 0.0
    together: tuple[Entry, ...] = ()  # what is being embedded at once, while that is under way
    embedded: dict[Cell, float] = field(default_factory=dict)  # what was, and the seconds that it took of the whole

    def __post_init__(self) -> None:
        keys = [entry.cell.key for entry in self.entries]
        self.manifest: Manifest = manifests.begin(self.roots, device=self.device, cells=keys)
        self.whole = sum(entry.seconds for entry in self.entries)
        self.manifest.write(())

    def do(self, entry: Entry, *, again: bool = False) -> bool:
        """Compute one entry; whether it is settled, done or failed: not where another process holds what it needs."""
        began = self.cell_began = time.monotonic()
        self.cell_share, shared = 0.0, 0.0
        state, refused, made = "done", None, None
        try:
            with memory.refusals(_title(entry.cell)):
                self._tell(entry, "Reading data and weights.", 0.0)
                shared = self._embed_together(entry)
                told = partial(self._tell, entry)
                made = self._judge(entry.cell, told)
                prepare(entry.cell, self.roots, device=self.device, progress=told)
            self.done.append(entry.cell)
        except Busy:
            state = "busy"
        except Exception as error:
            if error is self.report.ended:
                raise
            state, refused = "failed", _refusal(error, entry.cell, self.device)
            self.failed.append((entry.cell, refused.message, refused.remedy))
        self.past += self._left_of(entry) if again or state != "busy" else 0.0
        spent = time.monotonic() - began - shared + self.embedded.get(entry.cell, 0.0)
        self._note(entry, state, spent, str(refused or ""), made)
        if isinstance(refused, devices.Lost):
            raise refused
        return state != "busy"

    def end(self, ended: str) -> None:
        """Say in the manifest how the run ended; where the disk refuses it, that does not hide how."""
        try:
            self.manifest.write(tuple(self.lines.values()), ended=ended)
        except (OSError, RetrievalError) as error:
            log.warning("How the run ended cannot be written: %s", error)

    def _judge(self, cell: Cell, told: Progress) -> Result | None:
        """Evaluate a cell, where it can be; its Result, if it was not there before."""
        if unrankable(cell) is not None:
            return None
        before = stored_result(cell, fingerprint_of(marks(cell, self.roots)), self.roots)
        result = evaluate(cell, self.roots, device=self.device, progress=told)
        return result if before is None else None

    def _embed_together(self, entry: Entry) -> float:
        """Embed this cell and all to come that see the same pictures; the seconds that it took, none where none does.

        What goes wrong with one of them is said when its turn comes.
        """
        mates = self._mates(entry)
        if len(mates) < 2:
            return 0.0
        began, self.together = time.monotonic(), mates
        data, size, told = entry.cell.data, entry.cell.size, partial(self._tell, entry)
        try:
            for side in reversed(sides_of(entry.cell)):
                specs = [mate.cell.spec for mate in mates if side in mate.sides]
                embed_together(data, size, side, specs, self.roots, device=self.device, progress=told)
        finally:
            self.together = ()
        took, whole = time.monotonic() - began, sum(mate.embedding for mate in mates)
        self.past += whole
        self.embedded |= {mate.cell: took * mate.embedding / whole if whole else 0.0 for mate in mates}
        return took

    def _mates(self, entry: Entry) -> tuple[Entry, ...]:
        """The entries that still have pictures to embed, of the same split, that their encoders see as this one's."""
        cell = entry.cell
        if not entry.pictures or cell in self.embedded:
            return ()
        return tuple(
            other
            for other in self.entries
            if other.pictures
            and other.cell not in self.lines
            and other.cell not in self.embedded
            and (other.cell.dataset, other.cell.size) == (cell.dataset, cell.size)
            and geometry(other.cell.spec, cell.data.ndim) == geometry(cell.spec, cell.data.ndim)
        )

    def _left_of(self, entry: Entry) -> float:
        """Estimated seconds of an entry, without what was embedded with others."""
        return entry.seconds - (entry.embedding if entry.cell in self.embedded else 0.0)

    def _note(self, entry: Entry, state: str, seconds: float, error: str, made: Result | None) -> None:
        rate = round(entry.pictures / seconds, 3) if state == "done" and entry.pictures and seconds else None
        by = manifests.made_by(made) if made is not None else {}
        line = Line(entry.cell.key, state, round(seconds, 3), entry.pictures, rate, error, entry.estimated, by)
        self.lines[entry.cell] = line
        self.manifest.write(tuple(self.lines.values()))

    def _tell(self, entry: Entry, words: str, share: float) -> None:
        self.cell_share = _onward(self.cell_share, share, entry)
        spent = time.monotonic() - self.cell_began
        pictures = sum(mate.pictures for mate in self.together or (entry,))
        rate = self.cell_share * pictures / spent if spent > 1 and self.cell_share and pictures else None
        number = self.entries.index(entry) + 1
        left, done = self._left(entry), len(self.done)
        self.report(Step(entry.cell, number, len(self.entries), words, self.cell_share, rate, left, done))

    def _left(self, entry: Entry) -> float | None:
        """By how much longer or shorter than estimated the run has taken so far; unknown for its first second."""
        under_way = sum(mate.embedding for mate in self.together) or self._left_of(entry)
        spent, behind = time.monotonic() - self.began, self.past + self.cell_share * under_way
        if spent < 1 or behind <= 0:
            return None
        return max(0.0, self.whole - behind) * spent / behind


def _refusal(error: Exception, cell: Cell, device: str) -> RetrievalError:
    """What to say of a cell that failed; of what is no cell's own the log has all."""
    refused = error if isinstance(error, RetrievalError) else _unforeseen(error, cell, device)
    if refused is not error or isinstance(error, devices.Lost):
        log.error("%s: %s", cell.key, refused, exc_info=error)
    return refused


def _unforeseen(error: Exception, cell: Cell, device: str) -> RetrievalError:
    what = _title(cell)
    if isinstance(error, OSError):
        said = f"A file cannot be read or written for {what}: {error.strerror or error}."
        return Unavailable(said, remedy="Make room or allow access, then run it again.")
    said = f"{what} could not be computed, by an error that was not foreseen ({type(error).__name__})."
    remedy = "The log says what it was. Run it again; if it fails again, report it with the log."
    return devices.lost(device) or Unavailable(said, remedy=remedy)


def _title(cell: Cell) -> str:
    return f"{cell.spec.title} on {cell.data.title}"


def _onward(before: float, share: float, entry: Entry) -> float:
    """The share of a cell, from that of the split under way: the gallery first, then the queries; never backwards.

    Where only one of the two is still to be embedded, that is the whole.
    """
    counts = entry.cell.data.counts
    both = counts["train"] + counts["test"]
    first = counts["train"] / both if entry.pictures == both else 0.0
    among = share * first if before < first else first + share * (1 - first)
    return max(before, among)
