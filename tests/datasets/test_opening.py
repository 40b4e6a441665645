"""Files found, judged, unpacked and opened; real ones where the machine has them, small ones made here otherwise."""

import dataclasses
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from retrieval.datasets import opening, unpacking
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import data_digest, describe_missing, is_at_hand, locate, open_split
from retrieval.datasets.specs import SPLITS, DataFile, Dataset
from retrieval.errors import BadInput, Busy, Unavailable, UnknownName
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parents[2]
Arrays = dict[str, np.ndarray]


def arrays_for(dataset: Dataset, size: int = 28, seed: int = 0) -> Arrays:
    draw = np.random.default_rng(seed)
    highest = 1 if dataset.task == "findings" else len(dataset.classes) - 1
    columns = len(dataset.classes) if dataset.task == "findings" else 1
    made: Arrays = {}
    for split in SPLITS:
        made[f"{split}_images"] = draw.integers(0, 256, dataset.shape(size, split), dtype=np.uint8)
        made[f"{split}_labels"] = draw.integers(0, highest + 1, (dataset.counts[split], columns), dtype=np.uint8)
    return made


def small(name: str, md5: str = "0" * 32) -> Dataset:
    """A real dataset cut to a few items, with this checksum for its file at 28."""
    whole = find_dataset(name)
    file = dataclasses.replace(whole.files[28], md5=md5)
    counts = MappingProxyType({"train": 7, "val": 3, "test": 5})
    return dataclasses.replace(whole, counts=counts, sizes=(28,), files=MappingProxyType({28: file}))


def put(roots: Roots, dataset: Dataset, arrays: Arrays, *, size: int = 28) -> Path:
    path = roots.data[0] / dataset.files[size].name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def breast(empty_roots: Roots) -> tuple[Dataset, Path, Arrays]:
    """A small dataset whose file is at hand and published as it is."""
    arrays = arrays_for(small("breastmnist"))
    path = put(empty_roots, small("breastmnist"), arrays)
    return small("breastmnist", md5_of(path)), path, arrays


# --- real files


@pytest.mark.parametrize(
    ("name", "size"), [("breastmnist", 28), ("retinamnist", 28), ("adrenalmnist3d", 28), ("adrenalmnist3d", 64)]
)
def test_a_real_file_opens_as_numpy_reads_it(roots: Roots, need: Callable, name: str, size: int):
    dataset = find_dataset(name)
    path = locate(dataset, size, roots)
    need(path, f"{dataset.files[size].name} is not at hand")
    assert path
    with np.load(path, allow_pickle=False) as whole:
        for split in SPLITS:
            opened = open_split(dataset, size, split, roots)
            assert opened.verified and opened.digest == dataset.files[size].md5
            assert opened.images.shape == dataset.shape(size, split) and len(opened) == dataset.counts[split]
            assert isinstance(opened.images, np.memmap) and not opened.images.flags.writeable
            assert opened.labels.dtype == np.int64 and not opened.labels.flags.writeable
            np.testing.assert_array_equal(opened.images, whole[f"{split}_images"])
            np.testing.assert_array_equal(opened.labels, whole[f"{split}_labels"])
    assert data_digest(dataset, size, roots) == (dataset.files[size].md5, True)


# --- what is taken


def test_a_published_file_is_verified_and_an_altered_one_is_not(empty_roots: Roots, breast: tuple):
    dataset, path, arrays = breast
    assert open_split(dataset, 28, "test", empty_roots).verified
    arrays["test_images"][0, 0, 0] ^= 1
    put(empty_roots, dataset, arrays)
    altered = open_split(dataset, 28, "test", empty_roots)
    assert not altered.verified and altered.digest == md5_of(path) != dataset.files[28].md5
    assert altered.images[0, 0, 0] == arrays["test_images"][0, 0, 0]
    assert data_digest(dataset, 28, empty_roots) == (altered.digest, False)


@pytest.mark.parametrize("name", ["retinamnist", "chestmnist", "organmnist3d"])
def test_every_kind_of_dataset_opens(empty_roots: Roots, name: str):
    dataset = small(name)
    arrays = arrays_for(dataset)
    put(empty_roots, dataset, arrays)
    for split in SPLITS:
        opened = open_split(dataset, 28, split, empty_roots)
        np.testing.assert_array_equal(opened.images, arrays[f"{split}_images"])
        np.testing.assert_array_equal(opened.labels, arrays[f"{split}_labels"])


