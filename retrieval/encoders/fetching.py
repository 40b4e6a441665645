"""Weights from a publisher's own address: the file itself, or one member of a zip file."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from retrieval import artifacts
from retrieval.datasets.download import download, plain_size
from retrieval.datasets.specs import DataFile
from retrieval.encoders import places
from retrieval.encoders.specs import EncoderSpec, WeightsSource
from retrieval.errors import Unavailable
from retrieval.roots import Roots

Progress = Callable[[int, int | None], None]


def from_address(spec: EncoderSpec, source: WeightsSource, roots: Roots, progress: Progress | None) -> Path:
    """The file at the source's `url` in the product's cache, or the `member` of the zip file that lies there.

    An interrupted download goes on where it stopped. What is not the published file, as far as its MD5, its zip file's
    own checksums or its sha256 tell, is removed.

    Raises:
        Unavailable: It cannot be fetched, has no room, or is another file.
        Busy: Another process is fetching it.
    """
    target = places.kept(spec, source, roots)
    zipped = bool(source.member)
    name = f"{PurePosixPath(urlsplit(source.url).path).stem}.zip" if zipped else target.name
    came = download(DataFile(name=name, url=source.url, md5=source.md5), target.with_name(name), progress=progress)
    if zipped:
        _unzip(came, target, source)
    _check_known(target, source)
    return target


def _unzip(came: Path, target: Path, source: WeightsSource) -> None:
    """The member in place of its zip file; of a zip file that is none, nothing stays."""
    try:
        with zipfile.ZipFile(came) as archive:
            member = _member(archive, source.member)
            _check_room(target, member.file_size)
            with archive.open(member) as stream:
                # zipfile compares the checksum at the end, so a damaged member raises before the file is in its place
                artifacts.write_atomic(target, lambda file: _pour(stream, file))
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        came.unlink()
        raise Unavailable(
            f"What came from {source.url} is not the zip file with {source.member} that it should be ({error}); "
            "it was removed.",
            remedy="Try again; if it happens again, fetch the file with a browser from that address.",
        ) from error
    came.unlink()


def _pour(stream: IO[bytes], file: IO[bytes]) -> None:
    shutil.copyfileobj(stream, file, 1 << 20)


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """The member of this name, in whatever folder of the archive; KeyError where there is none."""
    for member in archive.infolist():
        if f"/{member.filename}".endswith(f"/{name}"):
            return member
    raise KeyError(f"it holds no {name}")


def _check_room(target: Path, need: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if need > free:
        raise Unavailable(
            f"{target.name} takes {plain_size(need)} unpacked, and {target.parent} has {plain_size(free)} free.",
            remedy="Make room, or point RETRIEVAL_CACHE to a folder on a larger disk.",
        )


def _check_known(path: Path, source: WeightsSource) -> None:
    """That the file is one of those that the spec knows, where it knows the file and not the tensors in it."""
    if source.digest or not source.containers:
        return
    found = artifacts.file_digest(path)
    if f"sha256:{found}" not in source.containers:
        path.unlink()
        raise Unavailable(
            f"What came from {source.url} is not the file that is known (sha256 {found[:12]}… instead of "
            f"{source.containers[0].removeprefix('sha256:')[:12]}…); it was removed.",
            remedy="See at the publisher's page whether the file was changed. To use it all the same, put it into "
            "RETRIEVAL_WEIGHTS by hand.",
        )
