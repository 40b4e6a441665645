"""Several devices of one machine at work on the same cells: one process each, which share them by their locks."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from retrieval.jobs.plan import Selection
from retrieval.roots import SHIPPED, Roots, environment_of

STOPPED = 30.0  # seconds that a process has to end in after it was asked to


def run_on(devices: Sequence[str], selection: Selection, roots: Roots, *, say: Callable[[str], None]) -> None:
    """Let a process for each device compute what it can of a selection; return when all have ended, however they did.

    A cell that one is at work on is left to it by the others; what a process that died had begun is for whoever plans
    the same selection next. `say` gets what they say, a line at a time, each with its device before it. An exception
    (Ctrl-C) asks all of them to stop.
    """
    processes = [_started(device, selection, roots) for device in devices]
    listeners = [
        threading.Thread(target=_relay, args=(process, f"{device}: ", say), daemon=True)
        for device, process in zip(devices, processes, strict=True)
    ]
    for listener in listeners:
        listener.start()
    try:
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(STOPPED)
        raise
    for listener in listeners:
        listener.join()


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


def _joined(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _relay(process: subprocess.Popen[str], before: str, say: Callable[[str], None]) -> None:
    if process.stderr is not None:
        with process.stderr as lines:
            for line in lines:
                say(before + line.rstrip())
