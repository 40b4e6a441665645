"""Every snippet in README.md is run, as a reader would run it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orthanc
import pytest
import volume_files as files
from conftest import REPOSITORY
from PIL import Image

from retrieval.datasets.catalogue import DATASETS, find_dataset
from retrieval.datasets.collections import adding, records
from retrieval.datasets.opening import locate, open_split
from retrieval.roots import Roots

README = (REPOSITORY / "README.md").read_text()
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def lines_of(language: str) -> list[str]:
    """Command lines of the README in one language, comments stripped."""
    blocks = [text for name, text in SNIPPETS if name == language]
    return [line.split("  #")[0].strip() for text in blocks for line in text.splitlines() if line.strip()]


EXAMPLE = "dicomweb:https://pacs.example.org/dicom-web"
PROGRAM = [line for line in lines_of("bash") if line.startswith("python -m retrieval")]
ARCHIVED = [line for line in PROGRAM if EXAMPLE in line or line.endswith("update ours")]
COMMANDS = [line for line in PROGRAM if line not in ARCHIVED]
TARGETS = [line.split() for line in lines_of("bash") if line.startswith("make")]
INSTALLS = [line for line in lines_of("bash") if "venv" in line]


@pytest.fixture
def desk(tmp_path: Path, roots: Roots, need) -> Path:
    """A folder with a picture to search with, as the README's examples have it."""
    breast = find_dataset("breastmnist")
    need(locate(breast, 28, roots), "breastmnist.npz in RETRIEVAL_DATA")
    picture = np.asarray(open_split(breast, 28, "test", roots).images[3])
    Image.fromarray(picture).save(tmp_path / "picture.png")
    own = open_split(breast, 28, "val", roots)
    for number, (pixels, label) in enumerate(zip(own.images, own.labels, strict=True)):
        folder = tmp_path / "my_pictures" / ("malignant", "benign")[int(label[0])]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(folder / f"{number}.png")
    adrenal = find_dataset("adrenalmnist3d")
    need(locate(adrenal, 28, roots), "adrenalmnist3d.npz in RETRIEVAL_DATA")
    volume = np.asarray(open_split(adrenal, 28, "test", roots).images[3])
    files.write(tmp_path, "slices.zip", files.dicom_zip(volume))
    for number, each in enumerate(open_split(adrenal, 28, "test", roots).images[:24]):
        folder = tmp_path / "my_scans" / ("left", "right")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder, f"{number}.nii", files.axial_nifti(np.asarray(each)))
    flat = np.asarray(own.images).reshape(len(own), -1).astype(np.float32)
    np.savez(tmp_path / "mine.npz", vectors=flat, labels=np.asarray(own.labels))
    return tmp_path


def environment(roots: Roots) -> dict[str, str]:
    named = {
        "RETRIEVAL_DATA": os.pathsep.join(str(folder) for folder in roots.data),
        "RETRIEVAL_CACHE": str(roots.cache),
        "PYTHONPATH": str(REPOSITORY),
    }
    if roots.weights is not None:
        named["RETRIEVAL_WEIGHTS"] = str(roots.weights)
    return {**os.environ, **named}


def test_every_snippet_is_of_a_kind_that_is_run() -> None:
    known = len(PROGRAM) + len(TARGETS) + len(INSTALLS)
    assert {language for language, _ in SNIPPETS} == {"bash", "python"}
    assert len(lines_of("bash")) == known
    assert COMMANDS and ARCHIVED and TARGETS and INSTALLS


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_answer(line: str, desk: Path, roots: Roots) -> None:
    words = shlex.split(line)[1:]
    if "mine" in words and "mine" not in records.names(roots):
        adding.add("mine", desk / "my_pictures", roots)  # as the reader did some lines above
    if "scans" in words and "scans" not in records.names(roots):
        adding.add("scans", desk / "my_scans", roots, ndim=3)
    if "theirs" in words and "theirs" not in records.names(roots):
        adding.add("theirs", desk / "mine.npz", roots, vectors="EfficientNet-Lite0")
    if words[2:4] == ["collection", "add"]:
        records.remove(words[4], roots)
    done = subprocess.run(
        [sys.executable, *words], cwd=desk, env=environment(roots), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_commands_on_an_archive_answer(archive: orthanc.Orthanc, roots: Roots, tmp_path: Path) -> None:
    login = {"RETRIEVAL_DICOMWEB_USER": orthanc.USER, "RETRIEVAL_DICOMWEB_PASSWORD": orthanc.PASSWORD}
    uid = next(iter(archive.files))
    for line in ARCHIVED:
        words = shlex.split(re.sub(r"#[\d.]+", f"#{uid}", line.replace(EXAMPLE, f"dicomweb:{archive.url}")))[1:]
        environ = {**environment(roots), **login}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.mark.parametrize("line", TARGETS)
def test_make_knows_the_targets(line: list[str]) -> None:
    assert shutil.which("make"), "make is missing"
    done = subprocess.run([*line, "-n"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_installing_without_cuda_names_the_project_s_own_files() -> None:
    """Not run, since it downloads: but what it names must be there."""
    assert any("-r requirements.txt" in line for line in INSTALLS)
    assert (REPOSITORY / "requirements.txt").is_file()


def test_python_prints_what_it_says(desk: Path, roots: Roots) -> None:
    snippets = [text for language, text in SNIPPETS if language == "python"]
    for text in snippets:
        expected = re.findall(r"print\(.*\)\s+# (.*)$", text, flags=re.MULTILINE)
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=desk, env=environment(roots), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("\n")[:-1] == expected


def test_data_that_is_licensed_otherwise_is_named() -> None:
    others = {data.title: data.licence for data in DATASETS if not data.synthetic and data.licence != "CC-BY-4.0"}
    said = {
        title: f"{title} CC BY-{licence.removeprefix('CC-BY-').replace('-4', ' 4')}"
        for title, licence in others.items()
    }
    assert said and all(README.count(words) == 2 for words in said.values())


def test_files_that_are_named_exist() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    missing = [link for link in links if not (REPOSITORY / link).exists()]
    assert not missing
