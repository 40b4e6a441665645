"""timm's networks, with real weights and with a literal of the test's own."""

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders.upstream import put
from PIL import Image

from retrieval.encoders import checkpoints, loading, memory, weights, with_timm, with_torch
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for
from retrieval.encoders.specs import EncoderSpec, Layout, Step, WeightsSource
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.resampling import resize
from retrieval.roots import Roots

LITE = find_encoder("efficientnet_lite0")
PALACE, DAISY = 698, 985  # in ImageNet's order


@pytest.fixture(scope="module")
def lite(roots: Roots) -> Any:
    return loading.load_encoder("efficientnet_lite0", roots, device="cpu")


@pytest.fixture(scope="module")
def whole(roots: Roots) -> Any:
    """The network with its classifier, filled as the loader fills it."""
    import timm

    path = weights.locate(LITE, roots)
    assert path is not None
    network: Any = timm.create_model(LITE.architecture, pretrained=False)
    with_torch.fill(network, LITE, weights.Weights(path=path, digest="", verified=False))
    return network.eval()


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """scikit-learn's two, their middle square at 224, uint8 [2, 224, 224, 3]."""
    from sklearn.datasets import load_sample_image

    squares = []
    for name in ("china.jpg", "flower.jpg"):
        picture = load_sample_image(name)
        height, width = picture.shape[:2]
        left = (width - height) // 2
        squares.append(resize(np.ascontiguousarray(picture[:, left : left + height]), (224, 224), "pil_bicubic"))
    return np.stack(squares)


def test_the_real_network_names_a_palace_and_a_daisy(whole: Any, photographs: np.ndarray):
    import torch

    inputs = torch.from_numpy(network_input(photographs, pixels_for(LITE, 2))).permute(0, 3, 1, 2)
    with torch.inference_mode():
        shares = whole(inputs).softmax(dim=1)
    assert shares.argmax(dim=1).tolist() == [PALACE, DAISY]
    assert shares[0, PALACE] == pytest.approx(0.302, abs=0.002)
    assert shares[1, DAISY] == pytest.approx(0.233, abs=0.002)


