"""Several encoders on one split: each picture prepared once, the same files as alone, and nobody holds up another."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval import artifacts
from retrieval.datasets.catalogue import find_dataset
from retrieval.datasets.opening import open_split
from retrieval.datasets.specs import Dataset
from retrieval.embeddings import embedding, seen, together
from retrieval.encoders import builtin, devices, preprocessing
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.preprocessing import pixels_for, seen_batch
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parents[2]
PHANTOMS, VOLUMES = find_dataset("phantoms"), find_dataset("phantoms3d")


def resized(name: str, size: int, **values: object) -> EncoderSpec:
    """A built-in feature on pictures resized to a side, under a name of its own."""
    pixels = dataclasses.replace(Pixels(size=size, scale="none"), **values)
    return dataclasses.replace(find_encoder(name), name=f"{name}{size}", pixels=pixels, slices=pixels)


SMALL = resized("pixels", 48, channels="native")
COLOURED = resized("histogram", 48)
LARGER = resized("pixels", 56)
LITE = find_encoder("efficientnet_lite0")
LIKE_LITE = resized("histogram", 224)


def files_of(roots: Roots, dataset: Dataset, spec: EncoderSpec) -> bytes:
    size = dataset.sizes[0]
    return (roots.cache / f"{embedding.key_of(dataset, size, 'test', spec)}.vectors.npy").read_bytes()


def embed_all(dataset: Dataset, specs: list[EncoderSpec], roots: Roots, **named) -> None:
    together.embed_together(dataset, dataset.sizes[0], "test", specs, roots, device="cpu", **named)


@pytest.fixture
def alone(empty_roots: Roots, tmp_path: Path) -> Roots:
    """Another cache, for what is embedded one by one."""
    return dataclasses.replace(empty_roots, cache=tmp_path / "alone")


def embed_alone(dataset: Dataset, spec: EncoderSpec, roots: Roots) -> bytes:
    embedding.embed(dataset, dataset.sizes[0], "test", spec, roots, device="cpu")
    return files_of(roots, dataset, spec)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every picture that was prepared, as it was before; black ones, as which sides are found out, left out."""
    pictures: list[bytes] = []
    real = preprocessing.seen_picture

    def seen_picture(picture: np.ndarray, pixels: Pixels) -> np.ndarray:
        if picture.any():
            pictures.append(picture.tobytes())
        return real(picture, pixels)

    monkeypatch.setattr(preprocessing, "seen_picture", seen_picture)
    return pictures


@pytest.fixture(autouse=True)
def forties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PICTURES_IN_SHARD", 40)
    monkeypatch.setattr(embedding, "VOLUMES_IN_SHARD", 8)


# --- once


@pytest.mark.parametrize("specs", [[SMALL, COLOURED], [LITE, LIKE_LITE]], ids=["built-in", "network"])
def test_pictures_are_prepared_once_and_the_files_are_as_alone(
    specs: list[EncoderSpec], empty_roots: Roots, alone: Roots, prepared: list[bytes]
):
    embed_all(PHANTOMS, specs, empty_roots)
    assert len(prepared) == 150
    prepared.clear()
    for spec in specs:
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)
    assert len(prepared) == 300


def test_identical_slices_of_volumes_are_looked_for_and_prepared_once(
    empty_roots: Roots, alone: Roots, prepared: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    looked: list[int] = []
    real = seen._distinct
    monkeypatch.setattr(seen, "_distinct", lambda pictures: looked.append(len(pictures)) or real(pictures))
    embed_all(VOLUMES, [SMALL, COLOURED], empty_roots)
    assert looked == [8 * 28, 8 * 28, 4 * 28]
    once = len(prepared)
    assert once <= 20 * 28
    prepared.clear()
    for spec in (SMALL, COLOURED):
        assert files_of(empty_roots, VOLUMES, spec) == embed_alone(VOLUMES, spec, alone)
    assert len(prepared) == 2 * once


def test_encoders_of_another_geometry_prepare_their_own(empty_roots: Roots, alone: Roots, prepared: list[bytes]):
    embed_all(PHANTOMS, [SMALL, LARGER, COLOURED], empty_roots)
    assert len(prepared) == 300
    for spec in (SMALL, LARGER, COLOURED):
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)


