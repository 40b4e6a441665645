"""Several devices of one machine at work on the same cells: one process each, which share them by their locks."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from retrieval.encoders.devices import shares
from retrieval.jobs.plan import Selection
from retrieval.roots import SHIPPED, Roots, environment_of

STOPPED = 30.0  # seconds that a process has to end in after it was asked to


def run_on(devices: Sequence[str], selection: Selection, roots: Roots, *, say: Callable[[str], None]) -> None:
    """Let a process for each device compute what it can of a selection; return when all have ended, however they did.

    They share the cores that this one may use. A cell that one is at work on is left to it by the others; what a
    process that died had begun is for whoever plans the same selection next. `say` gets what they say, a line at a
    time, each with its device before it, and a sentence where one did not do all that it was asked for. An exception
    (Ctrl-C) ends all of them before it is passed on.
    """
    processes: list[subprocess.Popen[str]] = []
    try:
        for device, cores in zip(devices, shares(len(devices)), strict=True):
            processes.append(_started(device, selection, roots))
            _keep_to(cores, processes[-1])
        listeners = [_listener(device, process, say) for device, process in zip(devices, processes, strict=True)]
        for process in processes:
            process.wait()
    except BaseException:
        _end(processes)
        raise
    for listener in listeners:
        listener.join()
    for device, process in zip(devices, processes, strict=True):
        if process.returncode:
            say(f"{device}: {_ended(process.returncode)} What it left is tried once more.")


def _started(device: str, selection: Selection, roots: Roots) -> subprocess.Popen[str]:
    words = [word for name, values in vars(selection).items() if values for word in (f"--{name}", _joined(values))]
    return subprocess.Popen(
        [sys.executable, "-m", "retrieval", "precompute", *words, "--device", device, "--format", "json"],
        cwd=SHIPPED.parent,
        env=environment_of(roots),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that Ctrl-C comes once, from here
    )


def _keep_to(cores: set[int], process: subprocess.Popen[str]) -> None:
    """Let a process, and the threads that it will start, run on these cores alone, where the system can see to that."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # it has ended, or this is not allowed here
            os.sched_setaffinity(process.pid, cores)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Ask processes to stop, as a shell would that closes, and kill those that have not in time."""
    try:
        for process in processes:
            process.terminate()
        until = time.monotonic() + STOPPED
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
    finally:  # a second Ctrl-C does not wait for them
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _ended(code: int) -> str:
    """What the exit code of a process that did not do all says of it; below 0 it is a signal's number."""
    if code == 1:  # it said no to some cells, or another had them
        return "Some cells were left, perhaps to another process."
    return f"The process was ended by signal {-code}." if code < 0 else f"The process ended with code {code}."


def _listener(device: str, process: subprocess.Popen[str], say: Callable[[str], None]) -> threading.Thread:
    thread = threading.Thread(target=_relay, args=(process, f"{device}: ", say), daemon=True)
    thread.start()
    return thread


def _joined(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _relay(process: subprocess.Popen[str], before: str, say: Callable[[str], None]) -> None:
    if process.stderr is not None:
        with process.stderr as lines:
            for line in lines:
                say(before + line.rstrip())
