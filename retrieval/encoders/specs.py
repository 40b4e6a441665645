"""What is true of a feature extractor before it is loaded: an EncoderSpec is a literal, and data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from retrieval.encoders.tokenizing import Tokenizer
from retrieval.pictures.resampling import Interpolation

Library = Literal["keras", "timm", "open_clip", "transformers", "builtin"]
Runtime = Literal["torch", "onnx"]
Precision = Literal["fp32", "bf16"]
Pooling = Literal["cls", "mean", "cls_and_mean", "map_mean", "pooled", "attend"]
Domain = Literal["general", "language", "biomedical", "pathology", "radiology", "retina", "skin", "baseline"]


@dataclass(frozen=True)
class WeightsSource:
    """Where an encoder's weights come from and how they are known.

    Attributes:
        filename: The file's usual name; looked for in RETRIEVAL_WEIGHTS/<encoder>/, then in the caches.
        files: Other names under which people have the same tensors.
        package: The Python package that carries the file, if one does.
        member: Its path inside that package, or inside the zip file at `url`.
        url: The publisher's address, if it is downloaded from one.
        md5: Of the file at that address.
        repo: The Hub repository, `owner/name`.
        revision: Its commit, 40 hexadecimal digits; empty where none is known, and the newest is taken and recorded.
        config: The Hub's file that rules over what the spec marks as unverified, if one is at hand.
        digest: Over names, shapes and bytes of the tensors (not of the container); what makes weights *verified*.
            Empty where nobody here has seen them.
        containers: Digest (`sha256:hex`) of files known to hold these tensors, which need not be opened.
        bytes: Approximate size of the file; 0 where it is not known.
    """

    filename: str
    digest: str = ""
    files: tuple[str, ...] = ()
    package: str = ""
    member: str = ""
    url: str = ""
    md5: str = ""
    repo: str = ""
    revision: str = ""
    config: str = ""
    containers: tuple[str, ...] = ()
    bytes: int = 0


@dataclass(frozen=True)
class Pixels:
    """What reaches the network, for one kind of item. Everything that changes a feature is here, so it is in every key.

    Applied in this order: `at_least`, `canvas`, `size` and `fit`, `crop`, `channels`, `scale`, `mean`, `std`.

    Attributes:
        size: Side in pixels after resizing; None leaves the item at its own size.
        at_least: Items smaller than this are enlarged to it (the study enlarges 28 to 32 for Keras).
        interpolation: Library and kernel, named, never guessed.
        depth: For volumes: `spline` resamples the slices to `at_least` (scipy zoom, order 3), `keep` does not.
        scale: `none` (0..255), or `unit` (divide by 255).
        mean: Subtracted per channel after scaling.
        std: Divided by per channel.
        channels: `rgb`; grey is repeated three times. `bgr`: the same, reversed. `native`: what the item has.
        fit: How an item that is not square comes to `size`: `squash` both sides to it, or the `shortest` side.
        crop: Side of the square that is cut from the middle; None leaves all of it.
        centre: Where an odd border is halved: torchvision rounds to even, transformers rounds down.
        canvas: The item, never enlarged, is pasted in the middle of a black grey-level square of at least this side.
        enlarge: The kernel of `at_least`, where it is another than `interpolation`.
    """

    size: int | None = None
    at_least: int | None = None
    interpolation: Interpolation = "pil_bicubic"
    depth: Literal["spline", "keep"] = "keep"
    scale: Literal["none", "unit"] = "unit"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: Literal["rgb", "bgr", "native"] = "rgb"
    fit: Literal["squash", "shortest"] = "squash"
    crop: int | None = None
    centre: Literal["even", "down"] = "even"
    canvas: int | None = None
    enlarge: Interpolation | None = None

    def side(self, size: int) -> int:
        """The side in pixels that a square item of this size has when it reaches the network."""
        return self.crop or self.size or max(size, self.at_least or 0, self.canvas or 0)


@dataclass(frozen=True)
class Layout:
    """How the names in a checkpoint become the network's, applied in the order of the attributes.

    A rule that meets nothing does nothing, so that one layout reads a file whether it was saved by an older or a newer
    version of its library; what is left over or missing at the end is refused.

    Attributes:
        unwrap: Keys to go down into where the file has them: `("teacher",)`.
        drop: Patterns (whole name) of tensors that the feature does not need: text towers, decoders, counters.
        rename: Ordered pairs of pattern and replacement, each applied to every name (`re.sub`).
        fuse: Pairs of a target and its parts, concatenated along the first axis in this order: `("attn.qkv",
            ("attn.q", "attn.k", "attn.v"))` joins `blocks.0.attn.q.weight` and its like.
        fold_class_position: The class token's position is the first row of `pos_embed`: it is added to `cls_token`.
        positions: How `pos_embed` of another grid is resampled: by `bicubic`, by `bicubic_antialias`, or with Meta's
            offset of 0.1 (`bicubic_offset`). Empty: a grid of another size is refused.
        order: For a checkpoint that names the same tensors otherwise, in the same order: the words of its names in
            that order. Tensors are matched one by one, and every shape has to fit.
        allow: Classes besides tensors that the file may hold: `argparse.Namespace`.
        absent: Patterns (whole name) of the network's tensors that the file need not have.
    """

    unwrap: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    fuse: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fold_class_position: bool = False
    positions: Literal["", "bicubic", "bicubic_antialias", "bicubic_offset"] = ""
    order: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One operation on what the network gives, on the way to the feature.

    Attributes:
        kind: `cls`: the first token. `mean`: the mean of the tokens from `skip` on. `cls_and_mean`: both, joined.
            `map_mean`: the mean over a feature map's places. `pooled`: the library's own pooling.
            `attend`: attention of one query on all tokens (torch's multi-head, or `perceiver`: one key-value matrix,
            no bias). `norm`: layer norm. `linear`, `gelu`, `tanh`, `l2` (length 1). `project`: times one matrix.
        name: Of its tensors, which the layout brings under `feature.<name>`.
        shape: Of its matrix: (out, in); of a `project`: (in, out). For `attend`: (width, width of the tokens).
        bias: Whether a `linear` has one.
        skip: Tokens before the patches: the class token and registers.
        heads: Of an `attend`.
        perceiver: Of an `attend`: its dialect.
        eps: Of layer norms.
    """

    kind: Pooling | Literal["norm", "linear", "project", "gelu", "tanh", "l2"]
    name: str = ""
    shape: tuple[int, ...] = ()
    bias: bool = False
    skip: int = 1
    heads: int = 8
    perceiver: bool = False
    eps: float = 1e-5


