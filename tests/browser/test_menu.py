"""The menu of extractors, each of its states, and how weights are got in place, as a person uses them."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import REPOSITORY
from encoders.stand_in import FIRST, Hub, served

from retrieval.encoders.catalogue import find_encoder

LOOKS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]
CELL = "dataset=breastmnist&size=28&encoder=efficientnet_lite0"
HUB = "dinov2_s"
STATES = {
    "efficientnet_lite0": "Ready",
    "densenet121": "Stored neighbours",
    "from_address": "Download",
    "virchow2": "Gated",
    "in_package": "Needs a package",
    "by_hand": "Needs a file",
}


REDUCED = "efficientnet_lite0.bf16"


@dataclass
class Files:
    """A server of one file, in pieces, that can be told to take its time.

    Attributes:
        content: Of the file.
        pause: Seconds between two pieces; then it takes minutes past its half, however slow the machine.
        ranges: What each request asked for.
        broken: Requests whose connection the other side gave up.
    """

    content: bytes
    pause: float = 0.0
    ranges: list[str] = field(default_factory=list)
    broken: int = 0


# Asked in one go, since the list is drawn anew when the states of its extractors arrive.
IN_VIEW = """() => {
    const node = document.querySelector('.option.active');
    if (!node) return false;
    const list = node.closest('[role=listbox]').getBoundingClientRect(), own = node.getBoundingClientRect();
    return own.top >= list.top - 1 && own.bottom <= list.bottom + 1;
}"""


class Elsewhere(NamedTuple):
    """A page whose server has no weights but may fetch some, and the stand-ins that it fetches from."""

    url: str
    files: Files
    hub: Hub


@pytest.fixture(scope="module")
def elsewhere(roots, serve, need, tmp_path_factory) -> Iterator[Elsewhere]:
    source = find_encoder("densenet121").weights
    weights = roots.weights / "densenet121" / source.filename if roots.weights else Path()
    need(weights.is_file(), "the Keras weights of DenseNet121, to be fetched by the page")
    on_hub = find_encoder(HUB).weights
    wrong = {on_hub.revision or FIRST: {on_hub.filename: b"not a checkpoint, though it lies on the Hub"}}
    scratch = tmp_path_factory.mktemp("elsewhere")
    bare = replace(roots, weights=None, cache=scratch / "cache", hub=None)
    files = Files(weights.read_bytes())
    with file_server(files) as address, served(Hub(repo=on_hub.repo, files=wrong, main=next(iter(wrong)))) as hub:
        environment = {
            "STAND_IN": address,
            "STAND_IN_MD5": hashlib.md5(files.content).hexdigest(),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(scratch / "hf"),
            "PYTHONPATH": str(REPOSITORY),
        }
        with serve(bare, scratch, script=Path(__file__).with_name("page_with_more.py"), **environment) as url:
            yield Elsewhere(url, files, hub)


@contextmanager
def file_server(files: Files) -> Iterator[str]:
    """The address of the one file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/weights.h5"
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    files: Files

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.files.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        rest = self.files.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.files.content) - 1}/{len(self.files.content)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        try:
            while rest:
                slow = self.files.pause and 2 * len(rest) < len(self.files.content)
                piece = 1 << (14 if slow else 20)
                self.wfile.write(rest[:piece])
                rest = rest[piece:]
                time.sleep(self.files.pause)
        except (BrokenPipeError, ConnectionResetError):
            self.files.broken += 1

    def log_message(self, format: str, *args: object) -> None:
        pass


def opened(open_page, url: str, **look):
    """The page with an answer on it, its menus in reach."""
    page = open_page(f"{url}/?{CELL}", **look)
    page.wait_for_selector(".answer:not([hidden]) .card", timeout=120_000)
    if page.locator(".toggle").is_visible():
        page.tap(".toggle")
    return page


def drawn(page, act) -> None:
    """Do something, and wait until the page has drawn what came of it."""
    before = page.get_attribute(".found", "data-serial")
    act()
    page.wait_for_function(
        "(before) => document.querySelector('.found').dataset.serial !== before", arg=before, timeout=120_000
    )


def until(condition, *, seconds: float = 60) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_state_is_said_and_leads_to_a_calm_panel(elsewhere, open_page, menu, axe, keep, width, scheme):
    page = opened(open_page, elsewhere.url, width=width, scheme=scheme)
    extractors = menu(page)
    extractors.open()
    keep(page, f"menu-open-{width}-{scheme}")
    assert axe(page) == []
    assert {name: extractors.state(name).partition(" · ")[0] for name in STATES} == STATES
    page.keyboard.press("Escape")
    for name in ("densenet121", "from_address", "virchow2", "in_package", "by_hand"):
        drawn(page, lambda name=name: extractors.choose(name))
        assert extractors.chosen == name
        assert f"encoder={name}" in page.evaluate("location.href")
        assert page.locator(".refusal").inner_text() == ""
        keep(page, f"menu-{name}-{width}-{scheme}")
        assert axe(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn(page, page.go_back)
    assert extractors.chosen == "in_package"


def test_what_each_panel_offers(elsewhere, open_page, menu):
    page = opened(open_page, elsewhere.url)
    extractors = menu(page)
    panel = page.locator(".problem")

    drawn(page, lambda: extractors.choose("densenet121"))
    assert page.locator(".card").count() == 5, "sampled pictures are answered from what is stored"
    assert page.locator(".own").is_hidden()
    assert "needs the weights" in page.inner_text(".instead")
    page.click(".more summary")
    assert "python -m retrieval download --encoder densenet121" in page.inner_text(".more .command code")

    drawn(page, lambda: extractors.choose("virchow2"))
    assert page.locator(".problem .fetch").count() == 0, "what needs consent is not fetched by a button"
    said = panel.inner_text()
    assert "HF_TOKEN" in said and "CC-BY-NC-ND-4.0" in said and "2.5 GB" in said and "gated" in said
    assert page.get_attribute(".problem dd a >> nth=1", "href") == "https://huggingface.co/paige-ai/Virchow2"
    assert page.inner_text(".problem .command code") == "python -m retrieval download --encoder virchow2"
    assert "needs the weights" in page.inner_text(".instead")

    drawn(page, lambda: extractors.choose("in_package"))
    assert page.inner_text(".problem .command code") == "python -m pip install --no-deps a_package_that_is_nowhere"

    drawn(page, lambda: extractors.choose("by_hand"))
    assert "RETRIEVAL_WEIGHTS/by_hand/handed over.h5" in panel.inner_text()
    assert page.locator(".problem .command").count() == 0
    page.click(".known .unverified summary")
    assert "Its licence was written from memory." in page.inner_text(".known .unverified")

    drawn(page, lambda: extractors.choose("from_address"))
    assert "its card names this very set" in page.inner_text(".known .overlap")


def test_a_command_is_copied(elsewhere, open_page, menu):
    page = opened(open_page, elsewhere.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawn(page, lambda: menu(page).choose("virchow2"))
    page.click(".problem .command button")
    page.wait_for_selector(".problem .command button:has-text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == "python -m retrieval download --encoder virchow2"


def test_a_download_can_be_stopped_goes_on_and_ends_in_an_answer(elsewhere, open_page, menu, axe, keep):
    page = opened(open_page, elsewhere.url)
    elsewhere.files.pause = 0.3
    drawn(page, lambda: menu(page).choose("from_address"))
    assert "Apache-2.0" in page.inner_text(".problem dl") and "29 MB" in page.inner_text(".problem dl")
    page.click(".problem .fetch")
    page.wait_for_function("() => document.querySelector('.fraction').value > 0.1")
    assert "of 29 MB" in page.inner_text(".status")
    keep(page, "menu-downloading-1400-light")
    assert axe(page) == []
    drawn(page, lambda: page.click(".stop"))
    assert until(lambda: elsewhere.files.broken == 1), "a download that is left does not go on"
    assert page.locator(".problem .fetch").is_visible()
    assert page.locator(".underway").is_hidden()

    page.click(".problem .fetch")
    page.wait_for_function("() => document.querySelector('.fraction').value > 0.2")
    page.close()
    assert until(lambda: elsewhere.files.broken == 2), "nor does one whose page is closed"

    elsewhere.files.pause = 0.0
    page = open_page(f"{elsewhere.url}/?{CELL.replace('efficientnet_lite0', 'from_address')}")
    page.click(".problem .fetch")
    page.wait_for_selector(".answer:not([hidden]) .card", timeout=180_000)
    assert elsewhere.files.ranges[-1] != "", "it went on from what was there"
    assert page.locator(".own").is_visible(), "and pictures of one's own can be asked with"
    assert "its card names this very set" in page.inner_text(".verdict .overlap")
    extractors = menu(page)
    extractors.open()
    assert extractors.state("from_address") == "Ready"


def test_a_file_that_is_no_checkpoint_gets_its_sentence_and_does_not_stay(elsewhere, open_page, menu, keep):
    page = opened(open_page, elsewhere.url)
    extractors = menu(page)
    drawn(page, lambda: extractors.choose(HUB))
    drawn(page, lambda: page.click(".problem .fetch"))
    page.wait_for_selector(".problem .trouble")
    assert "cannot be read" in page.inner_text(".trouble")
    keep(page, "menu-wrong-file-1400-light")
    assert page.locator(".problem .fetch").is_visible(), "it can be tried again"
    extractors.open()
    assert extractors.state(HUB).startswith("Download")
    assert elsewhere.hub.transfers()


def test_it_is_used_by_keys_alone(elsewhere, open_page, menu):
    page = opened(open_page, elsewhere.url)
    box, extractors = menu(page).box, menu(page)

    def active() -> str:
        node = box.get_attribute("aria-activedescendant")
        return page.get_attribute(f"#{node}", "data-name") if node else ""

    page.focus("select[name=dataset]")
    page.keyboard.press("Tab")
    assert box.evaluate("(node) => node === document.activeElement")
    assert box.get_attribute("aria-expanded") == "false", "passing by opens nothing"
    page.keyboard.press("ArrowDown")
    assert box.get_attribute("aria-expanded") == "true"
    assert active() == extractors.chosen == "efficientnet_lite0"
    offered = extractors.offered()
    for key, expected in [
        ("ArrowDown", offered[1]),
        ("End", offered[-1]),
        ("ArrowDown", offered[-1]),
        ("ArrowUp", offered[-2]),
        ("Home", offered[0]),
        ("PageDown", offered[8]),
    ]:
        page.keyboard.press(key)
        assert active() == expected, key
        page.wait_for_function(IN_VIEW)
    page.keyboard.press("Escape")
    assert box.get_attribute("aria-expanded") == "false"
    assert page.locator(".popup").is_hidden()
    assert extractors.chosen == "efficientnet_lite0", "looking around chooses nothing"

    page.keyboard.type("densenet")
    assert active() == "densenet121"
    page.keyboard.press("Tab")
    assert extractors.chosen == "efficientnet_lite0"
    assert box.input_value() == find_encoder("efficientnet_lite0").title, "what was typed is no choice"

    box.focus()
    page.keyboard.type("keras dense")
    drawn(page, lambda: page.keyboard.press("Enter"))
    assert extractors.chosen == "densenet121"
    assert box.input_value() == find_encoder("densenet121").title
    assert box.evaluate("(node) => node === document.activeElement"), "the focus stays"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("dense 121", {"densenet121"}),
        ("virchow2", {"virchow2"}),
        ("vit-large", {"uni"}),
        ("pathology study", {"uni", "conch"}),
        ("baselines", {"pixels", "histogram"}),
        ("no such thing", set()),
    ],
)
def test_what_is_typed_is_looked_for_everywhere(elsewhere, open_page, menu, typed, names):
    page = opened(open_page, elsewhere.url)
    extractors = menu(page)
    extractors.open()
    everything = set(extractors.offered())
    extractors.box.press_sequentially(typed)
    offered = set(extractors.offered())
    assert names <= offered and (offered < everything)
    assert names or not offered
    said = page.text_content(".combo-said")
    assert said == (f"{len(offered)} of {len(everything)} extractors fit" if names else f"No extractor fits “{typed}”")


def test_states_are_asked_for_when_the_menu_is_opened_and_not_before(elsewhere, open_page, menu):
    page = open_page("about:blank")
    page.record.elsewhere.clear()
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if "extractors.json" in sent.url else None)
    page.goto(f"{elsewhere.url}/?{CELL}")
    page.record.expected.append(elsewhere.url)  # another host than about:blank's
    page.wait_for_selector(".answer:not([hidden]) .card")
    assert asked == []
    extractors = menu(page)
    extractors.open()
    assert extractors.state("densenet121") == "Stored neighbours"
    page.keyboard.press("Escape")
    drawn(page, lambda: page.select_option("select[name=dataset]", "phantoms"))
    extractors.open()
    page.wait_for_function(
        "() => !document.querySelector('[data-name=densenet121] .option-state').textContent.startsWith('Stored')"
    )
    assert len(asked) == 2


@pytest.mark.parametrize("width", [390, 1400])
def test_opening_it_moves_nothing_and_it_fits_the_screen(elsewhere, open_page, menu, width):
    page = opened(open_page, elsewhere.url, width=width)
    place = "document.querySelector('.columns').getBoundingClientRect().top + window.scrollY"
    before = page.evaluate(place)
    extractors = menu(page)
    extractors.box.tap() if width < 500 else extractors.box.click()
    page.wait_for_function("() => document.querySelectorAll('.option-state:not(:empty)').length > 0")
    assert page.evaluate(place) == before
    inside = """() => { const box = document.querySelector('.popup').getBoundingClientRect();
        return box.left >= 0 && box.right <= window.innerWidth && box.bottom <= window.innerHeight; }"""
    assert page.evaluate(inside)
    heights = "[...document.querySelectorAll('.option, [role=combobox]')].map((node) => node.offsetHeight)"
    assert min(page.evaluate(heights)) >= (44 if width < 500 else 40)
    if width < 500:
        drawn(page, lambda: page.tap("[role=option][data-name=densenet121]"))
        assert extractors.chosen == "densenet121"


def test_a_link_to_another_precision_is_in_the_menu_as_long_as_it_is_chosen(server, open_page, menu):
    page = open_page(f"{server}/?dataset=phantoms&size=64&encoder={REDUCED}&item=test-1")
    page.wait_for_function("(name) => document.querySelector('input[name=encoder]')?.value === name", arg=REDUCED)
    extractors = menu(page)
    assert extractors.box.input_value() == "EfficientNet-Lite0 (ImageNet, bf16)"
    assert page.input_value("select[name=protocol]") == "cosine"
    page.select_option("select[name=protocol]", "paper")
    page.wait_for_function("() => document.querySelector('.refusal').textContent.includes('float32 only')")
    extractors.open()
    assert REDUCED in extractors.offered()
    extractors.choose("pixels")
    page.wait_for_function("() => new URLSearchParams(location.search).get('encoder') === 'pixels'")
    extractors.open()
    assert REDUCED not in extractors.offered()
