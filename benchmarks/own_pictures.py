"""A collection of 100,000 generated pictures: added, embedded by a tiny extractor, searched, and 100 files more.

And MedNIST, where it lies beside the checkout: added, its exact duplicates counted, evaluated with EfficientNet-Lite0.
Each work has a process of its own: `python -m benchmarks.own_pictures WORK FOLDER`.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.judging import Finding
from benchmarks.serving import KEPT, REPOSITORY, environment
from retrieval import evaluation, search
from retrieval.answers import UploadQuery
from retrieval.cells import cell
from retrieval.datasets.collections import adding, records
from retrieval.datasets.collections.duplicates import duplicates
from retrieval.roots import Roots, roots_from_environment

COUNT, MORE, SIDE, CLASSES, SEED = 100_000, 100, 16, 10, 0
ENCODER, NETWORK = "histogram", "efficientnet_lite0"
MEDNIST = REPOSITORY.parent / "shared" / "collections" / "MedNIST-12000.tar"
STATUS = Path("/proc/self/status")
MOST = {"add": 600.0, "embed": 600.0, "search": 3000.0, "update": 600.0}  # MB of the whole process

DONE = {"add": "added", "embed": "embedded", "search": "searched, duplicates found", "update": "updated"}

Told = dict[str, Any]


def findings() -> list[Finding]:
    """Times and peak memory of each work, and what MedNIST comes to."""
    if not STATUS.is_file():
        return [Finding("peak memory of a collection", None, note=f"not measured: there is no {STATUS} here")]
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        folder = Path(name)
        _write(folder / "pictures", 0, COUNT)
        told = {work: _apart(work, folder) for work in ("add", "embed", "search")}
        _write(folder / "pictures", COUNT, COUNT + MORE)
        told["update"] = _apart("update", folder)
        mednist = _apart("mednist", folder) if MEDNIST.is_file() else None
    again = told["update"]["embedded"]
    return [
        *(_memory(work, each) for work, each in told.items()),
        *(Finding(f"{work}, {COUNT:,} pictures", each["seconds"]) for work, each in told.items()),
        Finding(f"pictures embedded after {MORE} were added, beyond those", abs(again - MORE), bound=0, unit="files"),
        _mednist(mednist),
    ]


def add(folder: Path) -> Told:
    """Make the collection."""
    made = adding.add("many", folder / "pictures", _roots(folder))
    return {"pictures": len(made.files)}


def embed(folder: Path) -> Told:
    """Embed all three splits, so that all of its pictures are."""
    roots = _roots(folder)
    asked = cell("many", None, ENCODER, roots=roots)
    return {"vectors": sum(len(_embeddings(asked, side, roots).vectors) for side in ("train", "val", "test"))}


def find(folder: Path) -> Told:
    """Ask with one of its own pictures: groups, neighbours of all, and the answer; again, when all is there."""
    roots = _roots(folder)
    asked = cell("many", None, ENCODER, roots=roots)
    search.prepare(asked, roots)
    picture = folder / "pictures" / records.find("many", roots).of("train")[7].name
    answer = search.find(UploadQuery(picture), asked, roots)
    if answer.neighbours[0].index != 7 or answer.neighbours[0].duplicate != "exact":
        raise RuntimeError("a picture of the gallery does not find itself")
    return {"again": search.find(UploadQuery(picture), asked, roots).seconds}


def update(folder: Path) -> Told:
    """Take up the new files and embed again; how many were."""
    roots = _roots(folder)
    changes = adding.update("many", roots)
    asked = cell("many", None, ENCODER, roots=roots)
    made = [_embeddings(asked, side, roots) for side in ("train", "val", "test")]
    return {"new": len(changes.new), "embedded": sum(each.meta["embedded"] for each in made)}


def mednist(folder: Path) -> Told:
    """The whole of MedNIST by a network."""
    roots = _roots(folder)
    made = adding.add("mednist", MEDNIST, roots)
    asked = cell("mednist", None, NETWORK, roots=roots)
    found = evaluation.evaluate(asked, roots, device="cpu")
    same = duplicates(made.files)
    return {
        "pictures": len(made.files),
        "sets": len(same),
        "files": sum(map(len, same)),
        "grouped": found.grouped_queries,
        "queries": found.as_published.n_queries,
        "hits": found.as_published.hits["ACC@1"],
        "left": found.groups_left_out.hits["ACC@1"],
    }


WORKS: dict[str, Callable[[Path], Told]] = {
    "add": add,
    "embed": embed,
    "search": find,
    "update": update,
    "mednist": mednist,
}


def _embeddings(asked: Any, side: Any, roots: Roots) -> Any:
    return evaluation.embeddings(asked, side, roots, device="cpu")


def _memory(work: str, told: Told) -> Finding:
    name = f"peak memory, {COUNT:,} pictures {DONE[work]}"
    return Finding(name, told["megabytes"], bound=MOST[work], unit="MB", note="of the whole process")


def _mednist(told: Told | None) -> Finding:
    name = "MedNIST added and evaluated with Lite0"
    if told is None:
        return Finding(name, None, note=f"not measured: {MEDNIST.name} does not lie beside the checkout")
    note = (
        f"{told['pictures']:,} pictures, {told['sets']:,} sets of exact duplicates of {told['files']:,} files; ACC@1 "
        f"{told['hits']:,} of {told['queries']:,} queries, {told['left']:,} with duplicates left out "
        f"({told['grouped']:,} queries have one in the gallery)"
    )
    return Finding(name, told["seconds"], note=note)


def _roots(folder: Path) -> Roots:
    weights = roots_from_environment(environment()).weights
    return Roots(data=(), weights=weights, precomputed=folder / "nothing", cache=folder / "cache")


def _write(folder: Path, start: int, stop: int) -> None:
    """Pictures of noise, each class brighter than the one before."""
    for number in range(start, stop):
        label = number % CLASSES
        path = folder / f"class{label}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng((SEED, number)).integers(12 * label, 12 * label + 120, (SIDE, SIDE), np.uint8)
        Image.fromarray(noise).save(path, compress_level=0)


def _apart(work: str, folder: Path) -> Told:
    """Do a work in a process of its own: what it tells, its seconds, and the most memory that it had."""
    command = [sys.executable, "-m", "benchmarks.own_pictures", work, str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(work: str, folder: str) -> None:
    """Do one work and print what it tells."""
    began = time.perf_counter()
    told = WORKS[work](Path(folder))
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM:"))
    print(json.dumps({**told, "seconds": time.perf_counter() - began, "megabytes": int(line.split()[1]) * 1024 / 1e6}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        print(*findings(), sep="\n")
