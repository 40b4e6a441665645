import io
import os
import stat
import time
from dataclasses import replace

import cv2
import numpy as np
import orthanc
import pytest
import volume_files as files
from PIL import Image

from retrieval.datasets.phantoms_literals import PHANTOMS_2D, PHANTOMS_3D
from retrieval.errors import BadInput, Unavailable
from retrieval.page.uploads import clean_name, open_uploads
from retrieval.pictures import burned_in, reading
from retrieval.pictures import item as item_module


def png(width: int = 40, height: int = 30) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_is_kept_as_it_came_with_a_preview(tmp_path):
    uploads = open_uploads(tmp_path)
    upload = uploads.open(uploads.keep(png(2000, 100), name="scan.png"))
    assert upload.path.read_bytes() == png(2000, 100)
    assert (upload.width, upload.height, upload.shrunk) == (2000, 100, True)
    with Image.open(upload.preview) as preview:
        assert preview.size == (1024, 51)


def test_only_this_user_can_read_it(tmp_path):
    uploads = open_uploads(tmp_path)
    token = uploads.keep(png(), name="scan.png")
    assert stat.S_IMODE((uploads.folder / token).stat().st_mode) == 0o700


def test_forgetting_deletes_all_of_it(tmp_path):
    uploads = open_uploads(tmp_path)
    token = uploads.keep(png(), name="scan.png")
    uploads.forget(token)
    assert list(uploads.folder.iterdir()) == []
    with pytest.raises(Unavailable):
        uploads.open(token)
    uploads.forget(token)


@pytest.mark.parametrize("data", [b"", b"no picture", png()[:40]])
def test_of_a_file_that_is_no_picture_nothing_is_left(tmp_path, data):
    uploads = open_uploads(tmp_path)
    with pytest.raises(BadInput, match=r"scan\.png"):
        uploads.keep(data, name="scan.png")
    assert list(uploads.folder.iterdir()) == []


def test_the_sweep_takes_what_is_over_of_every_server_and_nothing_else(tmp_path):
    uploads, killed = open_uploads(tmp_path), open_uploads(tmp_path)
    old, young, left = (each.keep(png(), name="a.png") for each in (uploads, uploads, killed))
    past = time.time() - 60 * uploads.keep_minutes - 5
    for place in (uploads.folder / old, killed.folder / left):
        os.utime(place, (past, past))
    with pytest.raises(Unavailable):
        uploads.open(old)
    assert uploads.sweep() == 2
    assert [place.name for place in uploads.folder.iterdir()] == [young]
    assert list(killed.folder.iterdir()) == []


