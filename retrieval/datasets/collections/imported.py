"""Vectors that people have already, and what they know of the items: read from files, checked, and written again.

The files are `.npz`, `.npy` with a CSV of the same name beside it, and `.parquet`. Nothing pickled is ever opened, and
every size is known and held against a bound before an array is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrieval import artifacts
from retrieval.datasets.collections import numpy_files, parquet_files, tables
from retrieval.datasets.collections.numpy_files import refused
from retrieval.datasets.specs import SplitName
from retrieval.errors import BadInput

SUFFIXES = (".npz", ".npy", ".parquet")

_VECTORS = ("vectors", "vector", "embeddings", "embedding", "features")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "label": ("labels", "label", "y"),
    "group": ("groups", "group"),
    "split": ("splits", "split"),
    "id": ("ids", "id", "files", "file"),
}


@dataclass(frozen=True, eq=False)
class Imported:
    """Vectors of N items, and what is told of each item.

    Attributes:
        vectors: float32 [N, D], finite.
        ids: What an item is called; its row, counted from 0, where the file does not say. No two are the same.
        labels: Its class; None where the file has no labels.
        groups: What it belongs to, None: to nothing but itself; None where the file has no groups.
        splits: Where it stands; None where the file does not say.
    """

    vectors: np.ndarray
    ids: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    groups: tuple[str | None, ...] | None = None
    splits: tuple[SplitName, ...] | None = None

    def __len__(self) -> int:
        return len(self.vectors)


def read_imported(path: Path) -> Imported:
    """The vectors in a file, by its ending.

    In an npz or parquet file the vectors are called `vectors`, `embeddings` or `features`, or are all there is of two
    axes; beside them may lie `labels`, `groups`, `splits` and `ids` (or `files`). In parquet they are a column of
    lists, or columns of one name that end in consecutive numbers. Vectors of float64 or float16 become float32.

    Raises:
        BadInput: The file is damaged or too large, its vectors are not finite floats [N, D], or what it says of its
            items does not fit them.
        Unavailable: It is parquet, and the package that reads it is not installed.
    """
    called = path.name
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise refused(called, f"its name ends in none of {', '.join(SUFFIXES)}", "Save the vectors as one of these.")
    if not path.is_file():
        raise refused(called, "there is no such file", "Check its path and name.")
    arrays = _READERS[suffix](path)
    vectors = _vectors(arrays, called)
    told = {column: _texts(arrays, names, len(vectors), called) for column, names in _WORDS.items()}
    _check_rows(told, called)
    return Imported(
        vectors=vectors,
        ids=_ids(told["id"], len(vectors), called),
        labels=told["label"],
        groups=None if told["group"] is None else tuple(group or None for group in told["group"]),
        splits=None if told["split"] is None else tuple(tables.SPLIT_WORDS[each.lower()] for each in told["split"]),
    )


def write_imported(imported: Imported, path: Path) -> tuple[Path, ...]:
    """Write vectors and what is told of them as the path's ending says; read again, they are the same to the bit.

    Returns the files that were written: two for `.npy`, which holds vectors alone.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        reason = f"its name ends in none of {', '.join(SUFFIXES)}"
        raise BadInput(f"{path.name!r} cannot be written: {reason}.", remedy="Name the file so.")
    columns = _columns(imported)
    if suffix == ".npy":
        table = path.with_suffix(".csv")
        artifacts.write_atomic(table, lambda stream: stream.write(numpy_files.table_bytes(columns)))
        artifacts.write_atomic(path, lambda stream: np.save(stream, imported.vectors, allow_pickle=False))
        return path, table
    write = parquet_files.write if suffix == ".parquet" else numpy_files.write_npz
    artifacts.write_atomic(path, lambda stream: write(stream, imported.vectors, columns))
    return (path,)


def _columns(imported: Imported) -> dict[str, Sequence[str]]:
    told = {
        "ids": imported.ids,
        "labels": imported.labels,
        "groups": None if imported.groups is None else [group or "" for group in imported.groups],
        "splits": imported.splits,
    }
    return {name: values for name, values in told.items() if values is not None}


