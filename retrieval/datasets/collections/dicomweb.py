"""Asking an archive by DICOMweb: which pictures it has (QIDO-RS) and the bytes of one (WADO-RS), as in DICOM PS3.18.

httpx and not a DICOMweb library: what comes is bounded while it comes, and every wait has an end. Only UIDs are taken
from what the archive lists. Its answers tell of patients, so none is logged or quoted.
"""

import email.message
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from retrieval.datasets.collections.archive_address import Address, is_uid
from retrieval.datasets.collections.containers import MAX_FILES
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.reading import MAX_BYTES
from retrieval.roots import Login

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(connect=20, read=60, write=20, pool=20)  # seconds; read: between two pieces, not in all
WAITS = (0.5, 2.0)  # seconds before a request is tried again
PAGE = 500  # pictures that are listed at once
MAX_LISTING = 64 * 2**20  # bytes of such a list

# The UIDs of study, series and object, by their tags: how the DICOM JSON model names attributes (PS3.18, F.2.2).
_UIDS = ("0020000D", "0020000E", "00080018")
_LIST = {"Accept": "application/dicom+json"}
# As it is stored; a server that knows no such wish answers 406 and is asked again without.
_FILE = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_PLAIN_FILE = {"Accept": 'multipart/related; type="application/dicom"'}

_FOR_NOW = frozenset({429, 500, 502, 503, 504})
_ENVELOPE = 2**16  # bytes around a file in a multipart answer


@dataclass(frozen=True, order=True)
class Instance:
    """One object of an archive, by its UIDs."""

    study: str
    series: str
    sop: str


@dataclass(frozen=True)
class Withheld:
    """Why an archive does not give one object, a sentence; it may do so another time."""

    reason: str


@dataclass(frozen=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


class Archive:
    """An archive that is asked over one connection after the other; close it, or use it as a context manager.

    Args:
        login: Sent to the host of the address and to no other, wherever that redirects.
        waits: Seconds before each further try.
    """

    def __init__(self, address: Address, login: Login | None, *, waits: Sequence[float] = WAITS) -> None:
        self.address = address
        self._waits = tuple(waits)
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": login.header} if login else {})
        self._client = httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers=headers)

    def instances(self) -> list[Instance]:
        """All objects that match the address's query, sorted by their UIDs.

        Raises:
            BadInput: The archive does not understand the query, has nothing that matches, or too much.
            Unavailable: It cannot be asked, or does not let in, or its list is none.
        """
        found: dict[str, Instance] = {}
        asked = 0
        while True:
            page = self._page({"limit": str(PAGE), "offset": str(asked), **dict(self.address.query)})
            new = {each.sop: each for each in page if each.sop not in found}
            if not new:  # the end; or a server that knows no offset and has given all
                break
            found |= new
            asked += len(page)
            self._check_count(len(found))
        if not found:
            raise BadInput(
                f"{self.address.host} has no pictures that match{_said(self.address)}.",
                remedy="Ask for something else with --query KEY=VALUE.",
            )
        return sorted(found.values())

    def find(self, sop: str) -> Instance:
        """The object of this SOPInstanceUID; BadInput where the archive has none. Raises as `instances`."""
        found = [each for each in self._page({"SOPInstanceUID": sop}) if each.sop == sop]
        if not found:
            raise BadInput(
                f"{self.address.host} has no picture with the UID {sop}.", remedy="Check the SOPInstanceUID."
            )
        return found[0]

    def fetch(self, instance: Instance) -> bytes | Withheld:
        """The DICOM file of one object as it is stored.

        Raises:
            BadInput: What comes is too large.
            Unavailable: The archive cannot be asked, or does not let in.
        """
        path = f"studies/{instance.study}/series/{instance.series}/instances/{instance.sop}"
        most = MAX_BYTES + _ENVELOPE
        answer = self._get(path, headers=_FILE, at_most=most)
        if answer.status == 406:
            answer = self._get(path, headers=_PLAIN_FILE, at_most=most)
        if answer.status != 200:
            return Withheld(f"The archive does not give it: it answered {answer.status}.")
        data = file_in(answer.body, answer.content_type)
        if not isinstance(data, Withheld) and len(data) > MAX_BYTES:
            raise _too_large()
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _page(self, asked: Mapping[str, str]) -> list[Instance]:
        # The UIDs of study and series are asked for by name: a server need not list them beside objects.
        params = [*asked.items(), *(("includefield", tag) for tag in _UIDS[:2])]
        answer = self._get("instances", params=params, headers=_LIST, at_most=MAX_LISTING)
        if answer.status == 204:
            return []
        if answer.status != 200:
            raise self._refusal(answer.status)
        try:
            return [_instance(each) for each in json.loads(answer.body or b"[]")]
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise Unavailable(
                f"{self.address.host} does not answer with a list of pictures in DICOM's JSON.",
                remedy="Check that the address is that of its DICOMweb service (QIDO-RS), such as https://HOST/dicom-web.",
            ) from None

    def _get(
        self, path: str, *, headers: Mapping[str, str], at_most: int, params: Sequence[tuple[str, str]] = ()
    ) -> _Answer:
        """An answer, whatever its status; what may be better in a moment is tried again."""
        for wait in (*self._waits, None):
            try:
                answer = self._once(path, headers, at_most, params)
                if wait is None or answer.status not in _FOR_NOW:
                    return self._let_in(answer)
            except httpx.TransportError as error:
                if wait is None or isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
                    raise self._unavailable(_cause(error)) from None
            except (httpx.HTTPError, httpx.InvalidURL):
                raise self._unavailable("its answer leads in circles or nowhere") from None
            log.info("%s is asked again in %g s.", self.address.host, wait)
            time.sleep(wait)
        raise AssertionError("the last try answers or raises")

    def _once(self, path: str, headers: Mapping[str, str], at_most: int, params: Sequence[tuple[str, str]]) -> _Answer:
        url = f"{self.address.url}/{path}"
        with self._client.stream("GET", url, params=list(params) or None, headers=dict(headers)) as response:
            body = bytearray()
            if response.status_code == 200:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > at_most:
                        raise _too_large()
            return _Answer(response.status_code, response.headers.get("Content-Type", ""), bytes(body))

    def _let_in(self, answer: _Answer) -> _Answer:
        if answer.status in (401, 403, 407):
            raise Unavailable(
                f"{self.address.host} answered {answer.status}: it does not let in.",
                remedy="Set RETRIEVAL_DICOMWEB_USER and RETRIEVAL_DICOMWEB_PASSWORD, or RETRIEVAL_DICOMWEB_TOKEN, "
                "to a login that may read it.",
            )
        return answer

    def _refusal(self, status: int) -> BadInput | Unavailable:
        if status == 400:
            return BadInput(
                f"{self.address.host} does not understand what is asked{_said(self.address)}.",
                remedy="Ask by other keys, or by fewer.",
            )
        if status in _FOR_NOW:
            return self._unavailable(f"it answered {status}")
        return Unavailable(
            f"{self.address.host} answered {status} where pictures are to be listed (QIDO-RS).",
            remedy="Check the path of its DICOMweb service: dicomweb:https://HOST/PATH, often /dicom-web.",
        )

    def _check_count(self, count: int) -> None:
        if count > MAX_FILES:
            raise BadInput(
                f"More than {MAX_FILES:,} pictures match{_said(self.address)}.",
                remedy="Ask for fewer with --query KEY=VALUE, in several collections.",
            )

    def _unavailable(self, cause: str) -> Unavailable:
        return Unavailable(
            f"{self.address.host} cannot be asked: {cause}.",
            remedy="Check the address and the network, and run it again: what has come is kept.",
        )


