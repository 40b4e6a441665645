"""The worker as a process of its own, killed for real."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval import artifacts, evaluation, readiness, results
from retrieval.cells import cell
from retrieval.embeddings import embedding
from retrieval.encoders.devices import Lost
from retrieval.errors import Busy, Unavailable
from retrieval.jobs import queue, running, worker
from retrieval.jobs.plan import Selection
from retrieval.jobs.queue import Progress
from retrieval.jobs.running import Outcome
from retrieval.page import jobs_tab
from retrieval.roots import Roots, environment_of

CHEAP = Selection(datasets=("phantoms",), sizes=(64,), encoders=("pixels",), protocols=("cosine",))
SLOW = Path(__file__).with_name("slow_worker.py")


@pytest.fixture
def roots(empty_roots) -> Roots:
    return replace(empty_roots, precomputed=empty_roots.cache / "nothing")


def until(condition: Callable[[], object], *, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not come about in time"
        time.sleep(0.05)


@pytest.fixture
def start(roots) -> Iterator[Callable[[], subprocess.Popen]]:
    """Start a worker that takes its time over each picture."""
    begun = []

    def one() -> subprocess.Popen:
        begun.append(subprocess.Popen([sys.executable, str(SLOW)], env=environment_of(roots)))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.wait()


def finish(roots: Roots) -> None:
    command = [sys.executable, "-m", "retrieval", "worker", "--until-empty"]
    subprocess.run(command, env=environment_of(roots), check=True)


def state(name: str, roots: Roots) -> str:
    return queue.find(name, roots).state


def test_it_does_what_waits_and_ends_when_nothing_is_left(roots):
    job = queue.add(CHEAP, roots, title="Cheap")
    finish(roots)
    done = queue.find(job.id, roots)
    assert (done.state, done.progress.finished, done.progress.errors) == ("done", 1, ())
    assert results.read(results.path_of(roots.cache, cell("phantoms", 64, "pixels", "cosine"))) is not None


def test_a_cell_whose_result_alone_is_there_gets_what_else_a_search_needs(roots):
    one = evaluation.evaluate(cell("phantoms", 64, "pixels", "cosine"), roots).cell
    before = results.path_of(roots.cache, one).read_bytes()
    artifacts.remove_folder(roots.cache / "neighbours")
    artifacts.remove_folder(roots.cache / "embeddings")
    job = queue.add(CHEAP, roots, title="Cheap")
    worker.do(job, roots)
    assert queue.find(job.id, roots).progress.words == "1 cell computed."
    ready = readiness.of_pictures(one, roots)
    assert (ready.state, ready.uploads, ready.seconds) == ("ready", True, 0.0)
    assert results.path_of(roots.cache, one).read_bytes() == before


def test_where_only_a_part_can_be_had_it_says_how_much(roots):
    job = queue.add(replace(CHEAP, datasets=("phantoms", "breastmnist"), sizes=()), roots, title="In part")
    finish(roots)
    done = queue.find(job.id, roots)
    assert done.state == "done" and len(done.progress.errors) == 4  # the sizes of BreastMNIST
    assert done.progress.words == "1 cell computed, 4 not."


def test_what_cannot_be_had_is_told_in_a_sentence(roots):
    job = queue.add(replace(CHEAP, datasets=("breastmnist",), sizes=(28,)), roots, title="No data")
    finish(roots)
    failed = queue.find(job.id, roots)
    assert failed.state == "failed"
    assert failed.progress.errors[0].startswith("breastmnist/28/pixels/cosine: ")
    assert failed.progress.errors[0].endswith(".")


def test_it_is_paused_resumed_and_cancelled_in_the_middle(roots, start):
    job = queue.add(CHEAP, roots, title="Cheap")
    start()
    until(lambda: state(job.id, roots) == "running" and queue.find(job.id, roots).progress.share > 0)
    queue.pause(job.id, roots)
    until(lambda: state(job.id, roots) == "paused")
    queue.resume(job.id, roots)
    until(lambda: state(job.id, roots) == "running")
    queue.cancel(job.id, roots)
    until(lambda: state(job.id, roots) == "cancelled")
    queue.remove(job.id, roots)
    assert queue.jobs(roots) == ()


def ended_half_way(roots, start, by: signal.Signals) -> queue.Job:
    """A job whose worker was ended by a signal while it was at work on it."""
    job = queue.add(CHEAP, roots, title="Cheap")
    process = start()
    until(lambda: queue.find(job.id, roots).progress.share > 0)
    process.send_signal(by)
    process.wait()
    return queue.find(job.id, roots)


def test_killed_in_the_middle_its_job_is_interrupted_and_the_next_goes_on(roots, start):
    job = ended_half_way(roots, start, signal.SIGKILL)
    assert (job.state, job.progress.attempts) == ("interrupted", 1)
    finish(roots)
    assert state(job.id, roots) == "done"


def test_stopped_in_the_middle_it_says_that_its_job_waits_and_was_not_at_fault(roots, start):
    job = ended_half_way(roots, start, signal.SIGTERM)
    assert (job.state, job.progress.attempts) == ("waiting", 0)


def test_there_is_one_worker_a_cache(roots, start):
    start()
    until(lambda: queue.is_worked(roots))
    second = subprocess.run(
        [sys.executable, "-m", "retrieval", "worker"], env=environment_of(roots), capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "Another worker is already at work" in second.stderr
    assert worker.ensure(roots) is None


def test_a_job_that_kills_its_worker_three_times_is_given_up(roots):
    job = queue.add(CHEAP, roots, title="Cheap")
    queue.record(job, Progress(state="running", attempts=queue.ATTEMPTS), roots)
    worker.do(queue.find(job.id, roots), roots)
    failed = queue.find(job.id, roots)
    assert failed.state == "failed"
    assert "ended 3 times" in failed.progress.errors[0]
    assert queue.resume(job.id, roots).state == "waiting", "it may be tried again"
    worker.do(queue.find(job.id, roots), roots)
    assert state(job.id, roots) == "done"


class Died(BaseException):
    """In the place of a signal that ends a process at once."""


def die_often(job: queue.Job, roots: Roots, *, times: int) -> int:
    """Let workers take a job up until it is over, so many at most; how many of them died."""
    for died in range(times):
        worker._take_over(roots)
        try:
            worker.do(queue.find(job.id, roots), roots)
        except Died:
            continue
        return died
    return times


@pytest.fixture
def every_word(monkeypatch) -> None:
    """What a worker reports is written at once."""
    monkeypatch.setattr(worker, "WRITE_EVERY", 0.0)


def test_attempts_that_get_on_by_a_shard_are_as_many_as_it_takes(roots, monkeypatch, every_word):
    monkeypatch.setattr(queue, "ATTEMPTS", 1)
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 100)
    real, made = embedding._embedded_shard, []

    def one_shard_a_life(making, start, *rest):
        if made and made[-1] != start:
            made.clear()
            raise Died
        made.append(start)
        return real(making, start, *rest)

    monkeypatch.setattr(embedding, "_embedded_shard", one_shard_a_life)
    job = queue.add(CHEAP, roots, title="Cheap")
    assert die_often(job, roots, times=40) > 3
    assert state(job.id, roots) == "done"


def test_attempts_that_get_on_by_a_cell_are_as_many_as_it_takes(roots, monkeypatch, every_word):
    monkeypatch.setattr(queue, "ATTEMPTS", 1)
    real, lives = running.evaluate, []

    def one_cell_a_life(cell, *rest, **named):
        lives.append(cell)
        if len(lives) > 1:
            lives.clear()
            raise Died
        return real(cell, *rest, **named)

    monkeypatch.setattr(running, "evaluate", one_cell_a_life)
    job = queue.add(replace(CHEAP, protocols=("cosine", "paper")), roots, title="Two")
    assert die_often(job, roots, times=10) == 1
    assert state(job.id, roots) == "done"


def test_to_have_failed_with_a_cell_is_not_to_have_got_on(roots, monkeypatch, every_word):
    def fails_then_dies(cell, *_, **__):
        raise Unavailable("No.") if cell.protocol == "cosine" else Died

    monkeypatch.setattr(running, "evaluate", fails_then_dies)
    job = queue.add(replace(CHEAP, protocols=("cosine", "paper")), roots, title="Two")
    assert die_often(job, roots, times=10) == queue.ATTEMPTS
    failed = queue.find(job.id, roots)
    assert failed.state == "failed" and "ended 3 times" in failed.progress.errors[0]


def test_what_another_process_is_at_is_come_back_to(roots, monkeypatch):
    monkeypatch.setattr(worker, "BUSY_REST", 0.01)
    tries = []

    def busy_at_first(entries, *_args, **_kwargs):
        tries.append(entries)
        cells = tuple(entry.cell for entry in entries)
        return Outcome(cells, (), ()) if len(tries) == 3 else Outcome((), (), cells)

    monkeypatch.setattr(worker, "run", busy_at_first)
    job = queue.add(CHEAP, roots, title="Cheap")
    worker.do(job, roots)
    assert (state(job.id, roots), len(tries)) == ("done", 3)


def test_a_crash_is_a_sentence(roots, monkeypatch, caplog):
    def broken(*_args, **_kwargs):
        raise ValueError("secret details")

    monkeypatch.setattr(worker, "run", broken)
    job = queue.add(CHEAP, roots, title="Cheap")
    worker.do(job, roots)
    failed = queue.find(job.id, roots)
    assert failed.state == "failed"
    assert "secret" not in failed.progress.errors[0]
    assert "secret details" in caplog.text


def test_a_worker_whose_gpu_is_lost_says_so_and_leaves_the_next_job_to_another(roots, monkeypatch):
    def lost(*_args, **_kwargs):
        raise Lost("The GPU was lost.", remedy="Run the same again.")

    monkeypatch.setattr(worker, "run", lost)
    monkeypatch.setattr(worker, "be_gentle", lambda: None)  # this process is not the worker's own
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    job, other = queue.add(CHEAP, roots, title="First"), queue.add(replace(CHEAP, sizes=()), roots, title="Second")
    with pytest.raises(Lost):
        worker.work(roots, until_empty=True)
    failed = queue.find(job.id, roots)
    assert (failed.state, failed.progress.errors) == ("failed", ("The GPU was lost. Run the same again.",))
    assert state(other.id, roots) == "waiting"


@pytest.mark.parametrize("full_when", ["from the beginning", "in the middle"])
def test_on_a_full_disk_it_waits_with_its_last_word_and_the_page_says_why(roots, monkeypatch, full_when):
    monkeypatch.setattr(worker, "AGAIN_AFTER", 0.05)
    monkeypatch.setattr(queue, "SILENT", 0.0)
    full, write, check = threading.Event(), os.write, embedding.check_finite

    def write_if_there_is_room(descriptor, data):
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    def fill(*args):
        check(*args)
        full.set()

    monkeypatch.setattr(embedding, "check_finite", fill)
    monkeypatch.setattr(os, "write", write_if_there_is_room)
    job = queue.add(CHEAP, roots, title="Cheap")
    if full_when == "from the beginning":
        full.set()
    working = threading.Thread(target=worker.do, args=(job, roots))
    working.start()
    try:
        until(full.is_set)
        until(lambda: jobs_tab.documents(roots)[0]["errors"])
        (shown,) = jobs_tab.documents(roots)
        assert shown["errors"][0].startswith("The cache cannot be written, so that this job does not get on. ")
        assert "there is no room left" in shown["errors"][0]
        assert shown["state"] == ("waiting" if full_when == "from the beginning" else "interrupted")  # no lock is held
        working.join(1)
        assert working.is_alive()
    finally:
        full.clear()
        working.join(60)
    failed = queue.find(job.id, roots)
    assert failed.state == "failed" and "there is no room left" in failed.progress.errors[0]
    assert jobs_tab.documents(roots)[0]["errors"] == list(failed.progress.errors)


def test_who_only_asks_whether_a_worker_lives_keeps_none_from_starting(roots):
    def ask() -> None:
        until_then = time.monotonic() + 0.5
        while time.monotonic() < until_then:
            queue.is_worked(roots)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(5):
        with worker._alone(roots):
            pass
    asking.join()


def test_the_supervisor_starts_a_worker_for_what_waits(roots, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_EVERY", 0.1)
    over = threading.Event()
    watching = worker.supervise(roots, over)
    try:
        job = queue.add(CHEAP, roots, title="Cheap")
        until(lambda: state(job.id, roots) == "done")
    finally:
        over.set()
        watching.join()
    until(lambda: not queue.is_worked(roots))


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such priorities")
def test_it_has_the_lowest_priority(roots, start):
    process = start()
    until(lambda: queue.is_worked(roots))
    until(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == 19)


def test_the_lock_is_free_when_its_holder_died(roots, start):
    process = start()
    until(lambda: queue.is_worked(roots))
    process.kill()
    process.wait()
    assert not artifacts.is_locked(queue.lock_file(roots))
    with pytest.raises(Busy), worker._alone(roots), worker._alone(roots):
        pass
