"""The About tab: the protocol in plain words, metrics worked out by the code that computes them, licences."""

from collections.abc import Iterable, Sequence
from html import escape

import gradio as gr
import numpy as np

from retrieval.datasets import relevance
from retrieval.datasets.catalogue import DATASETS
from retrieval.datasets.specs import Dataset
from retrieval.encoders.catalogue import ENCODERS
from retrieval.page import about_extractors
from retrieval.page.about_extractors import link
from retrieval.page.assets import read
from retrieval.protocols import PROTOCOLS, WHY_STUDY_DIFFERS
from retrieval.roots import Roots
from retrieval.scoring import metrics
from retrieval.scoring.uncertainty import wilson

STUDY = (
    "Mahbod, A., Saeidi, N., Hatamikia, S., Woitek, R. Evaluating Pre-trained Convolutional Neural Networks and "
    "Foundation Models as Feature Extractors for Content-based Medical Image Retrieval. arXiv:2409.09430 (2024)."
)
STUDY_URL = "https://arxiv.org/abs/2409.09430"

# The query's label, its five neighbours' labels, nearest first, and what is worth seeing.
EXAMPLES = (
    ("A", "AABAC", "Three of five are right, two of them first."),
    ("B", "AABAB", "Two of five are right, but late: outvoted."),
    ("A", "ABBBB", "One right neighbour at rank 1 is a perfect mAP@5, yet it is outvoted."),
    ("C", "BBCCA", "A tie of two votes each: the study counts it as right."),
    ("D", "ABCED", "Every label once: a five-way tie, again right for the study."),
    ("E", "AAAAA", "No right neighbour: zero everywhere."),
)
CLASSES = "ABCDE"
K = 5

_STUDY_COLUMNS = ("mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5")
_TEXTBOOK_COLUMNS = ("P@5", "AP@5", "MV@5", "MRR@5")


def build(roots: Roots) -> None:
    """Put the tab's content into the gr.Tab being built; nothing in it depends on what is at hand."""
    gr.HTML(
        about_html(),
        css_template=read("about.css"),
        apply_default_css=False,
        elem_id="about",
        js_on_load=None,
    )


def about_html() -> str:
    """The whole text as HTML: the asset's prose, its slots filled from the literals and from `retrieval.scoring`."""
    slots = {
        "protocols": _protocols(),
        "why_study_differs": escape(WHY_STUDY_DIFFERS),
        "study": _examples(_STUDY_COLUMNS, "The study's numbers for six queries, in percent", lessons=True),
        "textbook": _examples(_TEXTBOOK_COLUMNS, "Textbook numbers for the same six queries, in percent"),
        "interval": escape(_interval_sentence(hits=124, n=156)),
        "datasets": _datasets(),
        "encoders": about_extractors.tables(),
        "not_in_the_menu": about_extractors.left_out(),
        "citations": _citations(),
    }
    text = read("about.html")
    for name, filling in slots.items():
        text = text.replace(f"[[{name}]]", filling)
    return text


def worked_out(query: str, neighbours: str) -> dict[str, float]:
    """Every metric of one query of `EXAMPLES`, in percent, with at least k pictures of its label in the gallery."""
    truth = _one_hot(query)
    found = _one_hot(neighbours)[None]
    gains = relevance.gains(truth, found)
    values = {
        "mAP@5": metrics.average_precision_found(gains, k=K),
        "mMV@5": metrics.tied_vote(metrics.vote_counts(found), truth),
        "ACC@1": metrics.hit(gains, k=1),
        "ACC@3": metrics.hit(gains, k=3),
        "ACC@5": metrics.hit(gains, k=K),
        "P@5": metrics.precision(gains, k=K),
        "AP@5": metrics.average_precision(gains, np.array([K]), k=K),
        "MV@5": metrics.strict_vote(found, truth),
        "MRR@5": metrics.reciprocal_rank(gains, k=K),
    }
    return {name: 100.0 * float(value[0]) for name, value in values.items()}


