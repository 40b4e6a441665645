"""Where a DICOMweb archive answers and what is asked of it, as a person writes it: `dicomweb:URL` and `key=value`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from retrieval.datasets.collections.person_tags import keyword_of, names_a_person
from retrieval.errors import BadInput

SCHEME = "dicomweb:"

MAX_URL = 1000  # characters
MAX_VALUE = 200
MAX_KEYS = 20

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_SHAPE = "Write it as dicomweb:https://HOST/PATH, for instance dicomweb:https://pacs.example.org/dicom-web."


@dataclass(frozen=True)
class Address:
    """An archive, and which of its pictures are meant.

    Attributes:
        url: Where it answers, without a slash at the end; never with a login.
        query: Keywords of DICOM attributes, each with what it must match, in sorted order.
    """

    url: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def host(self) -> str:
        """For a sentence: the host, and the port where one is named."""
        return urlsplit(self.url).netloc


def is_address(text: str) -> bool:
    """Whether a text names an archive and no file or folder."""
    return text.lower().startswith(SCHEME)


def is_uid(text: object) -> bool:
    """Whether a text is a DICOM UID, so that it can be part of a path and of an address (PS3.5, 9.1)."""
    return isinstance(text, str) and len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def parse_address(text: str, query: Sequence[str] = ()) -> Address:
    """An archive from `dicomweb:URL`, and from `key=value` what its pictures must match.

    Keys are keywords or numbers of attributes in DICOM's dictionary, joined by dots inside sequences; values as QIDO-RS
    takes them, such as `20200101-` for dates from that day on.

    Raises:
        BadInput: The URL is none, or holds a login; a key is unknown, given twice or names a person; a value is empty.
    """
    url = text[len(SCHEME) :]
    _check_url(url)
    if len(query) > MAX_KEYS:
        raise BadInput(f"More than {MAX_KEYS} keys are asked for.", remedy="Leave some of them out.")
    pairs = [_pair(each) for each in query]
    if len({key for key, _ in pairs}) < len(pairs):
        raise BadInput("A key is asked for twice.", remedy="Give each key once.")
    return Address(url.rstrip("/"), tuple(sorted(pairs)))


def parse_picture(text: str) -> tuple[Address, str]:
    """An archive and the SOPInstanceUID of one of its pictures, from `dicomweb:URL#UID`; BadInput for others."""
    place, _, uid = text.partition("#")
    if not is_uid(uid):
        raise BadInput(
            "After an archive's address there is no UID of a picture.",
            remedy="Write dicomweb:URL#UID with the SOPInstanceUID of the picture, digits and dots.",
        )
    return parse_address(place), uid


def _check_url(url: str) -> None:
    """BadInput for an address that is none. The message does not repeat it: it may hold a login."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise BadInput("The address of the archive is no URL.", remedy=_SHAPE) from None
    if "@" in parts.netloc:
        raise BadInput(
            "The address of the archive holds a login, which would be kept with the collection.",
            remedy="Leave it out, and set RETRIEVAL_DICOMWEB_USER and RETRIEVAL_DICOMWEB_PASSWORD, or "
            "RETRIEVAL_DICOMWEB_TOKEN.",
        )
    if not sound or len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise BadInput("The address of the archive is no URL of http or https.", remedy=_SHAPE)
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise BadInput(
            "The address of the archive ends in a question or a mark (? or #).",
            remedy="Name what the pictures must match with --query KEY=VALUE.",
        )


def _pair(text: str) -> tuple[str, str]:
    key, _, value = (part.strip() for part in text.partition("="))
    keyword = ".".join(keyword_of(part) for part in key.split("."))
    if any(names_a_person(part) for part in keyword.split(".")):
        raise BadInput(
            f"{keyword} tells of a person, and what is asked for is kept with the collection.",
            remedy="Ask by something else, for instance by StudyInstanceUID.",
        )
    if not value or len(value) > MAX_VALUE or not value.isprintable():
        raise BadInput(
            f"What {keyword} must match is empty, too long or no text.",
            remedy=f"Write it as --query {keyword}=VALUE, with at most {MAX_VALUE} characters.",
        )
    return keyword, value
