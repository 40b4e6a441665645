"""What is at hand, what is missing, and how to get it. Looks, and changes nothing but a probe in the cache folder."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval import artifacts, cells, evaluation, results
from retrieval.datasets import opening
from retrieval.datasets.catalogue import datasets
from retrieval.datasets.download import plain_size
from retrieval.datasets.specs import Dataset
from retrieval.encoders import weights
from retrieval.encoders.catalogue import ENCODERS
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import RetrievalError, Unavailable
from retrieval.roots import Roots

State = Literal["ok", "missing", "note"]

_PYTHONS = ("3.11.", "3.12.")
_NEEDED = (
    *("gradio", "httpx", "torch", "torchvision", "keras", "h5py", "timm", "open_clip_torch", "transformers"),
    *("tokenizers", "sentencepiece", "safetensors", "huggingface_hub", "onnxruntime", "onnx", "onnxscript"),
    *("numpy", "scipy", "scikit-learn", "opencv-python-headless", "pyarrow", "pillow", "pydicom"),
    *("pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls", "imagecodecs", "nibabel"),
)
_LITTLE_DISK = 2e9  # bytes: less than a middling data file and its memory-mapped copy


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at.
        state: `ok`: at hand. `missing`: something needs it and it is not there. `note`: worth knowing.
        message: What was found, in a sentence.
        remedy: How to get it; empty where nothing is needed.
    """

    name: str
    state: State
    message: str
    remedy: str = ""


def examine(roots: Roots) -> tuple[Check, ...]:
    """Every check, in the order in which things are needed."""
    return (
        _python(),
        *(_package(name) for name in _NEEDED),
        _device(),
        *_folders(roots),
        *(_dataset(dataset, roots) for dataset in datasets(roots)),
        *(_encoder(spec, roots) for spec in ENCODERS),
        _results(roots),
        *_damaged(roots),
    )


def _python() -> Check:
    version = platform.python_version()
    found = f"Python {version} on {platform.system()}, {os.cpu_count()} cores."
    if version.startswith(_PYTHONS):
        return Check("python", "ok", found)
    return Check("python", "note", f"{found} It was made for 3.11 and 3.12; newer ones are not tested.")


def _package(name: str) -> Check:
    try:
        return Check(f"package {name}", "ok", f"{name} {importlib.metadata.version(name)}.")
    except importlib.metadata.PackageNotFoundError:
        return Check(
            f"package {name}",
            "missing",
            f"The package {name} is not installed.",
            "Run: python -m pip install -r requirements.txt",
        )


def _device() -> Check:
    """Told from what the driver leaves in the system: loading torch only to ask would take seconds."""
    if Path("/proc/driver/nvidia/version").is_file() or shutil.which("nvidia-smi"):
        return Check("device", "ok", "An NVIDIA driver is installed: extractors use the GPU unless told otherwise.")
    if platform.system() == "Darwin":
        return Check("device", "note", "Extractors run on the processor.")
    return Check("device", "note", "No NVIDIA driver was found: extractors run on the processor.")


def _folders(roots: Roots) -> tuple[Check, ...]:
    data = tuple(_folder("RETRIEVAL_DATA", folder) for folder in roots.data)
    named = (_folder("RETRIEVAL_WEIGHTS", roots.weights),) if roots.weights else ()
    return (*data, *named, _folder("RETRIEVAL_PRECOMPUTED", roots.precomputed), _cache(roots.cache))


def _folder(name: str, folder: Path) -> Check:
    if folder.is_dir():
        return Check(name, "ok", f"{folder} is there.")
    if folder.exists():
        return Check(name, "missing", f"{folder} is no folder.", f"Let {name} name a folder.")
    return Check(name, "note", f"{folder} is not there, so nothing is looked for in it.")


