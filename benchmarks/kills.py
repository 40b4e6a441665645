"""A real process at work on a cell, killed a hundred times at random moments and started again until it is done.

What it leaves is compared, byte by byte, with what an undisturbed process leaves. `python -m benchmarks.kills FOLDER`
is that process.
"""

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.judging import Finding
from benchmarks.serving import REPOSITORY
from retrieval.cells import cell
from retrieval.embeddings import embedding
from retrieval.evaluation import evaluate
from retrieval.roots import Roots

KILLS, SEED = 100, 11
IN_SHARD = 25  # small, so that a second of work has many ends of shards


def findings() -> list[Finding]:
    """How many files differ after the kills; none may."""
    draw = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        whole = _finished(Path(folder) / "undisturbed")
        moment = time.perf_counter() - began
        kills = rounds = differing = 0
        while kills < KILLS:
            cache = Path(folder) / f"killed {rounds}"
            kills += _killed(cache, moment, draw, at_most=KILLS - kills)
            found = _finished(cache)
            differing += sum(whole.get(place) != found.get(place) for place in whole.keys() | found.keys())
            rounds += 1
    note = f"{kills} kills in {rounds} runs to the end, seed {SEED}"
    return [Finding("files that differ after kills", float(differing), bound=0.0, unit="files", note=note)]


def _killed(cache: Path, moment: float, draw: random.Random, *, at_most: int) -> int:
    """Start and kill the process until one comes to its end by itself, or often enough; how many were killed."""
    for kills in range(at_most):
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.kills", str(cache)], cwd=REPOSITORY)
        try:
            process.wait(timeout=draw.uniform(0, moment))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            return kills
    return at_most


def _finished(cache: Path) -> dict[str, str]:
    """Run the process to its end; every file but locks, by its place, as a digest."""
    subprocess.run([sys.executable, "-m", "benchmarks.kills", str(cache)], cwd=REPOSITORY, check=True)
    files = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def work(cache: Path) -> None:
    """Evaluate a cell of the phantoms into a cache."""
    embedding.PICTURES_IN_SHARD = IN_SHARD
    evaluate(cell("phantoms", 64, "pixels"), Roots(data=(), weights=None, precomputed=cache / "nothing", cache=cache))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
