"""Collections of volumes: files and folders of slices, evaluated, searched and grouped as MedMNIST's volumes are."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import volume_files as files
from packed import KINDS

from retrieval import evaluation, readiness, search
from retrieval.answers import ItemQuery, UploadQuery
from retrieval.cells import cell, grid
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.collections import adding, records
from retrieval.datasets.collections.pictures import Pictures
from retrieval.datasets.opening import is_at_hand, open_split
from retrieval.embeddings import embedding
from retrieval.errors import BadInput, Unavailable
from retrieval.groups import find_groups
from retrieval.leaderboard import leaderboard
from retrieval.roots import Roots

Files = dict[str, bytes]
COUNT = 24


@pytest.fixture(scope="session")
def adrenal(roots: Roots, need) -> np.ndarray:
    """The first volumes of AdrenalMNIST3D's gallery, of which every other one gets the second class."""
    data = find_dataset("adrenalmnist3d")
    need(is_at_hand(data, 28, roots), "adrenalmnist3d at 28")
    volumes = np.asarray(open_split(data, 28, "train", roots).images[: 3 * COUNT])
    return np.unique(volumes, axis=0)[:COUNT]


def named(volumes: np.ndarray, make: Callable[[np.ndarray], bytes], suffix: str) -> Files:
    """A file of each volume, in two class folders."""
    return {f"{label_of(number)}/{number:02d}{suffix}": make(each) for number, each in enumerate(volumes)}


def label_of(number: int) -> str:
    return "odd" if number % 2 else "even"


def packed_nifti(volume: np.ndarray) -> bytes:
    return gzip.compress(files.axial_nifti(volume), 1)


def slice_folders(volumes: np.ndarray, **lies: float) -> Files:
    """A folder of slices of each volume, in two class folders, named in no order."""
    made: Files = {}
    for number, volume in enumerate(volumes):
        order = np.random.default_rng(number).permutation(len(volume))
        for at, data in zip(order, files.slices(volume, **lies), strict=True):
            made[f"{label_of(number)}/case{number:02d}/IM{at:03d}.dcm"] = data
    return made


def write(folder: Path, contents: Mapping[str, bytes]) -> Path:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def images(roots: Roots, name: str = "mine", size: int = 28) -> dict[str, np.ndarray]:
    """Every cube of a collection by its file's name."""
    data = find_dataset(name, roots)
    found: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        if data.counts[split]:
            pictures = open_split(data, size, split, roots).images
            found |= {file.name: cube for file, cube in zip(pictures.files, pictures, strict=True)}
    return found


@pytest.fixture
def folder(tmp_path: Path, adrenal: np.ndarray, empty_roots: Roots) -> Path:
    """24 packed NIfTI files in two class folders, added as volumes."""
    made = write(tmp_path / "scans", named(adrenal, packed_nifti, ".nii.gz"))
    adding.add("mine", made, empty_roots, ndim=3)
    return made


def test_its_dataset_is_one_of_volumes(folder: Path, empty_roots: Roots):
    data = find_dataset("mine", empty_roots)
    assert (data.ndim, data.channels, data.sizes) == (3, 1, (28, 64))
    assert sum(data.counts.values()) == COUNT and data.classes == ("even", "odd")
    assert data.about == "24 volumes of your own, from scans."
    found = cell("mine", None, "pixels", roots=empty_roots)
    assert found.size == 28 and found in grid(empty_roots)
    assert {each.size for each in grid(empty_roots) if each.dataset == "mine"} == {28}


def test_cubes_are_the_very_volumes(folder: Path, adrenal: np.ndarray, empty_roots: Roots):
    found = images(empty_roots)
    assert len(found) == COUNT
    for name, cube in found.items():
        assert np.array_equal(cube, adrenal[int(name[-9:-7])])
    larger = images(empty_roots, size=64)
    assert {cube.shape for cube in larger.values()} == {(64, 64, 64)}


