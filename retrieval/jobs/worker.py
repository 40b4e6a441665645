"""The worker: one process a cache, which does the queue's jobs in turn at the lowest priority."""

import contextlib
import glob
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from retrieval import artifacts
from retrieval.cells import Cell
from retrieval.datasets.catalogue import datasets
from retrieval.encoders.devices import Lost
from retrieval.errors import Busy, RetrievalError
from retrieval.jobs import queue
from retrieval.jobs.plan import Selection, plan
from retrieval.jobs.queue import Job, Progress
from retrieval.jobs.running import Outcome, Step, run
from retrieval.roots import SHIPPED, Roots, environment_of

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks for a job
WRITE_EVERY = 1.0  # and between two words about one
OBEY_EVERY = 0.2  # and between two looks at what is wished
AGAIN_AFTER = 10.0  # and before what the disk refused is written again
LOCK_TRIES = 10
LONGEST_REST = 60.0
BUSY_TRIES, BUSY_REST = 30, 2.0  # how often, and seconds between, to come back to what another process is at


class Steered(Exception):
    """Ends a run because its job is to be paused or cancelled."""


def work(roots: Roots, *, device: str = "auto", until_empty: bool = False) -> None:
    """Do the queue's jobs, the oldest first; return when none is left, or never. Busy where another worker lives."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being stopped is no fault of the job under way
    with _alone(roots):
        be_gentle()
        _take_over(roots)
        while True:
            job = queue.next_job(roots)
            if job is not None:
                do(job, roots, device=device)
            elif until_empty:
                return
            else:
                time.sleep(LOOK_EVERY)


def _take_over(roots: Roots) -> None:
    """What a worker that died left as running waits again; how often it was tried stays."""
    for job in queue.jobs(roots):
        if job.progress.state == "running":
            _settle(job, replace(job.progress, state="waiting"), roots)


def do(job: Job, roots: Roots, *, device: str = "auto") -> None:
    """Do one job and record how it went; for the process that holds the lock. Lost where its GPU answers no more."""
    before = job.progress
    attempts = before.attempts + 1 if before.steer == job.steer else 1
    words, pid = "Planning what is to be done.", os.getpid()
    begun = Progress(state="running", steer=job.steer, attempts=attempts, words=words, pid=pid)
    if attempts > queue.ATTEMPTS:
        _settle(job, replace(before, state="failed", left=None, errors=(_gave_up(),)), roots)
        return
    _is_written(job, begun, roots)
    reporter, lost = _Reporter(job, begun, roots), None
    try:
        ended = _run_through(job, roots, device, reporter)
    except Steered:
        wish, steer = queue.wish_of(job.id, roots)
        state = {"run": "waiting", "pause": "paused", "cancel": "cancelled"}[wish]
        ended = replace(reporter.last, state=state, steer=steer, attempts=0, left=None)
    except KeyboardInterrupt:
        attempts = max(0, reporter.last.attempts - 1)
        _is_written(job, replace(reporter.last, state="waiting", attempts=attempts, left=None), roots)
        raise
    except Exception as error:  # a crash is told as a sentence; the log has all of it
        log.exception("The job %s failed.", job.title)
        ended = replace(reporter.last, state="failed", left=None, errors=(_sentence(error),))
        lost = error if isinstance(error, Lost) else None
    _settle(job, ended, roots)
    if lost is not None:
        raise lost  # another process may get the GPU back


def _settle(job: Job, progress: Progress, roots: Roots) -> None:
    """Write where a job stands, as soon as the disk takes it.

    Until then this worker stays: one started in its place would know nothing of it, and begin the job anew.
    """
    while not _is_written(job, progress, roots):
        time.sleep(AGAIN_AFTER)


def _is_written(job: Job, progress: Progress, roots: Roots) -> bool:
    """Write where a job stands, if the disk takes it; whether it did."""
    try:
        queue.record(job, progress, roots)
    except (OSError, RetrievalError) as error:
        log.warning("Where the job %s stands cannot be written: %s", job.title, error)
        return False
    return True


def _run_through(job: Job, roots: Roots, device: str, reporter: "_Reporter") -> Progress:
    """Plan and run; again after a rest while another process, as the page itself, is at work on a cell."""
    done: tuple[Cell, ...] = ()
    for _ in range(BUSY_TRIES):
        selection, gone = _at_hand(job.selection, roots)
        entries = plan(selection, roots, device=device)
        outcome = run(entries, roots, device=device, report=reporter)
        done += tuple(outcome.done)
        if not outcome.busy:
            break
        reporter.rest(BUSY_REST)
    unavailable = [f"{_place(e.cell)}: {e.cause} {e.remedy}".strip() for e in entries if e.state == "unavailable"]
    return _ended(reporter.last, replace(outcome, done=done), tuple(unavailable), gone)


def _at_hand(selection: Selection, roots: Roots) -> tuple[Selection, tuple[str, ...]]:
    """A selection without the collections that were removed since, and a sentence for each of them.

    Where nothing would be left it is as it was: no names would stand for all.
    """
    known = {data.name for data in datasets(roots)}
    left = tuple(name for name in selection.datasets if name in known)
    gone = tuple(name for name in selection.datasets if name not in known) if left else ()
    said = (f"The collection {name} was removed after this was queued. Add it again to compute it." for name in gone)
    return (replace(selection, datasets=left) if gone else selection), tuple(said)


class _Reporter:
    """Writes where a run is, at most once a second, and ends it where its job is wished otherwise.

    Once a cell or a shard has been finished, what was taken up is no longer one of the attempts that came to nothing.
    """

    def __init__(self, job: Job, begun: Progress, roots: Roots) -> None:
        self.job, self.last, self.roots = job, begun, roots
        self.written = self.looked = 0.0
        self.shards: set[str] = set()  # that were there when the cell under way began

    def rest(self, seconds: float) -> None:
        """Wait, and obey meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._obey()
            time.sleep(OBEY_EVERY)

    def _obey(self) -> None:
        if queue.wish_of(self.job.id, self.roots) != ("run", self.job.steer):
            raise Steered

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        another = step.number != self.last.number
        self.last = replace(
            self.last,
            number=step.number,
            of=step.of,
            words=step.words,
            share=step.share,
            left=step.left,
            finished=step.number - 1,
        )
        if another or now - self.looked >= OBEY_EVERY:
            self.looked = now
            self._obey()
        if another or now - self.written >= WRITE_EVERY:
            self.written = now
            if self.last.attempts and self._got_on(step, another=another):
                self.last = replace(self.last, attempts=0)
            _is_written(self.job, self.last, self.roots)

    def _got_on(self, step: Step, *, another: bool) -> bool:
        """Whether a cell is done, or a shard more there of the pictures of the cell under way, by whichever encoder."""
        places = f"embeddings/{step.cell.dataset}/{step.cell.size}/*/*.shards/*.json"
        shards = set(glob.glob(places, root_dir=self.roots.cache))
        if another:
            self.shards = shards
        return step.done > 0 or not shards <= self.shards