def _one_hot(letters: str) -> np.ndarray:
    """bool [len(letters), classes]."""
    return np.array([[letter == name for name in CLASSES] for letter in letters])


def _examples(columns: Sequence[str], caption: str, *, lessons: bool = False) -> str:
    head = ["Query", "Five nearest", *columns, *(["What it shows"] if lessons else [])]
    rows = []
    for query, neighbours, lesson in EXAMPLES:
        values = worked_out(query, neighbours)
        numbers = [f"{values[name]:.2f}".rstrip("0").rstrip(".") for name in columns]
        rows.append([escape(query), _letters(query, neighbours), *numbers, *([escape(lesson)] if lessons else [])])
    return _table(caption, head, rows, numeric=range(2, 2 + len(columns)))


def _letters(query: str, neighbours: str) -> str:
    """The labels in order; a right one is ringed, and said to be right to who cannot see the ring."""
    right = '<span class="about-right">{}<span class="about-hidden"> (right)</span></span>'
    letters = (right.format(name) if name == query else f"<span>{name}</span>" for name in neighbours)
    return f'<span class="about-list">{" ".join(letters)}</span>'


def _interval_sentence(*, hits: int, n: int) -> str:
    low, high = wilson(hits, n) or (0.0, 1.0)
    return (
        f"{hits} right of {n} is {100 * hits / n:.1f} %, with an interval from {100 * low:.1f} to {100 * high:.1f} %."
    )


def _protocols() -> str:
    items = (
        f"<dt>{escape(one.title)} <code>{escape(one.name)}</code></dt>"
        f"<dd>{escape(one.about)} Score: {escape(one.score_name)}. Defined by: {escape(one.source)}.</dd>"
        for one in PROTOCOLS
    )
    return f"<dl>{''.join(items)}</dl>"


def _datasets() -> str:
    head = ["Dataset", "What it is", "Gallery", "Queries", "Sizes", "Licence"]
    return _table(
        "Items searched and asked with; sizes in pixels along one side",
        head,
        [_dataset(one) for one in DATASETS],
        numeric=(2, 3),
    )


def _dataset(dataset: Dataset) -> list[str]:
    return [
        link(dataset.url, dataset.title),
        escape(dataset.about),
        f"{dataset.counts['train']:,}",
        f"{dataset.counts['test']:,}",
        ",\u00a0".join(str(size) for size in dataset.sizes),
        escape(dataset.licence),
    ]


def _citations() -> str:
    sources = dict.fromkeys((dataset.citation, dataset.url) for dataset in DATASETS if not dataset.synthetic)
    items = [f"{escape(text)} {link(url, url)}" for text, url in ((STUDY, STUDY_URL), *sources)]
    papers = dict.fromkeys(spec.paper for spec in ENCODERS if spec.paper)  # several extractors share one
    items += [f"{escape(', '.join(_titles(paper)))}: {escape(paper.rstrip('.'))}." for paper in papers]
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _titles(paper: str) -> list[str]:
    return [spec.title for spec in ENCODERS if spec.paper == paper]


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int] = ()) -> str:
    """A table that scrolls by itself where the screen is narrow; cells are HTML already."""
    right = set(numeric)
    headings = "".join(_cell('th scope="col"', escape(text), number in right) for number, text in enumerate(head))
    body = "".join(f"<tr>{_row(row, right)}</tr>" for row in rows)
    return (
        f'<div class="about-scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str], right: set[int]) -> str:
    first, *others = cells
    texts = (_cell("td", text, number in right) for number, text in enumerate(others, start=1))
    return _cell('th scope="row"', first, 0 in right) + "".join(texts)


def _cell(tag: str, text: str, numeric: bool) -> str:
    kind = ' class="about-number"' if numeric else ""
    return f"<{tag}{kind}>{text}</{tag.split()[0]}>"
