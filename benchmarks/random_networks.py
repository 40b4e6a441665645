"""The catalogue's networks with random weights: as fast as with their own, which may be a download and a login away."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from retrieval.encoders import devices, steps, with_keras, with_open_clip, with_timm, with_transformers
from retrieval.encoders.specs import Encoder, EncoderSpec
from retrieval.encoders.weights import Weights

WEIGHTS = Weights(path=Path("none"), digest="random", verified=False)


def network(spec: EncoderSpec, device: str) -> Encoder:
    """The Encoder that the product would load on a device, but for what its tensors hold."""
    device = devices.ready(device)
    if spec.library == "keras":
        with patch.object(with_keras, "_fill", lambda network, path: None):
            return with_keras.load(spec, WEIGHTS, device=device)
    if spec.library == "transformers":
        with patch.object(with_transformers, "_filled", lambda spec, path: (with_transformers.build(spec), _own(spec))):
            return with_transformers.load(spec, WEIGHTS, device=device)
    loader: Any = with_timm if spec.library == "timm" else with_open_clip
    with patch.object(loader, "fill", lambda network, spec, weights: _own(spec)):
        return loader.load(spec, WEIGHTS, device=device)


def calm(network: Any, side: tuple[int, int]) -> None:
    """Let the norms of a Keras network know what they get of pictures of a side, as trained ones do, by one batch.

    With norms at random EfficientNetV2-M, 57 blocks deep, makes of a change of a millionth one of three quarters, so
    that its graph is refused. Pictures of less than 64 a side leave it a single pixel: they are told by those of 64.
    """
    import keras
    import torch

    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one batch tells all
    noise = np.random.default_rng(0).integers(0, 256, (16, max(64, side[0]), max(64, side[1]), 3)).astype(np.float32)
    with torch.no_grad():
        network(torch.from_numpy(noise).to(network.weights[0].value.device), training=True)


def _own(spec: EncoderSpec) -> dict[str, Any]:
    """Tensors of the steps from the network's output to the feature."""
    import torch

    return {name: torch.rand(place.shape) for name, place in steps.tensors_of(spec.steps).items()}
