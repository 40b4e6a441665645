"""The small networks with the real weights of their packages: what they name, find again, and give elsewhere."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import timm
import torch
import torchvision
from encoders.upstream import (
    check_pixels,
    four_kinds,
    loaded,
    network_inputs,
    parameters_of,
    put,
    random_tensors,
    relative,
)
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image
from timm.data.transforms_factory import create_transform

from retrieval.encoders import checkpoints, loading, weights, with_timm, with_torch
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for
from retrieval.encoders.specs import EncoderSpec
from retrieval.roots import Roots

LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
STRUCTURE = PIXELS = (*LITES, "augnet")
SECOND = ("augnet",)
PALACE, DAISY = 698, 985  # in ImageNet's order
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
AUGNET = find_encoder("augnet")


@pytest.fixture
def real(roots: Roots, need: Callable) -> Callable[[str], tuple[EncoderSpec, weights.Weights]]:
    """The spec of this name and the real weights that its package brings, known by their digest."""

    def found(name: str) -> tuple[EncoderSpec, weights.Weights]:
        spec = find_encoder(name)
        assert spec.weights is not None
        need(weights.locate(spec, roots), f"the package {spec.weights.package} is not installed")
        at_hand = loading.identify(spec, roots)
        assert at_hand.verified and at_hand.digest == spec.weights.digest
        return spec, at_hand

    return found


def batch(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(inputs).permute(0, 3, 1, 2)


# --- EfficientNet-Lite


def squares(side: int) -> np.ndarray:
    """The middle square of scikit-learn's two photographs, uint8 [2, S, S, 3]."""
    cut = []
    for name in PHOTOGRAPHS:
        picture = load_sample_image(name)
        height, width = picture.shape[:2]
        left = (width - height) // 2
        square = Image.fromarray(picture[:, left : left + height])
        cut.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(cut)


@pytest.mark.parametrize(
    ("name", "palace", "flower", "places"),
    [
        ("efficientnet_lite0", 0.302, 0.233, 1),
        ("efficientnet_lite1", 0.521, 0.027, 5),
        ("efficientnet_lite2", 0.317, None, 40),
    ],
)
def test_a_palace_and_a_flower_are_named(name: str, palace: float, flower: float | None, places: int, real: Callable):
    """By the network with its classifier, filled as the loader fills it.

    The palace comes first of a thousand classes. The flower looks like a dahlia, which is none of them: Lite0 says
    daisy, Lite1 has that class among its first five, and Lite2, which sees a honeycomb, among its first forty.
    """
    spec, at_hand = real(name)
    network = with_timm.build(spec)
    with_torch.fill(network, spec, at_hand)
    assert spec.pixels is not None and spec.pixels.size is not None
    inputs = network_input(squares(spec.pixels.size), spec.pixels)
    with torch.inference_mode():
        shares = network.eval()(batch(inputs)).softmax(dim=1)
    assert shares[0].argmax() == PALACE
    assert shares[0, PALACE] == pytest.approx(palace, abs=0.002)
    assert DAISY in shares[1].topk(places).indices
    assert flower is None or shares[1, DAISY] == pytest.approx(flower, abs=0.002)


@pytest.mark.parametrize("name", LITES)
def test_the_feature_is_the_mean_of_the_last_map_before_the_classifier(name: str, real: Callable, roots: Roots):
    spec, at_hand = real(name)
    whole = with_timm.build(spec)
    with_torch.fill(whole, spec, at_hand)
    inputs = network_inputs(spec)
    vectors = loading.load_encoder(name, roots, device="cpu").features(inputs)
    assert vectors.shape == (2, spec.dim) and parameters_of(spec) == spec.parameters
    with torch.inference_mode():
        assert relative(vectors, whole.eval().forward_features(batch(inputs)).mean(dim=(2, 3))) <= 1e-5
        assert relative(whole.classifier(torch.from_numpy(vectors)).numpy(), whole(batch(inputs))) <= 1e-5


@pytest.mark.parametrize("name", LITES)
def test_what_reaches_a_lite_is_timms_transform_without_its_crop(name: str):
    spec = find_encoder(name)
    make: Any = create_transform  # its annotation has what it gives in training too
    entry: Any = timm.get_pretrained_cfg(spec.architecture)
    check_pixels(
        spec,
        make(
            entry.input_size,
            interpolation=entry.interpolation,
            mean=entry.mean,
            std=entry.std,
            crop_pct=1.0,
            crop_mode="squash",
        ),
    )


# --- AugNet


