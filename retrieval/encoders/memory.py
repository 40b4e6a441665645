"""How much memory networks may fill together, and how much one fills."""

import os
from pathlib import Path
from typing import Any

SHARE = 1 / 4  # of the machine's memory, or of the GPU's: the rest is for data, vectors, and whoever else works there

_UNKNOWN = 8 << 30  # bytes: what is assumed where the system does not say
_FLOAT32 = 4  # bytes of one parameter


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


def _installed() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return _UNKNOWN


def _limits(root: Path) -> list[int]:
    """What the control groups around this process allow: its own and every one above it."""
    groups = root / "sys/fs/cgroup"
    named = [line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines()]
    own = [(controllers, path.strip("/")) for _, controllers, path in (line for line in named if len(line) == 3)]
    files = [groups / "memory.max", groups / "memory/memory.limit_in_bytes"]
    for controllers, path in own:
        home, name = (groups, "memory.max") if not controllers else (groups / "memory", "memory.limit_in_bytes")
        folder = home / path
        files += [place / name for place in (folder, *folder.parents) if place.is_relative_to(home)]
    said = (_text(file).strip() for file in files)
    return [int(limit) for limit in said if limit.isdigit()] or [_installed()]


def _text(path: Path) -> str:
    """What stands in a file of the system's; nothing where it has none or does not show it."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _gpu_memory(device: str) -> int:
    import torch

    return torch.cuda.get_device_properties(device).total_memory
