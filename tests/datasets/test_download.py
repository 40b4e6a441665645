"""Downloads from a real server on this machine, one that can be told to misbehave."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from retrieval import artifacts
from retrieval.datasets.download import CUTS, download, plain_size
from retrieval.datasets.specs import DataFile
from retrieval.errors import Busy, Unavailable

BODY = np.random.default_rng(0).bytes(3_000_000)


@dataclass
class Script:
    """What the server does, and what it was asked."""

    body: bytes = BODY
    knows_ranges: bool = True
    says_length: bool = True
    status: int = 200
    cuts: list[int] = field(default_factory=list)  # bytes after which a connection is cut, one a request
    drips: int = 0  # bytes that come a kilobyte at a time, before the rest
    asked: list[str | None] = field(default_factory=list)
    logins: list[tuple[str, str | None]] = field(default_factory=list)  # host and what it was told, one a request


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_GET(self) -> None:
        script = self.script
        script.asked.append(self.headers.get("Range"))
        host, _, port = self.headers["Host"].partition(":")
        script.logins.append((host, self.headers.get("Authorization")))
        if self.path.startswith("/elsewhere/"):
            where = f"http://localhost:{port}{self.path.removeprefix('/elsewhere')}"
            return self._head(302, Location=where)
        if self.path.startswith("/moved/"):
            return self._head(302, Location=self.path.removeprefix("/moved"))
        if script.status != 200:
            return self._head(script.status)
        start = self._start()
        if start >= len(script.body) and start:
            return self._head(416, Content_Range=f"bytes */{len(script.body)}")
        self._send(script.body[start:], start)

    def _start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found and self.script.knows_ranges else 0

    def _send(self, body: bytes, start: int) -> None:
        total = len(self.script.body)
        more = {"Content_Range": f"bytes {start}-{total - 1}/{total}"} if start else {}
        if self.script.says_length:
            more["Content_Length"] = str(len(body))
        self._head(206 if start else 200, **more)
        cut = self.script.cuts.pop(0) if self.script.cuts else len(body)
        with suppress(ConnectionError):  # who asked may have stopped
            for place in range(0, self.script.drips, 1000):
                self.wfile.write(body[place : place + 1000])
                time.sleep(0.02)
            self.wfile.write(body[self.script.drips : cut])
        self.close_connection = True

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def file(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataFile]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    handler = type("Handler", (_Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/set.npz?download=1"
    yield DataFile(name="set.npz", url=url, md5=hashlib.md5(BODY).hexdigest())
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "set.npz"


def part(target: Path) -> Path:
    return target.with_name("set.npz.part")


def test_a_file_arrives_whole_and_says_how_far_it_is(file: DataFile, target: Path):
    seen: list[tuple[int, int | None]] = []
    assert download(file, target, progress=lambda done, total: seen.append((done, total))) == target
    assert target.read_bytes() == BODY
    assert seen[0] == (0, len(BODY)) and seen[-1] == (len(BODY), len(BODY))
    assert len(seen) >= 4 and seen == sorted(seen)
    assert not part(target).exists()


def test_a_file_at_hand_is_not_asked_for_again(file: DataFile, target: Path, script: Script):
    download(file, target)
    download(file, target)
    assert len(script.asked) == 1


def test_a_cut_connection_is_taken_up_where_it_broke(file: DataFile, target: Path, script: Script):
    script.cuts = [1_000_000, 500_000]
    download(file, target)
    assert target.read_bytes() == BODY
    assert script.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_dead_server_leaves_a_part_that_the_next_call_completes(file: DataFile, target: Path, script: Script):
    script.cuts = [1_000_000, 0]
    with pytest.raises(Unavailable, match=r"set\.npz could not be fetched: the connection to 127\.0\.0\.1 broke") as no:
        download(file, target)
    assert "1.0 MB are kept" in no.value.remedy
    assert not target.exists() and part(target).read_bytes() == BODY[:1_000_000]
    download(file, target)
    assert target.read_bytes() == BODY and script.asked[-1] == "bytes=1000000-"


def test_a_call_gives_up_after_so_many_cuts(file: DataFile, target: Path, script: Script):
    script.cuts = [1000] * (CUTS + 3)
    with pytest.raises(Unavailable):
        download(file, target)
    assert len(script.asked) == CUTS + 1


def test_a_server_without_ranges_starts_over(file: DataFile, target: Path, script: Script):
    script.knows_ranges = False
    part(target).parent.mkdir()
    part(target).write_bytes(BODY[:1_000_000])
    download(file, target)
    assert script.asked == ["bytes=1000000-"] and target.read_bytes() == BODY


def test_a_part_that_is_whole_already_is_taken(file: DataFile, target: Path, script: Script):
    part(target).parent.mkdir()
    part(target).write_bytes(BODY)
    download(file, target)
    assert len(script.asked) == 1 and target.read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(file: DataFile, target: Path, script: Script):
    part(target).parent.mkdir()
    part(target).write_bytes(BODY + b"more")
    download(file, target)
    assert script.asked[-1] is None and target.read_bytes() == BODY


@pytest.mark.parametrize("says_length", [True, False])
def test_wrong_bytes_are_refused_and_removed(file: DataFile, target: Path, script: Script, says_length: bool):
    script.body, script.says_length = b"<html>please log in</html>", says_length
    with pytest.raises(Unavailable, match="not the published file") as no:
        download(file, target)
    assert file.url in no.value.remedy
    assert not target.exists() and not part(target).exists()


def test_a_damaged_part_is_removed_so_that_the_next_call_succeeds(file: DataFile, target: Path):
    part(target).parent.mkdir()
    part(target).write_bytes(bytes(1_000_000))
    with pytest.raises(Unavailable, match="not the published file"):
        download(file, target)
    download(file, target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_a_refusal_is_said_with_its_number(file: DataFile, target: Path, script: Script, status: int, words: str):
    script.status = status
    with pytest.raises(Unavailable, match=f"127.0.0.1 answered {words}"):
        download(file, target, at_most=20_000_000)
    assert not target.exists()


def test_redirects_are_followed(file: DataFile, target: Path):
    moved = DataFile(name=file.name, url=file.url.replace("/set.npz", "/moved/set.npz"), md5=file.md5)
    download(moved, target)
    assert target.read_bytes() == BODY


def test_a_login_is_not_sent_to_where_the_file_is_redirected(file: DataFile, target: Path, script: Script):
    elsewhere = DataFile(name=file.name, url=file.url.replace("/set.npz", "/moved/elsewhere/set.npz"), md5=file.md5)
    script.cuts = [1_000_000]
    download(elsewhere, target, headers={"Authorization": "Bearer secret"})
    assert target.read_bytes() == BODY and script.asked[-1] == "bytes=1000000-"
    own, other = ("127.0.0.1", "Bearer secret"), ("localhost", None)
    assert script.logins == [own, own, other] * 2


def test_a_login_that_cannot_be_sent_is_not_repeated(file: DataFile, target: Path):
    with pytest.raises(Unavailable, match=r"what was to be asked of 127\.0\.0\.1 cannot be sent") as no:
        download(file, target, headers={"Authorization": "Bearer sec\0ret"})
    assert "Bearer" not in str(no.value)


def test_a_check_takes_the_place_of_the_md5(file: DataFile, target: Path):
    def check(path: Path) -> None:
        if path.read_bytes() != BODY[::-1]:
            raise Unavailable("It is not reversed.")

    with pytest.raises(Unavailable, match="not reversed"):
        download(file, target, check=check)
    assert not target.exists() and not part(target).exists()
    other = DataFile(name=file.name, url=file.url, md5="0" * 32)
    assert download(other, target, check=lambda path: None).read_bytes() == BODY


def test_a_part_that_can_get_no_longer_is_not_asked_for(file: DataFile, target: Path, script: Script):
    part(target).parent.mkdir()
    part(target).write_bytes(BODY)
    download(file, target, at_most=len(BODY))
    assert script.asked == [] and target.read_bytes() == BODY


def test_no_server_at_all(file: DataFile, target: Path):
    nobody = DataFile(name=file.name, url="http://127.0.0.1:9/set.npz", md5=file.md5)
    with pytest.raises(Unavailable, match="at most 20 MB.*there is no connection to 127.0.0.1"):
        download(nobody, target, at_most=20_000_000)


@pytest.mark.parametrize("says_length", [True, False])
def test_more_than_the_file_can_hold_is_not_stored(file: DataFile, target: Path, script: Script, says_length: bool):
    script.says_length = says_length
    with pytest.raises(Unavailable, match="more than 2.0 MB"):
        download(file, target, at_most=2_000_000)
    assert part(target).stat().st_size == 0


def test_stopping_keeps_the_part(file: DataFile, target: Path, script: Script):
    def stop(done: int, _total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(file, target, progress=stop)
    kept = part(target).stat().st_size
    assert 0 < kept < len(BODY) and not target.exists()
    download(file, target)
    assert script.asked[-1] == f"bytes={kept}-" and target.read_bytes() == BODY


def test_a_slow_download_can_be_stopped_before_a_step_has_come(file: DataFile, target: Path, script: Script):
    script.drips = 400_000  # eight seconds of them

    def stop(done: int, _total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(file, target, progress=stop)
    assert 0 < part(target).stat().st_size <= script.drips


def test_two_at_once(file: DataFile, target: Path):
    with (
        artifacts.lock(target.with_name("set.npz.lock"), what="a test"),
        pytest.raises(Busy, match="download of set.npz"),
    ):
        download(file, target)


def test_a_folder_that_cannot_be_written(file: DataFile, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        download(file, tmp_path / "file" / "set.npz")


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (559_580, "560 kB"), (1_880_591, "1.9 MB"), (9_999_999, "10 MB"),
     (999_600, "1.0 MB"), (13_545_000_000, "14 GB")],
)  # fmt: skip
def test_sizes_in_words(count: int, words: str):
    assert plain_size(count) == words
