"""From pictures to vectors in batches: preparing one overlaps with the forward of another; results keep their order.

A network that runs on all cores takes one batch at a time, while a thread prepares the next. A graph that runs on one
core takes as many as there are cores, each prepared and forwarded by one thread, so that none waits for another.
"""

import logging
import mmap
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from retrieval.encoders.preprocessing import seen_batch
from retrieval.encoders.specs import Encoder, Pixels

log = logging.getLogger(__name__)

BATCH = 64  # for what names none itself: larger ones are no faster on a CPU

Pictures = np.ndarray | Sequence[np.ndarray]
Tick = Callable[[float], None]
Given = TypeVar("Given")
Made = TypeVar("Made")


def batch_of(encoder: Encoder) -> int:
    """Pictures in one batch of this encoder: another size changes features by about a millionth, so it is recorded."""
    return getattr(encoder, "batch", BATCH)


def embed_in_batches(
    encoder: Encoder, pictures: Pictures, pixels: Pixels, *, batch: int, tick: Tick | None = None
) -> tuple[np.ndarray, int]:
    """Raw vectors, float32 [N, D], of uint8 pictures of one size, and the batch that they were made in.

    After running out of memory all is done again in batches half as large, down to one picture; the log says so.

    Args:
        pictures: Indexed batch by batch, so that they may lie on a disk or be decoded as they are asked for.
        tick: Gets the share that is done, between 0 and 1, after every batch but the last.
    """
    while True:
        try:
            return np.concatenate(list(_ticked(_vectors(encoder, pictures, pixels, batch), len(pictures), tick))), batch
        except Exception as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
            batch //= 2
            log.warning("%s ran out of memory; again in batches of %d.", encoder.spec.title, batch)


def is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch or ONNX Runtime says with this that memory, the machine's or the GPU's, was too small."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("bad_alloc" in said or "allocate memory" in said)


def give_back(mapped: np.ndarray) -> None:
    """Let go of the pages of a file that were read through a read-only mapping, so that memory stays bounded."""
    owner: object = mapped
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and not mapped.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


def _vectors(encoder: Encoder, pictures: Pictures, pixels: Pixels, batch: int) -> Iterator[np.ndarray]:
    starts = range(0, len(pictures), batch)
    at_once = min(getattr(encoder, "at_once", 1), len(starts))

    def prepared(start: int) -> np.ndarray:
        return seen_batch(pictures[start : start + batch], pixels)

    if len(starts) == 1:
        yield encoder.embed(prepared(0))
    elif at_once > 1:
        yield from _in_order(lambda start: encoder.embed(prepared(start)), starts, threads=at_once)
    else:
        yield from (encoder.embed(seen) for seen in _in_order(prepared, starts, threads=1))


def _in_order(work: Callable[[Given], Made], items: Iterable[Given], *, threads: int) -> Iterator[Made]:
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
