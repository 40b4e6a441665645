"""The study's foundation models: upstream checkpoints with random weights, and other implementations of each.

The lists of names and shapes: `keys_medclip_vit` from the class of the package MedCLIP 0.0.3 on transformers 4.24,
`keys_conch` from the authors' CoCa class, the others from the constructors that the publishers' pages give for timm.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from encoders.upstream import (
    at_depth,
    keys_of,
    loaded,
    network_inputs,
    parameters_of,
    put,
    random_tensors,
    relative,
    shallow,
)
from timm.layers.mlp import SwiGLUPacked

from retrieval.encoders import layouts, steps, weights, with_timm
from retrieval.encoders.catalogue import find_encoder
from retrieval.errors import BadInput
from retrieval.roots import Roots

STRUCTURE = SECOND = (
    *("medclip", "medclip_upscaled", "biomedclip", "openclip", "conch", "uni"),
    *("virchow", "virchow2"),
)
LISTS = {
    "medclip": "keys_medclip_vit",
    "medclip_upscaled": "keys_medclip_vit",
    "conch": "keys_conch",
    "uni": "keys_UNI",
    "virchow": "keys_Virchow",
    "virchow2": "keys_Virchow2",
}


def batch(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(inputs).permute(0, 3, 1, 2)


def empty(keys: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Names and shapes alone: the text sides, of which only that they are there matters. One number on disk each."""
    return {name: torch.zeros(()).expand(shape) for name, shape in keys.items()}


# --- every tensor of the whole upstream list, at full depth


@pytest.mark.parametrize("name", LISTS)
def test_every_tensor_of_the_upstream_list_finds_its_place(name: str):
    spec, keys = find_encoder(name), keys_of(LISTS[name])
    tensors = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    with torch.device("meta"):
        places = with_timm.build(spec).state_dict() | steps.tensors_of(spec.steps)
    own = layouts.fitted(tensors, spec.layout, places)
    assert own.keys() == places.keys()
    assert sum(tensor.numel() for tensor in own.values()) == spec.parameters == parameters_of(spec)
    dropped = sum(math.prod(shape) for shape in keys.values()) - spec.parameters
    assert (dropped == 0) == (name in ("uni", "virchow", "virchow2"))  # those files are the network and nothing else


# --- MedCLIP


def medclip_file(*, position_ids: bool = True) -> dict[str, torch.Tensor]:
    """All of the picture side; of the twelve layers of the text side four."""
    keys = shallow(keys_of("keys_medclip_vit"), 4)
    seen = {key: shape for key, shape in keys.items() if key.startswith("vision_model.")}
    tensors = random_tensors(seen) | empty({key: shape for key, shape in keys.items() if key not in seen})
    whole = [key for key in tensors if key.endswith(("relative_position_index", "position_ids"))]
    tensors |= {key: torch.zeros(keys[key], dtype=torch.int64) for key in whole}
    assert len(whole) == 12 + 1
    return {key: one for key, one in tensors.items() if position_ids or not key.endswith("position_ids")}


