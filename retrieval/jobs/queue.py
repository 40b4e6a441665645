"""The queue on disk: what waits, runs and has run, one folder a job under the cache. Pages and workers only meet here.

Each file has one writer, and each is written whole or not at all: `job.json` by who queues, once; `wish.json` by who
steers; `state.json` by the worker. What is shown of a job follows from the three, and from whether a worker lives.
"""

import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from retrieval import artifacts
from retrieval.errors import Busy, RetrievalError, UnknownName
from retrieval.jobs.plan import Selection, cells_of
from retrieval.roots import Roots

FOLDER = "jobs"
MOST_WAITING = 100
SILENT = 10.0  # seconds after which a job of which nothing was written makes one wonder why
ATTEMPTS = 3  # a job on which the worker has died so often, without getting on, is given up

Wish = Literal["run", "pause", "cancel"]
State = Literal["waiting", "running", "paused", "interrupted", "done", "failed", "cancelled"]

OVER: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Progress:
    """What the worker last wrote of a job.

    Attributes:
        state: Where it stands.
        steer: The number of the wish that it stands under; a later wish begins anew.
        attempts: How often a worker has taken it up under that wish since it last got on, by a cell or a shard of one.
        number, of: The cell under way, counted from 1, and how many there are; 0 before the first.
        words: What is being done.
        share: Of the cell that is under way, 0 to 1.
        left: Seconds until the whole job is done; None where not known.
        finished: Cells that are done.
        pid: Of the process that last took it up; 0 before.
        errors: Sentences: what could not be done, and what to do about it.
    """

    state: State = "waiting"
    steer: int = 0
    attempts: int = 0
    number: int = 0
    of: int = 0
    words: str = ""
    share: float = 0.0
    left: float | None = None
    finished: int = 0
    pid: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One job as it stands.

    Attributes:
        id: Its folder's name; earlier ones sort first.
        title: For people.
        created: When it was queued, ISO 8601, UTC.
        selection: The cells that it is about.
        wish: What who steers it wants.
        steer: How often it has been steered.
        state: What is shown: the worker's word, read together with the wish and with whether a worker lives.
        progress: The worker's word.
    """

    id: str
    title: str
    created: str
    selection: Selection
    wish: Wish
    steer: int
    state: State
    progress: Progress

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def runnable(self) -> bool:
        """Whether a worker should take it up."""
        return self.wish == "run" and self.state in ("waiting", "interrupted")


def lock_file(roots: Roots) -> Path:
    """What the one worker of a cache holds while it lives."""
    return roots.cache / FOLDER / "worker.lock"


def is_worked(roots: Roots) -> bool:
    """Whether a worker lives."""
    return artifacts.is_locked(lock_file(roots))


def add(selection: Selection, roots: Roots, *, title: str) -> Job:
    """Queue the cells of a selection; a job on its way with the same selection is returned instead.

    UnknownName where a name does not exist, Busy where too many jobs wait.
    """
    cells_of(selection, roots)
    under_way = [job for job in jobs(roots) if not job.over]
    for job in under_way:
        if job.selection == selection:
            return job
    if len(under_way) >= MOST_WAITING:
        raise Busy(f"{MOST_WAITING} jobs are queued already.", remedy="Wait until some are done, or cancel some.")
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    created = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"title": title, "created": created, "selection": asdict(selection)}
    artifacts.write_json(_folder(name, roots) / "job.json", document)
    return find(name, roots)


def jobs(roots: Roots) -> tuple[Job, ...]:
    """Every job of the cache, the oldest first; a folder whose job cannot be read is left out."""
    folder = roots.cache / FOLDER
    names = sorted(path.parent.name for path in folder.glob("*/job.json")) if folder.is_dir() else []
    worked = bool(names) and is_worked(roots)
    found = (_read(name, roots, worked=worked) for name in names)
    return tuple(job for job in found if job is not None)


def find(name: str, roots: Roots) -> Job:
    """The job of this name; UnknownName lists those that exist."""
    every = {job.id: job for job in jobs(roots)}
    if name not in every:
        raise UnknownName("job", name, list(every) or ["none is queued"])
    return every[name]


def pause(name: str, roots: Roots) -> Job:
    """Hold a job: the worker puts it down within a batch, and keeps what it has."""
    return _steer(name, "pause", roots)


def resume(name: str, roots: Roots) -> Job:
    """Let a job go on that was paused, or try one again that failed or was cancelled."""
    return _steer(name, "run", roots)


def cancel(name: str, roots: Roots) -> Job:
    """End a job; cells that are done stay."""
    return _steer(name, "cancel", roots)


def remove(name: str, roots: Roots) -> None:
    """Forget a job that is not running; what it computed stays. Busy where it runs."""
    job = find(name, roots)
    if job.state == "running":
        raise Busy("This job is running.", remedy="Cancel it first.")
    artifacts.remove_folder(_folder(job.id, roots))


def wish_of(name: str, roots: Roots) -> tuple[Wish, int]:
    """What is wanted of a job, and how often it has been steered; a job that is gone is cancelled."""
    if not (_folder(name, roots) / "job.json").is_file():
        return "cancel", 0
    document = artifacts.read_json(_folder(name, roots) / "wish.json")
    if not isinstance(document, Mapping) or document.get("wish") not in ("run", "pause", "cancel"):
        return "run", 0
    number = document.get("number")
    return document["wish"], number if isinstance(number, int) else 0


def next_job(roots: Roots) -> Job | None:
    """The oldest job that should run; None where there is none."""
    return next((job for job in jobs(roots) if job.runnable), None)


def record(job: Job, progress: Progress, roots: Roots) -> None:
    """Write where a job stands; for the worker alone. A job that was removed meanwhile stays so."""
    if (_folder(job.id, roots) / "job.json").is_file():
        artifacts.write_json(_folder(job.id, roots) / "state.json", asdict(progress))


def unwritable(jobs: Iterable[Job], roots: Roots) -> str:
    """Why the worker cannot write how these jobs get on, in a sentence; empty where it can.

    The disk is tried only where nothing has been written of the job whose turn it is for a while.
    """
    live = next((job for job in jobs if job.state in ("waiting", "running", "interrupted")), None)
    if live is None or time.time() - _written(_folder(live.id, roots)) < SILENT:
        return ""
    path, said = roots.cache / FOLDER / "tried.json", "The cache cannot be written, so that this job does not get on."
    try:
        artifacts.write_json(path, {})
        artifacts.remove_file(path)
    except RetrievalError as error:
        return f"{said} {error}"
    except OSError as error:
        return f"{said} {error.strerror or error}: allow access to {path.parent}."
    return ""


def _written(folder: Path) -> float:
    """When anything was last written of a job, in seconds as of `time.time`."""
    with suppress(FileNotFoundError):  # removed just now
        return max((path.stat().st_mtime for path in folder.glob("*.json")), default=0.0)
    return time.time()


def _folder(name: str, roots: Roots) -> Path:
    return roots.cache / FOLDER / name


def _steer(name: str, wish: Wish, roots: Roots) -> Job:
    job = find(name, roots)
    artifacts.write_json(_folder(job.id, roots) / "wish.json", {"wish": wish, "number": job.steer + 1})
    return find(name, roots)


def _read(name: str, roots: Roots, *, worked: bool) -> Job | None:
    folder = _folder(name, roots)
    document = artifacts.read_json(folder / "job.json")
    try:
        selection = _selection(document["selection"])  # type: ignore[index]
        title, created = str(document["title"]), str(document["created"])  # type: ignore[index]
    except (TypeError, KeyError, AttributeError):  # damaged, removed just now, or of another version
        return None
    wish, steer = wish_of(name, roots)
    progress = _progress(artifacts.read_json(folder / "state.json"))
    state = shown_state(progress, wish, steer, worked=worked)
    return Job(name, title, created, selection, wish, steer, state, progress)


def _selection(document: Any) -> Selection:
    """As it was queued. A name may be gone by now: the job stays in sight, and who does it says so."""
    for name, values in document.items():
        kind = int if name == "sizes" else str
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise TypeError(f"{name} of a selection holds something else")
    return Selection(**{name: tuple(values) for name, values in document.items()})


def _progress(document: Any) -> Progress:
    try:
        found = Progress(**document)
        return replace(found, errors=tuple(found.errors))
    except TypeError:  # none yet, or of another version
        return Progress()


def shown_state(progress: Progress, wish: Wish, steer: int, *, worked: bool) -> State:
    """What is to be said of a job: the worker's word where it is about the present wish, else the wish's own."""
    if progress.state == "running" and worked:
        return "running"
    if progress.state == "done" and (wish != "run" or steer == progress.steer):
        return "done"
    if wish == "cancel":
        return "cancelled"
    if wish == "pause":
        return "paused"
    if progress.state == "running":
        return "interrupted"
    return progress.state if steer == progress.steer and progress.state in OVER else "waiting"
