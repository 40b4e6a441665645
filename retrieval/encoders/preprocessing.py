"""What reaches the network: items resized by the spec's own kernel, then scaled and normalised."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.pictures.resampling import middle, on_canvas, resize, shortest_to, zoom_depth

Arithmetic = tuple[tuple[Callable[[Any, Any], Any], Any], ...]

# In every key, whatever their value. Fields added since are left out at their default, so that what is stored stays.
_ALWAYS = ("size", "at_least", "interpolation", "depth", "scale", "mean", "std", "channels")


# What does not change a picture's size, and so is another encoder's own affair.
_OF_VALUES = ("channels", "scale", "mean", "std")


def pixels_for(spec: EncoderSpec, ndim: int) -> Pixels:
    """The spec's pixels for pictures (2) or for the slices of volumes (3); ValueError where it takes none."""
    pixels = spec.pixels if ndim == 2 else spec.slices
    if pixels is None:
        raise ValueError(f"{spec.name} takes no {ndim}D items")
    return pixels


def normalisation(spec: EncoderSpec) -> Pixels:
    """The pixels by which an encoder normalises: those of pictures and of slices agree in what does not resize."""
    pixels = spec.pixels or spec.slices
    if pixels is None:
        raise ValueError(f"{spec.name} takes neither pictures nor volumes")
    return pixels


def seen_picture(picture: np.ndarray, pixels: Pixels) -> np.ndarray:
    """A uint8 picture [H, W] or [H, W, 3] at the size at which the network sees it, uint8; grey on a canvas."""
    least = tuple(max(length, pixels.at_least or 0) for length in picture.shape[:2])
    picture = resize(picture, least, pixels.enlarge or pixels.interpolation)  # type: ignore[arg-type]
    if pixels.canvas:
        picture = on_canvas(picture, pixels.canvas)
    if pixels.size:
        squashed = pixels.fit == "squash"
        shape = (pixels.size, pixels.size) if squashed else shortest_to(picture.shape[:2], pixels.size)
        picture = resize(picture, shape, pixels.interpolation)
    return middle(picture, pixels.crop, halved=pixels.centre) if pixels.crop else picture


def is_fixed(pixels: Pixels) -> bool:
    """Whether pictures of any shape reach the network at one size."""
    if not pixels.size:
        return False
    return pixels.fit == "squash" or bool(pixels.canvas) or 0 < (pixels.crop or 0) <= pixels.size


def apart(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """The two halves of pixels: how a picture comes to its size, then what is done to its values."""
    own = vars(Pixels())
    geometry = replace(pixels, **{name: own[name] for name in _OF_VALUES})
    return geometry, replace(Pixels(), **{name: getattr(pixels, name) for name in _OF_VALUES})


def seen_side(plane: tuple[int, ...], pixels: Pixels) -> tuple[int, int]:
    """Height and width at which pictures of this shape, [H, W] or [H, W, 3], reach the network."""
    height, width = seen_picture(np.zeros(plane, np.uint8), pixels).shape[:2]
    return height, width


def seen_slices(volume: np.ndarray, pixels: Pixels) -> np.ndarray:
    """The slices [S, H, W] of a uint8 volume [D, H, W], along axis 0, before they are resized in plane.

    In plane each slice goes through `seen_picture`; apart, so that identical slices are resized and embedded once.
    """
    return zoom_depth(volume, max(len(volume), pixels.at_least or 0)) if pixels.depth == "spline" else volume


def seen_batch(pictures: Sequence[np.ndarray] | np.ndarray, pixels: Pixels) -> np.ndarray:
    """uint8 pictures of one size, each [H, W] or [H, W, 3], as an Encoder takes them: uint8 [N, S, S, C].

    C is 3 (grey is repeated), or for `native` channels what the pictures have.
    """
    return _channels(seen_pictures(pictures, pixels), pixels)


def seen_pictures(pictures: Sequence[np.ndarray] | np.ndarray, pixels: Pixels) -> np.ndarray:
    """uint8 pictures of one size, each [H, W] or [H, W, 3], at the size at which the network sees them, [N, S, S(, 3)].

    Always a copy, so that what is read from a mapped file is read here.
    """
    if apart(pixels)[0] == Pixels() and isinstance(pictures, np.ndarray):
        return np.array(pictures)  # at once, where none changes its size
    return np.stack([seen_picture(picture, pixels) for picture in pictures])


def arithmetic(pixels: Pixels, bring: Callable[[np.ndarray], Any] = np.asarray) -> Arithmetic:
    """What is done to the values of a picture as seen, in order: each an operator and its float32 constant [C] or [1].

    `bring` makes of a constant what the values are: a tensor on their device.
    """
    steps = []
    if pixels.scale == "unit":
        steps.append((operator.truediv, (255.0,)))
    if pixels.mean != Pixels.mean:
        steps.append((operator.sub, pixels.mean))
    if pixels.std != Pixels.std:
        steps.append((operator.truediv, pixels.std))
    return tuple((operate, bring(np.asarray(constant, np.float32))) for operate, constant in steps)


def normalise(values: Any, steps: Arithmetic) -> Any:
    """float32 values [N, S, S, C] scaled and normalised: bitwise the same for numpy arrays and torch tensors."""
    for operate, constant in steps:
        values = operate(values, constant)
    return values


def network_input(pictures: Sequence[np.ndarray] | np.ndarray, pixels: Pixels) -> np.ndarray:
    """uint8 pictures of one size [N, H, W] or [N, H, W, 3] as float32 [N, S, S, C], scaled and normalised."""
    return normalise(seen_batch(pictures, pixels).astype(np.float32), arithmetic(pixels))


def as_key(pixels: Pixels) -> dict[str, object]:
    """The pixels as JSON-representable fields, for fingerprints."""
    default = vars(Pixels())
    return {name: value for name, value in vars(pixels).items() if name in _ALWAYS or value != default[name]}


def _channels(seen: np.ndarray, pixels: Pixels) -> np.ndarray:
    """uint8 pictures [N, S, S] or [N, S, S, 3] with the channels that the network takes, last."""
    if seen.ndim == 3:
        return np.repeat(seen[..., None], 1 if pixels.channels == "native" else 3, axis=3)
    return np.ascontiguousarray(seen[..., ::-1]) if pixels.channels == "bgr" else seen
