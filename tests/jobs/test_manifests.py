import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from retrieval.cli import precomputing
from retrieval.cli.commands import app
from retrieval.encoders import devices
from retrieval.jobs import manifests, queue, worker
from retrieval.jobs.manifests import Line
from retrieval.jobs.plan import Selection, plan

PIXELS = Selection(datasets=("phantoms",), encoders=("pixels",), protocols=("paper",))


def ran(roots, *lines: Line, device: str = "cpu", host: str = "") -> None:
    run = manifests.begin(roots, device=device)
    run.write(lines, ended="whole")
    if host:
        run.path.write_text(json.dumps({**json.loads(run.path.read_text()), "host": host}))


def line(seconds: float, estimated: float, state: str = "done") -> Line:
    return Line("a/28/b/paper", state, seconds, 100, None, "", estimated)


def test_the_pace_is_the_median_of_what_was_done_here_and_long_enough_to_tell(empty_roots):
    assert manifests.pace(empty_roots, "cpu") is None
    ran(empty_roots, line(20, 10), line(30, 10), line(1000, 10, "failed"), line(99, 1))
    ran(empty_roots, line(40, 10))
    ran(empty_roots, line(1, 10), device="cuda:0")
    ran(empty_roots, line(7, 10), line(7, 10), line(7, 10), line(7, 10), host="elsewhere")
    assert manifests.pace(empty_roots, "cpu") == 3.0
    assert manifests.pace(empty_roots, "cuda:0") == manifests.pace(empty_roots, "cuda:0,cuda:1") == 0.1


def test_a_run_of_an_earlier_version_says_nothing_of_the_pace(empty_roots):
    ran(empty_roots, line(20, 10))
    (path,) = (empty_roots.cache / manifests.FOLDER).glob("*.json")
    document = json.loads(path.read_text())
    del document["cells"][0]["estimated"]
    path.write_text(json.dumps(document))
    assert manifests.pace(empty_roots, "cpu") is None


def test_a_plan_tells_times_at_the_pace_of_earlier_runs(empty_roots):
    (before,) = plan(PIXELS, empty_roots, device="cpu")
    ran(empty_roots, line(20, 10))
    (after,) = plan(PIXELS, empty_roots, device="cpu")
    assert before.seconds == before.estimated == after.estimated > 0
    assert after.seconds == pytest.approx(2 * before.seconds)
    assert after.embedding == pytest.approx(2 * before.embedding)


def by_command(roots) -> None:
    done = CliRunner().invoke(app, ["precompute", "--datasets", "phantoms", "--encoders", "pixels"])
    assert done.exit_code == 0, done.stderr


def by_worker(roots) -> None:
    job = queue.add(PIXELS, roots, title="Pixels")
    worker.do(job, roots)
    assert queue.find(job.id, roots).state == "done"


@pytest.mark.parametrize("compute", [by_command, by_worker])
def test_what_ran_wherever_it_could_tells_the_pace_of_what_is_planned_so(empty_roots, monkeypatch, compute):
    monkeypatch.setattr(manifests, "_TELLING", 0.0)
    monkeypatch.setattr(precomputing, "roots_from_environment", lambda: empty_roots)
    compute(empty_roots)
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["device"] == devices.named("auto")[0] != "auto"
    planned = CliRunner().invoke(app, ["precompute", "--datasets", "phantoms", "--encoders", "histogram", "--dry-run"])
    assert "at the pace of earlier runs here" in planned.stdout
    (entry,) = plan(replace(PIXELS, encoders=("histogram",)), empty_roots)  # as the page does
    assert entry.seconds != entry.estimated


def test_without_earlier_runs_no_device_is_looked_for(empty_roots, monkeypatch):
    def look(device: str):
        raise AssertionError(device)

    monkeypatch.setattr(devices, "named", look)
    assert manifests.pace(empty_roots, "auto") is None