def test_each_asked_with_finds_itself_and_features_are_those_of_the_dataset(
    folder: Path, adrenal: np.ndarray, empty_roots: Roots
):
    asked = cell("mine", None, "pixels", roots=empty_roots)
    found = evaluation.evaluate(asked, empty_roots)
    assert found.as_published.n_queries == asked.data.counts["test"] and found.n_gallery == asked.data.counts["train"]
    assert {row.encoder for row in leaderboard(empty_roots) if row.dataset == "mine"} >= {"pixels", "majority class"}
    gallery = open_split(asked.data, 28, "train", empty_roots)
    for index, file in enumerate(gallery.images.files):
        answer = search.find(UploadQuery(folder / file.name), asked, empty_roots)
        assert (answer.neighbours[0].index, answer.neighbours[0].score) == (index, 0.0)
        assert answer.neighbours[0].duplicate == "exact"
    vectors = evaluation.embeddings(asked, "train", empty_roots).vectors
    numbers = [int(file.name[-9:-7]) for file in gallery.images.files]
    assert np.array_equal(vectors.reshape(len(numbers), -1), adrenal[numbers].reshape(len(numbers), -1))


def test_a_sampled_one_is_answered_and_reliability_is_known(folder: Path, empty_roots: Roots):
    asked = cell("mine", None, "shape", roots=empty_roots)
    search.prepare(asked, empty_roots)
    answer = search.find(ItemQuery("test", 0), asked, empty_roots)
    assert answer.query_label_name in ("even", "odd") and len(answer.neighbours) == 5
    assert readiness.of_pictures(asked, empty_roots).state == "ready"


@pytest.mark.parametrize("kind", list(KINDS))
def test_folders_of_slices_are_volumes_in_physical_order(kind: str, adrenal: np.ndarray, tmp_path, empty_roots: Roots):
    source = KINDS[kind](tmp_path, slice_folders(adrenal[:6]))
    made = adding.add("mine", source, empty_roots, ndim=3)
    assert sorted(file.name for file in made.files) == [
        *(f"even/case0{number}" for number in (0, 2, 4)),
        *(f"odd/case0{number}" for number in (1, 3, 5)),
    ]
    assert {len(file.slices) for file in made.files} == {28} and made.left_out == ()
    for name, cube in images(empty_roots).items():
        assert np.array_equal(cube, adrenal[int(name[-2:])])


