"""Checkpoints in the upstream layouts, with random weights; pictures of four kinds; how far two features are apart."""

import ast
import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from retrieval.encoders import catalogue, loading, preprocessing
from retrieval.encoders.specs import Encoder, EncoderSpec
from retrieval.roots import Roots

KEYS = Path(__file__).parent / "keys"
BLOCK = re.compile(r"(?:^|\.)(?:blocks|layers?|resblocks)\.(\d+)\.")


def keys_of(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a committed list, such as `keys_UNI`."""
    lines = (KEYS / f"{name}.txt").read_text().splitlines()
    found = (re.fullmatch(r"(\S+) (\([\d, ]*\))(?: \S+)?", line) for line in lines if line)
    return {one[1]: ast.literal_eval(one[2]) for one in found if one}


def shallow(keys: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Only the first blocks of a giant: what bears the number of a later one is left out."""
    return {name: one for name, one in keys.items() if not (n := BLOCK.search(name)) or int(n[1]) < depth}


def random_tensors(keys: Mapping[str, tuple[int, ...]], *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Small random weights for names and shapes: norms near one, so that features neither vanish nor explode.

    Tokens and position grids (1, ...) are of the pictures' own order, so that a wrong one shows in the feature.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in keys.items():
        noise = torch.randn(shape, generator=generator)
        fan = math.prod(shape[1:]) if len(shape) > 1 and shape[0] > 1 else 1
        centred = name.endswith(("norm.weight", "gamma", "lambda1", "running_var")) or (
            len(shape) == 1 and name.endswith(".weight")
        )
        tensors[name] = 1 + 0.1 * noise if centred else noise / math.sqrt(fan) if len(shape) > 1 else 0.02 * noise
    return {name: one.abs() if name.endswith("running_var") else one for name, one in tensors.items()}


def put(content: Mapping[str, Any], spec: EncoderSpec, roots: Roots, *, filename: str = "") -> Path:
    """Write a checkpoint where a person would put it: RETRIEVAL_WEIGHTS/<encoder>/<file>."""
    assert spec.weights is not None and roots.weights is not None
    path = roots.weights / spec.name / (filename or spec.weights.filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path)
    return path


def loaded(spec: EncoderSpec, roots: Roots, monkeypatch: Any) -> Encoder:
    """The encoder by the ordinary way; a changed spec takes the place of the catalogue's of that name."""
    others = tuple(spec if one.name == spec.name else one for one in catalogue.ENCODERS)
    monkeypatch.setattr(catalogue, "ENCODERS", others)
    return loading.load_encoder(spec.name, roots, device="cpu")


def at_depth(spec: EncoderSpec, depth: int, **arguments: Any) -> EncoderSpec:
    """A giant's literal with fewer blocks and nothing else changed."""
    return dataclasses.replace(spec, arguments={**spec.arguments, "depth": depth, **arguments})


def four_kinds() -> dict[str, np.ndarray]:
    """A 28 x 28 grey, a 64 x 64 and a 224 x 224 colour, and a picture 300 wide and 200 high in colour; uint8."""
    rng = np.random.default_rng(7)
    shapes = {"28 grey": (28, 28), "64 colour": (64, 64, 3), "224 colour": (224, 224, 3), "300 x 200": (200, 300, 3)}
    return {kind: rng.integers(0, 256, shape, dtype=np.uint8) for kind, shape in shapes.items()}


def check_pixels(spec: EncoderSpec, transform: Callable[[Image.Image], Any]) -> None:
    """What reaches the network equals, for all four kinds, the upstream transform's [3, H, W] to 1e-6."""
    assert spec.pixels is not None
    for kind, picture in four_kinds().items():
        theirs = np.asarray(transform(Image.fromarray(picture).convert("RGB")), np.float32).transpose(1, 2, 0)
        ours = preprocessing.network_input(picture[None], spec.pixels)[0]
        assert ours.shape == theirs.shape, kind
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=kind)


def network_inputs(spec: EncoderSpec, *, n: int = 2) -> np.ndarray:
    """Smooth random pictures as the encoder takes them, float32 [n, S, S, 3]."""
    rng = np.random.default_rng(3)
    pictures = np.stack(
        [
            np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((64, 64)))
            for _ in range(n)
        ]
    )
    return preprocessing.network_input(pictures, preprocessing.pixels_for(spec, 2))


def relative(ours: np.ndarray, theirs: Any) -> float:
    """The largest difference over the largest value: what has to be at most 1e-5."""
    theirs = np.asarray(theirs, np.float32)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def parameters_of(spec: EncoderSpec) -> int:
    """Numbers in the network that makes the feature, counted without making them (on the meta device)."""
    from retrieval.encoders import steps, with_open_clip, with_timm, with_transformers

    with torch.device("meta"):
        if spec.library == "timm":
            network = with_timm.build(spec)
            network.reset_classifier(0)
        elif spec.library == "open_clip":
            network = with_open_clip.build(spec).visual
        else:
            network = with_transformers.build(spec)
    own = sum(parameter.numel() for parameter in network.parameters())
    return own + sum(tensor.numel() for tensor in steps.tensors_of(spec.steps).values())