def _npy_with_table(path: Path) -> dict[str, np.ndarray]:
    """The vectors, and the columns of the CSV of the same name beside them, row by row."""
    arrays = {"vectors": numpy_files.read_npy(path)}
    table = path.with_suffix(".csv")
    if not table.is_file():
        return arrays
    names = [word for words in _WORDS.values() for word in words if len(word) > 1]  # a column y may be anything
    cells = tables.read_cells(numpy_files.bounded(table), name=table.name, columns=names)
    if not cells.columns:
        raise refused(table.name, "none of its columns is named label, group, split or id", "Give the columns names.")
    return {**arrays, **{name: np.array([row[name] for row in cells.rows], np.str_) for name in cells.columns}}


_READERS: Mapping[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".npz": numpy_files.read_npz,
    ".npy": _npy_with_table,
    ".parquet": parquet_files.read,
}


def _vectors(arrays: Mapping[str, np.ndarray], called: str) -> np.ndarray:
    told = {word for words in _WORDS.values() for word in words}
    two_axes = [name for name in arrays if arrays[name].ndim == 2 and name not in told]
    named = [name for name in _VECTORS if name in arrays] or two_axes
    remedy = "Save them as float32 [items, dimensions] under the name vectors."
    if len(named) != 1:
        listed = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise refused(called, f"it is not clear which array holds the vectors; it holds {listed}", remedy)
    array = arrays[named[0]]
    if array.dtype.kind != "f" or array.ndim != 2 or 0 in array.shape:
        raise refused(called, f"its vectors are {array.dtype} of the shape {list(array.shape)}", remedy)
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(array, dtype=np.float32)
    sound = np.isfinite(vectors).all(axis=1)
    if not sound.all():
        row = int(np.argmin(sound))
        reason = f"{int((~sound).sum()):,} of its vectors hold what is no finite float32 number, row {row:,} first"
        raise refused(called, reason, "Leave those items out, or compute them again.")
    vectors.setflags(write=False)
    return vectors


def _texts(arrays: Mapping[str, np.ndarray], names: Sequence[str], count: int, called: str) -> tuple[str, ...] | None:
    """What is told of each item under one of these names, as text; None where there is none."""
    found = [name for name in names if name in arrays]
    if not found:
        return None
    name, array = found[0], arrays[found[0]]
    remedy = f"Give {name} as texts or whole numbers, one for each vector."
    if len(found) > 1:
        raise refused(called, f"{' and '.join(found)} say the same", "Leave one of them out.")
    flat = array.reshape(len(array)) if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (count,):
        raise refused(called, f"{name} has the shape {list(array.shape)} for {count:,} vectors", remedy)
    if flat.dtype.kind == "f" and np.isfinite(flat).all() and (flat == np.trunc(flat)).all():
        flat = flat.astype(np.int64)  # whole numbers that passed through a table with gaps
    if flat.dtype.kind not in "iubUS":
        raise refused(called, f"{name} holds {flat.dtype}", remedy)
    try:
        return tuple((each.decode() if isinstance(each, bytes) else str(each)).strip() for each in flat.tolist())
    except UnicodeDecodeError as error:
        raise refused(called, f"{name} holds bytes that are no text in UTF-8", remedy) from error


def _check_rows(told: Mapping[str, tuple[str, ...] | None], called: str) -> None:
    columns = {name: values for name, values in told.items() if values is not None}
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        if found := tables.problem(dict(zip(columns, values, strict=True))):
            raise refused(called, f"row {row:,}: {found.removesuffix('.')}", "Correct it, or leave the item out.")


def _ids(ids: tuple[str, ...] | None, count: int, called: str) -> tuple[str, ...]:
    if ids is None:
        width = len(str(count - 1))
        return tuple(f"{row:0{width}}" for row in range(count))  # so that they are sorted as the rows are
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(each for each in ids if each in seen or seen.add(each))
        raise refused(called, f"the id {twice!r} is there more than once", "Give each item an id of its own.")
    return ids
