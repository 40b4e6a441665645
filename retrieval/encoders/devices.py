"""Where networks run: the CPU, or NVIDIA's GPUs. Torch is asked only where there is a sign of one."""

import contextlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from retrieval.encoders import control_groups, memory
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


def cores(root: Path = Path("/")) -> int:
    """Processor cores that this process may use: those it may run on, or fewer where a control group gives less time.

    `root` is where the system's own files lie. A part of a core counts as one.
    """
    quota = control_groups.settings(root, "cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    limits = [math.ceil(int(words[0]) / int(words[1])) for words in quota if _is_limit(words)]
    return max(1, min([len(_allowed()), *limits]))


def shares(processes: int) -> list[set[int]]:
    """The cores for each of several processes that are to have together what this one has; see `shared_out`."""
    return shared_out(_allowed(), processes, most=cores())


def shared_out(allowed: Sequence[int], processes: int, *, most: int) -> list[set[int]]:
    """Cores for each of several processes: neighbours, of its own where there are enough, all together `most`.

    At least one each.
    """
    each = max(1, min(most, len(allowed)) // processes)
    starts = [number * len(allowed) // processes for number in range(processes)]
    return [set(allowed[start : start + each]) for start in starts]


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

    if torch.get_num_threads() > cores():  # it does not know of control groups
        torch.set_num_threads(cores())
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


def _allowed() -> list[int]:
    """The numbers of the cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def _is_limit(words: Sequence[str]) -> bool:
    """Whether these are microseconds of work in so many of a period, not `max` or -1, which stand for no limit."""
    return len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0


def _gone(error: RuntimeError) -> Lost:
    said = str(error).partition("\n")[0].rstrip(".")
    return Lost(
        f"The GPU was lost in the middle of the work: it answers no more ({said}).",
        remedy="Run the same again: what is finished is kept, and a new process may get the GPU back. If it does not, "
        "restart the machine, or use --device cpu.",
    )
