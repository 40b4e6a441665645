"""Every DICOM and NIfTI file that pydicom and nibabel ship, and those at hand beside: a right picture or one sentence.

What is right is what pydicom's own functions make of the values, rescaled, windowed and brought to 8 bits; one grey
level of difference is allowed, since they round at another place.
"""

import importlib.util
import io
import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures.decoded import Picture, Volume
from retrieval.pictures.reading import decode, decode_picture


def packaged(package: str, *, among: str) -> list[Path]:
    """Files that come with a package."""
    place = Path(importlib.util.find_spec(package).origin).parent
    return sorted(path for path in place.glob(among) if path.is_file())


OTHERS = (".json", ".txt", ".dump", ".icc", ".py", ".xml", ".html", ".gz")
DICOM = [
    path
    for path in packaged("pydicom", among="data/**/*")
    if path.suffix not in OTHERS and "tests" in str(path) or path.suffix == ".dcm"
]
DICOM += sorted((SHARED / "dicom").glob("*")) if SHARED.is_dir() else []
NIFTI = [*packaged("nibabel", among="tests/data/*.nii*"), *packaged("nibabel", among="tests/data/*.hdr")]
NIFTI += sorted((SHARED / "nifti").glob("*")) if SHARED.is_dir() else []


def outcome(path: Path) -> Picture | Volume | BadInput:
    """What a file becomes."""
    try:
        return decode(path.read_bytes(), name=path.name)
    except BadInput as error:
        return error