def test_what_differs_in_values_only_is_of_one_geometry():
    assert together.geometry(SMALL, 2) == together.geometry(COLOURED, 2)
    assert together.geometry(SMALL, 2) != together.geometry(LARGER, 2)
    keras = [find_encoder(name) for name in ("vgg19", "resnet50", "densenet121", "efficientnetv2m")]
    for ndim in (2, 3):
        assert len({together.geometry(spec, ndim) for spec in keras}) == 1
        assert len({pixels_for(spec, ndim) for spec in keras}) > 1


def test_only_so_many_bytes_of_prepared_pictures_are_kept(
    empty_roots: Roots, alone: Roots, prepared: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(seen, "KEPT", 10 * 48 * 48 + 7)
    monkeypatch.setattr(embedding.pipeline, "BATCH", 5)
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    assert len(prepared) == 2 * 150 - 4 * 10  # of four shards ten each are found again
    for spec in (SMALL, COLOURED):
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)


@pytest.mark.parametrize("batches", [(7, 16), (16, 7), (1, 40)])
def test_encoders_may_ask_for_prepared_pictures_in_batches_of_their_own(batches: tuple[int, int]):
    pictures = open_split(PHANTOMS, 64, "test", Roots((), None, Path("none"), Path("none"))).images[:40]
    assert SMALL.pixels is not None and COLOURED.pixels is not None
    shard = seen.Seen()
    for batch, pixels in zip(batches, (SMALL.pixels, COLOURED.pixels), strict=True):
        given, rest = shard.pictures(pictures, pixels)
        found = np.concatenate([seen_batch(given[start : start + batch], rest) for start in range(0, 40, batch)])
        assert np.array_equal(found, seen_batch(pictures, pixels))


# --- nobody holds up another


def test_one_that_another_process_is_at_or_that_fails_is_left_for_later(
    empty_roots: Roots, alone: Roots, monkeypatch: pytest.MonkeyPatch
):
    absent = find_encoder("densenet121")  # its weights are
    real = embedding.check_finite

    def check_finite(spec: EncoderSpec, vectors: np.ndarray, what: str) -> None:
        real(spec, vectors * (np.nan if spec is LARGER and "80" in what else 1), what)

    monkeypatch.setattr(embedding, "check_finite", check_finite)
    shares: list[float] = []
    lock = empty_roots.cache / f"{embedding.key_of(PHANTOMS, 64, 'test', SMALL)}.lock"
    with artifacts.lock(lock, what="a test"):
        specs = [SMALL, absent, LARGER, COLOURED]
        embed_all(PHANTOMS, specs, empty_roots, progress=lambda words, share: shares.append(share))
    assert files_of(empty_roots, PHANTOMS, COLOURED) == embed_alone(PHANTOMS, COLOURED, alone)
    assert shares == sorted(shares) and shares[-1] == 1.0
    for spec in (SMALL, LARGER):
        with pytest.raises(FileNotFoundError):
            files_of(empty_roots, PHANTOMS, spec)


def test_one_that_runs_out_of_memory_goes_on_in_smaller_batches_and_the_others_as_before(
    empty_roots: Roots, alone: Roots, monkeypatch: pytest.MonkeyPatch
):
    whole = builtin.BuiltinEncoder.embed

    def embed(self: builtin.BuiltinEncoder, pictures: np.ndarray) -> np.ndarray:
        if self.spec.name == COLOURED.name and len(pictures) > 10:
            raise MemoryError
        return whole(self, pictures)

    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", embed)
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    batches = [embedding.embed(PHANTOMS, 64, "test", spec, empty_roots).meta["batch"] for spec in (SMALL, COLOURED)]
    assert batches == [64, 8]
    for spec in (SMALL, COLOURED):
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)


