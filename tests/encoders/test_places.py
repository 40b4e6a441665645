"""Where weights are looked for: in the layouts that people already have, the same file whatever order a disk lists."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.encoders import places
from retrieval.encoders.catalogue import ENCODERS
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.roots import Roots

PINNED, OTHER = "a" * 40, "0" * 40
SOURCE = WeightsSource(filename="pytorch_model.bin", files=("model.safetensors",), repo="owner/name", revision=PINNED)


@pytest.fixture
def spec(tiny: EncoderSpec) -> EncoderSpec:
    return dataclasses.replace(tiny, weights=SOURCE)


def put(root: Path | None, *names: str) -> list[Path]:
    """Empty files under a root."""
    assert root is not None
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return paths


@pytest.mark.parametrize(
    "name",
    [
        "tiny/pytorch_model.bin",
        "tiny/model.safetensors",
        "tiny/medclip-vit/pytorch_model.bin",
        f"tiny/snapshots/{OTHER}/pytorch_model.bin",
        f"tiny/models--owner--name/snapshots/{OTHER}/pytorch_model.bin",
        f"tiny/models--owner--name/snapshots/{OTHER}/folder/pytorch_model.bin",
    ],
)
def test_a_file_is_found_in_every_layout_that_people_have(name: str, spec: EncoderSpec, weighted: Roots):
    (path,) = put(weighted.weights, name)
    assert places.locate(spec, weighted) == path


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "other/pytorch_model.bin",
        "tiny/other.bin",
        "tiny/a/b/c/d/e/pytorch_model.bin",
        "tiny/pytorch_model.bin/readme.txt",
    ],
)
def test_no_other_file_is_taken(name: str, spec: EncoderSpec, weighted: Roots):
    put(weighted.weights, name)
    assert places.locate(spec, weighted) is None


@pytest.mark.parametrize(
    "names",
    [
        ["tiny/pytorch_model.bin", "tiny/model.safetensors", f"tiny/{PINNED}/pytorch_model.bin"],
        ["tiny/model.safetensors", "tiny/a/pytorch_model.bin"],
        [f"tiny/{PINNED}/model.safetensors", f"tiny/{OTHER}/pytorch_model.bin"],
        [f"tiny/{PINNED}/pytorch_model.bin", f"tiny/{PINNED}/model.safetensors"],
        ["tiny/z/pytorch_model.bin", "tiny/a/b/pytorch_model.bin"],
        ["tiny/a/pytorch_model.bin", "tiny/b/pytorch_model.bin"],
    ],
    ids=["direct", "direct by another name", "pinned", "the usual name", "the nearest", "by name"],
)
def test_of_several_the_first_of_these_is_taken(names: list[str], spec: EncoderSpec, weighted: Roots):
    paths = put(weighted.weights, *reversed(names))
    assert places.locate(spec, weighted) == paths[-1]


def test_the_order_of_places(spec: EncoderSpec, weighted: Roots, tmp_path: Path):
    roots = dataclasses.replace(weighted, hub=tmp_path / "users")
    snapshot = f"models--owner--name/snapshots/{OTHER}/pytorch_model.bin"
    expected = [
        *put(roots.weights, "tiny/pytorch_model.bin"),
        *put(roots.cache / "weights", "tiny/pytorch_model.bin"),
        *put(roots.cache / "hub", snapshot),
        *put(roots.hub, snapshot),
    ]
    for path in expected:
        assert places.locate(spec, roots) == path
        path.unlink()
    assert places.locate(spec, roots) is None


def test_a_package_that_is_not_installed_is_no_file_of_the_working_folder(
    tiny: EncoderSpec, weighted: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path, "model.pth")
    monkeypatch.chdir(tmp_path)
    source = WeightsSource(filename="model.pth", package="no_such_package_of_weights", member="model.pth")
    assert places.locate(dataclasses.replace(tiny, weights=source), weighted) is None


def test_looking_for_every_encoder_reads_only_folders(weighted: Roots, tmp_path: Path):
    opened: list[str] = []

    def watch(event: str, arguments: tuple) -> None:
        if watching and event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(str(arguments[0]))

    put(weighted.weights, *(f"{spec.name}/{spec.weights.filename}" for spec in ENCODERS if spec.weights))
    watching = True
    sys.addaudithook(watch)  # cannot be removed, so it is silenced
    found = [places.locate(spec, weighted) for spec in ENCODERS]
    watching = False
    assert opened == []
    assert len([path for path in found if path is not None]) == len([spec for spec in ENCODERS if spec.weights])


@pytest.mark.parametrize("name", ["file.pth", "other.pth"])
def test_a_link_that_leads_in_a_circle_is_no_file(name: str, spec: EncoderSpec, weighted: Roots):
    assert weighted.weights is not None and spec.weights is not None
    folder = weighted.weights / spec.name
    folder.mkdir(parents=True)
    circle = folder / (spec.weights.filename if name == "file.pth" else name)
    circle.symlink_to(circle.name)
    assert places.locate(spec, weighted) is None
    (folder / "below").mkdir()
    below = folder / "below" / spec.weights.filename
    below.touch()
    assert places.locate(spec, weighted) == below


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder with a weights file that nobody may enter, in one that everybody may."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (file,) = put(Path(name), f"closed/{SOURCE.filename}")
        file.parent.chmod(0o000)
        yield file.parent
        file.parent.chmod(0o755)


def test_a_folder_that_one_may_not_enter_holds_nothing(closed: Path):
    """In a process of its own, which gives up the superuser's rights where it has them."""
    program = f"""
import os
from pathlib import Path
from retrieval.encoders import places
from retrieval.encoders.specs import WeightsSource
if os.geteuid() == 0:
    os.setuid(65534)
print(places._below(Path({str(closed)!r}), WeightsSource(filename={SOURCE.filename!r})))
"""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("None", 0), done.stderr
