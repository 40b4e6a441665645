"""What ran, where, when and with what: one file a run, beside the numbers and never part of them."""

import itertools
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval import artifacts, provenance
from retrieval.encoders import devices
from retrieval.results import Result
from retrieval.roots import Roots

FOLDER = "runs"
RECENT = 20  # runs whose pace is asked for
_TELLING = 5.0  # seconds of work, estimated: what is shorter says nothing of the pace


@dataclass(frozen=True)
class Line:
    """What became of one cell.

    Attributes:
        cell: Its key.
        state: `done`, `failed` or `busy`.
        seconds: How long it took.
        pictures: How many were embedded for it.
        rate: Pictures a second, of those; None where none were.
        error: Why it failed, and what to do; empty where it did not.
        estimated: The seconds that the plan, as written for two processor cores, thought it would take.
        by: With what it was made: data and weights by their digests; runtime, device, batch and precision of its
            vectors. Empty where this run has made no Result: it was there, or none can be.
    """

    cell: str
    state: str
    seconds: float
    pictures: int
    rate: float | None
    error: str = ""
    estimated: float = 0.0
    by: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """One run, written anew after each cell, so that a run that was killed is known up to there.

    Attributes:
        path: Its file.
        begun: ISO 8601, UTC.
        facts: Host, process, device, versions, and what was asked for.
    """

    path: Path
    begun: str
    facts: dict[str, Any]

    def write(self, lines: tuple[Line, ...], *, ended: str = "") -> None:
        """Write what is known now; `ended` says how the run came to its end; empty while it goes on, or was killed.

        `until` is the time of this writing: of its end, or of the last that is known of it. Of a whole run that found
        all that it was to do in other hands nothing stays.
        """
        if ended == "whole" and all(line.state == "busy" for line in lines):
            artifacts.remove_file(self.path)
            return
        until, cells = _text(datetime.now(UTC)), [asdict(line) for line in lines]
        artifacts.write_json(
            self.path, {"begun": self.begun, "until": until, "ended": ended, **self.facts, "cells": cells}
        )


def begin(roots: Roots, *, device: str, cells: Sequence[str] = ()) -> Manifest:
    """The manifest of a run that begins now in this process, for these cells; nothing is written yet."""
    now = datetime.now(UTC)
    name = f"{now.strftime('%Y%m%dT%H%M%S%f')}-{os.getpid()}.json"
    here, versions = _named(device), provenance.versions()
    facts = {"host": platform.node(), "process": os.getpid(), "device": here, "versions": versions}
    asked = {"device": device, "cells": list(cells)}
    return Manifest(roots.cache / FOLDER / name, _text(now), {**facts, "asked": asked})


def made_by(result: Result) -> dict[str, Any]:
    """With what a Result was made, as its line says it."""
    embedded = result.provenance.get("embedded")
    vectors = embedded if isinstance(embedded, Mapping) else {}
    known = {name: vectors[name] for name in ("runtime", "device", "batch", "batches") if name in vectors}
    return {"data": result.data, "weights": result.weights, **known, "precision": result.cell.spec.precision}


def pace(roots: Roots, device: str) -> float | None:
    """How many times longer than estimated cells took here, on this host and device, in recent runs; None: unknown."""
    runs = [run for run in read_all(roots) if run.get("host") == platform.node()]
    here = _named(device) if runs else ""  # which may take torch to say
    recent = itertools.islice((run for run in reversed(runs) if run.get("device") == here), RECENT)
    lines = [line for run in recent for line in run["cells"] if line["state"] == "done"]
    ratios = [line["seconds"] / line["estimated"] for line in lines if line.get("estimated", 0.0) >= _TELLING]
    return statistics.median(ratios) if ratios else None


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _named(device: str) -> str:
    """Where a run computes that is told this word: the first of several devices; of `auto` its own name."""
    return devices.named(device)[0]


def read_all(roots: Roots) -> Iterator[dict[str, Any]]:
    """The manifests of the cache, the oldest first; a damaged one is left out, and the log says so."""
    for path in sorted((roots.cache / FOLDER).glob("*.json")):
        document = artifacts.read_json(path)
        if isinstance(document, dict):
            yield document
