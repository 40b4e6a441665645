import errno
import io
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import artifacts, parts
from retrieval.errors import Busy, Unavailable
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parent.parent
KEY, MARK = "things/a", "0" * 32
ARRAYS = {"numbers": np.arange(12, dtype=np.int32).reshape(4, 3), "scores": np.linspace(0, 1, 5, dtype=np.float32)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    artifacts.save(tmp_path, KEY, arrays=ARRAYS, fingerprint=MARK, meta={"made": "here"})
    return tmp_path


def manifest(root: Path) -> Path:
    return root / f"{KEY}.json"


def array_file(root: Path, name: str = "numbers") -> Path:
    return root / f"{KEY}.{name}.npy"


def reseal(root: Path, **change: object) -> None:
    """Change parts of the manifest and give it the checksum that goes with them."""
    document = artifacts.read_sealed(manifest(root))
    assert document is not None
    artifacts.write_sealed(manifest(root), {**document, **change})


def load(*roots: Path, mark: str = MARK) -> artifacts.Artifact | None:
    return artifacts.load(roots, KEY, fingerprint=mark)


def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Another process that has run `code` up to where it prints a line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_what_is_saved_is_loaded_memory_mapped_and_read_only(root):
    found = load(root)
    assert found is not None and found.fingerprint == MARK and found.meta == {"made": "here"}
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert isinstance(found.arrays[name], np.memmap)
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["numbers"][0, 0] = 7


def test_another_fingerprint_is_stale(root):
    assert load(root, mark="1" * 32) is None


def test_the_first_root_that_is_sound_and_current_is_taken(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for value, place in enumerate((first, second, third)):
        mark = "stale" if place == first else MARK
        artifacts.save(place, KEY, arrays={"numbers": np.array([value])}, fingerprint=mark, meta={})
    assert load(first, second, third).arrays["numbers"][0] == 1
    array_file(second).unlink()
    assert load(first, second, third).arrays["numbers"][0] == 2
    assert load(tmp_path / "nowhere", third).arrays["numbers"][0] == 2
    assert load() is None


def test_the_cache_is_looked_at_before_what_is_shipped(empty_roots: Roots):
    artifacts.save(empty_roots.precomputed, KEY, arrays={"numbers": np.array([1])}, fingerprint=MARK, meta={})
    assert load(*empty_roots.lookup).arrays["numbers"][0] == 1
    artifacts.save(empty_roots.cache, KEY, arrays={"numbers": np.array([2])}, fingerprint=MARK, meta={})
    assert load(*empty_roots.lookup).arrays["numbers"][0] == 2


@pytest.mark.parametrize("place", ["first", "header", "last"])
def test_a_flipped_bit_in_an_array_is_noticed(root, caplog, place):
    path = array_file(root)
    content = bytearray(path.read_bytes())
    content[{"first": 0, "header": 20, "last": -1}[place]] ^= 1
    path.write_bytes(content)
    assert load(root) is None
    assert "is damaged" in caplog.text and "made again" in caplog.text


@pytest.mark.parametrize("size", [0, 1, 130, -1])
def test_a_truncated_array_is_noticed(root, caplog, size):
    path = array_file(root, "scores")
    path.write_bytes(path.read_bytes()[:size])
    assert load(root) is None
    assert "is damaged" in caplog.text


def test_a_missing_array_is_noticed(root, caplog):
    array_file(root, "scores").unlink()
    assert load(root) is None
    assert "is damaged" in caplog.text


GARBAGE = {
    "empty": b"",
    "not UTF-8": b'{"fingerprint": "\xff\xfe"}',
    "cut short": b'{"fingerprint": "00000',
    "nested without end": b"[" * 200_000,
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_manifest_that_is_no_json_is_noticed(root, caplog, content):
    manifest(root).write_bytes(content)
    assert load(root) is None
    assert f"{manifest(root)} is damaged" in caplog.text


@pytest.mark.parametrize("document", [None, 3, "text", [], ["fingerprint"], {}, {"fingerprint": 0}])
def test_a_manifest_of_another_kind_is_nobodys(root, document):
    manifest(root).write_text(json.dumps(document))
    assert load(root) is None


WRONG = {
    "files a list": {"files": ["numbers"]},
    "files a number": {"files": 3},
    "files nothing": {"files": None},
    "no files": {"files": {}},
    "entry a word": {"files": {"numbers": "a.numbers.npy"}},
    "entry empty": {"files": {"numbers": {}}},
    "entry of wrong types": {"files": {"numbers": {"file": 1, "bytes": "1", "sha256": None}}},
    "another name": {"files": {"nombers": {"file": "a.numbers.npy", "bytes": 176, "sha256": "0" * 64}}},
    "meta a word": {"meta": "here"},
    "meta nothing": {"meta": None},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_manifest_with_wrong_parts_is_noticed(root, caplog, change):
    reseal(root, **change)
    assert load(root) is None
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("part", ["files", "meta"])
def test_a_manifest_without_a_part_is_noticed(root, caplog, part):
    document = artifacts.read_sealed(manifest(root))
    del document[part]
    artifacts.write_sealed(manifest(root), document)
    assert load(root) is None
    assert "is damaged" in caplog.text


def test_an_array_under_an_altered_name_is_not_taken_for_another(root, caplog):
    files = artifacts.read_sealed(manifest(root))["files"]
    reseal(root, files={"numbers": files["numbers"], "scoret": files["scores"]})
    assert load(root) is None
    assert "is damaged" in caplog.text


def test_pickled_objects_are_never_opened(root, caplog):
    path = array_file(root)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    files = artifacts.read_sealed(manifest(root))["files"]
    files["numbers"] |= {"bytes": path.stat().st_size, "sha256": artifacts.file_digest(path)}
    reseal(root, files=files)
    assert load(root) is None
    assert "is damaged" in caplog.text


def test_folders_in_the_way_are_noticed(root):
    manifest(root).unlink()
    manifest(root).mkdir()
    assert load(root) is None


def test_rows_in_blocks_are_written_as_numpy_would(tmp_path):
    array = np.random.default_rng(0).normal(size=(10, 3, 2)).astype(np.float32)
    blocks = (array[start : start + 4] for start in range(0, 10, 4))
    rows = artifacts.Rows(array.shape, array.dtype, blocks)
    artifacts.save(tmp_path, KEY, arrays={"numbers": rows, "turned": array.T}, fingerprint=MARK, meta={})
    for name, expected in (("numbers", array), ("turned", np.ascontiguousarray(array.T))):
        stream = io.BytesIO()
        np.save(stream, expected)
        assert array_file(tmp_path, name).read_bytes() == stream.getvalue()
        np.testing.assert_array_equal(load(tmp_path).arrays[name], expected)


@pytest.mark.parametrize("given", [3, 5])
def test_too_few_or_too_many_rows_leave_nothing(tmp_path, given):
    rows = artifacts.Rows((4, 2), np.dtype(np.float32), [np.zeros((given, 2))])
    with pytest.raises(ValueError, match=f"{given} rows were given for an array of 4"):
        artifacts.save(tmp_path, KEY, arrays={"numbers": rows}, fingerprint=MARK, meta={})
    assert load(tmp_path) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


KILLED_WHILE_WRITING = """
import sys, time, numpy as np
from pathlib import Path
from retrieval import artifacts

def blocks():
    yield np.full((4, 3), -1, np.int32)
    print("ready", flush=True)
    time.sleep(60)

rows = artifacts.Rows((8, 3), np.dtype(np.int32), blocks())
artifacts.save(Path(sys.argv[1]), sys.argv[2], arrays={"numbers": rows}, fingerprint="1" * 32, meta={})
"""


def test_a_killed_write_leaves_the_earlier_version_whole(root):
    before = {path: path.read_bytes() for path in (manifest(root), array_file(root), array_file(root, "scores"))}
    kill(start(KILLED_WHILE_WRITING, root, KEY))
    assert {path: path.read_bytes() for path in before} == before
    np.testing.assert_array_equal(load(root).arrays["numbers"], ARRAYS["numbers"])


def test_a_killed_first_write_leaves_nothing_that_is_taken_for_an_array(tmp_path):
    kill(start(KILLED_WHILE_WRITING, tmp_path, KEY))
    assert not array_file(tmp_path).exists() and not manifest(tmp_path).exists()
    assert load(tmp_path, mark="1" * 32) is None
    artifacts.save(tmp_path, KEY, arrays=ARRAYS, fingerprint=MARK, meta={})
    assert load(tmp_path) is not None


KILLED_BETWEEN_FILES = """
import sys, time, numpy as np
from pathlib import Path
from retrieval import artifacts

def late():
    print("ready", flush=True)
    time.sleep(60)
    yield np.zeros(5)

arrays = {"numbers": np.full((4, 3), -1, np.int32), "scores": artifacts.Rows((5,), np.dtype(np.float32), late())}
artifacts.save(Path(sys.argv[1]), sys.argv[2], arrays=arrays, fingerprint=sys.argv[3], meta={})
"""


@pytest.mark.parametrize("mark", [MARK, "1" * 32])
def test_killed_between_two_arrays_the_mixture_is_never_taken(root, mark):
    kill(start(KILLED_BETWEEN_FILES, root, KEY, mark))
    assert load(root) is None and load(root, mark="1" * 32) is None


def test_a_failed_write_leaves_the_earlier_version_and_no_rest(tmp_path):
    path = tmp_path / "document.json"
    artifacts.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError):
        artifacts.write_atomic(path, lambda stream: stream.write(b"half") and 1 / 0)
    assert artifacts.read_json(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["document.json"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "file"

    def first(stream):
        stream.write(b"abc")
        raise ConnectionError

    def second(stream):
        assert stream.tell() == 3
        stream.write(b"def")

    with pytest.raises(ConnectionError):
        artifacts.resume_atomic(path, first, check=lambda _: None)
    assert not path.exists()
    artifacts.resume_atomic(path, second, check=lambda part: None)
    assert path.read_bytes() == b"abcdef"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_finished_bytes_that_are_wrong_are_removed(tmp_path):
    def check(part):
        raise ValueError(part.read_bytes())

    with pytest.raises(ValueError, match="abc"):
        artifacts.resume_atomic(tmp_path / "file", lambda stream: stream.write(b"abc"), check=check)
    assert list(tmp_path.iterdir()) == []


def test_carry_copies_what_is_current_and_nothing_else(root, tmp_path):
    target = tmp_path / "target"
    with pytest.raises(FileNotFoundError, match=KEY):
        artifacts.carry((root,), target, KEY, fingerprint="1" * 32)
    artifacts.carry((root,), target, KEY, fingerprint=MARK)
    assert manifest(target).read_bytes() == manifest(root).read_bytes()
    assert array_file(target).read_bytes() == array_file(root).read_bytes()


HOLDING = """
import sys, time
from pathlib import Path
from retrieval import artifacts
with artifacts.lock(Path(sys.argv[1]), what="the work"):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_lock_of_another_process_is_busy_until_that_process_is_killed(tmp_path):
    path = tmp_path / "deep" / "work.lock"
    holder = start(HOLDING, path)
    with pytest.raises(Busy, match="at work on the work") as refused, artifacts.lock(path, what="the work"):
        pytest.fail("two processes hold one lock")
    assert refused.value.remedy
    kill(holder)
    with artifacts.lock(path, what="the work"):
        pass
    with artifacts.lock(path, what="the work"):
        pass


def test_a_lock_is_freed_when_its_work_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), artifacts.lock(tmp_path / "lock", what="the work"):
        raise ZeroDivisionError
    with artifacts.lock(tmp_path / "lock", what="the work"):
        pass


def test_a_root_that_cannot_be_a_folder_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        artifacts.save(tmp_path / "file", KEY, arrays=ARRAYS, fingerprint=MARK, meta={})
    assert load(tmp_path / "file") is None


def test_loading_writes_nothing(root, empty_roots: Roots):
    before = sorted(root.rglob("*"))
    roots = replace(empty_roots, precomputed=root)
    assert artifacts.load(roots.lookup, KEY, fingerprint=MARK) is not None
    assert sorted(root.rglob("*")) == before
    assert not roots.cache.exists()


def test_a_fingerprint_goes_by_what_is_in_it_and_not_by_the_order():
    assert artifacts.fingerprint(a=1, b=[2, 3]) == artifacts.fingerprint(b=[2, 3], a=1)
    marks = {artifacts.fingerprint(**parts) for parts in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]}, {})}
    assert len(marks) == 6 and all(len(mark) == 32 for mark in marks)


def test_a_digest_follows_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert artifacts.file_digest(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"
    path.write_bytes(b"abcd")
    assert artifacts.file_digest(path, "md5") == "e2fc714c4727ee9395f324cd2e7f331f"


def test_a_missing_document_is_none_and_not_worth_a_line(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        assert artifacts.read_json(tmp_path / "nothing.json") is None
    assert caplog.text == ""


WRITING = """
import sys, time
from pathlib import Path
from retrieval import artifacts

def write(stream):
    stream.write(b"half")
    stream.flush()
    print("ready", flush=True)
    time.sleep(60)

artifacts.write_atomic(Path(sys.argv[1]), write)
"""


def test_what_a_killed_write_left_is_removed_by_the_next_and_what_is_under_way_is_not(tmp_path: Path):
    path, other = tmp_path / "a.json", tmp_path / ".b.json.part"
    other.write_bytes(b"half")
    killed, alive = start(WRITING, path), start(WRITING, path)
    kill(killed)
    assert len(list(tmp_path.glob(".a.json.*.part"))) == 2
    artifacts.write_json(path, {})
    assert len(list(tmp_path.glob(".a.json.*.part"))) == 1 and other.exists()
    kill(alive)
    artifacts.write_json(path, {"a": 1})
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_what_is_older_than_a_day_is_removed_where_the_disk_knows_no_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "_claim", lambda descriptor, wait=False: False)
    old, young = tmp_path / ".a.json.old.part", tmp_path / ".a.json.young.part"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    artifacts.write_json(tmp_path / "a.json", {})
    assert not old.exists() and young.exists()


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """`umask(mask)`: what new files may not be, until the test is over."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no umask")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_the_umask_decides_who_may_read(tmp_path: Path, umask: Callable[[int], int], mask: int):
    umask(mask)
    artifacts.write_json(tmp_path / "new" / "a.json", {})
    artifacts.resume_atomic(tmp_path / "new" / "b", lambda stream: stream.write(b"b"), check=lambda _: None)
    (tmp_path / "plain").write_bytes(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "new/a.json", "new/b")]
    assert modes == [0o666 & ~mask] * 3
    artifacts.write_sealed(tmp_path / "new" / "a.json", {}, private=True)
    assert stat.S_IMODE((tmp_path / "new" / "a.json").stat().st_mode) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_a_private_folder_is_its_owners_and_stays_as_that_one_has_it(tmp_path: Path, umask: Callable[[int], int]):
    umask(0)
    folder = tmp_path / "cache" / "folder"
    artifacts.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o750)
    artifacts.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


# --- a disk that refuses


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    path = tmp_path / "document.json"
    artifacts.write_json(path, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(Unavailable, match=f"document.json .* no room left in {tmp_path}") as said:
            artifacts.write_json(path, {"a": 2})
    assert "RETRIEVAL_CACHE" in said.value.remedy
    assert artifacts.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open no more files than are open now."""
    resource = pytest.importorskip("resource", reason="Windows sets no limits on a process")
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_too_many_open_files_are_a_sentence_and_no_damage(root: Path):
    path, held = root / "document.json", root / "held.lock"
    for refused in (
        lambda: load(root),
        lambda: artifacts.read_json(manifest(root)),
        lambda: artifacts.write_json(path, {}),
        lambda: artifacts.lock(held, what="a test").__enter__(),
    ):
        with no_more_files(), pytest.raises(Unavailable, match="as many files are open already") as said:
            refused()
        assert "ulimit -n" in said.value.remedy
    assert load(root) is not None and not path.exists() and not artifacts.is_locked(held)


def test_an_array_that_may_not_be_opened_is_not_taken_for_damaged(root: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    with monkeypatch.context() as patch, pytest.raises(Unavailable, match="could not be opened"):
        patch.setattr(artifacts, "_mapped", refused)
        load(root)


def test_another_refusal_of_the_disk_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        with pytest.raises(OSError, match="Input/output error"):
            artifacts.write_json(tmp_path / "document.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_a_byte_at_a_time_gets_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:1]))
    artifacts.write_atomic(tmp_path / "a", lambda stream: stream.write(b"abc" * 5_000))
    artifacts.resume_atomic(tmp_path / "b", lambda stream: stream.write(b"abc" * 5_000), check=lambda _: None)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"abc" * 5_000


def test_a_download_that_met_a_full_disk_goes_on_from_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, write = tmp_path / "file", os.write

    def little(descriptor: int, data: bytes) -> int:
        return write(descriptor, bytes(data)[:2]) if len(data) > 2 else full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", little)
        with pytest.raises(OSError, match="No space left"):
            artifacts.resume_atomic(path, lambda stream: stream.write(b"abcd"), check=lambda _: None)
    artifacts.resume_atomic(path, lambda stream: stream.write(b"abcd"[stream.tell() :]), check=lambda _: None)
    assert path.read_bytes() == b"abcd"


# --- documents that are trusted


def test_a_sealed_document_is_read_as_it_was_written(tmp_path: Path):
    path = tmp_path / "memory.json"
    document = {"a": 1, "b": [0.1, None, "ü"], "c": {"d": True}}
    artifacts.write_sealed(path, document)
    assert artifacts.read_sealed(path) == document
    assert artifacts.read_sealed(tmp_path / "nothing.json") is None


def test_every_flipped_bit_of_a_sealed_document_is_noticed(tmp_path: Path):
    path = tmp_path / "memory.json"
    artifacts.write_sealed(path, {"sha256:ab": "0123", "file": [12, 3], "meta": {}})
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            assert artifacts.read_sealed(path) is None, (place, bit)


@pytest.mark.parametrize("content", [b"[]", b"{}", b'"text"', b'{"a": 1}', b'{"a": 1, "checksum": null}'])
def test_a_document_without_its_checksum_is_not_trusted(tmp_path: Path, caplog, content: bytes):
    (tmp_path / "memory.json").write_bytes(content)
    assert artifacts.read_sealed(tmp_path / "memory.json") is None
    assert "is damaged" in caplog.text and "made again" in caplog.text


def test_another_file_of_the_same_size_and_time_has_another_digest(tmp_path: Path):
    """As copies have that keep the time of modification (`cp -p`, archives)."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    for each in (path, other):
        os.utime(each, ns=(10**18, 10**18))
    before = artifacts.file_digest(path)
    os.replace(other, path)
    assert artifacts.file_digest(path) != before
