import pytest

from retrieval import artifacts
from retrieval.errors import Busy, UnknownName
from retrieval.jobs import queue
from retrieval.jobs.plan import Selection
from retrieval.jobs.queue import Progress

ONE = Selection(datasets=("phantoms",), sizes=(64,), encoders=("pixels",), protocols=("paper",))
OTHER = Selection(datasets=("phantoms",), sizes=(64,), encoders=("histogram",), protocols=("paper",))


def test_what_is_queued_is_found_again_the_oldest_first(empty_roots):
    first = queue.add(ONE, empty_roots, title="One")
    second = queue.add(OTHER, empty_roots, title="Other")
    assert queue.jobs(empty_roots) == (first, second)
    assert queue.next_job(empty_roots) == first
    assert (first.selection, first.title, first.state) == (ONE, "One", "waiting")


def test_the_same_cells_are_queued_once_while_they_are_on_their_way(empty_roots):
    first = queue.add(ONE, empty_roots, title="One")
    assert queue.add(ONE, empty_roots, title="Again") == first
    queue.cancel(first.id, empty_roots)
    assert queue.add(ONE, empty_roots, title="Again").id != first.id


def test_a_name_that_does_not_exist_is_not_queued(empty_roots):
    with pytest.raises(UnknownName):
        queue.add(Selection(datasets=("phantom",)), empty_roots, title="One")
    assert queue.jobs(empty_roots) == ()


def test_a_queue_has_an_end(empty_roots, monkeypatch):
    monkeypatch.setattr(queue, "MOST_WAITING", 1)
    queue.add(ONE, empty_roots, title="One")
    with pytest.raises(Busy, match="queued already"):
        queue.add(OTHER, empty_roots, title="Other")


def test_steering_one_that_waits(empty_roots):
    name = queue.add(ONE, empty_roots, title="One").id
    assert queue.pause(name, empty_roots).state == "paused"
    assert queue.next_job(empty_roots) is None
    assert queue.resume(name, empty_roots).state == "waiting"
    assert queue.cancel(name, empty_roots).state == "cancelled"
    assert queue.next_job(empty_roots) is None
    queue.remove(name, empty_roots)
    assert queue.jobs(empty_roots) == ()
    for steer in (queue.pause, queue.resume, queue.cancel, queue.remove):
        with pytest.raises(UnknownName):
            steer(name, empty_roots)


def test_a_name_leads_nowhere_else(empty_roots):
    queue.add(ONE, empty_roots, title="One")
    with pytest.raises(UnknownName):
        queue.remove("../jobs", empty_roots)


def test_running_without_a_worker_is_interrupted(empty_roots):
    job = queue.add(ONE, empty_roots, title="One")
    queue.record(job, Progress(state="running", attempts=1), empty_roots)
    assert queue.find(job.id, empty_roots).state == "interrupted"
    assert queue.next_job(empty_roots) is not None
    with artifacts.lock(queue.lock_file(empty_roots), what="the queue"):
        assert queue.find(job.id, empty_roots).state == "running"
        assert queue.next_job(empty_roots) is None
        with pytest.raises(Busy, match="running"):
            queue.remove(job.id, empty_roots)


@pytest.mark.parametrize("state", ["failed", "done"])
def test_what_ended_stays_so_until_it_is_wished_again(empty_roots, state):
    job = queue.add(ONE, empty_roots, title="One")
    queue.record(job, Progress(state=state, errors=("No.",)), empty_roots)
    assert queue.find(job.id, empty_roots).state == state
    assert queue.resume(job.id, empty_roots).state == "waiting"


def test_what_is_done_cannot_be_cancelled(empty_roots):
    job = queue.add(ONE, empty_roots, title="One")
    queue.record(job, Progress(state="done"), empty_roots)
    assert queue.cancel(job.id, empty_roots).state == "done"


DAMAGED = [
    *(b"", b"{", b"[]", b"null", b'{"selection": 5}', b'{"title": "x", "created": "x"}'),
    *(
        b'{"title": "x", "created": "x", "selection": {%s}}' % selection
        for selection in (b'"datasets": "phantoms"', b'"datasets": [["phantoms"]]', b'"sizes": ["28"]', b'"other": []')
    ),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_job_is_left_out_and_harms_no_other(empty_roots, text):
    damaged, sound = (queue.add(each, empty_roots, title="x") for each in (ONE, OTHER))
    (empty_roots.cache / "jobs" / damaged.id / "job.json").write_bytes(text)
    assert [job.id for job in queue.jobs(empty_roots)] == [sound.id]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"wish": 5}', b'{"surprise": 1}'])
def test_damaged_words_about_a_job_are_no_words(empty_roots, text):
    job = queue.add(ONE, empty_roots, title="One")
    for name in ("wish.json", "state.json"):
        (empty_roots.cache / "jobs" / job.id / name).write_bytes(text)
    assert queue.find(job.id, empty_roots).state == "waiting"


def test_a_job_that_was_removed_is_not_brought_back_by_its_worker(empty_roots):
    job = queue.add(ONE, empty_roots, title="One")
    queue.remove(job.id, empty_roots)
    assert queue.wish_of(job.id, empty_roots)[0] == "cancel"
    queue.record(job, Progress(state="running"), empty_roots)
    assert not (empty_roots.cache / "jobs" / job.id).exists()
