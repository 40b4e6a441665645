"""RAD-DINO and RETFound: checkpoints in the authors' form, the same features by other means, the same pixels."""

import argparse
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from encoders import dinov2_names, upstream

from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

MAE = ("retfound_mae_cfp", "retfound_mae_oct")
DINOV2 = ("retfound_dinov2_meh", "retfound_dinov2_shanghai")
STRUCTURE = PIXELS = SECOND = ("rad_dino", *MAE, *DINOV2)

LARGE: dict[str, Any] = {"hidden_size": 1024, "num_attention_heads": 16, "image_size": 518, "patch_size": 14}
BASE: dict[str, Any] = {"hidden_size": 768, "num_attention_heads": 12, "image_size": 518, "patch_size": 14}


def ours(spec: EncoderSpec, content: Any, roots: Roots, monkeypatch: pytest.MonkeyPatch, *, depth: int) -> Any:
    shallow = upstream.at_depth(spec, depth)
    upstream.put(content, shallow, roots)
    return upstream.loaded(shallow, roots, monkeypatch)


@pytest.mark.parametrize("name", STRUCTURE)
def test_parameters_are_as_stated(name: str):
    spec = find_encoder(name)
    assert upstream.parameters_of(spec) == spec.parameters


# --- RAD-DINO


@pytest.mark.parametrize("naming", [dict, dinov2_names.older, dinov2_names.meta])
def test_rad_dino_gives_what_transformers_gives(naming: Any, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = find_encoder("rad_dino")
    network = dinov2_names.network(num_hidden_layers=1, **BASE)
    encoder = ours(spec, naming(network.state_dict()), weighted, monkeypatch, depth=1)
    inputs = upstream.network_inputs(spec)
    assert inputs.shape == (2, 518, 518, 3)
    feature = encoder.features(inputs)
    assert feature.shape == (2, 768)
    assert upstream.relative(feature, dinov2_names.cls(network, inputs)) <= 1e-5


def test_rad_dinos_pixels_are_its_processors():
    from transformers import BitImageProcessorPil

    processor: Any = BitImageProcessorPil(  # the values of the repository's preprocessor_config.json
        size={"shortest_edge": 518},
        crop_size={"height": 518, "width": 518},
        resample=3,
        image_mean=[0.5307, 0.5307, 0.5307],
        image_std=[0.2583, 0.2583, 0.2583],
    )
    upstream.check_pixels(find_encoder("rad_dino"), lambda one: processor(one, return_tensors="np")["pixel_values"][0])


# --- RETFound, the masked autoencoder


def mae_shapes() -> dict[str, tuple[int, ...]]:
    """The list for the authors' network with global pooling, and what a masked autoencoder's file has besides.

    The decoder's names are those of He et al.'s MAE (models_mae.py), on which RETFound was trained: 8 blocks of 512.
    """
    shapes = {name: one for name, one in upstream.keys_of("keys_RETFound-mae-avg").items() if "fc_norm" not in name}
    wide, decoder = 1024, 512
    shapes |= {"norm.weight": (wide,), "norm.bias": (wide,), "mask_token": (1, 1, decoder)}
    shapes |= {"decoder_embed.weight": (decoder, wide), "decoder_embed.bias": (decoder,)}
    shapes |= {
        "decoder_pos_embed": (1, 197, decoder),
        "decoder_norm.weight": (decoder,),
        "decoder_norm.bias": (decoder,),
    }
    shapes |= {"decoder_pred.weight": (768, decoder), "decoder_pred.bias": (768,)}
    for n in range(8):
        shapes |= {f"decoder_blocks.{n}.norm1.weight": (decoder,), f"decoder_blocks.{n}.attn.qkv.bias": (3 * decoder,)}
    return shapes


def mae_file(*, depth: int) -> dict[str, Any]:
    """What RETFound's file holds: the weights, and beside them the optimizer, the epoch and the arguments."""
    model = upstream.random_tensors(upstream.shallow(mae_shapes(), depth))
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    return {"model": model, "optimizer": optimizer, "epoch": 799, "args": argparse.Namespace(batch_size=16)}


def by_the_authors(model: dict[str, torch.Tensor], inputs: np.ndarray, *, depth: int) -> torch.Tensor:
    """Their forward_features (models_vit.py): blocks, the mean without the class token, a norm that was never trained.

    On timm's plain network, whose own norm and pooling are passed by.
    """
    import timm

    network: Any = timm.create_model("vit_large_patch16_224", num_classes=0, depth=depth)
    encoder = {name: one for name, one in model.items() if not name.startswith(("decoder_", "mask_token"))}
    network.load_state_dict(encoder, strict=True)
    seen: list[torch.Tensor] = []
    network.blocks.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.inference_mode():
        network.eval()(torch.from_numpy(inputs).permute(0, 3, 1, 2))
    return F.layer_norm(seen[0][:, 1:].mean(1), (1024,), eps=1e-6)


@pytest.mark.parametrize("name", MAE)
def test_retfound_mae_gives_what_the_authors_code_gives(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    depth = 2 if name == "retfound_mae_cfp" else 1
    spec, content = find_encoder(name), mae_file(depth=depth)
    inputs = upstream.network_inputs(spec)
    encoder = ours(spec, content, weighted, monkeypatch, depth=depth)
    feature = encoder.features(inputs)
    assert feature.shape == (2, 1024)
    assert upstream.relative(feature, by_the_authors(content["model"], inputs, depth=depth)) <= 1e-5
    assert np.allclose(feature.mean(axis=1), 0, atol=1e-5) and np.allclose(feature.std(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", MAE)
def test_the_whole_mae_checkpoint_fits(name: str):
    shapes = mae_shapes()
    assert sum(key.startswith("blocks.") and key.endswith("norm1.weight") for key in shapes) == 24
    dinov2_names.fits_whole(find_encoder(name), shapes)


def test_only_the_norm_after_the_mean_may_be_absent(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    content = mae_file(depth=1)
    del content["model"]["blocks.0.norm2.weight"]
    with pytest.raises(BadInput, match=r"1 tensors of the network are not in it, such as blocks\.0\.norm2\.weight"):
        ours(find_encoder("retfound_mae_cfp"), content, weighted, monkeypatch, depth=1)


# --- RETFound, DINOv2


def teacher_file(network: Any, *, chunks: bool = False) -> dict[str, Any]:
    """What DINOv2's training writes: the teacher's backbone and its heads, blocks in chunks or not."""
    own = dinov2_names.meta(network.state_dict())
    if chunks:
        own = {
            name.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): t for name, t in own.items()
        }
    heads = {f"{head}_head.mlp.0.weight": torch.zeros(4, 4) for head in ("dino", "ibot")}
    return {"teacher": {**{f"backbone.{name}": tensor for name, tensor in own.items()}, **heads}}


@pytest.mark.parametrize(("name", "chunks"), [("retfound_dinov2_meh", True), ("retfound_dinov2_shanghai", False)])
def test_retfound_dinov2_gives_what_transformers_gives(
    name: str, chunks: bool, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    """transformers resamples the grid of 37 each time, without antialiasing: the authors' dialect, other code."""
    spec, depth = find_encoder(name), 2 if chunks else 1
    network = dinov2_names.network(num_hidden_layers=depth, **LARGE)
    encoder = ours(spec, teacher_file(network, chunks=chunks), weighted, monkeypatch, depth=depth)
    inputs = upstream.network_inputs(spec)
    feature = encoder.features(inputs)
    assert feature.shape == (2, 1024)
    assert upstream.relative(feature, dinov2_names.cls(network, inputs)) <= 1e-5


@pytest.mark.parametrize("name", DINOV2)
def test_the_whole_teacher_fits(name: str):
    shapes = upstream.keys_of("keys_RETFound-dinov2") | {"pos_embed": (1, 1370, 1024), "mask_token": (1, 1024)}
    assert sum(key.endswith("norm1.weight") for key in shapes) == 24
    dinov2_names.fits_whole(find_encoder(name), {f"backbone.{key}": shape for key, shape in shapes.items()})


def test_plain_dinov2_weights_under_the_prefix_are_not_passed_over(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """The authors' notebook forgets the prefix and runs the weights that it started from; here nothing stays random."""
    network = dinov2_names.network(num_hidden_layers=1, **LARGE)
    content = teacher_file(network)
    content["teacher"] = {f"student.{name}": tensor for name, tensor in content["teacher"].items()}
    with pytest.raises(BadInput, match=r"tensors of the network are not in it, .* belong nowhere"):
        ours(find_encoder("retfound_dinov2_meh"), content, weighted, monkeypatch, depth=1)


@pytest.mark.parametrize("name", [*MAE, *DINOV2])
def test_retfounds_pixels_are_the_authors_evaluation(name: str):
    """build_transform of their util/datasets.py at 224 pixels: 256 bicubic, the middle 224, ImageNet's values."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    transform = transforms.Compose(
        [
            transforms.Resize(256, interpolation=InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    upstream.check_pixels(find_encoder(name), transform)