@dataclass(frozen=True)
class Joint:
    """How pictures come into the space that they share with texts, where the encoder's own feature is another."""

    pooling: str
    layout: Layout
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class TextTower:
    """The text side of an encoder whose pictures and texts share a space; its tensors lie in the same file.

    Attributes:
        tokenizer: How a text becomes numbers.
        pooling: Which outputs become the text's vector, in words.
        layout: How the checkpoint's names become the text side's.
        library: Which builds it.
        architecture: transformers' class; empty: open_clip's model that the encoder is the picture side of.
        arguments: What it is built with; for open_clip in the place of the encoder's own.
        layers: Hidden states whose mean is taken, by number; none: the last alone.
        masked: Whether places of padding are hidden from the others (by a mask that the network is given).
        steps: From the network's output to the vector.
        joint: None where the encoder's own feature of pictures is in the shared space.
    """

    tokenizer: Tokenizer
    pooling: str
    layout: Layout
    library: Literal["open_clip", "transformers"] = "open_clip"
    architecture: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] = ()
    masked: bool = False
    steps: tuple[Step, ...] = (Step("pooled"), Step("l2"))
    joint: Joint | None = None


@dataclass(frozen=True)
class Rule:
    """What one entry of the publisher's config file (`WeightsSource.config`) settles, or has to say.

    Attributes:
        key: Where it stands in the file, dotted: `preprocess_cfg.mean`.
        target: What it rules over: a field of the pixels (`pixels.mean`), or an argument (`arguments.mlp_ratio`; dotted
            further for one inside another). Empty: over nothing.
        must: What the target may become, or the entry say, where that is not open: a file that says otherwise is
            another network's.
        absent: What a file without this entry says, if it has the part that would hold it; None: nothing.
        settles: Words of the sentence in `unverified` that is settled once all its rules have been met.
    """

    key: str
    target: str = ""
    must: tuple[Any, ...] = ()
    absent: Any = None
    settles: str = ""


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
        gated: Whether the publisher asks for a login or a form.
        domain: For grouping in menus.
        ms_at_224: Rough time for one picture of 224 x 224 on two CPU cores, milliseconds; for estimates only.
        baseline: A cheap feature that any extractor should beat.
        options: What a built-in feature needs besides.
        arguments: What the architecture is built with. Names of layers (`SwiGLUPacked`, `SiLU`) are looked up.
        layout: How its checkpoint's names become the network's.
        steps: From the network's output to the feature; none where the library's own pooled output is the feature.
        parameters: Numbers in the network that makes the feature; 0 where it is not known.
        text: Its text side, if it has one.
        study: What to know when comparing with arXiv 2409.09430; empty where it is not among the study's.
        incomparable: Why no right implementation can meet the study's rows, where none can: part of a sentence.
        overlaps: Datasets whose source is, or may be, in its training, each with the evidence as a sentence.
        unverified: Facts that were written from memory, each a sentence; a config file at hand rules over them.
        on_purpose: Where the pixels differ from the authors' own transform, and why.
        rules: What the publisher's config file settles of it, where one lies beside the weights.
        runtime: What runs it on a CPU: for convolutions, graphs for ONNX Runtime are several times faster than torch.
            Features agree, so it is in no fingerprint.
        precision: Of the network's arithmetic; `fp32` in a literal. Another one is another encoder, with a name, a
            fingerprint and rows of its own: see `catalogue.find_encoder`.
        settled: What such a file has settled, by target; none in a literal, see `configs`.
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
    domain: Domain = "general"
    ms_at_224: float = 0.1
    baseline: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout = Layout()
    steps: tuple[Step, ...] = ()
    parameters: int = 0
    text: TextTower | None = None
    study: str = ""
    incomparable: str = ""
    overlaps: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    on_purpose: str = ""
    rules: tuple[Rule, ...] = ()
    runtime: Runtime = "torch"
    precision: Precision = "fp32"
    settled: tuple[tuple[str, Any], ...] = ()

    @property
    def plain(self) -> str:
        """The name in float32: its weights lie under it, whatever the precision."""
        return self.name.removesuffix(f".{self.precision}")

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

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Raw features, float32 [N, dim], of uint8 pictures as `preprocessing.seen_batch` makes them."""
        ...
