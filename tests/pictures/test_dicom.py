"""What a DICOM file says of its values is done: rescale, window, tables, padding, inversion, colour."""

import io

import numpy as np
import pytest
import volume_files as files

from retrieval.errors import BadInput
from retrieval.pictures import dicom_header
from retrieval.pictures.reading import decode, decode_picture, decode_volume

VALUES = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
SIGNED = (VALUES.astype(np.int16) - 1024).astype(np.int16)


def grey(pixels: np.ndarray, **elements) -> np.ndarray:
    return np.asarray(decode_picture(files.dicom_bytes(files.dicom_dataset(pixels, **elements)), name="q").image)


def notes(pixels: np.ndarray, **elements) -> tuple[str, ...]:
    return decode_picture(files.dicom_bytes(files.dicom_dataset(pixels, **elements)), name="q").notes


def by_range(values: np.ndarray) -> np.ndarray:
    values = values.astype(float)
    return np.rint((values - values.min()) * 255 / (values.max() - values.min())).astype(np.uint8)


def refused(data: bytes, decode=decode_picture) -> str:
    with pytest.raises(BadInput) as caught:
        decode(data, name="query.dcm")
    assert caught.value.message.startswith("'query.dcm'") and caught.value.message.endswith(".")
    assert caught.value.remedy.endswith(".")
    assert caught.value.__cause__ is None
    return caught.value.message


def test_without_a_window_values_are_drawn_by_their_own_range():
    assert np.array_equal(grey(VALUES), by_range(VALUES))
    assert np.array_equal(grey(SIGNED), by_range(SIGNED))
    assert notes(SIGNED) == ("Its values from -1024 to 3056 are drawn as 0 to 255.",)


def test_8_bit_values_without_a_window_stay():
    pixels = np.arange(20, 120, dtype=np.uint8).reshape(10, 10)
    assert np.array_equal(grey(pixels), pixels)
    assert notes(pixels) == ()


WINDOW = {"WindowCenter": 40, "WindowWidth": 400}


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (WINDOW, lambda x: ((x - 39.5) / 399 + 0.5) * 255),
        ({**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}, lambda x: (x - 40) / 400 * 255 + 127.5),
        ({**WINDOW, "VOILUTFunction": "SIGMOID"}, lambda x: 255 / (1 + np.exp((40 - x) / 100))),
        ({"WindowCenter": 40, "WindowWidth": 1}, lambda x: np.where(x > 39.5, 255, 0)),
        ({"WindowCenter": [40, 600], "WindowWidth": [400, 1600]}, lambda x: ((x - 39.5) / 399 + 0.5) * 255),
    ],
)
def test_the_first_window_is_applied_after_the_rescale(elements, expected):
    shown = grey(VALUES, RescaleSlope=0.5, RescaleIntercept=-1024, **elements)
    wanted = np.rint(np.clip(expected(VALUES * 0.5 - 1024), 0, 255))
    assert np.abs(shown - wanted).max() <= 1  # where a value lies just between two levels
    assert (shown == wanted).mean() > 0.99


def test_it_is_said_which_window_is_applied():
    assert notes(VALUES, WindowCenter=40, WindowWidth=400) == ("Its window (center 40, width 400) is applied.",)
    several = notes(VALUES, WindowCenter=[40, 600], WindowWidth=[400, 1600])
    assert several == ("The first of its 2 windows is applied: window (center 40, width 400).",)


def test_a_window_without_a_width_is_not_applied():
    assert np.array_equal(grey(VALUES, WindowCenter=40, WindowWidth=0), by_range(VALUES))
    assert "not applied" in notes(VALUES, WindowCenter=40, WindowWidth=0)[0]


def test_monochrome1_is_inverted():
    inverted = grey(VALUES, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096)
    assert np.array_equal(inverted, 255 - grey(VALUES, WindowCenter=2048, WindowWidth=4096))


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_has_no_part_in_the_range(kind):
    pixels = SIGNED.copy()
    pixels[:3] = -2000
    shown = grey(pixels, PixelPaddingValue=-2000, PhotometricInterpretation=kind)
    assert (shown[:3] == 0).all()
    rest = by_range(pixels[3:])
    assert np.array_equal(shown[3:], 255 - rest if kind == "MONOCHROME1" else rest)
    pixels[0] = -1990
    ranged = grey(pixels, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1980, PhotometricInterpretation=kind)
    assert np.array_equal(ranged, shown)


def table(entries: np.ndarray, first: int, bits: int):
    import pydicom

    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return pydicom.Sequence([item])


def test_a_table_of_values_of_interest_is_applied():
    entries = np.arange(4096) ** 2 // 4096  # a curve
    shown = grey(VALUES, VOILUTSequence=table(entries, 0, 12))
    assert np.array_equal(shown, np.rint(entries[VALUES] * 255 / 4095))


