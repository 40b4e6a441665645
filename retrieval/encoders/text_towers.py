"""Text sides, loaded: words -> vectors in the space that they share with the encoder's pictures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from retrieval.encoders import steps, with_open_clip, with_transformers
from retrieval.encoders.specs import EncoderSpec, TextTower
from retrieval.encoders.tokenizing import Tokens, Vocabulary
from retrieval.encoders.weights import Weights
from retrieval.encoders.with_torch import fill
from retrieval.errors import Unavailable

JOINT = "joint"  # the variant of an encoder whose feature of pictures is projected into the space of texts


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The text side of an encoder, in float32.

    Attributes:
        spec: Of the encoder.
        weights_digest: Of the weights in it.
        device: Where it runs.
        vocabulary: Texts to numbers.
        network: In evaluation mode, on the device.
        forward: Numbers [N, T] and which of them are padding to what the first step takes, by the network.
        tensors: Of the steps.
    """

    spec: EncoderSpec
    weights_digest: str
    device: str
    vocabulary: Vocabulary
    network: Any
    forward: Callable[[Any, Any], Any]
    tensors: Mapping[str, Any] = field(default_factory=dict)

    def vectors(self, tokens: Tokens) -> np.ndarray:
        """Texts as numbers to vectors in the joint space, float32 [N, D], each of length 1."""
        import torch

        tower = tower_of(self.spec)
        with torch.inference_mode():
            ids, hidden = (torch.from_numpy(array).to(self.device) for array in (tokens.ids, tokens.hidden))
            return steps.apply(tower.steps, self.forward(ids, hidden), self.tensors).float().cpu().numpy()


def tower_of(spec: EncoderSpec) -> TextTower:
    """The text side of an encoder; ValueError where it has none: ask `without_words` first."""
    if spec.text is None:
        raise ValueError(f"{spec.name} has no text side")
    return spec.text


def without_words(spec: EncoderSpec, others: Iterable[EncoderSpec]) -> Unavailable | None:
    """Why words cannot be asked with; None where they can. `others`: among which to choose instead."""
    if spec.text is not None:
        return None
    names = ", ".join(one.name for one in others if one.text is not None)
    return Unavailable(
        f"{spec.title} cannot be asked with words: it has no text side.", remedy=f"Extractors that have one: {names}."
    )


def joint(spec: EncoderSpec) -> tuple[EncoderSpec, str]:
    """The spec whose feature of pictures is in the space of its texts, and the variant's name; often the spec itself.

    A variant has its own recipe, so its own fingerprint, and its own place beside the encoder's vectors.
    """
    other = tower_of(spec).joint
    if other is None:
        return spec, ""
    return replace(spec, pooling=other.pooling, layout=other.layout, steps=other.steps), JOINT


def side(spec: EncoderSpec) -> EncoderSpec:
    """The text side as a spec of its own, for what builds and fills networks; always in float32."""
    tower = tower_of(spec)
    return replace(
        spec,
        library=tower.library,
        architecture=tower.architecture or spec.architecture,
        arguments=tower.arguments or spec.arguments,
        layout=tower.layout,
        steps=tower.steps,
        precision="fp32",
    )


def load(spec: EncoderSpec, weights: Weights, vocabulary: Vocabulary, *, device: str) -> TextEncoder:
    """Build the text side and load every tensor of it strictly; what belongs to the pictures is left in the file.

    BadInput where the file is not this encoder's.
    """
    text, tower = side(spec), tower_of(spec)
    if tower.library == "open_clip":
        network = with_open_clip.build_text(text)
        tensors, forward = fill(network, text, weights), _by_open_clip
    else:
        network, tensors = with_transformers.filled(text, weights.path)  # type: ignore[arg-type]
        forward = _by_transformers
    network = network.eval().to(device)
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    return TextEncoder(spec, weights.digest, device, vocabulary, network, partial(forward, network, tower), moved)


def _by_open_clip(network: Any, tower: TextTower, ids: Any, hidden: Any) -> Any:
    return network.encode_text(ids)


def _by_transformers(network: Any, tower: TextTower, ids: Any, hidden: Any) -> Any:
    """The library's own pooled (and projected) vector where that is the first step, else hidden states [N, T, D]."""
    import torch

    seen = {"attention_mask": (~hidden).long()} if tower.masked else {}
    output = network(input_ids=ids, output_hidden_states=bool(tower.layers), **seen)
    if tower.steps[0].kind == "pooled":
        projected = getattr(output, "text_embeds", None)
        return output.pooler_output if projected is None else projected
    if not tower.layers:
        return output.last_hidden_state
    return torch.stack([output.hidden_states[number] for number in tower.layers]).mean(dim=0)
