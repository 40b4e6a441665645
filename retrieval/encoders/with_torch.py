"""What the encoders of timm, open_clip and transformers share: a torch network, strictly filled, and its steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders import checkpoints, layouts, steps
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable


@dataclass(frozen=True, eq=False)
class TorchEncoder:
    """A torch network and the steps from its output to the feature.

    Attributes:
        spec: What it was built from.
        weights_digest: Of the weights in it.
        device: Where it runs.
        network: In evaluation mode, on the device.
        forward: Pictures [N, 3, S, S] to what the first step takes, by the network.
        tensors: Of the steps.
    """

    spec: EncoderSpec
    weights_digest: str
    device: str
    network: Any
    forward: Callable[[Any], Any]
    tensors: Mapping[str, Any] = field(default_factory=dict)

    def embed(self, inputs: np.ndarray) -> np.ndarray:
        """float32 [N, S, S, 3] to raw features, float32 [N, dim]."""
        import torch

        pictures = torch.from_numpy(inputs).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return steps.apply(self.spec.steps, self.forward(pictures), self.tensors).float().cpu().numpy()


def fill(network: Any, spec: EncoderSpec, weights: Weights) -> dict[str, Any]:
    """Load every tensor of the weights file into a network; those of the steps are returned, by name.

    BadInput unless each tensor finds its place and each place its tensor: what is dropped or may be absent stands in
    the spec's layout.
    """
    path = Path(str(weights.path))
    own = network.state_dict()
    try:
        tensors = layouts.fitted(
            checkpoints.read(path, spec.layout), spec.layout, {**own, **steps.tensors_of(spec.steps)}
        )
        network.load_state_dict({name: tensors.get(name, own[name]) for name in own}, strict=True)
    except (RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error
    # copies: what was read is mapped from the file, and would change with it
    return {name: tensors[name].float().clone() for name in steps.tensors_of(spec.steps)}


def encoder(
    spec: EncoderSpec,
    weights: Weights,
    device: str,
    *,
    network: Any,
    forward: Callable[[Any], Any],
    tensors: Mapping[str, Any],
) -> TorchEncoder:
    """The encoder of a filled network, brought to its device with its steps' tensors."""
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    network = network.eval().to(device)
    return TorchEncoder(spec, weights.digest, device, network=network, forward=forward, tensors=moved)
