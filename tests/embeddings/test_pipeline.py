"""Batches that are prepared and embedded by several threads: their order, their bounds, what ends them."""

import dataclasses
import logging
import mmap
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embeddings import embedding, pipeline
from retrieval.encoders import builtin, loading, memory, weights
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import EncoderSpec, Pixels
from retrieval.errors import Unavailable

PIXELS, LITE = find_encoder("pixels"), find_encoder("efficientnet_lite0")
NATIVE = Pixels(scale="none", channels="native")


@dataclasses.dataclass(eq=False)
class Side:
    """The pixels encoder, for as many threads as it says, with something done before each call."""

    at_once: int = 1
    preparers: int = 1
    before: Callable[[np.ndarray], None] = lambda pictures: None
    spec: EncoderSpec = PIXELS
    weights_digest: str = "none"
    lengths: list[int] = dataclasses.field(default_factory=list)

    def bring(self, pictures: np.ndarray) -> np.ndarray:
        return pictures

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        self.before(pictures)
        self.lengths.append(len(pictures))
        return builtin.load(PIXELS).embed(pictures)


WAYS = {"one at a time": (1, 1), "each prepares its own": (3, 0), "prepared apart": (2, 4)}


@pytest.fixture(params=WAYS, ids=lambda name: name.replace(" ", "-"))
def way(request: pytest.FixtureRequest) -> dict[str, int]:
    return dict(zip(("at_once", "preparers"), WAYS[request.param], strict=True))


def pictures_of(count: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)


def vectors_of(encoder: Any, pictures: Any, batch: int, **named: Any) -> tuple[np.ndarray, int]:
    return pipeline.embed_in_batches(encoder, pictures, NATIVE, batch=batch, **named)


# --- order and batches


@pytest.mark.parametrize("count", [1, 8, 61])
@pytest.mark.parametrize("batch", [1, 8, 20, 64])
def test_vectors_keep_the_order_of_their_pictures(way: dict[str, int], count: int, batch: int):
    pictures, encoder = pictures_of(count), Side(**way)
    vectors, used = vectors_of(encoder, pictures, batch)
    assert used == batch
    assert np.array_equal(vectors, pictures.reshape(count, -1))
    full, rest = divmod(count, batch)
    assert sorted(encoder.lengths, reverse=True) == [batch] * full + [rest] * (rest > 0)


def test_a_batch_that_is_slow_is_waited_for(way: dict[str, int]):
    """The first batch ends last: where another thread can, it has ended before."""
    others = threading.Event()

    def before(pictures: np.ndarray) -> None:
        first = pictures[0, 0, 0, 0] == 0
        if way["at_once"] == 1:
            return
        assert not first or others.wait(30)
        if not first:
            others.set()

    pictures = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None], (40, 4, 4))
    vectors, _ = vectors_of(Side(**way, before=before), pictures, 10)
    assert np.array_equal(vectors[:, 0], np.arange(40))


def test_the_share_that_is_done_is_told_after_every_batch_but_the_last(way: dict[str, int]):
    shares: list[float] = []
    vectors_of(Side(**way), pictures_of(50), 20, tick=shares.append)
    assert shares == [0.4, 0.8]


class Asked:
    """Pictures that count how many of them were asked for."""

    def __init__(self, count: int, refuse: int | None = None) -> None:
        self.pictures, self.refuse, self.most, self.lock = pictures_of(count), refuse, 0, threading.Lock()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, asked: slice) -> np.ndarray:
        with self.lock:
            self.most = max(self.most, asked.stop)
        if self.refuse is not None and asked.start <= self.refuse < asked.stop:
            raise ValueError("this one is no picture")
        return self.pictures[asked]