def _noise(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _held(uploads) -> int:
    return sum(path.stat().st_size for path in uploads.folder.rglob("*") if path.is_file())


def test_of_too_many_bytes_the_oldest_go_first_and_the_newest_stays(tmp_path):
    uploads = replace(open_uploads(tmp_path), most_bytes=300_000)
    tokens = []
    for _ in range(6):  # about 80 kB each, with the preview
        tokens.append(uploads.keep(_noise(200), name="a.png"))
        assert _held(uploads) <= uploads.most_bytes
    assert {place.name for place in uploads.folder.iterdir()} == set(tokens[-3:])
    with pytest.raises(Unavailable, match="no longer here"):
        uploads.open(tokens[0])
    alone = uploads.keep(_noise(600), name="large.png")
    assert [place.name for place in uploads.folder.iterdir()] == [alone]
    assert uploads.open(alone).width == 600


def test_of_too_many_pictures_the_oldest_go_first(tmp_path):
    uploads = replace(open_uploads(tmp_path), most=2)
    tokens = [uploads.keep(png(), name="a.png") for _ in range(4)]
    assert {place.name for place in uploads.folder.iterdir()} == set(tokens[-2:])


def test_what_is_being_written_stays_whatever_is_kept_meanwhile(tmp_path):
    uploads = replace(open_uploads(tmp_path), most=1)
    begun = uploads.folder / ("0" * 32)
    (begun / "original").mkdir(parents=True)
    os.utime(begun, (1, 1))
    uploads.keep(png(), name="a.png")
    assert begun.is_dir()


@pytest.mark.parametrize("token", ["", "..", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "/.."])
def test_nothing_but_a_token_opens_or_deletes(tmp_path, token):
    uploads = open_uploads(tmp_path)
    uploads.keep(png(), name="a.png")
    with pytest.raises(Unavailable):
        uploads.open(token)
    uploads.forget(token)
    assert len(list(uploads.folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../x y<b>.html", "x yb.html"),
        ("C:\\pictures\\scan.png", "scan.png"),
        ("", "picture"),
        ("...", "picture"),
        ("scan (1).png", "scan (1).png"),
        ("Röntgen.png", "Röntgen.png"),
    ],
)
def test_names_are_made_fit_for_a_path_and_a_sentence(sent, kept):
    assert clean_name(sent) == kept


VOLUME = np.random.default_rng(1).integers(0, 256, (6, 8, 9), dtype=np.uint8)


def kept_bytes(uploads) -> bytes:
    """All that an uploads folder holds, names included, archives unpacked."""
    parts = []
    for path in sorted(uploads.folder.rglob("*")):
        parts.append(str(path).encode())
        if path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


@pytest.mark.parametrize("name", ["slices.zip", "frames.dcm"])
def test_of_a_dicom_file_only_the_grey_levels_are_kept(tmp_path, name, caplog):
    uploads = open_uploads(tmp_path)
    sent = files.every_kind(VOLUME)[name]
    upload = uploads.open(uploads.keep(sent, name=name))
    assert upload.path.name == "volume.npz"
    held = kept_bytes(uploads) + caplog.text.encode()
    assert [word for word in files.PRIVATE if word.encode() in held] == []
    assert np.array_equal(reading.read_volume(upload.path).levels, VOLUME)


def test_a_dicom_picture_is_kept_as_its_pixels(tmp_path):
    uploads = open_uploads(tmp_path)
    plane = np.arange(120, dtype=np.uint8).reshape(10, 12)
    upload = uploads.open(uploads.keep(files.dicom_bytes(files.dicom_dataset(plane)), name="a.dcm"))
    assert (upload.path.name, upload.width, upload.height) == ("picture.png", 12, 10)
    with Image.open(upload.path) as kept:
        assert np.array_equal(np.asarray(kept), plane)
    assert [word for word in files.PRIVATE if word.encode() in kept_bytes(uploads)] == []
    with pytest.raises(BadInput, match="holds one picture"):
        upload.query_path(ndim=3, size=28)


@pytest.mark.parametrize("name", list(files.every_kind(VOLUME)))
def test_a_volume_is_asked_with_as_the_file_would_be(tmp_path, name):
    uploads = open_uploads(tmp_path)
    path = files.write(tmp_path, name, files.every_kind(VOLUME)[name])
    upload = uploads.open(uploads.keep(path.read_bytes(), name=name))
    assert upload.shape == (6, 8, 9)
    for size in (5, 28):
        item = item_module.read_item(upload.query_path(ndim=3, size=size), dataset=PHANTOMS_3D, size=size)
        assert np.array_equal(item, item_module.read_item(path, dataset=PHANTOMS_3D, size=size))
    flat = item_module.read_item(upload.query_path(ndim=2, size=8), dataset=PHANTOMS_2D, size=8)
    assert np.array_equal(flat, item_module.read_item(path, dataset=PHANTOMS_2D, size=8))
    assert np.array_equal(upload.drawn_slice(2), VOLUME[2])
    with pytest.raises(BadInput):
        upload.drawn_slice(6)
    assert "Only the" not in " ".join(upload.volume_notes)
    assert upload.notes[0].startswith("Only the")


def test_large_slices_are_drawn_smaller(tmp_path):
    uploads = open_uploads(tmp_path)
    large = np.random.default_rng(2).integers(0, 256, (3, 300, 520), dtype=np.uint8)
    upload = uploads.open(uploads.keep(files.npy_bytes(large), name="v.npy"))
    assert upload.slices_shrunk
    assert upload.drawn_slice(0).shape == (148, 256)


def test_a_film_is_a_picture_and_says_why_it_is_no_volume(tmp_path):
    uploads = open_uploads(tmp_path)
    made = files.dicom_dataset(VOLUME, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    made.PixelSpacing, made.GridFrameOffsetVector = [1, 1], [0] * 6
    upload = uploads.open(uploads.keep(files.dicom_bytes(made), name="film.dcm"))
    assert reading.read_picture(upload.path).image.size == (9, 8)
    with pytest.raises(BadInput, match="at the same place"):
        upload.query_path(ndim=3, size=28)


def test_text_burned_into_an_upload_is_said(tmp_path):
    uploads = open_uploads(tmp_path)
    pixels = np.full((120, 300), 30, np.uint8)
    marked = orthanc.dicom_file(pixels, orthanc.patient(0), number=1, burned_in="YES")[1]
    assert uploads.open(uploads.keep(marked, name="marked.dcm")).notes[-1] == burned_in.TAGGED
    cv2.putText(pixels, "DOE JOHN 1954", (10, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255,), 1, cv2.LINE_AA)
    written = orthanc.dicom_file(pixels, orthanc.patient(0), number=2)[1]
    assert uploads.open(uploads.keep(written, name="written.dcm")).notes[-1] == burned_in.SEEN
