"""keras.applications on torch: the study's DenseNet121 with its real weights, and files that do not fit."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.encoders import loading, weights, with_keras
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import network_input, pixels_for
from retrieval.encoders.weights import Weights, tensors_digest
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Roots

DENSE = find_encoder("densenet121")
SMALL = dataclasses.replace(DENSE, name="mobilenet", title="MobileNet", architecture="MobileNet", dim=1024)


@pytest.fixture(scope="module")
def dense(roots: Roots, need: Callable) -> Any:
    need(weights.locate(DENSE, roots), "the weights of densenet121 are not at hand")
    return loading.load_encoder("densenet121", roots, device="cpu")


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    pictures = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
    return network_input(pictures, pixels_for(DENSE, 2))


# --- the real network


def test_features_are_what_keras_itself_predicts(dense: Any, roots: Roots, inputs: np.ndarray):
    import keras

    theirs = keras.applications.DenseNet121(
        include_top=False, weights=str(weights.locate(DENSE, roots)), pooling="avg", input_shape=(32, 32, 3)
    )
    vectors = dense.features(inputs)
    assert vectors.shape == (8, 1024) and vectors.dtype == np.float32
    predicted = theirs.predict(inputs, verbose=0)
    np.testing.assert_allclose(vectors, predicted, rtol=1e-5, atol=1e-5 * np.abs(predicted).max())
    assert (vectors >= 0).all() and (vectors > 0).any(axis=1).all()  # after the last ReLU


def test_features_do_not_depend_on_the_batch_nor_on_chance(dense: Any, inputs: np.ndarray):
    many = np.concatenate([inputs] * 8)
    together = dense.features(many)
    alone = np.concatenate([dense.features(inputs[i : i + 1]) for i in range(8)])
    np.testing.assert_allclose(together[:8], alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    assert np.array_equal(together, dense.features(many))
    assert len(np.unique(alone.round(4), axis=0)) == 8


def test_any_size_goes_through(dense: Any):
    for side in (32, 64):
        assert dense.features(np.zeros((1, side, side, 3), np.float32)).shape == (1, 1024)


def test_every_number_in_the_network_is_a_number_of_the_file(dense: Any, roots: Roots):
    path = weights.locate(DENSE, roots)
    assert path is not None
    tensors = with_keras.read_tensors(path)
    held = {f"{v.path.split('/')[0]}/{v.path}": v.numpy() for v in dense.network.variables}
    assert held.keys() == tensors.keys()
    assert tensors_digest(held) == dense.weights_digest
    assert {variable.dtype for variable in dense.network.variables} == {"float32"}


# --- files that do not fit, with a smaller network


@pytest.fixture(scope="module")
def network() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return keras.applications.MobileNet(include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3))


@pytest.fixture
def file(network: Any, tmp_path: Path) -> Path:
    """Random weights in the layout of Keras' own files."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as stream:
        save_weights_to_hdf5_group(stream, network)
    return path


def load(path: Path) -> Any:
    return with_keras.load(SMALL, Weights(path=path, digest="", verified=False), device="cpu")


def test_a_file_in_keras_layout_fills_the_network(network: Any, file: Path, inputs: np.ndarray):
    ours = load(file).features(inputs)
    theirs = network.predict(inputs, verbose=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_in_bfloat16_features_are_near_those_of_float32(file: Path, inputs: np.ndarray):
    """On the CPU, which `loading` refuses: the arithmetic is torch's own on every device."""
    spec, found = dataclasses.replace(SMALL, precision="bf16"), Weights(path=file, digest="", verified=False)
    exact, reduced = load(file), with_keras.load(spec, found, device="cpu")
    ours, theirs = reduced.features(inputs), exact.features(inputs)
    assert ours.dtype == np.float32 and not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-2 * np.abs(theirs).max())
    assert {variable.dtype for variable in reduced.network.variables} == {"float32"}


def rename_tensor(stream: Any) -> None:
    stream["conv_dw_1_bn"].move("conv_dw_1_bn/gamma", "conv_dw_1_bn/gama")


def drop_tensor(stream: Any) -> None:
    del stream["conv_dw_1_bn"]["conv_dw_1_bn"]["beta"]


def unlist_tensor(stream: Any) -> None:
    names = stream["conv_dw_1_bn"].attrs["weight_names"]
    stream["conv_dw_1_bn"].attrs["weight_names"] = names[:-1]


def drop_layer(stream: Any) -> None:
    del stream["conv_pw_3"]


def unlist_layer(stream: Any) -> None:
    stream.attrs["layer_names"] = [name for name in stream.attrs["layer_names"] if name != "conv_pw_3"]


def list_layer_twice(stream: Any) -> None:
    names = list(stream.attrs["layer_names"])
    stream.attrs["layer_names"] = [*names, "conv_pw_3"]


def swap_layers(stream: Any) -> None:
    """Two batch norms of 128 channels: every count and shape stays, only the place is wrong."""
    names = list(stream.attrs["layer_names"])
    one, other = names.index("conv_pw_2_bn"), names.index("conv_dw_3_bn")
    names[one], names[other] = names[other], names[one]
    stream.attrs["layer_names"] = names


def swap_tensors(stream: Any) -> None:
    names = list(stream["conv_dw_1_bn"].attrs["weight_names"])
    stream["conv_dw_1_bn"].attrs["weight_names"] = [names[1], names[0], *names[2:]]


def change_shape(stream: Any) -> None:
    group = stream["conv_dw_1_bn"]["conv_dw_1_bn"]
    values = group["beta"][:-1]
    del group["beta"]
    group["beta"] = values


def forget_lists(stream: Any) -> None:
    del stream.attrs["layer_names"]


