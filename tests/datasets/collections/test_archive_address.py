"""Addresses of archives and what is asked of them."""

import pytest

from retrieval.datasets.collections.archive_address import Address, is_address, is_uid, parse_address, parse_picture
from retrieval.errors import BadInput, RetrievalError, UnknownName


def test_an_address_and_its_query():
    address = parse_address("dicomweb:https://pacs.example.org:8443/dicom-web/", ["StudyDate=20200101-", "00080060=CR"])
    assert address == Address(
        "https://pacs.example.org:8443/dicom-web", (("Modality", "CR"), ("StudyDate", "20200101-"))
    )
    assert address.host == "pacs.example.org:8443"
    assert is_address("DICOMweb:http://x")
    assert not is_address("dicomweb/folder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dicomweb:", "no URL"),
        ("dicomweb:pacs.example.org", "no URL"),
        ("dicomweb:ftp://pacs.example.org", "no URL"),
        ("dicomweb:file:///etc/passwd", "no URL"),
        ("dicomweb:http://[::1", "no URL"),
        ("dicomweb:http://pacs:0/x", "no URL"),
        ("dicomweb:http://pacs:port/x", "no URL"),
        ("dicomweb:http://pacs/a b", "no URL"),
        ("dicomweb:http://pacs/" + "a" * 1000, "no URL"),
        ("dicomweb:https://reader:secret-word@pacs.example.org/rs", "holds a login"),
        ("dicomweb:https://secret-word@pacs.example.org/rs", "holds a login"),
        ("dicomweb:https://pacs.example.org/rs?token=secret-word", "a question or a mark"),
        ("dicomweb:https://pacs.example.org/rs#1.2.3", "a question or a mark"),
    ],
)
def test_what_is_no_address_is_said_without_repeating_it(text: str, message: str):
    with pytest.raises(BadInput, match=message) as refusal:
        parse_address(text)
    assert "secret-word" not in str(refusal.value)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("Modalty=CR", "no attribute in DICOM's dictionary named 'Modalty'"),
        ("limit=5", "no attribute"),
        ("00090001=x", "no attribute"),
        ("=x", "no attribute"),
        ("Modality", "empty"),
        ("Modality=", "empty"),
        ("Modality=" + "C" * 201, "too long"),
        ("Modality=\x07", "no text"),
        ("PatientName=Doe*", "tells of a person"),
        ("00100020=4711", "PatientID tells of a person"),
        ("AccessionNumber=1", "tells of a person"),
        ("RequestAttributesSequence.RequestedProcedureID=1", "tells of a person"),
    ],
)
def test_a_key_is_checked(pair: str, message: str):
    with pytest.raises(RetrievalError, match=message):
        parse_address("dicomweb:http://pacs", [pair])


def test_a_misspelt_key_is_answered_with_the_nearest():
    with pytest.raises(UnknownName) as refusal:
        parse_address("dicomweb:http://pacs", ["BodyPartExamind=CHEST"])
    assert "Did you mean 'BodyPartExamined'?" in refusal.value.remedy


def test_a_key_is_asked_for_once():
    with pytest.raises(BadInput, match="twice"):
        parse_address("dicomweb:http://pacs", ["Modality=CR", "00080060=DX"])


def test_a_picture_by_its_uid():
    assert parse_picture("dicomweb:http://pacs/rs#1.2.3") == (Address("http://pacs/rs"), "1.2.3")
    for text in ("dicomweb:http://pacs/rs", "dicomweb:http://pacs/rs#", "dicomweb:http://pacs/rs#a/../b"):
        with pytest.raises(BadInput, match="there is no UID"):
            parse_picture(text)


def test_uids():
    assert is_uid("1.2.840.10008.1.1")
    for text in ("", ".1", "1.", "1..2", "1.2\n", "1/2", "1" * 65, None, 12):
        assert not is_uid(text)
