"""Evaluating a set of PathMNIST's size (89,996 gallery and 7,180 query vectors) against one matrix product and others.

The vectors are drawn, not real: seeded, clustered and never negative, as pooled features of a network are.
"""

import os
import resource
import subprocess
import sys

import numpy as np

from benchmarks.judging import Finding, in_turn, median, timed
from retrieval.datasets.catalogue import find_dataset
from retrieval.ranking.exact import nearest
from retrieval.scoring.reading import read_ranking

SEED = 20240914
GALLERY, QUERIES, DIM = 89_996, 7_180, 1_024
K = 5  # what the metrics read, and what FAISS and the study's loop are asked for
STORED = 100  # what an evaluation of the product ranks and stores, so that groups can be left out afterwards
CLUSTERS = 180
ROUNDS = 3
FAISS_SHARE = 4  # FAISS answers one query in so many, and its time is multiplied: it is linear in whole batches
LOOP_QUERIES = 7  # a round
BLOCK = 4_096


def findings() -> list[Finding]:
    """Measure in turn, then judge."""
    peak = _peak_megabytes()  # first: a child's peak starts at what its parent holds
    gallery, labels = features(GALLERY, seed=SEED)
    queries, query_labels = features(QUERIES, seed=SEED + 1)
    product, how = _product(gallery, queries)
    works = {
        "ours": lambda: timed(lambda: evaluate(gallery, labels, queries, query_labels, k=K)),
        "stored": lambda: timed(lambda: evaluate(gallery, labels, queries, query_labels, k=STORED)),
        "product": lambda: timed(product),
        "faiss": _faiss(gallery, queries),
        "loop": _loop(gallery, queries),
    }
    seconds = {name: median(values) for name, values in in_turn(works, rounds=ROUNDS).items()}
    note = f"medians of {ROUNDS}, seed {SEED}"
    name = f"evaluate {QUERIES:,} x {GALLERY:,} x {DIM:,}, k {K}"
    return [
        Finding(name, seconds["ours"], f"one float32 matrix product ({how})", seconds["product"], 1.6, note=note),
        Finding(name, seconds["ours"], f"FAISS flat, k 5 (1 query in {FAISS_SHARE}, scaled)", seconds["faiss"], 1.0),
        Finding(
            name,
            seconds["ours"],
            f"the study's loop ({ROUNDS * LOOP_QUERIES} queries, extrapolated)",
            seconds["loop"],
            80,
            at_least=True,
        ),
        Finding(
            f"the same, k {STORED}, as it is stored",
            seconds["stored"],
            "the same product",
            seconds["product"],
            1.6,
            note=note,
        ),
        Finding(f"its peak memory (k {STORED}), data included", peak, bound=2_000, unit="MB"),
    ]


def features(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, DIM], about a third of it 0, and labels int64 [n, 1]; clusters are the same for every seed."""
    centres = np.random.default_rng(SEED).gamma(0.6, 0.8, (CLUSTERS, DIM)).astype(np.float32)
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, CLUSTERS, n)
    rows = np.empty((n, DIM), np.float32)
    for start in range(0, n, BLOCK):
        block = rows[start : start + BLOCK]
        rng.standard_normal(out=block, dtype=np.float32)
        block *= np.float32(0.4)
        block += centres[cluster[start : start + BLOCK]]
        np.maximum(block, 0, out=block)
    return rows, (cluster % 9)[:, None].astype(np.int64)


def evaluate(
    gallery: np.ndarray, labels: np.ndarray, queries: np.ndarray, query_labels: np.ndarray, *, k: int
) -> float:
    """Rank and read every metric, as an evaluation does once the vectors are there; ACC@1 in percent."""
    indices, _ = nearest(gallery, queries, k=k, similarity="euclidean")
    scores = read_ranking(
        find_dataset("pathmnist"),
        query_labels=query_labels,
        neighbour_labels=labels[indices[:, :5]],
        gallery_labels=labels,
    )
    return scores.metrics["ACC@1"]


def _product(gallery: np.ndarray, queries: np.ndarray):
    """One product of the whole shape where memory allows (its result twice, to be safe), else in large blocks."""
    whole = QUERIES * GALLERY * 4
    rows = QUERIES if _free_bytes() > 2 * whole else QUERIES // 4
    out = np.full((rows, GALLERY), np.nan, np.float32)  # touched beforehand: no page is fetched while it is timed

    def multiply() -> None:
        for start in range(0, QUERIES, rows):
            np.matmul(queries[start : start + rows], gallery.T, out=out[: len(queries[start : start + rows])])

    return multiply, f"whole, its {whole / 1e9:.1f} GB at hand" if rows == QUERIES else f"in blocks of {rows:,} queries"


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _faiss(gallery: np.ndarray, queries: np.ndarray):
    import faiss

    faiss.omp_set_num_threads(os.cpu_count() or 1)
    index = faiss.IndexFlatL2(DIM)
    index.add(gallery)  # type: ignore[call-arg]
    some = np.ascontiguousarray(queries[::FAISS_SHARE])
    return lambda: timed(lambda: index.search(some, 5)) * len(queries) / len(some)  # type: ignore[call-arg]


def _loop(gallery: np.ndarray, queries: np.ndarray):
    """One query at a time, vectorised over the gallery, as the study evaluates."""

    def few() -> None:
        for query in queries[:LOOP_QUERIES]:
            np.argsort(np.linalg.norm(gallery - query, axis=1))[:5]

    return lambda: timed(few) * len(queries) / LOOP_QUERIES


def _peak_megabytes() -> float:
    """The most memory that one evaluation holds, in a process of its own that does nothing else."""
    said = subprocess.run([sys.executable, "-m", __spec__.name, "peak"], check=True, capture_output=True, text=True)
    return float(said.stdout)


def _evaluate_alone() -> float:
    """Peak resident megabytes of this process, after one evaluation."""
    evaluate(*features(GALLERY, seed=SEED), *features(QUERIES, seed=SEED + 1), k=STORED)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    print(_evaluate_alone() if sys.argv[1:] == ["peak"] else findings())
