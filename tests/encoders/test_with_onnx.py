"""Stored graphs: they give what their networks give, are kept only then, and serve without torch."""

import dataclasses
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from encoders.test_study_keras import networks, write  # noqa: F401 - a fixture
from encoders.upstream import put, relative

from benchmarks.random_networks import calm
from retrieval.encoders import devices, loading, with_onnx
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.preprocessing import normalisation
from retrieval.encoders.specs import EncoderSpec
from retrieval.roots import Roots

LITE = find_encoder("efficientnet_lite0")
CONVERTED = [spec for spec in ENCODERS if spec.runtime == "onnx"]
SIDE = (64, 64)


def seen(n: int, side: tuple[int, int] = SIDE) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *side, 3), np.uint8)


def converted(spec: EncoderSpec, roots: Roots, side: tuple[int, int] = SIDE) -> Any:
    """With a side of its own where a test needs a graph that no other has left in memory."""
    return loading.load(spec, roots, device="cpu", side=side, convert=True)


@pytest.fixture
def graph(tiny: EncoderSpec, tiny_tensors: dict, weighted: Roots) -> EncoderSpec:
    """The tests' small network as one that is converted, with its weights where a person would put them."""
    spec = dataclasses.replace(tiny, runtime="onnx")
    put(tiny_tensors, spec, weighted)
    return spec


def test_a_graph_gives_what_its_network_gives(graph: EncoderSpec, weighted: Roots):
    by_graph, by_torch = converted(graph, weighted), loading.load(graph, weighted, device="cpu")
    assert (by_graph.runtime, getattr(by_torch, "runtime", "")) == ("onnx", "torch")
    for n in (1, 5):
        assert relative(by_graph.embed(seen(n)), by_torch.embed(seen(n))) <= 1e-5
    assert by_graph.embed(seen(1)).dtype == np.float32


def test_threads_share_a_graph(graph: EncoderSpec, weighted: Roots):
    encoder = converted(graph, weighted)
    batches = [seen(n) for n in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encoder.embed, batches))
    for batch, features in zip(batches, together, strict=True):
        assert np.array_equal(features, encoder.embed(batch))


def test_a_graph_is_made_once_and_only_on_request(graph: EncoderSpec, weighted: Roots, caplog: Any):
    caplog.set_level(logging.INFO, "retrieval")
    assert getattr(loading.load(graph, weighted, device="cpu", side=(48, 48)), "runtime", "") == "torch"
    made = converted(graph, weighted, (48, 48))
    assert loading.load(graph, weighted, device="cpu", side=(48, 48)) is made
    assert getattr(loading.load(graph, weighted, device="cpu", side=(32, 32)), "runtime", "") == "torch"
    assert caplog.text.count("is being converted") == 1


def test_a_graph_that_differs_is_refused(graph: EncoderSpec, weighted: Roots, monkeypatch: Any, caplog: Any):
    monkeypatch.setattr(with_onnx, "TOLERANCE", 0.0)
    assert converted(graph, weighted, (40, 40)).runtime == "torch"
    assert "torch runs it" in caplog.text
    assert not list(weighted.cache.glob("graphs/**/*.json"))


def test_what_cannot_be_converted_stays_with_torch(graph: EncoderSpec, weighted: Roots, monkeypatch: Any, caplog: Any):
    def fail(*_: Any) -> bytes:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(with_onnx, "_exported", fail)
    assert converted(graph, weighted, (56, 56)).runtime == "torch"
    assert "cannot be converted (RuntimeError: no such operator)" in caplog.text


def test_a_damaged_graph_is_not_used(graph: EncoderSpec, weighted: Roots):
    found = loading.identify(graph, weighted).digest
    converted(graph, weighted, (72, 72))
    assert with_onnx.stored(graph, found, (72, 72), weighted) is not None
    (file,) = weighted.cache.glob("graphs/**/*.npy")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert with_onnx.stored(graph, found, (72, 72), weighted) is None


def test_other_weights_sides_and_normalising_are_other_graphs():
    assert LITE.pixels is not None
    other = dataclasses.replace(LITE, pixels=dataclasses.replace(LITE.pixels, mean=(0.1, 0.2, 0.3)))
    marks = {
        with_onnx.fingerprint_of(LITE, "a", SIDE),
        with_onnx.fingerprint_of(LITE, "b", SIDE),
        with_onnx.fingerprint_of(LITE, "a", (64, 32)),
        with_onnx.fingerprint_of(other, "a", SIDE),
        with_onnx.fingerprint_of(dataclasses.replace(LITE, architecture="tf_efficientnet_lite1"), "a", SIDE),
    }
    assert len(marks) == 5
    assert with_onnx.fingerprint_of(dataclasses.replace(LITE, runtime="torch"), "a", SIDE) in marks


SERVE = """
import sys
from pathlib import Path
import numpy as np
from retrieval.encoders.loading import load_encoder
from retrieval.roots import Roots
cache = Path(sys.argv[1])
encoder = load_encoder("efficientnet_lite0", Roots((), None, cache / "nothing", cache), side=(96, 96))
print(encoder.runtime, encoder.embed(np.zeros((1, 96, 96, 3), np.uint8)).shape, *{"torch", "keras"} & set(sys.modules))
"""


def test_a_stored_graph_serves_without_torch(empty_roots: Roots):
    if not devices.on_cpu("auto"):
        pytest.skip("on a GPU torch is what serves")
    assert converted(LITE, empty_roots, (96, 96)).runtime == "onnx"
    out = subprocess.run([sys.executable, "-c", SERVE, str(empty_roots.cache)], capture_output=True, text=True)
    assert out.stdout.strip() == "onnx (1, 1280)", out.stderr


# --- every convolutional network


def with_random_weights(spec: EncoderSpec, roots: Roots, keras_networks: Any) -> Any:
    """The encoder of torch, with weights at random where the installation brings none."""
    if spec.library == "keras":
        network = keras_networks(spec.name)
        calm(network, SIDE)
        write(network, spec, roots)
    elif spec.weights is not None and not spec.weights.package:
        put(_random_state(spec), spec, roots)
    return loading.load(spec, roots, device="cpu")


def _random_state(spec: EncoderSpec) -> dict[str, Any]:
    import torch

    from retrieval.encoders import with_timm

    torch.manual_seed(0)
    return dict(with_timm.build(spec).state_dict())


@pytest.mark.parametrize("spec", CONVERTED, ids=lambda spec: spec.name)
def test_every_runtime_of_every_network_agrees(spec: EncoderSpec, weighted: Roots, networks: Any):  # noqa: F811
    assert normalisation(spec) is not None
    by_torch = with_random_weights(spec, weighted, networks)
    by_graph = converted(spec, weighted)
    assert by_graph.runtime == "onnx"
    assert relative(by_graph.embed(seen(3)), by_torch.embed(seen(3))) <= 1e-4
