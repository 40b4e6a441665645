"""How much memory networks may fill together, how much one fills, and what is said where there is too little."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.encoders import control_groups
from retrieval.errors import Unavailable

log = logging.getLogger(__name__)

SHARE = 1 / 4  # of the machine's memory, or of the GPU's: the rest is for data, vectors, and whoever else works there

_UNKNOWN = 8 << 30  # bytes: what is assumed where the system does not say
_FLOAT32 = 4  # bytes of one parameter
_TOO_SMALL = ("bad_alloc", "allocate memory", "out of memory", "ALLOC_FAILED")  # words of the C++ side


def room(device: str) -> int:
    """Bytes that the networks on a device may fill together: a quarter of its memory."""
    return int(SHARE * (_gpu_memory(device) if device.startswith("cuda") else machine_memory()))


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use: the machine's, or less where a control group limits it.

    `root` is where the system's own files lie. Both versions of Linux' control groups are asked.
    """
    return min(_installed(), *_limits(root))


def needed(parameters: int, file_bytes: int) -> int:
    """Bytes that a network will fill once it is loaded: its parameters in float32, or about its file's size."""
    return parameters * _FLOAT32 or file_bytes


def held(network: Any) -> int:
    """Bytes of a loaded network's parameters and buffers (Keras' networks are torch modules too)."""
    return sum(tensor.nbytes for group in (network.parameters(), network.buffers()) for tensor in group)


def is_out_of_memory(error: Exception) -> bool:
    """Whether numpy, torch or ONNX Runtime says with this that memory, the machine's or the GPU's, was too small."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.cuda.OutOfMemoryError)):
        return True
    # ONNX Runtime's errors are RuntimeErrors by their name alone.
    by_a_runtime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return by_a_runtime and any(words in str(error) for words in _TOO_SMALL)


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn running out of memory within into Unavailable, which says where there was too little, and for what.

    What the work had brought into memory goes, so that it is not in the way of what follows.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.warning("%s ran out of memory: %s", what, error)
        traceback.clear_frames(error.__traceback__)
        gc.collect()  # networks refer to themselves
        raise _too_little_memory(what, error) from error


def _installed() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return _UNKNOWN


def _limits(root: Path) -> list[int]:
    """What the control groups around this process allow: `memory.max` of the second version, the other of the first."""
    said = control_groups.settings(root, "memory", "memory.max", "memory.limit_in_bytes")
    return [int(word) for words in said for word in words if word.isdigit()] or [_installed()]


def _gpu_memory(device: str) -> int:
    import torch

    return torch.cuda.get_device_properties(device).total_memory


def _too_little_memory(what: str, error: Exception) -> Unavailable:
    if "CUDA" in str(error):
        remedy = "Close what else is using the GPU, or try --device cpu."
        return Unavailable(f"The GPU had too little memory for {what}.", remedy=remedy)
    remedy = "Close other programs, or try it on a machine with more memory."
    return Unavailable(f"This machine had too little memory for {what}.", remedy=remedy)