def test_one_for_which_memory_is_too_small_is_left_for_later(
    empty_roots: Roots, alone: Roots, monkeypatch: pytest.MonkeyPatch
):
    load, embed = builtin.load, builtin.BuiltinEncoder.embed

    def loaded(spec: EncoderSpec) -> builtin.BuiltinEncoder:
        if spec.name == LARGER.name:
            raise RuntimeError("CUDA error: out of memory")
        return load(spec)

    def embedded(self: builtin.BuiltinEncoder, pictures: np.ndarray) -> np.ndarray:
        if self.spec.name == SMALL.name:
            raise MemoryError
        return embed(self, pictures)

    monkeypatch.setattr(builtin, "load", loaded)
    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", embedded)
    embed_all(PHANTOMS, [LARGER, SMALL, COLOURED], empty_roots)
    assert files_of(empty_roots, PHANTOMS, COLOURED) == embed_alone(PHANTOMS, COLOURED, alone)
    for spec in (LARGER, SMALL):
        assert not artifacts.is_locked(empty_roots.cache / f"{embedding.key_of(PHANTOMS, 64, 'test', spec)}.lock")
        with pytest.raises(FileNotFoundError):
            files_of(empty_roots, PHANTOMS, spec)


def test_one_that_fails_as_nobody_foresaw_is_left_for_later_unless_its_gpu_is_lost(
    empty_roots: Roots, alone: Roots, monkeypatch: pytest.MonkeyPatch
):
    embed = builtin.BuiltinEncoder.embed

    def embedded(self: builtin.BuiltinEncoder, pictures: np.ndarray) -> np.ndarray:
        if self.spec.name == SMALL.name:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return embed(self, pictures)

    monkeypatch.setattr(builtin.BuiltinEncoder, "embed", embedded)
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    assert files_of(empty_roots, PHANTOMS, COLOURED) == embed_alone(PHANTOMS, COLOURED, alone)
    monkeypatch.setattr(devices, "lost", lambda device: devices.Lost("The GPU was lost."))
    with pytest.raises(devices.Lost):
        embed_all(PHANTOMS, [SMALL, LARGER], empty_roots)
    for spec in (SMALL, LARGER):
        with pytest.raises(FileNotFoundError):
            files_of(empty_roots, PHANTOMS, spec)


def test_what_is_on_disk_is_passed_over_in_silence(empty_roots: Roots, prepared: list[bytes]):
    said: list[str] = []
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    prepared.clear()
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots, progress=lambda words, share: said.append(words))
    assert not prepared and not said


def test_only_as_many_as_memory_has_room_for_are_at_it_at_once(
    empty_roots: Roots, prepared: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(together.loading, "fitting", lambda specs, device: [[spec] for spec in specs])
    shares: list[float] = []
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots, progress=lambda words, share: shares.append(share))
    assert len(prepared) == 300
    assert shares == sorted(shares) and shares[-1] == 1.0


# --- ended from outside


def test_a_listener_ends_it_at_once_and_frees_every_lock(empty_roots: Roots, alone: Roots, prepared: list[bytes]):
    class Enough(Exception):
        pass

    def stop(words: str, share: float) -> None:
        if share > 0.5:
            raise Enough

    with pytest.raises(Enough):
        embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots, progress=stop)
    for spec in (SMALL, COLOURED):
        assert not artifacts.is_locked(empty_roots.cache / f"{embedding.key_of(PHANTOMS, 64, 'test', spec)}.lock")
    prepared.clear()
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    assert 0 < len(prepared) < 150
    for spec in (SMALL, COLOURED):
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_together as ours
from retrieval.embeddings import embedding
from retrieval.roots import Roots

embedding.PICTURES_IN_SHARD = 40
nothing = Path(sys.argv[1]) / "nothing"
roots = Roots(data=(), weights=None, precomputed=nothing, cache=Path(sys.argv[1]) / "cache")

def kill(words, share):
    if share > 0.5:
        os.kill(os.getpid(), signal.SIGKILL)

ours.embed_all(ours.PHANTOMS, [ours.SMALL, ours.COLOURED], roots, progress=kill)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_with_every_encoder_where_it_was(
    empty_roots: Roots, alone: Roots, tmp_path: Path, prepared: list[bytes]
):
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = [len(list(empty_roots.cache.rglob(f"{spec.name}/test.shards/*.json"))) for spec in (SMALL, COLOURED)]
    assert all(0 < shards < 4 for shards in left)
    embed_all(PHANTOMS, [SMALL, COLOURED], empty_roots)
    assert len(prepared) == 150 - 40 * min(left)
    for spec in (SMALL, COLOURED):
        assert files_of(empty_roots, PHANTOMS, spec) == embed_alone(PHANTOMS, spec, alone)
