"""No extractor is in the menu without a test of its checkpoint, of its pixels, and of its equal elsewhere."""

import importlib
from pathlib import Path

import pytest

from retrieval.encoders.catalogue import ENCODERS

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py") if path.stem != Path(__file__).stem)
NETWORKS = [spec.name for spec in ENCODERS if spec.weights is not None]

# The study's nine and all for which another implementation can be installed.
ELSEWHERE = {
    *("vgg19", "resnet50", "densenet121", "efficientnetv2m", "medclip", "biomedclip", "openclip", "conch", "uni"),
    *("virchow", "virchow2", "h_optimus_0", "h_optimus_1", "quiltnet", "plip", "pubmedclip", "medsiglip", "rad_dino"),
    *("phikon_v2", "midnight_12k", "augnet"),
    *(name for name in NETWORKS if name.startswith(("siglip2", "pe_core", "mobileclip2", "dinov2", "openclip"))),
}


def registered(kind: str) -> set[str]:
    """The names that the modules here say they cover: STRUCTURE, PIXELS or SECOND."""
    modules = (importlib.import_module(f"encoders.{name}") for name in MODULES)
    said = (getattr(module, kind, ()) for module in modules)
    return {name for names in said if isinstance(names, tuple) for name in names}


@pytest.mark.parametrize("kind", ["STRUCTURE", "PIXELS"])
def test_every_network_is_covered(kind: str):
    assert sorted(set(NETWORKS) - registered(kind)) == []


def test_whatever_exists_twice_is_compared():
    assert sorted(ELSEWHERE - registered("SECOND")) == []


def test_only_what_is_in_the_menu_is_registered():
    names = {spec.name for spec in ENCODERS}
    assert sorted((registered("STRUCTURE") | registered("PIXELS") | registered("SECOND")) - names) == []
