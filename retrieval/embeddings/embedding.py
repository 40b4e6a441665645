"""Embeddings of one Split by one encoder: made shard by shard, so that a killed run resumes, and read back mapped."""

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import artifacts
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import Dataset, Split, SplitName
from retrieval.embeddings import origins, pipeline, reuse, shapes
from retrieval.embeddings.keys import aside_key, fingerprint_of, key_of, shard_key
from retrieval.embeddings.pipeline import Tick
from retrieval.embeddings.reuse import Kept
from retrieval.embeddings.seen import Shared
from retrieval.embeddings.vectors import embed_pictures, embed_volumes
from retrieval.encoders import configs, loading, preprocessing
from retrieval.encoders.specs import Encoder, EncoderSpec
from retrieval.encoders.weights import Weights
from retrieval.errors import Busy, Unavailable
from retrieval.roots import Roots

# A shard is embedded whole, identical slices once; a killed run loses at most one.
PICTURES_IN_SHARD = 1024
VOLUMES_IN_SHARD = 256

# As many pictures, at least, make a conversion worth its time, a quarter of a minute.
WORTH_CONVERTING = 500

Progress = Callable[[str, float], None]  # words, and the share that is done


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Raw vectors of one Split by one encoder.

    Attributes:
        vectors: float32 [N, D], or for volumes [N, S, D], one row a slice; memory-mapped.
        fingerprint: Of data, weights and pixels.
        verified: Whether data and weights are both the known ones.
        meta: Versions and date of the run that finished them, runtime and device (of all runs that made some, as in
            `cuda and cpu`), `batch` as in `origins.in_batches`; nothing that differs between two runs of one day.
    """

    vectors: np.ndarray
    fingerprint: str
    verified: bool
    meta: Mapping[str, Any] = field(default_factory=dict)


def stored(split: Split, spec: EncoderSpec, weights: Weights, roots: Roots, *, variant: str = "") -> Embeddings | None:
    """The Embeddings on disk, if they are there, sound and not stale."""
    mark = _mark(split, spec, weights.digest)
    found = artifacts.load(roots.lookup, _key(split, spec, variant), fingerprint=mark)
    if found is None:
        return None
    return Embeddings(found.arrays["vectors"], mark, split.verified and weights.verified, found.meta)


def embed(
    dataset: Dataset,
    size: int,
    split_name: SplitName,
    spec: EncoderSpec,
    roots: Roots,
    *,
    variant: str = "",
    device: str = "auto",
    progress: Progress | None = None,
) -> Embeddings:
    """The Embeddings of a split, computed if they are not on disk; `progress` gets words and a share, 0 to 1.

    By the spec as the config file beside its weights rules. `variant` names a spec that differs from the catalogue's,
    so that neither takes the other's place on disk.
    """
    making = by_shards(dataset, size, split_name, spec, roots, variant=variant, device=device, progress=progress)
    return next(made for made in making if made is not None)


def by_shards(
    dataset: Dataset,
    size: int,
    split_name: SplitName,
    spec: EncoderSpec,
    roots: Roots,
    *,
    variant: str = "",
    device: str = "auto",
    progress: Progress | None = None,
    shared: Shared | None = None,
) -> Generator[Embeddings | None, None, None]:
    """As `embed`, a shard at a time: None after each, and the Embeddings at last.

    Who stops asking, and closes this, finds the shards again. `shared` is what several encoders of one split that are
    asked in turn have in common; not of a collection, where each embeds the pictures that it has no vector of.
    """
    spec = configs.at_hand(spec, roots)
    refusal = shapes.refusal(dataset, size, spec)
    if refusal is not None:
        raise refusal
    split = open_split(dataset, size, split_name, roots)
    weights = loading.identify(spec, roots)
    found = stored(split, spec, weights, roots, variant=variant)
    key, what = _key(split, spec, variant), f"the embeddings of {dataset.title} by {spec.title}"
    if found is not None:
        _tidy(roots, key, what)
        yield found
        return
    with artifacts.lock(roots.cache / f"{key}.lock", what=what):
        made = stored(split, spec, weights, roots, variant=variant)  # by another process, just now
        if made is None:
            encoder = _encoder(split, spec, roots, device)
            loading.check_same(spec, weights.digest, encoder.weights_digest)
            mark = _mark(split, spec, weights.digest)
            kept = _kept(split, spec, weights, key, roots)
            rest = split if kept is None else kept.rest(split)
            yield from _make(_Making(rest, encoder, roots, key, mark, progress, shared, kept, split))
            made = stored(split, spec, weights, roots, variant=variant)
    if made is None:
        raise RuntimeError(f"{key} was written but cannot be read back")
    yield made


def shards(dataset: Dataset, split_name: str, key: str, mark: str) -> dict[str, str]:
    """The fingerprints, by their keys, of the shards that become Embeddings of this key and fingerprint.

    Not of a collection, where they depend on what was kept besides.
    """
    bounds = _bounds(dataset, dataset.counts[split_name])
    return {shard_key(key, start): _shard_mark(mark, start, stop) for start, stop in bounds}


def _encoder(split: Split, spec: EncoderSpec, roots: Roots, device: str) -> Encoder:
    """The encoder for all pictures of a split, which are of one side: by a graph where that is worth its making."""
    if not shapes.are_one(split.dataset, split.size, spec):
        return loading.load(spec, roots, device=device)
    worth_it = _pictures(split) >= WORTH_CONVERTING
    return loading.load(spec, roots, device=device, side=_seen_side(split, spec), convert=worth_it)


def _pictures(split: Split) -> int:
    return len(split) * (split.images.shape[1] if split.dataset.ndim == 3 else 1)


def _seen_side(split: Split, spec: EncoderSpec) -> tuple[int, int]:
    plane = split.images.shape[2:] if split.dataset.ndim == 3 else split.images.shape[1:]
    return preprocessing.seen_side(plane, preprocessing.pixels_for(spec, split.dataset.ndim))


def _key(split: Split, spec: EncoderSpec, variant: str) -> str:
    return key_of(split.dataset, split.size, split.name, spec, variant)


def _kept(split: Split, spec: EncoderSpec, weights: Weights, key: str, roots: Roots) -> Kept | None:
    """Of a collection, the vectors that are there of pictures that have not changed."""
    if split.dataset.own is None:
        return None
    return reuse.find(split, _context(split, spec, weights.digest), (key, aside_key(key)), roots)


def _context(split: Split, spec: EncoderSpec, weights_digest: str) -> str:
    """The fingerprint of all that the vector of a collection's picture depends on, but for the picture."""
    data = f"one picture, {split.dataset.channels} channels"
    return fingerprint_of(split.dataset, split.size, split.name, spec, data=data, weights=weights_digest)


