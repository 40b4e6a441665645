"""The About tab's extractors: a table for each domain, and what is known but not in the menu."""

from collections.abc import Iterable
from html import escape

from retrieval.encoders.catalogue import ENCODERS
from retrieval.encoders.specs import EncoderSpec, Pixels, TextTower
from retrieval.page.extractors import DOMAINS, length, web

_HEAD = ("Extractor", "What it is", "Vector and input", "Licence", "Paper")

# What somebody may look for, and why it is not offered.
NOT_IN_THE_MENU = (
    ("RudolfV-2, Mascaret, Phaet, GenBio-PathFM", "their networks exist only as code beside the weights"),
    ("TITAN, Prism", "slide encoders: they take the tiles of a whole slide, and need code beside the weights"),
    ("MUSK", "needs its authors' own package"),
    ("DermLIP with PanDerm, DermFM-Zero", "their picture tower exists only in a fork of open_clip"),
    ("MedImageInsight", "has its own modelling code, and was trained on labelled public sets like those searched here"),
    ("VoCo, SuPreM, CLIP-driven Universal Model", "three-dimensional, and need MONAI, which is not used here"),
)


def tables() -> str:
    """Every extractor of the catalogue, by domain."""
    groups = ((title, [spec for spec in ENCODERS if spec.domain == domain]) for domain, title in DOMAINS.items())
    return "".join(_table(title, specs) for title, specs in groups if specs)


def left_out() -> str:
    """What is not in the menu, each with its reason."""
    items = (f"<li><strong>{escape(names)}</strong>: {escape(reason)}.</li>" for names, reason in NOT_IN_THE_MENU)
    return f"<ul>{''.join(items)}</ul>"


def link(url: str, text: str) -> str:
    """A link where the address is one of the web, else the text alone; both escaped."""
    if not web(url):
        return escape(text)
    return f'<a href="{escape(url, quote=True)}" rel="noopener noreferrer">{escape(text)}</a>'


def input_of(spec: EncoderSpec) -> str:
    """What reaches the network for a picture (for a slice, where it takes no pictures), in words."""
    pixels = spec.pixels or spec.slices
    return _input(pixels) if pixels else "none"


def _input(pixels: Pixels) -> str:
    colour = {"rgb": "RGB", "bgr": "BGR", "native": "as it is"}[pixels.channels]
    if pixels.size is None and pixels.canvas is not None:
        return f"on a black square of {pixels.canvas}, not enlarged; {colour}"
    if pixels.size is None:
        least = f", at least {pixels.at_least}" if pixels.at_least else ""
        return f"own size{least}; {colour}"
    cut = pixels.crop is not None and pixels.crop != pixels.size
    side = f"{pixels.size}, middle {pixels.crop}" if cut else f"{pixels.crop or pixels.size}"
    shape = "shorter side " if pixels.fit == "shortest" and (cut or pixels.crop is None) else ""
    return f"{shape}{side} pixels; {colour}"


def _table(title: str, specs: list[EncoderSpec]) -> str:
    """Its roles are spelt out, since on a narrow screen its parts are drawn as blocks."""
    head = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in _HEAD)
    many = f"{len(specs)} extractor{'s' if len(specs) > 1 else ''}"
    caption = f"{title}: {many}"
    return (
        f'<details class="about-domain"><summary><h4>{escape(title)}</h4> <span>{many}</span></summary>'
        f'<div class="about-scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f'<table class="about-extractors" role="table"><caption class="about-hidden">{escape(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(_row(spec) for spec in specs)}</tbody></table></div></details>'
    )


def _row(spec: EncoderSpec) -> str:
    first = f'<th scope="row" role="rowheader">{escape(spec.title)}<code>{escape(spec.name)}</code></th>'
    vector = f"{length(spec)}; {input_of(spec)}"
    gate = " Gated: the publisher asks for a login and consent." if spec.gated else ""
    cells = (
        escape(spec.about) + _paragraphs(_first(spec)) + _folded(list(_more(spec))),
        escape(f"{vector[:1].upper()}{vector[1:]}."),
        link(spec.licence_url, spec.licence) + escape(gate),
        escape(spec.paper or "none"),
    )
    parts = (
        f'<td role="cell"><span class="about-name">{escape(name)}</span>{cell}</td>'
        for name, cell in zip(_HEAD[1:], cells, strict=True)
    )
    return f'<tr role="row">{first}{"".join(parts)}</tr>'


def _first(spec: EncoderSpec) -> Iterable[tuple[str, str]]:
    """What it has seen, each under its heading."""
    if spec.weights is not None:
        yield "Trained on", f"{spec.training.rstrip('.')}."
    for dataset, said in spec.overlaps.items():
        yield f"Overlap with {dataset}", said


def _more(spec: EncoderSpec) -> Iterable[tuple[str, str]]:
    """What somebody wants to know who compares or checks."""
    if spec.study:
        yield "Compared with the study", spec.study
    if spec.text is not None:
        yield "Words", _of_words(spec.text)
    if spec.on_purpose:
        yield "Other than its authors have it, on purpose", spec.on_purpose
    if spec.unverified:
        yield "Not verified", " ".join(spec.unverified)


def _of_words(tower: TextTower) -> str:
    tokenizer = tower.tokenizer
    untested = f" Not tested: {tokenizer.untested}" if tokenizer.untested else ""
    reads = f"Can be asked with words, of which it reads up to {tokenizer.context} pieces."
    return f"{reads} The words' vector: {tower.pooling}.{untested}"


def _folded(remarks: list[tuple[str, str]]) -> str:
    if not remarks:
        return ""
    many = "1 remark" if len(remarks) == 1 else f"{len(remarks)} remarks"
    return f"<details><summary>{many}</summary>{_paragraphs(remarks)}</details>"


def _paragraphs(remarks: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<p><strong>{escape(name)}:</strong> {escape(text)}</p>" for name, text in remarks)
