"""All datasets known by name, in the order of menus: pictures, volumes, what the project draws; then collections."""

from retrieval.datasets.collections import records
from retrieval.datasets.medmnist_2d import MEDMNIST_2D
from retrieval.datasets.medmnist_3d import MEDMNIST_3D
from retrieval.datasets.phantoms_literals import PHANTOMS_2D, PHANTOMS_3D
from retrieval.datasets.specs import Dataset
from retrieval.errors import UnknownName
from retrieval.roots import Roots

DATASETS: tuple[Dataset, ...] = (*MEDMNIST_2D, *MEDMNIST_3D, PHANTOMS_2D, PHANTOMS_3D)


def datasets(roots: Roots) -> tuple[Dataset, ...]:
    """All that are known by name, then the collections under these roots by their names."""
    return (*DATASETS, *records.datasets(roots))


def find_dataset(name: str, roots: Roots | None = None) -> Dataset:
    """The dataset of this name, with roots also a collection's; UnknownName lists the valid ones and the nearest."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    known = DATASETS if roots is None else datasets(roots)
    for dataset in known[len(DATASETS) :]:
        if dataset.name == name:
            return dataset
    raise UnknownName("dataset", name, [dataset.name for dataset in known])
