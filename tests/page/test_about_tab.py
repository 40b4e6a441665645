"""The About tab: its worked examples against hand-worked numbers, and that nothing of the literals is left out."""

from html import escape
from html.parser import HTMLParser

import pytest

from retrieval.datasets.catalogue import DATASETS
from retrieval.encoders.catalogue import ENCODERS
from retrieval.page.about_extractors import NOT_IN_THE_MENU
from retrieval.page.about_tab import EXAMPLES, about_html, worked_out
from retrieval.protocols import PROTOCOLS

# By hand: mAP@5, mMV@5, ACC@1, ACC@3, ACC@5 | P@5, AP@5, MV@5, MRR@5
BY_HAND = {
    "AABAC": ((1 + 1 + 3 / 4) / 3, 1, 1, 1, 1, 3 / 5, (1 + 1 + 3 / 4) / 5, 1, 1),
    "AABAB": ((1 / 3 + 2 / 5) / 2, 0, 0, 1, 1, 2 / 5, (1 / 3 + 2 / 5) / 5, 0, 1 / 3),
    "ABBBB": (1, 0, 1, 1, 1, 1 / 5, 1 / 5, 0, 1),
    "BBCCA": ((1 / 3 + 2 / 4) / 2, 1, 0, 1, 1, 2 / 5, (1 / 3 + 2 / 4) / 5, 0, 1 / 3),
    "ABCED": (1 / 5, 1, 0, 0, 1, 1 / 5, 1 / 25, 0, 1 / 5),
    "AAAAA": (0, 0, 0, 0, 0, 0, 0, 0, 0),
}
NAMES = ("mAP@5", "mMV@5", "ACC@1", "ACC@3", "ACC@5", "P@5", "AP@5", "MV@5", "MRR@5")


@pytest.mark.parametrize(("query", "neighbours"), [example[:2] for example in EXAMPLES])
def test_examples_are_as_worked_by_hand(query, neighbours):
    known = dict(zip(NAMES, (100 * value for value in BY_HAND[neighbours]), strict=True))
    assert worked_out(query, neighbours) == pytest.approx(known)


def test_every_dataset_extractor_and_protocol_is_named_with_its_licence():
    text = about_html()
    for dataset in DATASETS:
        assert escape(dataset.title) in text and escape(dataset.licence) in text
        assert dataset.synthetic or escape(dataset.citation) in text
    for spec in ENCODERS:
        assert escape(spec.title) in text and escape(spec.licence) in text
    for protocol in PROTOCOLS:
        assert escape(protocol.title) in text


class _Nesting(HTMLParser):
    """Fails on tags that are closed in the wrong order or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_is_well_formed_and_no_slot_is_left():
    text = about_html()
    parser = _Nesting()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert "about-metrics" in parser.ids
    assert "[[" not in text and "${" not in text and "{{" not in text


def test_it_says_what_it_is_not_for():
    assert "not for diagnosis" in about_html()


def test_what_is_to_be_known_of_an_extractor_stands_with_it():
    text = about_html()
    for spec in ENCODERS:
        for said in (spec.study, spec.on_purpose, *spec.unverified, *spec.overlaps.values()):
            assert escape(said) in text, spec.name
        assert text.count(f"<code>{spec.name}</code>") == 1
    for names, reason in NOT_IN_THE_MENU:
        assert escape(names) in text and escape(reason) in text
