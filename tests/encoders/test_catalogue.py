"""Every literal is whole, and data only."""

import dataclasses
import json
import pickle
import re
from collections.abc import Callable

import pytest

from retrieval.cells import cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.encoders import loading, places, weights
from retrieval.encoders.catalogue import ENCODERS, find_encoder, with_named
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import UnknownName
from retrieval.roots import Roots

each = pytest.mark.parametrize("spec", ENCODERS, ids=lambda spec: spec.name)
HEXADECIMAL = re.compile(r"[0-9a-f]{32}")


def test_names_are_unique():
    assert len({spec.name for spec in ENCODERS}) == len(ENCODERS)
    assert len({spec.title for spec in ENCODERS}) == len(ENCODERS)


@each
def test_a_spec_is_found_by_its_name(spec: EncoderSpec):
    assert find_encoder(spec.name) is spec


@each
def test_a_name_is_lower_case_and_fit_for_a_path_and_a_link(spec: EncoderSpec):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)


@each
def test_nothing_is_left_unsaid(spec: EncoderSpec):
    said = [spec.title, spec.about, spec.architecture, spec.pooling, spec.licence, spec.training, spec.domain]
    assert all(text and text == text.strip() for text in said)
    assert spec.about.endswith(".")
    assert spec.pixels or spec.slices
    assert spec.ms_at_224 > 0
    assert spec.dim is None or spec.dim > 0


@each
def test_weights_say_where_they_come_from_and_who_made_them(spec: EncoderSpec):
    if spec.weights is None:
        return
    source = spec.weights
    assert spec.paper and spec.licence_url.startswith("https://")
    assert source.filename and "/" not in source.filename
    assert source.bytes == 0 or source.bytes > 1_000_000  # 0: not known
    assert source.bytes == 0 or source.bytes >= 3.9 * spec.parameters  # four bytes for each number, and what is dropped
    assert not source.digest or HEXADECIMAL.fullmatch(source.digest)  # empty: nobody here has seen the tensors
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", container) for container in source.containers)
    assert not source.revision or (source.repo and re.fullmatch(r"[0-9a-f]{40}", source.revision))
    assert source.package or source.url or source.repo
    assert bool(source.member) == bool(source.package or source.url.endswith(".zip"))
    if source.url:
        assert source.url.startswith("https://") and source.url.endswith((source.filename, ".zip"))
        assert source.containers or HEXADECIMAL.fullmatch(source.md5)


@each
def test_an_overlap_is_with_a_dataset_that_exists_and_gives_its_evidence(spec: EncoderSpec):
    for name, said in spec.overlaps.items():
        assert find_dataset(name).name == name
        assert said == said.strip() and said.endswith(".")
    assert all(sentence == sentence.strip() and sentence.endswith(".") for sentence in spec.unverified)


@each
def test_pixels_are_plausible(spec: EncoderSpec):
    for pixels in filter(None, (spec.pixels, spec.slices)):
        assert pixels.size is None or pixels.at_least is None
        assert all(0 <= mean <= (1 if pixels.scale == "unit" else 255) for mean in pixels.mean)
        assert all(0 < std <= 1 for std in pixels.std)
        if pixels.scale == "none":
            assert pixels.std == (1, 1, 1)
        assert [pixels.side(size) >= 28 for size in (28, 64, 128, 224)] == [True] * 4


@each
def test_a_spec_is_data_only(spec: EncoderSpec):
    assert json.loads(json.dumps(dataclasses.asdict(spec)))["name"] == spec.name
    assert pickle.loads(pickle.dumps(spec)) == spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]


@each
def test_a_baseline_needs_no_weights(spec: EncoderSpec):
    assert spec.baseline == (spec.weights is None)
    assert spec.baseline == (spec.library == "builtin")


def test_the_default_comes_first_and_works_with_what_is_installed(empty_roots: Roots):
    assert ENCODERS[0].name == "efficientnet_lite0"
    assert weights.state(ENCODERS[0], empty_roots) == "ready"
    assert ENCODERS[0].takes(2) and ENCODERS[0].takes(3)


def test_a_literal_is_enough_for_an_extractor_to_be_known(tiny: EncoderSpec, listed: Callable, weighted: Roots):
    listed(tiny)
    assert cell("breastmnist", 28, "tiny").spec is tiny
    assert weights.state(tiny, weighted) == "missing"
    assert loading.identify_or_expect(tiny, weighted).digest == tiny.weights.digest  # type: ignore[union-attr]
    with pytest.raises(UnknownName, match="tiny"):
        find_encoder("tinny")


NETWORKS = [spec for spec in ENCODERS if spec.library != "builtin"]


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: spec.name)
def test_every_network_has_a_form_in_bfloat16_with_the_same_weights(spec: EncoderSpec, empty_roots: Roots):
    reduced = find_encoder(f"{spec.name}.bf16")
    assert (reduced.name, reduced.plain, spec.plain) == (f"{spec.name}.bf16", spec.name, spec.name)
    assert (spec.precision, reduced.precision, reduced.runtime) == ("fp32", "bf16", "torch")
    assert (reduced.weights, reduced.pixels, reduced.steps) == (spec.weights, spec.pixels, spec.steps)
    assert "bf16" in reduced.title and "study" not in reduced.title and reduced.study == ""
    assert find_encoder(reduced.name) == reduced
    assert spec.weights is not None
    assert places.kept(reduced, spec.weights, empty_roots) == places.kept(spec, spec.weights, empty_roots)
    assert "bf16" not in weights.missing(reduced).remedy


def test_titles_are_unique_in_every_precision():
    titles = [spec.title for spec in ENCODERS] + [find_encoder(f"{spec.name}.bf16").title for spec in NETWORKS]
    assert len(set(titles)) == len(titles)
    assert find_encoder("resnet50.bf16").title == "ResNet50 (Keras, bf16)"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet50.fp8", "'resnet50.bf16'"),
        ("resnet5.bf16", "'resnet50'"),
        ("pixels.bf16", "'pixels'"),
        ("resnet50.bf16.bf16", "'resnet50'"),
        ("resnet50.", "'resnet50'"),
    ],
)
def test_another_precision_or_one_of_what_is_no_network_is_an_unknown_name(name: str, near: str):
    with pytest.raises(UnknownName) as caught:
        find_encoder(name)
    assert near in caught.value.remedy


def test_the_catalogue_is_plain_and_names_of_rows_may_add_to_it():
    assert {spec.precision for spec in ENCODERS} == {"fp32"}
    added = with_named(["uni", "resnet50.bf16", "gone.bf16", "uni.32", "resnet50.bf16"])
    assert added == (*ENCODERS, find_encoder("resnet50.bf16"))
