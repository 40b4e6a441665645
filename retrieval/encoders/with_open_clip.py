"""Encoders of open_clip: the picture side of a model that is loaded whole, so that nothing in its file is left over."""

from dataclasses import replace
from typing import Any

from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights
from retrieval.encoders.with_torch import TorchEncoder, encoder, fill

_NO_PICTURES = {"layers": 1, "width": 64, "image_size": 32, "patch_size": 32}
_OF_TOKENS = ("cls", "mean", "cls_and_mean", "map_mean", "attend")


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TorchEncoder:
    """Build the model, load every tensor of both its sides strictly, keep the picture side: its projected vector.

    The text side is freed on return. Layers that could be merged for speed are left as they were trained.

    Raises:
        BadInput: The file is not this model's.
        ValueError: A step of the spec wants tokens, which the picture side does not give.
    """
    wanting = next((step.kind for step in spec.steps if step.kind in _OF_TOKENS), None)
    if wanting:
        raise ValueError(f"{spec.name}: open_clip gives a projected vector, and {wanting!r} needs tokens")
    model = build(spec)
    tensors = fill(model, spec, weights)
    return encoder(spec, weights, device, network=model.visual, forward=model.visual, tensors=tensors)


def build(spec: EncoderSpec) -> Any:
    """The model of the architecture's name, or of the `config` among the arguments, with random weights.

    Other arguments (`quick_gelu`) take the place of what the configuration says. Nothing is fetched: ValueError for a
    text side of transformers, whose configuration only the Hub has.
    """
    import open_clip

    config = _config(spec)
    custom = config.pop("custom_text", False)
    if config["text_cfg"].get("hf_model_name"):
        raise ValueError(f"{spec.name}: its text side would be fetched from the Hub; write the picture side for timm")
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}
    return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)


def build_text(spec: EncoderSpec) -> Any:
    """The same model with a picture side of next to nothing, taken off again: only the text side has weights."""
    import torch

    arguments = {**spec.arguments, "config": {**_config(spec), "vision_cfg": _NO_PICTURES}}
    model = build(replace(spec, arguments=arguments))
    model.visual = torch.nn.Identity()
    return model


def _config(spec: EncoderSpec) -> dict[str, Any]:
    import open_clip

    arguments = dict(spec.arguments)
    config = arguments.pop("config", None) or open_clip.get_model_config(spec.architecture)
    if config is None:
        raise ValueError(f"{spec.name}: open_clip has no model {spec.architecture!r}")
    return {**config, **arguments}
