"""The encoder of every library: a network on torch. What timm, open_clip and transformers share: filling, and steps."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders import checkpoints, devices, layouts, preprocessing, steps
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable


@dataclass(frozen=True, eq=False)
class TorchEncoder:
    """A network on torch, from pictures to features.

    Attributes:
        spec: What it was built from.
        weights_digest: Of the weights in it.
        device: Where it runs.
        network: In evaluation mode, on the device.
        graph: Normalised values [N, S, S, 3] to raw features [N, dim], float32, both tensors on the device.
        at_once: Calls of `embed` that may run side by side.
        preparers: Threads that prepare pictures for these calls.
    """

    spec: EncoderSpec
    weights_digest: str
    device: str
    network: Any
    graph: Callable[[Any], Any]
    runtime: str = "torch"
    at_once: int = 1
    preparers: int = 1

    def bring(self, pictures: np.ndarray) -> Any:
        """Pictures as seen, uint8 [N, S, S, 3], brought to the device, for `embed`."""
        return bring(self.device, pictures)

    def embed(self, pictures: Any) -> np.ndarray:
        """Pictures as seen, uint8 [N, S, S, 3], or what `bring` made of them, to raw features, float32 [N, dim]."""
        return self._features(values_on(self.device, pictures, self.spec))

    def features(self, inputs: np.ndarray) -> np.ndarray:
        """Network inputs, float32 [N, S, S, 3], to raw features, float32 [N, dim]."""
        import torch

        return self._features(torch.from_numpy(inputs).to(self.device))

    def _features(self, values: Any) -> np.ndarray:
        import torch

        with torch.inference_mode(), arithmetic(self.spec, self.device):
            return self.graph(values).cpu().numpy()


def arithmetic(spec: EncoderSpec, device: str) -> AbstractContextManager[Any]:
    """Within it a network computes in the spec's precision; what needs more (norms, softmax) stays in float32."""
    if spec.precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def bring(device: str, pictures: Any) -> Any:
    """Pictures as seen, uint8 [N, S, S, 3], as a tensor on a device; a GPU does not wait for them."""
    import torch

    if isinstance(pictures, torch.Tensor):  # brought before
        return pictures
    values = torch.from_numpy(np.ascontiguousarray(pictures))
    return values.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else values


def values_on(device: str, pictures: Any, spec: EncoderSpec) -> Any:
    """Pictures as seen, or brought before, as normalised float32 values [N, S, S, 3] on a device."""
    values = bring(device, pictures).float()
    constants = partial(_brought, device=device)
    return preprocessing.normalise(values, preprocessing.arithmetic(preprocessing.normalisation(spec), constants))


def _brought(constant: np.ndarray, *, device: str) -> Any:
    import torch

    return torch.from_numpy(constant).to(device)


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
    """The encoder of a filled network, brought to its device with its steps' tensors.

    Args:
        forward: Pictures [N, 3, S, S] to what the first step takes, by the network.
        tensors: Of the steps.
    """
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    network = network.eval().to(device)

    def graph(values: Any) -> Any:
        return steps.apply(spec.steps, forward(values.permute(0, 3, 1, 2)), moved).float()

    return on(device, network, graph, spec, weights)


def on(device: str, network: Any, graph: Callable[[Any], Any], spec: EncoderSpec, weights: Weights) -> TorchEncoder:
    """The encoder of a network that is on its device, with as many calls side by side as that can take."""
    at_once, preparers = devices.overlap(device)
    return TorchEncoder(spec, weights.digest, device, network, graph, at_once=at_once, preparers=preparers)
