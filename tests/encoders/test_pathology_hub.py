"""Phikon-v2, Midnight and Hibou: checkpoints in every naming, the same features as transformers, the same pixels."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from encoders import dinov2_names, upstream

from retrieval.encoders import configs
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

STRUCTURE = PIXELS = SECOND = ("phikon_v2", "midnight_12k", "hibou_b", "hibou_l")

each = pytest.mark.parametrize("name", STRUCTURE)

# As in the config files of the four repositories; Midnight's stored size is either of two.
CONFIGS = {
    "phikon_v2": {"hidden_size": 1024, "num_attention_heads": 16, "patch_size": 16, "image_size": 224},
    "midnight_12k": {"hidden_size": 1536, "num_attention_heads": 24, "image_size": 518, "use_swiglu_ffn": True},
    "hibou_b": {"hidden_size": 768, "num_attention_heads": 12, "image_size": 224, "use_swiglu_ffn": True},
    "hibou_l": {"hidden_size": 1024, "num_attention_heads": 16, "image_size": 224, "use_swiglu_ffn": True},
}
DEPTHS = {"phikon_v2": 24, "midnight_12k": 40, "hibou_b": 12, "hibou_l": 24}


def theirs(name: str, *, depth: int, **config: Any) -> Any:
    config = {"patch_size": 14, **CONFIGS[name], "num_hidden_layers": depth, **config}
    return dinov2_names.network(registers=name.startswith("hibou"), **config)


def ours(spec: EncoderSpec, tensors: dict, roots: Roots, monkeypatch: pytest.MonkeyPatch, *, depth: int) -> Any:
    shallow = upstream.at_depth(spec, depth)
    upstream.put(tensors, shallow, roots)
    return upstream.loaded(shallow, roots, monkeypatch)


def by_hand(name: str, tokens: torch.Tensor) -> torch.Tensor:
    """The default feature of transformers' tokens: the class token, and for Midnight the patches' mean after it."""
    if name != "midnight_12k":
        return tokens[:, 0]
    return torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=-1)


@each
def test_it_gives_what_transformers_gives(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, depth = find_encoder(name), 1 if name == "midnight_12k" else 2
    network = theirs(name, depth=depth)
    encoder = ours(spec, dinov2_names.older(network.state_dict()), weighted, monkeypatch, depth=depth)
    inputs = upstream.network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, spec.dim)
    assert upstream.relative(feature, by_hand(name, dinov2_names.tokens(network, inputs))) <= 1e-5
    assert np.abs(feature[0] - feature[1]).max() > 0.01


@each
def test_parameters_are_as_stated(name: str):
    spec = find_encoder(name)
    assert upstream.parameters_of(spec) == spec.parameters


LISTS = {"phikon_v2": "keys_tf5_Dinov2", "midnight_12k": "keys_tf5_Dinov2G"}


@each
@pytest.mark.parametrize("naming", ["transformers 5", "transformers 4", "meta", "meta in chunks"])
def test_the_whole_checkpoint_fits_in_every_naming(name: str, naming: str):
    spec = find_encoder(name)
    if name in LISTS:
        tensors = dinov2_names.on_meta(upstream.keys_of(LISTS[name]))
    else:
        with torch.device("meta"):
            from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

            config = {"patch_size": 14, "num_register_tokens": 4, "num_hidden_layers": DEPTHS[name], **CONFIGS[name]}
            made: Any = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**config))
        tensors = dict(made.state_dict())
    assert sum(key.endswith("norm1.weight") for key in tensors) == DEPTHS[name]
    if naming == "transformers 4":
        tensors = dinov2_names.older(tensors)
        assert "encoder.layer.0.attention.attention.query.weight" in tensors
    elif naming.startswith("meta"):
        tensors = dinov2_names.meta(tensors)
        assert "blocks.0.attn.qkv.weight" in tensors and "mask_token" in tensors
    if naming == "meta in chunks":
        chunks = {f"blocks.{n}.": f"blocks.{n // 10}.{n}." for n in range(DEPTHS[name])}
        tensors = {
            next((key.replace(one, chunk) for one, chunk in chunks.items() if key.startswith(one)), key): tensor
            for key, tensor in tensors.items()
        }
    dinov2_names.fits_whole(spec, dinov2_names.shapes_of(tensors))


def test_hibou_is_read_in_the_authors_names(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """The list is of the authors' own class (HistAI/hibou); timm's own conversion is the second way to its network."""
    import timm
    from timm.layers.mlp import SwiGLUPacked

    spec = find_encoder("hibou_b")
    tensors = upstream.random_tensors(upstream.shallow(upstream.keys_of("keys_hibou_b_meta"), 2))
    gated: Any = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 5.33334}
    second: Any = timm.create_model(
        "vit_base_patch14_reg4_dinov2", img_size=224, depth=2, num_classes=0, init_values=1.0, **gated
    )
    converted = dinov2_names.timms(tensors, "vit_base_patch14_reg4_dinov2", img_size=224, depth=2, **gated)
    second.load_state_dict(converted, strict=True)
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        feature = second.eval()(torch.from_numpy(inputs).permute(0, 3, 1, 2)).numpy()
    encoder = ours(spec, tensors, weighted, monkeypatch, depth=2)
    assert upstream.relative(encoder.features(inputs), feature) <= 1e-5


@pytest.mark.parametrize("fault", ["one missing", "one more", "half of a pair missing", "one of another shape"])
def test_a_checkpoint_that_is_not_whole_is_refused(fault: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = find_encoder("hibou_b")
    tensors = dinov2_names.older(theirs("hibou_b", depth=1).state_dict())
    said = r"1 tensors of the network are not in it, such as norm\.bias"
    if fault == "one missing":
        del tensors["layernorm.bias"]
    elif fault == "one more":
        tensors["pooler.dense.weight"], said = torch.zeros(2), r"1 of its tensors belong nowhere, such as pooler"
    elif fault == "half of a pair missing":
        del tensors["encoder.layer.0.attention.attention.value.bias"]
        said = r"1 tensors .* blocks\.0\.attn\.qkv\.bias and 2 .* such as blocks\.0\.attn\.[qk]\.bias"
    else:
        tensors["layernorm.bias"], said = torch.zeros(5), r"norm\.bias is \(5,\), where the network has \(768,\)"
    with pytest.raises(BadInput, match=said):
        ours(spec, tensors, weighted, monkeypatch, depth=1)


def test_a_grid_for_another_size_is_refused_where_no_dialect_is_named(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    tensors = dinov2_names.older(theirs("phikon_v2", depth=1, image_size=256).state_dict())
    with pytest.raises(BadInput, match=r"pos_embed is \(1, 257, 1024\), where the network has \(1, 197, 1024\)"):
        ours(find_encoder("phikon_v2"), tensors, weighted, monkeypatch, depth=1)


def test_midnight_stored_for_224_needs_no_resampling(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = find_encoder("midnight_12k")
    network = theirs("midnight_12k", depth=1, image_size=224)
    encoder = ours(spec, dict(network.state_dict()), weighted, monkeypatch, depth=1)
    inputs = upstream.network_inputs(spec, n=1)
    feature = by_hand("midnight_12k", dinov2_names.tokens(network, inputs))
    assert upstream.relative(encoder.features(inputs), feature) <= 1e-5


@each
def test_pixels_are_upstreams(name: str):
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    spec = find_encoder(name)
    kernel = InterpolationMode.BILINEAR if name == "midnight_12k" else InterpolationMode.BICUBIC
    mean, std = {
        "midnight_12k": ((0.5,) * 3, (0.5,) * 3),
        "hibou_b": ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)),
        "hibou_l": ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816)),
        "phikon_v2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }[name]
    composed = transforms.Compose(
        [
            transforms.Resize(224, interpolation=kernel),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    upstream.check_pixels(spec, bit_processor(224, mean, std) if name == "phikon_v2" else composed)


def bit_processor(side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """transformers' BitImageProcessor on PIL, which the repositories' processor files name."""
    from transformers import BitImageProcessorPil

    processor = BitImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        resample=3,
        image_mean=list(mean),
        image_std=list(std),
    )
    return lambda picture: processor(picture, return_tensors="np")["pixel_values"][0]


def test_an_odd_border_is_halved_down_as_transformers_does():
    spec = find_encoder("phikon_v2")
    assert spec.pixels is not None
    transform = bit_processor(224, spec.pixels.mean, spec.pixels.std)
    from PIL import Image

    from retrieval.encoders.preprocessing import network_input

    picture = np.random.default_rng(1).integers(0, 256, (224, 227, 3), dtype=np.uint8)
    expected = np.asarray(transform(Image.fromarray(picture)), np.float32).transpose(1, 2, 0)
    np.testing.assert_allclose(network_input(picture[None], spec.pixels)[0], expected, rtol=0, atol=1e-6)
    other = dataclasses.replace(spec.pixels, centre="even")
    assert np.abs(network_input(picture[None], other)[0] - expected).max() > 0.1


# --- what the publishers' config files settle

PROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "size": {"shortest_edge": 224},
}


@pytest.mark.parametrize(("said", "kernel"), [(2, "pil_bilinear"), (3, "pil_bicubic")])
def test_phikons_processor_settles_the_kernel_and_nothing_else(said: int, kernel: str):
    spec = find_encoder("phikon_v2")
    found = configs.settled(spec, {**PROCESSOR, "resample": said})
    assert spec.pixels is not None and found.pixels == dataclasses.replace(spec.pixels, interpolation=kernel)
    assert found.slices == found.pixels and found.unverified == () and len(spec.unverified) == 1


@pytest.mark.parametrize("side", [224, 518])
def test_midnights_config_settles_the_stored_size(side: int):
    spec = find_encoder("midnight_12k")
    found = configs.settled(spec, {"image_size": side, "patch_size": 14, "use_swiglu_ffn": True})
    assert found.unverified == () and len(spec.unverified) == 1
    assert (found.pixels, found.arguments) == (spec.pixels, spec.arguments)


def test_another_networks_config_is_refused():
    with pytest.raises(BadInput, match=r"use_swiglu_ffn is False"):
        configs.settled(find_encoder("midnight_12k"), {"image_size": 518, "use_swiglu_ffn": False})