def file_in(body: bytes, content_type: str) -> bytes | Withheld:
    """The file in a WADO-RS answer: the first part of a multipart one (RFC 2046), or all of a plain one.

    Without one, or with one that is cut short, the answer tells of the archive at this hour, as the page does that says
    that it is down or asks for a login: nothing of the object.
    """
    message = email.message.Message()
    message["Content-Type"] = content_type
    if message.get_content_type() == "application/dicom":
        return body
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        return Withheld("The archive sends something else than a DICOM file.")
    mark = b"--" + boundary.encode("latin-1", "replace")
    begin = body.find(mark)
    head = body.find(b"\r\n\r\n", begin + len(mark))
    end = body.find(b"\r\n" + mark, head + 4)
    if begin < 0 or head < 0 or end < 0:
        return Withheld("The archive sends a file that is cut short.")
    return body[head + 4 : end]


def _instance(listed: Any) -> Instance:
    """The UIDs of one entry; ValueError where one is none, so that it never becomes part of a path."""
    uids = [listed[tag]["Value"][0] for tag in _UIDS]
    if not all(is_uid(uid) for uid in uids):
        raise ValueError("no UIDs")
    return Instance(*uids)


def _said(address: Address) -> str:
    """What was asked for, for the end of a sentence."""
    pairs = ", ".join(f"{key}={value}" for key, value in address.query)
    return f" ({pairs})" if pairs else ""


def _cause(error: httpx.TransportError) -> str:
    """Never in the error's own words, which may repeat headers."""
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "there is no connection to it"
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return "what was to be asked cannot be sent"
    return "the connection broke"


def _too_large() -> BadInput:
    return BadInput("What the archive sends is too large.", remedy="Leave it out by what is asked for.")


def plain_http(address: Address) -> bool:
    """Whether a login would cross a network unencrypted: by http, to another machine."""
    parts = urlsplit(address.url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")