def test_values_outside_of_a_table_get_its_ends():
    entries = np.linspace(0, 255, 100).astype(np.uint16)
    shown = grey(VALUES, VOILUTSequence=table(entries, 1000, 8))
    assert np.array_equal(shown, entries[np.clip(VALUES.astype(int) - 1000, 0, 99)])


def test_a_modality_table_gives_the_real_values():
    entries = 4095 - np.arange(4096)
    assert np.array_equal(grey(VALUES, ModalityLUTSequence=table(entries, 0, 12)), by_range(4095 - VALUES))


def coloured(rgb: np.ndarray, kind: str = "RGB", **elements) -> np.ndarray:
    made = files.dicom_dataset(rgb[..., 0])
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, kind, 0
    made.PixelData = rgb.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    return np.asarray(decode_picture(files.dicom_bytes(made), name="q").image)


RGB = np.random.default_rng(3).integers(0, 256, (8, 10, 3), dtype=np.uint8)


def test_colour_stays_colour():
    assert np.array_equal(coloured(RGB), RGB)
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    assert np.array_equal(coloured(RGB, PlanarConfiguration=1, PixelData=planes.tobytes()), RGB)


def test_ybr_becomes_rgb():
    from PIL import Image

    ybr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    assert np.abs(coloured(np.ascontiguousarray(ybr), "YBR_FULL").astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_becomes_its_colours(bits):
    entries = np.random.default_rng(4).integers(0, 256, (3, 300)).astype(np.uint16)
    made = files.dicom_dataset(VALUES)
    made.PhotometricInterpretation = "PALETTE COLOR"
    for name, channel in zip(("Red", "Green", "Blue"), entries, strict=True):
        stored = channel.astype("u1") if bits == 8 else (channel << 8).astype("<u2")
        made.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [300, 100, bits])
        made.add_new(f"{name}PaletteColorLookupTableData", "OW", stored.tobytes())
    shown = np.asarray(decode_picture(files.dicom_bytes(made), name="q").image)
    assert np.array_equal(shown, entries.T[np.clip(VALUES.astype(int) - 100, 0, 299)])


def test_a_palette_in_segments_is_unfolded():
    from retrieval.pictures.dicom_pixels import _segments

    words = np.array([0, 2, 10, 20, 1, 4, 40], "<u2")
    assert _segments(words.tobytes(), 16, True, 6).tolist() == [10, 20, 25, 30, 35, 40]


def frames(volume: np.ndarray, places, **elements) -> bytes:
    import pydicom

    made = files.dicom_dataset(volume, **elements)
    groups = []
    for place in places:
        group, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = list(place)
        group.PlanePositionSequence = pydicom.Sequence([position])
        groups.append(group)
    shared, lies, measures = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    lies.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 2
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = (
        pydicom.Sequence([lies]),
        pydicom.Sequence([measures]),
    )
    made.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    made.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    return files.dicom_bytes(made)


VOLUME = np.random.default_rng(6).integers(0, 256, (5, 7, 9), dtype=np.uint8)


def test_frames_are_put_in_physical_order():
    order = [3, 0, 4, 1, 2]
    data = frames(VOLUME[order], [(0, 0, 2.0 * at) for at in order])
    volume = decode_volume(data, name="q")
    assert np.array_equal(volume.levels, VOLUME)
    assert volume.spacing == (2.0, 0.5, 0.5)


def test_frames_at_one_place_are_a_film_and_no_volume():
    data = frames(VOLUME, [(0, 0, 1)] * 5)
    assert "at the same place" in refused(data, decode_volume)
    assert np.array_equal(np.asarray(decode_picture(data, name="q").image), VOLUME[2])


def test_sagittal_slices_are_turned_to_axial_ones():
    """Slices from right to left, rows from the head down, columns from front to back."""
    axial = np.random.default_rng(7).integers(0, 256, (6, 7, 8), dtype=np.uint8)  # z, y to the back, x to the left
    files_of = {}
    for x in range(8):
        plane = np.ascontiguousarray(axial[::-1, :, x])  # rows from the head down, columns to the back
        made = files.dicom_dataset(
            plane,
            ImagePositionPatient=[x * 1.5, 0, 5 * 2.0],
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            PixelSpacing=[2.0, 1.0],
        )
        files_of[f"{x}"] = files.dicom_bytes(made)
    volume = decode_volume(files.zipped(files_of), name="q")
    assert np.array_equal(volume.levels, axial)
    assert np.allclose(volume.spacing, (2.0, 1.0, 1.5))


