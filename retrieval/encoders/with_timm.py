"""Encoders of timm."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable

_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, pickle.UnpicklingError)


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
    import torch

    # numpy has no bfloat16; float32 holds all of its values
    wide = {torch.bfloat16: torch.float32}
    return {name: tensor.to(wide.get(tensor.dtype, tensor.dtype)).numpy() for name, tensor in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    """Tensors by name, of a `.safetensors` file or of anything that torch.save writes."""
    import safetensors
    import safetensors.torch
    import torch

    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise unreadable(path, error) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise unreadable(path, ValueError("it holds something other than tensors by name"))
    return dict(tensors)


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TimmEncoder:
    """Build the network with its classifier, load every tensor strictly, then take the classifier off."""
    import timm

    network: Any = timm.create_model(spec.architecture, pretrained=False)
    _fill(network, spec, Path(str(weights.path)))
    network.reset_classifier(0)
    return TimmEncoder(spec=spec, weights_digest=weights.digest, network=network.eval().to(device), device=device)


def _fill(network: Any, spec: EncoderSpec, path: Path) -> None:
    """Load every tensor of a file into a network; BadInput unless each finds its place and each place its tensor."""
    tensors = _read(path)
    if "order" in spec.options:
        tensors = _renamed(tensors, network.state_dict(), spec.options["order"], path)
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise unreadable(path, error) from error


def _renamed(tensors: dict[str, Any], expected: dict[str, Any], order: tuple[str, ...], path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint of another implementation under the network's own names.

    Both name the same parts in the same order, once the checkpoint is sorted: by `order` for the words of a dotted
    name, by value for its numbers. The order in the file says nothing, since the digest does not hold it.
    """
    try:
        names = sorted(tensors, key=lambda name: [int(w) if w.isdigit() else order.index(w) for w in name.split(".")])
    except ValueError as error:
        raise unreadable(path, error) from error
    if [tensors[name].shape for name in names] != [tensor.shape for tensor in expected.values()]:
        raise unreadable(path, ValueError("its tensors do not fit the network's, shape by shape"))
    return {own: tensors[name] for own, name in zip(expected, names, strict=True)}
