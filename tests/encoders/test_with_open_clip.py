"""open_clip's models by a literal of the test's own: configuration in the literal, no code."""

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from encoders import upstream
from open_clip.transformer import TextTransformer

from retrieval.encoders import loading, with_open_clip
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.literals.contrastive import OPEN_CLIP, OPEN_CLIP_CUSTOM
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource
from retrieval.errors import BadInput
from retrieval.roots import Roots

TEXT = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1}
PLAIN = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": TEXT,
}
CUSTOM = {
    "embed_dim": 16,
    "custom_text": True,
    "init_logit_bias": -10,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_model_pretrained": True,
        "timm_pool": "token",
    },
    "text_cfg": TEXT,
}
CONFIGS = {"plain": PLAIN, "custom": CUSTOM}


def own(kind: str, **changes: Any) -> EncoderSpec:
    """A literal that the catalogue does not know."""
    return EncoderSpec(
        name="tiny_clip",
        title="Tiny CLIP (random)",
        about="A small network with random weights, for tests.",
        library="open_clip",
        architecture="a configuration of its own",
        dim=16,
        pooling="projected",
        pixels=Pixels(size=CONFIGS[kind]["vision_cfg"]["image_size"]),
        slices=None,
        weights=WeightsSource(filename="tiny.pt"),
        licence="CC0-1.0",
        training="none",
        arguments={"config": CONFIGS[kind], **changes.pop("arguments", {})},
        layout=OPEN_CLIP_CUSTOM if kind == "custom" else OPEN_CLIP,
        **changes,
    )


def whole(kind: str, **changes: Any) -> Any:
    """The same model made by open_clip's class, with random weights."""
    torch.manual_seed(5)
    config = {name: part for name, part in CONFIGS[kind].items() if name != "custom_text"}
    vision = {**config["vision_cfg"], **({"timm_model_pretrained": False} if kind == "custom" else {})}
    model = (open_clip.CustomTextCLIP if kind == "custom" else open_clip.CLIP)(
        **{**config, "vision_cfg": vision}, **changes
    )
    return model.eval()


@pytest.fixture
def load(listed: Callable[[EncoderSpec], None], weighted: Roots) -> Callable[..., Any]:
    """Put a checkpoint where a person would, and load it by the ordinary way."""

    def load(spec: EncoderSpec, tensors: Any) -> Any:
        upstream.put(tensors, spec, weighted)
        listed(spec)
        return loading.load_encoder(spec.name, weighted, device="cpu")

    return load


