"""Fetching one official file: resumed where it stopped, checked before it is taken for data."""

import functools
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from retrieval import artifacts
from retrieval.datasets.specs import DataFile
from retrieval.errors import Unavailable

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

TIMEOUT = httpx.Timeout(connect=20, read=60, write=20, pool=20)  # seconds; read: between two pieces, not in all
CUTS = 5  # broken connections that one call survives, as long as each brought something
STEP = 1 << 20  # bytes between two reports of progress
PERIOD = 0.5  # seconds after which less is reported too: whoever stops a slow download does so by a report


def download(
    file: DataFile,
    target: Path,
    *,
    progress: Progress | None = None,
    at_most: int | None = None,
    headers: Mapping[str, str] | None = None,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Fetch a file to `target` and check it; what an earlier call fetched of it is not fetched again.

    Where the publisher gives no MD5 and there is no `check`, the caller has to check what has come.

    Args:
        progress: Called with the bytes at hand and, where the server says so, the bytes in all.
        at_most: Bytes that the file cannot exceed; when they have come, no more is asked for.
        headers: Sent along; `Authorization` only to the host of the file's address, not to where that redirects.
        check: Gets the path of what has come and raises where it is wrong, in place of the MD5; it is removed then.

    Raises:
        Unavailable: It cannot be fetched, does not fit on the disk, or is not the file that its publisher describes.
        Busy: Another process is fetching it.
    """
    transfer = _Transfer(file, target.parent, progress or _silent, at_most, headers or {})
    try:
        with artifacts.lock(target.with_name(f"{target.name}.lock"), what=f"the download of {file.name}"):
            if not (target.is_file() and _is_published(target, file)):
                artifacts.resume_atomic(target, transfer.run, check=check or functools.partial(_check, file=file))
    except OSError as error:
        raise Unavailable(
            f"{file.name} cannot be written to {target.parent}: {error.strerror or error}.",
            remedy="Make room or allow writing there, or point RETRIEVAL_CACHE to another folder.",
        ) from error
    return target


def plain_size(count: int) -> str:
    """A number of bytes as people say it, to two figures: `560 kB`, `13 GB`."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "bytes" else f"{value:.0f} {unit}"


def _silent(_done: int, _total: int | None) -> None:
    """Progress that nobody asked for."""


def _is_published(path: Path, file: DataFile) -> bool:
    return not file.md5 or artifacts.file_digest(path, "md5") == file.md5


def _check(path: Path, *, file: DataFile) -> None:
    if not _is_published(path, file):
        found = artifacts.file_digest(path, "md5")
        raise Unavailable(
            f"What came for {file.name} is not the published file (MD5 {found} instead of {file.md5}); it was removed.",
            remedy="Try again; if it happens again, fetch the file with a browser from " + file.url,
        )


@dataclass(frozen=True)
class _Transfer:
    """One call's way of filling the stream of a partial file."""

    file: DataFile
    folder: Path
    report: Progress
    at_most: int | None
    headers: Mapping[str, str] = field(repr=False)  # a login may be among them

    def run(self, stream: IO[bytes]) -> None:
        """Receive until all is there; a cut connection is taken up again while it brings something."""
        if stream.tell() == self.at_most:
            return
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
            for cut in range(CUTS + 1):
                before = stream.tell()
                try:
                    return self._receive(client, stream)
                except httpx.TransportError as error:
                    if cut == CUTS or stream.tell() <= before:
                        raise self._unavailable(stream, _cause(error, self.file)) from error
                    log.info("%s: %s; going on at byte %d.", self.file.name, error, stream.tell())
                except httpx.HTTPError as error:
                    raise self._unavailable(stream, _cause(error, self.file)) from error

    def _receive(self, client: httpx.Client, stream: IO[bytes]) -> None:
        """Ask for what is missing and write it; start over where the server does not give just that."""
        offset = stream.tell()
        asked = {**self.headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        with client.stream("GET", self.file.url, headers=asked) as response:
            answer = response.headers.get("Content-Range", "")
            if response.status_code == 416 and answer == f"bytes */{offset}":
                return  # all of it is there already
            if response.status_code == 416 or (response.status_code == 206 and not _starts_at(answer, offset)):
                _start_over(stream)
            else:
                response.raise_for_status()
                if response.status_code == 200:
                    _start_over(stream)  # a server that does not know ranges sends the whole file
                return self._write(response, stream)
        if not offset:
            raise self._unavailable(stream, f"the server answered {response.status_code} to a plain request")
        return self._receive(client, stream)

    def _write(self, response: httpx.Response, stream: IO[bytes]) -> None:
        done = reported = stream.tell()
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        self._check_room(stream, total)
        self.report(done, total)
        said = time.monotonic()
        for piece in response.iter_raw():
            stream.write(piece)
            done += len(piece)
            self._check_limit(stream, done)
            if done - reported >= STEP or time.monotonic() - said >= PERIOD:
                self.report(done, total)
                reported, said = done, time.monotonic()
        self.report(done, total)

    def _check_room(self, stream: IO[bytes], total: int | None) -> None:
        if total is None:
            return
        self._check_limit(stream, total)
        need, free = total - stream.tell(), shutil.disk_usage(self.folder).free
        if need > free:
            raise Unavailable(
                f"{self.file.name} needs {plain_size(need)} more, and {self.folder} has {plain_size(free)} free.",
                remedy="Make room, or point RETRIEVAL_CACHE to a folder on a larger disk.",
            )

    def _check_limit(self, stream: IO[bytes], count: int) -> None:
        if self.at_most is not None and count > self.at_most:
            _start_over(stream)
            raise self._unavailable(stream, f"the server sends more than {plain_size(self.at_most)}")

    def _unavailable(self, stream: IO[bytes], cause: str) -> Unavailable:
        size = f" (at most {plain_size(self.at_most)})" if self.at_most else ""
        kept = stream.tell()
        resumes = f"; {plain_size(kept)} are kept and it goes on from there" if kept else ""
        return Unavailable(
            f"{self.file.name}{size} could not be fetched: {cause}.",
            remedy=f"Check the network and try again{resumes}.",
        )


def _start_over(stream: IO[bytes]) -> None:
    stream.seek(0)
    stream.truncate()


def _starts_at(content_range: str, offset: int) -> bool:
    found = re.match(r"bytes (\d+)-", content_range)
    return found is not None and int(found[1]) == offset


def _cause(error: httpx.HTTPError, file: DataFile) -> str:
    host = httpx.URL(file.url).host
    if isinstance(error, httpx.HTTPStatusError):
        return f"{host} answered {error.response.status_code} {error.response.reason_phrase}".strip()
    if isinstance(error, httpx.TimeoutException):
        return f"{host} did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"there is no connection to {host}"
    if isinstance(error, httpx.LocalProtocolError):
        return f"what was to be asked of {host} cannot be sent"  # the error repeats headers, which may hold a login
    return f"the connection to {host} broke ({error})"
