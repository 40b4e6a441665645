"""How long the study's whole grid would take on this device, by rates that are measured on a few pictures each.

A rate is an encoder's at one side of the pictures as it sees them, by the runtime that the product would use, with
random weights; resizing is not in it. Each encoder has a process of its own: `python -m benchmarks.grid ENCODER`.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_networks
from benchmarks.judging import Finding, median, timed
from benchmarks.serving import REPOSITORY, environment
from retrieval.cells import Cell
from retrieval.datasets.catalogue import find_dataset
from retrieval.embeddings import pipeline
from retrieval.encoders import devices, preprocessing, with_onnx
from retrieval.encoders.catalogue import find_encoder
from retrieval.encoders.specs import Encoder
from retrieval.jobs.plan import STUDY, cells_of
from retrieval.roots import Roots, roots_from_environment

ROUNDS, SEED = 3, 0
FEW = 4  # pictures, for what torch runs on a CPU
LEAST = 2  # batches, otherwise; more where more of them run side by side

Side = tuple[int, int]


def findings() -> list[Finding]:
    """The hours of all its cells together; the table is printed."""
    rates = {name: _measured(name) for name in STUDY.encoders}
    rows = [_row(name, rates[name]) for name in STUDY.encoders]
    hours = [_hours(name, rates[name]) for name in STUDY.encoders]
    total = sum(filter(None, hours)) if any(hours) else None
    print(_table([("encoder", "by", "ms a picture, by the side that it sees", "pictures", "hours"), *rows]))
    left_out = [name for name, each in zip(STUDY.encoders, hours, strict=True) if each is None]
    note = f"fp32, random weights, {len(_grid())} cells, every slice of a volume counted; table above"
    note += f"; without {', '.join(left_out)}, not measured here" if left_out else ""
    return [Finding("the study's whole grid on this device, by measured rates", total, unit="hours", note=note)]


def pictures_of(name: str) -> Counter[Side]:
    """How many pictures, or slices of volumes, an encoder of the study is to embed at each side that it sees."""
    found = Counter[Side]()
    for cell in _grid():
        if cell.encoder == name:
            side, slices = _seen(name, cell.dataset, cell.size)
            found[side] += slices * sum(cell.data.counts[split] for split in ("train", "test"))
    return found


def _grid() -> tuple[Cell, ...]:
    return cells_of(STUDY, roots_from_environment(environment()))


@cache
def _seen(name: str, dataset: str, size: int) -> tuple[Side, int]:
    """The side at which pictures reach the network, and how many there are in an item."""
    ndim = find_dataset(dataset).ndim
    pixels = preprocessing.pixels_for(find_encoder(name), ndim)
    if ndim == 2:
        return preprocessing.seen_side((size, size), pixels), 1
    slices = preprocessing.seen_slices(np.zeros((size,) * 3, np.uint8), pixels)
    return preprocessing.seen_side(slices.shape[1:], pixels), len(slices)


def _measured(name: str) -> dict[Side, tuple[str, float]]:
    """By side: what ran it, and milliseconds a picture; empty where this machine could not."""
    command = [sys.executable, "-m", "benchmarks.grid", name]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} was not measured: {(done.stderr.strip() or 'it was killed').splitlines()[-1]}", flush=True)
        return {}
    rates = json.loads(done.stdout.splitlines()[-1])
    return {(height, width): (by, rate) for height, width, by, rate in rates}


def measure(name: str) -> list[tuple[int, int, str, float]]:
    """Height, width, runtime and milliseconds a picture, for every side at which an encoder sees the study's data."""
    device = devices.named("auto")[0]
    network = random_networks.network(find_encoder(name), device)
    with tempfile.TemporaryDirectory() as folder:
        return [(*side, *_rate(network, side, device, Path(folder))) for side in sorted(pictures_of(name))]


def _rate(network: Any, side: Side, device: str, folder: Path) -> tuple[str, float]:
    encoder: Encoder = network
    if network.spec.library == "keras":
        random_networks.calm(network.network, side)
    if network.spec.runtime == "onnx" and device == "cpu":
        encoder = with_onnx.convert(network, side, Roots((), None, folder / "nothing", folder)) or network
    slow = device == "cpu" and encoder is network
    batch = FEW if slow else pipeline.batch_of(encoder)
    batches = 1 if slow else max(LEAST, getattr(encoder, "at_once", 1))
    pictures = np.random.default_rng(SEED).integers(0, 256, (batches * batch, *side, 3), np.uint8)
    pixels = preprocessing.normalisation(encoder.spec)

    def work() -> None:
        pipeline.embed_in_batches(encoder, pictures, pixels, batch=batch)

    work()  # warm
    seconds = median([timed(work) for _ in range(ROUNDS)])
    runtime = getattr(encoder, "runtime", "torch")
    return f"{runtime} on {getattr(encoder, 'device', device)}", 1000 * seconds / len(pictures)


def _hours(name: str, rates: dict[Side, tuple[str, float]]) -> float | None:
    counts = pictures_of(name)
    if not counts.keys() <= rates.keys():
        return None
    return sum(number * rates[side][1] for side, number in counts.items()) / 3.6e6


def _row(name: str, rates: dict[Side, tuple[str, float]]) -> tuple[str, ...]:
    hours, by = _hours(name, rates), " and ".join(sorted({by for by, _ in rates.values()}))
    each = ", ".join(f"{height} px: {rate:.1f}" for (height, _), (_, rate) in sorted(rates.items()))
    taken = "not measured" if hours is None else f"{hours:,.1f}"
    return name, by, each, f"{pictures_of(name).total():,}", taken


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        print(findings())
