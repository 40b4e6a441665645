"""From a file to a shard on the disk, against the bare forward of the fastest runtime, and against torch as it comes.

Bare: the same graph on the same batches by as many threads, on pictures as seen that lie ready in memory. Products: as
many multiplications and additions as the network does, in float32 matrix products by all cores: what no runtime beats.
"""

import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_networks
from benchmarks.judging import Finding, in_turn, median, timed
from benchmarks.serving import SHARED, environment
from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import devices, loading, preprocessing
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Encoder
from retrieval.errors import UnknownName
from retrieval.pictures.item import read_item
from retrieval.roots import Roots, roots_from_environment

ROUNDS, SEED = 5, 0
# name, side of the file's pictures, how many: a second or two of work
CASES = (("efficientnet_lite0", 224, 256), ("densenet121", 28, 1536))
PRODUCT = 1024  # side of the matrices
LEAST_OF_EAGER, LEAST_OF_PRODUCTS = 3.0, 0.6  # of the network with a demand on its speed, seen at 224
JPEGS = Path("collections") / "MedNIST-12000.tar"  # beside the folder of data files, where there is one
JPEG_SIDE, MOST_JPEGS = 64, 512

ON_A_GPU = ("resnet50", "biomedclip", "uni")  # ResNet50, ViT-B/16, ViT-L/16
ON_A_GPU_COUNT, GPU_ROUNDS = 4096, 3


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
    """The ratios, for each network: on the CPU, and on a GPU where there is one."""
    roots = roots_from_environment(environment())
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, side, count in CASES:
            found += _from_file(name, side, count, Path(folder), roots)
            found += _from_jpegs(name, count, Path(folder), roots)
        return found + _on_a_gpu(Path(folder))


