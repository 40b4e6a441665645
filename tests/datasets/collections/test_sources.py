"""Labels, groups and splits as folders and tables tell them, alike from a folder, a zip and a tar."""

import io
import os
import tarfile
import tempfile
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from packed import as_folder, as_tar, as_zip, picture

from retrieval.datasets.collections.containers import MAX_FILES
from retrieval.datasets.collections.sources import Entry, open_container, open_source
from retrieval.errors import BadInput
from retrieval.pictures.reading import decode_picture

CLASSES = {"cat/1.png": picture(1), "cat/2.jpg": picture(2, "JPEG"), "dog/deep/3.png": picture(3)}


def told(source):
    return {each.name: (each.label, each.group, each.split) for each in source.entries}


def reasons(source):
    return {each.name: each.reason for each in source.left_out}


def refused(path, **named) -> str:
    with pytest.raises(BadInput) as caught:
        open_source(path, **named)
    assert caught.value.message.endswith(".") and caught.value.remedy
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_folders_are_classes(make):
    path = make(CLASSES)
    with open_source(path) as source:
        assert source.path == path and source.kind in str(path) + "folder"
        assert source.left_out == ()
        assert source.entries == tuple(
            Entry(name, len(CLASSES[name]), label)
            for name, label in (("cat/1.png", "cat"), ("cat/2.jpg", "cat"), ("dog/deep/3.png", "dog"))
        )
        for name, data in CLASSES.items():
            assert source.read(name) == data
            assert source.stamp(name)[0] == len(data)
            decode_picture(source.read(name), name=name)


@pytest.mark.parametrize("wrapped", ["mine/", "./", "a/b/c/", "train/"])
def test_a_single_folder_is_looked_through(make, wrapped):
    with open_source(make({wrapped + name: data for name, data in CLASSES.items()})) as source:
        assert [each.label for each in source.entries] == ["cat", "cat", "dog"]


def test_a_flat_folder_has_no_labels(make):
    with open_source(make({"b.png": picture(1), "a.png": picture(2)})) as source:
        assert told(source) == {"a.png": (None, None, None), "b.png": (None, None, None)}
        assert [each.name for each in source.entries] == ["a.png", "b.png"]


def test_what_lies_beside_the_classes_is_left_out(make):
    with open_source(make({**CLASSES, "stray.png": picture(9)})) as source:
        assert [each.label for each in source.entries] == ["cat", "cat", "dog"]
        assert "beside the folders of classes" in reasons(source)["stray.png"]


def test_folders_named_as_splits_are_splits(make):
    names = ["train/cat/1.png", "train/dog/2.png", "validation/cat/3.png", "Test/dog/4.png"]
    with open_source(make({f"set/{name}": picture(index) for index, name in enumerate(names)})) as source:
        assert sorted((each.split, each.label) for each in source.entries) == [
            ("test", "dog"),
            ("train", "cat"),
            ("train", "dog"),
            ("val", "cat"),
        ]


def test_splits_without_classes(make):
    with open_source(make({"train/1.png": picture(1), "test/2.png": picture(2)})) as source:
        assert told(source) == {"test/2.png": (None, None, "test"), "train/1.png": (None, None, "train")}


@pytest.mark.parametrize("other", ["extra/4.png", "4.png", "valid/cat/4.png"])
def test_half_splits_half_classes_are_refused(make, other):
    files = {"train/cat/1.png": picture(1), "test/cat/2.png": picture(2), "val/cat/3.png": picture(3)}
    assert "The folders" in refused(make({**files, other: picture(4)}))


TABLE = "file,label,group,split\na.png,cat,p1,train\nb.png,dog,p2,test\nsub/c.png,cat,,val\n"
TABLED = {"a.png": picture(1), "b.png": picture(2), "sub/c.png": picture(3)}
EXPECTED = [("cat", "p1", "train"), ("dog", "p2", "test"), ("cat", None, "val")]


