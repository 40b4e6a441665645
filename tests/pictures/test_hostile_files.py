"""Whatever the file, the answer is a picture or one sentence with a remedy: never another exception."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures.reading import MAX_BYTES, MAX_PIXELS, read_picture

# Pillow warns of damage that it can live with, and names of its own that it will drop.
pytestmark = pytest.mark.filterwarnings("ignore")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 154, 0, 54, 40, width, height, 1, 24, 0, 100, 0, 0, 0, 0) + b"\0" * 100
    )


def tiff_header(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(300, b"\0")


def gif_header(width: int, height: int) -> bytes:
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0) + b"\2\2\x4c\1\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + frame


def webp_header(width: int, height: int) -> bytes:
    """A still picture's canvas, said to be of another size."""
    frames = [Image.new("RGB", (8, 8), value) for value in (0, 9)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    at = data.index(b"VP8X") + 12
    return data[:at] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[at + 6 :]


def jpeg_header(width: int, height: int) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def jpeg2000_header(width: int, height: int) -> bytes:
    data = encoded(Image.new("RGB", (8, 8)), "JPEG2000")
    box, stream = data.index(b"ihdr") + 4, data.index(b"\xff\x51") + 6
    data = data[:box] + struct.pack(">II", height, width) + data[box + 8 :]
    return data[:stream] + struct.pack(">II", width, height) + data[stream + 8 :]


def ppm_header(width: int, height: int) -> bytes:
    return f"P6 {width} {height} 255\n".encode() + b"\0" * 99


HEADERS = {
    "PNG": png_header,
    "BMP": bmp_header,
    "TIFF": tiff_header,
    "GIF": gif_header,
    "WEBP": webp_header,
    "JPEG": jpeg_header,
    "JPEG2000": jpeg2000_header,
    "PPM": ppm_header,
}


@pytest.fixture
def refusal(tmp_path: Path):
    """The refusal that a file of these bytes meets, checked to be fit for a screen."""

    def refused(data: bytes, name: str = "query.png") -> BadInput:
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(BadInput) as caught:
            read_picture(path)
        assert caught.value.message.startswith(repr(name)) and caught.value.message.endswith(".")
        assert caught.value.remedy.endswith(".")
        assert str(tmp_path) not in str(caught.value)
        return caught.value

    return refused


@pytest.mark.parametrize("kind", HEADERS)
def test_too_many_pixels_are_refused_by_the_header_alone(refusal, kind):
    side = 16_000 if kind == "WEBP" else 60_000
    refused = refusal(HEADERS[kind](side, side))
    assert f"{side:,} x {side:,} pixels; at most 100 megapixels" in refused.message
    assert refused.__cause__ is None


def test_the_bound_is_a_hundred_megapixels_to_the_pixel(refusal):
    assert MAX_PIXELS == 100_000_000
    assert "at most 100 megapixels" in refusal(png_header(10_000, 10_001)).message
    assert "damaged" in refusal(png_header(10_000, 10_000)).message  # goes on to the pixels, which are missing


@pytest.mark.parametrize("kind", [kind for kind in HEADERS if kind != "WEBP"])
@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 5), (5, 0)])
def test_no_pixels_at_all(refusal, kind, width, height):
    refusal(HEADERS[kind](width, height))


def test_more_than_fifty_megabytes_are_refused(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(900, 900))
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(BadInput, match="larger than 50 MB"):
        read_picture(path)
    os.truncate(path, MAX_BYTES)
    with pytest.raises(BadInput, match="damaged"):
        read_picture(path)


def test_a_jpeg_of_endless_passes_is_refused(refusal):
    data = encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    assert "too many passes" in refusal(data + b"\xff\xda" * 300).message


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"\n", "not a picture"),
        (b"P", "not a picture"),
        (b"BM", "not a picture"),
        (b"name,label\n1,2\n", "not a picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript drawing"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\0" * 128 + b"DICM\2\0", "a DICOM file"),
        (b"\x5c\1\0\0".ljust(344, b"\0") + b"n+1\0", "a NIfTI volume"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"\0\0\0\x1cftypheic", "a HEIC picture"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(refusal, data, what):
    assert what in refusal(data).message


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "DDS", "EPS", "PDF", "ICNS", "XBM"])
def test_formats_off_the_list_are_refused_though_pillow_knows_them(refusal, kind):
    image = Image.new("1" if kind == "XBM" else "RGB", (32, 32))
    refusal(encoded(image, kind), "query.bin")


def test_no_file(tmp_path):
    with pytest.raises(BadInput, match="is a folder. Name one file"):
        read_picture(tmp_path)
    for path in (tmp_path / "absent.png", tmp_path / "a\0b.png", tmp_path / ("n" * 400)):
        with pytest.raises(BadInput, match="There is no file|cannot be opened: File name too long"):
            read_picture(path)