FAULTS = [
    rename_tensor,
    drop_tensor,
    unlist_tensor,
    drop_layer,
    unlist_layer,
    list_layer_twice,
    swap_layers,
    swap_tensors,
    change_shape,
    forget_lists,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_skipped_in_silence(fault: Callable[[Any], None], file: Path):
    import h5py

    with h5py.File(file, "r+") as stream:
        fault(stream)
    with pytest.raises(BadInput, match=r"The weights file small\.h5"):
        load(file)


def test_the_weights_of_another_network_are_refused(roots: Roots, need: Callable):
    path = weights.locate(DENSE, roots)
    need(path, "the weights of densenet121 are not at hand")
    assert path is not None
    with pytest.raises(BadInput, match=f"The weights file {path.name}"):
        load(path)


def test_older_files_that_name_their_layers_with_a_slash_are_read(
    network: Any, file: Path, tmp_path: Path, inputs: np.ndarray
):
    """As Keras 2 wrote them: `conv1/bn` for the layer, `conv1/bn/gamma:0` for its tensor."""
    import h5py

    old = tmp_path / "old.h5"
    with h5py.File(file) as new_layout, h5py.File(old, "w") as old_layout:
        names = list(new_layout.attrs["layer_names"])
        old_layout.attrs["layer_names"] = [name.replace("_bn", "/bn").encode() for name in names]
        for name in names:
            group = old_layout.require_group(name.replace("_bn", "/bn"))
            tensors = {tensor: f"{tensor.replace('_bn', '/bn')}:0" for tensor in new_layout[name].attrs["weight_names"]}
            for tensor, older in tensors.items():
                group[older] = new_layout[name][tensor][()]
            group.attrs["weight_names"] = [older.encode() for older in tensors.values()]
    np.testing.assert_allclose(load(old).features(inputs), network.predict(inputs, verbose=0), rtol=1e-4, atol=1e-6)


# --- the library's own settings


def test_what_the_users_keras_is_set_to_does_not_matter(file: Path, tmp_path: Path):
    settings = tmp_path / "home" / ".keras" / "keras.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        '{"floatx": "float16", "epsilon": 1e-07, "backend": "jax", "image_data_format": "channels_first"}'
    )
    program = f"""
import numpy as np
from pathlib import Path
from retrieval.encoders import with_keras
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.weights import Weights
import dataclasses
spec = dataclasses.replace(find_encoder("densenet121"), architecture="MobileNet")
encoder = with_keras.load(spec, Weights(path=Path({str(file)!r}), digest="", verified=False), device="cpu")
vectors = encoder.features(np.full((1, 32, 64, 3), 0.5, np.float32))
print(vectors.dtype, vectors.shape, vectors.sum())
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    environ |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kind, shape, total = done.stdout.replace("(1, 1024)", "(1,1024)").split()
    assert (kind, shape) == ("float32", "(1,1024)")
    assert float(total) == pytest.approx(load(file).features(np.full((1, 32, 64, 3), 0.5, np.float32)).sum(), rel=1e-4)


def test_a_device_that_is_not_there_is_said_to_be_so(roots: Roots, empty_roots: Roots):
    with pytest.raises(Unavailable, match="The device 'cuda:99' cannot be used") as caught:
        loading.load_encoder("efficientnet_lite0", empty_roots, device="cuda:99")
    assert caught.value.remedy == "Use --device auto or cpu."
    with pytest.raises(Unavailable, match="The device 'abacus' cannot be used"):
        loading.load_encoder("efficientnet_lite0", empty_roots, device="abacus")


# --- files of any other content


def relist_layers(stream: Any) -> None:
    """Two layers of one shape, listed in each other's place, in a file that names its tensors in an older way."""
    for layer in ("conv_pw_8", "conv_pw_9"):
        group = stream[layer]
        old = group.attrs["weight_names"][0]
        group[f"{layer}_W_1:0"] = group[old][()]
        group.attrs["weight_names"] = [f"{layer}_W_1:0".encode()]
    names = list(stream.attrs["layer_names"])
    one, other = names.index("conv_pw_8"), names.index("conv_pw_9")
    names[one], names[other] = names[other], names[one]
    stream.attrs["layer_names"] = names


def test_a_layer_in_anothers_place_is_noticed_whatever_its_tensors_are_called(file: Path):
    import h5py

    with h5py.File(file, "r+") as stream:
        relist_layers(stream)
    with pytest.raises(BadInput, match="in another tensor's place"):
        load(file)


@pytest.mark.parametrize("content", ["words", "nothing"])
def test_a_file_with_other_than_numbers_is_refused(content: str, file: Path):
    import h5py

    with h5py.File(file, "r+") as stream:
        if content == "words":
            stream.create_dataset("note", data=["a", "b"], dtype=h5py.string_dtype())
        else:
            stream.create_dataset("note", data=h5py.Empty("f"))
    with pytest.raises(BadInput, match="note holds something other than numbers"):
        with_keras.read_tensors(file)


def test_single_bytes_that_are_wrong_end_in_a_sentence_or_in_other_numbers(tmp_path: Path):
    import h5py

    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as stream:
        for layer in range(20):
            stream[f"layer{layer}/layer{layer}/kernel"] = np.ones((2, 2), np.float32)
    sound, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        damaged = bytearray(sound)
        for place in rng.integers(len(sound), size=20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            tensors_digest(with_keras.read_tensors(path))
        except BadInput:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("device", ["meta", ""])
def test_a_device_without_content_is_none(device: str, empty_roots: Roots):
    with pytest.raises(Unavailable, match=f"The device '{device}' cannot be used"):
        loading.load_encoder("efficientnet_lite0", empty_roots, device=device)
