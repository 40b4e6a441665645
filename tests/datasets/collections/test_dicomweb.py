"""Asking an archive that misbehaves: a small server on this machine that answers as it is told."""

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from orthanc import dicom_file, patient
from own_pictures import write_classes

from retrieval.datasets.collections import adding, archived, dicomweb, records
from retrieval.datasets.collections.archive_address import Address, parse_address
from retrieval.datasets.collections.dicomweb import Archive, Instance, Withheld, file_in
from retrieval.errors import BadInput, Unavailable
from retrieval.roots import Login, Roots

ONE = Instance("1.2.1", "1.2.2", "1.2.3")
MULTIPART = 'multipart/related; type="application/dicom"; boundary="mark"'
LOGIN = Login("Bearer word-of-entry")


def listed(*uids: str) -> list[dict]:
    """Objects as QIDO-RS lists them, with a name that nobody asked for."""
    return [
        {
            "0020000D": {"vr": "UI", "Value": ["1.2.1"]},
            "0020000E": {"vr": "UI", "Value": ["1.2.2"]},
            "00080018": {"vr": "UI", "Value": [uid]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Secret^Name"}]},
        }
        for uid in uids
    ]


def packed(data: bytes, *, end: bytes = b"\r\n--mark--\r\n") -> bytes:
    return b"--mark\r\nContent-Type: application/dicom\r\n\r\n" + data + end


@dataclass
class Script:
    """What the server answers, in turn (the last one again and again), and what it was asked."""

    answers: list[tuple[int, str, bytes]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    elsewhere: str = ""


class _Handler(BaseHTTPRequestHandler):
    script: Script

    def do_GET(self) -> None:
        script = self.script
        script.asked.append((self.path, dict(self.headers)))
        if script.elsewhere and not self.path.startswith("/there/"):
            self.send_response(307)
            self.send_header("Location", f"{script.elsewhere}{self.path}")
            self.end_headers()
            return
        status, kind, body = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Script, Address]]]:
    servers = []

    def serving(*answers: tuple[int, str, bytes], elsewhere: str = "") -> tuple[Script, Address]:
        script = Script(list(answers), elsewhere=elsewhere)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"script": script}))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return script, parse_address(f"dicomweb:http://127.0.0.1:{server.server_port}/rs")

    yield serving
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(document: object) -> tuple[int, str, bytes]:
    return 200, "application/dicom+json", json.dumps(document).encode()


def test_pages_are_asked_for_until_nothing_new_comes(serve: Callable):
    script, address = serve(as_json(listed("1.3", "1.1")), as_json(listed("1.2")), (204, "", b""))
    with Archive(address, None) as archive:
        assert [each.sop for each in archive.instances()] == ["1.1", "1.2", "1.3"]
    offsets = [httpx.URL(path).params["offset"] for path, _ in script.asked]
    assert offsets == ["0", "2", "3"]


def test_a_server_that_knows_no_offset_is_asked_twice(serve: Callable):
    script, address = serve(as_json(listed("1.1", "1.2")))
    with Archive(address, None) as archive:
        assert len(archive.instances()) == 2
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((400, "", b""), "does not understand what is asked"),
        ((401, "", b""), "answered 401: it does not let in"),
        ((404, "", b""), "answered 404 where pictures are to be listed"),
        ((503, "", b""), "cannot be asked: it answered 503"),
        ((200, "text/html", b"<html>Secret^Name"), "does not answer with a list of pictures"),
        (as_json({"Secret": "Name"}), "does not answer with a list of pictures"),
        (as_json(["Secret^Name"]), "does not answer with a list of pictures"),
        (as_json(listed("../../../etc/passwd")), "does not answer with a list of pictures"),
        (as_json(listed("1." + "2" * 64)), "does not answer with a list of pictures"),
        (as_json([]), "has no pictures that match"),
        ((204, "", b""), "has no pictures that match"),
    ],
    ids=str,
)
def test_every_refusal_is_a_sentence_that_quotes_nothing(serve: Callable, answer: tuple, message: str):
    _, address = serve(answer)
    with Archive(address, LOGIN, waits=()) as archive, pytest.raises((BadInput, Unavailable), match=message) as refusal:
        archive.instances()
    said = str(refusal.value)
    assert "Secret" not in said
    assert "word-of-entry" not in said
    assert refusal.value.remedy


def test_what_may_be_better_in_a_moment_is_tried_again(serve: Callable):
    script, address = serve((503, "", b""), (200, MULTIPART, packed(b"file")))
    with Archive(address, None, waits=(0.01,)) as archive:
        assert archive.fetch(ONE) == b"file"
    assert len(script.asked) == 2


def test_one_object_that_is_not_given_is_withheld(serve: Callable):
    _, address = serve((404, "", b""))
    with Archive(address, None, waits=()) as archive:
        assert archive.fetch(ONE) == Withheld("The archive does not give it: it answered 404.")


def test_a_server_that_knows_no_stored_syntax_is_asked_without(serve: Callable):
    script, address = serve((406, "", b""), (200, MULTIPART, packed(b"file")))
    with Archive(address, None) as archive:
        assert archive.fetch(ONE) == b"file"
    accepted = [headers["Accept"] for _, headers in script.asked]
    assert "transfer-syntax=*" in accepted[0]
    assert "transfer-syntax" not in accepted[1]


def test_no_connection_is_a_sentence():
    address = parse_address("dicomweb:http://127.0.0.1:9/rs")  # the port of discard, where nobody listens
    with Archive(address, LOGIN, waits=()) as archive, pytest.raises(Unavailable, match="there is no connection to it"):
        archive.instances()