def test_an_odd_name_stays_one_line(tmp_path):
    path = tmp_path / "two\nlines\udcff\x1b[31m.png"
    path.write_bytes(b"x")
    with pytest.raises(BadInput) as caught:
        read_picture(path)
    assert caught.value.message.isprintable()
    assert caught.value.message.encode()


EXIF_NONSENSE = {
    "random": random.Random(4).randbytes(200),
    "empty": b"",
    "header only": b"II*\0",
    "far offset": b"II*\0\xff\xff\xff\x7f",
    "itself": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0",
    "orientation 99": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 99, 0) + b"\0" * 4,
    "orientation 0": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 0, 0) + b"\0" * 4,
    "orientation in words": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x0112, 2, 4, b"up\0\0") + b"\0" * 4,
    "a billion entries": b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x0112, 4, 2**30, 8) * 9,
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("name", EXIF_NONSENSE)
def test_nonsense_in_exif_leaves_the_picture_as_it_is_stored(tmp_path, kind, name):
    stored = Image.new("RGB", (5, 3), (0, 0, 200))
    path = tmp_path / "query.bin"
    path.write_bytes(encoded(stored, kind, exif=b"Exif\0\0" + EXIF_NONSENSE[name]))
    picture = read_picture(path)
    assert picture.image.size == (5, 3)
    assert np.abs(np.asarray(picture.image).astype(int) - (0, 0, 200)).max() <= 4


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 256, shape, dtype=np.uint8)


COLOUR = Image.fromarray(noise(20, 30, 3))
DEEP = Image.fromarray(noise(20, 30).astype(np.uint16) * 200)
SOUND = {
    "PNG": encoded(COLOUR, "PNG"),
    "deep PNG": encoded(DEEP, "PNG"),
    "palette PNG": encoded(COLOUR.quantize(40), "PNG", transparency=3),
    "JPEG": encoded(COLOUR, "JPEG"),
    "progressive JPEG": encoded(COLOUR, "JPEG", progressive=True),
    "CMYK JPEG": encoded(COLOUR.convert("CMYK"), "JPEG"),
    "WEBP": encoded(COLOUR, "WEBP"),
    "lossless WEBP": encoded(COLOUR, "WEBP", lossless=True),
    "GIF": encoded(COLOUR, "GIF"),
    "BMP": encoded(COLOUR, "BMP"),
    "TIFF": encoded(COLOUR, "TIFF"),
    "deep TIFF": encoded(DEEP, "TIFF"),
    "LZW TIFF": encoded(COLOUR, "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encoded(COLOUR, "TIFF", compression="jpeg"),
    "PPM": encoded(COLOUR, "PPM"),
    "plain PPM": b"P3\n4 4\n255\n" + b" ".join(b"%d" % (value % 10) for value in range(48)) + b"\n",
    "JPEG2000": encoded(COLOUR, "JPEG2000"),
}
ANIMATED = {
    kind: encoded(COLOUR, kind, save_all=True, append_images=[COLOUR.rotate(90), COLOUR.rotate(180)])
    for kind in ("GIF", "PNG", "WEBP", "TIFF", "MPO")
}


@pytest.mark.parametrize("name", SOUND)
def test_a_file_cut_short_is_refused_or_had_lost_nothing(tmp_path, name):
    path = tmp_path / "query.bin"
    path.write_bytes(SOUND[name])
    whole = np.asarray(read_picture(path).image)
    size = len(SOUND[name])
    refused = 0
    for cut in sorted({1, 2, 5, 9, 17, 33, size - 40, size - 9, size - 2, size - 1, *range(60, size, size // 9)}):
        path.write_bytes(SOUND[name][:cut])
        try:
            assert np.array_equal(np.asarray(read_picture(path).image), whole), cut
        except BadInput:
            refused += 1
    assert refused >= 12


@pytest.mark.parametrize("name", [*SOUND, *(f"animated {kind}" for kind in ANIMATED)])
def test_flipped_bytes_make_a_picture_or_a_refusal(tmp_path, name):
    sound = SOUND.get(name) or ANIMATED[name.removeprefix("animated ")]
    chance = random.Random(name)
    path = tmp_path / "query.bin"
    for _ in range(25):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 1, 2, 6, 20])):
            data[int(chance.random() ** 2 * len(data))] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        path.write_bytes(data)
        try:
            picture = read_picture(path)
        except BadInput as refused:
            assert refused.remedy
        else:
            assert picture.image.mode in ("L", "RGB")
            assert np.asarray(picture.image).dtype == np.uint8