def test_labels_may_be_any_whole_numbers_and_arrays_in_column_order(empty_roots: Roots):
    dataset = small("chestmnist")
    arrays = arrays_for(dataset)
    arrays["train_labels"] = np.asfortranarray(arrays["train_labels"].astype(">i8"))
    arrays["train_images"] = np.asfortranarray(arrays["train_images"])
    put(empty_roots, dataset, arrays)
    opened = open_split(dataset, 28, "train", empty_roots)
    np.testing.assert_array_equal(opened.images, arrays["train_images"])
    np.testing.assert_array_equal(opened.labels, arrays["train_labels"])


def test_folders_are_searched_in_order_then_the_downloads(empty_roots: Roots, breast: tuple, tmp_path: Path):
    dataset, path, _ = breast
    second, downloads = tmp_path / "second", empty_roots.cache / "downloads"
    for folder in (second, downloads):
        folder.mkdir(parents=True)
        shutil.copy(path, folder)
    roots = dataclasses.replace(empty_roots, data=(*empty_roots.data, second))
    for place in (path, second / path.name, downloads / path.name):
        assert locate(dataset, 28, roots) == place
        place.unlink()
    assert locate(dataset, 28, roots) is None and not is_at_hand(dataset, 28, roots)


def test_a_data_folder_is_never_written(empty_roots: Roots, breast: tuple):
    dataset, path, _ = breast
    open_split(dataset, 28, "train", empty_roots)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# --- what is refused


def without(name: str) -> Callable[[Arrays], None]:
    def spoil(arrays: Arrays) -> None:
        del arrays[name]

    return spoil


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: change(arrays[name])})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without("val_labels"), "it holds no array val_labels"),
        (without("test_images"), "it holds no array test_images"),
        (replaced("train_images", lambda a: a.astype(np.float32)), "train_images.npy holds float32 where uint8"),
        (replaced("train_images", lambda a: a.astype(np.int8)), "train_images.npy holds int8 where uint8"),
        (replaced("val_labels", lambda a: a.astype(np.float64)), "val_labels.npy holds float64 where whole numbers"),
        (replaced("test_images", lambda a: a[:, :14]), "test_images.npy has the shape 5 x 14 x 28 instead of 5 x 28"),
        (replaced("train_images", lambda a: a[:-1]), "train_images.npy has the shape 6 x 28 x 28 instead of 7 x"),
        (replaced("test_labels", lambda a: a[:, 0]), "test_labels.npy has the shape 5 instead of 5 x 1"),
        (replaced("test_labels", lambda a: a * 0 + 2), "test_labels.npy holds labels from 2 to 2; 0 to 1 exist"),
        (replaced("test_labels", lambda a: a.astype(int) * 0 - 1), "holds labels from -1 to -1"),
        (replaced("train_images", lambda a: a.astype(object)), "holds pickled objects, which are never opened"),
    ],
)
def test_a_file_that_is_not_the_dataset_is_refused(empty_roots: Roots, spoil: Callable, reason: str):
    dataset = small("breastmnist")
    arrays = arrays_for(dataset)
    spoil(arrays)
    path = put(empty_roots, dataset, arrays)
    with pytest.raises(BadInput, match=reason) as no:
        open_split(dataset, 28, "train", empty_roots)
    assert str(path) in no.value.message
    assert "python -m retrieval download --dataset breastmnist --size 28" in no.value.remedy
    assert not list((empty_roots.cache / "data").rglob("*.npy"))


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_opened(empty_roots: Roots, tmp_path: Path):
    dataset = small("breastmnist")
    arrays = arrays_for(dataset)
    path = put(empty_roots, dataset, arrays)
    trap = np.empty((7, 1), dtype=object)
    trap[:] = Trap(tmp_path / "sprung")  # type: ignore[call-overload]
    np.savez(path, **{**arrays, "train_labels": trap})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="pickled"):
        open_split(dataset, 28, "train", empty_roots)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(BadInput, match="not a whole npz file"):
        open_split(dataset, 28, "train", empty_roots)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 10, 2000, -1])
def test_a_truncated_file_is_refused(empty_roots: Roots, breast: tuple, keep: int):
    dataset, path, _ = breast
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="not a whole npz file"):
        open_split(dataset, 28, "train", empty_roots)


