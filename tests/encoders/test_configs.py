"""A publisher's config file rules over what a literal has from memory, and over nothing else."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import upstream

from retrieval import evaluation, readiness, search
from retrieval.answers import ItemQuery
from retrieval.cells import Cell, cell
from retrieval.embeddings import embedding
from retrieval.encoders import configs, loading
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.specs import EncoderSpec, Pixels, Rule, WeightsSource
from retrieval.errors import BadInput
from retrieval.roots import Roots

# As transformers' CLIPImageProcessor and BitImageProcessor write it.
PROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 2,
    "size": {"shortest_edge": 256},
}
RULES = (
    Rule("image_mean", "pixels.mean", settles="colours"),
    Rule("image_std", "pixels.std", settles="colours"),
    Rule("resample", "pixels.interpolation", settles="kernel"),
    Rule("size", "pixels.size"),
    Rule("crop_size", "pixels.crop"),
    Rule("do_center_crop", "pixels.crop"),
    Rule("do_normalize", must=(True,)),
)
PIXELS = Pixels(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SPEC = EncoderSpec(
    name="tiny",
    title="Tiny",
    about="For tests.",
    library="timm",
    architecture="test_resnet",
    dim=96,
    pooling="average",
    pixels=PIXELS,
    slices=dataclasses.replace(PIXELS, size=None),
    weights=WeightsSource(filename="tiny.safetensors", config="config.json"),
    licence="CC0-1.0",
    training="none",
    arguments={"drop_rate": 0.0, "inner": {"depth": 2, "quick": True}},
    unverified=("The colours are from memory.", "The kernel is from memory.", "So is the licence."),
    rules=RULES,
)


def with_rules(*rules: Rule, **changes: Any) -> EncoderSpec:
    return dataclasses.replace(SPEC, rules=rules, **changes)


# --- the pure function


def test_what_the_file_says_takes_the_place_of_what_the_literal_has():
    found = configs.settled(SPEC, PROCESSOR)
    assert found.pixels == Pixels(
        size=256, fit="shortest", crop=224, interpolation="pil_bilinear", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    assert found.unverified == ("So is the licence.",)
    assert dict(found.settled)["pixels.interpolation"] == "pil_bilinear"
    assert found.arguments == SPEC.arguments
    assert configs.settled(found, PROCESSOR) == found


def test_slices_change_where_they_were_as_pictures_are():
    found = configs.settled(SPEC, PROCESSOR)
    assert found.slices == dataclasses.replace(found.pixels, size=None)  # type: ignore[type-var]
    assert configs.settled(dataclasses.replace(SPEC, slices=None), PROCESSOR).slices is None


def test_a_file_that_says_nothing_changes_nothing():
    assert configs.settled(SPEC, {}) is SPEC
    assert configs.settled(SPEC, {"other": 1, "size": None}) is SPEC
    assert configs.settled(with_rules(), PROCESSOR).settled == ()


def test_a_file_that_agrees_settles_and_changes_nothing_else():
    agreeing = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    found = configs.settled(SPEC, agreeing)
    assert (found.pixels, found.slices) == (SPEC.pixels, SPEC.slices)
    assert found.unverified == ("So is the licence.",)


def test_a_sentence_stays_until_all_of_it_is_settled():
    found = configs.settled(SPEC, {"image_mean": [0.1, 0.2, 0.3]})
    assert found.pixels is not None and found.pixels.mean == (0.1, 0.2, 0.3)
    assert found.unverified == SPEC.unverified


@pytest.mark.parametrize(
    ("target", "said", "pixels"),
    [
        ("size", 384, {"size": 384}),
        ("size", [384, 384], {"size": 384}),
        ("size", {"height": 384, "width": 384}, {"size": 384, "fit": "squash"}),
        ("size", {"shortest_edge": 384}, {"size": 384, "fit": "shortest"}),
        ("crop", 200, {"crop": 200}),
        ("crop", {"height": 200, "width": 200}, {"crop": 200}),
        ("crop", False, {"crop": None}),
        ("crop", True, {}),
        ("interpolation", 2, {"interpolation": "pil_bilinear"}),
        ("interpolation", 3, {"interpolation": "pil_bicubic"}),
        ("interpolation", "bilinear", {"interpolation": "pil_bilinear"}),
        ("fit", "squash", {"fit": "squash"}),
        ("fit", "shortest", {"fit": "shortest"}),
        ("mean", [0, 0, 1], {"mean": (0.0, 0.0, 1.0)}),
    ],
)
def test_the_dialects_of_the_libraries(target: str, said: Any, pixels: dict):
    literal = dataclasses.replace(PIXELS, crop=224, fit="shortest")
    spec = with_rules(Rule("a.b", f"pixels.{target}"), pixels=literal)
    assert configs.settled(spec, {"a": {"b": said}}).pixels == dataclasses.replace(literal, **pixels)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("pixels.mean", [0.5, 0.5]),
        ("pixels.mean", [0.5, 0.5, "x"]),
        ("pixels.mean", "abc"),
        ("pixels.mean", 0.5),
        ("pixels.mean", [0.5, 0.5, float("nan")]),
        ("pixels.std", [0.5, 0.0, 0.5]),
        ("pixels.size", {"longest_edge": 224}),
        ("pixels.size", {"height": 224, "width": 200}),
        ("pixels.size", [224, 224, 224.0]),
        ("pixels.size", 0),
        ("pixels.size", True),
        ("pixels.size", "224"),
        ("pixels.crop", []),
        ("pixels.interpolation", 1),
        ("pixels.interpolation", [2]),
        ("pixels.fit", "longest"),
        ("arguments.drop_rate", "much"),
        ("arguments.drop_rate", True),
        ("arguments.drop_rate", float("inf")),
        ("arguments.inner.quick", 1),
        ("arguments.inner.depth", [1]),
        ("arguments.new", {"a": 1}),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(target: str, said: Any):
    with pytest.raises(BadInput, match=r"The file config\.json beside the weights of Tiny says that a\.b is ") as no:
        configs.settled(with_rules(Rule("a.b", target)), {"a": {"b": said}})
    assert "fetch it again" in no.value.remedy


def test_arguments_are_ruled_over_at_any_depth():
    rules = (
        Rule("model_args.drop", "arguments.drop_rate"),
        Rule("quick_gelu", "arguments.inner.quick", absent=False),
        Rule("ratio", "arguments.mlp_ratio"),
    )
    found = configs.settled(with_rules(*rules), {"model_args": {"drop": 1}, "ratio": 5.33334})
    assert found.arguments == {"drop_rate": 1, "inner": {"depth": 2, "quick": False}, "mlp_ratio": 5.33334}
    assert SPEC.arguments["inner"] == {"depth": 2, "quick": True}


def test_what_is_not_open_has_to_be_as_it_is():
    rules = (Rule("hidden_size", must=(768,)), Rule("image_size", must=(224, 518), settles="kernel"))
    spec = with_rules(*rules)
    assert configs.settled(spec, {"hidden_size": 768}) is spec
    found = configs.settled(spec, {"hidden_size": 768, "image_size": 518})
    assert found.unverified == ("The colours are from memory.", "So is the licence.")
    assert (found.pixels, found.arguments) == (spec.pixels, spec.arguments)
    with pytest.raises(BadInput, match="says that hidden_size is 1024; the encoder that is written here has 768"):
        configs.settled(spec, {"hidden_size": 1024})
    with pytest.raises(BadInput, match="has 224 or 518"):
        configs.settled(spec, {"image_size": 448})


def test_a_target_may_be_open_to_some_values_only():
    spec = with_rules(Rule("crop_size", "pixels.crop", must=(224,)))
    for said in (224, {"height": 224, "width": 224}):
        found = configs.settled(spec, {"crop_size": said})
        assert found.pixels is not None and found.pixels.crop == 224
    with pytest.raises(BadInput, match="has 224, so"):
        configs.settled(spec, {"crop_size": 384})


def test_an_absent_entry_says_something_only_where_its_part_is_there():
    spec = with_rules(Rule("model_cfg.quick_gelu", "arguments.inner.quick", absent=False))
    assert configs.settled(spec, {"model_cfg": {}}).arguments["inner"]["quick"] is False
    assert configs.settled(spec, {"model_cfg": {"quick_gelu": True}}).arguments["inner"]["quick"] is True
    assert configs.settled(spec, {}) is spec


def test_a_record_gives_its_facts_back():
    found = configs.settled(SPEC, PROCESSOR)
    record = json.loads(json.dumps(configs.as_record(found)))
    assert record["file"] == "config.json"
    assert configs.applied(SPEC, configs.from_record(record)) == found
    assert configs.from_record(None) == () and configs.from_record({"facts": 1}) == ()


@pytest.mark.parametrize("spec", ENCODERS, ids=lambda spec: spec.name)
def test_every_literals_rules_hold_together(spec: EncoderSpec):
    assert not spec.settled
    if spec.rules:
        assert spec.weights is not None and spec.weights.config.endswith(".json")
    for rule in spec.rules:
        assert rule.must or rule.target, rule
        if rule.settles:
            assert len([sentence for sentence in spec.unverified if rule.settles in sentence]) == 1, rule
        if rule.target.startswith("pixels."):
            assert rule.target.removeprefix("pixels.") in configs.PIXELS, rule
        else:
            assert not rule.target or rule.target.startswith("arguments."), rule


# --- the catalogue's own


def test_what_rad_dinos_processor_says_is_what_reaches_the_network():
    from transformers import BitImageProcessorPil

    spec = find_encoder("rad_dino")
    processor: Any = BitImageProcessorPil(
        size={"shortest_edge": 540}, crop_size=518, resample=2, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.25, 0.3]
    )
    found = configs.settled(spec, json.loads(processor.to_json_string()))
    upstream.check_pixels(found, lambda picture: processor(picture)["pixel_values"][0])
    assert found.slices == found.pixels and found.pixels != spec.pixels
    assert len(found.unverified) == len(spec.unverified) - 1
    assert not any("processor" in sentence for sentence in found.unverified)
    with pytest.raises(BadInput, match="crop_size is .*; the encoder that is written here has 518"):
        configs.settled(spec, json.loads(BitImageProcessorPil(crop_size=224).to_json_string()))


def test_what_monets_processor_says_is_what_reaches_the_network():
    from transformers import CLIPImageProcessorPil

    spec = find_encoder("monet")
    processor: Any = CLIPImageProcessorPil()  # CLIP's mean and deviation, where the literal has ImageNet's
    found = configs.settled(spec, json.loads(processor.to_json_string()))
    assert found.pixels is not None and found.pixels.mean != spec.pixels.mean  # type: ignore[union-attr]
    squares = dataclasses.replace(found, pixels=dataclasses.replace(found.pixels, centre="down"))
    upstream.check_pixels(squares, lambda picture: processor(picture)["pixel_values"][0])
    assert not any("processor" in sentence for sentence in found.unverified)


def test_what_biomedclips_configuration_says_is_what_reaches_the_network():
    from open_clip.transform import PreprocessCfg, image_transform_v2

    spec = find_encoder("biomedclip")
    said = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear", "resize_mode": "shortest"}
    found = configs.settled(spec, {"model_cfg": {"embed_dim": 512}, "preprocess_cfg": said})
    transform: Any = image_transform_v2(PreprocessCfg(size=224, **said), is_train=False)
    upstream.check_pixels(found, transform)
    assert len(found.unverified) == len(spec.unverified) - 1
    assert configs.settled(spec, {"preprocess_cfg": {"mean": spec.pixels.mean}}).pixels == spec.pixels  # type: ignore[union-attr]


def test_what_h0_minis_config_says_is_what_it_is_built_with():
    spec = find_encoder("h0_mini")
    said = {"model_args": {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 4, "reg_tokens": 4}, "global_pool": ""}
    found = configs.settled(spec, said)
    assert found.arguments == {**spec.arguments, "mlp_ratio": 4}
    assert upstream.parameters_of(found) < upstream.parameters_of(spec)
    assert len(found.unverified) == len(spec.unverified) - 1
    with pytest.raises(BadInput, match=r"model_args\.reg_tokens is 0; the encoder that is written here has 4"):
        configs.settled(spec, {"model_args": {"reg_tokens": 0}})


# --- beside the weights


CELL = Cell("phantoms", 64, "tiny", "paper")


@pytest.fixture
def put(tiny: EncoderSpec, tiny_tensors: dict, listed: Callable, weighted: Roots) -> Iterator[Callable[[Any], Roots]]:
    """Tiny's weights at hand, with what is given (an object or bytes) as its config file; None: without one."""
    from safetensors.torch import save_file

    assert tiny.weights is not None and weighted.weights is not None
    source = dataclasses.replace(tiny.weights, config="config.json")
    small = (Rule("size", "pixels.size"), Rule("image_mean", "pixels.mean", settles="mean"))
    listed(dataclasses.replace(tiny, weights=source, rules=small, unverified=("The mean is from memory.",)))
    folder = weighted.weights / "tiny"
    folder.mkdir(parents=True)
    save_file(tiny_tensors, folder / "tiny.safetensors")

    def write(content: Any) -> Roots:
        file: Path = folder / "config.json"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return weighted

    yield write


