"""Where networks run: the CPU, or NVIDIA's GPUs. Torch is asked only where there is a sign of one."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from retrieval.encoders import memory
from retrieval.encoders.specs import EncoderSpec
from retrieval.errors import Unavailable

# The driver's device on Linux, in Windows' own Linux, and its library on Windows.
_SIGNS_OF_A_GPU = ("/dev/nvidiactl", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")


class Lost(Unavailable):
    """A GPU answers no more in the middle of the work: what this process asks of it next would fail as well."""


def named(device: str) -> tuple[str, ...]:
    """The devices that a word names: several, separated by commas; `auto` is every GPU, or else the CPU."""
    names = tuple(name.strip() for name in device.split(",") if name.strip())
    if names != ("auto",):
        return names or ("cpu",)
    if on_cpu("auto"):
        return ("cpu",)
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cpu",)


def cores() -> int:
    """Processor cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def overlap(device: str) -> tuple[int, int]:
    """How a torch network's batches overlap: calls at once, and threads that prepare pictures for them.

    On a GPU two calls run side by side, so that it computes one batch while another is launched or fetched, and every
    core prepares. On a CPU a network has all cores for itself, and one thread prepares the next batch.
    """
    return (2, cores()) if device.startswith("cuda") else (1, 1)


def on_cpu(device: str) -> bool:
    """Whether a device is the CPU."""
    if device != "auto":
        return device == "cpu"
    return not any(Path(sign).exists() for sign in _SIGNS_OF_A_GPU) or ready(device) == "cpu"


def refusal(spec: EncoderSpec, device: str = "auto") -> Unavailable | None:
    """Why an encoder cannot run on a device; None where it can. Float32 runs everywhere, bfloat16 on a GPU."""
    if spec.precision == "fp32" or not on_cpu(device):
        return None
    return Unavailable(
        f"{spec.title} is for a GPU: on a processor bf16 is less exact and no faster.",
        remedy=f"Choose {spec.plain}, the same network in float32, or a machine with an NVIDIA GPU.",
    )


def ready(device: str) -> str:
    """Set torch up for exact float32 on all cores, and name the device; Unavailable where it cannot be used."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse on a busy machine
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).cpu()  # `meta` holds nothing that could be read back
    except (RuntimeError, AssertionError) as error:
        raise Unavailable(
            f"The device {device!r} cannot be used ({error}).", remedy="Use --device auto or cpu."
        ) from error
    return device


def usable(names: Sequence[str]) -> str:
    """The first of several devices that can be used now; where none can, the first, whose errors say why."""
    for name in names:
        with contextlib.suppress(Unavailable):
            return ready(name)
    return names[0]


def lost(device: str) -> Lost | None:
    """Why a device that this process has worked on can be used no more; None where it can, or is the CPU.

    The GPU is asked, not the error that made one wonder: after some of CUDA's errors (an illegal address, a failed
    launch, a card that fell off its bus) every call of the process fails, after others none.
    """
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or not torch.cuda.is_initialized():
        return None
    try:
        torch.zeros(1, device="cuda" if device == "auto" else device).cpu()
    except RuntimeError as error:
        return None if memory.is_out_of_memory(error) else _gone(error)
    return None


def _gone(error: RuntimeError) -> Lost:
    said = str(error).partition("\n")[0].rstrip(".")
    return Lost(
        f"The GPU was lost in the middle of the work: it answers no more ({said}).",
        remedy="Run the same again: what is finished is kept, and a new process may get the GPU back. If it does not, "
        "restart the machine, or use --device cpu.",
    )