def test_a_flipped_byte_inside_a_member_is_refused(empty_roots: Roots, breast: tuple):
    dataset, path, _ = breast
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("val_images.npy")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"val_images\.npy (is damaged|ends)"):
        open_split(dataset, 28, "train", empty_roots)
    assert not list((empty_roots.cache / "data").rglob(unpacking.MANIFEST))


def test_an_archive_that_unpacks_to_more_than_it_should_is_refused(empty_roots: Roots, breast: tuple):
    dataset, path, arrays = breast
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            archive.writestr(f"{name}.npy", stream.getvalue() + bytes(10_000_000 if name == "val_images" else 0))
    with pytest.raises(BadInput, match=r"val_images\.npy declares 100\d\d\d\d\d bytes, which do not fit its shape"):
        open_split(dataset, 28, "train", empty_roots)


def test_strange_compression_and_headers_are_refused(empty_roots: Roots, breast: tuple):
    dataset, path, arrays = breast
    for method, content, reason in [
        (zipfile.ZIP_LZMA, b"", "compressed in a way that numpy does not write"),
        (zipfile.ZIP_STORED, b"\x93NUMPY\x09\x00" + bytes(100), "unknown version"),
        (zipfile.ZIP_STORED, b"not an array", "damaged"),
    ]:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in arrays:
                archive.writestr(f"{name}.npy", content)
        with pytest.raises(BadInput, match=reason):
            open_split(dataset, 28, "train", empty_roots)


def test_no_room_is_said_before_a_byte_is_copied(empty_roots: Roots, breast: tuple, monkeypatch: pytest.MonkeyPatch):
    dataset, _, _ = breast
    monkeypatch.setattr(unpacking, "SLACK", 1 << 60)
    with pytest.raises(Unavailable, match=r"takes 13 kB unpacked, and .* free") as no:
        open_split(dataset, 28, "train", empty_roots)
    assert "RETRIEVAL_CACHE" in no.value.remedy
    assert not list((empty_roots.cache / "data").rglob("*.npy"))


def test_a_missing_file_says_all_that_is_needed(empty_roots: Roots):
    dataset = find_dataset("pathmnist")
    for said in (
        pytest.raises(Unavailable, open_split, dataset, 224, "train", empty_roots).value,
        pytest.raises(Unavailable, data_digest, dataset, 224, empty_roots).value,
        describe_missing(dataset, 224, empty_roots),
    ):
        assert "pathmnist_224.npz (at most 16 GB)" in said.message
        assert str(empty_roots.data[0]) in said.message and str(empty_roots.cache / "downloads") in said.message
        assert "python -m retrieval download --dataset pathmnist --size 224" in said.remedy
        assert f"put pathmnist_224.npz into {empty_roots.data[0]}" in said.remedy


def test_names_are_checked(empty_roots: Roots):
    dataset = find_dataset("breastmnist")
    with pytest.raises(UnknownName, match="Valid: 28, 64, 128, 224"):
        open_split(dataset, 32, "train", empty_roots)
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        open_split(dataset, 28, "trian", empty_roots)  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        locate(dataset, 1, empty_roots)


def test_a_cache_that_cannot_be_written(empty_roots: Roots, breast: tuple):
    dataset, _, _ = breast
    empty_roots.cache.write_text("a file where a folder belongs")
    with pytest.raises(Unavailable, match="cannot be read or written"):
        open_split(dataset, 28, "train", empty_roots)


# --- the cache


def unpacked(roots: Roots, dataset: Dataset) -> Path:
    return roots.cache / "data" / dataset.files[28].md5


def forget() -> None:
    """As another process would: nothing is open yet."""
    opening._opened.cache_clear()


def test_a_split_that_is_open_is_handed_out_again(empty_roots: Roots, breast: tuple):
    dataset, _, _ = breast
    assert open_split(dataset, 28, "test", empty_roots) is open_split(dataset, 28, "test", empty_roots)


def test_the_file_is_hashed_and_unpacked_once(empty_roots: Roots, breast: tuple):
    dataset, path, _ = breast
    said: list[str] = []
    open_split(dataset, 28, "test", empty_roots, progress=lambda text, _: said.append(text))
    assert said[0] == "Checking breastmnist.npz" and said[-1] == "Unpacking breastmnist.npz: 13 kB"
    forget()
    open_split(dataset, 28, "train", empty_roots, progress=lambda text, _: pytest.fail(text))
    path.touch()  # another time: hashed again, but the arrays are those of the same MD5
    open_split(dataset, 28, "train", empty_roots, progress=lambda text, _: said.append(text))
    assert said.count("Checking breastmnist.npz") == 2 and said[-1] == "Checking breastmnist.npz"


