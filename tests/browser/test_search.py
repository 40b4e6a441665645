"""The Search tab as a person uses it: sample, look, ask again from a card, upload, go back, compare, forget."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

LOOKS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]
FIVE = 5


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of one's own: 96 x 80, grey, a bright disc on a ramp."""
    ramp = Image.linear_gradient("L").resize((96, 80))
    disc = Image.radial_gradient("L").resize((40, 40)).point(lambda value: 255 - value)
    ramp.paste(disc, (20, 20))
    path = tmp_path / "mine.png"
    ramp.save(path)
    return path


def wait_for_answer(page, *, cards: int = FIVE) -> None:
    """Until the cards are there, their pictures are painted, and nothing is on its way."""
    page.wait_for_function(
        """(cards) => {
            const found = document.querySelector('.found');
            const images = [...document.querySelectorAll('.cards .card img')];
            return found && !found.hasAttribute('aria-busy') && !found.querySelector('.answer').hidden
                && images.length === cards && images.every((image) => image.complete && image.naturalWidth > 0);
        }""",
        arg=cards,
        timeout=120_000,
    )


def shown(page) -> list[str]:
    """What the page shows: the query's title and the pictures on the cards."""
    return page.evaluate(
        """() => [document.querySelector('#query-title').textContent,
                  ...[...document.querySelectorAll('.cards .card img')].map((image) => image.getAttribute('src'))]"""
    )


def answered(page, act: Callable[[], object]) -> list[str]:
    """What the page shows once it has answered to `act`."""
    before = page.get_attribute(".found", "data-serial")
    act()
    page.wait_for_function(
        "(before) => document.querySelector('.found').dataset.serial !== before", arg=before, timeout=120_000
    )
    if page.locator(".compute").is_visible():  # nothing was shipped for this cell
        page.click(".compute")
    wait_for_answer(page)
    return shown(page)


def upload(page, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", str(path))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_whole_way(server, open_page, axe, keep, picture, width, scheme):
    page = open_page(server, width=width, scheme=scheme)
    wait_for_answer(page)
    first = shown(page)
    keep(page, f"search-first-{width}-{scheme}")
    assert axe(page) == []

    sampled, sampled_at = answered(page, lambda: page.click("#sample")), page.evaluate("location.href")
    assert len(sampled) == len(first) == 1 + FIVE

    page.focus(".cards li:nth-child(2) .card")
    from_card = answered(page, lambda: page.keyboard.press("Enter"))
    assert from_card != sampled
    assert from_card[0].startswith("Gallery picture")
    assert page.evaluate("document.activeElement.classList.contains('card')"), "the first card has the focus"
    assert "item=train-" in page.evaluate("location.href")

    uploaded = answered(page, lambda: upload(page, picture))
    assert uploaded[0] == "Your picture"
    assert page.locator(".card .mark").count() == 0, "an upload's class is not known, so nothing agrees or differs"
    assert "item=upload" in page.evaluate("location.href")
    assert not re.search(r"[0-9a-f]{32}", page.evaluate("location.href")), (
        "what opens the picture is not in the address"
    )
    keep(page, f"search-upload-{width}-{scheme}")
    assert axe(page) == []

    assert answered(page, page.go_back) == from_card
    assert answered(page, page.go_back) == sampled
    assert page.evaluate("location.href") == sampled_at
    assert answered(page, page.go_forward) == from_card
    assert answered(page, page.go_forward) == uploaded, "the visitor's own history still opens the upload"


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_side_by_side(server, open_page, axe, keep, width, scheme):
    page = open_page(server, width=width, scheme=scheme)
    wait_for_answer(page)
    opener = page.locator(".cards li:nth-child(3) .compare-button")
    opener.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.compare[open]")
    assert page.inner_text("#compare-title").endswith("neighbour 3")
    keep(page, f"search-compare-{width}-{scheme}")
    assert axe(page) == []
    page.click(".compare .next")
    assert page.inner_text("#compare-title").endswith("neighbour 4")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.compare", state="hidden")
    assert opener.evaluate("(node) => node === document.activeElement"), "the focus is back where it was"


def test_forget_deletes_the_file(server, open_page, picture, roots):
    page = open_page(server)
    wait_for_answer(page)
    others = set((roots.cache / "uploads").rglob("mine.png"))
    answered(page, lambda: upload(page, picture))
    kept = [path for path in (roots.cache / "uploads").rglob("mine.png") if path not in others]
    assert len(kept) == 1
    assert answered(page, lambda: page.click(".forget"))[0] != "Your picture"
    assert not kept[0].exists()
    assert not kept[0].parent.exists()
    assert page.locator(".forget").is_hidden()


@pytest.mark.parametrize(("event", "where"), [("paste", "clipboardData"), ("drop", "dataTransfer")])
def test_a_picture_can_be_pasted_and_dropped(server, open_page, picture, event, where):
    page = open_page(server)
    wait_for_answer(page)
    transfer = """(event, where, bytes) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'mine.png', {type: 'image/png'}));
        const kind = where === 'dataTransfer' ? DragEvent : ClipboardEvent;
        const options = {bubbles: true, cancelable: true, [where]: transfer};
        document.body.dispatchEvent(new kind(event, options));
    }"""
    bring = f"([event, where, bytes]) => ({transfer})(event, where, bytes)"
    uploaded = answered(page, lambda: page.evaluate(bring, [event, where, list(picture.read_bytes())]))
    assert uploaded[0] == "Your picture"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("words.png", b"this is no picture at all"),
        ("cut short.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00"),
        ("<img src=x onerror=alert(1)>.png", b"<svg onload=alert(1)>"),
    ],
)
def test_a_file_that_is_no_picture_gets_a_sentence(server, open_page, name, content):
    page = open_page(server)
    wait_for_answer(page)
    before = shown(page)
    page.set_input_files("#upload input[type=file]", [{"name": name, "mimeType": "image/png", "buffer": content}])
    page.wait_for_function("() => document.querySelector('.refusal').textContent.trim().length > 20")
    said = page.inner_text(".refusal")
    assert said.endswith(".")
    assert "Traceback" not in said
    assert page.locator(".refusal img").count() == 0
    assert shown(page) == before, "what was shown stays"


