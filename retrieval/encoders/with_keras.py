"""Encoders of keras.applications, on Keras 3's torch backend."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders import with_torch
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a Keras weights file (HDF5), by their path in it; BadInput where it is none."""
    import h5py

    tensors: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path) as file:
            file.visititems(lambda name, node: tensors.update({name: node[()]}) if hasattr(node, "dtype") else None)
        other = next((name for name, one in tensors.items() if not _is_numbers(one)), "")
        if other:
            raise ValueError(f"{other} holds something other than numbers")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # h5py's, for whatever is damaged
        raise unreadable(path, error) from error
    return tensors


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> with_torch.TorchEncoder:
    """Build the network and load its weights; BadInput where they do not fit."""
    os.environ["KERAS_BACKEND"] = "torch"  # read by Keras when it is first imported
    import keras
    import torch

    if keras.backend.backend() != "torch":
        raise RuntimeError("Keras was imported with another backend before; this product runs it on torch")
    keras.config.set_floatx("float32")  # whatever the user's ~/.keras says
    keras.config.set_image_data_format("channels_last")
    build = getattr(keras.applications, spec.architecture)
    with torch.device(device), keras.device(device):
        network = build(include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3))
        _fill(network, Path(str(weights.path)))
    return with_torch.on(device, network, partial(_features, network, device), spec, weights)


def _features(network: Any, device: str, values: Any) -> Any:
    """Normalised values [N, S, S, 3] to raw features [N, dim], both tensors on the device."""
    import keras

    # Keras moves what it is given to the device of the moment, which need not be the network's.
    with keras.device(device):
        return network(values, training=False).float()


def _fill(network: Any, path: Path) -> None:
    """Load every tensor of a file into a network; BadInput unless each finds its place and each place its tensor.

    Keras goes by the order in which the file lists its tensors, which their digest does not hold: it refuses another
    count or shape. Here a tensor is refused too that bears the name of another place, or of another layer.
    """
    own = [f"{layer.name}/{variable.name}" for layer in network.layers for variable in _variables(layer)]
    try:
        network.load_weights(path)
        pairs = list(zip(_listed(path), own, strict=True))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreadable(path, error) from error
    layers = {layer.name for layer in network.layers}
    misplaced = [
        name for name, place in pairs if name != place and (name in own or _layer(name) in layers - {_layer(place)})
    ]
    if misplaced:
        raise unreadable(path, ValueError(f"it lists {misplaced[0]} in another tensor's place"))


def _is_numbers(content: Any) -> bool:
    return isinstance(content, np.ndarray | np.generic) and content.dtype.kind in "fiu"


def _layer(name: str) -> str:
    return name.split("/")[0]


def _variables(layer: Any) -> list[Any]:
    return layer.trainable_weights + layer.non_trainable_weights  # the order of Keras' HDF5 files


def _listed(path: Path) -> list[str]:
    """The tensors of a file as `layer/variable`, in the order in which they are loaded."""
    import h5py

    with h5py.File(path) as file:
        group: Any = file if "layer_names" in file.attrs else file["model_weights"]
        layers = [_text(name) for name in group.attrs["layer_names"]]
        listed = [(layer, _text(name)) for layer in layers for name in group[layer].attrs["weight_names"]]
    return [f"{layer.replace('/', '_')}/{name.split('/')[-1].split(':')[0]}" for layer, name in listed]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