def test_progress_ends_at_one_and_never_goes_back(empty_roots: Roots, breast: tuple):
    dataset, _, _ = breast
    shares: list[float] = []
    open_split(dataset, 28, "test", empty_roots, progress=lambda text, share: "Unpack" in text and shares.append(share))
    assert len(shares) == 6 and shares == sorted(shares) and shares[-1] == 1.0


def test_unpacked_arrays_of_the_published_file_do_without_it(empty_roots: Roots, breast: tuple):
    dataset, path, arrays = breast
    open_split(dataset, 28, "test", empty_roots)
    path.unlink()
    assert locate(dataset, 28, empty_roots) == unpacked(empty_roots, dataset) / unpacking.MANIFEST
    again = open_split(dataset, 28, "test", empty_roots)
    assert again.verified
    np.testing.assert_array_equal(again.images, arrays["test_images"])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize("member", ["test_images.npy", "train_labels.npy", unpacking.MANIFEST])
def test_a_damaged_cache_is_made_again(empty_roots: Roots, breast: tuple, damage: Callable, member: str):
    dataset, _, arrays = breast
    open_split(dataset, 28, "test", empty_roots)
    damage(unpacked(empty_roots, dataset) / member)
    forget()
    for split in SPLITS:
        again = open_split(dataset, 28, split, empty_roots)
        np.testing.assert_array_equal(again.images, arrays[f"{split}_images"])
        np.testing.assert_array_equal(again.labels, arrays[f"{split}_labels"])


def test_a_cache_copied_elsewhere_is_sound(empty_roots: Roots, breast: tuple):
    dataset, _, _ = breast
    open_split(dataset, 28, "test", empty_roots)
    folder = unpacked(empty_roots, dataset)
    for array in folder.glob("*.npy"):
        os.utime(array, ns=(1, 1))
    assert unpacking.is_sound(folder, dataset, 28)
    entries = json.loads((folder / unpacking.MANIFEST).read_text())["files"].values()
    assert {entry["mtime_ns"] for entry in entries} == {1}  # so that the checksums are not computed again


def test_a_damaged_cache_without_its_file_says_so(empty_roots: Roots, breast: tuple):
    dataset, path, _ = breast
    open_split(dataset, 28, "test", empty_roots)
    path.unlink()
    _cut(unpacked(empty_roots, dataset) / "test_images.npy")
    forget()
    with pytest.raises(Unavailable, match="damaged") as no:
        open_split(dataset, 28, "test", empty_roots)
    assert "download --dataset breastmnist" in no.value.remedy


def test_a_damaged_download_says_so(empty_roots: Roots, breast: tuple):
    dataset, path, _ = breast
    downloads = empty_roots.cache / "downloads"
    downloads.mkdir(parents=True)
    path.rename(downloads / path.name)
    assert open_split(dataset, 28, "test", empty_roots).verified
    shutil.rmtree(empty_roots.cache / "data")
    _cut(downloads / path.name)
    with pytest.raises(Unavailable, match="damaged"):
        open_split(dataset, 28, "test", empty_roots)