def test_without_the_file_every_fingerprint_is_as_it_was(put: Callable, tiny: EncoderSpec):
    roots = put(None)
    assert configs.at_hand(CELL.spec, roots) is CELL.spec
    at_hand = evaluation.marks(CELL, roots)
    arguments = {"data": evaluation.split_of(CELL, "train", roots).digest, "weights": at_hand.weights}
    before = embedding.fingerprint_of(CELL.data, 64, "train", tiny, **arguments)
    assert at_hand.train_embeddings == before
    assert evaluation.marks(CELL, put({"other": 1})) == at_hand
    assert evaluation.marks(CELL, put({"size": 64})) == at_hand


def test_what_the_file_settles_is_in_the_fingerprints_the_pixels_and_the_network(put: Callable):
    without = evaluation.marks(CELL, put(None))
    roots = put({"size": {"shortest_edge": 40}, "image_mean": [0.1, 0.2, 0.3]})
    with_file = evaluation.marks(CELL, roots)
    assert with_file.weights == without.weights
    assert with_file.train_embeddings != without.train_embeddings and with_file.test != without.test
    assert search.sees(ItemQuery("test", 0), CELL, roots).shape[:2] == (40, 40)
    encoder = loading.load_encoder("tiny", roots, device="cpu")
    assert encoder.spec.pixels is not None and encoder.spec.pixels.mean == (0.1, 0.2, 0.3)
    assert encoder.spec.unverified == ()


