"""General encoders of pictures and texts, against open_clip's own models and transforms."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from encoders import open_clip_shallow, upstream
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

from retrieval.encoders import layouts, with_open_clip
from retrieval.encoders.catalogue import find_encoder
from retrieval.errors import BadInput
from retrieval.roots import Roots

# Which weights of open_clip's table each is, by open_clip's tag.
TAGS = {
    "openclip_vit_b_32": "laion2b_s34b_b79k",
    "openclip_vit_b_16": "laion2b_s34b_b88k",
    "siglip2_b16": "webli",
    "siglip2_so400m": "webli",
    "pe_core_t": "meta",
    "pe_core_s": "meta",
    "pe_core_b": "meta",
    "pe_core_l": "meta",
    **dict.fromkeys([f"mobileclip2_{size}" for size in ("s0", "s2", "s3", "s4", "b")], "dfndr2b"),
}
STRUCTURE = PIXELS = SECOND = tuple(TAGS)
each = pytest.mark.parametrize("name", STRUCTURE)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a model never reaches for the Hub."""
    import huggingface_hub

    def refuse(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"the Hub was asked: {arguments}")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@each
def test_the_weights_are_those_of_open_clips_table(name: str):
    spec = find_encoder(name)
    assert spec.weights is not None
    table = get_pretrained_cfg(spec.architecture, TAGS[name])
    assert spec.weights.repo == table["hf_hub"].rstrip("/")
    assert {spec.weights.filename, *spec.weights.files} == {
        open_clip.constants.HF_WEIGHTS_NAME,
        open_clip.constants.HF_SAFE_WEIGHTS_NAME,
    }
    assert table.get("quick_gelu", False) == bool(
        (open_clip.get_model_config(spec.architecture) or {}).get("quick_gelu")
    )


@each
def test_every_tensor_of_open_clips_model_has_its_place_at_full_size(name: str):
    spec = find_encoder(name)
    whole = open_clip_shallow.on_meta(spec.architecture)
    theirs = whole.state_dict()
    with torch.device("meta"):
        ours = with_open_clip.build(spec)
    fitted = layouts.fitted(theirs, spec.layout, ours.state_dict())
    assert theirs.keys() - fitted.keys() == theirs.keys() & {"logit_scale", "logit_bias"}
    assert spec.parameters == sum(parameter.numel() for parameter in ours.visual.parameters())
    assert spec.weights and spec.weights.bytes == 4 * sum(parameter.numel() for parameter in whole.parameters())


@each
def test_a_checkpoint_of_open_clips_names_gives_what_open_clip_gives(
    name: str, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = open_clip_shallow.shallow(find_encoder(name), tmp_path)
    tensors = upstream.random_tensors(open_clip_shallow.keys_of(spec.architecture))
    path = upstream.put(tensors, spec, weighted)
    encoder = upstream.loaded(spec, weighted, monkeypatch)

    whole: Any = open_clip.create_model(spec.architecture, pretrained=str(path)).eval()
    inputs = upstream.network_inputs(spec)
    with torch.inference_mode():
        theirs = whole.encode_image(torch.from_numpy(inputs).permute(0, 3, 1, 2), normalize=True)
    ours = encoder.features(inputs)
    assert ours.shape == (2, spec.dim)
    assert upstream.relative(ours, theirs) <= 1e-5
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 1e-3, "two pictures have two vectors"


@each
def test_pixels_are_those_of_open_clips_transform(name: str):
    spec = find_encoder(name)
    table = get_pretrained_cfg(spec.architecture, TAGS[name])
    visual = open_clip_shallow.on_meta(spec.architecture).visual
    config = merge_preprocess_dict(PreprocessCfg(size=visual.image_size), table)
    transform: Any = image_transform_v2(PreprocessCfg(**config), is_train=False)
    upstream.check_pixels(spec, transform)


@pytest.mark.parametrize("name", ["openclip_vit_b_32", "pe_core_t"])
def test_one_tensor_less_or_more_is_refused(
    name: str, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = open_clip_shallow.shallow(find_encoder(name), tmp_path)
    tensors = upstream.random_tensors(open_clip_shallow.keys_of(spec.architecture))
    side = next(key for key in tensors if "token_embedding" in key)
    picture = next(key for key in tensors if key.startswith("visual.") and key.endswith("bias"))
    for changed in (side, picture):
        upstream.put({key: tensor for key, tensor in tensors.items() if key != changed}, spec, weighted)
        with pytest.raises(BadInput, match=f"not in it, such as {changed}"):
            upstream.loaded(spec, weighted, monkeypatch)
    upstream.put({**tensors, "visual.extra": torch.zeros(1)}, spec, weighted)
    with pytest.raises(BadInput, match=r"belong nowhere, such as visual\.extra"):
        upstream.loaded(spec, weighted, monkeypatch)
