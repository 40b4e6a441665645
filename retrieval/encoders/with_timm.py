"""Encoders of timm."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable


@dataclass(frozen=True, eq=False)
class TimmEncoder:
    """A timm network without its classifier, pooled."""

    spec: EncoderSpec
    weights_digest: str
    network: Any
    device: str

    def embed(self, inputs: np.ndarray) -> np.ndarray:
        """float32 [N, S, S, 3] to raw features, float32 [N, dim]."""
        import torch

        pictures = torch.from_numpy(inputs).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return self.network(pictures).float().cpu().numpy()


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint, by name; BadInput where it is none. Nothing in it is executed."""
    return {name: tensor.numpy() for name, tensor in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise unreadable(path, error) from error


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TimmEncoder:
    """Build the network with its classifier, load every tensor strictly, then take the classifier off."""
    import timm

    network: Any = timm.create_model(spec.architecture, pretrained=False)
    path = Path(str(weights.path))
    tensors = _read(path)
    if spec.options.get("keys") == "in order":
        tensors = _renamed_in_order(tensors, network.state_dict(), path)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise unreadable(path, error) from error
    network.reset_classifier(0)
    return TimmEncoder(spec=spec, weights_digest=weights.digest, network=network.eval().to(device), device=device)


def _renamed_in_order(tensors: dict[str, Any], expected: dict[str, Any], path: Path) -> dict[str, Any]:
    """The tensors under the network's own names, one by one in order: for a checkpoint of another implementation."""
    if [tuple(tensor.shape) for tensor in tensors.values()] != [tuple(tensor.shape) for tensor in expected.values()]:
        raise unreadable(path, ValueError("its tensors do not fit the network's, shape by shape"))
    return dict(zip(expected, tensors.values(), strict=True))
