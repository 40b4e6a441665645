import os
import signal
from pathlib import Path

import pytest

from retrieval.jobs import manifests
from retrieval.jobs.plan import Selection, plan
from retrieval.jobs.running import run
from retrieval.jobs.side_by_side import run_on

CHEAP = Selection(("phantoms",), (), ("pixels", "histogram"), ("paper", "cosine"))


def _states(selection, roots):
    return [entry.state for entry in plan(selection, roots)]


MEETING = """
import os, time
from pathlib import Path
from retrieval.embeddings import embedding

real, met = embedding.check_finite, Path(os.environ["MEETING"])

def check_finite(spec, vectors, what):
    (met / f"{os.getpid()} {spec.name}").touch()
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
    embedded = [path.name.split() for path in meeting.iterdir()]
    assert {int(process) for process, _ in embedded} == {one["process"] for one in runs} and len(runs) == 2
    assert {encoder for _, encoder in embedded} == {"pixels", "histogram"}


def test_what_a_process_that_was_killed_had_begun_is_done_by_whoever_comes_next(empty_roots):
    killed: list[int] = []

    def kill(line: str) -> None:
        children = [int(word) for task in Path("/proc/self/task").iterdir() for word in _text(task).split()]
        ours = [pid for pid in children if b"precompute" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if not killed and ours:
            killed.append(ours[0])
            os.kill(ours[0], signal.SIGKILL)

    run_on(("cpu",), CHEAP, empty_roots, say=kill)
    assert killed
    (manifest,) = manifests.read_all(empty_roots)
    assert manifest["ended"] == ""
    run(plan(CHEAP, empty_roots), empty_roots, report=lambda step: None)
    assert _states(CHEAP, empty_roots) == ["done"] * 4


def _text(task: Path) -> str:
    return (task / "children").read_text()
