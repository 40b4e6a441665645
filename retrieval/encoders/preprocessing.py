"""What reaches the network: items resized by the spec's own kernel, then scaled and normalised."""

from dataclasses import replace

import numpy as np

from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.pictures.resampling import resize, zoom_depth


def pixels_for(spec: EncoderSpec, ndim: int) -> Pixels:
    """The spec's pixels for pictures (2) or for the slices of volumes (3); ValueError where it takes none."""
    pixels = spec.pixels if ndim == 2 else spec.slices
    if pixels is None:
        raise ValueError(f"{spec.name} takes no {ndim}D items")
    return pixels


def seen_picture(picture: np.ndarray, pixels: Pixels) -> np.ndarray:
    """A uint8 picture [H, W] or [H, W, 3] at the side at which the network sees it, uint8, channels unchanged."""
    return resize(picture, pixels.side(len(picture)), pixels.interpolation)


def seen_slices(volume: np.ndarray, pixels: Pixels) -> np.ndarray:
    """The slices [S, H, W] of a uint8 volume [D, H, W], along axis 0, before they are resized in plane.

    In plane each slice goes through `seen_picture`; apart, so that identical slices are resized and embedded once.
    """
    return zoom_depth(volume, pixels.side(len(volume))) if pixels.depth == "spline" else volume


def network_input(pictures: np.ndarray, pixels: Pixels) -> np.ndarray:
    """uint8 pictures of one size [N, H, W] or [N, H, W, 3] as float32 [N, S, S, C], scaled and normalised.

    C is 3 (grey is repeated), or for `native` channels what the pictures have.
    """
    seen = np.stack([seen_picture(picture, pixels) for picture in pictures])
    if seen.ndim == 3:
        seen = np.repeat(seen[..., None], 1 if pixels.channels == "native" else 3, axis=3)
    values = seen.astype(np.float32)
    if pixels.scale == "unit":
        values /= np.float32(255)
    if pixels.mean != Pixels.mean:
        values -= np.asarray(pixels.mean, np.float32)
    if pixels.std != Pixels.std:
        values /= np.asarray(pixels.std, np.float32)
    return values


def as_key(pixels: Pixels) -> dict[str, object]:
    """The pixels as JSON-representable fields, for fingerprints."""
    return dict(vars(replace(pixels)))
