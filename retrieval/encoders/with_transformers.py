"""Encoders of transformers, built from a literal configuration. No code of a repository is ever run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrieval.encoders import checkpoints, layouts
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.weights import Weights, unreadable
from retrieval.encoders.with_torch import TorchEncoder, encoder


def load(spec: EncoderSpec, weights: Weights, *, device: str) -> TorchEncoder:
    """Build the network from the spec's arguments and load every tensor strictly.

    The library itself brings tensors of its earlier versions under their present names; what it reports as missing,
    left over or misfitting is refused.
    """
    network = _filled(build(spec), spec, Path(str(weights.path)))
    return encoder(spec, weights, device, network=network, forward=_forward(spec, network), tensors={})


def build(spec: EncoderSpec) -> Any:
    """The network of the architecture's class name, configured by the arguments, with random weights."""
    import transformers

    kind = getattr(transformers, spec.architecture)
    return kind(kind.config_class(**spec.arguments))


def _filled(network: Any, spec: EncoderSpec, path: Path) -> Any:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tensors = layouts.named(checkpoints.read(path, spec.layout), spec.layout)
        filled, report = type(network).from_pretrained(
            None, config=network.config, state_dict=tensors, dtype=torch.float32, output_loading_info=True
        )
    except (RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error
    said = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if said:
        raise unreadable(path, ValueError("; ".join(f"{kind}: {names[0]} and so on" for kind, names in said.items())))
    return filled


def _forward(spec: EncoderSpec, network: Any) -> Callable[[Any], Any]:
    """The library's own pooled (and projected) vector if the first step is `pooled`, else all tokens."""
    if spec.steps[0].kind != "pooled":
        return lambda pictures: network(pixel_values=pictures).last_hidden_state

    def pooled(pictures: Any) -> Any:
        output = network(pixel_values=pictures)
        projected = getattr(output, "image_embeds", None)
        return output.pooler_output if projected is None else projected

    return pooled
