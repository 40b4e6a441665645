"""The pictures or volumes of a collection as a sequence that reads and decodes one when it is asked for."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from retrieval.datasets.collections.containers import Container, read_whole
from retrieval.datasets.collections.records import File
from retrieval.datasets.collections.vectors import as_row
from retrieval.datasets.collections.volumes import cube_of, digest_of, read_files, stamp_of
from retrieval.datasets.specs import Dataset
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.item import AS_THEY_ARE, make_item
from retrieval.pictures.reading import decode_picture


@dataclass(frozen=True, eq=False)
class Pictures:
    """Indexed like an array: a number gives a uint8 picture or cube, a slice or an array of them fewer Pictures.

    Every reading compares the file's digest with the record's, so that another picture is never taken for the one that
    was added. For many threads at once.
    """

    dataset: Dataset
    size: int
    container: Container
    files: Sequence[File]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._item(file) for file in self.files)

    def __getitem__(self, asked: Any) -> Any:
        """uint8 [H, W], [H, W, 3] or [S, S, S]; BadInput or Unavailable where a file is not what was added."""
        if isinstance(asked, slice):
            return replace(self, files=self.files[asked])
        if isinstance(asked, np.ndarray):
            return replace(self, files=[self.files[number] for number in asked])
        return self._item(self.files[int(asked)])

    @property
    def digests(self) -> np.ndarray:
        """What each picture is known by, uint8 [N, 16]: the same for exact duplicates."""
        return np.frombuffer(b"".join(bytes.fromhex(file.pixels) for file in self.files), np.uint8).reshape(-1, 16)

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W], [N, H, W, 3] or [N, S, S, S]; where pictures differ in shape, that of the first stands for all."""
        if self.dataset.ndim == 3:
            return (len(self), self.size, self.size, self.size)
        height, width = self.size, self.size
        if self.size == AS_THEY_ARE and self.files:
            height, width = self.files[0].height, self.files[0].width
        return (len(self), height, width, 3) if self.dataset.channels == 3 else (len(self), height, width)

    def _item(self, file: File) -> np.ndarray:
        if self.container.kind == "vectors":
            return as_row(self._read(file))
        if self.dataset.ndim == 3:
            with self._there(file):
                stamp = stamp_of(self.container, file.name, file.slices)
            return _cube(_Asked(self.container, file, stamp, self.size, self))
        image = decode_picture(self._read(file), name=file.name).image
        return make_item(image, dataset=self.dataset, size=self.size)

    def cube(self, file: File) -> np.ndarray:
        """uint8 [S, S, S] of a volume, read and decoded now."""
        with self._there(file):
            files = read_files(self.container, file.name, file.slices)
        self._check(file, files)
        return cube_of(files, name=file.name, size=self.size)

    def _read(self, file: File) -> bytes:
        with self._there(file):
            data = read_whole(self.container, file.name)
        self._check(file, [data])
        return data

    def _check(self, file: File, files: Sequence[bytes]) -> None:
        if digest_of(files) != file.digest:
            message = f"{file.name!r} of the collection {self.dataset.name} has changed since it was added."
            raise Unavailable(message, remedy=self._remedy)

    @contextmanager
    def _there(self, file: File) -> Iterator[None]:
        try:
            yield
        except (BadInput, OSError) as error:
            message = f"{file.name!r} of the collection {self.dataset.name} cannot be read any more. {_why(error)}"
            raise Unavailable(message, remedy=self._remedy) from error

    @property
    def _remedy(self) -> str:
        return f"Run: python -m retrieval collection update {self.dataset.name}"


def forget() -> None:
    """Let go of the cubes that are kept, and with them of the archives that they come from."""
    _cube.cache_clear()


@dataclass(frozen=True)
class _Asked:
    """A cube of a volume as its files are now."""

    container: Container
    file: File
    stamp: tuple[int, int]
    size: int
    volumes: Pictures = field(compare=False)


@functools.lru_cache(maxsize=64)  # the page asks for one slice by slice; at most 16 MB
def _cube(asked: _Asked) -> np.ndarray:
    made = asked.volumes.cube(asked.file)
    made.setflags(write=False)
    return made


def _why(error: BadInput | OSError) -> str:
    return error.message if isinstance(error, BadInput) else f"{error.strerror or error}."