def _cache(folder: Path) -> Check:
    try:
        artifacts.write_atomic(folder / "doctor.probe", lambda stream: stream.write(b"ok"))
        (folder / "doctor.probe").unlink()
        free = shutil.disk_usage(folder).free
    except Unavailable as error:  # the disk is full
        return Check("RETRIEVAL_CACHE", "missing", error.message, error.remedy)
    except OSError as error:
        return Check(
            "RETRIEVAL_CACHE",
            "missing",
            f"{folder} cannot be written: {error.strerror or error}.",
            "Allow writing there, or point RETRIEVAL_CACHE to another folder.",
        )
    if free < _LITTLE_DISK:
        return Check(
            "RETRIEVAL_CACHE",
            "note",
            f"{folder} can be written; only {plain_size(free)} are free there.",
            "Make room, or point RETRIEVAL_CACHE to a folder on a larger disk.",
        )
    return Check("RETRIEVAL_CACHE", "ok", f"{folder} can be written; {plain_size(free)} are free.")


def _dataset(dataset: Dataset, roots: Roots) -> Check:
    name = f"data {dataset.name}"
    if dataset.synthetic:
        return Check(name, "ok", "Drawn by the project itself.")
    if dataset.own is not None:
        return _collection(dataset, roots)
    try:
        there = [size for size in dataset.sizes if opening.is_at_hand(dataset, size, roots)]
    except RetrievalError as error:
        return Check(name, "missing", error.message, error.remedy)
    absent = [size for size in dataset.sizes if size not in there]
    if not there:
        missing = opening.describe_missing(dataset, dataset.sizes[0], roots)
        return Check(name, "missing", f"No size is at hand ({_sizes(absent)} exist).", missing.remedy)
    remedy = f"Run: python -m retrieval download --dataset {dataset.name} --size {absent[0]}" if absent else ""
    return Check(
        name, "ok", f"At hand: {_sizes(there)}." + (f" Not at hand: {_sizes(absent)}." if absent else ""), remedy
    )


def _collection(dataset: Dataset, roots: Roots) -> Check:
    """Whether the folder or archive of a collection is there; its files are looked at by `collection update`."""
    name = f"collection {dataset.name}"
    if opening.is_at_hand(dataset, dataset.sizes[0], roots):
        return Check(name, "ok", dataset.about)
    missing = opening.describe_missing(dataset, dataset.sizes[0], roots)
    return Check(name, "missing", missing.message, missing.remedy)


def _sizes(sizes: list[int]) -> str:
    return ", ".join(str(size) for size in sizes)


def _encoder(spec: EncoderSpec, roots: Roots) -> Check:
    """Whether an extractor's weights are at hand; where they are not, their state, size, and how to get them."""
    name = f"weights {spec.name}"
    if spec.weights is None:
        return Check(name, "ok", "Needs none.")
    path = weights.locate(spec, roots)
    if path is not None:
        return Check(name, "ok", f"At hand ({spec.domain}): {path}")
    missing = weights.missing(spec)
    return Check(name, "missing", f"{missing.message} Domain: {spec.domain}.", missing.remedy)


def _results(roots: Roots) -> Check:
    there = {result.cell for result in evaluation.current_results(roots)}
    remedy = "" if there else "Run: python -m retrieval evaluate --dataset phantoms --size 64 --encoder pixels"
    message = f"{len(there)} of {len(cells.grid(roots))} cells have been evaluated."
    return Check("results", "ok" if there else "note", message, remedy)


def _damaged(roots: Roots) -> tuple[Check, ...]:
    """Result files that cannot be read; they are left out of every table and made again when asked for."""
    files = [path for root in roots.lookup for path in sorted((root / results.FOLDER).rglob("*.json"))]
    return tuple(
        Check(f"result {path.parent.name}/{path.stem}", "note", f"{path} is damaged.", _again(path))
        for path in files
        if results.read(path) is None
    )


def _again(path: Path) -> str:
    dataset, size, encoder = path.parts[-4:-1]
    return (
        "It is made again by: python -m retrieval evaluate "
        f"--dataset {dataset} --size {size} --encoder {encoder} --protocol {path.stem}"
    )
