"""Do what a plan says, cell by cell, and tell how far it is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retrieval.cells import Cell
from retrieval.errors import Busy, RetrievalError
from retrieval.evaluation import evaluate
from retrieval.jobs.plan import Entry
from retrieval.roots import Roots


@dataclass(frozen=True)
class Step:
    """How far a run is: cell `number` of `of`, what is being done, the share of the cell, seconds left if known."""

    cell: Cell
    number: int
    of: int
    words: str
    share: float
    left: float | None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: cells that are done, those that failed with their sentences, those another process holds."""

    done: tuple[Cell, ...]
    failed: tuple[tuple[Cell, str, str], ...]
    busy: tuple[Cell, ...]


def run(entries: Sequence[Entry], roots: Roots, *, device: str = "auto", report: Callable[[Step], None]) -> Outcome:
    """Compute every entry that is to be done; an exception of `report` ends the run, and what is finished is kept."""
    wanted = [entry for entry in entries if entry.state in ("to do", "stale")]
    began, done, failed, busy = time.monotonic(), [], [], []
    for number, entry in enumerate(wanted, start=1):

        def tell(words: str, share: float, *, number: int = number, entry: Entry = entry) -> None:
            passed = (number - 1 + share) / len(wanted)
            left = (time.monotonic() - began) * (1 / passed - 1) if passed > 0 else None
            report(Step(entry.cell, number, len(wanted), words, share, left))

        tell("Reading data and weights.", 0.0)
        try:
            evaluate(entry.cell, roots, device=device, progress=tell)
            done.append(entry.cell)
        except Busy:
            busy.append(entry.cell)
        except RetrievalError as error:
            failed.append((entry.cell, error.message, error.remedy))
    return Outcome(tuple(done), tuple(failed), tuple(busy))
