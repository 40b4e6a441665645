"""Encoders trained on medical pictures and texts, each against another implementation or its tokens by hand."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from encoders import open_clip_shallow, upstream
from open_clip.transform import PreprocessCfg, image_transform_v2
from torchvision import transforms

from retrieval.encoders import configs, layouts, with_open_clip, with_transformers
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

# What stands behind each of transformers' shape: open_clip's model of the same network, with OpenAI's activation.
CLIP = {"plip": "ViT-B-32", "pubmedclip": "ViT-B-32", "monet": "ViT-L-14"}
OPEN_CLIP = {"quiltnet": "ViT-B-32", "dermlip": "ViT-B-16"}
STRUCTURE = PIXELS = (*CLIP, *OPEN_CLIP, "keep", "medsiglip")
SECOND = (*CLIP, *OPEN_CLIP, "medsiglip")

# transformers' names of CLIP's parts, and open_clip's.
_TO_OPEN_CLIP = (
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
)


def as_open_clip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A whole CLIPModel's tensors under open_clip's names: in_proj is q, k, v joined, projections are transposed."""
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _TO_OPEN_CLIP:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for query in [name for name in renamed if ".self_attn.q_proj." in name]:
        block, kind = query.split(".self_attn.q_proj.")
        parts = [renamed.pop(f"{block}.self_attn.{part}_proj.{kind}") for part in "qkv"]
        renamed[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)
    renamed["visual.proj"] = renamed.pop("visual_projection.weight").T
    renamed["text_projection"] = renamed.pop("text_projection.weight").T
    return renamed


