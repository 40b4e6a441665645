"""Checkpoint files of torch: `.safetensors` and what torch.save writes. Nothing in them is executed."""

import argparse
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders.specs import Layout
from retrieval.encoders.weights import refused, unreadable

_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, pickle.UnpicklingError)
_DAMAGED += (TypeError, AttributeError, AssertionError, zipfile.BadZipFile)  # where single bytes are wrong

# What weights are written in. Others (float8, quantised, complex) mean their numbers only together with something else.
_KINDS = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")

# Plain data that upstream files hold beside tensors; a class that could run something is never listed here.
_ALLOWED = {"argparse.Namespace": argparse.Namespace}


def read(path: Path, layout: Layout) -> dict[str, Any]:
    """The tensors of a checkpoint by name, on the CPU, unwrapped as the layout says; BadInput where it is none."""
    import torch

    content = _read(path, layout)
    for key in layout.unwrap:
        content = content[key] if isinstance(content, Mapping) and isinstance(content.get(key), Mapping) else content
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in content.items()
    ):
        raise unreadable(path, ValueError("it holds something other than tensors by name"))
    special = next((name for name, one in content.items() if not _is_plain(one)), None)
    if special is not None:
        raise unreadable(path, ValueError(f"{special} is no plain tensor of numbers ({content[special].dtype})"))
    return dict(content)


def read_arrays(path: Path, layout: Layout) -> Mapping[str, np.ndarray]:
    """The same as arrays, for a digest: unwrapped, before anything is dropped or renamed."""
    return _Arrays(read(path, layout))


class _Arrays(Mapping[str, np.ndarray]):
    """Tensors as arrays; bfloat16, which numpy lacks, as float32, which holds all of its values, one at a time."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        import torch

        tensor = self._tensors[name].detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _is_plain(tensor: Any) -> bool:
    """Whether it lies in memory number by number: neither sparse nor nested, nor without content, nor quantised."""
    import torch

    lies = tensor.layout == torch.strided and not tensor.is_nested and tensor.device.type == "cpu"
    return lies and str(tensor.dtype).removeprefix("torch.") in _KINDS


def _read(path: Path, layout: Layout) -> Any:
    import safetensors
    import safetensors.torch
    import torch

    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals([_ALLOWED[name] for name in layout.allow]):
            # mapped into memory where the container allows it: the optimizer beside the weights is never read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch's own text is long, and advises to read the file with everything allowed
        damaged = unreadable(path, ValueError("it is not what PyTorch saves"))
        raise refused(path, error) if "GLOBAL " in str(error) else damaged from error
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise unreadable(path, error) from error