def _mark(split: Split, spec: EncoderSpec, weights_digest: str) -> str:
    return fingerprint_of(split.dataset, split.size, split.name, spec, data=split.digest, weights=weights_digest)


@dataclass(frozen=True, eq=False)
class _Making:
    """One split by one encoder, under way: `split` is what is embedded, of a `whole` of which the rest is `kept`."""

    split: Split
    encoder: Encoder
    roots: Roots
    key: str
    mark: str
    progress: Progress | None
    shared: Shared | None
    kept: Kept | None
    whole: Split


def _make(making: _Making) -> Iterator[None]:
    """Every shard in turn, then all as one file."""
    roots = making.roots
    shards: list[Mapping[str, Any]] = []
    for meta in _shards_of(making):
        shards.append(meta)
        yield None
    arrays: dict[str, np.ndarray | artifacts.Rows] = {"vectors": _joined(making)}
    if making.whole.dataset.own is not None:
        arrays["digests"] = reuse.digests_of(making.whole)
    if making.kept is not None:
        making.kept.set_aside(aside_key(making.key), roots)
    meta = _recorded(making, shards)
    artifacts.save(roots.cache, making.key, arrays=arrays, fingerprint=making.mark, meta=meta)
    shutil.rmtree(_shards(roots, making.key), ignore_errors=True)


