"""Vectors in `.parquet` files. They are read by a process of their own, which hands the arrays over as an npz.

What reads parquet is a large library in C++. A file made to harm it, or one that unpacks to more memory than there is,
ends that process and nothing else.
"""

import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from retrieval.datasets.collections.numpy_files import MAX_ARRAYS, MAX_BYTES, read_npz, refused
from retrieval.errors import Unavailable
from retrieval.roots import SHIPPED

SECONDS = 600
MAX_COLUMNS = 20_000

_NUMBERED = re.compile(r"(.*?)(\d+)")


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a parquet file by their names: one of lists, or of names that end in numbers, as one array [N, D].

    Raises:
        BadInput: The file is damaged or too large, or what reads it was ended by it.
        Unavailable: pyarrow is not installed.
    """
    _check_installed()
    remedy = "Save the vectors as npz with numpy.savez."
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(path.absolute())],
            cwd=SHIPPED.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise refused(path.name, f"reading it took more than {SECONDS // 60} minutes", remedy) from error
    if done.returncode == 1 and done.stderr:
        raise refused(path.name, done.stderr.decode(errors="replace").strip().splitlines()[-1], remedy)
    if done.returncode:
        raise refused(path.name, "what reads parquet was ended by it: it is damaged or takes too much memory", remedy)
    return read_npz(io.BytesIO(done.stdout), called=path.name)


def write(stream: IO[bytes], vectors: np.ndarray, columns: Mapping[str, Sequence[str]]) -> None:
    """Write vectors as a column of lists of a fixed length, and texts as columns beside it; Unavailable as `read`."""
    _check_installed()
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = pa.array(vectors.reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    texts = {name: pa.array(list(values), pa.string()) for name, values in columns.items()}
    pq.write_table(pa.table({"vectors": lists, **texts}), stream)


def _check_installed() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise Unavailable(
            "Parquet files are read and written by the package pyarrow, which is not installed.",
            remedy="Run: python -m pip install pyarrow. Or use npz files.",
        )


def _main(path: str) -> int:
    """In the process of its own: the columns as an npz to the standard output, or a reason to the standard error."""
    _bound_memory()
    import pyarrow as pa

    try:
        arrays = arrays_of(path)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        sys.stderr.write(" ".join(str(error).split())[:300].removesuffix(".") or type(error).__name__)
        return 1
    np.savez(sys.stdout.buffer, **arrays)
    return 0


def _bound_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    most = 4 * MAX_BYTES  # addresses, of which the library takes more than it fills
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def arrays_of(path: str) -> dict[str, Any]:
    """In the process of its own: the columns as arrays; ValueError where they are too much, or no vectors or texts."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about = file.metadata
        size = sum(about.row_group(index).total_byte_size for index in range(about.num_row_groups))
        if size > MAX_BYTES or about.num_columns > MAX_COLUMNS:
            raise ValueError(f"it unpacks to {size:,} bytes in {about.num_columns:,} columns, more than is read")
        table = file.read()
    wide = _wide(table)
    others = [name for name in table.column_names if name not in wide]
    if len(others) > MAX_ARRAYS:
        raise ValueError(f"it has {len(others):,} columns beside the vectors")
    arrays = {name: _column(name, table[name]) for name in others}
    if wide:
        arrays["vectors"] = np.stack([_column(name, table[name]) for name in wide], axis=1)
    return {name: array for name, array in arrays.items() if array is not None}


def _wide(table: Any) -> list[str]:
    """Columns of floats that are one vector: all of one name and consecutive numbers, in the order of these."""
    import pyarrow.types as kinds

    floats = [name for name in table.column_names if kinds.is_floating(table[name].type)]
    parts = [_NUMBERED.fullmatch(name) for name in floats]
    numbered = sorted((int(part[2]), part[0]) for part in parts if part)
    same = len({part[1] for part in parts if part}) == 1 and len(numbered) == len(floats) > 1
    if same and [number for number, _ in numbered] == list(range(numbered[0][0], numbered[0][0] + len(numbered))):
        return [name for _, name in numbered]
    return []


def _column(name: str, column: Any) -> np.ndarray:
    """A column as an array; ValueError where it holds gaps or what is no number, text or list of numbers."""
    import pyarrow as pa
    import pyarrow.types as kinds

    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        return np.array(column.fill_null("").to_pylist(), np.str_)
    if column.null_count:
        raise ValueError(f"the column {name} has gaps")
    if kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_fixed_size_list(column.type):
        return _lists(name, column)
    if kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_boolean(column.type):
        return column.to_numpy(zero_copy_only=False)
    raise ValueError(f"the column {name} holds {column.type}, which is no number, text or list of numbers")


def _lists(name: str, column: Any) -> np.ndarray:
    flat = column.flatten()
    if flat.null_count:
        raise ValueError(f"the column {name} has gaps")
    lengths = set(column.value_lengths().to_pylist()) if hasattr(column, "value_lengths") else {column.type.list_size}
    if len(lengths) != 1:
        raise ValueError(f"the lists in the column {name} are not of one length")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
