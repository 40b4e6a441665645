"""All datasets that are known by name, in the order of menus: pictures, volumes, then what the project draws itself."""

from retrieval.datasets.medmnist_2d import MEDMNIST_2D
from retrieval.datasets.medmnist_3d import MEDMNIST_3D
from retrieval.datasets.phantoms_literals import PHANTOMS_2D, PHANTOMS_3D
from retrieval.datasets.specs import Dataset
from retrieval.errors import UnknownName

DATASETS: tuple[Dataset, ...] = (*MEDMNIST_2D, *MEDMNIST_3D, PHANTOMS_2D, PHANTOMS_3D)


def find_dataset(name: str) -> Dataset:
    """The dataset of this name; UnknownName lists the valid ones and suggests the nearest."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    raise UnknownName("dataset", name, [dataset.name for dataset in DATASETS])
