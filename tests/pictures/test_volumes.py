"""A volume, whatever file it comes in, is the same query; what makes none gets a sentence."""

import io
import struct
import zipfile

import numpy as np
import pytest
import volume_files as files
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures import archives, arrays, decoded
from retrieval.pictures.decoded import Volume
from retrieval.pictures.item import make_volume_item
from retrieval.pictures.reading import decode_picture, decode_volume


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


CUBE = noise(12, 12, 12)


def refused(data: bytes, name: str = "query", decode=decode_volume) -> str:
    with pytest.raises(BadInput) as caught:
        decode(data, name=name)
    assert caught.value.message.endswith(".") and caught.value.remedy.endswith(".")
    return caught.value.message


@pytest.mark.parametrize("name", list(files.every_kind(CUBE)))
def test_every_kind_of_file_holds_the_same_volume(name):
    volume = decode_volume(files.every_kind(CUBE)[name], name=name)
    assert np.array_equal(volume.levels, CUBE)
    assert volume.spacing == (1.0, 1.0, 1.0)
    assert np.array_equal(make_volume_item(volume, size=12), CUBE)


@pytest.mark.parametrize("name", list(files.every_kind(CUBE)))
def test_as_a_picture_its_middle_slice_is_used_and_said(name):
    picture = decode_picture(files.every_kind(CUBE)[name], name=name)
    pages = name == "pages.tif"
    assert np.array_equal(np.asarray(picture.image), CUBE[0 if pages else 6])
    assert picture.notes[0] == ("Only the first of 12 frames is used." if pages else decoded_note(12))


def decoded_note(count: int) -> str:
    return f"Only the middle one of its {count} slices is used."


def test_a_scan_is_the_same_query_as_dicom_and_as_nifti():
    scan = noise(9, 20, 16)
    one = decode_volume(files.dicom_zip(scan, step=2.5, side=0.7), name="a")
    other = decode_volume(files.axial_nifti(scan, step=2.5, side=0.7), name="b")
    assert np.array_equal(one.levels, other.levels) and np.array_equal(one.levels, scan)
    assert np.allclose(one.spacing, (2.5, 0.7, 0.7)) and np.allclose(other.spacing, (2.5, 0.7, 0.7))
    assert np.array_equal(make_volume_item(one, size=8), make_volume_item(other, size=8))


def test_a_mask_of_ones_becomes_white():
    mask = (CUBE > 128).astype(np.uint8)
    for data in (files.npy_bytes(mask), files.npy_bytes(mask > 0), files.axial_nifti(mask)):
        assert np.array_equal(decode_volume(data, name="m").levels, mask * 255)


def test_other_values_are_scaled_by_the_range_of_the_whole_volume():
    values = np.linspace(-1000, 3000, 12**3).reshape(12, 12, 12)
    expected = np.rint((values - values.min()) * 255 / 4000).astype(np.uint8)
    volume = decode_volume(files.npy_bytes(values), name="v")
    assert np.array_equal(volume.levels, expected)
    assert volume.notes == ("Its values from -1000 to 3000 are drawn as 0 to 255.",)
    whole = files.tiff_pages(np.rint(values + 1000).astype(np.uint16))
    assert np.abs(decode_volume(whole, name="v").levels.astype(int) - expected).max() <= 1


def test_the_cube_is_cut_from_the_middle_by_millimetres():
    levels = noise(10, 30, 41)
    item = make_volume_item(Volume(levels, (2.0, 1.0, 1.0)), size=20)
    cut = levels[:, 5:25, 10:30]  # of 21 columns too many, 10 from the left and 11 from the right
    column = np.asarray(
        Image.fromarray(cut.reshape(10, 400).astype(np.float32)).resize((400, 20), Image.Resampling.BICUBIC)
    )
    assert np.array_equal(item, np.rint(np.clip(column, 0, 255)).astype(np.uint8).reshape(20, 20, 20))


@pytest.mark.parametrize("size", [4, 12, 20])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (0.31, 0.7, 0.7), (1.0, 50.0, 1.0)])
def test_whatever_the_spacing_the_item_is_a_cube_and_grey_stays_grey(size, spacing):
    item = make_volume_item(Volume(np.full((7, 9, 8), 130, np.uint8), spacing), size=size)
    assert item.shape == (size,) * 3 and item.dtype == np.uint8
    assert np.unique(item).tolist() == [130]


