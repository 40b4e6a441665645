"""The study's rows recomputed whole, from pixels and weights to hits; nothing that is shipped is used."""

from dataclasses import replace

import pytest

from retrieval import evaluation, results
from retrieval.cells import Cell, cell
from retrieval.datasets.opening import is_at_hand
from retrieval.encoders import weights
from retrieval.published import published_row
from retrieval.results import Result
from retrieval.roots import SHIPPED, Roots

pytestmark = [pytest.mark.reproduce, pytest.mark.timeout(3000)]

COUNTED = ("mMV@5", "ACC@1", "ACC@3", "ACC@5")
SETS = [("breastmnist", 28), ("retinamnist", 28), ("adrenalmnist3d", 28), ("adrenalmnist3d", 64)]
PROTOCOLS = ("paper", "cosine")

# Measured by an independent program that follows the study's code: hits of mMV@5, ACC@1, ACC@3, ACC@5, and mAP@5.
MEASURED = {
    ("breastmnist", 28, "densenet121", "paper"): ((127, 125, 150, 154), 84.615),
    ("breastmnist", 28, "densenet121", "cosine"): ((122, 121, 148, 150), 83.672),
    ("retinamnist", 28, "densenet121", "paper"): ((207, 181, 276, 333), 56.430),
    ("retinamnist", 28, "densenet121", "cosine"): ((217, 181, 271, 329), 56.195),
    ("adrenalmnist3d", 28, "densenet121", "paper"): ((231, 214, 268, 279), 79.180),
    ("adrenalmnist3d", 28, "densenet121", "cosine"): ((225, 209, 268, 280), 78.616),
    ("adrenalmnist3d", 64, "densenet121", "paper"): ((232, 217, 267, 276), 79.018),
    ("adrenalmnist3d", 64, "densenet121", "cosine"): ((233, 218, 263, 273), 78.999),
    ("adrenalmnist3d", 64, "pixels", "paper"): ((236, 212, 269, 282), 79.554),
    ("adrenalmnist3d", 64, "pixels", "cosine"): ((213, 202, 279, 290), 77.156),
}


@pytest.fixture(scope="module")
def anew(roots: Roots, tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Data and weights, an empty cache, and nothing shipped."""
    folder = tmp_path_factory.mktemp("anew")
    return replace(roots, precomputed=folder / "nothing", cache=folder / "cache")


@pytest.fixture(scope="module")
def computed(anew: Roots, need):
    """`computed(cell)`: its Result, from pixels and weights; embedded once for both protocols."""

    def compute(where: Cell) -> Result:
        need(is_at_hand(where.data, where.size, anew), f"{where.dataset} at {where.size}")
        need(weights.state(where.spec, anew) == "ready", f"the weights of {where.spec.title}")
        result = evaluation.evaluate(where, anew, device="cpu")
        assert result.verified, "the data or the weights are not the published ones"
        return result

    return compute


def hits(result: Result) -> tuple[int, ...]:
    return tuple(result.as_published.hits[name] for name in COUNTED)


@pytest.mark.parametrize(("dataset", "size"), SETS)
def test_densenet121_meets_the_studys_row_to_the_hit(computed, anew, dataset, size):
    where = cell(dataset, size, "densenet121", "paper")
    published = published_row(anew, dataset=dataset, size=size, encoder="densenet121")
    assert published is not None
    result = computed(where)
    assert hits(result) == tuple(published.hits[name] for name in COUNTED)
    assert result.as_published.n_queries == published.n_queries
    # The study cut its 2D figures off after two decimals.
    assert abs(result.as_published.metrics["mAP@5"] - published.printed["mAP@5"]) <= 0.011


@pytest.mark.parametrize("names", MEASURED, ids=lambda names: "-".join(map(str, names)))
def test_hits_are_as_measured_independently(computed, names):
    expected, mean = MEASURED[names]
    result = computed(cell(*names))
    assert hits(result) == expected
    assert result.as_published.metrics["mAP@5"] == pytest.approx(mean, abs=0.001)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("dataset", "size"), SETS)
def test_what_is_shipped_of_densenet121_is_what_is_computed(computed, need, dataset, size, protocol):
    _equal_to_shipped(computed, need, cell(dataset, size, "densenet121", protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_shipped_of_the_default_extractor_is_what_is_computed(computed, need, protocol):
    _equal_to_shipped(computed, need, cell("breastmnist", 28, "efficientnet_lite0", protocol))


def _equal_to_shipped(computed, need, where: Cell) -> None:
    shipped = results.read(results.path_of(SHIPPED, where))
    need(shipped is not None, f"a shipped result of {where.key}")
    assert shipped is not None
    result = computed(where)
    assert shipped.fingerprint == result.fingerprint
    for ours, theirs in (
        (result.as_published, shipped.as_published),
        (result.groups_left_out, shipped.groups_left_out),
    ):
        assert ours.hits == theirs.hits
        assert ours.metrics == pytest.approx(theirs.metrics, abs=0.01)
    assert result.grouped_queries == shipped.grouped_queries
