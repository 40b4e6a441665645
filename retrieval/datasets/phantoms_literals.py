"""The two sets that the project draws itself, for a machine with neither data files nor a network."""

from types import MappingProxyType

from retrieval.datasets.specs import Dataset

_LICENCE = "CC0-1.0"
_CITATION = "Drawn by this program; shows nothing real."

PHANTOMS_2D = Dataset(
    name="phantoms",
    title="Phantoms (synthetic)",
    about="Synthetic pictures in the manner of six kinds of medical image, drawn by this program.",
    ndim=2,
    channels=1,
    task="classes",
    classes=("ultrasound", "cells", "vessels", "nodules", "fundus", "bone"),
    counts=MappingProxyType({"train": 600, "val": 0, "test": 150}),
    sizes=(64,),
    licence=_LICENCE,
    url="",
    citation=_CITATION,
    synthetic=True,
)

PHANTOMS_3D = Dataset(
    name="phantoms3d",
    title="Phantoms 3D (synthetic)",
    about="Synthetic volumes of three simple shapes, drawn by this program.",
    ndim=3,
    channels=1,
    task="classes",
    classes=("nodule (sphere)", "vessel (tube)", "bone (shell)"),
    counts=MappingProxyType({"train": 60, "val": 0, "test": 20}),
    sizes=(28,),
    licence=_LICENCE,
    url="",
    citation=_CITATION,
    synthetic=True,
)