@pytest.mark.parametrize(
    "data",
    [
        TABLE.encode(),
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.encode("utf-16"),
        TABLE.replace(",", ";").replace("\n", "\r\n").encode(),
        b"sep=;\n" + TABLE.replace(",", ";").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace("file,label", " File ,LABEL").encode(),
        TABLE.replace("a.png", '"a.png"').replace("b.png", "./b.png").replace("sub/", "sub\\").encode(),
        TABLE.replace("a.png", "a").replace("sub/c.png", "c.png").encode(),
        b"note,file,label,group,split\n" + TABLE.replace("\n", "\nx,").encode().split(b"\n", 1)[1][:-2],
    ],
    ids=["plain", "marked", "utf-16", "semicolons", "excel", "tabs", "upper", "quoted", "names", "more columns"],
)
def test_a_table_rules(make, data):
    with open_source(make({**TABLED, "labels.csv": data})) as source:
        assert list(told(source).values()) == EXPECTED
        assert source.left_out == ()


def test_a_table_above_a_single_folder(make):
    files = {f"mine/images/{name}": data for name, data in TABLED.items()}
    with open_source(make({**files, "mine/labels.csv": TABLE.replace("sub/c", "images/sub/c").encode()})) as source:
        assert list(told(source).values()) == EXPECTED


def test_accents_match_however_they_are_composed(make):
    table = "file,label\nre\u0301tine.png,\u00e0 gauche\nb.png,\u00e0 droite\n"
    with open_source(make({"r\u00e9tine.png": picture(1), "b.png": picture(2), "t.csv": table.encode()})) as source:
        assert [each.label for each in source.entries] == ["\u00e0 droite", "\u00e0 gauche"]
    with open_source(
        make({"r\u00e9tine.png": picture(1), "b.png": picture(2), "t.csv": b"file,label\nb.png,\xe9\n"})
    ) as one:
        assert [each.label for each in one.entries] == ["\u00e9"]


def test_rows_and_files_that_do_not_meet_are_listed(make):
    table = (
        "file,label\na.png,cat\nabsent.png,cat\n../../etc/passwd,cat\nb.png,cat\nb.png,dog\nc.png,\nx/d.png,a\x07b\n"
    )
    files = {name: picture(index) for index, name in enumerate(["a.png", "b.png", "c.png", "x/d.png", "e.png"])}
    with open_source(make({**files, "labels.csv": table.encode()})) as source:
        assert told(source) == {"a.png": ("cat", None, None)}
        left = reasons(source)
    assert left["b.png"] == "Several rows of labels.csv name it and differ."
    assert left["c.png"] == "Its row has no label."
    assert left["x/d.png"] == "Its label holds control characters."
    assert left["e.png"] == "No row of labels.csv names it."
    assert "no such picture" in left["absent.png"] and "no such picture" in left["../../etc/passwd"]


def test_a_table_may_name_a_file_twice_and_splits_by_their_other_words(make):
    table = "file,label,split\na.png,x,Training\na.png,x,Training\nb.png,x,holdout\nsub/c.png,y,valid\n"
    with open_source(make({**TABLED, "t.csv": table.encode()})) as source:
        assert [each.split for each in source.entries] == ["train", "val"]
        assert reasons(source)["b.png"] == "Its split is 'holdout', not train, val or test."


def test_a_table_without_labels_adds_groups_to_folders(make):
    table = "file,group\ncat/1.png,p1\ncat/2.jpg,p1\ndog/deep/3.png,p2\n"
    with open_source(make({**CLASSES, "groups.csv": table.encode()})) as source:
        assert list(told(source).values()) == [("cat", "p1", None), ("cat", "p1", None), ("dog", "p2", None)]


def test_a_table_of_splits_over_folders_of_splits_never_takes_a_split_for_a_class(make):
    files = {"train/cat/1.png": picture(1), "test/dog/2.png": picture(2)}
    table = b"file,split\ntrain/cat/1.png,test\ntest/dog/2.png,train\n"
    with open_source(make({**files, "t.csv": table})) as source:
        assert told(source) == {"test/dog/2.png": ("dog", None, "train"), "train/cat/1.png": ("cat", None, "test")}


def test_tables_that_are_none_and_too_many(make):
    with open_source(make({**CLASSES, "notes.csv": b"a,b\n1,2\n", "cat/inner.csv": b"file,label\n"})) as source:
        assert [each.label for each in source.entries] == ["cat", "cat", "dog"]
        assert "none of its columns is named `file`" in reasons(source)["notes.csv"]
        assert "another place" in reasons(source)["cat/inner.csv"]


