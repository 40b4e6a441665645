"""A small real job on a disk that fails at every point in turn; `test_crashes.py` starts it, and pytest never forks.

`python tests/crashing.py NAME FOLDER` imports the product once and forks a process for every run. It prints what it
counted and every point after which something was not as it should be.
"""

import collections
import dataclasses
import datetime
import errno
import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from retrieval import evaluation, provenance
from retrieval.cells import Cell, cell
from retrieval.datasets import catalogue
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import builtin
from retrieval.errors import Unavailable
from retrieval.roots import Roots

CELLS = {"pictures": ("phantoms", 64), "volumes": ("phantoms3d", 28)}
# Few and small: every point costs a process, and volumes of 28 slices take their time. Three shards and two.
COUNTS = types.MappingProxyType({"train": 6, "val": 0, "test": 4})
IN_SHARD = 2
DONE, SAID_NO, FAILED = 0, 3, 4
FAULTS = {
    "write": ("killed before", "killed within", "full", "short", "short, then full"),
    "fsync": ("killed before", "full"),
    "replace": ("killed before", "killed after", "full"),
}
CALLS = {name: getattr(os, name) for name in FAULTS}  # as they are, whatever stands in for them

Tree = dict[str, str]


class Disk:
    """Stands in for the calls by which bytes reach the disk: counts them, and fails at one of them."""

    def __init__(
        self, at: int = -1, fault: str = "", seen: Callable[[str, tuple], None] = lambda name, arguments: None
    ):
        self.at, self.fault, self.seen, self.count = at, fault, seen, 0

    def __enter__(self) -> "Disk":
        for name in FAULTS:
            setattr(os, name, lambda *arguments, name=name, **named: self.call(name, *arguments, **named))
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in CALLS.items():
            setattr(os, name, call)

    def call(self, name: str, *arguments, **named):
        here, self.count = self.count == self.at, self.count + 1
        if here and self.fault == "killed before":
            os.kill(os.getpid(), signal.SIGKILL)
        if here and self.fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if here and name == "write":
            return self.half(*arguments)
        # A killed process loses nothing that the system has, so there is no need to wait for the disk every time.
        done = None if name == "fsync" else CALLS[name](*arguments, **named)
        if here:  # killed after
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen(name, arguments)
        return done

    def half(self, descriptor: int, data) -> int:
        """Write the first half; then die, or leave the rest to the next call, which may find the disk full."""
        view = memoryview(data).cast("B")
        written = CALLS["write"](descriptor, view[: max(1, len(view) // 2)])
        if self.fault == "killed within":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "short, then full":
            self.at, self.fault = self.count, "full"
        return written


def prepare() -> None:
    """Small datasets, small shards, one date."""
    small = {name: dataclasses.replace(catalogue.find_dataset(name), counts=COUNTS) for name, _ in CELLS.values()}
    catalogue.DATASETS = tuple(small.get(dataset.name, dataset) for dataset in catalogue.DATASETS)
    embedding.PICTURES_IN_SHARD = embedding.VOLUMES_IN_SHARD = IN_SHARD
    pipeline.BATCH = 4096  # one call of the encoder is one shard
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    clock = types.SimpleNamespace(now=lambda zone: day)
    provenance.datetime = types.SimpleNamespace(datetime=clock, UTC=datetime.UTC)  # type: ignore[assignment]


def work(asked: Cell, cache: Path) -> None:
    """All that is kept of a cell: groups, embeddings, neighbours, result; each is looked at, or made."""
    roots = Roots(data=(), weights=None, precomputed=cache.parent / "nothing", cache=cache)
    for side in ("train", "test"):
        evaluation.embeddings(asked, side, roots)
        evaluation.neighbours(asked, side, roots)
    evaluation.find_groups(asked.data, asked.size, roots)
    evaluation.evaluate(asked, roots)


def run(asked: Cell, cache: Path, disk: Disk) -> tuple[int, list[str]]:
    """The job in a process of its own: its exit status (negative: the signal) and the shards that it embedded."""
    log = cache.with_suffix(".log")
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        os._exit(_child(asked, cache, disk, log))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, log.read_text().split()


def _child(asked: Cell, cache: Path, disk: Disk, log: Path) -> int:
    descriptor, whole = os.open(log, os.O_WRONLY | os.O_APPEND), builtin.BuiltinEncoder.embed

    def embed(self: builtin.BuiltinEncoder, inputs: np.ndarray) -> np.ndarray:
        CALLS["write"](descriptor, f"{hashlib.sha256(inputs.tobytes()).hexdigest()}\n".encode())
        return whole(self, inputs)

    builtin.BuiltinEncoder.embed = embed
    try:
        with disk:
            work(asked, cache)
    except Unavailable as error:
        said = "no room left" in error.message and error.remedy
        return SAID_NO if said else FAILED
    except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
        traceback.print_exc()
        return FAILED
    return DONE


def tree(folder: Path) -> Tree:
    """Every file but locks, by its place, as a digest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Undisturbed:
    """What a run does that nothing disturbs: its calls, the bytes it gives each name, its shards, its last files."""

    def __init__(self, asked: Cell, folder: Path):
        self.cell, self.folder, self.cache = asked, folder, folder / "undisturbed"
        calls, places = folder / "calls", folder / "places"

        def seen(name: str, arguments: tuple) -> None:
            with calls.open("a") as stream:
                stream.write(f"{name}\n")
            if name == "replace":
                target = Path(arguments[1])
                with places.open("a") as stream:
                    digest = hashlib.sha256(target.read_bytes()).hexdigest()
                    stream.write(f"{target.relative_to(self.cache)} {digest}\n")

        status, shards = run(asked, self.cache, Disk(seen=seen))
        assert status == DONE
        self.calls = calls.read_text().split()
        self.named = {tuple(line.split(" ")) for line in places.read_text().splitlines()}
        self.places = [line.split(" ")[0] for line in places.read_text().splitlines()]
        self.files = tree(self.cache)
        starts = [(side, start) for side in ("train", "test") for start in range(0, COUNTS[side], IN_SHARD)]
        self.shards = dict(zip(shards, starts, strict=True))

    def finished(self, cache: Path) -> set[tuple[str, int]]:
        """The shards that need not be embedded again."""
        home = cache / "embeddings" / self.cell.dataset / str(self.cell.size) / self.cell.encoder
        whole = {side for side in ("train", "test") if (home / f"{side}.json").exists()}
        lie = {(path.parent.name.split(".")[0], int(path.stem)) for path in home.glob("*.shards/*.json")}
        return lie | {shard for shard in self.shards.values() if shard[0] in whole}


def after_a_fault(whole: Undisturbed, at: int, fault: str) -> Iterator[str]:
    """What is wrong after one fault, and after the run that follows it."""
    cache = whole.folder / "disturbed"
    status, embedded = run(whole.cell, cache, Disk(at, fault))
    expected = -signal.SIGKILL if "killed" in fault else DONE if fault == "short" else SAID_NO
    if status != expected:
        yield f"it ended with {status} instead of {expected}"
    left = tree(cache) if cache.exists() else {}
    parts = {place for place in left if place.endswith(".part")}
    if parts and "killed" not in fault:
        yield f"it left {sorted(parts)}"
    if not {(place, digest) for place, digest in left.items() if place not in parts} <= whole.named:
        yield "something half-written lies under a name that counts"
    finished = whole.finished(cache)
    status, again = run(whole.cell, cache, Disk())
    if status != DONE or tree(cache) != whole.files:
        yield f"the next run ended with {status} and other files"
    if {whole.shards[shard] for shard in again} & finished or len(embedded + again) > len(whole.shards) + 1:
        yield "a finished shard was embedded again"
    shutil.rmtree(cache)


def after_a_flip(whole: Undisturbed, cache: Path, place: str, position: int) -> Iterator[str]:
    """What is wrong after a flipped bit in one file of a cache, and the run that follows it."""
    copy = whole.folder / "flipped"
    shutil.copytree(cache, copy)
    content = bytearray((copy / place).read_bytes())
    content[position] ^= 1
    (copy / place).write_bytes(content)
    status, _ = run(whole.cell, copy, Disk())
    if status != DONE or tree(copy) != whole.files:
        yield f"the next run ended with {status} and other files"
    shutil.rmtree(copy)


def half_way(whole: Undisturbed) -> Path:
    """The cache of a run that was killed when all shards of the gallery lay there and nothing was put together."""
    cache = whole.folder / "half way"
    replaces = [at for at, name in enumerate(whole.calls) if name == "replace"]
    last = f"/train.shards/{COUNTS['train'] - IN_SHARD:08d}.json"
    at = next(at for at, place in zip(replaces, whole.places, strict=True) if place.endswith(last))
    status, _ = run(whole.cell, cache, Disk(at, "killed after"))
    assert status == -signal.SIGKILL
    return cache


def flips(whole: Undisturbed) -> Iterator[tuple[str, Iterator[str]]]:
    """The first, the middle and the last byte of every file, of a finished cache and of one with shards."""
    for cache in (whole.cache, half_way(whole)):
        for place in tree(cache):
            size = (cache / place).stat().st_size
            for position in (0, size // 2, size - 1):
                yield f"byte {position} of {place} flipped", after_a_flip(whole, cache, place, position)


def faults(whole: Undisturbed) -> Iterator[tuple[str, Iterator[str]]]:
    """Every fault at every call."""
    for at, name in enumerate(whole.calls):
        for fault in FAULTS[name]:
            yield f"{fault} {name}", after_a_fault(whole, at, fault)


def main(name: str, folder: Path) -> None:
    """Print how many calls there are, how many points of each kind were tried, and what was wrong at which."""
    prepare()
    dataset, size = CELLS[name]
    asked = cell(dataset, size, "pixels")
    work(asked, folder / "warm")  # what is imported late and drawn once is at hand in every process that is forked
    whole = Undisturbed(asked, folder)
    tried: collections.Counter[str] = collections.Counter()
    problems = []
    for number, (kind, wrong) in enumerate(itertools.chain(faults(whole), flips(whole))):
        tried["flipped" if kind.startswith("byte") else kind] += 1
        problems += [f"{number}, {kind}: {sentence}" for sentence in wrong]
    calls, half = collections.Counter(whole.calls), len(tree(folder / "half way"))
    found = {"calls": calls, "tried": tried, "files": len(whole.files), "half way": half, "problems": problems}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
