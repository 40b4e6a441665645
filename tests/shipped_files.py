"""The DICOM and NIfTI files that come with pydicom and nibabel, and those at hand beside the checkout."""

import importlib.util
from pathlib import Path

from conftest import SHARED

NO_FILES = (".json", ".txt", ".dump", ".icc", ".py", ".pyc", ".xml", ".md")


def shipped(package: str, among: str) -> list[Path]:
    """Files that come with a package."""
    place = Path(importlib.util.find_spec(package).origin).parent
    return sorted(path for path in place.glob(among) if path.is_file() and path.suffix not in NO_FILES)


def beside(folder: str) -> list[Path]:
    """Files at hand beside the checkout."""
    return sorted((SHARED / folder).glob("*")) if (SHARED / folder).is_dir() else []


DICOM = [*shipped("pydicom", "data/**/*"), *shipped("nibabel", "**/tests/data/**/*.dcm*"), *beside("dicom")]
NIFTI = [*shipped("nibabel", "**/tests/data/*.nii*"), *beside("nifti")]
PAIRS = shipped("nibabel", "**/tests/data/*.hdr")
