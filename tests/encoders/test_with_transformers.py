"""transformers' networks by a literal of the test's own: configuration in the literal, no code."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from encoders import upstream

from retrieval.encoders import loading, with_transformers
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, Layout, Pixels, Step, WeightsSource
from retrieval.errors import BadInput
from retrieval.roots import Roots

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
KINDS = {
    "CLIPVisionModelWithProjection": {**SIZE, "intermediate_size": 64, "projection_dim": 16},
    "SiglipVisionModel": {**SIZE, "intermediate_size": 64},
    "Dinov2Model": SIZE,
}
POOLED = (Step("pooled"),)

# Dinov2's names in transformers 5, and those of version 4, in which its files are.
_NAMES_OF_4 = (
    (r"^layers?\.", "encoder.layer."),
    (r"^encoder\.layers\.", "encoder.layer."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
)


def own(kind: str, **changes: Any) -> EncoderSpec:
    """A literal that the catalogue does not know."""
    return EncoderSpec(
        **{
            "name": "tiny_transformer",
            "title": "Tiny transformer (random)",
            "about": "A small network with random weights, for tests.",
            "library": "transformers",
            "architecture": kind,
            "dim": KINDS[kind].get("projection_dim", 32),
            "pooling": "the library's own",
            "pixels": Pixels(size=32),
            "slices": None,
            "weights": WeightsSource(filename="model.safetensors"),
            "licence": "CC0-1.0",
            "training": "none",
            "arguments": KINDS[kind],
            "steps": POOLED,
            **changes,
        }
    )


def network(kind: str) -> Any:
    """The same network made by the library's class, with random weights."""
    torch.manual_seed(5)
    made = getattr(transformers, kind)
    return made(made.config_class(**KINDS[kind])).eval()


@pytest.fixture
def load(listed: Callable[[EncoderSpec], None], weighted: Roots) -> Callable[..., Any]:
    """Put a checkpoint where a person would, and load it by the ordinary way."""

    def load(spec: EncoderSpec, tensors: Any) -> Any:
        upstream.put(tensors, spec, weighted)
        listed(spec)
        return loading.load_encoder(spec.name, weighted, device="cpu")

    return load


def output(model: Any, inputs: np.ndarray) -> Any:
    with torch.inference_mode():
        return model(pixel_values=torch.from_numpy(inputs).permute(0, 3, 1, 2))


