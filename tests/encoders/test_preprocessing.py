"""What reaches a network is what its own library would have given it."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from retrieval.encoders import loading
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.preprocessing import (
    arithmetic,
    as_key,
    network_input,
    normalisation,
    normalise,
    pixels_for,
    seen_batch,
    seen_picture,
    seen_slices,
)
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.roots import Roots

LITE, DENSE = find_encoder("efficientnet_lite0"), find_encoder("densenet121")


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, dtype=np.uint8)


def test_a_spec_that_takes_no_such_items_says_so():
    with pytest.raises(ValueError, match="histogram takes no 3D items"):
        pixels_for(find_encoder("histogram"), 3)
    with pytest.raises(ValueError, match="shape takes no 2D items"):
        pixels_for(find_encoder("shape"), 2)


# --- against the libraries' own


@pytest.mark.parametrize(
    ("shape", "side"), [((3, 28, 28), 32), ((2, 64, 64, 3), 64), ((2, 224, 224, 3), 224), ((2, 28, 28, 3), 32)]
)
def test_densenet_gets_what_keras_own_preprocessing_gives(shape: tuple[int, ...], side: int):
    import keras

    items = pictures(*shape)
    resized = [cv2.resize(item, (side, side), interpolation=cv2.INTER_LINEAR) for item in items]
    three = [item if item.ndim == 3 else np.stack([item] * 3, axis=-1) for item in resized]
    theirs = keras.applications.densenet.preprocess_input(
        np.stack(three).astype(np.float32), data_format="channels_last"
    )
    ours = network_input(items, pixels_for(DENSE, 2))
    assert ours.dtype == np.float32 and ours.shape == (len(items), side, side, 3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 28, 28), (2, 64, 64, 3), (2, 224, 224, 3)])
def test_lite0_gets_what_timms_own_transform_gives_without_a_crop(shape: tuple[int, ...]):
    import timm.data

    transform = timm.data.create_transform(
        input_size=(3, 224, 224), interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=1.0
    )
    items = pictures(*shape)
    theirs = [transform(Image.fromarray(item).convert("RGB")).permute(1, 2, 0).numpy() for item in items]  # type: ignore[union-attr]
    ours = network_input(items, pixels_for(LITE, 2))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.stack(theirs), rtol=0, atol=1e-6)


def test_timms_stored_values_for_lite0_are_the_specs():
    import timm

    theirs = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert theirs is not None
    ours = pixels_for(LITE, 2)
    assert (ours.mean, ours.std) == (theirs.mean, theirs.std)
    assert (3, ours.size, ours.size) == theirs.input_size
    assert ours.interpolation == f"pil_{theirs.interpolation}"


# --- what the specs say, by hand


def test_slices_reach_lite0_at_their_own_size():
    slices = pictures(4, 28, 28)
    ours = network_input(slices, pixels_for(LITE, 3))
    assert ours.shape == (4, 28, 28, 3)
    np.testing.assert_allclose(ours[..., 1], slices / 127.5 - 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "seen"), [(28, 32), (64, 64)])
def test_a_volume_reaches_densenet_as_a_cube_of_at_least_32(side: int, seen: int):
    pixels = pixels_for(DENSE, 3)
    slices = seen_slices(pictures(side, side, side), pixels)
    assert slices.shape == (seen, side, side)
    assert network_input(slices[:2], pixels).shape == (2, seen, seen, 3)
    if side < 32:
        enlarged = cv2.resize(slices[1], (32, 32), interpolation=cv2.INTER_CUBIC)
        assert np.array_equal(seen_picture(slices[1], pixels), enlarged)


def test_a_volume_keeps_its_slices_where_the_spec_says_keep():
    volume = pictures(28, 28, 28)
    assert seen_slices(volume, pixels_for(LITE, 3)) is volume


def test_colours_keep_their_order_and_grey_is_not_dropped():
    red = np.zeros((1, 64, 64, 3), np.uint8)
    red[..., 0] = 255
    for spec in (LITE, DENSE):
        lightest = network_input(red, pixels_for(spec, 2))[0, 0, 0]
        assert lightest[0] > 0 > lightest[1] and lightest[0] > lightest[2]
    grey = network_input(pictures(1, 28, 28), pixels_for(LITE, 2))
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 0], grey[..., 2])
    assert grey.std() > 0.1


def test_native_channels_are_as_many_as_the_picture_has():
    raw = pixels_for(find_encoder("pixels"), 2)
    grey, colour = pictures(2, 28, 28), pictures(2, 28, 28, 3)
    assert np.array_equal(network_input(grey, raw), grey[..., None].astype(np.float32))
    assert np.array_equal(network_input(colour, raw), colour.astype(np.float32))


def test_a_batch_is_its_pictures_one_by_one():
    items = pictures(5, 28, 28)
    for spec in (LITE, DENSE):
        pixels = pixels_for(spec, 2)
        alone = np.concatenate([network_input(items[i : i + 1], pixels) for i in range(5)])
        assert np.array_equal(network_input(items, pixels), alone)


def test_the_pictures_given_are_not_changed():
    items = pictures(2, 224, 224, 3)
    before = items.copy()
    network_input(items, pixels_for(LITE, 2))
    assert np.array_equal(items, before)


# --- the key


def changes() -> Iterator[Pixels]:
    yield Pixels(size=32)
    yield Pixels(at_least=32)
    yield Pixels(interpolation="cv2_linear")
    yield Pixels(depth="spline")
    yield Pixels(scale="none")
    yield Pixels(mean=(0.5, 0.0, 0.0))
    yield Pixels(std=(0.5, 1.0, 1.0))
    yield Pixels(channels="native")
    yield Pixels(fit="shortest")
    yield Pixels(crop=28)
    yield Pixels(centre="down")
    yield Pixels(canvas=224)
    yield Pixels(enlarge="cv2_cubic")


def test_every_field_of_the_pixels_is_in_their_key():
    keys = {json.dumps(as_key(pixels), sort_keys=True) for pixels in (Pixels(), *changes())}
    assert len(keys) == 1 + len(dataclasses.fields(Pixels))


def test_the_keys_of_the_catalogue_can_be_written_as_json():
    for spec in ENCODERS:
        for pixels in filter(None, (spec.pixels, spec.slices)):
            assert json.loads(json.dumps(as_key(pixels)))["interpolation"] == pixels.interpolation


# --- normalising, wherever it happens


@pytest.mark.parametrize("spec", [spec for spec in ENCODERS if spec.weights], ids=lambda spec: spec.name)
def test_arrays_and_tensors_are_normalised_to_the_same_bits(spec: EncoderSpec):
    pixels = normalisation(spec)
    values = pictures(2, 17, 17, 3).astype(np.float32)
    by_torch = normalise(torch.from_numpy(values), arithmetic(pixels, torch.from_numpy)).numpy()
    assert by_torch.dtype == np.float32
    assert np.array_equal(normalise(values, arithmetic(pixels)), by_torch)


@pytest.mark.parametrize("spec", [spec for spec in ENCODERS if spec.weights], ids=lambda spec: spec.name)
def test_pictures_and_slices_are_normalised_alike(spec: EncoderSpec):
    """An Encoder gets pictures as seen, and need not know whether they were slices."""
    both = [pixels for pixels in (spec.pixels, spec.slices) if pixels]
    assert len({(pixels.scale, pixels.mean, pixels.std, pixels.channels) for pixels in both}) == 1


def test_an_encoder_takes_pictures_as_seen(empty_roots: Roots):
    pixels = pixels_for(LITE, 2)
    items = pictures(2, 64, 64, 3)
    encoder: Any = loading.load_encoder(LITE.name, empty_roots, device="cpu")
    assert seen_batch(items, pixels).dtype == np.uint8
    assert np.array_equal(encoder.embed(seen_batch(items, pixels)), encoder.features(network_input(items, pixels)))
