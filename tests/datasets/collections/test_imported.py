"""Vectors that people have: what is written is read again to the bit, and what cannot be trusted is refused."""

import importlib.util
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from retrieval.datasets.collections import parquet_files
from retrieval.datasets.collections.imported import SUFFIXES, Imported, read_imported, write_imported
from retrieval.errors import BadInput, RetrievalError, Unavailable

HAS_PARQUET = importlib.util.find_spec("pyarrow") is not None
ODD = np.array([0.0, -0.0, 1e-45, -3.4028235e38, 1 / 3, 7.0], np.float32)


@pytest.fixture(params=SUFFIXES)
def suffix(request, need):
    need(request.param != ".parquet" or HAS_PARQUET, "pyarrow is not installed")
    return request.param


@pytest.fixture
def parquet(need):
    need(HAS_PARQUET, "pyarrow is not installed")
    import pyarrow
    import pyarrow.parquet

    return pyarrow


def vectors(count: int = 5, dim: int = 6) -> np.ndarray:
    made = np.random.default_rng(1).standard_normal((count, dim), np.float32)
    made[0, : len(ODD)] = ODD[:dim]
    return made


def full() -> Imported:
    return Imported(
        vectors=vectors(),
        ids=("a/1.png", "b, 2.png", 'c"3.png', "d\u00e9.png", "5"),
        labels=("cat", "dog", "cat", "chat \u4e2d", "007"),
        groups=("p1", None, "p1", "p2", None),
        splits=("train", "train", "val", "test", "test"),
    )


def refusal(path, kind=BadInput) -> str:
    with pytest.raises(kind) as caught:
        read_imported(path)
    assert caught.value.remedy and str(caught.value).isprintable()
    return caught.value.message


