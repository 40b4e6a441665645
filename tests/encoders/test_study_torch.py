"""The study's four networks with other weights: torchvision's classes beside timm's, with the same random weights."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from encoders.upstream import check_pixels, loaded, network_inputs, parameters_of, put, random_tensors, relative

from retrieval.encoders import loading
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

STRUCTURE = PIXELS = ("vgg19_torch", "resnet50_torch", "densenet121_torch", "efficientnetv2m_torch")
SECOND = ("vgg19_torch", "resnet50_torch", "densenet121_torch")
TAGS = {
    "vgg19_torch": "vgg19.tv_in1k",
    "resnet50_torch": "resnet50.tv_in1k",
    "densenet121_torch": "densenet121.tv_in1k",
    "efficientnetv2m_torch": "tf_efficientnetv2_m.in1k",
}


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def tensors_of(name: str) -> dict[str, torch.Tensor]:
    """Random tensors in timm's own names and shapes, classifier and all: what its Hub files hold."""
    import timm

    with torch.device("meta"):
        network: Any = timm.create_model(TAGS[name])
    counters = {key: torch.tensor(7) for key in network.state_dict() if key.endswith("num_batches_tracked")}
    return random_tensors(shapes(network)) | counters


@dataclass(frozen=True, eq=False)
class Case:
    """An encoder that was loaded from the Hub's layout, what was in the file, and two pictures."""

    spec: EncoderSpec
    tensors: dict[str, torch.Tensor]
    encoder: Any
    inputs: np.ndarray


@pytest.fixture(scope="module", params=STRUCTURE)
def case(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Case:
    spec = find_encoder(request.param)
    folder = tmp_path_factory.mktemp(spec.name)
    roots = Roots(data=(), weights=folder / "weights", precomputed=folder, cache=folder / "cache")
    tensors = tensors_of(spec.name)
    path = put(tensors, spec, roots)
    encoder = loading.load_encoder(spec.name, roots, device="cpu")
    path.unlink()  # half a gigabyte, and in memory by now
    return Case(spec, tensors, encoder, network_inputs(spec)[:, ::4, ::4])


def test_the_hubs_file_gives_the_mean_of_the_last_map(case: Case):
    """Of which timm's densenet has the ReLU already, and its vgg has no layer of the classifier."""
    vectors = case.encoder.features(case.inputs)
    assert vectors.shape == (2, case.spec.dim) and parameters_of(case.spec) == case.spec.parameters
    with torch.inference_mode():
        maps = case.encoder.network.forward_features(torch.from_numpy(case.inputs).permute(0, 3, 1, 2))
    assert maps.shape[1] == case.spec.dim and maps.ndim == 4
    assert relative(vectors, maps.mean(dim=(2, 3))) <= 1e-5
    if case.spec.name in SECOND:
        assert maps.min() == 0  # after a ReLU


@pytest.mark.parametrize("case", SECOND, indirect=True)  # its EfficientNetV2-M pads otherwise: another network
def test_torchvision_gives_the_same(case: Case):
    spec, own = case.spec, case.tensors
    theirs = getattr(torchvision.models, spec.architecture)(weights=None).eval()
    own = dict(zip(theirs.state_dict(), own.values(), strict=True))  # both in the order of the layers
    if spec.name == "vgg19_torch":  # its classifier has matrices where timm has convolutions
        own = {key: one.flatten(1) if "classifier" in key and one.ndim > 1 else one for key, one in own.items()}
    theirs.load_state_dict(own, strict=True)
    pictures = torch.from_numpy(case.inputs).permute(0, 3, 1, 2)
    with torch.inference_mode():
        if spec.name == "resnet50_torch":
            theirs.fc = torch.nn.Identity()
            expected = theirs(pictures)
        else:
            expected = theirs.features(pictures).relu().mean(dim=(2, 3))
    assert relative(case.encoder.features(case.inputs), expected) <= 1e-5


def test_small_slices_go_through(case: Case):
    slices = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    inputs = network_input(slices, pixels_for(case.spec, 3))
    assert inputs.shape == (2, 32, 32, 3)
    assert case.encoder.features(inputs).shape == (2, case.spec.dim)


@pytest.mark.parametrize("name", ["resnet50_torch", "densenet121_torch"])
def test_torchvisions_own_file_fits_too(name: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """In the names of its first files: `norm.1` in a dense layer, and no counters of batches."""
    spec = find_encoder(name)
    assert spec.weights is not None
    inputs = network_inputs(spec)[:, ::4, ::4]
    newer = tensors_of(name)
    path = put(newer, spec, weighted)
    expected = loaded(spec, weighted, monkeypatch).features(inputs)
    older = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): tensor
        for key, tensor in newer.items()
        if not key.endswith("num_batches_tracked")
    }
    assert any("norm.1" in key for key in older) == (name == "densenet121_torch")
    path.unlink()
    put(older, spec, weighted, filename=spec.weights.files[-1])
    assert np.array_equal(loaded(spec, weighted, monkeypatch).features(inputs), expected)


@pytest.mark.parametrize("fault", ["missing", "more"])
def test_a_tensor_missing_or_left_over_is_refused(fault: str, weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    spec = find_encoder("densenet121_torch")
    tensors = tensors_of("densenet121_torch")
    if fault == "missing":
        del tensors["features.norm5.running_var"]
    else:
        tensors["features.norm6.weight"] = torch.ones(1024)
    put(tensors, spec, weighted)
    with pytest.raises(BadInput, match=r"features\.norm"):
        loaded(spec, weighted, monkeypatch)


def uncropped(spec: EncoderSpec) -> Any:
    """timm's transform with the mean, deviation and filter of its own entry, squashed to the size and not cropped."""
    import timm
    from timm.data.transforms_factory import create_transform

    entry: Any = timm.get_pretrained_cfg(TAGS[spec.name])
    assert spec.pixels is not None and spec.pixels.size == entry.input_size[1]
    return create_transform(
        input_size=entry.input_size,
        interpolation=entry.interpolation,
        mean=entry.mean,
        std=entry.std,
        crop_pct=1.0,
        crop_mode="squash",
    )


@pytest.mark.parametrize("name", PIXELS)
def test_what_reaches_the_network_is_timms_transform_without_its_crop(name: str):
    check_pixels(find_encoder(name), uncropped(find_encoder(name)))
