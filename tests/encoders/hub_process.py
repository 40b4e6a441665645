"""A process of its own that fetches weights, since huggingface_hub reads its environment once: a question a line."""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrieval.encoders import loading, weights
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource
from retrieval.errors import RetrievalError
from retrieval.roots import Roots


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Fetch, locate or identify the weights of a question's source, or leave them when some have come."""
    folders = {name: Path(folder) for name, folder in question["roots"].items()}
    roots = Roots(data=(), precomputed=Path("nowhere"), weights=folders.pop("weights", None), **folders)
    source = {name: tuple(one) if isinstance(one, list) else one for name, one in question["source"].items()}
    spec = spec_of(WeightsSource(**source), gated=question["gated"])
    os.environ.pop("HF_TOKEN", None)
    os.environ.update({"HF_TOKEN": question["token"]} if question["token"] else {})
    seen: list[tuple[int, int | None]] = []
    try:
        if question["do"] == "fetch":
            path = weights.fetch(spec, roots, progress=lambda done, total: seen.append((done, total)))
            return {"path": str(path), "seen": seen, "state": weights.state(spec, roots)}
        if question["do"] == "leave":
            return leave(spec, roots)
        if question["do"] == "identify":
            found = loading.identify(spec, roots)
            return {name: str(value) for name, value in vars(found).items()}
        return {"path": str(weights.locate(spec, roots)), "modules": sorted(sys.modules)}
    except RetrievalError as error:
        return {"error": error.message, "remedy": error.remedy, "kind": type(error).__name__}


def leave(spec: EncoderSpec, roots: Roots) -> dict[str, Any]:
    """Fetch as the page does, and stop listening when some of it has come."""
    from retrieval.page import underway

    left = threading.Event()

    def work(say: Callable[[str, float], None]) -> None:
        def report(done: int, total: int | None) -> None:
            say("on its way", done / (total or done))
            if done:
                left.wait(30)

        weights.fetch(spec, roots, progress=report)

    steps = underway.steps(work, stops=True)
    share = next(share for _, share in steps if share)
    steps.close()
    left.set()
    for thread in threading.enumerate():
        if thread.name == "work":
            thread.join(30)
    return {"share": share}


def spec_of(source: WeightsSource, *, gated: bool) -> EncoderSpec:
    """An encoder with weights of this source."""
    return EncoderSpec(
        name="tiny",
        title="Tiny",
        about="For tests.",
        library="timm",
        architecture="test_resnet",
        dim=96,
        pooling="none",
        pixels=Pixels(),
        slices=None,
        weights=source,
        licence="CC0-1.0",
        training="none",
        gated=gated,
    )


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
