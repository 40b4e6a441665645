"""Pictures or volumes, in memory or on a disk -> raw vectors by a loaded encoder."""

from collections.abc import Callable
from typing import Any

import numpy as np

from retrieval.embeddings import pipeline
from retrieval.embeddings.pipeline import Tick
from retrieval.embeddings.seen import Seen, slices_of
from retrieval.encoders import preprocessing
from retrieval.encoders.specs import Encoder


def embed_pictures(
    encoder: Encoder,
    pictures: np.ndarray,
    *,
    ndim: int = 2,
    batch: int | None = None,
    seen: Seen | None = None,
    tick: Tick | None = None,
    note: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Raw vectors float32 [N, D] of uint8 pictures of one size [N, H, W] or [N, H, W, 3], in batches.

    Args:
        batch: Pictures in one; as many as the encoder likes, if left out.
        seen: Where other encoders have left these pictures as they saw them, or will look for them.
        tick: Gets the share that is done, between 0 and 1, after every batch but the last.
        note: Gets the batches' size.
    """
    pixels = preprocessing.pixels_for(encoder.spec, ndim)
    given, pixels = seen.pictures(pictures, pixels) if seen is not None else (pictures, pixels)
    batch = batch or pipeline.batch_of(encoder)
    vectors, batch = pipeline.embed_in_batches(encoder, given, pixels, batch=batch, tick=tick)
    if note is not None:
        note(batch)
    return vectors


def embed_volumes(encoder: Encoder, volumes: np.ndarray, *, seen: Seen | None = None, **named: Any) -> np.ndarray:
    """Vectors float32 [N, S, D] of uint8 volumes [N, D, H, W], one row a slice; identical slices are embedded once.

    `seen` and what else is `named` as for `embed_pictures`.
    """
    if encoder.spec.options.get("whole_volume"):
        return encoder.embed(np.stack(list(volumes)))[:, None]
    pixels = preprocessing.pixels_for(encoder.spec, 3)
    slices = seen.slices(volumes, pixels) if seen is not None else slices_of(volumes, pixels)
    vectors = embed_pictures(encoder, slices.distinct, ndim=3, seen=seen, **named)
    return vectors[slices.places].reshape(*slices.shape, -1)
