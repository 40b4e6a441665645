"""Checkpoint files of torch: `.safetensors` and what torch.save writes. Nothing in them is executed."""

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.encoders.specs import Layout
from retrieval.encoders.weights import refused, unreadable

_DAMAGED = (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, pickle.UnpicklingError)

# Plain data that upstream files hold beside tensors; a class that could run something is never listed here.
_ALLOWED = {"argparse.Namespace": argparse.Namespace}


def read(path: Path, layout: Layout) -> dict[str, Any]:
    """The tensors of a checkpoint by name, on the CPU, unwrapped as the layout says; BadInput where it is none."""
    import torch

    content = _read(path, layout)
    for key in layout.unwrap:
        content = content[key] if isinstance(content, Mapping) and isinstance(content.get(key), Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(one, torch.Tensor) for one in content.values()):
        raise unreadable(path, ValueError("it holds something other than tensors by name"))
    return dict(content)


def read_arrays(path: Path, layout: Layout) -> dict[str, np.ndarray]:
    """The same as arrays, for a digest: unwrapped, before anything is dropped or renamed."""
    import torch

    # numpy has no bfloat16; float32 holds all of its values
    wide = {torch.bfloat16: torch.float32}
    return {
        name: tensor.to(wide.get(tensor.dtype, tensor.dtype)).numpy() for name, tensor in read(path, layout).items()
    }


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
        raise refused(path, error) if "Unsupported global" in str(error) else unreadable(path, error) from error
    except (*_DAMAGED, safetensors.SafetensorError) as error:
        raise unreadable(path, error) from error
