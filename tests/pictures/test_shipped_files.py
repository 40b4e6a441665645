"""Every DICOM and NIfTI file that pydicom and nibabel ship, and those at hand beside: a right picture or one sentence.

What is right is what pydicom's and nibabel's own functions make of the values, drawn to 8 bits by the formulas of the
standard written out here; one grey level of difference is allowed, for values that lie between two levels.
"""

import gzip
import io
import re
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_modality_lut
from shipped_files import DICOM, NIFTI, PAIRS

from retrieval.errors import BadInput
from retrieval.pictures.decoded import Picture, Volume
from retrieval.pictures.reading import decode, decode_picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")

# Files that hold no picture, or a damaged one on purpose, with what is said of them. All others must become one.
WITHOUT = "without a picture"
REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "not of the size",  # its own header is overwritten
    "MR_truncated.dcm": "cut short",
    "badVR.dcm": "cannot be read",  # has 1A frames
    "meta_missing_tsyntax.dcm": "cannot be read",
    "nested_priv_SQ.dcm": "cannot be read",
    "no_meta.dcm": "not a picture that can be read",  # begins with a stray byte
    "README": "not a picture that can be read",
}


def named(path: Path) -> str:
    return path.name


def reference(data: bytes) -> np.ndarray:
    """What pydicom makes of a file's first frame, in 8 bits: [H, W] or [H, W, 3]."""
    header = pydicom.dcmread(io.BytesIO(data), force=True)
    header.file_meta.setdefault("TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    frame = pydicom.pixels.pixel_array(header, index=0)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return (pydicom.pixels.apply_color_lut(frame, header) >> 8).astype(np.uint8)
    if frame.ndim == 3:
        return (frame >> (header.BitsStored - 8)).astype(np.uint8)
    real = apply_modality_lut(frame, header).astype(float)
    center, width = (np.atleast_1d(header.get(f"Window{name}", [])) for name in ("Center", "Width"))
    if len(center) and float(width[0]) >= 1:
        grey = np.clip((real - (float(center[0]) - 0.5)) / (float(width[0]) - 1) + 0.5, 0, 1) * 255
    elif header.get("BitsStored") == 8 and not header.PixelRepresentation:
        grey = real
    else:
        grey = (real - real.min()) * 255 / (np.ptp(real) or 1)
    return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def first(found: Picture | Volume) -> np.ndarray:
    return found.levels[0] if isinstance(found, Volume) else np.asarray(found.image)


@pytest.mark.parametrize("path", DICOM, ids=named)
def test_a_dicom_file_is_a_right_picture_or_a_sentence(path):
    data = path.read_bytes()
    try:
        found = decode(data, name=path.name)
    except BadInput as refused:
        assert re.search(REFUSED.get(path.name, WITHOUT), refused.message), refused.message
        assert refused.message.endswith(".") and refused.remedy.endswith(".")
        plain = pydicom.dcmread(io.BytesIO(data), force=True) if path.name not in REFUSED else {}
        assert "PixelData" not in plain
        return
    assert path.name not in REFUSED
    shown = first(found)
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    if isinstance(found, Volume) and found.levels.ndim == 3:
        return  # drawn by the range of all its frames, in physical order: see below
    wanted = reference(data).astype(float)
    if any("not square" in note for note in found.notes):
        wanted = np.asarray(
            Image.fromarray(wanted.astype(np.float32)).resize(shown.shape[::-1], Image.Resampling.BICUBIC)
        )
    assert np.abs(shown - np.clip(wanted, 0, 255)).max() <= 1


@pytest.mark.parametrize("name", ["emri_small.dcm", "rtdose.dcm", "rtdose_rle.dcm"])
def test_frames_are_drawn_by_the_range_of_them_all(name, need):
    path = next((path for path in DICOM if path.name == name), None)
    need(path, f"{name} beside the checkout")
    levels = decode(path.read_bytes(), name=name).levels
    frames = pydicom.dcmread(path).pixel_array.astype(float)
    assert np.abs(levels - (frames - frames.min()) * 255 / np.ptp(frames)).max() <= 1


def test_lossy_jpeg_of_12_bits_holds_the_values_that_its_makers_print():
    path = next(path for path in DICOM if path.name == "JPGExtended.dcm")
    from retrieval.pictures.dicom_header import read_header
    from retrieval.pictures.dicom_pixels import stored_frames

    frame = stored_frames(read_header(path.read_bytes(), called="it"), called="it")[0]
    assert (frame[420, 140], frame[230, 120]) == (244, 95)  # as in pydicom's own tests


GREY = ["CT_small.dcm", "MR_small.dcm", "RG3_J2KI.dcm", "693_J2KI.dcm", "JPEG2000.dcm"]


@pytest.mark.parametrize("name", GREY)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_same_picture_as_16_bit_png_and_tiff_is_the_same(name, kind, need):
    """The values between black and white with 16 bits, so stretched that both ends are there; at most one level off."""
    path = next((path for path in DICOM if path.name == name), None)
    need(path, f"{name} beside the checkout")
    eight = np.asarray(decode_picture(path.read_bytes(), name=name).image)
    deep = np.rint(reference_deep(path.read_bytes()) * 257).astype(np.uint16)
    deep[0, :2] = (0, 65535)
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, kind)
    again = np.asarray(decode_picture(stream.getvalue(), name="deep").image)
    difference = np.abs(again.astype(int) - eight)
    difference[0, :2] = 0
    assert difference.max() <= 1


def reference_deep(data: bytes) -> np.ndarray:
    return np.clip(reference(data).astype(float), 0, 255)


@pytest.mark.parametrize("path", [path for path in NIFTI if ".dconn" not in path.name], ids=named)
def test_a_nifti_file_is_the_canonical_volume_of_nibabel(path):
    image = nibabel.as_closest_canonical(nibabel.load(path))
    values = np.asarray(image.dataobj, float)
    values = values.reshape(*values.shape[:3], -1)[..., 0]
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    low, high = (low, high) if low < high else (np.nanmin(values), np.nanmax(values))
    wanted = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1) * 255)
    volume = decode(path.read_bytes(), name=path.name)
    assert np.abs(volume.levels[:, ::-1, ::-1].transpose(2, 1, 0) - wanted).max() <= 1
    assert np.allclose(volume.spacing, image.header.get_zooms()[2::-1], rtol=1e-3)


def test_values_between_places_of_the_brain_are_no_volume():
    path = next(path for path in NIFTI if ".dconn" in path.name)
    with pytest.raises(BadInput, match="several values for each voxel"):
        decode(path.read_bytes(), name=path.name)


@pytest.mark.parametrize("path", PAIRS, ids=named)
def test_half_a_pair_is_refused(path):
    with pytest.raises(BadInput, match="one half of a pair"):
        decode(path.read_bytes(), name=path.name)