def clip_keys(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of transformers' whole CLIPModel: of the committed list for B/32, of the class for L/14."""
    if CLIP[name] == "ViT-B-32":
        return upstream.keys_of("keys_tf5_CLIP")
    config = transformers.CLIPConfig(
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        projection_dim=768,
    )
    with torch.device("meta"):
        model = transformers.CLIPModel(config)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def two_layers(spec: EncoderSpec) -> EncoderSpec:
    """A literal of transformers' with two blocks and nothing else changed."""
    return dataclasses.replace(spec, arguments={**spec.arguments, "num_hidden_layers": 2})


def pictures_of(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(inputs).permute(0, 3, 1, 2)


def places_of(spec: EncoderSpec) -> dict[str, Any]:
    """The network's own tensors at full size, on the meta device."""
    with torch.device("meta"):
        return with_transformers.build(spec).state_dict()


def without_prefix(tensors: dict[str, Any]) -> dict[str, Any]:
    """Some versions of transformers leave `vision_model.` out of a network of one side; they read files with it."""
    return {name.removeprefix("vision_model."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", [*CLIP, "medsiglip"])
def test_every_name_of_the_published_model_has_its_place_at_full_size(name: str):
    spec = find_encoder(name)
    keys = clip_keys(name) if name in CLIP else upstream.keys_of("keys_tf5_Siglip")
    theirs = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    own, places = (without_prefix(one) for one in (layouts.named(theirs, spec.layout), places_of(spec)))
    layouts.fitted(own, layouts.Layout(), places)
    assert spec.parameters == upstream.parameters_of(spec)
    assert spec.weights and spec.weights.bytes == pytest.approx(
        4 * sum(map(torch.Tensor.numel, theirs.values())), rel=1e-3
    )


@pytest.mark.parametrize("name", CLIP)
@pytest.mark.parametrize("old", [False, True], ids=["5", "4"])
def test_a_checkpoint_of_clip_gives_what_open_clip_gives(
    name: str, old: bool, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = two_layers(find_encoder(name))
    tensors = upstream.random_tensors(upstream.shallow(clip_keys(name), 2))
    counted = {
        f"{side}_model.embeddings.position_ids": torch.arange(n)[None] for side, n in (("text", 77), ("vision", 50))
    }
    upstream.put({**tensors, **(counted if old else {})}, spec, weighted, filename="" if old else "model.safetensors")
    encoder = upstream.loaded(spec, weighted, monkeypatch)

    config: Any = open_clip.get_model_config(CLIP[name])
    text: Any = {**config["text_cfg"], "layers": 2}
    vision: Any = {**config["vision_cfg"], "layers": 2}
    whole: Any = open_clip.CLIP(spec.dim or 0, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()
    whole.load_state_dict(as_open_clip(tensors), strict=True)
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        theirs = whole.encode_image(pictures_of(inputs), normalize=True)
    assert upstream.relative(encoder.features(inputs), theirs) <= 1e-5


@pytest.mark.parametrize("name", CLIP)
def test_the_vector_is_the_class_token_projected(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = two_layers(find_encoder(name))
    tensors = upstream.random_tensors(upstream.shallow(clip_keys(name), 2))
    upstream.put(tensors, spec, weighted)
    encoder: Any = upstream.loaded(spec, weighted, monkeypatch)
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        token = encoder.network.vision_model(pixel_values=pictures_of(inputs)).last_hidden_state[:, 0]
        norm = tensors["vision_model.post_layernorm.weight"], tensors["vision_model.post_layernorm.bias"]
        by_hand = F.layer_norm(token, token.shape[-1:], *norm, 1e-5) @ tensors["visual_projection.weight"].T
        by_hand = by_hand / by_hand.norm(dim=-1, keepdim=True)
    assert upstream.relative(encoder.features(inputs), by_hand) <= 1e-5


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_a_checkpoint_of_open_clips_names_gives_what_open_clip_gives(
    name: str, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = open_clip_shallow.shallow(find_encoder(name), tmp_path)
    tensors = upstream.random_tensors(open_clip_shallow.keys_of(spec.architecture))
    path = upstream.put(tensors, spec, weighted)
    encoder = upstream.loaded(spec, weighted, monkeypatch)
    whole: Any = open_clip.create_model(
        spec.architecture, pretrained=str(path), force_quick_gelu=name == "dermlip"
    ).eval()
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        theirs = whole.encode_image(pictures_of(inputs), normalize=True)
    assert upstream.relative(encoder.features(inputs), theirs) <= 1e-5
    assert np.linalg.norm(theirs, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_every_tensor_of_open_clips_model_has_its_place_at_full_size(name: str):
    spec = find_encoder(name)
    assert spec.architecture == OPEN_CLIP[name]
    with torch.device("meta"):
        ours = with_open_clip.build(spec)
    layouts.fitted(open_clip_shallow.on_meta(spec.architecture).state_dict(), spec.layout, ours.state_dict())
    assert spec.parameters == sum(parameter.numel() for parameter in ours.visual.parameters())


def test_dermlips_configuration_decides_on_its_activation(
    weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = open_clip_shallow.shallow(find_encoder("dermlip"), tmp_path)
    path = upstream.put(upstream.random_tensors(open_clip_shallow.keys_of(spec.architecture)), spec, weighted)
    (path.parent / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 512}}')
    encoder = upstream.loaded(spec, weighted, monkeypatch)
    whole: Any = open_clip.create_model(spec.architecture, pretrained=str(path)).eval()
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        theirs = whole.encode_image(pictures_of(inputs), normalize=True)
    assert upstream.relative(encoder.features(inputs), theirs) <= 1e-5
    assert len(encoder.spec.unverified) == len(spec.unverified) - 1


def test_another_networks_configuration_beside_quiltnet_is_refused(
    weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = open_clip_shallow.shallow(find_encoder("quiltnet"), tmp_path)
    path = upstream.put(upstream.random_tensors(open_clip_shallow.keys_of(spec.architecture)), spec, weighted)
    (path.parent / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 512, "quick_gelu": true}}')
    with pytest.raises(BadInput, match="quick_gelu is True"):
        upstream.loaded(spec, weighted, monkeypatch)


def keep_keys() -> dict[str, tuple[int, ...]]:
    """Names and shapes of KEEP: a timm ViT-L/16 whose layer scales are called `weight`, two linear layers, a BERT.

    As the class in lazyslide-models 0.1.0, multimodal/keep.py, builds it, which loads the published file strictly.
    """
    with torch.device("meta"):
        visual = timm.create_model("vit_large_patch16_224", num_classes=0, init_values=1e-5)
        text = transformers.BertModel(transformers.BertConfig(num_hidden_layers=2))
    named = {f"visual.{key}": tuple(tensor.shape) for key, tensor in visual.state_dict().items()}
    keys = {re.sub(r"\.(ls[12])\.gamma$", r".\1.weight", key): shape for key, shape in named.items()}
    keys |= {f"text.{key}": tuple(tensor.shape) for key, tensor in text.state_dict().items()}
    head = {"visual_head.0.weight": (768, 1024), "visual_head.0.bias": (768,)}
    return {**keys, **head, "visual_head.2.weight": (768, 768), "visual_head.2.bias": (768,), "logit_scale": ()}


def test_keep_is_its_network_with_its_head(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = upstream.at_depth(find_encoder("keep"), 2)
    tensors = upstream.random_tensors(upstream.shallow(keep_keys(), 2))
    upstream.put(tensors, spec, weighted)
    encoder = upstream.loaded(spec, weighted, monkeypatch)

    visual: Any = timm.create_model("vit_large_patch16_224", num_classes=0, init_values=1e-5, depth=2).eval()
    own = {key.removeprefix("visual."): tensor for key, tensor in tensors.items() if key.startswith("visual.")}
    visual.load_state_dict({re.sub(r"\.(ls[12])\.weight$", r".\1.gamma", key): one for key, one in own.items()})
    head = torch.nn.Sequential(torch.nn.Linear(1024, 768), torch.nn.GELU(), torch.nn.Linear(768, 768))
    head.load_state_dict({key[12:]: one for key, one in tensors.items() if key.startswith("visual_head.")})
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        theirs = F.normalize(head(visual.forward_features(pictures_of(inputs))[:, 0]), dim=-1)
    assert upstream.relative(encoder.features(inputs), theirs) <= 1e-5


def test_keep_has_every_tensor_at_full_size():
    spec = find_encoder("keep")
    assert spec.parameters == upstream.parameters_of(spec)
    kept = {key for key in keep_keys() if key.startswith(("visual.", "visual_head."))}
    theirs = {key: torch.empty(shape, device="meta") for key, shape in keep_keys().items()}
    assert len(layouts.named(theirs, spec.layout)) == len(kept) == 346


def test_medsiglip_is_the_whole_models_picture_feature(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = two_layers(find_encoder("medsiglip"))
    keys = upstream.shallow(upstream.keys_of("keys_tf5_Siglip"), 2)
    keys["text_model.embeddings.token_embedding.weight"] = (64, 1152)
    tensors = upstream.random_tensors(keys)
    upstream.put(tensors, spec, weighted)
    encoder = upstream.loaded(spec, weighted, monkeypatch)

    size = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 2}
    config = transformers.SiglipConfig(
        vision_config={**size, "image_size": 448, "patch_size": 14}, text_config={**size, "vocab_size": 64}
    )
    whole = transformers.SiglipModel(config).eval()
    whole.load_state_dict(tensors, strict=True)
    inputs = upstream.network_inputs(spec, n=1)
    with torch.inference_mode():
        feature: Any = whole.get_image_features(pixel_values=pictures_of(inputs))  # type: ignore[arg-type]
        feature = getattr(feature, "pooler_output", feature)
    assert upstream.relative(encoder.features(inputs), F.normalize(feature, dim=-1)) <= 1e-5


@pytest.mark.parametrize("name", ["plip", "medsiglip"])
def test_one_tensor_less_or_more_is_refused(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = two_layers(find_encoder(name))
    keys = clip_keys(name) if name in CLIP else upstream.keys_of("keys_tf5_Siglip")
    tensors = upstream.random_tensors({key: one for key, one in upstream.shallow(keys, 2).items() if "text" not in key})
    norm, extra = "vision_model.post_layernorm.bias", "vision_model.extra.weight"
    upstream.put({key: tensor for key, tensor in tensors.items() if key != norm}, spec, weighted)
    with pytest.raises(BadInput, match=r"missing keys: (vision_model\.)?post_layernorm\.bias"):
        upstream.loaded(spec, weighted, monkeypatch)
    upstream.put({**tensors, extra: torch.zeros(1)}, spec, weighted)
    with pytest.raises(BadInput, match=r"unexpected keys: (vision_model\.)?extra\.weight"):
        upstream.loaded(spec, weighted, monkeypatch)


@pytest.mark.parametrize("name", ["plip", "pubmedclip"])
def test_the_published_processor_decides_on_the_pixels(name: str):
    spec = find_encoder(name)
    processor = transformers.CLIPImageProcessorPil()
    settled = configs.settled(spec, json.loads(processor.to_json_string()))
    assert settled.pixels == spec.pixels
    assert settled.unverified == tuple(said for said in spec.unverified if "processor file" not in said)
    processor = transformers.CLIPImageProcessorPil(image_mean=[0.5, 0.4, 0.3], size={"shortest_edge": 240}, resample=2)
    other = configs.settled(spec, json.loads(processor.to_json_string()))
    upstream.check_pixels(other, lambda picture: processor(picture)["pixel_values"][0])


@pytest.mark.parametrize("name", ["plip", "pubmedclip"])
def test_pixels_are_those_of_transformers_on_pillow(name: str):
    processor = transformers.CLIPImageProcessorPil()
    upstream.check_pixels(find_encoder(name), lambda picture: processor(picture)["pixel_values"][0])


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_pixels_are_those_of_open_clips_transform(name: str):
    transform: Any = image_transform_v2(PreprocessCfg(size=224), is_train=False)
    upstream.check_pixels(find_encoder(name), transform)


@pytest.mark.parametrize("name", ["monet", "keep"])
def test_pixels_are_those_of_the_authors_own_transform(name: str):
    """Both authors write it so: shortest side to 224 (bicubic), the middle, ImageNet's mean and deviation."""
    upstream.check_pixels(
        find_encoder(name),
        transforms.Compose(
            [
                transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        ),
    )


def test_pixels_of_medsiglip_are_those_of_transformers_with_the_notebooks_kernel():
    processor = transformers.SiglipImageProcessorPil(size={"height": 448, "width": 448}, resample=2)
    upstream.check_pixels(find_encoder("medsiglip"), lambda picture: processor(picture)["pixel_values"][0])