def test_features_are_the_average_of_the_last_activation(lite: Any, whole: Any, photographs: np.ndarray):
    import torch

    inputs = network_input(photographs, pixels_for(LITE, 2))
    vectors = lite.features(inputs)
    assert vectors.dtype == np.float32 and vectors.shape == (2, 1280)
    with torch.inference_mode():
        maps = whole.forward_features(torch.from_numpy(inputs).permute(0, 3, 1, 2))
        logits = whole(torch.from_numpy(inputs).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(vectors, maps.mean(dim=(2, 3)).numpy(), rtol=1e-5, atol=1e-6)
    classifier = whole.get_classifier()
    by_hand = vectors @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()
    np.testing.assert_allclose(by_hand, logits, rtol=1e-4, atol=1e-4)


def test_features_do_not_depend_on_the_batch_nor_on_chance(lite: Any, photographs: np.ndarray):
    shades = np.stack([photographs[i % 2] // (1 + i // 2) for i in range(8)])
    inputs = network_input(np.stack([resize(shade, (64, 64), "pil_bicubic") for shade in shades]), pixels_for(LITE, 3))
    many = np.concatenate([inputs] * 8)
    together = lite.features(many)
    alone = np.concatenate([lite.features(inputs[i : i + 1]) for i in range(8)])
    scale = np.abs(alone).max()
    np.testing.assert_allclose(together[:8], alone, rtol=0, atol=1e-5 * scale)
    assert np.array_equal(together, lite.features(many))
    assert len(np.unique(alone.round(3), axis=0)) == 8  # and they do depend on the picture


def test_slices_go_through_at_their_own_size(lite: Any):
    slices = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    assert lite.features(network_input(slices, pixels_for(LITE, 3))).shape == (3, 1280)


# --- a network that the catalogue does not know


@pytest.mark.parametrize("filename", ["tiny.safetensors", "tiny.pth"])
def test_another_network_is_one_literal(
    filename: str, tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots, noise: np.ndarray
):
    import timm
    import torch
    from safetensors.torch import save_file

    assert tiny.weights is not None and weighted.weights is not None
    spec = dataclasses.replace(tiny, weights=dataclasses.replace(tiny.weights, filename=filename))
    listed(spec)
    path = weighted.weights / "tiny" / filename
    path.parent.mkdir(parents=True)
    (torch.save if filename.endswith(".pth") else save_file)(tiny_tensors, path)
    encoder = loading.load_encoder("tiny", weighted, device="cpu")
    vectors = encoder.features(noise)
    assert vectors.shape == (8, spec.dim) and vectors.dtype == np.float32
    assert encoder.weights_digest == tiny.weights.digest
    network: Any = timm.create_model("test_resnet", num_classes=0)
    network.load_state_dict({name: tensor for name, tensor in tiny_tensors.items() if not name.startswith("fc.")})
    with torch.inference_mode():
        theirs = network.eval()(torch.from_numpy(noise).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(vectors, theirs, rtol=1e-5, atol=1e-6)


def test_another_file_in_the_same_place_is_another_encoder(
    tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots, noise: np.ndarray
):
    from safetensors.torch import save_file

    listed(tiny)
    assert weighted.weights is not None
    path = weighted.weights / "tiny" / "tiny.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tiny_tensors, path)
    first = loading.load_encoder("tiny", weighted, device="cpu")
    assert loading.load_encoder("tiny", weighted, device="cpu") is first
    path.unlink()
    save_file({name: tensor * 2 for name, tensor in tiny_tensors.items()}, path)
    second = loading.load_encoder("tiny", weighted, device="cpu")
    assert second.weights_digest != first.weights_digest
    assert not np.array_equal(second.features(noise), first.features(noise))


def test_half_precision_files_are_read_and_widened(tmp_path: Path, tiny_tensors: dict):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "half.safetensors"
    save_file({"a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, path)
    tensors = checkpoints.read_arrays(path, LITE.layout)
    assert tensors["a"].dtype == np.float32 and tensors["a"].tolist() == [1.5, -2.0]


def test_in_bfloat16_features_are_near_and_of_a_network_of_their_own(
    tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots, noise: np.ndarray
):
    """On the CPU, which `loading` refuses: the arithmetic is torch's own on every device."""
    from safetensors.torch import save_file

    listed(tiny)
    assert weighted.weights is not None
    path = weighted.weights / "tiny" / "tiny.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tiny_tensors, path)
    spec = find_encoder("tiny.bf16")
    found = loading.identify(spec, weighted)
    assert found == loading.identify(tiny, weighted), "the plain encoder's own file"
    reduced, exact = with_timm.load(spec, found, device="cpu"), loading.load_encoder("tiny", weighted, device="cpu")
    ours, theirs = reduced.features(noise), exact.features(noise)
    assert ours.dtype == np.float32 and not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-2 * np.abs(theirs).max())
    assert {parameter.dtype for parameter in reduced.network.parameters()} == {torch.float32}
    assert np.array_equal(theirs, exact.features(noise)), "the other is as it was"
    assert loading._key(spec, found, "cuda") != loading._key(tiny, found, "cuda")


def test_embedding_switches_nothing_of_float32_off(lite: Any):
    import torch

    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert {parameter.dtype for parameter in lite.network.parameters()} == {torch.float32}
    assert not lite.network.training


# --- weights that do not fit


def fill(spec: EncoderSpec, tensors: dict, folder: Path) -> Any:
    import torch

    path = folder / "other.pth"
    torch.save(tensors, path)
    return with_timm.load(spec, weights.Weights(path=path, digest="", verified=False), device="cpu")


@pytest.mark.parametrize("fault", ["another network", "one missing", "one more", "one renamed", "one of another shape"])
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    fault: str, tiny: EncoderSpec, tiny_tensors: dict, tmp_path: Path
):
    import timm

    tensors = dict(tiny_tensors)
    if fault == "another network":
        tensors = dict(timm.create_model("test_vit").state_dict())
    elif fault == "one more":
        tensors["extra"] = tensors["fc.bias"]
    else:
        taken = tensors.pop("fc.bias")
        tensors |= {
            "one missing": {},
            "one renamed": {"fc.bais": taken},
            "one of another shape": {"fc.bias": taken[1:]},
        }[fault]
    with pytest.raises(BadInput, match=r"The weights file other\.pth"):
        fill(tiny, tensors, tmp_path)
    assert fill(tiny, tiny_tensors, tmp_path).spec is tiny


@pytest.mark.parametrize("fault", ["another network", "one missing", "one more", "one renamed", "two swapped"])
def test_a_checkpoint_of_another_naming_that_does_not_fit_is_refused_by_name(
    fault: str, tiny_tensors: dict, roots: Roots, tmp_path: Path
):
    path = weights.locate(LITE, roots)
    assert path is not None
    tensors = checkpoints.read(path, LITE.layout)
    if fault == "another network":
        tensors = tiny_tensors
    elif fault == "one missing":
        del tensors["_bn1.running_var"]
    elif fault == "one more":
        tensors["_fc.more"] = tensors["_fc.bias"]
    elif fault == "one renamed":
        tensors["_fc.bais"] = tensors.pop("_fc.bias")
    else:
        tensors["_fc.bias"], tensors["_bn1.bias"] = tensors["_bn1.bias"], tensors["_fc.bias"]
    with pytest.raises(BadInput, match=r"The weights file other\.pth"):
        fill(LITE, tensors, tmp_path)


def test_a_checkpoint_of_another_naming_is_filled_in_by_name(roots: Roots, whole: Any):
    path = weights.locate(LITE, roots)
    assert path is not None
    tensors, own = checkpoints.read(path, LITE.layout), whole.state_dict()
    for theirs, ours in [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_mean", "bn1.running_mean"),
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._bn2.weight", "blocks.0.0.bn2.weight"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.10._bn0.bias", "blocks.4.2.bn1.bias"),
        ("_blocks.10._bn1.bias", "blocks.4.2.bn2.bias"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_bn1.running_var", "bn2.running_var"),
        ("_fc.bias", "classifier.bias"),
    ]:
        assert np.array_equal(tensors[theirs].numpy(), own[ours].numpy()), ours


def test_a_picture_reaches_the_network_the_right_way_up_and_in_colour(lite: Any, photographs: np.ndarray):
    import timm.data
    import torch

    transform: Any = timm.data.create_transform(
        input_size=(3, 224, 224), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=1.0
    )
    with torch.inference_mode():
        theirs = lite.network(transform(Image.fromarray(photographs[0]))[None]).numpy()
    ours = lite.features(network_input(photographs[:1], pixels_for(LITE, 2)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_specs_that_differ_in_pixels_alone_share_a_network(
    tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots
):
    from safetensors.torch import save_file

    listed(tiny)
    assert weighted.weights is not None
    path = weighted.weights / "tiny" / "tiny.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tiny_tensors, path)
    first: Any = loading.load_encoder("tiny", weighted, device="cpu")
    assert tiny.pixels is not None
    larger = dataclasses.replace(tiny, pixels=dataclasses.replace(tiny.pixels, at_least=32))
    second: Any = loading.load(larger, weighted, device="cpu")
    assert second.spec is larger and first.spec is tiny
    assert second.network is first.network
    other = dataclasses.replace(tiny, steps=(Step("pooled"), Step("l2")))
    third: Any = loading.load(other, weighted, device="cpu")
    assert third.network is not first.network


def test_without_room_for_two_the_first_network_is_gone_from_memory(
    tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    from safetensors.torch import save_file

    listed(tiny)
    assert weighted.weights is not None
    path = weighted.weights / "tiny" / "tiny.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tiny_tensors, path)
    monkeypatch.setattr(memory, "room", lambda device: 2_500_000)  # one of 0.4 million numbers, not two
    first: Any = loading.load_encoder("tiny", weighted, device="cpu")
    assert 1_250_000 < memory.held(first.network) < 2_500_000
    network = weakref.ref(first.network)
    del first
    assert network() is not None
    loading.load(dataclasses.replace(tiny, steps=(Step("pooled"), Step("l2"))), weighted, device="cpu")
    assert network() is None


# --- files that change under one's hands


def stepped(tiny: EncoderSpec) -> EncoderSpec:
    """The tiny network with a matrix behind it, which the file holds too."""
    return dataclasses.replace(
        tiny,
        steps=(Step("pooled"), Step("linear", name="head", shape=(8, 96))),
        dim=8,
        layout=Layout(rename=((r"^head\.weight$", "feature.head.weight"),)),
    )


@pytest.mark.parametrize("filename", ["tiny.safetensors", "tiny.pth"])
def test_a_file_that_is_written_over_does_not_change_what_was_loaded(
    filename: str, tiny: EncoderSpec, tiny_tensors: dict, weighted: Roots, noise: np.ndarray
):
    spec = dataclasses.replace(stepped(tiny), weights=WeightsSource(filename=filename))
    tensors = {name: one for name, one in tiny_tensors.items() if not name.startswith(("fc.", "head."))}
    path = put({**tensors, "head.weight": torch.randn(8, 96)}, spec, weighted)
    spec = dataclasses.replace(spec, arguments={"num_classes": 0})
    encoder = loading.load(spec, weighted, device="cpu")
    before = encoder.features(noise)
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    assert np.array_equal(encoder.features(noise), before)


def test_a_file_that_is_replaced_while_it_is_read_is_not_taken_for_the_one_before(
    tiny: EncoderSpec, tiny_tensors: dict, weighted: Roots, monkeypatch: pytest.MonkeyPatch
):
    spec = dataclasses.replace(tiny, name="replaced")
    put(tiny_tensors, spec, weighted)
    fill = with_timm.fill

    def fill_after_another_came(*given: Any) -> Any:
        put({name: tensor + 1 for name, tensor in tiny_tensors.items()}, spec, weighted)
        return fill(*given)

    monkeypatch.setattr(with_timm, "fill", fill_after_another_came)
    with pytest.raises(Unavailable, match="was replaced while it was being used"):
        loading.load(spec, weighted, device="cpu")
    monkeypatch.setattr(with_timm, "fill", fill)
    encoder = loading.load(spec, weighted, device="cpu")
    assert encoder.weights_digest == loading.identify(spec, weighted).digest