def _ended(last: Progress, outcome: Outcome, unavailable: tuple[str, ...], gone: tuple[str, ...]) -> Progress:
    """How a job ended: done where all was done, else failed with a sentence for each cell that was not.

    What is `gone` counts as no cells, and is told first.
    """
    failed = tuple(f"{_place(cell)}: {message} {remedy}".strip() for cell, message, remedy in outcome.failed)
    busy = tuple(f"{_place(cell)}: Another process is at work on it. Try again later." for cell in outcome.busy)
    errors = failed + busy + unavailable
    number, done = len(outcome.done), len(outcome.done)
    missing = f", {len(errors)} not" if errors else ""
    words = f"{done} {'cell' if done == 1 else 'cells'} computed{missing}." if done else "There was nothing to compute."
    state = "failed" if errors and not done else "done"
    told = (gone + errors)[:20]
    return replace(last, state=state, number=number, finished=done, share=1.0, left=None, words=words, errors=told)


def _place(cell: object) -> str:
    return str(getattr(cell, "key", cell))


def _gave_up() -> str:
    return (
        f"The background process ended {queue.ATTEMPTS} times in the middle of this job. "
        "It may need more memory than this machine has; the log in the cache's jobs folder says more. "
        "Resume it to try again."
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, RetrievalError):
        return str(error)
    if isinstance(error, OSError):
        return f"A file cannot be read or written: {error.strerror or error}. Make room or allow access, then resume."
    return "Something went wrong in the background process. Its log says what it was; resume to try again."


@contextlib.contextmanager
def _alone(roots: Roots) -> Iterator[None]:
    """Hold the worker's lock; tried for a second, since who asks whether a worker lives holds it for a moment."""
    with contextlib.ExitStack() as stack:
        for attempt in range(LOCK_TRIES):
            try:
                stack.enter_context(artifacts.lock(queue.lock_file(roots), what="the queue"))
                break
            except Busy as error:
                if attempt == LOCK_TRIES - 1:
                    message = "Another worker is already at work on the queue of this cache."
                    raise Busy(message, remedy="One is enough: it takes every job in turn.") from error
                time.sleep(0.1)
        yield


def be_gentle() -> None:
    """Leave the processor to whoever else wants it, the page above all."""
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(19)
    for name in ("SCHED_IDLE", "SCHED_BATCH"):
        policy = getattr(os, name, None)
        if policy is not None and _scheduled(policy):
            return


def _scheduled(policy: int) -> bool:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:  # not allowed here
        return False
    return True


def ensure(roots: Roots) -> subprocess.Popen | None:
    """Start a worker as a process of its own that outlives this one; None where one lives already.

    It ends when the queue is empty. What it says goes to a log in the cache.
    """
    if queue.is_worked(roots):
        return None
    with artifacts.log_stream(roots.cache / queue.FOLDER / "worker.log") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "retrieval", "worker", "--until-empty"],
            cwd=SHIPPED.parent,
            env=environment_of(roots),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True, name="worker's end").start()  # so that no zombie stays
    return process


def supervise(roots: Roots, over: threading.Event) -> threading.Thread:
    """Watch the queue in a thread: start a worker where jobs wait and none lives, until `over` is set."""
    thread = threading.Thread(target=_watch, args=(roots, over), daemon=True, name="queue's supervisor")
    thread.start()
    return thread


def _watch(roots: Roots, over: threading.Event) -> None:
    rest = LOOK_EVERY
    while not over.wait(rest):
        try:
            if queue.next_job(roots) is None or queue.is_worked(roots):
                rest = LOOK_EVERY
            elif ensure(roots) is not None:
                rest = min(LONGEST_REST, 2 * rest)  # one that ends at once, again and again, is started less often
        except (OSError, RetrievalError):
            log.exception("The queue cannot be watched.")
            rest = LONGEST_REST
