"""A folder becomes a collection; what is no picture is left out; an update sees what is new, changed, moved or gone."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orthanc
import pytest
from own_pictures import write_classes, write_picture
from PIL import Image
from volume_files import zipped

from retrieval import artifacts
from retrieval.datasets.collections import adding, received, records
from retrieval.datasets.collections.duplicates import contradicting, crossing, duplicates
from retrieval.datasets.collections.facts import facts_of
from retrieval.errors import BadInput, UnknownName
from retrieval.roots import Roots

CLASSES = {"dark": 20, "light": 30}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classes(tmp_path / "mine", CLASSES)
    return tmp_path / "mine"


def splits(made: records.Collection) -> dict[str, str]:
    return {file.name: file.split for file in made.files}


def test_a_folder_a_zip_and_a_tar_are_the_same_collection(folder: Path, empty_roots: Roots, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive, tarfile.open(tmp_path / "mine.tar", "w") as tar:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
            tar.add(file, str(file.relative_to(folder)))
    kinds = {"one": folder, "two": tmp_path / "mine.zip", "three": tmp_path / "mine.tar"}
    made = {name: adding.add(name, path, empty_roots) for name, path in kinds.items()}
    assert [made[name].kind for name in kinds] == ["folder", "zip", "tar"]
    assert len({records._own(each).digest for each in made.values()}) == 1
    assert splits(made["one"]) == splits(made["two"]) == splits(made["three"])


def test_what_is_no_picture_is_left_out_with_a_sentence(folder: Path, empty_roots: Roots):
    (folder / "dark" / "broken.png").write_bytes((folder / "dark" / "00000.png").read_bytes()[:60])
    (folder / "dark" / "text.png").write_text("no picture at all")
    made = adding.add("mine", folder, empty_roots)
    assert len(made.files) == 50
    reasons = {each.name: each.reason for each in made.left_out}
    assert set(reasons) == {"dark/broken.png", "dark/text.png"}
    assert "cut short" in reasons["dark/broken.png"]


def test_pictures_of_any_shape_and_depth(tmp_path: Path, empty_roots: Roots):
    folder = tmp_path / "mixed"
    write_classes(folder, {"a": 4}, shape=(8, 30))
    write_classes(folder, {"b": 4}, shape=(40, 12))
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 90
    Image.fromarray(deep).save(folder / "a" / "deep.tif")
    made = adding.add("mixed", folder, empty_roots)
    assert {(file.height, file.width) for file in made.files} == {(8, 30), (40, 12), (20, 30)}
    assert made.channels == 1


def test_grey_stored_as_colour_is_grey_and_one_coloured_picture_makes_all_colour(folder: Path, empty_roots: Roots):
    grey = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(folder / "dark" / "rgb.png")
    assert adding.add("mine", folder, empty_roots).channels == 1
    write_picture(folder / "dark" / "coloured.png", seed=1, shape=(9, 9, 3))
    changes = adding.update("mine", empty_roots)
    assert changes.new == ("dark/coloured.png",)
    assert changes.collection.channels == 3


def test_exact_duplicates_are_found_by_their_pixels_and_kept_on_one_side(folder: Path, empty_roots: Roots):
    for number in range(8):
        picture = Image.open(folder / "dark" / f"{number:05d}.png")
        picture.save(folder / "dark" / f"again{number}.bmp")  # other bytes, the same pixels
    picture.save(folder / "light" / "other_label.png")
    made = adding.add("mine", folder, empty_roots)
    same = duplicates(made.files)
    assert [len(each) for each in same] == [2] * 7 + [3]
    assert crossing(made.files) == ()
    assert [{file.label for file in each} for each in contradicting(made.files)] == [{"dark", "light"}]


def test_a_pattern_names_the_group(tmp_path: Path, empty_roots: Roots):
    for case in range(12):
        for number in range(4):
            name = tmp_path / "scans" / "ab"[case % 2] / f"p{case:02d}_{number}.png"
            write_picture(name, seed=(case, number))
    made = adding.add("scans", tmp_path / "scans", empty_roots, pattern=r"(p\d+)_")
    sides: dict[str | None, set[str]] = {}
    for file in made.files:
        sides.setdefault(file.group, set()).add(file.split)
    assert len(sides) == 12 and all(len(side) == 1 for side in sides.values())


def test_a_table_gives_labels_groups_and_splits(tmp_path: Path, empty_roots: Roots):
    folder, rows = tmp_path / "told", ["file,label,group,split"]
    for number in range(12):
        write_picture(folder / f"{number}.png", seed=number)
        split = ("train", "train", "test", "val")[number % 4]
        rows.append(f"{number}.png,{'ab'[number % 2]},g{number},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))
    made = adding.add("told", folder, empty_roots)
    assert {file.name: file.split for file in made.files}["2.png"] == "test"
    assert made.classes == ("a", "b")
    assert len({file.group for file in made.files}) == 12


def test_without_labels_it_can_still_be_added(tmp_path: Path, empty_roots: Roots):
    for number in range(20):
        write_picture(tmp_path / "plain" / f"{number}.png", seed=number)
    made = adding.add("plain", tmp_path / "plain", empty_roots)
    assert not made.labelled and made.classes == (records.NOT_LABELLED,)
    assert records.standing("plain", empty_roots).dataset.labelled is False


def test_too_few_pictures_are_refused(tmp_path: Path, empty_roots: Roots):
    write_classes(tmp_path / "few", {"a": 1, "b": 1})
    with pytest.raises(BadInput, match="holds 2 pictures that can be read"):
        adding.add("few", tmp_path / "few", empty_roots)
    (tmp_path / "few" / "b" / "00000.png").unlink()
    with pytest.raises(BadInput, match="holds 1 picture that can be read") as refused:
        adding.add("few", tmp_path / "few", empty_roots)
    assert refused.value.remedy == "Add pictures; at least 3 are needed."
    assert records.names(empty_roots) == []


def test_a_name_is_taken_once(folder: Path, empty_roots: Roots):
    adding.add("mine", folder, empty_roots)
    with pytest.raises(BadInput, match="There is a collection mine already"):
        adding.add("mine", folder, empty_roots)
    with pytest.raises(UnknownName):
        adding.update("other", empty_roots)


def test_nothing_is_written_where_the_pictures_are(folder: Path, empty_roots: Roots):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    adding.add("mine", folder, empty_roots)
    adding.update("mine", empty_roots)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_update_of_nothing_changes_nothing(folder: Path, empty_roots: Roots):
    made = adding.add("mine", folder, empty_roots)
    changes = adding.update("mine", empty_roots)
    assert changes == adding.Changes(made, (), (), ())


def test_an_update_sees_new_changed_and_vanished_files_and_moves_no_other(folder: Path, empty_roots: Roots):
    before = splits(adding.add("mine", folder, empty_roots))
    write_classes(folder, {"dark": 10, "light": 10}, first=100)
    write_picture(folder / "light" / "00003.png", seed=99)
    (folder / "light" / "00007.png").unlink()
    changes = adding.update("mine", empty_roots)
    after = splits(changes.collection)
    assert len(changes.new) == 20
    assert changes.changed == ("light/00003.png",)
    assert changes.vanished == ("light/00007.png",)
    stood = set(before) - {"light/00003.png", "light/00007.png"}
    assert {name: after[name] for name in stood} == {name: before[name] for name in stood}


def test_a_file_that_was_only_touched_or_moved_keeps_its_split(folder: Path, empty_roots: Roots):
    made = adding.add("mine", folder, empty_roots)
    os.utime(folder / "dark" / "00001.png", ns=(1, 1))
    shutil.move(folder / "dark" / "00002.png", folder / "dark" / "renamed.png")
    changes = adding.update("mine", empty_roots)
    assert (changes.new, changes.changed, changes.vanished) == (("dark/renamed.png",), (), ("dark/00002.png",))
    assert splits(changes.collection)["dark/renamed.png"] == splits(made)["dark/00002.png"]


def test_labels_that_come_later_are_taken_up(tmp_path: Path, empty_roots: Roots):
    folder = tmp_path / "plain"
    for number in range(20):
        write_picture(folder / f"{number}.png", seed=number)
    before = splits(adding.add("plain", folder, empty_roots))
    rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(20)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows]))
    changes = adding.update("plain", empty_roots)
    assert changes.collection.labelled and changes.collection.classes == ("a", "b")
    assert (changes.new, changes.changed, changes.vanished) == ((), (), ())
    assert splits(changes.collection) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_nobody_else_may_look_at_what_is_recorded(folder: Path, empty_roots: Roots):
    before = os.umask(0)
    try:
        place = received.place_for("sent", "pictures.zip", empty_roots)
        artifacts.write_atomic(place, lambda stream: stream.write(b"PK"))
        adding.add("mine", folder, empty_roots)
        adding.update("mine", empty_roots)
    finally:
        os.umask(before)
    top = empty_roots.cache / records.FOLDER
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (top / "mine").iterdir()}
    assert len(kept) == 2 and set(kept.values()) == {0o600}


def test_progress_is_told(folder: Path, empty_roots: Roots):
    said: list[tuple[str, float]] = []
    adding.add("mine", folder, empty_roots, progress=lambda words, share: said.append((words, share)))
    assert said and said[0] == ("Looking at mine: 0 of 50 files", 0.0)


def test_facts_tell_pictures_apart(tmp_path: Path):
    one = write_picture(tmp_path / "one.png", seed=1, shape=(4, 6)).read_bytes()
    turned = write_picture(tmp_path / "two.png", seed=1, shape=(6, 4)).read_bytes()
    first, second = facts_of(one, name="one.png"), facts_of(turned, name="two.png")
    assert first.pixels != second.pixels
    assert (first.height, first.width, first.coloured) == (4, 6, False)


def test_dicom_files_of_one_patient_stay_together(tmp_path: Path, empty_roots: Roots):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (24, 20, 20), np.uint8)):
        part = ("CHEST", "HAND")[number % 2] if number else ""
        (folder / f"{number:02}.dcm").write_bytes(
            orthanc.dicom_file(pixels, orthanc.patient(number // 4), number=number, part=part)[1]
        )
    plain = adding.add("plain", folder, empty_roots)
    assert plain.classes == (records.NOT_LABELLED,)
    made = adding.add("mine", folder, empty_roots, label_tag="BodyPartExamined")
    assert made.classes == ("CHEST", "HAND")
    assert [(each.name, each.reason) for each in made.left_out] == [
        ("00.dcm", "It has no BodyPartExamined, and others have one.")
    ]
    sides = {file.group: file.split for file in made.files}
    assert len(sides) == 6
    assert all(sides[file.group] == file.split for file in made.files)
    assert adding.update("mine", empty_roots).collection == made
    (folder / "24.dcm").write_bytes(
        orthanc.dicom_file(pixels[::-1].copy(), orthanc.patient(0), number=24, part="HAND")[1]
    )
    (new,) = [file for file in adding.update("mine", empty_roots).collection.files if file.name == "24.dcm"]
    assert (new.label, new.split) == ("HAND", sides[new.group])
    written = b"".join(path.read_bytes() for path in empty_roots.cache.rglob("*") if path.is_file()).decode()
    assert not [secret for number in range(6) for secret in orthanc.patient(number).secrets if secret in written]


PREAMBLE = 132  # bytes before the first element, which old files lack


def scans(folder: Path, pack: Callable[[bytes], bytes], suffix: str = ".dcm") -> Path:
    """24 pictures of six patients, the pictures of one four apart."""
    folder.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (24, 20, 20), np.uint8)):
        data = orthanc.dicom_file(
            pixels, orthanc.patient(number % 6), number=number, part=("CHEST", "HAND")[number % 2]
        )
        (folder / f"{number:02}{suffix}").write_bytes(pack(data[1]))
    return folder


def patients(made: records.Collection) -> list[set[str]]:
    """By number, the groups of each patient's files, of which there must be one."""
    return [{str(file.group) for file in made.files[number::6]} for number in range(6)]