def test_a_file_is_bounded_while_it_comes(serve: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dicomweb, "MAX_BYTES", 1000)
    monkeypatch.setattr(dicomweb, "_ENVELOPE", 100)
    _, address = serve((200, MULTIPART, packed(b"x" * 1001)))
    with Archive(address, None) as archive, pytest.raises(BadInput, match="too large"):
        archive.fetch(ONE)
    _, endless = serve((200, MULTIPART, packed(b"x" * 10_000_000)))
    with Archive(endless, None) as archive, pytest.raises(BadInput, match="too large"):
        archive.fetch(ONE)


def test_a_login_goes_to_the_host_it_is_for_and_to_no_other(serve: Callable):
    there, other = serve((200, MULTIPART, packed(b"file")))
    here, address = serve((500, "", b""), elsewhere=f"http://localhost:{httpx.URL(other.url).port}/there")
    with Archive(address, LOGIN) as archive:
        assert archive.fetch(ONE) == b"file"
    assert here.asked[0][1]["Authorization"] == LOGIN.header
    assert "Authorization" not in there.asked[0][1]


def test_a_circle_of_redirects_ends(serve: Callable):
    script, address = serve((500, "", b""))
    script.elsewhere = address.url.removesuffix("/rs")
    with Archive(address, None, waits=()) as archive, pytest.raises(Unavailable, match="in circles"):
        archive.instances()


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (packed(b"file", end=b""), MULTIPART, "cut short"),
        (b"", MULTIPART, "cut short"),
        (b"--mark\r\nno end of the head", MULTIPART, "cut short"),
        (b"<html>", "text/html", "something else than a DICOM file"),
        (packed(b"file"), "multipart/related", "something else than a DICOM file"),
    ],
)
def test_what_is_no_file_is_said(body: bytes, kind: str, message: str):
    found = file_in(body, kind)
    assert isinstance(found, Withheld) and message in found.reason


def test_files_come_in_parts_or_plain():
    data = bytes(range(256)) + b"\r\n--mar"
    assert file_in(packed(data), MULTIPART) == data
    assert file_in(b"preamble\r\n" + packed(data), MULTIPART.replace('"mark"', "mark")) == data
    assert file_in(data, "application/dicom") == data


COUNT = 9
NOISE = np.random.default_rng(0).integers(0, 255, (COUNT, 20, 20), np.uint8)


def pictures() -> dict[str, bytes]:
    """Files of one patient each, by their UIDs, in the order in which they are fetched."""
    return dict(sorted(dicom_file(pixels, patient(number), number=number) for number, pixels in enumerate(NOISE)))


BAD_HOUR = {
    "a page": (200, "text/html", b"<html>Down for maintenance"),
    "a page for a file": (200, "application/dicom", b"<html>Down for maintenance"),
    "half a file": (200, MULTIPART, packed(b"file", end=b"")),
    "another object": (200, MULTIPART, packed(dicom_file(NOISE[0], patient(99), number=99)[1])),
}


@pytest.mark.parametrize("answer", list(BAD_HOUR.values()), ids=list(BAD_HOUR))
def test_what_an_archive_sends_in_a_bad_hour_is_asked_for_again(serve: Callable, answer: tuple, empty_roots: Roots):
    files = pictures()
    whole = as_json(listed(*files))
    script, address = serve(whole, (204, "", b""), answer)
    with pytest.raises(Unavailable, match="did not give 5 pictures one after the other"):
        adding.add_archive("mine", address, empty_roots)
    good = [(200, MULTIPART, packed(data)) for data in files.values()]
    script.answers[:] = [whole, (204, "", b""), *good[:3], answer, *good[4:]]
    made = adding.add_archive("mine", address, empty_roots)
    assert len(made.files) == COUNT - 1 and len(made.left_out) == 1
    script.answers[:] = [whole, (204, "", b""), good[3]]
    changes = adding.update("mine", empty_roots)
    assert len(changes.new) == 1 and len(changes.collection.files) == COUNT
    assert changes.collection.left_out == ()


def test_what_was_begun_with_an_archive_is_no_folder_in_the_meantime(
    serve: Callable, tmp_path: Path, empty_roots: Roots
):
    files = pictures()
    write_classes(tmp_path / "pictures", {"dark": 6})
    script, address = serve(as_json(listed(*files)), (204, "", b""), (503, "", b""))
    archived.begin(records.folder_of("mine", empty_roots), address, None)
    with pytest.raises(BadInput, match="from an archive was begun, and is not finished") as refusal:
        adding.add("mine", tmp_path / "pictures", empty_roots)
    assert "collection remove mine" in refusal.value.remedy
    records.remove("mine", empty_roots)
    made = adding.add("mine", tmp_path / "pictures", empty_roots)
    archived.begin(records.folder_of("mine", empty_roots), address, None)
    assert adding.update("mine", empty_roots).collection == made
    assert script.asked == []


def test_an_archive_that_is_not_known_any_more_is_never_taken_for_a_folder(serve: Callable, empty_roots: Roots):
    files = pictures()
    good = [(200, MULTIPART, packed(data)) for data in files.values()]
    _, address = serve(as_json(listed(*files)), (204, "", b""), *good)
    made = adding.add_archive("mine", address, empty_roots)
    assert len(made.files) == COUNT
    kept = [path for path in records.folder_of("mine", empty_roots).rglob("*") if path.is_file()]
    assert len(kept) == COUNT + 3
    assert os.name == "nt" or {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    (records.folder_of("mine", empty_roots) / archived.RECORD).unlink()
    with pytest.raises(Unavailable, match="recorded of the archive of the collection mine is gone"):
        adding.update("mine", empty_roots)
