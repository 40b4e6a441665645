"""What all MedMNIST v2 datasets have in common: address, file names, citation and usual licence."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from retrieval.datasets.specs import SPLITS, DataFile, Dataset, Task

PAGE = "https://medmnist.com/"
RECORD = "https://zenodo.org/records/10519652/files"
CITATION = (
    "Yang, J., Shi, R., Wei, D. et al. MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical "
    "image classification. Scientific Data 10, 41 (2023)."
)


def medmnist(
    name: str,
    *,
    title: str,
    about: str,
    ndim: Literal[2, 3],
    channels: Literal[1, 3],
    classes: tuple[str, ...],
    counts: tuple[int, int, int],
    md5: Mapping[int, str],
    task: Task = "classes",
    licence: str = "CC-BY-4.0",
) -> Dataset:
    """The Dataset of a MedMNIST set.

    Args:
        name: Key, as in its file names.
        counts: Items in train, val and test.
        md5: Of the official file, by size.
    """
    return Dataset(
        name=name,
        title=title,
        about=about,
        ndim=ndim,
        channels=channels,
        task=task,
        classes=classes,
        counts=MappingProxyType(dict(zip(SPLITS, counts, strict=True))),
        sizes=tuple(md5),
        licence=licence,
        url=PAGE,
        citation=CITATION,
        files=MappingProxyType({size: _official_file(name, size, md5=digest) for size, digest in md5.items()}),
    )


def _official_file(name: str, size: int, *, md5: str) -> DataFile:
    file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    return DataFile(name=file, url=f"{RECORD}/{file}?download=1", md5=md5)
