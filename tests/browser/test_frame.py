"""What surrounds the tabs: the address, the skip link, headers, and what the server does not offer."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from conftest import REPOSITORY

CARDS = "() => document.querySelectorAll('.answer:not([hidden]) .card').length === 5"


def test_the_open_tab_is_part_of_the_address(server, open_page):
    page = open_page(server)
    page.wait_for_function(CARDS, timeout=120_000)
    page.click("button[role=tab]:has-text('About')")
    page.wait_for_function("() => location.search.includes('tab=about')")
    page.reload()
    page.wait_for_selector("button[role=tab][aria-selected=true]:has-text('About')")
    page.click("button[role=tab]:has-text('Search')")
    page.wait_for_function("() => !location.search.includes('tab=')")
    page.wait_for_function(CARDS)


def test_the_skip_link_leads_past_the_tabs(server, open_page):
    page = open_page(server)
    page.wait_for_function(CARDS, timeout=120_000)
    skip = page.locator(".skip")
    skip.focus()
    assert skip.evaluate("(node) => node.getBoundingClientRect().top >= 0"), "it is seen while it has the focus"
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'answer'")
    page.click("button[role=tab]:has-text('About')")
    skip.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.role === 'tabpanel'")


def test_a_link_to_a_place_on_the_page_asks_nothing(server, open_page):
    page = open_page(server)
    page.wait_for_function(CARDS, timeout=120_000)
    asked = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.url.endswith("/ask") else None)
    page.evaluate("location.hash = 'tabs'")
    page.go_back()
    page.wait_for_function("() => location.hash === ''")
    before = page.get_attribute(".found", "data-serial")
    page.click("#sample")
    page.wait_for_function("(before) => document.querySelector('.found').dataset.serial !== before", arg=before)
    assert len(asked) == 1, "the sample, and nothing for going there and back"


def test_one_heading_and_a_title(server, open_page):
    page = open_page(server)
    page.wait_for_function(CARDS, timeout=120_000)
    assert page.locator("h1").count() == 1
    assert page.title() == page.inner_text("h1") == "Medical image retrieval"


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1400])
def test_nothing_is_wider_than_the_screen(server, open_page, width):
    page = open_page(server, width=width)
    page.wait_for_function(CARDS, timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_answer_of_the_server_carries_the_headers(server):
    for path in ("/", "/config", "/healthz", "/no/such/page"):
        headers = httpx.get(f"{server}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in headers["content-security-policy"]


def test_pages_of_other_sites_are_refused_on_a_network_too(server):
    """Gradio itself lets them in wherever it is not asked for as localhost."""
    lan = {"Host": "scanner.lan:7860", "Origin": "http://evil.example"}
    preflight = {**lan, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answers = [
        httpx.options(f"{server}/jobs", headers=preflight),
        httpx.post(f"{server}/jobs", json={"do": "add"}, headers=lan),
        *(httpx.get(f"{server}{path}", headers=lan) for path in ("/jobs.json", "/collections.json", "/config")),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    answers.append(httpx.get(f"{server}/jobs.json", headers={**lan, "Origin": "http://scanner.lan:7860"}))
    assert answers[-1].status_code == 200
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control-")]


@contextmanager
def another_site(page: str) -> Iterator[str]:
    """A server of one page, under another name of this machine: to browsers that is another site."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://localhost:{site.server_port}/"
        site.shutdown()


def test_in_a_frame_of_another_site_it_works_and_that_site_reads_nothing(roots, serve, browser, tmp_path):
    """As a Space is shown."""
    with serve(replace(roots, cache=tmp_path / "cache"), tmp_path, SPACE_ID="someone/space") as url:
        framed = f'<iframe src="{url}?dataset=phantoms&size=64&encoder=pixels" width="1200" height="800"></iframe>'
        with another_site(framed) as other, browser.new_context() as context:
            page = context.new_page()
            page.goto(other)
            page.frame_locator("iframe").locator(".answer .card").first.wait_for(timeout=120_000)
            ask = "(url) => fetch(url).then((answer) => answer.text()).catch(() => 'refused')"
            assert page.evaluate(ask, f"{url}/healthz") == "refused"
            assert page.frames[1].evaluate(ask, f"{url}/healthz") == '{"ok":true}'


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/gradio_api/runs"])
def test_what_the_page_does_not_need_is_not_offered(server, path):
    assert httpx.get(f"{server}{path}").status_code == 404


@pytest.mark.parametrize("name", ["upload", "upload/", "process_recording", "component_server", "component_server/"])
def test_files_are_taken_by_the_pages_own_address_only(server, name):
    """Gradio's own keep as many on the disk as anybody sends."""
    reply = httpx.post(f"{server}/gradio_api/{name}", files={"files": ("a.bin", bytes(1000))})
    assert (reply.status_code, reply.text) == (404, "No files are taken here.")


def test_nothing_of_the_machine_is_told_by_the_configuration(server, roots):
    config = httpx.get(f"{server}/config").text
    assert str(roots.cache) not in config
    assert not any(f"{place}/" in config for place in (Path.home(), tempfile.gettempdir(), REPOSITORY))