def test_a_zip_of_its_slices_finds_a_folder_of_them(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    lies = {"step": 2.5, "side": 0.7}
    adding.add("mine", write(tmp_path / "scans", slice_folders(adrenal[:8], **lies)), empty_roots, ndim=3)
    asked = cell("mine", None, "pixels", roots=empty_roots)
    gallery = open_split(asked.data, 28, "train", empty_roots).images.files
    query = files.write(tmp_path, "query.zip", files.dicom_zip(adrenal[int(gallery[2].name[-2:])], **lies))
    answer = search.find(UploadQuery(query), asked, empty_roots, k=3)
    assert (answer.neighbours[0].index, answer.neighbours[0].score) == (2, 0.0)


def test_every_kind_of_file_is_the_same_volume(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    others = {f"other{number}.npy": files.npy_bytes(each) for number, each in enumerate(adrenal[1:4])}
    source = write(tmp_path / "scans", {**files.every_kind(adrenal[0]), **others, "notes.txt": b"-", "flat.png": b"-"})
    made = adding.add("mine", source, empty_roots, ndim=3)
    same = {file.pixels for file in made.files if file.name in files.every_kind(adrenal[0])}
    assert len(made.files) == 10 and len(same) == 1
    assert {each.name for each in made.left_out} == {"*.txt", "*.png"}
    found = find_groups(find_dataset("mine", empty_roots), 28, empty_roots)
    assert len({*found.train, *found.test}) <= 4


def test_series_in_one_folder_are_volumes_of_their_own(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    contents: Files = {}
    for number, volume in enumerate(adrenal[:4]):
        for at, plane in enumerate(volume):
            lies = {"ImagePositionPatient": [0, 0, at], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            made = files.dicom_dataset(plane, SeriesInstanceUID=f"1.2.{number}", PixelSpacing=[1, 1], **lies)
            contents[f"patient/{at:02d}-{number}.dcm"] = files.dicom_bytes(made)
    made = adding.add("mine", write(tmp_path / "scans", contents), empty_roots, ndim=3)
    assert [file.name for file in made.files] == [f"patient/00-{number}.dcm" for number in range(4)]
    for name, cube in images(empty_roots).items():
        assert np.array_equal(cube, adrenal[int(name[-5])])


def test_a_table_names_folders_of_slices(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    contents = {name.split("/", 1)[1]: data for name, data in slice_folders(adrenal[:5]).items()}
    rows = [(f"case{number:02d}", "ab"[number % 2], f"p{number}", "train") for number in range(4)]
    rows.append(("case04", "a", "p4", "test"))
    contents["labels.csv"] = "\n".join(map(",".join, [("file", "label", "group", "split"), *rows])).encode()
    made = adding.add("mine", write(tmp_path / "scans", contents), empty_roots, ndim=3)
    assert [(file.name, file.label, file.group, file.split) for file in made.files] == rows


def test_what_is_no_whole_volume_is_listed_with_the_reason(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    contents = {**slice_folders(adrenal[:7]), **named(adrenal[7:10], files.npy_bytes, ".npy")}
    del contents["even/case00/IM010.dcm"]
    contents["odd/case01/IM003.dcm"] = b""
    contents["even/case02/IM003.dcm"] = contents["even/case02/IM003.dcm"][:900]
    contents["odd/flat.npy"] = files.npy_bytes(adrenal[0][5])
    contents["odd/broken.nii.gz"] = packed_nifti(adrenal[0])[:100]
    contents["odd/plane.tif"] = files.tiff_pages(adrenal[0][:1])
    made = adding.add("mine", write(tmp_path / "scans", contents), empty_roots, ndim=3)
    reasons = {each.name: each.reason for each in made.left_out}
    files_left_out = {"odd/flat.npy", "odd/broken.nii.gz", "odd/plane.tif"}
    assert set(reasons) == {"even/case00", "odd/case01", "even/case02", *files_left_out}
    assert "slices are missing" in reasons["even/case00"] and "empty" in reasons["odd/case01"]
    assert "damaged" in reasons["even/case02"] and "holds one picture" in reasons["odd/flat.npy"]
    sound = {"odd/case03", "even/case04", "odd/case05", "even/case06", "even/00.npy", "odd/01.npy", "even/02.npy"}
    assert {file.name for file in made.files} == sound


def test_an_update_embeds_what_is_new_alone(folder: Path, adrenal: np.ndarray, empty_roots: Roots):
    asked = cell("mine", None, "pixels", roots=empty_roots)
    evaluation.evaluate(asked, empty_roots)
    write(folder, slice_folders(255 - adrenal[:4]))
    changes = adding.update("mine", empty_roots)
    assert len(changes.new) == 4 and not changes.changed and not changes.vanished
    again = cell("mine", None, "pixels", roots=empty_roots)
    made = [evaluation.embeddings(again, side, empty_roots).meta for side in ("train", "test")]
    new = [file for file in changes.collection.files if file.name in changes.new and file.split != "val"]
    assert sum(meta["embedded"] for meta in made) == len(new) > 0
    assert adding.update("mine", empty_roots).collection == changes.collection


def test_zips_of_slices_of_one_patient_stay_together(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    contents = {
        f"{number:02d}.zip": files.zipped(
            {
                f"{at}.dcm": files.dicom_bytes(
                    files.dicom_dataset(
                        plane,
                        PatientID=f"{files.NUMBER}-{number % 4}",
                        ImagePositionPatient=[0, 0, at],
                        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                        PixelSpacing=[1, 1],
                    )
                )
                for at, plane in enumerate(volume[:4])
            }
        )
        for number, volume in enumerate(adrenal[:12])
    }
    made = adding.add("mine", write(tmp_path / "scans", contents), empty_roots, ndim=3)
    assert len(made.files) == 12
    groups = [{file.group for file in made.files[number::4]} for number in range(4)]
    assert {len(each) for each in groups} == {1} and len(set.union(*groups) - {None}) == 4
    assert len({(file.group, file.split) for file in made.files}) == 4
    written = b"".join(path.read_bytes() for path in empty_roots.cache.rglob("*") if path.is_file())
    assert files.NUMBER.encode() not in written


def test_a_changed_slice_is_never_taken_for_the_one_that_was_added(adrenal: np.ndarray, tmp_path: Path, empty_roots):
    source = write(tmp_path / "scans", slice_folders(adrenal[:4]))
    adding.add("mine", source, empty_roots, ndim=3)
    data = find_dataset("mine", empty_roots)
    images(empty_roots)
    for path in source.glob("*/*/IM003.dcm"):
        path.write_bytes(path.read_bytes()[:-5] + b"\x01\x02\x03\x04\x05")
    with pytest.raises(Unavailable, match="has changed since it was added"):
        open_split(data, 28, "train", empty_roots).images[0]
    assert len(adding.update("mine", empty_roots).changed) == 4
    for path in source.glob("*/*/IM003.dcm"):
        path.unlink()
    with pytest.raises(Unavailable, match="cannot be read any more"):
        images(empty_roots)


def test_near_duplicates_are_grouped_as_those_of_medmnist(adrenal: np.ndarray, tmp_path: Path, empty_roots: Roots):
    noise = np.random.default_rng(0).integers(0, 3, adrenal[0].shape).astype(np.uint8)
    near = np.clip(adrenal[3].astype(int) - noise, 0, 255).astype(np.uint8)
    contents = named(np.stack([*adrenal[:12], near]), files.npy_bytes, ".npy")
    rows = [f"{name},{'test' if name.endswith('12.npy') else 'train'}" for name in contents]
    source = write(tmp_path / "scans", {**contents, "table.csv": "\n".join(["file,split", *rows]).encode()})
    adding.add("mine", source, empty_roots, ndim=3)
    data = find_dataset("mine", empty_roots)
    found = find_groups(data, 28, empty_roots)
    train = [file.name for file in open_split(data, 28, "train", empty_roots).images.files]
    assert found.test[0] == found.train[train.index("odd/03.npy")]
    assert np.array_equal(find_groups(data, 64, empty_roots).train, found.train)
    asked = cell("mine", 64, "pixels", roots=empty_roots)
    answer = search.find(UploadQuery(source / "even" / "12.npy"), asked, empty_roots, k=11)
    kin = {each.index: each.duplicate for each in answer.neighbours}
    assert kin[train.index("odd/03.npy")] == "near" and set(kin.values()) == {"near", None}


def test_memory_holds_a_shard_and_not_the_collection(folder: Path, empty_roots: Roots, monkeypatch):
    asked = cell("mine", None, "pixels", roots=empty_roots)
    taken: list[int] = []
    whole = Pictures.__iter__
    monkeypatch.setattr(embedding, "VOLUMES_IN_SHARD", 4)
    monkeypatch.setattr(Pictures, "__iter__", lambda self: (taken.append(len(self)), whole(self))[1])
    made = evaluation.embeddings(asked, "train", empty_roots).vectors
    assert made.shape[0] == asked.data.counts["train"] and max(taken) == 4


def test_without_the_word_volumes_a_folder_says_what_was_made_of_them(folder: Path, adrenal, empty_roots: Roots):
    made = adding.add("flat", folder, empty_roots)
    assert (made.ndim, made.reduced, len(made.files)) == (2, COUNT, COUNT)
    assert records.find("flat", empty_roots) == made


def test_vectors_are_no_volumes(tmp_path: Path, empty_roots: Roots):
    np.savez(tmp_path / "vectors.npz", vectors=np.eye(8, dtype=np.float32))
    with pytest.raises(BadInput, match="a file of vectors, not for volumes"):
        adding.add("mine", tmp_path / "vectors.npz", empty_roots, ndim=3)
