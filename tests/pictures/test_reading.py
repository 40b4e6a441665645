"""What a picture file of every sort must look like once it is read."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from retrieval.errors import BadInput
from retrieval.pictures import intensities, rasters, reading
from retrieval.pictures.reading import Picture, read_picture

RAMP = np.arange(256, dtype=np.int64).reshape(16, 16)  # what every deep grey ramp below must become
TURNS = {  # EXIF orientation -> what makes the stored pixels upright
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(np.rot90(stored, 2), 0, 1),
    8: np.rot90,
}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: np.ndarray, *, depth: int, colour: int, more: bytes = b"") -> bytes:
    """A PNG written by hand: rows of big-endian samples, no filter."""
    rows = pixels.astype(">u2" if depth == 16 else "u1")
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(pixels: np.ndarray, *, photometric: int = 1, sample: int = 1) -> bytes:
    """An uncompressed TIFF of one strip written by hand, in the byte order of `pixels`; sample 1, 2, 3: u, i, f."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits_at = 8 + 2 + 12 * 10 + 4
    bits = bits_at if channels > 1 else pixels.itemsize * 8
    shorts = {259: 1, 262: photometric, 277: channels, 339: sample}
    longs = {256: width, 257: height, 273: bits_at + 2 * channels, 278: height, 279: pixels.nbytes}
    entries = {tag: struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    entries |= {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in longs.items()}
    wide_bits = struct.pack(f"{order}I", bits) if channels > 1 else struct.pack(f"{order}HH", bits, 0)
    entries[258] = struct.pack(f"{order}HHI", 258, 3, channels) + wide_bits
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    listed = b"".join(entries[tag] for tag in sorted(entries))
    return head + listed + b"\0" * 4 + struct.pack(f"{order}H", pixels.itemsize * 8) * channels + pixels.tobytes()


@pytest.fixture
def read(tmp_path: Path):
    def reading_of(data: bytes, name: str = "query.bin") -> Picture:
        path = tmp_path / name
        path.write_bytes(data)
        return read_picture(path)

    return reading_of


def pixels(picture: Picture) -> list:
    return np.asarray(picture.image).tolist()


DEEP_RAMPS = {
    "16-bit PNG": png(RAMP * 200, depth=16, colour=0),
    "16-bit TIFF, little-endian": tiff((RAMP * 200).astype("<u2")),
    "16-bit TIFF, big-endian": tiff((RAMP * 200).astype(">u2")),
    "16-bit TIFF, signed": tiff((RAMP * 200 - 20_000).astype("<i2"), sample=2),
    "16-bit TIFF, white is zero": tiff(((255 - RAMP) * 200).astype("<u2"), photometric=0),
    "32-bit TIFF, unsigned": tiff((RAMP * 16_000_000).astype("<u4")),
    "32-bit TIFF, signed, big-endian": tiff((RAMP * 1000 - 99_000).astype(">i4"), sample=2),
    "float TIFF": tiff((RAMP / 4 - 9).astype("<f4"), sample=3),
    "float TIFF, big-endian": tiff((RAMP / 4 - 9).astype(">f4"), sample=3),
    "PGM": b"P5 16 16 65535\n" + (RAMP * 200).astype(">u2").tobytes(),
    "JPEG2000": encoded(Image.fromarray((RAMP * 200).astype(np.uint16)), "JPEG2000"),
    "compressed TIFF": encoded(Image.fromarray((RAMP * 200).astype(np.uint16)), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", DEEP_RAMPS)
def test_deep_grey_is_scaled_by_its_own_range(read, name):
    picture = read(DEEP_RAMPS[name])
    assert picture.image.mode == "L"
    assert pixels(picture) == RAMP.tolist()
    assert "are drawn as 0 to 255" in picture.notes[0]


@pytest.mark.parametrize("value", [0, 700, 65535])
def test_a_constant_deep_picture_is_black(read, value):
    picture = read(png(np.full((3, 4), value), depth=16, colour=0))
    assert pixels(picture) == [[0] * 4] * 3
    assert picture.notes == (f"All its values are {value}, so it is drawn black.",)


def test_values_that_are_no_numbers_are_black_and_leave_the_range_alone(read):
    values = np.array([[np.nan, 10, 20], [np.inf, -np.inf, 15]], "<f4")
    assert pixels(read(tiff(values, sample=3))) == [[0, 0, 255], [0, 0, 128]]
    assert pixels(read(tiff(np.full((1, 2), np.nan, "<f4"), sample=3))) == [[0, 0]]


def test_the_transparent_value_of_a_deep_picture_is_left_out(read):
    data = png(np.array([[65535, 100, 200]]), depth=16, colour=0, more=chunk(b"tRNS", struct.pack(">H", 65535)))
    assert pixels(read(data)) == [[0, 0, 255]]


def test_scaling_does_not_depend_on_the_blocks_it_is_worked_in(monkeypatch):
    values = np.random.default_rng(3).integers(0, 65536, (50, 7))
    whole = intensities.draw([intensities.Plane(values)])
    monkeypatch.setattr(intensities, "_BLOCK_PIXELS", 20)
    assert np.array_equal(intensities.draw([intensities.Plane(values)]), whole)
    exact = (values - values.min()) * 255 / (values.max() - values.min())
    assert np.abs(whole - exact).max() <= 0.5


def test_sixteen_bit_colour_keeps_its_upper_bytes_and_says_so(read):
    values = np.array([[[65535, 256 * 7 + 255, 0], [256 * 200, 255, 256]]])
    for data in (
        png(values.reshape(1, 6), depth=16, colour=2).replace(struct.pack(">I", 6), struct.pack(">I", 2), 1),
        tiff(values.astype("<u2"), photometric=2),
        tiff(values.astype(">u2"), photometric=2),
    ):
        if data.startswith(b"\x89PNG"):  # the header's width was changed, so its checksum has to be
            data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
        picture = read(data)
        assert pixels(picture) == [[[255, 7, 0], [200, 0, 1]]]
        assert picture.notes == ("Of the 16 bits of each channel the upper 8 are used.",)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied_once(read, kind, orientation):
    stored = np.kron(np.array([[0, 80, 120], [160, 200, 250]], np.uint8), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    picture = read(encoded(Image.fromarray(stored).convert("RGB"), kind, exif=exif, **options))
    upright = np.stack([TURNS[orientation](stored)] * 3, axis=-1)
    assert picture.image.size == upright.shape[1::-1]
    assert np.abs(np.asarray(picture.image).astype(int) - upright).max() <= (2 if kind == "JPEG" else 0)
    assert picture.notes == ()


def test_deep_grey_is_turned_upright_too(read):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.array([[0, 51], [102, 255]], np.uint16))
    assert pixels(read(encoded(stored, "PNG", exif=exif))) == [[102, 0], [255, 51]]


TRANSPARENT = [
    (Image.new("RGBA", (1, 1), (200, 100, 50, 128)), "PNG", {}, [[[100, 50, 25]]]),
    (Image.new("RGBA", (1, 1), (200, 100, 50, 0)), "PNG", {}, [[[0, 0, 0]]]),
    (Image.new("RGBA", (1, 1), (200, 100, 50, 128)), "TIFF", {}, [[[100, 50, 25]]]),
    (Image.new("RGBA", (1, 1), (200, 100, 50, 128)), "WEBP", {"lossless": True}, [[[100, 50, 25]]]),
    (Image.new("LA", (1, 1), (200, 128)), "PNG", {}, [[100]]),
    (Image.new("L", (1, 1), 77), "PNG", {"transparency": 77}, [[0]]),
    (Image.new("RGB", (1, 1), (9, 8, 7)), "PNG", {"transparency": (9, 8, 7)}, [[[0, 0, 0]]]),
]


@pytest.mark.parametrize(("image", "kind", "options", "expected"), TRANSPARENT)
def test_transparency_is_laid_on_black(read, image, kind, options, expected):
    picture = read(encoded(image, kind, **options))
    assert pixels(picture) == expected
    assert picture.notes == ("Its transparent parts are laid on black.",)


def test_an_opaque_alpha_channel_changes_nothing_and_is_not_mentioned(read):
    picture = read(encoded(Image.new("RGBA", (2, 1), (200, 100, 50, 255)), "PNG"))
    assert pixels(picture) == [[[200, 100, 50]] * 2]
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("clear", [None, 1])
def test_palette_colours_are_looked_up(read, kind, clear):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 250, 240, 230, 0, 128, 255])
    picture = read(encoded(image, kind, **({} if clear is None else {"transparency": clear})))
    middle = [250, 240, 230] if clear is None else [0, 0, 0]
    assert pixels(picture) == [[[10, 20, 30], middle, [0, 128, 255]]]


def test_a_palette_may_be_half_transparent(read):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([200, 100, 50, 200, 100, 50])
    assert pixels(read(encoded(image, "PNG", transparency=b"\x80\xff"))) == [[[100, 50, 25], [200, 100, 50]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_is_black_and_white(read, kind):
    picture = read(encoded(Image.fromarray(np.array([[0, 255, 255, 0]], np.uint8)).convert("1"), kind))
    assert np.asarray(picture.image.convert("L")).tolist() == [[0, 255, 255, 0]]


INKS = {"red": (0, 255, 255, 0), "green": (255, 0, 255, 0), "white": (0, 0, 0, 0), "black": (0, 0, 0, 255)}
LIGHTS = {"red": (255, 0, 0), "green": (0, 255, 0), "white": (255, 255, 255), "black": (0, 0, 0)}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("colour", INKS)
def test_cmyk_has_the_right_colour(read, kind, colour):
    data = encoded(Image.new("CMYK", (16, 16), INKS[colour]), kind)
    assert kind == "TIFF" or b"Adobe" in data  # Adobe's JPEGs hold the inks inverted
    assert np.abs(np.asarray(read(data).image).astype(int) - LIGHTS[colour]).max() <= 2


def test_a_cmyk_jpeg_looks_the_same_to_another_decoder(read):
    smooth = cv2.resize(np.random.default_rng(5).integers(0, 256, (4, 4, 4), np.uint8), (64, 64))
    data = encoded(Image.fromarray(smooth, "CMYK"), "JPEG", quality=95)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(np.asarray(read(data).image).astype(int) - other).max() <= 4


def test_lab_has_the_right_colour(read):
    lab = np.array([[[136, 80, 67], [255, 0, 0], [0, 0, 0]]], np.uint8)  # red, white, black by CIE 1976, rounded
    seen = np.asarray(read(tiff(lab, photometric=8)).image).astype(int)
    assert np.abs(seen - [[[255, 0, 0], [255, 255, 255], [0, 0, 0]]]).max() <= 12


def test_jpeg_keeps_grey_grey(read):
    assert pixels(read(encoded(Image.new("L", (8, 8), 90), "JPEG"))) == [[90] * 8] * 8


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_used(read, kind):
    frames = [Image.new("RGB", (6, 4), colour) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert pixels(picture) == [[[255, 0, 0]] * 6] * 4
    assert picture.notes == ("Only the first of 3 frames is used.",)


def test_frames_of_a_long_file_are_not_counted(read, monkeypatch):
    monkeypatch.setattr(rasters, "_COUNTED_BYTES", 10)
    frames = [Image.new("L", (6, 4), value) for value in (1, 99)]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert read(data).notes == ("Only the first of several frames is used.",)


def test_damaged_later_frames_do_not_spoil_the_first(read):
    frames = [Image.new("L", (9, 9), value) for value in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    second = data.rindex(b"\x2c")  # where the second frame's place and size begin
    picture = read(data[: second + 5])
    assert pixels(picture) == [[[10] * 3] * 9] * 9
    assert picture.notes == ("Only the first frame is used; those after it are damaged.",)


def commented(data: bytes, *comments: bytes) -> bytes:
    """A GIF with comments before its first frame, each stored in blocks of 255 bytes at most."""
    first = 13 + 3 * 2 ** ((data[10] & 7) + 1)  # after the palette
    stored = []
    for comment in comments:
        blocks = [comment[at : at + 255] for at in range(0, len(comment), 255)]
        stored.append(b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0")
    return data[:first] + b"".join(stored) + data[first:]


def test_comments_of_a_gif_are_passed_over(read):
    frames = [Image.new("L", (9, 9), value) for value in (10, 200)]
    plain = encoded(frames[0], "GIF")
    data = commented(plain, b"name of a patient " * 5000, b"", b"!\xfe again")
    assert rasters._open("GIF", data).info.get("comment", b"") == b"\n\n"
    assert pixels(read(data)) == pixels(read(plain))
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=3, duration=40)
    picture = read(commented(animated, b"said"))
    assert pixels(picture) == pixels(read(plain)) and picture.notes == ("Only the first of 2 frames is used.",)


def test_a_gif_of_many_comments_is_refused(read):
    few, many = (commented(encoded(Image.new("L", (3, 3)), "GIF"), *[b"x"] * count) for count in (1000, 1001))
    with pytest.raises(BadInput, match="damaged"):
        read(many)
    assert rasters._open("GIF", few).size == (3, 3)


def test_nothing_of_the_file_travels_on_with_the_picture(read):
    exif = Image.Exif()
    exif[0x010E] = "name of a patient"
    picture = read(encoded(Image.new("RGB", (4, 4)), "PNG", exif=exif, icc_profile=b"profile"))
    assert type(picture.image) is Image.Image
    assert picture.image.info == {}
    assert b"patient" not in encoded(picture.image, "PNG")


def test_pillows_own_pixel_bound_neither_matters_nor_moves(read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "JPEG2000"):
        assert read(encoded(Image.new("L", (20, 10), 9), kind)).image.size == (20, 10)
    assert Image.MAX_IMAGE_PIXELS == 5


def test_the_remedy_names_every_format(read):
    with pytest.raises(BadInput) as refusal:
        read(b"hello")
    assert all(kind in refusal.value.remedy for kind in reading.FORMATS)
