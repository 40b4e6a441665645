"""A machine with neither data files nor a network: the page still answers, and says that what it shows is synthetic."""

from dataclasses import replace
from pathlib import Path

import httpx

from retrieval.roots import Roots

CARDS = "() => document.querySelectorAll('.answer:not([hidden]) .card').length === 5"


def test_phantoms_answer_samples_and_uploads(roots: Roots, tmp_path: Path, serve, open_page, keep):
    cache = tmp_path / "cache"
    alone = replace(roots, data=(tmp_path / "nothing",), weights=None, cache=cache)
    with serve(alone, tmp_path, HOME=str(tmp_path)) as url:
        page = open_page(url)
        page.wait_for_function(CARDS, timeout=240_000)
        assert "synthetic" in page.inner_text(".line")
        first = page.inner_text("#query-title")
        page.fill("input[name=index]", "7" if not first.endswith(" 7") else "8")
        page.press("input[name=index]", "Enter")
        page.wait_for_function("(title) => document.querySelector('#query-title').textContent !== title", arg=first)
        picture = httpx.get(f"{url}/picture/phantoms/64/train/3.png").content
        mine = {"name": "a.png", "mimeType": "image/png", "buffer": picture}
        page.set_input_files("#upload input[type=file]", [mine])
        page.wait_for_function(
            "() => document.querySelector('#query-title').textContent === 'Your picture'", timeout=120_000
        )
        assert page.locator(".card").count() == 5
        assert "exact duplicate" in page.inner_text(".cards li:first-child"), "it was uploaded from the gallery itself"
        keep(page, "search-alone-1400-light")
        assert list((cache / "uploads").rglob("a.png"))
    assert not list((cache / "uploads").rglob("a.png")), "a server that stops leaves no uploads behind"
