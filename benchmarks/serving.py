"""Starting a page as a process of its own, and how long it takes until that answers."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
KEPT = REPOSITORY / "build" / "bench"  # what a run computes, kept for the next one
PATIENCE = 120.0


@dataclass(frozen=True)
class Served:
    """A page that answers.

    Attributes:
        url: Its address.
        seconds: From the start of its process to the first HTTP 200.
        log: What it has written so far.
    """

    url: str
    seconds: float
    log: Path


def app(*flags: str) -> list[str]:
    """The command line of the product's page; `flags` are the interpreter's."""
    return [sys.executable, *flags, "app.py"]


def bare(kind: str) -> list[str]:
    """The command line of one of the small pages that ours is compared with."""
    return [sys.executable, "-m", "benchmarks.bare_pages", kind]


def environment() -> dict[str, str]:
    """Data and weights as named or as they lie beside the checkout, with a cache of the benchmarks' own."""
    chosen = {**os.environ, "RETRIEVAL_CACHE": str(KEPT / "cache"), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    chosen |= {"GRADIO_ANALYTICS_ENABLED": "False"}
    if SHARED.is_dir():
        chosen.setdefault("RETRIEVAL_DATA", str(SHARED / "data" / "medmnist"))
        chosen.setdefault("RETRIEVAL_WEIGHTS", str(SHARED / "weights"))
    return chosen


@contextmanager
def served(command: list[str], more: Mapping[str, str] = MappingProxyType({})) -> Iterator[Served]:
    """Run a page until the block is left; `more` stands in its environment besides."""
    KEPT.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    log = KEPT / f"{port}.log"
    began = time.perf_counter()
    with log.open("wb") as stream:
        chosen = {**environment(), **more, "GRADIO_SERVER_PORT": str(port)}
        process = subprocess.Popen(command, cwd=REPOSITORY, env=chosen, stdout=stream, stderr=stream)
    try:
        _wait(port, process, log)
        yield Served(f"http://127.0.0.1:{port}", time.perf_counter() - began, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        log.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    """Until the page itself answers 200."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if _answers(port):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args} did not answer:\n{log.read_text(errors='replace')[-2000:]}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()
