"""What surrounds the tabs: the address, the skip link, headers, and what the server does not offer."""

import tempfile
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


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc", "/gradio_api/runs"])
def test_what_the_page_does_not_need_is_not_offered(server, path):
    assert httpx.get(f"{server}{path}").status_code == 404


def test_nothing_of_the_machine_is_told_by_the_configuration(server, roots):
    config = httpx.get(f"{server}/config").text
    assert str(roots.cache) not in config
    assert not any(f"{place}/" in config for place in (Path.home(), tempfile.gettempdir(), REPOSITORY))
