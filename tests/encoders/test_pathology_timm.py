"""Pathology encoders with checkpoints in timm's or Meta's names: structure, a second implementation, and pixels.

Upstream: the lists UNI2-h, H-optimus-0, GigaPath, GPFM and Kaiko-L14 are of the constructors that their authors give,
conch_v1_5 of TRIDENT's CONCHVisionTower, H0-mini's is a guess; mSTAR is UNI's constructor. Meta's names come from
Hibou's class (HistAI), which is DINOv2's, with the widths of dinov2_vitg14_reg and of CROWN's own README.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from encoders import vision_by_hand
from encoders.upstream import (
    at_depth,
    check_pixels,
    keys_of,
    loaded,
    network_inputs,
    parameters_of,
    put,
    random_tensors,
    relative,
    shallow,
)

from retrieval.encoders import layouts, steps, with_timm
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

GIANTS = ("uni2_h", "h_optimus_0", "h_optimus_1", "prov_gigapath", "openmidnight")
STRUCTURE = (
    *GIANTS,
    *("conch_v1_5", "h0_mini", "gigapath_flash", "mstar", "gpfm", "crown"),
    *("kaiko_s16", "kaiko_s8", "kaiko_b16", "kaiko_b8", "kaiko_l14"),
)
PIXELS = SECOND = STRUCTURE

Keys = dict[str, tuple[int, ...]]

LISTS = {
    "uni2_h": "keys_UNI2-h",
    "h_optimus_0": "keys_H-optimus-0",
    "h_optimus_1": "keys_H-optimus-0",
    "prov_gigapath": "keys_GigaPath",
    "conch_v1_5": "keys_conch_v1_5",
    "h0_mini": "keys_H0-mini_GUESS_M",
    "mstar": "keys_UNI",
    "gpfm": "keys_GPFM",
    "kaiko_l14": "keys_Kaiko-L14",
}
PLAIN: dict[str, dict[str, Any]] = {
    "gigapath_flash": {"embed_dim": 384, "num_heads": 6, "mlp_ratio": 16 / 3, "init_values": 1e-5},
    "kaiko_s16": {"embed_dim": 384, "num_heads": 6},
    "kaiko_s8": {"embed_dim": 384, "num_heads": 6, "patch_size": 8},
    "kaiko_b16": {"embed_dim": 768, "num_heads": 12},
    "kaiko_b8": {"embed_dim": 768, "num_heads": 12, "patch_size": 8},
}
GATED = {*GIANTS, "h0_mini", "gigapath_flash", "crown"}
HEADS = {**dict.fromkeys(GIANTS, 24), "h0_mini": 12, "kaiko_b16": 12, "kaiko_b8": 12} | dict.fromkeys(
    ("gigapath_flash", "kaiko_s16", "kaiko_s8"), 6
)  # the others 16

# timm's factories as the authors or TRIDENT call them.
_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
FACTORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "uni2_h": (
        "vit_giant_patch14_224",
        {"patch_size": 14, "embed_dim": 1536, "num_heads": 24, "mlp_ratio": 2.66667 * 2, "init_values": 1e-5}
        | {"no_embed_class": True, "reg_tokens": 8, "dynamic_img_size": True}
        | _SWIGLU,
    ),
    "h_optimus_0": ("vit_giant_patch14_reg4_dinov2", {"global_pool": "token", "dynamic_img_size": False}),
    "h_optimus_1": ("vit_giant_patch14_reg4_dinov2", {"global_pool": "token", "dynamic_img_size": False}),
    "prov_gigapath": (
        "vit_giant_patch14_dinov2",
        {"patch_size": 16, "embed_dim": 1536, "num_heads": 24, "mlp_ratio": 5.33334},
    ),
    "openmidnight": ("vit_giant_patch14_reg4_dinov2", {}),
    "gigapath_flash": ("vit_small_patch16_224", {"mlp_ratio": 2048 / 384, "init_values": 1e-5, **_SWIGLU}),
    "mstar": ("vit_large_patch16_224", {"init_values": 1e-5, "dynamic_img_size": True}),
    "gpfm": ("vit_large_patch14_dinov2", {"dynamic_img_size": True}),
    "crown": ("vit_large_patch16_224", {"mlp_ratio": 5472 / 1024, "init_values": 1.0, **_SWIGLU}),
    "kaiko_l14": ("vit_large_patch14_reg4_dinov2", {"dynamic_img_size": True}),
}

each = pytest.mark.parametrize("name", STRUCTURE)


def meta_keys(width: int, hidden: int, *, patch: int, registers: int, depth: int, chunks: int = 0) -> Keys:
    """Meta's names (those of the base network's list) for another width, with the blocks in chunks or not."""
    base = keys_of("keys_hibou_b_meta")
    sizes = {768: width, 2304: 3 * width, 4096: 2 * hidden, 2048: hidden, 14: patch, 257: (224 // patch) ** 2 + 1}
    keys = {name: tuple(sizes.get(one, one) for one in shape) for name, shape in base.items()}
    whole = {name: shape for name, shape in keys.items() if not name.startswith("blocks.")}
    if not registers:
        del whole["register_tokens"]
    block = {name.removeprefix("blocks.0."): shape for name, shape in keys.items() if name.startswith("blocks.0.")}
    return whole | {
        f"{_block(number, depth, chunks)}{part}": shape for number in range(depth) for part, shape in block.items()
    }


def _block(number: int, depth: int, chunks: int) -> str:
    """A chunk's blocks keep their number in the whole network."""
    return f"blocks.{number * chunks // depth}.{number}." if chunks else f"blocks.{number}."


