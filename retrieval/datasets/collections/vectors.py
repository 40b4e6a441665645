"""A file of vectors as a source: each vector is read as if it were a file, its numbers as bytes in a row."""

from pathlib import Path

import numpy as np

from retrieval.datasets.collections import naming
from retrieval.datasets.collections.containers import Found, Kind, absent
from retrieval.datasets.collections.facts import Facts, bytes_digest
from retrieval.datasets.collections.imported import Imported, read_imported
from retrieval.errors import BadInput

NUMBER = np.dtype("<f4")  # as a vector's numbers are laid out in its bytes


class VectorFile:
    """The vectors in a file by the ids of their items."""

    kind: Kind = "vectors"

    def __init__(self, path: Path) -> None:
        """Read all vectors; BadInput where they cannot be used."""
        self.path = path
        self._mtime_ns = path.stat().st_mtime_ns
        self.imported: Imported = read_imported(path)
        self._rows = {each: row for row, each in enumerate(self.imported.ids)}

    @property
    def size(self) -> int:
        """Bytes of one vector."""
        return self.imported.vectors.shape[1] * NUMBER.itemsize

    def found(self) -> tuple[Found, ...]:
        """All items."""
        return tuple(Found(name, self.size) for name in self.imported.ids)

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a vector."""
        return self.imported.vectors[self._row(name)].astype(NUMBER).tobytes()[:size]

    def stamp(self, name: str) -> tuple[int, int]:
        """The bytes of a vector, and when the file was last changed."""
        self._row(name)
        return self.size, self._mtime_ns

    def close(self) -> None:
        """Nothing is held open."""

    def _row(self, name: str) -> int:
        if name not in self._rows:
            raise absent(self.path, naming.shown(name))
        return self._rows[name]


def facts_of_vector(data: bytes) -> Facts:
    """What a vector is known by, as a picture of one row."""
    digest = bytes_digest(data)
    return Facts(digest=digest, pixels=digest, height=1, width=len(data), coloured=False, burned_in=False)


def read_one(path: Path, *, length: int) -> np.ndarray:
    """The one vector in a file as `as_row` gives it; BadInput where there are several, or it has another length."""
    vectors = read_imported(path).vectors
    if vectors.shape != (1, length):
        raise BadInput(
            f"{path.name!r} holds vectors of the shape {list(vectors.shape)}; one of {length:,} numbers is asked with.",
            remedy=f"Save one vector as float32 [1, {length}].",
        )
    return as_row(vectors[0].astype(NUMBER).tobytes())


def as_row(data: bytes) -> np.ndarray:
    """A vector's bytes as a grey picture of one row, uint8 [1, 4 D]."""
    return np.frombuffer(data, np.uint8)[None]
