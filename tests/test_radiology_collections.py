"""Every DICOM and NIfTI file at hand as one collection: right pictures or sentences, and nothing of the persons."""

import io
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest import SHARED
from shipped_files import DICOM, NIFTI
from typer.testing import CliRunner

from retrieval.cells import cell
from retrieval.cli.commands import app
from retrieval.datasets.collections import records
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import SPLITS
from retrieval.pictures.item import AS_THEY_ARE, make_item
from retrieval.pictures.reading import decode_picture
from retrieval.roots import Roots, environment_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

# What is of a person or a visit, by the kind of value: names, dates; and by its keyword: numbers.
KINDS, NUMBERS = ("PN", "DA", "DT"), ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID")
SHORTEST = 6  # characters: shorter ones stand in any file by chance


@pytest.fixture
def folder(tmp_path: Path, need) -> Path:
    """Copies of all of them, numbered, since some have one name."""
    need(SHARED.is_dir(), "the files of radiology beside the checkout")
    place = tmp_path / "radiology"
    place.mkdir()
    for number, path in enumerate((*DICOM, *NIFTI)):
        shutil.copyfile(path, place / f"{number:03d}-{path.name}")
    return place


def of_persons(folder: Path) -> set[bytes]:
    """Names, numbers and dates as the files tell them."""
    found: set[str] = set()
    for path in folder.iterdir():
        try:
            header = pydicom.dcmread(io.BytesIO(path.read_bytes()), force=True, stop_before_pixels=True)
            elements = list(header.iterall())
        except Exception:  # noqa: BLE001, S112 - damaged on purpose: pydicom itself reads no person in it
            continue
        found |= {str(each.value) for each in elements if each.VR in KINDS or each.keyword in NUMBERS}
    return {text.encode() for text in found if len(text) >= SHORTEST}


def stands_in(told: bytes, text: bytes) -> bool:
    """Whether a text is told; a number as a whole, since a digest holds many a number by chance."""
    return re.search(rb"(?<![0-9a-f])" + text + rb"(?![0-9a-f])", told) is not None if text.isdigit() else text in told


def test_all_files_become_pictures_or_sentences_and_no_person_is_kept(empty_roots: Roots, folder: Path, caplog):
    caplog.set_level(logging.DEBUG)
    said = []

    def run(*words: object) -> str:
        done = CliRunner().invoke(app, [*map(str, words)], env=environment_of(empty_roots))
        assert done.exit_code == 0, done.output
        said.append(done.output)
        return done.output

    run("collection", "add", "radiology", folder)
    run("collection", "show", "radiology", "--format", "json")
    found = records.find("radiology", empty_roots)
    names, left_out = {file.name for file in found.files}, {each.name: each.reason for each in found.left_out}
    silent = {path.name for path in folder.iterdir()} - names - left_out.keys()
    assert not any(name.endswith((".dcm", ".nii", ".nii.gz")) for name in silent)
    assert not silent or any("ending" in name for name in left_out)  # counted, not listed
    assert len(names) >= 90 and all(reason.endswith(".") for reason in left_out.values())

    data = cell("radiology", None, "histogram", roots=empty_roots).data
    for side in SPLITS:
        split = open_split(data, AS_THEY_ARE, side, empty_roots)
        for file, item in zip(found.of(side), split.images, strict=True):
            alone = decode_picture((folder / file.name).read_bytes(), name=file.name).image
            assert np.array_equal(item, make_item(alone, dataset=data, size=AS_THEY_ARE)), file.name

    asked = [folder / file.name for file in found.of("train")[::25]]
    run("search", *asked, "--dataset", "radiology", "--encoder", "histogram")
    persons = of_persons(folder)
    assert len(persons) > 50
    kept = b"".join(path.read_bytes() + str(path).encode() for path in empty_roots.cache.rglob("*") if path.is_file())
    told = kept + "".join((*said, caplog.text)).encode()
    assert [text for text in persons if stands_in(told, text)] == []
