"""What is true of a feature extractor before it is loaded: an EncoderSpec is a literal, and data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from retrieval.pictures.resampling import Interpolation

Library = Literal["keras", "timm", "builtin"]


@dataclass(frozen=True)
class WeightsSource:
    """Where an encoder's weights come from and how they are known.

    Attributes:
        filename: The file's usual name; looked for in RETRIEVAL_WEIGHTS/<encoder>/, then in the cache.
        package: The Python package that carries the file, if one does.
        member: Its path inside that package.
        url: The publisher's address, if it is downloaded.
        md5: Of the file at that address.
        digest: Over names, shapes and bytes of the tensors (not of the container); what makes weights *verified*.
        containers: Digest (`algorithm:hex`) of files known to hold these tensors, which need not be opened.
        bytes: Approximate size of the file.
    """

    filename: str
    digest: str
    package: str = ""
    member: str = ""
    url: str = ""
    md5: str = ""
    containers: tuple[str, ...] = ()
    bytes: int = 0


@dataclass(frozen=True)
class Pixels:
    """What reaches the network, for one kind of item. Everything that changes a feature is here, so it is in every key.

    Attributes:
        size: Side in pixels after resizing; None leaves the item at its own size.
        at_least: Items smaller than this are enlarged to it (the study enlarges 28 to 32 for Keras).
        interpolation: Library and kernel, named, never guessed.
        depth: For volumes: `spline` resamples the slices to the same number (scipy zoom, order 3), `keep` does not.
        scale: `none` (0..255), or `unit` (divide by 255).
        mean: Subtracted per channel after scaling.
        std: Divided by per channel.
        channels: `rgb`; grey is repeated three times.
    """

    size: int | None = None
    at_least: int | None = None
    interpolation: Interpolation = "pil_bicubic"
    depth: Literal["spline", "keep"] = "keep"
    scale: Literal["none", "unit"] = "unit"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: Literal["rgb", "native"] = "rgb"

    def side(self, size: int) -> int:
        """The side in pixels that an item of this size has when it reaches the network."""
        return self.size or max(size, self.at_least or 0)


@dataclass(frozen=True)
class EncoderSpec:
    """What is true of an encoder before it is loaded.

    Attributes:
        name: Key, lower case.
        title: For menus.
        about: One line.
        library: Which loader builds it.
        architecture: The library's own name for it.
        dim: Length of one vector; None where it depends on the item's size.
        pooling: In words.
        pixels: What reaches the network for pictures; None where the encoder takes none.
        slices: The same for the slices of a volume; None where the encoder takes no volumes.
        weights: Where they come from; None where there are none.
        licence, licence_url, paper: Of the weights.
        training: What it was trained on.
        gated: Whether the publisher asks for a login.
        domain: For grouping in menus.
        ms_at_224: Rough time for one picture of 224 x 224 on two CPU cores, milliseconds; for estimates only.
        baseline: A cheap feature that any extractor should beat.
        options: What the loader needs besides, by keyword.
    """

    name: str
    title: str
    about: str
    library: Library
    architecture: str
    dim: int | None
    pooling: str
    pixels: Pixels | None
    slices: Pixels | None
    weights: WeightsSource | None
    licence: str
    training: str
    licence_url: str = ""
    paper: str = ""
    gated: bool = False
    domain: str = "general"
    ms_at_224: float = 0.1
    baseline: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def takes(self, ndim: int) -> bool:
        """Whether it can embed items of this many dimensions (2 or 3)."""
        return (self.pixels if ndim == 2 else self.slices) is not None


class Encoder(Protocol):
    """A loaded feature extractor."""

    @property
    def spec(self) -> EncoderSpec:
        """What was true of it before it was loaded."""
        ...

    @property
    def weights_digest(self) -> str:
        """Of the weights that it runs with."""
        ...

    def embed(self, inputs: np.ndarray) -> np.ndarray:
        """Raw features, float32 [N, dim], of network inputs as `preprocessing.network_input` makes them."""
        ...
