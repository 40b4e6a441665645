"""Small extractors of the tests' own: literals like those of the catalogue, and weights files for them."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # read by Keras when it is first imported

import numpy as np
import pytest

from retrieval.encoders import catalogue
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource
from retrieval.encoders.weights import tensors_digest
from retrieval.roots import Roots


@pytest.fixture
def weighted(tmp_path: Path, empty_roots: Roots) -> Roots:
    """Roots with an empty folder for weights."""
    return dataclasses.replace(empty_roots, weights=tmp_path / "weights")


@pytest.fixture(scope="session")
def tiny_tensors() -> dict:
    """Random but fixed tensors of a network of 0.5 million weights."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("test_resnet")
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="session")
def tiny(tiny_tensors: dict) -> EncoderSpec:
    """A timm network that the catalogue does not know: one literal, no code."""
    half = (0.5, 0.5, 0.5)
    return EncoderSpec(
        name="tiny",
        title="Tiny (random)",
        about="A small network with random weights, for tests.",
        library="timm",
        architecture="test_resnet",
        dim=96,
        pooling="global average of the last activation",
        pixels=Pixels(size=64, mean=half, std=half),
        slices=Pixels(mean=half, std=half),
        weights=WeightsSource(
            filename="tiny.safetensors",
            digest=tensors_digest({name: tensor.numpy() for name, tensor in tiny_tensors.items()}),
        ),
        licence="CC0-1.0",
        training="none",
    )


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[[EncoderSpec], None]:
    """Put a literal into the catalogue for one test."""

    def put(spec: EncoderSpec) -> None:
        monkeypatch.setattr(catalogue, "ENCODERS", (*catalogue.ENCODERS, spec))
        assert find_encoder(spec.name) is spec

    return put


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """Network inputs, float32 [8, 64, 64, 3]."""
    return np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype(np.float32)
