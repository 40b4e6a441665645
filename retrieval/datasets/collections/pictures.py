"""The pictures of a collection as a sequence that reads and decodes one when it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retrieval.datasets.collections.containers import Container, read_whole
from retrieval.datasets.collections.facts import bytes_digest
from retrieval.datasets.collections.records import File
from retrieval.datasets.collections.vectors import as_row
from retrieval.datasets.specs import Dataset
from retrieval.errors import BadInput, Unavailable
from retrieval.pictures.item import AS_THEY_ARE, make_item
from retrieval.pictures.reading import decode_picture


@dataclass(frozen=True, eq=False)
class Pictures:
    """Indexed like an array: a number gives a uint8 picture, a slice or an array of numbers gives fewer Pictures.

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
        """uint8 [H, W] or [H, W, 3]; BadInput or Unavailable where a file is not what was added."""
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
        """[N, H, W] or [N, H, W, 3]; where pictures differ in shape, that of the first stands for all."""
        height, width = self.size, self.size
        if self.size == AS_THEY_ARE and self.files:
            height, width = self.files[0].height, self.files[0].width
        return (len(self), height, width, 3) if self.dataset.channels == 3 else (len(self), height, width)

    def _item(self, file: File) -> np.ndarray:
        if self.container.kind == "vectors":
            return as_row(self._read(file))
        image = decode_picture(self._read(file), name=file.name).image
        return make_item(image, dataset=self.dataset, size=self.size)

    def _read(self, file: File) -> bytes:
        remedy = f"Run: python -m retrieval collection update {self.dataset.name}"
        try:
            data = read_whole(self.container, file.name)
        except (BadInput, OSError) as error:
            raise Unavailable(
                f"{file.name!r} of the collection {self.dataset.name} cannot be read any more. {_why(error)}",
                remedy=remedy,
            ) from error
        if bytes_digest(data) != file.digest:
            raise Unavailable(
                f"{file.name!r} of the collection {self.dataset.name} has changed since it was added.", remedy=remedy
            )
        return data


def _why(error: BadInput | OSError) -> str:
    return error.message if isinstance(error, BadInput) else f"{error.strerror or error}."