def upstream_keys(name: str, depth: int = 0) -> Keys:
    """Names and shapes of the upstream checkpoint, whole or with only so many blocks."""
    if name == "openmidnight":
        return meta_keys(1536, 4096, patch=14, registers=4, depth=depth or 40)
    if name == "crown":
        return meta_keys(1024, 2736, patch=16, registers=0, depth=depth or 24, chunks=min(depth or 4, 4))
    if name in LISTS:
        keys = keys_of(LISTS[name])
    else:
        keys = {one: tuple(tensor.shape) for one, tensor in plain(name).state_dict().items()}
    return shallow(keys, depth) if depth else keys


def plain(name: str) -> Any:
    """timm's class itself, not by way of a factory."""
    from timm.layers.mlp import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    gated: Any = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU} if name in GATED else {}
    with torch.device("meta"):
        return VisionTransformer(num_classes=0, **PLAIN[name], **gated)


def ready(name: str, roots: Roots, monkeypatch: pytest.MonkeyPatch, depth: int = 0) -> tuple[EncoderSpec, Any, Any]:
    """The literal with few blocks, random tensors in the upstream layout, and the encoder loaded from their file."""
    depth = depth or (1 if name in (*GIANTS, "conch_v1_5", "mstar") else 2)
    spec = at_depth(find_encoder(name), depth)
    tensors = random_tensors(upstream_keys(name, depth))
    put(tensors, spec, roots)
    return spec, tensors, loaded(spec, roots, monkeypatch)


def by_hand(name: str, tensors: dict[str, torch.Tensor], inputs: np.ndarray) -> torch.Tensor:
    """The authors' feature, written out with torch alone, from the upstream names."""
    chunked: Callable[[int], str] = "blocks.{0}.{0}.".format  # two blocks in two chunks
    block: dict[str, Any] = {"block": chunked} if name == "crown" else {}
    if name == "conch_v1_5":
        trunk = under("trunk.", tensors)
        trunk["pos_embed"] = vision_by_hand.interpolated(trunk["pos_embed"], 28)
        pooled = vision_by_hand.perceiver(
            under("attn_pool_contrast.", tensors), vision_by_hand.tokens(trunk, inputs, heads=16), heads=8
        )
        norm = under("ln_contrast.", tensors)
        return torch.nn.functional.layer_norm(pooled, (768,), norm["weight"], norm["bias"], 1e-5)
    tokens = vision_by_hand.tokens(tensors, inputs, heads=HEADS.get(name, 16), gated=name in GATED, **block)
    return torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1) if name == "h0_mini" else tokens[:, 0]


