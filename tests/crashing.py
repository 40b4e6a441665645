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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from own_pictures import write_classes

from retrieval import evaluation, provenance
from retrieval.cells import Cell, cell
from retrieval.datasets import catalogue
from retrieval.datasets.collections import adding
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import builtin
from retrieval.errors import Unavailable
from retrieval.ranking.neighbours import Side
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


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be made of a cell, how many items of each side it lacks, and what lies in the cache before it begins.

    Of a dataset, which has nothing before, all is made; of a collection that was updated, the gallery's embeddings.
    """

    cell: Cell
    lacks: Mapping[Side, int]
    before: Path | None = None

    def begin(self, cache: Path) -> None:
        if self.before is not None:
            shutil.copytree(self.before, cache)

    def work(self, cache: Path) -> None:
        """Groups, embeddings, neighbours, result; each is looked at, or made."""
        roots = roots_of(cache)
        for side in self.lacks:
            evaluation.embeddings(self.cell, side, roots)
            if self.before is None:
                evaluation.neighbours(self.cell, side, roots)
        if self.before is None:
            evaluation.find_groups(self.cell.data, self.cell.size, roots)
            evaluation.evaluate(self.cell, roots)


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
    small = {name for name, _ in CELLS.values()}
    catalogue.DATASETS = tuple(
        dataclasses.replace(dataset, counts=COUNTS) if dataset.name in small else dataset
        for dataset in catalogue.DATASETS
    )
    embedding.PICTURES_IN_SHARD = embedding.VOLUMES_IN_SHARD = IN_SHARD
    pipeline.BATCH = 4096  # one call of the encoder is one shard
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    clock = types.SimpleNamespace(now=lambda zone: day)
    provenance.datetime = types.SimpleNamespace(datetime=clock, UTC=datetime.UTC)  # type: ignore[assignment]


def roots_of(cache: Path) -> Roots:
    return Roots(data=(), weights=None, precomputed=cache.parent / "nothing", cache=cache)


def job_of(name: str, folder: Path) -> Job:
    """The job of this name; what lies before it is put into the folder."""
    if name != "update":
        return Job(cell(*CELLS[name], "pixels"), {side: COUNTS[side] for side in ("train", "test")})
    before, source = folder / "before", folder / "mine"
    roots = roots_of(before)
    write_classes(source, {"dark": 4, "light": 4})
    adding.add("mine", source, roots)
    evaluation.embeddings(cell("mine", 28, "pixels", roots=roots), "train", roots)
    write_classes(source, {"dark": 4, "light": 4}, first=50)
    changes = adding.update("mine", roots)
    lacks = len({file.name for file in changes.collection.of("train")} & set(changes.new))
    return Job(cell("mine", 28, "pixels", roots=roots), {"train": lacks}, before)


def run(job: Job, cache: Path, disk: Disk) -> tuple[int, list[str]]:
    """The job in a process of its own: its exit status (negative: the signal) and the shards that it embedded."""
    log = cache.with_suffix(".log")
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        os._exit(_child(job, cache, disk, log))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, log.read_text().split()


def _child(job: Job, cache: Path, disk: Disk, log: Path) -> int:
    descriptor, whole = os.open(log, os.O_WRONLY | os.O_APPEND), builtin.BuiltinEncoder.embed

    def embed(self: builtin.BuiltinEncoder, inputs: np.ndarray) -> np.ndarray:
        CALLS["write"](descriptor, f"{hashlib.sha256(inputs.tobytes()).hexdigest()}\n".encode())
        return whole(self, inputs)

    builtin.BuiltinEncoder.embed = embed
    try:
        with disk:
            job.work(cache)
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

    def __init__(self, job: Job, folder: Path):
        self.job, self.folder, self.cache = job, folder, folder / "undisturbed"
        self.job.begin(self.cache)
        there = tree(self.cache).items() if self.cache.exists() else ()
        calls, places = folder / "calls", folder / "places"

        def seen(name: str, arguments: tuple) -> None:
            with calls.open("a") as stream:
                stream.write(f"{name}\n")
            if name == "replace":
                target = Path(arguments[1])
                with places.open("a") as stream:
                    digest = hashlib.sha256(target.read_bytes()).hexdigest()
                    stream.write(f"{target.relative_to(self.cache)} {digest}\n")

        status, shards = run(job, self.cache, Disk(seen=seen))
        assert status == DONE
        self.calls = calls.read_text().split()
        self.named = {*there, *(tuple(line.split(" ")) for line in places.read_text().splitlines())}
        self.places = [line.split(" ")[0] for line in places.read_text().splitlines()]
        self.files = tree(self.cache)
        starts = [(side, start) for side, count in job.lacks.items() for start in range(0, count, IN_SHARD)]
        self.shards = dict(zip(shards, starts, strict=True))

    def finished(self, cache: Path) -> set[tuple[str, int]]:
        """The shards that need not be embedded again."""
        asked, there = self.job.cell, tree(cache) if cache.exists() else {}
        home = cache / "embeddings" / asked.dataset / str(asked.size) / asked.encoder
        ends = {side: str((home / f"{side}.json").relative_to(cache)) for side in self.job.lacks}
        whole = {side for side, end in ends.items() if there.get(end) == self.files[end]}
        lie = {(path.parent.name.split(".")[0], int(path.stem)) for path in home.glob("*.shards/0*.json")}
        return lie | {shard for shard in self.shards.values() if shard[0] in whole}


def after_a_fault(whole: Undisturbed, at: int, fault: str) -> Iterator[str]:
    """What is wrong after one fault, and after the run that follows it."""
    cache = whole.folder / "disturbed"
    whole.job.begin(cache)
    status, embedded = run(whole.job, cache, Disk(at, fault))
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
    status, again = run(whole.job, cache, Disk())
    if status != DONE or tree(cache) != whole.files:
        yield f"the next run ended with {status} and other files"
    if not whole.shards.keys() >= {*embedded, *again}:
        yield "what was kept was embedded again"
    if {whole.shards.get(shard) for shard in again} & finished or len(embedded + again) > len(whole.shards) + 1:
        yield "a finished shard was embedded again"
    shutil.rmtree(cache)


def after_a_flip(whole: Undisturbed, cache: Path, place: str, position: int) -> Iterator[str]:
    """What is wrong after a flipped bit in one file of a cache, and the run that follows it."""
    copy = whole.folder / "flipped"
    shutil.copytree(cache, copy)
    content = bytearray((copy / place).read_bytes())
    content[position] ^= 1
    (copy / place).write_bytes(content)
    status, _ = run(whole.job, copy, Disk())
    if status != DONE or tree(copy) != whole.files:
        yield f"the next run ended with {status} and other files"
    shutil.rmtree(copy)


def half_way(whole: Undisturbed) -> Path:
    """The cache of a run that was killed when all shards of the gallery lay there and nothing was put together."""
    cache = whole.folder / "half way"
    replaces = [at for at, name in enumerate(whole.calls) if name == "replace"]
    last = f"/train.shards/{max(start for side, start in whole.shards.values() if side == 'train'):08d}.json"
    whole.job.begin(cache)
    at = next(at for at, place in zip(replaces, whole.places, strict=True) if place.endswith(last))
    status, _ = run(whole.job, cache, Disk(at, "killed after"))
    assert status == -signal.SIGKILL
    return cache


def flips(whole: Undisturbed) -> Iterator[tuple[str, Iterator[str]]]:
    """The first, the middle and the last byte of every file, of a finished cache and of one with shards."""
    for cache in (whole.cache, half_way(whole)):
        for place in made_anew(whole.job, cache):
            size = (cache / place).stat().st_size
            for position in (0, size // 2, size - 1):
                yield f"byte {position} of {place} flipped", after_a_flip(whole, cache, place, position)


def made_anew(job: Job, cache: Path) -> list[str]:
    """The files that are the same when they were made again; not those from which a collection's vectors are kept."""
    return [place for place in tree(cache) if job.before is None or ".shards/0" in place]


def faults(whole: Undisturbed) -> Iterator[tuple[str, Iterator[str]]]:
    """Every fault at every call."""
    for at, name in enumerate(whole.calls):
        for fault in FAULTS[name]:
            yield f"{fault} {name}", after_a_fault(whole, at, fault)


def main(name: str, folder: Path) -> None:
    """Print how many calls there are, how many points of each kind were tried, and what was wrong at which."""
    prepare()
    job = job_of(name, folder)
    job.begin(folder / "warm")
    job.work(folder / "warm")  # what is imported late and drawn once is at hand in every process that is forked
    whole = Undisturbed(job, folder)
    tried: collections.Counter[str] = collections.Counter()
    problems = []
    for number, (kind, wrong) in enumerate(itertools.chain(faults(whole), flips(whole))):
        tried["flipped" if kind.startswith("byte") else kind] += 1
        problems += [f"{number}, {kind}: {sentence}" for sentence in wrong]
    files, half = (len(made_anew(job, cache)) for cache in (whole.cache, folder / "half way"))
    found = {"calls": collections.Counter(whole.calls), "tried": tried, "files": files, "half way": half}
    found["problems"] = problems
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
