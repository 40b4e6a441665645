"""What ran, where, when and with what: one file a run, beside the numbers and never part of them."""

import itertools
import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval import artifacts, provenance
from retrieval.encoders import devices
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
    """

    cell: str
    state: str
    seconds: float
    pictures: int
    rate: float | None
    error: str = ""
    estimated: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """One run, written anew after each cell, so that a run that was killed is known up to there.

    Attributes:
        path: Its file.
        begun: ISO 8601, UTC.
        facts: Host, process, device, versions.
    """

    path: Path
    begun: str
    facts: dict[str, Any]

    def write(self, lines: tuple[Line, ...], *, ended: str = "") -> None:
        """Write what is known now; `ended` says how the run came to its end; empty while it goes on, or was killed."""
        document = {"begun": self.begun, **self.facts, "ended": ended, "cells": [asdict(line) for line in lines]}
        artifacts.write_json(self.path, document)


def begin(roots: Roots, *, device: str) -> Manifest:
    """The manifest of a run that begins now in this process; nothing is written yet."""
    now = datetime.now(UTC)
    name = f"{now.strftime('%Y%m%dT%H%M%S%f')}-{os.getpid()}.json"
    here, versions = _named(device), provenance.versions()
    facts = {"host": platform.node(), "process": os.getpid(), "device": here, "versions": versions}
    return Manifest(roots.cache / FOLDER / name, now.isoformat(timespec="seconds"), facts)


def pace(roots: Roots, device: str) -> float | None:
    """How many times longer than estimated cells took here, on this host and device, in recent runs; None: unknown."""
    runs = [run for run in read_all(roots) if run.get("host") == platform.node()]
    here = _named(device) if runs else ""  # which may take torch to say
    recent = itertools.islice((run for run in reversed(runs) if run.get("device") == here), RECENT)
    lines = [line for run in recent for line in run["cells"] if line["state"] == "done"]
    ratios = [line["seconds"] / line["estimated"] for line in lines if line.get("estimated", 0.0) >= _TELLING]
    return statistics.median(ratios) if ratios else None


def _named(device: str) -> str:
    """Where a run computes that is told this word: the first of several devices; of `auto` its own name."""
    return devices.named(device)[0]


def read_all(roots: Roots) -> Iterator[dict[str, Any]]:
    """The manifests of the cache, the oldest first; a damaged one is left out, and the log says so."""
    for path in sorted((roots.cache / FOLDER).glob("*.json")):
        document = artifacts.read_json(path)
        if isinstance(document, dict):
            yield document
