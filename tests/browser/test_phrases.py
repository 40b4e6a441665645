"""Asking with words on the page: there for extractors with a text side only, by keyboard and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import tiny_words

from retrieval.roots import Roots

LOOKS = [(1400, "light"), (390, "dark")]
WORDS = "a bright disc"


@pytest.fixture(scope="module")
def address(serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page over drawn pictures, with the tiny extractor of pictures and words among the others."""
    scratch = tmp_path_factory.mktemp("phrases")
    roots = Roots(data=(), weights=scratch / "weights", precomputed=scratch / "none", cache=scratch / "cache")
    tiny_words.put_weights(roots)
    environment = {"HOME": str(scratch), "PYTHONPATH": str(tiny_words.REPOSITORY)}
    with serve(roots, scratch, script=Path(tiny_words.__file__), **environment) as url:
        yield f"{url}/?dataset=phantoms&size=64&protocol=paper"


def wait_for_answer(page, before: str | None = None) -> None:
    page.wait_for_function(
        """(before) => {
            const found = document.querySelector('.found');
            const compute = found?.querySelector('.compute');
            return found && !found.hasAttribute('aria-busy') && found.dataset.serial !== before
                && !found.querySelector('.answer').hidden
                && document.querySelectorAll('.cards .card img').length === 5;
        }""",
        arg=before,
        timeout=120_000,
    )


def ask(page, text: str) -> None:
    before = page.get_attribute(".found", "data-serial")
    page.fill("input[name=text]", text)
    page.press("input[name=text]", "Enter")
    wait_for_answer(page, before)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_words_are_asked_by_enter_and_restored_by_the_address(address, open_page, axe, keep, width, scheme):
    page = open_page(f"{address}&encoder=tiny_words", width=width, scheme=scheme)
    wait_for_answer(page)
    assert page.is_visible("#phrase")
    ask(page, WORDS)
    assert page.inner_text("#query-title") == f"“{WORDS}”"
    assert page.is_hidden(".views") and page.is_hidden(".compare-button >> nth=0")
    assert "cosine similarity" in page.inner_text(".scored")
    assert "words by cosine" in page.inner_text(".line")
    assert "not known" in page.inner_text(".reliability")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep(page, f"phrases-{width}-{scheme}")
    assert axe(page) == []

    asked = parse_qs(urlsplit(page.url).query)
    assert asked["text"] == [WORDS] and "item" not in asked
    cards = page.eval_on_selector_all(".cards .card img", "(all) => all.map((one) => one.src)")
    again = open_page(page.url, width=width, scheme=scheme)
    wait_for_answer(again)
    assert again.input_value("input[name=text]") == WORDS
    assert again.eval_on_selector_all(".cards .card img", "(all) => all.map((one) => one.src)") == cards


def test_a_card_of_the_answer_is_the_next_query_and_back_returns_to_the_words(address, open_page):
    page = open_page(f"{address}&encoder=tiny_words&text=a+square")
    wait_for_answer(page)
    before = page.get_attribute(".found", "data-serial")
    page.focus(".cards li:nth-child(2) .card")
    page.keyboard.press("Enter")
    wait_for_answer(page, before)
    assert page.inner_text("#query-title").startswith("Gallery picture")
    assert page.is_visible(".views") and page.is_visible(".compare-button >> nth=0")
    assert page.input_value("input[name=text]") == ""
    before = page.get_attribute(".found", "data-serial")
    page.go_back()
    wait_for_answer(page, before)
    assert page.inner_text("#query-title") == "“a square”"


def test_the_box_is_there_only_where_words_can_be_asked_with(address, open_page, menu):
    page = open_page(f"{address}&encoder=pixels")
    wait_for_answer(page)
    assert page.is_hidden("#phrase")
    places = (
        "() => ['#sample', '.drop', '.found'].map((one) => document.querySelector(one).getBoundingClientRect().top)"
    )
    without = page.evaluate(places)
    before = page.get_attribute(".found", "data-serial")
    menu(page).choose("tiny_words")
    page.wait_for_function(
        "(before) => document.querySelector('.found').dataset.serial !== before", arg=before, timeout=60_000
    )
    assert page.is_visible("#phrase")
    assert page.evaluate(places)[:2] == without[:2], "what was there stays where it was"
    before = page.get_attribute(".found", "data-serial")
    menu(page).choose("pixels")
    wait_for_answer(page, before)
    assert page.is_hidden("#phrase")


def test_words_that_cannot_be_used_are_answered_with_a_sentence(address, open_page):
    page = open_page(f"{address}&encoder=tiny_words")
    wait_for_answer(page)
    shown = page.inner_text("#query-title")
    for text, said in ((" ", "no words to search with"), ("x" * 1001, "1,001 characters long")):
        page.fill("input[name=text]", text)
        page.click(".by-words button")
        page.wait_for_function("(said) => document.querySelector('.refusal').textContent.includes(said)", arg=said)
        assert page.inner_text("#query-title") == shown
    ask(page, "disc " * 90)
    assert "come to 90 pieces" in page.inner_text(".notes")
    assert page.inner_text(".refusal") == ""


def test_a_link_with_words_for_another_extractor_says_why_not(address, open_page):
    page = open_page(f"{address}&encoder=pixels&text=disc")
    page.wait_for_selector(".problem:not([hidden])")
    assert "cannot be asked with words" in page.inner_text(".message")
    assert "tiny_words" in page.inner_text(".remedy")
