"""From a file to a shard on the disk, against the bare forward of the fastest runtime, and against torch as it comes.

Bare: the same graph on pictures that lie ready in memory, as many calls side by side as there are cores.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.judging import Finding, in_turn, median, timed
from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import loading, preprocessing
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Encoder
from retrieval.jobs.plan import STUDY, cells_of
from retrieval.pictures.item import read_item
from retrieval.roots import Roots, roots_from_environment

ROUNDS, SEED = 5, 0
# name, side of the file's pictures, how many: a second or two of work
CASES = (("efficientnet_lite0", 224, 384), ("densenet121", 28, 2048))
JPEGS = Path("collections") / "MedNIST-12000.tar"  # beside the folder of data files, where there is one
JPEG_SIDE = 64


class Decoded(Sequence[np.ndarray]):
    """Picture files as a sequence of items, decoded as they are asked for: what a folder of one's own is."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.form = paths, find_dataset("breastmnist")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, asked: int | slice) -> np.ndarray:  # type: ignore[override]
        if isinstance(asked, slice):
            return np.stack([self[number] for number in range(*asked.indices(len(self)))])
        return read_item(self.paths[asked], dataset=self.form, size=JPEG_SIDE)


def findings() -> list[Finding]:
    """The ratios, for each network; what the study's grid would take as a note."""
    roots = roots_from_environment()
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, side, count in CASES:
            found += _from_file(name, side, count, Path(folder), roots)
            found += _from_jpegs(name, count, Path(folder), roots)
    return found


def _from_file(name: str, side: int, count: int, folder: Path, roots: Roots) -> list[Finding]:
    images = _mapped(folder / f"{name}.npy", side, count)
    encoder = _fastest(name, side, roots)
    works = {
        "whole": lambda: _shard(encoder, images, folder),
        "bare": _bare(encoder, images),
        "eager": lambda: _eager(name, images[: count // 4], roots) * 4,
    }
    times = {what: median(values) for what, values in in_turn(works, rounds=ROUNDS).items()}
    title = f"{encoder.spec.title}, {side} px"
    ran = f"{encoder.runtime} on {encoder.device}"  # type: ignore[attr-defined]
    note = f"{count} pictures, {ROUNDS} rounds, seed {SEED}; {ran}. {_grid(times, count)}"
    least = 3.0 if side == 224 else None
    return [
        Finding(f"{title}: file to shard", times["whole"], "bare forward", times["bare"], 0.9, True, note=note),
        Finding(f"{title}: file to shard", times["whole"], "torch eager", times["eager"], least, True),
    ]


def _from_jpegs(name: str, count: int, folder: Path, roots: Roots) -> list[Finding]:
    what = f"{find_encoder(name).title}, JPEGs of {JPEG_SIDE} px: file to shard"
    places = (place.parent.parent / JPEGS for place in roots.data)
    archive = next((place for place in places if place.is_file()), None)
    if archive is None:
        return [Finding(what, None, note=f"not measured: there is no {JPEGS} beside the data")]
    images = Decoded(_extracted(archive, min(count, 1024), folder / "jpegs"))
    encoder = _fastest(name, JPEG_SIDE, roots)
    works = {"whole": lambda: _shard(encoder, images, folder), "bare": _bare(encoder, images[:])}
    times = {which: median(values) for which, values in in_turn(works, rounds=ROUNDS).items()}
    return [Finding(what, times["whole"], "bare forward", times["bare"], 0.8, True, note=f"{len(images)} pictures")]


def _fastest(name: str, side: int, roots: Roots) -> Encoder:
    spec = find_encoder(name)
    seen = preprocessing.seen_side((side, side), preprocessing.pixels_for(spec, 2))
    return loading.load(spec, roots, device="cpu", side=seen, convert=True)


def _shard(encoder: Encoder, images: np.ndarray | Decoded, folder: Path) -> float:
    """Seconds to embed and to write, as a shard is."""

    def work() -> None:
        vectors = embedding.embed_pictures(encoder, images)  # type: ignore[arg-type]
        artifacts.save(folder, "shard", arrays={"vectors": vectors}, fingerprint="0", meta={})

    return timed(work)


def _bare(encoder: Encoder, images: np.ndarray) -> Callable[[], float]:
    """Seconds that the forward alone takes, on pictures as seen."""
    seen = preprocessing.seen_batch(images, preprocessing.pixels_for(encoder.spec, 2))
    batch = pipeline.batch_of(encoder)
    batches = [seen[start : start + batch] for start in range(0, len(seen), batch)]
    threads = getattr(encoder, "at_once", 1)

    def work() -> float:
        with ThreadPoolExecutor(threads) as pool:
            return timed(lambda: list(pool.map(encoder.embed, batches)))

    return work


def _eager(name: str, images: np.ndarray, roots: Roots) -> float:
    """Seconds that torch takes, in batches of 32, on pictures as seen."""
    encoder = loading.load_encoder(name, roots, device="cpu")
    seen = preprocessing.seen_batch(images, preprocessing.pixels_for(encoder.spec, 2))
    return timed(lambda: [encoder.embed(seen[start : start + 32]) for start in range(0, len(seen), 32)])


def _mapped(path: Path, side: int, count: int) -> np.ndarray:
    images = np.random.default_rng(SEED).integers(0, 256, (count, side, side, 3), np.uint8)
    np.save(path, images)
    return np.load(path, mmap_mode="r")


def _extracted(archive: Path, count: int, folder: Path) -> list[Path]:
    if not folder.is_dir():
        with tarfile.open(archive) as tar:
            files = list(islice((member for member in tar if member.isfile() and member.name.endswith("jpeg")), count))
            tar.extractall(folder, members=files, filter="data")
    return sorted(folder.rglob("*.jpeg"))[:count]


def _grid(times: dict[str, float], count: int) -> str:
    """What the study's whole grid would take at this network's rate, were all others like it; a rough idea only."""
    items = sum(sum(cell.data.counts[side] for side in ("train", "test")) for cell in cells_of(STUDY))
    return f"{items:,} items of the study's grid at this rate: {items * times['whole'] / count / 3600:.0f} hours"


if __name__ == "__main__":
    print(os.cpu_count(), findings())