def test_only_so_many_batches_lie_ahead_of_what_is_embedded(way: dict[str, int]):
    asked = Asked(16 * 200)
    within: list[int] = []

    def before(pictures: np.ndarray) -> None:
        within.append(asked.most // 16 - len(within))

    encoder = Side(**way, before=before)
    vectors_of(encoder, asked, 16)
    threads = 2 * max(1, way["preparers"]) + 1 + (2 * way["at_once"] + 1) + 3
    assert len(within) == 200 and max(within) <= threads + way["at_once"] + 1


def test_a_picture_that_cannot_be_prepared_ends_it_and_what_was_to_come_is_not_asked_for(way: dict[str, int]):
    asked = Asked(16 * 500, refuse=100)
    encoder = Side(**way)
    with pytest.raises(ValueError, match="no picture"):
        vectors_of(encoder, asked, 16)
    assert asked.most < 16 * 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_a_listener_that_has_enough_ends_it(way: dict[str, int]):
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        raise Enough

    asked = Asked(16 * 500)
    with pytest.raises(Enough):
        vectors_of(Side(**way), asked, 16, tick=stop)
    assert asked.most < 16 * 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


@pytest.mark.parametrize("grey", [True, False])
def test_a_network_gives_the_same_whether_its_batches_overlap_or_not(grey: bool, empty_roots: Any):
    encoder: Any = loading.load_encoder(LITE.name, empty_roots, device="cpu")
    draw = np.random.default_rng(1)
    pictures = draw.integers(0, 256, (37, 28, 28) if grey else (37, 28, 28, 3), dtype=np.uint8)
    alone = np.concatenate(
        [embedding.embed_pictures(encoder, pictures[start : start + 8]) for start in range(0, 37, 8)]
    )
    overlapping = dataclasses.replace(encoder, at_once=2, preparers=3)
    assert LITE.pixels is not None
    vectors, used = pipeline.embed_in_batches(overlapping, pictures, LITE.pixels, batch=8)
    assert used == 8
    assert np.array_equal(vectors, alone)


# --- the batch


class Ticking:
    """A clock that a call of an encoder moves on: by so much for each call, and for each picture."""

    def __init__(self, call: float, picture: float) -> None:
        self.call, self.picture, self.now = call, picture, 0.0

    def work(self, pictures: np.ndarray) -> None:
        self.now += self.call + self.picture * len(pictures)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("call", "picture", "batch"),
    [
        (0.0, 1.0, 16),  # a larger one gains nothing
        (16.0, 1.0, 256),  # (16 + n) / n: twice 256 gains 3 %
        (10_000.0, 1.0, 512),  # the call itself is all there is to it
    ],
)
def test_a_batch_is_doubled_while_that_gains_five_per_cent(call: float, picture: float, batch: int):
    clock = Ticking(call, picture)
    encoder = Side(before=clock.work)
    assert pipeline.measured_batch(encoder, (8, 6), clock=clock) == batch
    assert min(encoder.lengths) == 16 and max(encoder.lengths) == min(512, 2 * batch)


@pytest.mark.parametrize(("most", "batch"), [(100, 64), (16, 16), (3, 16)])
def test_memory_ends_the_search_for_a_batch(most: int, batch: int):
    clock = Ticking(10_000.0, 1.0)

    def before(pictures: np.ndarray) -> None:
        if len(pictures) > most:
            raise torch_error()
        clock.work(pictures)

    assert pipeline.measured_batch(Side(before=before), (8, 6), clock=clock) == batch


def test_another_error_ends_the_search_with_it():
    def before(pictures: np.ndarray) -> None:
        raise ValueError("of another kind")

    with pytest.raises(ValueError, match="of another kind"):
        pipeline.measured_batch(Side(before=before), (8, 6), clock=lambda: 0.0)


def test_only_on_a_gpu_and_for_many_pictures_is_it_looked_for():
    encoder = Side()
    assert pipeline.batch_for(encoder, (8, 6), count=100_000) == pipeline.BATCH and not encoder.lengths
    on_gpu: Any = Side()
    on_gpu.device = "cuda:1"
    clock = Ticking(16.0, 1.0)
    on_gpu.before = clock.work
    assert pipeline.batch_for(on_gpu, (8, 6), count=500, clock=clock) == pipeline.BATCH and not on_gpu.lengths
    assert pipeline.batch_for(on_gpu, (8, 6), count=100_000, clock=clock) == 256
    assert sum(on_gpu.lengths) < 4000


# --- memory


def torch_error() -> Exception:
    import torch

    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def onnx_error() -> Exception:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    return RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc")


TOO_SMALL: dict[str, Callable[[], Exception]] = {
    "numpy": lambda: MemoryError("Unable to allocate 1.00 TiB for an array"),
    "C++": lambda: RuntimeError("std::bad_alloc"),
    "torch on a CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99 bytes."),
    "torch on a GPU": torch_error,
    "CUDA": lambda: RuntimeError("CUDA error: out of memory"),
    "cuBLAS": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "ONNX Runtime": onnx_error,
}


