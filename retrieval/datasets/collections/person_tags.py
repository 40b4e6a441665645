"""Which DICOM attributes tell who a person is, and what is taken from a file instead: a label, and a keyed group.

Names, numbers, dates and free text never leave this module.
"""

import difflib
import hashlib
import io
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from retrieval.errors import BadInput, UnknownName
from retrieval.pictures.dicom_header import check_deflated, damage, hush

# The attributes of a patient (group 0010) that many people share.
_SHARED = frozenset(
    {
        "PatientSex",
        "PatientAge",
        "SmokingStatus",
        "PatientSexNeutered",
        "AnatomicalOrientationType",
        "PatientSpeciesDescription",
        "PatientBreedDescription",
        "SubjectRelativePositionInImage",
    }
)
# Numbers of visits and orders, and what of one machine or exposure is as good as a name, outside of group 0010.
_NUMBERS = frozenset(
    {
        "AccessionNumber",
        "StudyID",
        "AdmissionID",
        "ServiceEpisodeID",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "PerformedProcedureStepID",
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "PatientTransportArrangements",
        "CurrentPatientLocation",
        "PatientInstitutionResidence",
        "DeviceSerialNumber",
    }
)
_PATIENT = 0x0010
_SAFE_TEXTS = frozenset({"Manufacturer", "ManufacturerModelName"})  # besides codes, which are of a fixed list
_LABELS = ("BodyPartExamined", "Modality", "ViewPosition")  # what people mostly take
_CODE = re.compile(r"[A-Z0-9 _./+-]{1,64}")
_TEXT = 64

_ASKED = ("SOPInstanceUID", "PatientID", "IssuerOfPatientID", "BurnedInAnnotation")

KEY_BYTES = 32


@dataclass(frozen=True)
class Told:
    """What is taken from a file's attributes.

    Attributes:
        sop: The UID of the object itself.
        label: Of the label tag; None where it has no such value.
        group: What all pictures of a patient share, without telling who it is; None where no patient is named.
        burned_in: Whether the file says that text is burned into its pixels.
    """

    sop: str
    label: str | None
    group: str | None
    burned_in: bool


@dataclass(frozen=True)
class Tags:
    """How a collection takes groups and labels from the attributes of DICOM files.

    Attributes:
        key: Under which patients become groups, hexadecimal.
        label_tag: The attribute that is the label; None: folders and tables say it.
    """

    key: str = field(repr=False)
    label_tag: str | None = None


def new_key() -> str:
    """A random key for the groups of one collection, as hexadecimal text."""
    return secrets.token_hex(KEY_BYTES)


def keyword_of(text: str, *, such_as: Sequence[str] = ("Modality", "StudyDate")) -> str:
    """The keyword of an attribute, from its keyword or its eight hexadecimal digits.

    Raises:
        UnknownName: It is not in DICOM's dictionary; names the nearest that are, or else `such_as`.
    """
    from pydicom import datadict

    if re.fullmatch(r"[0-9A-Fa-f]{8}", text) and (keyword := datadict.keyword_for_tag(int(text, 16))):
        return keyword
    if re.fullmatch(r"[A-Za-z0-9]{1,80}", text) and datadict.tag_for_keyword(text) is not None:
        return text
    near = difflib.get_close_matches(text[:80], datadict.keyword_dict, n=3, cutoff=0.7)
    raise UnknownName("attribute in DICOM's dictionary", text[:80], near or such_as)


def names_a_person(keyword: str) -> bool:
    """Whether an attribute of DICOM's dictionary tells, or may tell, who a patient or another person is."""
    from pydicom import datadict

    tag = datadict.tag_for_keyword(keyword)
    if tag is None or keyword in _NUMBERS or datadict.dictionary_VR(tag) == "PN":
        return True
    return tag >> 16 == _PATIENT and keyword not in _SHARED


def label_keyword(text: str) -> str:
    """The keyword of an attribute that may be a label: a code string that tells of no person, or a maker's name.

    Raises:
        UnknownName: There is no such attribute.
        BadInput: It tells of a person, or may: names, numbers, dates and free text do.
    """
    from pydicom import datadict

    keyword = keyword_of(text, such_as=_LABELS)
    if names_a_person(keyword):
        raise BadInput(
            f"{keyword} tells of a person and cannot be a label.", remedy="Choose another, such as BodyPartExamined."
        )
    if datadict.dictionary_VR(keyword) != "CS" and keyword not in _SAFE_TEXTS:
        raise BadInput(
            f"{keyword} is no code from a list: a date, a number or free text, in which people write names as well.",
            remedy=f"Choose a code string, such as {', '.join(_LABELS)}.",
        )
    return keyword


def told(data: bytes, *, key: str, label_tag: str | None) -> Told:
    """What of a DICOM file's attributes is taken; see `Told`.

    The group is the BLAKE2b hash (RFC 7693) of the patient's number and its issuer under the collection's key: without
    the key nobody can tell by trying numbers whose it is, and in another collection it is another one. A code string
    is taken in upper case, as DICOM has it.

    Raises:
        BadInput: The attributes cannot be read, or the file unpacks to too much.
    """
    import pydicom

    asked: list[Any] = [*_ASKED, label_tag] if label_tag else [*_ASKED]
    hush()
    try:
        check_deflated(data, "The file")
        header = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True, specific_tags=asked)
        return Told(
            sop=_text(header, "SOPInstanceUID"),
            label=_label(header, label_tag) if label_tag else None,
            group=_group(header, key),
            burned_in=_text(header, "BurnedInAnnotation").upper() == "YES",
        )
    except damage():
        # What was raised may quote a value of the file.
        raise BadInput("The attributes of the file cannot be read.", remedy="Copy or export it again.") from None


def _text(header: Any, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _label(header: Any, keyword: str) -> str | None:
    value = header.get(keyword)
    several = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    parts = [str(part).strip(" \0") for part in several if part is not None]
    text = "/".join(part for part in parts if part)
    if keyword in _SAFE_TEXTS:
        return text[:_TEXT] if text and text.isprintable() else None
    return text.upper() if _CODE.fullmatch(text.upper()) else None


def _group(header: Any, key: str) -> str | None:
    number = _text(header, "PatientID")
    if not number:
        return None
    known = f"{_text(header, 'IssuerOfPatientID')}\0{number}"
    hashed = hashlib.blake2b(known.encode(errors="surrogatepass"), key=bytes.fromhex(key), digest_size=8)
    return f"patient-{hashed.hexdigest()}"
