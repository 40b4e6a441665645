"""Encoders of open_clip: the picture side of a model that is loaded whole, so that nothing in its file is left over."""

from typing import Any

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights
from retrieval.encoders.with_torch import TorchEncoder, encoder, fill


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TorchEncoder:
    """Build the model, load every tensor of both its sides strictly, keep the picture side: its projected vector."""
    model = build(spec)
    tensors = fill(model, spec, weights)
    return encoder(spec, weights, device, network=model.visual, forward=model.visual, tensors=tensors)


def build(spec: EncoderSpec) -> Any:
    """The model of the architecture's name, or of the `config` among the arguments, with random weights."""
    import open_clip

    arguments = dict(spec.arguments)
    config = arguments.pop("config", None)
    if config is None:
        return open_clip.create_model(
            spec.architecture, pretrained=None, load_weights=False, pretrained_text=False, **arguments
        )
    kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    return kind(**{name: part for name, part in config.items() if name != "custom_text"}, **arguments)
