"""What a picture is known by: digests of its file and of its pixels, its shape, and whether it is coloured."""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from retrieval.pictures import burned_in
from retrieval.pictures.decoded import Volume
from retrieval.pictures.reading import decode


@dataclass(frozen=True)
class Facts:
    """What is recorded of a picture; as in `records.File`."""

    digest: str
    pixels: str
    height: int
    width: int
    coloured: bool
    burned_in: bool
    depth: int = 1


def facts_of(data: bytes, *, name: str) -> Facts:
    """Decode a file's bytes and note what the picture is known by; BadInput where they are no picture.

    Of a volume the middle slice is the picture, and the depth says so.
    """
    found = decode(data, name=name)
    depth = len(found.levels) if isinstance(found, Volume) and not found.flaw else 1
    picture = found.middle() if isinstance(found, Volume) else found
    pixels = plain_pixels(picture.image)
    height, width = pixels.shape[:2]
    seen = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    seen.update(np.ascontiguousarray(pixels).data)
    return Facts(
        digest=bytes_digest(data),
        pixels=seen.hexdigest(),
        height=height,
        width=width,
        coloured=pixels.ndim == 3,
        burned_in=burned_in.has_text(picture),
        depth=depth,
    )


def bytes_digest(data: bytes) -> str:
    """By which a file is seen to be the one that was added: 128 bits of BLAKE2b."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def plain_pixels(image: Image.Image) -> np.ndarray:
    """uint8 [H, W], or [H, W, 3] where the channels of any pixel differ.

    Many grey pictures are stored as colour; of three equal channels the luminance is the channel itself.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return red if np.array_equal(red, green) and np.array_equal(red, blue) else pixels