def test_fetching_brings_what_is_missing_and_only_that(
    empty_roots: Roots, breast: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dataset, path, arrays = breast
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(path.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout
            port = server.stdout.readline().split(" port ")[1].split()[0]
            file = DataFile(path.name, f"http://127.0.0.1:{port}/{path.name}", dataset.files[28].md5)
            served = dataclasses.replace(dataset, files=MappingProxyType({28: file}))
            roots = dataclasses.replace(empty_roots, data=(tmp_path / "nothing",))
            said: list[str] = []
            split = open_split(served, 28, "val", roots, fetch=True, progress=lambda text, _: said.append(text))
        finally:
            server.kill()
    assert split.verified and said[0].startswith("Downloading breastmnist.npz")
    assert not any(text.startswith("Checking") for text in said)  # the download was checked already
    np.testing.assert_array_equal(split.images, arrays["val_images"])
    assert opening.fetch_file(served, 28, roots) == roots.cache / "downloads" / path.name  # the server is gone
    shutil.rmtree(roots.cache)
    with pytest.raises(Unavailable, match=r"was looked for in .* could not be fetched: there is no connection") as no:
        open_split(served, 28, "val", roots, fetch=True)
    assert "put breastmnist.npz into" in no.value.remedy and no.value.message.count("at most") == 1


def test_two_that_unpack_at_once_wait_for_each_other(
    empty_roots: Roots, breast: tuple, monkeypatch: pytest.MonkeyPatch
):
    from retrieval import artifacts

    dataset, _, _ = breast
    folder = unpacked(empty_roots, dataset)
    monkeypatch.setattr(unpacking, "PATIENCE", 0.2)
    with artifacts.lock(folder.with_name(f"{folder.name}.lock"), what="a test"), pytest.raises(Busy, match="unpacking"):
        open_split(dataset, 28, "test", empty_roots)
    assert open_split(dataset, 28, "test", empty_roots).verified


# --- what is drawn


@pytest.mark.parametrize("name", ["phantoms", "phantoms3d"])
def test_phantoms_open_where_nothing_is_at_hand(empty_roots: Roots, name: str):
    dataset = find_dataset(name)
    size = dataset.sizes[0]
    assert is_at_hand(dataset, size, empty_roots) and locate(dataset, size, empty_roots) is None
    assert opening.fetch_file(dataset, size, empty_roots) is None
    for split in SPLITS:
        drawn = open_split(dataset, size, split, empty_roots)
        assert drawn.images.shape == dataset.shape(size, split) and drawn.images.dtype == np.uint8
        assert drawn.labels.shape == (dataset.counts[split], 1) and drawn.labels.dtype == np.int64
        assert (drawn.digest, drawn.verified) == data_digest(dataset, size, empty_roots)
        assert open_split(dataset, size, split, empty_roots) is drawn
    assert not empty_roots.cache.exists()


# --- in a process of its own


def _child(code: str, roots: Roots) -> subprocess.Popen:
    prelude = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from retrieval.datasets.catalogue import find_dataset\n"
        "from retrieval.datasets.opening import open_split\n"
        "from retrieval.roots import Roots\n"
        f"roots = Roots(data=(Path({str(roots.data[0])!r}),), weights=None, precomputed=Path('nowhere'),"
        f" cache=Path({str(roots.cache)!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", prelude + code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def _put_zeros(roots: Roots, dataset: Dataset, size: int) -> Path:
    arrays = {f"{split}_images": np.zeros(dataset.shape(size, split), np.uint8) for split in SPLITS}
    arrays |= {f"{split}_labels": np.zeros((dataset.counts[split], 1), np.uint8) for split in SPLITS}
    return put(roots, dataset, arrays, size=size)


def test_a_killed_unpacking_leaves_nothing_that_is_taken_for_data(empty_roots: Roots):
    dataset = find_dataset("adrenalmnist3d")
    path = _put_zeros(empty_roots, dataset, 28)
    folder = empty_roots.cache / "data" / md5_of(path)
    code = (
        "def slow(text, share):\n"
        "    if text.startswith('Unpacking') and share > 0.4:\n"
        "        print(share, flush=True)\n"
        "        time.sleep(600)\n"
        "open_split(find_dataset('adrenalmnist3d'), 28, 'train', roots, progress=slow)\n"
    )
    with _child(code, empty_roots) as child:
        assert child.stdout
        share = float(child.stdout.readline())
        child.kill()
    assert 0.4 < share < 0.75  # in the midst of the training images
    assert list(folder.glob(".train_images.npy.*.part")) and not (folder / "train_images.npy").exists()
    assert not (folder / unpacking.MANIFEST).exists()
    opened = open_split(dataset, 28, "train", empty_roots)
    assert opened.images.shape == dataset.shape(28, "train")
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([*unpacking.MEMBERS, unpacking.MANIFEST])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of its memory from /proc")
def test_unpacking_takes_little_memory(empty_roots: Roots):
    dataset = find_dataset("pneumoniamnist")
    _put_zeros(empty_roots, dataset, 224)  # 294 MB of pixels
    code = (
        "def peak():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmHWM'))\n"
        "before = peak()\n"
        "split = open_split(find_dataset('pneumoniamnist'), 224, 'train', roots)\n"
        "print(len(split), split.images[-1].sum(), peak() - before)\n"
    )
    with _child(code, empty_roots) as child:
        assert child.stdout
        items, total, megabytes = map(int, child.stdout.read().split())
    assert (items, total) == (4708, 0)
    assert megabytes < 60