@pytest.mark.parametrize("steps", [POOLED, ()], ids=["pooled", "no steps"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_literal_makes_an_extractor(kind: str, steps: tuple[Step, ...], load: Callable[..., Any]):
    model, spec = network(kind), own(kind, steps=steps)
    encoder, inputs = load(spec, model.state_dict()), upstream.network_inputs(spec)
    said = output(model, inputs)
    assert find_encoder("tiny_transformer") is spec
    projected = said.image_embeds if kind.startswith("CLIP") else said.pooler_output
    assert upstream.relative(encoder.features(inputs), projected) <= 1e-5
    assert encoder.features(inputs).shape == (2, spec.dim)
    assert not encoder.network.training


@pytest.mark.parametrize("names_of", [4, 5])
def test_the_names_of_earlier_versions_are_read(names_of: int, load: Callable[..., Any]):
    model, spec = network("Dinov2Model"), own("Dinov2Model", steps=(Step("cls_and_mean"),), dim=64)
    tensors = model.state_dict()
    if names_of == 4:
        tensors = {_named_by_4(name): tensor for name, tensor in tensors.items()}
        assert "encoder.layer.0.attention.attention.query.weight" in tensors
    encoder, inputs = load(spec, tensors), upstream.network_inputs(spec)
    tokens = output(model, inputs).last_hidden_state
    assert upstream.relative(encoder.features(inputs), torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=-1)) <= 1e-5


def _named_by_4(name: str) -> str:
    for pattern, replacement in _NAMES_OF_4:
        name = re.sub(pattern, replacement, name)
    return name


def test_steps_may_have_tensors_of_their_own(load: Callable[..., Any]):
    steps = (Step("cls"), Step("norm", name="ln", shape=(32,)), Step("linear", name="more", shape=(4, 32)))
    layout = Layout(rename=((r"^(ln|more)\.", r"feature.\1."),))
    spec = own("Dinov2Model", steps=steps, layout=layout, dim=4)
    model, head = (
        network("Dinov2Model"),
        torch.nn.Sequential(torch.nn.LayerNorm(32), torch.nn.Linear(32, 4, bias=False)),
    )
    extra = {"ln.weight": torch.rand(32), "ln.bias": torch.rand(32), "more.weight": torch.randn(4, 32)}
    head.load_state_dict({"0.weight": extra["ln.weight"], "0.bias": extra["ln.bias"], "1.weight": extra["more.weight"]})
    encoder, inputs = load(spec, {**model.state_dict(), **extra}), upstream.network_inputs(spec)
    with torch.inference_mode():
        expected = head(output(model, inputs).last_hidden_state[:, 0])
    assert upstream.relative(encoder.features(inputs), expected) <= 1e-5
    for name, tensor, match in [
        ("more.weight", None, r"not in it, such as feature\.more\.weight"),
        ("more.weight", torch.zeros(4, 31), r"feature\.more\.weight is \(4, 31\)"),
        ("more.bias", torch.zeros(4), r"belong nowhere, such as feature\.more\.bias"),
    ]:
        changed = {**model.state_dict(), **extra, name: tensor}
        with pytest.raises(BadInput, match=match):
            load(spec, {key: one for key, one in changed.items() if one is not None})


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("one missing", "missing keys: visual_projection.weight"),
        ("one more", "unexpected keys: .*extra.weight"),
        ("one renamed", "missing keys: visual_projection.weight; unexpected keys: visual_projection.wieght"),
        ("one of another shape", "mismatched keys: .*visual_projection.weight.*15, 32.*16, 32"),
        ("another network", "missing keys"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    fault: str, match: str, load: Callable[..., Any], capfd: pytest.CaptureFixture[str]
):
    tensors, name = network("CLIPVisionModelWithProjection").state_dict(), "visual_projection.weight"
    if fault == "another network":
        tensors = network("Dinov2Model").state_dict()
    elif fault == "one more":
        tensors["vision_model.extra.weight"] = torch.zeros(1)
    else:
        taken = tensors.pop(name)
        tensors |= {
            "one missing": {},
            "one renamed": {"visual_projection.wieght": taken},
            "one of another shape": {name: taken[1:].clone()},
        }[fault]
    with pytest.raises(BadInput, match=match):
        load(own("CLIPVisionModelWithProjection"), tensors)
    assert capfd.readouterr() == ("", "")  # the sentence says it, the library does not print it besides


@pytest.mark.parametrize("heading", ["missing_keys", "mismatched_keys", "some heading of a later version"])
def test_whatever_the_library_reports_is_refused(heading: str):
    with pytest.raises(ValueError, match=f"{heading.replace('_', ' ')}: a.weight"):
        with_transformers._check({"error_msgs": [], heading: {"b.weight", "a.weight"}})
    with_transformers._check({"error_msgs": [], heading: set()})


def test_weights_of_half_precision_run_in_float32(load: Callable[..., Any]):
    model, spec = network("SiglipVisionModel"), own("SiglipVisionModel")
    encoder, inputs = (
        load(spec, {name: one.half() for name, one in model.state_dict().items()}),
        upstream.network_inputs(spec),
    )
    assert {one.dtype for one in encoder.network.parameters()} == {torch.float32}
    assert upstream.relative(encoder.features(inputs), output(model, inputs).pooler_output) <= 1e-2


@pytest.mark.parametrize("filename", ["model.safetensors", "pytorch_model.bin"])
def test_a_loaded_network_does_not_hang_on_its_file(filename: str, load: Callable[..., Any], weighted: Roots):
    spec = own("SiglipVisionModel", weights=WeightsSource(filename=filename))
    encoder = load(spec, network("SiglipVisionModel").state_dict())
    inputs = upstream.network_inputs(spec)
    before = encoder.features(inputs)
    assert weighted.weights is not None
    file = weighted.weights / spec.name / filename
    with file.open("r+b") as written:
        written.write(bytes(file.stat().st_size))
    assert np.array_equal(encoder.features(inputs), before)


def test_the_library_says_as_much_as_before(load: Callable[..., Any]):
    before = transformers.logging.get_verbosity()
    load(own("SiglipVisionModel"), network("SiglipVisionModel").state_dict())
    assert transformers.logging.get_verbosity() == before


def test_a_literal_is_not_changed_by_building():
    spec = own("Dinov2Model")
    before = dataclasses.asdict(spec)
    with_transformers.build(spec)
    assert dataclasses.asdict(spec) == before
