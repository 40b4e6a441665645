"""A process of its own that fetches weights, since huggingface_hub reads its environment once: a question a line."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from retrieval.encoders import loading, weights
from retrieval.encoders.specs import EncoderSpec, Pixels, WeightsSource
from retrieval.errors import RetrievalError
from retrieval.roots import Roots


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Fetch, locate or identify the weights of a question's source."""
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
        if question["do"] == "identify":
            found = loading.identify(spec, roots)
            return {name: str(value) for name, value in vars(found).items()}
        return {"path": str(weights.locate(spec, roots)), "modules": sorted(sys.modules)}
    except RetrievalError as error:
        return {"error": error.message, "remedy": error.remedy, "kind": type(error).__name__}


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
