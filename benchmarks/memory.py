"""Peak memory of embedding PathMNIST at 224, 13 GB of pictures, and of unpacking such a file.

The arrays lie as the product keeps them unpacked, at their full sizes and offsets, but with holes where nothing is
embedded; so a few hundred MB of disk serve. Each measurement has a process of its own:
`python -m benchmarks.memory WORK FOLDER`.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.judging import Finding
from benchmarks.serving import KEPT, REPOSITORY, environment
from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.npz import MEMBERS, Npz, expected_shape
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import Dataset
from retrieval.datasets.unpacking import MANIFEST, unpack
from retrieval.embeddings import embedding
from retrieval.encoders import loading
from retrieval.encoders.catalogue import find_encoder
from retrieval.roots import Roots, roots_from_environment

DATASET, SIZE, ENCODER, SEED = "pathmnist", 224, "efficientnet_lite0", 0
SHARDS = 4  # embedded from the start of the file, and the one at its end; what lies between is as if done before
COUNTS = {"train": 1600, "val": 100, "test": 100}  # of the file that is unpacked: 270 MB
STATUS = Path("/proc/self/status")
MOST, MOST_UNPACKING = 2000.0, 100.0  # MB


def findings() -> list[Finding]:
    """How much memory embedding and unpacking take beyond what is loaded before them."""
    if not STATUS.is_file():
        return [Finding("peak memory of embedding", None, note=f"not measured: there is no {STATUS} here")]
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        folder = Path(name)
        pictures = _lay_out(folder)
        _apart("convert", folder)
        before, took = _apart("embed", folder)
        unpacked = {kind: _unpacking(kind, folder) for kind in ("stored", "deflated")}
    whole = np.prod(find_dataset(DATASET).shape(SIZE, "train"), dtype=np.int64) / 1e6
    note = (
        f"{whole:,.0f} MB of pictures in PathMNIST's layout, its offsets real; {pictures} of them embedded, the first "
        f"{SHARDS} shards and the last, the others' vectors laid ready; all put together and written. "
        f"{before:.0f} MB with the network loaded"
    )
    what = f"peak memory of embedding {find_dataset(DATASET).title} at {SIZE}, beyond the network"
    return [
        Finding(what, took, bound=MOST, unit="MB", note=note),
        *(
            Finding(f"peak memory of unpacking a {kind} npz of 270 MB", most, bound=MOST_UNPACKING, unit="MB")
            for kind, (_, most) in unpacked.items()
        ),
    ]


def embed(folder: Path) -> None:
    """Embed the training split by the product's own path, all shards that do not lie there yet."""
    made = embedding.embed(find_dataset(DATASET), SIZE, "train", find_encoder(ENCODER), _roots(folder), device="cpu")
    if not np.isfinite(made.vectors[-1]).all() or not np.any(made.vectors[-1]):
        raise RuntimeError("the last picture has no features")


def convert(folder: Path) -> None:
    """Have the graph of the network stored, as an earlier run would."""
    loading.load(find_encoder(ENCODER), _roots(folder), device="cpu", side=(SIZE, SIZE), convert=True)


def _roots(folder: Path) -> Roots:
    """No data file: the pictures are found unpacked in the cache."""
    weights = roots_from_environment(environment()).weights
    return Roots(data=(), weights=weights, precomputed=folder / "nothing", cache=folder / "cache")


def _lay_out(folder: Path) -> int:
    """The arrays unpacked, and the shards between; how many pictures are left to embed."""
    dataset, roots = find_dataset(DATASET), _roots(folder)
    home = roots.cache / "data" / dataset.files[SIZE].md5
    home.mkdir(parents=True)
    files = {name: _array(home / name, expected_shape(dataset, SIZE, name)) for name in MEMBERS}
    document = {"dataset": dataset.name, "size": SIZE, "source": dataset.files[SIZE].name, "files": files}
    artifacts.write_sealed(home / MANIFEST, document)
    return _shards_between(dataset, roots)


def _array(path: Path, shape: tuple[int, ...]) -> dict[str, int]:
    """An npy of the full size, zeros that take no room but for the pictures that will be embedded; its entry."""
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        start, item = stream.tell(), int(np.prod(shape[1:]))
        stream.truncate(start + shape[0] * item)
        if path.name == "train_images.npy":
            noise, (early, late) = np.random.default_rng(SEED), _bounds(shape[0])
            for number in (*range(early), *range(late, shape[0])):
                stream.seek(start + number * item)
                stream.write(noise.bytes(item))
    stat = path.stat()
    return {"bytes": stat.st_size, "crc32": 0, "mtime_ns": stat.st_mtime_ns}  # the sum is asked for if the time differs


def _bounds(count: int) -> tuple[int, int]:
    """Where the shards between begin and end."""
    step = embedding.PICTURES_IN_SHARD
    return SHARDS * step, (count - 1) // step * step


def _shards_between(dataset: Dataset, roots: Roots) -> int:
    """Write the shards between, of noise, as an earlier run would have; how many pictures remain."""
    spec, split = find_encoder(ENCODER), open_split(dataset, SIZE, "train", roots)
    weights = loading.identify(spec, roots).digest
    mark = embedding.fingerprint_of(dataset, SIZE, "train", spec, data=split.digest, weights=weights)
    key, step = embedding.key_of(dataset, SIZE, "train", spec), embedding.PICTURES_IN_SHARD
    vectors = np.random.default_rng(SEED).random((step, spec.dim or 1), np.float32)
    early, late = _bounds(len(split))
    for start in range(early, late, step):
        part = artifacts.fingerprint(whole=mark, start=start, stop=start + step)
        name = f"{key}.shards/{start:08d}"
        artifacts.save(roots.cache, name, arrays={"vectors": vectors}, fingerprint=part, meta={"batch": 64})
    return len(split) - (late - early)


def _unpacking(kind: str, folder: Path) -> tuple[float, float]:
    dataset, noise = _small(), np.random.default_rng(SEED)
    method = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(folder / f"{kind}.npz", "w", method, compresslevel=1) as archive:
        for name in MEMBERS:
            most = 256 if "images" in name else len(dataset.classes)
            with archive.open(name, "w", force_zip64=True) as stream:
                np.lib.format.write_array(
                    stream, noise.integers(0, most, expected_shape(dataset, SIZE, name), np.uint8)
                )
    return _apart(f"unpack {kind}", folder)


def _small() -> Dataset:
    return dataclasses.replace(find_dataset(DATASET), counts=COUNTS)


def _unpack(kind: str, folder: Path) -> None:
    unpack(Npz(folder / f"{kind}.npz", _small(), SIZE), folder / kind, report=lambda _text, _share: None)


def _apart(work: str, folder: Path) -> tuple[float, float]:
    """Run a work in a process of its own: MB in memory before it, and the most beyond that."""
    command = [sys.executable, "-m", "benchmarks.memory", *work.split(), str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    return before, after - before


def _megabytes(line: str) -> float:
    """Of this process, by the kernel: `VmRSS`, in memory now, or `VmHWM`, the most so far."""
    found = next(each for each in STATUS.read_text().splitlines() if each.startswith(f"{line}:"))
    return int(found.split()[1]) * 1024 / 1e6


def main(work: str, *rest: str) -> None:
    """Do one work; print what was in memory before it, and the most that ever was."""
    folder = Path(rest[-1])
    if work != "unpack":
        convert(folder)  # loads it where it is stored
    before = _megabytes("VmRSS")
    if work == "embed":
        embed(folder)
    elif work == "unpack":
        _unpack(rest[0], folder)
    print(json.dumps([before, _megabytes("VmHWM")]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        print(*findings(), sep="\n")
