"""NIfTI volumes in every orientation are the same volume."""

import gzip
import itertools
import struct

import numpy as np
import pytest
import volume_files as files

from retrieval.errors import BadInput
from retrieval.pictures import archives
from retrieval.pictures.reading import decode_picture, decode_volume

AXIAL = np.random.default_rng(2).integers(0, 256, (5, 6, 7), dtype=np.uint8)  # to the head, to the back, to the left
RAS = np.ascontiguousarray(AXIAL[:, ::-1, ::-1].transpose(2, 1, 0))


def refused(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        decode_volume(data, name="query.nii")
    assert caught.value.message.startswith("'query.nii'") and caught.value.message.endswith(".")
    return caught.value.message


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([1, -1], repeat=3)))
def test_every_orientation_is_brought_to_the_same_one(order, flips):
    stored = RAS.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (own, flip) in enumerate(zip(order, flips, strict=True)):
        affine[own, axis] = flip * (1.0, 2.0, 3.0)[own]
    volume = decode_volume(files.nifti_bytes(np.ascontiguousarray(stored), affine), name="q")
    assert np.array_equal(volume.levels, AXIAL)
    assert volume.spacing == (3.0, 2.0, 1.0)


def test_what_lies_obliquely_is_turned_to_the_nearest_axes_and_not_resampled():
    turn = np.array([[0.9, -0.436, 0], [0.436, 0.9, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * 2
    volume = decode_volume(files.nifti_bytes(RAS, affine), name="q")
    assert np.array_equal(volume.levels, AXIAL)
    assert np.allclose(volume.spacing, 2, atol=1e-3)


def test_rescaled_values_are_drawn_by_their_range():
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    volume = decode_volume(files.nifti_bytes(stored, np.eye(4), slope=2.5, intercept=-10), name="q")
    assert volume.notes == ("Its values from -10 to 137.5 are drawn as 0 to 255.",)
    assert np.array_equal(np.sort(volume.levels.ravel()), np.rint(np.arange(60) * 255 / 59))


def test_the_display_range_of_the_header_is_used():
    import nibabel

    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header["cal_min"], image.header["cal_max"] = 10, 30
    volume = decode_volume(image.to_bytes(), name="q")
    wanted = np.clip((np.arange(60) - 10) / 20, 0, 1) * 255
    assert np.abs(np.sort(volume.levels.ravel()) - wanted).max() <= 0.5
    assert "display range" in volume.notes[0]


def test_of_several_time_points_the_first_is_taken_and_said():
    times = np.stack([RAS, 255 - RAS], axis=-1)
    volume = decode_volume(files.nifti_bytes(times, np.eye(4)), name="q")
    assert np.array_equal(volume.levels, AXIAL)
    assert volume.notes == ("Only the first of its 2 time points is used.",)


def test_values_that_are_no_numbers_are_black():
    values = RAS.astype(np.float32)
    values[0] = np.nan
    values[1, 0, 0] = np.inf
    levels = decode_volume(files.nifti_bytes(values, np.eye(4)), name="q").levels
    assert (levels[:, :, -1] == 0).all()


def test_colour_and_one_slice():
    rgb = np.zeros((4, 5, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    rgb["G"] = 200
    assert decode_volume(files.nifti_bytes(rgb, np.eye(4)), name="q").levels[0, 0, 0].tolist() == [0, 200, 0]
    assert "holds one picture" in refused(files.nifti_bytes(RAS[:, :, :1], np.eye(4)))
    assert decode_picture(files.nifti_bytes(RAS[:, :, :1], np.eye(4)), name="q").image.size == (7, 6)


def test_the_second_version_and_the_other_byte_order_are_read():
    import nibabel

    second = nibabel.Nifti2Image(RAS, np.eye(4)).to_bytes()
    assert np.array_equal(decode_volume(second, name="q").levels, AXIAL)
    header = nibabel.Nifti1Header(endianness=">")
    big = nibabel.Nifti1Image(RAS.astype(np.int16), np.eye(4), header).to_bytes()
    assert struct.unpack(">i", big[:4]) == (348,)
    assert np.ptp(decode_volume(big, name="q").levels) == 255


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


GOOD = files.nifti_bytes(RAS, np.eye(4))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(GOOD, 344, b"ni1\0"), "one half of a pair"),
        (changed(GOOD, 344, b"\0\0\0\0"), "one half of a pair"),
        (GOOD[:-10], "cut short"),
        (GOOD[:350], "cut short"),
        (changed(GOOD, 42, struct.pack("<3h", 30_000, 30_000, 30_000)), "at most"),
        (changed(GOOD, 42, struct.pack("<3h", -3, 5, 5)), "damaged|no voxels"),
        (changed(GOOD, 70, struct.pack("<2h", 32, 64)), "cannot be drawn"),
        (files.nifti_bytes(np.zeros((2, 2, 2, 2, 3), np.uint8), np.eye(4)), "several values for each voxel"),
        (gzip.compress(b"hello" * 100), "something else than a NIfTI or DICOM file"),
        (gzip.compress(GOOD)[:-20], "gzip archive that is damaged"),
    ],
)
def test_what_is_no_whole_volume_is_refused(data, said):
    import re

    assert re.search(said, refused(data))


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_UNPACKED", 600)
    assert "when it is unpacked" in refused(gzip.compress(GOOD + bytes(10_000)))


def test_a_rescale_beyond_all_numbers_is_drawn_all_the_same():
    values = RAS.astype(np.float64) * 1e300
    levels = decode_volume(files.nifti_bytes(values, np.eye(4), slope=1e38), name="q").levels
    assert levels.shape == AXIAL.shape