def torchvisions(tensors: dict[str, torch.Tensor]) -> Any:
    """torchvision's ResNet50 with a last layer of 768, filled from a file in the package's names; tanh comes after."""
    network = torchvision.models.resnet50(weights=None)
    network.fc = torch.nn.Linear(2048, 768)
    network.load_state_dict({key.removeprefix("module.pre."): one for key, one in tensors.items()}, strict=True)
    return network.eval()


def test_augnets_real_weights_give_the_same_in_torchvision(real: Callable, roots: Roots):
    spec, at_hand = real("augnet")
    tensors = checkpoints.read(at_hand.path, spec.layout)
    assert len(tensors) == 320 and all(key.startswith("module.pre.") for key in tensors)
    inputs = network_inputs(spec)
    with torch.inference_mode():
        expected = torchvisions(tensors)(batch(inputs)).tanh()
    vectors = loading.load_encoder("augnet", roots, device="cpu").features(inputs)
    assert vectors.shape == (2, spec.dim)
    assert relative(vectors, expected) <= 1e-5


def test_a_random_file_in_augnets_names_gives_the_same_in_torchvision(weighted: Roots, monkeypatch: pytest.MonkeyPatch):
    """Without the package: names and shapes of torchvision's class, under the prefix that the package's file has."""
    network = torchvision.models.resnet50(weights=None)
    network.fc = torch.nn.Linear(2048, 768)
    keys = {f"module.pre.{key}": tuple(one.shape) for key, one in network.state_dict().items()}
    counters = {key: torch.tensor(3) for key in keys if key.endswith("num_batches_tracked")}
    tensors = random_tensors(keys) | counters
    put(tensors, AUGNET, weighted)
    inputs = network_inputs(AUGNET)[:, ::4, ::4]
    with torch.inference_mode():
        expected = torchvisions(tensors)(batch(inputs)).tanh()
    assert relative(loaded(AUGNET, weighted, monkeypatch).features(inputs), expected) <= 1e-5
    assert parameters_of(AUGNET) == AUGNET.parameters == sum(one.numel() for one in network.parameters())


def test_what_reaches_augnet_is_what_its_package_makes():
    """By hand: the shorter side to 350 by OpenCV's default, less ImageNet's mean, over its deviation."""
    for kind, picture in four_kinds().items():
        colour = np.stack([picture] * 3, axis=-1) if picture.ndim == 2 else picture
        height, width = colour.shape[:2]
        scale = 350 / min(height, width)
        seen = cv2.resize(colour, (int(width * scale), int(height * scale))) / 255
        theirs = (seen - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        ours = network_input(picture[None], pixels_for(AUGNET, 2))[0]
        assert ours.shape == theirs.shape, kind
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=kind)


def tiles() -> list[np.ndarray]:
    """Tiles of 128 pixels of scikit-learn's photographs that show something: grey levels deviate by more than 25."""
    cut = []
    for name in PHOTOGRAPHS:
        picture = load_sample_image(name)
        corners = [(row, column) for row in range(0, 300, 128) for column in range(0, 513, 128)]
        cut += [np.ascontiguousarray(picture[row : row + 128, column : column + 128]) for row, column in corners]
    return [tile for tile in cut if tile.mean(axis=2).std() > 25]


def changed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """60 to 90 % of its area at some place, mirrored every other time, brightness and contrast by up to a fifth."""
    height, width = picture.shape[:2]
    share = np.sqrt(rng.uniform(0.6, 0.9))
    tall, wide = int(height * share), int(width * share)
    row, column = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    cut = picture[row : row + tall, column : column + wide]
    cut = cut[:, ::-1] if rng.random() < 0.5 else cut
    shown = Image.fromarray(np.ascontiguousarray(cut)).resize((width, height), Image.Resampling.BICUBIC)
    shown = ImageEnhance.Brightness(shown).enhance(rng.uniform(0.8, 1.2))
    return np.asarray(ImageEnhance.Contrast(shown).enhance(rng.uniform(0.8, 1.2)))


def test_augnet_finds_changed_crops_of_a_picture_again(real: Callable, roots: Roots):
    """Two crops of each of 20 tiles: the nearest tile is the crop's own for at least nine of ten."""
    real("augnet")
    encoder = loading.load_encoder("augnet", roots, device="cpu")

    def features(pictures: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([encoder.features(network_input(one[None], pixels_for(AUGNET, 2))) for one in pictures])

    gallery, rng = tiles(), np.random.default_rng(0)
    crops = [changed(tile, rng) for tile in gallery for _ in range(2)]
    apart = np.linalg.norm(features(crops)[:, None] - features(gallery)[None], axis=2)
    hits = apart.argmin(axis=1) == np.repeat(np.arange(len(gallery)), 2)
    assert (len(gallery), len(crops)) == (20, 40)
    assert hits.mean() >= 0.9
