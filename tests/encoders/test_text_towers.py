"""Text sides on fixed numbers: random checkpoints in the publishers' layouts against the publishers' own classes."""

import copy
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
import transformers
from encoders import open_clip_shallow, upstream
from encoders.test_medical_language import clip_keys, keep_keys
from encoders.vocabularies import put_vocabulary

from retrieval.encoders import catalogue, layouts, loading, steps, text_towers, with_open_clip, with_transformers
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.encoders.text_towers import TextEncoder
from retrieval.encoders.tokenizing import Tokens
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

WITH_WORDS = tuple(spec.name for spec in catalogue.ENCODERS if spec.text is not None)
BY_OPEN_CLIP = (
    *("openclip", "openclip_vit_b_32", "openclip_vit_b_16", "quiltnet", "dermlip", "siglip2_b16", "siglip2_so400m"),
    *("pe_core_t", "pe_core_s", "pe_core_b", "pe_core_l"),
    *(f"mobileclip2_{size}" for size in ("s0", "s2", "s3", "s4", "b")),
)
CLIP = ("plip", "pubmedclip", "monet")
BERT = ("biomedclip", "medclip", "medclip_upscaled", "keep")
COMPARED = {*BY_OPEN_CLIP, *CLIP, *BERT, "conch", "medsiglip"}
WORDS = 64  # pieces of the vocabularies here


def test_every_text_side_of_the_catalogue_is_compared():
    assert set(WITH_WORDS) == COMPARED
    assert len(WITH_WORDS) == 25


def numbers(*, context: int, top: int = WORDS - 1, pad: int = 0) -> Tokens:
    """Three texts of several lengths that end in the largest number, one of them as long as can be."""
    rng = np.random.default_rng(5)
    lengths = (context, 5, min(11, context))
    ids = np.full((3, context), pad, np.int64)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = rng.integers(3, top, length)
        row[length - 1] = top
    hidden = np.arange(context) >= np.array(lengths)[:, None]
    return Tokens(ids, hidden, pieces=lengths, read=lengths, unknown=(0, 0, 0))


def fewer(spec: EncoderSpec, *, layers: int = 2) -> EncoderSpec:
    """A literal whose text side of transformers has fewer blocks and words, and nothing else changed."""
    assert spec.text is not None
    arguments = {**spec.text.arguments, "num_hidden_layers": layers, "vocab_size": WORDS}
    if "projection_dim" in arguments:
        arguments |= {"eos_token_id": WORDS - 1}
    return dataclasses.replace(spec, text=dataclasses.replace(spec.text, arguments=arguments))


def loaded(spec: EncoderSpec, roots: Roots, monkeypatch: pytest.MonkeyPatch) -> TextEncoder:
    """The text side by the ordinary way; a changed spec takes the place of the catalogue's of that name."""
    others = tuple(spec if one.name == spec.name else one for one in catalogue.ENCODERS)
    monkeypatch.setattr(catalogue, "ENCODERS", others)
    put_vocabulary(spec, roots)
    return loading.load_text_encoder(spec.name, roots, device="cpu")


