"""Damaged DICOM, NIfTI and NumPy files are a picture, a volume or one sentence, and none says whom it shows."""

import io
import logging
import random
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pydicom
import pytest
import volume_files as files
from PIL.TiffImagePlugin import TiffImageFile
from shipped_files import DICOM

from retrieval.errors import BadInput
from retrieval.pictures.decoded import MAX_PLANES, Picture
from retrieval.pictures.reading import decode, decode_picture, decode_volume

CUBE = np.random.default_rng(1).integers(0, 256, (5, 6, 7), dtype=np.uint8)
COMPRESSED = [
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "JPGExtended.dcm",
    "JPEGLSNearLossless_16.dcm",
]
SOUND = {path.name: path.read_bytes() for path in DICOM if path.name in (*COMPRESSED, "MR_small.dcm", "rtdose.dcm")}
SOUND |= {name: data for name, data in files.every_kind(CUBE).items() if name != "pages.tif"}


def flipped(sound: bytes, chance: random.Random) -> bytes:
    data = bytearray(sound)
    for _ in range(chance.choice([1, 1, 2, 6, 20])):
        data[int(chance.random() ** 2 * len(data))] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.2 else data)


@pytest.mark.parametrize("name", list(SOUND))
def test_flipped_bytes_make_a_picture_or_a_refusal(name):
    chance = random.Random(name)
    for _ in range(20):
        data = flipped(SOUND[name], chance)
        for read in (decode_picture, decode_volume):
            try:
                found = read(data, name="query")
            except BadInput as refused:
                assert refused.message.isprintable() and refused.remedy
                assert str(refused.message).startswith("'query'")
            else:
                levels = np.asarray(found.image) if isinstance(found, Picture) else found.levels
                assert levels.dtype == np.uint8


def endless_pages(count: int, *, named: bytes = b"") -> bytes:
    """A TIFF of so many pages, all of them the same four pixels, and each naming the same bytes a hundred times."""
    tags = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    pixels = b"\1\2\3\4" + named
    more = range(40_000, 40_100) if named else ()
    entries += b"".join(struct.pack("<HHII", tag, 7, len(named), 12) for tag in more)
    begin, page = 8 + len(pixels), struct.pack("<H", len(tags) + len(more)) + entries
    after = [begin + (len(page) + 4) * (number + 1) for number in range(count - 1)] + [0]
    pages = b"".join(page + struct.pack("<I", following) for following in after)
    return b"II*\0" + struct.pack("<I", begin) + pixels + pages


def test_of_endless_pages_no_more_are_looked_at_than_a_volume_may_have(monkeypatch: pytest.MonkeyPatch):
    looked: list[int] = []
    whole = TiffImageFile._seek
    monkeypatch.setattr(TiffImageFile, "_seek", lambda self, frame: (looked.append(frame), whole(self, frame))[1])
    data = endless_pages(8 * MAX_PLANES)
    with pytest.raises(BadInput, match="has more than 2,000 pages"):
        decode_volume(data, name="query")
    assert MAX_PLANES < len(looked) <= MAX_PLANES + 2
    looked.clear()
    for count in (MAX_PLANES + 200, 8 * MAX_PLANES):  # counted as far as there are numbers, and too long to be counted
        picture = decode_picture(endless_pages(count), name="query")
        assert picture.notes == ("Only the first of several frames is used.",)
    assert len(looked) <= MAX_PLANES + 6
    assert decode_picture(endless_pages(7), name="query").notes == ("Only the first of 7 frames is used.",)
    assert decode_volume(endless_pages(7), name="query").levels.tolist() == [[[1, 2], [3, 4]]] * 7
    assert "damaged" in str(pytest.raises(BadInput, decode_volume, endless_pages(7)[:-2], name="query").value)


@pytest.mark.parametrize("count", [1, 2])
def test_a_directory_names_no_more_than_the_file_holds(count: int):
    named = bytes(2 << 20)
    data = endless_pages(count, named=named)
    tracemalloc.start()
    try:
        for read in (decode_picture, decode_volume):
            with pytest.raises(BadInput, match="it is damaged"):
                read(data, name="query")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 10 * len(named)


UNPACKED = 64 << 20  # bytes that a small zip unpacks to
MANY = (
    b"\x93NUMPY\x01\x00v\x00"
    + f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({UNPACKED},)}}".ljust(118).encode()
)


def lying(name: str, data: bytes, *, said: int) -> bytes:
    """A zip of one file, by whose directory it is so many bytes long; the checksum is that of those."""
    made = bytearray(files.zipped({name: data}))
    at = made.index(b"PK\x01\x02")
    made[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(data[:said]))
    made[at + 24 : at + 28] = struct.pack("<I", said)
    return bytes(made)


@pytest.mark.parametrize(("name", "begins"), [("0.dcm", b""), ("a.npy", MANY)])
def test_a_zip_is_unpacked_no_further_than_its_directory_says(name: str, begins: bytes):
    data = lying(name, begins + bytes(UNPACKED), said=100_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            decode(data, name="query")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < UNPACKED / 8


def lossless_jpeg(values: np.ndarray) -> bytes:
    imagecodecs = pytest.importorskip("imagecodecs")
    return imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=16)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_lossless_jpeg_holds_the_very_values(syntax):
    from pydicom.encaps import encapsulate

    values = np.random.default_rng(2).integers(0, 65536, (20, 30), dtype=np.uint16)
    made = files.dicom_dataset(values, WindowCenter=32768, WindowWidth=65536, VOILUTFunction="LINEAR_EXACT")
    made.PixelData = encapsulate([lossless_jpeg(values)])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    data = files.dicom_bytes(made)
    assert np.abs(np.asarray(decode(data, name="q").image) - values / 65536 * 255).max() <= 0.51
    chance = random.Random(syntax)
    for _ in range(40):
        try:
            decode(flipped(data, chance), name="q")
        except BadInput:
            continue


def test_no_name_number_or_date_leaves_a_file(caplog, capfd):
    """Neither by what is returned, nor by what pydicom says of values that break its rules."""
    made = files.dicom_dataset(np.arange(64, dtype=np.uint16).reshape(8, 8), WindowCenter=30, WindowWidth=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.add_new("StudyTime", "TM", f"not a time {files.WHO}")
        made.add_new("PatientAge", "AS", files.NUMBER)
        made.add_new("SOPInstanceUID", "UI", f"{files.DAY}.not.an.uid")
        made.add_new("NumberOfFrames", "IS", "1")
        good = files.dicom_bytes(made)
        made.add_new("Rows", "US", 9)
        cut = files.dicom_bytes(made)
    pydicom.config.debug(True)
    said = []
    try:
        with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = decode_picture(good, name="q")
            for data in (cut, good[:-20], good[:300]):
                with pytest.raises(BadInput) as refused:
                    decode_picture(data, name="q")
                chain = refused.value
                while chain is not None:
                    said.append(repr(chain) + str(chain))
                    chain = chain.__cause__
        said += [caplog.text, *(str(each.message) for each in warned), str(found.notes), str(found.image.info)]
    finally:
        pydicom.config.debug(False)
    stream = io.BytesIO()
    found.image.save(stream, "PNG")
    held = " ".join([*said, *capfd.readouterr()]) + stream.getvalue().decode("latin-1")
    assert [word for word in files.PRIVATE if word in held] == []