def _recorded(making: _Making, shards: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What is recorded of the whole, by what was of each shard, and of the vectors that were kept."""
    encoder, count = making.encoder, len(making.split)
    kept = [making.kept.stored.meta] if making.kept else []
    bounds = _bounds(making.split.dataset, count)
    sizes = [(stop - start, shard.get("batch", count)) for (start, stop), shard in zip(bounds, shards, strict=True)]
    batches = origins.in_batches(sizes) if sizes else {"batch": kept[0].get("batch")}
    meta = origins.of_parts(encoder, [*kept, *shards]) | batches
    if making.whole.dataset.own is not None:
        meta |= {"context": _context(making.whole, encoder.spec, encoder.weights_digest)}
        meta |= {"embedded": count, "kept": len(making.whole) - count}
    return meta


def _joined(making: _Making) -> artifacts.Rows:
    """The vectors of the shards, and among them those that were kept."""
    vectors = _vectors(making)
    if making.kept is not None:
        return making.kept.joined(vectors)
    first = next(vectors)
    return artifacts.Rows((len(making.split), *first.shape[1:]), np.dtype(np.float32), chain([first], vectors))


def _vectors(making: _Making) -> Iterator[np.ndarray]:
    """The vectors of each shard, opened when it is asked for: a process may not open as many files as there are."""
    for start, stop in _bounds(making.split.dataset, len(making.split)):
        yield _read_back(making, start, stop).arrays["vectors"]


def _shards_of(making: _Making) -> Iterator[Mapping[str, Any]]:
    """What is recorded of each shard: as an earlier run left it, else embedded now, in the batches of the one before.

    So a run that is taken up goes on in the batches that it was begun in, and memory that was too small once is not
    tried again; only the first shard of all looks for the best size.
    """
    split = making.split
    bounds = _bounds(split.dataset, len(split))
    found = {start: shard.meta for start, stop in bounds if (shard := _stored_shard(making, start, stop)) is not None}
    batch = next((_batch(meta, making.encoder) for meta in found.values()), None)
    for start, stop in bounds:
        tick = _tick(making.progress, making.encoder, split, start, stop)
        meta = found.get(start)
        if meta is None:
            batch = batch or _first_batch(making)
            meta = _embedded_shard(making, start, stop, batch, tick)
        batch = _batch(meta, making.encoder) or batch
        pipeline.give_back(split.images)
        tick(1.0)
        yield meta


def _bounds(dataset: Dataset, count: int) -> list[tuple[int, int]]:
    step = VOLUMES_IN_SHARD if dataset.ndim == 3 else PICTURES_IN_SHARD
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def _first_batch(making: _Making) -> int:
    """The batch of a run that begins; pictures that are of several sizes where the network sees them go one by one."""
    split, encoder = making.split, making.encoder
    if not shapes.are_one(split.dataset, split.size, encoder.spec):
        return 1
    return pipeline.batch_for(encoder, _seen_side(split, encoder.spec), count=_pictures(split))


def _batch(meta: Mapping[str, Any], encoder: Encoder) -> int | None:
    """The batch that a shard was made in, if it was made as this encoder would: on such a device, by such a runtime."""
    return meta.get("batch") if meta.get("ran") == origins.ran(encoder) else None


def _tidy(roots: Roots, key: str, what: str) -> None:
    """Remove the shards of a run that was killed when all was written and they were still there."""
    if _shards(roots, key).is_dir():
        with suppress(Busy), artifacts.lock(roots.cache / f"{key}.lock", what=what):  # who holds it tidies up itself
            shutil.rmtree(_shards(roots, key), ignore_errors=True)


def _shards(roots: Roots, key: str) -> Path:
    return roots.cache / f"{key}.shards"


def _tick(progress: Progress | None, encoder: Encoder, split: Split, start: int, stop: int) -> Tick:
    """What turns the share of a shard that is done into words and the share of the split."""

    def tick(share: float) -> None:
        done = start + share * (stop - start)
        if progress is not None:
            progress(f"{encoder.spec.title}: {done:,.0f} of {len(split):,} {split.name} items", done / len(split))

    return tick


def _stored_shard(making: _Making, start: int, stop: int) -> artifacts.Artifact | None:
    """The vectors of items start to stop as an earlier run left them; their meta says in which batches it made them."""
    key, mark = _address(making, start, stop)
    return artifacts.load((making.roots.cache,), key, fingerprint=mark)


def _read_back(making: _Making, start: int, stop: int) -> artifacts.Artifact:
    """As `_stored_shard`, of a shard that this run has found or written."""
    found = _stored_shard(making, start, stop)
    if found is None:
        raise RuntimeError(f"{shard_key(making.key, start)} was written but cannot be read back")
    return found


def _embedded_shard(making: _Making, start: int, stop: int, batch: int, tick: Tick) -> Mapping[str, Any]:
    """Embed items start to stop, write their vectors and read them back; what is recorded of them."""
    batches: list[int] = []
    embed_items = embed_volumes if making.split.dataset.ndim == 3 else embed_pictures
    items, seen = making.split.images[start:stop], making.shared.at(start) if making.shared else None
    vectors = embed_items(making.encoder, items, batch=batch, seen=seen, tick=tick, note=batches.append)
    check_finite(making.encoder.spec, vectors, f"the items {start} to {stop - 1}")
    meta = {"ran": origins.ran(making.encoder), **({"batch": min(batches)} if batches else {})}
    key, mark = _address(making, start, stop)
    artifacts.save(making.roots.cache, key, arrays={"vectors": vectors}, fingerprint=mark, meta=meta)
    return _read_back(making, start, stop).meta


def _address(making: _Making, start: int, stop: int) -> tuple[str, str]:
    """Key and fingerprint of a shard; with what is kept, others are left to embed."""
    beside = {} if making.kept is None else {"kept": making.kept.stored.fingerprint}
    return shard_key(making.key, start), _shard_mark(making.mark, start, stop, **beside)


def _shard_mark(mark: str, start: int, stop: int, **beside: str) -> str:
    return artifacts.fingerprint(whole=mark, start=start, stop=stop, **beside)


def check_finite(spec: EncoderSpec, vectors: np.ndarray, what: str) -> None:
    """Unavailable where features are not finite numbers; `what` they are of, in words."""
    if not np.isfinite(vectors).all():
        raise Unavailable(
            f"{spec.title} gave features that are not finite numbers for {what}.",
            remedy="Its weights file may be damaged: delete it and fetch it again.",
        )