def with_words(keys: Mapping[str, tuple[int, ...]], pattern: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes with fewer words in the embedding of that name."""
    return {name: (WORDS, *shape[1:]) if re.fullmatch(pattern, name) else shape for name, shape in keys.items()}


def shapes_of(network: Any, prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {f"{prefix}{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def empty(keys: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Names and shapes alone: the picture sides, of which only that they are there matters. One number on disk each."""
    return {name: torch.zeros(()).expand(shape) for name, shape in keys.items()}


def check(ours: np.ndarray, theirs: torch.Tensor) -> None:
    assert upstream.relative(ours, theirs.detach()) <= 1e-5
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 1e-3 and np.abs(ours[1] - ours[2]).max() > 1e-3


# --- open_clip's own


def with_small_pictures(spec: EncoderSpec) -> tuple[EncoderSpec, Any]:
    """A literal with one block of text and hardly a picture side, and open_clip's model of that configuration."""
    config: Any = copy.deepcopy(open_clip.get_model_config(spec.architecture))
    config["text_cfg"] |= {"layers": 1, "vocab_size": WORDS}
    config["vision_cfg"] = {"layers": 1, "width": 64, "image_size": 64, "patch_size": 32}
    small = dataclasses.replace(spec, arguments={**spec.arguments, "config": copy.deepcopy(config)})
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    return small, kind(**config, **spec.arguments).eval()


@pytest.mark.parametrize("name", BY_OPEN_CLIP)
def test_a_text_side_of_open_clip_gives_what_open_clip_gives(
    name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec, whole = with_small_pictures(find_encoder(name))
    tensors = upstream.random_tensors(shapes_of(whole))
    upstream.put(tensors, spec, weighted)
    encoder = loaded(spec, weighted, monkeypatch)
    whole.load_state_dict(tensors, strict=True)
    tokens = numbers(context=encoder.vocabulary.tokenizer.context)
    assert tokens.ids.shape[1] == whole.context_length
    with torch.inference_mode():
        check(encoder.vectors(tokens), whole.encode_text(torch.from_numpy(tokens.ids), normalize=True))


@pytest.mark.parametrize("name", BY_OPEN_CLIP)
def test_every_tensor_of_open_clips_text_side_has_its_place_at_full_size(name: str):
    spec = find_encoder(name)
    text = text_towers.side(spec)
    theirs = open_clip_shallow.on_meta(spec.architecture).state_dict()
    with torch.device("meta"):
        places = with_open_clip.build_text(text).state_dict()
    fitted = layouts.fitted(theirs, text.layout, places)
    assert {key for key in theirs if not key.startswith(("visual.", "logit_"))} == fitted.keys()


# --- transformers' CLIP and SigLIP

_SMALL_PICTURES = {
    **{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1},
    **{"image_size": 32, "patch_size": 32},
}


def text_and_pictures(keys: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Random weights for a text side of transformers; the pictures' are there and empty."""
    text = {key: shape for key, shape in keys.items() if key.startswith("text_")}
    return empty(keys) | upstream.random_tensors(text)


def fill_texts(whole: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """The text side of a whole model from a file of these tensors, each of them; its pictures stay as they are."""
    own = {key: tensor for key, tensor in tensors.items() if key.startswith("text_")}
    assert own.keys() == {key for key in whole.state_dict() if key.startswith("text_")}
    whole.load_state_dict({**whole.state_dict(), **own}, strict=True)


@pytest.mark.parametrize("name", CLIP)
def test_a_text_side_of_clip_gives_what_the_whole_model_gives(
    name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec = fewer(find_encoder(name))
    keys = with_words(upstream.shallow(clip_keys(name), 2), r"text_model\.embeddings\.token_embedding\.weight")
    tensors = text_and_pictures(keys)
    upstream.put({**tensors, "text_model.embeddings.position_ids": torch.arange(77)[None]}, spec, weighted)
    encoder = loaded(spec, weighted, monkeypatch)

    width = keys["text_model.embeddings.token_embedding.weight"][1]
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 64}
    config = transformers.CLIPConfig(
        text_config={**sizes, "num_hidden_layers": 2, "vocab_size": WORDS, "eos_token_id": WORDS - 1},
        vision_config=_SMALL_PICTURES,
        projection_dim=spec.dim,
    )
    whole = transformers.CLIPModel(config).eval()
    fill_texts(whole, tensors)
    tokens = numbers(context=77)
    with torch.inference_mode():
        feature: Any = whole.get_text_features(input_ids=torch.from_numpy(tokens.ids))
    check(encoder.vectors(tokens), F.normalize(getattr(feature, "pooler_output", feature), dim=-1))


@pytest.mark.parametrize("name", [*CLIP, "medsiglip"])
def test_every_name_of_the_published_text_side_has_its_place_at_full_size(name: str):
    text = text_towers.side(find_encoder(name))
    keys = clip_keys(name) if name in CLIP else upstream.keys_of("keys_tf5_Siglip")
    theirs = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    with torch.device("meta"):
        places = with_transformers.build(text).state_dict()
    own, there = (
        {key.removeprefix("text_model."): tensor for key, tensor in one.items()}
        for one in (layouts.named(theirs, text.layout), places)
    )
    layouts.fitted(own, layouts.Layout(), there)


def test_medsiglips_text_side_is_the_whole_models(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = fewer(find_encoder("medsiglip"))
    keys = upstream.shallow(upstream.keys_of("keys_tf5_Siglip"), 2)
    keys = with_words(keys, r"text_model\.embeddings\.token_embedding\.weight")
    tensors = text_and_pictures(keys)
    upstream.put({key: one for key, one in tensors.items() if "text_" in key}, spec, weighted)
    encoder = loaded(spec, weighted, monkeypatch)
    size = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 2}
    config = transformers.SiglipConfig(
        vision_config={**_SMALL_PICTURES, "hidden_size": 1152, "num_attention_heads": 16},
        text_config={**size, "vocab_size": WORDS},
    )
    whole = transformers.SiglipModel(config).eval()
    fill_texts(whole, tensors)
    tokens = numbers(context=64, pad=1)
    with torch.inference_mode():
        feature: Any = whole.get_text_features(input_ids=torch.from_numpy(tokens.ids))
    check(encoder.vectors(tokens), F.normalize(getattr(feature, "pooler_output", feature), dim=-1))


# --- BERT


def bert(layers: int, **config: Any) -> Any:
    return transformers.BertModel(transformers.BertConfig(num_hidden_layers=layers, vocab_size=WORDS, **config)).eval()


def part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def test_biomedclips_text_side_is_open_clips(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    from open_clip.hf_model import HFTextEncoder

    spec = fewer(find_encoder("biomedclip"))
    config: Any = transformers.BertConfig(num_hidden_layers=2, vocab_size=WORDS)
    theirs = HFTextEncoder(
        "bert",
        output_dim=512,
        config=config,
        pooler_type="cls_last_hidden_state_pooler",
        proj_type="mlp",
        pretrained=False,
    ).eval()
    keys = {key: shape for key, shape in shapes_of(theirs, "text.").items() if ".transformer.pooler." not in key}
    tensors, pictures = upstream.random_tensors(keys), empty(upstream.keys_of("keys_biomedclip_visual"))
    counted = torch.arange(512)[None]
    upstream.put({**tensors, **pictures, "text.transformer.embeddings.position_ids": counted}, spec, weighted)
    encoder = loaded(spec, weighted, monkeypatch)
    theirs.load_state_dict({**theirs.state_dict(), **part(tensors, "text.")}, strict=True)
    tokens = numbers(context=256)
    with torch.inference_mode():
        check(encoder.vectors(tokens), F.normalize(theirs(torch.from_numpy(tokens.ids)), dim=-1))


def test_keeps_text_side_is_berts_pooler(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, theirs = fewer(find_encoder("keep")), bert(2)
    keys = {key: shape for key, shape in upstream.shallow(keep_keys(), 2).items() if not key.startswith("text.")}
    tensors = upstream.random_tensors(shapes_of(theirs, "text."))
    upstream.put(tensors | empty(keys), spec, weighted, filename="pytorch_model.bin")
    encoder = loaded(spec, weighted, monkeypatch)
    theirs.load_state_dict(part(tensors, "text."), strict=True)
    tokens = numbers(context=256)
    mask = torch.from_numpy(~tokens.hidden).long()
    with torch.inference_mode():
        pooled = theirs(input_ids=torch.from_numpy(tokens.ids), attention_mask=mask).pooler_output
    check(encoder.vectors(tokens), F.normalize(pooled, dim=-1))


@pytest.mark.parametrize("name", ["medclip", "medclip_upscaled"])
def test_medclips_text_side_is_the_mean_of_three_layers(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """With four layers, so that the second and the last are two; names of the committed list."""
    spec = fewer(find_encoder(name), layers=4)
    keys = upstream.shallow(upstream.keys_of("keys_medclip_vit"), 4)
    keys = with_words(keys, r"text_model\.model\.embeddings\.word_embeddings\.weight")
    counted = {key for key in keys if key.endswith(("position_ids", "relative_position_index"))}
    text = {key: shape for key, shape in keys.items() if key not in counted and key.startswith("text_model.")}
    tensors = upstream.random_tensors(text)
    pictures = empty({key: shape for key, shape in keys.items() if key.startswith("vision_model.")})
    upstream.put(
        pictures | tensors | {key: torch.zeros(keys[key], dtype=torch.int64) for key in counted}, spec, weighted
    )
    encoder = loaded(spec, weighted, monkeypatch)
    theirs = bert(4)
    theirs.load_state_dict(part(tensors, "text_model.model."), strict=True)
    tokens = numbers(context=9)
    alone = [tokens.ids[:1], tokens.ids[1:2, :5]]
    with torch.inference_mode():
        for ids in alone:
            given = torch.from_numpy(ids)
            hidden = theirs(given, attention_mask=torch.ones_like(given), output_hidden_states=True).hidden_states
            mean = torch.stack([hidden[1], hidden[2], hidden[-1]]).permute(1, 0, 2, 3).mean(2).mean(1)
            vector = F.normalize(mean @ tensors["text_model.projection_head.weight"].T, dim=-1)
            nothing = np.zeros(ids.shape, bool)
            ours = encoder.vectors(Tokens(ids, nothing, (ids.size,), (ids.size,), (0,)))
            assert upstream.relative(ours, vector) <= 1e-5


# --- CONCH


def conch_text(tensors: Mapping[str, torch.Tensor], ids: torch.Tensor, layers: int) -> torch.Tensor:
    """The authors' CoCa text side, written from its definition: causal, the class token last, padding hidden from it.

    What the class token sees is masked one place too early, as they have it: the first place of padding is seen, and
    the class token itself is not, unless the text fills all places.
    """
    own = part(tensors, "text.")
    n, seen = ids.shape
    x = torch.cat([own["token_embedding.weight"][ids], own["cls_emb"].expand(n, 1, -1)], dim=1)
    x = x + own["positional_embedding"][: seen + 1]
    shown = torch.ones(n, seen + 1, seen + 1).tril().bool()
    shown[:, -1, 1:] &= ids != 0
    for layer in range(layers):
        block = part(own, f"transformer.resblocks.{layer}.")
        attention = torch.nn.MultiheadAttention(768, 12, batch_first=True).eval()
        attention.load_state_dict(part(block, "attn."), strict=True)
        normed = F.layer_norm(x, (768,), block["ln_1.weight"], block["ln_1.bias"])
        mask = (~shown).repeat_interleave(12, 0)
        x = x + attention(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        normed = F.layer_norm(x, (768,), block["ln_2.weight"], block["ln_2.bias"])
        wide = F.gelu(F.linear(normed, block["mlp.c_fc.weight"], block["mlp.c_fc.bias"]))
        x = x + F.linear(wide, block["mlp.c_proj.weight"], block["mlp.c_proj.bias"])
    last = F.layer_norm(x[:, -1], (768,), own["ln_final.weight"], own["ln_final.bias"])
    return F.normalize(last @ own["text_projection"], dim=-1)


def shallow_conch(layers: int) -> EncoderSpec:
    spec = find_encoder("conch")
    assert spec.text is not None
    config = spec.text.arguments["config"]
    config = {**config, "text_cfg": {**config["text_cfg"], "layers": layers, "vocab_size": WORDS}}
    text = dataclasses.replace(spec.text, arguments={"config": config})
    return dataclasses.replace(upstream.at_depth(spec, layers), text=text)


def conch_keys(layers: int) -> dict[str, tuple[int, ...]]:
    keys = with_words(upstream.shallow(upstream.keys_of("keys_conch"), layers), r"text\.token_embedding\.weight")
    return {key: shape for key, shape in keys.items() if not key.startswith("text_decoder.")}


def test_conchs_text_side_is_its_authors(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec, tensors = shallow_conch(2), upstream.random_tensors(conch_keys(2))
    upstream.put(tensors, spec, weighted)
    encoder = loaded(spec, weighted, monkeypatch)
    tokens = numbers(context=127)
    with torch.inference_mode():
        check(encoder.vectors(tokens), conch_text(tensors, torch.from_numpy(tokens.ids), 2))


def test_every_tensor_of_conchs_text_side_has_its_place_at_full_size():
    text = text_towers.side(find_encoder("conch"))
    keys = upstream.keys_of("keys_conch")
    theirs = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    with torch.device("meta"):
        places = with_open_clip.build_text(text).state_dict()
    fitted = layouts.fitted(theirs, text.layout, places)
    assert {key for key in keys if key.startswith("text.")} == fitted.keys()


def test_conchs_pictures_come_into_the_space_of_texts_by_its_projection(
    weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    """The variant is the feature before it is made length 1, times proj_contrast; and the shipped one is as it was."""
    spec, keys = shallow_conch(2), conch_keys(2)
    assert spec.text is not None
    tensors = upstream.random_tensors({key: shape for key, shape in keys.items() if key.startswith("visual.")})
    texts = {key: torch.zeros(()).expand(shape) for key, shape in keys.items() if key not in tensors}
    upstream.put(tensors | texts, spec, weighted)
    encoder = upstream.loaded(spec, weighted, monkeypatch)
    other, variant = text_towers.joint(spec)
    assert variant == "joint" and other.name == spec.name and other.pixels == spec.pixels
    inputs = upstream.network_inputs(spec, n=2)
    ours = loading.load(other, weighted, device="cpu").features(inputs)  # type: ignore[attr-defined]
    projected = torch.from_numpy(encoder.features(inputs)) @ tensors["visual.proj_contrast"]
    assert upstream.relative(ours, F.normalize(projected, dim=-1)) <= 1e-5
    assert steps.tensors_of(spec.steps).keys() < steps.tensors_of(other.steps).keys()


# --- what is refused


def test_a_spec_without_a_variant_is_its_own_joint_space():
    for name in WITH_WORDS:
        spec = find_encoder(name)
        assert (text_towers.joint(spec) == (spec, "")) == (name != "conch")


@pytest.mark.parametrize("name", ["plip", "openclip_vit_b_32"])
def test_one_tensor_less_or_more_is_refused(
    name: str, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if name == "plip":
        spec = fewer(find_encoder(name))
        keys = with_words(upstream.shallow(clip_keys(name), 2), r"text_model\.embeddings\.token_embedding\.weight")
        norm, extra = "text_model.final_layer_norm.bias", "text_model.extra.weight"
    else:
        spec = open_clip_shallow.shallow(find_encoder(name), tmp_path)
        keys = open_clip_shallow.keys_of(spec.architecture)
        norm, extra = "ln_final.bias", "extra.weight"
    tensors = upstream.random_tensors(keys)
    for changed in ({key: one for key, one in tensors.items() if key != norm}, {**tensors, extra: torch.zeros(1)}):
        upstream.put(changed, spec, weighted)
        with pytest.raises(BadInput, match=r"final|extra"):
            loaded(spec, weighted, monkeypatch)


def test_an_encoder_without_a_text_side_names_those_that_have_one(weighted: Roots):
    with pytest.raises(Unavailable, match="no text side") as refused:
        loading.load_text_encoder("uni", weighted)
    assert all(name in refused.value.remedy for name in WITH_WORDS)


def test_missing_weights_are_said_with_what_to_do(weighted: Roots):
    with pytest.raises(Unavailable, match="weights of PLIP") as refused:
        loading.load_text_encoder("plip", weighted)
    assert "download --encoder plip" in refused.value.remedy