def test_contradicting_tables_are_refused(make):
    assert "more than one table" in refused(make({**TABLED, "a.csv": b"file,label\n", "b.csv": b"file,label\n"}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"file,label,label\na.png,x,y\n", "the column 'label' more than once"),
        (b'file,label\n"a.png,x\n', "cannot be read as a table"),
        (b"file,label\na.png,Carcinoma, ductal\n", "Row 2 of 'labels.csv' has more cells"),
        (b"\xff\xfe\x00", "is no text"),
        (b"file,label\n\0\0\n", "is no text"),
        (b"file,label\na.png,\x81\n", "is no text"),
        (b"file,label\na.png,Cat\nb.png,cat\n", "differ by upper and lower case"),
        (b"file,label\nz.png,Cat\n", "no picture that can be used"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(make, data, why):
    assert why in refused(make({**TABLED, "labels.csv": data}))


def test_a_pattern_names_the_group(make):
    files = {
        "cat/p1_a.png": picture(1),
        "cat/p1_b.png": picture(2),
        "dog/p22_a.png": picture(3),
        "dog/x.png": picture(4),
    }
    with open_source(make(files), pattern=r"(p\d+)_") as source:
        assert [each.group for each in source.entries] == ["p1", "p1", "p22"]
        assert reasons(source) == {"dog/x.png": "The pattern finds no group in its name."}
    with open_source(make(files), pattern="([a-z]+)/") as source:
        assert [each.group for each in source.entries] == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "no regular expression"),
        ("a", "0 groups"),
        ("(a)(b)", "2 groups"),
        ("(" + "a" * 300 + ")", "longer than"),
        ("(zebra)", "found in no name"),
        ("(?P<x>a){99999999999}", "no regular expression"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(make, pattern, why):
    assert why in refused(make(CLASSES), pattern=pattern)


def test_a_group_by_table_and_by_pattern_is_refused(make):
    assert "and by a pattern" in refused(make({**TABLED, "labels.csv": TABLE.encode()}), pattern="(.)")


def test_what_is_no_picture_is_counted(make):
    more = {f"cat/{index}.txt": b"x" for index in range(1000)} | {
        "README": b"x",
        "cat/.DS_Store": b"x",
        "dog/Thumbs.db": b"x",
    }
    with open_source(make({**CLASSES, **more, "__MACOSX/cat/._1.png": b"x", "inner.zip": b"PK"})) as source:
        assert len(source.entries) == 3
        left = reasons(source)
    assert left["*.txt"].startswith("1,000 files") and left["files without an ending"].startswith("1 of them")
    assert "archive inside the source" in left["inner.zip"]
    assert "hidden files" in left and len(left) == 4


def test_scanners_files_without_an_ending_are_known_by_their_content(make):
    dicom = b"\0" * 128 + b"DICM" + b"\2\0"
    with open_source(
        make({"cat/IM0001": dicom, "cat/1.2.840.5": dicom, "dog/IM2": b"no", "dog/DICOMDIR": dicom})
    ) as source:
        assert [each.name for each in source.entries] == ["cat/1.2.840.5", "cat/IM0001"]
        assert reasons(source)["files without an ending"].startswith("2 of them")


def test_a_source_may_be_empty_or_hold_no_picture(make):
    assert "no picture that can be used" in refused(make({"a.txt": b"x"}))
    assert "*.txt" in refused(make({"a.txt": b"x"}))


def test_no_source_at_all(tmp_path):
    (tmp_path / "one.png").write_bytes(picture())
    assert "neither a folder nor a zip nor a tar" in refused(tmp_path / "one.png")
    assert "no such folder" in refused(tmp_path / "absent")
    assert "cannot be opened" in refused(tmp_path / ("x" * 300))
    (tmp_path / "empty").mkdir()
    assert "holds no picture that can be used. Put pictures into it" in refused(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe")
    assert "no such folder" in refused(tmp_path / "pipe")


@pytest.mark.parametrize(("mode", "command"), [("w:gz", "gunzip"), ("w:bz2", "bunzip2"), ("w:xz", "unxz")])
def test_a_compressed_tar_is_refused_with_the_command_that_helps(tmp_path, mode, command):
    path = as_tar(tmp_path, CLASSES, mode, "pictures.tar.z")
    assert f"`{command} --keep pictures.tar.z`" in refused(path)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_every_form_are_read_as_tarfile_reads_them(tmp_path, form):
    names = ["a/1.png", f"{'d' * 90}/{'n' * 80}.png", "b/\u00e9\u4e2d.png"]
    if form != tarfile.USTAR_FORMAT:
        names += [f"{'e' * 90}/{'f' * 90}/{'n' * 90}.png", f"c/{'l' * 150}.png"]
    with tarfile.open(tmp_path / "x.tar", "w", format=form, pax_headers={"comment": "all"}) as archive:
        for index, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = index * 400, 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(entry, io.BytesIO(bytes([index]) * entry.size))
        folder = tarfile.TarInfo("a/folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    container = open_container(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        expected = {each.name: archive.extractfile(each).read() for each in archive.getmembers() if each.isreg()}
    assert {each.name: each.bytes for each in container.found()} == {name: len(data) for name, data in expected.items()}
    assert {name: container.start(name, 10**6) for name in expected} == expected
    assert not any(each.problem for each in container.found())


def test_names_that_macos_writes_into_zips_are_read_as_utf_8(tmp_path):
    name = "caf\u00e9/1.png"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name.encode().decode("cp437").replace("\u251c", "A").replace("\u2310", "B"), picture())
    data = (tmp_path / "x.zip").read_bytes()
    assert data.count(b"caf") == 2
    data = unflagged(data, name)
    (tmp_path / "x.zip").write_bytes(data)
    with open_source(tmp_path / "x.zip") as source:
        assert [each.name for each in source.entries] == [name]
        assert source.read(name) == picture()


def unflagged(data: bytes, name: str) -> bytes:
    """The archive with another name of the same length, not marked as UTF-8."""
    start = data.index(b"caf")
    old = data[start : start + len(name.encode())]
    return data.replace(old, name.encode())


def test_reading_notices_what_has_changed(tmp_path):
    path = as_folder(tmp_path, CLASSES)
    with open_source(path) as source:
        before = source.stamp("cat/1.png")
        assert source.stamp("cat/1.png") == before
        (path / "cat/1.png").write_bytes(picture(7))
        assert source.stamp("cat/1.png") != before
        (path / "cat/1.png").unlink()
        for ask in (source.stamp, source.read):
            with pytest.raises(BadInput, match="'cat/1.png' in 'pictures' cannot be read: there is no such file"):
                ask("cat/1.png")
        (path / "cat/1.png").write_bytes(b"")
        with pytest.raises(BadInput, match="it is empty"):
            source.read("cat/1.png")


def test_a_zip_with_another_picture_of_the_same_size_has_another_stamp(tmp_path):
    with open_source(as_zip(tmp_path, {"a.png": b"one", "b.png": b"two"})) as first:
        stamps = [first.stamp(name) for name in ("a.png", "b.png")]
    with open_source(as_zip(tmp_path, {"a.png": b"six", "b.png": b"two"})) as second:
        assert second.stamp("a.png") != stamps[0]
        assert second.stamp("b.png") == stamps[1]


@pytest.mark.parametrize("name", ["absent.png", "../x.png", "/etc/passwd", "cat", "", "cat/../cat/1.png", "a\0b"])
def test_what_was_not_listed_is_not_read(make, name):
    with open_source(make(CLASSES)) as source:
        for ask in (source.read, source.stamp) if name != "cat" else (source.read,):
            with pytest.raises(BadInput, match="cannot be read"):
                ask(name)


def test_threads_read_side_by_side(make):
    files = {f"{index % 3}/{index}.png": np.random.default_rng(index).bytes(30_000 + index) for index in range(30)}
    wrong = []
    with open_source(make(files)) as source:

        def read(seed: int) -> None:
            for index in np.random.default_rng(seed).permutation(30):
                name = f"{index % 3}/{index}.png"
                wrong.extend([name] if source.read(name) != files[name] else [])

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert wrong == []


@contextmanager
def as_nobody():
    """Root may enter every folder: as somebody else for a while, where we are root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_entered_is_listed():
    with tempfile.TemporaryDirectory() as folder:  # not pytest's own, which only its owner may enter
        os.chmod(folder, 0o755)
        path = as_folder(Path(folder), CLASSES)
        (path / "dog").chmod(0)
        try:
            with as_nobody(), open_source(path) as source:
                assert "The folder cannot be opened" in reasons(source)["dog"]
        finally:
            (path / "dog").chmod(0o755)


def test_the_bound_on_files(make, monkeypatch):
    assert MAX_FILES == 500_000
    monkeypatch.setattr("retrieval.datasets.collections.containers.MAX_FILES", 2)
    assert "more than 2 files" in refused(make(CLASSES))
