"""Wherever a run is killed, a disk is full or a bit is flipped: the next run ends with the very same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("crashing.py")
KINDS = {
    "write": ("killed before", "killed within", "full", "short", "short, then full"),
    "fsync": ("killed before", "full"),
    "replace": ("killed before", "killed after", "full"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither fork nor SIGKILL")
@pytest.mark.parametrize(
    ("name", "renames", "files", "half_way"),
    [
        # Five shards, two splits, two rankings, the groups and a result.
        ("pictures", 5 * 2 + 2 * 2 + 2 * 3 + 4 + 1, 2 * 2 + 2 * 3 + 4 + 1, 3 * 2),
        ("volumes", 5 * 2 + 2 * 2 + 2 * 3 + 4 + 1, 2 * 2 + 2 * 3 + 4 + 1, 3 * 2),
        # Two shards of what is new in a collection, what is set aside, and a split.
        ("update", 2 * 2 + 3 + 3, 0, 2 * 2),
    ],
)
def test_nothing_is_lost_at_any_point_at_which_a_run_can_end(
    name: str, renames: int, files: int, half_way: int, tmp_path: Path
):
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(DRIVER), name, str(tmp_path)], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == [], done.stderr
    calls, tried = found["calls"], found["tried"]
    assert calls["replace"] >= renames  # each file is one rename and two fsyncs
    assert calls["fsync"] == 2 * calls["replace"] and calls["write"] >= calls["replace"]
    assert found["files"] == files
    expected = {f"{kind} {call}": calls[call] for call, kinds in KINDS.items() for kind in kinds}
    flipped = 3 * (found["files"] + found["half way"])
    assert tried == {**expected, "flipped": flipped}
    assert found["half way"] >= half_way


WORKING = """
import sys
from pathlib import Path
from retrieval import evaluation
from retrieval.cells import cell
from retrieval.embeddings import embedding
from retrieval.encoders import builtin
from retrieval.roots import Roots

whole = builtin.BuiltinEncoder.embed

def embed(self, inputs):
    print("ready", flush=True)
    sys.stdin.readline()
    return whole(self, inputs)

if sys.argv[2] == "slow":
    builtin.BuiltinEncoder.embed = embed
cache = Path(sys.argv[1])
evaluation.evaluate(cell("phantoms3d", 28, "pixels"), Roots((), None, cache / "nothing", cache))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_two_at_one_cell_the_second_is_told_until_the_first_is_killed(tmp_path: Path):
    environ = {**os.environ, "PYTHONPATH": str(DRIVER.parent.parent)}
    command = [sys.executable, "-c", WORKING, str(tmp_path / "cache")]
    first = subprocess.Popen([*command, "slow"], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline().strip() == b"ready"
    second = subprocess.run([*command, "quick"], env=environ, capture_output=True, text=True, check=False)
    first.kill()
    first.communicate()
    assert second.returncode == 1 and "Busy: Another process is at work on the embeddings of Phantoms" in second.stderr
    assert "by Raw pixels (baseline)" in second.stderr
    third = subprocess.run([*command, "quick"], env=environ, capture_output=True, text=True, check=False)
    assert third.returncode == 0, third.stderr
