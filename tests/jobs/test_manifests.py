import json

import pytest

from retrieval.jobs import manifests
from retrieval.jobs.manifests import Line
from retrieval.jobs.plan import Selection, plan

PIXELS = Selection(datasets=("phantoms",), encoders=("pixels",), protocols=("paper",))


def ran(roots, *lines: Line, device: str = "auto", host: str = "") -> None:
    run = manifests.begin(roots, device=device)
    run.write(lines, ended="whole")
    if host:
        run.path.write_text(json.dumps({**json.loads(run.path.read_text()), "host": host}))


def line(seconds: float, estimated: float, state: str = "done") -> Line:
    return Line("a/28/b/paper", state, seconds, 100, None, "", estimated)


def test_the_pace_is_the_median_of_what_was_done_here_and_long_enough_to_tell(empty_roots):
    assert manifests.pace(empty_roots, "auto") is None
    ran(empty_roots, line(20, 10), line(30, 10), line(1000, 10, "failed"), line(99, 1))
    ran(empty_roots, line(40, 10))
    ran(empty_roots, line(1, 10), device="cuda:0")
    ran(empty_roots, line(7, 10), line(7, 10), line(7, 10), line(7, 10), host="elsewhere")
    assert manifests.pace(empty_roots, "auto") == 3.0
    assert manifests.pace(empty_roots, "cuda:0") == 0.1


def test_a_run_of_an_earlier_version_says_nothing_of_the_pace(empty_roots):
    ran(empty_roots, line(20, 10))
    (path,) = (empty_roots.cache / manifests.FOLDER).glob("*.json")
    document = json.loads(path.read_text())
    del document["cells"][0]["estimated"]
    path.write_text(json.dumps(document))
    assert manifests.pace(empty_roots, "auto") is None


def test_a_plan_tells_times_at_the_pace_of_earlier_runs(empty_roots):
    (before,) = plan(PIXELS, empty_roots)
    ran(empty_roots, line(20, 10))
    (after,) = plan(PIXELS, empty_roots)
    assert before.seconds == before.estimated == after.estimated > 0
    assert after.seconds == pytest.approx(2 * before.seconds)
    assert after.embedding == pytest.approx(2 * before.embedding)