def test_what_was_settled_is_recorded_and_keeps_a_result_current(put: Callable, monkeypatch: pytest.MonkeyPatch):
    roots = put({"size": 40})
    result = evaluation.evaluate(CELL, roots, device="cpu")
    record = {"file": "config.json", "facts": {"pixels.size": 40}}
    assert result.provenance["embedded"]["settled"] == record
    assert evaluation.is_current(result, roots)
    stored = embedding.embed(CELL.data, 64, "test", CELL.spec, roots)
    assert stored.meta["settled"] == record
    assert not evaluation.is_current(result, put({"size": 48}))
    assert not evaluation.is_current(result, put(None))
    assert evaluation.is_current(result, dataclasses.replace(roots, weights=None))  # where nobody can say otherwise
    again = evaluation.evaluate(CELL, put({"size": 48}), device="cpu")
    assert again.fingerprint != result.fingerprint
    assert not np.array_equal(stored.vectors, embedding.embed(CELL.data, 64, "test", CELL.spec, roots).vectors)


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'"a"', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_said_in_a_sentence_and_nothing_is_loaded(put: Callable, content: bytes):
    roots = put({"size": 64})
    result = evaluation.evaluate(CELL, roots, device="cpu")
    put(content)
    for ask in (
        lambda: loading.load_encoder("tiny", roots, device="cpu"),
        lambda: embedding.embed(CELL.data, 64, "test", CELL.spec, roots),
        lambda: evaluation.marks(CELL, roots),
    ):
        with pytest.raises(BadInput, match=r"The config file config\.json in .* cannot be read") as no:
            ask()
        assert "delete it" in no.value.remedy
    said = readiness.of_pictures(cell("phantoms", 64, "tiny"), roots)
    assert said.state == "unavailable" and "config.json" in said.message
    assert not evaluation.is_current(result, roots)
