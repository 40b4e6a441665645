"""What tells of a person is known as such; of a file only a label and a keyed group are taken."""

import io

import numpy as np
import pytest
from orthanc import dicom_file, patient
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from retrieval.datasets.collections import person_tags
from retrieval.datasets.collections.person_tags import keyword_of, label_keyword, names_a_person, told
from retrieval.errors import BadInput, UnknownName
from retrieval.pictures import dicom_header

KEY = "ab" * 32


def changed(**values: object) -> bytes:
    _, data = dicom_file(np.zeros((4, 4), np.uint8), patient(1), number=1)
    header = dcmread(io.BytesIO(data))
    for name, value in values.items():
        setattr(header, name, value)
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "keyword",
    [
        *("PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "PatientAddress", "PatientComments"),
        *("ReferringPhysicianName", "OperatorsName", "AccessionNumber", "StudyID", "ResponsiblePerson"),
    ],
)
def test_names_and_numbers_tell_of_a_person(keyword: str):
    assert names_a_person(keyword)
    with pytest.raises(BadInput, match="tells of a person"):
        label_keyword(keyword)


@pytest.mark.parametrize("keyword", ["StudyDate", "SeriesDescription", "ImageComments", "StudyInstanceUID", "Rows"])
def test_dates_numbers_and_free_text_are_no_labels(keyword: str):
    with pytest.raises(BadInput, match="no code from a list"):
        label_keyword(keyword)


def test_codes_are_labels():
    for keyword in ("BodyPartExamined", "Modality", "ViewPosition", "PatientSex", "Laterality", "Manufacturer"):
        assert label_keyword(keyword) == keyword
    assert label_keyword("00180015") == "BodyPartExamined"
    with pytest.raises(UnknownName, match="no attribute in DICOM's dictionary named 'BodyPart'"):
        keyword_of("BodyPart")
    with pytest.raises(UnknownName) as caught:
        label_keyword("Nonsense")
    assert caught.value.remedy == "Valid: BodyPartExamined, Modality, ViewPosition."
    assert all(label_keyword(keyword) for keyword in caught.value.remedy.strip(".").split(" ", 1)[1].split(", "))


def test_a_group_is_keyed():
    one = told(changed(), key=KEY, label_tag=None)
    assert one.group is not None
    assert told(changed(PatientName="Another^Name"), key=KEY, label_tag=None).group == one.group
    assert told(changed(PatientID="other"), key=KEY, label_tag=None).group != one.group
    assert told(changed(IssuerOfPatientID="elsewhere"), key=KEY, label_tag=None).group != one.group
    assert told(changed(), key="cd" * 32, label_tag=None).group != one.group
    assert told(changed(PatientID=""), key=KEY, label_tag=None).group is None
    assert person_tags.new_key() != person_tags.new_key()


def test_labels_are_codes_in_upper_case():
    def label(tag: str, **values: object) -> str | None:
        return told(changed(**values), key=KEY, label_tag=tag).label

    assert label("BodyPartExamined", BodyPartExamined="chest ") == "CHEST"
    assert label("ImageType", ImageType=["ORIGINAL", "PRIMARY"]) == "ORIGINAL/PRIMARY"
    assert label("BodyPartExamined", BodyPartExamined="") is None
    assert label("ViewPosition") is None
    assert label("Manufacturer", Manufacturer="Maker & Sons") == "Maker & Sons"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_code_that_is_none_is_no_label():
    assert told(changed(BodyPartExamined="Name, Firstname!"), key=KEY, label_tag="BodyPartExamined").label is None


def test_the_tag_of_burned_in_text():
    assert told(changed(BurnedInAnnotation="YES"), key=KEY, label_tag=None).burned_in
    assert not told(changed(BurnedInAnnotation="NO"), key=KEY, label_tag=None).burned_in
    assert not told(changed(), key=KEY, label_tag=None).burned_in


def test_damage_is_said_without_values():
    data = changed(PatientID="PID-secret")
    random = np.random.default_rng(0)
    said = set()
    for _ in range(300):
        damaged = bytearray(data[: random.integers(1, len(data))])
        for place in random.integers(0, len(damaged), 4):
            damaged[place] = random.integers(256)
        try:
            said.add(repr(told(bytes(damaged), key=KEY, label_tag="Modality").group))
        except BadInput as refusal:
            said.add(str(refusal))
    assert not any("secret" in text for text in said)
    assert len(said) > 1


def test_a_deflated_file_that_unpacks_to_too_much_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    _, plain = dicom_file(np.zeros((300, 300), np.uint8), patient(1), number=1)
    header = dcmread(io.BytesIO(plain))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    header.save_as(stream)
    assert told(stream.getvalue(), key=KEY, label_tag=None).group == told(plain, key=KEY, label_tag=None).group
    monkeypatch.setattr(dicom_header, "MAX_VOLUME_BYTES", 10_000)
    monkeypatch.setattr(dicom_header, "_CHUNK", 4096)
    with pytest.raises(BadInput, match="when it is unpacked"):
        told(stream.getvalue(), key=KEY, label_tag=None)
