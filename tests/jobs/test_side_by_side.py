import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.encoders import devices
from retrieval.jobs import manifests
from retrieval.jobs.plan import Selection, plan
from retrieval.jobs.running import run
from retrieval.jobs.side_by_side import run_on
from retrieval.roots import environment_of

CHEAP = Selection(("phantoms",), (), ("pixels", "histogram"), ("paper", "cosine"))


def _states(selection, roots):
    return [entry.state for entry in plan(selection, roots)]


MEETING = """
import os, time
from pathlib import Path
from retrieval.embeddings import embedding

real, met = embedding.check_finite, Path(os.environ["MEETING"])

def check_finite(spec, vectors, what):
    (met / f"{os.getpid()} {spec.name} {sorted(os.sched_getaffinity(0))}").touch()
    end = time.monotonic() + 120
    while len({path.name.split()[0] for path in met.iterdir()}) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    real(spec, vectors, what)

embedding.check_finite = check_finite
"""  # Python runs a file named sitecustomize wherever it begins


@pytest.fixture
def meeting(tmp_path, monkeypatch) -> Path:
    """A folder of who embeds what: each process holds what it embeds first until another one embeds something."""
    code, met = tmp_path / "code", tmp_path / "met"
    for folder in (code, met):
        folder.mkdir()
    (code / "sitecustomize.py").write_text(MEETING)
    monkeypatch.setenv("PYTHONPATH", str(code))
    monkeypatch.setenv("MEETING", str(met))
    return met


def test_two_processes_share_the_cells(empty_roots, meeting):
    said: list[str] = []
    run_on(("cpu", "cpu"), CHEAP, empty_roots, say=said.append)
    assert _states(CHEAP, empty_roots) == ["done"] * 4
    assert any(line.startswith("cpu: Cell 1 of 4") for line in said)
    runs = list(manifests.read_all(empty_roots))
    assert all(one["ended"] == "whole" for one in runs)
    embedded = [path.name.split(maxsplit=2)[:2] for path in meeting.iterdir()]
    assert {int(process) for process, _ in embedded} == {one["process"] for one in runs} and len(runs) == 2
    assert {encoder for _, encoder in embedded} == {"pixels", "histogram"}
    cores = {path.name.split(maxsplit=2)[2] for path in meeting.iterdir()}
    assert cores == {str(sorted(share)) for share in devices.shares(2)}


def test_what_a_process_that_was_killed_had_begun_is_done_by_whoever_comes_next(empty_roots):
    killed: list[int] = []
    said: list[str] = []

    def kill(line: str) -> None:
        said.append(line)
        children = [int(word) for task in Path("/proc/self/task").iterdir() for word in _text(task).split()]
        ours = [pid for pid in children if b"precompute" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if not killed and ours:
            killed.append(ours[0])
            os.kill(ours[0], signal.SIGKILL)

    run_on(("cpu",), CHEAP, empty_roots, say=kill)
    assert killed
    assert said[-1] == "cpu: The process was ended by signal 9. What it left is tried once more."
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == ""
    run(plan(CHEAP, empty_roots), empty_roots, report=lambda step: None)
    assert _states(CHEAP, empty_roots) == ["done"] * 4


HELD = """
import os, sys, time
from pathlib import Path
from retrieval.embeddings import embedding
from retrieval.jobs import side_by_side

side_by_side.STOPPED = float(os.environ["STOPPED"])

def check_finite(spec, vectors, what):
    (Path(os.environ["MEETING"]) / str(os.getpid())).touch()
    while True:
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            if side_by_side.STOPPED > 10:
                raise

embedding.check_finite = check_finite
"""  # with little time to stop in, it takes no notice of being asked to


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("by", "seconds"), [(signal.SIGTERM, "1"), (signal.SIGHUP, "60")])
def test_who_is_asked_to_end_ends_the_processes_that_it_started(empty_roots, meeting, monkeypatch, by, seconds):
    (meeting.parent / "code" / "sitecustomize.py").write_text(HELD)
    monkeypatch.setenv("STOPPED", seconds)
    words = ["--datasets", "phantoms", "--encoders", "pixels,histogram", "--device", "cpu,cpu"]
    command = [sys.executable, "-m", "retrieval", "precompute", *words]
    parent = subprocess.Popen(command, env=environment_of(empty_roots), stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 120
        while len(list(meeting.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        children = [int(path.name) for path in meeting.iterdir()]
        parent.send_signal(by)
        _, said = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert len(children) == 2 and parent.pid not in children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert parent.returncode == 130
    assert "Stopped. What is finished is kept" in said and "Traceback" not in said


def _text(task: Path) -> str:
    return (task / "children").read_text()
