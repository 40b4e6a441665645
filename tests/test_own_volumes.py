"""A volume of one's own asked with: whatever file it comes in, and whatever encoder sees it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import volume_files as files
from conftest import REPOSITORY
from test_readme import environment

from retrieval import evaluation, readiness, search
from retrieval.answers import ItemQuery, UploadQuery
from retrieval.cells import cell
from retrieval.datasets.opening import is_at_hand
from retrieval.errors import BadInput
from retrieval.pictures.item import read_item
from retrieval.roots import Roots

PIXELS, SHAPE = cell("adrenalmnist3d", 28, "pixels"), cell("adrenalmnist3d", 28, "shape")
NETWORK = cell("phantoms3d", 28, "efficientnet_lite0")


@pytest.fixture(scope="module")
def adrenal(roots: Roots, need) -> Roots:
    """AdrenalMNIST3D at hand, with what queries of one's own need."""
    need(is_at_hand(PIXELS.data, 28, roots), "adrenalmnist3d at 28")
    for where in (PIXELS, SHAPE):
        search.prepare(where, roots)
    return roots


@pytest.mark.parametrize("kind", list(files.every_kind(np.zeros((4, 4, 4), np.uint8))))
def test_an_own_gallery_volume_finds_itself_first(adrenal, tmp_path, kind):
    gallery = evaluation.split_of(PIXELS, "train", adrenal)
    for index in (0, 1187, 500):
        volume = np.array(gallery.images[index])
        path = files.write(tmp_path, kind, files.every_kind(volume)[kind])
        assert np.array_equal(read_item(path, dataset=PIXELS.data, size=28), volume)
    for where in (PIXELS, SHAPE) if kind == "slices.zip" else (PIXELS,):
        answer = search.find(UploadQuery(path), where, adrenal)
        first = answer.neighbours[0]
        assert (first.index, first.duplicate) == (500, "exact")
        assert first.score == pytest.approx(0, abs=1e-3)
        assert answer.query_labels is None


def test_an_own_test_volume_gets_the_neighbours_of_the_sampled_one(adrenal, tmp_path):
    test = evaluation.split_of(PIXELS, "test", adrenal)
    path = files.write(tmp_path, "v.zip", files.dicom_zip(np.array(test.images[200])))
    own = search.find(UploadQuery(path), PIXELS, adrenal, k=9)
    sampled = search.find(ItemQuery("test", 200), PIXELS, adrenal, k=9)
    assert [each.index for each in own.neighbours] == [each.index for each in sampled.neighbours]
    assert own.nearness == sampled.nearness


def test_a_larger_version_of_a_volume_finds_its_small_one(adrenal, tmp_path, need):
    large = cell("adrenalmnist3d", 64, "pixels")
    need(is_at_hand(large.data, 64, adrenal), "adrenalmnist3d at 64")
    gallery = evaluation.split_of(large, "train", adrenal)
    for index in (0, 400, 900):  # the same scan, resampled by another kernel
        path = files.write(tmp_path, "v.nii", files.axial_nifti(np.array(gallery.images[index])))
        assert search.find(UploadQuery(path), PIXELS, adrenal).neighbours[0].index == index


def test_a_network_sees_an_own_volume_as_it_sees_the_gallery(roots, tmp_path):
    assert readiness.of_pictures(NETWORK, roots).uploads
    gallery = evaluation.split_of(NETWORK, "train", roots)
    volume = np.array(gallery.images[7])
    path = files.write(tmp_path, "v.npz", files.npz_bytes(volume=volume))
    assert np.array_equal(
        search.sees(UploadQuery(path), NETWORK, roots), search.sees(ItemQuery("train", 7), NETWORK, roots)
    )


def test_a_picture_is_no_query_for_volumes(adrenal, tmp_path):
    path = files.write(tmp_path, "one.npy", files.npy_bytes(np.zeros((28, 28), np.uint8)))
    with pytest.raises(BadInput, match="this dataset holds volumes"):
        search.find(UploadQuery(path), PIXELS, adrenal)


def test_a_volume_asked_of_pictures_gives_its_middle_slice(roots, tmp_path, need):
    breast = cell("breastmnist", 28, "pixels")
    need(is_at_hand(breast.data, 28, roots), "breastmnist at 28")
    gallery = evaluation.split_of(breast, "train", roots)
    volume = np.stack([np.array(gallery.images[index]) for index in range(5)])
    path = files.write(tmp_path, "v.dcm", files.multi_frame(volume))
    answer = search.find(UploadQuery(path), breast, roots)
    assert answer.neighbours[0].index == 2
    assert answer.notes[0] == "Only the middle one of its 5 slices is used."


def test_the_command_line_takes_volumes_and_says_what_was_done(adrenal, tmp_path):
    gallery = evaluation.split_of(PIXELS, "train", adrenal)
    good = files.write(tmp_path, "good.nii", files.axial_nifti((np.array(gallery.images[9]) > 0).astype(np.int16)))
    gap = files.slices(np.array(gallery.images[9]))
    bad = files.write(tmp_path, "gap.zip", files.zipped({f"{n}": data for n, data in enumerate(gap) if n != 4}))
    command = [sys.executable, "-m", "retrieval", "search", str(good), str(bad)]
    command += ["--dataset", "adrenalmnist3d", "--size", "28", "--encoder", "pixels", "--format", "json"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(adrenal), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    first, second = json.loads(done.stdout)["queries"]
    assert first["neighbours"][0]["index"] == 9
    assert first["notes"] == ["Its values from 0 to 1 are drawn as 0 to 255."]
    assert "slices are missing" in second["error"]["message"]
    assert [word for word in files.PRIVATE if word in done.stdout + done.stderr] == []
