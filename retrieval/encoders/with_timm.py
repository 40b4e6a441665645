"""Encoders of timm."""

from collections.abc import Callable
from typing import Any

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights
from retrieval.encoders.with_torch import TorchEncoder, encoder, fill


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TorchEncoder:
    """Build the network with the classifier that its file has, load every tensor strictly, take the classifier off."""
    network = build(spec)
    tensors = fill(network, spec, weights)
    network.reset_classifier(0, *_own_pooling(network))
    return encoder(spec, weights, device, network=network, forward=_forward(spec, network), tensors=tensors)


def build(spec: EncoderSpec) -> Any:
    """The network as its checkpoint was saved from, with random weights."""
    import timm

    return timm.create_model(spec.architecture, pretrained=False, **_arguments(spec))


def _arguments(spec: EncoderSpec) -> dict[str, Any]:
    """The literal's arguments, with the layers that it names."""
    import torch
    from timm.layers.mlp import SwiGLUPacked

    layers = {"SwiGLUPacked": SwiGLUPacked, "SiLU": torch.nn.SiLU}
    return {
        name: layers.get(value, value) if isinstance(value, str) else value for name, value in spec.arguments.items()
    }


def _own_pooling(network: Any) -> tuple[str, ...]:
    """The pooling to keep, which some networks would else set to their default as the classifier goes."""
    return (network.global_pool,) if isinstance(getattr(network, "global_pool", None), str) else ()


def _forward(spec: EncoderSpec, network: Any) -> Callable[[Any], Any]:
    """The pooled output for a spec without steps (or with `pooled` as its first), else tokens or the feature map."""
    if not spec.steps or spec.steps[0].kind == "pooled":
        return lambda pictures: network.forward_head(network.forward_features(pictures), pre_logits=True)
    return network.forward_features
