"""Where Embeddings lie, and the key of their staleness."""

from dataclasses import asdict, replace
from typing import Any

from retrieval import artifacts
from retrieval.datasets.specs import Dataset
from retrieval.encoders import preprocessing
from retrieval.encoders.specs import EncoderSpec, Layout

# Raised when the code changes what a feature is, so that what was stored before is stale.
FEATURES = 1


def fingerprint_of(dataset: Dataset, size: int, split: str, spec: EncoderSpec, *, data: str, weights: str) -> str:
    """The key of staleness of Embeddings: data digest, weights digest, pixels, pooling, precision."""
    return artifacts.fingerprint(
        features=FEATURES,
        data=data,
        dataset=dataset.name,
        size=size,
        split=split,
        weights=weights,
        architecture=f"{spec.library}:{spec.architecture}",
        pooling=spec.pooling,
        pixels=preprocessing.as_key(preprocessing.pixels_for(spec, dataset.ndim)),
        precision=spec.precision,
        **_recipe(spec),
    )


def _recipe(spec: EncoderSpec) -> dict[str, Any]:
    """What else makes the features, where the spec says so: arguments, layout, steps.

    The order of a checkpoint's names is left out: whatever order loads has matched every tensor by its shape.
    """
    steps = [asdict(step) for step in spec.steps]
    layout = asdict(replace(spec.layout, order=()))
    parts = {"arguments": dict(spec.arguments), "layout": layout, "steps": steps}
    return {name: part for name, part in parts.items() if part not in ({}, asdict(Layout()), [])}


def key_of(dataset: Dataset, size: int, split: str, spec: EncoderSpec, variant: str = "") -> str:
    """Where the Embeddings of a split lie, relative to a root; those of a variant of the spec beside its own."""
    name = f"{spec.name}.{variant}" if variant else spec.name  # a point is in no encoder's name
    return f"embeddings/{dataset.name}/{size}/{name}/{split}"


def shard_key(key: str, start: int) -> str:
    """Where the vectors of one shard of these Embeddings lie until all are there, by its first item."""
    return f"{key}.shards/{start:08d}"


def aside_key(key: str) -> str:
    """Where, among the shards, the Embeddings lie that are being replaced."""
    return f"{key}.shards/kept"
