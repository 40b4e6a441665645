"""A sampled picture's cards while the page's own worker computes a cell with all its might, against the page at rest.

The job: EfficientNet-Lite0 on a file of noise in OrganAMNIST's layout, minutes of work, cancelled in the
end. The page at rest is measured before and after it, in the same tab of the same browser.
"""

import itertools
import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.judging import Finding, median, percentile_95
from benchmarks.page import FIVE, MINUTES, SAMPLE, chromium, milliseconds, opened
from benchmarks.serving import KEPT, app, served
from retrieval import artifacts, groups
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.npz import MEMBERS, expected_shape
from retrieval.datasets.opening import open_split
from retrieval.jobs import queue
from retrieval.jobs.plan import Selection
from retrieval.roots import SHIPPED, Roots

DATASET, SIZE, ENCODER, SEED = "organamnist", 28, "efficientnet_lite0", 0
SAMPLES, WARM = 80, 5  # at work; at rest as many, half before and half after
PATIENCE = 600.0
NAME = "sampled picture to five painted cards, a job at work"


class NotAtWork(RuntimeError):
    """The job did not run all the while."""


def findings() -> list[Finding]:
    """The 95th percentile at work against the one at rest, and for itself."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        roots = _roots(Path(folder))
        own = {"RETRIEVAL_DATA": str(roots.data[0]), "RETRIEVAL_CACHE": str(roots.cache), "RETRIEVAL_JOBS": "on"}
        try:
            with chromium() as browser, served(app(), own) as page:
                rest, work, note = _measured(opened(browser, page.url, "#sample"), page.url, roots)
        except NotAtWork as error:
            return [Finding(f"{NAME}, p95", None, bound=250, unit="ms", note=str(error))]
    tail, idle = percentile_95(work), percentile_95(rest)
    note += f"; p95 of {len(work)} and {len(rest)}; medians {median(work):.0f} and {median(rest):.0f} ms"
    return [
        Finding(f"{NAME}, p95", tail, "page at rest, p95", idle, 3, unit="ms", note=note),
        Finding(f"{NAME}, p95 alone", tail, bound=250, unit="ms"),
    ]


def _measured(page, url: str, roots: Roots) -> tuple[list[float], list[float], str]:
    """Milliseconds at rest and at work, and how far the job got meanwhile."""
    page.wait_for_function(FIVE, timeout=MINUTES)
    _sampled(page, WARM)
    rest = _sampled(page, SAMPLES // 2)
    with _at_work(url, roots):
        _sampled(page, WARM)
        before = _job(url)
        work = _sampled(page, SAMPLES)
        after = _job(url)
    if (before["state"], after["state"]) != ("running", "running") or _done(before) == _done(after):
        raise NotAtWork(f"the job was not at work all the time: {before}, {after}")
    note = f'{after["title"]}: from "{_done(before)}" to "{_done(after)}"'
    return rest + _sampled(page, SAMPLES // 2), work, note


@contextmanager
def _at_work(url: str, roots: Roots) -> Iterator[None]:
    """A job of the page's own worker, embedding; at the end it is cancelled, and the worker gone."""
    selection = Selection((DATASET,), (SIZE,), (ENCODER,), ("paper",))
    job = queue.add(selection, roots, title=f"{ENCODER} on noise")
    try:
        _until(lambda: "train items" in _job(url)["words"], "the job did not start")
        yield
    finally:
        queue.cancel(job.id, roots)
        _until(lambda: not queue.is_worked(roots), "the worker did not end")


def _until(there, otherwise: str) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            raise NotAtWork(otherwise)
        time.sleep(0.2)


def _job(url: str) -> dict[str, Any]:
    """The one job, as the page tells it."""
    with urllib.request.urlopen(f"{url}/jobs.json") as answer:
        [job] = json.load(answer)["jobs"]
    return job


def _done(job: dict[str, Any]) -> str:
    """How far it is, without the time that is left."""
    return job["words"].split(" About ")[0]


def _sampled(page, count: int) -> list[float]:
    return [milliseconds(page, SAMPLE) for _ in itertools.repeat(None, count)]


def _roots(folder: Path) -> Roots:
    """A cache of its own, and a data file of noise."""
    dataset, noise = find_dataset(DATASET), np.random.default_rng(SEED)
    arrays = {}
    for name in MEMBERS:
        most = 256 if "images" in name else len(dataset.classes)
        arrays[name.removesuffix(".npy")] = noise.integers(0, most, expected_shape(dataset, SIZE, name), np.uint8)
    (folder / "data").mkdir()
    np.savez(folder / "data" / dataset.files[SIZE].name, **arrays)
    roots = Roots(data=(folder / "data",), weights=None, precomputed=SHIPPED, cache=folder / "cache")
    _group(roots)
    return roots


def _group(roots: Roots) -> None:
    """Lay ready what an earlier run would have found, minutes of work: every picture is alone in its group."""
    dataset = find_dataset(DATASET)
    splits = (open_split(dataset, SIZE, side, roots) for side in ("train", "test"))
    digests, numbers = zip(*((split.digest, np.arange(len(split))) for split in splits), strict=True)
    arrays = {"train": numbers[0], "test": numbers[1] + len(numbers[0]), "mean": np.zeros((SIZE, SIZE), np.float32)}
    mark = groups.fingerprint_of(digests[0])
    artifacts.save(roots.cache, groups.key_of(dataset, SIZE), arrays=arrays, fingerprint=mark, meta={})


if __name__ == "__main__":
    print(*findings(), sep="\n")