@pytest.mark.parametrize("error", TOO_SMALL)
def test_without_memory_all_is_done_again_in_half_the_batch_and_the_log_says_so(
    error: str, way: dict[str, int], caplog: pytest.LogCaptureFixture
):
    def before(pictures: np.ndarray) -> None:
        if len(pictures) > 10:
            raise TOO_SMALL[error]()

    pictures = pictures_of(70)
    with caplog.at_level(logging.WARNING):
        vectors, used = vectors_of(Side(**way, before=before), pictures, 32)
    assert used == 8
    assert np.array_equal(vectors, pictures.reshape(70, -1))
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{PIXELS.title} ran out of memory; again in batches of {batch}." for batch in (16, 8)]


def test_numpy_itself_runs_out_of_memory():
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)
    assert memory.is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", TOO_SMALL)
def test_a_weights_file_is_not_blamed_for_too_little_memory(error: str, tmp_path: Path):
    made = TOO_SMALL[error]()
    with pytest.raises(type(made)) as caught:
        weights.unreadable(tmp_path / "network.pth", made)
    assert caught.value is made
    assert "cannot be read" in weights.unreadable(tmp_path / "network.pth", RuntimeError("size mismatch")).message


def test_where_one_picture_is_too_many_the_error_is_the_answer(way: dict[str, int]):
    def before(pictures: np.ndarray) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        vectors_of(Side(**way, before=before), pictures_of(9), 4)


@pytest.mark.parametrize("error", TOO_SMALL)
def test_what_lacks_memory_is_told_and_what_it_had_goes(error: str):
    class Network:
        def __init__(self) -> None:
            self.itself = self

    left: list[weakref.ref[Network]] = []

    def work() -> None:
        network = Network()
        left.append(weakref.ref(network))
        raise TOO_SMALL[error]()

    asked = "UNI on BreastMNIST"
    with pytest.raises(Unavailable, match=f"too little memory for {asked}") as told, memory.refusals(asked):
        work()
    assert ("GPU" in told.value.message) == (error in ("torch on a GPU", "CUDA", "cuBLAS"))
    assert left[0]() is None
    with pytest.raises(ValueError, match="bad_alloc"), memory.refusals(asked):
        raise ValueError("bad_alloc")


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("bad_alloc")])
def test_an_error_of_another_kind_passes_through_at_once(
    error: Exception, way: dict[str, int], caplog: pytest.LogCaptureFixture
):
    def before(pictures: np.ndarray) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        vectors_of(Side(**way, before=before), pictures_of(9), 4)
    assert caught.value is error
    assert not caplog.records


# --- pages of a mapped file


@pytest.fixture
def large(tmp_path: Path) -> Iterator[np.ndarray]:
    """32 MiB of pictures in a file, mapped."""
    np.save(tmp_path / "large.npy", pictures_of(32, 1024))
    yield np.load(tmp_path / "large.npy", mmap_mode="r")


def resident(array: np.ndarray) -> int:
    """Bytes of a mapped array that are in this process' own tables, by the system's account of the mapping."""
    address, found = array.ctypes.data, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            found = start <= address < end
        elif found and first == "Rss:":
            return int(line.split()[1]) * 1024
    raise AssertionError("the array is in no mapping")


def test_pages_that_were_read_are_given_back_and_read_the_same_again(large: np.ndarray, need: Callable):
    need(Path("/proc/self/smaps").exists() and hasattr(mmap, "MADV_DONTNEED"), "the system does not tell its mappings")
    before = large[5:].sum()
    assert resident(large) > 16 << 20
    pipeline.give_back(large[3:9])  # of any part of it
    assert resident(large) < 1 << 20
    assert large[5:].sum() == before


def test_what_may_hold_changes_or_is_no_file_is_left_alone(tmp_path: Path):
    np.save(tmp_path / "own.npy", pictures_of(4))
    copied = np.load(tmp_path / "own.npy", mmap_mode="c")
    copied[0] = 7
    pipeline.give_back(copied)
    assert (copied[0] == 7).all()
    plain = pictures_of(4)
    pipeline.give_back(plain)
    assert np.array_equal(plain, pictures_of(4))
