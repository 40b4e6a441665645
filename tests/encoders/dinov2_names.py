"""One set of random DINOv2 tensors under the names that transformers 5, transformers 4 and Meta give them.

Written by hand from transformers' conversion_mapping and from Meta's model code; the layouts under test are not used.
"""

from collections.abc import Mapping
from typing import Any

import torch
from encoders import upstream

from retrieval.encoders import layouts, steps, with_timm
from retrieval.encoders.specs import EncoderSpec

Tensors = dict[str, torch.Tensor]

# transformers 5's words, and those of 4.
_OLDER = {
    "attention.q_proj.": "attention.attention.query.",
    "attention.k_proj.": "attention.attention.key.",
    "attention.v_proj.": "attention.attention.value.",
    "attention.o_proj.": "attention.output.dense.",
    "mlp.down_proj.": "mlp.weights_out.",
}
_META = {
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "embeddings.": "",
    "encoder.layer.": "blocks.",
    "attention.o_proj.": "attn.proj.",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.weights_in.": "mlp.w12.",
    "mlp.down_proj.": "mlp.w3.",
    "layernorm.": "norm.",
}


def network(*, registers: bool = False, **config: Any) -> Any:
    """transformers' own network with weights that were drawn by `upstream.random_tensors`."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    if registers:
        made: Any = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(num_register_tokens=4, **config))
    else:
        made = Dinov2Model(Dinov2Config(**config))
    shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    made.load_state_dict(upstream.random_tensors(shapes), strict=True)
    return made.eval()


def older(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """transformers 5's names as transformers 4's; gate and up side by side in `weights_in`."""
    return {_replaced(name, _OLDER): tensor for name, tensor in _gated(tensors).items()}


def meta(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """transformers 5's names as Meta's; queries, keys and values side by side in `qkv`."""
    own: Tensors = {}
    gated = _gated(tensors)
    for name, tensor in gated.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [gated[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, tensor = name.replace("attention.q_proj.", "attn.qkv."), torch.cat(parts)
        own[_replaced(name, _META)] = tensor
    return own


def timms(tensors: Mapping[str, torch.Tensor], architecture: str, **arguments: Any) -> Tensors:
    """Meta's names as timm writes them to its own files: by timm's own conversion, at timm's own size."""
    import timm
    from timm.models.vision_transformer import checkpoint_filter_fn

    model: Any = timm.create_model(architecture, num_classes=0, **arguments)
    return checkpoint_filter_fn(dict(tensors), model)


def cls(network: Any, inputs: Any) -> torch.Tensor:
    """transformers' class token after the last norm, for pictures as `upstream.network_inputs` makes them."""
    return tokens(network, inputs)[:, 0]


def tokens(network: Any, inputs: Any) -> torch.Tensor:
    """All of transformers' tokens after the last norm."""
    with torch.inference_mode():
        return network(pixel_values=torch.from_numpy(inputs).permute(0, 3, 1, 2)).last_hidden_state


def fits_whole(spec: EncoderSpec, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Every tensor of an upstream list finds its place at full depth; nothing is made (on the meta device)."""
    with torch.device("meta"):
        places = {**with_timm.build(spec).state_dict(), **steps.tensors_of(spec.steps)}
        tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        layouts.fitted(tensors, spec.layout, places)


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def on_meta(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Tensors of these shapes that hold nothing, to be renamed."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _gated(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    own = dict(tensors)
    for name in tensors:
        if "mlp.gate_proj." in name:
            gate, up = own.pop(name), own.pop(name.replace("gate_proj", "up_proj"))
            own[name.replace("gate_proj", "weights_in")] = torch.cat([gate, up])
    return own


def _replaced(name: str, words: Mapping[str, str]) -> str:
    for word, other in words.items():
        name = name.replace(word, other)
    return name
