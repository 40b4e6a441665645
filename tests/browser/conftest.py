"""A real server and a real browser: what every browser test starts from, and what it must not let pass.

Every page opened here records console errors and warnings, failed requests, answers of 400 and above and requests to
other hosts; a test fails at its end when any of them is not on the short list of Gradio's own.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from retrieval.roots import Roots

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
APP = REPOSITORY / "app.py"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = {1400: 900, 390: 844}

# Gradio's own noise: the browser closes the event stream itself when an event is complete.
ABORTED_BY_PAGE = "net::ERR_ABORTED"


@dataclass
class Record:
    """What a page said and did that a person would not see.

    Attributes:
        console: Errors and warnings of the console, and uncaught exceptions.
        refused: Requests that failed or were answered with 400 or above.
        elsewhere: Requests to any host but the server's own.
        expected: Parts of lines that a test causes on purpose.
    """

    console: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """All that was recorded and not expected."""
        lines = [*self.console, *self.refused, *self.elsewhere]
        return [line for line in lines if not any(part in line for part in self.expected)]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_served(url: str, process: subprocess.Popen, *, seconds: float = 90) -> None:
    """Return once `/healthz` answers; fail when the process ends or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"app.py ended with status {process.returncode} before it answered.")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"app.py did not answer within {seconds} seconds.")


@contextmanager
def running(roots: Roots, scratch: Path, *, script: Path = APP, **environment: str) -> Iterator[str]:
    """Serve app.py (or another script) as a process of its own under these roots; yields its address."""
    port = free_port()
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        **environment,
        "RETRIEVAL_DATA": os.pathsep.join(str(folder) for folder in roots.data),
        "RETRIEVAL_WEIGHTS": str(roots.weights or ""),
        "RETRIEVAL_PRECOMPUTED": str(roots.precomputed),
        "RETRIEVAL_CACHE": str(roots.cache),
        "GRADIO_TEMP_DIR": str(scratch / "gradio"),
        "GRADIO_SERVER_PORT": str(port),
    }
    log = scratch / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(script)], cwd=scratch, env=environment, stdout=stream, stderr=stream
        )
        try:
            wait_until_served(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    said = log.read_text(errors="replace")
    assert "Traceback" not in said, f"The server wrote a stack trace:\n{said[-4000:]}"


@pytest.fixture(scope="session")
def serve() -> Callable:
    """`with serve(roots, scratch, NAME="value")` serves app.py with its own roots and environment."""
    return running


@pytest.fixture(scope="session")
def server(roots: Roots, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page served with the data and weights at hand and a cache of this run's own."""
    with running(roots, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def browser(need: Callable[[object, str], None]) -> Iterator[object]:
    """One headless Chromium for the whole run."""
    need(CHROMIUM.is_file(), "Chromium at /usr/bin/chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:
    """`open_page(url, width=1400, scheme="light")` opens a fresh visitor's page; `page.record` holds its Record.

    At the end of the test every page's record must be empty of complaints.
    """
    opened = []

    def open_one(url: str, *, width: int = 1400, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": WIDTHS.get(width, 900)},
            color_scheme=scheme,
            reduced_motion="reduce",
            accept_downloads=True,
            has_touch=width < 500,
        )
        page = context.new_page()
        page.record = _watch(page, urlsplit(url).netloc)
        page.set_default_timeout(30_000)
        opened.append((context, page))
        page.goto(url)
        return page

    yield open_one
    complaints = [line for _, page in opened for line in page.record.complaints()]
    for context, _ in opened:
        context.close()
    assert not complaints, "The page was not silent:\n" + "\n".join(complaints)


def _watch(page, host: str) -> Record:
    record = Record()
    page.on("console", lambda message: _console(record, message))
    page.on("pageerror", lambda error: record.console.append(f"uncaught: {error}"))
    page.on("request", lambda sent: _request(record, sent, host))
    page.on("requestfailed", lambda sent: _failed(record, sent))
    page.on("response", lambda response: _answered(record, response))
    return record


def _console(record: Record, message) -> None:
    if message.type in ("error", "warning"):
        record.console.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")


def _request(record: Record, sent, host: str) -> None:
    parts = urlsplit(sent.url)
    if parts.scheme not in ("data", "blob") and parts.netloc != host:
        record.elsewhere.append(f"request to another host: {sent.url}")


def _failed(record: Record, sent) -> None:
    if sent.failure != ABORTED_BY_PAGE:
        record.refused.append(f"failed: {sent.url} ({sent.failure})")


def _answered(record: Record, response) -> None:
    if response.status >= 400:
        record.refused.append(f"{response.status}: {response.url}")


class Menu:
    """The extractors' menu of a page, as a person uses it."""

    def __init__(self, page) -> None:
        self.page = page
        self.box = page.locator("[role=combobox]")

    @property
    def chosen(self) -> str:
        """The name of the chosen extractor."""
        return self.page.input_value("input[name=encoder]")

    def open(self) -> None:
        """Open the list, and wait until it says what each extractor can do."""
        self.box.click()
        self.page.wait_for_function("() => document.querySelectorAll('.option-state:not(:empty)').length > 0")

    def offered(self) -> list[str]:
        """The names in the open list."""
        return self.page.evaluate("[...document.querySelectorAll('[role=option]')].map((node) => node.dataset.name)")

    def state(self, name: str) -> str:
        """What the open list says of an extractor."""
        return self.page.inner_text(f"[role=option][data-name={name}] .option-state").strip()

    def choose(self, name: str) -> None:
        """Open the list where it is closed, and click an extractor."""
        if self.box.get_attribute("aria-expanded") != "true":
            self.open()
        self.page.click(f"[role=option][data-name={name}]")


@pytest.fixture(scope="session")
def menu() -> type[Menu]:
    """`menu(page)` is the page's menu of extractors."""
    return Menu


@pytest.fixture(scope="session")
def axe() -> Callable[..., list[str]]:
    """`axe(page)` -> accessibility violations by axe-core, a line each: rule, weight, where."""
    import axe_playwright_python

    source = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

    def check(page, *, allow: tuple[tuple[str, str], ...] = ()) -> list[str]:
        """`allow`: (rule, part of a node's selector or HTML) that are Gradio's own."""
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(source)
        options = {"runOnly": {"type": "tag", "values": AXE_TAGS}}
        found = page.evaluate("(options) => axe.run(document, options)", options)["violations"]
        return [line for violation in found if (line := _violation(violation, allow))]

    return check


def _violation(violation: dict, allow: tuple[tuple[str, str], ...]) -> str:
    """One violation as a line; empty when all its nodes are allowed."""
    nodes = [
        node
        for node in violation["nodes"]
        if not any(violation["id"] == rule and part in f"{node['target']} {node['html']}" for rule, part in allow)
    ]
    where = "; ".join(f"{node['target']} {node['html'][:160]}" for node in nodes[:5])
    return f"{violation['id']} ({violation['impact']}): {violation['help']}: {where}" if nodes else ""


@pytest.fixture(scope="session")
def keep() -> Callable:
    """`keep(page, name)` writes a screenshot of the whole page to build/screenshots/NAME.png and returns its path."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def write(page, name: str) -> Path:
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=str(path), full_page=True)
        return path

    return write