@pytest.mark.parametrize("imported", [full(), Imported(vectors(), tuple("01234"))], ids=["full", "bare"])
def test_what_is_written_is_read_again_to_the_bit(tmp_path, suffix, imported):
    path = tmp_path / f"mine{suffix}"
    written = write_imported(imported, path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    read = read_imported(path)
    assert read.vectors.dtype == np.float32 and read.vectors.tobytes() == imported.vectors.tobytes()
    assert (read.ids, read.labels, read.groups, read.splits) == (
        imported.ids,
        imported.labels,
        imported.groups,
        imported.splits,
    )
    again = tmp_path / f"again{suffix}"
    write_imported(read, again)
    assert again.read_bytes() == path.read_bytes() or suffix == ".npz"  # a zip holds the time


@pytest.mark.parametrize("name", ["vectors", "embeddings", "features", "X"])
def test_an_npz_as_others_write_it(tmp_path, name):
    labels = np.array([[3], [1], [4], [1], [5]])
    np.savez_compressed(tmp_path / "x.npz", **{name: vectors().astype(np.float64), "y": labels})
    read = read_imported(tmp_path / "x.npz")
    assert np.array_equal(read.vectors, vectors())
    assert read.labels == ("3", "1", "4", "1", "5") and read.ids == ("0", "1", "2", "3", "4")
    assert read.groups is None and read.splits is None


def test_other_orders_of_bytes_and_axes(tmp_path):
    np.savez(tmp_path / "x.npz", vectors=np.asfortranarray(vectors().astype(">f4")))
    assert np.array_equal(read_imported(tmp_path / "x.npz").vectors, vectors())
    half = np.random.default_rng(2).standard_normal((5, 6)).astype(np.float16)
    np.save(tmp_path / "x.npy", half)
    assert np.array_equal(read_imported(tmp_path / "x.npy").vectors, half.astype(np.float32))


def test_an_npy_with_a_table_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", vectors(3))
    assert read_imported(tmp_path / "x.npy").labels is None
    (tmp_path / "x.csv").write_text("File;Label;Split\na.png;cat;Train\nb.png;dog;valid\nc.png;cat;test\n")
    read = read_imported(tmp_path / "x.npy")
    assert (read.ids, read.labels, read.splits) == (
        ("a.png", "b.png", "c.png"),
        ("cat", "dog", "cat"),
        ("train", "val", "test"),
    )
    for table, why in (
        ("label\na\nb\n", "shape [2] for 3 vectors"),
        ("label\na\n\nb\nc\nd\n", "shape [4] for 3 vectors"),
        ("label,split\na,train\nb,train\nc,holdout\n", "row 2: Its split is 'holdout'"),
        ("label,split\na,train\n,train\nc,test\n", "row 1: Its row has no label"),
        ("x,y\n1,2\n", "none of its columns is named"),
        ("id,label\na,1\nb,2\na,3\n", "the id 'a' is there more than once"),
    ):
        (tmp_path / "x.csv").write_text(table)
        assert why in refusal(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"vectors": np.ones((5, 6), np.int64)}, "int64 of the shape [5, 6]"),
        ({"vectors": vectors()[0]}, "float32 of the shape [6]"),
        ({"vectors": vectors()[:, :, None]}, "of the shape [5, 6, 1]"),
        ({"vectors": vectors()[:0]}, "of the shape [0, 6]"),
        ({"vectors": vectors()[:, :0]}, "of the shape [5, 0]"),
        ({"vectors": vectors().astype(complex)}, "complex"),
        ({"vectors": np.full((5, 6), 1e39)}, "no finite float32 number, row 0 first"),
        ({"vectors": np.where(np.arange(30).reshape(5, 6) == 20, np.nan, 1.0)}, "1 of its vectors hold what is no"),
        ({"a": vectors(), "b": vectors()}, "not clear which array"),
        ({"vectors": vectors(), "embeddings": vectors()}, "not clear which array"),
        ({}, "holds nothing"),
        ({"vectors": vectors(), "labels": np.arange(4)}, "labels has the shape [4] for 5 vectors"),
        ({"vectors": vectors(), "labels": np.eye(5)}, "labels has the shape [5, 5]"),
        ({"vectors": vectors(), "labels": np.linspace(0, 1, 5)}, "labels holds float64"),
        ({"vectors": vectors(), "labels": np.arange(5), "y": np.arange(5)}, "say the same"),
        ({"vectors": vectors(), "labels": np.array(list("abcd\n"))}, "row 4: Its row has no label"),
        ({"vectors": vectors(), "labels": np.array(["a\x1b"] * 5)}, "control characters"),
        ({"vectors": vectors(), "labels": np.array([b"\xff"] * 5)}, "no text in UTF-8"),
        ({"vectors": vectors(), "labels": np.array(["n" * 2000] * 5)}, "room for more than 1000"),
        ({"vectors": vectors(), "ids": np.array([1, 2, 3, 4, 1])}, "the id '1'"),
        ({"vectors": vectors(), "splits": np.array(["train"] * 4 + ["all"])}, "Its split is 'all'"),
        ({"vectors": vectors(), "when": np.array(["2020"] * 5, "datetime64[D]")}, "datetime64[D]"),
        ({"vectors": np.zeros(5, [("a", "f4"), ("b", "f4")])}, "where numbers or texts belong"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, why):
    np.savez(tmp_path / "x.npz", **arrays)
    assert why in refusal(tmp_path / "x.npz")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("escaped",)


