import os
import signal
from pathlib import Path

from retrieval.jobs import manifests
from retrieval.jobs.plan import Selection, plan
from retrieval.jobs.running import run
from retrieval.jobs.side_by_side import run_on

CHEAP = Selection(("phantoms",), (), ("pixels", "histogram"), ("paper", "cosine"))


def _states(selection, roots):
    return [entry.state for entry in plan(selection, roots)]


def test_two_processes_share_the_cells(empty_roots):
    said: list[str] = []
    run_on(("cpu", "cpu"), CHEAP, empty_roots, say=said.append)
    assert _states(CHEAP, empty_roots) == ["done"] * 4
    assert any(line.startswith("cpu: Cell 1 of 4") for line in said)
    runs = list(manifests.read_all(empty_roots))
    assert len({one["process"] for one in runs}) == 2
    assert all(one["ended"] == "whole" for one in runs)


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
