"""How vectors came to be: recorded beside them, never part of their key."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from retrieval import provenance
from retrieval.encoders import configs
from retrieval.encoders.specs import Encoder


def ran(encoder: Encoder) -> str:
    """By which runtime an encoder runs, and on what kind of device: `onnx on cpu`."""
    return _in_words(getattr(encoder, "runtime", "numpy"), getattr(encoder, "device", "cpu"))


def of_parts(encoder: Encoder, parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is recorded of vectors that this encoder finishes, by what was recorded of each part of them.

    Where other runs made some by another runtime or on another kind of device, all of these are named, in order.
    """
    made, own = _of(encoder), ran(encoder)
    runs = [_run(part, own) for part in parts]
    if set(runs) <= {own}:
        return made
    runtimes, devices = zip(*(run.split(" on ") for run in runs), strict=True)
    return made | {"runtime": _each_once(runtimes), "device": _each_once(devices)}


def in_batches(sizes: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """What is recorded of batches: the `batch`; where it changed on the way, the smallest, and all as `batches`.

    These are pairs in the order of the items: so many of them, in batches of so many.

    Args:
        sizes: Of each shard, how many items it holds, and its batch.
    """
    runs = [[sum(items for items, _ in run), batch] for batch, run in groupby(sizes, key=itemgetter(1))]
    smallest = {"batch": min(batch for _, batch in runs)}
    return smallest if len(runs) == 1 else smallest | {"batches": runs}


def _of(encoder: Encoder) -> dict[str, Any]:
    device = getattr(encoder, "device", "cpu")
    runtime = getattr(encoder, "runtime", "numpy")
    by_graph = provenance.exporter() if runtime == "onnx" else {}
    made = {**provenance.versions(encoder.spec.library), **by_graph, "runtime": runtime, "device": device}
    if encoder.spec.precision != "fp32":
        made["precision"] = encoder.spec.precision
    return made | ({"settled": configs.as_record(encoder.spec)} if encoder.spec.settled else {})


def _run(part: Mapping[str, Any], own: str) -> str:
    """What made a part: whole Embeddings name runtime and device, each of which may be several; a shard says it."""
    if "runtime" in part:
        return _in_words(part["runtime"], part["device"])
    return part.get("ran", own)


def _in_words(runtime: str, device: str) -> str:
    return f"{runtime} on {device.split(':')[0]}"


def _each_once(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(one for name in names for one in name.split(" and ")))
