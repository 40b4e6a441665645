"""Roots for tests, and one way to say that a machine lacks something."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import orthanc
import pytest

from retrieval.roots import SHIPPED, Roots, roots_from_environment

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def _need(condition: object, reason: str) -> None:
    if not condition and os.environ.get("CI") == "true":
        pytest.fail(f"This machine lacks something that a CI run must have: {reason}")
    if not condition:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def need() -> Callable[[object, str], None]:
    """`need(condition, reason)`: skip with the reason, or fail where CI=true."""
    return _need


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """Data and weights as the environment or the folder beside the checkout has them; a cache of this run's own."""
    cache = tmp_path_factory.mktemp("cache")
    named = roots_from_environment(os.environ)
    data = (SHARED / "data" / "medmnist", *named.data) if SHARED.is_dir() else named.data
    weights = SHARED / "weights" if SHARED.is_dir() else named.weights
    return Roots(data=data, weights=weights, precomputed=SHIPPED, cache=cache)


@pytest.fixture(scope="session")
def archive(
    roots: Roots, need: Callable[[object, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[orthanc.Orthanc]:
    """A real archive that holds 24 radiographs of six patients."""
    need(orthanc.program(), orthanc.MISSING)
    found = [folder / "breastmnist.npz" for folder in roots.data if (folder / "breastmnist.npz").exists()]
    need(found, "breastmnist.npz in RETRIEVAL_DATA")
    pictures = np.load(found[0])["train_images"]
    with orthanc.running(tmp_path_factory.mktemp("archive")) as running:
        for number in range(24):
            who, part = orthanc.patient(number // 4), ("CHEST", "BREAST")[number // 4 % 2]
            sop, data = orthanc.dicom_file(pictures[number], who, number=number, part=part)
            running.files[sop] = data
        running.store(list(running.files.values()))
        yield running


@pytest.fixture
def empty_roots(tmp_path: Path) -> Iterator[Roots]:
    """Roots under which nothing lies."""
    cache = tmp_path / "cache"
    yield Roots(data=(tmp_path / "data",), weights=None, precomputed=tmp_path / "precomputed", cache=cache)
