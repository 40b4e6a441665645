"""From pictures to vectors in batches: preparing one overlaps with the forward of another; results keep their order.

A network that runs on all cores takes one batch at a time, while a thread prepares the next. A graph that runs on one
core takes as many as there are cores, each prepared and forwarded by one thread, so that none waits for another. For a
GPU all cores prepare parts of batches, one thread copies whole ones to it, and two ask for their features.
"""

import logging
import mmap
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Protocol, TypeVar

import numpy as np

from retrieval.encoders import memory
from retrieval.encoders.preprocessing import seen_batch
from retrieval.encoders.specs import Encoder, Pixels

log = logging.getLogger(__name__)

BATCH = 64  # for what names none itself: larger ones are no faster on a CPU

_LEAST, _MOST = 16, 512  # between these a batch is measured
_WORTH_MEASURING = 8192  # pictures: measuring takes about three thousand
_GAIN = 1.05  # what twice the batch has to bring
_PART = 16  # pictures that one of several threads prepares at a time

Tick = Callable[[float], None]
Given = TypeVar("Given")
Made = TypeVar("Made")


class Pictures(Protocol):
    """uint8 pictures of one size, indexed batch by batch: in memory, on a disk, or made as they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, asked: slice, /) -> Any:
        """[N, H, W] or [N, H, W, 3], or a sequence of pictures."""
        ...


def batch_of(encoder: Encoder) -> int:
    """Pictures in one batch of this encoder: another size changes features by about a millionth, so it is recorded."""
    return getattr(encoder, "batch", BATCH)


def batch_for(
    encoder: Encoder, side: tuple[int, int], *, count: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """The batch for so many pictures of this height and width at the network: on a GPU, measured if they are many."""
    worth_it = getattr(encoder, "device", "cpu").startswith("cuda") and count >= _WORTH_MEASURING
    return measured_batch(encoder, side, clock=clock) if worth_it else batch_of(encoder)


def measured_batch(encoder: Encoder, side: tuple[int, int], *, clock: Callable[[], float]) -> int:
    """The batch from which a larger one gains little, or for which memory is too small; tried on seeded noise.

    Args:
        clock: Seconds, looked at before and after the calls that are timed.
    """
    batch, rate = _LEAST, 0.0
    while True:
        try:
            faster = _rate(encoder, side, batch, clock)
        except Exception as error:
            if not memory.is_out_of_memory(error):
                raise
            return max(_LEAST, batch // 2)
        if faster < _GAIN * rate:
            return batch // 2
        if batch == _MOST:
            return batch
        batch, rate = 2 * batch, faster


def _rate(encoder: Encoder, side: tuple[int, int], batch: int, clock: Callable[[], float]) -> float:
    """Pictures a second in batches of this size, after one that is not counted: a new shape is prepared for."""
    noise = np.random.default_rng(0).integers(0, 256, (batch, *side, 3), np.uint8)
    encoder.embed(noise)
    calls = max(2, _LEAST * 8 // batch)
    before = clock()
    for _ in range(calls):
        encoder.embed(noise)
    return calls * batch / max(clock() - before, 1e-9)


def embed_in_batches(
    encoder: Encoder, pictures: Pictures, pixels: Pixels, *, batch: int, tick: Tick | None = None
) -> tuple[np.ndarray, int]:
    """Raw vectors, float32 [N, D], of uint8 pictures of one size, and the batch that they were made in.

    After running out of memory all is done again in batches half as large, down to one picture; the log says so. `tick`
    gets the share that is done, between 0 and 1, after every batch but the last.
    """
    while True:
        try:
            with closing(_vectors(encoder, pictures, pixels, batch)) as made:  # whatever happens, no thread stays
                return np.concatenate(list(_ticked(made, len(pictures), tick))), batch
        except Exception as error:
            if batch == 1 or not memory.is_out_of_memory(error):
                raise
            batch //= 2
            log.warning("%s ran out of memory; again in batches of %d.", encoder.spec.title, batch)


def give_back(mapped: np.ndarray) -> None:
    """Let go of the pages of a file that were read through a read-only mapping, so that memory stays bounded."""
    owner: object = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and not mapped.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _vectors(encoder: Encoder, pictures: Pictures, pixels: Pixels, batch: int) -> Generator[np.ndarray, None, None]:
    starts = range(0, len(pictures), batch)
    at_once, preparers = getattr(encoder, "at_once", 1), getattr(encoder, "preparers", 1)

    def prepared(start: int) -> np.ndarray:
        return seen_batch(pictures[start : start + batch], pixels)

    if len(starts) == 1 and (preparers <= 1 or len(pictures) <= _PART):
        yield encoder.embed(prepared(0))
    elif not preparers:
        yield from _in_order(lambda start: encoder.embed(prepared(start)), starts, threads=min(at_once, len(starts)))
    elif at_once == 1:
        with closing(_in_order(prepared, starts, threads=1)) as seen:
            yield from map(encoder.embed, seen)
    else:
        with closing(_batches(pictures, pixels, batch, preparers)) as seen:
            yield from _brought(encoder, seen, at_once)


def _batches(pictures: Pictures, pixels: Pixels, batch: int, threads: int) -> Generator[np.ndarray, None, None]:
    """Batches as seen, in order, each prepared in parts by several threads."""
    total = len(pictures)
    bounds = [(start, min(start + batch, total)) for start in range(0, total, batch)]
    parts = [slice(at, min(at + _PART, end)) for start, end in bounds for at in range(start, end, _PART)]
    together: list[np.ndarray] = []
    with closing(_in_order(lambda part: seen_batch(pictures[part], pixels), parts, threads=threads)) as seen:
        for part, prepared in zip(parts, seen, strict=True):
            together.append(prepared)
            if part.stop == total or part.stop % batch == 0:
                yield np.concatenate(together)
                together.clear()


def _brought(encoder: Any, batches: Iterable[np.ndarray], at_once: int) -> Iterator[np.ndarray]:
    """Vectors of batches that one thread brings to the device before others ask for them, so that it never waits."""
    with closing(_in_order(encoder.bring, batches, threads=1)) as there:
        yield from _in_order(encoder.embed, there, threads=at_once)


def _in_order(work: Callable[[Given], Made], items: Iterable[Given], *, threads: int) -> Generator[Made, None, None]:
    """What `work` makes of each item, in order, by so many threads; a bounded number lies ahead of what is taken."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()


def _ticked(batches: Iterable[np.ndarray], total: int, tick: Tick | None) -> Iterator[np.ndarray]:
    done = 0
    for vectors in batches:
        done += len(vectors)
        if tick is not None and done < total:  # the end is for the caller to say, once it is written
            tick(done / total)
        yield vectors