def _from_file(name: str, side: int, count: int, folder: Path, roots: Roots) -> list[Finding]:
    images = _mapped(folder / f"{name}.npy", side, count)
    encoder = _fastest(name, side, roots)
    operations = count * _operations(name, images[:1], roots)
    works = {
        "whole": lambda: _shard(encoder, images, folder),
        "bare": _bare(encoder, images),
        "eager": lambda: _eager(name, images[: count // 8], roots) * 8,
        "products": lambda: _products(operations / 8) * 8,
    }
    times = _medians(works, ROUNDS)
    title = f"{encoder.spec.title}, {side} px"
    note = (
        f"{count} pictures, {ROUNDS} rounds, seed {SEED}; {_ran(encoder)}; {1000 * times['whole'] / count:.2f} ms each"
    )
    what = f"{title}: file to shard"
    within = LEAST_OF_PRODUCTS if side == 224 else None
    return [
        Finding(what, times["whole"], "bare forward", times["bare"], 0.9, True, note=note),
        Finding(what, times["whole"], "the products", times["products"], within, True, note=_rate(operations, times)),
        _against_eager(what, side, times),
    ]


def _against_eager(what: str, side: int, times: dict[str, float]) -> Finding:
    """Three times eager at 224, where that is no larger share of the products' rate than is demanded of it anyway."""
    share = LEAST_OF_EAGER * times["products"] / times["eager"]
    least = LEAST_OF_EAGER if side == 224 and share <= LEAST_OF_PRODUCTS else None
    note = f"{LEAST_OF_EAGER:g} times eager would be {share:.2f} of the products' rate" if side == 224 else ""
    return Finding(what, times["whole"], "torch eager", times["eager"], least, True, note=note)


def _rate(operations: float, times: dict[str, float]) -> str:
    rates = (operations / times[what] / 1e9 for what in ("whole", "products"))
    return "{:.0f} of {:.0f} GFLOP a second".format(*rates)


def _operations(name: str, images: np.ndarray, roots: Roots) -> int:
    """Multiplications and additions of a network for one picture, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    encoder = loading.load_encoder(name, roots, device="cpu")
    seen = preprocessing.seen_batch(images, preprocessing.pixels_for(encoder.spec, 2))
    with FlopCounterMode(display=False) as counter:
        encoder.embed(seen)
    return counter.get_total_flops()


def _products(operations: float) -> float:
    """Seconds that float32 matrix products of so many multiplications and additions take."""
    matrix = np.random.default_rng(SEED).random((PRODUCT, PRODUCT), np.float32)
    return timed(lambda: [matrix @ matrix for _ in range(round(operations / (2 * PRODUCT**3)))])


def _from_jpegs(name: str, count: int, folder: Path, roots: Roots) -> list[Finding]:
    what = f"{find_encoder(name).title}, JPEGs of {JPEG_SIDE} px: file to shard"
    archive = next((place for place in _archives(roots) if place.is_file()), None)
    if archive is None:
        return [Finding(what, None, note=f"not measured: there is no {JPEGS} beside the data")]
    images = Decoded(_extracted(archive, folder / "jpegs")[:count])
    encoder = _fastest(name, JPEG_SIDE, roots)
    works = {"whole": lambda: _shard(encoder, images, folder), "bare": _bare(encoder, images[:])}
    times = _medians(works, ROUNDS)
    note = f"{len(images)} pictures, {ROUNDS} rounds; {1000 * times['whole'] / len(images):.2f} ms each"
    return [Finding(what, times["whole"], "bare forward", times["bare"], 0.8, True, note=note)]


def _on_a_gpu(folder: Path) -> list[Finding]:
    device = devices.named("auto")[0]
    if device == "cpu":
        return [Finding("file to shard on a GPU", None, note="not measured: no GPU")]
    images = _mapped(folder / "gpu.npy", 224, ON_A_GPU_COUNT)
    names = [f"{name}{precision}" for precision in ("", ".bf16") for name in ON_A_GPU]
    return [_on(device, name, images, folder) for name in names]


def _on(device: str, name: str, images: np.ndarray, folder: Path) -> Finding:
    try:
        spec = find_encoder(name)
    except UnknownName as error:
        return Finding(f"{name}: file to shard on {device}", None, note=f"not measured: {error.message}")
    encoder = random_networks.network(spec, device)
    works = {"whole": lambda: _shard(encoder, images, folder), "bare": _bare(encoder, images)}
    times = _medians(works, GPU_ROUNDS)
    note = f"{len(images)} pictures of 224 px, random weights; {len(images) / times['whole']:,.0f} pictures a second"
    what = f"{spec.title}: file to shard on {device}"
    return Finding(what, times["whole"], "bare forward", times["bare"], 0.85, True, note=note)


def _medians(works: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    in_turn(works, rounds=1)  # warm
    return {what: median(values) for what, values in in_turn(works, rounds=rounds).items()}


def _ran(encoder: Any) -> str:
    return f"{encoder.runtime} on {encoder.device}, batches of {pipeline.batch_of(encoder)}"


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


def _bare(encoder: Any, images: np.ndarray) -> Callable[[], float]:
    """Seconds that the forward alone takes, on pictures as seen, which lie on its device where it can bring them."""
    seen = preprocessing.seen_batch(images, preprocessing.pixels_for(encoder.spec, 2))
    batch = pipeline.batch_of(encoder)
    bring = getattr(encoder, "bring", lambda pictures: pictures)
    batches = [bring(seen[start : start + batch]) for start in range(0, len(seen), batch)]
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


def _archives(roots: Roots) -> list[Path]:
    return [*(place.parent.parent / JPEGS for place in roots.data), SHARED / JPEGS]


def _extracted(archive: Path, folder: Path) -> list[Path]:
    if not folder.is_dir():
        with tarfile.open(archive) as tar:
            jpegs = (member for member in tar if member.isfile() and member.name.endswith("jpeg"))
            tar.extractall(folder, members=list(islice(jpegs, MOST_JPEGS)), filter="data")
    return sorted(folder.rglob("*.jpeg"))


if __name__ == "__main__":
    print(*findings(), sep="\n")