def under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def by_timm(name: str, tensors: dict[str, torch.Tensor], inputs: np.ndarray, *, img_size: int = 224) -> torch.Tensor:
    """The feature by timm's factory, Meta's names converted by timm's own filter."""
    import timm
    from timm.layers.mlp import SwiGLUPacked
    from timm.models.vision_transformer import checkpoint_filter_fn

    architecture, arguments = FACTORIES[name]
    layers = {"SwiGLUPacked": SwiGLUPacked, "SiLU": torch.nn.SiLU}
    arguments = {key: layers.get(value, value) if isinstance(value, str) else value for key, value in arguments.items()}
    depth = sum(one.endswith("norm1.weight") for one in tensors)
    network: Any = timm.create_model(architecture, num_classes=0, img_size=img_size, depth=depth, **arguments)
    unchunked = {re.sub(r"^blocks\.\d+\.(\d+\.)", r"blocks.\1", one): tensor for one, tensor in tensors.items()}
    network.load_state_dict(checkpoint_filter_fn(unchunked, network), strict=True)
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(inputs).permute(0, 3, 1, 2))


# --- structure, and the second implementations


@each
def test_an_upstream_checkpoint_gives_the_authors_feature(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, tensors, encoder = ready(name, weighted, monkeypatch)
    inputs = network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, spec.dim) and feature.dtype == np.float32
    assert relative(feature, by_hand(name, tensors, inputs)) <= 1e-5
    assert relative(feature[:1], feature[1:]) > 1e-3  # and the feature depends on the picture
    if name in FACTORIES:
        assert relative(feature, by_timm(name, tensors, inputs)) <= 1e-5


@each
def test_the_whole_checkpoint_fits_and_has_as_many_numbers_as_stated(name: str):
    spec, keys = find_encoder(name), upstream_keys(name)
    with torch.device("meta"):
        places = {**with_timm.build(spec).state_dict(), **steps.tensors_of(spec.steps)}
        layouts.fitted({one: torch.empty(shape) for one, shape in keys.items()}, spec.layout, places)
    # without the mask token; with registers also without the class token's position, which is added to the token
    changed = {"openmidnight": -2 * 1536, "crown": -1024, "conch_v1_5": (28 * 28 - 14 * 14) * 1024}
    assert parameters_of(spec) == spec.parameters
    assert spec.parameters == sum(map(math.prod, keys.values())) + changed.get(name, 0)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("uni2_h", 681.4), ("h_optimus_0", 1134.8), ("prov_gigapath", 1135.0), ("h0_mini", 85.7), ("gigapath_flash", 21.7)]
    + [("mstar", 303.4), ("gpfm", 303.2)],
)
def test_the_size_is_what_is_published(name: str, millions: float):
    assert round(find_encoder(name).parameters / 1e6, 1) == millions


