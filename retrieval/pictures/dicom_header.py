"""The head of a DICOM file: of all that it holds only what drawing needs is ever taken, and nothing names a person."""

import io
import logging
import struct
import warnings
import zlib
from typing import Any

from retrieval.errors import BadInput
from retrieval.pictures.decoded import DAMAGE, MAX_VOLUME_BYTES

PREFIX = b"DICM"
PREFIX_AT = 128

# By keyword. Names, dates, numbers of patients and studies are not among them, so they are not read at all.
_PIXELS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_VALUES = (
    "BurnedInAnnotation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    *(
        f"{kind}{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)
_SPACE = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "PixelAspectRatio",
    "SpacingBetweenSlices",
    "SliceThickness",
    "GridFrameOffsetVector",
    "InstanceNumber",
    "SeriesInstanceUID",  # tells series of one archive apart, and is dropped with the header
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_SYNTAX_TAG = b"\x02\x00\x10\x00UI"
_META_LENGTH_TAG = b"\x02\x00\x00\x00UL\x04\x00"
_META_BYTES = 2**16
_CHUNK = 2**20


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file; those without the prefix by an element of the first groups."""
    if data[PREFIX_AT : PREFIX_AT + 4] == PREFIX:
        return True
    group, element = data[:2], data[2:4]
    if group in (b"\x02\x00", b"\x08\x00") and element[1:] == b"\x00":
        return data[4:6].isalpha() or struct.unpack("<I", data[4:8].ljust(4, b"\0"))[0] <= len(data)
    return group == b"\x00\x08" and element[:1] == b"\x00" and data[4:6].isalpha()


def read_header(data: bytes, *, called: str) -> Any:
    """The pydicom Dataset of a file, of the elements that drawing needs; whatever pydicom raises is left to the caller.

    BadInput where it unpacks to too much, or holds no picture.
    """
    import pydicom

    hush()
    check_deflated(data, called)
    header = pydicom.dcmread(io.BytesIO(data), force=True, specific_tags=[*_PIXELS, *_VALUES, *_SPACE])
    if not any(name in header for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise BadInput(
            f"{called} is a DICOM file without a picture (a report, a plan, a recording or a list of files).",
            remedy="Choose a DICOM file that holds an image.",
        )
    _name_syntax(header)
    return header


def series_of(data: bytes, *, called: str) -> str | None:
    """What the series of a slice is told from others by; None for a file of several frames, or without a picture.

    It is the number of a person's examination: never keep or show it. Whatever pydicom raises is left to the caller.
    """
    import pydicom

    hush()
    check_deflated(data, called)
    tags = ["Rows", "NumberOfFrames", "SeriesInstanceUID"]
    header = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True, specific_tags=tags)
    if "Rows" not in header or int(header.get("NumberOfFrames") or 1) > 1:
        return None
    return str(header.get("SeriesInstanceUID", ""))


def check_deflated(data: bytes, called: str) -> None:
    """BadInput for a deflated file that unpacks to too much: pydicom unpacks it whole, however large it becomes.

    To be asked before each reading of a file that was not looked at so far.
    """
    at = data.find(_SYNTAX_TAG, 0, _META_BYTES)
    if at < 0 or not data[at + 8 :].startswith(_DEFLATED):
        return
    start = data.find(_META_LENGTH_TAG, 0, _META_BYTES)
    if start < 0:
        raise BadInput(f"{called} is packed in a way that is not read here.", remedy="Save it again without packing.")
    begin = start + 12 + struct.unpack("<I", data[start + 8 : start + 12])[0]
    unpacker, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[begin:]
    while rest and not unpacker.eof:
        size += len(unpacker.decompress(rest, _CHUNK))
        rest = unpacker.unconsumed_tail
        if size > 2 * MAX_VOLUME_BYTES:
            raise BadInput(
                f"{called} is larger than {2 * MAX_VOLUME_BYTES >> 20} MB when it is unpacked.",
                remedy="Send a part of it, or a smaller copy.",
            )


def damage() -> tuple[type[Exception], ...]:
    """All that pydicom was seen to raise on damaged files, to be caught."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*DAMAGE, BytesLengthException, InvalidDicomError)


def hush() -> None:
    """Silence what pydicom logs and warns of: it quotes values, and one of them may be a name.

    Asked for before each file, because whoever sets up logging or warnings anew undoes it.
    """
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def _name_syntax(header: Any) -> None:
    """A file without meta information is plain; how its elements were read says which way."""
    from pydicom import uid

    if header.file_meta.get("TransferSyntaxUID") is None:
        implicit, little = header.original_encoding
        plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        header.file_meta.TransferSyntaxUID = plain if little else uid.ExplicitVRBigEndian
