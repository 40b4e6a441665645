"""An npz file held against what a dataset says, before any of its pictures is read.

Every member's name, header and declared size must be what the dataset describes, and every label one of its classes.
So nothing pickled is ever opened, and no archive unpacks to more than the dataset can be.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from retrieval.datasets.specs import SPLITS, Dataset
from retrieval.errors import BadInput

MEMBERS = tuple(f"{split}_{kind}.npy" for kind in ("labels", "images") for split in SPLITS)
PIECE = 1 << 22  # bytes read at once

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Npz:
    """A file, and what it must hold."""

    path: Path
    dataset: Dataset
    size: int

    def refuse(self, reason: str) -> BadInput:
        """The error that names the file and the reason."""
        return BadInput(
            f"{self.path} cannot be used as {self.dataset.title} at {self.size}: {reason}.",
            remedy=f"Move it away, and {download_command(self.dataset, self.size)} fetches the published one.",
        )


def download_command(dataset: Dataset, size: int) -> str:
    """The command that fetches a dataset, as shown to a reader."""
    return f"`python -m retrieval download --dataset {dataset.name} --size {size}`"


def expected_shape(dataset: Dataset, size: int, member: str) -> tuple[int, ...]:
    """The shape that a member such as `train_labels.npy` must have."""
    split, kind = member.removesuffix(".npy").split("_")
    if kind == "images":
        return dataset.shape(size, split)
    return dataset.counts[split], len(dataset.classes) if dataset.task == "findings" else 1


@contextmanager
def opened(npz: Npz) -> Iterator[zipfile.ZipFile]:
    """The archive, closed again afterwards; BadInput where it is none."""
    try:
        archive = zipfile.ZipFile(npz.path)
    except _DAMAGED as error:
        raise npz.refuse(f"it is not a whole npz file ({error})") from error
    with archive:
        yield archive


def checked_members(archive: zipfile.ZipFile, npz: Npz) -> list[zipfile.ZipInfo]:
    """The members of an archive, labels first; BadInput where one is not what the dataset describes."""
    members = [_member(archive, name, npz) for name in MEMBERS]
    for member in members:
        try:
            with archive.open(member) as stream:
                _check(stream, member, npz)
        except _DAMAGED as error:
            raise npz.refuse(f"{member.filename} is damaged ({error})") from error
    return members


def pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo, npz: Npz) -> Iterator[bytes]:
    """The bytes of a member, a few MB at a time; BadInput where some are missing or the checksum differs."""
    left = member.file_size
    try:
        with archive.open(member) as stream:
            while piece := stream.read(PIECE):
                left -= len(piece)
                yield piece
    except _DAMAGED as error:
        raise npz.refuse(f"{member.filename} is damaged ({error})") from error
    if left:
        raise npz.refuse(f"{member.filename} ends {left} bytes early")


def _member(archive: zipfile.ZipFile, name: str, npz: Npz) -> zipfile.ZipInfo:
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise npz.refuse(f"it holds no array {name.removesuffix('.npy')}") from error
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise npz.refuse(f"{name} is compressed in a way that numpy does not write")
    return member


def _check(stream: IO[bytes], member: zipfile.ZipInfo, npz: Npz) -> None:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise npz.refuse(f"{member.filename} has a header of an unknown version {version}")
    shape, fortran, dtype = _HEADERS[version](stream)
    expected = expected_shape(npz.dataset, npz.size, member.filename)
    is_label = "labels" in member.filename
    if dtype.hasobject:
        raise npz.refuse(f"{member.filename} holds pickled objects, which are never opened")
    if dtype.kind not in "iu" or not (is_label or dtype == np.uint8):
        raise npz.refuse(f"{member.filename} holds {dtype} where {'whole numbers' if is_label else 'uint8'} belong")
    if shape != expected:
        raise npz.refuse(f"{member.filename} has the shape {_by(shape)} instead of {_by(expected)}")
    if member.file_size != stream.tell() + math.prod(shape) * dtype.itemsize:
        raise npz.refuse(f"{member.filename} declares {member.file_size} bytes, which do not fit its shape")
    if is_label:
        labels = np.frombuffer(stream.read(), dtype=dtype).reshape(shape, order="F" if fortran else "C")
        _check_labels(labels, member, npz)


def _check_labels(labels: np.ndarray, member: zipfile.ZipInfo, npz: Npz) -> None:
    highest = 1 if npz.dataset.task == "findings" else len(npz.dataset.classes) - 1
    if labels.size and (labels.min() < 0 or labels.max() > highest):
        raise npz.refuse(f"{member.filename} holds labels from {labels.min()} to {labels.max()}; 0 to {highest} exist")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