def swin(file: Mapping[str, torch.Tensor]) -> Any:
    """transformers' own Swin, filled from the file's names of transformers 4 by transformers itself."""
    from transformers import SwinConfig, SwinModel

    prefix = "vision_model.model."
    own = {key.removeprefix(prefix): one for key, one in file.items() if key.startswith(prefix)}
    own = {key: one for key, one in own.items() if not key.endswith("relative_position_index")}
    loader: Any = SwinModel  # its annotations do not know of the report
    network, report = loader.from_pretrained(
        None, config=SwinConfig(), state_dict=own, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    return network.eval()


@pytest.mark.parametrize(("name", "position_ids"), [("medclip", True), ("medclip", False), ("medclip_upscaled", True)])
def test_medclip_is_transformers_swin_and_a_projection(
    name: str, position_ids: bool, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec, file = find_encoder(name), medclip_file(position_ids=position_ids)
    put(file, spec, weighted)
    inputs = network_inputs(spec)
    vectors = loaded(spec, weighted, monkeypatch).features(inputs)
    with torch.inference_mode():
        output = swin(file)(pixel_values=batch(inputs))
        assert relative(output.pooler_output.numpy(), output.last_hidden_state.mean(dim=1)) <= 1e-5
        projected = output.pooler_output @ file["vision_model.projection_head.weight"].T
    assert vectors.shape == (2, spec.dim)
    assert relative(vectors, projected / projected.norm(dim=1, keepdim=True)) <= 1e-5


def test_one_file_serves_medclip_at_both_kinds_of_pixels(weighted: Roots):
    stamp, full = find_encoder("medclip"), find_encoder("medclip_upscaled")
    path = put({}, stamp, weighted)
    assert weights.locate(stamp, weighted) == weights.locate(full, weighted) == path


@pytest.mark.parametrize("fault", ["missing", "more", "half of a fused one missing"])
def test_a_tensor_missing_or_left_over_is_refused(fault: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    file, block = medclip_file(), "vision_model.model.encoder.layers.2.blocks.3"
    if fault == "missing":
        del file["vision_model.projection_head.weight"]
    elif fault == "more":
        file["vision_model.projection_head.bias"] = torch.zeros(512)
    else:
        del file[f"{block}.attention.self.key.bias"]
    put(file, find_encoder("medclip"), weighted)
    with pytest.raises(BadInput, match=r"projection|layers\.2\.blocks\.3\.attn"):
        loaded(find_encoder("medclip"), weighted, monkeypatch)


# --- BiomedCLIP and OpenCLIP: the whole models of open_clip


def biomedclip_model() -> Any:
    """open_clip's model of that configuration, with a BERT of one layer and few words."""
    from open_clip.hf_model import HFTextEncoder
    from transformers import BertConfig

    vision = {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    text: Any = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    model: Any = open_clip.CustomTextCLIP(embed_dim=512, vision_cfg=vision, text_cfg=text)  # type: ignore[arg-type]
    bert: Any = BertConfig(num_hidden_layers=1, vocab_size=64)
    model.text = HFTextEncoder(
        "bert",
        output_dim=512,
        config=bert,
        pooler_type="cls_last_hidden_state_pooler",
        proj_type="mlp",
        pretrained=False,
    )
    return model.eval()


def filled(model: Any) -> dict[str, torch.Tensor]:
    """Random weights for the picture side, put into the model; what its checkpoint would hold."""
    keys = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    seen = random_tensors({key: shape for key, shape in keys.items() if key.startswith("visual.")})
    model.load_state_dict(model.state_dict() | seen, strict=True)
    return empty({key: shape for key, shape in keys.items() if key not in seen}) | seen


def test_biomedclip_is_open_clips(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, model = find_encoder("biomedclip"), biomedclip_model()
    file = filled(model)
    pictures = {key: tuple(one.shape) for key, one in file.items() if key.startswith("visual.")}
    assert pictures == keys_of("keys_biomedclip_visual")
    assert sum(math.prod(shape) for shape in pictures.values()) == spec.parameters == parameters_of(spec)
    put(file | {"text.transformer.embeddings.position_ids": torch.zeros(1, 512, dtype=torch.int64)}, spec, weighted)
    inputs = network_inputs(spec)
    vectors = loaded(spec, weighted, monkeypatch).features(inputs)
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    with torch.inference_mode():
        first = model(batch(inputs), tokens)[0]  # as the study takes it
    assert vectors.shape == (2, 512)
    assert relative(vectors, first) <= 1e-5


def test_openclip_is_open_clips(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """With two of forty layers and few words; the whole is counted without being made."""
    whole = find_encoder("openclip")
    assert parameters_of(whole) == whole.parameters
    config = open_clip.get_model_config("ViT-g-14")
    assert config is not None
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    config["text_cfg"]["vocab_size"] = 64
    spec = dataclasses.replace(whole, arguments={"config": config})
    model: Any = open_clip.CLIP(**config).eval()
    put(filled(model), spec, weighted)
    inputs = network_inputs(spec)
    vectors = loaded(spec, weighted, monkeypatch).features(inputs)
    with torch.inference_mode():
        expected = model.encode_image(batch(inputs), normalize=False)
    assert vectors.shape == (2, 1024)
    assert relative(vectors, expected) <= 1e-5
    assert not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=0.1)


def test_openclips_full_depth_is_forty():
    """40 blocks of 1408, of which a linear layer widens to 6144, as open_clip's table of models has it: 1012.65 M."""
    block = 4 * 1408**2 + 4 * 1408 + 2 * 1408 * 6144 + 6144 + 1408 + 4 * 1408
    around = 1408 * 3 * 14**2 + 257 * 1408 + 1408 + 4 * 1408 + 1408 * 1024
    assert find_encoder("openclip").parameters == 40 * block + around


# --- CONCH


@pytest.mark.parametrize("decoder", [True, False])
def test_conch_is_a_vit_and_torchs_attention(decoder: bool, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """Whether or not the file has the decoder, which the released one lacks. Three of twelve blocks."""
    spec = at_depth(find_encoder("conch"), 3)
    keys = shallow(keys_of("keys_conch"), 3)
    keys = {key: shape for key, shape in keys.items() if decoder or not key.startswith("text_decoder.")}
    seen = random_tensors({key: shape for key, shape in keys.items() if key.startswith("visual.")})
    put(empty(keys) | seen, spec, weighted)
    inputs = network_inputs(spec)
    vectors = loaded(spec, weighted, monkeypatch).features(inputs)
    assert inputs.shape == (2, 448, 448, 3) and vectors.shape == (2, 512)
    assert relative(vectors, conch_by_hand(seen, batch(inputs))) <= 1e-5


def conch_by_hand(file: Mapping[str, torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(prefix): one for key, one in file.items() if key.startswith(prefix)}

    trunk: Any = timm.create_model("vit_base_patch16_224", img_size=448, num_classes=0, depth=3)
    trunk.load_state_dict(part("visual.trunk."), strict=True)
    attention = torch.nn.MultiheadAttention(512, 8, kdim=768, vdim=768, batch_first=True)
    attention.load_state_dict(part("visual.attn_pool_contrast.attn."), strict=True)
    norms = {"ln_q": torch.nn.LayerNorm(512), "ln_k": torch.nn.LayerNorm(768)}
    for name, norm in norms.items():
        norm.load_state_dict(part(f"visual.attn_pool_contrast.{name}."), strict=True)
    last = torch.nn.LayerNorm(512)
    last.load_state_dict(part("visual.ln_contrast."), strict=True)
    with torch.inference_mode():
        keys = norms["ln_k"](trunk.eval().forward_features(pictures))
        query = norms["ln_q"](file["visual.attn_pool_contrast.query"]).expand(len(pictures), 1, 512)
        pooled = last(attention(query, keys, keys, need_weights=False)[0][:, 0])
        return pooled / pooled.norm(dim=1, keepdim=True)


# --- UNI and Virchow, as their pages have timm build them


def uni(depth: int) -> Any:
    return timm.create_model(
        "vit_large_patch16_224",
        img_size=224,
        patch_size=16,
        init_values=1e-5,
        num_classes=0,
        dynamic_img_size=True,
        depth=depth,
    )


def virchow(depth: int, registers: int) -> Any:
    return timm.create_model(
        "vit_huge_patch14_224",
        img_size=224,
        init_values=1e-5,
        num_classes=0,
        reg_tokens=registers,
        mlp_ratio=5.3375,
        global_pool="",
        dynamic_img_size=True,
        mlp_layer=SwiGLUPacked,
        act_layer=torch.nn.SiLU,
        depth=depth,
    )


@pytest.mark.parametrize("name", ["uni", "virchow", "virchow2"])
def test_timms_own_factory_gives_the_same(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """At two blocks; what the file has for a picture's class, and after how many tokens its patches begin."""
    spec = at_depth(find_encoder(name), 2)
    file = random_tensors(shallow(keys_of(LISTS[name]), 2))
    put(file, spec, weighted)
    theirs: Any = uni(2) if name == "uni" else virchow(2, 4 if name == "virchow2" else 0)
    theirs.load_state_dict(file, strict=True)
    inputs = network_inputs(spec)
    with torch.inference_mode():
        output = theirs.eval()(batch(inputs))
    if name != "uni":
        tokens = 5 if name == "virchow2" else 1
        assert output.shape[1] == tokens + 16 * 16
        output = torch.cat([output[:, 0], output[:, tokens:].mean(1)], dim=-1)
    vectors = loaded(spec, weighted, monkeypatch).features(inputs)
    assert vectors.shape == (2, spec.dim)
    assert relative(vectors, output) <= 1e-5
