"""The study's four networks in Keras: random files in the layout of Keras' own, and keras.applications beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders.upstream import four_kinds, relative
from PIL import Image

from retrieval.encoders import loading
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import BadInput
from retrieval.roots import Roots

STRUCTURE = PIXELS = SECOND = ("vgg19", "resnet50", "densenet121", "efficientnetv2m")
MODULES = {
    "vgg19": "vgg19",
    "resnet50": "resnet",
    "densenet121": "densenet",
    "efficientnetv2m": "efficientnet_v2",
}
each = pytest.mark.parametrize("name", STRUCTURE)


def preprocess(name: str, pictures: np.ndarray) -> np.ndarray:
    """Keras' own for this network, of RGB pictures [N, S, S, 3] at 0..255."""
    import keras

    return np.asarray(getattr(keras.applications, MODULES[name]).preprocess_input(pictures.astype(np.float32)))


@pytest.fixture(scope="module")
def networks() -> Callable[[str], Any]:
    """keras.applications' own network with random weights and its own pooling, built once."""
    import keras

    built: dict[str, Any] = {}

    def network(name: str) -> Any:
        if name not in built:
            keras.utils.set_random_seed(0)
            kind = getattr(keras.applications, find_encoder(name).architecture)
            network = kind(include_top=False, weights=None, pooling="avg", input_shape=(64, 64, 3))
            rng = np.random.default_rng(0)  # norms and biases too, which start at 0 and 1
            network.set_weights([w + 0.1 * rng.random(w.shape) * (w.ndim == 1) for w in network.get_weights()])
            built[name] = network
        return built[name]

    return network


def write(network: Any, spec: EncoderSpec, roots: Roots, **form: Callable) -> Path:
    """A file in the layout of Keras' published ones, where a person would put it."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    assert spec.weights is not None and roots.weights is not None
    path = roots.weights / spec.name / spec.weights.filename
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as stream:
        save_weights_to_hdf5_group(stream, network)
        for change in form.values():
            change(stream)
    return path


def smooth(n: int = 2) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (n, 9, 9, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((64, 64))) for one in small])


@each
def test_a_file_in_keras_layout_gives_what_keras_applications_gives(
    name: str, networks: Callable[[str], Any], weighted: Roots
):
    """And the feature is the mean over the places of the last map."""
    import keras

    spec, theirs = find_encoder(name), networks(name)
    write(theirs, spec, weighted)
    encoder: Any = loading.load_encoder(name, weighted, device="cpu")
    pictures = smooth()
    vectors = encoder.features(network_input(pictures, pixels_for(spec, 2)))
    assert vectors.shape == (2, spec.dim) and vectors.dtype == np.float32
    assert encoder.network.count_params() == theirs.count_params() == spec.parameters
    both: Any = keras.Model(theirs.input, [theirs.layers[-2].output, theirs.output])
    maps, pooled = both.predict(preprocess(name, pictures), verbose=0)
    assert maps.ndim == 4
    assert relative(vectors, pooled) <= 1e-5
    assert relative(vectors, maps.mean(axis=(1, 2))) <= 1e-5


@each
def test_what_reaches_the_network_is_keras_own_preprocessing(name: str):
    """On the picture's own size; 28 is enlarged to 32 as the study's code did it, by OpenCV's default."""
    import cv2

    spec = find_encoder(name)
    for kind, picture in four_kinds().items():
        seen = cv2.resize(picture, (32, 32)) if picture.shape[:2] == (28, 28) else picture
        colour = np.stack([seen] * 3, axis=-1) if seen.ndim == 2 else seen
        theirs = preprocess(name, colour[None])
        ours = network_input(picture[None], pixels_for(spec, 2))
        # 1e-6 of the scale: these pixels reach 255 where they are not divided
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * scale, err_msg=kind)


@each
def test_slices_are_enlarged_cubically_and_in_depth(name: str):
    slices, pixels = find_encoder(name).slices, find_encoder(name).pixels
    assert slices is not None and pixels is not None
    assert (slices.at_least, slices.depth, slices.interpolation) == (32, "spline", "cv2_cubic")
    assert (slices.scale, slices.mean, slices.std, slices.channels) == (
        *(pixels.scale, pixels.mean, pixels.std),
        pixels.channels,
    )


def test_the_largest_of_them_scales_its_pixels_itself(networks: Callable[[str], Any]):
    """So that they must not be divided before: 0 to 255 become -1 to 0.99."""
    [layer] = [layer for layer in networks("efficientnetv2m").layers if layer.name == "rescaling"]
    grey = np.full((1, 1, 1, 3), 255, np.float32)
    np.testing.assert_allclose(layer(grey).cpu().numpy(), grey / 128 - 1)


def name_as_of_old(stream: Any) -> None:
    """As VGG's file has its tensors from the first Keras: `block1_conv1_W_1:0`, in a group without a path."""
    for layer in stream:
        group = stream[layer]
        listed = list(group.attrs["weight_names"])
        older = [f"{layer}_{'W' if str(name).strip(chr(39)).endswith('kernel') else 'b'}_1:0" for name in listed]
        for name, old in zip(listed, older, strict=True):
            group[old] = group[name][()]
        if listed:
            del group[layer]
            group.attrs["weight_names"] = [old.encode() for old in older]


def test_vgg19_in_the_names_of_the_first_keras(networks: Callable[[str], Any], weighted: Roots):
    write(networks("vgg19"), find_encoder("vgg19"), weighted, older=name_as_of_old)
    pictures = smooth()
    ours = loading.load_encoder("vgg19", weighted, device="cpu").features(
        network_input(pictures, pixels_for(find_encoder("vgg19"), 2))
    )
    assert relative(ours, networks("vgg19").predict(preprocess("vgg19", pictures), verbose=0)) <= 1e-5


def leave_one_out(stream: Any) -> None:
    names = list(stream["conv1_bn"].attrs["weight_names"])
    stream["conv1_bn"].attrs["weight_names"] = names[:-1]


def add_one(stream: Any) -> None:
    names = list(stream["conv1_conv"].attrs["weight_names"])
    stream["conv1_conv"]["more"] = np.zeros(3, np.float32)
    stream["conv1_conv"].attrs["weight_names"] = [str(name).encode() for name in (*names, "more")]


@pytest.mark.parametrize("fault", [leave_one_out, add_one])
def test_a_tensor_missing_or_left_over_is_refused(fault: Callable, networks: Callable[[str], Any], weighted: Roots):
    write(networks("resnet50"), find_encoder("resnet50"), weighted, fault=fault)
    with pytest.raises(BadInput, match=r"resnet50_weights_tf_dim_ordering_tf_kernels_notop\.h5"):
        loading.load_encoder("resnet50", weighted, device="cpu")