def test_slices_have_one_window_that_of_the_middle_one():
    deep = np.random.default_rng(8).integers(0, 4096, (3, 6, 6)).astype(np.uint16)
    each = {}
    for number, plane in enumerate(deep):
        made = files.dicom_dataset(
            plane,
            ImagePositionPatient=[0, 0, number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
            RescaleSlope=number + 1,
            RescaleIntercept=0,
            WindowCenter=[500, 3000, 900][number],
            WindowWidth=6000,
        )
        each[f"{number}"] = files.dicom_bytes(made)
    levels = decode_volume(files.zipped(each), name="q").levels
    real = deep * np.array([1, 2, 3])[:, None, None]
    assert np.array_equal(levels, np.rint(np.clip(((real - 2999.5) / 5999 + 0.5) * 255, 0, 255)))


def test_slices_of_two_series_are_refused():
    each = [files.dicom_dataset(VOLUME[0], SeriesInstanceUID=f"1.2.{number}") for number in range(2)]
    data = files.zipped({f"{at}": files.dicom_bytes(made) for at, made in enumerate(each)})
    assert "2 series" in refused(data)


def test_slices_that_say_nothing_of_their_place_go_by_their_numbers():
    each = [files.dicom_dataset(plane, InstanceNumber=9 - at, PixelSpacing=[1, 1]) for at, plane in enumerate(VOLUME)]
    made = {f"{at}": files.dicom_bytes(one) for at, one in enumerate(each)}
    volume = decode_volume(files.zipped(made), name="q")
    assert np.array_equal(volume.levels, VOLUME[::-1])
    assert "do not say where they lie" in " ".join(volume.notes)
    each[1].InstanceNumber = 9
    made["1"] = files.dicom_bytes(each[1])
    assert "nor in which order" in refused(files.zipped(made))


def test_a_file_without_pixels_is_called_so():
    made = files.dicom_dataset(VALUES)
    del made.PixelData
    assert "without a picture" in refused(files.dicom_bytes(made))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 60_000, "Columns": 60_000}, "100 megapixels"),
        ({"NumberOfFrames": 100_000}, "100,000 slices"),
        ({"Rows": 0}, "no pixels"),
        ({"Rows": 17}, "damaged, cut short"),
        ({"SamplesPerPixel": 4}, "damaged|not read here"),
        ({"PhotometricInterpretation": "HSV"}, "not read here"),
    ],
)
def test_files_that_claim_what_they_are_not(elements, said):
    import re

    assert re.search(said, refused(files.dicom_bytes(files.dicom_dataset(VALUES, **elements))))


def test_a_syntax_that_nothing_here_decodes_is_named():
    made = files.dicom_dataset(VALUES)
    from pydicom.encaps import encapsulate

    made.PixelData = encapsulate([bytes(40)])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    assert "MPEG2" in refused(files.dicom_bytes(made))


def test_a_stream_of_another_size_than_the_header_says_is_refused_undecoded(monkeypatch):
    from PIL import Image
    from pydicom.encaps import encapsulate

    stream = io.BytesIO()
    Image.new("L", (64, 64)).save(stream, "JPEG")
    made = files.dicom_dataset(np.zeros((16, 16), np.uint8))
    made.PixelData = encapsulate([stream.getvalue()])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    assert "not of the size that it says" in refused(files.dicom_bytes(made))


def test_a_deflated_file_is_read_and_a_bomb_is_not(monkeypatch):
    made = files.dicom_dataset(np.zeros((300, 300), np.uint8) + 7)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data = files.dicom_bytes(made)
    assert np.unique(np.asarray(decode_picture(data, name="q").image)).tolist() == [7]
    monkeypatch.setattr(dicom_header, "MAX_VOLUME_BYTES", 10_000)
    monkeypatch.setattr(dicom_header, "_CHUNK", 4096)
    assert "when it is unpacked" in refused(data)


def test_a_file_without_preamble_is_read():
    data = files.dicom_bytes(files.dicom_dataset(VALUES))
    assert np.array_equal(np.asarray(decode(data[132:], name="q").image), by_range(VALUES))


@pytest.mark.parametrize("elements", [{"PixelSpacing": [1.4, 0.7]}, {"PixelAspectRatio": [2, 1]}])
def test_pixels_that_are_not_square_become_so(elements):
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert grey(pixels, **elements).shape == (20, 10)
    assert "not square" in notes(pixels, **elements)[0]


def test_a_constant_picture_is_black_as_it_is_said():
    flat = np.full((4, 4), 700, np.uint16)
    assert grey(flat, PhotometricInterpretation="MONOCHROME1").max() == 0
    assert notes(flat, PhotometricInterpretation="MONOCHROME1") == ("All its values are 700, so it is drawn black.",)