@pytest.mark.parametrize(
    ("pack", "suffix"),
    [
        (lambda data: data, ".dcm"),
        (lambda data: data[PREAMBLE:], ".dcm"),
        (lambda data: gzip.compress(data, 1), ".nii.gz"),
        (lambda data: zipped({"notes.txt": b"-", "one.dcm": data}), ".dcm"),
    ],
    ids=["as written today", "without a preamble", "packed", "in a zip"],
)
def test_whatever_is_read_as_dicom_tells_its_patient_and_its_label(pack, suffix, tmp_path: Path, empty_roots: Roots):
    made = adding.add("mine", scans(tmp_path / "scans", pack, suffix), empty_roots, label_tag="BodyPartExamined")
    assert len(made.files) == 24 and made.classes == ("CHEST", "HAND")
    groups = patients(made)
    assert {len(each) for each in groups} == {1} and len(set.union(*groups)) == 6
    sides = {(file.group, file.split) for file in made.files}
    assert len(sides) == 6


def test_where_a_table_names_no_group_any_more_the_files_are_asked_again(tmp_path: Path, empty_roots: Roots):
    folder = scans(tmp_path / "scans", lambda data: data)
    by_tags = patients(adding.add("tags", folder, empty_roots))
    table = folder / "groups.csv"
    table.write_text("\n".join(["file,group", *(f"{number:02}.dcm,day{number // 2}" for number in range(24))]))
    named = adding.add("mine", folder, empty_roots)
    assert [file.group for file in named.files] == [f"day{number // 2}" for number in range(24)]
    table.unlink()
    changes = adding.update("mine", empty_roots)
    assert (changes.new, changes.changed, changes.vanished) == ((), (), ())
    groups = patients(changes.collection)
    assert {len(each) for each in groups} == {1} and len(set.union(*groups)) == 6
    assert not set.union(*groups) & set.union(*by_tags)
    assert len({(file.group, file.split) for file in changes.collection.files}) == 6
    assert adding.update("mine", empty_roots).collection == changes.collection
