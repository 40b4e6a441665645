"""Encoders of keras.applications, on Keras 3's torch backend."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable


@dataclass(frozen=True, eq=False)
class KerasEncoder:
    """A keras.applications network without its top, pooled."""

    spec: EncoderSpec
    weights_digest: str
    network: Any
    device: str

    def embed(self, inputs: np.ndarray) -> np.ndarray:
        """float32 [N, S, S, 3] to raw features, float32 [N, dim]."""
        import torch

        with torch.inference_mode():
            features = self.network(torch.from_numpy(inputs).to(self.device), training=False)
        return features.cpu().numpy()


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a Keras weights file (HDF5), by their path in it; BadInput where it is none."""
    import h5py

    tensors: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path) as file:
            file.visititems(lambda name, node: tensors.update({name: node[()]}) if hasattr(node, "dtype") else None)
    except OSError as error:
        raise unreadable(path, error) from error
    return tensors


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> KerasEncoder:
    """Build the network and load its weights; keras.applications itself refuses weights that do not fit."""
    os.environ["KERAS_BACKEND"] = "torch"  # read by Keras when it is first imported
    import keras
    import torch

    if keras.backend.backend() != "torch":
        raise RuntimeError("Keras was imported with another backend before; this product runs it on torch")
    build = getattr(keras.applications, spec.architecture)
    with torch.device(device), keras.device("cpu" if device == "cpu" else device):
        network = build(include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3))
        try:
            network.load_weights(weights.path)
        except (OSError, ValueError, KeyError) as error:
            raise unreadable(Path(str(weights.path)), error) from error
    return KerasEncoder(spec=spec, weights_digest=weights.digest, network=network, device=device)