@pytest.mark.parametrize("name", ["mstar", "crown", "conch_v1_5"])  # one of each layout
@pytest.mark.parametrize("fault", ["one missing", "one more"])
def test_a_checkpoint_that_is_not_whole_is_refused(
    name: str, fault: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec = at_depth(find_encoder(name), 1)
    tensors = random_tensors(upstream_keys(name, 1))
    if fault == "one missing":
        del tensors[next(one for one in tensors if one.endswith("ls2.gamma"))]
    else:
        tensors["classifier.weight"] = torch.zeros(3, 3)
    put(tensors, spec, weighted)
    with pytest.raises(BadInput, match="ls2.gamma" if fault == "one missing" else "classifier.weight"):
        loaded(spec, weighted, monkeypatch)


def test_positions_for_another_size_are_refused_where_upstream_has_none(
    weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec = at_depth(find_encoder("mstar"), 1)
    put(random_tensors({**upstream_keys("mstar", 1), "pos_embed": (1, 577, 1024)}), spec, weighted)
    with pytest.raises(BadInput, match=r"pos_embed is \(1, 577, 1024\)"):
        loaded(spec, weighted, monkeypatch)


def test_the_positions_of_conch_are_exactly_dinos(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    _, tensors, encoder = ready("conch_v1_5", weighted, monkeypatch, depth=1)
    assert tensors["trunk.pos_embed"].shape == (1, 197, 1024)
    assert torch.equal(encoder.network.pos_embed, vision_by_hand.interpolated(tensors["trunk.pos_embed"], 28))


def test_kaiko_for_518_pixels_runs_at_224_as_timm_runs_it(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = at_depth(find_encoder("kaiko_l14"), 2)
    tensors = random_tensors({**upstream_keys("kaiko_l14", 2), "pos_embed": (1, 37 * 37, 1024)})
    put(tensors, spec, weighted)
    inputs = network_inputs(spec)
    feature = loaded(spec, weighted, monkeypatch).features(inputs)
    assert relative(feature, by_timm("kaiko_l14", tensors, inputs, img_size=518)) <= 1e-5


def test_gpfm_is_read_as_released_on_github_and_as_on_the_hub(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, tensors, encoder = ready("gpfm", weighted, monkeypatch)
    inputs = network_inputs(spec)
    feature = encoder.features(inputs)
    released = {f"backbone.{re.sub(r'^blocks[.]', 'blocks.0.', one)}": tensor for one, tensor in tensors.items()}
    heads = random_tensors({"backbone.mask_token": (1, 1024), "dino_head.mlp.0.weight": (8, 1024)})
    put({"teacher": {**released, **heads}, "iteration": 3}, spec, weighted)
    again = loaded(spec, weighted, monkeypatch)
    assert again.weights_digest != encoder.weights_digest  # another file
    assert np.array_equal(again.features(inputs), feature)


def test_openmidnight_is_read_in_the_names_of_its_training_too():
    spec, keys = find_encoder("openmidnight"), upstream_keys("openmidnight")
    of_training = {f"backbone.{name}": shape for name, shape in keys.items()} | {
        "dino_head.last_layer.weight": (8, 384)
    }
    assert layouts.named(of_training, spec.layout) == layouts.named(keys, spec.layout)
    assert "teacher" in spec.layout.unwrap


def test_h0_mini_joins_the_class_token_and_the_mean_without_registers():
    spec = find_encoder("h0_mini")
    seen = torch.arange(2 * 7 * 3, dtype=torch.float32).reshape(2, 7, 3)  # 5 before the 2 patches
    joined = steps.apply(spec.steps, seen, {})
    assert joined.tolist() == torch.cat([seen[:, 0], (seen[:, 5] + seen[:, 6]) / 2], dim=1).tolist()
    assert any("config.json" in sentence for sentence in spec.unverified)


# --- pixels

IMAGENET, HALF = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.5,) * 3)
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))

# Side or (height, width), kernel, crop, normalisation, each as in the authors' code; H-optimus: as the literal records.
TRANSFORMS: dict[str, tuple[Any, str, int, tuple]] = {
    **dict.fromkeys(("uni2_h", "mstar", "openmidnight", "crown"), (224, "bilinear", 224, IMAGENET)),
    **dict.fromkeys(("h_optimus_0", "h_optimus_1", "h0_mini"), (224, "bicubic", 224, BIOPTIMUS)),
    **dict.fromkeys(("prov_gigapath", "gigapath_flash"), (256, "bicubic", 224, IMAGENET)),
    **dict.fromkeys((name for name in STRUCTURE if name.startswith("kaiko")), (224, "bilinear", 224, HALF)),
    "gpfm": ((224, 224), "bicubic", 224, IMAGENET),
    "conch_v1_5": (448, "bilinear", 448, IMAGENET),
}


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_are_the_authors(name: str):
    from torchvision import transforms

    size, kernel, crop, (mean, std) = TRANSFORMS[name]
    upstream = transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode(kernel)),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    spec = find_encoder(name)
    check_pixels(spec, upstream)
    assert spec.slices == spec.pixels


def test_where_the_pixels_are_not_the_authors_it_is_said():
    chosen = {name for name in PIXELS if find_encoder(name).on_purpose}
    assert chosen == {"h_optimus_0", "h_optimus_1", "h0_mini", "mstar"} | {
        name for name in PIXELS if name.startswith("kaiko")
    }


def test_each_has_a_file_of_its_own():
    sources = [find_encoder(name).weights for name in STRUCTURE]
    assert len({source.repo for source in sources if source}) == len(STRUCTURE)