def test_a_gradient_keeps_its_place_when_the_spacing_is_not_equal():
    """A ramp along x, sampled twice as coarsely along z: the item is the ramp of its middle cube."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8) * 6, (10, 20, 40))
    item = make_volume_item(Volume(np.ascontiguousarray(ramp), (2.0, 1.0, 1.0)), size=20)
    assert np.array_equal(item[10, 10], ramp[0, 0, 10:30])


def test_one_colour_volume_becomes_grey():
    frames = noise(3, 6, 6, 3)
    item = make_volume_item(Volume(frames, (2.0, 1.0, 1.0)), size=6)
    grey = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    assert np.array_equal(item, make_volume_item(Volume(grey, (2.0, 1.0, 1.0)), size=6))


def test_a_slice_of_pixels_that_are_not_square_is_enlarged():
    data = files.npz_bytes(volume=noise(5, 10, 10), spacing=np.array([1.0, 2.0, 1.0]))
    picture = decode_picture(data, name="v")
    assert picture.image.size == (10, 20)
    assert any("not square" in note for note in picture.notes)


def test_one_picture_is_no_volume():
    stream = io.BytesIO()
    Image.fromarray(CUBE[0]).save(stream, "PNG")
    for data in (stream.getvalue(), files.npy_bytes(CUBE[0]), files.tiff_pages(CUBE[:1]), files.multi_frame(CUBE[:1])):
        assert "holds one picture" in refused(data)
        decode_picture(data, name="p")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (files.npy_bytes(np.array([{}, []], object)), "no numbers"),
        (files.npy_bytes(np.zeros(5)), "no picture and no volume"),
        (files.npy_bytes(np.zeros((2, 3, 4, 5))), "no picture and no volume"),
        (files.npy_bytes(np.zeros((0, 3, 4))), "no pixels"),
        (files.npy_bytes(np.zeros((3, 4), np.complex64)), "no numbers"),
        (files.npy_bytes(CUBE)[:200], "damaged or cut short"),
        (files.npz_bytes(a=CUBE, b=CUBE), "2 arrays that could be the query: 'a', 'b'"),
        (files.npz_bytes(a=np.zeros(3)), "no picture and no volume"),
        (files.npz_bytes(a=CUBE, spacing=np.array([1.0, 0, 1])), "not three positive numbers"),
        (files.npz_bytes(levels=CUBE.astype(float)), "no grey levels"),
        (files.npz_bytes(a=CUBE)[:-30], "damaged or cut short"),
    ],
)
def test_arrays_that_make_no_query_are_refused(data, said):
    assert said in refused(data)


def test_a_header_that_asks_for_too_much_is_refused_before_anything_is_read():
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 100), }".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
    assert "too many" in refused(data)


def test_fortran_order_is_the_same_array():
    assert np.array_equal(decode_volume(files.npy_bytes(np.asfortranarray(CUBE)), name="f").levels, CUBE)


def packed(volume: Volume) -> bytes:
    stream = io.BytesIO()
    arrays.write_npz(stream, volume)
    return stream.getvalue()


def test_levels_are_used_as_they_are():
    dark = np.zeros((4, 4, 4), np.uint8)
    dark[0, 0, 0] = 1
    again = decode_volume(packed(Volume(dark, (3.0, 2.0, 1.0))), name="v")
    assert np.array_equal(again.levels, dark) and again.spacing == (3.0, 2.0, 1.0)
    flawed = packed(Volume(dark, flaw=("Why.", "What to do.")))
    assert "Why." in refused(flawed)
    assert decode_picture(flawed, name="v").image.size == (4, 4)


def test_pages_of_different_sizes_make_no_volume():
    stream = io.BytesIO()
    Image.new("L", (5, 5)).save(stream, "TIFF", save_all=True, append_images=[Image.new("L", (6, 5))])
    assert "differ in size" in refused(stream.getvalue())


SLICES = files.slices(CUBE[:4])
GOOD = {f"{number}.dcm": data for number, data in enumerate(SLICES)}


def test_other_files_of_an_archive_are_left_out_and_said():
    volume = decode_volume(files.zipped({**GOOD, "README.txt": b"hello", "a/.DS_Store": b"\0"}), name="z")
    assert len(volume.levels) == 4
    assert volume.notes[-1] == "Of the archive 2 other files are left out."


@pytest.mark.parametrize(
    "name", ["../evil.dcm", "/etc/evil", "a/../../evil", "C:\\evil.dcm", "..\\evil", "\\\\host\\evil", "a/.."]
)
def test_archives_that_reach_outside_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "outside of itself" in refused(files.zipped({**GOOD, name: b"x"}))
    assert list(tmp_path.iterdir()) == []


def link(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for each, data in GOOD.items():
            archive.writestr(each, data)
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


def locked() -> bytes:
    data = bytearray(files.zipped(GOOD))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (link("1.dcm.link"), "a link or a device"),
        (locked(), "locked with a password"),
        (files.zipped({"a.txt": b"hello"}), "without DICOM files"),
        (files.zipped({"inner.zip": files.zipped(GOOD)}), "without DICOM files"),
        (files.zipped({f"{n}": b"" for n in range(archives.MOST_MEMBERS + 1)}), "4,001 files"),
        (files.zipped(GOOD)[:-40], "damaged"),
    ],
)
def test_hostile_archives_are_refused(data, said):
    assert said in refused(data)


def test_an_archive_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_UNPACKED", 5000)
    assert "when it is unpacked" in refused(files.zipped({**GOOD, "large": noise(6000).tobytes()}))
    monkeypatch.undo()
    bomb = bytearray(files.zipped({"0.dcm": bytes(2**20)}))
    at = bomb.index(b"PK\x01\x02") + 20
    bomb[at : at + 8] = struct.pack("<II", 100, 2**20)
    assert "a thousand times its size" in refused(bytes(bomb))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda each: each[:2] + each[3:], "unevenly|slices are missing"),
        (lambda each: [*each, each[1]], "at the same place"),
        (lambda each: [*each, *files.slices(noise(2, 9, 9))], "different sizes"),
    ],
)
def test_a_series_with_a_gap_or_a_double_is_refused(changed, said):
    each = files.slices(noise(6, 12, 12))
    import re

    message = refused(files.zipped({f"{n}": data for n, data in enumerate(changed(each))}))
    assert re.search(said, message)


def test_the_bounds_hold_for_volumes(monkeypatch):
    monkeypatch.setattr(decoded, "MAX_PLANES", 11)
    for name, data in files.every_kind(CUBE).items():
        if name != "slices.zip":
            assert "12 slices" in refused(data)