def test_nothing_pickled_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.array([Trap()] * 5, object)
    np.savez(tmp_path / "x.npz", vectors=vectors(), labels=array)
    np.save(tmp_path / "x.npy", array)
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "y.npz").write_bytes(pickle.dumps(Trap()))
    assert "pickled objects" in refusal(tmp_path / "x.npz")
    assert "pickled objects" in refusal(tmp_path / "x.npy")
    assert "header" in refusal(tmp_path / "y.npy")
    assert "no whole npz" in refusal(tmp_path / "y.npz")
    assert not (tmp_path / "escaped").exists()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "header"),
        (b"\x93NUMPY", "header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 6)}", bytes(119)), "does not fill"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 6)}", bytes(121)), "does not fill"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 99999999)}"), "more than 4 GB"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -5)}", bytes(20)), "more than 4 GB"),
        (npy("{'descr': '<U99999999', 'fortran_order': False, 'shape': (5,)}"), "more than 1000 characters"),
        (npy("{'descr': '|V8', 'fortran_order': False, 'shape': (5, 6)}", bytes(240)), "where numbers or texts"),
        (npy("__import__('os').mkdir('escaped')"), "header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 6)}", bytes(120), b"\7\0"), "header"),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 30) + b" " * 99, "header"),
    ],
)
def test_headers_are_held_against_the_file(tmp_path, monkeypatch, data, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npy").write_bytes(data)
    assert why in refusal(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("vectors.npy", data)
    assert why in refusal(tmp_path / "x.npz")
    assert not (tmp_path / "escaped").exists()


def test_an_npz_that_is_a_bomb_or_damaged(tmp_path):
    header = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 6)}")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", header + bytes(64 << 20))
    assert "does not fill" in refusal(tmp_path / "x.npz")
    for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "x.npz", "w", packing) as archive:
            archive.writestr("vectors.npy", header + bytes(120))
        assert "numpy does not write" in refusal(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for index in range(65):
            archive.writestr(f"{index}.npy", header + bytes(120))
    assert "more than 64 arrays" in refusal(tmp_path / "x.npz")
    write_imported(full(), tmp_path / "x.npz")
    data = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(data.replace(full().vectors.tobytes(), bytes(120)))
    assert "Bad CRC-32" in refusal(tmp_path / "x.npz")


def test_files_cut_short_are_refused(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    write_imported(full(), path)
    data = path.read_bytes()
    cuts = (0, 1, 7, len(data) // 2, len(data) - 1)
    for cut in cuts if suffix != ".parquet" else cuts[2:]:  # a process each
        path.write_bytes(data[:cut])
        refusal(path)


def test_names_and_places(tmp_path):
    assert "none of .npz, .npy, .parquet" in refusal(tmp_path / "x.pkl")
    assert "no such file" in refusal(tmp_path / "x.npz")
    with pytest.raises(BadInput, match="cannot be written"):
        write_imported(full(), tmp_path / "x.pkl")


@pytest.mark.parametrize("kind", ["lists", "fixed lists", "numbered", "wide from pandas"])
def test_parquet_as_others_write_it(tmp_path, parquet, kind):
    rows, path = vectors().astype(np.float64), tmp_path / "x.parquet"
    labels = parquet.array(["a", "b", "a", "b", "c"]).dictionary_encode()
    if kind == "lists":
        table = parquet.table({"embedding": rows.tolist(), "label": labels, "age": [1.5, 2.0, 3.0, 4.0, 5.0]})
    elif kind == "fixed lists":
        flat = parquet.array(rows.astype(np.float32).ravel())
        table = parquet.table({"features": parquet.FixedSizeListArray.from_arrays(flat, 6), "label": labels})
    else:
        prefix = "dim_" if kind == "numbered" else ""
        columns = {f"{prefix}{index}": rows[:, index] for index in (3, 1, 0, 2, 5, 4)}
        table = parquet.table({**columns, "label": labels})
    parquet.parquet.write_table(table, path)
    read = read_imported(path)
    assert np.array_equal(read.vectors, vectors()) and read.labels == ("a", "b", "a", "b", "c")


def test_parquet_that_does_not_fit_is_refused(tmp_path, parquet):
    rows, path = vectors().tolist(), tmp_path / "x.parquet"
    for columns, why in (
        ({"vectors": [*rows[:4], rows[4][:3]]}, "not of one length"),
        ({"vectors": [*rows[:4], None]}, "has gaps"),
        ({"vectors": rows, "label": [1, 2, 3, 4, None]}, "the column label has gaps"),
        ({"vectors": rows, "extra": [{"a": 1}] * 5}, "holds struct"),
        ({"vectors": [*rows[:4], [None] * 6]}, "has gaps"),
    ):
        parquet.parquet.write_table(parquet.table(columns), path)
        with pytest.raises(ValueError, match=why):
            parquet_files.arrays_of(str(path))
    assert "the column vectors has gaps" in refusal(path)
    parquet.parquet.write_table(parquet.table({"d0": [1.0], "d2": [1.0]}), path)
    assert "not clear which array" in refusal(path)


def test_a_parquet_file_that_ends_its_reader_ends_nothing_else(tmp_path, parquet, monkeypatch):
    path = tmp_path / "x.parquet"
    write_imported(full(), path)
    sizes = path.read_bytes()
    for seed in range(3):
        data = bytearray(sizes)
        chance = np.random.default_rng(seed)
        for at in chance.integers(4, len(data), 20):
            data[at] = chance.integers(256)
        path.write_bytes(data)
        try:
            read_imported(path)
        except RetrievalError as error:
            assert error.remedy
    monkeypatch.setattr("retrieval.datasets.collections.parquet_files.SECONDS", 0)
    assert "took more than" in refusal(path)


def test_without_pyarrow_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert "pyarrow" in refusal(tmp_path / "x.parquet", Unavailable)
    with pytest.raises(Unavailable):
        write_imported(full(), tmp_path / "y.parquet")
    assert not (tmp_path / "y.parquet").exists()