def test_a_link_restores_the_page(server, open_page):
    page = open_page(server)
    wait_for_answer(page)
    answered(page, lambda: page.select_option("select[name=protocol]", "cosine"))
    page.fill("input[name=k]", "7")
    page.press("input[name=k]", "Enter")
    wait_for_answer(page, cards=7)
    assert "protocol=cosine" in page.evaluate("location.href")
    assert "k=7" in page.evaluate("location.href")
    again = open_page(page.evaluate("location.href"))
    wait_for_answer(again, cards=7)
    assert shown(again) == shown(page)
    assert again.input_value("select[name=protocol]") == "cosine"


def test_a_link_may_ask_for_a_number_of_dimensions_that_the_menu_does_not_list(server, open_page):
    page = open_page(f"{server}/?dataset=phantoms&size=64&encoder=pixels&protocol=pca-12&item=test-1")
    page.wait_for_function("() => document.querySelector('select[name=protocol]')?.value === 'pca-12'")
    answered(page, lambda: page.select_option("select[name=protocol]", "paper"))
    assert page.locator("select[name=protocol] option").count() == 7


@pytest.mark.parametrize(
    "words", ["dataset=brestmnist", "item=test-999999", "k=0", "size=29", "item=%3Cscript%3E", "encoder=none&k=5"]
)
def test_a_bad_link_is_said_and_answered_with_what_there_is(server, open_page, words):
    page = open_page(f"{server}/?dataset=breastmnist&{words}" if "dataset" not in words else f"{server}/?{words}")
    wait_for_answer(page)
    assert page.inner_text(".notice").startswith("This link cannot be followed whole.")


def test_a_link_from_an_upload_says_that_the_picture_is_not_in_it(server, open_page):
    page = open_page(f"{server}/?item=upload&dataset=breastmnist&size=28")
    wait_for_answer(page)
    assert "cannot be part of a link" in page.inner_text(".notice")


def test_volumes_share_one_slice_slider(server, open_page, axe, keep):
    page = open_page(f"{server}/?dataset=phantoms3d")
    wait_for_answer(page)
    assert page.locator(".own").is_visible()
    before = shown(page)
    page.locator(".answer .slices input").evaluate(
        "(slider) => { slider.value = 3; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    after = shown(page)
    assert all("/3.png" in source for source in after[1:])
    assert before != after
    assert page.get_attribute(".answer .slices input", "aria-valuetext").startswith("slice 4 of ")
    assert page.locator(".cards img").first.get_attribute("alt").startswith("slice 4 of ")
    wait_for_answer(page)
    keep(page, "search-volumes-1400-light")
    assert axe(page) == []
    page.click(".fullest")
    assert shown(page) == before


def test_only_fitting_extractors_are_offered(server, open_page, menu):
    page = open_page(server)
    wait_for_answer(page)
    extractors = menu(page)
    extractors.open()
    assert "shape" not in extractors.offered()
    page.select_option("select[name=dataset]", "phantoms3d")
    extractors.open()
    assert "shape" in extractors.offered()
    assert "histogram" not in extractors.offered()
    page.wait_for_function("() => location.search.includes('phantoms3d')")


def test_missing_data_are_said_with_a_remedy(server, open_page, keep):
    page = open_page(server)
    wait_for_answer(page)
    page.select_option("select[name=dataset]", "pathmnist")
    page.wait_for_selector(".problem:not([hidden])")
    assert "pathmnist" in page.inner_text(".problem").lower()
    assert len(page.inner_text(".remedy")) > 10
    keep(page, "search-missing-1400-light")


def test_nothing_jumps_while_an_answer_comes(server, open_page):
    page = open_page(server)
    wait_for_answer(page)
    page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shift += entry.value; }).observe({type: 'layout-shift'}); }"""
    )
    answered(page, lambda: page.click("#sample"))
    assert page.evaluate("window.shift") < 0.1
