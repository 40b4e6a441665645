"""What the page says of extractors, by the literals and by what is at hand."""

import subprocess
import sys
from dataclasses import replace

import pytest

from retrieval.cells import cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.encoders.catalogue import ENCODERS, find_encoder
from retrieval.encoders.specs import WeightsSource
from retrieval.page import extractors
from retrieval.roots import SHIPPED, Roots

PHANTOMS = cell("phantoms", 64, "densenet121")
HEAVY = ("torch", "keras", "timm", "open_clip", "transformers", "huggingface_hub")


@pytest.fixture
def bare(empty_roots: Roots) -> Roots:
    """No weights and no cache; only what is shipped."""
    return replace(empty_roots, precomputed=SHIPPED)


def spec_of(**weights: object):
    """DenseNet121 with other weights, of which nothing is at hand."""
    spec = find_encoder("densenet121")
    source = WeightsSource(filename="no such file.bin", **weights)
    return replace(spec, name="nothing_at_hand", weights=source)


def test_every_extractor_that_fits_has_an_entry_with_a_state(bare):
    for where in (PHANTOMS, cell("phantoms3d", 28, "densenet121")):
        entries = extractors.entries(where, bare)
        assert set(entries) == {spec.name for spec in ENCODERS if spec.takes(where.data.ndim)}
        for name, entry in entries.items():
            assert entry["said"] and entry["line"], name
            assert find_encoder(name).licence in entry["line"]


def test_stored_neighbours_count_only_in_their_own_cell(bare):
    lite0, pixels = find_encoder("efficientnet_lite0"), find_encoder("pixels")
    without = replace(lite0, weights=replace(lite0.weights, package="", repo="nobody/nothing"))
    assert extractors.state(without, PHANTOMS, bare, frozenset()) == "download"
    assert extractors.state(without, PHANTOMS, bare) == "stored"
    assert extractors.state(without, cell("bloodmnist", 28, lite0.name), bare) == "download"
    assert extractors.state(pixels, PHANTOMS, bare) == "ready"


@pytest.mark.parametrize(
    ("source", "gated", "lacking"),
    [
        ({"url": "https://nowhere.invalid/x"}, False, "download"),
        ({"repo": "nobody/nothing"}, False, "download"),
        ({"repo": "nobody/nothing"}, True, "gated"),
        ({"package": "no_such_package_here", "member": "x"}, False, "package"),
        ({}, False, "file"),
    ],
)
def test_what_is_lacking_is_told_apart_and_comes_with_a_way(bare, source, gated, lacking):
    spec = replace(spec_of(**source), gated=gated)
    assert extractors.lacks(spec, bare) == lacking
    way = extractors.getting(spec, PHANTOMS, bare, sampled=False)
    assert way is not None
    assert bool(way["download"]) == (lacking == "download"), "only what needs no consent is fetched by a button"
    expected = {"package": "pip install", "file": ""}.get(lacking, f"download --encoder {spec.name}")
    assert expected in way["command"] and bool(expected) == bool(way["command"])
    assert f"{spec.name}/{spec.weights.filename}" in way["own"]
    assert {row["name"] for row in way["rows"]} == {"What it is", "Licence", "Access", "Size", "Page"}


def test_nothing_is_to_be_got_where_the_weights_are_at_hand(bare):
    assert extractors.getting(find_encoder("pixels"), PHANTOMS, bare, sampled=True) is None


def test_an_overlap_is_said_for_its_dataset_alone():
    spec = replace(find_encoder("densenet121"), overlaps={"chestmnist": "Its card names ChestX-ray14."})
    assert extractors.overlap(spec, find_dataset("chestmnist")).endswith("Its card names ChestX-ray14.")
    assert extractors.overlap(spec, find_dataset("phantoms")) == ""


def test_a_link_leads_to_the_web_or_nowhere():
    assert extractors.web("https://example.org/x") == "https://example.org/x"
    assert extractors.web("javascript:alert(1)") == ""


def test_every_domain_has_a_heading_and_every_extractor_a_domain():
    assert {spec.domain for spec in ENCODERS} <= set(extractors.DOMAINS)


def test_the_menu_is_filled_without_loading_a_library():
    code = f"""if True:
        import sys, tempfile
        from pathlib import Path
        from retrieval.cells import cell
        from retrieval.page import extractors
        from retrieval.roots import SHIPPED, Roots
        nowhere = Path(tempfile.mkdtemp())
        roots = Roots(data=(nowhere,), weights=None, precomputed=SHIPPED, cache=nowhere)
        assert len(extractors.entries(cell("phantoms", 64, "pixels"), roots)) > 5
        loaded = [name for name in {HEAVY} if name in sys.modules]
        assert not loaded, loaded
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
