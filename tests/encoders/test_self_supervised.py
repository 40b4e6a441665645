"""DINO, DINOv2 and DINOv3: timm's files and Meta's, the same features as transformers, the same pixels."""

import dataclasses
from typing import Any

import pytest
import torch
from encoders import dinov2_names, upstream

from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

PLAIN = ("dinov2_s", "dinov2_b", "dinov2_l")
REGISTERS = ("dinov2_s_reg", "dinov2_b_reg", "dinov2_l_reg")
DINOV3 = ("dinov3_s", "dinov3_b", "dinov3_l")
STRUCTURE = PIXELS = SECOND = ("dino_vitb16", *PLAIN, *REGISTERS, *DINOV3)

WIDTHS = {"s": (384, 6, 12), "b": (768, 12, 12), "l": (1024, 16, 24)}  # width, heads, depth


def depth_of(name: str) -> int:
    """Two blocks are enough for the order of blocks to count; one of a large network."""
    return 1 if "_l" in name else 2


def sized(name: str, **config: Any) -> dict[str, Any]:
    """transformers' configuration of a network of this size."""
    width, heads, _ = WIDTHS[name.split("_")[1]]
    return {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": depth_of(name), **config}


def ours(spec: EncoderSpec, tensors: dict, roots: Roots, monkeypatch: pytest.MonkeyPatch, *, filename: str = "") -> Any:
    shallow = upstream.at_depth(spec, depth_of(spec.name))
    path = upstream.put(tensors, shallow, roots, filename=filename)
    if filename:  # Meta's own file, by the name under which the encoder is looked for
        assert spec.weights is not None and filename in spec.weights.files
        shallow = dataclasses.replace(shallow, weights=dataclasses.replace(spec.weights, filename=path.name))
    return upstream.loaded(shallow, roots, monkeypatch)


@pytest.mark.parametrize("name", STRUCTURE)
def test_parameters_are_as_stated(name: str):
    spec = find_encoder(name)
    assert upstream.parameters_of(spec) == spec.parameters


@pytest.mark.parametrize("name", STRUCTURE)
def test_timms_own_checkpoint_fits_at_full_depth(name: str):
    """Names and shapes of timm's network of the tag from which the file comes, at the size that timm gives it."""
    import timm

    spec = find_encoder(name)
    assert spec.weights is not None
    with torch.device("meta"):
        network: Any = timm.create_model(spec.weights.repo.removeprefix("timm/"), pretrained=False)
    shapes = dinov2_names.shapes_of(network.state_dict())
    depth = 12 if name == "dino_vitb16" else WIDTHS[name.split("_")[1]][2]
    assert sum(key.endswith("norm1.weight") for key in shapes) == depth
    if "dinov2" in name:
        assert shapes["pos_embed"][1] == (1369 if "reg" in name else 1370)
    dinov2_names.fits_whole(spec, shapes)


# --- DINO


def test_dino_gives_what_transformers_gives(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    from transformers import ViTConfig, ViTModel

    spec = find_encoder("dino_vitb16")
    second: Any = ViTModel(ViTConfig(num_hidden_layers=2, layer_norm_eps=1e-6), add_pooling_layer=False)
    second.load_state_dict(upstream.random_tensors(dinov2_names.shapes_of(second.state_dict())), strict=True)
    encoder = ours(spec, from_transformers_vit(second.state_dict()), weighted, monkeypatch)
    inputs = upstream.network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, 768)
    assert upstream.relative(feature, dinov2_names.cls(second.eval(), inputs)) <= 1e-5


def from_transformers_vit(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers 5's names of a ViT as DINO's authors (and timm) have them."""
    words = {
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
        "embeddings.": "",
        "layernorm_before.": "norm1.",
        "layernorm_after.": "norm2.",
        "layernorm.": "norm.",
        "attention.q_proj.": "attn.qkv.",
        "attention.o_proj.": "attn.proj.",
        "layers.": "blocks.",
    }
    own = {}
    for name, tensor in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        for word, other in words.items():
            name = name.replace(word, other)
        own[name] = tensor
    return own


def test_a_dino_checkpoint_that_is_not_whole_is_refused(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = find_encoder("dino_vitb16")
    import timm

    network: Any = timm.create_model("vit_base_patch16_224.dino", pretrained=False, depth=2)
    whole = dict(network.state_dict())
    with pytest.raises(BadInput, match=r"1 tensors of the network are not in it, such as cls_token"):
        ours(spec, {name: one for name, one in whole.items() if name != "cls_token"}, weighted, monkeypatch)
    with pytest.raises(BadInput, match=r"2 of its tensors belong nowhere, such as head"):
        heads = {"head.weight": torch.zeros(2, 768), "head.bias": torch.zeros(2)}
        ours(spec, {**whole, **heads}, weighted, monkeypatch)


# --- DINOv2


def meta_file(name: str, second: Any) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors in Meta's names, and Meta's name for the file."""
    size, registers = name.split("_")[1], "reg4_" if "reg" in name else ""
    return dinov2_names.meta(second.state_dict()), f"dinov2_vit{size}14_{registers}pretrain.pth"


def timm_file(name: str, second: Any) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors as timm wrote them for the Hub: by its own conversion of Meta's file, at 518 pixels."""
    spec = find_encoder(name)
    tensors, _ = meta_file(name, second)
    return dinov2_names.timms(tensors, spec.architecture, depth=depth_of(name)), ""


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("kind", [timm_file, meta_file])
def test_dinov2_gives_what_transformers_gives(kind: Any, name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """timm's dialect of the grid is antialiased, so transformers is given the grid that timm's own function makes."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    spec = find_encoder(name)
    second = dinov2_names.network(patch_size=14, image_size=518, **sized(name))
    tensors, filename = kind(name, second)
    encoder = ours(spec, tensors, weighted, monkeypatch, filename=filename)
    inputs = upstream.network_inputs(spec)
    with torch.no_grad():
        grid = resample_abs_pos_embed(second.embeddings.position_embeddings, [16, 16])
        second.embeddings.position_embeddings = torch.nn.Parameter(grid)
    feature = encoder.features(inputs)
    assert feature.shape == (2, spec.dim)
    assert upstream.relative(feature, dinov2_names.cls(second, inputs)) <= 1e-5


@pytest.mark.parametrize("name", REGISTERS)
@pytest.mark.parametrize("kind", [timm_file, meta_file])
def test_dinov2_with_registers_gives_what_transformers_gives(
    kind: Any, name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    """Here transformers resamples the grid by itself, antialiased as timm does it."""
    spec = find_encoder(name)
    second = dinov2_names.network(registers=True, patch_size=14, image_size=518, **sized(name))
    tensors, filename = kind(name, second)
    encoder = ours(spec, tensors, weighted, monkeypatch, filename=filename)
    inputs = upstream.network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, spec.dim)
    assert upstream.relative(feature, dinov2_names.cls(second, inputs)) <= 1e-5


# --- DINOv3


@pytest.mark.parametrize("name", DINOV3)
def test_dinov3_gives_what_transformers_gives(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """The biases of queries and values are zero, as in the published files; timm's page says so and leaves them out."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    spec = find_encoder(name)
    config = sized(name, intermediate_size=4 * WIDTHS[name[-1]][0], num_register_tokens=4, image_size=256)
    second: Any = DINOv3ViTModel(DINOv3ViTConfig(**config))
    tensors = upstream.random_tensors(dinov2_names.shapes_of(second.state_dict()))
    biases = {one: torch.zeros_like(tensors[one]) for one in tensors if one.endswith(("q_proj.bias", "v_proj.bias"))}
    second.load_state_dict({**tensors, **biases}, strict=True)
    encoder = ours(spec, from_transformers_dinov3(tensors), weighted, monkeypatch)
    inputs = upstream.network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, spec.dim)
    assert upstream.relative(feature, dinov2_names.cls(second.eval(), inputs)) <= 1e-5


def from_transformers_dinov3(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers 5's names of DINOv3 as timm has them, without the biases of queries, keys and values."""
    words = {
        "embeddings.register_tokens": "reg_token",
        "embeddings.patch_embeddings.": "patch_embed.proj.",
        "embeddings.": "",
        "model.layer.": "blocks.",
        "attention.q_proj.": "attn.qkv.",
        "attention.o_proj.": "attn.proj.",
        "layer_scale1.lambda1": "gamma_1",
        "layer_scale2.lambda1": "gamma_2",
        "mlp.up_proj.": "mlp.fc1.",
        "mlp.down_proj.": "mlp.fc2.",
    }
    own = {}
    for name, tensor in tensors.items():
        if ".k_proj." in name or ".v_proj." in name or name.endswith(("q_proj.bias", "mask_token")):
            continue
        if name.endswith("q_proj.weight"):
            tensor = torch.cat([tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        for word, other in words.items():
            name = name.replace(word, other)
        own[name] = tensor
    return own


# --- pixels


@pytest.mark.parametrize("name", ["dino_vitb16", *PLAIN, *REGISTERS])
def test_pixels_are_those_of_metas_evaluation(name: str):
    """eval_knn.py of DINO and make_classification_eval_transform of DINOv2, by timm's transform set that way."""
    from timm.data.transforms_factory import create_transform

    transform: Any = create_transform(
        input_size=(3, 224, 224),
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        crop_pct=224 / 256,
    )
    assert [type(one).__name__ for one in transform.transforms[:2]] == ["Resize", "CenterCrop"]
    assert transform.transforms[0].size == 256
    upstream.check_pixels(find_encoder(name), transform)


@pytest.mark.parametrize("name", DINOV3)
def test_dinov3s_pixels_are_timms_own(name: str):
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    spec = find_encoder(name)
    assert spec.weights is not None
    with torch.device("meta"):
        network = timm.create_model(spec.weights.repo.removeprefix("timm/"), pretrained=False)
    transform: Any = create_transform(**resolve_model_data_config(network))
    upstream.check_pixels(spec, transform)