def theirs(model: Any, inputs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.encode_image(torch.from_numpy(inputs).permute(0, 3, 1, 2)).numpy()


@pytest.mark.parametrize("kind", CONFIGS)
def test_one_literal_makes_an_extractor(kind: str, load: Callable[..., Any]):
    model, spec = whole(kind), own(kind)
    encoder, inputs = load(spec, model.state_dict()), upstream.network_inputs(spec)
    assert find_encoder("tiny_clip") is spec
    assert upstream.relative(encoder.features(inputs), theirs(model, inputs)) <= 1e-5
    assert not encoder.network.training


def test_an_argument_takes_the_place_of_what_the_configuration_says(load: Callable[..., Any]):
    model, spec = whole("plain", quick_gelu=True), own("plain", arguments={"quick_gelu": True})
    encoder, inputs = load(spec, model.state_dict()), upstream.network_inputs(spec)
    assert upstream.relative(encoder.features(inputs), theirs(model, inputs)) <= 1e-5
    assert upstream.relative(encoder.features(inputs), theirs(whole("plain"), inputs)) > 1e-3


def texts_alive() -> int:
    gc.collect()
    return sum(issubclass(type(one), TextTransformer) for one in gc.get_objects())


def test_the_text_side_is_freed(load: Callable[..., Any]):
    tensors, before = whole("custom").state_dict(), texts_alive()
    encoder = load(own("custom"), tensors)
    assert texts_alive() == before
    kept = with_open_clip.build(encoder.spec)
    assert texts_alive() == before + 1, "a whole model that is kept would be seen"
    assert sum(one.numel() for one in encoder.network.parameters()) == upstream.parameters_of(encoder.spec)
    assert kept.visual is not encoder.network


def test_steps_may_have_tensors_of_their_own(load: Callable[..., Any]):
    steps = (Step("pooled"), Step("linear", name="more", shape=(4, 16), bias=True), Step("l2"))
    layout = dataclasses.replace(OPEN_CLIP, rename=((r"^more\.", "feature.more."),))
    model, matrix, bias = whole("plain"), torch.randn(4, 16), torch.randn(4)
    spec = dataclasses.replace(own("plain"), steps=steps, layout=layout, dim=4)
    encoder = load(spec, {**model.state_dict(), "more.weight": matrix, "more.bias": bias})
    inputs = upstream.network_inputs(spec)
    expected = theirs(model, inputs) @ matrix.numpy().T + bias.numpy()
    assert (
        upstream.relative(encoder.features(inputs), expected / np.linalg.norm(expected, axis=1, keepdims=True)) <= 1e-5
    )


@pytest.mark.parametrize("kind", ["cls", "mean", "cls_and_mean", "map_mean", "attend"])
def test_a_step_that_needs_tokens_is_refused(kind: Any, load: Callable[..., Any]):
    spec = own("plain", steps=(Step(kind, name="more", shape=(4, 4)),))
    with pytest.raises(ValueError, match=f"tiny_clip: open_clip gives a projected vector, and '{kind}' needs tokens"):
        load(spec, whole("plain").state_dict())


@pytest.mark.parametrize("form", ["of a training", "of before custom texts", "half", "temperature as a vector"])
def test_the_forms_in_which_people_have_a_file(form: str, load: Callable[..., Any]):
    model, spec = whole("custom"), own("custom")
    tensors = model.state_dict()
    tolerance = 1e-5
    if form == "of a training":
        content: Any = {"state_dict": {f"module.{name}": one for name, one in tensors.items()}, "epoch": 3, "name": "x"}
    elif form == "of before custom texts":
        content = {name.removeprefix("text."): one for name, one in tensors.items()}
    elif form == "half":
        content, tolerance = {name: one.half() for name, one in tensors.items()}, 1e-2
    else:
        content = {**tensors, "logit_scale": tensors["logit_scale"][None], "logit_bias": tensors["logit_bias"][None]}
    encoder, inputs = load(spec, content), upstream.network_inputs(spec)
    assert upstream.relative(encoder.features(inputs), theirs(model, inputs)) <= tolerance
    assert {one.dtype for one in encoder.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("missing", ["visual.ln_post.bias", "ln_final.weight", "token_embedding.weight"])
def test_a_file_that_lacks_a_tensor_of_either_side_is_refused(missing: str, load: Callable[..., Any]):
    tensors = whole("plain").state_dict()
    del tensors[missing]
    with pytest.raises(BadInput, match=f"1 tensors of the network are not in it, such as {missing}"):
        load(own("plain"), tensors)


def test_a_file_with_a_tensor_more_is_refused(load: Callable[..., Any]):
    with pytest.raises(BadInput, match="1 of its tensors belong nowhere, such as visual.more"):
        load(own("plain"), {**whole("plain").state_dict(), "visual.more": torch.zeros(1)})


def test_a_text_side_that_only_the_hub_describes_is_refused_before_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"asked: {arguments}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(ValueError, match="ViT-B-32-of-others: open_clip has no model"):
        with_open_clip.build(dataclasses.replace(own("plain"), name="ViT-B-32-of-others", arguments={}))
    config = {**PLAIN, "text_cfg": {"hf_model_name": "someone/bert"}}
    with pytest.raises(ValueError, match="its text side would be fetched from the Hub"):
        with_open_clip.build(own("plain", arguments={"config": config}))


def test_a_literal_is_not_changed_by_building():
    spec = own("custom")
    before = dataclasses.asdict(spec)
    with_open_clip.build(spec)
    assert dataclasses.asdict(spec) == before
    assert spec.layout != Layout()
